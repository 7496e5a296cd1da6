"""Titles found while they are typed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recae.serve.search import TitleIndex

TITLES = ["Heat (1995)", "Cheaters (2001)", "In the Heat of the Night (1967)", "L'Été (1968)", "8½"]
INDEX = TitleIndex(TITLES, np.array([5, 9, 7, 1, 2]))


def test_beginnings_of_words_come_first_then_what_is_known_best() -> None:
    assert INDEX.find("heat", 5) == [2, 0, 1]
    assert INDEX.find("HEAT  night", 5) == [2]
    assert INDEX.find("heat", 1) == [2]


def test_case_accents_and_punctuation_do_not_matter() -> None:
    assert INDEX.find("lete", 5) == INDEX.find("l'été!", 5) == [3]
    assert INDEX.find("(1968)", 5) == [3]


def test_nothing_typed_is_what_is_known_best() -> None:
    assert INDEX.find(" -- ", 3) == [1, 2, 0]
    assert INDEX.find("zzz", 3) == []


@given(st.text(max_size=20), st.integers(1, 5))
def test_whatever_is_typed_finds_rows_once(typed: str, n: int) -> None:
    found = INDEX.find(typed, n)
    assert len(found) <= n
    assert len(set(found)) == len(found)
    assert set(found) <= set(range(len(TITLES)))
