"""CF-NADE's cost on models: chances of stars, and settings that do not go with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.errors import DataError
from recae.models import AutoRec, load_model
from recae.nn.encoders import Kernelized, Ordinal
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.splits import Holdout
from tests.test_contract import RATINGS, SPLIT, fitted, make


def test_chances_sum_to_1_and_their_mean_is_predicted(tmp_path: Path) -> None:
    model = fitted("autoencoder-nade")
    np.testing.assert_array_equal(model.levels, np.unique(SPLIT.train.stars))
    chances = model.predict_distribution_at(SPLIT.test)
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(chances @ model.levels, model.predict_at(SPLIT.test), atol=1e-5)
    again = load_model(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_distribution_at(SPLIT.test), chances)


def test_of_whom_nothing_is_known_what_is_usual_is_said() -> None:
    model = fitted("autoencoder-nade")
    strange = Ratings.of([RATINGS.users.values[0]], [10**12], [3.0], scale=(1, 5))
    chances = model.predict_distribution_at(Holdout.of(SPLIT.test.history, strange))
    shares = [float((SPLIT.train.stars == level).mean()) for level in model.levels]
    np.testing.assert_allclose(chances[0], shares, atol=1e-6)


def test_half_stars_from_half_a_star() -> None:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((30, 20)) < 0.5)
    stars = rng.integers(1, 11, len(users)) / 2
    halves = Ratings.of(users, items, stars, scale=(0.5, 5))
    model = make("autoencoder-nade").fit(halves, rng=rng)
    np.testing.assert_array_equal(model.levels, np.arange(1, 11, dtype=np.float32) / 2)
    predicted = model.predict(halves)
    assert predicted.min() >= 0.5
    assert predicted.max() <= 5


def test_a_continuum_has_no_levels() -> None:
    stars = np.random.default_rng(0).permutation(60) / 10
    many = Ratings.of(np.arange(60) % 6, np.arange(60), stars)
    with pytest.raises(DataError, match="too many for levels"):
        make("autoencoder-nade").fit(many, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"baseline": "mean"}, "head = nade learns raw ratings: set baseline = none"),
        ({"output": "sigmoid"}, "head = nade bends the scores itself: set output = identity"),
        ({"users": "table"}, "head = nade leaves no half-step"),
        ({"refine": True}, "head = nade leaves no half-step"),
    ],
)
def test_what_does_not_go_with_the_cost_is_refused(wrong: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        AutoRec(**{"head": "nade", "baseline": "none"} | wrong)


@pytest.mark.parametrize("encoder", [Ordinal(), Kernelized(hidden=(6,))])
@pytest.mark.parametrize("sides", [("table", "encoder"), ("encoder", "encoder")])
def test_both_encoders_read_items_too(
    encoder: Ordinal | Kernelized, sides: tuple[str, str]
) -> None:
    settings = dict(zip(("users", "items"), sides, strict=True))
    training = Training(steps=12, reports=3)
    model = AutoRec(k=4, encoder=encoder, baseline="none", training=training, **settings)  # type: ignore[arg-type]
    predicted = model.fit(SPLIT.train, rng=np.random.default_rng(0)).predict(SPLIT.train)
    assert np.isfinite(predicted).all()


def test_what_is_not_connected_is_reported() -> None:
    said: list[float] = []
    make("autoencoder-kernelized").fit(
        SPLIT.train,
        rng=np.random.default_rng(0),
        on_epoch=lambda progress: said.append(progress.metrics["train/rows/unconnected"]),
    )
    assert len(said) == 3
