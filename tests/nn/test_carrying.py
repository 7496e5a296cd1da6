"""Carried to a network for other rows and columns, weights say of those that were there the same as
before: by shapes and by codes, for every encoder that there is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recae.nn.carrying import Places, axes_of, carry
from recae.nn.encoders import ENCODERS, Dense, Reads, Settings, Variational
from recae.nn.heads import Nade
from recae.nn.network import Network
from recae.nn.sides import Seen, Side, Sum, Table
from recae.nn.sparse import Matrix, Structure

K, SIDE, MORE_SIDE = 3, 2, 4
ROWS, COLUMNS = 7, 5
MORE_ROWS, MORE_COLUMNS = 9, 8
Entry = tuple[int, int, int]
"""Row, column, time."""
LEVELS = torch.tensor([1.0, 2.0, 3.0])
MORE_LEVELS = torch.tensor([1.0, 1.5, 2.0, 3.0])

PLACES: Places = {
    "rows": torch.tensor([-1, 3, 0, 1, 2, -1, 6, 5, 4]),
    "columns": torch.tensor([4, -1, 3, 0, -1, 1, 2, -1]),
    "row_side": torch.tensor([1, -1, 0, -1]),
    "column_side": torch.tensor([-1, 0, 1, -1]),
    "levels": torch.tensor([0, -1, 1, 2]),
}
SETTINGS: dict[str, Settings] = {
    **{kind: make() for kind, make in ENCODERS.items()},
    "stack": Dense(hidden=(4,)),
    "tied": Dense(tied=True),
    "composite": Variational(hidden=(4,), residual=True, prior="composite"),
}


def side(settings: Settings | None, n_rows: int, n_columns: int, n_side: int) -> Side:
    """The encoder, or a table."""
    if settings is None:
        return Table(n_rows, K, scale=1.0)
    reads = Reads(
        n_columns,
        K,
        "tanh",
        values=True,
        mask=True,
        side=n_side,
        normalize=True,
        bias_head=True,
        scale=1.0,
        span=(1.0, 5.0),
    )
    return settings.side(reads)


def network(
    rows: Settings | None,
    columns: Settings | None,
    shape: tuple[int, int],
    sides: tuple[int, int],
    levels: torch.Tensor,
) -> Network:
    """With random numbers in every parameter, those that begin at zero too."""
    n_rows, n_columns = shape
    made = Network(
        side(rows, n_rows, n_columns, sides[0]),
        side(columns, n_columns, n_rows, sides[1]),
        dropout=0.0,
        head=Nade(levels, torch.ones(len(levels)) / len(levels)),
    )
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made.eval()


def both(rows: Settings | None, columns: Settings | None) -> tuple[Network, Network]:
    """Of the old rows and columns, and of the new ones."""
    torch.manual_seed(0)
    return (
        network(rows, columns, (ROWS, COLUMNS), (SIDE, SIDE), LEVELS),
        network(rows, columns, (MORE_ROWS, MORE_COLUMNS), (MORE_SIDE, MORE_SIDE), MORE_LEVELS),
    )


def seen(
    entries: list[Entry], shape: tuple[int, int], sides: tuple[torch.Tensor, torch.Tensor]
) -> Seen:
    """Entries of the value 3, row by row."""
    rows, columns, times = (torch.tensor(part) for part in zip(*sorted(entries), strict=True))
    counts = torch.bincount(rows, minlength=shape[0])
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    structure = Structure.of(starts, columns, shape[1])
    return Seen.everything(
        structure,
        torch.full((len(entries),), 3.0),
        *(dense(each) for each in sides),
        times,
    )


def dense(values: torch.Tensor) -> Matrix:
    """A matrix that has every entry."""
    n_rows, n_columns = values.shape
    starts = torch.arange(n_rows + 1) * n_columns
    columns = torch.arange(n_columns).repeat(n_rows)
    return Matrix.of(Structure.of(starts, columns, n_columns), values.flatten())


def moved(entries: list[Entry]) -> list[Entry]:
    """The same entries where their rows and columns are now."""
    rows, columns = PLACES["rows"].tolist(), PLACES["columns"].tolist()
    return [(rows.index(row), columns.index(column), time) for row, column, time in entries]


def placed(values: torch.Tensor, ids: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """[n, F] by old rows and names -> by new ones; zeros where nothing was."""
    padded = nn.functional.pad(values, (0, 1, 0, 1))
    return padded[ids][:, names]


@pytest.mark.parametrize("of", ["rows", "columns"])
@pytest.mark.parametrize("kind", SETTINGS)
def test_codes_stay_what_they_were(kind: str, of: str) -> None:
    """A new column between the old ones would else be read by the weights of another."""
    encoder = SETTINGS[kind]
    old, new = both(*((encoder, None) if of == "rows" else (None, encoder)))
    carry(old, new, PLACES)
    entries = [(r, c, 10 * r + c) for r in range(ROWS) for c in range(COLUMNS) if (r + c) % 3]
    sides = torch.randn(ROWS, SIDE), torch.randn(COLUMNS, SIDE)
    now = (
        placed(sides[0], PLACES["rows"], PLACES["row_side"]),
        placed(sides[1], PLACES["columns"], PLACES["column_side"]),
    )
    before = old(seen(entries, (ROWS, COLUMNS), sides))
    after = new(seen(moved(entries), (MORE_ROWS, MORE_COLUMNS), now))
    for axis, was, is_now in zip(("rows", "columns"), before, after, strict=True):
        there = PLACES[axis] >= 0  # type: ignore[index]
        kept = PLACES[axis][there]  # type: ignore[index]
        torch.testing.assert_close(is_now.vectors[there], was.vectors[kept])
        torch.testing.assert_close(is_now.bias[there], was.bias[kept])


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_length_that_can_change_has_a_name(kind: str) -> None:
    """An encoder whose author forgets `axes` fails here, and not in somebody's update."""
    old, new = both(SETTINGS[kind], SETTINGS[kind])
    named = axes_of(new)
    lengths = dict(new.named_parameters())
    for name, parameter in old.named_parameters():
        axes = named.get(name, (None,) * parameter.ndim)
        assert len(axes) == parameter.ndim, name
        for axis, was, is_now in zip(axes, parameter.shape, lengths[name].shape, strict=True):
            assert (was != is_now) == (axis is not None), (name, axis)
            assert axis is None or is_now == len(PLACES[axis]), (name, axis)


def test_what_is_new_begins_at_the_mean_of_the_old() -> None:
    old, new = both(None, Dense())
    assert isinstance(old.rows, Table)
    assert isinstance(new.rows, Table)
    carry(old, new, PLACES)
    torch.testing.assert_close(new.rows.vectors[0], old.rows.vectors.mean(dim=0))
    torch.testing.assert_close(new.rows.vectors[1], old.rows.vectors[3])
    torch.testing.assert_close(new.rows.row_bias[5], old.rows.row_bias.mean())


def test_both_parts_of_a_sum_are_carried() -> None:
    def summed(n_rows: int, n_columns: int, n_side: int) -> Side:
        encoder = side(Dense(), n_rows, n_columns, n_side)
        return Sum(Table(n_rows, K, scale=1.0), encoder)

    old = Network(summed(ROWS, COLUMNS, SIDE), Table(COLUMNS, K, scale=1.0), dropout=0.0)
    new = Network(
        summed(MORE_ROWS, MORE_COLUMNS, MORE_SIDE),
        Table(MORE_COLUMNS, K, scale=1.0),
        dropout=0.0,
    )
    carry(old, new, PLACES)
    assert isinstance(old.rows, Sum)
    assert isinstance(new.rows, Sum)
    torch.testing.assert_close(new.rows.table.vectors[2], old.rows.table.vectors[0])
    weights = new.rows.encoder.get_parameter("entry.mask_weight")
    torch.testing.assert_close(weights[0], old.rows.encoder.get_parameter("entry.mask_weight")[4])
