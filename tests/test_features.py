"""Side data: what is refused and how, what a coding learns, and the matrix against brute force."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recae import splits
from recae.errors import DataError
from recae.features import Categories, CategoryCode, Coding, Features, NumberCode, Numbers, guess
from recae.ids import Ids
from recae.models.explaining import _leave_one_out
from recae.ratings import Ratings

PEOPLE = Features.of(
    [30, 10, 20, 40],
    {
        "age": ["31", None, 18, 54.0],
        "job": ["writer", "", "writer", " cook "],
        "plays": ["go|chess", ["go"], None, "go|go| "],
    },
    {"age": "number", "job": "category", "plays": "categories"},
)


def values(features: Features) -> list[Any]:
    return [
        [None if x != x else x for x in column.values.tolist()]
        if isinstance(column, Numbers)
        else list(column.values)
        for column in features.columns
    ]


# --- a table of features


def test_rows_are_in_the_order_of_the_ids_and_values_are_cleaned() -> None:
    assert PEOPLE.ids.values.tolist() == [10, 20, 30, 40]
    assert values(PEOPLE) == [
        [None, 18, 31, 54],
        [(), ("writer",), ("writer",), ("cook",)],
        [("go",), (), ("chess", "go"), ("go",)],
    ]
    assert len(PEOPLE) == 4
    assert repr(PEOPLE) == "Features(4 rows: age, job, plays)"


def test_whole_numbers_as_categories_are_written_whole() -> None:
    side = Features.of([1, 2, 3], {"zone": [1.0, math.nan, 2.0]}, {"zone": "category"})
    assert values(side) == [[("1",), (), ("2",)]]


def test_pandas_and_numpy_columns() -> None:
    frame = pd.DataFrame(
        {
            "id": ["b", "a"],
            "age": pd.array([3, None], dtype="Int64"),
            "sex": pd.Categorical(["m", None]),
            "seen": [np.array(["x", "y"]), np.array([])],
        }
    )
    side = Features.of(
        frame["id"],
        {name: frame[name] for name in ("age", "sex", "seen")},
        {"age": "number", "sex": "category", "seen": "categories"},
    )
    assert values(side) == [[None, 3], [(), ("m",)], [(), ("x", "y")]]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (list(range(21)), "number"),
        ([*map(str, range(21)), None, ""], "number"),
        (list(range(20)), "category"),
        ([*range(30), "x"], "category"),
        (["x", "y|z"], "categories"),
        ([["x"], None], "categories"),
        ([None], "category"),
        ([{"a": 1}, {"a": 2}], "category"),
    ],
)
def test_guess(column: list[Any], kind: str) -> None:
    assert guess(column) == kind


@pytest.mark.parametrize(
    ("ids", "columns", "kinds", "said"),
    [
        ([], {"a": []}, None, "the table is empty"),
        ([1, 2], {}, None, "no columns beside the ids"),
        ([1, 1], {"a": [1, 2]}, None, "id 1 is there more than once"),
        ([1, 2], {"a": [1]}, None, "there are 2 ids and 1 values of 'a'"),
        ([1, 2], {"a": [1, 2]}, {"b": "number"}, "no column 'b': there are a"),
        ([1, 2], {"a": [1, 2]}, {"a": "numeric"}, "kind 'numeric': the kinds are category, cate"),
        ([2, 7], {"a": ["x", 1]}, {"a": "number"}, "'a' of id 2 is 'x', which is no number"),
        ([7, 2], {"a": [math.inf, 1]}, {"a": "number"}, "'a' of id 7 is infinite"),
        ([7, 2], {"a": ["-inf", 1]}, {"a": "number"}, "'a' of id 7 is infinite"),
        ([7, 2], {"a": [10**400, 1]}, {"a": "number"}, "'a' of id 7 is infinite"),
        ([7, 2], {"a": [["x"], 1]}, {"a": "category"}, "'a' of id 7 is a list"),
        ([7, 2], {"a": [["x"], 1]}, {"a": "number"}, "no number"),
        ([1, "b"], {"a": [1, 2]}, None, "ids mix numbers and text"),
    ],
)
def test_refusals(ids: Any, columns: Any, kinds: Any, said: str) -> None:
    with pytest.raises(DataError) as refused:
        Features.of(ids, columns, kinds)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_over_other_ids() -> None:
    over = PEOPLE.over(Ids.of([20, 25, 40]))
    assert over.ids.values.tolist() == [20, 25, 40]
    assert values(over) == [[18, None, 54], [("writer",), (), ("cook",)], [(), (), ("go",)]]
    assert PEOPLE.over(Ids.of([10, 20, 30, 40])) is PEOPLE
    assert values(PEOPLE.over(Ids.of([])).over(Ids.of([10])))[0] == [None]


def test_numbers_and_text_are_compared_as_written() -> None:
    ids = ["100", "20", "3", "x", "03"]
    text = Features.of(ids, {"a": ids}, {"a": "category"})
    assert values(text.over(Ids.of([3, 20, 100, 7]))) == [[("3",), (), ("20",), ("100",)]]
    numbers = Features.of([100, 20, 3], {"a": [1, 2, 3]}, {"a": "number"})
    assert values(numbers.over(Ids.of(ids))) == [[None, 1, 2, 3, None]]


def test_digest_sees_every_part() -> None:
    def digest(ids: Any, name: str, column: Any, kind: Any) -> str:
        return Features.of(ids, {name: column}, {name: kind}).digest

    digests = [
        digest([1, 2], "a", [1, 2], "number"),
        digest([1, 3], "a", [1, 2], "number"),
        digest([1, 2], "b", [1, 2], "number"),
        digest([1, 2], "a", [1, None], "number"),
        digest([1, 2], "a", [1, 2], "category"),
        digest([1, 2], "a", ["1|2", 2], "categories"),
    ]
    assert len(set(digests)) == len(digests)
    assert digest([2, 1], "a", [2, 1], "number") == digests[0]


# --- coding


def test_what_is_learned_by_hand() -> None:
    side = Features.of(
        range(6),
        {
            "age": [10, 20, 20, 40, None, 30],
            "job": ["a", "a", "b", "b", "c", ""],
            "plays": ["x|y", "x|y|z", "x", "", "y|z|w", "x"],
            "site": ["s"] * 6,
            "blank": [None] * 6,
        },
        {
            "age": "number",
            "job": "category",
            "plays": "categories",
            "site": "category",
            "blank": "number",
        },
    )
    coding = Coding.of(side)
    assert coding.names == [
        *("age~10", "age~20", "age~30", "age~40", "job=a", "job=b"),
        *("plays=x", "plays=y", "plays=z"),
    ]
    assert coding.notes == (
        "job: 1 categories of one row each are left out",
        "plays: 1 categories of one row each are left out",
        "site: left out, the same in every row",
        "blank: left out, the same in every row",
    )
    assert coding.notes_on(side) == (
        "age: missing in 1 of 6 rows",
        "job: missing in 1 of 6 rows",
        "job: categories that were not learned in 1 rows",
        "plays: missing in 1 of 6 rows",
        "plays: categories that were not learned in 1 rows",
    )
    two, three = 1 / math.sqrt(2), 1 / math.sqrt(3)
    np.testing.assert_allclose(
        coding.matrix(side).toarray(),
        [
            [1, 0, 0, 0, 1, 0, two, two, 0],
            [0, 1, 0, 0, 1, 0, three, three, three],
            [0, 1, 0, 0, 0, 1, 1, 0, 0],
            [0, 0, 0, 1, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, two, two],
            [0, 0, 1, 0, 0, 0, 1, 0, 0],
        ],
        rtol=1e-6,
    )


def test_new_rows_are_coded_by_what_was_learned() -> None:
    old = Features.of(range(4), {"n": [0, 10, 0, 10], "c": list("aabb")}, {"n": "number"})
    both = Features.of(
        range(4), {"n": [0, 10, 0, 10], "c": list("aabb")}, {"n": "number", "c": "category"}
    )
    coding = Coding.of(both)
    new = Features.of(
        range(5),
        {"n": [-5, 2.5, 99, None, 0], "c": ["a", "z", "b", "", None]},
        {"n": "number", "c": "category"},
    )
    assert coding.matrix(new).toarray().tolist() == [
        [1, 0, 1, 0],
        [0.75, 0.25, 0, 0],
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
    ]
    with pytest.raises(DataError, match=r"no column 'c', which was learned from: there are n"):
        coding.matrix(old)
    swapped = Features.of([1], {"n": ["x"], "c": [3]}, {"n": "category", "c": "number"})
    with pytest.raises(DataError, match=r"'n' holds categories, and numbers were learned from"):
        coding.matrix(swapped)
    with pytest.raises(DataError, match=r"'c' holds numbers, and categories were learned from"):
        CategoryCode("c", ("a",)).matrix(swapped.columns[1])


def test_being_there_is_information_where_others_are_missing() -> None:
    side = Features.of(
        range(3), {"c": ["a", "a", None], "n": [5, None, 5]}, {"c": "category", "n": "number"}
    )
    coding = Coding.of(side)
    assert coding.names == ["c=a", "n~5"]
    assert coding.matrix(side).toarray().tolist() == [[1, 1], [1, 0], [0, 1]]


def test_many_values_have_eight_knots_at_quantiles() -> None:
    rng = np.random.default_rng(0)
    years = rng.integers(1920, 2000, 1000)
    (code,) = Coding.of(Features.of(range(1000), {"year": years}, {"year": "number"})).columns
    assert isinstance(code, NumberCode)
    assert len(code.knots) == 8
    assert (code.knots[0], code.knots[-1]) == (years.min(), years.max())
    assert set(code.knots) <= set(years.tolist())
    counts = np.histogram(years, code.knots)[0]
    assert counts.min() > 100


@pytest.mark.parametrize("numbers", [[-1e308, 0, 1e308, 9e307], [0, 5e-324, 1e-323, 1.5e-323]])
def test_numbers_at_the_ends_of_floating_point(numbers: list[float]) -> None:
    side = Features.of(range(4), {"n": numbers}, {"n": "number"})
    coding = Coding.of(side)
    np.testing.assert_allclose(coding.matrix(side).sum(axis=1), 1)
    wide = NumberCode("n", (numbers[0], max(numbers)))
    assert np.isfinite(wide.matrix(side.columns[0]).toarray()).all()


def test_a_million_categories_are_refused_at_once() -> None:
    n = 1_000_000
    side = Features(Ids(np.arange(n)), (Categories("name", tuple((f"n{i}",) for i in range(n))),))
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"'name' has 1,000,000 categories and no two rows share"):
        Coding.of(side)
    # Twice each: every one of half a million could be learned.
    twice = Categories("name", tuple((f"n{i // 2}",) for i in range(n)))
    with pytest.raises(DataError, match=r"'name' has 500,000 categories, more than the 100,000"):
        Coding.of(Features(side.ids, (twice,)))
    assert time.perf_counter() - began < 20


def test_side_data_that_say_nothing() -> None:
    side = Features.of([1, 2], {"a": ["x", "x"], "b": [1, 1]}, {"a": "category", "b": "number"})
    with pytest.raises(DataError, match=r"tell no row from another \(a, b\)"):
        Coding.of(side)


NUMBERS = st.none() | st.floats(-1e6, 1e6) | st.integers(-3, 3)
TABLES = st.lists(
    st.tuples(
        NUMBERS,
        st.sampled_from(["", "a", "b", "c", "d"]),
        st.lists(st.sampled_from("uvwxyz"), max_size=4),
    ),
    min_size=2,
    max_size=40,
)
KINDS: Any = {"n": "number", "c": "category", "m": "categories"}


def table(rows: list[Any], ids: Any = None) -> Features:
    n, c, m = zip(*rows, strict=True)
    return Features.of(range(len(rows)) if ids is None else ids, {"n": n, "c": c, "m": m}, KINDS)


def coded(side: Features) -> Coding:
    try:
        return Coding.of(side)
    except DataError:
        assume(False)
        raise


def brute(coding: Coding, row: tuple[Any, str, list[str]]) -> list[float]:
    number, category, several = row
    learned = {c.name: c for c in coding.columns}
    out: list[float] = []
    for name in learned:
        code = learned[name]
        if isinstance(code, CategoryCode):
            mine = set(several if name == "m" else [category]) & set(code.categories)
            out += [(x in mine) / math.sqrt(len(mine)) if mine else 0 for x in code.categories]
            continue
        knots = code.knots
        hats = [0.0] * len(knots)
        if number is not None:
            x = min(max(number, knots[0]), knots[-1])
            for place, knot in enumerate(knots):
                before, after = knots[max(place - 1, 0)], knots[min(place + 1, len(knots) - 1)]
                if x == knot:
                    hats[place] = 1
                elif before < x < knot:
                    hats[place] = (x - before) / (knot - before)
                elif knot < x < after:
                    hats[place] = (after - x) / (after - knot)
        out += hats
    return out


@given(TABLES)
def test_the_matrix_is_that_of_brute_force(rows: list[Any]) -> None:
    side = table(rows)
    coding = coded(side)
    matrix = coding.matrix(side)
    assert matrix.dtype == np.float32
    assert matrix.has_sorted_indices
    assert (matrix.data > 0).all()
    assert matrix.shape == (len(rows), len(coding.names))
    np.testing.assert_allclose(
        matrix.toarray(), [brute(coding, row) for row in rows], rtol=1e-5, atol=1e-6
    )


@given(TABLES, st.randoms(use_true_random=False))
def test_permuted_rows_permute_the_matrix(rows: list[Any], random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    side, other = table(rows), table([rows[place] for place in order])
    coding = coded(side)
    assert Coding.of(other) == coding
    ours, theirs = coding.matrix(side).toarray(), coding.matrix(other).toarray()
    np.testing.assert_array_equal(theirs, ours[order])
    # The order in which a table lists its ids is none of its content.
    assert table([rows[place] for place in order], order).digest == side.digest


@given(TABLES)
def test_a_coding_goes_through_json(rows: list[Any]) -> None:
    coding = coded(table(rows))
    assert Coding.from_json(json.loads(json.dumps(coding.to_json()))) == coding


# --- beside ratings


def some_ratings() -> Ratings:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((8, 6)) < 0.7)
    return Ratings.of(
        users,
        items + 100,
        rng.integers(1, 6, len(users)),
        rng.permutation(len(users)),
        scale=(1, 5),
    )


USERS = Features.of(range(1, 11), {"age": range(1, 11)}, {"age": "number"})
ITEMS = Features.of(range(100, 106), {"sort": list("aabbcc")}, {"sort": "category"})


def described() -> Ratings:
    return some_ratings().with_features(users=USERS, items=ITEMS)


def ages(ratings: Ratings) -> NDArray[np.float64]:
    assert ratings.user_features is not None
    (column,) = ratings.user_features.over(ratings.users).columns
    assert isinstance(column, Numbers)
    return column.values


def test_side_data_go_with_the_ratings() -> None:
    ratings = described()
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(ages(ratings), [np.nan, *range(1, 8)])
    split = splits.unseen_users(ratings, test=0.4, rng=rng)
    for part in (split.train, split.test.history, split.test.target):
        own = np.where(part.users.values == 0, np.nan, part.users.values)
        np.testing.assert_array_equal(ages(part), own)
        assert part.item_features is ITEMS
    for other in (ratings.keep(ratings.stars > 2), ratings.over(Ids.of([100, 103, 999]))):
        assert other.user_features is USERS
        assert other.item_features is ITEMS
    swapped = ratings.transposed()
    assert (swapped.user_features, swapped.item_features) == (ITEMS, USERS)
    assert swapped.transposed().digest == ratings.digest
    more = ratings.with_users(Ids.of(range(12)))
    np.testing.assert_array_equal(ages(more)[8:], [8, 9, 10, np.nan])
    assert ratings.with_features(items=ITEMS).user_features is USERS


def test_a_person_left_a_rating_short_is_still_that_person() -> None:
    history = described().take_users(np.array([3]))
    variants = _leave_one_out(history)
    assert len(variants.users) == len(history) + 1
    np.testing.assert_array_equal(ages(variants), 3)


def test_the_digest_is_the_old_one_without_and_another_with_side_data() -> None:
    plain = some_ratings()
    digests = {
        plain.digest,
        plain.with_features(users=USERS).digest,
        plain.with_features(items=ITEMS).digest,
        described().digest,
    }
    assert len(digests) == 4
    assert plain.digest == "f0c2890a3ed22c4dc0ee681e078ebf18c99d462b2cd5f71271362c390fb83bed"
    # Rows of others change nothing.
    here = USERS.over(plain.users)
    assert plain.with_features(users=here).digest == plain.with_features(users=USERS).digest


def test_what_is_known_in_words() -> None:
    assert some_ratings().side_data == ()
    assert described().side_data == (
        "age of 7 of 8 users (and of 3 others)",
        "sort of 6 items",
    )
    assert "with side data" in repr(described())


def test_side_data_of_nobody_here() -> None:
    with pytest.raises(DataError, match=r"of users of these ratings: its ids are like 'x', theirs"):
        some_ratings().with_features(users=Features.of(["x"], {"a": [1]}))
    with pytest.raises(DataError, match=r"of items of these ratings: its ids are like 1, theirs"):
        some_ratings().with_features(items=USERS)
