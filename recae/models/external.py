"""Adapters: matrix factorization for top-N from the library `implicit`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from recae.errors import DataError
from recae.models.base import FactorRecommender, Fitted, Floats, RankingRecommender
from recae.models.ridge import ridge_rows
from recae.nn.training import Report
from recae.ratings import Ratings
from recae.splits import Holdout


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """implicit runs its own threads; BLAS threads inside them only get in their way."""
    # The limit holds for libraries that are loaded, so implicit's come first.
    import implicit.cpu.als  # noqa: F401

    with threadpool_limits(1, "blas"):
        yield


@dataclass(eq=False)
class _Implicit(RankingRecommender, FactorRecommender):
    """Learns from which items were liked; how many stars beyond that is not read."""

    k: int = 64
    """Factors."""
    regularization: float = 0.05
    liked_from: float | None = None
    """Stars from which a rating is a like; None: from three quarters of the scale upwards."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    _users: Floats | None = field(default=None, init=False, repr=False)
    _items: Floats | None = field(default=None, init=False, repr=False)

    def _learn(
        self,
        train: Ratings,
        fitted: Fitted,
        validation: Holdout | None,
        rng: np.random.Generator,
        report: Report | None,
        resume: Path | None,
    ) -> None:
        likes = self._likes(train)
        if not likes.nnz:
            raise DataError("nobody likes anything: no rating reaches liked_from")
        seed = int(rng.integers(2**31))
        with _one_blas_thread():
            model = self._implicit(seed)
            model.fit(likes, show_progress=False)
        self._users = np.array(model.user_factors, dtype=np.float32)
        self._items = np.array(model.item_factors, dtype=np.float32)

    @abstractmethod
    def _implicit(self, seed: int) -> Any:
        """The library's model with this one's settings."""

    @abstractmethod
    def _fold_in(self, own: Ratings) -> Floats:
        """Factors of new users: [U, K]."""

    def user_factors(self, history: Ratings) -> Floats:
        own = history.over(self.fitted.items)
        assert self._users is not None
        known = self.known(own)
        factors = self._users[known]
        new = np.flatnonzero(known < 0)
        if len(new):
            factors[new] = self._fold_in(own.take_users(new))
        return factors

    def item_factors(self) -> Floats:
        _ = self.fitted
        assert self._items is not None
        return self._items

    def _likes(self, history: Ratings) -> sparse.csr_matrix:
        """[U, N]: 1 at every like. implicit wants scipy's older matrix type."""
        return sparse.csr_matrix(history.liked(self.liked_from).mask)

    def state(self) -> dict[str, NDArray[Any]]:
        users = self._users
        assert users is not None
        return {"users": users, "items": self.item_factors()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._users, self._items = arrays["users"], arrays["items"]


@dataclass(eq=False)
class ImplicitALS(_Implicit):
    """Weighted matrix factorization by alternating least squares (Hu, Koren and Volinsky 2008)."""

    alpha: float = 1.0
    """Confidence of a like."""
    iterations: int = 15

    def _implicit(self, seed: int) -> Any:
        from implicit.cpu.als import AlternatingLeastSquares

        return AlternatingLeastSquares(
            factors=self.k,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            random_state=seed,
        )

    def _fold_in(self, own: Ratings) -> Floats:
        """One half-step of ALS on the liked items."""
        with _one_blas_thread():
            model = self._implicit(0)
            model.item_factors = self.item_factors()
            factors = model.recalculate_user(np.arange(len(own.users)), self._likes(own))
        return np.asarray(factors, dtype=np.float32).reshape(len(own.users), -1)


@dataclass(eq=False)
class ImplicitBPR(_Implicit):
    """Bayesian personalised ranking (Rendle et al. 2009)."""

    regularization: float = 0.01
    learning_rate: float = 0.05
    iterations: int = 100

    def _implicit(self, seed: int) -> Any:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        # More threads would update without locks, and the same seed give another result.
        return BayesianPersonalizedRanking(
            factors=self.k,
            learning_rate=self.learning_rate,
            regularization=self.regularization,
            iterations=self.iterations,
            random_state=seed,
            num_threads=1,
        )

    def _fold_in(self, own: Ratings) -> Floats:
        """Ridge regression of 1 at the liked items: the library has no fold-in for BPR."""
        liked = own.liked(self.liked_from)
        ones = np.ones(len(liked), dtype=np.float32)
        factors = ridge_rows(liked, ones, self.item_factors(), penalty=1.0)
        # The library keeps the item bias in the last column, against a 1 in every user's.
        factors[:, -1] = 1.0
        return factors
