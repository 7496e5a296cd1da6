"""What a user's ratings say beyond the user's code: a Gaussian process, one small problem a user.

What the codes leave unsaid of user u is taken to be a draw from a Gaussian process over the items
that u rated and the times at which u did, plus noise of variance 1 (Rasmussen and Williams 2006,
ch. 2). Its kernel is a sum:

    <q_i, q_j> / ridge + 1 / ridge                 tastes, and being generous: the ALS half-step
    + local exp(-width |q_i - q_j|^2 / m)          items like this one, whatever the code says
    + drift sum over tau of exp(-|t - s| / tau)    the mood at the time

m is the median squared distance of two items. The first line moves the user's vector and bias; the
others are kept as one weight a rating, and are products with the kernel.

Legend: U users, N items, K code size, R ratings of a history, T targets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from recae.ids import Rows
from recae.models.ridge import UnsolvableError, ridge_rows, threads_for, with_ones
from recae.ratings import Ratings

Floats = NDArray[np.float32]

_MOST: Final = 5_000
"""Ratings of one user beyond which only the first line is used: the others would need a matrix of
their number squared, and who rated so much is known well by it."""
_SAMPLE: Final = 2_000
"""Items among which the median distance is taken."""
_WHOLE: Final = 6_000
"""Items up to which all their similarities are held at once: 144 MB."""


@dataclass(frozen=True)
class Kernel:
    """Settings; all variances are shares of the noise."""

    local: float = 0.0
    """Variance of what only items near in code space share; 0: none."""
    width: float = 2.0
    """How near: similarity falls by e at 1 / width of the median squared distance."""
    times: tuple[float, ...] = ()
    """Seconds within which ratings share a mood, one or more; empty: times are not read."""
    drift: float = 0.1
    """Variance of each of the moods."""

    def __post_init__(self) -> None:
        for name in ("local", "drift"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative")
        if not 0 < self.width < math.inf:
            raise ValueError("width must be positive and finite")
        if not all(0 < tau < math.inf for tau in self.times):
            raise ValueError("times must be positive numbers of seconds")

    def __bool__(self) -> bool:
        """Whether there is anything beyond the first line."""
        return self.local > 0 or bool(self.times)


class Users(NamedTuple):
    """Users of a history, as they are or as they move."""

    vectors: Floats
    """[U, K]."""
    bias: Floats
    """[U]."""
    weights: Floats
    """Of the kernel beyond its first line, one a rating: [R]."""


class Process:
    """A kernel over the items of a fitted model: vectors [N, K]."""

    def __init__(
        self,
        kernel: Kernel,
        ridge: float,
        vectors: Floats,
        *,
        rated: NDArray[np.bool_],
        known: NDArray[np.bool_],
    ) -> None:
        """rated [N]: items whose distances count. known [N]: of the others nothing is known."""
        self.kernel, self.ridge, self.vectors = kernel, np.float32(ridge), vectors
        self.known = known.astype(np.float32)
        self.squares = np.einsum("nk,nk->n", vectors, vectors)
        self.median = self._median(np.flatnonzero(rated))
        self._similar: Floats | None = None

    def refined(self, own: Ratings, rest: Floats) -> Users:
        """The posterior mean given what is left unsaid, rest [R]: by how much vectors and biases
        move, and the weight of each rating, (kernel + 1)^-1 rest, user by user.

        Users with more than 5,000 ratings have weights of zero, and the first line alone. Raises
        UnsolvableError where codes are not finite, or too large.
        """
        with threads_for(len(own.users)):
            weights = self._weights(own, rest)
        weighted = own.matrix.copy()
        weighted.data = weights / self.ridge
        vectors, bias = weighted @ self.vectors, np.asarray(weighted.sum(axis=1), dtype=np.float32)
        many = np.flatnonzero(own.user_counts > _MOST)
        if len(many):
            theirs = own.take_users(many)
            rests = rest[np.isin(own.rows, many)]
            solved = ridge_rows(theirs, rests, with_ones(self.vectors), float(self.ridge))
            vectors[many], bias[many] = solved[:, :-1], solved[:, -1]
        return Users(vectors, bias, weights)

    def _weights(self, own: Ratings, rest: Floats) -> Floats:
        solved = np.zeros(len(own), dtype=np.float32)
        for _, mine in _entries(own):
            if mine.stop - mine.start <= _MOST:
                solved[mine] = _solved(self._covariance(own, mine), rest[mine])
        return solved

    def _covariance(self, own: Ratings, mine: slice) -> Floats:
        """Of one user's ratings, noise included: [n, n]."""
        items = own.columns[mine]
        products = self.vectors[items] @ self.vectors[items].T
        gram = np.asarray((products + 1) / self.ridge)
        if self.kernel.local:
            gram += self._near(products, items, items)
        if own.times is not None and self.kernel.times:
            gram += self._mood(own.times[mine], own.times[mine])
        gram.flat[:: len(items) + 1] += 1
        return gram

    def scores(self, own: Ratings, weights: Floats) -> Floats:
        """What items near the rated ones share with them, for all items: [U, N]."""
        if not self.kernel.local:
            return np.zeros((len(own.users), len(self.vectors)), np.float32)
        weighted = own.matrix.copy()
        weighted.data = weights
        every = np.arange(len(self.vectors))
        if len(self.vectors) <= _WHOLE:
            if self._similar is None:
                self._similar = self._near_pairs(every, every)
            return np.asarray((weighted @ self._similar) * self.known)
        rated = np.unique(own.columns)
        some = weighted[:, rated]
        step = max(1, _WHOLE * _WHOLE // max(1, len(rated)))
        pieces = [every[start : start + step] for start in range(0, len(every), step)]
        return np.concatenate(
            [(some @ self._near_pairs(rated, piece)) * self.known[piece] for piece in pieces],
            axis=1,
        )

    def at(
        self,
        own: Ratings,
        weights: Floats,
        users: Rows,
        items: Rows,
        times: NDArray[np.int64] | None,
    ) -> Floats:
        """The same at (users, items), and the mood at `times` where they are given: [T]."""
        found = np.zeros(len(users), dtype=np.float32)
        order = np.argsort(users, kind="stable")
        ends = np.searchsorted(users[order], np.arange(len(own.users) + 1))
        for user, mine in _entries(own):
            targets = order[ends[user] : ends[user + 1]]
            if not len(targets):
                continue
            if self.kernel.local:
                near = self._near_pairs(items[targets], own.columns[mine])
                found[targets] = (near @ weights[mine]) * self.known[items[targets]]
            if times is not None and own.times is not None and self.kernel.times:
                found[targets] += self._mood(times[targets], own.times[mine]) @ weights[mine]
        return found

    def _near_pairs(self, some: NDArray[np.integer], others: NDArray[np.integer]) -> Floats:
        """[some, others]: what only neighbours share."""
        return self._near(self.vectors[some] @ self.vectors[others].T, some, others)

    def _near(
        self, products: Floats, some: NDArray[np.integer], others: NDArray[np.integer]
    ) -> Floats:
        """The same from the inner products, which stay as they are."""
        near = 2 * products
        near -= self.squares[some, None]
        near -= self.squares[others]
        near *= np.float32(self.kernel.width / self.median)
        np.minimum(near, 0, out=near)
        np.exp(near, out=near)
        near *= np.float32(self.kernel.local)
        return np.asarray(near)

    def _mood(self, some: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
        """[some, others]: what ratings of one time share."""
        # Whole numbers could overflow where times are nonsense.
        apart = np.abs(some[:, None].astype(np.float64) - others).astype(np.float32)
        mood = np.zeros_like(apart)
        for tau in self.kernel.times:
            mood += np.exp(apart / np.float32(-tau))
        return np.asarray(mood * np.float32(self.kernel.drift))

    def _median(self, warm: Rows) -> float:
        """Median squared distance of two items with ratings; of a sample where there are many."""
        rows = warm[:: math.ceil(len(warm) / _SAMPLE)]
        q, squares = self.vectors[rows], self.squares[rows]
        apart = (squares[:, None] + squares - 2 * q @ q.T)[np.triu_indices(len(rows), 1)]
        median = float(np.median(apart)) if len(apart) else 1.0
        return median if median > 0 else 1.0


def _entries(own: Ratings) -> Iterator[tuple[int, slice]]:
    """Users with ratings, and where these are."""
    starts = own.matrix.indptr
    for user in np.flatnonzero(own.user_counts).tolist():
        yield user, slice(starts[user], starts[user + 1])


def _solved(covariance: Floats, values: Floats) -> Floats:
    """covariance^-1 values. The covariance is overwritten. Raises UnsolvableError."""
    try:
        # The transpose of a symmetric matrix is itself, in the order in which LAPACK works.
        factor = cho_factor(covariance.T, overwrite_a=True, check_finite=False)
        solved = np.asarray(cho_solve(factor, values, check_finite=False))
    except LinAlgError:
        solved = np.full_like(values, np.nan)
    if not np.isfinite(solved).all():
        raise UnsolvableError
    return solved
