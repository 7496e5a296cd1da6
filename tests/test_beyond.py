"""Diversity by genres and by codes, miscalibration: what an evaluation adds where it can."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

import recae
from recae import splits
from recae.catalog import Catalog
from recae.evaluation import evaluate
from recae.models import AutoRec
from recae.models.linear import Popular
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.splits import Holdout

GENRES = {1: ["War"], 2: ["War", "Drama"], 3: ["Drama"], 4: [], 5: ["Comedy"]}


def holdout(genres: dict[int, list[str]] | None) -> tuple[Ratings, Holdout]:
    """User 1 has seen item 1, user 2 items 5 and 4; the most popular others are listed."""
    catalog = None
    if genres is not None:
        catalog = Catalog.of(list(genres), [f"film {i}" for i in genres], list(genres.values()))
    users = [1, 2, 2, 3, 3, 3, 4, 4, 5]
    items = [1, 5, 4, 1, 2, 3, 2, 3, 2]
    train = Ratings.of(users, items, [4.0] * 9, scale=(1, 5), catalog=catalog)
    target = Ratings.of([1, 2], [3, 3], [5.0, 1.0], scale=(1, 5))
    return train, Holdout.of(train.take_users(np.array([0, 1])), target)


def test_genres_by_hand() -> None:
    train, asked = holdout(GENRES)
    found = evaluate(Popular().fit(train, rng=np.random.default_rng(0)), asked, n=2)
    # Both are given 2 and 3: cosine of (1, 1) and (1, 0) is 1 / sqrt(2).
    diversity = 1 - 1 / np.sqrt(2)
    assert found.by_user["genre_diversity_at_2"].tolist() == pytest.approx([diversity] * 2)
    # The lists are 1/4 War, 3/4 Drama; user 1 has War alone, user 2 Comedy alone (4 has none).
    war, comedy = log(1 / (0.99 / 4 + 0.01)), log(1 / 0.01)
    assert found.by_user["miscalibration_at_2"].tolist() == pytest.approx([war, comedy])
    assert found.metrics["miscalibration_at_2"] == pytest.approx((war + comedy) / 2)
    # Nothing that the popular do not list is in the list of the popular.
    assert found.by_user["serendipity_at_2"].tolist() == pytest.approx([0, np.nan], nan_ok=True)


def test_without_genres_nothing_is_said_of_them() -> None:
    train, asked = holdout(None)
    found = evaluate(Popular().fit(train, rng=np.random.default_rng(0)), asked, n=2)
    assert not {name for name in found.metrics if "genre" in name or "calibration" in name}
    train, asked = holdout({item: [] for item in GENRES})
    found = evaluate(Popular().fit(train, rng=np.random.default_rng(0)), asked, n=2)
    assert not {name for name in found.metrics if "genre" in name or "calibration" in name}


def test_diversity_by_codes_is_that_of_the_models_own() -> None:
    ratings = recae.load("ml-latest-small")
    split = splits.random(ratings.take_users(np.arange(60)), rng=np.random.default_rng(0))
    model = AutoRec.mf(k=4, training=Training(steps=3)).fit(
        split.train, rng=np.random.default_rng(0)
    )
    found = evaluate(model, split.test, n=3)
    assert found.answers is not None
    codes = model.encode_items()
    units = codes / np.linalg.norm(codes, axis=1, keepdims=True).clip(min=1e-12)
    pairs = [
        np.mean([1 - units[a] @ units[b] for a, b in ((x, y), (x, z), (y, z))])
        for x, y, z in found.answers.lists.tolist()
    ]
    assert found.metrics["code_diversity_at_3"] == pytest.approx(np.mean(pairs), rel=1e-4)
    # Two models' codes are no common measure: no comparison makes a difference of it.
    assert "code_diversity_at_3" not in found.by_user


def test_a_target_that_the_model_does_not_know_is_no_surprise_but_counts() -> None:
    train, _ = holdout(None)
    target = Ratings.of([1], [99], [5.0], scale=(1, 5))
    asked = Holdout.of(train.take_users(np.array([0])), target)
    found = evaluate(Popular().fit(train, rng=np.random.default_rng(0)), asked, n=2)
    assert found.by_user["serendipity_at_2"].tolist() == [0.0]
