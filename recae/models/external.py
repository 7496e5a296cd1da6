"""Adapters: top-N from the library `implicit`, Bayesian factorization machines from `myfm`."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, fields
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from recae.errors import DataError, RecaeError
from recae.models.base import FactorRecommender, Floats, Lesson, RankingRecommender, dots
from recae.models.ridge import ridge_rows, with_ones
from recae.ratings import Ratings


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

    def _learn(self, lesson: Lesson) -> None:
        likes = self._likes(lesson.train)
        if not likes.nnz:
            raise DataError("nobody likes anything: no rating reaches liked_from")
        seed = int(lesson.rng.integers(2**31))
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

    def scores(self, history: Ratings) -> Floats:
        return self._or_popular(super().scores(history))

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


@dataclass(frozen=True, eq=False)
class _Samples:
    """S samples of the machine, in the model's unit; width K + 1: a vector, and last a bias.

    In every sample a rating is a_u + b_i + <p_u, q_i>. What the machine says within one side, as
    of two items of a user's set, is in that side's bias.
    """

    users: Floats
    """p_u and a_u of the training users: [users, S, K + 1]."""
    items: Floats
    """q_i, and b_i with the machine's constant: [N, S, K + 1]."""
    rated: Floats
    """The machine's own weights of the members of users' sets: [N, S, K + 1], or [0, S, K + 1]."""
    mean: Floats
    """Of the prior of a user's own weights: [S, K + 1]."""
    precision: Floats
    """Of the same: [S, K + 1]."""
    noise: Floats
    """Precision of the ratings: [S]."""


@dataclass(eq=False)
class MyFM(FactorRecommender):
    """Bayesian factorization machine, sampled by Gibbs (Freudenthaler, Schmidt-Thieme and Rendle
    2011); its stars are the mean over samples. Needs the library myfm, of the extra `baselines`.
    """

    k: int = 10
    """Rank."""
    iterations: int = 256
    """Of the sampler."""
    kept: int = 250
    """The last samples, so many, are averaged; all, where there are fewer."""
    implicit: bool = True
    """Users have the set of what they rated as features, items the set of who rated them, each
    divided by the square root of its size (Rendle, Zhang and Koren 2019: "SVD++ flipped")."""

    _samples: _Samples | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("k", "iterations", "kept"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def _learn(self, lesson: Lesson) -> None:
        self._samples = None
        train, seed = lesson.train, int(lesson.rng.integers(2**31))
        sets = self._sets(train), self._sets(train.transposed())
        # The order of the machine's features: users, what they rated, items, who rated them.
        sizes = [len(train.users), sets[0].shape[1], len(train.items), sets[1].shape[1]]
        groups = np.unique(np.repeat(np.arange(4), sizes), return_inverse=True)[1]
        machine = self._machine(train, sets, groups, seed)
        counts = [train.user_counts, lesson.fitted.item_counts]
        counts = [counts[side][:size] for side, size in zip((0, 1, 1, 0), sizes, strict=True)]
        self._samples = _gathered(machine, sets, groups, counts)

    def _machine(
        self,
        train: Ratings,
        sets: tuple[sparse.csr_array, sparse.csr_array],
        groups: NDArray[Any],
        seed: int,
    ) -> Any:
        """The library's machine, sampled."""
        myfm = _myfm()
        blocks = [
            myfm.RelationBlock(train.rows.tolist(), _features(sets[0])),
            myfm.RelationBlock(train.columns.tolist(), _features(sets[1])),
        ]
        machine = myfm.MyFMRegressor(rank=self.k, random_seed=seed)
        # The library draws a progress bar, and has no switch for it.
        with redirect_stderr(StringIO()):
            machine.fit(
                None,
                self._values(train),
                X_rel=blocks,
                grouping=groups.tolist(),
                n_iter=self.iterations,
                n_kept_samples=min(self.kept, self.iterations),
            )
        return machine

    def _values(self, ratings: Ratings) -> Floats:
        """What the machine learns: [R]."""
        return (ratings.stars - np.float32(self.fitted.baseline.mu)) / self._unit

    def _sets(self, history: Ratings) -> sparse.csr_array:
        """Every row's set, divided by the square root of its size: [U, N]; without sets [U, 0]."""
        sets = history.mask
        if not self.implicit:
            return sets[:, :0]
        sets.data /= np.sqrt(history.user_counts.astype(np.float32))[history.rows]
        return sets

    # --- predicting

    def user_factors(self, history: Ratings) -> Floats:
        """[U, S K + 2]: every sample's vector, the mean bias, and 1."""
        own = history.over(self.fitted.items)
        known = self.known(own)
        drawn = self._get().users[known]
        new = np.flatnonzero(known < 0)
        if len(new):
            drawn[new] = self._fold_in(own.take_users(new))
        vectors = drawn[:, :, :-1].reshape(len(drawn), -1) * (self._unit / drawn.shape[1])
        bias = np.float32(self.fitted.baseline.mu) + self._unit * drawn[:, :, -1].mean(axis=1)
        return np.column_stack([vectors, bias, np.ones_like(bias)])

    def item_factors(self) -> Floats:
        """[N, S K + 2]: every sample's vector, 1, and the mean bias."""
        drawn = self._get().items
        bias = self._unit * drawn[:, :, -1].mean(axis=1)
        return np.column_stack([drawn[:, :, :-1].reshape(len(drawn), -1), np.ones_like(bias), bias])

    def _fold_in(self, own: Ratings) -> Floats:
        """Vectors and biases of new users: [U, S, K + 1].

        In each sample the mean of a user's own weights given the user's ratings and all else in
        the sample: with x = (q_i + the set's vector, 1) at each rating, a ridge regression around
        the prior mean.
        """
        samples, sets, values = self._get(), self._sets(own), self._values(own)
        found = np.empty((len(own.users), *samples.mean.shape), dtype=np.float32)
        for s, (mean, precision) in enumerate(zip(samples.mean, samples.precision, strict=True)):
            items = samples.items[:, s]
            expected = _side(np.tile(mean, (len(own.users), 1)), sets, samples.rated[:, s])
            shifts = np.column_stack(
                [expected[:, :-1] - mean[:-1], np.zeros(len(expected), np.float32)]
            )
            rest = values - items[own.columns, -1] - expected[own.rows, -1]
            rest -= dots(expected[:, :-1], items[:, :-1], own.rows, own.columns)
            spread = 1 / np.sqrt(precision)
            x = with_ones(items[:, :-1])
            moved = spread * ridge_rows(
                own, rest, x * spread, 1 / float(samples.noise[s]), shifts * spread
            )
            found[:, s] = expected + moved
            # The own vector is multiplied by the set's too, within the side.
            found[:, s, -1] += (moved * shifts).sum(axis=1)
        return found

    def _get(self) -> _Samples:
        if self._samples is None:
            _ = self.fitted
            raise DataError("this model was not trained to its end: fit it again")
        return self._samples

    # --- keeping

    def state(self) -> dict[str, NDArray[Any]]:
        samples = self._get()
        return {f.name: getattr(samples, f.name) for f in fields(samples)}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._samples = _Samples(**arrays)


def _gathered(
    machine: Any,
    sets: tuple[sparse.csr_array, sparse.csr_array],
    groups: NDArray[Any],
    counts: list[NDArray[Any]],
) -> _Samples:
    """What the samples of the library's machine say of each user and item.

    groups [features]: of the prior that a feature has. counts: how many ratings have each of the
    users, of what they rated, of the items, of who rated them, as features.
    """
    seen = np.concatenate(counts)[:, None] > 0
    ends = np.cumsum([len(each) for each in counts])[:-1]
    users, rated, items = [], [], []
    samples = machine.predictor_.samples
    hypers = machine.history_.hypers[-len(samples) :]
    for sample, hyper in zip(samples, hypers, strict=True):
        mean = np.column_stack([hyper.mu_V, hyper.mu_w])[groups]
        # A feature that no rating has is best known by its mean; drawing it adds noise only.
        weights = np.where(seen, np.column_stack([sample.V, sample.w]), mean)
        user, of_users, item, of_items = np.split(weights, ends)
        users.append(_side(user, sets[0], of_users))
        rated.append(of_users)
        items.append(_side(item, sets[1], of_items))
        items[-1][:, -1] += sample.w0
    return _Samples(
        users=_stacked(users, 1),
        items=_stacked(items, 1),
        rated=_stacked(rated, 1),
        mean=_stacked([np.append(hyper.mu_V[0], hyper.mu_w[0]) for hyper in hypers]),
        precision=_stacked([np.append(hyper.lambda_V[0], hyper.lambda_w[0]) for hyper in hypers]),
        noise=_stacked([np.asarray(hyper.alpha) for hyper in hypers]),
    )


def _myfm() -> Any:
    """The library. Raises RecaeError where it is not installed."""
    try:
        # It imports pkg_resources, which announces its end to whoever does.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import myfm

            return myfm
    except ImportError:
        raise RecaeError(
            "the model myfm needs the library of that name: pip install 'recae[baselines]'"
        ) from None


def _side(own: NDArray[Any], sets: sparse.csr_array, members: NDArray[Any]) -> NDArray[Any]:
    """Vectors and biases of one side in one sample, from weights of its features: [U, K + 1].

    own [U, K + 1]: of the ids; members [N, K + 1]: of what is in the sets [U, N]. Products of
    two features of the side, half of (sum x v)^2 - sum (x v)^2 (Rendle 2010), are in the bias.
    """
    side: NDArray[Any] = sets @ members
    squares = sets.multiply(sets) @ (members[:, :-1] ** 2).sum(axis=1)
    of_set = side[:, :-1]
    within = (own[:, :-1] * of_set).sum(axis=1) + ((of_set**2).sum(axis=1) - squares) / 2
    side += own
    side[:, -1] += within
    return side


def _features(sets: sparse.csr_array) -> sparse.csr_matrix:
    """[U, U + N]: the id and the set of every row, as the library wants them."""
    rows = sparse.hstack([sparse.eye_array(sets.shape[0]), sets], format="csr", dtype=np.float64)
    return sparse.csr_matrix(rows)


def _stacked(samples: list[NDArray[Any]], axis: int = 0) -> Floats:
    return np.stack(samples, axis=axis, dtype=np.float32, casting="same_kind")
