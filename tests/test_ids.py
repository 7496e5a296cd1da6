"""Ids: what is taken for one, and that rows and ids are two names of one thing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recae.errors import DataError
from recae.ids import Ids

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)
# numpy's text drops trailing zero characters, so no id may end in one.
TEXTS = st.lists(st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"])), min_size=1)


@given(NUMBERS | TEXTS)
def test_factorize_gives_back_what_it_was_given(xs: list[int] | list[str]) -> None:
    ids, rows = Ids.factorize(xs)
    assert ids.values[rows].tolist() == xs
    assert ids.values.tolist() == sorted(set(xs))
    assert ids == Ids.of(reversed(xs))
    assert ids.digest == Ids.of(xs).digest
    assert np.array_equal(ids.find(xs), rows)
    assert np.array_equal(ids.rows(xs), rows)


@given(st.sets(st.integers(0, 50)), st.lists(st.integers(0, 50)))
def test_find_marks_the_unknown(known: set[int], wanted: list[int]) -> None:
    place = {x: row for row, x in enumerate(sorted(known))}
    assert Ids.of(known).find(wanted).tolist() == [place.get(x, -1) for x in wanted]


def test_numbers_and_text_are_different_ids() -> None:
    assert Ids.of([1, 2]) != Ids.of(["1", "2"])
    assert Ids.of([1, 2]).digest != Ids.of(["1", "2"]).digest
    assert Ids.of(["1"]).find([1]).tolist() == [-1]


def test_unknown_ids_are_named() -> None:
    with pytest.raises(DataError, match=r"unknown id 5 \(and 1 more\).*from 1 to 3"):
        Ids.of([1, 3]).rows([1, 5, 6])
    with pytest.raises(DataError, match=r"no ids here"):
        Ids.of([]).rows([5])


@pytest.mark.parametrize(
    ("xs", "said"),
    [
        ([1, "a"], "mix numbers and text"),
        (pd.Series([1, "a"], dtype=object), "mix numbers and text"),
        ([1.0, float("nan")], r"missing \(row 1\)"),
        (pd.Series(["a", None]), r"missing \(row 1\)"),
        (pd.Series([1, None], dtype="Int64"), r"missing \(row 1\)"),
        ([1.5], "fractions"),
        ([2**70], "does not fit 64 bits"),
        (np.array([2**64 - 1], dtype=np.uint64), "does not fit 64 bits"),
        ([[1, 2]], "flat list"),
        ([True], "whole numbers or text"),
    ],
)
def test_what_cannot_be_an_id(xs: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Ids.of(xs)  # type: ignore[arg-type]


def test_kinds_of_columns() -> None:
    for xs in ([1.0, 2.0], pd.Series([2, 1], dtype="Int64"), np.array([1, 2], np.uint8)):
        assert Ids.of(xs) == Ids.of([1, 2])
    assert Ids.of(pd.Series(["b", "a"], dtype="category")) == Ids.of(["a", "b"])


def test_parse() -> None:
    assert Ids.of([1]).parse("42") == 42
    assert Ids.of(["a"]).parse("42") == "42"
    with pytest.raises(DataError, match=r"'x' is none"):
        Ids.of([1]).parse("x")
