"""What encoders read, and the layer that every one of them begins with.

    a_r = c + sum over seen entries of (value A_c + B_c) / sqrt(entries seen) + f_r F

Sedhain et al. 2015, eq. 1, is A alone without the square root; B alone is the implicit part of
SVD++ (Koren 2008, eq. 15); f_r are side data of the row. Legend: R rows, C columns, W width of the
layer, S columns of side data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from recae.nn.activations import Activation
from recae.nn.axes import Axes
from recae.nn.sides import Seen, Side


@dataclass(frozen=True)
class Reads:
    """What an encoder is given to read, and what it is to give; its own settings are elsewhere."""

    n_columns: int
    k: int
    """Code size."""
    activation: Activation
    """Of the code, and of the layers around it."""
    values: bool
    """The values of entries are read."""
    mask: bool
    """*That* a column has an entry is read."""
    side: int
    """Columns of side data of a row that are read too; 0 for none."""
    normalize: bool
    """Divide by the square root of the number of entries seen, so that codes of rows with many and
    with few have one size."""
    bias_head: bool
    """Read the row's bias off its vector."""
    scale: float
    """Standard deviation of initial weights."""
    span: tuple[float, float] | None = None
    """The lowest and the highest value that an entry can have; None where values are residuals."""


@dataclass(frozen=True)
class Settings(ABC):
    """Base of the settings of encoders; each has a `kind`, by which recipes name it."""

    reads_times: ClassVar[bool] = False
    """It needs to know when entries came."""

    @property
    def constrained(self) -> bool:
        """Codes pay for something, so that they cannot just copy what is read."""
        return False

    def check(self, activation: Activation, *, residuals: bool) -> None:  # noqa: B027
        """Raises ValueError, with the remedy, where a setting of its own does not go with that of
        the code, or with values that are residuals, or raw."""

    def width(self, k: int) -> int:
        """W of the vectors, for codes of size k."""
        return k

    @abstractmethod
    def side(self, reads: Reads) -> Side:
        """The network."""


class Entry(nn.Module):
    """The layer over a row's entries, before any activation: [R, W]."""

    axes: ClassVar[Axes] = {
        "values_weight": ("columns", None),
        "mask_weight": ("columns", None),
        "side_weight": ("row_side", None),
    }

    def __init__(self, reads: Reads, width: int) -> None:
        super().__init__()
        c, side, scale = reads.n_columns, reads.side, reads.scale
        self.values_weight = nn.Parameter(torch.randn(c, width) * scale) if reads.values else None
        self.mask_weight = nn.Parameter(torch.randn(c, width) * scale) if reads.mask else None
        self.side_weight = nn.Parameter(torch.randn(side, width) * scale) if side else None
        self.bias = nn.Parameter(torch.zeros(width))
        self.normalize = reads.normalize

    def forward(self, seen: Seen) -> Tensor:
        total = seen.counts.new_zeros(())
        if self.values_weight is not None:
            total = total + seen.values @ self.values_weight
        if self.mask_weight is not None:
            total = total + seen.mask @ self.mask_weight
        return self.finish(total, seen)

    def finish(self, total: Tensor, seen: Seen) -> Tensor:
        """From a sum over the entries of each row, [R, W], to the layer: all but that sum."""
        if self.normalize:
            total = total * seen.counts.clamp(min=1).rsqrt()[:, None]
        if self.side_weight is not None:
            assert seen.row_side is not None
            total = total + seen.row_side @ self.side_weight
        return total + self.bias
