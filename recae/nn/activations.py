"""Activations by name, of hidden layers, codes and outputs, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

Activation: TypeAlias = Literal["identity", "sigmoid", "tanh", "relu", "elu", "selu", "silu"]
Function: TypeAlias = Callable[[Tensor], Tensor]

ACTIVATIONS: Final[dict[str, Function]] = {
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": nn.functional.elu,
    "selu": nn.functional.selu,
    "silu": nn.functional.silu,
}

_SELU_SCALE: Final = 1.0507009873554805
_SELU_ALPHA: Final = 1.6732632423543772
"""Klambauer et al. 2017, eq. 14."""

SLOPES: Final[dict[str, Function]] = {
    "identity": torch.ones_like,
    "sigmoid": lambda x: torch.sigmoid(x) * torch.sigmoid(-x),
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "relu": lambda x: (x > 0).to(x.dtype),
    "elu": lambda x: x.clamp(max=0).exp(),
    "selu": lambda x: _SELU_SCALE * torch.where(x > 0, 1, _SELU_ALPHA * x.clamp(max=0).exp()),
    "silu": lambda x: torch.sigmoid(x) * (1 + x * torch.sigmoid(-x)),
}
"""The derivatives, as functions of what is activated: differentiable again."""
