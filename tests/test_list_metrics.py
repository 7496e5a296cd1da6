"""Lists against plain loops: what they are made of, whom they are for, how alike two are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import log, log2, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recae import metrics
from recae.errors import DataError
from recae.metrics import rows

N = 7
NAN = float("nan")

one_list = st.lists(st.integers(0, N - 1), unique=True, max_size=5)
one_set = st.sets(st.integers(0, N - 1))
many = settings(max_examples=150, deadline=None)


def padded(lists: list[list[int]], width: int = 5) -> np.ndarray:
    """[U, width], -1 behind the last item."""
    return np.array([one + [-1] * (width - len(one)) for one in lists], dtype=np.int64)


def stored(sets: list[set[int]], value: float = 3.5) -> sparse.csr_array:
    """[U, N] with `value` at the items of each set."""
    dense = np.zeros((len(sets), N))
    for row, items in enumerate(sets):
        dense[row, sorted(items)] = value
    return sparse.csr_array(dense)


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else NAN


def assert_equal(found: np.ndarray, wanted: list[float]) -> None:
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, atol=1e-12)


# --- what lists are made of


def test_coverage_counts_distinct_items_and_no_padding() -> None:
    assert metrics.item_coverage([[0, 3], [3, -1]], 8) == 2 / 8
    assert metrics.item_coverage([[-1, -1]], 8) == 0
    assert metrics.item_coverage(np.empty((0, 10), dtype=np.int64), 8) == 0


def test_novelty_in_bits_by_hand() -> None:
    counts = [7, 3, 0]
    assert metrics.novelty([[0, -1]], counts, 7) == 0
    assert metrics.novelty([[1], [1]], counts, 7) == 1
    assert metrics.novelty([[2], [-1]], counts, 7) == 3
    assert metrics.novelty([[0, 1], [2, -1]], counts, 7) == pytest.approx(4 / 3)


def test_gini_is_0_for_equal_and_1_for_single() -> None:
    assert metrics.gini([[0, 1], [2, 3]], 4) == 0
    assert metrics.gini([[2, -1], [2, -1]], 4) == 1
    assert metrics.gini([[0]], 1) == 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(items: list[int]) -> None:
    times = np.bincount(items, minlength=6)
    differences = np.abs(times[:, None] - times[None, :]).sum()
    wanted = differences / (2 * 6 * times.sum()) * 6 / 5
    assert metrics.gini([items], 6) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("items", [[[4]], [[-2]], [[0.0]]])
def test_list_metrics_refuse_what_is_no_item_row(items: list[list[float]]) -> None:
    for call in (
        lambda: metrics.item_coverage(items, 4),
        lambda: metrics.novelty(items, [1, 1, 1, 1], 2),
        lambda: metrics.gini(items, 4),
    ):
        with pytest.raises(DataError, match="item rows"):
            call()


def test_list_metrics_refuse_empty_lists_and_impossible_counts() -> None:
    with pytest.raises(DataError, match="nothing is recommended"):
        metrics.gini([[-1]], 4)
    with pytest.raises(DataError, match="nothing is recommended"):
        metrics.novelty([[-1]], [1, 1], 2)
    with pytest.raises(DataError, match="number of users"):
        metrics.novelty([[0]], [3, 1], 2)


@many
@given(
    lists=st.lists(one_list, min_size=1, max_size=4),
    counts=st.lists(st.integers(0, 9), min_size=N, max_size=N),
)
def test_novelty_by_user(lists: list[list[int]], counts: list[int]) -> None:
    bits = [-log2((count + 1) / 10) for count in counts]
    found = metrics.novelty_by_user(padded(lists), counts, 9)
    assert_equal(found, [mean([bits[item] for item in one]) for one in lists])
    if any(lists):
        lengths = np.array([len(one) for one in lists])
        pooled = np.nansum(found * lengths) / lengths.sum()
        assert metrics.novelty(padded(lists), counts, 9) == pytest.approx(pooled)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / sqrt(one @ one) / sqrt(other @ other))


@many
@given(
    lists=st.lists(one_list, min_size=1, max_size=4),
    vectors=st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=N, max_size=N),
    is_sparse=st.booleans(),
    block=st.sampled_from([1, 1 << 22]),
)
def test_intra_list_diversity_is_the_mean_over_pairs(
    lists: list[list[int]], vectors: list[list[int]], is_sparse: bool, block: int
) -> None:
    dense = np.array(vectors)
    wanted = []
    for one in lists:
        items = [dense[item] for item in one if dense[item].any()]
        wanted.append(mean([1 - cosine(a, b) for a, b in combinations(items, 2)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BLOCK", block)
        given = sparse.csr_array(dense) if is_sparse else dense
        assert_equal(metrics.intra_list_diversity(padded(lists), given), wanted)


def test_diversity_by_hand() -> None:
    """Drama, drama, comedy, drama and comedy, none known."""
    genres = sparse.csr_array([[1, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
    lists = [[0, 1, -1], [0, 2, -1], [0, 3, -1], [0, 2, 3], [0, 4, -1], [0, 1, 4], [0, -1, -1]]
    half = 1 - 1 / sqrt(2)
    assert_equal(
        metrics.intra_list_diversity(lists, genres),
        [0, 1, half, (1 + 2 * half) / 3, NAN, 0, NAN],
    )


def test_equal_vectors_are_never_less_than_alike() -> None:
    vectors = np.random.default_rng(0).normal(size=(1, 50)).repeat(30, axis=0)
    found = metrics.intra_list_diversity(np.arange(30)[None], vectors)
    assert 0 <= found[0] < 1e-12


# --- against the person they are for


@many
@given(
    users=st.lists(st.tuples(one_list, one_set), min_size=1, max_size=4),
    counts=st.lists(st.integers(0, 9), min_size=N, max_size=N),
)
def test_popularity_lift(users: list[tuple[list[int], set[int]]], counts: list[int]) -> None:
    wanted = []
    for one, history in users:
        usual, listed = mean([counts[i] for i in history]), mean([counts[i] for i in one])
        wanted.append((listed - usual) / usual if usual else NAN)
    lists, histories = padded([one for one, _ in users]), stored([own for _, own in users])
    assert_equal(metrics.popularity_lift(lists, histories, counts), wanted)


def test_delta_gap_is_the_lift_weighted_by_the_popularity_of_the_history() -> None:
    counts = np.array([90, 50, 20, 10, 5, 2, 1])
    lists, histories = [[0, 1], [1, 4], [0, 6]], [{2, 3}, {0}, {5, 6, 4}]
    usual = np.array([counts[sorted(own)].mean() for own in histories])
    recommended = np.array([counts[one].mean() for one in lists])
    delta_gap = (recommended.mean() - usual.mean()) / usual.mean()
    lift = metrics.popularity_lift(lists, stored(histories), counts)
    assert np.average(lift, weights=usual) == pytest.approx(delta_gap)
    assert lift.mean() > 3 * delta_gap, "a user of rare items moves the plain mean most"


def divergence(one: list[int], history: set[int], genres: list[set[int]], alpha: float) -> float:
    def shares(items: list[int]) -> dict[int, float]:
        known = [item for item in items if genres[item]]
        return {
            g: mean([1 / len(genres[item]) if g in genres[item] else 0 for item in known])
            for g in range(3)
        }

    p, q = shares(sorted(history)), shares(one)
    if any(np.isnan([*p.values(), *q.values()])):
        return NAN
    return sum(p[g] * log(p[g] / ((1 - alpha) * q[g] + alpha * p[g])) for g in p if p[g])


@many
@given(
    users=st.lists(st.tuples(one_list, one_set), min_size=1, max_size=4),
    genres=st.lists(st.sets(st.integers(0, 2)), min_size=N, max_size=N),
    alpha=st.sampled_from([0.01, 0.3]),
    block=st.sampled_from([1, 1 << 22]),
)
def test_miscalibration(
    users: list[tuple[list[int], set[int]]], genres: list[set[int]], alpha: float, block: int
) -> None:
    wanted = [divergence(one, own, genres, alpha) for one, own in users]
    lists, histories = padded([one for one, _ in users]), stored([own for _, own in users])
    dense = np.array([[g in some for g in range(3)] for some in genres])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BLOCK", block)
        found = metrics.miscalibration(lists, sparse.csr_array(dense), histories, alpha=alpha)
    assert_equal(found, wanted)
    assert not (found < 0).any()


def test_miscalibration_by_hand() -> None:
    """Steck's example: 70 romance and 30 action in the history, romance only in the list."""
    genres = sparse.csr_array(np.repeat([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], 100, axis=0))
    history = np.zeros((3, 300))
    history[:, :70] = history[:, 100:130] = 5
    lists = [[*range(10)], [*range(7), 100, 101, 102], [*range(200, 210)]]
    found = metrics.miscalibration(lists, genres, sparse.csr_array(history))
    romance = 0.7 * log(0.7 / (0.99 + 0.007)) + 0.3 * log(0.3 / 0.003)
    assert_equal(found, [romance, 0, -log(0.01)])


@many
@given(users=st.lists(st.tuples(one_list, one_list, one_set), min_size=1, max_size=4))
def test_serendipity(users: list[tuple[list[int], list[int], set[int]]]) -> None:
    wanted = [
        sum(item in targets and item not in usual for item in one) / 5 if targets else NAN
        for one, usual, targets in users
    ]
    lists, usual = padded([user[0] for user in users]), padded([user[1] for user in users], 6)
    assert_equal(metrics.serendipity(lists, stored([user[2] for user in users]), usual), wanted)


# --- agreement of two models


@many
@given(users=st.lists(st.tuples(one_list, one_list), min_size=1, max_size=4))
def test_overlap(users: list[tuple[list[int], list[int]]]) -> None:
    wanted = [
        len({*one} & {*other}) / len({*one, *other}) if one or other else NAN
        for one, other in users
    ]
    lists, others = padded([one for one, _ in users]), padded([other for _, other in users], 9)
    assert_equal(metrics.overlap(lists, others), wanted)
    assert_equal(metrics.overlap(others, lists), wanted)


def agreement(one: list[int], other: list[int], p: float) -> float:
    """Depth by depth, and on below both ends: the shorter list goes on as it agreed at its end,
    the whole as it agreed at the end of the longer one."""
    short, long = sorted((one, other), key=len)
    if not short:
        return 0.0 if long else NAN
    at_end = len({*short} & {*long[: len(short)]}) / len(short)
    summed = agreed = 0.0
    for depth in range(1, 2001):
        if depth <= len(long):
            shared = len({*short[:depth]} & {*long[:depth]})
            agreed = (shared + at_end * max(depth - len(short), 0)) / depth
        summed += (1 - p) * p ** (depth - 1) * agreed
    return summed


@many
@given(
    users=st.lists(st.tuples(one_list, one_list), min_size=1, max_size=4),
    p=st.sampled_from([0.5, 0.9]),
)
def test_rank_biased_overlap_is_agreement_continued(
    users: list[tuple[list[int], list[int]]], p: float
) -> None:
    wanted = [agreement(one, other, p) for one, other in users]
    lists, others = padded([one for one, _ in users]), padded([other for _, other in users], 9)
    assert_equal(metrics.rank_biased_overlap(lists, others, p=p), wanted)
    assert_equal(metrics.rank_biased_overlap(others, lists, p=p), wanted)


def test_rank_biased_overlap_by_hand() -> None:
    one = [[0, 1, 2]] * 4
    others = [[0, 1, 2], [3, 4, 5], [0, 4, 5], [4, 5, 0]]
    first = 0.1 * (1 + 0.9 / 2 + 0.81 / 3) + 0.729 / 3
    last = 0.1 * (0.81 / 3) + 0.729 / 3
    assert_equal(metrics.rank_biased_overlap(one, others), [1, 0, first, last])


# --- slices


def group_of(item: int, counts: list[int], shares: list[float]) -> int:
    before = sum(count for count in counts if count > counts[item])
    if not counts[item]:
        return len(shares)
    return sum(before / sum(counts) >= share for share in shares)


@many
@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    shares=st.sampled_from([[1 / 3, 2 / 3], [0.5], [0.1, 0.2, 0.9], []]),
)
def test_popularity_groups(counts: list[int], shares: list[float]) -> None:
    wanted = [group_of(item, counts, shares) for item in range(len(counts))]
    assert metrics.popularity_groups(counts, shares).tolist() == wanted


def test_popularity_groups_by_hand() -> None:
    assert metrics.popularity_groups([1, 3, 0, 3, 2]).tolist() == [2, 0, 2, 0, 2]
    # The items before the second hold exactly a third of 90 ratings: the head ends before it.
    assert metrics.popularity_groups([30, 20, 10, 15, 15]).tolist() == [0, 1, 2, 1, 1]
    assert metrics.popularity_groups([3, 2, 1, 3]).tolist() == [0, 2, 2, 0]
    assert metrics.popularity_groups([4, 3, 3, 2]).tolist() == [0, 1, 1, 2]
    assert metrics.popularity_groups([0, 0]).tolist() == [2, 2]
    assert metrics.popularity_groups([5, 5]).tolist() == [0, 0]


# --- what is refused, and what is left alone

ONE = sparse.csr_array(np.eye(2))

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a gap": (lambda: metrics.overlap([[-1, 0]], [[0, 1]]), "gap"),
    "flat": (lambda: metrics.novelty_by_user([0, 1], [1, 1], 2), "users x places"),
    "twice": (lambda: metrics.overlap([[1, 1]], [[0, 1]]), "twice"),
    "twice rbo": (lambda: metrics.rank_biased_overlap([[0, 1]], [[1, 0, 1]]), "twice"),
    "twice diversity": (lambda: metrics.intra_list_diversity([[1, 1]], np.eye(2)), "twice"),
    "other users": (lambda: metrics.overlap([[0]], [[0], [1]]), "of 1 and of 2 users"),
    "p": (lambda: metrics.rank_biased_overlap([[0]], [[0]], p=1), "p must be"),
    "vectors": (lambda: metrics.intra_list_diversity([[0]], [1.0]), "items x numbers"),
    "NaN": (lambda: metrics.intra_list_diversity([[0]], [[NAN]]), "finite"),
    "words": (lambda: metrics.intra_list_diversity([[0]], [["a"]]), "items x numbers"),
    "history": (lambda: metrics.popularity_lift([[0]], ONE, [1, 1]), "1 users of the lists"),
    "items": (lambda: metrics.popularity_lift([[0], [1]], ONE, [1, 1, 1]), "of 2 items"),
    "counts": (lambda: metrics.popularity_lift([[0], [1]], ONE, [-1, 1]), "0 or more"),
    "alpha": (lambda: metrics.miscalibration([[0], [1]], ONE, ONE, alpha=0), "alpha"),
    "genres": (lambda: metrics.miscalibration([[0], [1]], -ONE, ONE), "0 or more"),
    "unlike": (
        lambda: metrics.miscalibration([[0], [1]], ONE, sparse.csr_array(np.eye(2, 3))),
        "of 3 items",
    ),
    "expected": (lambda: metrics.serendipity([[0], [1]], ONE, [[0]]), "1 expected lists for 2"),
    "targets": (lambda: metrics.serendipity([[0]], ONE, [[0]]), "the targets"),
    "shares": (lambda: metrics.popularity_groups([1, 1], [0.5, 0.5]), "ascend"),
    "share of all": (lambda: metrics.popularity_groups([1, 1], [1.0]), "ascend"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        call()


def test_messy_matrices_count_each_entry_once_and_stay_as_they_are() -> None:
    messy = sparse.csr_array((np.array([0.0, 5.0, 5.0]), np.array([2, 0, 0]), [0, 3]), (1, 3))
    assert metrics.popularity_lift([[1]], messy, [2, 6, 4]).tolist() == [1]
    assert (messy.nnz, messy.indices.tolist()) == (3, [2, 0, 0])


def test_nobody_at_all() -> None:
    none, nobody = np.empty((0, 3), dtype=np.int64), sparse.csr_array((0, 2))
    for found in (
        metrics.novelty_by_user(none, [1, 1], 2),
        metrics.intra_list_diversity(none, np.eye(2)),
        metrics.popularity_lift(none, nobody, [1, 1]),
        metrics.miscalibration(none, ONE, nobody),
        metrics.serendipity(none, nobody, none),
        metrics.overlap(none, none),
        metrics.rank_biased_overlap(none, none),
    ):
        assert found.shape == (0,)
