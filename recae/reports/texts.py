"""What a comparison shows, as tables in every form of text; `page` has the HTML file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from recae.comparison.agreement import agreements
from recae.comparison.slices import Sliced, sliced
from recae.errors import ComparisonError
from recae.reports.markup import Section, csv_text, latex, markdown
from recae.reports.rendering import (
    as_records,
    differences,
    records,
    settings_table,
    short_table,
    slices_table,
    to_json,
)
from recae.reports.standings import Standings, told_apart


@dataclass(frozen=True)
class Wanted:
    """Which tables."""

    sort: str | None = None
    """None: the first headline of the runs."""
    metrics: Sequence[str] = ()
    """Each in a table of its own; none: RMSE and NDCG."""
    by: Sequence[str] = ()
    """Facets to slice by."""
    measure: str = "rmse"
    """Of the slices."""


def sections(standings: Standings, wanted: Wanted) -> list[Section]:
    """The tables, the one that answers most questions first.

    Raises ComparisonError and RecaeError for unknown metrics and facets, and facets that are not
    known of these ratings.
    """
    comparison, sort = standings.comparison, wanted.sort or standings.headline[0]
    found = [short_table(comparison, standings.costs, sort)]
    if len(comparison.rows) > 1:
        metrics = wanted.metrics or standings.headline
        found += [differences(comparison, metric, sort) for metric in metrics]
    if standings.settings:
        found.append(settings_table(standings.settings, list(standings.groups)))
    return found + [slices_table(each) for each in _slices(standings, wanted)]


def as_text(several: Sequence[Standings], wanted: Wanted, form: str) -> str:
    """One of `FORMATS`; of several comparisons each below what keeps it apart.

    Raises what `sections` raises.
    """
    return FORMATS[form](several, wanted)


def heading(told: Mapping[str, Any]) -> str:
    """What keeps a comparison apart from others, in words; empty where it is the only one."""
    return "Scored with " + ", ".join(f"{k} {v}" for k, v in told.items()) if told else ""


def _slices(standings: Standings, wanted: Wanted) -> list[Sliced]:
    baseline = standings.comparison.baseline
    found = []
    for by in wanted.by:
        each = sliced(standings.evaluations, by, baseline=baseline, measure=wanted.measure)
        if each is None:
            raise ComparisonError(_unknown(standings, wanted.measure, by))
        found.append(each)
    return found


def _unknown(standings: Standings, measure: str, by: str) -> str:
    """Why there are no slices."""
    metric = {"rmse": "rmse", "coverage": "interval_coverage"}.get(measure)
    rows = standings.comparison.rows
    if metric is None or not all(math.isnan(row.metric(metric)[0]) for row in rows):
        return f"the {by} of these items or ratings is not known: there is nothing to slice by"
    if measure == "rmse":
        return "these models only rank, so slices have no RMSE: give --measure recall"
    return "no run has intervals to slice coverage of: give the recipe [evaluation.intervals]"


def in_markup(found: Sequence[Section], form: str) -> str:
    """Tables one after the other, each below its title. form: `md` or `latex`."""
    write, title = _MARKUPS[form]
    return "\n\n".join(
        (title.format(each.title) if each.title else "") + write(each) for each in found
    )


def _marked(form: str) -> Callable[[Sequence[Standings], Wanted], str]:
    def written(several: Sequence[Standings], wanted: Wanted) -> str:
        _, title = _MARKUPS[form]
        parts = []
        for standings, told in zip(several, told_apart(several), strict=True):
            parts += [title.format(heading(told)).rstrip("\n")] if told else []
            parts.append(in_markup(sections(standings, wanted), form))
        return "\n\n".join(parts)

    return written


def _json(several: Sequence[Standings], wanted: Wanted) -> str:
    found = [_everything(standings, wanted) for standings in several]
    return to_json(found if len(found) > 1 else found[0])


def _everything(standings: Standings, wanted: Wanted) -> dict[str, Any]:
    agreed = agreements(standings.evaluations) if standings.answered else []
    sort = wanted.sort or standings.headline[0]
    return as_records(standings.comparison, standings.costs, sort) | {
        "settings": standings.settings,
        "slices": [asdict(each) for each in _slices(standings, wanted)],
        "agreement": [asdict(each) for each in agreed],
        "runs": {name: [run.run_id for run in of] for name, of in standings.groups.items()},
    }


def _csv(several: Sequence[Standings], wanted: Wanted) -> str:
    """What keeps comparisons apart is columns in front."""
    return csv_text(
        [
            told | record
            for standings, told in zip(several, told_apart(several), strict=True)
            for record in records(
                standings.comparison, standings.costs, wanted.sort or standings.headline[0]
            )
        ]
    )


_MARKUPS: Final[dict[str, tuple[Callable[[Section], str], str]]] = {
    "md": (markdown, "### {}\n\n"),
    "latex": (latex, "% {}\n"),
}
"""Name -> what writes a table, and the title above it."""

FORMATS: Final[dict[str, Callable[[Sequence[Standings], Wanted], str]]] = {
    "md": _marked("md"),
    "csv": _csv,
    "json": _json,
    "latex": _marked("latex"),
}
"""Name -> what writes it."""
