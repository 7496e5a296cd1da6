"""What a model may see and what it has to predict. Every function is deterministic given `rng`.

Shares: `test` is a share of all ratings (or users), `validation` of what is not test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ids import Ids, Rows
from recae.ratings import Ratings

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Holdout:
    """`history`: what may be seen; `target`: what is to be predicted. Same users, same items.

    Raises DataError where a target stands in the history too: test ratings fed as input are the
    best known way to a result that is too good.
    """

    history: Ratings
    target: Ratings

    def __post_init__(self) -> None:
        if self.history.users != self.target.users or self.history.items != self.target.items:
            raise DataError("history and target of a holdout must have the same users and items")
        n = len(self.history.items)
        seen = self.history.rows * n + self.history.columns
        wanted = self.target.rows * n + self.target.columns
        both = np.isin(wanted, seen)
        if both.any():
            user, item = divmod(int(wanted[both][0]), n)
            raise DataError(
                f"{int(both.sum())} target ratings are in the history too, the first is user "
                f"{self.target.users.values[user].item()!r}, item "
                f"{self.target.items.values[item].item()!r}: leave them out of the history"
            )

    @classmethod
    def of(cls, history: Ratings, target: Ratings) -> Holdout:
        """From two tables of ratings whose users and items need not be the same.

        The users are the target's.
        """
        items = Ids.of(np.concatenate([history.items.values, target.items.values]))
        rows = history.users.find(target.users.values)
        known = history.take_users(rows[rows >= 0]).over(items)
        seen = known.with_users(target.users)
        return cls(seen, target.over(items))


@dataclass(frozen=True, eq=False)
class Split:
    """`train` to learn from, `validation` to choose by (or None), `test` to score."""

    train: Ratings
    validation: Holdout | None
    test: Holdout

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything in the split: equal exactly when two runs saw the same one."""
        parts = [self.train.digest, self.test.history.digest, self.test.target.digest]
        if self.validation is not None:
            parts += [self.validation.history.digest, self.validation.target.digest]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def random(
    ratings: Ratings, *, test: float = 0.1, validation: float = 0.0, rng: np.random.Generator
) -> Split:
    """Each rating is in the test set with equal chance. Raises DataError where nothing is left."""
    return by_mask(ratings, _draw(len(ratings), test, rng), validation=validation, rng=rng)


def k_fold(
    ratings: Ratings, *, k: int = 5, validation: float = 0.0, rng: np.random.Generator
) -> Iterator[Split]:
    """k splits; each rating is in exactly one of the k test sets."""
    if not 2 <= k <= len(ratings):
        raise DataError(f"k must be between 2 and the number of ratings, not {k}")
    folds = rng.permutation(len(ratings)) % k
    return (by_mask(ratings, folds == fold, validation=validation, rng=rng) for fold in range(k))


def part_of_each(ratings: Ratings, *, target: float = 0.2, rng: np.random.Generator) -> Holdout:
    """Of every user with at least two ratings the share `target`, at least one and never all.

    For a model that is trained already: how well does it predict a part of people's ratings from
    the rest? Raises DataError where nobody has two ratings.
    """
    able = np.flatnonzero(ratings.user_counts > 1)
    if not len(able):
        raise DataError("nobody has two ratings, one to see and one to predict")
    return _part_of_each(ratings, able, target, rng)


def leave_last(ratings: Ratings, *, validation: bool = False) -> Split:
    """Test: each user's latest rating; validation: the one before. Needs times.

    Users with fewer ratings than that keep their only one for training. Equal times are ordered
    by item, so the split needs no randomness.
    """
    times = _times(ratings)
    order = np.lexsort((ratings.columns, times, ratings.rows))
    from_end = np.empty(len(ratings), dtype=np.int64)
    ends = np.cumsum(ratings.user_counts)
    from_end[order] = ends[ratings.rows] - 1 - np.arange(len(ratings))
    counts = ratings.user_counts[ratings.rows]
    test = (from_end == 0) & (counts > 1)
    held = (from_end == 1) & (counts > 2) if validation else None
    return _split(ratings, test, held)


def temporal(ratings: Ratings, *, test: float = 0.1, validation: float = 0.0) -> Split:
    """One cut in time for everybody: the latest ratings are the test set. Needs times.

    Ratings of one second stay together, so the shares are met as nearly as that allows.
    """
    times = _times(ratings)
    after = _later(times, times, test)
    held = ~after & _later(times, times[~after], validation) if validation else None
    return _split(ratings, after, held)


def unseen_users(
    ratings: Ratings,
    *,
    test: float = 0.1,
    validation: float = 0.0,
    target: float = 0.2,
    rng: np.random.Generator,
) -> Split:
    """Strong generalisation (Liang et al. 2018): test users are not trained on.

    `test`, `validation`: shares of the users with at least two ratings; the others are trained
    on. Of each held-out user the share `target` of the ratings (at least one) is to be predicted
    from the rest.
    """
    shuffled = rng.permutation(np.flatnonzero(ratings.user_counts > 1))
    n_test = _count(len(shuffled), test, "users to test")
    n_held = _count(len(shuffled) - n_test, validation, "users to validate") if validation else 0
    held_out = shuffled[: n_test + n_held]
    train_users = np.setdiff1d(np.arange(len(ratings.users)), held_out)
    return Split(
        ratings.take_users(train_users),
        _part_of_each(ratings, held_out[n_test:], target, rng) if n_held else None,
        _part_of_each(ratings, held_out[:n_test], target, rng),
    )


def unseen_items(
    ratings: Ratings, *, test: float = 0.1, validation: float = 0.0, rng: np.random.Generator
) -> Split:
    """Cold start of items: nothing that is predicted has been rated in training.

    `test`, `validation`: shares of the rated items, of which all ratings are held out. They stay
    among the items of the training set, without a rating: only side data tell them apart, and a
    model without gives them its baseline's answer.
    """
    shuffled = rng.permutation(np.flatnonzero(ratings.item_counts))
    n_test = _count(len(shuffled), test, "items to test")
    n_held = _count(len(shuffled) - n_test, validation, "items to validate") if validation else 0
    held = np.isin(ratings.columns, shuffled[n_test : n_test + n_held]) if n_held else None
    return _split(ratings, np.isin(ratings.columns, shuffled[:n_test]), held)


def partial_users(
    ratings: Ratings, *, users: float = 0.5, target: float = 0.38, rng: np.random.Generator
) -> Split:
    """Test: the share `target` of the ratings of the share `users` of the users.

    The shape of ML-100K's u1, whose test set holds 38 % of the ratings of half of the users:
    validation inside u1 copies it, because a uniform 10 % misleads.
    """
    _check_share(target, "target ratings")
    n = _count(len(ratings.users), users, "users")
    chosen = np.isin(ratings.rows, rng.permutation(len(ratings.users))[:n])
    return by_mask(ratings, chosen & (rng.random(len(ratings)) < target), rng=rng)


def predefined(
    ratings: Ratings,
    test: Ratings,
    *,
    validation: float | Ratings = 0.0,
    rng: np.random.Generator,
) -> Split:
    """Test: the (user, item) pairs of `test`; validation: a share of the others, or those of a
    table like `test`.

    Raises DataError where a pair is not rated, and where one is in both tables.
    """
    wanted = _places(ratings, test, "test")
    if not isinstance(validation, Ratings):
        return by_mask(ratings, wanted, validation=validation, rng=rng)
    held = _places(ratings, validation, "validation")
    if both := int((wanted & held).sum()):
        raise DataError(f"{both} ratings are both to validate and to test: leave them out of one")
    return _split(ratings, wanted, held)


def _places(ratings: Ratings, part: Ratings, what: str) -> Mask:
    """[R]: which of the ratings are at the (user, item) pairs of `part`. Raises DataError."""
    users = ratings.users.rows(part.users.values)[part.rows]
    items = ratings.items.rows(part.items.values)[part.columns]
    n = len(ratings.items)
    wanted = users * n + items
    present = ratings.rows * n + ratings.columns
    absent = ~np.isin(wanted, present)
    if absent.any():
        place = int(np.flatnonzero(absent)[0])
        raise DataError(
            f"{int(absent.sum())} {what} ratings are not among the ratings, the first is user "
            f"{ratings.users.values[users[place]].item()!r}, item "
            f"{ratings.items.values[items[place]].item()!r}: give all ratings, those held out too"
        )
    return np.isin(present, wanted)


def by_mask(
    ratings: Ratings,
    test: Mask,
    *,
    validation: float = 0.0,
    rng: np.random.Generator,
) -> Split:
    """Test: the ratings where `test` [R] holds; validation: a random share of the others."""
    if test.dtype != bool or test.shape != (len(ratings),):
        raise DataError(f"the test mask must be {len(ratings)} booleans, one a rating")
    held = None
    if validation:
        held = np.zeros(len(ratings), dtype=bool)
        rest = np.flatnonzero(~test)
        held[rest[_draw(len(rest), validation, rng)]] = True
    return _split(ratings, test, held)


def _split(ratings: Ratings, test: Mask, held: Mask | None) -> Split:
    seen = ~test if held is None else ~test & ~held
    if not seen.any():
        raise DataError("no rating is left to train on: hold out fewer")
    if not test.any():
        raise DataError("the test set is empty: hold out more")
    train = ratings.keep(seen)
    if held is not None and not held.any():
        raise DataError("the validation set is empty: hold out more, or nothing")
    validation = None
    if held is not None:
        validation = Holdout(train, ratings.keep(held))
    return Split(train, validation, Holdout(train, ratings.keep(test)))


def _draw(n: int, share: float, rng: np.random.Generator) -> Mask:
    """[n]: exactly round(share * n) True (at least one), in random places."""
    mask = np.zeros(n, dtype=bool)
    mask[rng.permutation(n)[: _count(n, share, "ratings")]] = True
    return mask


def _count(n: int, share: float, what: str) -> int:
    _check_share(share, what)
    if n < 2:
        raise DataError(f"there are too few {what} to divide: {n}")
    return min(max(round(share * n), 1), n - 1)


def _check_share(share: float, what: str) -> None:
    if not 0 < share < 1:
        raise DataError(f"the share of {what} must be between 0 and 1, not {share}")


def _part_of_each(ratings: Ratings, users: Rows, share: float, rng: np.random.Generator) -> Holdout:
    """Of every user at `users` a random share of the ratings, at least one and never all."""
    _check_share(share, "target ratings")
    theirs = ratings.take_users(np.sort(users))
    counts = theirs.user_counts
    order = np.lexsort((rng.random(len(theirs)), theirs.rows))
    rank = np.empty(len(theirs), dtype=np.int64)
    rank[order] = np.arange(len(theirs)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.clip(np.round(share * counts), 1, counts - 1)
    target = rank < wanted[theirs.rows]
    return Holdout(theirs.keep(~target), theirs.keep(target))


def _times(ratings: Ratings) -> NDArray[np.int64]:
    if ratings.times is None:
        raise DataError("this split needs times, and the ratings have none: name their column")
    return ratings.times


def _later(times: NDArray[np.int64], among: NDArray[np.int64], share: float) -> Mask:
    """[R]: later than the cut that leaves about `share` of the times `among` behind it."""
    seconds, counts = np.unique(among, return_counts=True)
    if len(seconds) < 2:
        raise DataError("all times are equal: there is no later and no earlier")
    later = np.cumsum(counts[::-1])[::-1][1:]
    nearest = np.argmin(np.abs(later - _count(len(among), share, "ratings")))
    return np.asarray(times > seconds[nearest])
