"""Layers whose weights are damped by how far apart two units lie: SparseFC.

    weight of i -> j = W_ij K_ij,    K_ij = max(0, 1 - |u_i - v_j|^2)

Muller, Martel and Indiveri 2018, "Kernelized synaptic weight matrices": every unit has a place in a
space of a few dimensions, u in the layer below and v in that above, learned with the weights W.
Units further apart than 1 are not connected.

    penalty = sparsity / 2 sum over layers of |K|^2

The paper's lambda_o; its lambda_2, over W, is `Training.l2`, as for every encoder. Both are of
weights and not of rows: they stand once beside the sum of squared errors of a step, however many
rows that has. The paper's decoder is one such layer too; here it is the other side, a plain table.

Legend: R rows, C columns, A units below, B units above, D dimensions of the space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS
from recae.nn.axes import Axes
from recae.nn.encoders.entry import Entry, Reads, Settings
from recae.nn.sides import Codes, Seen, Side

_SPREAD: Final = 0.1
"""Standard deviation of initial places: everything is connected, nothing in the same place."""


@dataclass(frozen=True)
class Kernelized(Settings):
    """Fully connected layers with a kernel of finite support on their weights."""

    kind: Literal["kernelized"] = "kernelized"
    hidden: tuple[int, ...] = ()
    """Widths of the layers between the ratings and the code; the paper's are 500, and k is 500."""
    dimensions: int = 5
    """Of the space in which units have their places."""
    sparsity: float = 0.01
    """Weight of the penalty that drives units apart until they are not connected."""

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must be widths of at least 1, not {self.hidden}")
        if self.dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {self.dimensions}")
        if not 0 <= self.sparsity < math.inf:
            raise ValueError(f"sparsity must be finite and not negative, not {self.sparsity}")

    def side(self, reads: Reads) -> KernelizedSide:
        return KernelizedSide(self, reads)


class KernelizedSide(Side):
    """`Kernelized` over what it reads."""

    axes: ClassVar[Axes] = {"entry_kernel.below_positions": ("columns", None)}

    def __init__(self, settings: Kernelized, reads: Reads) -> None:
        super().__init__()
        widths = (*settings.hidden, reads.k)
        self.entry = Entry(reads, widths[0])
        self.entry_kernel = Kernel(reads.n_columns, widths[0], settings.dimensions)
        self.layers = nn.ModuleList(
            SparseFC(a, b, settings.dimensions) for a, b in pairwise(widths)
        )
        self.head = nn.Parameter(torch.zeros(reads.k)) if reads.bias_head else None
        self.activation = ACTIVATIONS[reads.activation]
        self.sparsity = settings.sparsity

    def forward(self, seen: Seen) -> Codes:
        kernels: list[Tensor] = [self.entry_kernel()]
        code = self.activation(self._first(seen, kernels[0]))
        for layer in self.layers:
            total, kernel = layer(code)
            code = self.activation(total)
            kernels.append(kernel)
        bias = code.new_zeros(len(code)) if self.head is None else code @ self.head
        penalty = self.sparsity / 2 * torch.stack([(k**2).sum() for k in kernels]).sum()
        return Codes(code, bias, penalty, {"unconnected": _unconnected(kernels)})

    def _first(self, seen: Seen, kernel: Tensor) -> Tensor:
        """The layer over entries; a column's value and its mask are one unit, in one place."""
        entry, total = self.entry, seen.counts.new_zeros(())
        if entry.values_weight is not None:
            total = total + seen.values @ (entry.values_weight * kernel)
        if entry.mask_weight is not None:
            total = total + seen.mask @ (entry.mask_weight * kernel)
        return entry.finish(total, seen)


class SparseFC(nn.Module):
    """A layer above the first: [R, A] -> [R, B], before any activation, and its kernel [A, B]."""

    def __init__(self, n_below: int, n_above: int, dimensions: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_below, n_above)
        self.kernel = Kernel(n_below, n_above, dimensions)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kernel: Tensor = self.kernel()
        return nn.functional.linear(x, self.linear.weight * kernel.T, self.linear.bias), kernel


class Kernel(nn.Module):
    """K [A, B] between units of two layers."""

    def __init__(self, n_below: int, n_above: int, dimensions: int) -> None:
        super().__init__()
        self.below_positions = nn.Parameter(torch.randn(n_below, dimensions) * _SPREAD)
        self.above_positions = nn.Parameter(torch.randn(n_above, dimensions) * _SPREAD)

    def forward(self) -> Tensor:
        u, v = self.below_positions, self.above_positions
        squares = (u**2).sum(1)[:, None] - 2 * u @ v.T + (v**2).sum(1)
        return (1 - squares).clamp(min=0)


def _unconnected(kernels: list[Tensor]) -> Tensor:
    """Share of pairs of units, of all layers together, between which nothing passes."""
    zeros = torch.stack([(kernel.detach() == 0).sum() for kernel in kernels]).sum()
    return zeros / sum(kernel.numel() for kernel in kernels)
