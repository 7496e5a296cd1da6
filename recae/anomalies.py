"""Ratings and users that a model finds hard to believe, and attacks to measure that on.

A rating is predicted by a fitted model from the user's other ratings, the rating itself not among
them; what is left is its residual. A person's ratings agree with each other in the ways that the
model has learned from everybody; stars given at random, by a script or by a slip of the hand do
not. The model may have been trained with the anomalies in the data, as it is in practice.

U users, N items, R ratings in the order of their matrix. Stars are in the data's own scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ids import Ids, Rows
from recae.models.base import Recommender
from recae.ratings import Ratings
from recae.splits import Holdout

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Aim: TypeAlias = Literal["push", "nuke"]


_PRIOR: Final = 10.0
"""Ratings' worth of the overall spread in that of one user or item: few ratings tell little."""

_TINY: Final = 1e-12
"""Where a spread is 0 in fact, as in a table of a few ratings that are all foreseen."""


# --- how plausible ratings and users are


@dataclass(frozen=True, eq=False)
class Judgement:
    """Ratings, and what a model that did not see them expected of each."""

    ratings: Ratings
    expected: Floats
    """[R], in stars."""

    @cached_property
    def residuals(self) -> Floats:
        """Given less expected, in stars: [R]."""
        return self.ratings.stars - self.expected

    @cached_property
    def surprise(self) -> Floats:
        """How implausible each rating is: [R].

        Its absolute residual over the spread to be expected there: the root of the mean of the
        squared residuals of its user and of its item, both without the rating itself and shrunk to
        those of all. 1 is an everyday error.
        """
        squares, own = self.residuals**2, self.ratings
        user = _others_mean(squares, own.rows, len(own.users))
        item = _others_mean(squares, own.columns, len(own.items))
        return np.asarray(np.abs(self.residuals) / np.sqrt(np.maximum((user + item) / 2, _TINY)))

    @cached_property
    def suspicion(self) -> Floats:
        """How implausible each user is: [U], 0 or more, 0 for who has no ratings.

        A profile is three numbers: how wrong the model is about its stars (log of the mean squared
        residual, each over what is usual of its item), how well known its items are (mean log of
        their counts), and how personal the expectations are (log of their mean squared distance to
        what is expected of the item on average). Each is taken less what users with as many ratings
        have. The Mahalanobis distance d of the profile from all others is suspicious in any
        direction, for stars around the items' means are too plausible; error e, in standard
        deviations, counts once more, by its sign: d^2 + e |e|.
        """
        own = self.ratings
        rated = np.flatnonzero(own.user_counts)
        profiles = _less_usual(self._profiles()[rated], own.user_counts[rated])
        spreads = np.maximum(profiles.std(axis=0), _TINY)
        standard = profiles / spreads
        inverse = np.linalg.pinv(standard.T @ standard / len(rated))
        distance = np.einsum("ua,ab,ub->u", standard, inverse, standard)
        suspicion = np.zeros(len(own.users))
        suspicion[rated] = distance + standard[:, 0] * np.abs(standard[:, 0])
        return suspicion

    def _profiles(self) -> Floats:
        """[U, 3]: error, how well known, how personal."""
        own = self.ratings
        squares, columns, n = self.residuals**2, own.columns, len(own.items)
        usual = np.maximum(_others_mean(squares, columns, n), _TINY)
        counts = own.item_counts
        of_item = np.bincount(columns, self.expected, n) / np.maximum(counts, 1)
        errors = _user_means(own, squares / usual, prior=1)
        known = _user_means(own, np.log(counts[columns]), prior=1)
        personal = _user_means(own, (self.expected - of_item[columns]) ** 2, prior=1)
        logs = np.log(np.maximum(np.stack([errors, personal]), _TINY))
        return np.stack([logs[0], known, logs[1]], axis=1)

    def least_plausible(self, share: float) -> Mask:
        """[R]: the share `share` of the ratings with the largest surprise. Raises DataError."""
        if not 0 <= share < 1:
            raise DataError(f"a share of the ratings is at least 0 and below 1, not {share}")
        worst = np.zeros(len(self.ratings), dtype=bool)
        order = np.argsort(-self.surprise, kind="stable")
        worst[order[: round(share * len(self.ratings))]] = True
        return worst

    def rerated(self, share: float) -> Ratings:
        """The ratings, the least plausible of them with the stars that were expected."""
        worst = self.least_plausible(share)
        return self.ratings.with_stars(
            np.where(worst, self.expected, self.ratings.stars).astype(np.float32)
        )

    def without(self, share: float) -> Ratings:
        """The ratings without the least plausible of them."""
        return self.ratings.keep(~self.least_plausible(share))

    def surprising(self, n: int) -> list[dict[str, Any]]:
        """The n least plausible ratings, the worst first: user, item, title where there are any,
        given and expected stars, surprise. Raises DataError for n below 1."""
        own = self.ratings
        return [
            {
                "user": own.users.values[own.rows[place]].item(),
                "item": own.items.values[own.columns[place]].item(),
            }
            | ({} if own.catalog is None else {"title": own.catalog.title(own.columns[place])})
            | {
                "given": float(own.stars[place]),
                "expected": float(self.expected[place]),
                "surprise": float(self.surprise[place]),
            }
            for place in _largest(self.surprise, n)
        ]

    def suspicious(self, n: int) -> list[dict[str, Any]]:
        """The n least plausible users, the worst first: user, how many ratings, their mean, the
        root mean squared residual (both in stars), suspicion. Raises DataError for n below 1."""
        own = self.ratings
        means = _user_means(own, own.stars)
        errors = np.sqrt(_user_means(own, self.residuals**2))
        return [
            {
                "user": own.users.values[row].item(),
                "ratings": int(own.user_counts[row]),
                "mean": float(means[row]),
                "rmse": float(errors[row]),
                "suspicion": float(self.suspicion[row]),
            }
            for row in _largest(self.suspicion, n)
        ]


def judge(
    model: Recommender, ratings: Ratings, *, folds: int = 5, rng: np.random.Generator
) -> Judgement:
    """Every rating with what `model` expects of it from the others; see `expected`.

    Where the ratings have no titles they get the model's. Raises DataError.
    """
    stars = expected(model, ratings, folds=folds, rng=rng)
    if ratings.catalog is None and model.fitted.catalog is not None:
        ratings = replace(ratings, catalog=model.fitted.catalog.over(ratings.items))
    return Judgement(ratings, stars)


def _largest(values: Floats, n: int) -> list[int]:
    if n < 1:
        raise DataError(f"n must be at least 1, not {n}")
    return [int(place) for place in np.argsort(-values, kind="stable")[:n]]


def expected(
    model: Recommender, ratings: Ratings, *, folds: int = 5, rng: np.random.Generator
) -> Floats:
    """Stars that `model` expects at every rating without having it as input: [R].

    Each user's ratings are dealt into `folds` parts of equal size, at random, and every part is
    predicted from the others. Raises DataError for a model that only ranks, and without ratings.
    """
    if not model.predicts_stars:
        raise DataError(
            f"{type(model).__name__} only ranks: train a model that predicts stars, like mf"
        )
    if not len(ratings):
        raise DataError("there are no ratings to judge")
    if folds < 2:
        raise DataError(f"folds must be at least 2, not {folds}")
    fold = _dealt(ratings, folds, rng)
    stars = np.empty(len(ratings))
    for number in range(folds):
        hidden = fold == number
        if hidden.any():
            stars[hidden] = model.predict_at(Holdout(ratings.keep(~hidden), ratings.keep(hidden)))
    return stars


def _dealt(ratings: Ratings, folds: int, rng: np.random.Generator) -> Rows:
    """[R]: a number below `folds` for each rating, as evenly over each user's as can be."""
    order = np.lexsort((rng.random(len(ratings)), ratings.rows))
    starts = np.cumsum(ratings.user_counts) - ratings.user_counts
    fold = np.empty(len(ratings), dtype=np.int64)
    fold[order] = (np.arange(len(ratings)) - starts[ratings.rows]) % folds
    return fold


def _others_mean(values: Floats, groups: NDArray[Any], n: int) -> Floats:
    """For each of `values` [R] the mean of the others of its group, shrunk to that of all: [R]."""
    sums = np.bincount(groups, values, n)[groups] - values
    counts = np.bincount(groups, minlength=n)[groups] - 1
    return np.asarray((sums + _PRIOR * values.mean()) / (counts + _PRIOR))


def _user_means(ratings: Ratings, values: NDArray[Any], *, prior: float = 0) -> Floats:
    """Mean by user of `values` [R], with `prior` ratings' worth of the mean of all: [U]."""
    sums = np.bincount(ratings.rows, values, len(ratings.users))
    counts = np.maximum(ratings.user_counts + prior, 1)
    return np.asarray((sums + prior * values.mean()) / counts)


def _less_usual(profiles: Floats, counts: Rows) -> Floats:
    """[U, 3] less their regression on a quadratic in the log of the number of ratings."""
    logs = np.log(counts)
    given = np.stack([np.ones_like(logs), logs, logs**2], axis=1)
    return np.asarray(profiles - given @ np.linalg.lstsq(given, profiles, rcond=None)[0])


# --- without a model, to compare with


def from_user_mean(ratings: Ratings) -> Floats:
    """Distance of each rating from the mean of its user, in stars: [R]."""
    return np.abs(ratings.stars - _user_means(ratings, ratings.stars)[ratings.rows])


def from_item_mean(ratings: Ratings) -> Floats:
    """Distance of each rating from the mean of its item, in stars: [R]."""
    return np.abs(ratings.stars - _item_moments(ratings)[0][ratings.columns])


def user_variance(ratings: Ratings) -> Floats:
    """Variance of each user's stars: [U], 0 for who has no ratings."""
    return _user_means(ratings, from_user_mean(ratings) ** 2)


def user_deviation(ratings: Ratings) -> Floats:
    """Mean distance of each user's stars from the items' means: [U] (Chirita et al. 2005 weigh it
    by the items' counts, as "rating deviation from mean agreement")."""
    return _user_means(ratings, from_item_mean(ratings))


def user_obscurity(ratings: Ratings) -> Floats:
    """How little known what each user has rated is: minus the mean log of the items' counts, [U].
    Stars are not read."""
    return -_user_means(ratings, np.log(ratings.item_counts[ratings.columns]))


# --- attacks, to measure on


@dataclass(frozen=True, eq=False)
class Injected:
    """Ratings with anomalies of which it is known where they are."""

    ratings: Ratings
    users: Mask
    """[U]: who was invented."""
    entries: Mask
    """[R]: which ratings were invented or changed."""


def average_attack(
    ratings: Ratings,
    target: int,
    *,
    aim: Aim,
    size: float = 0.05,
    filler: float = 0.05,
    popular: float = 1.0,
    rng: np.random.Generator,
) -> Injected:
    """Invented users who rate like the average person, and one item as the attacker wants it.

    Of every profile the share `filler` of all items gets stars around the item's own mean with its
    own standard deviation, and the item in row `target` the highest star (push) or the lowest
    (nuke). `size`: profiles as a share of the users there are (Burke et al. 2006; Mobasher et al.
    2007, "Toward trustworthy recommender systems"). The filler is drawn uniformly from the share
    `popular` of the items, those with most ratings: all of them in the attack's first form, 0.2 in
    "average over popular items", which hides what is rated too (Hurley et al. 2009). Raises
    DataError.
    """
    means, spreads = _item_moments(ratings)
    known = np.argsort(-ratings.item_counts, kind="stable")[: _share_of(ratings, popular)]

    def profile() -> tuple[Rows, Floats]:
        items = _filler(ratings, filler, np.setdiff1d(known, [target]), rng)
        return items, rng.normal(means[items], spreads[items])

    return _attack(ratings, target, aim, size, profile, rng)


def bandwagon_attack(
    ratings: Ratings,
    target: int,
    *,
    aim: Aim,
    size: float = 0.05,
    filler: float = 0.05,
    selected: int = 5,
    rng: np.random.Generator,
) -> Injected:
    """Invented users who share the best known tastes, to have many neighbours.

    push: the `selected` items with most ratings get the highest star, as the target does.
    nuke ("reverse bandwagon"): the `selected` items with the lowest means among those with at least
    the average number of ratings get the lowest. The filler gets stars around the mean of all
    ratings with their standard deviation; the rest as in `average_attack` (Mobasher et al. 2007).
    """
    counts, (means, _) = ratings.item_counts, _item_moments(ratings)
    known = np.where(counts >= counts.mean(), -means, -np.inf)
    order = np.argsort(-(counts if aim == "push" else known), kind="stable")
    famous = order[order != target][:selected]
    others = np.setdiff1d(np.arange(len(ratings.items)), np.append(famous, target))
    low, high = ratings.scale
    mean, spread = float(ratings.stars.mean()), float(ratings.stars.std())

    def profile() -> tuple[Rows, Floats]:
        items = _filler(ratings, filler, others, rng)
        stars = np.full(len(famous), high if aim == "push" else low)
        drawn = rng.normal(mean, spread, len(items))
        return np.append(items, famous), np.append(drawn, stars)

    return _attack(ratings, target, aim, size, profile, rng)


def random_raters(ratings: Ratings, *, size: float = 0.05, rng: np.random.Generator) -> Injected:
    """Invented users who rate what a user drawn at random has rated, with stars drawn at random.

    What they rated is as plausible as it can be; only the stars, each as likely as any other, say
    nothing. `size`: how many, as a share of the users there are.
    """
    levels = np.unique(ratings.stars)
    raters = np.flatnonzero(ratings.user_counts)
    starts = ratings.matrix.indptr

    def profile() -> tuple[Rows, Floats]:
        user = rng.choice(raters)
        items = ratings.columns[starts[user] : starts[user + 1]].astype(np.int64)
        return items, rng.choice(levels, len(items)).astype(np.float64)

    return _with_profiles(ratings, [profile() for _ in range(_profiles(ratings, size))], rng)


def corrupted(ratings: Ratings, *, share: float, rng: np.random.Generator) -> Injected:
    """The share `share` of the ratings, drawn at random, each with another star than was given,
    all others equally likely. Nobody is invented."""
    if not 0 < share < 1:
        raise DataError(f"the share of corrupted ratings must be between 0 and 1, not {share}")
    entries = np.zeros(len(ratings), dtype=bool)
    entries[rng.permutation(len(ratings))[: max(1, round(share * len(ratings)))]] = True
    levels, places = np.unique(ratings.stars, return_inverse=True)
    if len(levels) < 2:
        raise DataError("all ratings are equal: there is no other star to put in their place")
    others = (places[entries] + rng.integers(1, len(levels), int(entries.sum()))) % len(levels)
    stars = ratings.stars.copy()
    stars[entries] = levels[others]
    return Injected(ratings.with_stars(stars), np.zeros(len(ratings.users), dtype=bool), entries)


def _attack(
    ratings: Ratings,
    target: int,
    aim: Aim,
    size: float,
    profile: Callable[[], tuple[Rows, Floats]],
    rng: np.random.Generator,
) -> Injected:
    """Profiles as they are drawn, with the target's star."""
    if aim not in get_args(Aim):
        raise DataError(f"the aim of an attack is push or nuke, not {aim!r}")
    low, high = ratings.scale
    drawn = [profile() for _ in range(_profiles(ratings, size))]
    star = high if aim == "push" else low
    return _with_profiles(
        ratings, [(np.append(items, target), np.append(xs, star)) for items, xs in drawn], rng
    )


def _profiles(ratings: Ratings, size: float) -> int:
    if size <= 0:
        raise DataError(f"the size of an attack is a share of the users above 0, not {size}")
    return max(1, round(size * len(ratings.users)))


def _filler(ratings: Ratings, share: float, among: Rows, rng: np.random.Generator) -> Rows:
    """The share `share` of all items for one profile, drawn from those of `among` that somebody
    has rated."""
    free = among[ratings.item_counts[among] > 0]
    count = min(len(free), _share_of(ratings, share))
    return np.asarray(rng.choice(free, count, replace=False))


def _share_of(ratings: Ratings, share: float) -> int:
    if not 0 < share <= 1:
        raise DataError(f"a share of the items is above 0 and at most 1, not {share}")
    return max(1, round(share * len(ratings.items)))


def _item_moments(ratings: Ratings) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each item's stars: [N] each; 0 and 0 without any."""
    counts, stars = np.maximum(ratings.item_counts, 1), ratings.stars.astype(np.float64)
    means = np.bincount(ratings.columns, stars, len(counts)) / counts
    squares = np.bincount(ratings.columns, (stars - means[ratings.columns]) ** 2, len(counts))
    return means, np.sqrt(squares / counts)


def _with_profiles(
    ratings: Ratings, profiles: list[tuple[Rows, Floats]], rng: np.random.Generator
) -> Injected:
    """The ratings and those of invented users, stars brought to the nearest that is given."""
    names = _new_ids(ratings.users, len(profiles))
    lengths = [len(items) for items, _ in profiles]
    items = ratings.items.values[np.concatenate([items for items, _ in profiles])]
    stars = _nearest(np.unique(ratings.stars), np.concatenate([stars for _, stars in profiles]))
    times = None
    if ratings.times is not None:
        times = np.append(ratings.times, rng.choice(ratings.times, len(items)))
    both = Ratings.of(
        np.append(ratings.users.values[ratings.rows], np.repeat(names, lengths)),
        np.append(ratings.items.values[ratings.columns], items),
        np.append(ratings.stars, stars),
        times,
        scale=ratings.scale,
    )
    users = Ids.of(np.append(ratings.users.values, names))
    whole = replace(
        both.over(ratings.items).with_users(users),
        catalog=ratings.catalog,
        user_features=ratings.user_features,
        item_features=ratings.item_features,
    )
    invented = np.isin(users.values, names)
    return Injected(whole, invented, invented[whole.rows])


def _new_ids(users: Ids, n: int) -> NDArray[Any]:
    """[n]: ids that nobody has, behind all others."""
    if users.values.dtype.kind == "i":
        return np.asarray(users.values[-1] + 1 + np.arange(n))
    return np.array([f"{users.values[-1]} and {i:06d}" for i in range(n)])


def _nearest(levels: NDArray[np.float32], stars: Floats) -> NDArray[np.float32]:
    """Each of `stars` [n] as the nearest of the ascending `levels`."""
    borders = (levels[1:] + levels[:-1]) / 2
    return np.asarray(levels[np.searchsorted(borders, stars)])
