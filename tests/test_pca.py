"""The linear autoencoder in closed form against PCA, SVD and training by gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.sparse.linalg import svds
from sklearn import decomposition

from recae.models.pca import PCA
from recae.ratings import Ratings


def ratings(share: float) -> Ratings:
    """40 users, 12 items, three tastes; a share of the table is rated."""
    rng = np.random.default_rng(3)
    taste = rng.normal(size=(40, 3)) * [3, 2, 1] @ rng.normal(size=(3, 12))
    users, items = np.nonzero(rng.random((40, 12)) < share)
    stars = np.clip(5 + taste[users, items] + rng.normal(size=len(users)) / 4, -5, 15)
    return Ratings.of(users, items, stars, scale=(-5, 15))


def residuals(model: PCA, train: Ratings) -> np.ndarray:
    """[U, N] in the model's unit, 0 where nothing was rated."""
    table = np.zeros((len(train.users), len(train.items)))
    table[train.rows, train.columns] = model.fitted.baseline.residuals(train) / model._unit
    return table


def fitted(train: Ratings, k: int) -> PCA:
    return PCA(k=k).fit(train, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("share", "k"), [(1.0, 3), (0.6, 3), (0.6, 12)])
def test_it_is_pca_of_the_residuals(share: float, k: int) -> None:
    train = ratings(share)
    model = fitted(train, k)
    table = residuals(model, train)
    theirs = decomposition.PCA(k).fit(table)
    signs = np.sign((model.components * theirs.components_.T).sum(axis=0))
    np.testing.assert_allclose(model.components * signs, theirs.components_.T, atol=1e-4)
    np.testing.assert_allclose(
        model.variance_explained, theirs.explained_variance_ratio_, atol=1e-6
    )
    said = theirs.inverse_transform(theirs.transform(table)) * model._unit
    expected = said + model.fitted.baseline.stars(train)
    np.testing.assert_allclose(model._stars(train), expected, atol=1e-4)


def test_a_linear_autoencoder_trained_on_complete_data_spans_its_subspace() -> None:
    """Two free matrices, no tied weights, no bias: squared error alone leads there."""
    train = ratings(1.0)
    model = fitted(train, 2)
    table = residuals(model, train)
    x = torch.from_numpy(table - table.mean(axis=0))
    start = torch.Generator().manual_seed(0)
    encoder, decoder = (
        (0.1 * torch.randn(shape, generator=start, dtype=torch.float64)).requires_grad_()
        for shape in ((12, 2), (2, 12))
    )
    optimiser = torch.optim.LBFGS(
        [encoder, decoder], max_iter=1000, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = ((x @ encoder @ decoder - x) ** 2).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)
    learned = decoder.detach().numpy().T
    assert subspace_angles(learned, model.components).max() < 1e-3


def test_on_imputed_data_it_is_the_truncated_svd() -> None:
    train = ratings(0.5)
    model = fitted(train, 3)
    table = residuals(model, train)
    centred = table - table.mean(axis=0)
    u, s, v = svds(centred, 3)
    code = model.user_factors(train)[:, :3] / model._unit
    np.testing.assert_allclose(code @ model.components.T, u * s @ v, atol=1e-4)


def test_new_users_are_projected_like_known_ones() -> None:
    train = ratings(0.6)
    model = fitted(train, 3)
    strangers = Ratings.of(
        train.users.values[train.rows] + 1000,
        train.items.values[train.columns],
        train.stars,
        scale=train.scale,
    )
    np.testing.assert_array_equal(model.predict(strangers), model.predict(train))


def test_ratings_that_the_baseline_says_already() -> None:
    users, items = np.nonzero(np.ones((6, 5)))
    flat = Ratings.of(users, items, np.full(30, 1.0), scale=(0, 1))
    model = fitted(flat, 2)
    np.testing.assert_allclose(model.predict(flat), 1)
    assert not model.variance_explained.any()
    with pytest.raises(ValueError, match="k must be at least 1"):
        PCA(k=0)
