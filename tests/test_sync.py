"""A store that fails: training goes on, and in the end everything is in the store, once."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from recae.errors import RecaeError
from recae.nn.training import Progress
from recae.recipes import Recipe
from recae.running import Listener, Plan, run
from recae.tracking import MlflowTracker, Store, deliver, evaluations, load_run_model, waiting
from tests.test_tracking import (
    AUTOREC,
    BIAS,
    RefusedError,
    children,
    free_port,
    recipe,
    stop_at,
)

CALLS = (
    "create_experiment",
    "create_logged_model",
    "create_run",
    "delete_logged_model",
    "download_artifacts",
    "finalize_logged_model",
    "get_experiment_by_name",
    "get_logged_model",
    "get_metric_history",
    "get_run",
    "list_artifacts",
    "log_artifact",
    "log_artifacts",
    "log_batch",
    "log_inputs",
    "log_model_artifacts",
    "log_outputs",
    "search_experiments",
    "search_logged_models",
    "search_runs",
    "set_tag",
    "set_terminated",
    "update_run",
)


@dataclass
class Line:
    """The way to a store: counts what is asked of it, and breaks."""

    asked: int = 0
    breaks_at: float = float("inf")
    trouble: type[BaseException] = ConnectionError

    def ask(self) -> None:
        self.asked += 1
        if self.asked > self.breaks_at:
            raise self.trouble("the line is dead")


@pytest.fixture
def line(store: Store, monkeypatch: pytest.MonkeyPatch) -> Line:
    """The way to `store`; that into its outbox is another."""
    # Later on MLFLOW_TRACKING_URI may name another, while a model is logged there.
    found, uri = Line(), store.uri

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: MlflowClient, *arguments: Any, **settings: Any) -> Any:
            if self.tracking_uri == uri:
                found.ask()
            return method(self, *arguments, **settings)

        return call

    for name in CALLS:
        monkeypatch.setattr(MlflowClient, name, guarded(getattr(MlflowClient, name)))
    return found


@pytest.fixture
def store(store: Store) -> Store:
    """Its outbox has tables, too: to make them takes seconds."""
    store.outbox.folder.mkdir()
    shutil.copy(store.folder / "mlflow.db", store.outbox.folder / "mlflow.db")
    return store


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Two models on the same file for all tests here."""
    return recipe(tmp_path_factory.mktemp("data"), AUTOREC, BIAS)


@pytest.fixture(scope="module")
def whole(two: Recipe, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same sweep in a store that never failed."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(empty_store / "mlflow.db", folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        run(two, tracker=MlflowTracker(Store(folder)))
    # Whatever MLFLOW_TRACKING_URI says in a test.
    return Store(folder, is_outbox=True)


def runs_of(store: Store) -> list[Run]:
    client = MlflowClient(store.uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids))


def all_of(store: Store) -> dict[str, Run]:
    """The runs by name: no name is there twice."""
    runs = runs_of(store)
    found = {r.info.run_name: r for r in runs}
    assert len(found) == len(runs), "a run is there twice"
    return found


TIMED = ("system/", "seconds", "fit_seconds", "peak_memory_mb")


def told(store: Store, told_of: Run) -> dict[str, Any]:
    """All that is kept of a run and is the same when it is trained again elsewhere."""
    client, info, data = MlflowClient(store.uri), told_of.info, told_of.data
    own = ("recae.run", "recae.sweep", "recae.process", "mlflow.parentRunId")
    folder = Path(client.download_artifacts(info.run_id, ""))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "status": info.status,
        "experiment": client.get_experiment(info.experiment_id).name,
        "tags": {k: v for k, v in data.tags.items() if k not in own},
        "params": data.params,
        "metrics": {
            name: [(m.step, m.value) for m in client.get_metric_history(info.run_id, name)]
            for name in data.metrics
            if not name.startswith(TIMED)
        },
        "timed": {name for name in data.metrics if name.startswith(TIMED)},
        "inputs": [
            (i.dataset.name, i.dataset.digest, i.dataset.source, i.tags[0].value)
            for i in told_of.inputs.dataset_inputs
        ],
        "files": {str(path.relative_to(folder)): content(path) for path in files},
    }


def content(path: Path) -> Any:
    """Seconds are in no file but in the metrics."""
    return pd.read_parquet(path).to_dict("list") if path.suffix == ".parquet" else path.read_bytes()


def assert_same_sweep(ours: Store, theirs: Store) -> None:
    """Everything is in both, once: links, files, models that predict alike."""
    found, expected = all_of(ours), all_of(theirs)
    assert sorted(found) == sorted(expected) == ["autorec-dual", "bias", "tiny"]
    for name, expected_run in expected.items():
        if name != "tiny":
            # In NumPy's way NaN is NaN.
            np.testing.assert_equal(told(ours, found[name]), told(theirs, expected_run))
            assert found[name].data.tags["mlflow.parentRunId"] == found["tiny"].info.run_id
        info = found[name].info
        assert info.start_time <= info.end_time
        client = MlflowClient(ours.uri)
        models = client.search_logged_models(
            [info.experiment_id], f"source_run_id = '{info.run_id}'"
        )
        assert [model.status for model in models] == ([] if name == "tiny" else ["READY"])
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert len({r.data.tags["recae.sweep"] for r in found.values()}) == 1
    known = {one.model: one for one in evaluations(theirs)}
    for one in evaluations(ours):
        np.testing.assert_equal(one.evaluation.metrics, known[one.model].evaluation.metrics)
    for name in ("autorec-dual", "bias"):
        rated = {3: 5.0, 7: 1.0}
        models = [load_run_model(store, name) for store in (ours, theirs)]
        first, second = (model.recommend(rated, 5) for model in models)
        pd.testing.assert_frame_equal(first, second)


def assert_empty(outbox: Store) -> None:
    """Nothing waits, and nothing is left of what waited."""
    assert not children(outbox)
    left = [path for path in outbox.folder.rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"mlflow.db", "lock"}


# --- the store cannot be used from the start


def test_nobody_answers(
    store: Store,
    whole: Store,
    two: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//somebody:secret@"))
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        report = run(two, tracker=MlflowTracker(store))
        assert len(report.outcomes) == 2
        (line,) = caplog.messages
        assert line.startswith(f"the tracking store {address} cannot be used: it does not answer;")
        assert "recae-runs/outbox until `recae track sync`" in line
        assert waiting(store) == {address: 3}
        with pytest.raises(RecaeError, match=f"store {address} cannot be used: it does not answer"):
            list(deliver(store))
    assert list(deliver(store)) == [], "it was meant for another store"
    assert waiting(store) == {address: 3}
    delivered = list(deliver(store, here=True))
    assert [one.name for one in delivered] == ["tiny", "autorec-dual", "bias"]
    assert {one.status for one in delivered} == {"FINISHED"}
    assert_same_sweep(store, whole)
    assert_empty(store.outbox)
    assert list(deliver(store)) == []


def test_somebody_answers_never(store: Store, two: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training waits for it once."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mute.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        run(two, tracker=MlflowTracker(store))
        mute.setblocking(False)
        mute.accept()[0].close()
        with pytest.raises(BlockingIOError):
            mute.accept()
    assert waiting(store).total() == 3


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_a_locked_database(
    store: Store, two: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "locked.db"
    shutil.copy(store.folder / "mlflow.db", database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}?timeout=0.1")
    with locked(database):
        run(two, tracker=MlflowTracker(store))
        with pytest.raises(RecaeError, match="database is locked"):
            list(deliver(store))
    with pytest.raises(RecaeError, match=r"no run 'bias' in .*, and 3 in recae-runs/outbox"):
        load_run_model(store, "bias")
    assert len(list(deliver(store))) == 3
    here = all_of(store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert {r.info.status for r in here.values()} == {"FINISHED"}
    assert not children(store)
    assert_empty(store.outbox)


def test_a_damaged_store(store: Store, two: Recipe) -> None:
    (store.folder / "mlflow.db").write_bytes(b"this is no database" * 100)
    run(two, tracker=MlflowTracker(store))
    with pytest.raises(RecaeError, match="recae-runs cannot be used"):
        list(deliver(store))
    assert waiting(store) == {"recae-runs": 3}


def test_neither_store_nor_outbox(store: Store) -> None:
    for database in (store.folder / "mlflow.db", store.outbox.folder / "mlflow.db"):
        database.write_bytes(b"this is no database" * 100)
    with pytest.raises(RecaeError, match="recae-runs/outbox cannot be used"):
        MlflowTracker(store)


# --- the store fails later


def deliver_and_compare(store: Store, whole: Store) -> None:
    list(deliver(store))
    assert_same_sweep(store, whole)
    assert_empty(store.outbox)


EVERYWHERE = [pytest.param(calls, marks=pytest.mark.slow) for calls in range(1, 70, 4)]


@pytest.mark.parametrize("calls", [0, 33, *EVERYWHERE])
def test_the_store_fails_later(
    store: Store, whole: Store, line: Line, two: Recipe, calls: int
) -> None:
    tracker = MlflowTracker(store)
    line.asked, line.breaks_at = 0, calls
    run(two, tracker=tracker)
    # MLflow itself tries to mark a model as failed.
    assert line.asked <= calls + 2, "a store that failed is not asked again"
    line.breaks_at = float("inf")
    deliver_and_compare(store, whole)


@pytest.mark.slow
def test_the_database_is_locked_in_the_middle(store: Store, whole: Store, two: Recipe) -> None:
    """MLflow waits 20 seconds for it, once."""
    with ExitStack() as lock:

        def on_progress(plan: Plan, progress: Progress) -> None:
            if progress.step == 20:
                lock.enter_context(locked(store.folder / "mlflow.db"))

        run(two, tracker=MlflowTracker(store), listener=Listener(on_progress=on_progress))
    deliver_and_compare(store, whole)


# --- delivering is interrupted


@pytest.mark.parametrize("calls", [40, *EVERYWHERE])
def test_delivering_is_killed(
    store: Store, whole: Store, line: Line, two: Recipe, calls: int
) -> None:
    """An interrupt cleans up no more than a kill does: nothing here waits for one."""
    tracker = MlflowTracker(store)
    line.asked, line.breaks_at = 0, 20
    run(two, tracker=tracker)
    line.asked, line.breaks_at, line.trouble = 0, calls, KeyboardInterrupt
    with suppress(KeyboardInterrupt):
        list(deliver(store))
    line.breaks_at = float("inf")
    deliver_and_compare(store, whole)


def test_a_server_that_was_asked_twice(
    store: Store, whole: Store, line: Line, two: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes the run again when its answer comes too late; nobody knows of the first one."""
    create = MlflowClient.create_run

    def slowly(self: MlflowClient, *arguments: Any) -> Run:
        if line.breaks_at != 0:
            create(self, *arguments)
            create(self, *arguments)
            line.breaks_at = 0
        return create(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", slowly)
        run(two, tracker=MlflowTracker(store))
    line.breaks_at = float("inf")
    assert [one.info.run_name for one in runs_of(store)] == ["tiny", "tiny"]
    deliver_and_compare(store, whole)


def test_what_was_deleted_meanwhile_is_made_again(
    store: Store, whole: Store, line: Line, two: Recipe
) -> None:
    """The outbox holds all of a run, not only what the store lacked when it failed."""

    def on_progress(plan: Plan, progress: Progress) -> None:
        if progress.step == 20:
            line.breaks_at = 0

    run(two, tracker=MlflowTracker(store), listener=Listener(on_progress=on_progress))
    line.breaks_at = float("inf")
    for begun in runs_of(store):
        MlflowClient(store.uri).delete_run(begun.info.run_id)
    deliver_and_compare(store, whole)


def test_two_deliver_at_once(store: Store, two: Recipe, line: Line) -> None:
    line.breaks_at = 0
    run(two, tracker=MlflowTracker(store))
    line.breaks_at = float("inf")
    delivering = deliver(store)
    next(delivering)
    with pytest.raises(RecaeError, match="another process is delivering what is in recae-runs/out"):
        list(deliver(store))
    assert len(list(delivering)) == 2


def test_what_goes_on_is_left_alone(store: Store, two: Recipe, line: Line) -> None:
    line.breaks_at = 0
    left: list[int] = []

    def on_progress(plan: Plan, progress: Progress) -> None:
        line.breaks_at = float("inf")
        assert list(deliver(store)) == []
        left.append(waiting(store).total())

    run(two, tracker=MlflowTracker(store), listener=Listener(on_progress=on_progress))
    assert set(left) == {2}
    assert len(list(deliver(store))) == 3


# --- resuming


def interrupt(store: Store, tiny: Recipe) -> None:
    with pytest.raises(RefusedError):
        run(tiny, tracker=MlflowTracker(store), listener=stop_at(20, "autorec-dual"))


def test_resuming_delivers_first(store: Store, whole: Store, line: Line, two: Recipe) -> None:
    """What was begun in the outbox goes on in the store, from its checkpoint."""
    line.breaks_at = 0
    interrupt(store, two)
    line.breaks_at = float("inf")
    steps: list[int] = []
    listener = Listener(on_progress=lambda plan, progress: steps.append(progress.step))
    run(two, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert steps[0] > 2, "training goes on from the checkpoint"
    found = all_of(store)
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert len(found) == 3
    assert_empty(store.outbox)


def test_resuming_in_the_outbox(store: Store, line: Line, two: Recipe) -> None:
    line.breaks_at = 0
    interrupt(store, two)
    steps: list[int] = []
    listener = Listener(on_progress=lambda plan, progress: steps.append(progress.step))
    run(two, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert steps[0] > 2, "training goes on from the checkpoint"
    line.breaks_at = float("inf")
    list(deliver(store))
    found = all_of(store)
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert len(found) == 3


def test_the_store_holds_a_part(store: Store, line: Line, two: Recipe) -> None:
    line.breaks_at = 10
    interrupt(store, two)
    with pytest.raises(RecaeError, match="was begun in recae-runs, which cannot be used now"):
        run(two, tracker=MlflowTracker(store, resume=True))
    line.breaks_at = float("inf")
    run(two, tracker=MlflowTracker(store, resume=True))
    found = all_of(store)
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert len(found) == 3
    assert_empty(store.outbox)


def test_the_store_fails_a_resumed_sweep(
    store: Store, whole: Store, line: Line, two: Recipe
) -> None:
    interrupt(store, two)
    tracker = MlflowTracker(store, resume=True)
    line.asked, line.breaks_at = 0, 14
    run(two, tracker=tracker)
    line.breaks_at = float("inf")
    list(deliver(store))
    found = all_of(store)
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert len(found) == 3
    history = MlflowClient(store.uri).get_metric_history(
        found["autorec-dual"].info.run_id, "val/rmse"
    )
    assert [point.step for point in history] == list(range(2, 41, 2))
    assert len(evaluations(store)) == 2
    assert_empty(store.outbox)
