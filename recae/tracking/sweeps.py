"""The tracker: sweeps of runs, new ones and those that go on after an interruption."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow.entities import Param, Run, RunTag

from recae.errors import RecaeError
from recae.running import Outcome, Plan
from recae.tracking.artifacts import cost_of, read_evaluation, read_model
from recae.tracking.labels import dataset, experiment, fold_of, origin, params, whereabouts
from recae.tracking.runs import OpenRun
from recae.tracking.store import Store, explained, search, tolerated


@dataclass
class _Sweep:
    """The sweep that is going on; `earlier` are its runs from before it was interrupted."""

    id: str
    experiment_id: str
    parent: str | None
    earlier: dict[tuple[str, int, int | None], Run]
    left: int
    """Runs that are not over yet."""
    complete: bool = True
    """No run ended otherwise than finished."""


class MlflowTracker:
    """Keeps the runs of one invocation of a recipe; a `running.Tracker`."""

    def __init__(self, store: Store, *, resume: bool = False) -> None:
        """`resume`: go on with the newest interrupted sweep of the same recipe and split.

        Raises RecaeError where the store cannot be reached.
        """
        self._store = store
        self._client = store.open(create=True)
        self._resume = resume
        self._sweep: _Sweep | None = None

    def finished(self, plan: Plan) -> Outcome | None:
        """The outcome of `plan` in the sweep that is resumed, if that run was finished.

        Raises RecaeError where there is nothing to resume.
        """
        if not self._resume:
            return None
        run = self._opened(plan).earlier.get(_key(plan))
        if run is None or run.info.status != "FINISHED":
            return None
        with explained(self._store):
            model, evaluation = read_model(self._store, run), read_evaluation(self._client, run)
        return Outcome(plan, model, evaluation, cost_of(run), run.info.run_id)

    @contextmanager
    def run(self, plan: Plan) -> Iterator[OpenRun]:
        """A new run, or the interrupted one reopened. Ends finished; failed where an exception
        leaves it or its results cannot be stored; killed where an interrupt does.

        Raises RecaeError where the store cannot be reached, or there is nothing to resume.
        """
        with explained(self._store):
            sweep = self._opened(plan)
            tracked = self._tracked(plan, sweep)
        status, interrupted = "KILLED", True
        try:
            yield tracked
            status, interrupted = "FINISHED" if tracked.kept else "FAILED", False
        except Exception as trouble:
            status = "FAILED"
            with tolerated("why a run failed could not be tracked"):
                self._client.set_tag(tracked.id, "recae.reason", str(trouble))
            raise
        finally:
            with tolerated("the end of a run could not be tracked"):
                tracked.send()
                self._client.set_terminated(tracked.id, status)
                sweep.left -= 1
                sweep.complete &= status == "FINISHED"
                self._settle(sweep, status if interrupted else None)

    def _opened(self, plan: Plan) -> _Sweep:
        if self._sweep is None:
            with explained(self._store):
                self._sweep = self._resumed(plan) if self._resume else self._new(plan)
        return self._sweep

    def _new(self, plan: Plan) -> _Sweep:
        experiment_id = experiment(self._client, self._store, plan.experiment)
        sweep = _Sweep(uuid.uuid4().hex[:12], experiment_id, None, {}, _size(plan))
        if sweep.left > 1:
            parent = self._client.create_run(
                experiment_id, tags=_tags(plan, sweep), run_name=plan.recipe_name
            )
            sweep.parent = parent.info.run_id
        return sweep

    def _resumed(self, plan: Plan) -> _Sweep:
        runs = self._interrupted(plan)
        if not runs:
            raise RecaeError(
                f"there is nothing to resume: no interrupted run of this recipe on this split in "
                f"{self._store.name}"
            )
        earlier = {
            (run.data.tags["recae.model"], int(run.data.tags["recae.seed"]), fold_of(run)): run
            for run in runs
            if "recae.model" in run.data.tags
        }
        parent = next((run.info.run_id for run in runs if "recae.model" not in run.data.tags), None)
        done = sum(run.info.status == "FINISHED" for run in earlier.values())
        tags, info = runs[0].data.tags, runs[0].info
        sweep = _Sweep(tags["recae.sweep"], info.experiment_id, parent, earlier, _size(plan) - done)
        if parent is not None:
            self._reopen(parent)
            self._settle(sweep, None)
        return sweep

    def _interrupted(self, plan: Plan) -> list[Run]:
        """All runs of the newest sweep of this recipe and split that neither goes on nor is
        complete. Of several folds `plan` is of the first, with which the sweep began."""
        same = f"tags.`recae.recipe_digest` = '{plan.recipe_digest}'"
        sweeps: dict[str, list[Run]] = {}
        for run in search(self._client, same):
            sweeps.setdefault(run.data.tags["recae.sweep"], []).append(run)
        for runs in sweeps.values():
            states = {run.info.status for run in runs}
            splits = {run.data.tags["recae.split_digest"] for run in runs}
            over = "RUNNING" in states or states == {"FINISHED"}
            if plan.split_digest in splits and not over:
                return runs
        return []

    def _tracked(self, plan: Plan, sweep: _Sweep) -> OpenRun:
        earlier = sweep.earlier.get(_key(plan))
        if earlier is not None:
            self._reopen(earlier.info.run_id)
            return OpenRun(self._client, self._store, earlier.info.run_id)
        tags = _tags(plan, sweep) | {
            "recae.model": plan.model,
            "recae.kind": plan.kind,
            "recae.seed": str(plan.seed),
        }
        if plan.fold is not None:
            tags["recae.fold"] = str(plan.fold)
        if sweep.parent is not None:
            tags["mlflow.parentRunId"] = sweep.parent
        run = self._client.create_run(sweep.experiment_id, tags=tags, run_name=plan.name)
        run_id = run.info.run_id
        self._client.log_batch(run_id, params=_params(plan))
        self._client.log_inputs(run_id, [dataset(plan.data, plan.data_digest)])
        return OpenRun(self._client, self._store, run_id)

    def _reopen(self, run_id: str) -> None:
        self._client.log_batch(run_id, tags=[RunTag(k, v) for k, v in whereabouts().items()])
        self._client.update_run(run_id, status="RUNNING")

    def _settle(self, sweep: _Sweep, interrupted: str | None) -> None:
        """End the parent when its last run is over, or at once when one was interrupted."""
        if sweep.parent is not None and (interrupted or not sweep.left):
            status = interrupted or ("FINISHED" if sweep.complete else "FAILED")
            self._client.set_terminated(sweep.parent, status)


def _size(plan: Plan) -> int:
    """How many runs the recipe of `plan` comes to."""
    return len(plan.recipe["seeds"]) * len(plan.recipe["model"]) * plan.folds


def _key(plan: Plan) -> tuple[str, int, int | None]:
    """What tells the runs of a sweep apart."""
    return plan.model, plan.seed, plan.fold


def _tags(plan: Plan, sweep: _Sweep) -> dict[str, str]:
    return origin() | {
        "recae.sweep": sweep.id,
        "recae.recipe_digest": plan.recipe_digest,
        "recae.data": plan.data,
        "recae.data_digest": plan.data_digest,
        "recae.split_digest": plan.split_digest,
    }


def _params(plan: Plan) -> list[Param]:
    """The model's settings under their own names, data, split and evaluation under theirs."""
    around = {key: plan.recipe[key] for key in ("data", "split", "evaluation")}
    if plan.fold is not None:
        around["split"] = around["split"] | {"fold": plan.fold}
    return params({"kind": plan.kind, "seed": plan.seed} | plan.params | around)
