"""Errors, rankings and AUC against brute force and cases by hand."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from itertools import permutations
from math import comb, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recae import metrics
from recae.errors import DataError
from recae.metrics import Ranking, ranking, ranks

NAMES = [field.name for field in fields(Ranking)]


def targets_of(rows: list[list[int]], n_items: int) -> sparse.csr_array:
    """[len(rows), n_items] bool: the items of each row."""
    dense = np.zeros((len(rows), n_items), dtype=bool)
    for row, items in enumerate(rows):
        dense[row, items] = True
    return sparse.csr_array(dense)


def of_list(ranked: list[int], targets: set[int], n: int) -> dict[str, float]:
    """The metrics of one list without ties, written out as in the textbook."""
    ranks = [rank for rank, item in enumerate(ranked[:n], start=1) if item in targets]
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(n, len(targets)) + 1))
    return {
        "ndcg": sum(1 / log2(rank + 1) for rank in ranks) / ideal,
        "recall": len(ranks) / len(targets),
        "recall_min": len(ranks) / min(n, len(targets)),
        "precision": len(ranks) / n,
        "average_precision": sum(hits / rank for hits, rank in enumerate(ranks, start=1))
        / min(n, len(targets)),
        "reciprocal_rank": 1 / ranks[0] if ranks else 0.0,
        "hit": float(bool(ranks)),
    }


def expected(scores: list[float], targets: set[int], n: int) -> dict[str, float]:
    """The mean of `of_list` over all orders in which ties can be broken."""
    candidates = [item for item, score in enumerate(scores) if score > -np.inf]
    lists = [
        of_list(sorted(order, key=lambda item: -scores[item]), targets, n)
        for order in permutations(candidates)
    ]
    return {name: float(np.mean([values[name] for values in lists])) for name in NAMES}


def values_at(result: Ranking, row: int) -> dict[str, float]:
    return {name: float(getattr(result, name)[row]) for name in NAMES}


few_scores = st.lists(st.sampled_from([-np.inf, 0.0, 0.5, 1.0, np.inf]), min_size=5, max_size=5)
some_items = st.sets(st.integers(0, 4), min_size=1)


@settings(max_examples=60, deadline=None)
@given(
    users=st.lists(st.tuples(few_scores, some_items), min_size=1, max_size=3),
    n=st.integers(1, 7),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_ranking_is_the_mean_over_all_orders_of_ties(
    users: list[tuple[list[float], set[int]]], n: int, dtype: type[np.floating]
) -> None:
    relevant = targets_of([sorted(targets) for _, targets in users], 5)
    result = ranking(np.array([scores for scores, _ in users], dtype=dtype), relevant, n)
    for row, (scores, targets) in enumerate(users):
        assert values_at(result, row) == pytest.approx(expected(scores, targets, n), abs=1e-12)


def test_a_border_group_of_seven_items_over_all_orders() -> None:
    scores = [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    targets = {0, 2, 4, 5, 6}
    result = ranking(np.array([scores]), targets_of([sorted(targets)], 7), 4)
    assert values_at(result, 0) == pytest.approx(expected(scores, targets, 4), abs=1e-12)


def test_ranking_without_ties_equals_the_textbook() -> None:
    rng = np.random.default_rng(5)
    scores = rng.permuted(np.tile(np.arange(40.0), (30, 1)), axis=1)
    dense = rng.random((30, 40)) < 0.2
    for n in (1, 3, 10, 40):
        result = ranking(scores, sparse.csr_array(dense), n)
        for row in range(30):
            wanted = of_list(np.argsort(-scores[row]).tolist(), set(np.flatnonzero(dense[row])), n)
            assert values_at(result, row) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("n_items", "n_targets", "n"), [(50, 7, 10), (10_000, 30, 10)])
def test_a_constant_model_scores_what_chance_scores(n_items: int, n_targets: int, n: int) -> None:
    """Exact fractions: places 1 .. n of a random order of all items."""
    relevant = targets_of([list(range(n_targets))], n_items)
    result = values_at(ranking(np.zeros((1, n_items), np.float32), relevant, n), 0)

    share = Fraction(n_targets, n_items)
    shortest = min(n, n_targets)
    discounts = [1 / log2(rank + 1) for rank in range(1, n + 1)]
    first = [
        Fraction(comb(n_items - p, n_targets - 1), comb(n_items, n_targets))
        for p in range(1, n + 1)
    ]
    others = Fraction(n_targets - 1, n_items - 1)
    precisions = [share * (1 + others * (p - 1)) / p for p in range(1, n + 1)]
    assert result == pytest.approx(
        {
            "ndcg": float(share) * sum(discounts) / sum(discounts[:shortest]),
            "recall": n / n_items,
            "recall_min": float(n * share) / shortest,
            "precision": float(share),
            "average_precision": float(sum(precisions)) / shortest,
            "reciprocal_rank": float(sum(p / k for k, p in enumerate(first, start=1))),
            "hit": 1 - comb(n_items - n_targets, n) / comb(n_items, n),
        },
        rel=1e-10,
    )


def test_ties_match_a_simulation_in_large_groups() -> None:
    rng = np.random.default_rng(0)
    scores = np.repeat([3.0, 2.0, 1.0], [4, 296, 700])
    targets = {1, *range(10, 40), *range(400, 450)}
    lists = [
        of_list(np.lexsort((rng.random(1000), -scores)).tolist(), targets, 60) for _ in range(3000)
    ]
    result = values_at(ranking(scores[None], targets_of([sorted(targets)], 1000), 60), 0)
    for name in NAMES:
        values = np.array([one[name] for one in lists])
        assert abs(result[name] - values.mean()) <= 4 * values.std() / np.sqrt(len(values)) + 1e-12


def test_users_without_targets_are_nan_everywhere() -> None:
    result = ranking(np.zeros((3, 4)), targets_of([[1], [], [2, 3]], 4), 2)
    for name in NAMES:
        assert np.isnan(getattr(result, name)).tolist() == [False, True, False]


def test_nobody_with_targets_and_nobody_at_all() -> None:
    assert np.isnan(ranking(np.zeros((2, 3)), targets_of([[], []], 3), 2).hit).all()
    assert ranking(np.zeros((0, 3)), sparse.csr_array((0, 3), dtype=bool), 2).hit.shape == (0,)


def test_targets_that_are_no_candidates_count_in_the_denominators_only() -> None:
    scores = np.array([[-np.inf, 3.0, 2.0, 1.0], [-np.inf, -np.inf, 2.0, 1.0]])
    result = ranking(scores, targets_of([[0, 1], [0, 1]], 4), 2)
    assert result.recall.tolist() == [0.5, 0.0]
    assert result.recall_min.tolist() == [0.5, 0.0]
    assert result.hit.tolist() == [1.0, 0.0]
    assert result.ndcg[0] == pytest.approx(1 / (1 + 1 / log2(3)))


def test_a_list_longer_than_the_candidates_is_cut_and_precision_is_not() -> None:
    scores = np.array([[1.0, -np.inf, 2.0]])
    result = ranking(scores, targets_of([[0, 2]], 3), 10)
    assert (result.recall[0], result.ndcg[0], result.average_precision[0]) == (1, 1, 1)
    assert result.precision[0] == pytest.approx(2 / 10)


def test_no_candidate_at_all_is_a_miss() -> None:
    result = ranking(np.full((1, 3), -np.inf, np.float32), targets_of([[0]], 3), 2)
    assert values_at(result, 0) == dict.fromkeys(NAMES, 0.0)


def test_both_recalls_differ_where_there_are_more_targets_than_places() -> None:
    result = ranking(np.array([[4.0, 3.0, 2.0, 1.0]]), targets_of([[0, 1, 2]], 4), 2)
    assert (result.recall[0], result.recall_min[0]) == (pytest.approx(2 / 3), 1)


def test_stored_entries_are_targets_whatever_their_values_and_order() -> None:
    scores = np.array([[3.0, 2.0, 1.0]])
    messy = sparse.csr_array((np.array([0.0, 5.0, 5.0]), np.array([2, 0, 0]), [0, 3]), (1, 3))
    result = ranking(scores, messy, 2)
    assert (result.recall[0], result.recall_min[0]) == (0.5, 0.5)
    assert messy.nnz == 3, "the caller's matrix is left alone"


def test_blocks_of_users_do_not_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (23, 9)).astype(np.float32)
    relevant = sparse.csr_array(rng.random((23, 9)) < 0.3)
    whole = ranking(scores, relevant, 3)
    for block in (1, 18, 40):
        monkeypatch.setattr(ranks, "_BLOCK", block)
        parts = ranking(scores, relevant, 3)
        for name in NAMES:
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_scores_and_targets_are_left_alone() -> None:
    scores = np.random.default_rng(2).random((4, 6))
    before = scores.copy()
    ranking(scores, targets_of([[1], [2], [3], [4]], 6), 3)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize(
    ("scores", "n", "message"),
    [
        (np.array([[1.0, np.nan]]), 1, "NaN"),
        (np.zeros((2, 2)), 1, "alike"),
        (np.zeros(2), 1, "alike"),
        (np.zeros((1, 2), dtype=np.int64), 1, "float32 or float64"),
        (np.zeros((1, 2)), 0, "1 or more"),
    ],
)
def test_ranking_refuses(scores: np.ndarray, n: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ranking(scores, targets_of([[0]], 2), n)


def test_ranking_refuses_an_empty_catalogue() -> None:
    with pytest.raises(DataError, match="no items"):
        ranking(np.zeros((1, 0)), sparse.csr_array((1, 0), dtype=bool), 1)


def test_pooled_and_per_user_errors_by_hand() -> None:
    users, stars, predicted = [5, 9, 5, 5], [1, 2, 3, 4], [1, 5, 3, 1]
    assert metrics.rmse(stars, predicted) == pytest.approx(np.sqrt(18 / 4))
    assert metrics.mae(stars, predicted) == pytest.approx(6 / 4)
    assert metrics.rmse_macro(users, stars, predicted) == pytest.approx((np.sqrt(3) + 3) / 2)
    assert metrics.mae_macro(users, stars, predicted) == pytest.approx((1 + 3) / 2)


def test_unsigned_stars_do_not_wrap_around() -> None:
    assert metrics.rmse(np.array([5], np.uint8), np.array([3], np.uint8)) == 2


def test_float32_errors_are_summed_in_double() -> None:
    stars = np.full(1_000_000, 0.1, np.float32)
    exact = float(np.float32(0.1))
    assert metrics.mae(stars, np.zeros_like(stars)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("stars", "predicted", "message"),
    [
        ([], [], "empty"),
        ([1, 2], [1], "equally long"),
        ([[1], [2]], [[1], [2]], "flat"),
        ([1, 2], [1, np.nan], "row 1"),
        ([np.inf, 2], [np.inf, 2], "finite"),
    ],
)
def test_rating_metrics_refuse(stars: list[float], predicted: list[float], message: str) -> None:
    for metric in (metrics.rmse, metrics.mae):
        with pytest.raises(DataError, match=message):
            metric(stars, predicted)
    for metric_by_user in (metrics.rmse_macro, metrics.mae_macro):
        with pytest.raises(DataError, match=message):
            metric_by_user([0, 0], stars, predicted)


def test_macro_metrics_refuse_another_number_of_users() -> None:
    with pytest.raises(DataError, match="one user"):
        metrics.rmse_macro([0], [1, 2], [1, 2])


# --- AUC


def test_auc_by_hand() -> None:
    assert metrics.auc([1, 2, 3, 4], [False, False, True, True]) == 1
    assert metrics.auc([1, 2, 3, 4], [True, True, False, False]) == 0
    assert metrics.auc([7, 7, 7], [True, False, False]) == 0.5
    # Of the four pairs three are won and one is tied.
    assert metrics.auc([2, 3, 2, 1], [True, True, False, False]) == 3.5 / 4


def test_auc_of_nothing() -> None:
    with pytest.raises(DataError, match="only one kind"):
        metrics.auc([1.0, 2.0], [True, True])
    with pytest.raises(DataError, match="equally long"):
        metrics.auc([1.0, 2.0], [True])
    with pytest.raises(DataError, match="NaN"):
        metrics.auc([1.0, np.nan], [True, False])
