"""What a report on a comparison holds: chapters, each one question with tables and pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from recae import plots
from recae.comparison import RESAMPLES, direction
from recae.comparison.agreement import agreements
from recae.comparison.facets import FACETS
from recae.comparison.slices import Sliced, calibration, calibration_error, sliced
from recae.reports.markup import Section
from recae.reports.rendering import (
    agreement_tables,
    differences,
    every_metric,
    settings_table,
    short_table,
    slices_overview,
    slices_table,
    titled,
)
from recae.reports.standings import Standings

_FOR_WHOM: Final = {
    "rmse": "For whom are the stars better?",
    "recall": "For whom are the lists better?",
    "coverage": "For whom are the intervals right?",
}
_SLICES: Final = {
    "rmse": "RMSE by slices of the test ratings: by activity (ratings known of the user), "
    "popularity (training ratings of the item: the head holds a third of them all), stars given, "
    "genre and decade of the item, and days since the user's first rating.",
    "recall": "Recall by the same slices: the share of relevant ratings whose item is in the "
    "user's list.",
    "coverage": "The share of ratings within their prediction interval, by the same slices.",
}
_MARKS: Final = (
    "+ and − mark what is better or worse by more than luck, after correction for all slices of a "
    "picture; no interval: of a single user, or of users who are all alike, nothing follows."
)


class Picture(NamedTuple):
    """An image of the page."""

    source: str
    """A data URI."""
    alt: str


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


def chapters(standings: Standings, sort: str) -> list[Chapter]:
    """All that have something to tell. Raises RecaeError for an unknown metric to sort by."""
    found = [_luck(standings, sort)]
    if standings.answered:
        found += [_for_whom(standings, measure) for measure in _FOR_WHOM]
        found += [_calibration(standings), _agreement(standings)]
    found += [_everything(standings, sort), _settings(standings)]
    return [chapter for chapter in found if chapter.parts]


def figures(standings: Standings) -> Iterator[Picture]:
    """The differences to the baseline in what is looked at first."""
    comparison = standings.comparison
    for metric in standings.headline:
        if any(metric in row.differences for row in comparison.rows):
            drawn = plots.comparison(comparison, metric)
            what = f"{titled(metric)} of each model less that of {comparison.baseline}"
            yield _picture(plots.as_svg(drawn), f"{what}, with 95 % intervals")


def _luck(standings: Standings, sort: str) -> Chapter:
    comparison = standings.comparison
    found = [differences(comparison, m, sort) for m in standings.headline]
    return Chapter(
        "Is it luck?",
        f"Paired bootstrap over users, {RESAMPLES:,} resamples; p corrected for the number of "
        "models (Holm). Effect: mean of the users' own differences in their standard deviations; "
        "0.2 is called small, 0.8 large.",
        [Part.of(section) for section in found if len(comparison.rows) > 1],
    )


def _for_whom(standings: Standings, measure: str) -> Chapter:
    baseline, evaluations = standings.comparison.baseline, standings.evaluations
    found = [sliced(evaluations, by, baseline=baseline, measure=measure) for by in FACETS]
    able = [each for each in found if each is not None and len(each.slices) > 1]
    judged = bool(able and able[0].slices[0].gaps and direction(measure))
    parts = [Part.of(slices_overview(able))] if judged else []
    for each in able:
        drawn = plots.as_svg(plots.slices([each]))
        parts.append(Part.of(slices_table(each), _picture(drawn, _told(each))))
    return Chapter(_FOR_WHOM[measure], f"{_SLICES[measure]} {_MARKS}", parts)


def _told(found: Sliced) -> str:
    less = f" less that of {found.baseline}" if found.slices[0].gaps else ""
    return f"{titled(found.measure)} of each model{less} by {found.by}, with 95 % intervals"


def _calibration(standings: Standings) -> Chapter:
    able = {
        name: runs
        for name, runs in standings.evaluations.items()
        if "squared_error" in runs[0].by_user
    }
    bins = {name: calibration(runs) for name, runs in able.items()}
    rows = [[name, f"{calibration_error(found):.4f}"] for name, found in bins.items()]
    parts = []
    if bins:
        drawn = plots.as_svg(plots.calibration(bins))
        figure = _picture(drawn, "Mean given against mean predicted stars by model")
        parts = [Part.of(Section("", ["model", "calibration error (stars)"], rows), figure)]
    return Chapter(
        "Are the stars right on average?",
        "What was given to items for which about the same was predicted; on the line both agree. "
        "Above it, a model is too modest.",
        parts,
    )


def _agreement(standings: Standings) -> Chapter:
    names = list(standings.groups)
    found = agreements(standings.evaluations)
    return Chapter(
        "Do they recommend the same?",
        "Lists of two models for the same user, on average over users; 1: the same, 0: not an item "
        "in common. A model with itself: two of its seeds, which is as alike as luck lets it be.",
        [Part.of(each) for each in agreement_tables(found, names)] if found else [],
    )


def _everything(standings: Standings, sort: str) -> Chapter:
    comparison = standings.comparison
    summary = short_table(comparison, standings.costs, sort)
    return Chapter(
        "What else, and at what cost?",
        "Mean over runs, ± standard deviation; seconds of a fit, and the memory that the process "
        "held meanwhile.",
        [Part.of(summary), Part.of(every_metric(comparison))],
    )


def _settings(standings: Standings) -> Chapter:
    settings = settings_table(standings.settings, list(standings.groups))
    return Chapter(
        "Settings that differ",
        "Those that several models have, and that are not the same in all of them.",
        [Part("", settings.header, settings.rows)] if standings.settings else [],
    )


def _picture(svg: bytes, alt: str) -> Picture:
    """Inside the page: nothing else has to be sent along."""
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", alt)
