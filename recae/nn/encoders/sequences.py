"""A row's entries as a sequence in time, and what encoders of sequences have in common.

Step 0 tells of the row itself, and one step follows for each entry that is seen, from first to
last:

    x_0 = c + f_r F,    x_t = v_t A_i(t) + B_i(t),    code = phi(a_r + W o_r + b)

v_t is the value of entry t and i(t) its column; A, B, F and c are those of the layer over all
entries of a row, which knows no order, and a_r is what that layer says (`entry`). It goes around
the network that reads the sequence, whose o_r has to say no more than what the order tells
(a residual connection, He et al. 2016). Entries of one second come in the order of their columns,
and so do all where there are no times.

Legend: R rows, T entries of the longest sequence, W width of a step, which is that of the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS
from recae.nn.encoders.entry import Entry, Reads, Settings
from recae.nn.sides import Codes, Seen, Side


@dataclass(frozen=True)
class SequenceSettings(Settings):
    """Base of the settings of encoders of sequences."""

    longest: int = 100
    """Entries of a row that are read, the latest ones; it bounds time and memory."""
    skip: bool = True
    """What all entries say without their order goes around the network; without that the code is of
    the sequence alone."""
    reconstruction: float = 0.0
    """Weight of a second decoder, which gives the values back in their order, knowing the code
    alone: what its squared error, summed over the entries seen, counts beside the errors of what is
    predicted. 0: the other side is the only decoder."""

    reads_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError(f"longest must be at least 1, not {self.longest}")
        if not 0 <= self.reconstruction < float("inf"):
            raise ValueError("reconstruction must be finite and not negative")


class Sequences(NamedTuple):
    """What is seen of each row, from first to last, padded to the longest."""

    columns: Tensor
    """[R, T] int64; 0 where nothing is."""
    values: Tensor
    """[R, T]; 0 where nothing is."""
    lengths: Tensor
    """[R] int64; may be 0."""

    @classmethod
    def of(cls, seen: Seen, longest: int) -> Sequences:
        """The `longest` latest entries of each row that are not hidden."""
        structure, n_rows = seen.values.structure, len(seen.counts)
        entries = torch.nonzero(seen.mask.by_row)[:, 0]
        if seen.times is not None:
            # Both sorts are stable: by row, then by time, then by column as before.
            entries = entries[torch.argsort(seen.times[entries], stable=True)]
            by_row = torch.argsort(structure.row_of_entry[entries], stable=True)
            entries = entries[by_row]
        rows = structure.row_of_entry[entries]
        counts = torch.bincount(rows, minlength=n_rows)
        from_end = counts.cumsum(0)[rows] - 1 - torch.arange(len(rows), device=rows.device)
        late = from_end < longest
        entries, rows, from_end = entries[late], rows[late], from_end[late]
        lengths = counts.clamp(max=longest)
        shape = (n_rows, int(lengths.max()) if n_rows else 0)
        places = rows, lengths[rows] - 1 - from_end
        columns, values = lengths.new_zeros(shape), seen.counts.new_zeros(shape)
        columns[places] = structure.columns[entries].long()
        values[places] = seen.values.by_row[entries]
        return cls(columns, values, lengths)

    @property
    def present(self) -> Tensor:
        """[R, T]: 1 where there is an entry, 0 in the padding."""
        steps = torch.arange(self.columns.shape[1], device=self.lengths.device)
        return (steps < self.lengths[:, None]).to(self.values.dtype)

    def backwards(self) -> Sequences:
        """From last to first."""
        steps = torch.arange(self.columns.shape[1], device=self.lengths.device)
        places = (self.lengths[:, None] - 1 - steps).clamp(min=0)
        values = self.values.gather(1, places) * self.present
        return Sequences(self.columns.gather(1, places), values, self.lengths)

    def errors(self, values: Tensor) -> Tensor:
        """The sum of squared errors of `values` [R, T or more]."""
        wrong: Tensor = (values[:, : self.values.shape[1]] - self.values) ** 2
        return (wrong * self.present).sum()


def steps(entry: Entry, sequences: Sequences, seen: Seen) -> Tensor:
    """x, zero in the padding: [R, 1 + T, W]."""
    columns, values, _ = sequences
    first = entry.bias.expand(len(columns), -1)
    if entry.side_weight is not None:
        assert seen.row_side is not None
        first = first + seen.row_side @ entry.side_weight
    rest = first.new_zeros(*columns.shape, first.shape[1])
    channels = (entry.values_weight, values), (entry.mask_weight, sequences.present)
    for weight, read in channels:
        if weight is not None:
            rest = rest + read[:, :, None] * nn.functional.embedding(columns, weight)
    return torch.cat([first[:, None], rest], dim=1)


class SequenceSide(Side):
    """Base of the encoders: `read` a sequence, `decode` a code."""

    newest_first: ClassVar[bool]
    """The order in which `read` is given the entries; `decode` gives them from last to first."""

    def __init__(self, settings: SequenceSettings, reads: Reads, width: int) -> None:
        """width: of what `read` says."""
        super().__init__()
        self.entry = Entry(reads, reads.k)
        self.to_code = nn.Linear(width, reads.k)
        nn.init.normal_(self.to_code.weight, std=reads.scale)
        self.head = nn.Parameter(torch.zeros(reads.k)) if reads.bias_head else None
        self.activation = ACTIVATIONS[reads.activation]
        self._settings = settings

    def forward(self, seen: Seen) -> Codes:
        forwards = Sequences.of(seen, self._settings.longest)
        backwards = forwards.backwards()
        sequences = backwards if self.newest_first else forwards
        said = self.to_code(self.read(steps(self.entry, sequences, seen), sequences))
        code = self.activation(said + self.entry(seen) if self._settings.skip else said)
        bias = code.new_zeros(len(code)) if self.head is None else code @ self.head
        if not (self._settings.reconstruction and self.training):
            return Codes(code, bias)
        errors = backwards.errors(self.decode(code, backwards))
        mean = (errors / backwards.lengths.sum().clamp(min=1)).detach()
        return Codes(code, bias, self._settings.reconstruction * errors, {"reconstruction": mean})

    def read(self, x: Tensor, sequences: Sequences) -> Tensor:
        """o [R, width] of the steps x [R, 1 + T, W]."""
        raise NotImplementedError

    def decode(self, codes: Tensor, sequences: Sequences) -> Tensor:
        """Values from last to first, [R, T or more], of codes [R, K] and the lengths alone."""
        raise NotImplementedError
