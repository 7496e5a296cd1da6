"""Encoders: networks that read a row's observed entries and return its code.

One file each, with its settings and its mathematics. A new one is its file and its name in
`Encoder`: recipes, the command line, tuning and the contract suite follow.
"""

from __future__ import annotations

from typing import Final, TypeAlias, get_args

from recae.nn.encoders.dense import Dense
from recae.nn.encoders.entry import Reads, Settings
from recae.nn.encoders.kernelized import Kernelized
from recae.nn.encoders.ordinal import Ordinal

Encoder: TypeAlias = Dense | Kernelized | Ordinal

ENCODERS: Final[dict[str, type[Encoder]]] = {
    encoder.kind: encoder for encoder in (get_args(Encoder) or (Encoder,))
}
"""By kind."""

__all__ = ["ENCODERS", "Dense", "Encoder", "Kernelized", "Ordinal", "Reads", "Settings"]
