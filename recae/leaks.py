"""Whether predictions know the ratings that they are judged by.

The whole procedure is done again with one thing changed that an honest one cannot see: the stars
that are held out, or which other pairs are asked for. What is predicted then stays as it was.

R held-out ratings, U users. Movements are in stars.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from recae.errors import DataError, RecaeError
from recae.models.base import Recommender
from recae.ratings import Ratings, Scale
from recae.splits import Holdout

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

Procedure: TypeAlias = Callable[[pd.DataFrame, pd.DataFrame], ArrayLike]
"""(train, test) -> stars [R], one a row of test in its order."""

HeldOut: TypeAlias = Holdout | tuple[pd.DataFrame, pd.DataFrame]
"""What may be seen and what is to be predicted; the frames have user, item, stars and any more."""

Kind: TypeAlias = Literal["repeat", "stars", "lists", "rows", "overlap"]
"""What a probe asks about; three of them ask about stars."""

_COLUMNS: Final = ("user", "item", "stars")
_LIST: Final = 10
_NOISE: Final = 10.0
"""A movement is a leak from so many times what two equal runs differ by: the largest of a few
differences of pure noise is often twice the largest of others, and hardly ever ten times."""
_ROUNDING: Final = 1e-4
"""Share of the scale that sums of another length, or threads in another order, may move."""

_FOUND: Final = {
    "stars": "the predictions move by up to {size} when the held-out stars are made others "
    "({place}): fit, scale and predict from training ratings alone",
    "lists": "held-out stars that are made others change the lists of {size} ({place} first): "
    "rank from training ratings alone",
    "rows": "a prediction moves by up to {size} when half of the other held-out pairs are not "
    "asked for ({place}): which pairs are held out says who rated what, so predict each by itself",
    "overlap": "training has seen {size} ({place} first): leave them out of the one or the other",
}
"""What is wrong and what to do, by kind of leak."""


class Learner(Protocol):
    """A model of any library. One whose `fit` takes `y` is given X, the frames without stars, as
    scikit-learn's are; any other is given frames, `predict` the held-out one with its stars."""

    @property
    def fit(self) -> Callable[..., object]:
        """Learn from ratings."""

    @property
    def predict(self) -> Callable[..., ArrayLike]:
        """Stars [R] of rows."""


@dataclass(frozen=True)
class Probe:
    """One thing that was changed, and what came of it.

    size: the largest movement of a prediction, or how many lists changed or pairs were trained on.
    user, item: where that is, None where there is no such place. found: it is a leak.
    """

    name: str
    of: Kind
    size: float
    found: bool
    user: int | str | None = None
    item: int | str | None = None

    @property
    def counts(self) -> str | None:
        """What the size is a number of; None where it is in stars."""
        return {"lists": "user", "overlap": "held-out rating"}.get(self.of)

    @property
    def amount(self) -> str:
        """The size with its unit."""
        if self.counts is None:
            return f"{self.size:.3g} stars"
        return f"{self.size:,.0f} {self.counts}{'' if self.size == 1 else 's'}"

    @property
    def place(self) -> str:
        """The user and item in words, or nothing."""
        named = (("user", self.user), ("item", self.item))
        return ", ".join(f"{what} {each}" for what, each in named if each is not None)


@dataclass(frozen=True)
class LeakReport:
    """What every probe came to.

    deterministic: equal runs predict the same, but for rounding. retrained: users of a fitted model
    who were trained on with a history that is neither the one here nor that with the targets.
    """

    probes: tuple[Probe, ...]
    deterministic: bool
    retrained: int = 0

    @property
    def leaks(self) -> tuple[Probe, ...]:
        """The worst probe of each kind of leak that was found."""
        found = [probe for probe in self.probes if probe.found]
        return tuple(
            max((probe for probe in found if probe.of == kind), key=lambda probe: probe.size)
            for kind in dict.fromkeys(probe.of for probe in found)
        )

    @property
    def verdict(self) -> str:
        """One sentence: a leak and its remedy, that there is none, or why nobody can tell."""
        if not self.retrained:
            return self._found
        return (
            f"{self._found}; but {self.retrained:,} of the users were trained on with other "
            "histories than here, perhaps with ratings that are held out here"
        )

    @property
    def _found(self) -> str:
        if self.leaks:
            kinds = {it.of for it in self.leaks}
            # Whoever reads the stars of a pair moves when it is gone: that says nothing more.
            told = [it for it in self.leaks if it.of != "rows" or "stars" not in kinds]
            said = (_FOUND[it.of].format(size=it.amount, place=it.place) for it in told)
            return f"leak: {'; '.join(said)}"
        if not self.deterministic:
            repeat = self.probes[0]
            return (
                f"no verdict: two runs on the same ratings differ by up to {repeat.amount} "
                f"({repeat.place}), which hides smaller leaks: fix the seed"
            )
        largest = max(probe.size for probe in self.probes if probe.counts is None)
        return f"no leak: {len(self.probes)} probes, largest movement {largest:.2g} stars"

    def __str__(self) -> str:
        rows = [
            f"  {probe.name:<9}{probe.amount}{f' ({probe.place})' if probe.size else ''}"
            for probe in self.probes
        ]
        return "\n".join([self.verdict, *rows])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdict": self.verdict,
            "leak": bool(self.leaks),
            "deterministic": self.deterministic,
            "retrained": self.retrained,
            "probes": [asdict(probe) | {"unit": probe.counts or "star"} for probe in self.probes],
        }


def leak_test(
    tested: Recommender | Learner | type[Learner] | Procedure,
    held_out: HeldOut,
    *,
    rng: np.random.Generator,
) -> LeakReport:
    """Look for held-out ratings in what `tested` predicts.

    tested: a fitted model of ours; or what is run from its start each time, six times in all: a
        function (train, test) -> stars [R], or a model of any library (`Learner`), as a class or
        as an object, of which copies are fitted.
    held_out: a Holdout, or frames (train, test) with the columns user, item, stars and any more.

    Probes: `repeat`, the same again, for what is random anyway; `lowest`, `highest` and
    `permuted`, other held-out stars; `lists`, whether those change what is recommended (of ours
    alone); `rows`, only half of the held-out pairs; `overlap`, held-out pairs that are trained on,
    for a fitted model those of users whose training ratings were history and targets together.

    Raises DataError where there is nothing to predict or what comes back is no prediction,
    NotFittedError, and what a tested function raises.
    """
    if isinstance(tested, Recommender):
        if not isinstance(held_out, Holdout):
            raise DataError("a fitted model of ours is tested on a Holdout: Holdout.of makes one")
        return _probed(_of_model(tested, held_out), rng)
    if isinstance(held_out, Holdout):
        held_out = frame_of(held_out.history), frame_of(held_out.target)
    return _probed(_of_procedure(_procedure(tested), *held_out), rng)


def frame_of(ratings: Ratings) -> pd.DataFrame:
    """[R] rows: user, item, stars, and time where it is known, as a procedure is given them."""
    frame = pd.DataFrame(dict(zip(_COLUMNS, _columns(ratings), strict=True)))
    return frame if ratings.times is None else frame.assign(time=ratings.times)


def _columns(ratings: Ratings) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """[R] each: ids of users and items, and stars."""
    users, items = ratings.users.values[ratings.rows], ratings.items.values[ratings.columns]
    return users, items, ratings.stars


# --- probes


class _Answer(NamedTuple):
    stars: Floats
    """[n]: predictions of the pairs that were asked for."""
    lists: NDArray[Any] = np.empty((0, 0))
    """[U, ...]: what is recommended, one row a user; of models of ours alone."""


@dataclass(frozen=True)
class _Subject:
    """A model or procedure as the probes see it."""

    ask: Callable[[Floats, Mask], _Answer]
    """(stars [R], which pairs are asked for [R]) -> what is answered."""
    users: NDArray[Any]
    """[R], as `items` and `stars`: the held-out ratings."""
    items: NDArray[Any]
    stars: Floats
    scale: Scale
    overlap: Mask
    """[R]: trained on too."""
    listed: NDArray[Any] | None = None
    """[U]: whose lists are answered."""
    retrained: int = 0
    """As in the report."""

    def moved(
        self, name: str, of: Kind, before: Floats, answer: _Answer, asked: Mask, allowed: float
    ) -> Probe:
        """A movement of predictions, a leak where it is more than is allowed."""
        movement = np.abs(answer.stars - before[asked])
        size = float(movement.max())
        place = int(np.flatnonzero(asked)[movement.argmax()])
        return self._at(place, Probe(name, of, size, size > allowed))

    def overlapping(self) -> Probe:
        """Held-out pairs that are trained on."""
        size = int(self.overlap.sum())
        return self._at(int(self.overlap.argmax()), Probe("overlap", "overlap", size, size > 0))

    def _at(self, place: int, probe: Probe) -> Probe:
        if not probe.size:
            return probe
        return replace(probe, user=_plain(self.users[place]), item=_plain(self.items[place]))


def _probed(subject: _Subject, rng: np.random.Generator) -> LeakReport:
    stars = subject.stars
    if not len(stars):
        raise DataError("there is nothing to predict: no rating is held out")
    low, high = subject.scale
    rounding = _ROUNDING * (high - low)
    everything = np.ones(len(stars), dtype=bool)
    first, again = (subject.ask(stars, everything) for _ in range(2))
    repeat = subject.moved("repeat", "repeat", first.stars, again, everything, np.inf)
    allowed = _NOISE * repeat.size
    answers = {
        "lowest": subject.ask(np.full_like(stars, low), everything),
        "highest": subject.ask(np.full_like(stars, high), everything),
        "permuted": subject.ask(rng.permutation(stars), everything),
    }
    half = rng.permutation(len(stars)) % 2 == 0
    fewer = subject.ask(stars, half)
    probes = [
        repeat,
        *(
            subject.moved(name, "stars", first.stars, answer, everything, allowed)
            for name, answer in answers.items()
        ),
        *_lists(subject.listed, first, again, [*answers.values()]),
        subject.moved("rows", "rows", first.stars, fewer, half, max(allowed, rounding)),
        subject.overlapping(),
    ]
    return LeakReport(tuple(probes), repeat.size <= rounding, subject.retrained)


def _lists(
    users: NDArray[Any] | None, first: _Answer, again: _Answer, others: list[_Answer]
) -> Iterator[Probe]:
    """Users whose list changes with the held-out stars, and not by itself; of lists alone."""
    if users is None:
        return

    def changed(answer: _Answer) -> Mask:
        return np.asarray((answer.lists != first.lists).any(axis=1))

    moved = np.any([changed(answer) for answer in others], axis=0) & ~changed(again)
    size = int(moved.sum())
    user = _plain(users[moved.argmax()]) if size else None
    yield Probe("lists", "lists", size, size > 0, user)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- models of ours


def _of_model(model: Recommender, holdout: Holdout) -> _Subject:
    target = holdout.target

    def ask(stars: Floats, kept: Mask) -> _Answer:
        asked = target.with_stars(stars.astype(np.float32)).keep(kept)
        predicted = model.predict_at(Holdout(holdout.history, asked))
        # After the predictions: what a model may have kept of them is found in its lists.
        found = model.recommend(holdout.history, _LIST)
        return _Answer(predicted.astype(np.float64), np.hstack([found.items, found.scores]))

    users, items, stars = _columns(target)
    seen, retrained = _trained_on(model, holdout)
    return _Subject(
        ask,
        users,
        items,
        stars.astype(np.float64),
        target.scale,
        seen[target.rows],
        holdout.history.users.values,
        int(retrained[target.user_counts > 0].sum()),
    )


def _trained_on(model: Recommender, holdout: Holdout) -> tuple[Mask, Mask]:
    """[U] each: users whose training ratings were history and targets together, and those whose
    were others still."""
    ids = holdout.target.users.values
    trained = model.fitted.users.find(ids) >= 0
    same = model.known(holdout.history.over(model.fitted.items)) >= 0
    parts = _columns(holdout.history), _columns(holdout.target)
    users, items, stars = (np.concatenate(both) for both in zip(*parts, strict=True))
    if not len(stars):
        return np.zeros_like(trained), trained & ~same
    whole = Ratings.of(users, items, stars, scale=holdout.target.scale)
    together = np.isin(ids, whole.users.values[model.known(whole) >= 0]) & ~same
    return together, trained & ~same & ~together


# --- everybody's


def _of_procedure(run: Procedure, train: pd.DataFrame, test: pd.DataFrame) -> _Subject:
    for what, frame in (("train", train), ("test", test)):
        missing = [name for name in _COLUMNS if name not in frame.columns]
        if missing:
            raise DataError(
                f"{what} has no column {missing[0]!r}, its columns are "
                f"{', '.join(map(str, frame.columns))}: name them user, item and stars"
            )

    def ask(stars: Floats, kept: Mask) -> _Answer:
        # Whole stars stay whole numbers: all the others are stars of these ratings too.
        asked = test.assign(stars=pd.Series(stars, test.index).astype(test["stars"].dtype))[kept]
        return _Answer(_predictions(run(train.copy(), asked), len(asked)))

    seen, held = train["stars"].to_numpy(np.float64), test["stars"].to_numpy(np.float64)
    both = np.concatenate([seen, held])
    pairs = (pd.MultiIndex.from_frame(frame[["user", "item"]]) for frame in (test, train))
    held_pairs, seen_pairs = pairs
    return _Subject(
        ask,
        test["user"].to_numpy(),
        test["item"].to_numpy(),
        held,
        (float(both.min(initial=np.inf)), float(both.max(initial=-np.inf))),
        held_pairs.isin(seen_pairs),
    )


def _predictions(given: ArrayLike, n: int) -> Floats:
    """[n] of what a procedure returned. Raises DataError for anything else."""
    try:
        predicted = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"what was predicted, a {type(given).__name__}, does not hold numbers alone: return "
            "one for each row of test, in its order"
        ) from None
    if predicted.shape not in ((n,), (n, 1)):
        raise DataError(
            f"predictions of shape {predicted.shape} for {n} held-out ratings: return one for each "
            "row of test, in its order"
        )
    if not np.isfinite(predicted).all():
        raise DataError("some predictions are not finite: say a mean where nothing is known")
    return predicted.reshape(n)


def _procedure(tested: Any) -> Procedure:
    """The function itself, or what fits a new model and lets it predict."""
    if not (hasattr(tested, "fit") and hasattr(tested, "predict")):
        # A class that lacks one of the two would be called as a function.
        if callable(tested) and not isinstance(tested, type):
            return tested  # type: ignore[no-any-return]
        raise DataError(
            f"cannot test {tested!r}: it has no fit and predict, nor is it a function of train "
            "and test"
        )
    if isinstance(tested, type) and issubclass(tested, Recommender):
        raise DataError(f"{tested.__name__} is a class of ours: fit one, and test that")

    def run(train: pd.DataFrame, test: pd.DataFrame) -> ArrayLike:
        model = tested() if isinstance(tested, type) else copy.deepcopy(tested)
        if _takes_y(model.fit):
            model.fit(train.drop(columns="stars"), train["stars"].to_numpy())
            return model.predict(test.drop(columns="stars"))  # type: ignore[no-any-return]
        model.fit(train)
        return model.predict(test)  # type: ignore[no-any-return]

    return run


def _takes_y(fit: Callable[..., Any]) -> bool:
    return "y" in inspect.signature(fit).parameters


# --- scripts


def from_script(path: Path, name: str) -> Any:
    """What is called `name` in a Python file, which is run for it as a module.

    Raises DataError where the file cannot be read or run, or has nothing of that name.
    """
    if not path.is_file():
        raise DataError(f"cannot read {path}: there is no such file")
    # Not its own name, which a module that others import may have.
    module = ModuleType(f"recae_script_{path.stem}")
    module.__file__ = str(path)
    # Dataclasses look their module up while they are made.
    sys.modules[module.__name__] = module
    # As `python FILE` has it: what lies beside the file can be imported, nothing is written there.
    sys.path.insert(0, str(path.parent.resolve()))
    with guarded(path):
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    if not hasattr(module, name):
        raise DataError(f"{path} has nothing called {name!r}")
    return getattr(module, name)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Around code of others: what it prints goes to stderr, and what it raises becomes a DataError
    that says where; also where it exits, which would look like a verdict."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except RecaeError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{path} raised {_told(error, path)}") from error


def _told(error: BaseException, path: Path) -> str:
    """The error, and the line of the file that it came through last."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    where = f" in line {lines[-1]}" if lines else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{where}: {text}" if text else f"{type(error).__name__}{where}"
