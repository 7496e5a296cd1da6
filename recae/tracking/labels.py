"""What stands on every run: who made it, where it is computed, its settings, its data."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run

import recae
from recae.errors import RecaeError
from recae.tracking.store import HOST, Store, process


def experiment(client: MlflowClient, store: Store, name: str) -> str:
    """The id of the experiment, created if need be. Raises RecaeError for a deleted one."""
    known = client.get_experiment_by_name(name)
    if known is None:
        place = None if store.is_server else store.artifacts.as_uri()
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, place, tags))
    if known.lifecycle_stage != "active":
        raise RecaeError(
            f"the experiment {name!r} was deleted from the tracking store: restore it with "
            f"`mlflow experiments restore -x {known.experiment_id}`"
        )
    return str(known.experiment_id)


def origin() -> dict[str, str]:
    """Tags on what made a run, by whom, and where it is being computed."""
    tags = {"mlflow.source.name": "recae", "recae.version": recae.__version__}
    # A container may run as a user without a name, and a folder need not be of a repository.
    with suppress(KeyError, OSError):
        tags["mlflow.user"] = getpass.getuser()
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, check=True, text=True, timeout=5
        )
        tags["mlflow.source.git.commit"] = told.stdout.strip()
    return tags | whereabouts()


def whereabouts() -> dict[str, str]:
    """Tags on where a run is being computed."""
    pid = os.getpid()
    return {"recae.host": HOST, "recae.process": process(pid) or str(pid)}


def fold_of(run: Run) -> int | None:
    """Which fold of a cross validation a run is; None where its split is another one."""
    fold = run.data.tags.get("recae.fold")
    return None if fold is None else int(fold)


def params(settings: Mapping[str, Any]) -> list[Param]:
    """Settings, tables within tables, under dotted names."""
    return [Param(key, value) for key, value in _flat(settings)]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings with dotted names, tables in a list by their number; what is not set is left
    out."""
    for key, value in settings.items():
        if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            value = dict(zip(map(str, range(len(value))), value, strict=True))
        # Below these, keys are columns of somebody's file, and not every name is a parameter's.
        if isinstance(value, Mapping) and key not in ("where", "columns"):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield prefix + key, str(value)


def dataset(data: str, digest: str) -> DatasetInput:
    """The data of a run as MLflow shows them."""
    # MLflow's own data classes want the data; its digests have at most 36 characters.
    source = json.dumps({"source": data})
    entity = Dataset(Path(data).name, digest[:16], "recae", source)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
