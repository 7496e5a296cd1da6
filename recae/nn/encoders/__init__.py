"""Encoders: networks that read a row's observed entries and return its code.

One file each, with its settings and its mathematics. A new one is its file and its name in
`Encoder`: recipes, the command line, tuning and the contract suite follow.
"""

from __future__ import annotations

from typing import Final, TypeAlias, get_args

from recae.nn.encoders.convolutional import Convolutional
from recae.nn.encoders.dense import Dense
from recae.nn.encoders.entry import Reads, Settings
from recae.nn.encoders.kernelized import Kernelized
from recae.nn.encoders.ordinal import Ordinal
from recae.nn.encoders.recurrent import Recurrent
from recae.nn.encoders.variational import Variational

Encoder: TypeAlias = Dense | Variational | Kernelized | Ordinal | Recurrent | Convolutional

ENCODERS: Final[dict[str, type[Encoder]]] = {
    encoder.kind: encoder for encoder in (get_args(Encoder) or (Encoder,))
}
"""By kind."""

__all__ = [
    "ENCODERS",
    "Convolutional",
    "Dense",
    "Encoder",
    "Kernelized",
    "Ordinal",
    "Reads",
    "Recurrent",
    "Settings",
    "Variational",
]
