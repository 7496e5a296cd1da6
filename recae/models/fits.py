"""Several fits in a row, seen from outside as one: one count of steps, one checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from recae.errors import RecaeError
from recae.models.base import Lesson, Recommender
from recae.models.bridge import load_weights, weights_of
from recae.models.updating import Past
from recae.nn.network import Learner
from recae.nn.sides import Seen
from recae.nn.training import DivergedError, Progress, Report, Training, train

Arrays: TypeAlias = dict[str, NDArray[Any]]
L = TypeVar("L", bound=Learner)

_DONE: Final = "done"
_RUNNING: Final = "running"


class Part(Protocol):
    """One of the fits."""

    @property
    def steps(self) -> int: ...

    def recall(self, kept: Arrays) -> None:
        """It was over before training went on from a checkpoint, and this is what was kept."""

    def run(self, report: Report | None, resume: Path | None) -> Arrays:
        """Do it; what is kept."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A copy of `model` learns; of it remains what `keep` takes."""

    model: Recommender
    lesson: Lesson
    keep: Callable[[Recommender], Arrays]

    @property
    def steps(self) -> int:
        past = self.lesson.past
        return self.model.steps if past is None else self.model.steps_of_update(past.share)

    def recall(self, kept: Arrays) -> None:
        """Nothing: what was kept is for whom the fits are."""

    def run(self, report: Report | None, resume: Path | None) -> Arrays:
        """Do it; what is kept."""
        model = self.model.fresh(self.lesson.fitted)
        model._learn(self.lesson._replace(report=report, resume=resume))
        return self.keep(model)


def fits_of(
    members: Sequence[Recommender],
    lesson: Lesson,
    before: Sequence[Recommender],
    keep: Callable[[Recommender], Arrays] = lambda model: model.state(),
) -> list[Fit]:
    """Of every member to the lesson's ratings, with randomness of its own.

    before: fitted members that they go on from, where the lesson has a past; else none.
    """
    pasts: list[Past | None] = [None] * len(members)
    if lesson.past is not None:
        pasts = [Past(member, lesson.past.share) for member in before]
    return [
        Fit(member, Lesson(lesson.train, lesson.fitted, rng, past=past), keep)
        for member, rng, past in zip(members, lesson.rng.spawn(len(members)), pasts, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Pass(Generic[L]):
    """Training of a network, or of a part of it; its weights remain, in place."""

    learner: L
    data: Callable[[], Seen]
    training: Training
    settle: Callable[[], None] = lambda: None
    """To be called when it is over."""
    validate: Callable[[L], dict[str, float]] | None = None
    whole: bool = False
    """It is the network itself, of which some use can be made where it diverges."""

    @property
    def steps(self) -> int:
        return self.training.steps

    def recall(self, kept: Arrays) -> None:
        load_weights(self.learner, kept)
        self.settle()

    def run(self, report: Report | None, resume: Path | None) -> Arrays:
        try:
            best = train(
                self.learner,
                self.data(),
                self.training,
                validate=self.validate,
                report=report,
                resume=resume,
            )
        except DivergedError:
            if self.whole:
                raise
            raise RecaeError("pre-training diverged: lower training.learning_rate") from None
        kept = weights_of(best)
        self.recall(kept)
        return kept


def fit_in_a_row(
    fits: Sequence[Part], report: Report | None = None, resume: Path | None = None
) -> list[Arrays]:
    """What is kept of each of `fits`, in their order.

    A report counts the steps of all of them; its metrics are those of the fit that is running. Its
    checkpoint holds what was kept of the fits that are over, and the checkpoint of the running one.
    """
    done, running = ([], None) if resume is None else _read(resume)
    steps = [fit.steps for fit in fits]
    for fit, kept in zip(fits, done, strict=False):
        fit.recall(kept)
    began = time.perf_counter()
    with TemporaryDirectory() as scratch:
        checkpoint = Path(scratch, "running.safetensors")
        if running is not None:
            running.tofile(checkpoint)

        def said(progress: Progress) -> None:
            def save(path: Path) -> None:
                progress.save(checkpoint)
                _write(path, done, np.fromfile(checkpoint, np.uint8))

            assert report is not None
            step = sum(steps[: len(done)]) + progress.step
            seconds = time.perf_counter() - began
            report(replace(progress, step=step, steps=sum(steps), seconds=seconds, save=save))

        for fit in fits[len(done) :]:
            resumed = checkpoint if checkpoint.exists() else None
            done.append(fit.run(None if report is None else said, resumed))
            checkpoint.unlink(missing_ok=True)
    return done


def prefixed(parts: Sequence[Arrays]) -> Arrays:
    """The arrays of all parts together: what is called "name" in part 2 is "2.name"."""
    return {f"{i}.{name}": array for i, part in enumerate(parts) for name, array in part.items()}


def under(place: int, arrays: Arrays) -> Arrays:
    """The arrays of one part, back from what `prefixed` gave."""
    prefix = f"{place}."
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _write(path: Path, done: Sequence[Arrays], running: NDArray[np.uint8]) -> None:
    arrays = prefixed(done) | {_DONE: np.array([len(done)]), _RUNNING: running}
    partial = path.with_name(path.name + ".part")
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
    partial.replace(path)


def _read(path: Path) -> tuple[list[Arrays], NDArray[np.uint8]]:
    arrays = load_file(path)
    count, running = int(arrays.pop(_DONE)[0]), arrays.pop(_RUNNING)
    return [under(place, arrays) for place in range(count)], running
