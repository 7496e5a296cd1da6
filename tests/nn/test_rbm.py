"""Restricted Boltzmann machines against enumeration of their states.

The brute force never sees a sparse matrix: every state of every unit, and its energy as the papers
write it.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from recae.nn.rbm import (
    Entries,
    Layer,
    LevelMachine,
    Levels,
    Machine,
    Unit,
    contrast,
    fantasy,
    free_energy,
    level_chances,
    up,
)
from recae.nn.sides import Seen
from recae.nn.sparse import Matrix, Structure
from recae.nn.training import Training, train
from tests.nn.test_sparse import structure_of

L, C, H = 3, 4, 2
"""Levels, columns and hidden units of the tiny machine."""
RATED = [0, 1, 3]
"""The columns of which its one row has a rating."""


def whole(values: Tensor, unit: Unit) -> Entries:
    """Real units in every place of [R, W]."""
    structure, _ = structure_of(*values.shape, 1.0)
    matrix = Matrix.of(structure, values.flatten())
    return Entries(matrix, unit, torch.ones(len(values), 1, dtype=values.dtype))


def row_of(columns: list[int]) -> Structure:
    """One row with these entries."""
    return Structure.of(torch.tensor([0, len(columns)]), torch.tensor(columns), C)


def layer(*, scale: float = 0.7) -> Layer:
    torch.manual_seed(3)
    weights, hidden, visible = torch.randn(L, C, H), torch.randn(H), torch.randn(L, C)
    return Layer(*(scale * part.double() for part in (weights, hidden, visible)))


def levels(states: tuple[int, ...], columns: list[int] = RATED) -> Levels:
    ones = torch.ones(len(columns), dtype=torch.float64)
    return Levels(row_of(columns), torch.tensor(states, dtype=torch.long), ones, L)


def energy(machine: Layer, states: tuple[int, ...], hidden: Tensor) -> Tensor:
    """Salakhutdinov et al. 2007, eq. 3, without its constant; differentiable."""
    total = -(machine.hidden_bias @ hidden)
    for column, level in zip(RATED, states, strict=True):
        total = total - machine.visible_bias[level, column]
        total = total - machine.weights[level, column] @ hidden
    return total


HIDDEN = [torch.tensor(bits).double() for bits in itertools.product([0, 1], repeat=H)]
VISIBLE = list(itertools.product(range(L), repeat=len(RATED)))


def joint(machine: Layer) -> Tensor:
    """p(v, h) of every state: [visible states, hidden states]."""
    rows = [torch.stack([-energy(machine, v, h) for h in HIDDEN]) for v in VISIBLE]
    return torch.stack(rows).flatten().softmax(0).view(len(VISIBLE), len(HIDDEN))


def test_free_energy_by_enumeration() -> None:
    machine = layer()
    for states in VISIBLE:
        wanted = -torch.stack([-energy(machine, states, h) for h in HIDDEN]).logsumexp(0)
        torch.testing.assert_close(free_energy(machine, levels(states)), wanted)


def test_hidden_units_given_the_visible_ones_by_enumeration() -> None:
    machine, chances = layer(), joint(layer())
    for states, row in zip(VISIBLE, chances, strict=True):
        wanted = (row / row.sum()) @ torch.stack(HIDDEN)
        torch.testing.assert_close(up(machine, levels(states))[0], wanted)


def test_visible_units_given_the_hidden_ones_by_enumeration() -> None:
    machine, chances = layer(), joint(layer())
    for hidden, column in zip(HIDDEN, chances.T, strict=True):
        said = level_chances(row_of(RATED), machine.weights, machine.visible_bias, hidden[None])
        given = column / column.sum()
        for entry in range(len(RATED)):
            for level in range(L):
                wanted = sum(p for v, p in zip(VISIBLE, given, strict=True) if v[entry] == level)
                torch.testing.assert_close(said[level, entry], wanted)


def test_the_mean_field_prediction_is_near_the_exact_one_where_weights_are_small() -> None:
    """Salakhutdinov et al. 2007, section 2.2: p(v_q | the others) from free energies, exact, and
    by one pass up and one down. They differ in the second order of the weights."""
    query = 2

    def gap(scale: float) -> float:
        machine = layer(scale=scale)
        known = levels((2, 0, 1))
        with_query = [levels((2, 0, level, 1), [0, 1, query, 3]) for level in range(L)]
        exact = torch.stack([-free_energy(machine, v) for v in with_query]).softmax(0)
        hidden = up(machine, known)
        field = level_chances(row_of([query]), machine.weights, machine.visible_bias, hidden)
        return float((field[:, 0] - exact).abs().max())

    assert gap(0.7) < 0.1
    assert gap(0.07) < gap(0.7) / 50


def test_many_steps_of_contrastive_divergence_give_the_gradient_of_the_likelihood() -> None:
    """4,000 rows with the same ratings: what chains end in is then the machine's own distribution,
    and the loss's gradient that of -log p(v), to Monte Carlo error."""
    machine, states, n = layer(), (2, 0, 1), 4000
    free = [part.clone().requires_grad_() for part in machine[:3]]
    likelihood = joint(Layer(*free))[VISIBLE.index(states)].sum().log()
    wanted = torch.autograd.grad(-likelihood, free)

    starts = torch.arange(n + 1) * len(RATED)
    structure = Structure.of(starts, torch.tensor(RATED * n), C)
    many = Levels(structure, torch.tensor(states * n), torch.ones(n * len(RATED)).double(), L)
    loss, _ = contrast(Layer(*free), many, 25)
    for ours, theirs in zip(torch.autograd.grad(loss / n, free), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.04, rtol=0)


def test_gradient_of_one_step_is_that_of_the_papers_rule() -> None:
    """<v h>_data - <v h>_T, eq. 6, with the fantasy that the loss itself used."""
    machine = layer()
    free = Layer(*(part.clone().requires_grad_() for part in machine[:3]))
    data = levels((2, 0, 1))
    torch.manual_seed(0)
    loss, imagined = contrast(free, data, 1)
    loss.backward()
    wanted = torch.zeros(L, C, H, dtype=torch.float64)
    for sign, state in ((1, data), (-1, imagined)):
        for column, level in zip(RATED, state.levels.tolist(), strict=True):
            wanted[level, column] -= sign * up(machine, state)[0]
    assert free.weights.grad is not None
    torch.testing.assert_close(free.weights.grad, wanted)


def test_reconstructions_are_drawn_from_their_chances() -> None:
    machine, n = layer(), 20_000
    starts = torch.arange(n + 1) * len(RATED)
    structure = Structure.of(starts, torch.tensor(RATED * n), C)
    units = Levels(structure, torch.zeros(n * 3).long(), torch.ones(n * 3).double(), L)
    torch.manual_seed(0)
    hidden = torch.tensor([[1.0, 0.0]]).double().expand(n, H).contiguous()
    drawn = units.reconstructed(machine.weights, machine.visible_bias, hidden)
    assert drawn.chances is not None
    shares = torch.stack(
        [(drawn.levels.view(n, 3) == level).double().mean(0) for level in range(L)]
    )
    torch.testing.assert_close(shares, drawn.chances[:, :3], atol=0.015, rtol=0)


# --- what is absent


def problem() -> tuple[Seen, LevelMachine]:
    torch.manual_seed(1)
    structure, mask = structure_of(6, 8, 0.5)
    places = torch.randint(L, (int(mask.sum()),)).float()
    machine = LevelMachine(torch.arange(L).float(), torch.randn(L, 8), H, conditional=True, gibbs=1)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.normal_()
    return Seen.everything(structure, places), machine


def test_entries_that_are_hidden_do_not_matter() -> None:
    """Neither their levels nor that they are there, in hidden units, free energy and gradient."""
    data, machine = problem()
    kept = (torch.arange(len(data.values.by_row)) % 3 != 0).float()
    seen = data.where(kept)
    structure = data.values.structure
    row = structure.row_of_entry[kept > 0]
    starts = torch.cat([torch.zeros(1), torch.bincount(row, minlength=6).cumsum(0)]).int()
    smaller = Structure.of(starts, structure.columns[kept > 0], 8)
    fewer = Seen.everything(smaller, data.values.by_row[kept > 0])
    torch.testing.assert_close(machine.hidden(seen), machine.hidden(fewer))

    other = (data.values.by_row + 1) % L
    changed = Seen.everything(structure, torch.where(kept > 0, data.values.by_row, other))
    grads = []
    for given in (seen, changed.where(kept)):
        torch.manual_seed(2)
        loss = machine.lesson(data, given, None).loss.mean
        grads.append(torch.autograd.grad(loss, [machine.weights, machine.hidden_bias]))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
    only_hidden = torch.bincount(structure.columns[kept > 0].long(), minlength=8) == 0
    assert not grads[0][0][:, only_hidden].any()


def test_a_row_without_entries_has_the_machine_without_visible_units() -> None:
    _, machine = problem()
    nothing = Structure.of(torch.zeros(2).int(), torch.zeros(0).int(), 8)
    hidden = machine.hidden(Seen.everything(nothing, torch.zeros(0)))
    torch.testing.assert_close(hidden[0], machine.hidden_bias.sigmoid())


def test_the_error_that_is_reported_is_at_target_entries() -> None:
    data, machine = problem()
    kept = (torch.arange(len(data.values.by_row)) % 3 != 0).float()
    seen = data.where(kept)
    torch.manual_seed(4)
    error = machine.lesson(data, seen, 1 - kept).loss.error
    torch.manual_seed(4)
    units = Levels(data.values.structure, seen.values.by_row.long(), kept, L)
    chances = fantasy(machine.layer(seen), units, 1).chances
    assert chances is not None
    wanted = ((machine.stars @ chances - data.values.by_row)[kept == 0] ** 2).mean()
    torch.testing.assert_close(error, wanted)


# --- real visible units


@pytest.mark.parametrize("hidden_unit", ["bernoulli", "gaussian"])
def test_free_energy_of_real_units(hidden_unit: str) -> None:
    """Hidden units summed out, or integrated on a grid; visible part by its formula."""
    torch.manual_seed(0)
    machine = Layer(*(torch.randn(n).double() for n in ((3, 1), (1,), (3,))), hidden_unit)
    values = torch.randn(1, 3).double()
    inputs = float(values @ machine.weights + machine.hidden_bias)
    if hidden_unit == "bernoulli":
        summed = torch.tensor([0.0, inputs]).double().logsumexp(0)
    else:
        grid = torch.linspace(-15, 15, 30_001).double()
        density = torch.exp(inputs * grid - grid**2 / 2) / (2 * torch.pi) ** 0.5
        summed = torch.trapezoid(density, grid).log()
    apart = ((values - machine.visible_bias) ** 2).sum() / 2
    torch.testing.assert_close(free_energy(machine, whole(values, "gaussian")), apart - summed)
    on = (values * machine.visible_bias).sum()
    torch.testing.assert_close(free_energy(machine, whole(values, "bernoulli")), -on - summed)


def test_a_normalised_row_has_its_weights_divided() -> None:
    """Each row's machine has weights W / sqrt(entries), down as well as up."""
    torch.manual_seed(0)
    structure, mask = structure_of(5, 7, 0.4)
    seen = Seen.everything(structure, torch.randn(int(mask.sum())).double())
    machine = Layer(*(torch.randn(n).double() for n in ((7, H), (H,), (7,))))
    units = Entries.of(seen, "gaussian", normalize=True)
    row = int(seen.counts.argmax())
    start, stop = structure.row_starts[row : row + 2].tolist()
    columns = structure.columns[start:stop].long()
    weights = machine.weights[columns] / (stop - start) ** 0.5
    alone = (seen.values.by_row[start:stop] @ weights + machine.hidden_bias).sigmoid()
    torch.testing.assert_close(up(machine, units)[row], alone)
    hidden = torch.rand(5, H).double()
    again = units.reconstructed(machine.weights, machine.visible_bias, hidden)
    wanted = weights @ hidden[row] + machine.visible_bias[columns]
    torch.testing.assert_close(again.values.by_row[start:stop], wanted)


def test_a_machine_finds_what_units_have_in_common() -> None:
    """Two kinds of rows: a hidden unit tells them apart, and reconstructions are better than the
    mean; weights are those of the layer that it was made of, whichever way that one has them."""
    torch.manual_seed(0)
    kind = torch.arange(60) % 2 * 2.0 - 1
    pattern = torch.tensor([1.0, -1, 1, -1, 1, 1, -1, -1])
    values = kind[:, None] * pattern * 1.5 + 0.1 * torch.randn(60, 8)
    structure, _ = structure_of(60, 8, 1.0)
    data = Seen.everything(structure, values.flatten())
    settings = Training(
        objective="reconstruct", steps=300, learning_rate=0.02, weight_decay=0.0, ema=0.0
    )
    for upright in (False, True):
        layer = nn.Linear(8, 4)
        weight = layer.weight if upright else nn.Parameter(layer.weight.detach().T.clone())
        machine = Machine(weight, layer.bias, unit="gaussian", upright=upright)
        learned = train(machine, data, settings)
        assert machine.weights is weight
        weights = learned.weights.T if upright else learned.weights
        first = Layer(weights.detach(), learned.hidden_bias, learned.visible_bias)
        codes = up(first, whole(values, "gaussian")).detach()
        apart = (codes[kind > 0].mean(0) - codes[kind < 0].mean(0)).abs().max()
        assert apart > 0.9
        means = codes @ first.weights.T + first.visible_bias
        assert ((means - values) ** 2).mean() < 0.2 * values.var()
