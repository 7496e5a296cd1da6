"""Ridge regression, one small problem a user: how a vector is fitted to one person's ratings."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from recae.errors import RecaeError
from recae.ratings import Ratings

_BLOCK: Final = 4_000_000
"""Numbers held at once in the normal equations: 32 MB."""
_FEW: Final = 16
"""Fewer users than this are solved before the threads could be limited."""


class UnsolvableError(RecaeError):
    """What was learned is too large, or not finite, for its ridge regressions to be solved."""

    def __init__(self) -> None:
        super().__init__(
            "users cannot be fitted to their ratings, because codes are not finite or too large "
            "for the penalty: lower training.learning_rate or raise ridge"
        )


def threads_for(systems: int) -> AbstractContextManager[object]:
    """While so many small systems are solved: threads inside thousands only wait for each other."""
    return _blas().limit(limits=1) if systems >= _FEW else nullcontext()


@cache
def _blas() -> ThreadpoolController:
    """numpy's, found once: to look for it takes longer than a person's list."""
    return ThreadpoolController().select(user_api="blas")


def with_ones(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, K + 1]: the last column, of ones, is what a user's bias is multiplied by."""
    return np.column_stack([vectors, np.ones(len(vectors), np.float32)])


def ridge_rows(
    history: Ratings,
    values: NDArray[np.float32],
    items: NDArray[np.float32],
    penalty: float,
    shifts: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """argmin over p_u of sum over u's items of (value - <p_u, x_ui>)^2 + penalty |p_u|^2: [U, K].

    values [R] stand at the ratings of `history`; x_ui is the item's row of items [N, K], plus the
    user's row of shifts [U, K] where there are any. Users without ratings get zeros. The normal
    equations of a block of users are solved together; where users have fewer ratings than K, the
    smaller systems of the dual instead, those of one size together. Raises UnsolvableError.
    """
    with threads_for(len(history.users)):
        try:
            solved = _solved(history, values, items, penalty, shifts)
        except np.linalg.LinAlgError:
            raise UnsolvableError from None
    if not np.isfinite(solved).all():
        raise UnsolvableError
    return solved


def _solved(
    history: Ratings,
    values: NDArray[np.float32],
    items: NDArray[np.float32],
    penalty: float,
    shifts: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    n_users, k = len(history.users), items.shape[1]
    solved = np.zeros((n_users, k), dtype=np.float32)
    starts, counts = history.matrix.indptr, history.user_counts

    def vectors(row: Any, entries: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = items[history.columns[entries]]
        return found if shifts is None else found + shifts[row]

    few = counts * ((counts > 0) & (counts < k))
    for count in np.unique(few[few > 0]).tolist():
        alike, size = np.flatnonzero(few == count), max(1, _BLOCK // (count * k))
        for rows in (alike[start : start + size] for start in range(0, len(alike), size)):
            places = starts[rows, None] + np.arange(count)
            x = vectors(rows[:, None], places)
            grams = (x @ x.transpose(0, 2, 1)).astype(np.float64)
            grams[:, np.arange(count), np.arange(count)] += penalty
            duals = np.linalg.solve(grams, values[places, None].astype(np.float64))
            solved[rows] = np.einsum("ucd,uck->uk", duals, x)
    many = np.flatnonzero(counts >= k)
    size = max(1, _BLOCK // (k * k))
    for rows in (many[start : start + size] for start in range(0, len(many), size)):
        grams = np.empty((len(rows), k, k))
        sides = np.empty((len(rows), k, 1))
        for place, row in enumerate(rows):
            entries = slice(starts[row], starts[row + 1])
            x = vectors(row, entries)
            grams[place] = x.T @ x
            sides[place, :, 0] = values[entries] @ x
        grams[:, np.arange(k), np.arange(k)] += penalty
        solved[rows] = np.linalg.solve(grams, sides)[:, :, 0]
    return solved
