"""Variational encoders: a Gaussian over codes for every row, and what it costs to be sure.

    q(z | row) = N(mu, diag(sigma^2)),   mu, log sigma^2 = linear(layers(a_r)),
    z = mu + sigma eps while training (Kingma and Welling 2014, section 2.4), mu afterwards;
    penalty_r = beta_r KL(q(z | row) || p(z)),   vector = phi(V_1 ... phi(V_d z))

The loss beside it is a negative log likelihood up to a factor: for the multinomial head as it
stands (Liang et al. 2018, eq. 6), for squared errors times 2 s^2, s the standard deviation of a
rating, so that beta = 2 s^2 is the evidence bound. The layers after the code mirror those before
it. Legend: R rows, K code size.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn

from recae.nn.activations import ACTIVATIONS
from recae.nn.encoders.entry import Entry, Reads, Settings
from recae.nn.encoders.stack import Residual, Stack
from recae.nn.sides import Codes, Seen, Side

_SHARES: Final = (3 / 20, 3 / 4, 1 / 10)
_WIDE: Final = 10.0
"""Of the composite prior: shares of N(0, 1), of the previous posterior and of the wide Gaussian,
and the log-variance of the latter, as in the authors' code (Shenbin et al. 2020)."""
_ACTIVE: Final = 0.01
"""A unit is active where the variance of its mean over rows is larger (Burda et al. 2016)."""


@dataclass(frozen=True)
class Variational(Settings):
    """Codes are distributions, and the surer they are the more they cost."""

    kind: Literal["variational"] = "variational"
    hidden: tuple[int, ...] = (64,)
    """Widths of the layers between the entries and the code, at least one."""
    residual: bool = False
    """Every hidden layer adds all before it, with layer norm, and nothing is mirrored after the
    code: RecVAE's encoder. Hidden layers then have one width."""
    beta: float = 0.2
    """Weight of the divergence; annealing it is `training.warmup`."""
    beta_by: Literal["row", "entry"] = "row"
    """`entry`: the weight is beta times the number of entries that the row has (RecVAE's gamma)."""
    prior: Literal["normal", "composite"] = "normal"
    """`composite`: a mixture of N(0, 1), of what the encoder of the round before said of the same
    row, and of a wide Gaussian (Shenbin et al. 2020, section 3.3), so that what was learned is not
    forgotten at once. A round is that of `training.alternate`, or a pass over the rows."""

    def __post_init__(self) -> None:
        if not self.hidden or any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must be at least one width of at least 1, not {self.hidden}")
        if self.residual and len(set(self.hidden)) > 1:
            raise ValueError(f"residual layers have one width: hidden must not be {self.hidden}")
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta must be finite and not negative, not {self.beta}")
        for name, choices in (("beta_by", ("row", "entry")), ("prior", ("normal", "composite"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, not {getattr(self, name)!r}")

    @property
    def constrained(self) -> bool:
        return self.beta > 0

    def width(self, k: int) -> int:
        return k if self.residual else self.hidden[0]

    def side(self, reads: Reads) -> VariationalSide:
        return VariationalSide(self, reads)


class Posterior(nn.Module):
    """What a row says of its code: mean and log-variance, [R, K] each."""

    def __init__(self, settings: Variational, reads: Reads) -> None:
        super().__init__()
        hidden = settings.hidden
        self.entry = Entry(reads, hidden[0])
        self.activation = ACTIVATIONS[reads.activation]
        self.layers: nn.Module
        if settings.residual:
            self.layers = Residual(hidden[0], len(hidden), reads.activation)
        else:
            self.layers = Stack([nn.Linear(a, b) for a, b in pairwise(hidden)], reads.activation)
        self.moments = nn.Linear(hidden[-1], 2 * reads.k)

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor]:
        said = self.moments(self.layers(self.activation(self.entry(seen))))
        mean, log_variance = said.chunk(2, dim=1)
        return mean, log_variance


class VariationalSide(Side):
    """`Variational` over what it reads."""

    def __init__(self, settings: Variational, reads: Reads) -> None:
        super().__init__()
        self.posterior = Posterior(settings, reads)
        widths = () if settings.residual else (reads.k, *reversed(settings.hidden))
        self.up = Stack([nn.Linear(a, b) for a, b in pairwise(widths)], reads.activation)
        width = settings.width(reads.k)
        self.head = nn.Parameter(torch.zeros(width)) if reads.bias_head else None
        self.previous: Posterior | None = None
        if settings.prior == "composite":
            self.previous = deepcopy(self.posterior).requires_grad_(False)
        self.settings = settings

    def forward(self, seen: Seen) -> Codes:
        mean, log_variance = self.posterior(seen)
        z = mean
        if self.training:
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = self._divergence(z, mean, log_variance, seen)
        beta = self.settings.beta
        paid = divergence * (beta if self.settings.beta_by == "row" else beta * seen.counts)
        measured = {"kl": divergence.detach().mean(), "active": active(mean.detach())}
        return self.decode(z)._replace(penalty=paid.sum(), measured=measured)

    def decode(self, z: Tensor) -> Codes:
        """What codes [R, K] stand for, wherever they come from."""
        vectors = self.up(z)
        bias = vectors.new_zeros(len(vectors)) if self.head is None else vectors @ self.head
        return Codes(vectors, bias, narrow=z)

    def renew(self) -> None:
        if self.previous is not None:
            self.previous.load_state_dict(self.posterior.state_dict())

    def _divergence(self, z: Tensor, mean: Tensor, log_variance: Tensor, seen: Seen) -> Tensor:
        """[R]: KL of the posterior from the prior; of a mixture it is known only as what is
        expected of log q(z) - log p(z), of which the z at hand is one draw."""
        if self.previous is None:
            return divergence_from_normal(mean, log_variance)
        with torch.no_grad():
            before = self.previous(seen)
        return (log_normal(z, mean, log_variance) - log_composite(z, *before)).sum(dim=1)


def divergence_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """[R]: KL(N(mu, sigma^2) || N(0, 1)), summed over coordinates (Kingma and Welling 2014,
    appendix B): (mu^2 + sigma^2 - 1 - log sigma^2) / 2."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of a Gaussian, coordinate by coordinate: [R, K]."""
    squares = (z - mean) ** 2 * (-log_variance).exp()
    return -(math.log(2 * math.pi) + log_variance + squares) / 2


def log_composite(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of RecVAE's prior around an earlier posterior, a mixture in every coordinate, as
    in the authors' code: [R, K]."""
    zero = torch.zeros_like(z)
    parts = (
        log_normal(z, zero, zero),
        log_normal(z, mean, log_variance),
        log_normal(z, zero, zero + _WIDE),
    )
    shares = (math.log(share) for share in _SHARES)
    return torch.stack([s + part for s, part in zip(shares, parts, strict=True)]).logsumexp(dim=0)


def active(mean: Tensor) -> Tensor:
    """How many coordinates of the means [R, K] say something of their rows."""
    return (mean.var(dim=0, correction=0) > _ACTIVE).sum()
