"""A comparison as one HTML file: tables and pictures inside, nothing to load, nothing to run."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

import recae
from recae import plots
from recae.comparison import Difference
from recae.errors import DataError
from recae.facets import FACETS
from recae.markup import Section
from recae.rendering import (
    differences,
    every_metric,
    settings_table,
    short_table,
    slices_table,
    titled,
)
from recae.slices import MEASURES, Sliced, calibration, calibration_error, sliced
from recae.standings import Standings


class Picture(NamedTuple):
    """An image of the page."""

    source: str
    """A data URI."""
    alt: str


class Verdict(NamedTuple):
    """What a group is, and the sentence on it."""

    word: str
    sentence: str


@dataclass(frozen=True)
class Part(Section):
    """A table, behind its picture if it has one."""

    figure: Picture | None = None

    @classmethod
    def of(cls, section: Section, figure: Picture | None = None) -> Part:
        """The section with a picture."""
        return cls(section.title, section.header, section.rows, section.left, figure)


class Chapter(NamedTuple):
    """Parts on one question."""

    title: str
    lead: str
    parts: list[Part]


def write_html(standings: Standings, path: Path, sort: str = "rmse") -> None:
    """Everything that a comparison tells. Raises DataError where the file cannot be written,
    RecaeError for an unknown metric to sort by."""
    text = html(standings, sort)
    try:
        path.write_text(text, "utf-8")
    except OSError as trouble:
        raise DataError(f"cannot write {path}: {trouble.strerror}") from None


def html(standings: Standings, sort: str = "rmse") -> str:
    """The page's text."""
    comparison, runs = standings.comparison, standings.runs
    environment = Environment(
        loader=PackageLoader("recae"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    experiments = dict.fromkeys(run.experiment for run in runs)
    return environment.get_template("report.html.j2").render(
        title=f"{', '.join(experiments)}: {len(standings.groups)} models, {len(runs)} runs",
        lead=standings.summary,
        verdicts=list(_verdicts(standings)),
        summary=short_table(comparison, standings.costs, sort),
        figures=list(_figures(standings)),
        chapters=[chapter for chapter in _chapters(standings, sort) if chapter.parts],
        protocol=comparison.protocol,
        runs=[(name, run) for name, some in standings.groups.items() for run in some],
        version=recae.__version__,
    )


def _verdicts(standings: Standings) -> Iterator[Verdict]:
    comparison = standings.comparison
    for metric in standings.headline:
        for row in comparison.rows:
            found = row.differences.get(metric)
            if found is not None:
                yield Verdict(
                    found.verdict, _sentence(row.name, comparison.baseline, metric, found)
                )


def _sentence(name: str, baseline: str, metric: str, found: Difference) -> str:
    users = found.wins + found.ties + found.losses
    return (
        f"{titled(metric)} of {name} is {abs(found.value):.4f} "
        f"{'above' if found.value > 0 else 'below'} that of {baseline} "
        f"(95 % interval {found.low:+.4f} to {found.high:+.4f}); it does better for "
        f"{found.wins:,} of {users:,} users and worse for {found.losses:,}"
    )


def _figures(standings: Standings) -> Iterator[Picture]:
    comparison = standings.comparison
    for metric in standings.headline:
        if any(metric in row.differences for row in comparison.rows):
            drawn = plots.comparison(comparison, metric)
            what = f"{titled(metric)} of each model less that of {comparison.baseline}"
            yield _picture(plots.as_svg(drawn), f"{what}, with 95 % intervals")


def _chapters(standings: Standings, sort: str) -> Iterator[Chapter]:
    comparison = standings.comparison
    found = [differences(comparison, metric, sort) for metric in standings.headline]
    yield Chapter(
        "Is it luck?",
        "Paired bootstrap over users, 10,000 resamples; p corrected for the number of models "
        "(Holm). Effect: mean of the users' own differences in their standard deviations.",
        [Part.of(section) for section in found if len(comparison.rows) > 1],
    )
    yield Chapter(
        "For whom?",
        "Slices of the test ratings. + and − mark differences that are more than luck after "
        "correction for all slices of a table. Recall: the share of relevant ratings whose item is "
        "in the user's list.",
        list(_sliced(standings)),
    )
    yield Chapter(
        "Are the stars right on average?",
        "What was given to items for which about the same was predicted; on the line both agree.",
        list(_calibrated(standings)),
    )
    yield Chapter(
        "Every metric",
        "Mean over runs, ± standard deviation.",
        [Part.of(every_metric(comparison))],
    )
    settings = settings_table(standings.settings, list(standings.groups))
    yield Chapter(
        "Settings that differ",
        "Those that several models have, and that are not the same in all of them.",
        [Part.of(settings)] if standings.settings else [],
    )


def _sliced(standings: Standings) -> Iterator[Part]:
    baseline, evaluations = standings.comparison.baseline, standings.evaluations
    if any(each.answers is None for seeds in evaluations.values() for each in seeds):
        return
    for measure in MEASURES:
        for by in FACETS:
            found = sliced(evaluations, by, baseline=baseline, measure=measure)
            if found is not None and len(found.slices) > 1:
                drawn = plots.as_svg(plots.slices([found]))
                yield Part.of(slices_table(found), _picture(drawn, _told(found)))


def _told(found: Sliced) -> str:
    return f"{titled(found.measure)} of each model by {found.by}, with 95 % intervals"


def _calibrated(standings: Standings) -> Iterator[Part]:
    able = {
        name: runs
        for name, runs in standings.evaluations.items()
        if "squared_error" in runs[0].by_user and all(run.answers is not None for run in runs)
    }
    if not able:
        return
    bins = {name: calibration(runs) for name, runs in able.items()}
    drawn = plots.as_svg(plots.calibration(bins))
    figure = _picture(drawn, "Mean given against mean predicted stars by model")
    rows = [[name, f"{calibration_error(found):.4f}"] for name, found in bins.items()]
    yield Part.of(Section("", ["model", "calibration error (stars)"], rows), figure)


def _picture(svg: bytes, alt: str) -> Picture:
    """Inside the page: nothing else has to be sent along."""
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", alt)
