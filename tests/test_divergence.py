"""Training that blows up: what is told, and what is left of the model."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from recae.errors import DataError, RecaeError
from recae.models import AutoRec, Recommender
from recae.models.kernel import Kernel
from recae.nn.training import Progress, Training
from tests.test_contract import SPLIT

SLOWLY: dict[str, Any] = {"learning_rate": 9.0, "weight_decay": 1.0, "reports": 100}
"""Decay shrinks weights by more than everything: they grow eight times a step."""


def diverged(model: Recommender, reports: list[Progress]) -> str:
    with np.errstate(all="ignore"), pytest.raises(RecaeError) as told:
        model.fit(SPLIT.train, rng=np.random.default_rng(0), on_epoch=reports.append)
    return str(told.value)


@pytest.mark.parametrize("preset", [AutoRec.item, AutoRec.mf, AutoRec.paper_item])
def test_the_last_good_state_predicts(preset: Any) -> None:
    reports: list[Progress] = []
    training = Training(**SLOWLY)
    model = preset(k=4, training=training)
    said = diverged(model, reports)
    assert re.search(r"the loss is (nan|inf) at step \d+", said)
    assert f"the state of step {reports[-1].step} is kept" in said
    assert "lower training.learning_rate" in said
    assert np.isfinite(model.predict(SPLIT.train)).all()


def test_what_cannot_be_refined_is_not_kept() -> None:
    """Finite codes may still be too large for the half-step of users: no half of a model stays."""
    training = Training(**SLOWLY)
    model = AutoRec.dual(k=4, activation="identity", kernel=Kernel(local=0.2), training=training)
    assert "lower training.learning_rate or raise ridge" in diverged(model, [])
    with pytest.raises(DataError, match="not trained to its end"):
        model.predict(SPLIT.train)


def test_nothing_was_learned_before_the_first_report() -> None:
    reports: list[Progress] = []
    model = AutoRec.dual(k=4, training=Training(learning_rate=1e3))
    said = diverged(model, reports)
    assert "nothing was learned before: lower training.learning_rate" in said
    assert not reports
    with pytest.raises(DataError, match="not trained to its end"):
        model.predict(SPLIT.train)
