"""The sharing of levels against one-hot levels, cumulated, and a dense product."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recae.models import AutoRec
from recae.nn.encoders import Ordinal, Reads
from recae.nn.sides import Seen, encode
from tests.nn.test_sparse import structure_of

torch.manual_seed(0)
STRUCTURE, MASK = structure_of(12, 15, 0.4)
PLACES = torch.randint(0, 10, (int(MASK.sum()),))
READS = Reads(
    15,
    4,
    "tanh",
    values=True,
    mask=True,
    side=0,
    normalize=True,
    bias_head=True,
    scale=0.1,
    span=(0.5, 5.0),
)


@pytest.mark.parametrize("hide", [False, True])
def test_levels_share_the_weights_of_those_below(hide: bool) -> None:
    """Half stars: 10 levels. One-hot [R, C, L] cumulated from above, times W."""
    made = Ordinal(levels=10).side(READS)
    torch.nn.init.normal_(made.head)
    seen, kept = Seen.everything(STRUCTURE, (PLACES + 1) / 2), torch.ones(len(PLACES))
    if hide:
        kept = (torch.rand(len(PLACES)) < 0.6).float()
        seen = seen.where(kept)
    one_hot = torch.zeros(12, 15, 10)
    one_hot[STRUCTURE.row_of_entry, STRUCTURE.columns.long(), PLACES] = kept
    reached = one_hot.flip(2).cumsum(2).flip(2)
    total = torch.einsum("rcl,lck->rk", reached, made.level_weights)
    counts = one_hot.sum((1, 2)).clamp(min=1)[:, None]
    wanted = torch.tanh(total / counts.sqrt() + made.entry.bias)
    codes = encode(made, seen)
    torch.testing.assert_close(codes.vectors, wanted.detach())
    torch.testing.assert_close(codes.bias, (wanted @ made.head).detach())


def test_gradients_reach_exactly_the_levels_that_were_reached() -> None:
    made = Ordinal(levels=10).side(READS)
    made(Seen.everything(STRUCTURE, (PLACES + 1) / 2)).vectors.sum().backward()
    reached = torch.zeros(10, 15, dtype=torch.bool)
    for column, place in zip(STRUCTURE.columns.long(), PLACES, strict=True):
        reached[: place + 1, column] = True
    assert torch.equal((made.level_weights.grad != 0).any(2), reached)


def test_an_entry_has_the_nearest_level_and_none_beyond_the_ends() -> None:
    made = Ordinal(levels=3).side(replace(READS, span=(1.0, 5.0)))
    values = torch.tensor([1.0, 1.9, 2.1, 3.0, 3.9, 4.1, 5.0, 0.2, 9.0])
    structure, _ = structure_of(9, 1, 1.0)
    made = Ordinal(levels=3).side(replace(READS, n_columns=1, span=(1.0, 5.0)))
    levels = made._levels(Seen.everything(structure, values))
    assert levels.structure.columns.tolist() == [0, 0, 1, 1, 1, 2, 2, 0, 2]


def test_residuals_and_a_single_level_are_refused() -> None:
    with pytest.raises(ValueError, match="set baseline = none"):
        AutoRec.user(encoder=Ordinal())
    with pytest.raises(ValueError, match="levels must be at least 2"):
        Ordinal(levels=1)
