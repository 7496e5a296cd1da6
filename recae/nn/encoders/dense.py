"""The encoder of AutoRec, one layer over a row's entries, and the stacks of it.

    code = phi(W_d ... phi(W_2 phi(a_r)) ...),    vector = phi(V_2 ... phi(V_d code) ...)

The layers after the code mirror those before it, so that hidden = (500,) around k = 250 is the
500-250-500 of Sedhain et al. 2015; without hidden layers the vector is the code. The last layer of
the decoder is the other side: a table, or another encoder. Legend: R rows, K code size, W width of
the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS
from recae.nn.encoders.entry import Entry, Reads, Settings
from recae.nn.encoders.stack import Stack
from recae.nn.sides import Codes, Seen, Side


@dataclass(frozen=True)
class Dense(Settings):
    """Fully connected layers."""

    kind: Literal["dense"] = "dense"
    hidden: tuple[int, ...] = ()
    """Widths of the layers between the ratings and the code, mirrored after it."""
    tied: bool = False
    """A layer of the decoder uses the weights of its mirror image in the encoder, transposed: half
    the parameters (Vincent et al. 2010, section 2.2)."""

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must be widths of at least 1, not {self.hidden}")

    def width(self, k: int) -> int:
        return self.hidden[0] if self.hidden else k

    def side(self, reads: Reads) -> DenseSide:
        return DenseSide(self, reads)


class DenseSide(Side):
    """`Dense` over what it reads."""

    def __init__(self, settings: Dense, reads: Reads) -> None:
        super().__init__()
        widths = (*settings.hidden, reads.k)
        self.entry = Entry(reads, widths[0])
        down = [nn.Linear(a, b) for a, b in pairwise(widths)]
        up = [
            Transposed(layer) if settings.tied else nn.Linear(layer.out_features, layer.in_features)
            for layer in reversed(down)
        ]
        self.down, self.up = Stack(down, reads.activation), Stack(up, reads.activation)
        self.head = nn.Parameter(torch.zeros(widths[0])) if reads.bias_head else None
        self.activation = ACTIVATIONS[reads.activation]
        self._tied = settings.tied

    @property
    def shared(self) -> nn.Parameter | None:
        return self.entry.values_weight if self._tied else None

    def forward(self, seen: Seen) -> Codes:
        code = self.down(self.activation(self.entry(seen)))
        vectors = self.up(code)
        bias = vectors.new_zeros(len(vectors)) if self.head is None else vectors @ self.head
        return Codes(vectors, bias, narrow=code)


class Transposed(nn.Module):
    """The weights of another layer, the other way round, and a bias of its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        # In a tuple, because as a part of this module too it would be saved twice.
        self._layer = (layer,)
        self.bias = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self._layer[0].weight.T, self.bias)
