"""Lists of item rows, checked, and as sparse matrices of users and items.

U users, N items, n the list length. Lists are [U, n] item rows, best first, each item at most
once, with -1 behind the last item where a list is shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from recae.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]

_BLOCK: Final = 1 << 22
"""Numbers by user held at a time, where there are many of them for each."""


def item_rows(items: ArrayLike, n_items: int) -> Whole:
    """The lists as an array. Raises DataError for what is none, and for rows of no item."""
    rows = np.asarray(items)
    if n_items < 1 or rows.ndim != 2 or rows.dtype.kind not in "iu":
        raise DataError(
            "lists must be whole item rows, users x places, of a catalogue with at least one item"
        )
    if rows.size and (rows.min() < -1 or rows.max() >= n_items):
        raise DataError(f"lists must hold item rows 0 to {n_items - 1}, or -1 for no item")
    rows = rows.astype(np.int64, copy=False)
    if ((rows[:, :-1] < 0) & (rows[:, 1:] >= 0)).any():
        raise DataError("a list has a gap: -1 for no item stands behind the last item only")
    return rows


def ranks_of(rows: Whole, n_items: int) -> sparse.csr_array:
    """[U, N]: the rank of each listed item, from 1. Raises DataError for an item listed twice."""
    listed = rows >= 0
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(listed, axis=1))])
    ranks = np.nonzero(listed)[1] + 1.0
    matrix = sparse.csr_array((ranks, rows[listed], indptr), shape=(len(rows), n_items))
    matrix.sort_indices()
    if not matrix.has_canonical_format:
        raise DataError("a list names an item twice: list each item at most once")
    return matrix


def listed(rows: Whole, n_items: int) -> sparse.csr_array:
    """[U, N]: 1 at the items of each user's list. Raises DataError for an item listed twice."""
    return pattern(ranks_of(rows, n_items))


def pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """1 at the stored entries of a matrix, whatever their values."""
    ones = sparse.csr_array(
        (np.ones(len(matrix.indices)), matrix.indices, matrix.indptr), shape=matrix.shape
    )
    if not ones.has_canonical_format:
        ones = ones.copy()
        ones.sum_duplicates()
        ones.data[:] = 1
    return ones


def of_users(matrix: sparse.csr_array, rows: Whole, what: str) -> sparse.csr_array:
    """The pattern of a matrix [U, N]. Raises DataError where it has other users than the lists."""
    if matrix.ndim != 2 or matrix.shape[0] != len(rows):
        raise DataError(
            f"{what} must be users x items with the {len(rows)} users of the lists, not "
            f"{matrix.shape}"
        )
    return pattern(matrix)


def of_items(values: ArrayLike, what: str) -> Floats:
    """[N] numbers, one an item. Raises DataError where they are negative, NaN or not flat."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise DataError(f"{what} must be one number an item, each finite and 0 or more")
    return numbers


def mean_of(values: Floats, rows: Whole) -> Floats:
    """[U]: the mean of values [N] over the items of each list; NaN for empty lists."""
    found = rows >= 0
    summed: Floats = np.where(found, values[rows], 0).sum(axis=1)
    return summed / positive(np.count_nonzero(found, axis=1))


def positive(counts: NDArray[Any]) -> Floats:
    """Counts to divide by: NaN instead of 0."""
    return np.where(counts > 0, counts, np.nan)


def blocks(n_users: int, width: int) -> Iterator[slice]:
    """Users, some at a time, for which `width` numbers each may be held."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, n_users, step):
        yield slice(start, start + step)
