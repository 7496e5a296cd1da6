"""A real tracking server on this machine, with a password in its URL: used, killed, back again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from recae.errors import RecaeError
from recae.nn.training import Progress
from recae.recipes import Recipe
from recae.running import Listener, Outcome, Plan, run
from recae.tracking import (
    MlflowTracker,
    Store,
    delete,
    deliver,
    evaluations,
    listed,
    load_run_model,
    register,
    to_delete,
    waiting,
)
from tests.test_sync import assert_empty, assert_same_sweep, two, whole
from tests.test_tracking import (
    AUTOREC,
    BIAS,
    answers,
    assert_same,
    children,
    free_port,
    parent,
    recipe,
    train_and_die_of,
)

__all__ = ["two", "whole"]

pytestmark = pytest.mark.slow


class Server:
    """MLflow's server, which keeps the artifacts itself; what it has been told outlives it."""

    def __init__(self, folder: Path, tables: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "runs.db").write_bytes((tables / "mlflow.db").read_bytes())
        self.url = f"http://somebody:secret@127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'runs.db'}"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        while not answers(f"http://127.0.0.1:{self._port}/health"):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.2)

    def kill(self) -> None:
        """With everything that it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(
    store: Store, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    found = Server(tmp_path / "server", empty_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield found
    found.kill()


def test_everything_over_http(
    server: Server, store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.start()
    tiny = recipe(tmp_path, AUTOREC, BIAS)
    report = run(tiny, tracker=MlflowTracker(store))
    for ours, outcome in zip(evaluations(store), reversed(report.outcomes), strict=True):
        assert_same(ours, outcome)
    rated = {3: 5.0, 7: 1.0}
    pd.testing.assert_frame_equal(
        load_run_model(store, "autorec-dual").recommend(rated, 5),
        report.model("autorec-dual").recommend(rated, 5),
    )
    assert register(store, "bias", "best", "champion") == 1
    assert load_run_model(store, "models:/best@champion").params == report.model("bias").params
    assert [one.name for one in listed(store)] == ["tiny", "bias", "autorec-dual"]
    delete(store, to_delete(store, ["autorec-dual"]))
    assert [one.name for one in listed(store)] == ["tiny", "bias"]
    assert "secret" not in "".join(capfd.readouterr())


def test_a_killed_training_is_resumed_over_http(
    server: Server, store: Store, tmp_path: Path
) -> None:
    server.start()
    tiny = recipe(tmp_path, AUTOREC, BIAS)
    assert train_and_die_of(signal.SIGKILL, tiny) == -signal.SIGKILL
    steps: list[int] = []
    listener = Listener(on_progress=lambda plan, progress: steps.append(progress.step))
    resumed = run(tiny, tracker=MlflowTracker(store, resume=True), listener=listener)
    assert steps[0] > 2, "training goes on from the checkpoint"
    assert parent(store).info.status == "FINISHED"
    assert [one.run_id for one in reversed(evaluations(store))] == [
        outcome.run_id for outcome in resumed.outcomes
    ]


def sweep(store: Store, two: Recipe, listener: Listener | None = None) -> None:
    report = run(two, tracker=MlflowTracker(store), listener=listener)
    assert len(report.outcomes) == 2


def check_delivery(server: Server, store: Store, whole: Store) -> None:
    with pytest.raises(RecaeError, match=r"http://127\S+ cannot be used: it does not answer"):
        list(deliver(store))
    assert waiting(store)
    server.start()
    list(deliver(store))
    assert_empty(store.outbox)
    assert_same_sweep(store, whole)
    assert list(deliver(store)) == []


def test_the_server_is_dead_before_the_start(
    server: Server, store: Store, whole: Store, two: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    server.start()
    server.kill()
    sweep(store, two)
    (line,) = caplog.messages
    assert "secret" not in line
    check_delivery(server, store, whole)


def test_the_server_dies_in_the_middle(
    server: Server, store: Store, whole: Store, two: Recipe
) -> None:
    def on_progress(plan: Plan, progress: Progress) -> None:
        if progress.step >= 20:
            server.kill()

    server.start()
    sweep(store, two, Listener(on_progress=on_progress))
    check_delivery(server, store, whole)


def test_the_server_dies_at_the_end_of_a_run(
    server: Server, store: Store, whole: Store, two: Recipe
) -> None:
    def on_progress(plan: Plan, progress: Progress) -> None:
        if progress.step == progress.steps:
            server.kill()

    server.start()
    sweep(store, two, Listener(on_progress=on_progress))
    check_delivery(server, store, whole)


def test_the_server_dies_between_two_runs(
    server: Server, store: Store, whole: Store, two: Recipe
) -> None:
    """The first run is in the store whole, and stays as it is."""

    def on_finish(outcome: Outcome) -> None:
        server.kill()

    server.start()
    sweep(store, two, Listener(on_finish=on_finish))
    assert [run.info.run_name for run in children(store.outbox)] == ["bias"]
    check_delivery(server, store, whole)
