"""One trial: a model fitted and scored on every inner split. Who keeps trials, and who watches."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np

from recae.errors import RecaeError
from recae.evaluation import evaluate
from recae.nn.training import Progress
from recae.ratings import Ratings
from recae.recipes import EvaluationRecipe, ModelRecipe, Recipe
from recae.splits import Holdout, Split
from recae.tuning.spaces import Spaces

RMSE: Final = "RMSE"

State: TypeAlias = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One trial when it is over."""

    number: int
    model: str
    settings: dict[str, Any]
    """Those chosen, by dotted name; none: the model as it is by default."""
    state: State
    measure: str
    """What the loss is: RMSE in stars, or like 1 - NDCG@10 of a model that only ranks."""
    loss: float
    """Mean over the inner splits. Where pruned, the last that was seen of it; infinite where
    failed."""
    seconds: float
    """On all inner splits, with scoring."""
    reason: str = ""
    """Why it failed."""

    @property
    def record(self) -> dict[str, Any]:
        """As it is written to files."""
        return {
            "trial": self.number,
            "model": self.model,
            "state": self.state,
            "measure": self.measure,
            "loss": self.loss,
            "seconds": self.seconds,
            "settings": self.settings,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class StudyPlan:
    """A study before it starts: what is tracked of it from the first second."""

    name: str
    experiment: str
    model: str
    settings: dict[str, Any]
    """What the study is about: data, split, inner seeds, seed."""
    data: str
    data_digest: str
    resumed: bool


class TrackedTrial(Protocol):
    """An open trial of a tracker."""

    def progress(self, place: int, progress: Progress) -> None:
        """Metrics of an epoch on the inner split number `place`."""

    def finish(self, trial: Trial) -> None:
        """What came of it."""


class TrackedStudy(Protocol):
    """An open study of a tracker."""

    def trial(self, number: int, params: dict[str, Any]) -> AbstractContextManager[TrackedTrial]:
        """Opens a trial; `params`: all settings by dotted name. Leaving by an exception marks it
        failed, by an interrupt killed."""

    def finish(self, trials: Sequence[Trial]) -> None:
        """What came of it, the best first."""


class StudyTracker(Protocol):
    """Where studies are kept."""

    folder: Path | None
    """Of the files from which studies go on; None: they do not."""

    def study(self, plan: StudyPlan) -> AbstractContextManager[TrackedStudy]:
        """Opens a study, or reopens it. Leaving by an exception marks it failed, by an interrupt
        killed."""


class _UntrackedTrial:
    def progress(self, place: int, progress: Progress) -> None:
        pass

    def finish(self, trial: Trial) -> None:
        pass


class _UntrackedStudy:
    def trial(self, number: int, params: dict[str, Any]) -> AbstractContextManager[TrackedTrial]:
        return nullcontext(_UntrackedTrial())

    def finish(self, trials: Sequence[Trial]) -> None:
        pass


class UntrackedStudies:
    """Keeps nothing."""

    folder: Path | None = None

    def study(self, plan: StudyPlan) -> AbstractContextManager[TrackedStudy]:
        """A study that leaves no trace."""
        return nullcontext(_UntrackedStudy())


@dataclass
class StudyListener:
    """Who wants to know how it goes; every callback may be left out."""

    on_data: Callable[[Ratings, list[Split]], None] = field(default=lambda ratings, splits: None)
    on_start: Callable[[int, str], None] = field(default=lambda number, model: None)
    on_progress: Callable[[float, Progress], None] = field(default=lambda done, progress: None)
    """With the share of the trial that is done."""
    on_finish: Callable[[Trial], None] = field(default=lambda trial: None)


def held_out(split: Split) -> Holdout:
    """By what an inner split judges: its validation part, and only where it has none, because all
    its ratings are of a training table, its test part."""
    return split.test if split.validation is None else split.validation


def loss(
    recipe: ModelRecipe,
    split: Split,
    scoring: EvaluationRecipe,
    seed: int,
    on_epoch: Callable[[Progress], None] | None = None,
) -> float:
    """Fit and score on one inner split, the smaller the better. Raises RecaeError where that fails.

    scoring: of the lists by which models that only rank are judged.
    With `on_epoch` the held-out part is also scored while training, which changes nothing else.
    """
    holdout = held_out(split)
    model = recipe.build().fit(
        split.train,
        validation=None if on_epoch is None else holdout,
        rng=np.random.default_rng(seed),
        on_epoch=on_epoch,
    )
    found = evaluate(model, holdout, n=scoring.n, relevant=scoring.relevant).metrics
    value = found["rmse"] if model.predicts_stars else 1 - found[f"ndcg_at_{scoring.n}"]
    if not math.isfinite(value):
        raise RecaeError(f"its {measure(recipe, scoring)} is {value}")
    return value


def measure(recipe: ModelRecipe, scoring: EvaluationRecipe) -> str:
    """What `loss` is for this model."""
    return RMSE if recipe.model.predicts_stars else f"1 - NDCG@{scoring.n}"


def frozen(
    spaces: Spaces, recipe: Recipe, *, seed: int = 0, listener: StudyListener | None = None
) -> list[Trial]:
    """The models of a recipe as they are, on the inner splits of a space; nothing is searched."""
    listener = listener or StudyListener()
    ratings, splits = spaces.split()
    listener.on_data(ratings, splits)
    scoring = spaces.scoring
    trials = []
    for number, model in enumerate(recipe.models):
        listener.on_start(number, model.name)
        began = time.perf_counter()
        state, mean, reason = _score(model, splits, scoring, seed)
        seconds = time.perf_counter() - began
        judged = measure(model, scoring)
        trials.append(Trial(number, model.name, {}, state, judged, mean, seconds, reason))
        listener.on_finish(trials[-1])
    return trials


def _score(
    model: ModelRecipe, splits: Sequence[Split], scoring: EvaluationRecipe, seed: int
) -> tuple[State, float, str]:
    try:
        losses = [loss(model, split, scoring, seed) for split in splits]
        return "finished", float(np.mean(losses)), ""
    except RecaeError as trouble:
        return "failed", math.inf, str(trouble)


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """By what is measured; finished ones by loss, then pruned ones, of which less is known, then
    failed ones."""
    states: tuple[State, ...] = ("finished", "pruned", "failed")
    return sorted(trials, key=lambda t: (t.measure != RMSE, states.index(t.state), t.loss))


def as_toml(model: str, settings: Mapping[str, Any]) -> str:
    """A [[model]] block for a recipe."""
    # A number, a text without control characters, a list: TOML writes them as JSON does.
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()
    ]
    return "\n".join(["[[model]]", f"kind = {json.dumps(model)}", *lines])
