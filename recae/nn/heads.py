"""Heads: from the score of a row and a column to a value, and what a wrong one costs.

    z_rc = bias_r + bias_c + <p_r, q_c>,    value = link(z)

Legend: E entries, R rows, C columns, W width of the vectors. A side's part is its vectors [R, W]
and its biases [R].
"""

from __future__ import annotations

import math
from typing import ClassVar, Final, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS
from recae.nn.axes import Axes
from recae.nn.sparse import Matrix, at_entries, biases_at_entries

Part: TypeAlias = tuple[Tensor, Tensor]

_LEAST: Final = 1e-30


class Loss(NamedTuple):
    """Means over `number` entries (or rows): what is minimised, and what is reported of it."""

    mean: Tensor
    error: Tensor
    """Detached; `Head.summary` makes the reported number of its mean over steps."""
    number: Tensor | int


class Head(nn.Module):
    """Contract: `loss` while training, `link` ever after."""

    metric: ClassVar[str] = "rmse"
    """The name of what is reported."""

    def loss(self, rows: Part, columns: Part, values: Matrix, counted: Tensor | None) -> Loss:
        """Of `values`, at the entries where `counted` [E], row-major, is 1; None: at all."""
        raise NotImplementedError

    def link(self, scores: Tensor) -> Tensor:
        """The values that scores stand for, of any shape."""
        return scores

    def summary(self, error: float) -> float:
        """What is reported of a mean `error`."""
        return math.sqrt(error)


class Squares(Head):
    """Squared error, the score being the value."""

    def loss(self, rows: Part, columns: Part, values: Matrix, counted: Tensor | None) -> Loss:
        squares = (scores(rows, columns, values) - values.by_row) ** 2
        error, count = _mean(squares, counted)
        return Loss(error, error.detach(), count)


class Scaled(Head):
    """Values from `low` to `high`: low + (high - low) activation(score), with squared error, or,
    for a sigmoid, the cross-entropy of values brought to 0-1."""

    def __init__(self, low: float, high: float, *, activation: str, entropy: bool) -> None:
        super().__init__()
        self.low, self.span = low, high - low
        self.activation = ACTIVATIONS[activation]
        self.entropy = entropy

    def loss(self, rows: Part, columns: Part, values: Matrix, counted: Tensor | None) -> Loss:
        z = scores(rows, columns, values)
        error, count = _mean((self.link(z) - values.by_row) ** 2, counted)
        if not self.entropy:
            return Loss(error, error.detach(), count)
        shares = (values.by_row - self.low) / self.span
        costs = nn.functional.binary_cross_entropy_with_logits(z, shares, reduction="none")
        return Loss(_mean(costs, counted)[0], error.detach(), count)

    def link(self, scores: Tensor) -> Tensor:
        return self.low + self.span * self.activation(scores)


class Multinomial(Head):
    """Which columns a row has, as draws from a softmax over all of them (Liang et al. 2018, eq. 2).

    Values are how often a column was drawn. Scores of all columns are held at once: [R, C], so rows
    come in batches.
    """

    metric = "loss"

    def loss(self, rows: Part, columns: Part, values: Matrix, counted: Tensor | None) -> Loss:
        drawn = values.by_row if counted is None else values.by_row * counted
        # A row's bias is in all of its scores alike, so the softmax does not see it.
        at = scores((rows[0], torch.zeros_like(rows[1])), columns, values)
        total = (rows[0] @ columns[0].T + columns[1]).logsumexp(dim=1)
        likelihood = (at * drawn).sum() - (total * values.structure.sums(drawn)).sum()
        mean = -likelihood / len(total)
        return Loss(mean, mean.detach(), len(total))

    def summary(self, error: float) -> float:
        return error


class Nade(Head):
    """Values are levels l_1 < ... < l_L, and a score says how much likelier every level is than the
    one below: P(k) = exp s_k / sum over j of exp s_j, with s_k = l_k z - offset_k.

    The cost is CF-NADE's (Zheng et al. 2016, eq. 13): the true level comes first both among those
    up to it and among those from it on, and each on the way to an end before all that are further,

        -log of (product over j = k..1 of exp s_j / sum over i <= j of exp s_i)
              x (product over j = k..L of exp s_j / sum over i >= j of exp s_i).

    The paper has a score per column and level, s_k = sum over j <= k of (b^j + V^j h); here steps
    between levels are as long as stars say, up to what all columns have in common, the offsets.
    What is predicted is the mean over P.
    """

    axes: ClassVar[Axes] = {"offsets": ("levels",)}

    levels: Tensor
    shares: Tensor

    def __init__(self, levels: Tensor, shares: Tensor) -> None:
        """levels [L], ascending; shares [L]: how often each occurs, where offsets begin."""
        super().__init__()
        self.register_buffer("levels", levels)
        self.register_buffer("shares", shares)
        self.offsets = nn.Parameter(-shares.log())

    def loss(self, rows: Part, columns: Part, values: Matrix, counted: Tensor | None) -> Loss:
        z = scores(rows, columns, values)
        with torch.no_grad():
            error, count = _mean((self.link(z) - values.by_row) ** 2, counted)
        return Loss(_mean(self._costs(z, values.by_row), counted)[0], error, count)

    def _costs(self, z: Tensor, values: Tensor) -> Tensor:
        """[E]."""
        s = self._of_levels(z)
        s = s - s.detach().amax(dim=1, keepdim=True)
        # Sums up to every level, and from it on, are products with triangles: seven times as quick
        # as logcumsumexp. What is e^69 times less likely than the likeliest is so no further.
        up_to = s.new_ones(s.shape[1], s.shape[1]).tril()
        chances = s.exp()
        among_lower = s - (chances @ up_to.T).clamp(min=_LEAST).log()
        among_higher = s - (chances @ up_to).clamp(min=_LEAST).log()
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        place = torch.bucketize(values, middles)
        return -(among_lower * up_to[place] + among_higher * up_to.T[place]).sum(dim=1)

    def _of_levels(self, z: Tensor) -> Tensor:
        """s: [..., L] of scores of any shape."""
        return z[..., None] * self._centred - self.offsets

    @property
    def _centred(self) -> Tensor:
        """Levels from their middle, so that a score of zero says what is usual."""
        return self.levels - self.levels.mean()

    def chances(self, scores: Tensor) -> Tensor:
        """P: [..., L] of scores of any shape; rows sum to 1."""
        return self._of_levels(scores).softmax(dim=-1)

    def link(self, scores: Tensor) -> Tensor:
        mean = torch.zeros_like(scores)
        total = torch.full_like(scores, -torch.inf)
        # One level after the other: all of them at once would be L times the scores.
        for level, centred, offset in zip(self.levels, self._centred, self.offsets, strict=True):
            s = scores * centred - offset
            total = torch.logaddexp(total, s)
            mean = mean + (level - mean) * (s - total).exp()
        return mean


def scores(rows: Part, columns: Part, at: Matrix) -> Tensor:
    """bias_r + bias_c + <p_r, q_c> at the entries of a matrix: [E], row-major."""
    products = at_entries(at.structure, rows[0], columns[0])
    return products + biases_at_entries(at.structure, rows[1], columns[1])


def _mean(costs: Tensor, counted: Tensor | None) -> tuple[Tensor, Tensor | int]:
    """Over the counted entries, and how many these are."""
    if counted is None:
        return costs.sum() / len(costs), len(costs)
    count = counted.sum().clamp(min=1)
    return (costs * counted).sum() / count, count
