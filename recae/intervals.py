"""Prediction intervals: from how many to how many stars, so that a stated share of ratings lies
inside.

Split-conformal (Vovk et al. 2005, "Algorithmic learning in a random world"; Lei et al. 2018,
"Distribution-free predictive inference for regression"): ratings that the model never saw tell how
wide intervals have to be. If they and those that are asked for can be exchanged, an interval of
level 0.9 holds a rating with a chance of at least 0.9, and at most 1 / (n + 1) more where no two of
the n distances are equal, whatever the model is worth.

What can be exchanged: ratings drawn at random from the same ratings (`splits.random`, the
validation part for the test part); new users that were drawn from the same users
(`splits.unseen_users`), each folded in from as large a part. Later ratings for earlier ones, or new
users for known ones, cannot be: the chance is then what it happens to be, and `coverage` tells it.
It is the chance over all ratings, not that of every user, item or star.
Ratings of one new user come together and resemble each other, so of new users the promise is kept
nearly: n counts for less than it is.

R target ratings, U users, N items, L levels, n ratings to calibrate on. All in stars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ids import Rows
from recae.models.base import Recommender
from recae.models.conformal import check_enough, quantile
from recae.models.expected_error import ExpectedError, item_counts
from recae.models.levels import MOST_LEVELS, Levels, Spread
from recae.ratings import Ratings, Scale
from recae.splits import Holdout

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["constant", "adaptive", "ordinal"]

_TINY: Final = 1e-9
_COUNTS: Final = (1, 10, 50, 200)
"""Where slices by a number of ratings begin."""
_DIFFERENT: Final = 10
"""Values up to which each is a slice of its own; more are cut into fifths."""
_Z: Final = 1.959964
"""Of a 95 % interval."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals around what a fitted model predicts. Make with `of`, which calibrates them."""

    model: Recommender
    level: float
    """The share of ratings that is to lie inside."""
    size: float
    """How far intervals reach, in the unit of their shape's distances."""
    shape: Shape

    @classmethod
    def of(
        cls,
        model: Recommender,
        calibration: Holdout,
        *,
        level: float = 0.9,
        method: Method = "adaptive",
        rng: np.random.Generator,
    ) -> Intervals:
        """Calibrated on targets that `model` was not trained on, as those that will be asked for.

        constant: equally wide around every prediction.
        adaptive: as wide as errors are to be expected there, from what is known before a rating is
            given.
        ordinal: the likeliest stars, until they hold enough of all chance; by the model's own
            distribution, or by one around its predictions where it has none. Needs stars that are
            levels, not a continuum, and is the narrowest then.

        What expects errors, or makes the distribution, is taught by a half of the targets, drawn by
        `rng`; the other half calibrates. Raises DataError for a level outside (0, 1), fewer targets
        than level / (1 - level), or twice that where a half teaches, a model that only ranks, and
        ordinal without levels.
        """
        if not 0 < level < 1:
            raise DataError(f"the level of intervals must be between 0 and 1, not {level}")
        if method not in get_args(Method):
            raise DataError(f"the method must be one of {', '.join(get_args(Method))}: {method!r}")
        if not model.predicts_stars:
            raise DataError(
                f"{type(model).__name__} only ranks: train a model that predicts stars, like mf"
            )
        shape, rest = _shape(model, calibration, method, level, rng)
        return cls(model, level, quantile(shape.distances(model, rest), level), shape)

    def at(self, holdout: Holdout) -> tuple[Floats, Floats]:
        """Lowest and highest stars at the target ratings, within the scale: [R] each.

        Like the predictions, they do not depend on the targets' stars.
        """
        low, high = self.shape.bounds(self.model, holdout, self.size)
        scale = self.model.fitted.scale
        return np.clip(low, *scale), np.clip(high, *scale)

    def coverage(self, holdout: Holdout) -> Coverage:
        """How many of the target ratings are inside, of all and by slice. Raises DataError."""
        target = holdout.target
        if not len(target):
            raise DataError("there are no ratings to cover: the holdout is empty")
        low, high = self.at(holdout)
        inside = (low <= target.stars) & (target.stars <= high)
        rows = [_slice("all", "", target.rows, inside, high - low)]
        for name, (places, labels) in _slices(self.model, holdout).items():
            for place, label in enumerate(labels):
                of = places == place
                if of.any():
                    rows.append(_slice(name, label, target.rows[of], inside[of], (high - low)[of]))
        return Coverage(self.level, tuple(rows))


# --- how intervals grow


class Shape(Protocol):
    """A family of intervals at every rating, each inside the next larger one."""

    def distances(self, model: Recommender, holdout: Holdout) -> Floats:
        """[R]: the size from which the interval holds the star that was given."""

    def bounds(self, model: Recommender, holdout: Holdout, size: float) -> tuple[Floats, Floats]:
        """[R] each: the lowest and highest stars of the interval of this size, not yet clipped."""


def _shape(
    model: Recommender,
    calibration: Holdout,
    method: Method,
    level: float,
    rng: np.random.Generator,
) -> tuple[Shape, Holdout]:
    """With the targets that did not teach it. Raises DataError."""
    if method == "constant":
        return Scaled(None), calibration
    if method == "ordinal" and _has_levels(model):
        return Ordinal.of(model), calibration
    n = len(calibration.target)
    check_enough(n, level, halved=True)
    taught = rng.permutation(n) < n // 2
    teacher = Scaled.taught if method == "adaptive" else Ordinal.taught
    return teacher(model, _part(calibration, taught)), _part(calibration, ~taught)


def _has_levels(model: Recommender) -> bool:
    try:
        return len(model.levels) > 0
    except DataError:
        return False


@dataclass(frozen=True, eq=False)
class Scaled:
    """The prediction plus and minus a multiple of the error that is to be expected (Lei et al.
    2018, section 5.2: "locally-weighted"), or of 1 star."""

    error: ExpectedError | None

    @classmethod
    def taught(cls, model: Recommender, holdout: Holdout) -> Scaled:
        """With the errors of these targets."""
        return cls(ExpectedError.of(model, holdout))

    def distances(self, model: Recommender, holdout: Holdout) -> Floats:
        """|r - predicted| / error: [R]."""
        predicted, error = self._both(model, holdout)
        return np.asarray(np.abs(holdout.target.stars - predicted) / error)

    def bounds(self, model: Recommender, holdout: Holdout, size: float) -> tuple[Floats, Floats]:
        """predicted -+ size * error: [R] each."""
        predicted, error = self._both(model, holdout)
        return predicted - size * error, predicted + size * error

    def _both(self, model: Recommender, holdout: Holdout) -> tuple[Floats, Floats]:
        predicted = model.predict_at(holdout).astype(np.float64)
        if self.error is None:
            return predicted, np.ones(len(predicted))
        own, users = holdout.history.over(model.fitted.items), holdout.target.rows
        items = _items(model, holdout)
        return predicted, self.error.at(model.fitted, own, users, items, predicted)


@dataclass(frozen=True, eq=False)
class Ordinal:
    """From the likeliest star on the likelier neighbour of what is inside, always (the ordered
    sets of Lu et al. 2022, "Fair conformal predictors for applications in medical imaging").

    A set of stars grows in leaps and would hold too many ratings. So a star's chance is spread over
    its cell, which ends in the middle between levels, and the interval ends inside a cell; it holds
    a star from the half of its chance on. Nothing is drawn at random.
    """

    levels: Floats
    """[L], ascending."""
    edges: Floats
    """[L + 1]: where cells begin and end."""
    source: Levels | None
    """What makes chances of predicted stars; None: the model has its own."""

    @classmethod
    def of(cls, model: Recommender) -> Ordinal:
        """From the model's own distribution. Raises DataError where it has none."""
        return cls(*_cells(model.levels.astype(np.float64), model.fitted.scale), None)

    @classmethod
    def taught(cls, model: Recommender, holdout: Holdout) -> Ordinal:
        """From the distribution that fits these targets best around what is predicted of them.

        Raises DataError where stars are no levels.
        """
        items = model.fitted.items
        own = Holdout(holdout.history.over(items), holdout.target.over(items))
        stars = np.unique(np.concatenate([own.history.stars, own.target.stars]))
        if not (len(own.target) and 2 <= len(stars) <= MOST_LEVELS):
            raise DataError(
                f"{len(own.target)} ratings with {len(stars)} different values do not tell how "
                "likely each of them is: choose adaptive intervals"
            )
        spread = Spread.of(own.history, model.fitted.baseline)
        source = Levels.fit(stars, spread, model.predict_at(own), own)
        return cls(*_cells(stars.astype(np.float64), model.fitted.scale), source)

    def distances(self, model: Recommender, holdout: Holdout) -> Floats:
        """The chance of what is reached before the star: [R]."""
        stars = holdout.target.stars
        chances, before, mode = self._grown(model, holdout)
        # What lies on an edge is in the cell that is nearer to the likeliest star.
        right = np.searchsorted(self.edges, stars, side="right") - 1
        left = np.searchsorted(self.edges, stars, side="left") - 1
        cells = np.where(stars > self.levels[mode], left, right)
        cells = np.clip(cells, 0, len(self.levels) - 1)
        starts = np.where(cells == mode, self.levels[cells], self.edges[cells + (cells < mode)])
        ends = self.edges[cells + (stars > starts)]
        rows = np.arange(len(cells))
        part = np.abs(stars - starts) / np.maximum(np.abs(ends - starts), _TINY)
        return np.asarray(before[rows, cells] + part * chances[rows, cells])

    def bounds(self, model: Recommender, holdout: Holdout, size: float) -> tuple[Floats, Floats]:
        """Where the interval ends when `size` of all chance is inside: [R] each."""
        chances, before, mode = self._grown(model, holdout)
        inside = np.clip((size - before) / np.maximum(chances, _TINY), 0, 1)
        cells = np.arange(len(self.levels))
        lengths = inside * np.diff(self.edges)
        below = np.where(cells < mode[:, None], lengths, 0).sum(axis=1)
        above = np.where(cells > mode[:, None], lengths, 0).sum(axis=1)
        own = inside[np.arange(len(mode)), mode]
        level = self.levels[mode]
        low = level - own * (level - self.edges[mode]) - below
        return low, level + own * (self.edges[mode + 1] - level) + above

    def _grown(self, model: Recommender, holdout: Holdout) -> tuple[Floats, Floats, NDArray[Any]]:
        """Chances of the stars [R, L], what is inside before each [R, L], the likeliest [R]."""
        chances = self._chances(model, holdout).astype(np.float64)
        mode = chances.argmax(axis=1)
        return chances, _before(chances, mode), mode

    def _chances(self, model: Recommender, holdout: Holdout) -> NDArray[np.float32]:
        if self.source is None:
            return model.predict_distribution_at(holdout)
        items, predicted = _items(model, holdout), model.predict_at(holdout)
        own = holdout.history.over(model.fitted.items)
        return self.source.chances_at(predicted, own, holdout.target.rows, items)


def _cells(levels: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """The levels [L], and the edges of their cells [L + 1], which hold all of the scale."""
    middles = (levels[1:] + levels[:-1]) / 2
    first = min(2 * levels[0] - middles[0], scale[0])
    last = max(2 * levels[-1] - middles[-1], scale[1])
    return levels, np.concatenate([[first], middles, [last]])


def _before(chances: Floats, mode: NDArray[Any]) -> Floats:
    """Sum of the chances [R, L] that join the interval before each one, from the mode [R] on.

    Of two neighbours the likelier joins first, and what it was in the way of joins with it: that is
    the order of the least chance on the way from the mode.
    """
    away = np.arange(chances.shape[1]) - mode[:, None]
    right = np.minimum.accumulate(np.where(away >= 0, chances, np.inf), axis=1)
    left = np.minimum.accumulate(np.where(away <= 0, chances, np.inf)[:, ::-1], axis=1)[:, ::-1]
    order = np.lexsort((np.abs(away), -np.where(away >= 0, right, left)), axis=1)
    ordered = np.take_along_axis(chances, order, axis=1)
    before = np.empty_like(chances)
    np.put_along_axis(before, order, np.cumsum(ordered, axis=1) - ordered, axis=1)
    return before


def _items(model: Recommender, holdout: Holdout) -> Rows:
    """Of the targets, rows of the model's items: [R]; -1 of one that it does not know."""
    return model.fitted.items.find(holdout.target.items.values)[holdout.target.columns]


# --- what intervals hold


@dataclass(frozen=True)
class Slice:
    """Some of the ratings, and how many of them are inside."""

    by: str
    """What the slices are made by; "all" of all ratings."""
    name: str
    ratings: int
    users: int
    covered: float
    """Share of the ratings."""
    low: float
    """Of the 95 % interval of `covered`; users are drawn, each with all ratings."""
    high: float
    width: float
    """Mean, in stars."""


@dataclass(frozen=True)
class Coverage:
    """What share of a holdout's ratings lies inside intervals."""

    level: float
    """What it should be."""
    slices: tuple[Slice, ...]
    """All ratings first."""

    @property
    def overall(self) -> Slice:
        """Of all ratings."""
        return self.slices[0]

    def by(self, what: str) -> tuple[Slice, ...]:
        """The slices made by one thing."""
        return tuple(each for each in self.slices if each.by == what)

    def __str__(self) -> str:
        names = [f"{each.by} {each.name}".strip() for each in self.slices]
        width = max(map(len, names))
        head = f"{'':<{width}}  ratings  users  covered     95 %       width"
        lines = [
            f"{name:<{width}}  {each.ratings:>7,}  {each.users:>5,}  {each.covered:>7.3f}  "
            f"{each.low:.3f}-{each.high:.3f}  {each.width:>5.2f}"
            for name, each in zip(names, self.slices, strict=True)
        ]
        return "\n".join([head, *lines])


def clustered(users: NDArray[Any], inside: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share of `inside` [R], and its 95 % interval when users are drawn, not ratings.

    users [R]: whose each rating is. Wilson's interval (1927) for as many independent ratings as
    have the variance that the share has between users (Korn and Graubard 1998): no more than there
    are, and as many as users where all or none are inside.
    """
    _, places = np.unique(users, return_inverse=True)
    counts = np.bincount(places)
    hits = np.bincount(places, inside)
    total, people = len(inside), len(counts)
    share = float(hits.sum() / total)
    variance = ((hits - share * counts) ** 2).sum() / total**2 * people / max(people - 1, 1)
    n = share * (1 - share) / variance if variance > 0 else people
    n = min(float(n), total)
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + (_Z / (2 * n)) ** 2)
    return share, max(middle - half, 0.0), min(middle + half, 1.0)


def _slice(
    by: str, name: str, users: NDArray[Any], inside: NDArray[np.bool_], width: Floats
) -> Slice:
    shares = clustered(users, inside)
    return Slice(by, name, len(inside), len(np.unique(users)), *shares, float(width.mean()))


_Places: TypeAlias = tuple[NDArray[Any], list[str]]
"""Which slice each rating is in [R], and what the slices are called."""


def _slices(model: Recommender, holdout: Holdout) -> dict[str, _Places]:
    target, history = holdout.target, holdout.history
    return {
        "ratings of the user": _by_count(history.user_counts[target.rows]),
        "spread of the user's stars": _by_value(_spreads(history)[target.rows]),
        "ratings of the item": _by_count(item_counts(model.fitted, _items(model, holdout))),
        "predicted stars": _by_value(model.predict_at(holdout).astype(np.float64)),
        "stars given": _by_value(target.stars.astype(np.float64)),
    }


def _spreads(history: Ratings) -> Floats:
    """Standard deviation of each user's stars: [U], 0 of who has none."""
    counts = np.maximum(history.user_counts, 1)
    means = np.bincount(history.rows, history.stars, len(counts)) / counts
    squares = (history.stars - means[history.rows]) ** 2
    return np.asarray(np.sqrt(np.bincount(history.rows, squares, len(counts)) / counts))


def _by_count(counts: NDArray[Any]) -> _Places:
    names = [f"{first} to {after - 1}" for first, after in pairwise(_COUNTS)]
    return np.searchsorted(_COUNTS, counts, side="right"), ["0", *names, f"{_COUNTS[-1]} or more"]


def _by_value(values: Floats) -> _Places:
    """Each value, where they are few; else fifths."""
    different = np.unique(values)
    if len(different) <= _DIFFERENT:
        return np.searchsorted(different, values), [f"{value:g}" for value in different]
    cuts = np.unique(np.quantile(values, [0.2, 0.4, 0.6, 0.8]))
    ends = [values.min(), *cuts, values.max()]
    names = [f"{a:.2f} to {b:.2f}" for a, b in pairwise(ends)]
    return np.searchsorted(cuts, values, side="right"), names


def _part(holdout: Holdout, mask: NDArray[np.bool_]) -> Holdout:
    return Holdout(holdout.history, holdout.target.keep(mask))
