"""Running a recipe: split, fit, evaluate, track, for every model, seed and fold; then compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recae.comparison import Comparison, compare, replicates
from recae.errors import DataError, RecipeError
from recae.evaluation import Evaluation, evaluate
from recae.intervals import Intervals
from recae.memory import forget_peak, peak_megabytes
from recae.models import Recommender
from recae.nn.training import Progress
from recae.ratings import Ratings
from recae.recipes import IntervalsRecipe, ModelRecipe, Recipe
from recae.splits import Split


@dataclass(frozen=True)
class Plan:
    """One run before it starts: what is tracked of it from the first second."""

    experiment: str
    recipe_name: str
    recipe: dict[str, Any]
    recipe_digest: str
    model: str
    """The model's name in the recipe."""
    kind: str
    params: dict[str, Any]
    seed: int
    data: str
    data_digest: str
    split_digest: str
    fold: int | None = None
    """Of a cross validation, from 0; None: the split is another one."""
    folds: int = 1
    """How many the recipe trains."""

    @property
    def name(self) -> str:
        """Of the run: the model's, and which of several seeds and of several folds."""
        seed = f"-{self.seed}" if len(self.recipe["seeds"]) > 1 else ""
        return f"{self.model}{seed}{self._fold}"

    @property
    def folder(self) -> str:
        """Of the model, where it is saved beside others: the name, always with the seed."""
        return f"{self.model}-{self.seed}{self._fold}"

    @property
    def _fold(self) -> str:
        return f"-fold{self.fold}" if self.folds > 1 else ""


@dataclass(frozen=True)
class Cost:
    """What a fit took; of several fits their mean."""

    seconds: float
    megabytes: float
    """The most that the process held meanwhile: Python, libraries and data included."""

    @classmethod
    def mean(cls, costs: Sequence[Cost]) -> Cost:
        """Of the fits of one model."""
        return cls(
            float(np.mean([cost.seconds for cost in costs])),
            float(np.mean([cost.megabytes for cost in costs])),
        )


@dataclass(frozen=True)
class Outcome:
    """One run when it is over."""

    plan: Plan
    model: Recommender
    evaluation: Evaluation
    cost: Cost
    run_id: str | None = None
    """None where untracked."""


class TrackedRun(Protocol):
    """An open run of a tracker."""

    run_id: str | None
    checkpoint: Path | None
    """Where training is to go on from, if this run was interrupted before."""

    @property
    def spent(self) -> float:
        """Seconds of training before the interruption, as far as they are not done again."""

    def progress(self, progress: Progress) -> None:
        """Metrics of an epoch; now and then a checkpoint."""

    def finish(self, outcome: Outcome) -> None:
        """Everything that is kept of a run."""


class Tracker(Protocol):
    """Where runs are kept. `resume`: runs of an interrupted sweep are continued, not repeated."""

    def finished(self, plan: Plan) -> Outcome | None:
        """The run of this plan in the sweep that is being resumed, if it was finished."""

    def run(self, plan: Plan) -> AbstractContextManager[TrackedRun]:
        """Opens a run, or reopens the interrupted one of this plan when resuming. Leaving by an
        exception marks it failed, by an interrupt killed."""


class _UntrackedRun:
    run_id: str | None = None
    checkpoint: Path | None = None
    spent = 0.0

    def progress(self, progress: Progress) -> None:
        pass

    def finish(self, outcome: Outcome) -> None:
        pass


class Untracked:
    """Keeps nothing."""

    def finished(self, plan: Plan) -> Outcome | None:
        """Nothing is known of earlier runs."""
        return None

    def run(self, plan: Plan) -> AbstractContextManager[TrackedRun]:
        """A run that leaves no trace."""
        return nullcontext(_UntrackedRun())


@dataclass
class Listener:
    """Who wants to know how it goes; every callback may be left out."""

    on_data: Callable[[Ratings, Split], None] = field(default=lambda ratings, split: None)
    on_start: Callable[[Plan], None] = field(default=lambda plan: None)
    on_progress: Callable[[Plan, Progress], None] = field(default=lambda plan, progress: None)
    on_finish: Callable[[Outcome], None] = field(default=lambda outcome: None)


@dataclass(frozen=True)
class Report:
    """What a recipe came to."""

    recipe: Recipe
    ratings: Ratings
    splits: dict[int | None, Split]
    """By fold; a split that is no cross validation under None."""
    outcomes: list[Outcome]
    evaluations: dict[str, list[Evaluation]]
    """By model, one a seed, which pools the folds where there are several."""
    comparison: Comparison

    @property
    def split(self) -> Split:
        """The split, of several folds the first."""
        return next(iter(self.splits.values()))

    @property
    def costs(self) -> dict[str, Cost]:
        """By model, over seeds and folds."""
        models = dict.fromkeys(outcome.plan.model for outcome in self.outcomes)
        return {
            name: Cost.mean([o.cost for o in self.outcomes if o.plan.model == name])
            for name in models
        }

    def model(self, name: str) -> Recommender:
        """The fitted model of that name, of the first seed and fold."""
        return next(o.model for o in self.outcomes if o.plan.model == name)


def run(
    recipe: Recipe, *, tracker: Tracker | None = None, listener: Listener | None = None
) -> Report:
    """Every model with every seed on every fold, compared with the recipe's baseline.

    Raises DataError for the data and the split, RecipeError for what cannot be done with several
    folds, RecaeError where training fails.
    """
    tracker, listener = tracker or Untracked(), listener or Listener()
    ratings = recipe.data.load()
    splits = recipe.splits(ratings)
    _check(recipe, ratings, splits.values())
    listener.on_data(ratings, next(iter(splits.values())))
    outcomes = []
    for plan, model in _plans(recipe, ratings, splits):
        done = tracker.finished(plan)
        split = splits[plan.fold]
        outcome = done or _run(plan, model.build(), recipe, split, tracker, listener)
        listener.on_finish(outcome)
        outcomes.append(outcome)
    evaluations = replicates(
        (o.plan.model, o.plan.seed, o.plan.fold, o.evaluation) for o in outcomes
    )
    baseline = recipe.baseline or recipe.models[0].name
    comparison = compare(evaluations, baseline=baseline, rng=np.random.default_rng(0))
    return Report(recipe, ratings, splits, outcomes, evaluations, comparison)


def _plans(
    recipe: Recipe, ratings: Ratings, splits: Mapping[int | None, Split]
) -> Iterator[tuple[Plan, ModelRecipe]]:
    """Seed by seed, so that each is complete before the next begins; then fold by fold."""
    for seed, (fold, split), model in product(recipe.seeds, splits.items(), recipe.models):
        plan = Plan(
            recipe.experiment,
            recipe.name,
            recipe.resolved,
            recipe.digest,
            model.name,
            model.kind,
            model.params,
            seed,
            recipe.data.source,
            ratings.digest,
            split.digest,
            fold,
            recipe.folds,
        )
        yield plan, model


def _check(recipe: Recipe, ratings: Ratings, splits: Iterable[Split]) -> None:
    """What can be told before training is not told after it. Raises DataError, RecipeError."""
    rankers = [model.name for model in recipe.models if not model.model.predicts_stars]
    if recipe.folds > 1 and rankers:
        raise RecipeError(
            f"{rankers[0]} only ranks, and of several folds stars alone are pooled: leave it out, "
            "or name one fold, like `fold = 0`"
        )
    if recipe.evaluation.intervals and any(split.validation is None for split in splits):
        raise RecipeError(
            "intervals are calibrated on validation ratings, and this split has none: hold some "
            "out, like `validation = 0.05` in [split]"
        )
    if recipe.show is not None:
        ratings.users.rows([recipe.show.user])
    relevant = recipe.evaluation.relevant
    low, high = ratings.scale
    if relevant is not None and not low <= relevant <= high:
        raise DataError(f"relevant is {relevant:g}, outside the scale {low:g} to {high:g}")


def _run(
    plan: Plan,
    model: Recommender,
    recipe: Recipe,
    split: Split,
    tracker: Tracker,
    listener: Listener,
) -> Outcome:
    listener.on_start(plan)
    with tracker.run(plan) as tracked:

        def on_epoch(progress: Progress) -> None:
            tracked.progress(progress)
            listener.on_progress(plan, progress)

        forget_peak()
        began = time.perf_counter()
        model.fit(
            split.train,
            validation=split.validation,
            rng=np.random.default_rng(plan.seed),
            on_epoch=on_epoch,
            resume=tracked.checkpoint,
        )
        cost = Cost(tracked.spent + time.perf_counter() - began, peak_megabytes())
        scoring = recipe.evaluation
        evaluation = evaluate(
            model,
            split.test,
            n=scoring.n,
            relevant=scoring.relevant,
            intervals=_intervals(model, scoring.intervals, split, plan.seed),
        )
        # The holdout alone does not tell what was trained on; the split's digest does.
        evaluation = replace(
            evaluation, protocol=evaluation.protocol | {"split": plan.split_digest}
        )
        outcome = Outcome(plan, model, evaluation, cost, tracked.run_id)
        tracked.finish(outcome)
    return outcome


def _intervals(
    model: Recommender, wanted: IntervalsRecipe | None, split: Split, seed: int
) -> Intervals | None:
    """Calibrated on the validation ratings; none for a model that only ranks. Raises DataError."""
    if wanted is None or not model.predicts_stars:
        return None
    assert split.validation is not None
    rng = np.random.default_rng(seed)
    held = split.validation
    return Intervals.of(model, held, level=wanted.level, method=wanted.method, rng=rng)
