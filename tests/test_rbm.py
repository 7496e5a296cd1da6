"""The restricted Boltzmann machine for ratings: its levels, and what it says where it knows little.

Its mathematics: tests/nn/test_rbm.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recae.errors import DataError
from recae.models import RBM
from recae.models.rbm import _log_rates
from recae.nn.training import Progress, Training
from recae.ratings import Ratings
from recae.splits import random
from tests.test_levels import world

TRAINING = Training(objective="reconstruct", steps=12, reports=3, weight_decay=0.0)
SPLIT = random(world(), test=0.2, validation=0.1, rng=np.random.default_rng(0))


def fit(train: Ratings = SPLIT.train, training: Training = TRAINING) -> RBM:
    return RBM(k=4, training=training).fit(train, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def model() -> RBM:
    return fit()


def test_chances_expect_what_is_predicted(model: RBM) -> None:
    history = SPLIT.test.history
    chances = model.predict_distribution(history)
    np.testing.assert_array_equal(model.levels, [1, 2, 3, 4, 5])
    assert chances.shape == (len(history.users), len(history.items), 5)
    np.testing.assert_allclose(chances.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(chances @ model.levels, model.predict(history), atol=1e-5)
    at = model.predict_distribution_at(SPLIT.test)
    target = SPLIT.test.target
    np.testing.assert_allclose(at, chances[target.rows, target.columns], atol=1e-5)


def test_what_users_have_in_common_is_found() -> None:
    """Two tastes, each loving what the other hates: an item's own rates are of no use."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((80, 20)) < 0.6)
    stars = np.where((users + items) % 2, 4, 1) + rng.integers(0, 2, len(users))
    split = random(Ratings.of(users, items, stars, scale=(1, 5)), test=0.2, rng=rng)
    model = fit(split.train, replace(TRAINING, steps=200, learning_rate=0.03))
    loved, chances = split.test.target.stars >= 4, model.predict_distribution_at(split.test)
    np.testing.assert_array_equal(model.levels, [1, 2, 4, 5])
    assert chances[loved, 2:].sum(axis=1).mean() > 0.8
    assert chances[~loved, :2].sum(axis=1).mean() > 0.8


def test_base_rates_are_shares_by_hand() -> None:
    ratings = Ratings.of([1, 2, 3, 1], [5, 5, 5, 6], [1.0, 1.0, 3.0, 3.0], scale=(1, 3))
    rates = np.exp(_log_rates(ratings, np.array([1, 3], np.float32)))
    np.testing.assert_allclose(rates[:, 0], [(2 + 5) / 13, (1 + 5) / 13], rtol=1e-6)
    np.testing.assert_allclose(rates.sum(axis=0), 1, rtol=1e-6)


def test_stars_that_training_had_not_count_as_the_nearest_level(model: RBM) -> None:
    items = model.fitted.items
    near, level = (Ratings.of_one({3: stars}, items, (1, 5)) for stars in (3.9, 4.0))
    np.testing.assert_array_equal(model.predict(near), model.predict(level))


def test_an_item_that_nobody_rated_is_as_one_that_is_unknown() -> None:
    train = SPLIT.train.keep(SPLIT.train.columns != 7)
    model = fit(train)
    assert model.fitted.item_counts[7] == 0
    history = SPLIT.test.history.keep(SPLIT.test.history.columns != 7)
    unrated = model.predict_distribution(history, np.array([7, -1]))
    np.testing.assert_array_equal(unrated[:, 0], unrated[:, 1])
    # It is somebody's opinion still: who is generous is generous there.
    assert np.ptp(unrated[:, 0] @ model.levels) > 0


def test_a_continuum_of_stars_is_refused() -> None:
    stars = np.linspace(1, 5, 60)
    many = Ratings.of(np.arange(60) % 6, np.arange(60) // 6, stars, scale=(1, 5))
    with pytest.raises(DataError, match="60 different values, too many"):
        fit(many)


def test_an_interrupted_fit_goes_on_to_the_same_end(tmp_path: Path, model: RBM) -> None:
    def save(progress: Progress) -> None:
        if progress.step == 8:
            progress.save(tmp_path / "checkpoint")

    for settings in ({"on_epoch": save}, {"resume": tmp_path / "checkpoint"}):
        again = RBM(k=4, training=TRAINING)
        again.fit(SPLIT.train, rng=np.random.default_rng(3), **settings)
        history = SPLIT.test.history
        np.testing.assert_array_equal(again.predict(history), model.predict(history))


@pytest.mark.parametrize("wrong", [{"k": 0}, {"gibbs": 0}, {"device": "gpu"}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RBM(**wrong)  # type: ignore[arg-type]
