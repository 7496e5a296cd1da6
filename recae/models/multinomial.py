"""Autoencoders that rank: what somebody liked, as draws from a softmax over all items.

    score_ui = b_i + <p_u, q_i>,   p_u = encoder(likes of u),   loss = - sum over likes log softmax

Liang et al. 2018 ("Variational autoencoders for collaborative filtering"): Mult-DAE with a dense
encoder, Mult-VAE with a variational one; Shenbin et al. 2020 add RecVAE's encoder, prior and turns.
Rows come in batches, because the scores of all items are held at once. Shapes: U users of a
history, N items, W width of the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from recae import metrics
from recae.errors import DataError, RecaeError
from recae.models.base import FactorRecommender, Floats, Lesson, RankingRecommender
from recae.models.bridge import (
    check_device,
    device_of,
    load_weights,
    numpy_of,
    seeded,
    structure,
    weights_of,
)
from recae.models.updating import old_places, schedule, steps_of
from recae.nn.activations import Activation
from recae.nn.carrying import carry
from recae.nn.encoders import Dense, Encoder, Reads, Variational
from recae.nn.heads import Multinomial
from recae.nn.network import Network
from recae.nn.sides import Seen, Side, Table, Tied, encode
from recae.nn.training import DivergedError, Training, check_choices, train
from recae.ratings import Ratings
from recae.splits import Holdout

_INITIAL_SCALE: Final = 0.03
"""Standard deviation of initial weights."""
_N: Final = 100
"""Length of the lists that validation reports on, that of the papers."""

_TRAINING: Final = Training(
    objective="denoise",
    hide=(0.5, 0.5),
    steps=400,
    batch_size=500,
    learning_rate=5e-3,
    weight_decay=0.1,
    shrink_biases=False,
    ema=0.98,
)


@dataclass(eq=False)
class MultinomialAutoencoder(RankingRecommender, FactorRecommender):
    """Learns which items are liked together; how many stars beyond that is not read.

    Use the presets: `.dae`, `.vae`, `.recvae`; every one takes the fields below as keywords.
    Nothing is kept of users: every history is encoded, one that training saw like any other.
    """

    encoder: Encoder = field(default_factory=Dense)
    """What the network is that reads a user; one file each in `recae.nn.encoders`."""
    k: int = 200
    """Code size."""
    activation: Activation = "tanh"
    """Of hidden layers, and of a dense code."""
    dropout: float = 0.0
    """On the vectors of users and of items, while training. That on the input is
    `training.objective = denoise` with `training.hide`."""
    reads: Literal["liked", "rated"] = "liked"
    """`rated`: also what was rated and not liked, through the mask channel."""
    normalize: bool = True
    """Divide what is read by the square root of how much it is: the papers' L2 norm."""
    liked_from: float | None = None
    """Stars from which a rating is a like; None: from three quarters of the scale upwards."""
    training: Training = _TRAINING
    device: str = "auto"
    """`auto`: CUDA where there is one, else CPU; or a torch device."""

    _network: Network | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")
        check_choices(self)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        check_device(self.device)
        self.encoder.check(self.activation, residuals=False)
        if self.encoder.reads_times:
            raise ValueError(
                f"encoder = {self.encoder.kind} reads times, and sets of likes have none: choose "
                "another encoder, or an AutoRec"
            )

    @property
    def steps(self) -> int:
        return self.training.steps

    # --- learning

    def steps_of_update(self, share: float) -> int:
        return steps_of(self.training, share)

    def _learn(self, lesson: Lesson) -> None:
        self._network = None
        likes, validation = self._likes(lesson.train), lesson.validation
        if not likes.data.any():
            raise DataError("nobody likes anything: no rating reaches liked_from")
        device = device_of(self.device)

        def validate(average: Network) -> dict[str, float]:
            assert validation is not None
            self._network = average
            return {f"val/ndcg_at_{_N}": self._ndcg(validation)}

        with seeded(lesson.rng, device):
            network = self._new_network().to(device)
            _start_at_popularity(network.columns, likes)
            training = schedule(self.training, lesson.past)
            if lesson.past is not None:
                self._carry(network, lesson)
            if training is None:
                self._network = network.eval()
                return
            try:
                self._network = train(
                    network,
                    _seen(likes, device),
                    training,
                    validate=None if validation is None else validate,
                    report=lesson.report,
                    resume=lesson.resume,
                )
            except DivergedError as trouble:
                self._network = cast(Network | None, trouble.kept)
                raise RecaeError(f"{trouble}: lower training.learning_rate") from None
            except ValueError as trouble:
                raise RecaeError(str(trouble)) from None

    def _carry(self, network: Network, lesson: Lesson) -> None:
        """Begin with what an earlier network of the same settings learned."""
        assert lesson.past is not None
        before = cast(MultinomialAutoencoder, lesson.past.model)
        at = old_places(lesson.fitted, before.fitted)
        items = network.columns
        assert isinstance(items, Table | Tied)
        popularity = items.row_bias.detach().clone()
        carry(before.network, network, at)
        new, old = at["columns"] < 0, at["columns"] >= 0
        if old.any():
            with torch.no_grad():
                # As popular as others of them that are there.
                shift = (items.row_bias[old] - popularity[old]).mean()
                items.row_bias[new] = popularity[new] + shift

    def _new_network(self) -> Network:
        n_items = len(self.fitted.items)
        reads = Reads(
            n_items,
            self.k,
            self.activation,
            values=True,
            mask=self.reads == "rated",
            side=0,
            normalize=self.normalize,
            bias_head=False,
            scale=_INITIAL_SCALE,
            span=(0.0, 1.0),
        )
        items = Table(n_items, self.encoder.width(self.k), scale=_INITIAL_SCALE)
        return Network(self.encoder.side(reads), items, dropout=self.dropout, head=Multinomial())

    def _likes(self, own: Ratings) -> sparse.csr_array:
        """What is read, [U, N]: 1 at likes, and 0 at what was rated otherwise, if that is read."""
        if self.reads == "liked":
            return own.liked(self.liked_from).mask
        read = own.mask
        read.data = (own.stars >= own.liked_from(self.liked_from)).astype(np.float32)
        return read

    def _ndcg(self, holdout: Holdout) -> float:
        """Mean over users with likes among their targets; only items that the model knows."""
        found = []
        targets = holdout.target.liked(self.liked_from).over(self.fitted.items)
        for start, block in self._numbered_blocks(self._own(holdout.history)):
            scores = self.scores(block)
            scores[block.rows, block.columns] = -np.inf
            relevant = targets.take_users(np.arange(start, start + len(block.users))).matrix
            found.append(metrics.ranking(scores, relevant, _N).ndcg)
        ndcg = np.concatenate(found)
        return float(np.nanmean(ndcg)) if (~np.isnan(ndcg)).any() else float("nan")

    # --- ranking

    @property
    def network(self) -> Network:
        """What was learned. Raises NotFittedError, and DataError after a failed training."""
        _ = self.fitted
        if self._network is None:
            raise DataError("this model was not trained to its end: fit it again or resume")
        return self._network

    def user_factors(self, history: Ratings) -> Floats:
        """[U, W + 1]: the vector that the history is encoded to, and 1."""
        vectors = self._vectors(self._likes(history.over(self.fitted.items)))
        return np.column_stack([vectors, np.ones(len(vectors), np.float32)])

    def scores(self, history: Ratings) -> Floats:
        # As factors they would be copied first, which for one person is most of the work.
        items = self.network.columns
        assert isinstance(items, Table | Tied)
        users = torch.from_numpy(self._vectors(self._likes(self._own(history))))
        with torch.no_grad():
            users = users.to(items.vectors.device)
            return numpy_of(torch.addmm(items.row_bias, users, items.vectors.T))

    def item_factors(self) -> Floats:
        """[N, W + 1]: the decoder's last layer, weights and bias."""
        items = self.network.columns
        assert isinstance(items, Table | Tied)
        return np.column_stack([numpy_of(items.vectors), numpy_of(items.row_bias)])

    def encode(self, history: Ratings) -> Floats:
        """[U, W]: the vectors of users; zero where there is nothing to read. Raises DataError for
        stars outside the scale."""
        likes = self._likes(self._own(history))
        return np.where(np.diff(likes.indptr)[:, None] > 0, self._vectors(likes), np.float32(0))

    def encode_items(self) -> Floats:
        """[N, W]: the rows of the decoder's last layer; zero for items that nobody has rated."""
        known = self._known_items()[:, None]
        return np.where(known, self.item_factors()[:, :-1], np.float32(0))

    def _vectors(self, likes: sparse.csr_array) -> Floats:
        """[U, W]: what the encoder makes of what it reads."""
        network = self.network
        device = next(network.parameters()).device
        return numpy_of(encode(network.rows, _seen(likes, device)).vectors)

    # --- keeping

    def state(self) -> dict[str, NDArray[Any]]:
        return weights_of(self.network)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        with torch.random.fork_rng(devices=[]):
            network = self._new_network()
        load_weights(network, arrays)
        self._network = network.to(device_of(self.device)).eval()

    # --- presets

    @classmethod
    def dae(cls, **settings: Any) -> Self:
        """Mult-DAE (Liang et al. 2018): one layer to the code, half of the likes hidden."""
        return cls(**settings)

    @classmethod
    def vae(cls, **settings: Any) -> Self:
        """Mult-VAE (Liang et al. 2018): items - 600 - 200 - 600 - items, annealed divergence."""
        return cls(**_VAE | settings)

    @classmethod
    def recvae(cls, **settings: Any) -> Self:
        """RecVAE (Shenbin et al. 2020): residual encoder, composite prior, sides in turn."""
        return cls(**_RECVAE | settings)


def _start_at_popularity(items: Side, likes: sparse.csr_array) -> None:
    """Biases from which a code of zero ranks by popularity: logarithms of how often each item is
    liked. Steps of a short training are too small to get there."""
    assert isinstance(items, Table | Tied)
    counts = np.asarray(likes.sum(axis=0), dtype=np.float32)
    with torch.no_grad():
        items.row_bias.copy_(torch.from_numpy(np.log1p(counts) - np.log1p(counts).mean()))


def _seen(likes: sparse.csr_array, device: torch.device) -> Seen:
    return Seen.everything(structure(likes, device), torch.from_numpy(likes.data).to(device))


_VAE: Final[dict[str, Any]] = {
    "encoder": Variational(hidden=(600,), beta=0.2),
    "training": Training(
        objective="denoise",
        hide=(0.5, 0.5),
        steps=1000,
        batch_size=500,
        warmup=0.5,
        learning_rate=2e-3,
        weight_decay=0.1,
        shrink_biases=False,
        ema=0.98,
    ),
}
_RECVAE: Final[dict[str, Any]] = {
    "encoder": Variational(
        hidden=(300,) * 3, residual=True, beta=0.002, beta_by="entry", prior="composite"
    ),
    "activation": "silu",
    "training": Training(
        objective="denoise",
        hide=(0.5, 0.5),
        steps=360,
        batch_size=500,
        alternate=(9, 3),
        learning_rate=5e-3,
        weight_decay=0.1,
        shrink_biases=False,
        ema=0.98,
    ),
}
