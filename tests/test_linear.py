"""The item-item models against regressions that are written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from recae.errors import DataError, RecaeError
from recae.ids import Ids
from recae.models import linear
from recae.models.linear import EASE, ItemRidge
from recae.ratings import Ratings


def some_ratings(*, seed: int = 0, scale: tuple[int, int] = (0, 4)) -> Ratings:
    """25 users, 12 items; the lowest star is 0, which a sparse matrix must not take for absence."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((25, 12)) < 0.5)
    return Ratings.of(users, items, rng.integers(0, 5, len(users)), scale=scale)


def rng_of() -> np.random.Generator:
    return np.random.default_rng(0)


def twins() -> Ratings:
    """Items 1 and 2 have the same ratings by the same users."""
    rows = [(user, item, user % 2 + 3) for user in range(6) for item in (1, 2, 3)]
    return Ratings.of(*zip(*rows, strict=True), scale=(1, 5))


@pytest.mark.parametrize("liked_from", [None, 0.0])
def test_ease_is_a_ridge_regression_of_each_item_on_the_others(liked_from: float | None) -> None:
    train = some_ratings()
    model = EASE(l2=3.0, liked_from=liked_from).fit(train, rng=rng_of())
    likes = np.zeros((25, 12))
    likes[train.rows, train.columns] = train.stars >= (3 if liked_from is None else liked_from)
    for item in range(12):
        others = np.arange(12) != item
        x = likes[:, others]
        weights = np.linalg.solve(x.T @ x + 3.0 * np.eye(11), x.T @ likes[:, item])
        np.testing.assert_allclose(model.weights[others, item], weights, atol=1e-5)
        assert model.weights[item, item] == 0
    expected = likes @ model.weights
    # Who liked nothing, or only what nobody else did, gets what most have rated.
    expected[~expected.any(axis=1)] = train.item_counts / 25
    np.testing.assert_allclose(model.scores(train), expected, atol=1e-5)


def dropped(train: Ratings, channels: int, p: float) -> Iterator[tuple[float, np.ndarray]]:
    """(chance, inputs [U, channels N]) of every way to drop items from all rows at once; what is
    kept is scaled, so that its expectation is what there was."""
    likes, rated = np.zeros((25, 12)), np.zeros((25, 12))
    rated[train.rows, train.columns] = 1
    likes[train.rows, train.columns] = train.stars >= 3
    for kept in itertools.product([0, 1], repeat=5):
        mask = np.array([*kept]) / (1 - p)
        chance = np.prod([1 - p if each else p for each in kept])
        yield float(chance), np.hstack([each[:, :5] * mask for each in (likes, rated)][:channels])


@pytest.mark.parametrize("settings", [{}, {"reads": "rated"}, {"diagonal": 1.0}])
def test_dropout_is_the_expectation_over_all_that_may_be_dropped(settings: Any) -> None:
    """Five items; the normal equations of the expected loss are summed over the 32 ways to drop
    them. Users drop apart, of which the expected loss, a sum over users, knows nothing."""
    train, p, l2 = some_ratings(), 0.3, 2.0
    train = train.over(Ids(train.items.values[:5]))
    model = EASE.denoising(l2=l2, dropout=p, **settings).fit(train, rng=rng_of())
    channels = 2 if model.reads == "rated" else 1
    clean = model._inputs(train).toarray().astype(float)
    ways = list(dropped(some_ratings(), channels, p))
    gram = sum(chance * x.T @ x for chance, x in ways) + l2 * np.eye(5 * channels)
    for item in range(5):
        moment = sum(chance * x.T @ clean[:, item] for chance, x in ways)
        free = np.arange(5 * channels)
        if not model.diagonal:
            free = free[free % 5 != item]
        weights = np.zeros(5 * channels)
        weights[free] = np.linalg.solve(gram[np.ix_(free, free)], moment[free])
        np.testing.assert_allclose(model.weights[:, item], weights, atol=1e-5)


def test_a_bound_on_the_diagonal_binds_where_it_has_to() -> None:
    """Against a search by gradient over the weights that keep it (Moon et al. 2023)."""
    train = some_ratings()
    free = EASE(l2=3.0, diagonal=1.0).fit(train, rng=rng_of()).weights
    bound = float(np.median(np.diag(free)))
    found = EASE(l2=3.0, diagonal=bound).fit(train, rng=rng_of()).weights
    x = train.liked().mask.toarray().astype(float)
    weights = np.zeros((12, 12))
    step = 1 / (np.linalg.norm(x, 2) ** 2 + 3.0)
    for _ in range(5000):
        weights -= step * (x.T @ (x @ weights - x) + 3.0 * weights)
        np.fill_diagonal(weights, np.minimum(np.diag(weights), bound))
    np.testing.assert_allclose(found, weights, atol=1e-5)
    assert (np.diag(found) < bound - 1e-4).any()


def test_users_count_by_their_activity() -> None:
    train = some_ratings()
    model = EASE(l2=3.0, activity=0.5).fit(train, rng=rng_of())
    likes = train.liked().mask.toarray().astype(float)
    shares = np.maximum(likes.sum(axis=1), 1) ** -0.5
    shares /= shares.mean()
    for item in range(12):
        others = np.arange(12) != item
        x = likes[:, others] * shares[:, None]
        weights = np.linalg.solve(x.T @ likes[:, others] + 3.0 * np.eye(11), x.T @ likes[:, item])
        np.testing.assert_allclose(model.weights[others, item], weights, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reads": "likes"}, "reads must be liked or rated, not 'likes'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"diagonal": 1.5}, "diagonal must be from 0 to 1"),
        ({"activity": -1.0}, "activity must be finite and at least 0"),
        ({"reads": "rated", "diagonal": 0.5}, "leave diagonal at 0"),
    ],
)
def test_settings_of_ease_that_cannot_be(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EASE(**settings)


def test_item_ridge_is_a_ridge_regression_over_the_raters_of_each_item() -> None:
    train = some_ratings()
    model = ItemRidge(l2=0.7).fit(train, rng=rng_of())
    residuals, mask = np.zeros((25, 12)), np.zeros((25, 12))
    residuals[train.rows, train.columns] = model.fitted.baseline.residuals(train)
    mask[train.rows, train.columns] = 1
    for item in range(12):
        others = np.arange(12) != item
        raters = np.flatnonzero(mask[:, item])
        x = np.hstack([residuals[:, others], mask[:, others]])[raters]
        x /= np.sqrt(np.maximum(mask[raters][:, others].sum(axis=1), 1))[:, None]
        target = residuals[raters, item]
        weights = np.linalg.solve(x.T @ x + 0.7 * np.eye(22), x.T @ target)
        found = model.weights[np.tile(others, 2), item]
        np.testing.assert_allclose(found, weights, atol=1e-5)
        assert model.weights[item, item] == model.weights[12 + item, item] == 0


def test_item_ridge_predicts_from_the_history_that_it_is_given() -> None:
    model = ItemRidge().fit(some_ratings(), rng=rng_of())
    new = Ratings.of([99] * 3, [1, 4, 7], [0, 4, 3], scale=(0, 4)).over(model.fitted.items)
    baseline = model.fitted.baseline
    x = np.zeros(24)
    x[[1, 4, 7]], x[[13, 16, 19]] = baseline.residuals(new), 1
    expected = baseline.stars(new)[0] + x @ model.weights / np.sqrt(3)
    np.testing.assert_allclose(model._stars(new)[0], expected, atol=1e-5)


@pytest.mark.parametrize("kind", [EASE, ItemRidge])
def test_penalties_that_leave_the_system_singular(kind: Any) -> None:
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="l2 must be positive"):
            kind(l2=wrong)
    with pytest.raises(RecaeError, match=r"l2 = 1e-17 is too small .*: raise it"):
        kind(l2=1e-17).fit(twins(), rng=rng_of())
    assert np.isfinite(kind(l2=0.1).fit(twins(), rng=rng_of()).weights).all()


@pytest.mark.parametrize("kind", [EASE, ItemRidge])
def test_matrices_that_do_not_fit_are_refused(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_LARGEST", 11)
    with pytest.raises(DataError, match=r"12 items|25 users"):
        kind().fit(some_ratings(), rng=rng_of())


def test_products_in_blocks_are_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    train = some_ratings()
    whole = [kind().fit(train, rng=rng_of()).weights for kind in (EASE, ItemRidge)]
    monkeypatch.setattr(linear, "_BLOCK", 5)
    for kind, expected in zip((EASE, ItemRidge), whole, strict=True):
        found = kind().fit(train, rng=rng_of()).weights
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_refit_that_fails_leaves_nothing_behind() -> None:
    model = EASE().fit(some_ratings(), rng=rng_of())
    dull = some_ratings().keep(some_ratings().stars < 3)
    with pytest.raises(DataError, match="nobody likes anything"):
        model.fit(dull, rng=rng_of())
    with pytest.raises(DataError, match="fit it again"):
        model.scores(dull)
