"""What every split promises: nothing lost, nothing shared, the same seed the same split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recae import splits
from recae.errors import DataError
from recae.ids import Ids
from recae.models import MODELS
from recae.ratings import Ratings
from recae.splits import Holdout, Split

Entry: TypeAlias = tuple[int, int, float, int]


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def some_ratings(n_users: int = 30, n_items: int = 20, *, times: bool = True) -> Ratings:
    """Half of all pairs, ids that are no row numbers, times that are all different."""
    rng = rng_of(99)
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.5)
    return Ratings.of(
        users * 10 + 7,
        items * 3 + 1000,
        rng.integers(1, 6, len(users)),
        rng.permutation(len(users)) + 10**9 if times else None,
        scale=(1, 5),
    )


def entries(ratings: Ratings) -> Counter[Entry]:
    """(user id, item id, stars, time) of each rating; time 0 where there are none."""
    times = np.zeros(len(ratings), np.int64) if ratings.times is None else ratings.times
    return Counter(
        zip(
            ratings.users.values[ratings.rows].tolist(),
            ratings.items.values[ratings.columns].tolist(),
            ratings.stars.tolist(),
            times.tolist(),
            strict=True,
        )
    )


def targets(split: Split) -> list[Ratings]:
    return [split.test.target] + ([split.validation.target] if split.validation else [])


def assert_weak(split: Split, ratings: Ratings) -> None:
    """Nothing lost, nothing twice, and the history of every holdout is the training set."""
    parts = [split.train, *targets(split)]
    assert sum((entries(part) for part in parts), Counter()) == entries(ratings)
    for holdout in filter(None, (split.validation, split.test)):
        assert entries(holdout.history) == entries(split.train)
    for part in parts:
        assert len(part)
        assert (part.users, part.items, part.scale) == (ratings.users, ratings.items, ratings.scale)


def assert_strong(split: Split, ratings: Ratings) -> None:
    """Nothing lost, nothing twice, and no user in two parts."""
    holdouts = [holdout for holdout in (split.validation, split.test) if holdout]
    parts = [split.train, *(part for hold in holdouts for part in (hold.history, hold.target))]
    assert sum((entries(part) for part in parts), Counter()) == entries(ratings)
    users = [part.users.values for part in (split.train, *(h.target for h in holdouts))]
    assert np.sort(np.concatenate(users)).tolist() == ratings.users.values.tolist()
    for holdout in holdouts:
        assert (holdout.history.user_counts > 0).all()
        assert (holdout.target.user_counts > 0).all()
    assert all(part.items == ratings.items for part in parts)


def odd_pairs(ratings: Ratings) -> Ratings:
    return ratings.keep(np.arange(len(ratings)) % 7 == 0)


Maker: TypeAlias = Callable[[Ratings, np.random.Generator], Split]

SEEDED: dict[str, Maker] = {
    "random": lambda r, rng: splits.random(r, rng=rng),
    "random with validation": lambda r, rng: splits.random(r, test=0.2, validation=0.1, rng=rng),
    "k_fold": lambda r, rng: next(iter(splits.k_fold(r, k=3, rng=rng))),
    "k_fold with validation": lambda r, rng: list(splits.k_fold(r, k=3, validation=0.1, rng=rng))[
        2
    ],
    "partial_users": lambda r, rng: splits.partial_users(r, rng=rng),
    "predefined with validation": lambda r, rng: splits.predefined(
        r, odd_pairs(r), validation=0.1, rng=rng
    ),
    "by_mask with validation": lambda r, rng: splits.by_mask(
        r, np.arange(len(r)) % 5 == 0, validation=0.1, rng=rng
    ),
    "unseen_users": lambda r, rng: splits.unseen_users(r, test=0.2, rng=rng),
    "unseen_users with validation": lambda r, rng: splits.unseen_users(
        r, test=0.2, validation=0.2, rng=rng
    ),
    "unseen_items": lambda r, rng: splits.unseen_items(r, test=0.2, rng=rng),
    "unseen_items with validation": lambda r, rng: splits.unseen_items(
        r, test=0.2, validation=0.2, rng=rng
    ),
}
FIXED: dict[str, Callable[[Ratings], Split]] = {
    "leave_last": lambda r: splits.leave_last(r),
    "leave_last with validation": lambda r: splits.leave_last(r, validation=True),
    "temporal": lambda r: splits.temporal(r, test=0.3),
    "temporal with validation": lambda r: splits.temporal(r, test=0.3, validation=0.3),
    "predefined": lambda r: splits.predefined(r, odd_pairs(r), rng=rng_of(0)),
    "by_mask": lambda r: splits.by_mask(r, np.arange(len(r)) % 5 == 0, rng=rng_of(0)),
}


def check(name: str, split: Split, ratings: Ratings) -> None:
    (assert_strong if name.startswith("unseen_users") else assert_weak)(split, ratings)


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("name", SEEDED)
def test_seeded_splits_lose_and_share_nothing(name: str, times: bool) -> None:
    ratings = some_ratings(times=times)
    split = SEEDED[name](ratings, rng_of(0))
    check(name, split, ratings)
    assert (split.validation is not None) == name.endswith("validation")


@pytest.mark.parametrize("name", FIXED)
def test_fixed_splits_lose_and_share_nothing(name: str) -> None:
    ratings = some_ratings()
    split = FIXED[name](ratings)
    check(name, split, ratings)
    assert (split.validation is not None) == name.endswith("validation")


@pytest.mark.parametrize("name", SEEDED)
def test_the_seed_decides(name: str) -> None:
    ratings = some_ratings()
    digests = [SEEDED[name](ratings, rng_of(seed)).digest for seed in (0, 0, 1, 2)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("name", ["unseen_users", "partial_users"])
def test_the_seed_decides_both_the_users_and_their_ratings(name: str) -> None:
    """Two draws: were one of them fixed, the digest would still move with the other."""
    ratings = some_ratings()
    drawn: dict[int, set[tuple[int, ...]]] = {}
    groups = set()
    for seed in range(12):
        target = SEEDED[name](ratings, rng_of(seed)).test.target
        users = np.flatnonzero(target.user_counts)
        groups.add(tuple(target.users.values[users].tolist()))
        for user in users.tolist():
            items = tuple(target.columns[target.rows == user].tolist())
            drawn.setdefault(target.users.values[user].item(), set()).add(items)
    assert len(groups) == 12
    assert max(map(len, drawn.values())) > 1


@pytest.mark.parametrize("name", FIXED)
def test_splits_without_randomness_have_one_digest_each(name: str) -> None:
    assert FIXED[name](some_ratings()).digest == FIXED[name](some_ratings()).digest


def test_digests_tell_all_kinds_of_splits_apart() -> None:
    ratings = some_ratings()
    made = [make(ratings, rng_of(0)) for make in SEEDED.values()]
    made += [make(ratings) for make in FIXED.values()]
    assert len({split.digest for split in made}) == len(made)


def test_the_digest_sees_one_star_and_the_name_of_the_part() -> None:
    ratings = some_ratings()
    split = splits.random(ratings, test=0.2, validation=0.1, rng=rng_of(0))
    assert split.validation is not None
    swapped = Split(split.train, split.test, split.validation)
    without = Split(split.train, None, split.test)
    stars = ratings.stars.copy()
    stars[0] = 1 + stars[0] % 5
    other = Ratings.of(
        ratings.users.values[ratings.rows],
        ratings.items.values[ratings.columns],
        stars,
        ratings.times,
        scale=(1, 5),
    )
    changed = splits.random(other, test=0.2, validation=0.1, rng=rng_of(0))
    assert len({x.digest for x in (split, swapped, without, changed)}) == 4


@st.composite
def small_ratings(draw: st.DrawFn) -> Ratings:
    """2 to 6 users, few items, times that often coincide, ratings of zero stars."""
    pair = st.tuples(st.integers(0, 5), st.integers(0, 6))
    pairs = draw(st.lists(pair, min_size=2, max_size=25, unique=True))
    n = len(pairs)
    stars = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    times = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    users, items = zip(*pairs, strict=True)
    return Ratings.of(users, items, stars, times, scale=(0, 5))


def made_or_refused(make: Callable[[], Split]) -> Split:
    try:
        return make()
    except DataError:
        assume(False)
        raise


@pytest.mark.parametrize("name", SEEDED)
@settings(max_examples=40, deadline=None)
@given(ratings=small_ratings(), seed=st.integers(0, 3))
def test_seeded_splits_of_small_matrices(name: str, ratings: Ratings, seed: int) -> None:
    before = ratings.digest
    split = made_or_refused(lambda: SEEDED[name](ratings, rng_of(seed)))
    check(name, split, ratings)
    assert SEEDED[name](ratings, rng_of(seed)).digest == split.digest
    del ratings.__dict__["digest"]
    assert ratings.digest == before


@pytest.mark.parametrize("name", FIXED)
@settings(max_examples=40, deadline=None)
@given(ratings=small_ratings())
def test_fixed_splits_of_small_matrices(name: str, ratings: Ratings) -> None:
    check(name, made_or_refused(lambda: FIXED[name](ratings)), ratings)


@pytest.mark.parametrize(("test", "validation"), [(0.1, 0.0), (0.25, 0.1), (0.5, 0.5)])
def test_random_meets_its_shares_exactly(test: float, validation: float) -> None:
    ratings = some_ratings()
    split = splits.random(ratings, test=test, validation=validation, rng=rng_of(0))
    n_test = round(test * len(ratings))
    assert len(split.test.target) == n_test
    if validation:
        assert split.validation is not None
        assert len(split.validation.target) == round(validation * (len(ratings) - n_test))


def test_random_gives_each_rating_the_same_chance() -> None:
    """2,000 draws of 40 %: the mean of each rating lies within 5 standard deviations."""
    ratings = some_ratings(5, 6)
    keys = list(entries(ratings))
    drawn: Counter[Entry] = Counter()
    rng = rng_of(0)
    for _ in range(2000):
        drawn += entries(splits.random(ratings, test=0.4, rng=rng).test.target)
    share = round(0.4 * len(keys)) / len(keys)
    tolerance = 5 * np.sqrt(2000 * share * (1 - share))
    assert all(abs(drawn[key] - 2000 * share) < tolerance for key in keys)


def test_tiny_shares_still_hold_out_one_rating() -> None:
    split = splits.random(some_ratings(), test=1e-9, validation=1e-9, rng=rng_of(0))
    assert [len(part) for part in targets(split)] == [1, 1]


@pytest.mark.parametrize("k", [2, 5, 7])
def test_k_fold_tests_every_rating_once_in_folds_of_one_size(k: int) -> None:
    ratings = some_ratings()
    folds = list(splits.k_fold(ratings, k=k, validation=0.1, rng=rng_of(0)))
    assert len(folds) == k
    for fold in folds:
        assert_weak(fold, ratings)
    tested = [fold.test.target for fold in folds]
    assert sum((entries(part) for part in tested), Counter()) == entries(ratings)
    sizes = [len(part) for part in tested]
    assert max(sizes) - min(sizes) <= 1


def test_k_fold_goes_down_to_one_rating_a_fold() -> None:
    ratings = some_ratings(3, 4)
    folds = splits.k_fold(ratings, k=len(ratings), rng=rng_of(0))
    assert [len(fold.test.target) for fold in folds] == [1] * len(ratings)


@settings(max_examples=60, deadline=None)
@given(ratings=small_ratings(), validation=st.booleans())
def test_leave_last_holds_out_the_last(ratings: Ratings, validation: bool) -> None:
    split = made_or_refused(lambda: splits.leave_last(ratings, validation=validation))
    train, test, held = set(), set(), set()
    for user in ratings.users.values.tolist():
        theirs = sorted((e for e in entries(ratings) if e[0] == user), key=lambda e: (e[3], e[1]))
        if len(theirs) > 1:
            test.add(theirs.pop())
        if validation and len(theirs) > 1:
            held.add(theirs.pop())
        train.update(theirs)
    assert set(entries(split.train)) == train
    assert set(entries(split.test.target)) == test
    assert set(entries(split.validation.target) if split.validation else []) == held


@settings(max_examples=60, deadline=None)
@given(ratings=small_ratings(), validation=st.sampled_from([0.0, 0.3]))
def test_temporal_cuts_once_for_everybody(ratings: Ratings, validation: float) -> None:
    split = made_or_refused(lambda: splits.temporal(ratings, test=0.3, validation=validation))
    held = [split.validation.target] if split.validation else []
    parts = [part.times for part in (split.train, *held, split.test.target)]
    for earlier, later in pairwise(parts):
        assert earlier is not None
        assert later is not None
        assert earlier.max() < later.min()


def test_temporal_meets_its_shares_where_times_differ() -> None:
    ratings = some_ratings()
    split = splits.temporal(ratings, test=0.2, validation=0.25)
    n_test = round(0.2 * len(ratings))
    assert [len(part) for part in targets(split)] == [n_test, round(0.25 * (len(ratings) - n_test))]


def test_unseen_users_meets_its_shares() -> None:
    ratings = some_ratings(40)
    split = splits.unseen_users(ratings, test=0.25, validation=0.2, target=0.3, rng=rng_of(0))
    assert split.validation is not None
    sizes = [len(x.users) for x in (split.train, split.validation.target, split.test.target)]
    assert sizes == [24, 6, 10]
    for holdout in (split.validation, split.test):
        counts = holdout.history.user_counts + holdout.target.user_counts
        wanted = np.clip(np.round(0.3 * counts), 1, counts - 1)
        np.testing.assert_array_equal(holdout.target.user_counts, wanted)


def test_unseen_items_are_whole_and_stay_among_the_items() -> None:
    ratings = some_ratings()
    split = splits.unseen_items(ratings, test=0.25, validation=0.2, rng=rng_of(0))
    assert split.validation is not None
    parts = [split.train, split.validation.target, split.test.target]
    held = [part.item_counts > 0 for part in parts]
    assert [int(mask.sum()) for mask in held] == [12, 3, 5]
    assert (sum(mask.astype(int) for mask in held) == 1).all()
    for part, mask in zip(parts, held, strict=True):
        assert (part.item_counts[mask] == ratings.item_counts[mask]).all()
    model = MODELS["bias"]().fit(split.train, rng=rng_of(0))
    assert model.provenance(split.test)["fallback"] == len(split.test.target)


def test_items_without_a_rating_are_not_held_out() -> None:
    ratings = Ratings.of([1, 1, 2], [5, 6, 7], [3, 4, 5], scale=(1, 5))
    padded = ratings.over(Ids.of(range(100)))
    for seed in range(5):
        split = splits.unseen_items(padded, test=0.3, rng=rng_of(seed))
        assert (len(split.train), len(split.test.target)) == (2, 1)
    with pytest.raises(DataError, match="too few items"):
        splits.unseen_items(Ratings.of([1], [1], [3], scale=(1, 5)), rng=rng_of(0))


def test_unseen_users_trains_on_those_with_one_rating() -> None:
    """Nothing could be predicted of them from the rest: there is no rest."""
    ratings = Ratings.of([1, 2, 3, 3, 4, 4], [1, 2, 1, 2, 1, 3], [1, 2, 3, 4, 5, 1], scale=(1, 5))
    for seed in range(5):
        split = splits.unseen_users(ratings, test=0.5, rng=rng_of(seed))
        assert_strong(split, ratings)
        assert {1, 2} < set(split.train.users.values.tolist())


def test_partial_users_leaves_the_other_users_complete() -> None:
    ratings = some_ratings(200, 60)
    split = splits.partial_users(ratings, users=0.5, target=0.38, rng=rng_of(0))
    touched = split.test.target.user_counts > 0
    assert touched.sum() == 100
    share = len(split.test.target) / ratings.user_counts[touched].sum()
    assert share == pytest.approx(0.38, abs=0.03)


def test_predefined_holds_out_these_pairs_with_the_stars_of_all_ratings() -> None:
    ratings = some_ratings()
    listed = odd_pairs(ratings)
    users, items = listed.users.values[listed.rows], listed.items.values[listed.columns]
    shuffled = rng_of(3).permutation(len(listed))
    test = Ratings.of(users[shuffled], items[shuffled], np.ones(len(listed)), scale=(1, 5))
    split = splits.predefined(ratings, test, rng=rng_of(0))
    assert entries(split.test.target) == entries(listed)
    assert_weak(split, ratings)


def test_predefined_with_names_as_ids() -> None:
    ratings = Ratings.of(["ann", "bob", "bob"], ["x", "x", "y"], [1, 2, 3], scale=(1, 5))
    test = Ratings.of(["bob"], ["x"], [2], scale=(1, 5))
    split = splits.predefined(ratings, test, rng=rng_of(0))
    assert list(entries(split.test.target)) == [("bob", "x", 2.0, 0)]


def test_predefined_is_the_published_u1(shared_data: Path) -> None:
    folder = shared_data / "ml-100k"
    whole, base, test = (
        np.loadtxt(folder / name, dtype=np.int64) for name in ("u.data", "u1.base", "u1.test")
    )
    ratings, listed = (Ratings.of(*table.T, scale=(1, 5)) for table in (whole, test))
    split = splits.predefined(ratings, listed, validation=0.05, rng=rng_of(0))
    assert split.validation is not None
    assert entries(split.test.target) == Counter(map(tuple, test.tolist()))
    assert entries(split.train) + entries(split.validation.target) == Counter(
        map(tuple, base.tolist())
    )
    assert (len(split.train.users), len(split.train.items)) == (943, 1682)
    assert (len(split.test.target), len(split.validation.target)) == (20_000, 4_000)


def test_partial_users_has_the_shape_of_u1(shared_data: Path) -> None:
    """u1 holds out 38 % of the ratings of 459 of 943 users; so does its copy, nearly."""
    table = np.loadtxt(shared_data / "ml-100k" / "u.data", dtype=np.int64)
    ratings = Ratings.of(*table.T, scale=(1, 5))
    split = splits.partial_users(ratings, rng=rng_of(0))
    assert (split.test.target.user_counts > 0).sum() == pytest.approx(943 / 2, abs=2)
    assert len(split.test.target) == pytest.approx(20_000, rel=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize(
    "make",
    [
        lambda r, share: splits.random(r, test=share, rng=rng_of(0)),
        lambda r, share: splits.temporal(r, test=share),
        lambda r, share: splits.unseen_users(r, test=share, rng=rng_of(0)),
        lambda r, share: splits.unseen_items(r, test=share, rng=rng_of(0)),
        lambda r, share: splits.unseen_users(r, target=share, rng=rng_of(0)),
        lambda r, share: splits.partial_users(r, users=share, rng=rng_of(0)),
        lambda r, share: splits.random(r, validation=share or 1.0, rng=rng_of(0)),
        lambda r, share: splits.temporal(r, validation=share or 1.0),
        lambda r, share: splits.unseen_users(r, validation=share or 1.0, rng=rng_of(0)),
        lambda r, share: splits.unseen_items(r, validation=share or 1.0, rng=rng_of(0)),
    ],
)
def test_shares_outside_0_to_1_are_refused(
    make: Callable[[Ratings, float], Split], share: float
) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        make(some_ratings(), share)


@pytest.mark.parametrize("target", [0.0, -0.5])
def test_partial_users_refuses_a_share_that_holds_out_nothing(target: float) -> None:
    with pytest.raises(DataError):
        splits.partial_users(some_ratings(), target=target, rng=rng_of(0))


@pytest.mark.parametrize("k", [0, 1, 10_000])
def test_k_fold_refuses_impossible_numbers_of_folds(k: int) -> None:
    with pytest.raises(DataError, match="k must be"):
        next(splits.k_fold(some_ratings(), k=k, rng=rng_of(0)))


@pytest.mark.parametrize("make", [splits.leave_last, splits.temporal])
def test_splits_by_time_refuse_ratings_without_times(make: Callable[[Ratings], Split]) -> None:
    with pytest.raises(DataError, match="needs times"):
        make(some_ratings(times=False))


def test_a_split_with_an_empty_part_is_refused() -> None:
    ratings = some_ratings()
    with pytest.raises(DataError, match="test set is empty"):
        splits.by_mask(ratings, np.zeros(len(ratings), dtype=bool), rng=rng_of(0))
    with pytest.raises(DataError, match="left to train on"):
        splits.by_mask(ratings, np.ones(len(ratings), dtype=bool), rng=rng_of(0))


def test_one_rating_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="too few ratings"):
        splits.random(Ratings.of([1], [1], [3], scale=(1, 5)), rng=rng_of(0))


def test_users_with_one_rating_each_leave_nobody_to_hold_out() -> None:
    ratings = Ratings.of([1, 2, 3], [1, 2, 3], [3, 4, 5], [1, 2, 3], scale=(1, 5))
    with pytest.raises(DataError, match="too few users"):
        splits.unseen_users(ratings, rng=rng_of(0))
    with pytest.raises(DataError, match="test set is empty"):
        splits.leave_last(ratings)


def test_predefined_names_the_pair_that_is_not_rated() -> None:
    ratings = Ratings.of([1, 1, 2], [5, 6, 5], [3, 4, 5], scale=(1, 5))
    with pytest.raises(DataError, match="user 2, item 6"):
        splits.predefined(ratings, Ratings.of([2], [6], [3], scale=(1, 5)), rng=rng_of(0))
    with pytest.raises(DataError, match="unknown id 9"):
        splits.predefined(ratings, Ratings.of([9], [6], [3], scale=(1, 5)), rng=rng_of(0))


def test_a_holdout_refuses_other_users_or_items_in_its_target() -> None:
    ratings = some_ratings()
    fewer = ratings.take_users(np.arange(3))
    for target in (fewer, ratings.transposed()):
        with pytest.raises(DataError, match="same users and items"):
            Holdout(ratings, target)
