"""Models in closed form: the shrunk baseline, popularity, and linear item-item models.

Legend: U users, N items, I_u the items that u rated.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from recae.errors import DataError, RecaeError
from recae.ids import Rows
from recae.models.base import (
    FactorRecommender,
    Floats,
    Lesson,
    RankingRecommender,
    Recommender,
)
from recae.ratings import Ratings

_LARGEST: Final = 30_000
"""Rows of a square matrix that is held whole; a system of that size takes 7 GB and half an hour."""
_BLOCK: Final = 512
"""Rows or columns of a sparse product made at once."""


@dataclass(eq=False)
class _ClosedForm(Recommender):
    """Needs nothing beyond the baseline and the counts, which every model keeps."""

    def _learn(self, lesson: Lesson) -> None:
        """All is learned already."""

    def state(self) -> dict[str, NDArray[Any]]:
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Nothing was saved."""


@dataclass(eq=False)
class Bias(_ClosedForm, FactorRecommender):
    """mu + b_u + b_i (Koren 2009): what every other model has to beat."""

    def user_factors(self, history: Ratings) -> Floats:
        """[U, 2]: mu + b_u, and 1."""
        part = self.fitted.baseline.unknown_item(history.over(self.fitted.items))
        return np.column_stack([part, np.ones_like(part)])

    def item_factors(self) -> Floats:
        """[N, 2]: 1, and b_i."""
        part = self.fitted.baseline.items
        return np.column_stack([np.ones_like(part), part])


@dataclass(eq=False)
class Popular(_ClosedForm, RankingRecommender, FactorRecommender):
    """Ranks by how many users rated an item; for everybody alike."""

    def user_factors(self, history: Ratings) -> Floats:
        """[U, 1]: 1."""
        return np.ones((len(history.users), 1), dtype=np.float32)

    def item_factors(self) -> Floats:
        """[N, 1]: training ratings of the item."""
        return self.fitted.item_counts.astype(np.float32)[:, None]


@dataclass(eq=False)
class _ItemItem(Recommender):
    """Answers by history @ weights, where no item speaks for itself: nothing is kept of users."""

    l2: float = 1.0
    """Penalty on the weights."""

    def __post_init__(self) -> None:
        if not 0 < self.l2 < float("inf"):
            raise ValueError(f"l2 must be positive and finite, not {self.l2}")

    _weights: Floats | None = field(default=None, init=False, repr=False)

    def _learn(self, lesson: Lesson) -> None:
        self._weights = None
        self._weights = self._solve(lesson.train)

    @abstractmethod
    def _solve(self, train: Ratings) -> Floats:
        """The weights: inputs x [N]."""

    @property
    def weights(self) -> Floats:
        """What each input (row) says of each item (column)."""
        _ = self.fitted
        if self._weights is None:
            raise DataError("this model was not trained to its end: fit it again")
        return self._weights

    def state(self) -> dict[str, NDArray[Any]]:
        return {"weights": self.weights}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._weights = arrays["weights"]


@dataclass(eq=False)
class EASE(_ItemItem, RankingRecommender):
    """Full-rank linear autoencoder in closed form: ranks by inputs @ B.

    As it is by default, the embarrassingly shallow autoencoder (Steck 2019): B minimises
    |X - X B|^2 + l2 |B|^2 over the likes X [U, N], with diag B = 0. Holds a square matrix of the
    inputs, N or 2 N.
    """

    l2: float = 400.0
    """Penalty on the weights."""
    liked_from: float | None = None
    """Stars from which a rating is a like; None: from three quarters of the scale upwards."""
    reads: Literal["liked", "rated"] = "liked"
    """`rated`: what was rated is an input of its own beside what was liked, so that a rating that
    is no like speaks too. What is predicted are the likes."""
    dropout: float = 0.0
    """Share of the items that is dropped from the inputs; the expectation over what is dropped is
    exact, and a penalty on popular items (Steck 2020)."""
    diagonal: float = 0.0
    """How much an item may say of itself at most; from 1 upwards nothing keeps it from learning the
    identity but the penalties (Moon et al. 2023)."""
    activity: float = 0.0
    """A user of n inputs counts as n^-activity, for fewer people's habits to decide."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reads not in ("liked", "rated"):
            raise ValueError(f"reads must be liked or rated, not {self.reads!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if not 0 <= self.diagonal <= 1:
            raise ValueError(f"diagonal must be from 0 to 1, not {self.diagonal}")
        if not 0 <= self.activity < float("inf"):
            raise ValueError(f"activity must be finite and at least 0, not {self.activity}")
        if self.diagonal and self.reads == "rated":
            raise ValueError("whether an item was rated gives its like away: leave diagonal at 0")

    @classmethod
    def denoising(cls, **settings: Any) -> Self:
        """The emphasised denoising autoencoder (Steck 2020): dropped items are predicted."""
        return cls(**_DENOISING | settings)

    def scores(self, history: Ratings) -> Floats:
        return self._or_popular(np.asarray(self._inputs(self._own(history)) @ self.weights))

    def _inputs(self, history: Ratings) -> sparse.csr_array:
        """[U, N]: 1 at every like; [U, 2 N] with what was rated."""
        likes = history.liked(self.liked_from).mask
        if self.reads == "liked":
            return likes
        return sparse.csr_array(sparse.hstack([likes, history.mask], format="csr"))

    def _solve(self, train: Ratings) -> Floats:
        """With P the inverse of the penalised Gram matrix, a column of weights is its item's unit
        vector less multiples of the columns of P that belong to the item's own inputs: Steck 2019,
        eq. 8, where that is one input.
        """
        n, channels = len(train.items), 1 if self.reads == "liked" else 2
        _check_size(n * channels, "items" if channels == 1 else "items, liked and rated,")
        inputs = self._inputs(train).astype(np.float64)
        if not inputs[:, :n].nnz:
            raise DataError("nobody likes anything: no rating reaches liked_from")
        gram = _gram(sparse.csr_array((self._shares(inputs) @ inputs).T))
        # What is kept is scaled by 1 / (1 - dropout): products of two items keep their expectation,
        # those within an item, whose inputs are dropped together, grow.
        own = np.arange(n)
        for row, column in itertools.product(range(channels), repeat=2):
            gram[own + row * n, own + column * n] /= 1 - self.dropout
        penalty = np.diag(gram)[:n] * self.dropout + self.l2
        inverse, _ = lapack.dpotri(_cholesky(gram, self.l2), lower=1, overwrite_c=1)
        multiples = self._multiples(inverse, penalty)
        # Of the inverse LAPACK writes the lower half.
        square = np.tril(inverse).astype(np.float32)
        square += np.tril(square, -1).T
        weights: Floats = -square[:, :n] * multiples[0]
        for channel in range(1, channels):
            weights -= square[:, channel * n : (channel + 1) * n] * multiples[channel]
        for channel in range(channels):
            weights[own + channel * n, own] = 0
        weights[own, own] = 1 - np.diag(inverse)[:n] * multiples[0] if self.diagonal else 0
        return weights

    def _shares(self, inputs: sparse.csr_array) -> sparse.dia_array:
        """[U, U]: by the square root of what each user counts for, on average 1."""
        counts = np.maximum(np.diff(inputs.indptr), 1) ** -self.activity
        return sparse.diags_array(np.sqrt(counts / counts.mean()))

    def _multiples(self, inverse: NDArray[Any], penalty: NDArray[Any]) -> Floats:
        """[channels, N]: what the columns of each item's inputs are multiplied by, so that no input
        of an item says more of it than it may. penalty [N]: of the item's weight on itself."""
        n = len(penalty)
        own = np.diag(inverse)
        if self.reads == "liked":
            # Weights that stay below the bound by themselves are left as they are.
            least = np.maximum(penalty, (1 - self.diagonal) / own)
            return np.asarray(least[None], dtype=np.float32)
        liked, rated, both = own[:n], own[n:], np.diag(inverse, -n)
        determinant = liked * rated - both**2
        return np.asarray(np.stack([rated, -both]) / determinant, dtype=np.float32)


_DENOISING: Final[dict[str, Any]] = {"l2": 200.0, "dropout": 0.35}


@dataclass(eq=False)
class ItemRidge(_ItemItem):
    """Predicts stars by a ridge regression for each item, on what its raters say of the others.

    r_ui = b_ui + sum over j in I_u of (e_uj A_ji + B_ji) / sqrt|I_u|, where e = r - b: residuals
    and mask, as in a linear AutoRec (Sedhain et al. 2015) whose code is as wide as the catalogue,
    but without the item itself (Ning and Karypis 2011). The regression of item i is over its raters
    alone, each with I_u less i, so that an absent rating is unknown and not zero.
    Holds matrices of 2 N x N, and of U x U while it learns.
    """

    l2: float = 2.0
    """Penalty on the weights, in units of a squared quarter of the scale."""

    def _stars(self, history: Ratings) -> Floats:
        said: Floats = self._inputs(history) @ self.weights
        said *= self._unit / np.sqrt(np.maximum(history.user_counts, 1, dtype=np.float32))[:, None]
        said += self.fitted.baseline.stars(history)
        return said

    def _inputs(self, history: Ratings) -> sparse.csr_array:
        """[U, 2 N]: e_uj and 1 at every rating, not yet divided."""
        mask = history.mask
        residuals = mask.copy()
        residuals.data = self.fitted.baseline.residuals(history) / self._unit
        return sparse.csr_array(sparse.hstack([residuals, mask], format="csr"))

    def _solve(self, train: Ratings) -> Floats:
        _check_size(len(train.users), "users")
        _check_size(len(train.items), "items")
        n = len(train.items)
        inputs = self._inputs(train)
        duals = self._duals(inputs[:, :n].tocsc(), _gram(inputs), train.user_counts)
        weights = np.empty((2 * n, n), dtype=np.float32)
        for start in range(0, n, _BLOCK):
            block = slice(start, start + _BLOCK)
            weights[:, block] = (inputs.T @ duals[:, block]).toarray()
        np.fill_diagonal(weights[:n], 0)
        np.fill_diagonal(weights[n:], 0)
        return weights

    def _duals(self, residuals: sparse.csc_array, gram: Floats, counts: Rows) -> sparse.csc_array:
        """[U, N]: what every rating counts for in the weights of its item, A = X' duals.

        Every item has more inputs than raters, so the dual system is the smaller one: as wide as
        the item has raters. gram [U, U]: X X', still with the item and without the division.
        """
        scale = np.sqrt(np.maximum(counts - 1, 1))
        duals = residuals.astype(np.float64)
        for item in range(residuals.shape[1]):
            entries = slice(residuals.indptr[item], residuals.indptr[item + 1])
            raters, own = residuals.indices[entries], residuals.data[entries].astype(np.float64)
            if not len(raters):
                continue
            others = gram[np.ix_(raters, raters)] - np.outer(own, own) - 1
            others /= np.outer(scale[raters], scale[raters])
            solved, _ = lapack.dpotrs(_cholesky(others, self.l2), own, lower=1)
            duals.data[entries] = solved / scale[raters]
        return duals.astype(np.float32)


def _gram(matrix: sparse.csr_array) -> NDArray[Any]:
    """M M' [rows, rows]; in blocks, because the sparse product is thrice as large as the dense."""
    n = matrix.shape[0]
    gram = np.empty((n, n), dtype=matrix.dtype)
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        gram[block] = (matrix[block] @ matrix.T).toarray()
    return gram


def _cholesky(gram: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """The lower factor of gram + l2, symmetric, in its place. Raises RecaeError if singular."""
    diagonal = np.einsum("ii->i", gram)
    diagonal += l2
    smallest = len(gram) * np.finfo(np.float64).eps * diagonal.max()
    # The transpose of a symmetric matrix is the same one in the order that LAPACK writes into.
    factor, info = lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    if info or np.diag(factor).min() ** 2 <= smallest:
        raise RecaeError(f"l2 = {l2:g} is too small for these ratings to be solved for: raise it")
    return np.asarray(factor)


def _check_size(count: int, what: str) -> None:
    if count > _LARGEST:
        raise DataError(
            f"{count:,} {what} are more than the {_LARGEST:,} whose square this model can hold: "
            "leave out those with the fewest ratings, or choose another model"
        )
