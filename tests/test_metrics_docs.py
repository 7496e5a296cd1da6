"""docs/metrics.md names every metric there is, and the libraries that were compared with."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from recae import metrics, splits
from recae.evaluation import evaluate
from recae.models import MODELS
from recae.ratings import Ratings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
NAMED = set(re.findall(r"`(\w+)[`(]", PAGE))


def test_every_public_function_is_named() -> None:
    assert set(metrics.__all__) <= NAMED, set(metrics.__all__) - NAMED
    here = {field.name for field in fields(metrics.Ranking)}
    assert here <= NAMED, here - NAMED


def test_every_metric_of_an_evaluation_is_named() -> None:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((20, 15)) < 0.6)
    ratings = Ratings.of(users, items, rng.integers(1, 6, len(users)), scale=(1, 5))
    split = splits.random(ratings, test=0.2, rng=rng)
    found = evaluate(MODELS["bias"]().fit(split.train, rng=rng), split.test, n=3)
    reported = {name.removesuffix("_at_3") for name in found.metrics}
    assert reported <= NAMED, reported - NAMED


@pytest.mark.parametrize("library", ["scikit-learn", "implicit", "ranx"])
def test_libraries_are_those_that_are_tested_with(library: str) -> None:
    (version,) = re.findall(rf"^{library}==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert f"{library} {version}" in PAGE
