"""Fully connected layers one after the other, as encoders and decoders have them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS, Activation


class Stack(nn.Sequential):
    """x -> phi(W_d ... phi(W_1 x)); without layers x itself."""

    def __init__(self, layers: Iterable[nn.Module], activation: Activation) -> None:
        super().__init__(*layers)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = self.activation(layer(x))
        return x


class Residual(nn.Module):
    """Layers of one width, each of which adds all before it, with layer norm after each.

    h_1 = norm(x),  h_j = norm(phi(W_j h_(j-1) + h_1 + ... + h_(j-1))): the encoder of RecVAE
    (Shenbin et al. 2020, section 3.2).
    """

    def __init__(self, width: int, depth: int, activation: Activation) -> None:
        """depth: of the h_j, the first of which has no weights here."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=0.1) for _ in range(depth))
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.norms[0](x)
        total = torch.zeros_like(x)
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            total = total + h
            h = norm(self.activation(layer(h) + total))
        return h
