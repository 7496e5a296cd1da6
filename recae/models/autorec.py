"""The family at work: what its members learn, predict, fold in and keep.

What they are, and which settings go together, is in `recae.models.family`.
Shapes: U users of a history, N items, K = k code size, R ratings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recae import splits
from recae.errors import DataError, RecaeError
from recae.ids import Rows
from recae.metrics import rmse
from recae.models import presets
from recae.models.base import Fitted, Floats, Lesson, Recommender, dots
from recae.models.bridge import (
    arrays,
    coded,
    device_of,
    load_weights,
    numpy_of,
    seeded,
    weight_in,
    weights_of,
)
from recae.models.digests import history_digests
from recae.models.family import Family
from recae.models.fits import Arrays, Fit, Pass, fit_in_a_row
from recae.models.kernel import Process, Users
from recae.models.levels import Levels, Spread, levels_of
from recae.models.places import Places
from recae.models.ridge import UnsolvableError, ridge_rows, with_ones
from recae.models.starting import begin
from recae.models.updating import same_levels, schedule, steps_of
from recae.nn.heads import Nade
from recae.nn.network import Network
from recae.nn.pretraining import machines, stages
from recae.nn.sides import Seen, Sum, Table, Tied, encode
from recae.nn.training import DivergedError, Progress, Report, train
from recae.ratings import Ratings

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

    @cached_property
    def items_with_ones(self) -> Floats:
        """[N, K + 1]: what half-steps of users are solved against."""
        return with_ones(self.item_vectors)


_OBJECTS = ("network", "process", "levels")
_ARRAYS = tuple(f.name for f in fields(_Learned) if f.name not in _OBJECTS)


@dataclass(eq=False)
class AutoRec(Family):
    """Masked-loss autoencoders on ratings, and matrix factorization as their plainest member.

    Use the presets: `AutoRec.dual`, `.item`, `.user`, `.paper_item`, `.paper_user`, `.mf`,
    `.svdpp`; every one takes the fields of `Family` as keywords.
    """

    _learned: _Learned | None = field(default=None, init=False, repr=False)
    _factors_of: tuple[_Learned, Floats] | None = field(default=None, init=False, repr=False)
    """Of the items, with what they were made from: for one person they cost more than the rest."""

    # --- learning

    def steps_of_update(self, share: float) -> int:
        return steps_of(self.training, share)

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
            if lesson.past is not None:
                begin(self, network, lesson)
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
        training = schedule(self.training, lesson.past)
        if training is None:
            return network.eval()
        if self.pretraining == "none" or lesson.past is not None:
            return train(
                network,
                seen,
                training,
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

    def _learn_levels(self, lesson: Lesson) -> None:
        """Levels from what was hidden from a first network; the second one learns from everything,
        as it would without levels."""
        if lesson.past is not None and self._keeps_levels(lesson):
            return
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

    def _keeps_levels(self, lesson: Lesson) -> bool:
        """Goes on with the levels that there are, unless there are stars that none of them is: then
        only the network can, and levels are learned anew."""
        assert lesson.past is not None
        levels = cast(AutoRec, lesson.past.model)._get().levels
        assert levels is not None
        if (same_levels(levels_of(lesson.train, least=1), levels.stars) < 0).any():
            return False
        plain = Fit(replace(self, head="stars"), lesson, lambda model: model.state())
        spread = Spread.of(lesson.train, lesson.fitted.baseline)
        network = plain.run(lesson.report, lesson.resume)
        self.restore(network | replace(levels, spread=spread).state())
        return True

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
        more of them than the mean. The same array every time: not the caller's to change.
        """
        learned = self._get()
        if self._factors_of is None or self._factors_of[0] is not learned:
            self._factors_of = learned, self._new_item_factors(learned)
        return self._factors_of[1]

    def _new_item_factors(self, learned: _Learned) -> Floats:
        fitted = self.fitted
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

    def user_spread(self) -> Floats:
        """[K + 1, K + 1]: covariance of the training users' codes and, in the last row and column,
        biases, in quarters of the scale: how far apart people are."""
        learned = self._get()
        people = np.column_stack([learned.user_vectors, learned.user_bias])
        return np.cov(people, rowvar=False, ddof=0).astype(np.float32)

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
        solved = ridge_rows(own, rest, learned.items_with_ones, self.ridge)
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
        return cls(**presets.DUAL | settings)

    @classmethod
    def item(cls, **settings: Any) -> Self:
        """I-AutoRec (Sedhain et al. 2015) on residuals, with mask channel and hidden targets."""
        return cls(**presets.ITEM | settings)

    @classmethod
    def user(cls, **settings: Any) -> Self:
        """U-AutoRec (Sedhain et al. 2015) on residuals, with mask channel and hidden targets."""
        return cls(**presets.USER | settings)

    @classmethod
    def paper_item(cls, **settings: Any) -> Self:
        """I-AutoRec as published: raw ratings, sigmoid code, reconstruction, L2 in the loss."""
        return cls(**presets.PAPER_ITEM | settings)

    @classmethod
    def paper_user(cls, **settings: Any) -> Self:
        """U-AutoRec as published: raw ratings, sigmoid code, reconstruction, L2 in the loss."""
        return cls(**presets.PAPER_USER | settings)

    @classmethod
    def mf(cls, **settings: Any) -> Self:
        """Biased matrix factorization (Koren, Bell and Volinsky 2009), by the same loop."""
        return cls(**presets.MF | settings)

    @classmethod
    def svdpp(cls, **settings: Any) -> Self:
        """SVD++ (Koren 2008): matrix factorization plus an encoder of what was rated."""
        return cls(**presets.SVDPP | settings)
