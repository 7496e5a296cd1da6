"""The two sides of the product <p_row, q_column>: a free table, an encoder, or their sum.

A side answers for all of its rows at once, because an encoder of the dual model reads the whole
matrix anyway. For the columns' side the same code runs on the transposed matrix.

Legend: R rows, C columns, K code size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recae.nn.sparse import Matrix, Structure, at_entries, biases_at_entries


class Seen(NamedTuple):
    """What an encoder may read: the entries that are not hidden, hidden ones having value zero, and
    side data of the rows and of the columns."""

    values: Matrix
    mask: Matrix
    counts: Tensor
    """[R]: entries seen in each row."""
    row_side: Matrix | None = None
    """[R, F], or None: what is known of the rows beside their entries."""
    column_side: Matrix | None = None
    """[C, G], or None."""

    @classmethod
    def of(
        cls,
        values: Matrix,
        mask: Matrix,
        row_side: Matrix | None = None,
        column_side: Matrix | None = None,
    ) -> Seen:
        return cls(values, mask, mask.row_sums(), row_side, column_side)

    @classmethod
    def everything(
        cls,
        structure: Structure,
        values: Tensor,
        row_side: Matrix | None = None,
        column_side: Matrix | None = None,
    ) -> Seen:
        """All entries, none hidden: `values` [E], row-major."""
        ones = Matrix.of(structure, torch.ones_like(values))
        return cls.of(Matrix.of(structure, values), ones, row_side, column_side)

    def where(self, kept: Tensor) -> Seen:
        """Only the entries where `kept` [E], row-major, is 1 and not 0."""
        mask = Matrix.of(self.values.structure, kept)
        return Seen.of(self.values * mask, mask, self.row_side, self.column_side)

    @property
    def T(self) -> Seen:  # noqa: N802
        """The same entries read by columns."""
        return Seen.of(self.values.T, self.mask.T, self.column_side, self.row_side)


class Codes(NamedTuple):
    """vectors [R, K] and bias [R]."""

    vectors: Tensor
    bias: Tensor

    def __add__(self, other: object) -> Codes:
        if not isinstance(other, Codes):
            return NotImplemented
        return Codes(self.vectors + other.vectors, self.bias + other.bias)


class Side(nn.Module):
    """Contract: `forward(seen) -> Codes` for every row of what is seen."""

    def forward(self, seen: Seen) -> Codes:
        raise NotImplementedError


class Table(Side):
    """One free vector and one free bias per row."""

    def __init__(self, n_rows: int, k: int, *, scale: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_rows, k) * scale)
        self.row_bias = nn.Parameter(torch.zeros(n_rows))

    def forward(self, seen: Seen) -> Codes:
        return Codes(self.vectors, self.row_bias)


class Sum(Side):
    """Two sides added: a table and an encoder of the mask make SVD++ (Koren 2008, eq. 15)."""

    def __init__(self, table: Table, encoder: Side) -> None:
        super().__init__()
        self.table = table
        self.encoder = encoder

    def forward(self, seen: Seen) -> Codes:
        codes: Codes = self.table(seen) + self.encoder(seen)
        return codes


class Trainable(nn.Module):
    """What the loop trains."""

    def loss(self, seen: Seen, target: Seen) -> tuple[Tensor, Tensor]:
        """What a step lowers, given what is seen and what is to be predicted, [], and the mean
        squared error at the target entries, []. Both have one structure."""
        raise NotImplementedError

    def shrunk(self, *, biases: bool) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that regularisation shrinks, and those that it spares."""
        named = list(self.named_parameters())
        spared = [p for name, p in named if name.endswith("bias") and not biases]
        return [p for _, p in named if not any(p is other for other in spared)], spared


class Network(Trainable):
    """r_rc = bias_r + bias_c + <p_r, q_c>, with dropout on the codes of both sides."""

    def __init__(self, rows: Side, columns: Side, *, dropout: float) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.dropout = nn.Dropout(dropout)

    def forward(self, seen: Seen) -> tuple[Codes, Codes]:
        rows, columns = self.rows(seen), self.columns(seen.T)
        return (
            Codes(self.dropout(rows.vectors), rows.bias),
            Codes(self.dropout(columns.vectors), columns.bias),
        )

    def loss(self, seen: Seen, target: Seen) -> tuple[Tensor, Tensor]:
        rows, columns = self(seen)
        structure, wanted = target.values.structure, target.mask.by_row
        predicted = at_entries(structure, rows.vectors, columns.vectors)
        predicted = predicted + biases_at_entries(structure, rows.bias, columns.bias)
        squares = (predicted - target.values.by_row) ** 2 * wanted
        error = squares.sum() / wanted.sum().clamp(min=1)
        return error, error


def encode(side: Side, seen: Seen) -> Codes:
    """Codes of the rows of `seen`, which need not be those trained on; no dropout, no gradient."""
    with torch.no_grad():
        codes: Codes = side.eval()(seen)
    return codes
