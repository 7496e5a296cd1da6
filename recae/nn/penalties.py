"""What keeps a code from being a copy of what is read: sparsity and contraction.

Legend: R rows, C columns, K code size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recae.nn.sparse import Matrix


def divergence(code: Tensor, target: float) -> Tensor:
    """sum_k KL(p || q_k), q_k the mean of unit k over the rows of `code` [R, K], of values in 0-1.

    KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), of two coins: p is the `target`.
    """
    mean = code.mean(dim=0)
    # A unit that is on, or off, for all rows would cost infinitely much.
    q = mean.clamp(torch.finfo(mean.dtype).eps, 1 - torch.finfo(mean.dtype).eps)
    p = torch.full_like(q, target)
    return (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()


def largest(code: Tensor, number: int) -> Tensor:
    """`code` [R, K] with the `number` largest units of each row, and zeros."""
    values, units = code.topk(number, dim=1)
    return torch.zeros_like(code).scatter(1, units, values)


def contraction(slope: Tensor, mask: Matrix, weight: Tensor, size: Tensor | None) -> Tensor:
    """|d code_r / d values read of row r|^2, the squared Frobenius norm, of each row: [R].

    For code_rk = phi(a_rk), a_rk = ... + sum_{c seen} v_rc A_ck / size_r, it is
    sum_k phi'(a_rk)^2 sum_{c seen} A_ck^2 / size_r^2, without the Jacobian [R, C, K]: a product.
    slope [R, K]: phi'(a). mask [R, C]: what is seen. weight [C, K]: A. size [R]; None: ones.
    """
    norms = (slope**2 * (mask @ weight**2)).sum(dim=1)
    return norms if size is None else norms / size**2
