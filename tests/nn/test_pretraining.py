"""Stages of a stack: what they train, on what, and that it stays in the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recae.nn.encoders import Dense
from recae.nn.encoders.dense import DenseSide
from recae.nn.network import Network
from recae.nn.pretraining import Layer, complete, machines, stages
from recae.nn.sides import Seen, Table, encode
from recae.nn.training import Training, train
from tests.nn.test_sparse import structure_of
from tests.nn.test_training import READS

SETTINGS = Training(
    objective="reconstruct", steps=150, learning_rate=0.02, weight_decay=0.0, ema=0.9
)


def problem(*, tied: bool = False) -> tuple[Network, Seen]:
    """Users 12, items 15, of rank one; a stack of 15-6-5-4-5-6 and a table."""
    torch.manual_seed(0)
    structure, mask = structure_of(12, 15, 0.5)
    signal = torch.randn(12)[structure.row_of_entry] * torch.randn(15)[structure.columns.long()]
    side = Dense(hidden=(6, 5), tied=tied).side(READS)
    network = Network(side, Table(15, 6, scale=0.1), dropout=0.0)
    assert len(signal) == int(mask.sum())
    return network, Seen.everything(structure, signal)


def test_there_is_a_stage_for_the_entries_and_one_for_every_layer_above() -> None:
    network, data = problem()
    first, second, third = stages(network, data)
    stack = network.rows
    assert isinstance(stack, DenseSide)
    assert isinstance(second.learner, Layer)
    assert (second.learner.down, second.learner.up) == (stack.down[0], stack.up[1])
    assert isinstance(third.learner, Layer)
    assert (third.learner.down, third.learner.up) == (stack.down[1], stack.up[0])
    assert first.data() is data
    codes = torch.tanh(stack.entry(data))
    torch.testing.assert_close(second.data().values.by_row.view(12, 6), codes.detach())
    above = torch.tanh(stack.down[0](codes))
    torch.testing.assert_close(third.data().values.by_row.view(12, 5), above.detach())
    # The entries' stage decodes by the table of the whole.
    rows, columns = first.learner(data)
    torch.testing.assert_close(rows.vectors, codes)
    torch.testing.assert_close(columns.vectors, network.columns.vectors)


@pytest.mark.parametrize("tied", [False, True])
def test_every_stage_learns_to_reconstruct_and_its_weights_are_the_stacks(tied: bool) -> None:
    network, data = problem(tied=tied)
    for stage in stages(network, data):
        seen = stage.data()
        errors = [float(stage.learner.eval().lesson(seen, seen, None).loss.error)]
        best = train(stage.learner, seen, SETTINGS)
        stage.learner.load_state_dict(best.state_dict())
        errors.append(float(stage.learner.eval().lesson(seen, seen, None).loss.error))
        assert errors[1] < 0.7 * errors[0]
        mine = {p.data_ptr() for p in network.parameters()}
        assert {p.data_ptr() for p in stage.learner.parameters()} <= mine


def test_a_layer_is_the_formula_and_reads_what_is_not_hidden() -> None:
    network, _ = problem()
    stack = network.rows
    assert isinstance(stack, DenseSide)
    layer = Layer(stack.down[0], stack.up[1], torch.tanh)
    x = torch.randn(7, 6)
    data = complete(x)
    kept = (torch.rand(7 * 6) < 0.5).float()
    lesson = layer.lesson(data, data.where(kept), 1 - kept)
    again = torch.tanh(stack.up[1](torch.tanh(stack.down[0](x * kept.view(7, 6)))))
    wanted = (((again - x) ** 2)[kept.view(7, 6) == 0]).mean()
    torch.testing.assert_close(lesson.loss.mean, wanted)
    assert layer.summary(4.0) == 2.0


def test_both_sides_of_the_dual_model_have_layers() -> None:
    torch.manual_seed(0)
    _, data = problem()
    rows, columns = (Dense(hidden=(6,)).side(replace(READS, n_columns=n)) for n in (15, 12))
    whole, *layers = stages(Network(rows, columns, dropout=0.0), data)
    assert len(layers) == 2
    codes = [encode(side, seen) for side, seen in ((rows, data), (columns, data.T))]
    assert [len(c.vectors) for c in codes] == [12, 15]
    assert layers[1].data().values.structure.shape == (15, 6)
    train(whole.learner, data, SETTINGS)


def test_layers_learn_from_batches_too() -> None:
    network, data = problem()
    for stage in stages(network, data):
        train(stage.learner, stage.data(), replace(SETTINGS, steps=5, batch_size=4))


@pytest.mark.parametrize("tied", [False, True])
def test_machines_are_unrolled_into_the_stack(tied: bool) -> None:
    """Hinton and Salakhutdinov 2006: a decoder begins as the transposed encoder."""
    torch.manual_seed(0)
    structure, _ = structure_of(12, 15, 0.5)
    signal = torch.randn(12)[structure.row_of_entry] * torch.randn(15)[structure.columns.long()]
    side = Dense(hidden=(6, 5), tied=tied).side(replace(READS, activation="sigmoid"))
    network = Network(side, Table(15, 6, scale=0.1), dropout=0.0)
    found = machines(network, Seen.everything(structure, signal))
    assert len(found) == 3
    before = [p.detach().clone() for p in side.down.parameters()]
    for stage in found:
        fitted = train(stage.learner, stage.data(), SETTINGS)
        stage.learner.load_state_dict(fitted.state_dict())
        stage.settle()
    assert side.entry.values_weight is not None
    counts = torch.bincount(structure.row_of_entry).float()
    usual = 1.0 if tied else float(counts.sqrt().sum() / counts.sum())
    torch.testing.assert_close(network.columns.vectors, usual * side.entry.values_weight)
    assert not any(map(torch.equal, before, side.down.parameters()))
    for down, up in zip(side.down, reversed(list(side.up)), strict=True):
        x = torch.rand(3, down.out_features)
        torch.testing.assert_close(up(x), x @ down.weight + up.bias)
        assert up.bias.abs().sum() > 0
