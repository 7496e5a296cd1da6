"""Items by how popular they are. N items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recae.errors import DataError
from recae.metrics.rows import of_items

Whole: TypeAlias = NDArray[np.int64]


def popularity_groups(counts: ArrayLike, shares: Sequence[float] = (1 / 3, 2 / 3)) -> Whole:
    """[N]: 0 for the head, 1 for the middle, 2 for the tail, each with a third of all ratings.

    Items stand from most to least rated, and an item is in group k where the items before it hold
    at least shares[k - 1] of all ratings: the item at a border belongs to the group before it.
    Items with equal counts are in one group, that of the first of them, so no order of rows
    matters. Items never rated are in the last.

    counts: [N] training ratings by item; shares: ascending, between 0 and 1. Raises DataError for
    other shares and negative counts.
    """
    cuts = np.asarray(shares, dtype=np.float64)
    if cuts.ndim != 1 or not ((cuts > 0) & (cuts < 1)).all() or (np.diff(cuts) <= 0).any():
        raise DataError(f"shares must ascend between 0 and 1, not {list(shares)}")
    rated = of_items(counts, "counts")
    levels, place, times = np.unique(rated, return_inverse=True, return_counts=True)
    held = levels * times
    # A quotient of whole numbers is rounded as the share that was typed is: borders are met.
    before = (held.sum() - np.cumsum(held)) / max(held.sum(), 1)
    groups = np.searchsorted(cuts, before[place], side="right")
    return np.where(rated > 0, groups, len(cuts)).astype(np.int64)
