"""The ordinal head: chances of every star, what they are learned from, and what they agree with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from recae.errors import DataError
from recae.leaks import leak_test
from recae.models import AutoRec, Average, Recommender, Stack, load_model
from recae.models.baseline import Baseline
from recae.models.kernel import Kernel
from recae.models.levels import Levels, Spread, _loss, levels_of
from recae.nn.training import Progress, Training
from recae.ratings import Ratings
from recae.splits import Holdout, partial_users, random

TRAINING = Training(steps=12, reports=3)
FIVE = np.arange(1, 6, dtype=np.float32)


def world(*, half: bool = False, times: bool = False) -> Ratings:
    """60 users, 40 items; the last fifteen users toss a coin between one and five."""
    rng = np.random.default_rng(5)
    users, items = np.nonzero(rng.random((60, 40)) < 0.4)
    taste = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    stars = np.round(3 + taste[users, items] + rng.normal(0, 0.5, len(users)))
    stars = np.where(users < 45, stars, rng.choice([1.0, 5.0], len(users)))
    if half:
        stars = np.round(2 * stars + rng.integers(0, 2, len(stars))) / 2
    low = 0.5 if half else 1
    stars = np.clip(stars, low, 5)
    seconds = rng.integers(0, 10**6, len(users)) if times else None
    return Ratings.of(users * 2, items, stars, seconds, scale=(low, 5))


SPLIT = random(world(), test=0.2, validation=0.1, rng=np.random.default_rng(0))


def ordinal(**settings: Any) -> AutoRec:
    return AutoRec.dual(**{"k": 4, "head": "ordinal", "training": TRAINING} | settings)


def fit(model: Recommender, train: Ratings = SPLIT.train, **settings: Any) -> Recommender:
    return model.fit(train, rng=np.random.default_rng(3), **settings)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fit(ordinal())


# --- the mathematics


def no_spread(n_items: int = 1) -> Spread:
    return Spread(Baseline(0.0, np.zeros(n_items, np.float32)), 1.0, np.zeros(n_items, np.float32))


def some_levels() -> Levels:
    thresholds = np.array([1.4, 2.6, 3.3, 4.7], np.float32)
    return Levels(FIVE, thresholds, np.array([0.7, -0.5, -0.2], np.float32), no_spread())


def at(levels: Levels, scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Chances and expectations of one unknown user and the one item."""
    nobody = Ratings.of_one({}, SPLIT.train.items, (1, 5)).over(SPLIT.train.items)
    rows = np.zeros(len(scores), np.int64)
    given = np.array(scores, np.float32)
    return (
        levels.chances_at(given, nobody, rows, rows - 1),
        levels.expected_at(given, nobody, rows, rows - 1),
    )


def test_chances_are_differences_of_the_curve() -> None:
    levels = some_levels()
    chances, expected = at(levels, [2.9])
    curve = [expit(np.exp(0.7) * (2.9 - threshold)) for threshold in (1.4, 2.6, 3.3, 4.7)]
    by_hand = -np.diff([1, *curve, 0])
    np.testing.assert_allclose(chances[0], by_hand, atol=1e-6)
    np.testing.assert_allclose(expected[0], by_hand @ FIVE, rtol=1e-6)


def test_chances_sum_to_one_and_more_score_means_more_stars() -> None:
    chances, expected = at(some_levels(), np.linspace(-40, 40, 801).tolist())
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    assert chances.min() >= 0
    assert chances[300:501].min() > 0
    at_least = chances[:, ::-1].cumsum(axis=1)[:, :-1]
    assert (np.diff(at_least, axis=0) >= -1e-6).all()
    assert (np.diff(expected) >= -1e-6).all()
    np.testing.assert_allclose(expected[[0, -1]], [1, 5], atol=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(1)
    scores, spreads = (
        torch.from_numpy(rng.normal(3, 2, 12)),
        torch.from_numpy(rng.normal(size=(12, 2))),
    )
    places = torch.arange(12) % 5
    free = torch.from_numpy(rng.normal(size=7) / 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: _loss(x, FIVE, scores, spreads, places), free)


def test_the_loss_is_finite_far_away() -> None:
    scores = torch.tensor([-500.0, 500.0], dtype=torch.float64)
    free = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    loss = _loss(free, FIVE, scores, torch.zeros(2, 2, dtype=torch.float64), torch.tensor([4, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(free.grad).all()


def test_what_made_the_ratings_is_found_again() -> None:
    rng = np.random.default_rng(2)
    users, items = np.divmod(np.sort(rng.permutation(300 * 200)[:40_000]), 200)
    scores = rng.uniform(0, 6, len(users)).astype(np.float32)
    thresholds = np.array([0.9, 2.2, 2.8, 4.6])
    of_items = rng.normal(size=200).astype(np.float32)
    slopes = 1.5 * np.exp(0.4 * of_items[items])
    reached = expit(slopes[:, None] * (scores[:, None] - thresholds))
    stars = 1 + (rng.random((len(users), 1)) < reached).sum(axis=1)
    target = Ratings.of(users, items, stars, scale=(1, 5))
    hidden = Holdout(target.keep(np.zeros(len(target), bool)), target)
    spread = Spread(Baseline(3.0, np.zeros(200, np.float32)), 1.0, of_items)
    found = Levels.fit(FIVE, spread, scores, hidden)
    np.testing.assert_allclose(found.thresholds, thresholds, atol=0.08)
    assert np.exp(found.slope[0]) == pytest.approx(1.5, rel=0.05)
    assert found.slope[2] == pytest.approx(0.4, abs=0.04)


def test_a_spread_is_the_mean_square_shrunk_to_the_usual() -> None:
    train = SPLIT.train
    baseline = Baseline.of(train)
    spread = Spread.of(train, baseline)
    squares = baseline.residuals(train) ** 2
    usual, own = squares.mean(), squares[train.rows == 7]
    by_hand = np.log((own.sum() / usual + 10) / (len(own) + 10))
    assert spread.users(train)[7] == pytest.approx(by_hand, rel=1e-5)
    of_item = squares[train.columns == 5]
    by_hand = np.log((of_item.sum() / usual + 10) / (len(of_item) + 10))
    assert spread.items[5] == pytest.approx(by_hand, rel=1e-5)


# --- the model


def test_what_is_expected_is_what_is_predicted(model: Recommender) -> None:
    history = SPLIT.test.history
    chances = model.predict_distribution(history)
    assert chances.shape == (len(history.users), len(history.items), 5)
    assert chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(axis=2), 1, atol=1e-6)
    np.testing.assert_array_equal(model.levels, FIVE)
    np.testing.assert_allclose(chances @ model.levels, model.predict(history), atol=1e-4)
    at_targets = model.predict_distribution_at(SPLIT.test)
    target = SPLIT.test.target
    np.testing.assert_allclose(at_targets, chances[target.rows, target.columns], atol=1e-5)
    few = model.predict_distribution(history, np.array([3, 1]))
    np.testing.assert_allclose(few, chances[:, [3, 1]], atol=1e-5)


def test_the_network_is_that_of_stars(model: Recommender) -> None:
    plain = fit(AutoRec.dual(k=4, training=TRAINING))
    ours, theirs = model.state(), plain.state()
    assert {name for name in ours if not name.startswith("levels.")} == set(theirs)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)


def test_who_tosses_coins_has_flat_chances() -> None:
    model = fit(ordinal(training=Training(steps=150, reports=1)))
    chances = model.predict_distribution_at(SPLIT.test)
    extreme = chances[:, [0, -1]].sum(axis=1)
    tossing = SPLIT.test.target.users.values[SPLIT.test.target.rows] >= 90
    assert extreme[tossing].mean() > 1.5 * extreme[~tossing].mean()


def test_thresholds_ascend_on_half_stars_with_moods() -> None:
    split = random(world(half=True, times=True), test=0.2, rng=np.random.default_rng(0))
    model = fit(ordinal(kernel=Kernel(local=0.5, times=(1e4,))), split.train)
    assert isinstance(model, AutoRec)
    np.testing.assert_array_equal(model.levels, np.unique(split.train.stars))
    learned = model._get().levels
    assert learned is not None
    assert (np.diff(learned.thresholds) > 0).all()
    chances = model.predict_distribution_at(split.test)
    np.testing.assert_allclose(chances @ model.levels, model.predict_at(split.test), atol=1e-4)


@pytest.mark.parametrize("users", ["table", "table+mask"])
def test_tables_have_levels_too(users: str) -> None:
    model = fit(ordinal(users=users, refine=False))
    chances = model.predict_distribution_at(SPLIT.test)
    np.testing.assert_allclose(chances @ FIVE, model.predict_at(SPLIT.test), atol=1e-4)


def test_strangers_and_unknown_items_have_chances(model: Recommender) -> None:
    history = Ratings.of([1], [0], [5.0], scale=(1, 5))
    holdout = Holdout.of(history, Ratings.of([1, 1, 3], [1, 999, 1], [1.0, 2.0, 3.0], scale=(1, 5)))
    chances = model.predict_distribution_at(holdout)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(chances @ FIVE, model.predict_at(holdout), atol=1e-4)


def test_it_comes_back_from_disk(model: Recommender, tmp_path: Path) -> None:
    back = load_model(model.save(tmp_path / "model"))
    ours, theirs = (m.predict_distribution_at(SPLIT.test) for m in (model, back))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.predict_at(SPLIT.test), model.predict_at(SPLIT.test))


@pytest.mark.parametrize("stop", [8, 16])
def test_it_goes_on_in_either_training(model: Recommender, tmp_path: Path, stop: int) -> None:
    seen: list[int] = []
    checkpoint = tmp_path / "checkpoint"

    def report(progress: Progress) -> None:
        seen.append(progress.step)
        assert progress.steps == ordinal().steps == 24
        if progress.step == stop:
            progress.save(checkpoint)

    fit(ordinal(), on_epoch=report)
    assert seen == [4, 8, 12, 16, 20, 24]
    resumed = fit(ordinal(), resume=checkpoint, on_epoch=lambda progress: None)
    np.testing.assert_array_equal(
        resumed.predict_distribution_at(SPLIT.test), model.predict_distribution_at(SPLIT.test)
    )


def test_validation_changes_nothing(model: Recommender) -> None:
    said: list[dict[str, float]] = []
    other = fit(
        ordinal(),
        validation=SPLIT.validation,
        on_epoch=lambda progress: said.append(progress.metrics),
    )
    assert ["val/rmse" in metrics for metrics in said] == [False] * 3 + [True] * 3
    np.testing.assert_array_equal(other.predict_at(SPLIT.test), model.predict_at(SPLIT.test))


def test_target_stars_are_not_read(model: Recommender) -> None:
    assert leak_test(model, SPLIT.test, rng=np.random.default_rng(0)).verdict.startswith("no leak")
    target = SPLIT.test.target
    matrix = target.matrix.copy()
    matrix.data = 6 - matrix.data
    other = Holdout(SPLIT.test.history, replace(target, matrix=matrix))
    np.testing.assert_array_equal(
        model.predict_distribution_at(other), model.predict_distribution_at(SPLIT.test)
    )


def test_lists_and_reasons_are_of_what_is_expected(model: Recommender) -> None:
    history = SPLIT.test.history
    found = model.recommend(history, n=5)
    expected = model.predict(history)
    at_items = np.take_along_axis(expected, found.items, axis=1)
    np.testing.assert_allclose(found.stars, at_items, atol=1e-5)
    frame = model.recommend({3: 5.0, 11: 1.0}, n=3)
    assert len(frame) == 3


def test_an_average_mixes_and_a_stack_refuses() -> None:
    average = fit(Average(ordinal(), size=2))
    chances = average.predict_distribution_at(SPLIT.test)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(chances @ average.levels, average.predict_at(SPLIT.test), atol=1e-4)
    stack = fit(Stack((ordinal(), ordinal())))
    with pytest.raises(DataError, match="this Stack says how many stars"):
        stack.predict_distribution_at(SPLIT.test)


# --- mistakes


def test_without_the_head_there_are_no_chances() -> None:
    plain = fit(AutoRec.dual(k=4, training=TRAINING))
    for ask in (
        lambda: plain.levels,
        lambda: plain.predict_distribution(SPLIT.test.history),
        lambda: plain.predict_distribution_at(SPLIT.test),
    ):
        with pytest.raises(DataError, match='head = "ordinal"'):
            ask()
    with pytest.raises(ValueError, match=r"head must be one of 'stars', .*not 'cardinal'"):
        ordinal(head="cardinal")


def test_a_continuum_has_no_levels() -> None:
    rng = np.random.default_rng(0)
    stars = rng.permutation(60) / 10
    many = Ratings.of(np.arange(60) % 6, np.arange(60), stars)
    with pytest.raises(DataError, match="60 different values, too many for levels: use head"):
        fit(ordinal(), many)
    one = Ratings.of([1, 1, 2], [1, 2, 1], [3, 3, 3], scale=(1, 5))
    with pytest.raises(DataError, match="all ratings are the same"):
        levels_of(one)


def test_a_handful_of_ratings_has_levels_of_the_prior() -> None:
    few = Ratings.of([1, 1, 2, 2], [1, 2, 1, 3], [1, 2, 4, 5], scale=(1, 5))
    model = fit(ordinal(), few)
    chances = model.predict_distribution(few)
    assert np.isfinite(chances).all()
    np.testing.assert_array_equal(model.levels, [1, 2, 4, 5])


# --- the benchmark


@pytest.mark.slow
def test_levels_say_more_than_an_error_bar(shared_data: Path) -> None:
    """Inside u1.base: less surprise at held-out stars than under a Gaussian of the best width."""
    from recae.data import load

    ratings = load(shared_data / "ml-100k" / "u1.base")
    split = partial_users(ratings, users=0.5, target=0.38, rng=np.random.default_rng(0))
    model = fit(
        ordinal(k=32, dropout=0.3, ridge=60, training=Training(weight_decay=4)), split.train
    )
    given = split.test.target.stars
    expected = model.predict_at(split.test)
    chances = model.predict_distribution_at(split.test)
    rows, places = np.arange(len(given)), given.astype(int) - 1
    surprise = -np.log(chances[rows, places]).mean()
    bars = [
        -np.log(np.diff(norm.cdf(_ends(), expected[:, None], width))[rows, places]).mean()
        for width in np.linspace(0.7, 1.2, 26)
    ]
    assert surprise < min(bars) - 0.03
    for level in range(5):
        assert chances[:, level].mean() == pytest.approx((places == level).mean(), abs=0.02)


def _ends() -> np.ndarray:
    return np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
