"""Two heads: how many stars would be given, and what would be chosen; lists go by both.

    score_ui = standard(liked_u)_i + weight standard(stars_u)_i

Stars alone push up films that few have seen, choices alone what everybody likes: what a person goes
on to like is chosen first and rated well then. The heads are models of their own, because what is
best for one is not for the other: masked squared error on the ratings there are, and a multinomial
or linear autoencoder on the mask. Both are put in each user's standard deviations, so that one
weight serves everybody.

U users, N items; stars are in stars, scores in whatever unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from recae import metrics, splits
from recae.errors import DataError
from recae.ids import Rows
from recae.models.autorec import AutoRec
from recae.models.base import Fitted, Floats, Lesson, Recommender
from recae.models.conformal import check_enough, quantile
from recae.models.encodes import Encodes
from recae.models.expected_error import ExpectedError
from recae.models.fits import Arrays, Fit, fit_in_a_row, fits_of, prefixed, under
from recae.models.levels import Spread
from recae.models.multinomial import MultinomialAutoencoder
from recae.models.places import Places
from recae.models.ranking import standard
from recae.models.rules import ORDERS, Order
from recae.ratings import Ratings
from recae.splits import Holdout

_WEIGHTS: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 5.0)
"""Of the stars, among which the best is chosen."""
_N: Final = 10
"""Length of the lists by which it is."""
_MOST: Final = 2_000
"""People whose lists are looked at; more change no digit that matters."""


@dataclass(frozen=True, eq=False)
class _Learned:
    stars: Recommender
    liked: Recommender
    weight: float
    """Of the stars in a blend."""
    error: ExpectedError | None
    """None where too few ratings were hidden to know."""
    reach: float
    """Of intervals, in expected errors."""


@dataclass(eq=False)
class Blend(Recommender):
    """A model of the stars and a model of what is liked, and an order of both.

    Everything but the lists is the stars' model's. A part of the ratings is hidden from a first fit
    of both; by it the weight is chosen and intervals are calibrated (see `recae.intervals`,
    adaptive); then both are fitted to everything.
    """

    stars: Recommender = field(default_factory=AutoRec.dual)
    """Predicts stars; in a recipe a table with its kind and settings."""
    liked: Recommender = field(default_factory=lambda: MultinomialAutoencoder.dae(reads="rated"))
    """Ranks by what is chosen, like mult-dae, ease or implicit-als."""
    by: Order = "blend"
    """What lists are made by where they do not say."""
    level: float = 0.9
    """The share of ratings that is to lie inside intervals."""
    holdout: float = 0.1
    """Share of the ratings that is hidden first, drawn uniformly."""

    _learned: _Learned | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, member, wanted in (("stars", self.stars, True), ("liked", self.liked, False)):
            if not isinstance(member, Recommender):
                raise ValueError(f"{name} must be a model, not {member!r}")
            if member.predicts_stars is not wanted:
                does = "only ranks" if wanted else "predicts stars"
                like = "autorec-dual" if wanted else "mult-dae"
                raise ValueError(f"{name}: {type(member).__name__} {does}: choose one like {like}")
        if not any(isinstance(member, Encodes) for member in (self.stars, self.liked)):
            raise ValueError("one of the two models must have codes, like autorec-dual")
        if self.by not in ORDERS:
            raise ValueError(f"by must be one of {', '.join(ORDERS)}, not {self.by!r}")
        for name, share in (("level", self.level), ("holdout", self.holdout)):
            if not 0 < share < 1:
                raise ValueError(f"{name} must be between 0 and 1, not {share}")

    @property
    def steps(self) -> int:
        return 2 * (self.stars.steps + self.liked.steps)

    # --- learning

    def _learn(self, lesson: Lesson) -> None:
        self._learned = None
        if lesson.past is not None:
            before = cast(Blend, lesson.past.model)._get()
            self._learned = self._gone_on(before, lesson)
            return
        if self.holdout * len(lesson.train) < 1:
            # Of a rating or two nothing can be hidden.
            states = fit_in_a_row(self._fits(lesson), lesson.report, lesson.resume)
            members = self._restored(states, lesson.fitted)
            self._learned = _Learned(*members, weight=0.0, error=None, reach=float("nan"))
            return
        hidden = splits.random(lesson.train, test=self.holdout, rng=lesson.rng).test
        most = lesson._replace(train=hidden.history, fitted=Fitted.of(hidden.history))
        fits = [*self._fits(most), *self._fits(lesson)]
        states = fit_in_a_row(fits, lesson.report, lesson.resume)
        stars, liked = self._restored(states[:2], most.fitted)
        weight = chosen_weight(stars, liked, hidden)
        error, reach = self._calibrated(stars, hidden, lesson)
        members = self._restored(states[2:], lesson.fitted)
        self._learned = _Learned(*members, weight=weight, error=error, reach=reach)

    def _fits(self, lesson: Lesson) -> list[Fit]:
        """Of both models to the lesson's ratings, with randomness of their own."""
        past = lesson.past
        before = () if past is None else cast(Blend, past.model)._members
        return fits_of((self.stars, self.liked), lesson, before)

    @property
    def _members(self) -> tuple[Recommender, Recommender]:
        return self._get().stars, self._get().liked

    def steps_of_update(self, share: float) -> int:
        return self.stars.steps_of_update(share) + self.liked.steps_of_update(share)

    def _gone_on(self, before: _Learned, lesson: Lesson) -> _Learned:
        """Both models with the lesson's ratings too; what was learned of what was hidden from a
        first fit stays, because nothing is hidden from a model that goes on."""
        states = fit_in_a_row(self._fits(lesson), lesson.report, lesson.resume)
        stars, liked = self._restored(states, lesson.fitted)
        error = before.error
        if error is not None:
            error = replace(error, spread=Spread.of(lesson.train, lesson.fitted.baseline))
        return replace(before, stars=stars, liked=liked, error=error)

    def _restored(self, states: list[Arrays], fitted: Fitted) -> tuple[Recommender, Recommender]:
        stars, liked = self.stars.fresh(fitted), self.liked.fresh(fitted)
        for member, state in zip((stars, liked), states, strict=True):
            member.restore(state)
        return stars, liked

    def _calibrated(
        self, stars: Recommender, hidden: Holdout, lesson: Lesson
    ) -> tuple[ExpectedError | None, float]:
        """The errors of one half of what was hidden, how far those of the other reach."""
        count = len(hidden.target)
        try:
            check_enough(count, self.level, halved=True)
        except DataError:
            return None, float("nan")
        half = lesson.rng.permutation(count) < count // 2
        taught, rest = (Holdout(hidden.history, hidden.target.keep(m)) for m in (half, ~half))
        error = ExpectedError.of(stars, taught)
        own = rest.history.over(stars.fitted.items)
        items = stars.fitted.items.find(rest.target.items.values)[rest.target.columns]
        predicted = stars.predict_at(rest).astype(np.float64)
        expected = error.at(stars.fitted, own, rest.target.rows, items, predicted)
        reach = quantile(np.abs(rest.target.stars - predicted) / expected, self.level)
        everything = Spread.of(lesson.train, lesson.fitted.baseline)
        return replace(error, spread=everything), reach

    # --- predicting: all as the stars' model says

    @property
    def weight(self) -> float:
        """What the stars count in a blend. Raises NotFittedError."""
        return self._get().weight

    def _stars(self, history: Ratings) -> Floats:
        return self._get().stars._stars(history)

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        return self._get().stars._stars_at(history, places)

    @property
    def levels(self) -> Floats:
        return self._get().stars.levels

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        return self._get().stars._chances_at(history, places)

    def known(self, history: Ratings) -> Rows:
        return self._get().stars.known(history)

    def _known_users(self, own: Ratings) -> NDArray[np.bool_]:
        return self._get().stars._known_users(own)

    def _known_items(self) -> NDArray[np.bool_]:
        return self._get().stars._known_items()

    # --- codes: those of the stars, which say what somebody likes

    def encode(self, history: Ratings) -> Floats:
        """[U, K]: the codes of users."""
        return self._encodes.encode(history)

    def encode_items(self) -> Floats:
        """[N, K]: the codes of the model's items."""
        return self._encodes.encode_items()

    def user_spread(self) -> Floats:
        """[K + 1, K + 1]: how far apart people are, by the model of the stars. Raises DataError
        where that has no codes."""
        stars = self._get().stars
        if not isinstance(stars, AutoRec):
            raise DataError(
                f"the stars of this blend are a {type(stars).__name__}'s, without codes"
            )
        return stars.user_spread()

    @property
    def _encodes(self) -> Encodes:
        learned = self._get()
        if isinstance(learned.stars, Encodes):
            return learned.stars
        assert isinstance(learned.liked, Encodes)
        return learned.liked

    # --- ranking

    @property
    def orders(self) -> tuple[str, ...]:
        return (self.by, *(order for order in ORDERS if order != self.by))

    def scores(self, history: Ratings) -> Floats:
        return self._ranked(self._own(history), self.by)[0]

    def _ranked(self, own: Ratings, by: str) -> tuple[Floats, Floats | None]:
        learned = self._get()
        if by == "liked":
            return learned.liked.scores(own), None
        stars = learned.stars._stars(own)
        if by == "stars":
            return stars.copy(), stars
        if by == "lower-bound":
            if learned.error is None:
                raise DataError(
                    "this model was trained on too few ratings to know how wrong it is: "
                    "rank by stars, liked or blend"
                )
            users, items = np.arange(len(stars))[:, None], np.arange(stars.shape[1])[None]
            return self._clip(stars) - self._reach(learned.error, own, users, items, stars), stars
        return _blended(learned.liked.scores(own), stars, learned.weight), stars

    def _bounds(
        self, own: Ratings, users: Rows, items: Rows, stars: Floats
    ) -> tuple[Floats, Floats] | None:
        if (error := self._get().error) is None:
            return None
        reach = self._reach(error, own, users, items, stars)
        return self._clip(stars - reach), self._clip(stars + reach)

    def _reach(
        self, error: ExpectedError, own: Ratings, users: Rows, items: Rows, stars: Floats
    ) -> Floats:
        """How far intervals go from predicted stars."""
        predicted = self._clip(stars).astype(np.float64)
        expected = error.at(self.fitted, own, users, items, predicted)
        return (self._get().reach * expected).astype(np.float32)

    def _get(self) -> _Learned:
        if self._learned is None:
            _ = self.fitted
            raise DataError("this model was not trained to its end: fit it again or resume")
        return self._learned

    # --- keeping

    def state(self) -> Arrays:
        learned = self._get()
        kept = prefixed([learned.stars.state(), learned.liked.state()])
        kept["blend"] = np.array([learned.weight, learned.reach])
        return kept if learned.error is None else kept | learned.error.state()

    def restore(self, arrays: Arrays) -> None:
        states = [under(place, arrays) for place in range(2)]
        stars, liked = self._restored(states, self.fitted)
        weight, reach = map(float, arrays["blend"])
        error = None
        if not np.isnan(reach):
            error = ExpectedError.of_state(arrays, self.fitted.baseline)
        self._learned = _Learned(stars, liked, weight, error, reach)


def chosen_weight(stars: Recommender, liked: Recommender, hidden: Holdout) -> float:
    """The weight of stars for which lists find best what is liked among the targets: the largest
    mean NDCG@10; 0 where nobody likes any of them."""
    target = hidden.target.liked()
    people = np.flatnonzero(target.user_counts)
    people = people[:: max(1, len(people) // _MOST)]
    if not len(people):
        return 0.0
    sums = np.zeros(len(_WEIGHTS))
    history = hidden.history.take_users(people).over(liked.fitted.items)
    relevant = target.take_users(people).over(liked.fitted.items)
    for start, block in liked._numbered_blocks(history):
        wanted = relevant.take_users(np.arange(start, start + len(block.users))).matrix
        chances, said = liked.scores(block), stars._stars(block)
        for place, weight in enumerate(_WEIGHTS):
            scores = _blended(chances, said, weight)
            scores[block.rows, block.columns] = -np.inf
            sums[place] += np.nansum(metrics.ranking(scores, wanted, _N).ndcg)
    return _WEIGHTS[int(sums.argmax())]


def _blended(liked: Floats, stars: Floats, weight: float) -> Floats:
    """[U, N], a new array."""
    scores = standard(stars)
    scores *= np.float32(weight)
    scores += standard(liked)
    return scores
