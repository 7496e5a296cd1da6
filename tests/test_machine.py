"""System metrics: sampled while a run goes on, by a thread that does not outlive it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from recae.running import run
from recae.tracking import MlflowTracker, Store, machine
from recae.tracking.machine import Machine
from tests.test_tracking import AUTOREC, BIAS, RefusedError, children, recipe, stop_at


def watchers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "recae-machine"]


def test_every_run_has_system_metrics(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, AUTOREC, BIAS), tracker=MlflowTracker(store))
    assert not watchers()
    for one in children(store):
        metrics = one.data.metrics
        assert metrics["system/system_memory_usage_megabytes"] > 100
        assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
        assert "system/network_receive_megabytes" in metrics
        history = MlflowClient(store.uri).get_metric_history(
            one.info.run_id, "system/cpu_utilization_percentage"
        )
        assert one.info.start_time <= history[0].timestamp <= history[-1].timestamp
        assert all(0 <= point.step <= 600 for point in history)


def test_a_failure_leaves_no_thread(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        run(
            recipe(tmp_path, AUTOREC),
            tracker=MlflowTracker(store),
            listener=stop_at(4, "autorec-dual"),
        )
    assert not watchers()
    assert "system/cpu_utilization_percentage" in children(store)[0].data.metrics


def test_a_machine_that_cannot_be_watched(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("no /proc here")

    monkeypatch.setattr(machine, "CPUMonitor", broken)
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    assert caplog.messages == ["what the machine does cannot be tracked: no /proc here"]
    (only,) = children(store)
    assert only.info.status == "FINISHED"
    assert not any(name.startswith("system/") for name in only.data.metrics)


@pytest.mark.parametrize(("seconds", "least", "most"), [(5, 4, 8), (3600, 200, 800)])
def test_how_often(seconds: float, least: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own."""
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now, time_ns=lambda: int(now * 1e9))
    monkeypatch.setattr(machine, "time", clock)
    monkeypatch.setattr(machine, "_monitors", list)
    monkeypatch.setattr(machine, "_look", lambda monitors: {"x": now})

    def wait(pause: float) -> bool:
        nonlocal now
        now += pause
        return now >= seconds

    watcher = Machine()
    monkeypatch.setattr(watcher, "_over", SimpleNamespace(wait=wait, set=lambda: None))
    with watcher.watched(0):
        pass
    taken = watcher.take()
    assert least <= len(taken) <= most
    assert [metric.key for metric in taken[:1]] == ["system/x"]
    assert taken[-1].step == pytest.approx(seconds, rel=0.02, abs=1)
    assert watcher.take() == []
