"""The search over settings: what may be drawn, by what it is judged, what an interrupt leaves."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from recae.errors import ComparisonError, RecaeError, RecipeError
from recae.models import AutoRec
from recae.nn.training import Progress
from recae.recipes import parse
from recae.running import run
from recae.tracking import MlflowStudies, MlflowTracker, Store, evaluations, load_run_model
from recae.tuning import (
    Study,
    StudyListener,
    Trial,
    as_toml,
    best_first,
    frozen,
    read_spaces,
    studies,
)
from recae.tuning.trials import UntrackedStudies

SPACES = Path(__file__).parents[1] / "pipelines" / "spaces"
SPLIT = 'kind = "random"\ntest = 0.2\nvalidation = 0.2'
SPACE = """
[[space]]
models = ["mf", "svdpp"]
k = [2, 3, 64]
dropout = 0.1
training.steps = [20, 40]
training.learning_rate = { low = 0.001, high = 0.5, log = true }
training.hide = [[0.1, 0.3], [0.2, 0.5]]
"""


def ratings(folder: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (user, item, rng.integers(1, 6))
        for user in range(40)
        for item in rng.choice(30, 12, replace=False)
    ]
    table = pd.DataFrame(rows, columns=["user", "item", "rating"])
    table.to_csv(folder / "ratings.csv", index=False)
    return table


def space(folder: Path, spaces: str = SPACE, split: str = SPLIT, head: str = "") -> Path:
    if not (folder / "ratings.csv").exists():
        ratings(folder)
    path = folder / "space.toml"
    data = f"[data]\nsource = '{folder / 'ratings.csv'}'\nscale = [1, 5]"
    path.write_text(f"{head}\n{data}\n[split]\n{split}\n{spaces}", "utf-8")
    return path


def study(folder: Path, model: str = "mf", spaces: str = SPACE, **options: Any) -> Study:
    return Study(read_spaces(space(folder, spaces)), model, **options)


def tuned(trials: int, *arguments: Any, **options: Any) -> list[Trial]:
    found = study(*arguments, **options)
    found.run(trials)
    return found.trials


def timeless(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in trials]


# --- spaces


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.toml")), ids=lambda p: p.stem)
def test_the_spaces_of_the_pipelines_can_be_used(path: Path) -> None:
    spaces = read_spaces(path)
    for model in spaces.choices:
        assert spaces.of(model)


def test_inner_splits(tmp_path: Path) -> None:
    one = read_spaces(space(tmp_path, split='kind = "random"', head="inner_seeds = [0, 7]"))
    _, (first, second) = one.split()
    assert first.digest != second.digest
    expected = parse(
        {"name": "x", "model": [{"kind": "bias"}], "split": {"kind": "random", "seed": 7}}
    )
    data, split = one.inner[0].data, expected.split
    assert second.digest == split.split(data.load(), data).digest
    # A split that has its own seed is used as it is.
    (only,) = read_spaces(space(tmp_path, split='kind = "random"\nseed = 7')).split()[1]
    assert only.digest == second.digest


def test_lists_are_judged_at_the_length_that_the_space_says(tmp_path: Path) -> None:
    text = '[[space]]\nmodels = ["ease"]\nl2 = [1.0, 10.0]\n'
    losses = {}
    for head in ("", "[evaluation]\nn = 3\n"):
        spaces = read_spaces(space(tmp_path, text, head=head))
        study = Study(spaces, "ease")
        study.run(1)
        losses[study.trials[0].measure] = study.trials[0].loss
    assert set(losses) == {"1 - NDCG@10", "1 - NDCG@3"}
    assert len(set(losses.values())) == 2


SPACE_MISTAKES: dict[str, tuple[str, str]] = {
    "no such model": (
        '[[space]]\nmodels = ["mff"]',
        "called 'mff': did you mean 'mf'?",
    ),
    "no models": ("[[space]]\nk = [1]", "needs models"),
    "model twice": ('[[space]]\nmodels = ["mf"]\n' * 2, "two [[space]] are for 'mf'"),
    "no space": ("", "no [[space]] is for 'mf': there are none"),
    "another's": ('[[space]]\nmodels = ["svdpp"]', "no [[space]] is for 'mf': there are svdpp"),
    "a misspelt space": ('[[spaec]]\nmodels = ["mf"]', "did you mean 'space'?"),
    "not a list": ('[space]\nmodels = ["mf"]', "each under [[space]]"),
    "unknown setting": ("dropuot = [0.1]", "no setting 'dropuot': did you mean 'dropout'?"),
    "in a table": ("training.stepz = [1]", "'training.stepz': did you mean 'training.steps'?"),
    "table left out": ("steps = [1]", "no setting 'steps': did you mean 'training.steps'?"),
    "a table as value": ("training = [1]", "training is a table: choose for training.objective"),
    "low above high": ("dropout = { low = 0.5, high = 0.1 }", "low is 0.5, above high"),
    "no high": ("dropout = { low = 0.5 }", "a range is { low = NUMBER"),
    "text as low": ('k = { low = "1", high = 2 }', "a range is { low = NUMBER"),
    "log of nothing": ("k = { low = 0, high = 2, log = true }", "low must be positive"),
    "misspelt range": ("k = { low = 1, hihg = 2 }", "no setting 'hihg': did you mean 'high'?"),
    "empty list": ("k = []", "k: the list of values is empty"),
    "wrong type": ('k = [8, "many"]', "[[space]] of model mf: k: input should be a valid integer"),
    "no such choice": ('activation = ["tanhh"]', "activation: "),
    "out of bounds": (
        "dropout = { low = 0.5, high = 2 }",
        "dropout must be at least 0 and below 1",
    ),
}


@pytest.mark.parametrize("what", SPACE_MISTAKES)
def test_mistakes_in_a_space(what: str, tmp_path: Path) -> None:
    text, said = SPACE_MISTAKES[what]
    if text and not text.startswith("["):
        text = f'[[space]]\nmodels = ["mf"]\n{text}'
    path = space(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_spaces(path).of("mf")
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "split", "said"),
    [
        ("inner_seeds = []", SPLIT, "inner_seeds must be a list of different whole numbers"),
        ("inner_seeds = [1, 1]", SPLIT, "inner_seeds must be"),
        ("inner_seeds = [-1]", SPLIT, "inner_seeds must be"),
        ("inner_seeds = 1", SPLIT, "inner_seeds must be"),
        ("inner_seeds = [0, 1]", f"{SPLIT}\nseed = 1", "always the same"),
        ("inner_seeds = [0, 1]", 'kind = "temporal"', "always the same"),
        ("", 'kind = "randum"', "no kind 'randum'"),
        ("", "test = 0.1", "split: kind: field required"),
    ],
)
def test_mistakes_around_spaces(head: str, split: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_spaces(space(tmp_path, split=split, head=head))
    assert said in str(caught.value)


def test_what_is_drawn_lies_in_the_space(tmp_path: Path) -> None:
    spaces = SPACE.replace("k = [2, 3, 64]", "k = { low = 2, high = 40, log = true }\nridge = 7")
    trials = tuned(7, tmp_path, spaces=spaces)
    assert trials[0].settings == {}
    for trial in trials[1:]:
        drawn = trial.settings
        assert drawn["ridge"] == 7
        assert drawn["dropout"] == 0.1
        assert isinstance(drawn["k"], int)
        assert 2 <= drawn["k"] <= 40
        assert drawn["training.hide"] in ([0.1, 0.3], [0.2, 0.5])
        rate = drawn["training.learning_rate"]
        assert 0.001 <= rate <= 0.5
        assert rate == float(f"{rate:.3g}")
    assert len({trial.settings["k"] for trial in trials[1:]}) > 2


# --- what judges


def test_what_is_measured_differently_is_not_mixed() -> None:
    def trial(number: int, state: Any, measure: str, loss: float) -> Trial:
        return Trial(number, "m", {}, state, measure, loss, 1.0)

    trials = [
        trial(0, "finished", "1 - NDCG@10", 0.1),
        trial(1, "failed", "RMSE", math.inf),
        trial(2, "pruned", "RMSE", 0.2),
        trial(3, "finished", "RMSE", 0.9),
        trial(4, "finished", "RMSE", 0.8),
    ]
    assert [each.number for each in best_first(trials)] == [4, 3, 2, 1, 0]


def test_the_first_trial_is_the_default_and_the_best_is_no_worse(tmp_path: Path) -> None:
    found = study(tmp_path)
    found.run(6)
    assert [trial.number for trial in found.trials] == list(range(6))
    first = found.trials[0]
    spaces = read_spaces(space(tmp_path))
    _, (split,) = spaces.split()
    model = AutoRec.mf().fit(split.train, rng=np.random.default_rng(0))
    assert split.validation is not None
    error = split.validation.target.stars - model.predict_at(split.validation)
    assert first.loss == pytest.approx(math.sqrt(float(np.mean(error**2))))
    assert found.best is not None
    assert found.best.loss <= first.loss
    assert best_first(found.trials)[0] == found.best


def test_ratings_to_be_tested_are_never_looked_at(tmp_path: Path) -> None:
    """Other stars in the test part, the same study."""
    table = ratings(tmp_path)
    before = tuned(6, tmp_path)
    _, (split,) = read_spaces(space(tmp_path)).split()
    target = split.test.target
    ids = zip(target.users.values[target.rows], target.items.values[target.columns], strict=True)
    asked = table.set_index(["user", "item"]).index.isin(list(ids))
    assert asked.sum() == len(target)
    table.loc[asked, "rating"] = 6 - table.loc[asked, "rating"]
    table.to_csv(tmp_path / "ratings.csv", index=False)
    assert timeless(tuned(6, tmp_path)) == timeless(before)


def test_a_split_without_validation_is_one_of_training_ratings(tmp_path: Path) -> None:
    path = space(tmp_path, split='kind = "random"\ntest = 0.2', head="inner_seeds = [0, 1]")
    found = Study(read_spaces(path), "mf")
    found.run(1)
    _, splits = read_spaces(path).split()
    losses = []
    for split in splits:
        model = AutoRec.mf().fit(split.train, rng=np.random.default_rng(0))
        error = split.test.target.stars - model.predict_at(split.test)
        losses.append(math.sqrt(float(np.mean(error**2))))
    assert found.trials[0].loss == pytest.approx(np.mean(losses))


def test_models_that_only_rank(tmp_path: Path) -> None:
    found = study(tmp_path, "implicit-als", '[[space]]\nmodels = ["implicit-als"]\nk = [2, 3, 4]')
    found.run(3)
    assert {trial.measure for trial in found.trials} == {"1 - NDCG@10"}
    assert all(0 < trial.loss < 1 for trial in found.trials)
    assert {trial.state for trial in found.trials} == {"finished"}


def test_frozen_recipes_are_scored_as_they_are(tmp_path: Path) -> None:
    spaces = read_spaces(space(tmp_path))
    models = [{"kind": "mf"}, {"kind": "mf", "name": "wild", "training": {"learning_rate": 1e30}}]
    recipe = parse({"name": "x", "split": {"kind": "random"}, "model": models})
    good, wild = frozen(spaces, recipe)
    assert good.loss == pytest.approx(tuned(1, tmp_path)[0].loss)
    assert (wild.model, wild.state, wild.loss) == ("wild", "failed", math.inf)


# --- what is stopped


def test_hopeless_trials_are_pruned(tmp_path: Path) -> None:
    """Models that learn nothing are stopped halfway; nothing that is better than the median is."""
    spaces = SPACE.replace("low = 0.001, high = 0.5, log = true", "low = 1e-9, high = 2e-9")
    found = study(tmp_path, spaces=spaces.replace("dropout = 0.1", "dropout = [0.1, 0.9]"))
    steps: dict[int, float] = {}
    found._listener.on_progress = lambda done, _: steps.update({len(found.trials): done})
    found.run(20)
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.number >= 4 for trial in pruned)
    assert all(0.5 <= steps[trial.number] < 1 for trial in pruned)
    assert all(math.isfinite(trial.loss) for trial in pruned)
    assert found.best is not None
    assert found.best.state == "finished"


def test_trials_that_diverge_fail_and_the_study_goes_on(tmp_path: Path) -> None:
    spaces = SPACE.replace("low = 0.001, high = 0.5, log = true", "low = 1e29, high = 1e30")
    found = study(tmp_path, spaces=spaces)
    found.run(3)
    assert [trial.state for trial in found.trials] == ["finished", "failed", "failed"]
    assert found.trials[1].loss == math.inf
    assert "lower training.learning_rate" in found.trials[1].reason
    assert found.best == found.trials[0]
    spaces = '[[space]]\nmodels = ["implicit-als"]\nliked_from = 99'
    found = study(tmp_path, "implicit-als", spaces)
    found.run(2)
    assert "nobody likes anything" in found.trials[1].reason


def test_the_seed_decides(tmp_path: Path) -> None:
    one, same, other = (timeless(tuned(3, tmp_path, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert [trial.settings for trial in one] != [trial.settings for trial in other]


def test_optuna_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RecaeError, match=r"pip install 'recae\[tune\]'"):
        study(tmp_path)


def test_the_block_is_a_recipes(tmp_path: Path) -> None:
    settings = {"k": 3, "activation": "tanh", "training.hide": [0.1, 1e-05], "training.l2": 1e20}
    block = tomllib.loads(as_toml("mf", settings))
    training = {"hide": [0.1, 1e-05], "l2": 1e20}
    expected = {"kind": "mf", "k": 3, "activation": "tanh", "training": training}
    assert block == {"model": [expected]}
    found = study(tmp_path)
    found.run(5)
    raw = tomllib.loads(as_toml("mf", found.trials[4].settings))
    (model,) = parse({"name": "x", "split": {"kind": "random"}} | raw).models
    assert model.params["k"] == found.trials[4].settings["k"]


# --- what is kept


def runs_of(store: Store) -> tuple[list[Run], list[Run]]:
    """Parents, and trials in their order."""
    client = MlflowClient(store.uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(ids, order_by=["attributes.start_time ASC"])
    return (
        [one for one in found if "mlflow.parentRunId" not in one.data.tags],
        [one for one in found if "recae.trial" in one.data.tags],
    )


def stop_at(trial: int, trouble: type[BaseException] = KeyboardInterrupt) -> StudyListener:
    going = 0

    def on_start(number: int, model: str) -> None:
        nonlocal going
        going = number

    def on_progress(done: float, progress: Progress) -> None:
        if going == trial and done > 0.3:
            raise trouble

    return StudyListener(on_start=on_start, on_progress=on_progress)


def test_a_study_is_tracked_whole(store: Store, tmp_path: Path) -> None:
    found = study(tmp_path, tracker=MlflowStudies(store))
    found.run(7)
    (parent,), children = runs_of(store)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == found.plan.name
    assert parent.data.params["split.test"] == "0.2"
    assert found.best is not None
    assert parent.data.metrics["loss"] == pytest.approx(found.best.loss)
    states = [trial.state for trial in found.trials]
    assert parent.data.metrics["trials"] == 7
    assert parent.data.metrics["pruned"] == states.count("pruned")
    best = store.artifacts / parent.info.run_id / "artifacts" / "best.toml"
    assert best.read_text() == as_toml("mf", found.best.settings) + "\n"
    assert len(children) == 7
    for trial, child in zip(found.trials, children, strict=True):
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["recae.state"] == trial.state
        assert child.info.status == "FINISHED"
        assert child.data.metrics["loss"] == pytest.approx(trial.loss)
        assert child.data.metrics["seconds"] == pytest.approx(trial.seconds)
        for name, value in trial.settings.items():
            assert child.data.params[name] == str(value)
    client = MlflowClient(store.uri)
    curve = client.get_metric_history(children[0].info.run_id, "val/rmse")
    assert [point.step for point in curve] == list(range(20, 201, 20))
    assert curve[-1].value == pytest.approx(found.trials[0].loss)
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    assert experiment.name == "ratings.csv random tuning"


def test_failed_trials_are_tracked(store: Store, tmp_path: Path) -> None:
    spaces = SPACE.replace("low = 0.001, high = 0.5, log = true", "low = 1e29, high = 1e30")
    tuned(2, tmp_path, spaces=spaces, tracker=MlflowStudies(store), experiment="mine")
    (parent,), (_, failed) = runs_of(store)
    assert (parent.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert "lower training.learning_rate" in failed.data.tags["recae.reason"]
    assert "loss" not in failed.data.metrics
    assert MlflowClient(store.uri).get_experiment_by_name("mine") is not None


def test_comparisons_do_not_see_studies(store: Store, tmp_path: Path) -> None:
    tuned(1, tmp_path, tracker=MlflowStudies(store))
    with pytest.raises(ComparisonError, match="no finished runs"):
        evaluations(store)
    source = {"source": str(tmp_path / "ratings.csv"), "scale": [1, 5]}
    models = [{"kind": "bias"}, {"kind": "popular"}]
    recipe = parse({"name": "x", "data": source, "split": {"kind": "random"}, "model": models})
    run(recipe, tracker=MlflowTracker(store))
    later = study(tmp_path, tracker=MlflowStudies(store), experiment=recipe.experiment)
    later.run(1)
    assert {found.model for found in evaluations(store)} == {"bias", "popular"}
    assert {found.model for found in evaluations(store, experiment=recipe.experiment)} == {
        "bias",
        "popular",
    }
    with pytest.raises(ComparisonError, match="there is no run"):
        load_run_model(store, later.plan.name)


# --- interruptions


def test_an_interrupted_study_goes_on_as_if_it_never_stopped(store: Store, tmp_path: Path) -> None:
    whole = tuned(8, tmp_path)
    first = study(tmp_path, tracker=MlflowStudies(store), listener=stop_at(3))
    with pytest.raises(KeyboardInterrupt):
        first.run(8)
    assert timeless(first.trials) == timeless(whole[:3])
    (parent,), children = runs_of(store)
    assert parent.info.status == "KILLED"
    assert [child.info.status for child in children] == ["FINISHED"] * 3 + ["KILLED"]
    heard: list[int] = []
    listener = StudyListener(on_finish=lambda trial: heard.append(trial.number))
    second = study(tmp_path, tracker=MlflowStudies(store), resume=True, listener=listener)
    second.run(8)
    assert heard == [3, 4, 5, 6, 7]
    assert timeless(second.trials) == timeless(whole)
    assert second.trials[:3] == first.trials
    (parent,), children = runs_of(store)
    assert (parent.info.status, parent.data.metrics["trials"]) == ("FINISHED", 8)
    assert len(children) == 9
    # There is nothing left to do, and nothing is done.
    third = study(tmp_path, tracker=MlflowStudies(store), resume=True)
    third.run(8)
    assert third.trials == second.trials


def test_the_trial_of_the_defaults_may_be_the_interrupted_one(store: Store, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, tracker=MlflowStudies(store), listener=stop_at(0)).run(3)
    again = tuned(3, tmp_path, tracker=MlflowStudies(store), resume=True)
    assert timeless(again) == timeless(tuned(3, tmp_path))


def test_only_the_same_study_is_resumed(store: Store, tmp_path: Path) -> None:
    tracker = MlflowStudies(store)
    tuned(1, tmp_path, tracker=tracker)
    for other in ({"model": "svdpp"}, {"seed": 1}, {"spaces": SPACE.replace("64", "65")}):
        with pytest.raises(RecaeError, match="there is nothing to resume"):
            study(tmp_path, tracker=tracker, resume=True, **other)
    # Without --resume a study starts anew, and what was there stays.
    assert len(tuned(2, tmp_path, tracker=tracker)) == 2
    assert len(list(store.studies.glob("*.jsonl"))) == 2
    assert len(tuned(2, tmp_path, tracker=tracker, resume=True)) == 2
    parents, _ = runs_of(store)
    assert len(parents) == 2


def test_a_study_that_goes_on_is_not_resumed(store: Store, tmp_path: Path) -> None:
    def on_finish(trial: Trial) -> None:
        other = study(tmp_path, tracker=MlflowStudies(store), resume=True)
        with pytest.raises(RecaeError, match="is going on in another process"):
            other.run(3)

    study(tmp_path, tracker=MlflowStudies(store), listener=StudyListener(on_finish=on_finish)).run(
        1
    )


def test_half_a_line_is_forgotten(store: Store, tmp_path: Path) -> None:
    first = tuned(2, tmp_path, tracker=MlflowStudies(store))
    (file,) = store.studies.glob("*.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"op_code": 4, "study')
    again = tuned(3, tmp_path, tracker=MlflowStudies(store), resume=True)
    assert again[:2] == first


KILLED = """
import os, signal, sys
from pathlib import Path
from recae.tracking import MlflowStudies, Store
from recae.tuning import Study, StudyListener, read_spaces

going = 0

def on_start(number, model):
    global going
    going = number

def on_progress(done, progress):
    if going == 2 and done > 0.3:
        os.kill(os.getpid(), signal.SIGKILL)

listener = StudyListener(on_start=on_start, on_progress=on_progress)
spaces = read_spaces(Path(sys.argv[1]))
Study(spaces, "mf", tracker=MlflowStudies(Store()), listener=listener).run(5)
"""


def test_kill_9_loses_no_trial(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(space(tmp_path))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    died = subprocess.run(command, timeout=120, check=False, env=environment)
    assert died.returncode == -signal.SIGKILL
    (parent,), children = runs_of(store)
    assert parent.info.status == children[2].info.status == "RUNNING"
    again = tuned(5, tmp_path, tracker=MlflowStudies(store), resume=True)
    assert timeless(again) == timeless(tuned(5, tmp_path))
    (parent,), children = runs_of(store)
    assert parent.info.status == "FINISHED"
    ends = [child.info.status for child in children]
    assert ends == ["FINISHED"] * 2 + ["KILLED"] + ["FINISHED"] * 3


class Filed(UntrackedStudies):
    """Keeps the files of studies, and no more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_an_outcome_that_optuna_was_not_told_of_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(studies, "_tell", dies)
        with pytest.raises(KeyboardInterrupt):
            tuned(1, tmp_path, tracker=Filed(tmp_path))
    started: list[int] = []
    listener = StudyListener(on_start=lambda number, _: started.append(number))
    found = study(tmp_path, tracker=Filed(tmp_path), resume=True, listener=listener)
    found.run(2)
    assert started == [1]
    assert timeless(found.trials) == timeless(tuned(2, tmp_path))


# --- the command


@pytest.fixture
def recae(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from recae.cli import main

    before = signal.getsignal(signal.SIGTERM)

    def call(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recae", "tune", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, out, err

    yield call
    signal.signal(signal.SIGTERM, before)


def test_tune_prints_the_trials_and_a_block(recae: Any, store: Store, tmp_path: Path) -> None:
    words = (space(tmp_path), "--model", "mf", "--trials", 3)
    code, out, err = recae(*words, "--out", "trials.csv")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].endswith("; judged by 77 held-out ones")
    assert [line.split(":")[0] for line in lines[2:5]] == ["trial 0", "trial 1", "trial 2"]
    assert "3 trials: 3 finished, 0 pruned, 0 failed, in" in out
    block = tomllib.loads(out[out.index("[[model]]") :])
    assert block["model"][0]["kind"] == "mf"
    with (tmp_path / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["trial"]) for row in rows) == [0, 1, 2]
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses)
    code, out, _ = recae(*words[:-1], 4, "--resume", "--json")
    assert code == 0
    found = json.loads(out)
    assert len(found) == 4
    assert json.loads(rows[0]["settings"]) in [each["settings"] for each in found]
    assert len(runs_of(store)[0]) == 1


def test_tune_untracked_leaves_nothing(
    recae: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = space(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, _, err = recae(path, "--model", "mf", "--trials", 1, "--no-track")
    assert (code, err) == (0, "")
    assert list(Path.cwd().iterdir()) == []


def test_tune_frozen(recae: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "frozen.toml"
    models = '[[model]]\nkind = "mf"\nk = 2\n[[model]]\nkind = "bias"\n'
    recipe.write_text(f'name = "x"\n[split]\nkind = "random"\n{models}', "utf-8")
    path = space(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, out, err = recae(path, "--frozen", recipe, "--json")
    assert code == 0
    assert "bias" in err
    assert {each["model"] for each in json.loads(out)} == {"mf", "bias"}
    assert sorted(tmp_path.iterdir()) == before


def test_an_interrupt_shows_what_there_is(
    recae: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, fits = AutoRec.fit, 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal fits
        fits += 1
        if fits > 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    words = (space(tmp_path), "--model", "mf", "--trials", 4)
    with monkeypatch.context() as patch:
        patch.setattr(AutoRec, "fit", interrupted)
        code, out, err = recae(*words, "--out", "trials.csv")
    assert code == 130
    assert "Traceback" not in err
    assert "the same command goes on with --resume" in err
    assert "2 trials: 2 finished" in out
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 3
    code, out, _ = recae(*words, "--resume")
    assert code == 0
    assert "4 trials: 4 finished" in out
