"""Greedy layer-wise pre-training of stacks: every layer first learns to reconstruct what is below.

    layer 1:  entries  -> h_1 -> entries, by the other side, with the loss of the whole
    layer l:  h_l-1    -> h_l = phi(W_l h_l-1) -> phi(V_l h_l),    squared error

Bengio et al. 2007, "Greedy layer-wise training of deep networks"; with masking noise it is Vincent
et al. 2010, "Stacked denoising autoencoders". Or a layer learns as a restricted Boltzmann machine,
over Gaussian entries first and Bernoulli codes above them, and is unrolled: the decoder begins as
the transposed encoder (Hinton and Salakhutdinov 2006).

A stage trains weights of the stack itself, with the one loop; only what is unrolled is copied.

Legend: R rows, A and B widths of a layer and of that above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from recae.nn.encoders.dense import DenseSide, Transposed
from recae.nn.heads import Loss
from recae.nn.network import Learner, Lesson, Network
from recae.nn.rbm import Machine
from recae.nn.sides import Codes, Seen, Side, Table
from recae.nn.sparse import Structure


class Stage(NamedTuple):
    """What is to be trained, and on what: known once the stages before are over."""

    learner: Learner
    data: Callable[[], Seen]
    settle: Callable[[], None] = lambda: None
    """To be called when it is over."""


def stages(network: Network, data: Seen) -> list[Stage]:
    """Of autoencoders, in their order: the layers over entries, both sides' at once, then that
    above, and so on."""
    whole = Network(
        _lowest(network.rows),
        _lowest(network.columns),
        dropout=network.dropout.p,
        head=network.head,
    )
    above = [
        Stage(_layer(side, depth), _codes(side, depth, seen))
        for side, seen in ((network.rows, data), (network.columns, data.T))
        if isinstance(side, DenseSide)
        for depth in range(len(side.down))
    ]
    return [Stage(whole, lambda: data), *above]


def machines(network: Network, data: Seen) -> list[Stage]:
    """Of machines, in their order: for every stack the layer over entries, then those above."""
    sides = (network.rows, network.columns, data), (network.columns, network.rows, data.T)
    return [
        stage
        for side, other, seen in sides
        if isinstance(side, DenseSide)
        for stage in (
            _machine_over_entries(side, other, seen),
            *(_machine_over_codes(side, depth, seen) for depth in range(len(side.down))),
        )
    ]


def _machine_over_entries(side: DenseSide, other: Side, seen: Seen) -> Stage:
    weights = side.entry.values_weight
    assert weights is not None
    machine = Machine(weights, side.entry.bias, unit="gaussian", normalize=side.entry.normalize)

    # A row's machine has weights divided by the root of its entries, and the decoder one for all.
    counts = seen.counts.clamp(min=1)
    usual = counts.sqrt().sum() / counts.sum() if side.entry.normalize else 1.0

    def unroll() -> None:
        if isinstance(other, Table):
            other.vectors.data.copy_(usual * weights)
            other.row_bias.data.copy_(machine.visible_bias)

    return Stage(machine, lambda: seen, unroll)


def _machine_over_codes(side: DenseSide, depth: int, seen: Seen) -> Stage:
    down, up = side.down[depth], side.up[len(side.up) - 1 - depth]
    assert isinstance(down, nn.Linear)
    assert isinstance(up, nn.Linear | Transposed)
    machine = Machine(cast(nn.Parameter, down.weight), down.bias, unit="bernoulli", upright=True)

    def unroll() -> None:
        if isinstance(up, nn.Linear):
            up.weight.data.copy_(down.weight.T)
        up.bias.data.copy_(machine.visible_bias)

    return Stage(machine, _codes(side, depth, seen), unroll)


def _lowest(side: Side) -> Side:
    return Lowest(side) if isinstance(side, DenseSide) else side


class Lowest(Side):
    """A stack without the layers between that over entries and its mirror image."""

    def __init__(self, stack: DenseSide) -> None:
        super().__init__()
        self.entry, self.head, self.activation = stack.entry, stack.head, stack.activation

    def forward(self, seen: Seen) -> Codes:
        vectors = self.activation(self.entry(seen))
        bias = vectors.new_zeros(len(vectors)) if self.head is None else vectors @ self.head
        return Codes(vectors, bias)


class Layer(Learner):
    """A layer and its mirror image, on complete data: x -> phi(down x) -> phi(up of that)."""

    def __init__(
        self, down: nn.Module, up: nn.Module, activation: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.down, self.up, self.activation = down, up, activation

    @property
    def metric(self) -> str:
        return "reconstruction"

    def summary(self, error: float) -> float:
        """The root, so that it is in the unit of the codes."""
        return float(error**0.5)

    @property
    def takes_batches(self) -> bool:
        return True

    def lesson(self, data: Seen, seen: Seen, counted: Tensor | None) -> Lesson:
        below = seen.values.by_row.view(data.values.structure.shape)
        again = self.activation(self.up(self.activation(self.down(below))))
        squares = (again.flatten() - data.values.by_row) ** 2
        number = len(squares) if counted is None else counted.sum().clamp(min=1)
        error = (squares if counted is None else squares * counted).sum() / number
        return Lesson(Loss(error, error.detach(), number), 0.0, {})


def _layer(side: DenseSide, depth: int) -> Layer:
    return Layer(side.down[depth], side.up[len(side.up) - 1 - depth], side.activation)


def _codes(side: DenseSide, depth: int, seen: Seen) -> Callable[[], Seen]:
    def codes() -> Seen:
        with torch.no_grad():
            code = side.activation(side.entry(seen))
            for layer in list(side.down)[:depth]:
                code = side.activation(layer(code))
        return complete(code)

    return codes


def complete(values: Tensor) -> Seen:
    """Everything of a matrix [R, A] without gaps."""
    n_rows, n_columns = values.shape
    starts = torch.arange(n_rows + 1, device=values.device) * n_columns
    columns = torch.arange(n_columns, device=values.device).repeat(n_rows)
    return Seen.everything(Structure.of(starts, columns, n_columns), values.flatten())
