"""The tracker: sweeps of runs, new ones and those that go on after an interruption."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from mlflow.entities import Param, Run

from recae.errors import RecaeError
from recae.running import Outcome, Plan
from recae.tracking.artifacts import cost_of, read_evaluation, read_model
from recae.tracking.drafts import Draft
from recae.tracking.labels import datasets, experiment, fold_of, origin, params, whereabouts
from recae.tracking.outbox import BEGUN, MEANT, deliver
from recae.tracking.runs import OpenRun, Place
from recae.tracking.store import Store, StoreError, explained, search, tolerated

_logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class _Sweep:
    """The sweep that is going on; `earlier` are its runs from before it was interrupted."""

    id: str
    experiment: str
    experiment_id: str
    parent: Draft | None
    parent_id: str | None
    earlier: dict[tuple[str, int, int | None], Run]
    left: int
    """Runs that are not over yet."""
    complete: bool = True
    """No run ended otherwise than finished."""


class MlflowTracker:
    """Keeps the runs of one invocation of a recipe; a `running.Tracker`.

    Where the store cannot be used, at the start or later, the sweep goes on in the outbox: it is
    told once, and the store is not asked again.
    """

    def __init__(self, store: Store, *, resume: bool = False) -> None:
        """`resume`: go on with the newest interrupted sweep of the same recipe and split; what
        waits in the outbox is delivered before.

        Raises RecaeError where neither the store nor the outbox can be used.
        """
        self._meant = self._store = store
        self._resume = resume
        self._sweep: _Sweep | None = None
        try:
            self._client = store.open(create=True)
        except StoreError as trouble:
            self._leave(trouble)
        else:
            if resume:
                list(deliver(store))

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
        leaves it or its results cannot be kept; killed where an interrupt does.

        Raises RecaeError where neither the store nor the outbox can be used, or there is nothing to
        resume.
        """
        sweep = self._opened(plan)
        tracked = self._tracked(plan, sweep)
        status, interrupted, reason = "KILLED", True, None
        try:
            with tracked.watched():
                yield tracked
            status, interrupted = "FINISHED" if tracked.kept else "FAILED", False
        except Exception as trouble:
            status, reason = "FAILED", str(trouble)
            raise
        finally:
            sweep.left -= 1
            sweep.complete &= status == "FINISHED"
            with tolerated("the end of a run could not be tracked"):
                tracked.end(status, reason)
                self._settle(sweep, status if interrupted else None)

    def _opened(self, plan: Plan) -> _Sweep:
        if self._sweep is None:
            if self._resume:
                self._sweep = self._kept(lambda: self._resumed(plan))
            else:
                sweep = _new(plan)
                self._kept(lambda: self._begin(sweep))
                self._sweep = sweep
        return self._sweep

    def _kept(self, act: Callable[[], T]) -> T:
        """What `act` does in the store or, where that fails, in the outbox."""
        try:
            with explained(self._store):
                return act()
        except StoreError as trouble:
            self._leave(trouble)
        with explained(self._store):
            return act()

    def _leave(self, trouble: StoreError) -> None:
        """From here on, runs are kept in the outbox. Raises the trouble where they are already."""
        if self._store.is_outbox:
            raise trouble
        outbox = self._store.outbox
        self._client, self._store = outbox.open(create=True), outbox
        _logger.warning(
            "%s; what is tracked is kept in %s until `recae track sync` delivers it",
            trouble,
            outbox.name,
        )
        if self._sweep is not None:
            if self._sweep.parent is not None:
                self._sweep.parent.tags[BEGUN] = "true"
            self._begin(self._sweep)

    def _moved(self, draft: Draft, sweep: _Sweep, trouble: StoreError) -> Place:
        """A run that the store could not take to its end, in the outbox."""
        self._leave(trouble)
        draft.tags[BEGUN] = "true"
        return self._placed(draft, sweep)

    def _placed(self, draft: Draft, sweep: _Sweep) -> Place:
        run_id = self._created(draft, sweep.experiment_id, sweep.parent_id)
        return Place(self._client, self._store, run_id)

    def _created(self, draft: Draft, experiment_id: str, parent: str | None) -> str:
        if self._store.is_outbox:
            draft.tags[MEANT] = self._meant.name
        return draft.create(self._client, experiment_id, parent)

    def _begin(self, sweep: _Sweep) -> None:
        sweep.experiment_id = experiment(self._client, self._store, sweep.experiment)
        if sweep.parent is not None:
            sweep.parent_id = self._created(sweep.parent, sweep.experiment_id, None)

    def _resumed(self, plan: Plan) -> _Sweep:
        runs = self._interrupted(plan)
        if not runs:
            raise RecaeError(
                f"there is nothing to resume: no interrupted run of this recipe on this split in "
                f"{self._store.name}"
            )
        if any(BEGUN in run.data.tags for run in runs):
            raise RecaeError(
                f"what is to be resumed was begun in {runs[0].data.tags[MEANT]}, which cannot be "
                "used now, and holds a part of it: resume when it is back"
            )
        earlier = {
            (run.data.tags["recae.model"], int(run.data.tags["recae.seed"]), fold_of(run)): run
            for run in runs
            if "recae.model" in run.data.tags
        }
        above = next((run for run in runs if "recae.model" not in run.data.tags), None)
        done = sum(run.info.status == "FINISHED" for run in earlier.values())
        sweep = _Sweep(
            runs[0].data.tags["recae.sweep"],
            plan.experiment,
            runs[0].info.experiment_id,
            None if above is None else _here(above),
            None if above is None else above.info.run_id,
            earlier,
            _size(plan) - done,
        )
        if sweep.parent is not None:
            sweep.parent.complete(self._client, str(sweep.parent_id))
            self._client.update_run(str(sweep.parent_id), status="RUNNING")
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
        def move(draft: Draft, trouble: StoreError) -> Place:
            return self._moved(draft, sweep, trouble)

        earlier = sweep.earlier.get(_key(plan))
        if earlier is not None:
            place = Place(self._client, self._store, earlier.info.run_id)
            reopened = OpenRun(_here(earlier), place, move)
            reopened.reopen()
            return reopened
        tags = _tags(plan, sweep) | {
            "recae.model": plan.model,
            "recae.kind": plan.kind,
            "recae.seed": str(plan.seed),
        }
        if plan.fold is not None:
            tags["recae.fold"] = str(plan.fold)
        draft = Draft.new(plan.name, tags, _params(plan), datasets(plan))
        return OpenRun(draft, self._kept(lambda: self._placed(draft, sweep)), move)

    def _settle(self, sweep: _Sweep, interrupted: str | None) -> None:
        """End the parent when its last run is over, or at once when one was interrupted."""
        if sweep.parent is not None and (interrupted or not sweep.left):
            status = interrupted or ("FINISHED" if sweep.complete else "FAILED")
            self._kept(lambda: self._client.set_terminated(str(sweep.parent_id), status))


def _new(plan: Plan) -> _Sweep:
    """A sweep that is nowhere yet."""
    sweep = _Sweep(uuid.uuid4().hex[:12], plan.experiment, "", None, None, {}, _size(plan))
    if sweep.left > 1:
        sweep.parent = Draft.new(plan.recipe_name, _tags(plan, sweep))
    return sweep


def _here(run: Run) -> Draft:
    """An earlier run, now of this process."""
    draft = Draft.of(run)
    draft.tags.update(whereabouts())
    return draft


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
