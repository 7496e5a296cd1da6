"""The study: draws trials, stops the hopeless ones, goes on after an interruption."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from recae.errors import RecaeError
from recae.models.persistence import plain
from recae.nn.training import Progress
from recae.recipes import ModelRecipe
from recae.tuning.spaces import Spaces, flat
from recae.tuning.trials import (
    State,
    StudyListener,
    StudyPlan,
    StudyTracker,
    TrackedStudy,
    TrackedTrial,
    Trial,
    UntrackedStudies,
    best_first,
    loss,
    measure,
)

if TYPE_CHECKING:
    import optuna

_REPORTS: Final = 10
"""How often a trial is judged on every inner split. Trials of different length are compared at the
same share of their training, and a share more often would cost more than it tells."""
_REPORTS_SETTING: Final = "training.reports"
_WARMUP: Final = 5
"""Reports before a trial may be pruned: learning rates fall to zero, and early in training a high
one looks worse than it ends."""
_STARTUP: Final = 4
"""Trials that end before any is pruned."""

_OUTCOME: Final = "outcome"
"""What a trial keeps in Optuna's file: the fields of Trial that are not known from elsewhere."""


class Study:
    """A search over the settings of one model. Its first trial is the model as it is by default,
    so it never ends with worse than that."""

    def __init__(
        self,
        spaces: Spaces,
        model: str,
        *,
        seed: int = 0,
        tracker: StudyTracker | None = None,
        resume: bool = False,
        experiment: str | None = None,
        listener: StudyListener | None = None,
    ) -> None:
        """Reads the data. `seed`: of the draws and of the models. `resume`: go on with the newest
        study of the same space, model, seed and data.

        Raises RecaeError where Optuna is not installed, where there is nothing to resume, for a
        space that cannot be used, and for the data.
        """
        _require_optuna()
        self._model, self._seed = model, seed
        self._spaces, self._choices = spaces, spaces.of(model)
        self._tracker, self._listener = tracker or UntrackedStudies(), listener or StudyListener()
        ratings, self._splits = spaces.split()
        self._listener.on_data(ratings, self._splits)
        recipe = spaces.inner[0]
        default = json.loads(json.dumps(plain(spaces.recipe(model, {}).model.params)))
        self._measure = measure(spaces.recipe(model, {}), spaces.scoring)
        self._default: dict[str, Any] = dict(flat(default))
        self.trials: list[Trial] = []
        """Those that are over, in their order; known while it runs."""
        name = _named(f"{model}-{self._digest()[:12]}", self._tracker.folder, resume)
        self.plan = StudyPlan(
            name,
            experiment or f"{recipe.experiment} tuning",
            model,
            _about(spaces, model, seed),
            recipe.data.source,
            ratings.digest,
            resume,
        )

    @property
    def best(self) -> Trial | None:
        """The best trial that finished."""
        finished = [trial for trial in self.trials if trial.state == "finished"]
        return best_first(finished)[0] if finished else None

    def run(self, trials: int) -> None:
        """Go on until there are `trials` in all; an interrupt leaves those there are.

        Raises RecaeError where the store cannot be reached, and where the study that is to be
        resumed is going on in another process.
        """
        with self._tracker.study(self.plan) as tracked:
            self._study = self._opened()
            self._settle_interrupted()
            self.trials = self._kept()
            while len(self.trials) < trials:
                self.trials.append(self._next(tracked))
                self._listener.on_finish(self.trials[-1])
            tracked.finish(best_first(self.trials))

    # --- one trial

    def _next(self, tracked: TrackedStudy) -> Trial:
        """Draw, try, and keep what came of it."""
        number = len(self.trials)
        # A seed for every trial: a study that goes on draws what it would have drawn anyway, also
        # for the trial that was interrupted.
        self._study.sampler = _sampler(self._seed, number)
        asked = self._study.ask() if number else self._asked_for_defaults()
        settings = self._drawn(asked) if number else {}
        self._listener.on_start(number, self._model)
        with tracked.trial(number, self._default | settings) as kept:
            began = time.perf_counter()
            state, value, reason = self._tried(asked, settings, kept)
            seconds = time.perf_counter() - began
            trial = Trial(
                number, self._model, settings, state, self._measure, value, seconds, reason
            )
            # Before Optuna is told, so that a trial that is over for Optuna has an outcome.
            asked.set_user_attr(_OUTCOME, _outcome(trial))
            _tell(self._study, asked, trial)
            kept.finish(trial)
        return trial

    def _drawn(self, asked: optuna.Trial) -> dict[str, Any]:
        """Settings by dotted name."""
        return {name: choice.draw(asked, name) for name, choice in self._choices.items()}

    def _asked_for_defaults(self) -> optuna.Trial:
        """The trial of the model as it is by default, with those of its values that could have
        been drawn, so that the sampler learns from them."""
        known = {
            name: choice
            for name, choice in self._choices.items()
            if choice.holds(self._default[name])
        }
        if all(trial.state.name != "WAITING" for trial in self._study.get_trials(deepcopy=False)):
            told = {name: choice.told(self._default[name]) for name, choice in known.items()}
            self._study.enqueue_trial(told)
        asked = self._study.ask()
        for name, choice in known.items():
            choice.draw(asked, name)
        return asked

    def _tried(
        self, asked: optuna.Trial, settings: dict[str, Any], kept: TrackedTrial
    ) -> tuple[State, float, str]:
        """State, loss, and the reason of a failure."""
        seen = [math.inf]
        try:
            return "finished", self._mean_loss(asked, settings, kept, seen), ""
        except _PrunedError:
            return "pruned", seen[-1], ""
        except RecaeError as trouble:
            return "failed", math.inf, str(trouble)

    def _mean_loss(
        self,
        asked: optuna.Trial,
        settings: dict[str, Any],
        kept: TrackedTrial,
        seen: list[float],
    ) -> float:
        """Over the inner splits. What is reported on the way is appended to `seen`."""
        if _REPORTS_SETTING in self._default and _REPORTS_SETTING not in settings:
            settings = settings | {_REPORTS_SETTING: _REPORTS}
        recipe = self._spaces.recipe(self._model, settings)
        losses: list[float] = []

        def judge(step: int, values: list[float]) -> None:
            seen.append(float(np.mean(values)))
            if not math.isfinite(seen[-1]):
                raise RecaeError(f"its {self._measure} is {seen[-1]}")
            asked.report(seen[-1], step)
            if step < _REPORTS * len(self._splits) and asked.should_prune():
                raise _PrunedError

        for place, split in enumerate(self._splits):
            watch = self._watch(place, recipe, kept, lambda s, v: judge(s, [*losses, v]))
            losses.append(loss(recipe, split, self._spaces.scoring, self._seed, watch))
            judge((place + 1) * _REPORTS, losses)
        return seen[-1]

    def _watch(
        self,
        place: int,
        recipe: ModelRecipe,
        kept: TrackedTrial,
        judge: Callable[[int, float], None],
    ) -> Callable[[Progress], None]:
        """Hears of the training on the inner split number `place`, and passes on to `judge` the
        steps of the whole trial at which it is to be judged."""
        judged = 0

        def on_epoch(progress: Progress) -> None:
            nonlocal judged
            kept.progress(place, progress)
            share = progress.step / progress.steps
            self._listener.on_progress((place + share) / len(self._splits), progress)
            report = math.floor(share * _REPORTS)
            # The last one is judged when it is scored, with everything that scoring says.
            value = progress.metrics.get("val/rmse")
            if value is not None and recipe.model.predicts_stars and judged < report < _REPORTS:
                judged = report
                judge(place * _REPORTS + report, value)

        return on_epoch

    # --- what is kept

    def _opened(self) -> optuna.Study:
        """The study with its file, where it has one."""
        import optuna

        folder, name = self._tracker.folder, self.plan.name
        return optuna.create_study(
            study_name=name,
            storage=None if folder is None else _storage(folder / f"{name}.jsonl"),
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(_STARTUP, _WARMUP),
        )

    def _digest(self) -> str:
        """SHA-256 of all that decides what the trials are."""
        about = {
            "model": self._model,
            "seed": self._seed,
            "choices": {name: asdict(choice) for name, choice in self._choices.items()},
            "splits": [split.digest for split in self._splits],
            "scoring": asdict(self._spaces.scoring),
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _settle_interrupted(self) -> None:
        """A trial that an interrupted process left open is given up, and drawn again; one that
        was over, of which Optuna was not told any more, counts."""
        for left in self._study.get_trials(deepcopy=False):
            if left.state.name == "RUNNING":
                outcome = left.user_attrs.get(_OUTCOME)
                over = Trial(left.number, self._model, **outcome) if outcome else None
                _tell(self._study, left.number, over)

    def _kept(self) -> list[Trial]:
        over = [
            trial.user_attrs[_OUTCOME]
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.is_finished() and _OUTCOME in trial.user_attrs
        ]
        return [Trial(number, self._model, **outcome) for number, outcome in enumerate(over)]


class _PrunedError(Exception):
    """Leaves the training of a trial that is stopped."""


def _about(spaces: Spaces, model: str, seed: int) -> dict[str, Any]:
    """What a study is about, as it is tracked."""
    recipe = spaces.inner[0].resolved
    split = {key: value for key, value in recipe["split"].items() if key != "seed"}
    seeds = [inner.resolved["split"].get("seed") for inner in spaces.inner]
    around = {"data": recipe["data"], "split": split, "inner_seeds": seeds}
    return {"kind": model, "seed": seed} | around


def _outcome(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in asdict(trial).items() if key not in ("number", "model")}


def _tell(study: optuna.Study, trial: optuna.Trial | int, over: Trial | None) -> None:
    """Tell Optuna that a trial is over; None: it was interrupted."""
    from optuna.trial import TrialState

    match over:
        case Trial(state="finished"):
            study.tell(trial, over.loss)
        case Trial(state="pruned"):
            study.tell(trial, state=TrialState.PRUNED)
        case _:
            study.tell(trial, state=TrialState.FAIL)


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    import optuna

    (own,) = np.random.SeedSequence([seed, number]).generate_state(1)
    # Each setting for itself: the trial of the defaults need not have them all.
    return optuna.samplers.TPESampler(seed=int(own), multivariate=False)


def _named(study: str, folder: Path | None, resume: bool) -> str:
    """With a number: studies that start anew leave the earlier ones as they are.

    Raises RecaeError where there is nothing to resume.
    """
    files = [] if folder is None else folder.glob(f"{study}-*.jsonl")
    number = max((int(file.stem.rpartition("-")[2]) for file in files), default=0)
    if resume and not number:
        raise RecaeError(
            "there is nothing to resume: no study of this space, model, seed and data is in "
            f"{folder or 'any folder'}"
        )
    return f"{study}-{number if resume else number + 1}"


def _storage(file: Path) -> optuna.storages.BaseStorage:
    """A file to which Optuna appends a line for all that happens."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        _drop_torn_line(file)
    return JournalStorage(JournalFileBackend(str(file)))


def _drop_torn_line(file: Path) -> None:
    """A disk that was full leaves half a line, after which Optuna could not read any more."""
    text = file.read_bytes()
    whole = text.rpartition(b"\n")[0]
    if text and not text.endswith(b"\n"):
        file.write_bytes(whole + b"\n" if whole else b"")


def _require_optuna() -> None:
    """It says nothing itself. Raises RecaeError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise RecaeError("tuning needs Optuna: pip install 'recae[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
