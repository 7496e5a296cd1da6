"""The family: a baseline and a product of two sides, each a table or an encoder.

    r_ui = b_ui + beta_u + beta_i + <p_u, q_i>

Two tables are biased matrix factorization, a table and an encoder are AutoRec, two encoders are
Dual AutoRec: one network, one loop, so that the comparison between them is of the sides alone.
Shapes: U users of a history, N items, K = k code size, R ratings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recae import splits
from recae.errors import DataError, RecaeError
from recae.features import Coding
from recae.ids import Rows
from recae.metrics import rmse
from recae.models.base import Fitted, Floats, Lesson, Places, Recommender, dots
from recae.models.bridge import (
    arrays,
    check_device,
    coded,
    device_of,
    load_weights,
    matrix_of,
    numpy_of,
    seeded,
    structure,
    weight_in,
    weights_of,
)
from recae.models.digests import history_digests
from recae.models.fits import Arrays, Fit, Pass, fit_in_a_row
from recae.models.kernel import Kernel, Process, Users
from recae.models.levels import Levels, Spread, levels_of
from recae.models.ridge import UnsolvableError, ridge_rows, with_ones
from recae.nn.activations import Activation
from recae.nn.encoders import Dense, Encoder, Reads
from recae.nn.heads import Head, Nade, Scaled, Squares
from recae.nn.network import Network
from recae.nn.pretraining import machines, stages
from recae.nn.sides import Seen, Side, Sum, Table, Tied, encode
from recae.nn.training import DivergedError, Progress, Report, Training, check_choices, train
from recae.ratings import Ratings

_Shares: TypeAlias = tuple[torch.Tensor, torch.Tensor]
SideKind: TypeAlias = Literal["encoder", "table", "table+mask"]

_INITIAL_SCALE = 0.03
"""Standard deviation of initial weights; on inner validation 0.01 to 0.05 were equal, 0.1 worse."""

_HIDDEN = 0.1
"""Share of the ratings that levels are learned from."""
_MOST_HIDDEN = 100_000
"""And no more ratings than these: levels have some ten parameters."""


@dataclass(frozen=True, eq=False)
class _Learned:
    """Vectors [U, K] and biases [U] of the training users, [N, K] and [N] of the items."""

    network: Network
    user_vectors: Floats
    user_bias: Floats
    item_vectors: Floats
    item_bias: Floats
    item_known: NDArray[np.bool_]
    """[N]: rated in training, or known from side data that the items' encoder reads."""
    weights: Floats
    """The kernel's, of the training ratings: [R]; none [0] where there is no kernel."""
    starts: Rows
    """Where each training user's weights begin: [U + 1]; [0] where there is no kernel."""
    timed_digests: NDArray[np.uint64]
    """Of the histories with their times: [U]; [0] where what is known of users does not depend on
    times."""
    process: Process | None = None
    levels: Levels | None = None
    """Where the head is ordinal."""


_OBJECTS = ("network", "process", "levels")
_ARRAYS = tuple(f.name for f in fields(_Learned) if f.name not in _OBJECTS)


@dataclass(eq=False)
class AutoRec(Recommender):
    """Masked-loss autoencoders on ratings, and matrix factorization as their plainest member.

    Use the presets: `AutoRec.dual`, `.item`, `.user`, `.paper_item`, `.paper_user`, `.mf`,
    `.svdpp`; every one takes the fields below as keywords.
    """

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

    _learned: _Learned | None = field(default=None, init=False, repr=False)

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

    # --- learning

    @property
    def steps(self) -> int:
        layers = 0
        if self.pretraining != "none":
            assert isinstance(self.encoder, Dense)
            sides = (self.users, self.items).count("encoder")
            layers = sides * len(self.encoder.hidden) + (sides if self.pretraining == "rbm" else 1)
        return self.training.steps * (1 + layers) * (2 if self.head == "ordinal" else 1)

    def _learn(self, lesson: Lesson) -> None:
        self._learned = None
        if self.head == "ordinal":
            self._learn_levels(lesson)
            return
        train_on, fitted, validation = lesson.train, lesson.fitted, lesson.validation
        self._check_ratings(train_on)
        device = device_of(self.device)
        with seeded(lesson.rng, device):
            network = self._network(
                len(fitted.users), len(fitted.items), self._shares(train_on)
            ).to(device)
            seen = self._seen(train_on, device, items_too=True)
            timed = np.zeros(0, np.uint64)
            if self._users_by_times:
                timed = history_digests(train_on, timed=True)

            def finish(network: Network, *, kernel: bool) -> None:
                self._learned = self._encoded(network, seen, timed, kernel=kernel)
                if self.users == "encoder" and self.refine:
                    try:
                        self._learned = self._refined(self._learned, train_on)
                    except UnsolvableError:
                        self._learned = None
                        raise

            def validate(average: Network) -> dict[str, float]:
                assert validation is not None
                # The kernel's share comes last: at every report it would cost more than training.
                finish(average, kernel=False)
                return {"val/rmse": rmse(validation.target.stars, self.predict_at(validation))}

            diverged = None
            try:
                best = self._trained(
                    network, seen, lesson, None if validation is None else validate
                )
            except DivergedError as trouble:
                best, diverged = cast(Network | None, trouble.kept), trouble
            except ValueError as trouble:
                raise RecaeError(str(trouble)) from None
            if best is not None:
                finish(best, kernel=bool(self.kernel))
            if diverged is not None:
                raise RecaeError(f"{diverged}: lower training.learning_rate")

    def _trained(
        self,
        network: Network,
        seen: Seen,
        lesson: Lesson,
        validate: Callable[[Network], dict[str, float]] | None,
    ) -> Network | None:
        """The network that predicts, by way of its layers where they are pre-trained."""
        report = None if lesson.report is None else self._in_stars(lesson.report)
        if self.pretraining == "none":
            return train(
                network,
                seen,
                self.training,
                validate=validate,
                report=report,
                resume=lesson.resume,
            )
        of_layers = stages if self.pretraining == "layerwise" else machines
        before = [
            Pass(learner, data, self.training, settle)
            for learner, data, settle in of_layers(network, seen)
        ]
        whole = Pass(network, lambda: seen, self.training, validate=validate, whole=True)
        fit_in_a_row([*before, whole], report, lesson.resume)
        return network.eval()

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

    def _learn_levels(self, lesson: Lesson) -> None:
        """Levels from what was hidden from a first network; the second one learns from everything,
        as it would without levels."""
        train_on = lesson.train
        stars, aside = levels_of(train_on), lesson.rng.spawn(1)[0]
        share = min(_HIDDEN, _MOST_HIDDEN / len(train_on))
        hidden = splits.random(train_on, test=share, rng=aside).test
        rest = Fitted.of(hidden.history)

        def levels(model: Recommender) -> Arrays:
            scores = model._stars_at(hidden.history, model._targets(hidden))
            spread = Spread.of(hidden.history, rest.baseline)
            return Levels.fit(stars, spread, scores, hidden).state()

        plain = replace(self, head="stars")
        first = Fit(plain, Lesson(hidden.history, rest, aside), levels)
        second = Fit(plain, lesson, lambda model: model.state())
        kept, network = fit_in_a_row([first, second], lesson.report, lesson.resume)
        found = Levels.of_state(kept, rest.baseline)
        found = replace(found, spread=Spread.of(train_on, lesson.fitted.baseline))
        self.restore(network | found.state())

    def _encoded(
        self, network: Network, seen: Seen, timed_digests: NDArray[np.uint64], *, kernel: bool
    ) -> _Learned:
        """What a network says of all that it was trained on; users not yet refined."""
        users, items = encode(network.rows, seen), encode(network.columns, seen.T)
        known = self.fitted.item_counts > 0
        if seen.column_side is not None:
            known = known | (numpy_of(seen.column_side.structure.row_starts.diff()) > 0)
        learned = _Learned(
            network,
            *arrays(users),
            *arrays(items),
            item_known=known,
            weights=np.zeros(0, np.float32),
            starts=np.zeros(0, np.int64),
            timed_digests=timed_digests,
        )
        return replace(learned, process=self._process(learned)) if kernel else learned

    def _refined(self, learned: _Learned, train_on: Ratings) -> _Learned:
        """The same after the half-step of the training users, whose codes it holds."""
        none = np.zeros(len(train_on), np.float32)
        codes = Users(learned.user_vectors, learned.user_bias, none)
        users = self._half_step(train_on, codes)
        moved = replace(learned, user_vectors=users.vectors, user_bias=users.bias)
        if learned.process is None:
            return moved
        return replace(moved, weights=users.weights, starts=train_on.matrix.indptr.astype(np.int64))

    def _process(self, learned: _Learned) -> Process:
        rated = self.fitted.item_counts > 0
        vectors = learned.item_vectors
        return Process(self.kernel, self.ridge, vectors, rated=rated, known=learned.item_known)

    def _network(self, n_users: int, n_items: int, shares: _Shares | None) -> Network:
        known = [0 if coding is None else len(coding.names) for coding in self._codings]
        users = self._side(self.users, n_users, n_items, known[0])
        items = self._side(self.items, n_items, n_users, known[1])
        return Network(users, items, dropout=self.dropout, head=self._head(shares))

    def _shares(self, train_on: Ratings) -> _Shares | None:
        """Levels in the network's unit, and how often each occurs: what the head is to begin with;
        None where it needs no levels."""
        if self.head != "nade":
            return None
        levels = levels_of(train_on, least=1)
        counts = np.bincount(np.searchsorted(levels, train_on.stars))
        shares = (counts / len(train_on)).astype(np.float32)
        return torch.from_numpy(levels / self._unit), torch.from_numpy(shares)

    def _head(self, shares: _Shares | None) -> Head:
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

    def known(self, history: Ratings) -> Rows:
        """As for every model; where users are known by the times of their ratings, these must be
        the learned ones too, if the history has any."""
        known, learned = super().known(history), self._learned
        if learned is None or history.times is None or not len(learned.timed_digests):
            return known
        same = history_digests(history, timed=True) == learned.timed_digests[known]
        return np.where(same, known, -1)

    def _known_users(self, own: Ratings) -> NDArray[np.bool_]:
        rated = super()._known_users(own)
        side = coded(self._codings[0], own.user_features, own.users)
        return rated if side is None else rated | (np.diff(side.indptr) > 0)

    def _known_items(self) -> NDArray[np.bool_]:
        return self._get().item_known

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

    def _in_stars(self, report: Report) -> Report:
        """The loop knows its own unit only."""

        def said(progress: Progress) -> None:
            metrics = dict(progress.metrics)
            if "train/rmse" in metrics:
                metrics["train/rmse"] *= float(self._unit)
            report(replace(progress, metrics=metrics))

        return said

    # --- predicting

    def _stars(self, history: Ratings) -> Floats:
        scores, levels = self._scores(history), self._get().levels
        if levels is not None:
            return levels.expected(scores, history)
        return self._linked(scores, self._known_users(history)[:, None] & self._known_items())

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        scores, levels = self._scores_at(history, places), self._get().levels
        users, items, _ = places
        if levels is not None:
            return levels.expected_at(scores, history, users, items)
        return self._linked(scores, self._known_at(history, places))

    def _known_at(self, history: Ratings, places: Places) -> NDArray[np.bool_]:
        """Where something is known of both, the user and the item: [T]."""
        users, items, _ = places
        return (items >= 0) & self._known_items()[items] & self._known_users(history)[users]

    def _linked(self, scores: Floats, known: NDArray[np.bool_]) -> Floats:
        """Stars of scores, both in stars and of one shape, by the head. Where nothing is known the
        score is the mean rating, and is not bent."""
        if not self._bent:
            return scores
        with torch.no_grad():
            values = self._get().network.head.link(self._in_unit(scores))
        return np.where(known, self._unit * numpy_of(values), scores)

    def _in_unit(self, scores: Floats) -> torch.Tensor:
        """Scores in stars, for the head."""
        device = next(self._get().network.parameters()).device
        return torch.from_numpy(scores / self._unit).to(device)

    @property
    def levels(self) -> Floats:
        learned = self._get()
        if isinstance(learned.network.head, Nade):
            return self._unit * numpy_of(learned.network.head.levels)
        return super().levels if learned.levels is None else learned.levels.stars

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        learned = self._get()
        if learned.levels is not None:
            scores = self._scores_at(history, places)
            return learned.levels.chances_at(scores, history, places.users, places.items)
        head = learned.network.head
        if not isinstance(head, Nade):
            return super()._chances_at(history, places)
        with torch.no_grad():
            chances = head.chances(self._in_unit(self._scores_at(history, places)))
        # Of whom nothing is known, what is usual: its mean is the mean rating.
        known = self._known_at(history, places)[:, None]
        return np.where(known, numpy_of(chances), numpy_of(head.shares))

    def _scores(self, history: Ratings) -> Floats:
        """What the network says, in stars: [U, N]."""
        users, process = self._users(history), self._get().process
        stars = self._factors(history, users) @ self.item_factors().T
        if process is not None:
            stars += self._unit * process.scores(history, users.weights)
        return np.asarray(stars)

    def _scores_at(self, history: Ratings, places: Places) -> Floats:
        """The same at `places`: [T]."""
        stars = self.fitted.baseline.unknown_item(history)[places.users]
        found = places.items >= 0
        who, what = places.users[found], places.items[found]
        users, process = self._users(history), self._get().process
        stars[found] = dots(self._factors(history, users), self.item_factors(), who, what)
        if process is not None:
            times = None if places.times is None else places.times[found]
            said = process.at(history, users.weights, who, what, times)
            stars[found] += self._unit * said
        return stars

    def user_factors(self, history: Ratings) -> Floats:
        """[U, K + 3]: the code, the user's share of the offset, 1, and 1.

        A user whose history is unchanged has the vector that was learned; any other is folded in.
        Of whom nothing is known the code is zero; the baseline remains (in raw modes the mean).
        What a kernel adds is not in factors.
        """
        own = history.over(self.fitted.items)
        return self._factors(own, self._users(own))

    def _factors(self, own: Ratings, users: Users) -> Floats:
        vectors, bias = self._unit * users.vectors, self._unit * users.bias
        known = self._known_users(own).astype(np.float32)
        mu = np.float32(self.fitted.baseline.mu)
        offset = np.where(known > 0, self._user_offset(own) + bias, mu)
        item_share = np.ones_like(known) if self.baseline == "shrunk" else known
        return np.column_stack(
            [vectors * known[:, None], offset, item_share, np.ones_like(known)]
        ).astype(np.float32, copy=False)

    def item_factors(self) -> Floats:
        """[N, K + 3]: the code, 1, the item's share of the offset, and what is said instead.

        The last column is zero but for items of which nothing is known; the raw modes can say no
        more of them than the mean.
        """
        learned, fitted = self._get(), self.fitted
        known = learned.item_known.astype(np.float32)
        bias = self._unit * learned.item_bias * known
        if self.baseline == "shrunk":
            ones, instead = np.ones_like(known), np.zeros_like(known)
            bias = bias + fitted.baseline.items
        else:
            ones, instead = known, (1 - known) * np.float32(fitted.baseline.mu)
        return np.column_stack([learned.item_vectors * known[:, None], ones, bias, instead])

    def encode(self, history: Ratings) -> Floats:
        """[U, K]: the codes of users, as they were learned or folded in; zero where nothing is
        known. Raises DataError for stars outside the scale."""
        own = self._own(history)
        return np.where(self._known_users(own)[:, None], self._users(own).vectors, np.float32(0))

    def encode_items(self) -> Floats:
        """[N, K]: the codes of the model's items; zero where nothing is known."""
        learned = self._get()
        return np.where(learned.item_known[:, None], learned.item_vectors, np.float32(0))

    def _user_offset(self, own: Ratings) -> Floats:
        """[U]: what was subtracted before learning, the items' part apart."""
        match self.baseline:
            case "shrunk":
                return self.fitted.baseline.unknown_item(own)
            case "mean":
                return np.full(len(own.users), self.fitted.baseline.mu, np.float32)
        return np.zeros(len(own.users), np.float32)

    def _users(self, own: Ratings) -> Users:
        """Any users, over the model's items: as they were learned, or folded in."""
        learned = self._get()
        known = self.known(own)
        vectors, bias = learned.user_vectors[known], learned.user_bias[known]
        weights = np.zeros(len(own), np.float32)
        old, new = np.flatnonzero(known >= 0), np.flatnonzero(known < 0)
        if learned.process is not None and len(old):
            # An unchanged history has its ratings in the order in which they were learned.
            first = learned.starts[known] - own.matrix.indptr[:-1]
            mine = np.flatnonzero(known[own.rows] >= 0)
            weights[mine] = learned.weights[mine + first[own.rows[mine]]]
        if len(new):
            folded = self._fold_in(own.take_users(new))
            vectors[new], bias[new] = folded.vectors, folded.bias
            weights[known[own.rows] < 0] = folded.weights
        return Users(vectors, bias, weights)

    def _fold_in(self, own: Ratings) -> Users:
        """Users from histories alone: what is expected of them, then a half-step.

        An encoder's code needs no more, unless `refine` asks for it; a table's mean does.
        """
        expected = self._expected(own)
        if self.users == "encoder" and not self.refine:
            return expected
        return self._half_step(own, expected)

    def _expected(self, own: Ratings) -> Users:
        """The encoder's codes, or the mean of the table (plus SVD++'s implicit part, encoded)."""
        side = self._get().network.rows
        n, weights = len(own.users), np.zeros(len(own), np.float32)
        if self.users == "encoder":
            return Users(*arrays(encode(side, self._read(own))), weights)
        bias = np.zeros(n, np.float32)
        vectors = np.zeros((n, self.encoder.width(self.k)), np.float32)
        if isinstance(side, Sum):
            vectors += arrays(encode(side.encoder, self._read(own)))[0]
            side = side.table
        assert isinstance(side, Table | Tied)
        mean = numpy_of(side.vectors.mean(dim=0)), numpy_of(side.row_bias.mean())
        return Users(vectors + mean[0], bias + mean[1], weights)

    def _half_step(self, own: Ratings, expected: Users) -> Users:
        """A half-step of ALS around what is expected: the posterior mean of each user's vector and
        bias, given the user's own ratings and the items, under a Gaussian prior around it.

        Their sum with argmin |rest - Q p|^2 + ridge |p|^2, where rest is what they leave unsaid;
        with a kernel the same and more, see `recae.models.kernel`.
        """
        learned, (vectors, bias, weights) = self._get(), expected
        rest = self._residuals(own) - learned.item_bias[own.columns] - bias[own.rows]
        rest -= dots(vectors, learned.item_vectors, own.rows, own.columns)
        if learned.process is not None:
            moved = learned.process.refined(own, rest)
            return Users(vectors + moved.vectors, bias + moved.bias, moved.weights)
        solved = ridge_rows(own, rest, with_ones(learned.item_vectors), self.ridge)
        return Users(vectors + solved[:, :-1], bias + solved[:, -1], weights)

    def _read(self, own: Ratings) -> Seen:
        device = next(self._get().network.parameters()).device
        return self._seen(own, device, items_too=False)

    def _get(self) -> _Learned:
        if self._learned is None:
            _ = self.fitted
            raise DataError("this model was not trained to its end: fit it again or resume")
        return self._learned

    # --- keeping

    def state(self) -> dict[str, NDArray[Any]]:
        learned = self._get()
        saved = weights_of(learned.network)
        saved |= {name: getattr(learned, name) for name in _ARRAYS}
        return saved if learned.levels is None else saved | learned.levels.state()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        shares = None
        if self.head == "nade":
            shares = weight_in(arrays, "head.levels"), weight_in(arrays, "head.shares")
        with torch.random.fork_rng(devices=[]):
            network = self._network(len(self.fitted.users), len(self.fitted.items), shares)
        load_weights(network, arrays)
        kept: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
        learned = _Learned(network.to(device_of(self.device)).eval(), **kept)
        if self.kernel:
            learned = replace(learned, process=self._process(learned))
        if self.head == "ordinal":
            learned = replace(learned, levels=Levels.of_state(arrays, self.fitted.baseline))
        self._learned = learned

    # --- presets

    @classmethod
    def dual(cls, **settings: Any) -> Self:
        """Dual AutoRec: encoders on both sides, users refined by a half-step around their codes."""
        return cls(**_DUAL | settings)

    @classmethod
    def item(cls, **settings: Any) -> Self:
        """I-AutoRec (Sedhain et al. 2015) on residuals, with mask channel and hidden targets."""
        return cls(**_ITEM | settings)

    @classmethod
    def user(cls, **settings: Any) -> Self:
        """U-AutoRec (Sedhain et al. 2015) on residuals, with mask channel and hidden targets."""
        return cls(**_USER | settings)

    @classmethod
    def paper_item(cls, **settings: Any) -> Self:
        """I-AutoRec as published: raw ratings, sigmoid code, reconstruction, L2 in the loss."""
        return cls(**_PAPER_ITEM | settings)

    @classmethod
    def paper_user(cls, **settings: Any) -> Self:
        """U-AutoRec as published: raw ratings, sigmoid code, reconstruction, L2 in the loss."""
        return cls(**_PAPER_USER | settings)

    @classmethod
    def mf(cls, **settings: Any) -> Self:
        """Biased matrix factorization (Koren, Bell and Volinsky 2009), by the same loop."""
        return cls(**_MF | settings)

    @classmethod
    def svdpp(cls, **settings: Any) -> Self:
        """SVD++ (Koren 2008): matrix factorization plus an encoder of what was rated."""
        return cls(**_SVDPP | settings)


_PAPER: dict[str, Any] = {
    "k": 128,
    "activation": "sigmoid",
    "dropout": 0.0,
    "baseline": "none",
    "mask_channel": False,
    "normalize": False,
    "bias_head": False,
    "ridge": 20.0,
    "training": Training(
        objective="reconstruct",
        learning_rate=0.012,
        weight_decay=0.0,
        l2=120.0,
        shrink_biases=False,
        ema=0.95,
    ),
}
_PAPER_ITEM: dict[str, Any] = _PAPER | {"users": "table"}
_PAPER_USER: dict[str, Any] = _PAPER | {"items": "table"}
_DUAL: dict[str, Any] = {
    "dropout": 0.3,
    "refine": True,
    "ridge": 60.0,
    "training": Training(weight_decay=6.0),
}
_ITEM: dict[str, Any] = {
    "users": "table",
    "ridge": 10.0,
    "training": Training(hide=(0.2, 0.4), learning_rate=0.008, weight_decay=4.0),
}
_USER: dict[str, Any] = {
    "items": "table",
    "training": Training(hide=(0.1, 0.3), learning_rate=0.008, weight_decay=6.0),
}
_TABLES: dict[str, Any] = {
    "items": "table",
    "dropout": 0.5,
    "ridge": 4.0,
    "training": Training(
        objective="reconstruct", steps=200, learning_rate=0.01, weight_decay=0.0, l2=10.0, ema=0.95
    ),
}
_MF: dict[str, Any] = _TABLES | {"users": "table"}
_SVDPP: dict[str, Any] = _TABLES | {"users": "table+mask"}
