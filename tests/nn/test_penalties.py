"""Sparse and contractive codes: formulas written out, and autograd's Jacobian."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from recae.nn.activations import ACTIVATIONS, SLOPES
from recae.nn.encoders import Dense, Reads
from recae.nn.network import Network
from recae.nn.penalties import divergence, largest
from recae.nn.sides import Codes, Seen, Table
from recae.nn.training import Training, _loss
from tests.nn.test_sparse import structure_of

READS = Reads(
    15, 6, "sigmoid", values=True, mask=True, side=0, normalize=True, bias_head=True, scale=0.3
)
STRUCTURE, MASK = structure_of(12, 15, 0.4)
torch.manual_seed(0)
VALUES = torch.randn(int(MASK.sum()))
DATA = Seen.everything(STRUCTURE, VALUES)
SEEN = DATA.where((torch.rand(len(VALUES)) < 0.6).float())


def codes(settings: Dense, seen: Seen = SEEN, **reads: object) -> Codes:
    torch.manual_seed(1)
    found: Codes = settings.side(replace(READS, **reads))(seen)  # type: ignore[arg-type]
    return found


def test_the_divergence_of_two_coins() -> None:
    code = torch.tensor([[0.1, 0.9], [0.1, 0.5]])
    wanted = 0.1 * math.log(0.1 / 0.7) + 0.9 * math.log(0.9 / 0.3)
    assert float(divergence(code, 0.1)) == pytest.approx(wanted, abs=1e-6)
    assert divergence(torch.tensor([[0.0, 1.0]]), 0.1).isfinite()


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_sparsity_stands_beside_the_mean_over_rows(hidden: tuple[int, ...]) -> None:
    """The textbook's loss: the mean over rows of their sums of squares, and weight times KL."""
    torch.manual_seed(2)
    rows = Dense(sparsity=0.05, sparsity_target=0.1, hidden=hidden).side(READS)
    network = Network(rows, Table(15, hidden[0] if hidden else 6, scale=0.1), dropout=0.0)
    loss, lesson = _loss(network, DATA, Training(objective="reconstruct"), 0)
    code = rows(DATA).code
    assert code.shape == (12, 6)
    q = code.mean(dim=0)
    kl = (0.1 * (0.1 / q).log() + 0.9 * (0.9 / (1 - q)).log()).sum()
    squares = lesson.loss.mean * len(VALUES) / 12
    torch.testing.assert_close(loss * len(VALUES) / 12, squares + 0.05 * kl)
    torch.testing.assert_close(lesson.measured["rows/activation"], q.mean().detach())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_only_the_largest_units_are_active(activation: str) -> None:
    whole = codes(Dense(), activation=activation).code
    cut = codes(Dense(active=0.3), activation=activation)
    for mine, all_of_mine in zip(cut.code, whole, strict=True):
        kept = all_of_mine.argsort(descending=True)[:2]
        wanted = torch.zeros(6)
        wanted[kept] = all_of_mine[kept]
        assert torch.equal(mine, wanted)
    if activation != "relu":  # whose units can be zero of themselves
        torch.testing.assert_close(cut.measured["active"], torch.tensor(2 / 6))
    torch.testing.assert_close(cut.vectors, cut.code)
    tiny = codes(Dense(active=0.01)).code
    assert ((tiny != 0).sum(dim=1) == 1).all()


def test_gradients_reach_the_largest_units_alone() -> None:
    code = torch.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(largest(code, 2).sum(), code)
    assert gradient.tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes_are_derivatives_and_have_derivatives(activation: str) -> None:
    x = torch.linspace(-3, 3, 50, dtype=torch.float64, requires_grad=True)
    values = ACTIVATIONS[activation](x).sum()
    (wanted,) = torch.autograd.grad(values, x, create_graph=True)
    torch.testing.assert_close(SLOPES[activation](x), wanted)
    if activation in ("identity", "relu"):
        return
    (second,) = torch.autograd.grad(wanted.sum(), x)
    (ours,) = torch.autograd.grad(SLOPES[activation](x).sum(), x)
    torch.testing.assert_close(ours, second)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_contraction_is_the_norm_of_the_jacobian(activation: str, normalize: bool) -> None:
    """By `torch.autograd`, of the dense formula, with respect to what is seen."""
    torch.manual_seed(1)
    reads = replace(READS, activation=activation, normalize=normalize)  # type: ignore[arg-type]
    side = Dense(contraction=0.5).side(reads)
    found = side(SEEN)
    entry, total = side.entry, 0.0
    values = torch.zeros(12, 15)
    mask = torch.zeros(12, 15)
    places = STRUCTURE.row_of_entry, STRUCTURE.columns.long()
    values[places], mask[places] = SEEN.values.by_row, SEEN.mask.by_row
    for row, given in zip(values, mask, strict=True):
        size = given.sum().clamp(min=1).sqrt() if normalize else torch.tensor(1.0)

        def code(x: torch.Tensor, given: torch.Tensor = given, size: torch.Tensor = size):  # type: ignore[no-untyped-def]
            read = (x * given) @ entry.values_weight + given @ entry.mask_weight
            return ACTIVATIONS[activation](read / size + entry.bias)

        jacobian = torch.autograd.functional.jacobian(code, row)
        total += float((jacobian**2).sum())
    assert isinstance(found.penalty, torch.Tensor)
    assert float(found.penalty.detach()) == pytest.approx(0.5 * total, rel=1e-4)
    assert float(found.measured["contraction"]) == pytest.approx(total / 12, rel=1e-4)
    assert total > 0


def test_who_reads_no_values_has_nothing_to_contract() -> None:
    assert codes(Dense(contraction=0.5), values=False).penalty == 0.0


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"sparsity": -1.0}, "not negative"),
        ({"contraction": math.inf}, "finite"),
        ({"sparsity_target": 1.0}, "between 0 and 1"),
        ({"active": 25}, "active is a share"),
        ({"sparsity": 0.05, "active": 0.1}, "set one of them to 0"),
        ({"contraction": 0.1, "hidden": (8,)}, r"set hidden = \[\]"),
        ({"contraction": 0.1, "active": 0.1}, "set active or contraction to 0"),
    ],
)
def test_what_does_not_go_together(wrong: dict[str, object], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        Dense(**wrong)  # type: ignore[arg-type]


def test_sparsity_is_of_sigmoid_codes() -> None:
    with pytest.raises(ValueError, match="activation = sigmoid"):
        Dense(sparsity=0.05).check("tanh", residuals=True)
    Dense(sparsity=0.05).check("sigmoid", residuals=True)
