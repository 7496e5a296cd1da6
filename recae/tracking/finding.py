"""Finished runs, found by id or name: for comparisons, and to recommend with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from recae.errors import ComparisonError, RecaeError
from recae.evaluation import Evaluation
from recae.models import Recommender
from recae.running import Cost
from recae.tracking.artifacts import cost_of, read_evaluation, read_model, read_recipe
from recae.tracking.labels import fold_of, params
from recae.tracking.outbox import waiting
from recae.tracking.store import Store, explained, is_mistake, search, sentence

_ID: Final = re.compile("[0-9a-f]{32}")
"""MLflow's ids of runs."""


@dataclass(frozen=True, eq=False)
class TrackedEvaluation:
    """A finished run as it stands in a comparison."""

    run_id: str
    name: str
    model: str
    """The model's name in its recipe."""
    seed: int
    fold: int | None
    """Of a cross validation; None: the split is another one."""
    params: dict[str, str]
    """With dotted names: `kind`, `seed`, the model's own, `data.*`, `split.*`, `evaluation.*`."""
    experiment: str
    experiment_id: str
    started: datetime
    cost: Cost
    evaluation: Evaluation


def evaluations(
    store: Store,
    runs: Sequence[str] = (),
    experiment: str | None = None,
    where: str | None = None,
    *,
    answers: bool = True,
) -> list[TrackedEvaluation]:
    """Finished runs with their evaluations, newest first.

    runs: run ids (also as runs:/ID), or names of runs or models, of the newest sweep that has
        them; a parent run stands for its children.
    experiment: look in this one only; without `runs`, all of its runs.
    where: all runs of which this filter of MLflow's holds, of the experiment if there is one.
    answers: read them too, which slices need, and which takes most of the time.

    Without any: the newest sweep. Raises ComparisonError where an experiment or run is unknown or
    not finished or the filter finds none or is none, RecaeError where the store holds no runs or
    cannot be reached.
    """
    if runs and where is not None:
        raise ComparisonError("name runs or give a filter, not both")
    client = store.open()
    with explained(store):
        experiments = experiments_of(client, experiment)
        if runs or (experiment is None and where is None):
            each: Sequence[str | None] = runs or [None]
            found = [run for one in each for run in _chosen(client, store, experiments, one)]
        else:
            found = _filtered(client, experiments, where)
        names = {e.experiment_id: e.name for e in experiments}
        chosen = {run.info.run_id: run for run in found}
        newest_first = sorted(chosen.values(), key=lambda run: -run.info.start_time)
        return [_tracked_evaluation(client, run, names, answers) for run in newest_first]


def evaluations_of(store: Store, recipe: Mapping[str, Any]) -> list[TrackedEvaluation]:
    """Finished runs with the settings and a seed of a resolved recipe, whichever sweep they are of,
    newest first.

    Raises ComparisonError where there are none, RecaeError where the store cannot be reached.
    """
    around = {key: recipe[key] for key in ("data", "split", "evaluation")}
    wanted = {}
    for model in recipe["model"]:
        settings = {key: value for key, value in model.items() if key != "name"}
        wanted[model["name"]] = {p.key: p.value for p in params(settings | around)}
    # A cross validation without a fold is all of its folds.
    free = {"seed", "split.fold"} if recipe["split"].get("fold") is None else {"seed"}
    client = store.open()
    with explained(store):
        experiments = experiments_of(client, None)
        names = {e.experiment_id: e.name for e in experiments}
        found = []
        for run in _filtered(client, experiments, None):
            settings = {key: value for key, value in run.data.params.items() if key not in free}
            same = settings == wanted.get(run.data.tags["recae.model"])
            if same and int(run.data.tags["recae.seed"]) in recipe["seeds"]:
                found.append(_tracked_evaluation(client, run, names, answers=False))
    if not found:
        raise ComparisonError(f"no finished run in {store.name} has the settings of this recipe")
    return found


def _filtered(
    client: MlflowClient, experiments: Sequence[Experiment], where: str | None
) -> list[Run]:
    """Raises ComparisonError where there are none, and where the filter is none."""
    try:
        runs = list(search(client, where or "", experiments))
    except MlflowException as refusal:
        if where is None or not is_mistake(refusal):
            raise
        raise ComparisonError(f"{where!r} is no filter: {sentence(refusal)}") from None
    found = [
        run for run in runs if run.info.status == "FINISHED" and "recae.model" in run.data.tags
    ]
    if not found:
        told = "" if where is None else f" of which {where!r} holds"
        raise ComparisonError(f"there are no finished runs{told}")
    return found


def load_run_model(store: Store, run: str) -> Recommender:
    """The model of a finished run, named by its id (also as runs:/ID) or its name, or by what it
    is registered as.

    Raises RecaeError where there is no such run, or more than one.
    """
    client = store.open()
    with explained(store):
        return read_model(store, only(client, store, run))


def load_run_recipe(store: Store, run: str) -> dict[str, Any]:
    """The resolved recipe of a finished run, named like that of `load_run_model`; of a cross
    validation with the fold that is the run's.

    Raises RecaeError where there is no such run, or more than one.
    """
    client = store.open()
    with explained(store):
        found = only(client, store, run)
        recipe = read_recipe(client, found)
    if (fold := fold_of(found)) is not None:
        recipe["split"]["fold"] = fold
    return recipe


def only(client: MlflowClient, store: Store, wanted: str) -> Run:
    """The finished run of that id (also as runs:/ID) or name, or the one whose model is registered
    as models:/NAME@ALIAS or models:/NAME/VERSION. Raises ComparisonError where there is no such
    run, RecaeError where there is more than one."""
    if wanted.startswith("models:/"):
        return _registered(client, store, wanted)
    found = _chosen(client, store, experiments_of(client, None), wanted)
    if len(found) > 1:
        names = ", ".join(sorted(run.info.run_name for run in found))
        raise RecaeError(f"{wanted!r} stands for {len(found)} runs ({names}): name one of them")
    return found[0]


def _registered(client: MlflowClient, store: Store, uri: str) -> Run:
    version = registered_version(client, store, uri)
    run = client.get_run(version.run_id) if version.run_id else None
    if run is None or "recae.sweep" not in run.data.tags:
        raise ComparisonError(f"{uri} is not a model that recae trained")
    return run


def registered_version(client: MlflowClient, store: Store, uri: str) -> ModelVersion:
    """What models:/NAME@ALIAS or models:/NAME/VERSION stands for. Raises ComparisonError."""
    try:
        return _version(client, uri)
    except MlflowException as refusal:
        if not is_mistake(refusal):
            raise
        known = ", ".join(sorted(model.name for model in client.search_registered_models()))
        raise ComparisonError(
            f"there is no model {uri} in {store.name}: name it as models:/NAME@ALIAS or "
            f"models:/NAME/VERSION; registered are {known or 'none'}"
        ) from None


def _version(client: MlflowClient, uri: str) -> ModelVersion:
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if at:
        return client.get_model_version_by_alias(name, alias)
    name, _, number = name.partition("/")
    return client.get_model_version(name, number)


def experiments_of(client: MlflowClient, name: str | None) -> list[Experiment]:
    """The experiment of that name; all, where none is given. Raises ComparisonError."""
    known = list(client.search_experiments())
    chosen = [experiment for experiment in known if name in (None, experiment.name)]
    if not chosen:
        names = ", ".join(repr(experiment.name) for experiment in known)
        raise ComparisonError(f"there is no experiment {name!r}: there are {names}")
    return chosen


def _chosen(
    client: MlflowClient, store: Store, experiments: Sequence[Experiment], wanted: str | None
) -> list[Run]:
    """The finished runs that `wanted` stands for. Raises ComparisonError where there are none."""
    wanted = None if wanted is None else wanted.removeprefix("runs:/")
    if (direct := _by_id(client, experiments, wanted)) is not None:
        return [direct]
    unfinished: Run | None = None
    for run in search(client, "", experiments):
        if not _is_called(run, wanted):
            continue
        runs = _sweep_of(client, experiments, run, wanted)
        if finished := [one for one in runs if one.info.status == "FINISHED"]:
            return finished
        unfinished = unfinished or run
    if unfinished is not None and wanted is not None:
        state = unfinished.info.status.lower()
        raise ComparisonError(f"run {wanted!r} has no results: it is {state}")
    if wanted is not None:
        raise ComparisonError(f"there is no run {wanted!r} in {store.name}{_waiting(store)}")
    remedy = _waiting(store) or ": train a recipe first"
    raise ComparisonError(f"there are no finished runs in {store.name}{remedy}")


def _by_id(
    client: MlflowClient, experiments: Sequence[Experiment], wanted: str | None
) -> Run | None:
    """The finished run of a model with this id: twenty ids are not searched for one by one."""
    if wanted is None or not _ID.fullmatch(wanted):
        return None
    with suppress(MlflowException):
        run = client.get_run(wanted)
        inside = run.info.experiment_id in {each.experiment_id for each in experiments}
        active = run.info.lifecycle_stage == "active" and run.info.status == "FINISHED"
        if inside and active and "recae.model" in run.data.tags:
            return run
    return None


def _waiting(store: Store) -> str:
    count = waiting(store).total()
    return f", and {count} in {store.outbox.name}: run `recae track sync`" if count else ""


def _is_called(run: Run, wanted: str | None) -> bool:
    tags = run.data.tags
    if "recae.sweep" not in tags:
        return False
    return wanted in (None, run.info.run_id, run.info.run_name, tags.get("recae.model"))


def _sweep_of(
    client: MlflowClient, experiments: Sequence[Experiment], run: Run, wanted: str | None
) -> list[Run]:
    """Of the sweep of `run`, the runs of models that are called `wanted`; all where `wanted` is
    nothing or the parent."""
    if wanted == run.info.run_id and "recae.model" in run.data.tags:
        return [run]
    same = f"tags.`recae.sweep` = '{run.data.tags['recae.sweep']}'"
    runs = [r for r in search(client, same, experiments) if "recae.model" in r.data.tags]
    return [r for r in runs if _is_called(r, wanted)] if "recae.model" in run.data.tags else runs


def _tracked_evaluation(
    client: MlflowClient, run: Run, names: Mapping[str, str], answers: bool
) -> TrackedEvaluation:
    info, tags = run.info, run.data.tags
    return TrackedEvaluation(
        info.run_id,
        info.run_name,
        tags["recae.model"],
        int(tags["recae.seed"]),
        fold_of(run),
        dict(run.data.params),
        names[info.experiment_id],
        info.experiment_id,
        datetime.fromtimestamp(info.start_time / 1000, UTC),
        cost_of(run),
        read_evaluation(client, run, answers=answers),
    )
