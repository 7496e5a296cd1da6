"""Delivering what waits in the outbox: runs that the store could not take when they were made.

A run in the outbox is whole, whether or not a part of it is in the store already. To deliver it is
to add what its counterpart lacks, so it can be done again after whatever interrupted it; only what
has been read back leaves the outbox.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Metric, Run

from recae.errors import RecaeError
from recae.models import load_model
from recae.tracking.artifacts import (
    lacking_files,
    log_model,
    logged_models,
    same_model,
    saved_model,
)
from recae.tracking.drafts import IDENTITY, PARENT, Draft
from recae.tracking.labels import experiment
from recae.tracking.runs import send
from recae.tracking.store import Store, StoreError, explained, search

BEGUN: Final = "recae.begun"
"""The tag of a run in the outbox whose sweep is in the store in part."""
MEANT: Final = "recae.store"
"""The tag of a run in the outbox that says which store could not take it."""


@dataclass(frozen=True)
class Delivered:
    """A run that has arrived."""

    name: str
    run_id: str
    """In the store."""
    status: str
    metrics: int
    """Values that the store lacked."""
    files: int
    """The same of files, a model counted as one."""


def deliver(store: Store, *, here: bool = False) -> Iterator[Delivered]:
    """Deliver every sweep in the outbox that is over and was meant for this store, the oldest
    first.

    here: also those that were meant for another store.

    Raises StoreError where the store cannot be used, or a run does not arrive as it is, RecaeError
    where another process is delivering.
    """
    if not store.outbox.exists:
        return
    with _alone(store.outbox):
        box = store.outbox.open()
        for sweep in _over(box, store.outbox):
            if here or sweep[0].data.tags[MEANT] == store.name:
                yield from _Delivery(store, box).of(sweep)


def waiting(store: Store) -> Counter[str]:
    """How many runs are in the outbox, by the store they are meant for; those that go on, too."""
    if not store.outbox.exists:
        return Counter()
    with explained(store.outbox):
        return Counter(run.data.tags[MEANT] for run in search(store.outbox.open()))


def _over(box: MlflowClient, outbox: Store) -> list[list[Run]]:
    """The sweeps of which no run goes on, oldest first; a parent before the runs below it."""
    sweeps: dict[str, list[Run]] = {}
    with explained(outbox):
        for run in reversed(list(search(box))):
            sweeps.setdefault(run.data.tags["recae.sweep"], []).append(run)
    for runs in sweeps.values():
        runs.sort(key=lambda run: PARENT in run.data.tags)
    return [runs for runs in sweeps.values() if all(r.info.status != "RUNNING" for r in runs)]


@contextmanager
def _alone(outbox: Store) -> Iterator[None]:
    """Two that deliver at once would make every run twice."""
    with (outbox.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecaeError(f"another process is delivering what is in {outbox.name}") from None
        yield


class _Delivery:
    """From the outbox, of which `box` is a client, to the store."""

    def __init__(self, store: Store, box: MlflowClient) -> None:
        self._store, self._outbox, self._box = store, store.outbox, box
        self._client = store.open(create=True)

    def of(self, sweep: list[Run]) -> Iterator[Delivered]:
        """Every run, and then nothing of the sweep is in the outbox any more."""
        ids: dict[str, str] = {}
        for run in sweep:
            with explained(self._store):
                delivered = self._delivered(run, ids)
            ids[run.info.run_id] = delivered.run_id
            yield delivered
        # The parent last: without it, the others could not be put below theirs again.
        for run in reversed(sweep):
            with explained(self._outbox):
                self._remove(run, ids[run.info.run_id])

    def _delivered(self, run: Run, ids: dict[str, str]) -> Delivered:
        known = self._counterpart(run)
        run_id = self._created(run, ids) if known is None else known
        metrics = self._lacking_metrics(run, run_id)
        sent = len(metrics)
        send(self._client, run_id, metrics)
        files = self._send_files(run, run_id) + self._send_model(run, run_id)
        self._draft(run).complete(self._client, run_id)
        self._client.set_terminated(run_id, run.info.status, run.info.end_time)
        self._check(run, run_id)
        return Delivered(run.info.run_name, run_id, run.info.status, sent, files)

    def _counterpart(self, run: Run) -> str | None:
        """The same run in the store, or what there is of it."""
        same = f"tags.`{IDENTITY}` = '{run.data.tags[IDENTITY]}'"
        found = [str(known.info.run_id) for known in search(self._client, same)]
        # A server that was too slow to answer was asked twice, and has made two.
        for double in found[1:]:
            self._client.delete_run(double)
        return found[0] if found else None

    def _created(self, run: Run, ids: dict[str, str]) -> str:
        name = self._box.get_experiment(run.info.experiment_id).name
        place = experiment(self._client, self._store, name)
        above = run.data.tags.get(PARENT)
        return self._draft(run).create(self._client, place, None if above is None else ids[above])

    def _draft(self, run: Run) -> Draft:
        draft = Draft.of(run)
        for tag in (BEGUN, MEANT):
            draft.tags.pop(tag, None)
        return draft

    def _lacking_metrics(self, run: Run, run_id: str) -> list[Metric]:
        there = set(self._client.get_run(run_id).data.metrics)
        lacking: list[Metric] = []
        for name in run.data.metrics:
            history = self._client.get_metric_history(run_id, name) if name in there else []
            known = {(metric.step, metric.timestamp) for metric in history}
            ours = self._box.get_metric_history(run.info.run_id, name)
            lacking += [m for m in ours if (m.step, m.timestamp) not in known]
        return lacking

    def _send_files(self, run: Run, run_id: str) -> int:
        """How many of the run's files the store lacked."""
        folder = _folder(run.info.artifact_uri)
        lacking = self._lacking_files(folder, run_id)
        for file in lacking:
            within = file.relative_to(folder).parent.as_posix()
            self._client.log_artifact(run_id, str(file), None if within == "." else within)
        return len(lacking)

    def _lacking_files(self, folder: Path, run_id: str) -> list[Path]:
        with tempfile.TemporaryDirectory() as scratch:
            theirs = scratch
            # MLflow cannot download nothing.
            if self._client.list_artifacts(run_id):
                theirs = self._client.download_artifacts(run_id, "", scratch)
            return lacking_files(folder, Path(theirs))

    def _send_model(self, run: Run, run_id: str) -> int:
        """How many models the store lacked: it is one, or none."""
        if self._has_model(run, run_id):
            return 0
        for broken in logged_models(self._client, self._client.get_run(run_id)):
            self._client.delete_logged_model(broken.model_id)
        folder = self._model(run)
        assert folder is not None
        log_model(self._client, self._store, run_id, load_model(folder), folder)
        return 1

    def _has_model(self, run: Run, run_id: str) -> bool:
        """Whether the store has the run's model, if it has one, whole."""
        folder = self._model(run)
        if folder is None:
            return True
        there = logged_models(self._client, self._client.get_run(run_id))
        whole = [model for model in there if model.status == LoggedModelStatus.READY]
        return len(there) == len(whole) == 1 and same_model(self._store, whole[0], folder)

    def _model(self, run: Run) -> Path | None:
        """Where the model of a run in the outbox is."""
        for model in logged_models(self._box, run):
            if model.status == LoggedModelStatus.READY:
                return saved_model(_folder(model.artifact_location))
        return None

    def _check(self, run: Run, run_id: str) -> None:
        """Raises StoreError where the store tells anything of the run otherwise than the outbox."""
        there, wanted = self._client.get_run(run_id), self._draft(run)
        data = Draft.of(there).inputs
        arrived = {
            "name": there.info.run_name == wanted.name,
            "end": (there.info.status, there.info.end_time) == (run.info.status, run.info.end_time),
            "tags": wanted.tags.items() <= there.data.tags.items(),
            "parameters": there.data.params == run.data.params,
            "data": len(data) >= len(wanted.inputs),
            "metrics": not self._lacking_metrics(run, run_id),
            "files": not self._lacking_files(_folder(run.info.artifact_uri), run_id),
            "model": self._has_model(run, run_id),
        }
        if lost := [what for what, is_there in arrived.items() if not is_there]:
            raise StoreError(
                f"{self._store.name} did not take the {' and '.join(lost)} of run {wanted.name}: "
                f"it stays in {self._outbox.name}"
            )

    def _remove(self, run: Run, run_id: str) -> None:
        """What training goes on from stays on this machine, under the run's new id."""
        checkpoint = self._outbox.checkpoint(run.info.run_id)
        if checkpoint.exists():
            moved = self._store.checkpoint(run_id)
            moved.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.replace(moved)
        for model in logged_models(self._box, run):
            self._box.delete_logged_model(model.model_id)
            shutil.rmtree(_folder(model.artifact_location), ignore_errors=True)
        self._box.delete_run(run.info.run_id)
        shutil.rmtree(_folder(run.info.artifact_uri), ignore_errors=True)


def _folder(uri: str) -> Path:
    """The outbox is on this machine: its URIs are of files."""
    return Path(url2pathname(urlsplit(uri).path))
