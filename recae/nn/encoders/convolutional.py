"""A convolutional autoencoder: windows slide over a row's entries, from last to first.

A layer is a 1-d convolution, an activation, and the mean of each two neighbouring steps that are
there (LeCun et al. 1998); what remains of the sequence is summed, and divided by the square root of
its length. The second decoder goes the same way back by transposed convolutions, from the code to
as many steps as a sequence can have (Masci et al. 2011). Legend: see `sequences`; K code size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS
from recae.nn.encoders.entry import Reads
from recae.nn.encoders.sequences import Sequences, SequenceSettings, SequenceSide


@dataclass(frozen=True)
class Convolutional(SequenceSettings):
    """Convolutions and pooling over the sequence."""

    kind: Literal["convolutional"] = "convolutional"
    channels: tuple[int, ...] = (16, 16)
    """Of each layer; a layer halves the steps."""
    window: int = 3
    """Steps that a convolution sees at once; odd, so that there is one in the middle."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must be widths of at least 1, not {self.channels}")
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window must be odd and at least 1, not {self.window}")

    def side(self, reads: Reads) -> ConvolutionalSide:
        return ConvolutionalSide(self, reads)


class ConvolutionalSide(SequenceSide):
    """`Convolutional` over what it reads."""

    newest_first = True

    def __init__(self, settings: Convolutional, reads: Reads) -> None:
        super().__init__(settings, reads, settings.channels[-1])
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, settings.window, padding="same")
            for a, b in pairwise((reads.k, *settings.channels))
        )
        self.decoder = Transposing(settings, reads) if settings.reconstruction else None
        self._normalize = reads.normalize

    def read(self, x: Tensor, sequences: Sequences) -> Tensor:
        # [R, W, steps], as many steps as can be halved at every layer, whatever the longest row.
        x = x.transpose(1, 2)
        present = nn.functional.pad(sequences.present, (1, 0), value=1.0)[:, None]
        missing = -x.shape[2] % 2 ** len(self.layers)
        x, present = (nn.functional.pad(each, (0, missing)) for each in (x, present))
        for layer in self.layers:
            # A convolution spills over the end, where the next one would read it.
            x = self.activation(layer(x)) * present
            pairs = _pairs(present)
            x = _pairs(x) / pairs.clamp(min=1)
            present = pairs.clamp(max=1)
        pooled = x.sum(2)
        return pooled * present.sum(2).rsqrt() if self._normalize else pooled

    def decode(self, codes: Tensor, sequences: Sequences) -> Tensor:
        assert self.decoder is not None
        values: Tensor = self.decoder(codes)
        return values


def _pairs(x: Tensor) -> Tensor:
    """Sums of two neighbouring steps: [R, W, 2 T] -> [R, W, T]."""
    return x[:, :, ::2] + x[:, :, 1::2]


class Transposing(nn.Module):
    """Values from last to first, [R, longest or a few more], of the codes [R, K]."""

    def __init__(self, settings: Convolutional, reads: Reads) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[reads.activation]
        steps = math.ceil(settings.longest / 2 ** len(settings.channels))
        self.shape = (settings.channels[-1], steps)
        self.from_code = nn.Linear(reads.k, math.prod(self.shape))
        # Kernel 4, stride 2 and padding 1 double the steps.
        self.layers = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 4, stride=2, padding=1)
            for a, b in pairwise((*reversed(settings.channels), 1))
        )

    def forward(self, codes: Tensor) -> Tensor:
        x: Tensor = self.from_code(codes).unflatten(1, self.shape)
        for layer in self.layers:
            x = layer(self.activation(x))
        return x[:, 0]
