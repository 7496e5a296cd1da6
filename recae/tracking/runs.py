"""One run while it is open."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Metric

from recae.models import Recommender
from recae.nn.training import Progress
from recae.running import Outcome
from recae.tracking.artifacts import log_model, write_evaluation, write_recipe
from recae.tracking.drafts import Draft
from recae.tracking.machine import Machine
from recae.tracking.pictures import write_pictures
from recae.tracking.store import Store, StoreError, explained, tolerated

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


class Place(NamedTuple):
    """A run in a store."""

    client: MlflowClient
    store: Store
    id: str


class OpenRun:
    """An open run; a `running.TrackedRun`. Where the store fails it moves into the outbox, with all
    that was to be kept of it, and stays there; where that fails too, it is told and training goes
    on."""

    def __init__(
        self, draft: Draft, place: Place, move: Callable[[Draft, StoreError], Place]
    ) -> None:
        """`move`: makes the run in the outbox; raises the trouble where it is there already."""
        self.kept = False
        """The results are in the store, or in the outbox."""
        self._draft, self._place, self._move = draft, place, move
        self.checkpoint: Path | None = self._file if self._file.exists() else None
        self._history: dict[str, dict[int, float]] = {}
        self._earlier: dict[int, float] = {}
        self._first_step: int | None = None
        self._metrics: list[Metric] = []
        self._unsent: list[Metric] = []
        self._machine = Machine()
        self._sending, self._saving = _Pace(_SEND_EVERY), _Pace(0.0)

    @property
    def run_id(self) -> str | None:
        """In the store where it is kept."""
        return self._place.id

    def reopen(self) -> None:
        """Go on with what an earlier process began. Raises StoreError where neither store nor
        outbox can be used."""
        self._keep(self._take_up)

    def watched(self) -> AbstractContextManager[None]:
        """What the machine does is tracked while the block lasts."""
        return self._machine.watched(self._draft.started)

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
                self._record([Metric(name, value, _now(), progress.step)])
        if self._sending.due:
            with tolerated("metrics could not be tracked"), self._sending.timed():
                self._keep(self._send)
        if self._saving.due:
            with tolerated("no checkpoint could be written"), self._saving.timed():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                progress.save(self._file)

    def finish(self, outcome: Outcome) -> None:
        """Metrics, artifacts and the model; the checkpoint has served."""
        with tolerated(f"the results of run {self.run_id} could not be tracked"):
            self._record(self._results(outcome))
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                self._write_artifacts(outcome, folder / "artifacts")
                outcome.model.save(folder / "model")
                self._keep(lambda: self._send_results(outcome.model, folder))
            self.kept = True
            self._file.unlink(missing_ok=True)

    def end(self, status: str, reason: str | None) -> None:
        """Nothing follows. Raises StoreError where neither store nor outbox can be used."""
        self._keep(lambda: self._send_end(status, reason))

    @property
    def spent(self) -> float:
        """Seconds that went into training before the interruption and were not lost by it."""
        first = self._first_step or 0
        return max((s for step, s in self._earlier.items() if step < first), default=0.0)

    @property
    def _file(self) -> Path:
        return self._place.store.checkpoint(self._place.id)

    def _record(self, metrics: list[Metric]) -> None:
        self._metrics += metrics
        self._unsent += metrics

    def _keep(self, act: Callable[[], None]) -> None:
        """In the store; where that fails, in the outbox, and there from then on."""
        try:
            with explained(self._place.store):
                act()
        except StoreError as trouble:
            self._move_out(trouble)
            with explained(self._place.store):
                act()

    def _move_out(self, trouble: StoreError) -> None:
        file = self._file
        self._place = self._move(self._draft, trouble)
        # Nobody knows which of them have arrived; the outbox has all, and delivers what lacks.
        self._unsent = list(self._metrics)
        if file.exists():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file.replace(self._file)
            self.checkpoint = self._file if self.checkpoint else None

    def _take_up(self) -> None:
        client, _, run_id = self._place
        self._draft.complete(client, run_id)
        client.update_run(run_id, status="RUNNING")
        self._history = _history(client, run_id)
        self._earlier = dict(self._history["seconds"])

    def _send(self) -> None:
        self._record(self._machine.take())
        send(self._place.client, self._place.id, self._unsent)

    def _send_results(self, model: Recommender, folder: Path) -> None:
        client, store, run_id = self._place
        self._send()
        client.log_artifacts(run_id, str(folder / "artifacts"))
        log_model(client, store, run_id, model, folder / "model")

    def _send_end(self, status: str, reason: str | None) -> None:
        client, _, run_id = self._place
        self._send()
        if reason is not None:
            client.set_tag(run_id, "recae.reason", reason)
        client.set_terminated(run_id, status)

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
