"""Who and what is near: against brute force, with ties, strangers and silence; and faiss."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import recae
from recae import neighbours
from recae.catalog import Catalog
from recae.errors import DataError
from recae.leaks import frame_of
from recae.models import MODELS, Popular
from recae.neighbours import Neighbours, similar_items, similar_users
from recae.nn.training import Training
from recae.ratings import Ratings

QUICK = {"k": 3, "training": Training(steps=20)}


def brute_force(
    codes: NDArray[Any], wanted: NDArray[Any], n: int, but: list[int]
) -> tuple[list[list[int]], list[list[float]]]:
    """Rows and cosines, pair by pair in float64; ties to the lower row."""
    rows, cosines = [], []
    for query, left_out in zip(wanted.astype(float), but, strict=True):
        found = [
            (-float(query @ code) / float(np.linalg.norm(query) * np.linalg.norm(code)), row)
            for row, code in enumerate(codes.astype(float))
            if row != left_out and code.any()
        ]
        # Twins may differ in the last digit of a float.
        found = sorted((round(value, 6), row) for value, row in found)[:n]
        rows.append([row for _, row in found])
        cosines.append([-value for value, _ in found])
    return rows, cosines


def some_codes(n: int, k: int, seed: int = 0) -> NDArray[np.float32]:
    """With twins, codes twice as long, and opposites; every fifth is zero."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(n // 3, k)).astype(np.float32)
    codes = kinds[rng.integers(len(kinds), size=n)] * rng.choice([-1, 1, 2], (n, 1))
    codes[::5] = 0
    return codes.astype(np.float32)


# --- nearest


@pytest.mark.parametrize("block", [1, 37, 111, 2_000_000])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_nearest_is_what_brute_force_finds(
    k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    codes = some_codes(47, k)
    near = Neighbours.of(codes)
    asked = np.flatnonzero(codes.any(axis=1))
    rows, cosines = near.nearest(codes[asked], 9, but=asked)
    expected, values = brute_force(codes, codes[asked], 9, asked.tolist())
    assert rows.tolist() == expected
    np.testing.assert_allclose(cosines, values, atol=2e-6)


def test_twins_come_in_the_order_of_their_rows() -> None:
    rng = np.random.default_rng(3)
    one = rng.normal(size=5).astype(np.float32)
    codes = np.concatenate([np.tile(one, (400, 1)), rng.normal(size=(600, 5)).astype(np.float32)])
    mixed = rng.permutation(1000)
    rows, cosines = Neighbours.of(codes[mixed]).nearest(one[None], 30)
    assert rows[0].tolist() == np.flatnonzero(mixed < 400)[:30].tolist()
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    assert cosines.max() <= 1


def test_fewer_than_are_wanted() -> None:
    codes = some_codes(10, 4)
    near = Neighbours.of(codes)
    assert near.rows.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    rows, cosines = near.nearest(codes[[1, 2]], 10**9, but=np.array([1, -1]))
    assert rows.shape == (2, 8)
    assert sorted(rows[0]) == [-1, 2, 3, 4, 6, 7, 8, 9]
    assert np.isnan(cosines).tolist() == (rows < 0).tolist()
    assert rows[0, -1] == -1
    assert sorted(rows[1]) == near.rows.tolist()
    assert near.direction(5) is None
    assert near.direction(10) is None


def test_nobody_at_all() -> None:
    rows, cosines = Neighbours.of(np.zeros((5, 3), np.float32)).nearest(some_codes(5, 3)[1:], 3)
    assert rows.shape == cosines.shape == (4, 0)
    assert Neighbours.of(some_codes(5, 3)).nearest(np.empty((0, 3), np.float32), 3)[0].size == 0


def test_trust_lengthens_and_shortens() -> None:
    codes = np.array([[1, 0], [2, 0], [3, 1], [1, 1], [1, 2]], np.float32)
    trust = np.array([1, 0.5, 1, 0, 1], np.float32)
    rows, values = Neighbours.of(codes, trust).nearest(codes[:1], 5, but=np.array([0]))
    assert rows.tolist() == [[2, 1, 4, -1]]
    np.testing.assert_allclose(values[0, :3], [3 / 10**0.5, 0.5, 1 / 5**0.5], rtol=1e-6)


# --- faiss


def clustered(n: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, 16))
    return (centres[rng.integers(40, size=n)] + rng.normal(size=(n, 16)) / 2).astype(np.float32)


def test_faiss_finds_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is not installed: pip install 'recae[faiss]'")
    codes = clustered(20_000, 0)
    codes[::7] = 0
    trust = np.random.default_rng(1).random(20_000).astype(np.float32)
    exact = Neighbours.of(codes, trust)
    monkeypatch.setattr(neighbours, "_EXACT", 1000)
    quick = Neighbours.of(codes, trust)
    assert exact.index is None
    assert quick.index is not None
    asked = exact.rows[:300]
    rows, values = exact.nearest(codes[asked], 10, but=asked)
    found, said = quick.nearest(codes[asked], 10, but=asked)
    assert (found != asked[:, None]).all()
    assert np.isin(found, exact.rows).all()
    shared = [len(set(a) & set(b)) for a, b in zip(rows.tolist(), found.tolist(), strict=True)]
    assert np.mean(shared) / 10 >= 0.95
    same = rows == found
    np.testing.assert_array_equal(said[same], values[same])


def test_without_faiss_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_EXACT", 5)
    monkeypatch.setitem(sys.modules, "faiss", None)
    codes = clustered(50, 0)
    near = Neighbours.of(codes)
    assert near.index is None
    rows, _ = near.nearest(codes, 4, but=np.arange(50))
    assert rows.tolist() == brute_force(codes, codes, 4, [*range(50)])[0]


# --- items and users of models


def some_ratings(text: bool = False) -> Ratings:
    """Item 109 and user 6 have no rating. Text ids where that is asked for."""
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((30, 14)) < 0.5)
    stars = rng.integers(1, 6, len(users))
    names: Any = [f"b{i:02d}" for i in range(14)] if text else range(100, 114)
    people: Any = [f"u{i:02d}" for i in range(30)] if text else range(30)
    catalog = Catalog.of(names, [f"Film {i} ({1990 + i})" for i in range(14)])
    ratings = Ratings.of(
        [people[u] for u in users],
        [names[i] for i in items],
        stars,
        scale=(1, 5),
        catalog=catalog,
    )
    return ratings.keep((ratings.columns != 9) & (ratings.rows != 6))


RATINGS = some_ratings()


@pytest.fixture(scope="module", params=["mf", "autorec-item", "autorec-dual"])
def model(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param](**QUICK).fit(RATINGS, rng=np.random.default_rng(0))


def test_similar_items(model: Any) -> None:
    codes, counts = model.encode_items().astype(float), RATINGS.item_counts
    units = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-30)
    expected = (units @ units[3]) * counts / (counts + 2)
    others = [row for row in np.argsort(-expected) if row not in (3, 9)]
    for item in (103, "103", "Film 3 (1993)", "film 3"):
        found = similar_items(model, item, 20)
        assert list(found) == ["rank", "item", "title", "similarity"]
        assert found["item"].tolist() == [100 + row for row in others]
        assert found["title"].tolist() == [f"Film {row} ({1990 + row})" for row in others]
        assert found["rank"].tolist() == list(range(1, 13))
        np.testing.assert_allclose(found["similarity"], expected[others], atol=1e-6)
    assert similar_items(model, 103, 2).equals(found.head(2))
    assert recae.similar_items is similar_items


def test_similar_items_that_rules_allow(model: Any) -> None:
    everything = similar_items(model, 103, 20)
    for rules, kept in (
        ({"allow": [101, 103, 104, 109]}, {101, 104}),
        ({"deny": [101, 104]}, set(everything["item"]) - {101, 104}),
        ({"years": (1995, 1999)}, {105, 106, 107, 108}),
        ({"years": (1995, None), "deny": [106]}, {105, 107, 108, 110, 111, 112, 113}),
        ({"allow": []}, set()),
    ):
        found = similar_items(model, 103, 20, **rules)  # type: ignore[arg-type]
        some = everything[everything["item"].isin(kept)]
        assert set(found["item"]) == kept
        assert found["item"].tolist() == some["item"].tolist()
        np.testing.assert_array_equal(found["similarity"], some["similarity"])
    with pytest.raises(DataError, match="follow allow, deny, genres, years, not diversity"):
        similar_items(model, 103, diversity=0.5)
    with pytest.raises(DataError, match="unknown id 99"):
        similar_items(model, 103, deny=[99])


def test_users_of_a_table(model: Any) -> None:
    table = frame_of(RATINGS)
    assert similar_users(model, table, 4).equals(similar_users(model, RATINGS, 4))


def test_similar_users(model: Any) -> None:
    codes = model.encode(RATINGS).astype(float)
    expected, _ = brute_force(codes, codes[[4]], 40, [4])
    found = similar_users(model, RATINGS, 4, 40)
    assert list(found) == ["rank", "user", "similarity"]
    assert found["user"].tolist() == expected[0]
    assert len(found) == 28
    given = {100: 5, "Film 1 (1991)": 2, "film 2": 4}
    person = model.encode(model.history_of(given))
    expected, values = brute_force(codes, person, 5, [-1])
    found = similar_users(model, RATINGS, given, 5)
    assert found["user"].tolist() == expected[0]
    np.testing.assert_allclose(found["similarity"], values[0], atol=2e-6)
    assert recae.similar_users is similar_users


def test_who_rates_the_same_is_nearest() -> None:
    model = MODELS["autorec-dual"](**QUICK).fit(RATINGS, rng=np.random.default_rng(0))
    for row in (0, 11, 29):
        own = RATINGS.take_users(np.array([row]))
        given = dict(zip((own.columns + 100).tolist(), own.stars.tolist(), strict=True))
        found = similar_users(model, RATINGS, given, 1)
        assert found["user"].tolist() == [row]
        assert found["similarity"][0] == pytest.approx(1, abs=1e-5)


def test_users_who_were_not_in_training(model: Any) -> None:
    other = replace(RATINGS, users=recae.Ids(RATINGS.users.values + 500))
    found = similar_users(model, other, 504)
    assert 504 not in found["user"].tolist()
    assert set(found["user"]) <= set(range(500, 530)) - {506}


def test_text_ids() -> None:
    ratings = some_ratings(text=True)
    model = MODELS["mf"](**QUICK).fit(ratings, rng=np.random.default_rng(0))
    items = similar_items(model, "b03", 3)
    assert set(items["item"]) <= {f"b{i:02d}" for i in range(14)} - {"b03", "b09"}
    assert len(similar_users(model, ratings, "u04", 3)) == 3


def test_without_a_catalog() -> None:
    model = MODELS["mf"](**QUICK).fit(replace(RATINGS, catalog=None), rng=np.random.default_rng(0))
    assert list(similar_items(model, "103")) == ["rank", "item", "similarity"]


def test_a_model_that_is_fitted_again_is_asked_again() -> None:
    model = MODELS["mf"](**QUICK).fit(RATINGS, rng=np.random.default_rng(0))
    before = similar_items(model, 103), similar_users(model, RATINGS, 4)
    model.fit(RATINGS, rng=np.random.default_rng(1))
    after = similar_items(model, 103), similar_users(model, RATINGS, 4)
    fresh = MODELS["mf"](**QUICK).fit(RATINGS, rng=np.random.default_rng(1))
    assert after[0].equals(similar_items(fresh, 103))
    assert after[1].equals(similar_users(fresh, RATINGS, 4))
    assert not after[0].equals(before[0])
    assert not after[1].equals(before[1])


def test_what_is_kept_goes_with_the_model() -> None:
    model = MODELS["mf"](**QUICK).fit(RATINGS, rng=np.random.default_rng(0))
    before = len(neighbours._READY)
    similar_items(model, 103)
    similar_users(model, RATINGS, 4)
    assert len(neighbours._READY) == before + 1
    del model
    assert len(neighbours._READY) == before


def test_mistakes(model: Any) -> None:
    for n in (0, -1):
        with pytest.raises(DataError, match=f"n must be at least 1, not {n}"):
            similar_items(model, 103, n)
        with pytest.raises(DataError, match=f"n must be at least 1, not {n}"):
            similar_users(model, RATINGS, 4, n)
    with pytest.raises(DataError, match="nearest titles are: Film 3"):
        similar_items(model, "Fillm 3 (1993)")
    with pytest.raises(DataError, match=r"Film 9 \(1999\) was not rated in training"):
        similar_items(model, 109)
    with pytest.raises(DataError, match="unknown id 99"):
        similar_users(model, RATINGS, 99)
    with pytest.raises(DataError, match="user 6 has rated nothing that the model reads"):
        similar_users(model, RATINGS, 6)
    with pytest.raises(DataError, match="this person has rated nothing that the model reads"):
        similar_users(model, RATINGS, {})
    with pytest.raises(DataError, match="rated twice"):
        similar_users(model, RATINGS, {100: 5, "Film 0 (1990)": 4})
    ranker = Popular().fit(RATINGS, rng=np.random.default_rng(0))
    for ask in (lambda: similar_items(ranker, 103), lambda: similar_users(ranker, RATINGS, 4)):
        with pytest.raises(DataError, match="a Popular has no codes: take an AutoRec"):
            ask()
