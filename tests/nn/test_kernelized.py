"""Damped weights against the formula, written out on dense data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recae.nn.encoders import Kernelized, Reads
from recae.nn.encoders.kernelized import Kernel, KernelizedSide
from recae.nn.network import Network
from recae.nn.sides import Seen, Table, encode
from tests.nn.test_sparse import dense_of, structure_of

torch.manual_seed(0)
STRUCTURE, MASK = structure_of(12, 15, 0.4)
VALUES = torch.randn(int(MASK.sum()))
SEEN = Seen.everything(STRUCTURE, VALUES)
READS = Reads(
    15, 4, "tanh", values=True, mask=True, side=0, normalize=True, bias_head=True, scale=0.1
)


def side(sparsity: float = 0.3) -> KernelizedSide:
    """With units so far apart that many are not connected."""
    torch.manual_seed(1)
    made = Kernelized(hidden=(6,), dimensions=2, sparsity=sparsity).side(READS)
    for name, parameter in made.named_parameters():
        if name.endswith("positions"):
            torch.nn.init.normal_(parameter, std=0.6)
    torch.nn.init.normal_(made.head)
    return made


def by_hand(kernel: Kernel) -> torch.Tensor:
    u, v = kernel.below_positions.detach(), kernel.above_positions.detach()
    return torch.tensor([[max(0.0, 1 - float(((a - b) ** 2).sum())) for b in v] for a in u])


def test_the_kernel_is_the_formula() -> None:
    made = side()
    for kernel in (made.entry_kernel, made.layers[0].kernel):
        torch.testing.assert_close(kernel().detach(), by_hand(kernel))


def test_codes_are_those_of_damped_dense_layers() -> None:
    made = side()
    codes = encode(made, SEEN)
    first, second = by_hand(made.entry_kernel), by_hand(made.layers[0].kernel)
    entry, linear = made.entry, made.layers[0].linear
    values, mask = dense_of(STRUCTURE, VALUES), dense_of(STRUCTURE, torch.ones_like(VALUES))
    total = values @ (entry.values_weight * first) + mask @ (entry.mask_weight * first)
    below = torch.tanh(total / mask.sum(1, keepdim=True).clamp(min=1).sqrt() + entry.bias)
    wanted = torch.tanh(below @ (linear.weight.T * second) + linear.bias)
    torch.testing.assert_close(codes.vectors, wanted.detach())
    torch.testing.assert_close(codes.bias, (wanted @ made.head).detach())


def test_the_penalty_and_the_share_of_what_is_not_connected() -> None:
    codes = encode(side(0.3), SEEN)
    kernels = [by_hand(side().entry_kernel), by_hand(side().layers[0].kernel)]
    wanted = 0.15 * sum(float((kernel**2).sum()) for kernel in kernels)
    assert float(codes.penalty) == pytest.approx(wanted, rel=1e-5)
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    assert 0 < zeros < 15 * 6
    assert float(codes.measured["unconnected"]) == pytest.approx(zeros / (15 * 6 + 6 * 4))


def test_everything_is_connected_at_first_and_the_penalty_drives_units_apart() -> None:
    torch.manual_seed(0)
    made = Kernelized(sparsity=1.0).side(READS)
    assert float(encode(made, SEEN).measured["unconnected"]) == 0
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        codes = made(SEEN)
        (codes.penalty).backward()
        optimizer.step()
    assert float(encode(made, SEEN).measured["unconnected"]) > 0.5


def test_places_are_not_shrunk() -> None:
    """Zero is no simpler a place than another, and all of them there would connect everything."""
    network = Network(side(), Table(15, 4, scale=0.1), dropout=0.0)
    for biases in (False, True):
        _, spared = network.shrunk(biases=biases)
        names = {n for n, p in network.named_parameters() if any(p is other for other in spared)}
        assert {n for n in names if not n.endswith("bias")} == {
            "rows.entry_kernel.below_positions",
            "rows.entry_kernel.above_positions",
            "rows.layers.0.kernel.below_positions",
            "rows.layers.0.kernel.above_positions",
        }
        assert any(n.endswith("bias") for n in names) is not biases


def test_without_a_mask_channel_values_alone_are_read() -> None:
    made = Kernelized().side(replace(READS, mask=False, bias_head=False))
    codes = encode(made, Seen.everything(STRUCTURE, torch.zeros_like(VALUES)))
    torch.testing.assert_close(codes.vectors, torch.zeros(12, 4))
    torch.testing.assert_close(codes.bias, torch.zeros(12))


@pytest.mark.parametrize(
    "wrong", [{"hidden": (0,)}, {"dimensions": 0}, {"sparsity": -1.0}, {"sparsity": float("inf")}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Kernelized(**wrong)  # type: ignore[arg-type]
