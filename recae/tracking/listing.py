"""What is in the store: listed, and taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities import Run

from recae.errors import RecaeError
from recae.tracking.artifacts import logged_models
from recae.tracking.drafts import PARENT
from recae.tracking.finding import experiments_of
from recae.tracking.registry import registered_as
from recae.tracking.store import Store, explained, search


@dataclass(frozen=True)
class ListedRun:
    """A run of a sweep or of a study, in whatever state."""

    run_id: str
    parent: str | None
    """The id of the run it lies below."""
    name: str
    model: str | None
    """None for a run that has others below it."""
    seed: int | None
    experiment: str
    status: str
    rmse: float | None
    """Over the test ratings."""
    ndcg: float | None
    """Of the lists, at the length that was evaluated."""
    seconds: float | None
    """Of the fit."""
    started: datetime


def listed(store: Store, experiment: str | None = None) -> list[ListedRun]:
    """All runs of sweeps, the newest sweep first, a parent followed by the runs below it.

    Raises RecaeError where the store cannot be used, or has no such experiment.
    """
    client = store.open()
    with explained(store):
        experiments = experiments_of(client, experiment)
        names = {known.experiment_id: known.name for known in experiments}
        runs = [r for r in search(client, "", experiments) if "recae.sweep" in r.data.tags]
    sweeps: dict[str, list[Run]] = {}
    for run in runs:
        sweeps.setdefault(run.data.tags["recae.sweep"], []).append(run)
    # By nothing else: the sort keeps the newest of those below first.
    ordered = [sorted(sweep, key=lambda run: PARENT in run.data.tags) for sweep in sweeps.values()]
    return [_listed(run, names[run.info.experiment_id]) for sweep in ordered for run in sweep]


def to_delete(store: Store, runs: Sequence[str]) -> list[ListedRun]:
    """The runs that `delete` would delete: those named by id (also as runs:/ID) or name, of a name
    the newest, and everything below them.

    Raises RecaeError where one is unknown, still goes on, or is a registered model.
    """
    client = store.open()
    with explained(store):
        experiments = experiments_of(client, None)
        names = {known.experiment_id: known.name for known in experiments}
        known = [r for r in search(client) if {"recae.sweep", "recae.study"} & set(r.data.tags)]
        chosen = {
            run.info.run_id: run
            for wanted in runs
            for run in _with_those_below(_named(known, wanted, store), known)
        }
        for run in chosen.values():
            _refuse_what_is_in_use(client, run)
    return [_listed(run, names[run.info.experiment_id]) for run in chosen.values()]


def delete(store: Store, runs: Sequence[ListedRun]) -> None:
    """Delete runs and their models, as MLflow does: their files stay until `mlflow gc`.

    Raises StoreError where the store cannot be used.
    """
    client = store.open()
    with explained(store):
        for run in runs:
            for model in logged_models(client, client.get_run(run.run_id)):
                client.delete_logged_model(model.model_id)
            client.delete_run(run.run_id)
            store.checkpoint(run.run_id).unlink(missing_ok=True)


def _named(known: list[Run], wanted: str, store: Store) -> Run:
    wanted = wanted.removeprefix("runs:/")
    for run in known:
        if wanted in (run.info.run_id, run.info.run_name):
            return run
    raise RecaeError(f"there is no run {wanted!r} in {store.name}")


def _with_those_below(above: Run, known: list[Run]) -> list[Run]:
    return [above, *(run for run in known if run.data.tags.get(PARENT) == above.info.run_id)]


def _refuse_what_is_in_use(client: MlflowClient, run: Run) -> None:
    if run.info.status == "RUNNING":
        raise RecaeError(f"run {run.info.run_name!r} is still going on: stop it first")
    if versions := registered_as(client, run.info.run_id):
        raise RecaeError(
            f"the model of run {run.info.run_name!r} is registered as {', '.join(versions)}: "
            "delete that in the tracking page first"
        )


def _listed(run: Run, experiment: str) -> ListedRun:
    tags, metrics = run.data.tags, run.data.metrics
    ndcg = [value for name, value in metrics.items() if name.startswith("test/ndcg_at_")]
    return ListedRun(
        run.info.run_id,
        tags.get(PARENT),
        run.info.run_name,
        tags.get("recae.model"),
        int(tags["recae.seed"]) if "recae.seed" in tags else None,
        experiment,
        run.info.status,
        metrics.get("test/rmse"),
        ndcg[0] if ndcg else None,
        metrics.get("fit_seconds"),
        datetime.fromtimestamp(run.info.start_time / 1000, UTC),
    )
