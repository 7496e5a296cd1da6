"""The family: a baseline and a product of two sides, each a table or an encoder.

    r_ui = b_ui + beta_u + beta_i + <p_u, q_i>

Two tables are biased matrix factorization, a table and an encoder are AutoRec, two encoders are
Dual AutoRec: one network, one loop, so that the comparison between them is of the sides alone. Here
is what a member is: its settings, which of them go together, and the network that they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import torch

from recae.errors import DataError
from recae.features import Coding
from recae.models.base import Floats, Recommender
from recae.models.bridge import check_device, coded, matrix_of, structure
from recae.models.kernel import Kernel
from recae.models.levels import levels_of
from recae.nn.activations import Activation
from recae.nn.encoders import Dense, Encoder, Reads
from recae.nn.heads import Head, Nade, Scaled, Squares
from recae.nn.network import Network
from recae.nn.sides import Seen, Side, Sum, Table
from recae.nn.training import Training, check_choices
from recae.ratings import Ratings

Shares: TypeAlias = tuple[torch.Tensor, torch.Tensor]
SideKind: TypeAlias = Literal["encoder", "table", "table+mask"]

_INITIAL_SCALE = 0.03
"""Standard deviation of initial weights; on inner validation 0.01 to 0.05 were equal, 0.1 worse."""


@dataclass(eq=False)
class Family(Recommender):
    """The settings of every member, and its network."""

    users: SideKind = "encoder"
    """Where user vectors come from; `table+mask` is SVD++'s: free vectors plus implicit sets."""
    items: SideKind = "encoder"
    """Where item vectors come from."""
    encoder: Encoder = field(default_factory=Dense)
    """What the network of an encoded side is; one file each in `recae.nn.encoders`."""
    k: int = 64
    """Code size."""
    activation: Activation = "tanh"
    """Of the codes, and of hidden layers."""
    output: Activation = "identity"
    """Of the predictions. With any but `identity` these go from the lowest stars (0) to the highest
    (1), and ratings are learned as they are, without a baseline."""
    dropout: float = 0.4
    """On the codes of both sides, while training."""
    baseline: Literal["shrunk", "mean", "none"] = "shrunk"
    """What is subtracted from the ratings before they are encoded and learned: mu + b_u + b_i, the
    mean rating, or nothing (the paper's)."""
    mask_channel: bool = True
    """Encoders also read *that* an item was rated."""
    normalize: bool = True
    """Encoders divide by the square root of the number of ratings they read."""
    bias_head: bool = True
    """Encoders give a bias beside the code."""
    side_data: bool = True
    """Encoders also read side data of their rows, where ratings come with any; tables cannot."""
    refine: bool = False
    """Encoded users: take the code as what is to be expected, and fit it to the user's own ratings
    by one ALS half-step on the item vectors. A table's new users always need that step."""
    ridge: float = 40.0
    """Penalty of that half-step."""
    kernel: Kernel = field(default_factory=Kernel)
    """What the half-step of refined users takes into account beside their codes."""
    head: Literal["stars", "cross-entropy", "nade", "ordinal"] = "stars"
    """`stars`: the score is the prediction, and costs its squared error. `cross-entropy`: the cost
    is that of a sigmoid output on ratings brought to 0-1. `nade`: the score makes every level
    likelier or less than the one below, the cost is CF-NADE's, and the prediction is what is
    expected; ratings are learned as they are. `ordinal`: the score is that of a
    cumulative model of the levels, so that there is a chance for every star; the prediction is what
    is expected. The network is that of `stars`, and trained twice: levels are learned from a tenth
    hidden from the first.
    """
    pretraining: Literal["none", "layerwise", "rbm"] = "none"
    """`layerwise`: before the whole is trained, every layer of a stack learns to reconstruct what
    is below it, each for as many steps as `training` has. `rbm`: it learns so as a restricted
    Boltzmann machine, whose units are sigmoid."""
    training: Training = field(default_factory=Training)
    device: str = "auto"
    """`auto`: CUDA where there is one, else CPU; or a torch device."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")
        check_choices(self)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if not 0 < self.ridge < float("inf"):
            raise ValueError(f"ridge must be positive and finite, not {self.ridge}")
        if self.kernel and not (self.users == "encoder" and self.refine):
            raise ValueError("a kernel needs refined users: users = encoder and refine = true")
        check_device(self.device)
        self.encoder.check(self.activation, residuals=self.baseline != "none")
        self._check_output()
        encoded = "encoder" in (self.users, self.items)
        stack = isinstance(self.encoder, Dense) and self.encoder.hidden
        if self.pretraining != "none" and not (encoded and stack):
            raise ValueError(
                f"pretraining = {self.pretraining} needs layers to go through: set users or items "
                "= encoder, encoder.kind = dense and encoder.hidden"
            )
        if self.pretraining == "rbm" and self.activation != "sigmoid":
            raise ValueError(
                f"pretraining = rbm learns units that are on or off: set activation = sigmoid, not "
                f"{self.activation}"
            )

    def _check_output(self) -> None:
        if self.head == "cross-entropy" and self.output != "sigmoid":
            raise ValueError("head = cross-entropy needs chances: set output = sigmoid")
        if self.head in ("nade", "ordinal") and self.output != "identity":
            raise ValueError(f"head = {self.head} bends the scores itself: set output = identity")
        if not self._bent:
            return
        bending = "head = nade" if self.head == "nade" else f"output = {self.output}"
        if self.baseline != "none":
            raise ValueError(f"{bending} learns raw ratings: set baseline = none")
        if self.users != "encoder" or self.refine:
            raise ValueError(
                f"{bending} leaves no half-step to be solved for: set users = encoder "
                "and refine = false"
            )

    @property
    def _bent(self) -> bool:
        """Predictions are not the scores, but what the network's head makes of them."""
        return self.output != "identity" or self.head == "nade"

    @property
    def steps(self) -> int:
        layers = 0
        if self.pretraining != "none":
            assert isinstance(self.encoder, Dense)
            sides = (self.users, self.items).count("encoder")
            layers = sides * len(self.encoder.hidden) + (sides if self.pretraining == "rbm" else 1)
        return self.training.steps * (1 + layers) * (2 if self.head == "ordinal" else 1)

    def _check_ratings(self, ratings: Ratings) -> None:
        """Raises DataError where settings and ratings do not go together."""
        if self.kernel.times and ratings.times is None:
            raise DataError("kernel.times needs times, and the ratings have none: leave it out")
        encoded = "encoder" in (self.users, self.items)
        if encoded and self.encoder.reads_times and ratings.times is None:
            raise DataError(
                f"encoder = {self.encoder.kind} reads ratings in time order, and these have no "
                "times: name their column, or choose another encoder"
            )
        training = self.training
        if self.dropout or training.noise or training.weight_decay or training.l2:
            return
        if training.objective != "reconstruct" or self.encoder.constrained:
            return
        sides = {"user": (self.users, ratings.items), "item": (self.items, ratings.users)}
        for side, (kind, read) in sides.items():
            if kind == "encoder" and self.k >= len(read):
                raise DataError(
                    f"k = {self.k} is overcomplete for {side} codes: {len(read)} numbers can be "
                    "copied into it without learning anything. Choose a smaller k or a constraint: "
                    "training.objective = split or denoise, training.noise, weight_decay or l2, "
                    "dropout, or an encoder that pays for its codes"
                )

    # --- the network

    def _network(self, n_users: int, n_items: int, shares: Shares | None) -> Network:
        known = [0 if coding is None else len(coding.names) for coding in self._codings]
        users = self._side(self.users, n_users, n_items, known[0])
        items = self._side(self.items, n_items, n_users, known[1])
        return Network(users, items, dropout=self.dropout, head=self._head(shares))

    def _shares(self, train_on: Ratings) -> Shares | None:
        """Levels in the network's unit, and how often each occurs: what the head is to begin with;
        None where it needs no levels."""
        if self.head != "nade":
            return None
        levels = levels_of(train_on, least=1)
        counts = np.bincount(np.searchsorted(levels, train_on.stars))
        shares = (counts / len(train_on)).astype(np.float32)
        return torch.from_numpy(levels / self._unit), torch.from_numpy(shares)

    def _head(self, shares: Shares | None) -> Head:
        if shares is not None:
            return Nade(*shares)
        if self.output == "identity":
            return Squares()
        low, high = self._span
        return Scaled(low, high, activation=self.output, entropy=self.head == "cross-entropy")

    @property
    def _span(self) -> tuple[float, float]:
        """The scale in the network's unit."""
        low, high = self.fitted.scale
        return low / float(self._unit), high / float(self._unit)

    def _side(self, kind: SideKind, n_rows: int, n_columns: int, n_known: int) -> Side:
        reads = Reads(
            n_columns,
            self.k,
            self.activation,
            values=True,
            mask=self.mask_channel,
            side=n_known,
            normalize=self.normalize,
            bias_head=self.bias_head,
            scale=_INITIAL_SCALE,
            span=self._span if self.baseline == "none" else None,
        )
        table = Table(n_rows, self.encoder.width(self.k), scale=_INITIAL_SCALE)
        match kind:
            case "table":
                return table
            case "table+mask":
                # SVD++ has one linear layer over what was rated, whatever the encoder.
                of_mask = replace(
                    reads, activation="identity", values=False, mask=True, side=0, bias_head=False
                )
                return Sum(table, Dense().side(of_mask))
        return self.encoder.side(reads)

    @property
    def _codings(self) -> tuple[Coding | None, Coding | None]:
        """How side data of users and of items are read; None where they are not."""
        users, items = self.fitted.user_coding, self.fitted.item_coding
        return (
            users if self.side_data and self.users == "encoder" else None,
            items if self.side_data and self.items == "encoder" else None,
        )

    def _seen(self, ratings: Ratings, device: torch.device, *, items_too: bool) -> Seen:
        """Ratings over the model's items, with what is known of their users, and of the items."""
        residuals = torch.from_numpy(self._residuals(ratings)).to(device)
        of_users, of_items = self._codings
        users = coded(of_users, ratings.user_features, ratings.users)
        items = coded(of_items, ratings.item_features, ratings.items) if items_too else None
        times = ratings.times if self.encoder.reads_times else None
        return Seen.everything(
            structure(ratings.matrix, device),
            residuals,
            None if users is None else matrix_of(users, device),
            None if items is None else matrix_of(items, device),
            None if times is None else torch.from_numpy(times).to(device),
        )

    @property
    def _users_by_times(self) -> bool:
        """What is known of a user depends on when the ratings came."""
        encoded = self.users == "encoder" and self.encoder.reads_times
        return encoded or bool(self.kernel.times)

    def _residuals(self, ratings: Ratings) -> Floats:
        """What the network learns, in its unit: [R]."""
        match self.baseline:
            case "shrunk":
                residuals = self.fitted.baseline.residuals(ratings)
            case "mean":
                residuals = ratings.stars - np.float32(self.fitted.baseline.mu)
            case "none":
                residuals = ratings.stars
        return residuals / self._unit
