"""The restricted Boltzmann machine for collaborative filtering.

    p(r_ui = level l | u) = softmax over l of (b_il + sum_j E[h_j | ratings of u] W_ilj)

Salakhutdinov, Mnih and Hinton 2007: one machine a user, with a softmax unit for each item that the
user rated and no unit for the others; all share their weights. Predictions are one pass up and one
down. No baseline is subtracted: being generous, too, is a matter of hidden units, and what these
say of every item alike is learned from all items together (W_ilj = a_lj + a_ilj, not in the paper).
Shapes: U users of a history, N items, L levels, K = k hidden units, R ratings, T places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recae.errors import DataError, RecaeError
from recae.metrics import rmse
from recae.models.base import Floats, Lesson, Recommender, dots
from recae.models.bridge import (
    check_device,
    device_of,
    load_weights,
    numpy_of,
    seeded,
    structure,
    weights_of,
)
from recae.models.levels import MOST_LEVELS
from recae.models.places import Places
from recae.models.updating import old_places, same_levels, schedule, steps_of
from recae.nn.carrying import carry
from recae.nn.rbm import LevelMachine
from recae.nn.sides import Seen
from recae.nn.training import DivergedError, Training, train
from recae.ratings import Ratings

_SHRINK: Final = 10.0
"""Ratings of the usual levels that every item is taken to have beside its own, where base rates
are counted."""


@dataclass(frozen=True, eq=False)
class _Learned:
    """The machine, and what its visible units know. Row N is of an item that the model does not
    know; as for any item that nobody rated, the mean over ratings stands in for it."""

    machine: LevelMachine
    weights: Floats
    """[L, N + 1, K]."""
    bias: Floats
    """[L, N + 1]."""

    @classmethod
    def of(cls, machine: LevelMachine, item_counts: NDArray[Any]) -> _Learned:
        share = (item_counts / item_counts.sum()).astype(np.float32)
        unrated = np.append(item_counts == 0, True)

        def completed(array: Floats) -> Floats:
            mean = np.einsum("n,ln...->l...", share, array)[:, None]
            array = np.concatenate([array, mean], axis=1)
            array[:, unrated] = mean
            return array

        weights, bias = numpy_of(machine.weights + machine.common), numpy_of(machine.biases())
        return cls(machine, completed(weights), completed(bias))


@dataclass(eq=False)
class RBM(Recommender):
    """Restricted Boltzmann machine with softmax visible units (Salakhutdinov, Mnih and Hinton
    2007), trained by contrastive divergence."""

    k: int = 20
    """Hidden units; the paper has 100, for a thousand times as many ratings."""
    conditional: bool = True
    """Hidden units also read which items were rated (section 4 of the paper)."""
    gibbs: int = 1
    """Steps of Gibbs sampling, T of CD-T; the paper goes from 1 to 9 in the course of learning."""
    training: Training = field(
        default_factory=lambda: Training(
            objective="reconstruct", learning_rate=0.01, weight_decay=0.0, l2=20.0, ema=0.95
        )
    )
    """`split`: at each step the machines have only the units of ratings that are not hidden."""
    device: str = "auto"
    """`auto`: CUDA where there is one, else CPU; or a torch device."""

    _levels: Floats | None = field(default=None, init=False, repr=False)
    _learned: _Learned | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("k", "gibbs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        check_device(self.device)

    # --- learning

    @property
    def steps(self) -> int:
        return self.training.steps

    def steps_of_update(self, share: float) -> int:
        return steps_of(self.training, share)

    def _learn(self, lesson: Lesson) -> None:
        self._learned = None
        self._levels = _levels_of(lesson.train)
        device, validation = device_of(self.device), lesson.validation

        def finish(machine: LevelMachine) -> None:
            self._learned = _Learned.of(machine, self.fitted.item_counts)

        def validate(machine: LevelMachine) -> dict[str, float]:
            assert validation is not None
            finish(machine)
            return {"val/rmse": rmse(validation.target.stars, self.predict_at(validation))}

        with seeded(lesson.rng, device):
            rates = _log_rates(lesson.train, self._levels)
            machine = self._machine(torch.from_numpy(rates)).to(device)
            training = schedule(self.training, lesson.past)
            if lesson.past is not None:
                self._carry(machine, lesson)
            if training is None:
                finish(machine.eval())
                return
            diverged = None
            try:
                best: LevelMachine | None = train(
                    machine,
                    self._seen(lesson.train, device),
                    training,
                    validate=None if validation is None else validate,
                    report=lesson.report,
                    resume=lesson.resume,
                )
            except DivergedError as trouble:
                best, diverged = cast(LevelMachine | None, trouble.kept), trouble
            except ValueError as trouble:
                raise RecaeError(str(trouble)) from None
        if best is not None:
            finish(best)
        if diverged is not None:
            raise RecaeError(f"{diverged}: lower training.learning_rate")

    def _carry(self, machine: LevelMachine, lesson: Lesson) -> None:
        """Begin with what an earlier machine of the same settings learned."""
        assert lesson.past is not None
        before = cast(RBM, lesson.past.model)
        levels = torch.from_numpy(same_levels(self.levels, before.levels))
        at = {**old_places(lesson.fitted, before.fitted), "levels": levels}
        carry(before._get().machine, machine, at)

    def _machine(self, rates: torch.Tensor) -> LevelMachine:
        levels = torch.from_numpy(self.levels)
        return LevelMachine(levels, rates, self.k, conditional=self.conditional, gibbs=self.gibbs)

    def _seen(self, ratings: Ratings, device: torch.device) -> Seen:
        """The place of its level for each rating. A history may have stars that training had not:
        they count as the nearest level."""
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        places = np.searchsorted(middles, ratings.stars).astype(np.float32)
        return Seen.everything(
            structure(ratings.matrix, device), torch.from_numpy(places).to(device)
        )

    # --- predicting

    @property
    def levels(self) -> Floats:
        if self._levels is None:
            _ = self.fitted
            raise self._unfinished()
        return self._levels

    def _stars(self, history: Ratings) -> Floats:
        learned, hidden = self._get(), torch.from_numpy(self._hidden(history))
        weights, bias = (torch.from_numpy(a[:, :-1]) for a in (learned.weights, learned.bias))
        logits = torch.stack(
            [torch.addmm(b, hidden, w.T) for w, b in zip(weights, bias, strict=True)]
        )
        return self._expected(logits.softmax(dim=0).numpy())

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        return self._expected(self._chances_at(history, places).T)

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        learned, hidden = self._get(), self._hidden(history)
        users, items, _ = places
        logits = [
            dots(hidden, weights, users, items) + bias[items]
            for weights, bias in zip(learned.weights, learned.bias, strict=True)
        ]
        return np.asarray(torch.from_numpy(np.stack(logits, axis=1)).softmax(dim=1).numpy())

    def _expected(self, chances: Floats) -> Floats:
        """Stars, of chances [L, ...]: [...]."""
        return np.asarray(np.tensordot(self.levels, chances, axes=1))

    def _hidden(self, history: Ratings) -> Floats:
        """E[h | history]: [U, K]. The same pass for users of training and for new ones."""
        machine = self._get().machine
        with torch.no_grad():
            return numpy_of(machine.hidden(self._seen(history, machine.stars.device)))

    def _get(self) -> _Learned:
        if self._learned is None:
            _ = self.fitted
            raise self._unfinished()
        return self._learned

    def _unfinished(self) -> DataError:
        return DataError("this model was not trained to its end: fit it again or resume")

    # --- keeping

    def state(self) -> dict[str, NDArray[Any]]:
        return weights_of(self._get().machine)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._levels = arrays["network.stars"]
        with torch.random.fork_rng(devices=[]):
            machine = self._machine(torch.from_numpy(arrays["network.rates"]))
        load_weights(machine, arrays)
        machine = machine.to(device_of(self.device)).eval()
        self._learned = _Learned.of(machine, self.fitted.item_counts)


def _levels_of(train_on: Ratings) -> Floats:
    """The different stars, ascending: [L]. One alone is a level too. Raises DataError."""
    levels = np.unique(train_on.stars)
    if len(levels) > MOST_LEVELS:
        raise DataError(
            f"ratings take {len(levels)} different values, too many for the levels of an RBM: "
            "round them, or choose another model"
        )
    return np.asarray(levels)


def _log_rates(train_on: Ratings, levels: Floats) -> Floats:
    """Logarithm of the share of each level among the ratings of each item, shrunk: [L, N]. Biases
    start from them, as in section 2.3 of the paper."""
    n, places = len(train_on.items), np.searchsorted(levels, train_on.stars)
    cells = np.bincount(places * n + train_on.columns, minlength=n * len(levels))
    counts = cells.reshape(len(levels), n).astype(np.float64)
    usual = counts.sum(axis=1, keepdims=True) / counts.sum()
    shares = (counts + _SHRINK * usual) / (counts.sum(axis=0) + _SHRINK)
    return np.asarray(np.log(shares), dtype=np.float32)
