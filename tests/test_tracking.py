from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.numpy import load_file

from recae.errors import ComparisonError, DataError, RecaeError
from recae.nn.training import Progress
from recae.recipes import Recipe, parse
from recae.running import Listener, Outcome, Plan, run
from recae.tracking import (
    MlflowTracker,
    Store,
    TrackedEvaluation,
    compare_url,
    evaluations,
    load_run_model,
    load_run_recipe,
    runs,
    sweeps,
)

AUTOREC = {"kind": "autorec-dual", "k": 4, "training": {"steps": 40}}
BIAS = {"kind": "bias"}
BLEND = {"kind": "blend", "stars": AUTOREC, "liked": {"kind": "ease", "l2": 5.0}, "level": 0.8}
STACK = {"kind": "stack", "members": [{"kind": "average", "size": 2, "member": AUTOREC}, BIAS]}


def write_ratings(folder: Path, item: Callable[[int], Any] = int) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        (user, item(column), rng.integers(1, 6))
        for user in range(40)
        for column in rng.choice(30, 12, replace=False)
    ]
    path = folder / "ratings.csv"
    pd.DataFrame(rows, columns=["user", "item", "rating"]).to_csv(path, index=False)
    return path


def recipe(folder: Path, *models: dict[str, Any], **settings: Any) -> Recipe:
    if not (folder / "ratings.csv").exists():
        write_ratings(folder)
    columns = {"user": "user", "item": "item", "rating": "rating", "scale": [1, 5]}
    return parse(
        {
            "name": "tiny",
            "data": {"source": str(folder / "ratings.csv"), **columns},
            "split": {"kind": "random", "test": 0.2, "validation": 0.1},
            "model": list(models),
        }
        | settings
    )


class RefusedError(Exception):
    """What a test raises inside a run."""


def stop_at(step: int, model: str) -> Listener:
    def on_progress(plan: Plan, progress: Progress) -> None:
        if plan.model == model and progress.step >= step:
            raise RefusedError

    return Listener(on_progress=on_progress)


def children(store: Store) -> list[Run]:
    client = MlflowClient(store.uri)
    ids = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(ids, order_by=["attributes.start_time ASC"])
    return [run for run in found if "recae.model" in run.data.tags]


def parent(store: Store) -> Run:
    client = MlflowClient(store.uri)
    ids = [e.experiment_id for e in client.search_experiments()]
    (found,) = (r for r in client.search_runs(ids) if "recae.model" not in r.data.tags)
    return found


def assert_same(ours: TrackedEvaluation, outcome: Outcome) -> None:
    ours_, theirs = ours.evaluation, outcome.evaluation
    assert ours.run_id == outcome.run_id
    np.testing.assert_equal(ours_.metrics, theirs.metrics)
    assert (ours_.counts, ours_.protocol) == (theirs.counts, theirs.protocol)
    assert ours_.users == theirs.users
    np.testing.assert_equal(ours_.by_user, theirs.by_user)
    assert ours_.answers is not None
    assert theirs.answers is not None
    np.testing.assert_array_equal(ours_.answers.lists, theirs.answers.lists)
    np.testing.assert_allclose(ours_.answers.predicted, theirs.answers.predicted, rtol=1e-6)


# --- what is kept


def test_a_sweep_is_kept_whole(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, AUTOREC, BIAS, seeds=[0, 1])
    report = run(tiny, tracker=MlflowTracker(store))
    above, below = parent(store), children(store)
    assert above.info.run_name == "tiny"
    assert {r.info.status for r in [above, *below]} == {"FINISHED"}
    names = ["autorec-dual-0", "bias-0", "autorec-dual-1", "bias-1"]
    assert [r.info.run_name for r in below] == names
    assert {r.data.tags["mlflow.parentRunId"] for r in below} == {above.info.run_id}
    assert len({r.data.tags["recae.sweep"] for r in [above, *below]}) == 1
    first = below[0]
    assert first.data.tags["recae.kind"] == "autorec-dual"
    assert first.data.tags["recae.recipe_digest"] == tiny.digest
    assert first.data.tags["recae.split_digest"] == report.split.digest
    assert first.data.params["k"] == "4"
    assert first.data.params["training.steps"] == "40"
    assert first.data.params["split.test"] == "0.2"
    inputs = {
        each.tags[0].value: (each.dataset.name, each.dataset.digest)
        for each in first.inputs.dataset_inputs
    }
    assert inputs == {
        "training": ("ratings.csv", report.ratings.digest[:16]),
        "validation": ("ratings.csv (validation)", report.split.digest[:16]),
        "testing": ("ratings.csv (testing)", report.split.digest[:16]),
    }
    evaluation = report.outcomes[0].evaluation
    assert first.data.metrics["test/rmse"] == pytest.approx(evaluation.metrics["rmse"])
    assert first.data.metrics["fit_seconds"] == pytest.approx(report.outcomes[0].cost.seconds)
    assert first.data.metrics["peak_memory_mb"] > 10
    history = MlflowClient(store.uri).get_metric_history(first.info.run_id, "val/rmse")
    assert [point.step for point in history] == list(range(2, 41, 2))
    assert not list((store.folder / "checkpoints").iterdir())
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "mlflow.db").exists()
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_single_run_has_no_parent(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    (only,) = children(store)
    assert only.info.run_name == "bias"
    assert "mlflow.parentRunId" not in only.data.tags
    assert len(evaluations(store)) == 1


def test_artifacts(store: Store, tmp_path: Path) -> None:
    report = run(recipe(tmp_path, AUTOREC), tracker=MlflowTracker(store))
    folder = store.artifacts / str(report.outcomes[0].run_id) / "artifacts"
    kept = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    names = ("by_user", "items", "known", "lists", "ratings")
    evaluation = ["evaluation.json", *(f"{name}.parquet" for name in names)]
    kept_of_it = sorted(f"evaluation/{name}" for name in evaluation)
    assert kept == ["calibration.png", "curves.png", *kept_of_it, "recipe.json", "slices.png"]
    by_user = pd.read_parquet(folder / "evaluation" / "by_user.parquet")
    users = report.outcomes[0].evaluation.users
    assert by_user["user"].tolist() == users.values.tolist()
    rmse = math.sqrt(by_user["squared_error"].sum() / by_user["ratings"].sum())
    assert rmse == pytest.approx(report.outcomes[0].evaluation.metrics["rmse"])
    assert parse(json.loads((folder / "recipe.json").read_text())).digest == report.recipe.digest


# --- finding it again


def test_evaluations_come_back_as_they_were(store: Store, tmp_path: Path) -> None:
    models = (AUTOREC, {"kind": "popular"})
    report = run(recipe(tmp_path, *models, seeds=[0, 1]), tracker=MlflowTracker(store))
    found = evaluations(store)
    assert [(e.model, e.seed) for e in found] == [
        (o.plan.model, o.plan.seed) for o in reversed(report.outcomes)
    ]
    for ours, outcome in zip(found, reversed(report.outcomes), strict=True):
        assert_same(ours, outcome)
        assert ours.cost.seconds == pytest.approx(outcome.cost.seconds)
        assert ours.experiment == "ratings.csv random"
    assert found[0].started.timestamp() == pytest.approx(time.time(), abs=120)


@pytest.mark.parametrize("name", ["by_user.parquet", "ratings.parquet", "evaluation.json"])
def test_a_damaged_evaluation_is_one_sentence(name: str, store: Store, tmp_path: Path) -> None:
    report = run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    run_id = str(report.outcomes[0].run_id)
    (store.artifacts / run_id / "artifacts" / "evaluation" / name).write_text("{}")
    with pytest.raises(DataError, match=f"the evaluation of run {run_id} is damaged"):
        evaluations(store)


def test_text_ids_come_back(store: Store, tmp_path: Path) -> None:
    write_ratings(tmp_path, item=lambda column: f"item {column}")
    report = run(recipe(tmp_path, AUTOREC), tracker=MlflowTracker(store))
    assert_same(evaluations(store)[0], report.outcomes[0])
    model = load_run_model(store, "autorec-dual")
    assert model.fitted.items == report.outcomes[0].model.fitted.items


def test_runs_are_found_by_id_and_by_name(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS, seeds=[0, 1]), tracker=MlflowTracker(store))
    twice = run(recipe(tmp_path, BIAS, AUTOREC, seeds=[0, 1]), tracker=MlflowTracker(store))
    ids = [str(outcome.run_id) for outcome in twice.outcomes]

    def found(*wanted: str) -> set[str]:
        return {e.run_id for e in evaluations(store, wanted)}

    assert found() == set(ids)
    assert found(ids[0]) == found(f"runs:/{ids[0]}") == found("bias-0") == {ids[0]}
    assert found("bias") == {ids[0], ids[2]}
    assert found("bias-1", ids[1], ids[1]) == {ids[2], ids[1]}
    assert found("tiny") == set(ids)
    above = children(store)[-1].data.tags["mlflow.parentRunId"]
    assert found(above) == set(ids)
    assert len(evaluations(store, experiment="ratings.csv random")) == 6
    with pytest.raises(ComparisonError, match="no run 'nobody'"):
        found("nobody")
    with pytest.raises(ComparisonError, match=r"no experiment 'x': there are .*'ratings.csv"):
        evaluations(store, experiment="x")


def test_a_run_without_results_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        run(
            recipe(tmp_path, AUTOREC),
            tracker=MlflowTracker(store),
            listener=stop_at(4, "autorec-dual"),
        )
    with pytest.raises(ComparisonError, match="'autorec-dual' has no results: it is failed"):
        evaluations(store, ["autorec-dual"])
    with pytest.raises(ComparisonError, match="no finished runs"):
        evaluations(store)


def test_an_empty_and_an_absent_store(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="no finished runs in recae-runs"):
        evaluations(store)
    with pytest.raises(RecaeError, match=r"no tracked runs in .*elsewhere"):
        evaluations(Store(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_the_model_and_the_recipe_of_a_run(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, AUTOREC, seeds=[0, 1])
    report = run(tiny, tracker=MlflowTracker(store))
    history = report.split.test.history
    model = load_run_model(store, f"runs:/{report.outcomes[1].run_id}")
    np.testing.assert_array_equal(model.predict(history), report.outcomes[1].model.predict(history))
    assert parse(load_run_recipe(store, "autorec-dual-0")).digest == tiny.digest
    with pytest.raises(RecaeError, match=r"2 runs \(autorec-dual-0, autorec-dual-1\)"):
        load_run_model(store, "autorec-dual")


def test_a_model_of_models_is_kept_like_any(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, STACK)
    report = run(tiny, tracker=MlflowTracker(store))
    params = children(store)[0].data.params
    assert params["members.0.kind"] == "average"
    assert params["members.0.member.training.steps"] == "40"
    assert params["members.1.kind"] == "bias"
    assert not any("{" in value for value in params.values())
    history = report.split.test.history
    model = load_run_model(store, "stack")
    np.testing.assert_array_equal(model.predict(history), report.model("stack").predict(history))
    assert parse(load_run_recipe(store, "stack")).digest == tiny.digest


def test_the_comparison_has_a_link(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    found = evaluations(store)
    url = compare_url(found, "http://127.0.0.1:5001/")
    assert url.startswith(f'http://127.0.0.1:5001/#/compare-runs?runs=["{found[0].run_id}"]&')
    assert url.endswith("workflowType=machine_learning")


# --- interruptions


def test_a_run_that_diverges_says_why_and_keeps_its_last_good_checkpoint(
    store: Store, tmp_path: Path
) -> None:
    """The sweep ends there; what has not diverged yet can be gone on from."""
    training = {"steps": 400, "learning_rate": 9, "weight_decay": 1, "reports": 100}
    wild = AUTOREC | {"training": training}
    with pytest.raises(RecaeError, match=r"lower training\.learning_rate"):
        run(recipe(tmp_path, wild, BIAS), tracker=MlflowTracker(store))
    (failed,) = children(store)
    assert failed.info.status == parent(store).info.status == "FAILED"
    assert "training diverged" in failed.data.tags["recae.reason"]
    checkpoint = load_file(store.checkpoint(failed.info.run_id))
    assert all(np.isfinite(array).all() for array in checkpoint.values())


def test_an_exception_fails_the_run_and_resume_goes_on(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, BIAS, AUTOREC, {"kind": "popular"})
    with pytest.raises(RefusedError):
        run(tiny, tracker=MlflowTracker(store), listener=stop_at(20, "autorec-dual"))
    assert [r.info.status for r in children(store)] == ["FINISHED", "FAILED"]
    assert parent(store).info.status == "FAILED"
    failed = children(store)[1].info.run_id
    assert store.checkpoint(failed).exists()
    started: list[str] = []
    listener = Listener(on_start=lambda plan: started.append(plan.model))
    resumed = run(tiny, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert started == ["autorec-dual", "popular"]
    assert [r.info.status for r in children(store)] == ["FINISHED"] * 3
    assert parent(store).info.status == "FINISHED"
    assert resumed.outcomes[1].run_id == failed
    assert not store.checkpoint(failed).exists()
    whole = run(tiny)
    for ours, theirs in zip(resumed.outcomes, whole.outcomes, strict=True):
        history = whole.split.test.history
        np.testing.assert_allclose(
            ours.model.predict(history), theirs.model.predict(history), rtol=0, atol=1e-6
        )
        np.testing.assert_equal(ours.evaluation.protocol, theirs.evaluation.protocol)
    with pytest.raises(RecaeError, match="nothing to resume"):
        run(tiny, tracker=MlflowTracker(store, resume=True))


def test_a_model_of_models_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, STACK)
    with pytest.raises(RefusedError):
        run(tiny, tracker=MlflowTracker(store), listener=stop_at(60, "stack"))
    steps: list[int] = []
    listener = Listener(on_progress=lambda plan, progress: steps.append(progress.step))
    resumed = run(tiny, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert steps[0] > 2, "training goes on from the checkpoint"
    assert steps[-1] == 160
    whole = run(tiny)
    history = whole.split.test.history
    np.testing.assert_allclose(
        resumed.model("stack").predict(history), whole.model("stack").predict(history), atol=1e-6
    )


def test_only_the_same_recipe_is_resumed(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        run(
            recipe(tmp_path, AUTOREC),
            tracker=MlflowTracker(store),
            listener=stop_at(4, "autorec-dual"),
        )
    other = recipe(tmp_path, AUTOREC | {"k": 5})
    with pytest.raises(RecaeError, match="nothing to resume"):
        run(other, tracker=MlflowTracker(store, resume=True))


STOPPED = """
import json, os, signal, sys
from pathlib import Path
from recae.recipes import parse
from recae.running import Listener, run
from recae.tracking import MlflowTracker, Store

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

def on_progress(plan, progress):
    if progress.step >= 20:
        os.kill(os.getpid(), int(sys.argv[2]))

recipe = parse(json.loads(sys.argv[1]))
run(recipe, tracker=MlflowTracker(Store()), listener=Listener(on_progress=on_progress))
"""


def train_and_die_of(number: signal.Signals, tiny: Recipe) -> int:
    command = [sys.executable, "-c", STOPPED, json.dumps(tiny.resolved), str(int(number))]
    return subprocess.run(command, timeout=120).returncode


def test_kill_9_is_seen_later_and_resumed(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, AUTOREC, BIAS)
    assert train_and_die_of(signal.SIGKILL, tiny) == -signal.SIGKILL
    (killed,) = children(store)
    assert killed.info.status == "RUNNING"
    store.open()
    assert children(store)[0].info.status == parent(store).info.status == "KILLED"
    assert store.checkpoint(killed.info.run_id).exists()
    steps: list[int] = []
    listener = Listener(on_progress=lambda plan, progress: steps.append(progress.step))
    resumed = run(tiny, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert steps[0] > 2, "training goes on from the checkpoint"
    again = children(store)[0]
    assert (again.info.run_id, again.info.status) == (killed.info.run_id, "FINISHED")
    history = MlflowClient(store.uri).get_metric_history(again.info.run_id, "val/rmse")
    known = [point.step for point in history]
    assert len(known) == len(set(known)), "no step is tracked twice"
    whole = run(tiny)
    np.testing.assert_allclose(
        resumed.outcomes[0].model.predict(whole.split.test.history),
        whole.outcomes[0].model.predict(whole.split.test.history),
        rtol=0,
        atol=1e-6,
    )


def test_sigterm_kills_the_run_and_says_so(store: Store, tmp_path: Path) -> None:
    assert train_and_die_of(signal.SIGTERM, recipe(tmp_path, AUTOREC)) == 143
    (killed,) = children(store)
    assert killed.info.status == "KILLED"
    assert store.checkpoint(killed.info.run_id).exists()


def test_a_run_that_goes_on_is_neither_reaped_nor_resumed(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, AUTOREC)
    states: list[str] = []

    def on_progress(plan: Plan, progress: Progress) -> None:
        store.open()
        states.append(children(store)[0].info.status)
        with pytest.raises(RecaeError, match="nothing to resume"):
            MlflowTracker(store, resume=True).finished(plan)
        raise RefusedError

    with pytest.raises(RefusedError):
        run(tiny, tracker=MlflowTracker(store), listener=Listener(on_progress=on_progress))
    assert states == ["RUNNING"]


def test_checkpoints_cost_little(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now, time_ns=time.time_ns)
    monkeypatch.setattr(runs, "time", clock)
    saved: list[float] = []

    def save(path: Path) -> None:
        nonlocal now
        now += 0.5
        saved.append(now)

    with MlflowTracker(store).run(a_plan(recipe(tmp_path, BIAS))) as tracked:
        for step in range(30):
            tracked.progress(Progress(step, 30, 0.0, {"train/rmse": 1.0}, save))
            now += 1
    assert saved == [1000.5, 1011, 1021.5], "half a second's work every ten seconds"


def a_plan(tiny: Recipe) -> Plan:
    (model,) = tiny.models
    return Plan(
        tiny.experiment,
        tiny.name,
        tiny.resolved,
        tiny.digest,
        model.name,
        model.kind,
        model.params,
        0,
        tiny.data.source,
        "d" * 64,
        "s" * 64,
    )


def test_columns_of_side_data_are_no_names_of_parameters(tmp_path: Path) -> None:
    plan = a_plan(recipe(tmp_path, BIAS))
    plan.recipe["data"]["users"] = {"key": "who", "columns": {"what, why?": "number"}}
    params = {param.key: param.value for param in sweeps._params(plan)}
    assert params["data.users.key"] == "who"
    assert params["data.users.columns"] == "{'what, why?': 'number'}"


# --- trouble with the store


def test_trouble_in_the_middle_does_not_lose_the_training(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiny = recipe(tmp_path, AUTOREC, BIAS)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_evaluation", full)
        report = run(tiny, tracker=MlflowTracker(store))
    assert len(report.outcomes) == 2
    assert "No space left on device" in caplog.text
    assert [r.info.status for r in children(store)] == ["FAILED", "FAILED"]
    assert parent(store).info.status == "FAILED"
    resumed = run(tiny, tracker=MlflowTracker(store, resume=True))
    assert [e.run_id for e in reversed(evaluations(store))] == [o.run_id for o in resumed.outcomes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the model elsewhere

PREDICT = """
import json, sys
import mlflow
import pandas as pd

model = mlflow.pyfunc.load_model(sys.argv[1])
people = pd.DataFrame({"items": [[0, 1, 2], []], "stars": [[5.0, 1.0, 3.0], []]})
print(model.predict(people, params={"n": 3}).to_json(orient="records"))
print(len(model.predict(people)["items"][0]))
assert not any(name.startswith("matplotlib") for name in sys.modules)
"""


def logged_model(store: Store) -> Path:
    (folder,) = (store.artifacts / "models").glob("*/artifacts")
    return folder


@pytest.mark.parametrize("settings", [AUTOREC, STACK], ids=["autorec", "stack"])
def test_pyfunc_in_a_fresh_process(store: Store, tmp_path: Path, settings: dict[str, Any]) -> None:
    report = run(recipe(tmp_path, settings), tracker=MlflowTracker(store))
    command = [sys.executable, "-c", PREDICT, str(logged_model(store))]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    answers, ten = told.stdout.splitlines()
    assert ten == "10"
    first, cold = json.loads(answers)
    expected = report.outcomes[0].model.recommend({0: 5.0, 1: 1.0, 2: 3.0}, 3)
    assert first["items"] == expected["item"].tolist()
    np.testing.assert_allclose(first["stars"], expected["stars"], atol=1e-5)
    assert len(cold["items"]) == 3


RULES = """
import json, sys
import mlflow
import pandas as pd

model = mlflow.pyfunc.load_model(sys.argv[1])
person = pd.DataFrame({"items": [[0, 1, 2]], "stars": [[5.0, 1.0, 3.0]]})
print(model.predict(person, params=json.loads(sys.argv[2])).to_json(orient="records"))
"""


def test_pyfunc_follows_rules(store: Store, tmp_path: Path) -> None:
    report = run(recipe(tmp_path, BLEND), tracker=MlflowTracker(store))
    model = report.outcomes[0].model
    params = {
        "n": 4,
        "by": "lower-bound",
        "include_seen": True,
        "diversity": 0.4,
        "popularity": -0.2,
        "explain": True,
    }
    command = [sys.executable, "-c", RULES, str(logged_model(store)), json.dumps(params)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    (found,) = json.loads(told.stdout)
    rules = {name: value for name, value in params.items() if name not in ("n", "explain")}
    expected = model.recommend({0: 5.0, 1: 1.0, 2: 3.0}, 4, **rules)
    assert found["items"] == expected["item"].tolist()
    assert found["because"] == expected["because"].tolist()
    for name in ("stars", "low", "high"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    told = subprocess.run([*command[:4], '{"by": "fame"}'], capture_output=True, text=True)
    assert "there is no order 'fame'" in told.stderr


# Whatever proxy the environment names, it does not lead to this machine.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    try:
        LOCAL.open(url, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def served(store: Store, tmp_path: Path) -> Iterator[str]:
    run(recipe(tmp_path, AUTOREC), tracker=MlflowTracker(store))
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", str(logged_model(store)), "-h", "127.0.0.1", "-p", str(port)]
    # MLflow looks for uvicorn on the path, where an activated environment has it.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"PATH": path},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(f"{url}/ping"):
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.mark.slow
def test_mlflow_serves_the_model(served: str) -> None:
    records = [{"items": [0, 1, 2], "stars": [5, 1, 3]}, {"items": [7], "stars": [4]}]
    params = {"n": 4, "by": "stars", "popularity": 0.5, "explain": True}
    body = json.dumps({"dataframe_records": records, "params": params}).encode()
    request = urllib.request.Request(
        f"{served}/invocations", body, {"Content-Type": "application/json"}
    )
    with LOCAL.open(request, timeout=60) as answer:
        predictions = json.loads(answer.read())["predictions"]
    assert [len(row["items"]) for row in predictions] == [4, 4]
    assert not set(predictions[0]["items"]) & {0, 1, 2}
    assert all(1 <= stars <= 5 for row in predictions for stars in row["stars"])
    assert [len(row["because"]) for row in predictions] == [4, 4]
