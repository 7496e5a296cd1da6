"""Lists of unlike items: maximal marginal relevance (Carbonell and Goldstein 1998) on codes.

    next = argmax over i of (1 - d) relevance_i - d max over j in the list of cos(q_i, q_j)

U users, P items of a pool, n of them in a list, K code size.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from recae.ids import Rows

Floats = NDArray[np.float32]

_WIDER: Final = 10
"""Lists are chosen from so many times as many of the best items."""
_LEAST: Final = 100
"""And from no fewer than these."""


def pool_size(n: int, n_items: int) -> int:
    """How many of the best items a list of n is chosen from."""
    return min(max(_WIDER * n, _LEAST), n_items)


def diversified(items: Rows, scores: Floats, codes: Floats, n: int, diversity: float) -> Rows:
    """Places in each user's pool, in the order of the list: [U, n].

    items [U, P]: rows of `codes` [N, K], best first, -1 behind the last; scores [U, P]: -inf there.
    Relevance is the score as a share of the way from the worst to the best of the pool, so that
    `diversity` means the same for all models. Ties go to the better one.
    """
    there = items >= 0
    # Away from the mean of all, because what codes have in common says nothing of likeness.
    unit = codes - codes.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    relevance = _shares(scores, there)
    likeness = np.zeros(items.shape, dtype=np.float32)
    chosen = np.empty((len(items), n), dtype=np.int64)
    left, users = there.copy(), np.arange(len(items))
    for place in range(n):
        worth = (1 - diversity) * relevance - diversity * likeness
        best = np.where(left, worth, -np.inf).argmax(axis=1)
        # Where the pool is empty, the first of those that are no items.
        best = np.where(left.any(axis=1), best, (~there).argmax(axis=1))
        chosen[:, place] = best
        left[users, best] = False
        latest = unit[items[users, best]]
        said = np.einsum("upk,uk->up", unit[items], latest)
        likeness = said if place == 0 else np.maximum(likeness, said)
    return chosen


def _shares(scores: Floats, there: NDArray[np.bool_]) -> Floats:
    """Scores [U, P] from 0, the worst that is there, to 1."""
    top = np.where(there, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    width = np.maximum(top - low, 1e-12)
    return np.asarray(np.where(there, (np.where(there, scores, 0) - low) / width, 0), np.float32)
