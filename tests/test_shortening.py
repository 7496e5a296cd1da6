"""Shorter lists out of kept ones: the same numbers as evaluated so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recae import evaluate, splits
from recae.errors import DataError
from recae.evaluation import shortened
from recae.models.linear import EASE, Bias
from recae.ratings import Ratings
from recae.splits import Holdout


def ratings() -> Ratings:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((50, 30)) < 0.4)
    return Ratings.of(users, items, rng.integers(1, 6, len(users)), scale=(1, 5))


SPLIT = splits.random(ratings(), test=0.3, rng=np.random.default_rng(1))
MODEL = EASE(l2=3.0).fit(SPLIT.train, rng=np.random.default_rng(0))
LONG = evaluate(MODEL, SPLIT.test, n=12)


@pytest.mark.parametrize("n", [1, 5, 12])
def test_shorter_lists_score_as_if_they_had_been_asked_for(n: int) -> None:
    asked, cut = evaluate(MODEL, SPLIT.test, n=n), shortened(LONG, n)
    names = ["ndcg", "recall", "recall_min", "precision", "map", "mrr", "hit"]
    for name in names:
        key = f"{name}_at_{n}"
        np.testing.assert_allclose(cut.by_user[key], asked.by_user[key], rtol=1e-12)
        assert cut.metrics[key] == pytest.approx(asked.metrics[key])
    assert cut.protocol == asked.protocol
    assert cut.n == n
    assert {k for k in cut.metrics if "_at_" in k} == {f"{name}_at_{n}" for name in names}
    assert {k for k in cut.by_user if "_at_" in k} == {f"{name}_at_{n}" for name in names}


def test_stars_stay_as_they_are() -> None:
    model = Bias().fit(SPLIT.train, rng=np.random.default_rng(0))
    long = evaluate(model, SPLIT.test, n=8)
    cut = shortened(long, 3)
    assert cut.metrics["rmse"] == long.metrics["rmse"]
    np.testing.assert_array_equal(cut.by_user["squared_error"], long.by_user["squared_error"])


def test_targets_that_nobody_can_find_still_count() -> None:
    strange = Ratings.of([1, 1, 2], [500, 3, 4], [5.0, 5.0, 2.0], scale=(1, 5))
    known = SPLIT.test.history
    rest = known.keep(~np.isin(known.items.values[known.columns], [3, 4]))
    holdout = Holdout.of(rest, strange)
    asked, cut = evaluate(MODEL, holdout, n=4), shortened(evaluate(MODEL, holdout, n=20), 4)
    np.testing.assert_allclose(cut.by_user["recall_at_4"], asked.by_user["recall_at_4"])
    assert asked.by_user["recall_at_4"][0] <= 0.5


def test_what_cannot_be_cut() -> None:
    with pytest.raises(DataError, match="ask for 1 to 12, not 13"):
        shortened(LONG, 13)
    with pytest.raises(DataError, match="not 0"):
        shortened(LONG, 0)
    with pytest.raises(DataError, match="kept no lists"):
        shortened(replace(LONG, answers=None), 3)
