"""What is seen, and the two sides of the product <p_row, q_column>: tables, encoders, their sum.

A side answers for all of its rows at once, because an encoder of the dual model reads the whole
matrix anyway. For the columns' side the same code runs on the transposed matrix.

Legend: R rows, C columns, K code size.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple

import torch
from torch import Tensor, nn

from recae.nn.axes import Axes
from recae.nn.sparse import Matrix, Structure

_NOTHING: Final[Mapping[str, Tensor]] = MappingProxyType({})


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
    times: Tensor | None = None
    """[E] int64, row-major, seconds: when each entry came; None where nobody reads it."""

    @classmethod
    def of(
        cls,
        values: Matrix,
        mask: Matrix,
        row_side: Matrix | None = None,
        column_side: Matrix | None = None,
        times: Tensor | None = None,
    ) -> Seen:
        return cls(values, mask, mask.row_sums(), row_side, column_side, times)

    @classmethod
    def everything(
        cls,
        structure: Structure,
        values: Tensor,
        row_side: Matrix | None = None,
        column_side: Matrix | None = None,
        times: Tensor | None = None,
    ) -> Seen:
        """All entries, none hidden: `values` [E], row-major."""
        ones = Matrix.of(structure, torch.ones_like(values))
        return cls.of(Matrix.of(structure, values), ones, row_side, column_side, times)

    def where(self, kept: Tensor) -> Seen:
        """Only the entries where `kept` [E], row-major, is 1 and not 0."""
        mask = Matrix.of(self.values.structure, kept)
        return Seen.of(self.values * mask, mask, self.row_side, self.column_side, self.times)

    def noisy(self, deviation: float) -> Seen:
        """With Gaussian noise on the values seen; what is hidden stays zero."""
        noise = deviation * torch.randn_like(self.values.by_row) * self.mask.by_row
        values = Matrix.of(self.values.structure, self.values.by_row + noise)
        return self._replace(values=values)

    def take(self, rows: Tensor) -> Seen:
        """Of these rows [B] alone, with all columns."""
        structure, entries = self.values.structure.take(rows)
        return Seen(
            Matrix.of(structure, self.values.by_row[entries]),
            Matrix.of(structure, self.mask.by_row[entries]),
            self.counts[rows],
            None if self.row_side is None else self.row_side.take(rows),
            self.column_side,
            None if self.times is None else self.times[entries],
        )

    @property
    def T(self) -> Seen:  # noqa: N802
        """The same entries read by columns."""
        times = None if self.times is None else self.times[self.values.structure.order]
        return Seen.of(self.values.T, self.mask.T, self.column_side, self.row_side, times)


class Codes(NamedTuple):
    """What a side says of its rows. `vectors` [R, W] meet the other side's, `bias` [R] is added."""

    vectors: Tensor
    bias: Tensor
    penalty: Tensor | float = 0.0
    """What the side pays for its codes, weights included, summed over rows: it stands beside the
    sum of the losses of entries."""
    measured: Mapping[str, Tensor] = _NOTHING
    """Numbers worth a line in the report, such as the sparsity that was achieved."""
    narrow: Tensor | None = None
    """[R, K]: the code, where `vectors` are decoded from it by further layers."""

    @property
    def code(self) -> Tensor:
        """[R, K]: the narrowest that is known of the rows."""
        return self.vectors if self.narrow is None else self.narrow

    def __add__(self, other: object) -> Codes:
        if not isinstance(other, Codes):
            return NotImplemented
        return Codes(
            self.vectors + other.vectors,
            self.bias + other.bias,
            self.penalty + other.penalty,
            {**self.measured, **other.measured},
        )


class Side(nn.Module):
    """Contract: `forward(seen) -> Codes` for every row of what is seen.

    A row's code depends on that row alone. A penalty is returned with the codes, never stored.
    """

    @property
    def shared(self) -> nn.Parameter | None:
        """[C, W]: weights that a table on the other side is to be made of; None for most."""
        return None

    def renew(self) -> None:
        """Called as a round of training begins, for what compares itself with the round before."""

    def forward(self, seen: Seen) -> Codes:
        raise NotImplementedError


class Table(Side):
    """One free vector and one free bias per row."""

    axes: ClassVar[Axes] = {"vectors": ("rows", None), "row_bias": ("rows",)}

    def __init__(self, n_rows: int, k: int, *, scale: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_rows, k) * scale)
        self.row_bias = nn.Parameter(torch.zeros(n_rows))

    def forward(self, seen: Seen) -> Codes:
        return Codes(self.vectors, self.row_bias)


class Tied(Side):
    """A table whose vectors are the weights by which the other side's encoder reads its rows: half
    the parameters (Vincent et al. 2010, section 2.2). Only the biases are its own."""

    axes: ClassVar[Axes] = {"row_bias": ("rows",)}

    def __init__(self, weights: nn.Parameter) -> None:
        super().__init__()
        # In a tuple, because as a parameter of this module too it would be saved twice.
        self._weights = (weights,)
        self.row_bias = nn.Parameter(torch.zeros(len(weights)))

    @property
    def vectors(self) -> Tensor:
        """[R, W]."""
        return self._weights[0]

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


def encode(side: Side, seen: Seen) -> Codes:
    """Codes of the rows of `seen`, which need not be those trained on; no dropout, no gradient."""
    with torch.no_grad():
        codes: Codes = side.eval()(seen)
    return codes
