"""How runs are grouped for a comparison, and which of them can be compared."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recae.errors import ComparisonError, RecaeError
from recae.evaluation import Evaluation
from recae.ids import Ids
from recae.reports.rendering import leaderboard
from recae.reports.standings import Standings, apart, each_apart, each_led, group_names, told_apart
from recae.reports.texts import Wanted, sections
from recae.running import Cost

PROTOCOL = {"holdout": "one", "scale": [1.0, 5.0], "n": 3, "relevant": 4.0}
_MADE = iter(range(10_000))


def run(model: str, seed: int = 0, users: int = 12, **params: str) -> Any:
    """A run as it comes from a store; what begins with `protocol_` is of its evaluation."""
    number = next(_MADE)
    rng = np.random.default_rng(number)
    told = {k: params.pop(k) for k in list(params) if k.startswith("protocol_")}
    protocol = PROTOCOL | {key.removeprefix("protocol_"): value for key, value in told.items()}
    lists = rng.random(users)
    by_user = {"ndcg_at_3": lists}
    metrics = {"rmse": float("nan"), "ndcg_at_3": float(lists.mean())}
    return SimpleNamespace(
        run_id=f"run {number}",
        model=model,
        seed=seed,
        fold=None,
        params=params | {"seed": str(seed), "kind": model},
        cost=Cost(float(number), 100.0),
        evaluation=Evaluation(metrics, {}, protocol, Ids.of(range(users)), by_user),
    )


def standings(runs: list[Any], baseline: str | None = None) -> Standings:
    return Standings.of(runs, baseline, rng=np.random.default_rng(0), resamples=50)


def test_runs_that_differ_by_seed_are_one_group() -> None:
    runs = [run("mf", k="8"), run("mf", 1, k="8"), run("bias")]
    assert group_names(runs) == ["mf", "mf", "bias"]


def test_runs_with_other_settings_are_groups_of_their_own() -> None:
    runs = [run("mf", k="8", lr="1"), run("mf", k="4", lr="1"), run("bias")]
    assert group_names(runs) == ["mf k=8", "mf k=4", "bias"]


def test_a_setting_that_an_earlier_version_did_not_have() -> None:
    runs = [run("mf", k="8", clip="None"), run("mf", k="8")]
    assert group_names(runs) == ["mf clip=None", "mf clip=-"]


def test_many_settings_become_a_number_the_newest_first() -> None:
    new = dict.fromkeys("abcd", "1")
    old = dict.fromkeys("abcd", "0")
    runs = [run("mf", **new), run("mf", 1, **old), run("mf", 1, **new), run("mf", **old)]
    assert group_names(runs) == ["mf (1)", "mf (2)", "mf (1)", "mf (2)"]


def test_the_newest_of_runs_alike_is_kept_and_the_others_are_counted() -> None:
    runs = [run("mf"), run("bias"), run("mf", 1), run("mf"), run("mf", 1), run("mf")]
    found = standings(runs)
    assert found.groups == {"mf": [runs[0], runs[2]], "bias": [runs[1]]}
    assert found.repeats == 3
    assert found.runs == [runs[0], runs[2], runs[1]]
    assert found.comparison["mf"].runs == 2
    assert found.costs["mf"].seconds == (runs[0].cost.seconds + runs[2].cost.seconds) / 2
    assert found.evaluations["bias"] == [runs[1].evaluation]


def test_what_is_compared_with() -> None:
    assert standings([run("bias"), run("mf")]).comparison.baseline == "mf"
    assert standings([run("bias"), run("als")]).comparison.baseline == "bias"
    runs = [run("bias"), run("mf", k="8"), run("mf", k="4"), run("als", k="2")]
    assert standings(runs).comparison.baseline == "bias"
    assert standings(runs, "als").comparison.baseline == "als"
    assert standings(runs, "mf k=4").comparison.baseline == "mf k=4"


def test_a_model_with_several_groups_is_no_baseline() -> None:
    runs = [run("bias"), run("mf", k="8"), run("mf", k="4")]
    with pytest.raises(ComparisonError, match="'mf' stands for 2 groups: name one of 'mf k=8', "):
        standings(runs, "mf")
    with pytest.raises(ComparisonError, match="no 'ease' to compare with: there are bias, mf k=8"):
        standings(runs, "ease")


def test_settings_that_several_have_and_that_differ() -> None:
    runs = [
        run("mf", k="8", lr="1", own="x", **{"data.source": "here"}),
        run("als", k="16", lr="1", **{"data.source": "here"}),
        run("bias", **{"data.source": "here"}),
    ]
    assert standings(runs).settings == {"k": {"mf": "8", "als": "16"}}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"protocol_split": "other"}, "split differs"),
        ({"protocol_scale": [0.5, 5.0]}, "scale differs"),
        ({"protocol_candidates": "a hundred"}, "candidates differs"),
        ({"protocol_averaging": "over users"}, "averaging differs"),
        ({"users": 13}, "were scored on different users"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_and_stand_apart(
    changes: dict[str, Any], what: str
) -> None:
    runs = [run("mf"), run("dual", **changes), run("bias")]
    with pytest.raises(ComparisonError, match=what):
        standings(runs)
    assert apart(runs) == [[runs[0], runs[2]], [runs[1]]]


def test_each_is_compared_with_the_baseline_where_it_is_there() -> None:
    rng = np.random.default_rng(0)
    runs = [run("mf"), run("als"), run("bias", protocol_n=2), run("mf", protocol_n=2)]
    for each in (runs[2], runs[3]):
        by_user = each.evaluation.by_user
        each.evaluation.metrics["ndcg_at_2"] = each.evaluation.metrics["ndcg_at_3"]
        by_user["ndcg_at_2"] = by_user["ndcg_at_3"]
    found = each_apart(runs, "als", rng=rng)
    assert [each.comparison.baseline for each in found] == ["als", "mf"]
    assert told_apart(found) == [{"n": 3}, {"n": 2}]
    assert [each.comparison.baseline for each in each_apart(runs, None, rng=rng)] == ["mf", "mf"]
    with pytest.raises(ComparisonError, match="no 'ease' to compare with: there are mf, als"):
        each_apart(runs, "ease", rng=rng)


def test_other_users_keep_comparisons_apart_too() -> None:
    found = each_apart([run("mf"), run("mf", users=13)], None, rng=np.random.default_rng(0))
    assert told_apart(found) == [{"users": 12}, {"users": 13}]
    assert told_apart(found[:1]) == [{}]


def board(metric: str, by_user: bool, shift: float) -> list[tuple[str, ...]]:
    """Rank and model of a leaderboard of three: a and b alike, c other."""
    runs = [run(model) for model in "abc"]
    for place, each in enumerate(runs):
        values = np.full(12, 0.5) + shift * (place == 2) + 1e-3 * place * (-1) ** np.arange(12)
        told = {**each.evaluation.metrics, metric: float(values.mean()) + 1e-6 * place}
        own = {**each.evaluation.by_user, **({metric: values} if by_user else {})}
        each.evaluation = replace(each.evaluation, metrics=told, by_user=own)
    led = Standings.led(runs, metric, rng=np.random.default_rng(0))
    return [(row[0], row[1]) for row in leaderboard(led.comparison, led.costs, metric).rows]


def test_the_first_of_a_leaderboard_leads_where_neither_way_is_better() -> None:
    assert board("novelty_at_3", True, 0.2)[0] == ("1", "c")
    assert board("novelty_at_3", True, -0.2)[-1] == ("3", "c")


def test_ranks_are_shared_by_those_that_a_test_cannot_tell_apart() -> None:
    assert [rank for rank, _ in board("novelty_at_3", True, -0.2)] == ["1", "1", "3"]
    # A metric of all lists together is no mean over users: nothing is tested.
    assert [rank for rank, _ in board("gini_at_3", False, -0.2)] == ["1", "2", "3"]


def test_models_that_only_rank_are_led_by_their_lists() -> None:
    runs = [run("a"), run("b")]
    assert standings(runs).headline == ["ndcg_at_3"]
    led = Standings.led(runs, None, rng=np.random.default_rng(0))
    best = max(runs, key=lambda each: each.evaluation.metrics["ndcg_at_3"])
    assert led.comparison.baseline == best.model
    table = sections(led, Wanted())[0]
    assert table.rows[0][0] == best.model
    with pytest.raises(RecaeError, match=r"for 'rmse': the metrics are ndcg_at_3$"):
        Standings.led(runs, "rmse", rng=np.random.default_rng(0))


def test_stars_come_first_also_where_the_newest_run_only_ranks() -> None:
    runs = [run("popular"), run("mf"), run("bias")]
    for each, rmse in zip(runs[1:], (0.9, 0.8), strict=True):
        each.evaluation.metrics["rmse"] = rmse
    assert standings(runs).headline == ["rmse", "ndcg_at_3"]
    led = Standings.led(runs, None, rng=np.random.default_rng(0))
    assert led.comparison.baseline == "bias"


def test_a_leaderboard_is_of_those_who_have_the_metric() -> None:
    """Runs of another split need not have been scored by it."""
    runs = [run("a"), run("b"), run("c", protocol_split="other")]
    runs[1].evaluation.metrics["novelty_at_3"] = 2.0
    rng = np.random.default_rng(0)
    assert [list(each.groups) for each in each_led(runs, "novelty_at_3", rng=rng)] == [["a", "b"]]
    assert len(each_led(runs, None, rng=rng)) == 2
    with pytest.raises(RecaeError, match="no run has a value for 'rmse'"):
        each_led(runs, "rmse", rng=rng)


def test_folds_of_a_cross_validation_stay_together() -> None:
    """Each was asked other things; what was asked for only one of them stands apart."""

    def fold(model: str, number: int) -> Any:
        made = run(model, protocol_split=f"fold {number}", protocol_holdout=f"fold {number}")
        own = {k: np.ones(12) for k in ("ratings", "squared_error", "absolute_error")}
        counts = dict.fromkeys(("ordinary", "folded in", "fallback", "ratings"), 12)
        made.fold = number
        made.evaluation = replace(made.evaluation, by_user=own, counts=counts)
        return made

    both = [fold(model, number) for number in (1, 0) for model in "ab"]
    assert [len(some) for some in apart(both)] == [4]
    assert set(Standings.led(both, None, rng=np.random.default_rng(0)).groups) == {"a", "b"}
    assert [len(some) for some in apart([*both, fold("c", 0)])] == [4, 1]
    for each in both:
        del each.evaluation.by_user["ratings"]
    # What only ranks is not pooled.
    assert [len(some) for some in apart(both)] == [2, 2]


def test_a_model_without_the_metric_has_no_rank() -> None:
    runs = [run("a"), run("b")]
    runs[1].evaluation.metrics["interval_coverage"] = 0.9
    (led,) = each_led(runs, "interval_coverage", rng=np.random.default_rng(0))
    rows = leaderboard(led.comparison, led.costs, "interval_coverage").rows
    assert [row[:2] for row in rows] == [["1", "b"], ["-", "a"]]
