"""Lists by kind of item: popular and rare ones.

U users, N items, n the list length; lists are [U, n] item rows, -1 where a list is shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from recae.errors import DataError
from recae.metrics.rows import item_rows, listed, of_items, of_users

Floats: TypeAlias = NDArray[np.float64]
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


def recall_by_group(
    items: ArrayLike, relevant: sparse.csr_array, groups: ArrayLike, n_groups: int
) -> tuple[Floats, Floats]:
    """Hits and targets of each user by group of items, [U, n_groups] each.

    Recall of a slice is hits / targets: of one user, or of many as a mean over those with targets
    there; resampling users resamples both. With every item in a group, the sums over groups give
    `Ranking.recall`, but here ties are broken as the list broke them.

    items: [U, n] item rows; relevant: CSR [U, N], the targets, retrieved or not; groups: [N] 0 ..
    n_groups - 1, -1 for items in none. Raises DataError where shapes differ, for other groups and
    an item listed twice.
    """
    n_items = relevant.shape[1]
    rows = item_rows(items, n_items)
    targets = of_users(relevant, rows, "the targets")
    member = _members(groups, n_groups, n_items)
    hits = listed(rows, n_items).multiply(targets)
    return (hits @ member).toarray(), (targets @ member).toarray()


def _members(groups: ArrayLike, n_groups: int, n_items: int) -> sparse.csr_array:
    """[N, n_groups]: 1 at the group of each item."""
    numbers = np.asarray(groups)
    if numbers.shape != (n_items,) or numbers.dtype.kind not in "iu":
        raise DataError(f"groups must be one whole number for each of the {n_items} items")
    if n_groups < 1 or (numbers.size and (numbers.min() < -1 or numbers.max() >= n_groups)):
        raise DataError(f"groups must be 0 to {n_groups - 1}, or -1 for none")
    return listed(numbers.astype(np.int64)[:, None], n_groups)
