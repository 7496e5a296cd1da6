"""Ensembles: the mean over seeds, and weighted sums of different models.

    r_ui = b_ui + sum over members m of w_m (r_ui(m) - b_ui),    w_m >= 0

b is the shrunk baseline, r(m) what member m says, not clipped; the sum is, once. Members are models
like any other, and ensembles among them. Shapes: M members, U users, N items, R ratings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from scipy.optimize import nnls

from recae import splits
from recae.errors import DataError
from recae.models.autorec import AutoRec
from recae.models.base import Fitted, Floats, Lesson, Recommender
from recae.models.fits import Arrays, Fit, fit_in_a_row, fits_of, prefixed, under
from recae.models.places import Places
from recae.ratings import Ratings
from recae.splits import Holdout

_WEIGHTS: Final = "weights"
_SAID: Final = "said"


@dataclass(frozen=True, eq=False)
class _Learned:
    """Fitted members, and the weight of each: [M]."""

    members: tuple[Recommender, ...]
    weights: Floats


@dataclass(eq=False)
class _Ensemble(Recommender):
    """Members fitted to the same ratings, and a weighted sum of what they say."""

    _learned: _Learned | None = field(default=None, init=False, repr=False)

    @abstractmethod
    def _parts(self) -> tuple[Recommender, ...]:
        """What is fitted, one a weight; itself it stays unfitted."""

    @property
    def weights(self) -> Floats:
        """[M]: what each member counts. Raises NotFittedError."""
        return self._get().weights

    def _get(self) -> _Learned:
        if self._learned is None:
            _ = self.fitted
            raise DataError("this model was not trained to its end: fit it again or resume")
        return self._learned

    # --- learning

    def _fits(
        self,
        lesson: Lesson,
        keep: Callable[[Recommender], Arrays] = lambda model: model.state(),
    ) -> list[Fit]:
        """Of every member, going on from what it was where the lesson has a past."""
        past = lesson.past
        before = () if past is None else cast(_Ensemble, past.model)._get().members
        return fits_of(self._parts(), lesson, before, keep)

    def steps_of_update(self, share: float) -> int:
        return sum(part.steps_of_update(share) for part in self._parts())

    def _take(self, states: Sequence[Arrays], weights: Floats) -> None:
        self.restore(prefixed(states) | {_WEIGHTS: weights})

    # --- predicting

    def _stars(self, history: Ratings) -> Floats:
        learned = self._get()
        parts = (member._stars(history) for member in learned.members)
        return self._sum(self.fitted.baseline.stars(history), parts)

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        learned = self._get()
        parts = (member._stars_at(history, places) for member in learned.members)
        baseline = self.fitted.baseline.stars_at(history, places.users, places.items)
        return self._sum(baseline, parts)

    def _sum(self, baseline: Floats, parts: Iterable[Floats]) -> Floats:
        weights = self.weights
        stars = (1 - weights.sum()) * baseline
        for weight, part in zip(weights, parts, strict=True):
            stars += weight * part
        return np.asarray(stars)

    # --- keeping

    def state(self) -> Arrays:
        learned = self._get()
        states = prefixed([member.state() for member in learned.members])
        return {_WEIGHTS: learned.weights} | states

    def restore(self, arrays: Arrays) -> None:
        members = tuple(member.fresh(self.fitted) for member in self._parts())
        for place, member in enumerate(members):
            member.restore(under(place, arrays))
        self._learned = _Learned(members, arrays[_WEIGHTS])


@dataclass(eq=False)
class Average(_Ensemble):
    """The mean of what `size` models say that differ in nothing but their seeds."""

    member: Recommender = field(default_factory=AutoRec.dual)
    """The model; in a recipe a table with its kind and settings."""
    size: int = 4
    """How many."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")
        _check_member(self.member)

    @property
    def steps(self) -> int:
        return self.size * self.member.steps

    def _parts(self) -> tuple[Recommender, ...]:
        return (self.member,) * self.size

    def _learn(self, lesson: Lesson) -> None:
        self._learned = None
        states = fit_in_a_row(self._fits(lesson), lesson.report, lesson.resume)
        self._take(states, _equal(self.size))

    @property
    def levels(self) -> Floats:
        return self._get().members[0].levels

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        # What their mean expects is the mean of what they expect, so it agrees with `predict`. A
        # stack has no such thing: its weights need not sum to 1.
        chances = (member._chances_at(history, places) for member in self._get().members)
        return np.asarray(sum(chances) / np.float32(self.size))


@dataclass(eq=False)
class Stack(_Ensemble):
    """A weighted sum of different models, with the weights that predict best what the models have
    not seen (Breiman 1996, "Stacked regressions", where they are not negative either).

    The members are fitted twice: to all but a share `holdout` of the ratings, on which non-negative
    least squares gives the weights, and then to everything.
    """

    members: tuple[Recommender, ...] = field(
        default_factory=lambda: (AutoRec.dual(), AutoRec.item())
    )
    """The models; in a recipe a list of tables, each with its kind and settings."""
    holdout: float = 0.1
    """Share of the ratings that the weights are learned from, drawn uniformly."""

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("members must be at least one model")
        for member in self.members:
            _check_member(member)
        if not 0 < self.holdout < 1:
            raise ValueError(f"holdout must be between 0 and 1, not {self.holdout}")

    @property
    def steps(self) -> int:
        return 2 * sum(member.steps for member in self.members)

    def _parts(self) -> tuple[Recommender, ...]:
        return self.members

    def _learn(self, lesson: Lesson) -> None:
        self._learned = None
        count, report, resume = len(self.members), lesson.report, lesson.resume
        if lesson.past is not None:
            weights = cast(Stack, lesson.past.model).weights
            self._take(fit_in_a_row(self._fits(lesson), report, resume), weights)
            return
        if self.holdout * len(lesson.train) < count:
            # Fewer ratings than weights tell nothing of them.
            self._take(fit_in_a_row(self._fits(lesson), report, resume), _equal(count))
            return
        hidden = splits.random(lesson.train, test=self.holdout, rng=lesson.rng).test
        rest = Fitted.of(hidden.history)
        most = Lesson(hidden.history, rest, lesson.rng)
        first = self._fits(most, keep=lambda model: _said(model, hidden))
        kept = fit_in_a_row(first + self._fits(lesson), report, resume)
        said = [arrays[_SAID] for arrays in kept[:count]]
        system = np.column_stack([*said, hidden.target.stars])
        rows, columns = hidden.target.rows, hidden.target.columns.astype(np.int64)
        baseline = rest.baseline.stars_at(hidden.history, rows, columns)
        self._take(kept[count:], non_negative(system - baseline[:, None]))


def _said(model: Recommender, hidden: Holdout) -> Arrays:
    """What a model that was fitted to the rest says of what was hidden from it: [R]."""
    return {_SAID: model._stars_at(hidden.history, model._targets(hidden))}


def non_negative(system: Floats) -> Floats:
    """argmin over w >= 0 of |A w - y|^2, [M], where `system` is A and y side by side: [R, M + 1].

    By the triangle of a QR decomposition, which has the same residuals in M + 1 rows.
    """
    triangle = np.asarray(np.linalg.qr(system.astype(np.float64), mode="r"))
    weights, _ = nnls(triangle[:, :-1], triangle[:, -1])
    return np.asarray(weights, dtype=np.float32)


def _equal(count: int) -> Floats:
    return np.full(count, 1 / count, dtype=np.float32)


def _check_member(member: object) -> None:
    """Raises ValueError."""
    if not isinstance(member, Recommender):
        raise ValueError(f"a member must be a model, not {member!r}")
    if not member.predicts_stars:
        raise ValueError(
            f"{type(member).__name__} only ranks, and an ensemble sums stars: leave it out"
        )
