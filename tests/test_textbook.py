"""Which settings make an autoencoder, and which do not go together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recae.errors import DataError, RecaeError
from recae.models import AutoRec
from recae.models.base import Floats
from recae.nn.activations import ACTIVATIONS
from recae.nn.encoders import Dense
from recae.nn.training import Training
from tests.test_contract import RATINGS

FREE = Training(objective="reconstruct", steps=12, reports=3, weight_decay=0.0, ema=0.0)
"""Nothing keeps a code from being a copy."""
TABLES: dict[str, Any] = {"items": "table", "dropout": 0.0, "training": FREE}


def predicted(**settings: Any) -> Floats:
    model = AutoRec(**TABLES | settings)
    return model.fit(RATINGS, rng=np.random.default_rng(0)).predict(RATINGS)


def test_an_overcomplete_code_without_any_constraint_is_refused() -> None:
    with pytest.raises(DataError, match=r"k = 30 is overcomplete for user codes.*Choose a smaller"):
        predicted(k=30)
    with pytest.raises(DataError, match="overcomplete for item codes"):
        predicted(k=40, items="encoder", users="table")
    assert np.isfinite(predicted(k=29)).all()


@pytest.mark.parametrize(
    "constraint",
    [
        {"training": replace(FREE, objective="split")},
        {"training": replace(FREE, objective="denoise")},
        {"training": replace(FREE, noise=0.5)},
        {"training": replace(FREE, weight_decay=1.0)},
        {"training": replace(FREE, l2=1.0)},
        {"dropout": 0.3},
        {"activation": "sigmoid", "encoder": Dense(sparsity=0.05)},
        {"encoder": Dense(active=0.1)},
        {"encoder": Dense(contraction=0.1)},
    ],
    ids=str,
)
def test_a_constraint_makes_room_for_an_overcomplete_code(constraint: dict[str, Any]) -> None:
    stars = predicted(k=50, **constraint)
    assert np.isfinite(stars).all()


def test_penalties_are_felt() -> None:
    """The stronger, the less a code says."""
    plain = predicted(k=8)
    held = replace(FREE, steps=100)
    weak, strong = (
        predicted(k=8, encoder=Dense(contraction=weight), training=held) for weight in (0.0, 1e3)
    )
    assert weak.std() > strong.std()
    for encoder in (Dense(active=0.3), Dense(contraction=1.0)):
        assert not np.allclose(plain, predicted(k=8, encoder=encoder))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("where", ["activation", "hidden", "output"])
def test_every_activation_of_codes_layers_and_outputs(activation: str, where: str) -> None:
    settings: dict[str, Any] = {
        "activation": {"activation": activation},
        "hidden": {"activation": activation, "encoder": Dense(hidden=(9,))},
        "output": {"output": activation, "baseline": "none"},
    }[where]
    stars = predicted(k=5, training=replace(FREE, learning_rate=0.1), **settings)
    assert np.isfinite(stars).all()
    assert RATINGS.scale[0] <= stars.min() < stars.max() <= RATINGS.scale[1]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rprop", "lbfgs"])
def test_every_optimizer(optimizer: str) -> None:
    training = replace(FREE, optimizer=optimizer, learning_rate=0.1)  # type: ignore[arg-type]
    assert np.isfinite(predicted(k=5, training=training)).all()
    if optimizer in ("rprop", "lbfgs"):
        with pytest.raises(RecaeError, match="set dropout to 0"):
            predicted(k=5, training=training, dropout=0.2)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"head": "cross-entropy"}, "set output = sigmoid"),
        ({"head": "cross-entropy", "output": "tanh", "baseline": "none"}, "set output = sigmoid"),
        ({"output": "sigmoid"}, "set baseline = none"),
        ({"output": "tanh", "baseline": "mean"}, "set baseline = none"),
        ({"output": "sigmoid", "baseline": "none", "refine": True}, "refine = false"),
        ({"output": "sigmoid", "baseline": "none", "users": "table"}, "set users = encoder"),
        ({"output": "sigmoid", "baseline": "none", "head": "ordinal"}, "set output = identity"),
        ({"encoder": Dense(sparsity=0.05), "activation": "tanh"}, "set activation = sigmoid"),
    ],
)
def test_what_does_not_go_together(wrong: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        AutoRec(**wrong)
