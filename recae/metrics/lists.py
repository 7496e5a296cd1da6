"""What lists are made of, whoever they are for.

U users, N items, n the list length; lists are [U, n] item rows, best first, each item at most
once, -1 where a list is shorter.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from recae.errors import DataError
from recae.metrics.rows import blocks, item_rows, listed, mean_of

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]


def item_coverage(items: ArrayLike, n_items: int) -> float:
    """The share of the catalogue that is recommended to somebody (Ge et al. 2010).

    items: [U, n] item rows, -1 where a list is shorter. Raises DataError for other rows.
    """
    return float(np.count_nonzero(_times_recommended(items, n_items)) / n_items)


def gini(items: ArrayLike, n_items: int) -> float:
    """Gini index of how often items are recommended: 0 all equally, 1 one and the same always.

    sum_j (2 j - N - 1) p_j / (N - 1), with p_j the share of item j in all recommendations, in
    ascending order (Shani and Gunawardana 2011). Items never recommended count.

    items: [U, n] item rows, -1 where a list is shorter. Raises DataError for other rows and where
    nothing is recommended.
    """
    times = np.sort(_times_recommended(items, n_items))
    if not times.any():
        raise DataError("nothing is recommended: the lists are empty")
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    # A catalogue of one item is spread as evenly as it can be: 0 / 1.
    return float(weights @ times / (times.sum() * max(n_items - 1, 1)))


def novelty(items: ArrayLike, counts: ArrayLike, n_users: int) -> float:
    """Mean self-information of the recommended items in bits (Zhou et al. 2010).

    An item that c of n_users users rated has -log2((c + 1) / (n_users + 1)) bits: 0 where all
    rated it, and finite where nobody did, which the plain share c / n_users is not.

    items: [U, n] item rows, -1 where a list is shorter; counts: [N] training ratings by item.
    Raises DataError for other rows, counts outside 0 .. n_users, and where nothing is recommended.
    """
    bits = _bits(counts, n_users)
    times = _times_recommended(items, len(bits))
    if not times.any():
        raise DataError("nothing is recommended: the lists are empty")
    return float(times @ bits / times.sum())


def novelty_by_user(items: ArrayLike, counts: ArrayLike, n_users: int) -> Floats:
    """[U]: mean self-information of each user's list in bits, NaN for an empty list.

    Their mean is `novelty` where all lists are equally long; otherwise `novelty` weighs each user
    by the length of the list. Arguments and errors as there, but nothing need be recommended.
    """
    bits = _bits(counts, n_users)
    return mean_of(bits, item_rows(items, len(bits)))


def intra_list_diversity(items: ArrayLike, vectors: ArrayLike | sparse.csr_array) -> Floats:
    """[U]: mean of 1 - cosine over the pairs of each list: 0 all alike, 1 nothing in common.

    Ziegler et al. 2005, with the cosine as similarity; Vargas and Castells 2011 without ranks.
    An item whose vector is zero (no genre is known) is like and unlike nothing and left out.
    NaN where fewer than two items are left. Above 1 where cosines are negative.

    With unit vectors v of k items, the cosines of all ordered pairs sum to |sum v|^2 - k, so no
    pair is ever formed.

    items: [U, n] item rows, -1 where a list is shorter; vectors: [N, D], dense, or CSR such as
    genres 0/1. Raises DataError for other rows, an item listed twice and vectors that are not
    finite.
    """
    units = _units(vectors)
    n_items, width = units.shape
    rows = item_rows(items, n_items)
    seen = listed(np.where((_squares(units) > 0)[rows], rows, -1), n_items)
    sizes = np.diff(seen.indptr)
    pairs = np.where(sizes > 1, sizes * (sizes - 1.0), np.nan)
    summed = np.empty(len(rows))
    for block in blocks(len(rows), width):
        summed[block] = _squares(seen[block] @ units)
    # Equal vectors differ by rounding, in either direction.
    return np.asarray(np.maximum(1 - (summed - sizes) / pairs, 0), dtype=np.float64)


def _times_recommended(items: ArrayLike, n_items: int) -> Whole:
    """[N]: in how many lists each item is."""
    rows = item_rows(items, n_items)
    return np.bincount(rows[rows >= 0], minlength=n_items).astype(np.int64)


def _bits(counts: ArrayLike, n_users: int) -> Floats:
    """[N]: the self-information of each item."""
    rated = np.asarray(counts, dtype=np.float64)
    if not ((rated >= 0) & (rated <= n_users)).all():
        raise DataError(f"counts must be between 0 and the number of users, {n_users}")
    bits: Floats = np.log2(n_users + 1) - np.log2(rated + 1)
    return bits


def _units(vectors: ArrayLike | sparse.csr_array) -> Any:
    """[N, D]: the vectors with length 1, zeros left as they are; sparse if they were."""
    given: Any = vectors if isinstance(vectors, sparse.sparray) else np.asarray(vectors)
    values = given.data if isinstance(vectors, sparse.sparray) else given
    if given.ndim != 2 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise DataError(
            f"vectors must be items x numbers, all finite; these, {given.shape}, are not"
        )
    given = given.astype(np.float64)
    lengths = np.sqrt(_squares(given))
    return sparse.diags_array(1 / np.where(lengths > 0, lengths, 1)) @ given


def _squares(vectors: Any) -> Floats:
    """The squared length of each row, dense or sparse."""
    return np.asarray((vectors * vectors).sum(axis=1), dtype=np.float64)
