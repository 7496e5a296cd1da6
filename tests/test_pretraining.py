"""Pre-trained stacks as models: refusals, reports, going on from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.errors import RecaeError
from recae.models import AutoRec
from recae.nn.encoders import Dense, Kernelized
from recae.nn.training import Progress, Training
from tests.test_contract import SPLIT

TRAINING = Training(objective="reconstruct", steps=20, reports=4, ema=0.9)


def stack(**settings: Any) -> AutoRec:
    own: dict[str, Any] = {"k": 4, "encoder": Dense(hidden=(8, 6)), "training": TRAINING}
    return AutoRec(**{"items": "table", "pretraining": "layerwise"} | own | settings)


def fit(model: AutoRec, **more: Any) -> AutoRec:
    return model.fit(SPLIT.train, rng=np.random.default_rng(3), **more)


def test_steps_are_those_of_all_stages() -> None:
    said: list[Progress] = []
    model = fit(stack(), validation=SPLIT.validation, on_epoch=said.append)
    assert model.steps == 4 * 20
    assert [p.step for p in said] == list(range(5, 81, 5))
    assert {p.steps for p in said} == {80}
    of_stage = [set(p.metrics) for p in said[::4]]
    assert of_stage[0] == {"train/rmse"}
    assert of_stage[1] == of_stage[2] == {"train/reconstruction"}
    assert of_stage[3] == {"train/rmse", "val/rmse"}
    assert SPLIT.validation is not None
    error = model.predict_at(SPLIT.validation) - SPLIT.validation.target.stars
    assert said[-1].metrics["val/rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-5)


def test_pretraining_changes_where_the_whole_begins() -> None:
    curves = []
    for pretraining in ("none", "layerwise"):
        said: list[Progress] = []
        fit(stack(pretraining=pretraining), on_epoch=said.append)
        curves.append([p.metrics["train/rmse"] for p in said[-4:]])
    assert curves[1][0] < curves[0][0]


@pytest.mark.parametrize("stop_at", [10, 30, 50, 75])
def test_resumed_in_any_stage_it_equals_one_that_never_stopped(
    tmp_path: Path, stop_at: int
) -> None:
    whole = fit(stack()).predict(SPLIT.train)

    def stop(progress: Progress) -> None:
        if progress.step == stop_at:
            progress.save(tmp_path / "checkpoint")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stack(), on_epoch=stop)
    resumed = fit(stack(), resume=tmp_path / "checkpoint")
    np.testing.assert_array_equal(resumed.predict(SPLIT.train), whole)


def test_with_an_ordinal_head_both_networks_are_pretrained() -> None:
    model = stack(head="ordinal", training=replace(TRAINING, steps=4))
    said: list[Progress] = []
    fit(model, on_epoch=said.append)
    assert said[-1].step == said[-1].steps == model.steps == 2 * 4 * 4


@pytest.mark.parametrize(
    "settings",
    [{"encoder": Dense()}, {"encoder": Kernelized(hidden=(8,))}, {"users": "table"}],
)
def test_without_layers_there_is_nothing_to_pretrain(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"pretraining = layerwise needs .* encoder.hidden"):
        stack(**settings)


def test_a_diverging_stage_says_so() -> None:
    model = stack(training=replace(TRAINING, steps=400, learning_rate=9.0, weight_decay=1.0))
    with pytest.raises(RecaeError, match=r"pre-training diverged: lower training.learning_rate"):
        fit(model)
