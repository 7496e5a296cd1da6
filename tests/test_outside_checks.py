"""The same numbers from scikit-learn, implicit and ranx where definitions agree, and small cases
by hand where they do not: these are the differences that docs/metrics.md lists."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recae import metrics
from recae.metrics import ranking

WITHIN = 1e-6


def without_ties(users: int, items: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(1.0, items + 1), (users, 1)), axis=1)


def one_user(scores: list[float], targets: list[int], n: int) -> metrics.Ranking:
    dense = np.isin(np.arange(len(scores)), targets)[None]
    return ranking(np.array([scores], dtype=np.float64), sparse.csr_array(dense), n)


# --- scikit-learn


def test_errors_agree_with_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    rng = np.random.default_rng(7)
    stars = rng.integers(1, 6, 500).astype(np.float32)
    predicted = (stars + rng.normal(size=500)).astype(np.float32)
    wide = stars.astype(np.float64), predicted.astype(np.float64)
    rmse, mae = root_mean_squared_error(*wide), mean_absolute_error(*wide)
    assert metrics.rmse(stars, predicted) == pytest.approx(rmse, abs=WITHIN)
    assert metrics.mae(stars, predicted) == pytest.approx(mae, abs=WITHIN)


def test_rmse_by_user_is_a_mean_of_roots_and_not_the_root_of_all() -> None:
    from sklearn.metrics import root_mean_squared_error

    users, stars, predicted = [0, 0, 0, 1], [1, 1, 1, 1], [2, 2, 2, 4]
    assert root_mean_squared_error(stars, predicted) == pytest.approx(np.sqrt(12 / 4))
    assert metrics.rmse_macro(users, stars, predicted) == pytest.approx((1 + 3) / 2)


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
        assert result.ndcg[row] == pytest.approx(theirs, abs=WITHIN)


def test_scikit_learn_gives_a_user_without_targets_0() -> None:
    from sklearn.metrics import ndcg_score

    dense = np.array([[True, False], [False, False]])
    scores = np.array([[2.0, 1.0], [2.0, 1.0]])
    assert ndcg_score(dense, scores) == 1 / 2
    assert np.nanmean(ranking(scores, sparse.csr_array(dense), 2).ndcg) == 1


def test_average_precision_of_whole_rankings_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

    scores = without_ties(30, 20, 1)
    dense = np.random.default_rng(2).random((30, 20)) < 0.2
    dense[:, 0] |= ~dense.any(axis=1)
    ours = ranking(scores, sparse.csr_array(dense), 20).average_precision
    theirs = [average_precision_score(*pair) for pair in zip(dense, scores, strict=True)]
    np.testing.assert_allclose(ours, theirs, atol=WITHIN)
    labels = label_ranking_average_precision_score(dense, scores)
    assert ours.mean() == pytest.approx(labels, abs=WITHIN)


def test_average_precision_of_ties_differs_from_scikit_learn() -> None:
    """A target tied with one other: at rank 1 or 2 for us, at the end of the tie for them."""
    from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

    scores, truth = [1.0, 1.0, 0.0], [True, False, False]
    assert one_user(scores, [0], 3).average_precision[0] == pytest.approx((1 + 1 / 2) / 2)
    assert average_precision_score(truth, scores) == 1 / 2
    assert label_ranking_average_precision_score([truth], [scores]) == 1 / 2


def test_auc_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    for levels in (2, 7, 10**6):
        for _ in range(20):
            scores = rng.integers(0, levels, 30) / 3
            truth = rng.permutation(np.arange(30) < rng.integers(1, 30))
            theirs = roc_auc_score(truth, scores)
            assert metrics.auc(scores, truth) == pytest.approx(theirs, abs=WITHIN)


def test_overlap_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import jaccard_score

    left, right = (np.argsort(without_ties(20, 12, seed))[:, :5] for seed in (4, 5))
    for mine, one, other in zip(metrics.overlap(left, right), left, right, strict=True):
        theirs = jaccard_score(np.isin(np.arange(12), one), np.isin(np.arange(12), other))
        assert mine == pytest.approx(theirs, abs=WITHIN)


def test_diversity_agrees_with_the_cosines_of_scikit_learn() -> None:
    """Except for a zero vector, which is at distance 1 from everything there."""
    from sklearn.metrics.pairwise import cosine_distances

    vectors = np.random.default_rng(8).normal(size=(12, 4))
    lists = np.argsort(without_ties(20, 12, 9))[:, :5]
    theirs = [cosine_distances(vectors[one])[np.triu_indices(5, 1)].mean() for one in lists]
    np.testing.assert_allclose(metrics.intra_list_diversity(lists, vectors), theirs, atol=WITHIN)

    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert cosine_distances(vectors)[np.triu_indices(3, 1)].tolist() == [0, 1, 1]
    assert metrics.intra_list_diversity([[0, 1, 2]], vectors).tolist() == [0]


# --- implicit


def by_implicit(
    scores_of: tuple[np.ndarray, np.ndarray], seen: np.ndarray, targets: np.ndarray, n: int
) -> dict[str, float]:
    """`implicit.evaluation` on a model of theirs with the factors ([U, K], [N, K])."""
    from implicit import evaluation
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=scores_of[0].shape[1], num_threads=1)
    model.user_factors, model.item_factors = scores_of
    found: dict[str, float] = evaluation.ranking_metrics_at_k(
        model,
        sparse.csr_matrix(seen.astype(np.float32)),
        sparse.csr_matrix(targets.astype(np.float32)),
        K=n,
        show_progress=False,
        num_threads=1,
    )
    return found


def ranked_as(scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """One user's factors with these scores."""
    return np.ones((1, 1), dtype=np.float32), np.array(scores, dtype=np.float32)[:, None]


NOTHING = np.zeros((1, 5), dtype=bool)


def test_rankings_agree_with_implicit() -> None:
    """NDCG and MAP; their precision is ours with min(n, T) below, pooled over users."""
    rng = np.random.default_rng(4)
    factors = tuple(rng.normal(size=(size, 8)).astype(np.float32) for size in (40, 60))
    scores = factors[0] @ factors[1].T
    seen = rng.random(scores.shape) < 0.1
    dense = (rng.random(scores.shape) < 0.12) & ~seen
    dense[7] = False
    theirs = by_implicit(factors, seen, dense, 10)
    ours = ranking(np.where(seen, -np.inf, scores), sparse.csr_array(dense), 10)
    assert np.nanmean(ours.ndcg) == pytest.approx(theirs["ndcg"], abs=WITHIN)
    assert np.nanmean(ours.average_precision) == pytest.approx(theirs["map"], abs=WITHIN)
    places = np.minimum(dense.sum(axis=1), 10)
    pooled = np.nansum(ours.recall_min * places) / places.sum()
    assert pooled == pytest.approx(theirs["precision"], abs=WITHIN)


def test_precision_of_implicit_by_hand() -> None:
    """Lists of 3 hold the only target of one user, and one of four of another."""
    targets = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 1, 1]], dtype=bool)
    factors = np.ones((2, 1), dtype=np.float32), np.arange(6, 0, -1, dtype=np.float32)[:, None]
    theirs = by_implicit(factors, np.zeros_like(targets), targets, 3)
    ours = ranking(factors[0] @ factors[1].T, sparse.csr_array(targets), 3)
    assert theirs["precision"] == pytest.approx(2 / (1 + 3))
    assert ours.precision.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert ours.recall_min.tolist() == pytest.approx([1, 1 / 3])


def test_auc_of_implicit_agrees_where_the_list_is_the_whole_catalogue() -> None:
    rng = np.random.default_rng(5)
    factors = tuple(rng.normal(size=(size, 3)).astype(np.float32) for size in (10, 12))
    scores = factors[0] @ factors[1].T
    dense = rng.random(scores.shape) < 0.3
    dense[:, 0], dense[:, 1] = True, False
    theirs = by_implicit(factors, np.zeros_like(dense), dense, 12)["auc"]
    ours = [metrics.auc(*pair) for pair in zip(scores, dense, strict=True)]
    assert np.mean(ours) == pytest.approx(theirs, abs=WITHIN)


def test_auc_of_implicit_by_hand() -> None:
    """Best and worst of five are targets: 3 of 6 pairs are in order. Below the list of 2, implicit
    has the target at random among the rest: 1 pair, and half of (1 + 2) times 2 more."""
    targets = np.array([[True, False, False, False, True]])
    theirs = by_implicit(ranked_as([5, 4, 3, 2, 1]), NOTHING, targets, 2)["auc"]
    assert metrics.auc([5, 4, 3, 2, 1], targets[0]) == 3 / 6
    assert theirs == pytest.approx((1 + (1 + 2) / 2 * 2) / 6)


def test_implicit_counts_what_was_seen_among_the_negatives_of_its_auc() -> None:
    """Two of five are seen: left out, two negatives are left; for implicit there are four."""
    targets = np.array([[False, False, False, True, False]])
    seen = np.array([[True, True, False, False, False]])
    theirs = by_implicit(ranked_as([5, 4, 3, 2, 1]), seen, targets, 2)["auc"]
    assert metrics.auc([3, 2, 1], [False, True, False]) == 1 / 2
    assert theirs == pytest.approx(3 / 4)


def test_implicit_breaks_ties_by_the_order_of_items() -> None:
    targets = np.eye(2, dtype=bool)
    theirs = [
        by_implicit(ranked_as([1, 1]), np.zeros((1, 2), dtype=bool), targets[[item]], 1)["ndcg"]
        for item in range(2)
    ]
    assert sorted(theirs) == [0, 1]
    assert [one_user([1, 1], [item], 1).ndcg[0] for item in range(2)] == [1 / 2, 1 / 2]


# --- ranx


@pytest.fixture(name="ranx")
def _ranx(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import numba

    # Compiling takes half a minute; these few lists need none.
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    import ranx

    return ranx


def by_ranx(
    ranx: ModuleType, scores: np.ndarray, targets: list[list[int]], names: list[str]
) -> dict[str, np.ndarray]:
    users = [f"u{user:02}" for user in range(len(targets))]
    qrels = {u: {f"i{i}": 1 for i in row} for u, row in zip(users, targets, strict=True)}
    run = {u: {f"i{i}": x for i, x in enumerate(row)} for u, row in zip(users, scores, strict=True)}
    found: Any = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names, return_mean=False)
    return found if len(names) > 1 else {names[0]: found}


def test_rankings_agree_with_ranx(ranx: ModuleType) -> None:
    """With as many targets as places at most, for the sake of MAP."""
    scores = without_ties(15, 20, 6)
    rng = np.random.default_rng(6)
    targets = [sorted(rng.permutation(20)[: 1 + row % 5].tolist()) for row in range(15)]
    dense = np.array([np.isin(np.arange(20), row) for row in targets])
    ours = ranking(scores, sparse.csr_array(dense), 5)
    same = {
        "ndcg@5": ours.ndcg,
        "recall@5": ours.recall,
        "precision@5": ours.precision,
        "map@5": ours.average_precision,
        "mrr@5": ours.reciprocal_rank,
        "hit_rate@5": ours.hit,
    }
    theirs = by_ranx(ranx, scores, targets, list(same))
    for name, values in same.items():
        np.testing.assert_allclose(values, theirs[name], atol=WITHIN, err_msg=name)


def test_average_precision_of_ranx_by_hand(ranx: ModuleType) -> None:
    """Three targets, a list of 2 that holds two of them: they divide by 3."""
    theirs = by_ranx(ranx, np.array([[4.0, 3.0, 2.0, 1.0]]), [[0, 1, 2]], ["map@2"])
    assert theirs["map@2"] == pytest.approx((1 + 1) / 3)
    assert one_user([4, 3, 2, 1], [0, 1, 2], 2).average_precision[0] == 1


def test_ranx_breaks_ties_by_the_order_of_items(ranx: ModuleType) -> None:
    theirs = [
        float(by_ranx(ranx, np.ones((1, 2)), [[item]], ["mrr@2"])["mrr@2"][0]) for item in range(2)
    ]
    assert sorted(theirs) == [1 / 2, 1]
    assert one_user([1, 1], [0], 2).reciprocal_rank[0] == pytest.approx(3 / 4)


def test_ranx_gives_a_user_without_targets_0(ranx: ModuleType) -> None:
    qrels = ranx.Qrels({"u0": {"i0": 1}, "u1": {"i0": 0}})
    run = ranx.Run({"u0": {"i0": 2.0, "i1": 1.0}, "u1": {"i0": 2.0, "i1": 1.0}})
    assert ranx.evaluate(qrels, run, "ndcg@2") == 1 / 2
