"""Sequences are what is seen in time order, nothing else is read, and padding is nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recae.nn.encoders import Convolutional, Reads, Recurrent
from recae.nn.encoders.entry import Entry
from recae.nn.encoders.recurrent import Repeat
from recae.nn.encoders.sequences import Sequences, SequenceSettings, steps
from recae.nn.network import Network
from recae.nn.sides import Seen, Side, Table
from recae.nn.sparse import Structure
from recae.nn.training import Training, train

LENGTHS = [3, 0, 9, 1, 6]
COLUMNS = 12


def seen(lengths: list[int] = LENGTHS, *, seed: int = 0) -> Seen:
    """Rows of these lengths, in columns, with values and at times that are drawn row by row."""
    rows = []
    for place, length in enumerate(lengths):
        draw = torch.Generator().manual_seed(100 * seed + place)
        columns = torch.randperm(COLUMNS, generator=draw)[:length].sort().values
        values = torch.randn(length, generator=draw)
        rows.append((columns, values, torch.randperm(1_000, generator=draw)[:length]))
    columns, values, times = (torch.cat(parts) for parts in zip(*rows, strict=True))
    starts = torch.tensor([0, *lengths]).cumsum(0)
    structure = Structure.of(starts, columns, COLUMNS)
    return Seen.everything(structure, values, times=times)


def side(settings: SequenceSettings) -> Side:
    """Weights so large that everything read would show."""
    torch.manual_seed(0)
    reads = Reads(
        COLUMNS,
        5,
        "tanh",
        values=True,
        mask=True,
        side=0,
        normalize=True,
        bias_head=True,
        scale=1.0,
    )
    return settings.side(reads).eval()


SETTINGS: list[SequenceSettings] = [
    Recurrent(units=7),
    Convolutional(channels=(6, 6), window=3),
    Recurrent(units=16, skip=False, reconstruction=0.5, longest=9),
    Convolutional(channels=(6, 6), window=3, skip=False, reconstruction=0.5, longest=9),
]
each = pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.kind}-{s.reconstruction}")
decoded = pytest.mark.parametrize("settings", SETTINGS[2:], ids=lambda s: s.kind)


def by_hand(data: Seen, longest: int) -> list[list[tuple[int, float]]]:
    """(column, value) of each row, sorted by time, then column."""
    structure, rows = data.values.structure, []
    assert data.times is not None
    for row in range(len(data.counts)):
        mine = range(int(structure.row_starts[row]), int(structure.row_starts[row + 1]))
        kept = [
            (int(data.times[e]), int(structure.columns[e]), float(data.values.by_row[e]))
            for e in mine
            if data.mask.by_row[e]
        ]
        rows.append([(column, value) for _, column, value in sorted(kept)][-longest:])
    return rows


def as_lists(sequences: Sequences) -> list[list[tuple[int, float]]]:
    return [
        list(zip(columns[:length], values[:length], strict=True))
        for columns, values, length in zip(*(part.tolist() for part in sequences), strict=True)
    ]


@pytest.mark.parametrize("longest", [1, 4, 100])
def test_a_sequence_is_what_is_seen_in_time_order(longest: int) -> None:
    data = seen()
    assert data.times is not None
    # Some come at the same time, and some are hidden.
    data = data._replace(times=data.times // 300)
    kept = (torch.arange(len(data.times)) % 4 != 1).float()
    for part in (data, data.where(kept), data.where(kept).T):
        sequences = Sequences.of(part, longest)
        wanted = by_hand(part, longest)
        assert as_lists(sequences) == wanted
        assert as_lists(sequences.backwards()) == [row[::-1] for row in wanted]
        assert int(sequences.present.sum()) == sum(map(len, wanted))


def test_without_times_it_is_in_the_order_of_columns() -> None:
    data = seen()
    same = data._replace(times=torch.zeros(sum(LENGTHS), dtype=torch.int64))
    assert as_lists(Sequences.of(data._replace(times=None), 5)) == as_lists(Sequences.of(same, 5))


@each
def test_padding_is_nothing(settings: SequenceSettings) -> None:
    """A row alone has the code that it has beside longer ones, and with padding added."""
    network, data = side(settings), seen()
    codes, _ = network(data)[:2]
    for row in range(len(LENGTHS)):
        alone = network(data.take(torch.tensor([row])))
        torch.testing.assert_close(alone.vectors[0], codes[row], atol=1e-5, rtol=1e-5)


@each
def test_a_code_moves_with_what_is_seen_of_its_own_row_alone(settings: SequenceSettings) -> None:
    """Gradients say what was read: of a hidden entry, of another row, of padding nothing."""
    data = seen()
    structure = data.values.structure
    hidden = 4
    kept = torch.ones(sum(LENGTHS))
    kept[hidden] = 0
    before = side(settings)(data.where(kept)).vectors
    other = data.values.by_row.clone()
    other[hidden] = 9.0
    moved = Seen.everything(structure, other, times=data.times).where(kept)
    assert torch.equal(side(settings)(moved).vectors, before)
    network = side(settings)
    weight = network.get_parameter("entry.values_weight")
    row = 2
    network(data.where(kept)).vectors[row].sum().backward()
    assert weight.grad is not None
    read = set(torch.nonzero(weight.grad.abs().sum(1))[:, 0].tolist())
    assert read == {column for column, _ in by_hand(data.where(kept), settings.longest)[row]}


@each
def test_order_matters_and_equal_times_are_not_random(settings: SequenceSettings) -> None:
    network, data = side(settings), seen()
    assert data.times is not None
    codes = network(data).vectors
    backwards = network(data._replace(times=-data.times)).vectors
    longer = torch.tensor(LENGTHS) > 1
    assert ((codes - backwards).abs().amax(1) > 1e-3).tolist() == longer.tolist()
    later = network(data._replace(times=data.times * 7 + 10**9)).vectors
    assert torch.equal(later, codes)
    same = data._replace(times=torch.zeros_like(data.times))
    assert torch.equal(network(same).vectors, network(same).vectors)


def test_the_lstm_is_the_one_that_reads_a_row_at_a_time() -> None:
    network, data = side(SETTINGS[0]), seen()
    lstm, entry = network.get_submodule("lstm"), network.get_submodule("entry")
    assert isinstance(lstm, nn.LSTM)
    assert isinstance(entry, Entry)
    for row in range(len(LENGTHS)):
        alone = data.take(torch.tensor([row]))
        x = steps(entry, Sequences.of(alone, 100), alone)
        assert x.shape == (1, 1 + LENGTHS[row], 5)
        last = lstm(x)[0][0, -1]
        code = torch.tanh(network.get_submodule("to_code")(last) + entry(alone)[0])
        torch.testing.assert_close(code, network(data).vectors[row])


def test_the_convolutions_are_those_of_the_definition() -> None:
    """One layer of window 3, by loops."""
    settings = Convolutional(channels=(6,), window=3)
    network, data = side(settings), seen()
    entry = network.get_submodule("entry")
    assert isinstance(entry, Entry)
    (layer,) = network.get_submodule("layers").children()
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    for row, length in enumerate(LENGTHS):
        alone = data.take(torch.tensor([row]))
        x = steps(entry, Sequences.of(alone, 100).backwards(), alone)[0]
        nothing = torch.zeros(1, 5)
        around = torch.cat([nothing, x, nothing])
        states = [
            torch.tanh(torch.einsum("oiw,wi->o", weight, around[t : t + 3]) + bias)
            for t in range(1 + length)
        ]
        pairs = [torch.stack(states[t : t + 2]).mean(0) for t in range(0, 1 + length, 2)]
        pooled = torch.stack(pairs).sum(0) / len(pairs) ** 0.5
        code = torch.tanh(network.get_submodule("to_code")(pooled) + entry(alone)[0])
        torch.testing.assert_close(code, network(data).vectors[row], atol=1e-5, rtol=1e-5)


def test_the_repeat_vector_does_not_know_the_longest() -> None:
    torch.manual_seed(0)
    decoder, codes = Repeat(3, 5), torch.randn(3, 3)
    lengths = torch.tensor([2, 0, 6])
    values = decoder(codes, lengths)
    assert values.shape == (3, 6)
    alone = decoder(codes[:1], lengths[:1])
    torch.testing.assert_close(alone[0], values[0, :2])


@decoded
@torch.no_grad()
def test_the_penalty_is_of_what_was_seen_and_paid_while_training(
    settings: SequenceSettings,
) -> None:
    network, data = side(settings), seen()
    assert network(data).penalty == 0.0
    network.train()
    everything = network(data)
    assert float(everything.penalty) == pytest.approx(
        0.5 * float(everything.measured["reconstruction"]) * sum(LENGTHS), rel=1e-5
    )
    one = [network(data.take(torch.tensor([row]))).penalty for row in range(len(LENGTHS))]
    assert float(everything.penalty) == pytest.approx(float(sum(one)), rel=1e-4)
    kept = (torch.arange(sum(LENGTHS)) % 3 > 0).float()
    other = torch.where(kept > 0, data.values.by_row, 9.0)
    moved = Seen.everything(data.values.structure, other, times=data.times)
    assert network(moved.where(kept)).penalty == network(data.where(kept)).penalty


@decoded
def test_sequences_are_learned_by_heart(settings: SequenceSettings) -> None:
    torch.manual_seed(0)
    data = seen()
    network = Network(side(settings), Table(COLUMNS, 5, scale=0.1), dropout=0.0)
    said: list[float] = []
    training = Training(
        objective="reconstruct", steps=200, learning_rate=0.02, weight_decay=0.0, reports=5
    )
    train(
        network,
        data,
        training,
        report=lambda progress: said.append(progress.metrics["train/rows/reconstruction"]),
    )
    assert said[-1] < 0.3 * said[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Recurrent(units=0), "units must be at least 1"),
        (lambda: Recurrent(longest=0), "longest must be at least 1"),
        (lambda: Convolutional(reconstruction=-1.0), "not negative"),
        (lambda: Convolutional(channels=()), "channels must be"),
        (lambda: Convolutional(window=4), "window must be odd"),
    ],
)
def test_impossible_settings_are_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


def test_biases_of_an_lstm_are_spared_as_biases() -> None:
    network = Network(side(SETTINGS[0]), Table(COLUMNS, 5, scale=0.1), dropout=0.0)
    spared: list[Tensor] = [*network.shrunk(biases=False)[1]]
    names = [name for name, p in network.named_parameters() if any(p is s for s in spared)]
    assert {"rows.lstm.bias_ih_l0", "rows.to_code.bias", "columns.row_bias"} <= set(names)
    assert not [name for name in names if "weight" in name or "head" in name]
