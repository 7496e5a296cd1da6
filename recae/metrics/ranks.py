"""Where a user's targets stand among the best scored items.

B users of a batch, N items, n the list length.

Ranking metrics are expected values under a random order of tied items, so a constant model
scores what chance scores. Every one of them is a sum over *tie groups*: the items to which a
user's scores are equal. With `a` items ahead of a group of `e` items, `m` of them relevant, each
item of the group takes the ranks a + 1 .. a + e with equal chance, and w = min(e, n - a) of these
ranks are inside the list (McSherry and Najork 2008, "Computing information retrieval performance
measures efficiently in the presence of tied scores").
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recae.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]

# Scores ranked at a time: the working memory of `ranking` is a few arrays of this size.
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Ranking:
    """Expected values by user, [B] float64 each, NaN for users without targets.

    With T targets of a user and h of them in the list, at the ranks r:

    ndcg: sum of 1 / log2(r + 1), over its largest possible value, the sum for the ranks
        1 .. min(n, T) (Järvelin and Kekäläinen 2002, gain 1 for every target).
    recall: h / T.
    recall_min: h / min(n, T), which a perfect list brings to 1 (Liang et al. 2018).
    precision: h / n, also where there are fewer than n candidates.
    average_precision: sum of (targets at ranks up to r) / r, over min(n, T); its mean is MAP@n.
    reciprocal_rank: 1 / the smallest r, 0 where no target is in the list; its mean is MRR@n.
    hit: 1 where h > 0, else 0.
    """

    ndcg: Floats
    recall: Floats
    recall_min: Floats
    precision: Floats
    average_precision: Floats
    reciprocal_rank: Floats
    hit: Floats


_FIELDS = fields(Ranking)


def ranking(scores: NDArray[np.floating[Any]], relevant: sparse.csr_array, n: int) -> Ranking:
    """The metrics of the n best scored items of each user.

    scores: [B, N] float32 or float64, -inf at items that are no candidates (those already seen).
    relevant: CSR [B, N] whose stored entries are the targets, whatever their values. Targets that
        are no candidates cannot be retrieved and count in the denominators.
    n: the list length; lists are shorter where there are fewer candidates.

    Raises DataError for NaN scores, shapes that differ, no items, and n below 1.
    """
    _check(scores, relevant, n)
    if not relevant.has_canonical_format:
        relevant = relevant.copy()
        relevant.sum_duplicates()
    step = max(1, _BLOCK // scores.shape[1])
    blocks = []
    for start in range(0, max(len(scores), 1), step):
        indptr = relevant.indptr[start : start + step + 1]
        columns = relevant.indices[indptr[0] : indptr[-1]]
        targets = np.diff(indptr).astype(np.int64)
        groups = _tie_groups(scores[start : start + step], targets, columns, n)
        blocks.append(_expected(groups, targets, n))
    return Ranking(
        *(np.concatenate([getattr(block, field.name) for block in blocks]) for field in _FIELDS)
    )


def _check(scores: NDArray[np.floating[Any]], relevant: sparse.csr_array, n: int) -> None:
    if scores.ndim != 2 or scores.shape != relevant.shape:
        raise DataError(
            f"scores and targets must be users x items alike, not {scores.shape} and "
            f"{relevant.shape}"
        )
    if not scores.shape[1]:
        raise DataError("there are no items to rank")
    if scores.dtype not in (np.float32, np.float64):
        raise DataError(f"scores must be float32 or float64, not {scores.dtype}")
    if n < 1:
        raise DataError(f"a list has at least one item: n must be 1 or more, not {n}")


class _Groups(NamedTuple):
    """Tie groups that hold targets and reach into the list, by user, best first; [G] int64 each."""

    user: Whole
    ahead: Whole  # a: candidates with a better score
    size: Whole  # e: candidates with this score
    inside: Whole  # w: how many of the group are in the list
    targets: Whole  # m: how many of the group are targets
    targets_ahead: Whole  # targets with a better score


def _tie_groups(
    scores: NDArray[np.floating[Any]], targets: Whole, columns: NDArray[Any], n: int
) -> _Groups:
    """targets: [B], how many each user has; columns: their items, user after user."""
    if np.isnan(scores).any():
        raise DataError("a score is NaN: score items that are no candidates with -inf")
    users = np.repeat(np.arange(len(targets)), targets)
    n = min(n, scores.shape[1])
    best = np.sort(np.partition(scores, -n, axis=1)[:, -n:], axis=1)
    border = best[:, 0]

    # Only targets in the list, or tied with its last item, can be retrieved. A border of -inf
    # means fewer than n candidates: then every candidate is in the list.
    values = scores[users, columns]
    reached = (values >= border[users]) & (values > -np.inf)
    users, values = users[reached], values[reached]
    order = np.lexsort((-values, users))
    users, values = users[order], values[order]
    fresh = np.ones(len(users), dtype=bool)
    fresh[1:] = (np.diff(users) != 0) | (values[1:] != values[:-1])
    starts = np.flatnonzero(fresh)
    user, value = users[starts], values[starts]

    keys = _pairs(np.repeat(np.arange(len(scores)), n), best.ravel())
    left = np.searchsorted(keys, _pairs(user, value), side="left")
    right = np.searchsorted(keys, _pairs(user, value), side="right")
    ahead = (user + 1) * n - right
    # The group at the border is the only one with members outside the list.
    at_border = np.count_nonzero(scores == border[:, None], axis=1)
    size = np.where(value == border[user], at_border[user], right - left)
    return _Groups(
        user=user,
        ahead=ahead,
        size=size,
        inside=np.minimum(size, n - ahead),
        targets=np.diff(np.append(starts, len(users))),
        targets_ahead=starts - np.searchsorted(users, user),
    )


def _pairs(users: Whole, values: NDArray[np.floating[Any]]) -> NDArray[np.complex128]:
    """(user, value) as one number: complex numbers are ordered by real part, then imaginary."""
    pairs = np.empty(len(users), dtype=np.complex128)
    pairs.real, pairs.imag = users, values
    return pairs


def _expected(groups: _Groups, targets: Whole, n: int) -> Ranking:
    """targets: [B] by user."""
    known = np.where(targets > 0, targets, np.nan)
    reachable = np.minimum(known, n)
    ideal = np.where(targets > 0, _summed_discounts(np.minimum(targets, n)), np.nan)

    def by_user(values: Floats) -> Floats:
        summed = np.bincount(groups.user, weights=values, minlength=len(targets))
        return summed.astype(np.float64)

    retrieved = by_user(groups.targets * groups.inside / groups.size)
    reciprocal_rank, hit = _of_first_target(groups, len(targets))
    return Ranking(
        ndcg=by_user(_gains(groups)) / ideal,
        recall=retrieved / known,
        recall_min=retrieved / reachable,
        precision=np.where(targets > 0, retrieved / n, np.nan),
        average_precision=by_user(_precisions(groups)) / reachable,
        reciprocal_rank=np.where(targets > 0, reciprocal_rank, np.nan),
        hit=np.where(targets > 0, hit, np.nan),
    )


def _summed_discounts(ranks: Whole) -> Floats:
    """For each rank the sum of 1 / log2(r + 1) over r = 1 .. rank."""
    discounts = 1 / np.log2(np.arange(2, ranks.max(initial=0) + 2))
    return np.concatenate([[0.0], np.cumsum(discounts)])[ranks]


def _summed_inverses(ranks: Whole) -> Floats:
    """For each rank the sum of 1 / r over r = 1 .. rank."""
    inverses = 1 / np.arange(1, ranks.max(initial=0) + 1)
    return np.concatenate([[0.0], np.cumsum(inverses)])[ranks]


def _gains(groups: _Groups) -> Floats:
    """[G]: expected discounted gain: m times the mean discount over the group's ranks."""
    last = groups.ahead + groups.inside
    gain = _summed_discounts(last) - _summed_discounts(groups.ahead)
    return groups.targets * gain / groups.size


def _precisions(groups: _Groups) -> Floats:
    """[G]: expected sum of the precisions at the group's targets inside the list.

    A target at place p of its group has the targets of better groups ahead of it and, of the
    m - 1 others of its group, (m - 1)(p - 1) / (e - 1) in expectation. Summed over p = 1 .. w,
    1 / (a + p) gives a difference of harmonic numbers, (p - 1) / (a + p) = 1 - (a + 1) / (a + p).
    """
    a, w = groups.ahead, groups.inside
    inverses = _summed_inverses(a + w) - _summed_inverses(a)
    others = (groups.targets - 1) / np.maximum(groups.size - 1, 1)
    summed = (groups.targets_ahead + 1) * inverses + others * (w - (a + 1) * inverses)
    return groups.targets * summed / groups.size


def _of_first_target(groups: _Groups, n_users: int) -> tuple[Floats, Floats]:
    """Expected reciprocal rank and chance of a hit, [B] each; both lie in each user's first group.

    That no target is among the group's first p items has the chance C(e - p, m) / C(e, m), here
    as the product over q = 0 .. p - 1 of (e - m - q) / (e - q), which neither overflows nor
    cancels. That the first target is at place p is the difference between p - 1 and p.
    """
    reciprocal_rank, hit = np.zeros(n_users), np.zeros(n_users)
    user, first = np.unique(groups.user, return_index=True)
    ahead, size, inside, targets = (
        xs[first, None] for xs in (groups.ahead, groups.size, groups.inside, groups.targets)
    )
    places = np.arange(inside.max(initial=1))
    missed = np.maximum(size - targets - places, 0) / np.maximum(size - places, 1)
    none = np.cumprod(np.where(places < inside, missed, 1), axis=1)
    chances = -np.diff(none, axis=1, prepend=1)
    reciprocal_rank[user] = (chances / (ahead + places + 1)).sum(axis=1)
    hit[user] = 1 - none[:, -1]
    return reciprocal_rank, hit
