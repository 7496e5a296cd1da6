"""A run before it is anywhere: what it is made from, in the store or in the outbox."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Param, Run, RunTag

IDENTITY: Final = "recae.run"
"""The tag by which a run is the same one in every store: MLflow gives it another id in each."""
PARENT: Final = "mlflow.parentRunId"

_AT_ONCE: Final = 100
"""Tags or parameters; MLflow's own limit of a batch."""

T = TypeVar("T")


@dataclass(frozen=True)
class Draft:
    """What stands on a run from the first second."""

    name: str
    tags: dict[str, str]
    started: int
    """Unix milliseconds."""
    params: list[Param]
    inputs: list[DatasetInput]

    @classmethod
    def new(
        cls,
        name: str,
        tags: dict[str, str],
        params: Sequence[Param] = (),
        inputs: Sequence[DatasetInput] = (),
    ) -> Draft:
        """A run that begins now."""
        identity = {IDENTITY: uuid.uuid4().hex}
        return cls(name, tags | identity, time.time_ns() // 1_000_000, list(params), list(inputs))

    @classmethod
    def of(cls, run: Run) -> Draft:
        """A run of any store, to be made again in another."""
        # Runs from before there were identities have their id for one.
        tags = {IDENTITY: run.info.run_id} | run.data.tags
        tags.pop(PARENT, None)
        params = [Param(key, value) for key, value in run.data.params.items()]
        inputs = [] if run.inputs is None else list(run.inputs.dataset_inputs)
        return cls(run.info.run_name, tags, run.info.start_time, params, inputs)

    def create(self, client: MlflowClient, experiment_id: str, parent: str | None) -> str:
        """The id of the new run, which goes on until it is ended; `parent`: the id of the run it
        is to lie below."""
        above = {} if parent is None else {PARENT: parent}
        # All tags at once: a run without its identity could not be found again.
        run = client.create_run(experiment_id, self.started, self.tags | above, self.name)
        self._describe(client, run.info.run_id)
        return str(run.info.run_id)

    def complete(self, client: MlflowClient, run_id: str) -> None:
        """Give a run what it lacks of all this; nothing stands there twice."""
        for tags in _batches([RunTag(k, v) for k, v in self.tags.items()], _AT_ONCE):
            client.log_batch(run_id, tags=tags)
        self._describe(client, run_id)

    def _describe(self, client: MlflowClient, run_id: str) -> None:
        for params in _batches(self.params, _AT_ONCE):
            client.log_batch(run_id, params=params)
        if self.inputs:
            client.log_inputs(run_id, self.inputs)


def _batches(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
