"""Restricted Boltzmann machines over what is known of each row, learned by contrastive divergence.

    E(v, h) = A(v) - sum_j b_j h_j - sum over c, j of v_c W_cj h_j
    F(v) = -log sum over h of exp(-E(v, h)) = A(v) - sum_j log(1 + exp(b_j + sum_c v_c W_cj))

Every row has a machine of its own with one visible unit for each of its entries, and all machines
share their weights: what is absent is no unit, neither zero nor missing (Salakhutdinov, Mnih and
Hinton 2007, section 2). A is the energy of the visible units alone; it says of which kind they are:
one of L levels, Gaussian with variance 1, or Bernoulli.

Contrastive divergence (Hinton 2002) follows <dF/dW> at the data less <dF/dW> at what T steps of
Gibbs sampling make of them. That is the gradient of F(data) - F(fantasy) with the fantasy held
fixed, so autograd finds it, and no kind of unit needs a learning rule of its own.

Legend: R rows, C columns, E entries, L levels, H hidden units, W width of a dense input.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Final, Literal, NamedTuple, Self, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from recae.nn.axes import Axes
from recae.nn.heads import Loss
from recae.nn.network import Learner, Lesson
from recae.nn.sides import Seen
from recae.nn.sparse import Matrix, Structure, at_entries

Unit: TypeAlias = Literal["gaussian", "bernoulli"]

_INITIAL_SCALE: Final = 0.01
"""Standard deviation of initial weights: Hinton 2010, section 8."""


class Visible(ABC):
    """Visible units of R rows in one state v. `weights` and `bias` are of all columns, whatever
    entries a row has; their shapes are the subclass's."""

    @abstractmethod
    def inputs(self, weights: Tensor) -> Tensor:
        """v W: [R, H], differentiable in `weights`."""

    @abstractmethod
    def energy(self, bias: Tensor) -> Tensor:
        """A(v), summed over rows: [], differentiable in `bias`."""

    @abstractmethod
    def reconstructed(self, weights: Tensor, bias: Tensor, hidden: Tensor) -> Self:
        """The same units in a state that hidden units [R, H] call for; no gradient."""


_V = TypeVar("_V", bound=Visible)


@dataclass(frozen=True, eq=False)
class Levels(Visible):
    """One softmax unit of L levels at each entry; weights [L, C, H], bias [L, C]."""

    structure: Structure
    levels: Tensor
    """[E] int64, row-major: which level is on."""
    kept: Tensor
    """[E]: 1, or 0 where the entry is taken for absent."""
    n_levels: int
    chances: Tensor | None = None
    """[L, E], of the levels from which these were drawn; None of data."""

    @cached_property
    def one_hot(self) -> Matrix:
        """[R, L C]: a one at (row, column of its level) for every entry that is kept."""
        s = self.structure
        n_columns = s.shape[1]
        columns = self.levels * n_columns + s.columns
        return Matrix.of(Structure.of(s.row_starts, columns, self.n_levels * n_columns), self.kept)

    def inputs(self, weights: Tensor) -> Tensor:
        return self.one_hot @ weights.flatten(0, 1)

    def energy(self, bias: Tensor) -> Tensor:
        return -(self.one_hot @ bias.flatten()[:, None]).sum()

    def reconstructed(self, weights: Tensor, bias: Tensor, hidden: Tensor) -> Levels:
        """A draw; its entries that are taken for absent have chances too."""
        chances = level_chances(self.structure, weights, bias, hidden)
        points = torch.rand_like(chances[0])
        drawn = (chances[:-1].cumsum(dim=0) <= points).sum(dim=0)
        return replace(self, levels=drawn, chances=chances)


def level_chances(structure: Structure, weights: Tensor, bias: Tensor, hidden: Tensor) -> Tensor:
    """p(v_rc = l | h_r) at every entry: [L, E] (Salakhutdinov et al. 2007, eq. 1), no gradient.

    weights [L, C, H], bias [L, C], hidden [R, H].
    """
    with torch.no_grad():
        logits = torch.stack([at_entries(structure, hidden, part) for part in weights])
        logits += bias[:, structure.columns.long()]
        return logits.softmax(dim=0)


@dataclass(frozen=True, eq=False)
class Entries(Visible):
    """One real unit at each entry; weights [C, H], bias [C].

    row_scale [R, 1]: what the weights of a row's machine are multiplied by, so that codes of long
        and short rows have one size, as in an encoder that divides by the root of their length.
    Reconstructions are expectations: noise of the visible units only slows learning down (Hinton
    2010, section 3.2).
    """

    values: Matrix
    unit: Unit
    row_scale: Tensor

    @classmethod
    def of(cls, seen: Seen, unit: Unit, *, normalize: bool) -> Entries:
        """What is seen; nothing of it may be hidden. `normalize`: divide by the root of counts."""
        counts = seen.counts[:, None]
        scale = counts.clamp(min=1).rsqrt() if normalize else torch.ones_like(counts)
        return cls(seen.values, unit, scale)

    def inputs(self, weights: Tensor) -> Tensor:
        return (self.values @ weights) * self.row_scale

    def energy(self, bias: Tensor) -> Tensor:
        return _energy(self.unit, self.values.by_row, bias[self.values.structure.columns.long()])

    def reconstructed(self, weights: Tensor, bias: Tensor, hidden: Tensor) -> Entries:
        structure = self.values.structure
        with torch.no_grad():
            inputs = at_entries(structure, hidden * self.row_scale, weights)
            means = _mean(self.unit, inputs + bias[structure.columns.long()])
        return replace(self, values=Matrix.of(structure, means))


class Layer(NamedTuple):
    """The parameters of a machine: weights [C, H], hidden bias [H], or [R, H] where rows differ in
    it, visible bias [C]; of `Levels` weights [L, C, H] and visible bias [L, C]."""

    weights: Tensor
    hidden_bias: Tensor
    visible_bias: Tensor
    hidden_unit: Unit = "bernoulli"
    """`gaussian` for linear codes (Hinton and Salakhutdinov 2006)."""


def up(layer: Layer, visible: Visible) -> Tensor:
    """E[h | v]: [R, H]; of Bernoulli units also the chance to be on. Differentiable."""
    return _mean(layer.hidden_unit, visible.inputs(layer.weights) + layer.hidden_bias)


def free_energy(layer: Layer, visible: Visible) -> Tensor:
    """F(v), summed over rows: [], differentiable in the layer."""
    inputs = visible.inputs(layer.weights) + layer.hidden_bias
    hidden = softplus(inputs) if layer.hidden_unit == "bernoulli" else inputs**2 / 2
    return visible.energy(layer.visible_bias) - hidden.sum()


def fantasy(layer: Layer, visible: _V, gibbs: int) -> _V:
    """What `gibbs` steps of Gibbs sampling make of `visible`; a step draws the hidden units, then
    reconstructs."""
    with torch.no_grad():
        for _ in range(gibbs):
            drawn = _draw(layer.hidden_unit, up(layer, visible))
            visible = visible.reconstructed(layer.weights, layer.visible_bias, drawn)
    return visible


def contrast(layer: Layer, visible: _V, gibbs: int) -> tuple[Tensor, _V]:
    """A loss whose gradient is that of contrastive divergence, [], and the fantasy in it. The value
    of the loss says nothing."""
    imagined = fantasy(layer, visible, gibbs)
    return free_energy(layer, visible) - free_energy(layer, imagined), imagined


# --- a layer to start a stack of encoders from


class Machine(Learner):
    """A layer of a stack taken for a machine (Hinton and Salakhutdinov 2006). Weights and hidden
    biases are the layer's own, so what is learned is in the stack; visible biases are new.

    weights: [C, H] over entries, or, `upright`, [H, C] as `nn.Linear` has them.
    """

    def __init__(
        self,
        weights: nn.Parameter,
        hidden_bias: nn.Parameter,
        *,
        unit: Unit,
        upright: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.weights, self.hidden_bias = weights, hidden_bias
        self.visible_bias = nn.Parameter(weights.new_zeros(weights.shape[1 if upright else 0]))
        self.unit, self.upright, self.normalize = unit, upright, normalize

    @property
    def metric(self) -> str:
        return "reconstruction"

    def summary(self, error: float) -> float:
        return math.sqrt(error)

    @property
    def takes_batches(self) -> bool:
        return True

    def lesson(self, data: Seen, seen: Seen, counted: Tensor | None) -> Lesson:
        """Of all data: a machine draws its hidden units, which is noise enough."""
        weights = self.weights.T if self.upright else self.weights
        visible = Entries.of(data, self.unit, normalize=self.normalize)
        loss, imagined = contrast(Layer(weights, self.hidden_bias, self.visible_bias), visible, 1)
        squares = (imagined.values.by_row - visible.values.by_row) ** 2
        number = max(len(squares), 1)
        return Lesson(Loss(loss / number, squares.sum() / number, number), 0.0, {})


# --- a model of its own


class LevelMachine(Learner):
    """The machine of Salakhutdinov, Mnih and Hinton 2007, over entries whose values are the places
    of their levels, 0 to L - 1.

    stars [L]: what levels stand for. rates [L, C]: logarithms of how usual each level is in each
    column, from which visible biases start, and to which regularisation shrinks them.
    Weights are a column's own plus what all columns share, so that a generous row is generous to
    rare columns too; the paper has the former alone.
    conditional: hidden units also read which entries there are (eq. 8, the matrix D).
    """

    axes: ClassVar[Axes] = {
        "weights": ("levels", "columns", None),
        "common": ("levels", None, None),
        "visible_bias": ("levels", "columns"),
        "presence": ("columns", None),
    }

    stars: Tensor
    rates: Tensor

    def __init__(
        self, stars: Tensor, rates: Tensor, hidden: int, *, conditional: bool, gibbs: int
    ) -> None:
        super().__init__()
        self.gibbs = gibbs
        self.register_buffer("stars", stars)
        self.register_buffer("rates", rates)
        self.weights = nn.Parameter(torch.randn(*rates.shape, hidden) * _INITIAL_SCALE)
        self.common = nn.Parameter(torch.zeros(len(rates), 1, hidden))
        self.visible_bias = nn.Parameter(torch.zeros_like(rates))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.presence = nn.Parameter(torch.zeros(rates.shape[1], hidden)) if conditional else None

    def layer(self, seen: Seen) -> Layer:
        """The parameters as rows meet them, of which these entries are known."""
        bias: Tensor = self.hidden_bias
        if self.presence is not None:
            bias = bias + seen.mask @ self.presence
        return Layer(self.weights + self.common, bias, self.biases())

    def biases(self) -> Tensor:
        """[L, C]: of the visible units."""
        return self.rates + self.visible_bias

    def hidden(self, seen: Seen) -> Tensor:
        """E[h | what is seen]: [R, H]."""
        return up(self.layer(seen), _levels(seen, len(self.stars)))

    def summary(self, error: float) -> float:
        return math.sqrt(error)

    def lesson(self, data: Seen, seen: Seen, counted: Tensor | None) -> Lesson:
        """The loss of contrastive divergence on what is seen, an entry; its error is the mean
        squared one, at the entries that count, of what the fantasy expects there."""
        loss, imagined = contrast(self.layer(seen), _levels(seen, len(self.stars)), self.gibbs)
        assert imagined.chances is not None
        errors = self.stars @ imagined.chances - self.stars[data.values.by_row.long()]
        wanted = data.mask.by_row if counted is None else counted
        error = (errors**2 * wanted).sum() / wanted.sum().clamp(min=1)
        number = seen.counts.sum().clamp(min=1)
        return Lesson(Loss(loss / number, error.detach(), number), 0.0, {})


def _levels(seen: Seen, n_levels: int) -> Levels:
    return Levels(seen.values.structure, seen.values.by_row.long(), seen.mask.by_row, n_levels)


def _energy(unit: Unit, values: Tensor, bias: Tensor) -> Tensor:
    each = (values - bias) ** 2 / 2 if unit == "gaussian" else -values * bias
    return each.sum()


def _mean(unit: Unit, inputs: Tensor) -> Tensor:
    return inputs if unit == "gaussian" else inputs.sigmoid()


def _draw(unit: Unit, means: Tensor) -> Tensor:
    return means + torch.randn_like(means) if unit == "gaussian" else torch.bernoulli(means)
