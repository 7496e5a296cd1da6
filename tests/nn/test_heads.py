"""Losses against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch

from recae.nn.heads import Multinomial, Scaled, Squares
from recae.nn.sparse import Matrix
from tests.nn.test_sparse import structure_of

torch.manual_seed(0)
STRUCTURE, MASK = structure_of(7, 9, 0.5)
VALUES = Matrix.of(STRUCTURE, 1 + 4 * torch.rand(int(MASK.sum())))
ROWS = (torch.randn(7, 3), torch.randn(7))
COLUMNS = (torch.randn(9, 3), torch.randn(9))
SCORES = ROWS[0] @ COLUMNS[0].T + ROWS[1][:, None] + COLUMNS[1]
AT = SCORES[STRUCTURE.row_of_entry, STRUCTURE.columns.long()]
COUNTED = (torch.rand(len(AT)) < 0.5).float()


@pytest.mark.parametrize("counted", [None, COUNTED])
def test_squared_error(counted: torch.Tensor | None) -> None:
    loss = Squares().loss(ROWS, COLUMNS, VALUES, counted)
    chosen = slice(None) if counted is None else counted > 0
    wanted = ((AT - VALUES.by_row)[chosen] ** 2).mean()
    torch.testing.assert_close(loss.mean, wanted)
    assert loss.number == len(AT[chosen])
    assert Squares().summary(4.0) == 2.0


@pytest.mark.parametrize("counted", [None, COUNTED])
def test_cross_entropy_of_ratings_brought_to_0_1(counted: torch.Tensor | None) -> None:
    head = Scaled(1.0, 5.0, activation="sigmoid", entropy=True)
    loss = head.loss(ROWS, COLUMNS, VALUES, counted)
    chosen = slice(None) if counted is None else counted > 0
    share, chance = ((VALUES.by_row - 1) / 4)[chosen], torch.sigmoid(AT)[chosen]
    wanted = -(share * chance.log() + (1 - share) * (1 - chance).log()).mean()
    torch.testing.assert_close(loss.mean, wanted)
    stars = 1 + 4 * chance
    torch.testing.assert_close(loss.error, ((stars - VALUES.by_row[chosen]) ** 2).mean())
    torch.testing.assert_close(head.link(AT)[chosen], stars)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "elu", "selu", "silu"])
def test_squared_error_of_an_activation(activation: str) -> None:
    head = Scaled(0.5, 5.0, activation=activation, entropy=False)
    loss = head.loss(ROWS, COLUMNS, VALUES, None)
    torch.testing.assert_close(loss.mean, ((head.link(AT) - VALUES.by_row) ** 2).mean())


@pytest.mark.parametrize("counted", [None, COUNTED])
def test_the_multinomial_likelihood(counted: torch.Tensor | None) -> None:
    """Liang et al. 2018, eq. 2, over all columns; a row's bias is in all of its scores alike."""
    head = Multinomial()
    loss = head.loss(ROWS, COLUMNS, VALUES, counted)
    drawn = torch.zeros(7, 9)
    values = VALUES.by_row if counted is None else VALUES.by_row * counted
    drawn[STRUCTURE.row_of_entry, STRUCTURE.columns.long()] = values
    wanted = -(drawn * torch.log_softmax(SCORES, dim=1)).sum(1).mean()
    torch.testing.assert_close(loss.mean, wanted)
    assert loss.number == 7
    assert math.isclose(head.summary(3.0), 3.0)
