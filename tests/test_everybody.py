"""Lists for everybody, in one Parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recae import everybody
from recae.errors import DataError
from recae.everybody import recommend_to_all
from recae.models import Blend
from recae.models.autorec import AutoRec
from recae.models.linear import EASE
from recae.nn.training import Training
from recae.ratings import Ratings


def ratings() -> Ratings:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((25, 15)) < 0.4)
    return Ratings.of(users, items, rng.integers(1, 6, len(users)), scale=(1, 5))


RATINGS = ratings()
MODEL = Blend(AutoRec.dual(k=3, training=Training(steps=10)), EASE(l2=5.0), level=0.7).fit(
    RATINGS, rng=np.random.default_rng(0)
)


def test_blocks_of_users_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everybody, "_BLOCK", 7)
    rows = recommend_to_all(MODEL, RATINGS, tmp_path / "r.parquet", 4, by="stars")
    found = pd.read_parquet(tmp_path / "r.parquet")
    assert len(found) == rows == 100
    whole = MODEL.recommend(RATINGS, 4, by="stars").to_frame()
    assert list(found.columns) == list(whole.columns)
    assert found["item"].tolist() == whole["item"].tolist()
    np.testing.assert_allclose(found["stars"], whole["stars"], rtol=1e-4)
    np.testing.assert_allclose(found["low"], whole["low"], rtol=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]


def test_blocks_in_which_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user at the front has seen everything that is allowed."""
    monkeypatch.setattr(everybody, "_BLOCK", 1)
    seen = RATINGS.items.values[RATINGS.take_users(np.array([0])).columns]
    rows = recommend_to_all(MODEL, RATINGS, tmp_path / "r.parquet", 3, allow=seen[:2])
    found = pd.read_parquet(tmp_path / "r.parquet")
    assert len(found) == rows
    assert 0 not in set(found["user"])
    assert set(found["item"]) <= set(seen[:2].tolist())
    assert (found["low"] <= found["stars"]).all()


def test_nobody_is_an_empty_table(tmp_path: Path) -> None:
    nobody = RATINGS.take_users(np.zeros(0, np.int64))
    assert recommend_to_all(MODEL, nobody, tmp_path / "r.parquet") == 0
    assert pd.read_parquet(tmp_path / "r.parquet").empty


def test_a_mistake_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no order"):
        recommend_to_all(MODEL, RATINGS, tmp_path / "r.parquet", by="fame")
    with pytest.raises(DataError, match="cannot write"):
        recommend_to_all(MODEL, RATINGS, tmp_path / "no" / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_ratings_will_do(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "user": RATINGS.users.values[RATINGS.rows],
            "item": RATINGS.items.values[RATINGS.columns],
            "rating": RATINGS.stars,
        }
    )
    rows = recommend_to_all(MODEL, frame, tmp_path / "r.parquet", 2)
    whole = MODEL.recommend(RATINGS, 2).to_frame()
    assert rows == len(whole)
    assert pd.read_parquet(tmp_path / "r.parquet")["item"].tolist() == whole["item"].tolist()


def test_parquet_is_not_called_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"call the file r\.parquet"):
        recommend_to_all(MODEL, RATINGS, tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []
