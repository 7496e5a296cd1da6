"""Losses against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch

from recae.nn.heads import Multinomial, Nade, Scaled, Squares
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


LEVELS = torch.tensor([0.5, 1.0, 1.5, 3.0, 5.0])
"""Not equally far from each other."""


def nade() -> tuple[Nade, Matrix, torch.Tensor]:
    """With offsets in no order, values on the levels, and their places [E]."""
    torch.manual_seed(3)
    head = Nade(LEVELS, torch.tensor([0.1, 0.3, 0.1, 0.3, 0.2]))
    torch.nn.init.normal_(head.offsets)
    places = torch.randint(0, 5, (len(AT),))
    return head, Matrix.of(STRUCTURE, LEVELS[places]), places


def test_chances_of_levels_are_a_softmax_and_their_mean_is_predicted() -> None:
    head, _, _ = nade()
    chances = head.chances(SCORES).detach()
    assert chances.shape == (7, 9, 5)
    torch.testing.assert_close(chances.sum(-1), torch.ones(7, 9))
    for k in range(5):
        # How much likelier than the level below, in logarithms: linear in the score.
        if k:
            wanted = SCORES * (LEVELS[k] - LEVELS[k - 1]) - (head.offsets[k] - head.offsets[k - 1])
            torch.testing.assert_close(
                (chances[..., k] / chances[..., k - 1]).log(), wanted.detach()
            )
    torch.testing.assert_close(head.link(SCORES).detach(), chances @ LEVELS)
    extreme = head.link(torch.tensor([-1e6, 1e6])).detach()
    torch.testing.assert_close(extreme, torch.tensor([0.5, 5.0]))


def test_before_training_what_is_usual_is_predicted() -> None:
    shares = torch.tensor([0.1, 0.3, 0.1, 0.3, 0.2])
    torch.testing.assert_close(Nade(LEVELS, shares).chances(torch.zeros(1))[0].detach(), shares)


@pytest.mark.parametrize("counted", [None, COUNTED])
def test_the_ordinal_cost_is_the_product_written_out(counted: torch.Tensor | None) -> None:
    """Zheng et al. 2016, eq. 13, factor by factor."""
    head, values, places = nade()
    loss = head.loss(ROWS, COLUMNS, values, counted)
    costs = []
    for z, k in zip(AT.double(), places.tolist(), strict=True):
        s = (z * (LEVELS - LEVELS.mean()) - head.offsets.detach()).double()
        product = torch.ones((), dtype=torch.float64)
        for j in range(k, -1, -1):
            product *= s[j].exp() / s[: j + 1].exp().sum()
        for j in range(k, 5):
            product *= s[j].exp() / s[j:].exp().sum()
        costs.append(-product.log())
    chosen = slice(None) if counted is None else counted > 0
    torch.testing.assert_close(loss.mean, torch.stack(costs)[chosen].mean().float())
    squares = (head.link(AT).detach() - values.by_row) ** 2
    torch.testing.assert_close(loss.error, squares[chosen].mean())
    assert loss.number == len(AT[chosen])


def test_a_single_level_costs_nothing_and_is_predicted() -> None:
    head = Nade(torch.tensor([4.0]), torch.ones(1))
    values = Matrix.of(STRUCTURE, torch.full_like(AT, 4.0))
    assert float(head.loss(ROWS, COLUMNS, values, None).mean.detach()) == 0
    torch.testing.assert_close(head.link(SCORES).detach(), torch.full((7, 9), 4.0))
