"""How alike two models' lists are, user by user.

U users, n the list length; lists are [U, n] item rows, best first, each item at most once, -1
where a list is shorter. The two need not be equally long, and their order does not matter.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from recae.errors import DataError
from recae.metrics.rows import item_rows, pattern, positive, ranks_of

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]


def overlap(items: ArrayLike, others: ArrayLike) -> Floats:
    """[U]: items in both lists / items in either (Jaccard); ranks do not matter.

    0 where one list is empty, NaN where both are. items, others: [U, n] item rows. Raises
    DataError where they differ in users and for an item listed twice.
    """
    left, right = _both(items, others)
    shared = np.asarray(pattern(left).multiply(pattern(right)).sum(axis=1), dtype=np.float64)
    return shared / positive(np.diff(left.indptr) + np.diff(right.indptr) - shared)


def rank_biased_overlap(items: ArrayLike, others: ArrayLike, *, p: float = 0.9) -> Floats:
    """[U]: the mean agreement at depths 1, 2, .., of which a reader sees each next with chance p.

    The extrapolated form, for lists of a known end (Webber et al. 2010, eq. 32): below it they
    are taken to agree as they did there, so equal lists give 1 and lists with nothing in common
    0. With lists of s <= l items, X_d of the items shared at depth d:

    (1 - p) / p (sum_{d<=l} X_d / d p^d + sum_{s<d<=l} X_s (d - s) / (s d) p^d)
        + ((X_l - X_s) / l + X_s / s) p^l

    The first 10 places weigh 0.86 of it at p = 0.9. 0 where one list is empty, NaN where both are.

    items, others: [U, n] item rows; p: above 0, below 1. Raises DataError where the lists differ
    in users, for an item listed twice and another p.
    """
    if not 0 < p < 1:
        raise DataError(f"p must be between 0 and 1, not {p:g}")
    left, right = _both(items, others)
    lengths = np.stack([np.diff(left.indptr), np.diff(right.indptr)])
    long = lengths.max(axis=0)
    depth = np.arange(1, long.max(initial=1) + 1)
    shared = _shared_by_depth(left, right, len(depth))

    users = np.arange(len(long))
    # An empty list shares nothing at any depth: any depth does.
    short, last = np.maximum(lengths.min(axis=0), 1), np.maximum(long, 1)
    at_short, at_last = shared[users, short - 1], shared[users, last - 1]
    beyond = np.maximum(depth - short[:, None], 0) * (at_short / short)[:, None]
    weights = np.where(depth <= long[:, None], p**depth / depth, 0)
    seen = (1 - p) / p * ((shared + beyond) * weights).sum(axis=1)
    unseen = ((at_last - at_short) / last + at_short / short) * p**last
    return np.where(long > 0, seen + unseen, np.nan)


def _both(items: ArrayLike, others: ArrayLike) -> tuple[sparse.csr_array, sparse.csr_array]:
    """The ranks of both models' lists, [U, items that either lists] CSR each."""
    limit = np.iinfo(np.int32).max
    left, right = item_rows(items, limit), item_rows(others, limit)
    if len(left) != len(right):
        raise DataError(f"lists of {len(left)} and of {len(right)} users cannot be compared")
    n_items = int(max(left.max(initial=0), right.max(initial=0))) + 1
    return ranks_of(left, n_items), ranks_of(right, n_items)


def _shared_by_depth(left: sparse.csr_array, right: sparse.csr_array, depth: int) -> Whole:
    """[U, depth]: how many items the first 1, 2, .. places of both lists share.

    An item is shared from the larger of its two ranks on.
    """
    one, other = left.multiply(pattern(right)).tocsr(), right.multiply(pattern(left)).tocsr()
    users = np.repeat(np.arange(left.shape[0]), np.diff(one.indptr))
    since = np.maximum(one.data, other.data).astype(np.int64) - 1
    fresh = np.bincount(users * depth + since, minlength=left.shape[0] * depth)
    return np.cumsum(fresh.reshape(-1, depth), axis=1)
