"""Ratings against dense arrays: whatever is done to the sparse matrix, the table is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ids import Ids
from recae.ratings import Ratings

# (user, item) -> (stars, time); a stored zero is a rating.
CELLS = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 6)),
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 5.0]), st.integers(0, 10**10)),
    min_size=1,
)


def build(cells: dict[tuple[int, int], tuple[float, int]], **more: Any) -> Ratings:
    users, items = zip(*cells, strict=True)
    stars, times = zip(*cells.values(), strict=True)
    return Ratings.of(users, items, stars, times, scale=(0, 5), **more)


def dense(ratings: Ratings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Stars (NaN: not rated) and times [U, N]."""
    stars = np.full((len(ratings.users), len(ratings.items)), np.nan)
    stars[ratings.rows, ratings.columns] = ratings.stars
    times = np.full(stars.shape, -1)
    assert ratings.times is not None
    times[ratings.rows, ratings.columns] = ratings.times
    return stars, times


def same(ratings: Ratings, stars: NDArray[Any], times: NDArray[Any]) -> None:
    ours, when = dense(ratings)
    np.testing.assert_array_equal(ours, stars)
    np.testing.assert_array_equal(when, times)
    assert len(ratings) == int(np.isfinite(stars).sum())
    assert ratings.matrix.has_sorted_indices
    assert ratings.user_counts.tolist() == np.isfinite(stars).sum(1).tolist()
    assert ratings.item_counts.tolist() == np.isfinite(stars).sum(0).tolist()


@given(CELLS, st.randoms(use_true_random=False))
def test_of_puts_everything_in_its_place(cells: dict[Any, Any], random: Any) -> None:
    ratings = build(cells)
    users, items = ratings.users.values.tolist(), ratings.items.values.tolist()
    stars = [[cells.get((u, i), (np.nan, -1))[0] for i in items] for u in users]
    times = [[cells.get((u, i), (np.nan, -1))[1] for i in items] for u in users]
    same(ratings, np.array(stars), np.array(times))
    shuffled = list(cells.items())
    random.shuffle(shuffled)
    assert build(dict(shuffled)).digest == ratings.digest


@given(CELLS, st.data())
def test_keep(cells: dict[Any, Any], data: st.DataObject) -> None:
    ratings = build(cells)
    n = len(ratings)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    stars, times = dense(ratings)
    stars[ratings.rows[~mask], ratings.columns[~mask]] = np.nan
    times[ratings.rows[~mask], ratings.columns[~mask]] = -1
    same(ratings.keep(mask), stars, times)


@given(CELLS, st.data())
def test_take_users(cells: dict[Any, Any], data: st.DataObject) -> None:
    ratings = build(cells)
    rows = np.array(
        sorted(data.draw(st.sets(st.integers(0, len(ratings.users) - 1)))), dtype=np.int64
    )
    stars, times = dense(ratings)
    taken = ratings.take_users(rows)
    same(taken, stars[rows], times[rows])
    assert taken.users.values.tolist() == ratings.users.values[rows].tolist()


@given(CELLS, st.sets(st.integers(0, 9), min_size=1))
def test_over(cells: dict[Any, Any], others: set[int]) -> None:
    ratings, items = build(cells), Ids.of(others)
    stars, times = dense(ratings)
    places = ratings.items.find(items.values)
    wanted = np.where(places >= 0, stars[:, places], np.nan)
    same(ratings.over(items), wanted, np.where(places >= 0, times[:, places], -1))


@given(CELLS)
def test_transposed(cells: dict[Any, Any]) -> None:
    ratings = build(cells)
    stars, times = dense(ratings)
    same(ratings.transposed(), stars.T, times.T)
    assert ratings.transposed().transposed().digest == ratings.digest


@given(CELLS)
def test_digest_sees_every_part(cells: dict[Any, Any]) -> None:
    digest = build(cells).digest
    pair, (stars, when) = next(iter(cells.items()))
    assert build(cells | {pair: (4.5, when)}).digest != digest
    assert build(cells | {pair: (stars, when + 1)}).digest != digest
    assert build(cells | {(99, 99): (1.0, 0)}).digest != digest
    ratings = build(cells)
    assert (
        Ratings.of(ratings.rows, ratings.columns, ratings.stars, ratings.times, scale=(0, 6)).digest
        != Ratings.of(
            ratings.rows, ratings.columns, ratings.stars, ratings.times, scale=(0, 5)
        ).digest
    )


def test_duplicates() -> None:
    table: Any = ([1, 1, 2, 1], [7, 7, 7, 7], [1, 5, 3, 3], [10, 30, 20, 20])
    with pytest.raises(DataError, match=r"2 ratings repeat.*user 1, item 7"):
        Ratings.of(*table)
    last = Ratings.of(*table, duplicates="last")
    assert last.stars.tolist() == [5, 3]
    mean = Ratings.of(*table, duplicates="mean")
    assert mean.stars.tolist() == [3, 3]
    assert mean.times is not None
    assert mean.times.tolist() == [30, 20]
    assert Ratings.of(*table[:3], duplicates="last").stars.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("stars", "more", "said"),
    [
        ([1, np.nan], {}, r"1 ratings are missing or infinite, the first \(missing\) in row 1"),
        ([np.inf, 1], {}, r"\(infinite\) in row 0"),
        (["x", 1], {}, "not a number: 'x'"),
        ([1, 9], {"scale": (1, 5)}, "outside the scale 1 to 5, the first is 9 in row 1"),
        ([3, 3], {}, "state the scale"),
        ([3, 4], {"scale": (5, 1)}, "lowest, highest"),
        ([3], {}, "differ in length"),
        ([3, 4], {"times": [1]}, "differ in length"),
        ([3, 4], {"times": [1, np.nan]}, r"row 1"),
    ],
)
def test_refusals(stars: Any, more: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Ratings.of([1, 2], [1, 2], stars, **more)


def test_an_empty_table() -> None:
    with pytest.raises(DataError, match=r"empty"):
        Ratings.of([], [], [])


def test_from_frame() -> None:
    frame = pd.DataFrame(
        {"u": ["b", "a"], "m": [1, 2], "s": [1, 2], "t": pd.to_datetime(["1970-01-02"] * 2)}
    )
    ratings = Ratings.from_frame(frame, user="u", item="m", rating="s", time="t")
    assert ratings.times is not None
    assert ratings.times.tolist() == [86400, 86400]
    assert ratings.users.values.tolist() == ["a", "b"]
    with pytest.raises(DataError, match=r"no column 'user': the columns are u, m, s, t"):
        Ratings.from_frame(frame)


def test_of_one() -> None:
    one = Ratings.of_one({2: 4.0, 0: 1.0}, Ids.of([5, 6, 7]), (1, 5))
    assert one.columns.tolist() == [0, 2]
    assert one.stars.tolist() == [1, 4]
    assert len(Ratings.of_one({}, Ids.of([5]), (1, 5))) == 0
    with pytest.raises(DataError, match=r"outside the scale"):
        Ratings.of_one({0: 9.0}, Ids.of([5]), (1, 5))
