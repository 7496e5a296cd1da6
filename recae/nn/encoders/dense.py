"""The encoder of AutoRec, one layer over a row's entries, and the stacks of it.

    code = phi(W_d ... phi(W_2 phi(a_r)) ...),    vector = phi(V_2 ... phi(V_d code) ...)

The layers after the code mirror those before it, so that hidden = (500,) around k = 250 is the
500-250-500 of Sedhain et al. 2015; without hidden layers the vector is the code. The last layer of
the decoder is the other side: a table, or another encoder. Codes can pay for what they say, or be
cut to their largest units, by `recae.nn.penalties`. Legend: R rows, K code size, W width of the
vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from recae.nn import penalties
from recae.nn.activations import ACTIVATIONS, SLOPES, Activation
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
    sparsity: float = 0.0
    """What it costs that units of the code are on for more rows, or fewer, than
    `sparsity_target`: times the sum of KL(target || mean activation), next to the mean over rows of
    their losses. The textbook's: 0.05, 300 sigmoid units."""
    sparsity_target: float = 0.1
    """The mean activation that units pay for missing."""
    active: float = 0.0
    """k-sparse codes (Makhzani and Frey 2014): of each row's code only this share of the units, the
    largest, is kept; 0: all."""
    contraction: float = 0.0
    """Contractive codes (Rifai et al. 2011, eq. 7): times the squared Frobenius norm of the
    Jacobian of a row's code, next to the row's loss."""

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must be widths of at least 1, not {self.hidden}")
        for name in ("sparsity", "contraction"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative")
        if not 0 < self.sparsity_target < 1:
            raise ValueError(f"sparsity_target must be between 0 and 1, not {self.sparsity_target}")
        if not 0 <= self.active < 1:
            raise ValueError(f"active is a share of the units, below 1, not {self.active}")
        if self.sparsity and self.active:
            raise ValueError("sparsity and active both make codes sparse: set one of them to 0")
        if self.contraction and self.hidden:
            raise ValueError("contraction is known in closed form for one layer: set hidden = []")
        if self.contraction and self.active:
            raise ValueError("contraction is of whole codes: set active or contraction to 0")

    @property
    def constrained(self) -> bool:
        return bool(self.sparsity or self.active or self.contraction)

    def check(self, activation: Activation, *, residuals: bool) -> None:
        if self.sparsity and activation != "sigmoid":
            raise ValueError(
                "sparsity compares mean activations, chances, with a target: set activation = "
                "sigmoid, or cut codes of any activation by active"
            )

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
        self.slope = SLOPES[reads.activation]
        self.settings = settings

    @property
    def shared(self) -> nn.Parameter | None:
        return self.entry.values_weight if self.settings.tied else None

    def forward(self, seen: Seen) -> Codes:
        read = self.entry(seen)
        code = self.down(self.activation(read))
        code, penalty, measured = self._constrained(code, read, seen)
        vectors = self.up(code)
        bias = vectors.new_zeros(len(vectors)) if self.head is None else vectors @ self.head
        return Codes(vectors, bias, penalty, measured, narrow=code)

    def _constrained(
        self, code: Tensor, read: Tensor, seen: Seen
    ) -> tuple[Tensor, Tensor | float, dict[str, Tensor]]:
        """The code as it may be, what it costs, summed over rows, and what is worth a report;
        `read` [R, W]: before the first activation."""
        settings, measured = self.settings, {}
        penalty: Tensor | float = 0.0
        if settings.active:
            code = penalties.largest(code, max(1, round(settings.active * code.shape[1])))
            measured["active"] = (code != 0).float().mean()
        if settings.sparsity:
            kl = penalties.divergence(code, settings.sparsity_target)
            penalty = penalty + settings.sparsity * len(code) * kl
            measured["activation"] = code.detach().mean()
        if settings.contraction and self.entry.values_weight is not None:
            size = seen.counts.clamp(min=1).sqrt() if self.entry.normalize else None
            weight, slope = self.entry.values_weight, self.slope(read)
            norms = penalties.contraction(slope, seen.mask, weight, size)
            penalty = penalty + settings.contraction * norms.sum()
            measured["contraction"] = norms.detach().mean()
        return code, penalty, measured


class Transposed(nn.Module):
    """The weights of another layer, the other way round, and a bias of its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        # In a tuple, because as a part of this module too it would be saved twice.
        self._layer = (layer,)
        self.bias = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self._layer[0].weight.T, self.bias)
