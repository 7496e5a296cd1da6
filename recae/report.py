"""What a comparison shows: tables in every form, and one HTML file that holds everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from recae.errors import ComparisonError
from recae.markup import Section, csv_text, latex, markdown
from recae.rendering import (
    as_records,
    differences,
    records,
    settings_table,
    short_table,
    slices_table,
    to_json,
)
from recae.slices import Sliced, sliced
from recae.standings import Standings


@dataclass(frozen=True)
class Wanted:
    """Which tables."""

    sort: str = "rmse"
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
    comparison = standings.comparison
    found = [short_table(comparison, standings.costs, wanted.sort)]
    if len(comparison.rows) > 1:
        metrics = wanted.metrics or standings.headline
        found += [differences(comparison, metric, wanted.sort) for metric in metrics]
    if standings.settings:
        found.append(settings_table(standings.settings, list(standings.groups)))
    return found + [slices_table(each) for each in _slices(standings, wanted)]


def as_text(standings: Standings, wanted: Wanted, form: str) -> str:
    """One of `FORMATS`. Raises what `sections` raises."""
    return FORMATS[form](standings, wanted)


def _slices(standings: Standings, wanted: Wanted) -> list[Sliced]:
    baseline = standings.comparison.baseline
    found = []
    for by in wanted.by:
        each = sliced(standings.evaluations, by, baseline=baseline, measure=wanted.measure)
        if each is None:
            raise ComparisonError(f"nothing is known here to slice {wanted.measure} by {by}")
        found.append(each)
    return found


def in_markup(found: Sequence[Section], form: str) -> str:
    """Tables one after the other, each below its title. form: `md` or `latex`."""
    write, title = _MARKUPS[form]
    return "\n\n".join(
        (title.format(each.title) if each.title else "") + write(each) for each in found
    )


def _json(standings: Standings, wanted: Wanted) -> str:
    return to_json(
        as_records(standings.comparison, standings.costs, wanted.sort)
        | {
            "settings": standings.settings,
            "slices": [asdict(each) for each in _slices(standings, wanted)],
            "runs": {name: [run.run_id for run in of] for name, of in standings.groups.items()},
        }
    )


def _csv(standings: Standings, wanted: Wanted) -> str:
    return csv_text(records(standings.comparison, standings.costs, wanted.sort))


_MARKUPS: Final[dict[str, tuple[Callable[[Section], str], str]]] = {
    "md": (markdown, "### {}\n\n"),
    "latex": (latex, "% {}\n"),
}
"""Name -> what writes a table, and the title above it."""

FORMATS: Final[dict[str, Callable[[Standings, Wanted], str]]] = {
    "md": lambda standings, wanted: in_markup(sections(standings, wanted), "md"),
    "csv": _csv,
    "json": _json,
    "latex": lambda standings, wanted: in_markup(sections(standings, wanted), "latex"),
}
"""Name -> what writes it."""
