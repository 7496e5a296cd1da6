"""Sparse products against dense autograd, and their gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from recae.nn.sides import Seen
from recae.nn.sparse import Matrix, Structure, at_entries, biases_at_entries

SHAPES = [(5, 7, 0.4), (1, 6, 0.5), (6, 1, 0.5), (4, 4, 1.0), (9, 5, 0.15), (3, 4, 0.0)]


def structure_of(rows: int, columns: int, density: float) -> tuple[Structure, torch.Tensor]:
    """A random structure, empty rows and columns among it, and its dense mask."""
    rng = np.random.default_rng(rows * 100 + columns)
    dense = sparse.csr_array((rng.random((rows, columns)) < density).astype(float))
    dense.sort_indices()
    structure = Structure.of(
        torch.from_numpy(dense.indptr), torch.from_numpy(dense.indices), columns
    )
    return structure, torch.from_numpy(dense.toarray())


def dense_of(structure: Structure, values: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(structure.shape, dtype=values.dtype)
    return out.index_put((structure.row_of_entry, structure.columns.long()), values)


@pytest.mark.parametrize(("rows", "columns", "density"), SHAPES)
def test_products_equal_dense_ones(rows: int, columns: int, density: float) -> None:
    torch.manual_seed(0)
    structure, mask = structure_of(rows, columns, density)
    assert structure.shape == (rows, columns)
    values = torch.randn(int(mask.sum()), dtype=torch.float64)
    matrix, dense = Matrix.of(structure, values), dense_of(structure, values)
    assert torch.equal(dense != 0, mask != 0)
    right = torch.randn(columns, 3, dtype=torch.float64)
    left = torch.randn(rows, 3, dtype=torch.float64)
    torch.testing.assert_close(matrix @ right, dense @ right)
    torch.testing.assert_close(matrix.T @ left, dense.T @ left)
    torch.testing.assert_close(matrix.T.T @ right, dense @ right)
    torch.testing.assert_close(matrix.row_sums(), dense.sum(1))
    torch.testing.assert_close(matrix.T.row_sums(), dense.sum(0))
    seen = Seen.everything(structure, values)
    torch.testing.assert_close(seen.counts, mask.sum(1))
    torch.testing.assert_close(seen.T.counts, mask.sum(0))
    at = at_entries(structure, left, right)
    torch.testing.assert_close(dense_of(structure, at), (left @ right.T) * mask)
    biases = biases_at_entries(structure, left[:, 0], right[:, 0])
    wanted = (left[:, :1] + right[:, 0]) * mask
    torch.testing.assert_close(dense_of(structure, biases), wanted)


@pytest.mark.parametrize(("rows", "columns", "density"), SHAPES[:5])
def test_gradients_by_finite_differences(rows: int, columns: int, density: float) -> None:
    torch.manual_seed(1)
    structure, mask = structure_of(rows, columns, density)
    matrix = Matrix.of(structure, torch.randn(int(mask.sum()), dtype=torch.float64))
    left = torch.randn(rows, 3, dtype=torch.float64, requires_grad=True)
    right = torch.randn(columns, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: matrix @ x, (right,))
    assert torch.autograd.gradcheck(lambda x: matrix.T @ x, (left,))
    assert torch.autograd.gradcheck(lambda x, y: at_entries(structure, x, y), (left, right))
    row_bias = torch.randn(rows, dtype=torch.float64, requires_grad=True)
    column_bias = torch.randn(columns, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, y: biases_at_entries(structure, x, y), (row_bias, column_bias)
    )


def test_gradients_of_a_whole_step_equal_dense_autograd() -> None:
    """Encoder, product and loss together, once sparse and once with dense masked matrices."""
    torch.manual_seed(2)
    structure, mask = structure_of(6, 8, 0.4)
    values = torch.randn(int(mask.sum()), dtype=torch.float64)
    dense = dense_of(structure, values)
    weight = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    table = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)

    codes = torch.tanh(Matrix.of(structure, values) @ weight)
    loss = ((at_entries(structure, codes, table) - values) ** 2).sum()
    sparse_grads = torch.autograd.grad(loss, (weight, table))

    predicted = torch.tanh(dense @ weight) @ table.T
    loss = (((predicted - dense) * mask) ** 2).sum()
    for ours, theirs in zip(sparse_grads, torch.autograd.grad(loss, (weight, table)), strict=True):
        torch.testing.assert_close(ours, theirs)
