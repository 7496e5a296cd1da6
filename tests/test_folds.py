"""A cross validation is one sweep: every fold a run, the folds of a seed one evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from recae.comparison import replicates
from recae.errors import RecaeError, RecipeError
from recae.evaluation import evaluate
from recae.models import load_model
from recae.nn.training import Progress
from recae.recipes import Recipe, parse
from recae.reports.rendering import records
from recae.running import Listener, Plan, Report, run
from recae.tracking import MlflowTracker, Store, evaluations
from recae.tuning.spaces import parse_spaces
from tests.test_cli import Recae, good, recae
from tests.test_running import TINY_MF, write_ratings

__all__ = ["recae"]

TEXT = """
name = "tiny"
seeds = [0, 7]
baseline = "bias"
[data]
source = '{source}'
scale = [0.5, 5]
[split]
kind = "k-fold"
k = 3
[[model]]
kind = "mf"
k = 3
training = {{ steps = 4, reports = 2 }}
[[model]]
kind = "bias"
"""

EVERY = [(m, s, f) for s in (0, 7) for f in range(3) for m in ("mf", "bias")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_ratings(tmp_path / "ratings.csv")


@pytest.fixture
def recipe(source: Path) -> Recipe:
    return tiny(source)


def tiny(source: Path, **split: Any) -> Recipe:
    return parse(
        {
            "name": "tiny",
            "data": {"source": str(source), "scale": [0.5, 5]},
            "split": {"kind": "k-fold", "k": 3} | split,
            "seeds": [0, 7],
            "baseline": "bias",
            "model": [TINY_MF, {"kind": "bias"}],
        }
    )


def key(plan: Plan) -> tuple[str, int, int | None]:
    return plan.model, plan.seed, plan.fold


def rows(report: Report) -> list[dict[str, Any]]:
    return [each | {"seconds": 0.0, "megabytes": 0.0} for each in records(report.comparison, {})]


# --- what is trained


def test_a_recipe_that_names_no_fold_is_all_of_them(recipe: Recipe, source: Path) -> None:
    ratings = recipe.data.load()
    splits = recipe.splits(ratings)
    assert (list(splits), recipe.folds) == ([0, 1, 2], 3)
    assert sum(len(split.test.target) for split in splits.values()) == len(ratings)
    for fold in range(3):
        one = tiny(source, fold=fold)
        assert one.folds == 1
        assert recipe.of_fold(fold) == one.of_fold(0) == one
        ((number, split),) = one.splits(ratings).items()
        assert (number, split.digest) == (fold, splits[fold].digest)
        assert one.split.split(ratings, one.data).digest == split.digest
    with pytest.raises(RecipeError, match=r"3 folds, and one is needed: name it, like `fold = 0`"):
        recipe.split.split(ratings, recipe.data)


def test_validation_parts_of_a_fold_are_those_of_all_folds(source: Path) -> None:
    ratings = tiny(source).data.load()
    every = tiny(source, validation=0.2).splits(ratings)
    alone = tiny(source, validation=0.2, fold=2).splits(ratings)
    assert alone[2].digest == every[2].digest


def test_every_model_with_every_seed_on_every_fold(recipe: Recipe) -> None:
    seen: list[str] = []
    listener = Listener(on_data=lambda ratings, split: seen.append(split.digest))
    report = run(recipe, listener=listener)
    plans = [outcome.plan for outcome in report.outcomes]
    assert [key(plan) for plan in plans] == EVERY
    assert [plan.name for plan in plans] == [f"{m}-{s}-fold{f}" for m, s, f in EVERY]
    assert seen == [report.split.digest] == [report.splits[0].digest]
    for outcome in report.outcomes:
        split = report.splits[outcome.plan.fold]
        assert outcome.plan.split_digest == outcome.evaluation.protocol["split"] == split.digest
        again = evaluate(outcome.model, split.test)
        assert outcome.evaluation.metrics == pytest.approx(again.metrics)


def test_the_folds_of_a_seed_are_one_replicate(recipe: Recipe) -> None:
    report = run(recipe)
    assert [(row.name, row.runs) for row in report.comparison.rows] == [("mf", 2), ("bias", 2)]
    values = []
    for seed in (0, 7):
        errors = [
            o.model.predict_at(report.splits[o.plan.fold].test)
            - report.splits[o.plan.fold].test.target.stars
            for o in report.outcomes
            if (o.plan.model, o.plan.seed) == ("mf", seed)
        ]
        values.append(np.sqrt(np.mean(np.concatenate(errors).astype(float) ** 2)))
    mean, spread = report.comparison["mf"].metrics["rmse"]
    assert mean == pytest.approx(np.mean(values), rel=1e-6)
    assert spread == pytest.approx(np.std(values, ddof=1), rel=1e-3)
    assert set(report.comparison["mf"].metrics) == {"rmse", "mae"}
    assert set(report.comparison["mf"].differences) == {"rmse", "mae"}
    (first, _) = report.evaluations["mf"]
    assert first.counts["ratings"] == len(report.ratings)
    assert "lists" not in first.summary


def test_one_fold_is_as_it_was(recipe: Recipe, source: Path) -> None:
    one, every = run(tiny(source, fold=2)), run(recipe)
    theirs = {key(o.plan): o.evaluation for o in every.outcomes}
    for outcome in one.outcomes:
        assert outcome.evaluation.metrics == pytest.approx(theirs[key(outcome.plan)].metrics, abs=0)
    assert [o.plan.name for o in one.outcomes] == ["mf-0", "bias-0", "mf-7", "bias-7"]
    assert "ndcg_at_10" in one.comparison["mf"].metrics


def test_a_model_that_only_ranks_is_refused_before_training(recipe: Recipe, source: Path) -> None:
    started: list[Plan] = []
    models = [*recipe.model, {"kind": "popular"}]
    with pytest.raises(RecipeError, match="popular only ranks, and of several folds stars alone"):
        run(replace(recipe, model=models), listener=Listener(on_start=started.append))
    assert not started
    assert run(replace(tiny(source, fold=0), model=models)).comparison["popular"].runs == 2


def test_tuning_judges_by_every_fold(source: Path) -> None:
    raw = {"data": {"source": str(source)}, "split": {"kind": "k-fold", "k": 3}}
    _, splits = parse_spaces(raw | {"inner_seeds": [0, 1]}, "a file").split()
    assert len({split.digest for split in splits}) == 6


def test_runs_are_replicates_by_seed_and_pooled_by_fold(recipe: Recipe) -> None:
    found = run(recipe).outcomes
    mf = {(o.plan.seed, o.plan.fold): o.evaluation for o in found if o.plan.model == "mf"}
    (first, second) = replicates(("mf", s, f, e) for (s, f), e in reversed(mf.items()))["mf"]
    # In the order of their numbers, whichever came first.
    digests = [mf[0, fold].protocol["holdout"] for fold in range(3)]
    assert first.protocol["holdout"] == second.protocol["holdout"] == digests
    # One fold alone, or a split without, stays what it is, with its lists.
    assert replicates([("mf", 0, 2, mf[0, 2]), ("mf", 1, None, mf[0, 0])])["mf"] == [
        mf[0, 2],
        mf[0, 0],
    ]


# --- what is kept


def kept(store: Store) -> tuple[list[Run], list[Run]]:
    """Parents and their children, in the order in which they began."""
    client = MlflowClient(store.uri)
    ids = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(ids, order_by=["attributes.start_time ASC"])
    below = [run for run in found if "recae.model" in run.data.tags]
    return [run for run in found if run not in below], below


def test_folds_are_runs_below_the_sweep(recipe: Recipe, store: Store) -> None:
    states: set[str] = set()
    listener = Listener(on_progress=lambda *_: states.add(kept(store)[0][0].info.status))
    report = run(recipe, tracker=MlflowTracker(store), listener=listener)
    assert states == {"RUNNING"}, "the sweep is over with its last fold"
    (parent,), below = kept(store)
    assert [r.info.run_name for r in below] == [f"{m}-{s}-fold{f}" for m, s, f in EVERY]
    assert {r.data.tags["mlflow.parentRunId"] for r in below} == {parent.info.run_id}
    assert {r.info.status for r in [parent, *below]} == {"FINISHED"}
    for tracked, outcome in zip(below, report.outcomes, strict=True):
        assert tracked.data.tags["recae.fold"] == str(outcome.plan.fold)
        assert tracked.data.tags["recae.split_digest"] == outcome.plan.split_digest
        assert tracked.data.params["split.fold"] == str(outcome.plan.fold)
    found = {e.run_id: (e.model, e.seed, e.fold) for e in evaluations(store)}
    assert found == {o.run_id: key(o.plan) for o in report.outcomes}


def test_one_model_with_one_seed_is_a_sweep_of_its_folds(recipe: Recipe, store: Store) -> None:
    run(replace(recipe, seeds=[0], model=recipe.model[1:]), tracker=MlflowTracker(store))
    (parent,), below = kept(store)
    assert [r.info.run_name for r in below] == ["bias-fold0", "bias-fold1", "bias-fold2"]
    assert {r.data.tags["mlflow.parentRunId"] for r in below} == {parent.info.run_id}


def test_an_interrupted_fold_goes_on(recipe: Recipe, store: Store) -> None:
    def stop(plan: Plan, progress: Progress) -> None:
        if key(plan) == ("mf", 0, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, tracker=MlflowTracker(store), listener=Listener(on_progress=stop))
    (parent,), below = kept(store)
    states = ["FINISHED", "FINISHED", "KILLED"]
    assert [r.info.status for r in below] == states
    assert parent.info.status == "KILLED"
    started: list[Any] = []
    steps: list[int] = []
    listener = Listener(
        on_start=lambda plan: started.append(key(plan)),
        on_progress=lambda plan, progress: steps.append(progress.step),
    )
    resumed = run(recipe, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert started == EVERY[2:]
    assert steps[0] == 4, "training goes on from the checkpoint"
    assert [o.run_id for o in resumed.outcomes[:3]] == [r.info.run_id for r in below]
    (parent,), below = kept(store)
    assert [r.info.status for r in [parent, *below]] == ["FINISHED"] * 13
    whole = run(recipe)
    assert resumed.comparison.protocol == whole.comparison.protocol
    for ours, theirs in zip(rows(resumed), rows(whole), strict=True):
        assert ours == pytest.approx(theirs)
    with pytest.raises(RecaeError, match="nothing to resume"):
        run(recipe, tracker=MlflowTracker(store, resume=True))


def test_other_data_under_the_same_name_are_not_resumed(
    recipe: Recipe, store: Store, source: Path
) -> None:
    def stop(plan: Plan, progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, tracker=MlflowTracker(store), listener=Listener(on_progress=stop))
    write_ratings(source, n_users=15)
    with pytest.raises(RecaeError, match="nothing to resume"):
        run(recipe, tracker=MlflowTracker(store, resume=True))


# --- what is typed


@pytest.fixture
def file(source: Path) -> Path:
    path = source.with_name("folds.toml")
    path.write_text(TEXT.format(source=source))
    return path


def test_train_prints_pooled_folds_and_saves_every_model(
    recae: Recae, file: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = good(recae("train", file, "--no-track", "--save", "models"))
    for model, seed, fold in EVERY:
        assert f"{model} (seed {seed}, fold {fold}): test RMSE" in out
        assert load_model(tmp_path / "models" / f"{model}-{seed}-fold{fold}").fitted
    assert len(list((tmp_path / "models").iterdir())) == 12
    report = run(recipe)
    mean, spread = report.comparison["mf"].metrics["rmse"]
    (line,) = (line for line in out.splitlines() if line.strip().startswith("mf  "))
    assert f"{mean:.4f} ±{spread:.4f}" in line
    assert line.split()[-5:-2] == ["-", "-", "-"]
    assert f"{len(report.ratings)} ratings of 14 users" in out
    assert "in stars over all ratings of 3 folds, ± over seeds" in out


def test_train_one_fold(recae: Recae, file: Path, tmp_path: Path) -> None:
    words = ("--set", "split.fold=2", "--set", "seeds=[0]", "--save", "m")
    out = good(recae("train", file, "--no-track", *words))
    assert "mf (seed 0): test RMSE" in out
    assert "fold" not in out.replace("folded in", "")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["bias-0", "mf-0"]


def test_compare_pools_like_train(recae: Recae, file: Path, store: Store) -> None:
    code, out, _ = recae("train", file, "--json")
    assert code == 0
    trained = json.loads(out)
    found = json.loads(good(recae("compare", "--baseline", "bias", "--format", "json")))
    assert found["protocol"] == trained["protocol"]
    for ours, theirs in zip(found["models"], trained["models"], strict=True):
        assert ours == pytest.approx(theirs)
        assert ours["runs"] == 2
    shown = good(recae("compare", "mf", "bias-0-fold0", "bias-0-fold1", "bias-0-fold2"))
    assert "baseline" in shown
    assert good(recae("compare", "--report", "report.html"))
    page = Path("report.html").read_text("utf-8")
    assert "Is it luck?" in page
    assert "For whom?" not in page, "pooled folds cannot be sliced"
    code, _, err = recae("compare", "--sort", "ndcg_at_10")
    assert (code, err) == (2, "recae: cannot sort by 'ndcg_at_10': the metrics are rmse, mae\n")


def test_what_train_says_next_works(recae: Recae, file: Path, store: Store) -> None:
    _, out, _ = recae("train", file)
    recommend, compare, serve = (
        line.split() for line in out.splitlines() if line.startswith("  recae ")
    )
    assert serve == ["recae", "serve", recommend[2]]
    assert recommend[2] in {"mf-0-fold0", "bias-0-fold0"}
    assert good(recae("recommend", recommend[2], "--rate", "101=5"))
    assert good(recae(*compare[1:]))


def test_folds_that_were_trained_one_by_one_are_pooled(
    recae: Recae, file: Path, store: Store
) -> None:
    for fold in range(3):
        recae("train", file, "--set", f"split.fold={fold}")
    every = [run.info.run_id for run in kept(store)[1]]
    apart = json.loads(good(recae("compare", *every, "--format", "json", "--baseline", "bias")))
    code, out, _ = recae("train", file, "--no-track", "--json")
    assert code == 0
    assert [r["rmse"] for r in apart["models"]] == [r["rmse"] for r in json.loads(out)["models"]]


def test_a_model_is_scored_on_its_own_fold(
    recae: Recae, file: Path, store: Store, tmp_path: Path
) -> None:
    recae("train", file, "--save", "models")
    expected = {e.name: e.evaluation.metrics["rmse"] for e in evaluations(store)}
    for name in ("mf-0-fold0", "mf-7-fold2"):
        found = json.loads(good(recae("evaluate", name, "--recipe", file, "--json")))
        assert found["metrics"]["rmse"] == pytest.approx(expected[name])
    file.write_text(file.read_text().replace("[split]", "[split]\nfold = 1"))
    code, _, err = recae("evaluate", "mf-0-fold0", "--recipe", file)
    assert code == 2
    assert "was trained with other split settings" in err
    file.write_text(file.read_text().replace("fold = 1\n", ""))
    code, _, err = recae("evaluate", tmp_path / "models" / "mf-0-fold0", "--recipe", file)
    assert code == 2
    assert err == "recae: this split is 3 folds, and one is needed: name it, like `fold = 0`\n"
