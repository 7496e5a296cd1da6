"""Studies of settings: a parent run a study, a run below it for every trial."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from recae.errors import RecaeError
from recae.nn.training import Progress
from recae.tracking.labels import dataset, experiment, origin, params, whereabouts
from recae.tracking.runs import send
from recae.tracking.store import Store, explained, search, tolerated
from recae.tuning import StudyPlan, Trial, as_toml

_STATUS: Final = {"finished": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
"""MLflow knows no pruned runs; their tag `recae.state` says so."""


class MlflowStudies:
    """Keeps studies; a `tuning.StudyTracker`."""

    def __init__(self, store: Store) -> None:
        """The store is opened when a study is."""
        self._store = store
        self.folder: Path | None = store.studies

    @contextmanager
    def study(self, plan: StudyPlan) -> Iterator[OpenStudy]:
        """A new parent run, or that of the study which goes on. Ends finished; failed where an
        exception leaves it; killed where an interrupt does.

        Raises RecaeError where the store cannot be reached, and where the study is still going on
        in another process.
        """
        client = self._store.open(create=True)
        with explained(self._store):
            opened = OpenStudy(client, self._store, plan, self._parent(client, plan))
        with _ended(client, opened.id) as ends:
            yield opened
            ends.append("FINISHED")

    def _parent(self, client: MlflowClient, plan: StudyPlan) -> str:
        known = _known(client, plan) if plan.resumed else None
        if known is not None:
            tags = [RunTag(key, value) for key, value in whereabouts().items()]
            client.log_batch(known, tags=tags)
            client.update_run(known, status="RUNNING")
            return known
        place = experiment(client, self._store, plan.experiment)
        run = client.create_run(place, tags=_tags(plan), run_name=plan.name)
        client.log_batch(run.info.run_id, params=params(plan.settings))
        client.log_inputs(run.info.run_id, [dataset(plan.data, plan.data_digest)])
        return str(run.info.run_id)


def _known(client: MlflowClient, plan: StudyPlan) -> str | None:
    """The parent run of a study that goes on; None where it was deleted."""
    for run in search(client, f"tags.`recae.study` = '{plan.name}'"):
        if "recae.trial" not in run.data.tags:
            if run.info.status == "RUNNING":
                raise RecaeError(f"the study {plan.name} is going on in another process")
            return str(run.info.run_id)
    return None


class OpenStudy:
    """An open study; a `tuning.TrackedStudy`."""

    def __init__(self, client: MlflowClient, store: Store, plan: StudyPlan, run_id: str) -> None:
        self.id = run_id
        self._client, self._store, self._plan = client, store, plan
        self._experiment_id = client.get_run(run_id).info.experiment_id

    @contextmanager
    def trial(self, number: int, settings: dict[str, Any]) -> Iterator[OpenTrial]:
        """A run of its own. Raises RecaeError where the store cannot be reached."""
        tags = _tags(self._plan) | {
            "recae.trial": str(number),
            "recae.kind": self._plan.model,
            "mlflow.parentRunId": self.id,
        }
        name = f"{self._plan.name}-{number}"
        with explained(self._store):
            run = self._client.create_run(self._experiment_id, tags=tags, run_name=name)
            self._client.log_batch(run.info.run_id, params=params(settings | self._plan.settings))
        opened = OpenTrial(self._client, run.info.run_id)
        with _ended(self._client, opened.id) as ends:
            yield opened
            ends.append(opened.status)

    def finish(self, trials: Sequence[Trial]) -> None:
        """How many there were of which state, and the best one as a recipe's block."""
        with tolerated("the end of a study could not be tracked"):
            states: list[str] = [trial.state for trial in trials]
            counts = {"trials": len(trials)} | {name: states.count(name) for name in _STATUS}
            best = trials[0]
            values = {**counts, "loss": best.loss, "seconds": sum(t.seconds for t in trials)}
            self._client.log_batch(self.id, metrics=_metrics(values, 0))
            if best.state != "finished":
                return
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "best.toml"
                file.write_text(as_toml(best.model, best.settings) + "\n", "utf-8")
                self._client.log_artifact(self.id, str(file))


class OpenTrial:
    """An open trial; a `tuning.TrackedTrial`. Its metrics are sent when an inner split is over:
    a trial that is interrupted is tried again."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.id = run_id
        self.status = "FAILED"
        """As MLflow is to be told."""
        self._client = client
        self._unsent: list[Metric] = []

    def progress(self, place: int, progress: Progress) -> None:
        """The steps of the inner splits follow one another."""
        step = place * progress.steps + progress.step
        self._unsent += _metrics(progress.metrics, step)
        if progress.step == progress.steps:
            with tolerated("metrics could not be tracked"):
                send(self._client, self.id, self._unsent)

    def finish(self, trial: Trial) -> None:
        """Its loss, seconds and state."""
        self.status = _STATUS[trial.state]
        with tolerated("the end of a trial could not be tracked"):
            self._unsent += _metrics({"loss": trial.loss, "seconds": trial.seconds}, 0)
            send(self._client, self.id, self._unsent)
            self._client.set_tag(self.id, "recae.state", trial.state)
            if trial.reason:
                self._client.set_tag(self.id, "recae.reason", trial.reason)


@contextmanager
def _ended(client: MlflowClient, run_id: str) -> Iterator[list[str]]:
    """Ends a run as whoever uses it says last: failed where an exception leaves the block, killed
    where an interrupt does."""
    ends = ["KILLED"]
    try:
        yield ends
    except Exception:
        ends.append("FAILED")
        raise
    finally:
        with tolerated("the end of a run could not be tracked"):
            client.set_terminated(run_id, ends[-1])


def _tags(plan: StudyPlan) -> dict[str, str]:
    return origin() | {
        "recae.study": plan.name,
        "recae.data": plan.data,
        "recae.data_digest": plan.data_digest,
    }


def _metrics(values: dict[str, float], step: int) -> list[Metric]:
    now = time.time_ns() // 1_000_000
    return [
        Metric(name, value, now, step) for name, value in values.items() if math.isfinite(value)
    ]
