"""A recurrent autoencoder: an LSTM reads a row's entries from first to last.

    h_t = LSTM(x_t, h_t-1),    o_r = h_T

(Hochreiter and Schmidhuber 1997; of a user's ratings in time order, Wu et al. 2017.) The second
decoder is the repeat vector's: an LSTM that is given the code at every step and says the values
from last to first, the order in which they are remembered best (Srivastava et al. 2015). Legend:
see `sequences`; K code size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recae.nn.encoders.entry import Reads
from recae.nn.encoders.sequences import Sequences, SequenceSettings, SequenceSide


@dataclass(frozen=True)
class Recurrent(SequenceSettings):
    """An LSTM over the sequence."""

    kind: Literal["recurrent"] = "recurrent"
    units: int = 16
    """Of the LSTM, and of the one that decodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.units < 1:
            raise ValueError(f"units must be at least 1, not {self.units}")

    def side(self, reads: Reads) -> RecurrentSide:
        return RecurrentSide(self, reads)


class RecurrentSide(SequenceSide):
    """`Recurrent` over what it reads."""

    newest_first = False

    def __init__(self, settings: Recurrent, reads: Reads) -> None:
        super().__init__(settings, reads, settings.units)
        self.lstm = nn.LSTM(reads.k, settings.units, batch_first=True)
        self.decoder = Repeat(reads.k, settings.units) if settings.reconstruction else None

    def read(self, x: Tensor, sequences: Sequences) -> Tensor:
        lengths = (1 + sequences.lengths).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        last: Tensor = self.lstm(packed)[1][0][-1]
        return last

    def decode(self, codes: Tensor, sequences: Sequences) -> Tensor:
        assert self.decoder is not None
        values: Tensor = self.decoder(codes, sequences.lengths)
        return values


class Repeat(nn.Module):
    """Values from last to first, [R, T], of the codes [R, K] of sequences of given lengths [R]."""

    def __init__(self, k: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(k, units, batch_first=True)
        self.to_value = nn.Linear(units, 1)

    def forward(self, codes: Tensor, lengths: Tensor) -> Tensor:
        # Packing knows no empty sequences.
        lengths = lengths.clamp(min=1)
        repeated = codes[:, None].expand(-1, int(lengths.max()), -1)
        packed = pack_padded_sequence(
            repeated, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        values: Tensor = self.to_value(states)[:, :, 0]
        return values
