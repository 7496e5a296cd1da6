"""The encoder of AutoRec: one layer over a row's entries, and the channels it reads.

    a_r = c + sum over seen entries of (value A_c + B_c) / sqrt(entries seen) + f_r F
    code = phi(a_r)

Sedhain et al. 2015, eq. 1, is A alone without the square root; B alone is the implicit part of
SVD++ (Koren 2008, eq. 15); f_r are side data of the row. Legend: R rows, C columns, K code size,
S columns of side data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from recae.nn.sides import Codes, Seen, Side

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": nn.functional.elu,
    "selu": nn.functional.selu,
    "silu": nn.functional.silu,
}


class Dense(Side):
    """One layer. `values`, `mask`: the channels that are read, at least one of them; side: columns
    of side data of a row that are read too, 0 for none.

    normalize: divide by the square root of the number of entries seen, so that codes of heavy and
        light raters have one size. bias_head: read the row's bias off its code.
    """

    def __init__(
        self,
        n_columns: int,
        k: int,
        *,
        values: bool,
        mask: bool,
        side: int = 0,
        activation: str,
        normalize: bool,
        bias_head: bool,
        scale: float,
    ) -> None:
        super().__init__()
        self.values_weight = nn.Parameter(torch.randn(n_columns, k) * scale) if values else None
        self.mask_weight = nn.Parameter(torch.randn(n_columns, k) * scale) if mask else None
        self.side_weight = nn.Parameter(torch.randn(side, k) * scale) if side else None
        self.code_bias = nn.Parameter(torch.zeros(k))
        self.head = nn.Parameter(torch.zeros(k)) if bias_head else None
        self.activation = ACTIVATIONS[activation]
        self.normalize = normalize

    def forward(self, seen: Seen) -> Codes:
        total = seen.counts.new_zeros(())
        if self.values_weight is not None:
            total = total + seen.values @ self.values_weight
        if self.mask_weight is not None:
            total = total + seen.mask @ self.mask_weight
        if self.normalize:
            total = total * seen.counts.clamp(min=1).rsqrt()[:, None]
        if self.side_weight is not None:
            assert seen.row_side is not None
            total = total + seen.row_side @ self.side_weight
        vectors = self.activation(total + self.code_bias)
        bias = vectors.new_zeros(len(vectors)) if self.head is None else vectors @ self.head
        return Codes(vectors, bias)
