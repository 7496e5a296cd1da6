"""One run while it is open."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import Metric

from recae.nn.training import Progress
from recae.running import Outcome
from recae.tracking.artifacts import log_model, write_evaluation, write_recipe
from recae.tracking.pictures import write_pictures
from recae.tracking.store import Store, tolerated

_SHARE: Final = 0.05
"""Of the time of training that checkpoints may cost at most, and metrics again."""
_SEND_EVERY: Final = 1.0
"""Seconds between two sendings of metrics, at least."""
_METRICS_AT_ONCE: Final = 1000
"""MLflow's own limit of a batch."""


class _Pace:
    """What is done at once, and then so seldom that it costs a small share of the time: a slow disk
    or server slows itself down, not the training."""

    def __init__(self, least: float) -> None:
        """`least`: seconds between two times."""
        self._least = least
        self._next = -math.inf

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._next = now + max(self._least, (now - began) / _SHARE)


class OpenRun:
    """An open run; a `running.TrackedRun`. From here on, trouble with the store is told and
    training goes on."""

    def __init__(self, client: MlflowClient, store: Store, run_id: str) -> None:
        self.id = run_id
        self.run_id: str | None = run_id
        self.kept = False
        """The results are in the store."""
        self._client, self._store = client, store
        self._file = store.checkpoint(run_id)
        self.checkpoint: Path | None = self._file if self._file.exists() else None
        self._history = _history(client, run_id)
        self._earlier = dict(self._history["seconds"])
        self._first_step: int | None = None
        self._unsent: list[Metric] = []
        self._sending, self._saving = _Pace(_SEND_EVERY), _Pace(0.0)

    def progress(self, progress: Progress) -> None:
        """Metrics are sent once in a while; a checkpoint is written when it is cheap enough."""
        if self._first_step is None:
            self._first_step = progress.step
        seconds = self.spent + progress.seconds
        for name, value in (progress.metrics | {"seconds": seconds}).items():
            steps = self._history.setdefault(name, {})
            # What was sent before the interruption is computed again when the checkpoint is older.
            if progress.step not in steps and math.isfinite(value):
                steps[progress.step] = value
                self._unsent.append(Metric(name, value, _now(), progress.step))
        if self._sending.due:
            with tolerated("metrics could not be tracked"), self._sending.timed():
                self.send()
        if self._saving.due:
            with tolerated("no checkpoint could be written"), self._saving.timed():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                progress.save(self._file)

    def finish(self, outcome: Outcome) -> None:
        """Metrics, artifacts and the model; the checkpoint has served."""
        with tolerated(f"the results of run {self.run_id} could not be tracked"):
            self._unsent += self._results(outcome)
            self.send()
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                self._write_artifacts(outcome, folder / "artifacts")
                self._client.log_artifacts(self.id, str(folder / "artifacts"))
                saved = outcome.model.save(folder / "model")
                log_model(self._client, self._store, self.id, outcome.model, saved)
            self.kept = True
            self._file.unlink(missing_ok=True)

    def send(self) -> None:
        """Send the metrics that are waiting; they go on waiting where that fails."""
        send(self._client, self.id, self._unsent)

    @property
    def spent(self) -> float:
        """Seconds that went into training before the interruption and were not lost by it."""
        first = self._first_step or 0
        return max((s for step, s in self._earlier.items() if step < first), default=0.0)

    def _results(self, outcome: Outcome) -> list[Metric]:
        values = {f"test/{name}": value for name, value in outcome.evaluation.metrics.items()}
        values["fit_seconds"] = outcome.cost.seconds
        values["peak_memory_mb"] = outcome.cost.megabytes
        return [Metric(k, v, _now(), 0) for k, v in values.items() if math.isfinite(v)]

    def _write_artifacts(self, outcome: Outcome, folder: Path) -> None:
        folder.mkdir()
        write_recipe(outcome.plan.recipe, folder)
        write_evaluation(outcome.evaluation, folder)
        curves = {name: self._history.get(name, {}) for name in ("train/rmse", "val/rmse")}
        write_pictures(outcome, curves, folder)


def send(client: MlflowClient, run_id: str, waiting: list[Metric]) -> None:
    """Send metrics, and take off the list what is sent."""
    while waiting:
        client.log_batch(run_id, metrics=waiting[:_METRICS_AT_ONCE])
        del waiting[:_METRICS_AT_ONCE]


def _history(client: MlflowClient, run_id: str) -> dict[str, dict[int, float]]:
    """What an earlier process has sent of a run: metric -> step -> value."""
    return {
        name: {metric.step: metric.value for metric in client.get_metric_history(run_id, name)}
        for name in ("train/rmse", "val/rmse", "seconds")
    }


def _now() -> int:
    return time.time_ns() // 1_000_000
