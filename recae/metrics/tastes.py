"""Lists against the person they are for: what they rated, and what anybody would be given.

U users, N items, G genres, n the list length; lists are [U, n] item rows, best first, each item
at most once, -1 where a list is shorter. Of CSR matrices [U, N] the stored entries count,
whatever their values.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import rel_entr

from recae.errors import DataError
from recae.metrics.rows import (
    blocks,
    item_rows,
    listed,
    mean_of,
    of_items,
    of_users,
    positive,
)

Floats: TypeAlias = NDArray[np.float64]


def popularity_lift(items: ArrayLike, history: sparse.csr_array, counts: ArrayLike) -> Floats:
    """[U]: by what part a list is more popular than the user's own history: (l - h) / h.

    l and h are the mean counts of the list's and of the history's items: 0 as popular, 1 twice as
    popular, -0.5 half. Delta GAP of a group (Abdollahpouri et al. 2019) is (mean l - mean h) /
    mean h: the mean of these values weighted by h. Their plain mean weighs all users alike.

    NaN for an empty list, an empty history, and a history of items that nobody rated.

    items: [U, n] item rows; history: CSR [U, N]; counts: [N] training ratings by item, or shares
    of users. Raises DataError where shapes differ and for negative counts.
    """
    popularity = of_items(counts, "counts")
    rows = item_rows(items, len(popularity))
    own = of_users(history, rows, "the history")
    if own.shape[1] != len(popularity):
        raise DataError(f"the history is of {own.shape[1]} items, the counts of {len(popularity)}")
    usual = own @ popularity / positive(np.diff(own.indptr))
    return (mean_of(popularity, rows) - usual) / positive(usual)


def miscalibration(
    items: ArrayLike, genres: sparse.csr_array, history: sparse.csr_array, *, alpha: float = 0.01
) -> Floats:
    """[U]: how far the genres of a list are from those of the history, in nats: 0 alike.

    KL(p || q~) = sum_g p_g ln(p_g / q~_g), q~ = (1 - alpha) q + alpha p (Steck 2018).
    p and q are the mean genre shares of the items of the history and of the list, each item with
    weight 1. A list without one genre of the history gets -ln(alpha), 4.6, the largest value.

    Items without genres are left out. NaN for a user whose history, or whose list, has no genres.

    items: [U, n] item rows; genres: CSR [N, G], 0 or more, an item's row scaled to sum to 1;
    history: CSR [U, N]. Raises DataError where shapes differ, for negative genres, an item listed
    twice, and an alpha outside 0 .. 1, both excluded.
    """
    if not 0 < alpha < 1:
        raise DataError(f"alpha must be between 0 and 1, not {alpha:g}")
    if genres.ndim != 2 or not (np.isfinite(genres.data) & (genres.data >= 0)).all():
        raise DataError("genres must be items x genres, each finite and 0 or more")
    rows = item_rows(items, genres.shape[0])
    own = of_users(history, rows, "the history")
    if own.shape[1] != genres.shape[0]:
        raise DataError(f"the history is of {own.shape[1]} items, the genres of {genres.shape[0]}")
    given = listed(rows, genres.shape[0])
    totals = np.asarray(genres.sum(axis=1), dtype=np.float64)
    shares = sparse.diags_array(1 / np.where(totals > 0, totals, 1)) @ genres
    out = np.empty(len(rows))
    for block in blocks(len(rows), genres.shape[1]):
        wanted, got = _mixture(own[block] @ shares), _mixture(given[block] @ shares)
        out[block] = rel_entr(wanted, (1 - alpha) * got + alpha * wanted).sum(axis=1)
    # A mixture with itself differs from it by rounding, in either direction.
    return np.maximum(out, 0)


def serendipity(items: ArrayLike, relevant: sparse.csr_array, expected: ArrayLike) -> Floats:
    """[U]: the share of the n places with a target that the list by popularity does not have.

    After Ge et al. 2010, who call unexpected what a primitive model does not list; divided by n,
    as precision is, of which it is a part. NaN for users without targets.

    items: [U, n] item rows; relevant: CSR [U, N], the targets; expected: [U, m], what a ranking
    by popularity lists for the same users. Raises DataError where shapes differ and for an item
    listed twice.
    """
    n_items = relevant.shape[1]
    rows, usual = item_rows(items, n_items), item_rows(expected, n_items)
    if len(usual) != len(rows):
        raise DataError(f"{len(usual)} expected lists for {len(rows)} lists: give each user one")
    targets = of_users(relevant, rows, "the targets")
    found = listed(rows, n_items).multiply(targets)
    plain = found.multiply(listed(usual, n_items))
    hits = np.asarray(found.sum(axis=1) - plain.sum(axis=1), dtype=np.float64)
    return np.where(np.diff(targets.indptr) > 0, hits / max(rows.shape[1], 1), np.nan)


def _mixture(summed: sparse.csr_array) -> Floats:
    """[B, G]: sums of genre shares as shares of all; NaN where there are none."""
    dense = summed.toarray()
    return np.asarray(dense / positive(dense.sum(axis=1))[:, None], dtype=np.float64)
