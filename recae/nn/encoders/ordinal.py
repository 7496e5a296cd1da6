"""The encoder of CF-NADE that knows ratings as levels, and that four stars are three and more.

    code = phi(c + sum over seen entries of sum over j <= level of W^j_column)

Zheng et al. 2016, "A neural autoregressive approach to collaborative filtering", where parameters
are shared between ratings: the weights of a level are those of the level below and something of its
own, where one vector per column and level would learn of rare levels from few entries. W^1 is what
every entry adds, the mask channel of other encoders.

Legend: R rows, C columns, E entries, L levels, K code size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from recae.nn.activations import ACTIVATIONS, Activation
from recae.nn.axes import Axes
from recae.nn.encoders.entry import Entry, Reads, Settings
from recae.nn.sides import Codes, Seen, Side
from recae.nn.sparse import Matrix, Structure


@dataclass(frozen=True)
class Ordinal(Settings):
    """One layer over the levels of a row's entries."""

    kind: Literal["ordinal"] = "ordinal"
    levels: int = 5
    """From the lowest to the highest stars, equally spaced; an entry has the nearest. Half stars
    from 0.5 to 5 are 10."""

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ValueError(f"levels must be at least 2, not {self.levels}")

    def check(self, activation: Activation, *, residuals: bool) -> None:
        if residuals:
            raise ValueError("encoder = ordinal reads stars as levels: set baseline = none")

    def side(self, reads: Reads) -> OrdinalSide:
        return OrdinalSide(self, reads)


class OrdinalSide(Side):
    """`Ordinal` over what it reads."""

    axes: ClassVar[Axes] = {"level_weights": (None, "columns", None)}

    def __init__(self, settings: Ordinal, reads: Reads) -> None:
        super().__init__()
        assert reads.span is not None
        low, high = reads.span
        self.low, self.step = low, (high - low) / (settings.levels - 1)
        shape = (settings.levels, reads.n_columns, reads.k)
        self.level_weights = nn.Parameter(torch.randn(shape) * reads.scale)
        self.entry = Entry(replace(reads, values=False, mask=False), reads.k)
        self.head = nn.Parameter(torch.zeros(reads.k)) if reads.bias_head else None
        self.activation = ACTIVATIONS[reads.activation]

    def forward(self, seen: Seen) -> Codes:
        up_to = self.level_weights.cumsum(dim=0).flatten(0, 1)
        code = self.activation(self.entry.finish(self._levels(seen) @ up_to, seen))
        bias = code.new_zeros(len(code)) if self.head is None else code @ self.head
        return Codes(code, bias)

    def _levels(self, seen: Seen) -> Matrix:
        """1 at every entry seen, in a column for its level: [R, L C]."""
        n_levels, n_columns, _ = self.level_weights.shape
        above = (seen.values.by_row - self.low) / self.step
        level = (above + 0.5).floor().clamp(0, n_levels - 1).long()
        old = seen.mask.structure
        columns = level * n_columns + old.columns
        structure = Structure.of(old.row_starts.long(), columns, n_levels * n_columns)
        return Matrix.of(structure, seen.mask.by_row)
