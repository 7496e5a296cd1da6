"""`run`: every model with every seed, in order, told to whoever listens and kept by the tracker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.errors import ComparisonError, DataError, RecaeError, RecipeError
from recae.evaluation import ERRORS, RANKING, evaluate
from recae.nn.training import Progress
from recae.ratings import Ratings
from recae.recipes import EvaluationRecipe, IntervalsRecipe, RandomSplit, Recipe, parse
from recae.running import Listener, Outcome, Plan, Report, Untracked, run

TINY_MF = {"kind": "mf", "k": 3, "training": {"steps": 4, "reports": 2}}


def write_ratings(path: Path, n_users: int = 14, n_items: int = 10) -> Path:
    """Half stars with times, users 1.., items 101..; every user has at least four ratings."""
    rng = np.random.default_rng(0)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(1, n_users + 1):
        for item in np.sort(rng.choice(n_items, rng.integers(4, n_items - 1), replace=False)):
            lines.append(f"{user},{101 + item},{rng.integers(1, 11) / 2},{rng.integers(10**9)}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return parse(
        {
            "name": "tiny",
            "data": {"source": str(write_ratings(tmp_path / "ratings.csv")), "scale": [0.5, 5]},
            "split": {"kind": "random", "test": 0.3, "validation": 0.1},
            "seeds": [0, 7],
            "baseline": "bias",
            "model": [TINY_MF, {"kind": "bias"}, {"kind": "popular"}],
        }
    )


@pytest.fixture
def report(recipe: Recipe) -> Report:
    return run(recipe)


def test_every_model_with_every_seed(report: Report, recipe: Recipe) -> None:
    order = [(o.plan.model, o.plan.seed) for o in report.outcomes]
    assert order == [(m, s) for s in (0, 7) for m in ("mf", "bias", "popular")]
    for outcome in report.outcomes:
        plan = outcome.plan
        assert plan.recipe == recipe.resolved
        assert plan.recipe_digest == recipe.digest
        assert plan.data_digest == report.ratings.digest
        assert plan.split_digest == report.split.digest
        assert plan.kind == plan.model
        assert outcome.cost.seconds > 0
        assert outcome.run_id is None
        assert outcome.evaluation.protocol["split"] == report.split.digest
    assert report.outcomes[0].plan.params["k"] == 3


def test_outcomes_are_what_evaluate_says_of_their_models(report: Report) -> None:
    for outcome in report.outcomes:
        again = evaluate(outcome.model, report.split.test)
        assert outcome.evaluation.metrics == pytest.approx(again.metrics, nan_ok=True)
        assert outcome.evaluation.counts == again.counts


def test_seeds_are_the_models_and_not_the_splits(report: Report) -> None:
    rmse = {(o.plan.model, o.plan.seed): o.evaluation.metrics["rmse"] for o in report.outcomes}
    assert rmse["bias", 0] == rmse["bias", 7]
    assert rmse["mf", 0] != rmse["mf", 7]


def test_the_same_recipe_gives_the_same_results(report: Report, recipe: Recipe) -> None:
    again = run(recipe)
    for one, two in zip(report.outcomes, again.outcomes, strict=True):
        assert one.evaluation.metrics == pytest.approx(two.evaluation.metrics, nan_ok=True, abs=0)
        assert one.evaluation.protocol == two.evaluation.protocol
    assert [r.differences for r in report.comparison.rows] == [
        r.differences for r in again.comparison.rows
    ]


def test_a_seed_does_not_depend_on_those_before_it(report: Report, recipe: Recipe) -> None:
    alone = run(replace(recipe, seeds=[7])).outcomes[0].evaluation.metrics
    assert alone == pytest.approx(report.outcomes[3].evaluation.metrics, abs=0)


def test_models_are_compared_with_the_baseline(report: Report, recipe: Recipe) -> None:
    comparison = report.comparison
    assert comparison.baseline == "bias"
    assert [(row.name, row.runs) for row in comparison.rows] == [
        ("mf", 2),
        ("bias", 2),
        ("popular", 2),
    ]
    values = [o.evaluation.metrics["rmse"] for o in report.outcomes if o.plan.model == "mf"]
    mean, spread = comparison["mf"].metrics["rmse"]
    assert mean == pytest.approx(np.mean(values))
    assert spread == pytest.approx(np.std(values, ddof=1))
    difference = comparison["mf"].differences["rmse"]
    assert difference.value == pytest.approx(mean - comparison["bias"].metrics["rmse"][0])
    ranked = {f"{name}_at_10" for name in RANKING}
    taste = {f"{name}_at_10" for name in ("novelty", "popularity_lift", "serendipity")}
    assert set(comparison["popular"].differences) == ranked | taste
    assert set(comparison["mf"].differences) == ranked | taste | set(ERRORS)
    assert comparison.protocol["split"] == report.split.digest


def test_without_a_baseline_the_first_model_is_it(recipe: Recipe) -> None:
    assert run(replace(recipe, baseline=None, seeds=[0])).comparison.baseline == "mf"


def test_evaluation_settings_are_used(recipe: Recipe) -> None:
    settings = replace(recipe.evaluation, n=3, relevant=2.5)
    found = run(replace(recipe, evaluation=settings, seeds=[0])).outcomes[0].evaluation
    assert (found.n, found.protocol["relevant"]) == (3, 2.5)
    assert "ndcg_at_3" in found.metrics


def test_the_report_finds_models_and_seconds(report: Report) -> None:
    assert report.model("mf") is report.outcomes[0].model
    assert list(report.costs) == ["mf", "bias", "popular"]
    mean = (report.outcomes[0].cost.seconds + report.outcomes[3].cost.seconds) / 2
    assert report.costs["mf"].seconds == pytest.approx(mean)


def test_runs_of_other_splits_cannot_be_compared(recipe: Recipe) -> None:
    """Even where the test ratings are the same and only the training ratings differ."""
    from recae.comparison import compare

    one = run(replace(recipe, seeds=[0])).outcomes[1].evaluation
    other = replace(one, protocol=one.protocol | {"split": "another"})
    with pytest.raises(ComparisonError, match="split differs"):
        compare({"a": one, "b": other}, baseline="a", rng=np.random.default_rng(0))


# --- who listens


def test_callbacks_come_in_order(recipe: Recipe) -> None:
    heard: list[tuple[Any, ...]] = []

    def on_data(ratings: Ratings, split: Any) -> None:
        heard.append(("data", len(ratings)))

    def on_start(plan: Plan) -> None:
        heard.append(("start", plan.model, plan.seed))

    def on_progress(plan: Plan, progress: Progress) -> None:
        assert set(progress.metrics) == {"train/rmse", "val/rmse"}
        heard.append(("progress", plan.model, plan.seed, progress.step, progress.steps))

    def on_finish(outcome: Outcome) -> None:
        heard.append(("finish", outcome.plan.model, outcome.plan.seed))

    report = run(recipe, listener=Listener(on_data, on_start, on_progress, on_finish))
    expected: list[tuple[Any, ...]] = [("data", len(report.ratings))]
    for seed in (0, 7):
        expected += [
            ("start", "mf", seed),
            ("progress", "mf", seed, 2, 4),
            ("progress", "mf", seed, 4, 4),
            ("finish", "mf", seed),
        ]
        for model in ("bias", "popular"):
            expected += [("start", model, seed), ("finish", model, seed)]
    assert heard == expected


def test_listening_changes_nothing(report: Report, recipe: Recipe) -> None:
    def on_progress(plan: Plan, progress: Progress) -> None:
        np.random.default_rng().random()

    heard = run(recipe, listener=Listener(on_progress=on_progress))
    for one, two in zip(report.outcomes, heard.outcomes, strict=True):
        assert one.evaluation.metrics == pytest.approx(two.evaluation.metrics, nan_ok=True, abs=0)


# --- who keeps


class Memory:
    """A tracker that remembers what happened, and may know finished runs and a checkpoint."""

    def __init__(self, done: list[Outcome] | None = None, checkpoint: Path | None = None) -> None:
        self.done = {(o.plan.model, o.plan.seed): o for o in done or []}
        self.said: list[Any] = []
        self.run_id: str | None = None
        self.checkpoint = checkpoint
        self.spent = 2.5 if checkpoint else 0.0

    def finished(self, plan: Plan) -> Outcome | None:
        return self.done.get((plan.model, plan.seed))

    @contextmanager
    def run(self, plan: Plan) -> Iterator[Memory]:
        self.run_id = f"{plan.model}-{plan.seed}"
        self.said.append(f"open {self.run_id}")
        try:
            yield self
        except BaseException as trouble:
            self.said.append(f"failed {type(trouble).__name__}")
            raise
        self.said.append("close")

    def progress(self, progress: Progress) -> None:
        self.said.append(progress.step)

    def finish(self, outcome: Outcome) -> None:
        self.said.append(f"finish {outcome.run_id}")


def test_the_tracker_sees_every_run(recipe: Recipe) -> None:
    memory = Memory()
    report = run(replace(recipe, seeds=[0]), tracker=memory)
    assert memory.said == [
        *("open mf-0", 2, 4, "finish mf-0", "close"),
        *("open bias-0", "finish bias-0", "close"),
        *("open popular-0", "finish popular-0", "close"),
    ]
    assert [o.run_id for o in report.outcomes] == ["mf-0", "bias-0", "popular-0"]


def test_finished_runs_are_not_repeated(report: Report, recipe: Recipe) -> None:
    memory = Memory(done=report.outcomes[:4])
    heard: list[str] = []
    again = run(
        recipe,
        tracker=memory,
        listener=Listener(
            on_start=lambda plan: heard.append(f"start {plan.model}"),
            on_finish=lambda outcome: heard.append(f"finish {outcome.plan.model}"),
        ),
    )
    assert [line for line in memory.said if str(line).startswith("open")] == [
        "open bias-7",
        "open popular-7",
    ]
    assert heard == [
        *("finish mf", "finish bias", "finish popular", "finish mf"),
        *("start bias", "finish bias", "start popular", "finish popular"),
    ]
    assert again.outcomes[0] is report.outcomes[0]
    assert [r.differences for r in again.comparison.rows] == [
        r.differences for r in report.comparison.rows
    ]


def test_an_interrupted_run_goes_on_from_its_checkpoint(
    report: Report, recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"

    def on_progress(plan: Plan, progress: Progress) -> None:
        progress.save(path)
        raise KeyboardInterrupt

    memory = Memory()
    only_mf = replace(recipe, model=recipe.model[:1], baseline=None, seeds=[0])
    with pytest.raises(KeyboardInterrupt):
        run(only_mf, tracker=memory, listener=Listener(on_progress=on_progress))
    assert memory.said == ["open mf-0", 2, "failed KeyboardInterrupt"]
    steps: list[int] = []
    resumed = run(
        only_mf,
        tracker=Memory(checkpoint=path),
        listener=Listener(on_progress=lambda plan, progress: steps.append(progress.step)),
    )
    assert steps == [4]
    found = resumed.outcomes[0].evaluation.metrics
    assert found == pytest.approx(report.outcomes[0].evaluation.metrics)


def test_untracked_keeps_nothing(report: Report) -> None:
    tracker = Untracked()
    plan = report.outcomes[0].plan
    assert tracker.finished(plan) is None
    with tracker.run(plan) as tracked:
        assert (tracked.run_id, tracked.checkpoint) == (None, None)
        tracked.finish(report.outcomes[0])
    assert tracker.finished(plan) is None


# --- what goes wrong


def test_data_that_are_not_there(recipe: Recipe) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        run(replace(recipe, data=replace(recipe.data, source="nowhere.csv")))


def test_training_that_diverges_says_what_to_do(recipe: Recipe) -> None:
    wild = TINY_MF | {"training": {"steps": 30, "learning_rate": 1e30, "weight_decay": 0.0}}
    with pytest.raises(RecaeError, match=r"lower training\.learning_rate"):
        run(replace(recipe, model=[wild], baseline=None, seeds=[0]))


# --- prediction intervals


def with_intervals(recipe: Recipe, validation: float) -> Recipe:
    split = RandomSplit("random", test=0.2, validation=validation)
    return replace(
        recipe, split=split, evaluation=EvaluationRecipe(intervals=IntervalsRecipe(0.8, "constant"))
    )


def test_intervals_are_calibrated_on_validation_ratings(recipe: Recipe) -> None:
    report = run(with_intervals(recipe, 0.2))
    for outcome in report.outcomes:
        found, answers = outcome.evaluation, outcome.evaluation.answers
        assert answers is not None
        if not outcome.model.predicts_stars:
            assert "interval_coverage" not in found.metrics
            assert np.isnan(answers.low).all()
            continue
        validation = report.split.validation
        assert validation is not None
        errors = np.abs(outcome.model.predict_at(validation) - validation.target.stars)
        size = np.sort(errors)[ceil(0.8 * (len(errors) + 1)) - 1]
        low = np.clip(answers.predicted - size, 0.5, 5)
        high = np.clip(answers.predicted + size, 0.5, 5)
        np.testing.assert_allclose(answers.low, low, rtol=1e-5)
        np.testing.assert_allclose(answers.high, high, rtol=1e-5)
        inside = (answers.low <= answers.stars) & (answers.stars <= answers.high)
        assert found.metrics["interval_coverage"] == pytest.approx(inside.mean())
        assert found.metrics["interval_width"] == pytest.approx(np.mean(high - low), rel=1e-5)
    differences = report.comparison["mf"].differences
    width = differences["interval_width"]
    means = [report.comparison[name].metrics["interval_width"][0] for name in ("mf", "bias")]
    assert width.value == pytest.approx(means[0] - means[1])
    assert width.verdict in ("higher", "lower", "no difference")


def test_intervals_need_validation_ratings(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="intervals are calibrated on validation ratings"):
        run(with_intervals(recipe, 0.0))
