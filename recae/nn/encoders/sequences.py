"""A row's entries as a sequence in time, and what encoders of sequences have in common.

Step 0 tells of the row itself, and one step follows for each entry that is seen, from first to
last:

    x_0 = s + f_r F,    x_t = v_t A_i(t) + B_i(t)

v_t is the value of entry t and i(t) its column, A and B are free vectors of columns, f_r side data.
Entries of one second come in the order of their columns, and so do all where there are no times.

Legend: R rows, T entries of the longest sequence, W width of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from recae.nn.encoders.entry import Reads, Settings
from recae.nn.sides import Seen


@dataclass(frozen=True)
class SequenceSettings(Settings):
    """Base of the settings of encoders of sequences."""

    longest: int = 100
    """Entries of a row that are read, the latest ones; it bounds time and memory."""
    embedding: int = 32
    """Numbers by which an entry is read."""
    reconstruction: float = 0.0
    """Weight of a second decoder, which gives the values back in their order, knowing the code
    alone: what its squared error, summed over the entries seen, counts beside the errors of what is
    predicted. 0: the other side is the only decoder."""

    reads_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("longest", "embedding"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
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


class Steps(nn.Module):
    """x of all steps, zero in the padding: [R, 1 + T, W]."""

    def __init__(self, reads: Reads, width: int) -> None:
        super().__init__()
        c, side, scale = reads.n_columns, reads.side, reads.scale
        self.values_weight = nn.Parameter(torch.randn(c, width) * scale) if reads.values else None
        self.mask_weight = nn.Parameter(torch.randn(c, width) * scale) if reads.mask else None
        self.side_weight = nn.Parameter(torch.randn(side, width) * scale) if side else None
        self.start = nn.Parameter(torch.zeros(width))

    def forward(self, sequences: Sequences, seen: Seen) -> Tensor:
        columns, values, _ = sequences
        steps = self.start.new_zeros(*columns.shape, len(self.start))
        if self.values_weight is not None:
            steps = steps + values[:, :, None] * nn.functional.embedding(
                columns, self.values_weight
            )
        if self.mask_weight is not None:
            present = sequences.present[:, :, None]
            steps = steps + present * nn.functional.embedding(columns, self.mask_weight)
        first = self.start.expand(len(columns), -1)
        if self.side_weight is not None:
            assert seen.row_side is not None
            first = first + seen.row_side @ self.side_weight
        return torch.cat([first[:, None], steps], dim=1)
