"""Titles: what a person may type, and what they are told when it is not clear."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from recae.catalog import Catalog
from recae.errors import DataError
from recae.ids import Ids

TITLES = {
    10: "Matrix, The (1999)",
    3: "Heat (1995)",
    7: "Hamlet (1990)",
    8: "Hamlet (2000)",
    9: "Hamlet (2000)",
    20: "Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)",
    21: "Pokémon the Movie (2000)",
    22: "Avventura, L' (1960)",
    23: "2001: A Space Odyssey (1968)",
    24: "",
    25: "Heat, The (2013)",
}


@pytest.fixture
def catalog() -> Catalog:
    return Catalog.of(TITLES.keys(), TITLES.values(), [[f"g{i}"] for i in TITLES])


@pytest.mark.parametrize(
    ("text", "item"),
    [
        (10, 10),
        ("10", 10),
        ("Matrix, The (1999)", 10),
        ("The Matrix", 10),
        ("the matrix (1999)", 10),
        ("matrix, the", 10),
        ("Matrix", 10),
        ("  HEAT ", 3),
        ("Heat (1995)", 3),
        ("The Heat", 25),
        ("Hamlet (1990)", 7),
        ("amelie", 20),
        ("Amélie (2001)", 20),
        ("Pokemon the movie", 21),
        ("L'Avventura", 22),
        ("2001: a space odyssey", 23),
    ],
)
def test_a_title_finds_its_item(catalog: Catalog, text: int | str, item: int) -> None:
    found = catalog.resolve(text)
    assert found == item
    assert type(found) is int


def test_several_matches_are_listed_with_their_ids(catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"matches 3 titles.*Hamlet \(1990\) \[7\].*\[8\].*\[9\]"):
        catalog.resolve("Hamlet")
    with pytest.raises(DataError, match=r"matches 2 titles.*\[8\].*\[9\]$"):
        catalog.resolve("Hamlet (2000)")


def test_no_more_than_eight_matches_are_listed() -> None:
    crowd = Catalog.of(range(12), [f"Carmen ({1900 + i})" for i in range(12)])
    with pytest.raises(DataError, match=r"12 titles.*; and 4 more") as caught:
        crowd.resolve("carmen")
    assert str(caught.value).count("[") == 8


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("matrx", r"nearest titles are: Matrix, The \(1999\) \[10\]"),
        ("Heat (2001)", r"nearest titles are: Heat \(1995\) \[3\]"),
        ("space odyssey", r"2001: A Space Odyssey"),
        ("zzzzqqqq", "no title is near it"),
        ("", "no title is near it"),
        (999, "no item is called 999"),
        ("99999999999999999999999", "no item is called"),
    ],
)
def test_an_unknown_title_suggests_the_nearest(
    catalog: Catalog, text: int | str, hint: str
) -> None:
    with pytest.raises(DataError, match=hint):
        catalog.resolve(text)


def test_text_ids() -> None:
    catalog = Catalog.of(["b", "007"], ["Heat", "Bond"])
    assert catalog.resolve("007") == "007"
    assert catalog.resolve("heat") == "b"


def test_rows_years_and_genres(catalog: Catalog) -> None:
    assert catalog.items.values.tolist() == sorted(TITLES)
    assert catalog.titles.tolist() == [TITLES[i] for i in sorted(TITLES)]
    assert catalog.genres == tuple((f"g{i}",) for i in sorted(TITLES))
    assert catalog.years.tolist()[:5] == [1995, 1990, 2000, 2000, 1999]
    assert catalog.years[catalog.items.rows([24])[0]] == 0
    assert Catalog.of([1], ["Alf (1986-1990)"]).years.tolist() == [1986]
    assert Catalog.of([1], ["Heat (1995)"], years=[7]).years.tolist() == [7]


def test_title_falls_back_to_the_id(catalog: Catalog) -> None:
    assert catalog.title(0) == "Heat (1995)"
    assert catalog.title(int(catalog.items.rows([24])[0])) == "24"


def test_over_other_items(catalog: Catalog) -> None:
    other = catalog.over(Ids.of([3, 4, 20]))
    assert other.titles.tolist() == [TITLES[3], "", TITLES[20]]
    assert other.genres == (("g3",), (), ("g20",))
    assert other.years.tolist() == [1995, 0, 2001]
    assert catalog.over(Ids.of(TITLES)) is catalog


def test_json_round_trip(catalog: Catalog) -> None:
    again = Catalog.from_json(json.loads(json.dumps(catalog.to_json())))
    assert again.items == catalog.items
    assert np.array_equal(again.titles, catalog.titles)
    assert again.genres == catalog.genres
    assert np.array_equal(again.years, catalog.years)


def test_bad_columns() -> None:
    with pytest.raises(DataError, match=r"differ in length"):
        Catalog.of([1, 2], ["a"])
    with pytest.raises(DataError, match=r"lists item 1 more than once"):
        Catalog.of([1, 2, 1], ["a", "b", "c"])


def test_an_empty_catalog() -> None:
    with pytest.raises(DataError, match=r"no item is called"):
        Catalog.of([], []).resolve("Heat")


def test_suggestions_are_fast_among_60_000_titles() -> None:
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(3000)])
    titles = [" ".join(words[row]) for row in rng.integers(0, 3000, (60_000, 3))]
    catalog = Catalog.of(range(60_000), titles)
    with pytest.raises(DataError):
        catalog.resolve("a first question builds the tables")
    wanted = titles[41_234]
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"\[41234\]"):
        catalog.resolve(wanted[:5] + "x" + wanted[6:])
    assert time.perf_counter() - start < 1
