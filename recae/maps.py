"""The latent space seen in two dimensions: where users or items are, and what they are like.

n points, K code size; U users, N items, G genres.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.catalog import Catalog
from recae.codes import Floats
from recae.errors import DataError, RecaeError
from recae.ids import Rows
from recae.models import Recommender
from recae.models.encodes import encoding
from recae.ratings import Ratings

Method: TypeAlias = Literal["pca", "umap"]
Colour: TypeAlias = Literal["genre", "year"]

_COMMON: Final = 0.05
"""Share of all ratings from which a genre may be a user's favourite."""
_PRIOR: Final = 50
"""Ratings of everybody's taste that a user's favourite genre is judged on beside the user's own."""


@dataclass(frozen=True, eq=False)
class Map:
    """Points with what is to be said of them."""

    places: NDArray[np.float64]
    """[n, 2]."""
    axes: tuple[str, str]
    """What the two directions are."""
    names: tuple[str, ...]
    """[n]; empty where a point needs no name."""
    counts: Rows
    """[n]: ratings of each."""
    colours: tuple[str, ...] | NDArray[np.float64]
    """[n]: the genre, empty where unknown; or the year, NaN where unknown."""
    title: str


def map_items(model: Recommender, *, colour: Colour, method: Method, least: int) -> Map:
    """The items with `least` ratings in training at least, by their first genre or their year.

    Raises DataError for a model without codes, or without the genres or years of its items, and
    where fewer than three items are left; RecaeError where the method is not installed.
    """
    catalog = _catalog(model, colour)
    codes = encoding(model).encode_items()
    counts = model.fitted.item_counts
    rows = _rows(counts, least, "items")
    years = np.where(catalog.years > 0, catalog.years, np.nan)
    places, axes = _project(codes[rows], method)
    return Map(
        places,
        axes,
        tuple(catalog.short(row) for row in rows.tolist()),
        counts[rows],
        years[rows]
        if colour == "year"
        else tuple((catalog.genres[row] or ("",))[0] for row in rows.tolist()),
        f"{len(rows):,} items with {least} ratings or more, by {_BY_ITEM[colour]}",
    )


def map_users(
    model: Recommender, history: Ratings, *, colour: Colour, method: Method, least: int
) -> Map:
    """The users with `least` ratings in `history` at least, by the genre they rate more often than
    others do, or by the mean year of what they rate.

    Raises the same as `map_items`.
    """
    catalog = _catalog(model, colour)
    own = history.over(model.fitted.items)
    kept = own.take_users(_rows(own.user_counts, least, "users"))
    places, axes = _project(encoding(model).encode(kept), method)
    return Map(
        places,
        axes,
        ("",) * len(places),
        kept.user_counts,
        _mean_years(kept, catalog) if colour == "year" else _favourites(kept, catalog),
        f"{len(places):,} users with {least} ratings or more, by {_BY_USER[colour]}",
    )


_BY_ITEM: Final[dict[Colour, str]] = {"genre": "first genre", "year": "year"}
_BY_USER: Final[dict[Colour, str]] = {
    "genre": "the genre they rate more often than others do",
    "year": "mean year of what they rate",
}


class Plane(NamedTuple):
    """The two directions of largest variance of codes (Pearson 1901)."""

    centre: NDArray[np.float64]
    """[K]: the mean of the codes."""
    directions: NDArray[np.float64]
    """[2, K], of length 1; of the two signs the one in which the largest weight is positive."""
    shares: NDArray[np.float64]
    """[2]: of the variance."""

    @classmethod
    def of(cls, codes: Floats) -> Plane:
        """Of codes [n, K], both 2 at least."""
        centre = codes.mean(axis=0, dtype=np.float64)
        _, scales, directions = np.linalg.svd(codes - centre, full_matrices=False)
        chosen = directions[:2]
        largest = np.abs(chosen).argmax(axis=1)
        chosen = chosen * np.sign(chosen[np.arange(len(chosen)), largest])[:, None]
        shares = scales[:2] ** 2 / max(float((scales**2).sum()), 1e-300)
        return cls(centre, chosen, shares)

    def places(self, codes: Floats) -> NDArray[np.float64]:
        """[n, 2], of codes [n, K]."""
        return np.asarray((codes - self.centre) @ self.directions.T)


def _project(codes: Floats, method: Method) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Places [n, 2] and what the axes are called. Raises DataError, RecaeError."""
    if codes.shape[1] < 2:
        raise DataError("codes of size 1 make no map: train a model with k of at least 2")
    if method == "umap":
        return _umap(codes), ("UMAP 1", "UMAP 2")
    plane = Plane.of(codes)
    first, second = (
        f"component {n}: {s:.0%} of the variance" for n, s in enumerate(plane.shares, 1)
    )
    return plane.places(codes), (first, second)


def _umap(codes: Floats) -> NDArray[np.float64]:
    """[n, 2] by UMAP (McInnes et al. 2018), by angle: how far out a code is says how much is known.
    Raises RecaeError where it is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        raise RecaeError(
            "umap is not installed: pip install 'recae[maps]', or take the method pca"
        ) from None
    reducer: Any = UMAP(metric="cosine", random_state=0, n_jobs=1)
    return np.asarray(reducer.fit_transform(codes), dtype=np.float64)


def _catalog(model: Recommender, colour: Colour) -> Catalog:
    """Raises DataError where it says nothing of what is to be coloured."""
    catalog = model.fitted.catalog
    if catalog is None or not (catalog.years.any() if colour == "year" else any(catalog.genres)):
        raise DataError(
            f"the model knows no {colour} of any item: train it on a MovieLens release, or on "
            "ratings with a catalog"
        )
    return catalog


def _rows(counts: Rows, least: int, what: str) -> Rows:
    rows = np.flatnonzero(counts >= max(least, 1))
    if len(rows) < 3:
        raise DataError(
            f"{len(rows)} {what} have {least} ratings or more, and a map needs three: "
            "ask for fewer ratings"
        )
    return rows


def _mean_years(own: Ratings, catalog: Catalog) -> NDArray[np.float64]:
    """[U]; NaN where no year is known of anything they rated."""
    known = (catalog.years > 0).astype(np.float64)
    sums, counts = own.mask @ catalog.years.astype(np.float64), own.mask @ known
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _favourites(own: Ratings, catalog: Catalog) -> tuple[str, ...]:
    """[U]: the common genre whose share of a user's ratings is largest next to everybody's share;
    films of several genres count a part to each. Empty where no genre is known."""
    frequent = Counter(genre for genres in catalog.genres for genre in genres)
    names = sorted(frequent)
    column = {name: place for place, name in enumerate(names)}
    parts = np.zeros((len(catalog), len(names)))
    for row, genres in enumerate(catalog.genres):
        for genre in genres:
            parts[row, column[genre]] += 1 / len(genres)
    shares = own.mask @ parts
    totals = shares.sum(axis=1, keepdims=True)
    everybody = shares.sum(axis=0) / shares.sum()
    liking = (shares + _PRIOR * everybody) / (totals + _PRIOR)
    common = everybody >= _COMMON
    lift = np.divide(liking, everybody, out=np.zeros_like(liking), where=common)
    return tuple(
        names[place] if total else "" for place, total in zip(lift.argmax(1), totals, strict=True)
    )
