"""What ratings can be sliced by: kinds of users, of items, and of the ratings themselves.

U users, R target ratings, P places (a rating in a slice: several with genres), S slices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from recae.evaluation.answers import Answers
from recae.ids import Rows
from recae.metrics import popularity_groups

_PARTS: Final = 4
"""Users are cut by their number of ratings into so many parts."""
_MOST_GENRES: Final = 20
_DAYS: Final = (1, 7, 30, 365)
_LATE: Final = np.iinfo(np.int64).max
"""A decade behind all others, for what has none."""


class Facet(NamedTuple):
    """Slices of target ratings."""

    labels: list[str]
    """[S]."""
    places: Rows
    """[P]: rows of ratings."""
    slices: Rows
    """[P]: of which slice each is."""


def _by_activity(answers: Answers) -> Facet:
    """Users by how many ratings were known of them, in four parts of as many users."""
    cut = np.unique(np.quantile(answers.known, np.arange(1, _PARTS) / _PARTS, method="lower"))
    part = np.searchsorted(cut, answers.known, side="left")
    return _of_ratings(part[answers.users], _ranges(answers.known, part, len(cut) + 1))


def _by_popularity(answers: Answers) -> Facet:
    """Items by training ratings: the head holds the most rated third of all ratings."""
    part = popularity_groups(answers.counts)
    part[answers.counts == 0] = 3
    ranges = _ranges(answers.counts, part, 3)
    labels = [f"{name}: {of}" for name, of in zip(("head", "middle", "tail"), ranges, strict=False)]
    return _of_ratings(part[answers.columns], [*labels, "never rated"])


def _by_stars(answers: Answers) -> Facet:
    values, part = np.unique(answers.stars, return_inverse=True)
    return _of_ratings(part, [f"{value:g}" for value in values])


def _by_genre(answers: Answers) -> Facet | None:
    """The most frequent genres; a rating is in each of its item's."""
    genres = None if answers.catalog is None else answers.catalog.genre_matrix
    if answers.catalog is None or genres is None:
        return None
    asked = genres[answers.columns].tocoo()
    frequent = np.argsort(-np.bincount(asked.col, minlength=genres.shape[1]), kind="stable")
    place = np.full(genres.shape[1], -1)
    place[frequent[:_MOST_GENRES]] = np.arange(len(frequent[:_MOST_GENRES]))
    kept = place[asked.col] >= 0
    names = [answers.catalog.genre_names[row] for row in frequent[:_MOST_GENRES]]
    return Facet(names, asked.row[kept].astype(np.int64), place[asked.col][kept])


def _by_year(answers: Answers) -> Facet | None:
    """Items by the decade in which they appeared."""
    if answers.catalog is None or not answers.catalog.years.any():
        return None
    years = answers.catalog.years[answers.columns]
    decades = np.where(years == 0, _LATE, years // 10 * 10)
    values, part = np.unique(decades, return_inverse=True)
    return _of_ratings(part, ["unknown" if v == _LATE else f"{v}s" for v in values])


def _by_days(answers: Answers) -> Facet | None:
    """Ratings by the days since the user's first one."""
    if np.isnan(answers.days).all():
        return None
    labels = ["first day", "first week", "first month", "first year", "later", "unknown"]
    part = np.searchsorted(_DAYS, answers.days, side="right")
    return _of_ratings(np.where(np.isnan(answers.days), len(_DAYS) + 1, part), labels)


FACETS: Final[dict[str, Callable[[Answers], Facet | None]]] = {
    "activity": _by_activity,
    "popularity": _by_popularity,
    "stars": _by_stars,
    "genre": _by_genre,
    "year": _by_year,
    "days": _by_days,
}
"""What ratings can be sliced by: ratings known of the user, training ratings of the item, stars
given, genres, decade of release, days since the user's first rating."""


def _of_ratings(part: Rows, labels: list[str]) -> Facet:
    """Every rating in one slice."""
    return Facet(labels, np.arange(len(part)), np.asarray(part, dtype=np.int64))


def _ranges(counts: Rows, part: Rows, parts: int) -> list[str]:
    """Of every part the smallest and largest count."""
    labels = []
    for number in range(parts):
        inside = counts[part == number]
        if not len(inside):
            labels.append("none")
            continue
        low, high = int(inside.min()), int(inside.max())
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        labels.append(f"{span} rating{'' if high == 1 else 's'}")
    return labels
