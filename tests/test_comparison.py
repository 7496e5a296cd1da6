"""The paired bootstrap against a slow one and against theory; Holm by hand; what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recae.comparison import (
    Difference,
    common_protocol,
    compare,
    direction,
    holm,
    pooled,
    resampling,
)
from recae.errors import ComparisonError
from recae.evaluation import Evaluation
from recae.ids import Ids

Floats = NDArray[np.float64]

STARS = ("rmse", "mae", "rmse_macro", "mae_macro")
PROTOCOL: dict[str, Any] = {
    "holdout": "one",
    "scale": [1.0, 5.0],
    "candidates": "all",
    "averaging": "stars over ratings, lists over users",
    "n": 10,
    "relevant": 4.0,
}


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scored(errors: list[Floats] | None, ndcg: Floats | list[float], **protocol: Any) -> Evaluation:
    """What `evaluate` would give for errors by user (None: only ranks) and NDCG by user."""
    lists = np.asarray(ndcg, dtype=np.float64)
    by_user: dict[str, Floats] = {"ndcg_at_10": lists}
    ranked = ~np.isnan(lists)
    metrics = {
        "rmse": float("nan"),
        "mae": float("nan"),
        "rmse_macro": float("nan"),
        "mae_macro": float("nan"),
        "ndcg_at_10": float(lists[ranked].mean()) if ranked.any() else float("nan"),
    }
    if errors is not None:
        every = np.concatenate(errors)
        metrics |= {
            "rmse": float(np.sqrt(np.mean(every**2))),
            "mae": float(np.mean(np.abs(every))),
            "rmse_macro": float(np.mean([np.sqrt(np.mean(e**2)) for e in errors])),
            "mae_macro": float(np.mean([np.mean(np.abs(e)) for e in errors])),
        }
        by_user |= {
            "ratings": np.array([len(e) for e in errors], dtype=np.float64),
            "squared_error": np.array([(e**2).sum() for e in errors]),
            "absolute_error": np.array([np.abs(e).sum() for e in errors]),
        }
    return Evaluation(
        metrics, {}, PROTOCOL | protocol, Ids.of(range(100, 100 + len(lists))), by_user
    )


def errors_of(rng: np.random.Generator, counts: NDArray[np.int64], spread: float) -> list[Floats]:
    return [rng.normal(0, spread, count) for count in counts]


@pytest.fixture
def groups() -> dict[str, list[Evaluation]]:
    """Two seeds each of three models, 23 users with 1 to 6 ratings, some without relevant ones."""
    rng = rng_of(2)
    counts = rng.integers(1, 7, 23)
    lists = {name: rng.random((2, 23)) for name in "abc"}
    for values in lists.values():
        values[:, ::5] = np.nan
    spreads = {"a": 1.0, "b": 0.95, "c": 1.1}
    return {
        name: [scored(errors_of(rng, counts, spread), lists[name][seed]) for seed in range(2)]
        for name, spread in spreads.items()
    }


def slow(
    groups: dict[str, list[Evaluation]], metric: str, drawn: NDArray[np.int64]
) -> dict[str, Floats]:
    """By group its metric in every resample, users drawn with replacement; [B] each."""

    def value_of_one(run: Evaluation, user: int) -> float:
        source = {"rmse_macro": "squared_error", "mae_macro": "absolute_error"}[metric]
        mean = run.by_user[source][user] / run.by_user["ratings"][user]
        return float(np.sqrt(mean) if metric == "rmse_macro" else mean)

    def value(run: Evaluation, users: NDArray[np.int64]) -> float:
        if metric == "ndcg_at_10":
            return float(np.nanmean(run.by_user[metric][users]))
        if metric.endswith("_macro"):
            return float(np.mean([value_of_one(run, user) for user in users]))
        source = {"rmse": "squared_error", "mae": "absolute_error"}[metric]
        mean = run.by_user[source][users].sum() / run.by_user["ratings"][users].sum()
        return float(np.sqrt(mean) if metric == "rmse" else mean)

    return {
        name: np.array([np.mean([value(run, users) for run in runs]) for users in drawn])
        for name, runs in groups.items()
    }


@pytest.mark.parametrize("block", [4_000_000, 23 * 7])
def test_intervals_are_those_of_a_slow_bootstrap(
    groups: dict[str, list[Evaluation]], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "_BLOCK", block)
    found = compare(groups, baseline="b", rng=rng_of(7), resamples=300)
    rng = rng_of(7)
    able = np.flatnonzero(~np.isnan(groups["a"][0].by_user["ndcg_at_10"]))
    # The same draws for all metrics in which the same users count.
    of_stars = rng.integers(23, size=(300, 23))
    of_lists = able[rng.integers(len(able), size=(300, len(able)))]
    for metric in ("rmse", "mae", "rmse_macro", "mae_macro", "ndcg_at_10"):
        drawn = of_lists if metric.startswith("ndcg") else of_stars
        values = slow(groups, metric, drawn)
        for name in "ac":
            expected = np.percentile(values[name] - values["b"], [2.5, 97.5])
            difference = found[name].differences[metric]
            assert [difference.low, difference.high] == pytest.approx(expected.tolist())
            shares = [
                (np.sum(side) + 1) / 301
                for side in (values[name] <= values["b"], values[name] >= values["b"])
            ]
            assert difference.p == pytest.approx(min(1, 2 * min(shares)))
            means = [np.mean([run.metrics[metric] for run in groups[g]]) for g in (name, "b")]
            assert difference.value == pytest.approx(means[0] - means[1])
    assert found["b"].differences == {}
    assert found.baseline == "b"


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    rng = rng_of(4)
    base = rng.random(3000)
    shift = rng.normal(0.01, 0.2, 3000)
    runs = {"base": scored(None, base), "other": scored(None, base + shift)}
    found = compare(runs, baseline="base", rng=rng_of(), resamples=4000)["other"]
    difference = found.differences["ndcg_at_10"]
    half = 1.96 * shift.std(ddof=1) / np.sqrt(3000)
    assert difference.value == pytest.approx(shift.mean())
    assert difference.low == pytest.approx(shift.mean() - half, abs=0.06 * half)
    assert difference.high == pytest.approx(shift.mean() + half, abs=0.06 * half)


def test_the_interval_of_an_rmse_agrees_with_the_delta_method() -> None:
    """Var(sqrt(S/N)) for sums over users: the variance of (s_u - mse * n_u) / (2 rmse mean(n))."""
    rng = rng_of(5)
    counts = rng.integers(1, 20, 2000)
    shared = errors_of(rng, counts, 0.9)
    other = [e + rng.normal(0, 0.2, len(e)) for e in shared]
    runs = {"base": scored(shared, [0.0] * 2000), "other": scored(other, [0.0] * 2000)}
    found = compare(runs, baseline="base", rng=rng_of(), resamples=3000)["other"]
    parts = [
        ((run.by_user["squared_error"] - run.metrics["rmse"] ** 2 * counts) / run.metrics["rmse"])
        for run in (runs["other"], runs["base"])
    ]
    half = 1.96 * (parts[0] - parts[1]).std() / (2 * counts.mean()) / np.sqrt(2000)
    difference = found.differences["rmse"]
    assert difference.high - difference.low == pytest.approx(2 * half, rel=0.07)
    assert difference.low > 0


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = rng_of(6)
    covered = 0
    for _ in range(200):
        base = rng.random(80)
        runs = {"base": scored(None, base), "other": scored(None, base + rng.normal(0.05, 0.3, 80))}
        difference = compare(runs, baseline="base", rng=rng, resamples=400)["other"].differences
        covered += difference["ndcg_at_10"].low <= 0.05 <= difference["ndcg_at_10"].high
    assert 180 <= covered <= 199


def test_p_is_uniform_where_there_is_no_difference() -> None:
    rng = rng_of(8)
    found = []
    for _ in range(200):
        base = rng.random(80)
        runs = {"base": scored(None, base), "other": scored(None, base + rng.normal(0, 0.3, 80))}
        row = compare(runs, baseline="base", rng=rng, resamples=400)["other"]
        found.append(row.differences["ndcg_at_10"].p)
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_a_model_against_itself() -> None:
    rng = rng_of(1)
    run = scored(errors_of(rng, rng.integers(1, 5, 30), 1.0), rng.random(30))
    differences = compare({"a": run, "b": run}, baseline="a", rng=rng)["b"].differences
    same = Difference(0, 0, 0, 1, 1, 0, 0, 30, 0, "no difference")
    assert differences == dict.fromkeys([*STARS, "ndcg_at_10"], same)


def test_a_clearly_better_model() -> None:
    rng = rng_of(1)
    counts = rng.integers(2, 8, 200)
    worse = errors_of(rng, counts, 1.0)
    better = [0.9 * e for e in worse]
    runs = {"mf": scored(worse, [0.2] * 200), "dual": scored(better, [0.3] * 200)}
    found = compare(runs, baseline="mf", rng=rng)["dual"].differences
    assert found["rmse"].value == pytest.approx(-0.1 * runs["mf"].metrics["rmse"])
    assert found["rmse"].low < found["rmse"].value < found["rmse"].high < 0
    assert found["mae"].high < 0
    assert found["ndcg_at_10"].low == pytest.approx(0.1)
    # 10,000 resamples, none of them on the far side.
    assert found["rmse"].p == pytest.approx(2 / 10_001)


def test_the_same_generator_gives_the_same_comparison(groups: dict[str, list[Evaluation]]) -> None:
    one, two = (compare(groups, baseline="a", rng=rng_of(3), resamples=100) for _ in range(2))
    assert [row.differences for row in one.rows] == [row.differences for row in two.rows]
    other = compare(groups, baseline="a", rng=rng_of(4), resamples=100)
    assert one["b"].differences["rmse"].low != other["b"].differences["rmse"].low


def test_runs_of_other_seeds_are_one_group(groups: dict[str, list[Evaluation]]) -> None:
    found = compare(groups, baseline="a", rng=rng_of(), resamples=100)
    assert [(row.name, row.runs) for row in found.rows] == [("a", 2), ("b", 2), ("c", 2)]
    first, second = (run.metrics["rmse"] for run in groups["c"])
    mean, spread = found["c"].metrics["rmse"]
    assert mean == pytest.approx((first + second) / 2)
    assert spread == pytest.approx(abs(first - second) / np.sqrt(2))
    alone = compare({"a": groups["a"], "b": groups["b"][0]}, baseline="a", rng=rng_of())
    assert alone["b"].runs == 1
    assert np.isnan(alone["b"].metrics["rmse"][1])


def test_users_without_lists_do_not_spoil_the_interval() -> None:
    """Few users with relevant targets among many: resamples without any of them say nothing."""
    ndcg = np.full(40, np.nan)
    ndcg[[3, 7, 20]] = [0.1, 0.5, 0.9]
    runs = {"base": scored(None, ndcg), "other": scored(None, ndcg + 0.1)}
    difference = compare(runs, baseline="base", rng=rng_of(), resamples=500)["other"].differences
    assert difference["ndcg_at_10"].value == pytest.approx(0.1)
    assert difference["ndcg_at_10"].low == pytest.approx(0.1)
    assert difference["ndcg_at_10"].high == pytest.approx(0.1)


def test_nobody_with_lists() -> None:
    rng = rng_of()
    counts = rng.integers(1, 5, 12)
    runs = {n: scored(errors_of(rng, counts, 1), np.full(12, np.nan)) for n in ("base", "other")}
    found = compare(runs, baseline="base", rng=rng, resamples=50)["other"].differences
    assert set(found) == set(STARS)


# --- for how many users, and the verdict


def lists_of(values: list[float]) -> Evaluation:
    return scored(None, values)


def test_wins_ties_and_effect_by_hand() -> None:
    base, other = [0.5, 0.2, 0.4, np.nan, 0.0], [0.7, 0.2, 0.3, np.nan, 0.4]
    runs = {"mf": lists_of(base), "dual": lists_of(other)}
    found = compare(runs, baseline="mf", rng=rng_of())["dual"].differences["ndcg_at_10"]
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    by_user = np.array([0.2, 0.0, -0.1, 0.4])
    assert found.effect == pytest.approx(by_user.mean() / by_user.std(ddof=1))
    assert found.verdict == "no difference"


def test_a_smaller_error_is_a_win() -> None:
    worse = [np.array([1.0, -1.0]), np.array([0.5]), np.array([2.0])]
    better = [np.array([0.5, 0.5]), np.array([0.6]), np.array([2.0])]
    runs = {"mf": scored(worse, [0.1] * 3), "dual": scored(better, [0.1] * 3)}
    found = compare(runs, baseline="mf", rng=rng_of())["dual"].differences["rmse"]
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    by_user = np.array([-0.5, 0.1, 0.0])
    assert found.effect == pytest.approx(by_user.mean() / by_user.std(ddof=1))


def test_a_user_counts_with_the_mean_over_seeds() -> None:
    runs = {
        "mf": [lists_of([0.5, 0.5]), lists_of([0.5, 0.5])],
        "dual": [lists_of([0.9, 0.4]), lists_of([0.2, 0.6])],
    }
    found = compare(runs, baseline="mf", rng=rng_of())["dual"].differences["ndcg_at_10"]
    assert (found.wins, found.ties, found.losses) == (1, 1, 0)


@pytest.mark.parametrize(
    ("metric", "shift", "verdict"),
    [
        ("ndcg_at_10", 0.2, "better"),
        ("ndcg_at_10", -0.2, "worse"),
        ("ndcg_at_10", 0.0, "no difference"),
        ("miscalibration_at_10", -0.2, "better"),
        ("novelty_at_10", -0.2, "lower"),
        ("novelty_at_10", 0.2, "higher"),
    ],
)
def test_verdicts(metric: str, shift: float, verdict: str) -> None:
    rng = rng_of(5)
    base = rng.random(60)

    def run(values: Floats) -> Evaluation:
        made = scored(None, values)
        return replace(made, metrics={metric: float(values.mean())}, by_user={metric: values})

    runs = {"mf": run(base), "dual": run(base + shift + rng.normal(0, 0.1, 60))}
    found = compare(runs, baseline="mf", rng=rng)["dual"].differences[metric]
    assert found.verdict == verdict
    assert (found.wins > found.losses) == (shift * (direction(metric) or 1) > 0) or not shift


def test_the_verdict_is_that_of_the_corrected_p() -> None:
    """Of many models that are all alike, one or another would be `better` without correction."""
    rng = rng_of(1)
    base = rng.random(80)
    runs = {"mf": lists_of(list(base))} | {
        f"m{i}": lists_of(list(base + rng.normal(0, 0.3, 80))) for i in range(60)
    }
    found = compare(runs, baseline="mf", rng=rng, resamples=4000)
    differences = [found[f"m{i}"].differences["ndcg_at_10"] for i in range(60)]
    assert any(d.p < 0.05 for d in differences)
    assert {d.verdict for d in differences} == {"no difference"}


@pytest.mark.parametrize(("users", "p"), [(1, 1), (3, 1 / 4), (5, 1 / 16), (8, 1 / 128)])
def test_a_few_users_who_agree_are_no_proof(users: int, p: float) -> None:
    """Every resample of them is on one side; but n signs are all the same in one of 2^(n-1)."""
    base = rng_of().random(users)
    runs = {"mf": lists_of(list(base)), "dual": lists_of(list(base + 0.1))}
    found = compare(runs, baseline="mf", rng=rng_of())["dual"].differences["ndcg_at_10"]
    assert found.p == pytest.approx(p)
    assert found.verdict == ("better" if p < 0.05 else "no difference")


def test_one_user_has_no_interval() -> None:
    runs = {"mf": lists_of([0.5, np.nan]), "dual": lists_of([0.7, np.nan])}
    found = compare(runs, baseline="mf", rng=rng_of())["dual"].differences["ndcg_at_10"]
    assert found.value == pytest.approx(0.2)
    assert np.isnan([found.low, found.high]).all()


# --- Holm


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.04], [0.04]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.001, 0.9, 0.5], [0.003, 1.0, 1.0]),
    ],
)
def test_holm_by_hand(p: list[float], corrected: list[float]) -> None:
    assert holm(p) == pytest.approx(corrected)


def test_differences_are_corrected_for_their_number(groups: dict[str, list[Evaluation]]) -> None:
    found = compare(groups, baseline="a", rng=rng_of(), resamples=200)
    for metric in ("rmse", "mae", "ndcg_at_10"):
        differences = [found[name].differences[metric] for name in "bc"]
        assert [d.p_holm for d in differences] == pytest.approx(holm([d.p for d in differences]))


# --- models that only rank


def test_a_model_that_only_ranks_is_compared_by_its_lists() -> None:
    rng = rng_of()
    counts, ndcg = rng.integers(1, 5, 20), rng.random(20)
    runs = {
        "mf": scored(errors_of(rng, counts, 1), ndcg),
        "popular": scored(None, ndcg / 2),
        "dual": scored(errors_of(rng, counts, 1), ndcg),
    }
    found = compare(runs, baseline="mf", rng=rng, resamples=100)
    assert set(found["popular"].differences) == {"ndcg_at_10"}
    assert set(found["dual"].differences) == {*STARS, "ndcg_at_10"}
    # A model without stars is no comparison of stars: nothing to correct for.
    assert found["dual"].differences["rmse"].p_holm == found["dual"].differences["rmse"].p
    assert np.isnan(found["popular"].metrics["rmse"][0])


def test_a_baseline_that_only_ranks() -> None:
    rng = rng_of()
    ndcg = rng.random(20)
    runs = {
        "popular": scored(None, ndcg),
        "mf": scored(errors_of(rng, rng.integers(1, 5, 20), 1), ndcg + 0.1),
    }
    found = compare(runs, baseline="popular", rng=rng, resamples=100)
    assert set(found["mf"].differences) == {"ndcg_at_10"}
    assert found["mf"].metrics["rmse"][0] > 0


# --- folds


def folds_of(rng: np.random.Generator, model: int) -> tuple[list[Evaluation], list[list[Floats]]]:
    """Three folds over users 0..8, each with targets of some of them, and the errors by user."""
    asked = [(0, 1, 2, 5), (1, 2, 3, 4, 5), (0, 2, 6, 7, 8)]
    errors: list[list[Floats]] = [[] for _ in range(9)]
    folds = []
    for number, users in enumerate(asked):
        theirs = errors_of(rng, np.arange(1, len(users) + 1), 1 + 0.1 * model)
        for user, each in zip(users, theirs, strict=True):
            errors[user].append(each)
        fold = scored(theirs, [0.5] * len(users), holdout=f"fold {number}", split=f"{number}")
        folds.append(replace(fold, users=Ids.of(users), counts={"ratings": sum(map(len, theirs))}))
    return folds, errors


def test_pooled_folds_are_one_evaluation_of_all_their_ratings() -> None:
    rng = rng_of(3)
    found, whole = {}, {}
    for model, name in enumerate(("mf", "dual")):
        folds, errors = folds_of(rng, model)
        found[name] = pooled(folds)
        whole[name] = scored([np.concatenate(each) for each in errors], [np.nan] * 9)
        for metric in ("rmse", "mae"):
            assert found[name].metrics[metric] == pytest.approx(whole[name].metrics[metric])
        assert found[name].users == Ids.of(range(9))
        assert found[name].counts == {"ratings": 10 + 15 + 15, "ranked users": 0}
        assert found[name].protocol["holdout"] == ["fold 0", "fold 1", "fold 2"]
        assert found[name].protocol["scale"] == [1.0, 5.0]
    one, other = (
        compare(runs, baseline="mf", rng=rng_of(5), resamples=200)["dual"].differences
        for runs in (found, whole)
    )
    assert set(one) == {"rmse", "mae"}
    for metric in one:
        assert one[metric].value == pytest.approx(other[metric].value)
        assert one[metric].low == pytest.approx(other[metric].low)
        assert one[metric].high == pytest.approx(other[metric].high)


def test_pooling_one_fold_changes_no_number() -> None:
    (fold, *_), _ = folds_of(rng_of(), 0)
    alone = pooled([fold])
    assert alone.protocol == fold.protocol
    assert alone.metrics["rmse"] == pytest.approx(fold.metrics["rmse"])


def test_what_is_no_cross_validation_is_not_pooled() -> None:
    (one, other, _), _ = folds_of(rng_of(), 0)
    with pytest.raises(ComparisonError, match="two of the folds are the same"):
        pooled([one, other, one])
    odd = replace(other, protocol=other.protocol | {"scale": [0.5, 5.0]})
    with pytest.raises(ComparisonError, match="scale differs"):
        pooled([one, odd])
    lists = {"ndcg_at_10": other.by_user["ndcg_at_10"]}
    with pytest.raises(ComparisonError, match="only ranks has no errors"):
        pooled([one, replace(other, by_user=lists)])


# --- refusals


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scale", [0.5, 5.0], "scale differs ([1.0, 5.0] and [0.5, 5.0])"),
        ("n", 20, "n differs (10 and 20)"),
        ("relevant", 3.0, "relevant differs (4.0 and 3.0)"),
        ("holdout", "two", "holdout differs (one and two)"),
        ("split", "abc", "split differs (None and abc)"),
        ("candidates", "some", "candidates differs (all and some)"),
        ("averaging", "macro", "averaging differs"),
    ],
)
def test_what_differs_is_named(key: str, value: Any, said: str) -> None:
    runs = {"mf": scored(None, [0.1, 0.2]), "dual": scored(None, [0.1, 0.2], **{key: value})}
    with pytest.raises(ComparisonError) as refused:
        compare(runs, baseline="mf", rng=rng_of())
    assert str(refused.value).startswith("mf and dual cannot be compared: ")
    assert said in str(refused.value)


def test_other_users_are_refused() -> None:
    run = scored(None, [0.1, 0.2])
    other = replace(run, users=Ids.of([100, 999]))
    with pytest.raises(ComparisonError, match="mf and dual were scored on different users"):
        compare({"mf": run, "dual": other}, baseline="mf", rng=rng_of())


def test_seeds_of_one_group_must_share_the_protocol_too() -> None:
    runs = [scored(None, [0.1, 0.2]), scored(None, [0.1, 0.2], split="abc")]
    with pytest.raises(ComparisonError, match="split differs"):
        compare({"mf": runs}, baseline="mf", rng=rng_of())


def test_an_unknown_baseline() -> None:
    with pytest.raises(ComparisonError, match="no 'als' to compare with: there are mf, dual"):
        compare(
            {"mf": scored(None, [0.1]), "dual": scored(None, [0.1])}, baseline="als", rng=rng_of()
        )


def test_the_shared_protocol_is_kept() -> None:
    runs = {"mf": [scored(None, [0.1])], "dual": [scored(None, [0.2])]}
    assert common_protocol(runs) == PROTOCOL
    assert compare(runs, baseline="mf", rng=rng_of(), resamples=10).protocol == PROTOCOL


def test_a_comparison_of_one() -> None:
    found = compare({"mf": scored(None, [0.1, 0.4])}, baseline="mf", rng=rng_of())
    assert found["mf"].differences == {}
    assert found["mf"].metrics["ndcg_at_10"][0] == pytest.approx(0.25)
