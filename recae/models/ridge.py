"""Ridge regression, one small problem a user: how a table takes in somebody new."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recae.ratings import Ratings


def ridge_rows(
    history: Ratings, values: NDArray[np.float32], items: NDArray[np.float32], penalty: float
) -> NDArray[np.float32]:
    """argmin over p_u of sum over u's items of (value - <p_u, q_i>)^2 + penalty |p_u|^2: [U, K].

    values [R] stand at the ratings of `history`; items [N, K]. Users without any get zeros.
    """
    solved = np.zeros((len(history.users), items.shape[1]), dtype=np.float32)
    starts = history.matrix.indptr
    for row in np.flatnonzero(history.user_counts):
        entries = slice(starts[row], starts[row + 1])
        solved[row] = _ridge(items[history.columns[entries]], values[entries], penalty)
    return solved


def _ridge(x: NDArray[np.float32], y: NDArray[np.float32], penalty: float) -> NDArray[np.float32]:
    """x [n, K], y [n] -> [K], through whichever of the n x n and K x K systems is smaller."""
    x64 = x.astype(np.float64)
    n, k = x.shape
    if n < k:
        dual = np.linalg.solve(x64 @ x64.T + penalty * np.eye(n), y.astype(np.float64))
        return np.asarray(x64.T @ dual, dtype=np.float32)
    gram = x64.T @ x64 + penalty * np.eye(k)
    return np.asarray(np.linalg.solve(gram, x64.T @ y.astype(np.float64)), dtype=np.float32)
