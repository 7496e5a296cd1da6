"""Every facet by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recae.catalog import Catalog
from recae.comparison.facets import FACETS
from recae.evaluation.answers import Answers
from recae.ids import Ids

NAN = float("nan")


def answers(
    users: Sequence[int],
    columns: Sequence[int],
    stars: Sequence[float] | None = None,
    **others: Any,
) -> Answers:
    """Ratings by user and item row; whatever is not said is 3 stars and unknown."""
    n_users = 1 + max(users)
    n_items = 1 + max([*columns, *np.ravel(others.get("lists", []))])
    counts = others.get("counts", [1] * int(n_items))
    given = np.full(len(users), 3.0) if stars is None else np.asarray(stars, dtype=np.float64)
    return Answers(
        np.asarray(users),
        np.asarray(columns),
        given,
        np.asarray(others.get("predicted", given), dtype=np.float64),
        np.asarray(others.get("days", np.full(len(users), NAN))),
        np.asarray(others.get("low", np.full(len(users), NAN))),
        np.asarray(others.get("high", np.full(len(users), NAN))),
        np.asarray(others.get("lists", np.full((n_users, 1), -1))),
        np.asarray(others.get("known", np.ones(n_users, dtype=np.int64))),
        Ids.of(range(len(counts))),
        np.asarray(counts),
        others.get("catalog"),
    )


def catalog(genres: Sequence[Sequence[str]], years: Sequence[int] | None = None) -> Catalog:
    rows = range(len(genres))
    return Catalog.of(rows, [f"title {row}" for row in rows], genres, years or [0] * len(genres))


def sliced(by: str, asked: Answers) -> dict[str, list[int]]:
    """Label -> the ratings in it, empty ones left out."""
    facet = FACETS[by](asked)
    assert facet is not None
    found = {
        label: facet.places[facet.slices == place].tolist()
        for place, label in enumerate(facet.labels)
    }
    return {label: ratings for label, ratings in found.items() if ratings}


def test_activity_cuts_users_not_ratings() -> None:
    known = [1, 2, 3, 40, 5, 60, 7, 1800]
    asked = answers([0, 1, 2, 3, 4, 5, 6, 7, 7, 7], [0] * 10, known=known)
    assert sliced("activity", asked) == {
        "1 to 2 ratings": [0, 1],
        "3 to 5 ratings": [2, 4],
        "7 to 40 ratings": [3, 6],
        "60 to 1,800 ratings": [5, 7, 8, 9],
    }


def test_users_who_are_alike_are_one_slice() -> None:
    assert sliced("activity", answers([0, 1, 2], [0, 0, 0], known=[20, 20, 20])) == {
        "20 ratings": [0, 1, 2]
    }


def test_equal_users_are_never_apart() -> None:
    asked = answers(range(6), [0] * 6, known=[1, 1, 1, 1, 1, 9])
    assert sliced("activity", asked) == {"1 rating": [0, 1, 2, 3, 4], "9 ratings": [5]}


def test_a_user_without_history_is_a_kind_of_user() -> None:
    asked = answers(range(4), [0] * 4, known=[0, 0, 0, 9])
    assert sliced("activity", asked) == {"0 ratings": [0, 1, 2], "9 ratings": [3]}


def test_popularity_has_thirds_of_the_ratings_and_what_nobody_rated() -> None:
    asked = answers([0] * 6, [0, 1, 2, 3, 4, 5], counts=[1, 30, 0, 20, 10, 29])
    assert sliced("popularity", asked) == {
        "head: 30 ratings": [1],
        "middle: 20 to 29 ratings": [3, 5],
        "tail: 1 to 10 ratings": [0, 4],
        "never rated": [2],
    }


def test_popularity_of_items_nobody_rated() -> None:
    assert sliced("popularity", answers([0, 0], [0, 1], counts=[0, 0])) == {"never rated": [0, 1]}


def test_popularity_of_items_rated_alike() -> None:
    assert sliced("popularity", answers([0, 0], [0, 1], counts=[5, 5])) == {
        "head: 5 ratings": [0, 1]
    }


def test_stars_as_they_were_given() -> None:
    assert sliced("stars", answers([0] * 4, [0] * 4, [4, 0.5, 4.5, 4])) == {
        "0.5": [1],
        "4": [0, 3],
        "4.5": [2],
    }


def test_a_rating_is_in_each_genre_of_its_item() -> None:
    known = catalog([["War", "Drama"], [], ["Drama"]])
    asked = answers([0] * 4, [0, 1, 2, 0], counts=[1, 1, 1], catalog=known)
    found = sliced("genre", asked)
    assert found == {"Drama": [0, 2, 3], "War": [0, 3]}
    assert list(found) == ["Drama", "War"], "the most frequent first"


def test_the_most_frequent_genres_alone() -> None:
    known = catalog([[f"g{number}"] for number in range(25)])
    asked = answers([0] * 28, [*range(25), 24, 24, 23], counts=[1] * 25, catalog=known)
    found = sliced("genre", asked)
    assert list(found)[:2] == ["g24", "g23"]
    assert len(found) == 20


def test_years_by_decade_the_unknown_last() -> None:
    known = catalog([[], [], [], []], [1994, 0, 1999, 2000])
    asked = answers([0] * 4, [0, 1, 2, 3], counts=[1] * 4, catalog=known)
    found = sliced("year", asked)
    assert found == {"1990s": [0, 2], "2000s": [3], "unknown": [1]}
    assert list(found)[-1] == "unknown"


def test_days_since_the_first_rating() -> None:
    days = [0, 0.99, 1, 6.9, 7, 30, 364, 365, NAN]
    assert sliced("days", answers([0] * 9, [0] * 9, days=days)) == {
        "first day": [0, 1],
        "first week": [2, 3],
        "first month": [4],
        "first year": [5, 6],
        "later": [7],
        "unknown": [8],
    }


def test_what_is_not_known_cannot_slice() -> None:
    nothing = answers([0], [0])
    assert {by: FACETS[by](nothing) is None for by in FACETS} == {
        "activity": False,
        "popularity": False,
        "stars": False,
        "genre": True,
        "year": True,
        "days": True,
    }
    dull = answers([0], [0], catalog=catalog([[]]))
    assert FACETS["year"](dull) is None
    assert FACETS["genre"](dull) is None
