"""Models under a name of their own, in versions: MLflow's registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from recae.errors import RecaeError
from recae.tracking.artifacts import logged_models
from recae.tracking.finding import only, registered_version
from recae.tracking.store import Store, as_default, explained, is_mistake


def register(store: Store, run: str, name: str, alias: str | None = None) -> int:
    """The version of `name` that is the model of a finished run, made if need be; `alias` then
    points to it.

    Raises RecaeError where there is no such run, or more than one, or the name or the alias is not
    one that MLflow takes, StoreError where the store cannot be used.
    """
    client = store.open()
    with explained(store):
        found = only(client, store, run)
        run_id = found.info.run_id
        models = logged_models(client, found)
        whole = [model for model in models if model.status == LoggedModelStatus.READY]
        if not whole:
            raise RecaeError(f"run {run!r} has no model in {store.name}")
        # MLflow looks for the model in its own default store.
        with _refusals(), as_default(store):
            _named(client, name)
            version = _of_run(client, name, run_id)
            if version is None:
                source = f"models:/{whole[0].model_id}"
                tags = {"recae.run": run_id, **_scores(found.data.metrics)}
                version = client.create_model_version(
                    name, source, run_id, tags, model_id=whole[0].model_id
                )
            if alias is not None:
                client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def version_of(store: Store, wanted: str) -> str:
    """What models:/NAME@ALIAS or models:/NAME/VERSION stands for now: the version's number; the id
    of a run that is named in any other way.

    Raises RecaeError where there is no such model or run, StoreError where the store cannot be
    used.
    """
    client = store.open()
    with explained(store):
        if wanted.startswith("models:/"):
            return str(registered_version(client, store, wanted).version)
        run_id: str = only(client, store, wanted).info.run_id
    return run_id


def registered_as(client: MlflowClient, run_id: str) -> list[str]:
    """The versions of registered models that are the model of a run, as NAME/VERSION."""
    found = client.search_model_versions(f"run_id = '{run_id}'")
    return [f"{version.name}/{version.version}" for version in found]


def _named(client: MlflowClient, name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)


def _of_run(client: MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return found[0] if found else None


def _scores(metrics: dict[str, float]) -> dict[str, str]:
    return {k: f"{v:.6g}" for k, v in metrics.items() if k.startswith("test/")}


@contextmanager
def _refusals() -> Iterator[None]:
    """Raises RecaeError for what MLflow refuses, which is no trouble with the store."""
    try:
        yield
    except MlflowException as refusal:
        if not is_mistake(refusal):
            raise
        raise RecaeError(str(refusal.message).strip().splitlines()[0]) from None
