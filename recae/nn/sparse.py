"""Products with a matrix of which only some entries are observed, and their gradients.

The structure never changes during training, so the entries are kept in row-major and in
column-major order with the permutation between them: a product with the transpose, which every
gradient needs, is then a plain CSR product again.

Legend: E entries, R rows, C columns, K width of the dense factor.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

# torch announces once per process that CSR is in beta; that is no news to a user of recae.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))


@dataclass(frozen=True, eq=False)
class Structure:
    """Which entries are observed, in both orders.

    row_starts [R + 1], columns [E]: CSR, row-major; int32, which halves the index traffic.
    column_starts [C + 1], rows [E]: the same entries column-major.
    order [E]: the row-major place of each column-major entry, int64.
    """

    row_starts: Tensor
    columns: Tensor
    column_starts: Tensor
    rows: Tensor
    order: Tensor

    @classmethod
    def of(cls, row_starts: Tensor, columns: Tensor, n_columns: int) -> Structure:
        """From CSR `row_starts` [R + 1] and sorted `columns` [E], on their device."""
        order = torch.argsort(columns, stable=True)
        counts = torch.bincount(columns, minlength=n_columns)
        rows = _rows(row_starts)[order]
        return cls(row_starts.int(), columns.int(), _starts(counts).int(), rows.int(), order)

    def take(self, chosen: Tensor) -> tuple[Structure, Tensor]:
        """Of the rows `chosen` [B] alone; and the row-major places here of their entries."""
        starts = self.row_starts.long()
        counts = starts.diff()[chosen]
        new_starts = _starts(counts)
        shifts = starts[chosen] - new_starts[:-1]
        entries = torch.arange(int(new_starts[-1]), device=chosen.device)
        entries = entries + torch.repeat_interleave(shifts, counts)
        return Structure.of(new_starts, self.columns[entries].long(), self.shape[1]), entries

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)."""
        return len(self.row_starts) - 1, len(self.column_starts) - 1

    @cached_property
    def transposed(self) -> Structure:
        """The same entries of the transposed matrix."""
        inverse = torch.empty_like(self.order)
        inverse[self.order] = torch.arange(len(self.order), device=self.order.device)
        return Structure(self.column_starts, self.rows, self.row_starts, self.columns, inverse)

    @cached_property
    def row_of_entry(self) -> Tensor:
        """[E] int64, row-major: the row of each entry."""
        return _rows(self.row_starts)

    def sums(self, values: Tensor) -> Tensor:
        """[R]: the sum over each row of `values` [E] (row-major)."""
        offsets = self.row_starts.long()
        return torch.segment_reduce(values, "sum", offsets=offsets, unsafe=True)


@dataclass(frozen=True, eq=False)
class Matrix:
    """Values [E] on a structure, in both orders, so that neither direction has to permute."""

    structure: Structure
    by_row: Tensor
    by_column: Tensor

    @classmethod
    def of(cls, structure: Structure, values: Tensor) -> Matrix:
        """From row-major `values` [E]."""
        return cls(structure, values, values[structure.order])

    @property
    def T(self) -> Matrix:  # noqa: N802
        """The transpose: no copy."""
        return Matrix(self.structure.transposed, self.by_column, self.by_row)

    def take(self, rows: Tensor) -> Matrix:
        """Of these rows [B] alone."""
        structure, entries = self.structure.take(rows)
        return Matrix.of(structure, self.by_row[entries])

    def __mul__(self, other: Matrix) -> Matrix:
        return Matrix(self.structure, self.by_row * other.by_row, self.by_column * other.by_column)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """[R, C] @ [C, K] -> [R, K], differentiable in `dense`; the values are data."""
        product: Tensor = _Product.apply(self, dense)  # type: ignore[no-untyped-call]
        return product

    def row_sums(self) -> Tensor:
        """[R]."""
        return self.structure.sums(self.by_row)

    def _csr(self) -> Tensor:
        s = self.structure
        return torch.sparse_csr_tensor(s.row_starts, s.columns, self.by_row, s.shape)


def at_entries(structure: Structure, left: Tensor, right: Tensor) -> Tensor:
    """<left_r, right_c> at every entry: [R, K], [C, K] -> [E], row-major, differentiable."""
    products: Tensor = _Sampled.apply(structure, left, right)  # type: ignore[no-untyped-call]
    return products


def biases_at_entries(structure: Structure, row_bias: Tensor, column_bias: Tensor) -> Tensor:
    """row_bias_r + column_bias_c at every observed entry: [R], [C] -> [E], differentiable."""
    sums: Tensor = _Biases.apply(structure, row_bias, column_bias)  # type: ignore[no-untyped-call]
    return sums


class _Product(torch.autograd.Function):
    """d(S X)/dX: S^T grad, a CSR product in the other order."""

    @staticmethod
    def forward(ctx: Any, matrix: Matrix, dense: Tensor) -> Tensor:
        ctx.matrix = matrix
        return _multiply(matrix, dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, _multiply(ctx.matrix.T, grads[0])


class _Sampled(torch.autograd.Function):
    """Sampled dense-dense product; with G = grad on the structure: dP = G Q, dQ = G^T P."""

    @staticmethod
    def forward(ctx: Any, structure: Structure, left: Tensor, right: Tensor) -> Tensor:
        ctx.structure = structure
        ctx.save_for_backward(left, right)
        pattern = Matrix(structure, left.new_zeros(len(structure.columns)), left)._csr()
        product = torch.sparse.sampled_addmm(pattern, left, right.T, beta=0.0)
        values: Tensor = product.values()
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        left, right = ctx.saved_tensors
        gradient = Matrix.of(ctx.structure, grads[0].contiguous())
        return None, _multiply(gradient, right), _multiply(gradient.T, left)


class _Biases(torch.autograd.Function):
    """The gradient of the gather is a sum over segments, not a scatter: entries are sorted."""

    @staticmethod
    def forward(ctx: Any, structure: Structure, row_bias: Tensor, column_bias: Tensor) -> Tensor:
        ctx.structure = structure
        return row_bias[structure.row_of_entry] + column_bias[structure.columns]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        structure: Structure = ctx.structure
        grad = grads[0].contiguous()
        by_column = grad[structure.order]
        return None, structure.sums(grad), structure.transposed.sums(by_column)


def _multiply(matrix: Matrix, dense: Tensor) -> Tensor:
    return matrix._csr() @ dense.contiguous()


def _rows(row_starts: Tensor) -> Tensor:
    counts = row_starts.diff().long()
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def _starts(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
