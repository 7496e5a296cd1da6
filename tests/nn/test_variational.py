"""Variational codes: what they cost, in closed form and otherwise, and how they are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from recae.nn.encoders import Reads, Variational
from recae.nn.encoders.stack import Residual
from recae.nn.encoders.variational import (
    VariationalSide,
    active,
    divergence_from_normal,
    log_composite,
)
from recae.nn.network import Network
from recae.nn.sides import Seen, Table
from recae.nn.training import Progress, Training, train
from tests.nn.test_sparse import structure_of

READS = Reads(
    15, 3, "tanh", values=True, mask=True, side=0, normalize=True, bias_head=True, scale=0.5
)
RECVAE = Variational(hidden=(6, 6, 6), residual=True, prior="composite", beta_by="entry")


def seen() -> Seen:
    torch.manual_seed(0)
    structure, mask = structure_of(12, 15, 0.4)
    return Seen.everything(structure, torch.randn(int(mask.sum())))


def side(settings: Variational) -> VariationalSide:
    torch.manual_seed(1)
    return settings.side(READS)


def test_the_divergence_is_that_of_torch_and_of_monte_carlo() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    ours = divergence_from_normal(mean, log_variance)
    q, p = Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)
    torch.testing.assert_close(ours, kl_divergence(q, p).sum(1))
    z = q.sample((100_000,))
    drawn = (q.log_prob(z) - p.log_prob(z)).sum(2).mean(0)
    torch.testing.assert_close(drawn, ours, atol=0.05, rtol=0)


def test_the_composite_prior_is_a_mixture_and_a_density() -> None:
    mean, log_variance = torch.tensor([[1.5]]), torch.tensor([[-1.0]])
    parts = Normal(torch.tensor([0.0, 1.5, 0.0]), torch.tensor([0.0, -1.0, 10.0]).div(2).exp())
    theirs = MixtureSameFamily(Categorical(torch.tensor([0.15, 0.75, 0.1])), parts)
    z = torch.linspace(-1000, 1000, 400_001)[:, None]
    ours = log_composite(z, mean.expand_as(z), log_variance.expand_as(z))
    torch.testing.assert_close(ours[:, 0], theirs.log_prob(z[:, 0]), atol=1e-4, rtol=1e-5)
    assert float(torch.trapezoid(ours[:, 0].exp(), z[:, 0])) == pytest.approx(1, abs=1e-3)


def test_codes_are_drawn_while_training_and_means_afterwards() -> None:
    ours, data = side(Variational(hidden=(8, 6))), seen()
    mean, log_variance = ours.posterior(data)
    ours.eval()
    torch.testing.assert_close(ours(data).code, mean)
    assert torch.equal(ours(data).vectors, ours(data).vectors)
    ours.train()
    draws = torch.stack([ours(data).code for _ in range(2000)])
    torch.testing.assert_close(draws.mean(0), mean, atol=0.15, rtol=0)
    torch.testing.assert_close(draws.std(0), (log_variance / 2).exp(), atol=0.15, rtol=0)


@pytest.mark.parametrize("beta_by", ["row", "entry"])
def test_the_penalty_is_the_weighted_divergence_summed_over_rows(beta_by: str) -> None:
    data = seen()
    ours = side(Variational(beta=0.3, beta_by=beta_by)).eval()  # type: ignore[arg-type]
    codes = ours(data)
    divergence = divergence_from_normal(*ours.posterior(data))
    weights = data.counts if beta_by == "entry" else torch.ones(12)
    torch.testing.assert_close(codes.penalty, (0.3 * weights * divergence).sum())
    torch.testing.assert_close(codes.measured["kl"], divergence.detach().mean())
    assert codes.narrow is not None
    torch.testing.assert_close(codes.vectors, ours.decode(codes.narrow).vectors)


def test_units_that_say_nothing_of_rows_are_not_active() -> None:
    means = torch.tensor([[0.0, 1.0, 2.0], [0.05, -1.0, 2.0]])
    assert int(active(means)) == 1


def test_residual_layers_are_the_formula() -> None:
    torch.manual_seed(0)
    layers, x = Residual(4, 3, "silu"), torch.randn(5, 4)
    (second, third), norm = layers.layers, [nn.LayerNorm(4, eps=0.1) for _ in range(3)]
    h1 = norm[0](x)
    h2 = norm[1](nn.functional.silu(second(h1) + h1))
    h3 = norm[2](nn.functional.silu(third(h2) + h1 + h2))
    torch.testing.assert_close(layers(x), h3)


def test_the_composite_penalty_looks_at_the_encoder_of_the_round_before() -> None:
    ours, data = side(RECVAE), seen()
    assert ours.previous is not None
    for weights in ours.posterior.parameters():
        nn.init.normal_(weights)
    before = ours.previous(data)[0]
    ours.renew()
    after = ours.previous(data)[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, ours.posterior(data)[0])
    assert not any(p.requires_grad for p in ours.previous.parameters())


def test_sides_learn_in_turn_and_go_on_bit_by_bit(tmp_path: Path) -> None:
    """Two steps of the rows' side, one of the columns'; the encoder of the round before is in the
    checkpoint."""
    settings = Training(
        objective="denoise", steps=12, reports=12, alternate=(2, 1), batch_size=5, ema=0.0
    )
    seen_weights: list[tuple[torch.Tensor, torch.Tensor]] = []

    def trained(resume: Path | None, stop_at: int = 0) -> Network:
        data, rows = seen(), side(RECVAE)
        network = Network(rows, Table(15, 3, scale=0.1), dropout=0.0)

        def report(progress: Progress) -> None:
            assert isinstance(network.columns, Table)
            pair = rows.posterior.moments.weight, network.columns.vectors
            seen_weights.append((pair[0].detach().clone(), pair[1].detach().clone()))
            if progress.step == stop_at:
                progress.save(tmp_path / "checkpoint")
                raise KeyboardInterrupt

        return train(network, data, settings, report=report, resume=resume)

    whole = trained(None)
    for step in range(1, 12):
        moved = [
            not torch.equal(a, b)
            for a, b in zip(seen_weights[step - 1], seen_weights[step], strict=True)
        ]
        assert moved == ([False, True] if step % 3 == 2 else [True, False])
    with pytest.raises(KeyboardInterrupt):
        trained(None, stop_at=7)
    resumed = trained(tmp_path / "checkpoint")
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"hidden": ()}, "at least one width"),
        ({"hidden": (4, 5), "residual": True}, "one width"),
        ({"beta": -1.0}, "beta"),
        ({"beta_by": "user"}, "beta_by"),
        ({"prior": "uniform"}, "prior"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Variational(**wrong)  # type: ignore[arg-type]
    assert Variational().constrained
    assert not replace(Variational(), beta=0.0).constrained


def test_alternation_is_two_numbers_of_steps() -> None:
    for wrong in ((1, 0), (1, -1), (1,)):
        with pytest.raises(ValueError, match="alternate"):
            Training(alternate=wrong)  # type: ignore[arg-type]
