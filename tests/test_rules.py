"""What may be in a list, and what puts it in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from recae.catalog import Catalog
from recae.errors import DataError
from recae.models import AutoRec
from recae.models.diversity import diversified
from recae.models.linear import EASE, Popular
from recae.models.ranking import best, standard
from recae.nn.training import Training
from recae.ratings import Ratings

GENRES = [("Drama",), ("Comedy", "Drama"), ("Horror",), ()]


def ratings(*, with_catalog: bool = True) -> Ratings:
    """30 users, 24 items; items of higher ids are rated less often."""
    rng = np.random.default_rng(0)
    chance = np.linspace(0.9, 0.15, 24)
    users, items = np.nonzero(rng.random((30, 24)) < chance)
    stars = rng.integers(1, 6, len(users)).astype(float)
    catalog = Catalog.of(
        range(24),
        [f"Film {i} ({1980 + i})" if i < 20 else f"Film {i}" for i in range(24)],
        [GENRES[i % 4] for i in range(24)],
    )
    return Ratings.of(users, items, stars, scale=(1, 5), catalog=catalog if with_catalog else None)


TRAIN = ratings()
MODEL = AutoRec.dual(k=4, training=Training(steps=20)).fit(TRAIN, rng=np.random.default_rng(0))
PERSON = {0: 5.0, 3: 2.0}


def listed(n: int = 30, **rules: Any) -> list[int]:
    found: list[int] = MODEL.recommend(PERSON, n, **rules)["item"].tolist()
    return found


def test_genres_keep_items_of_at_least_one() -> None:
    assert sorted(listed(genres=["horror"])) == [2, 6, 10, 14, 18, 22]
    both = {i for i in range(24) if i % 4 in (1, 2)}
    assert set(listed(genres=["Comedy", "Horror"])) == both
    assert listed(genres="Horror") == listed(genres=["Horror"])
    assert listed(genres=[]) == []


def test_years_are_inclusive_and_may_be_open() -> None:
    assert sorted(listed(years=(1990, 1992))) == [10, 11, 12]
    assert sorted(listed(years=(1995, None))) == [15, 16, 17, 18, 19]
    assert sorted(listed(years=(None, 1984))) == [1, 2, 4]  # 0 and 3 are seen
    assert sorted(listed(years=(1980, 1983), include_seen=True)) == [0, 1, 2, 3]


def test_all_rules_hold_at_once() -> None:
    found = listed(genres=["Drama"], years=(1985, 1995), deny=[5], allow=range(4, 14))
    assert set(found) == {8, 9, 12, 13}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"genres": ["Western"]}, "there are Comedy, Drama, Horror"),
        ({"years": (2000, 1990)}, "2000 is after 1990"),
        ({"diversity": 1.5}, "diversity goes from 0 to 1, and 1.5 is outside"),
        ({"diversity": float("nan")}, "outside"),
        ({"popularity": -2}, "popularity goes from -1 to 1"),
        ({"by": "liked"}, 'does not rank by liked: train a model of kind = "blend"'),
        ({"by": "fame"}, "there is no order 'fame'"),
        ({"allow": [99]}, "unknown id 99"),
    ],
)
def test_rules_that_cannot_be_followed_are_one_sentence(rules: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        listed(**rules)


def test_a_rule_that_does_not_exist_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="no rule 'gneres'"):
        listed(gneres=["Drama"])


def test_without_a_catalog_there_is_nothing_to_filter_by() -> None:
    model = Popular().fit(ratings(with_catalog=False), rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="leave genres out"):
        model.recommend({0: 5}, genres=["Drama"])
    with pytest.raises(DataError, match="leave years out"):
        model.recommend({0: 5}, years=(1990, None))


def test_popularity_moves_lists_from_obscure_to_popular() -> None:
    counts = MODEL.fitted.item_counts
    means = [float(np.mean(counts[listed(8, popularity=share)])) for share in (-1, -0.5, 0, 0.5, 1)]
    assert means == sorted(means)
    assert means[0] < means[2] < means[-1]
    unseen = [i for i in np.argsort(-counts, kind="stable").tolist() if i not in PERSON]
    assert [counts[i] for i in listed(5, popularity=1)] == [counts[i] for i in unseen[:5]]


def test_stars_stay_the_models_own_whatever_the_order() -> None:
    plain = MODEL.recommend(PERSON, 22).set_index("item")["stars"]
    moved = MODEL.recommend(PERSON, 22, popularity=0.7, diversity=0.5).set_index("item")["stars"]
    pd.testing.assert_series_equal(plain.sort_index(), moved.sort_index(), rtol=1e-4)


def test_diversity_is_maximal_marginal_relevance() -> None:
    """Against the definition, item by item."""
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(40, 3)).astype(np.float32)
    scores = rng.normal(size=(5, 40)).astype(np.float32)
    scores[4, 3:] = -np.inf
    items, values = best(scores, 20)
    for share in (0.0, 0.3, 0.8, 1.0):
        found = diversified(items, values, codes, 6, share)
        for user in range(5):
            pool = items[user][items[user] >= 0]
            worth = values[user][: len(pool)]
            relevance = (worth - worth.min()) / (worth.max() - worth.min())
            centred = codes - codes.mean(axis=0)
            unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
            chosen: list[int] = []
            while len(chosen) < min(6, len(pool)):
                left = [place for place in range(len(pool)) if place not in chosen]
                alike = [
                    max((float(unit[pool[p]] @ unit[pool[c]]) for c in chosen), default=0)
                    for p in left
                ]
                marginal = [
                    (1 - share) * relevance[p] - share * a for p, a in zip(left, alike, strict=True)
                ]
                chosen.append(left[int(np.argmax(marginal))])
            assert found[user, : len(chosen)].tolist() == chosen
            assert (items[user][found[user, len(chosen) :]] == -1).all()


def test_diversity_makes_lists_less_alike_and_none_changes_nothing() -> None:
    def likeness(rows: list[int]) -> float:
        codes = MODEL.encode_items()
        centred = codes - codes.mean(axis=0)
        unit = (centred / np.linalg.norm(centred, axis=1, keepdims=True))[rows]
        return float((unit @ unit.T)[np.triu_indices(len(rows), 1)].mean())

    assert listed(8, diversity=0.0) == listed(8)
    assert likeness(listed(8, diversity=0.7)) < likeness(listed(8))
    assert listed(8, diversity=0.7)[0] == listed(8)[0]


def test_diversity_needs_codes() -> None:
    model = EASE().fit(TRAIN, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="has no codes"):
        model.recommend(PERSON, diversity=0.5)


def test_a_frame_of_ratings_gives_a_frame_of_lists() -> None:
    frame = pd.DataFrame({"user": [7, 7, 9], "item": [0, 3, 5], "rating": [5.0, 2.0, 3.0]})
    found = MODEL.recommend(frame, 4)
    assert list(found.columns) == ["user", "rank", "item", "title", "stars"]
    assert found.groupby("user").size().to_dict() == {7: 4, 9: 4}
    alone = MODEL.recommend(PERSON, 4)
    assert found[found["user"] == 7]["item"].tolist() == alone["item"].tolist()
    with pytest.raises(DataError, match="scale"):
        MODEL.recommend(frame.assign(rating=9.0))


def test_a_model_learns_from_a_frame() -> None:
    frame = pd.DataFrame(
        {
            "user": TRAIN.users.values[TRAIN.rows],
            "item": TRAIN.items.values[TRAIN.columns],
            "rating": TRAIN.stars,
        }
    )
    ours = Popular().fit(frame, rng=np.random.default_rng(0))
    assert ours.fitted.item_counts.tolist() == MODEL.fitted.item_counts.tolist()


def test_nobody_gets_no_list() -> None:
    none = MODEL.recommend(TRAIN.take_users(np.zeros(0, np.int64)), 3)
    assert len(none) == 0
    assert none.to_frame().empty


def test_in_a_notebook_titles_are_text() -> None:
    catalog = Catalog.of(range(24), ["<script>alert(1)</script>"] * 24)
    train = Ratings.of(TRAIN.rows, TRAIN.columns, TRAIN.stars, scale=(1, 5), catalog=catalog)
    found = Popular().fit(train, rng=np.random.default_rng(0)).recommend(train, 5)
    page = found._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "100 of 150 recommendations" in page


def test_standard_scores() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]], dtype=np.float32)
    moved = standard(scores)
    np.testing.assert_allclose(moved[0], [-(1.5**0.5), 0, 1.5**0.5], rtol=1e-6)
    assert moved[1].tolist() == [0, 0, 0]
    assert scores[0, 0] == 1


@pytest.mark.parametrize(
    ("n", "rules", "says"),
    [
        (1.5, {}, "n is a whole number, how many items, not 1.5"),
        (True, {}, "n is a whole number"),
        ("3", {}, "n is a whole number"),
        (3, {"years": 1990}, "years are a first and a last one"),
        (3, {"years": ("a", "b")}, "years are a first and a last one"),
        (3, {"years": (1990.5, None)}, "years are a first and a last one"),
        (3, {"genres": [1]}, "no item is 1: there are Comedy"),
        (3, {"genres": 5}, "genres are a list of names, not 5"),
        (3, {"allow": 6}, "allow and deny are lists of items, not 6"),
        (3, {"deny": ["No such film"]}, "no item is called 'No such film'"),
        (3, {"diversity": "x"}, "diversity is a number from 0 to 1, not 'x'"),
        (3, {"popularity": None}, "popularity is a number"),
    ],
)
def test_what_is_no_number_or_list_is_one_sentence(n: Any, rules: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        MODEL.recommend(PERSON, n, **rules)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({1.5: 3}, "an item is named by its id or its title, not by 1.5"),
        ({True: 3}, "not by True"),
        ({None: 3}, "not by None"),
        ({1: "5"}, r"Film 1 \(1981\) is rated '5': stars are numbers"),
        ({1: True}, "stars are numbers"),
        ({1: float("nan")}, "is rated nan, outside the scale 1 to 5"),
        ({1: 9}, r"Film 1 \(1981\) is rated 9, outside the scale 1 to 5"),
        ({1: 3, "Film 1": 4}, r"Film 1 \(1981\) is rated twice"),
    ],
)
def test_ratings_that_nobody_can_have_given(given: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        MODEL.recommend(given)


def test_allow_and_deny_take_titles() -> None:
    assert set(listed(allow=["Film 4 (1984)", "Film 7", 9])) == {4, 7, 9}
    assert listed(allow="Film 4 (1984)") == [4]
    assert 4 not in listed(deny=["Film 4 (1984)"])
    assert set(listed(allow=np.array([4, 7]))) == {4, 7}


def test_a_frame_may_name_items_by_title() -> None:
    named = pd.DataFrame({"user": [7, 7], "item": ["Film 0", "Film 3 (1983)"], "rating": [5.0, 2]})
    found = MODEL.recommend(named, 4)
    assert found["item"].tolist() == MODEL.recommend(PERSON, 4)["item"].tolist()
    with pytest.raises(DataError, match="no item is called 'Nothing'"):
        MODEL.recommend(named.assign(item="Nothing").drop(index=1))
    with pytest.raises(DataError, match="the model knows none of these items"):
        MODEL.recommend(named.assign(item=[900, 901]))
