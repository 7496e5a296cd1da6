"""The linear autoencoder of k units: what it learns is the subspace of principal components.

A linear code and a linear readout, trained on squared error over complete rows, end in the space of
the first k principal components (Bourlard and Kamp 1988; Baldi and Hornik 1989), which a singular
value decomposition finds without training. Legend: U users, N items, K width of the code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

from recae.errors import DataError
from recae.models.base import FactorRecommender, Floats, Lesson
from recae.ratings import Ratings


@dataclass(frozen=True, eq=False)
class _Components:
    """Of the residuals in the model's unit."""

    axes: Floats
    """[N, K]: orthonormal columns."""
    centre: Floats
    """[N]: mean residual over all users, absent ones being 0."""
    shares: Floats
    """[K]: of the variance, descending."""


@dataclass(eq=False)
class PCA(FactorRecommender):
    """Predicts stars by b_ui + m_i + <(e_u - m) V, V_i>, for known and new users alike.

    e_u [N]: residuals r - b, and 0 where nothing was rated: absent ratings are taken to be the
    baseline's, which is what sets this apart from every masked model. m: their mean over users;
    V [N, K]: their first principal components.
    """

    k: int = 16
    """Components; all there are, where they are fewer."""

    _components: _Components | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    def _learn(self, lesson: Lesson) -> None:
        self._components = None
        residuals = self._residuals(lesson.train).astype(np.float64)
        centre = np.asarray(residuals.mean(axis=0)).ravel()
        variance = float((residuals.data**2).sum() - len(lesson.train.users) * (centre**2).sum())
        values, axes = _decomposed(residuals, centre, self.k, lesson.rng)
        self._components = _Components(
            # In the order in which it is saved, for sums to be the same to the last digit.
            np.ascontiguousarray(axes, np.float32),
            centre.astype(np.float32),
            (values**2 / max(variance, np.finfo(np.float64).tiny)).astype(np.float32),
        )

    @property
    def components(self) -> Floats:
        """[N, K]: the axes of the code, orthonormal, those of most variance first."""
        return self._get().axes

    @property
    def variance_explained(self) -> Floats:
        """[K]: the share of the residuals' variance, absent ones being 0, along each component."""
        return self._get().shares

    def user_factors(self, history: Ratings) -> Floats:
        """[U, K + 2]: the code, mu + b_u, and 1."""
        own = history.over(self.fitted.items)
        learned = self._get()
        code = self._residuals(own) @ learned.axes - learned.centre @ learned.axes
        part = self.fitted.baseline.unknown_item(own)
        return np.column_stack([code * self._unit, part, np.ones_like(part)])

    def item_factors(self) -> Floats:
        """[N, K + 2]: the component's weights, 1, and b_i with the mean residual."""
        learned = self._get()
        part = self.fitted.baseline.items + learned.centre * self._unit
        return np.column_stack([learned.axes, np.ones_like(part), part])

    def _residuals(self, history: Ratings) -> sparse.csr_array:
        """[U, N]: r - b in the model's unit."""
        residuals = history.mask
        residuals.data = self.fitted.baseline.residuals(history) / self._unit
        return residuals

    def _get(self) -> _Components:
        if self._components is None:
            _ = self.fitted
            raise DataError("this model was not trained to its end: fit it again")
        return self._components

    def state(self) -> dict[str, NDArray[Any]]:
        learned = self._get()
        return {"axes": learned.axes, "centre": learned.centre, "shares": learned.shares}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._components = _Components(**arrays)


def _decomposed(
    matrix: sparse.csr_array, centre: NDArray[Any], k: int, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The first singular values [K] of matrix - centre, and their right vectors [N, K].

    The centred matrix, which is dense, is made only where all of its components are asked for.
    """
    smaller = min(matrix.shape)
    # ARPACK finds no components of zeros, and never all that there are.
    if not matrix.data.any():
        return np.zeros(min(k, smaller)), np.eye(matrix.shape[1], min(k, smaller))
    if k >= smaller:
        _, values, rows = np.linalg.svd(matrix.toarray() - centre, full_matrices=False)
        return values, rows.T
    centred = LinearOperator(
        matrix.shape,
        matvec=lambda x: matrix @ x.ravel() - centre @ x.ravel(),
        rmatvec=lambda y: matrix.T @ y.ravel() - centre * y.sum(),
        dtype=np.float64,
    )
    start = rng.normal(size=smaller)
    _, values, rows = svds(centred, k=k, v0=start)
    order = np.argsort(-values)
    return values[order], rows[order].T
