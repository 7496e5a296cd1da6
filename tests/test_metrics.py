"""Every metric against brute force, a hand-made case, and an outside library where one agrees."""

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
from recae.metrics import Ranking, ranking

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
        monkeypatch.setattr(metrics, "_BLOCK", block)
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


@pytest.mark.parametrize("n", [1, 5, 12, None])
def test_ndcg_agrees_with_scikit_learn_with_ties(n: int | None) -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(3)
    scores = rng.integers(0, 5, (50, 12)).astype(np.float64)
    dense = rng.random((50, 12)) < 0.3
    dense[:, 0] |= ~dense.any(axis=1)
    result = ranking(scores, sparse.csr_array(dense), n or 12)
    for row in range(50):
        theirs = ndcg_score(dense[row : row + 1], scores[row : row + 1], k=n, ignore_ties=False)
        assert result.ndcg[row] == pytest.approx(theirs, abs=1e-12)


class Scored:
    """What `implicit.evaluation` needs of a model."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def recommend(
        self,
        users: np.ndarray,
        seen: sparse.csr_matrix,
        N: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = np.where(seen.toarray() != 0, -np.inf, self.scores[users])
        best = np.argsort(-scores, axis=1)[:, :N].astype(np.int32)
        return best, np.take_along_axis(scores, best, axis=1).astype(np.float32)


def test_ranking_agrees_with_implicit() -> None:
    """Without ties. Their precision is pooled, and its denominator is min(n, T), not n."""
    evaluation = pytest.importorskip("implicit.evaluation")
    rng = np.random.default_rng(4)
    scores = rng.permuted(np.tile(np.arange(60.0), (40, 1)), axis=1)
    seen = rng.random((40, 60)) < 0.1
    dense = (rng.random((40, 60)) < 0.12) & ~seen
    dense[7] = False
    theirs = evaluation.ranking_metrics_at_k(
        Scored(scores),
        sparse.csr_matrix(seen.astype(np.float32)),
        sparse.csr_matrix(dense.astype(np.float32)),
        K=10,
        show_progress=False,
        num_threads=1,
    )
    ours = ranking(np.where(seen, -np.inf, scores), sparse.csr_array(dense), 10)
    assert np.nanmean(ours.ndcg) == pytest.approx(theirs["ndcg"], abs=1e-6)
    assert np.nanmean(ours.average_precision) == pytest.approx(theirs["map"], abs=1e-6)
    places = np.minimum(dense.sum(axis=1), 10)
    pooled = np.nansum(ours.recall_min * places) / places.sum()
    assert pooled == pytest.approx(theirs["precision"], abs=1e-6)
    assert np.nanmean(ours.precision) < theirs["precision"]


@pytest.mark.filterwarnings("ignore")
def test_ranking_agrees_with_ranx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ties, and with T <= n: their average precision is divided by T, ours by min(n, T)."""
    numba = pytest.importorskip("numba")
    # Compiling takes half a minute; these few lists need none.
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(6)
    scores = rng.permuted(np.tile(np.arange(1.0, 21.0), (15, 1)), axis=1)
    targets = [sorted(rng.permutation(20)[: 1 + row % 5].tolist()) for row in range(15)]
    theirs = ranx.evaluate(
        ranx.Qrels({f"u{u:02}": {f"i{i}": 1 for i in row} for u, row in enumerate(targets)}),
        ranx.Run(
            {f"u{u:02}": {f"i{i}": x for i, x in enumerate(row)} for u, row in enumerate(scores)}
        ),
        ["ndcg@5", "recall@5", "precision@5", "map@5", "mrr@5", "hit_rate@5"],
        return_mean=False,
    )
    ours = ranking(scores, targets_of(targets, 20), 5)
    for name, values in {
        "ndcg": ours.ndcg,
        "recall": ours.recall,
        "precision": ours.precision,
        "map": ours.average_precision,
        "mrr": ours.reciprocal_rank,
        "hit_rate": ours.hit,
    }.items():
        np.testing.assert_allclose(values, theirs[f"{name}@5"], atol=1e-9, err_msg=name)


def test_rmse_and_mae_agree_with_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    rng = np.random.default_rng(7)
    stars = rng.integers(1, 6, 500).astype(np.float32)
    predicted = (stars + rng.normal(size=500)).astype(np.float32)
    wide = stars.astype(np.float64), predicted.astype(np.float64)
    assert metrics.rmse(stars, predicted) == pytest.approx(np.sqrt(mean_squared_error(*wide)))
    assert metrics.mae(stars, predicted) == pytest.approx(mean_absolute_error(*wide))


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


# --- AUC


def test_auc_by_hand() -> None:
    assert metrics.auc([1, 2, 3, 4], [False, False, True, True]) == 1
    assert metrics.auc([1, 2, 3, 4], [True, True, False, False]) == 0
    assert metrics.auc([7, 7, 7], [True, False, False]) == 0.5
    # Of the four pairs three are won and one is tied.
    assert metrics.auc([2, 3, 2, 1], [True, True, False, False]) == 3.5 / 4


def test_auc_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    for levels in (2, 7, 10**6):
        for _ in range(20):
            scores = rng.integers(0, levels, 30) / 3
            truth = rng.permutation(np.arange(30) < rng.integers(1, 30))
            assert metrics.auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_auc_of_nothing() -> None:
    with pytest.raises(DataError, match="only one kind"):
        metrics.auc([1.0, 2.0], [True, True])
    with pytest.raises(DataError, match="equally long"):
        metrics.auc([1.0, 2.0], [True])
    with pytest.raises(DataError, match="NaN"):
        metrics.auc([1.0, np.nan], [True, False])
