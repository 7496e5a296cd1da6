"""What every model is: fit, predict, predict_at, recommend, explain.

Shapes: U users of a history, N items of the model, R target ratings, K width of factors.
A model answers in its own items' rows; histories with other items are aligned first. Dense [U, N]
arrays are made for blocks of users only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Self, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray

from recae.catalog import Catalog
from recae.data import load
from recae.errors import DataError, NotFittedError
from recae.features import Coding, Features
from recae.ids import Ids, Rows
from recae.models.baseline import Baseline
from recae.models.digests import history_digests
from recae.models.explaining import effects, reasons
from recae.models.places import Places
from recae.models.ranking import recommendations
from recae.models.recommendations import Recommendations
from recae.models.rules import Rules
from recae.models.settings import settings_of, with_settings
from recae.models.updating import SHARE, Past, checked, grown
from recae.nn.training import Report
from recae.ratings import Ratings, Scale
from recae.splits import Holdout

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]

_BLOCK: Final = 2_000_000
"""Scores held at once when users are scored in blocks: 8 MB, near a cache."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `fit` learns for every kind of model, beside its own arrays."""

    users: Ids
    items: Ids
    scale: Scale
    catalog: Catalog | None
    baseline: Baseline
    item_counts: Rows
    """[N]: training ratings by item."""
    user_digests: NDArray[np.uint64]
    """[users]: of each training history, to tell whether it is still the one learned from."""
    user_coding: Coding | None = None
    """How side data of users are read, where training had any."""
    item_coding: Coding | None = None

    @classmethod
    def of(cls, train: Ratings) -> Fitted:
        """Learned from `train`."""
        return cls(
            train.users,
            train.items,
            train.scale,
            None if train.catalog is None else train.catalog.over(train.items),
            Baseline.of(train),
            train.item_counts,
            history_digests(train),
            _coding(train.user_features, train.users),
            _coding(train.item_features, train.items),
        )


class Lesson(NamedTuple):
    """What a model is given to learn from; `Recommender.fit` says what each is."""

    train: Ratings
    fitted: Fitted
    """Learned from `train` already."""
    rng: np.random.Generator
    validation: Holdout | None = None
    report: Report | None = None
    resume: Path | None = None
    past: Past | None = None
    """Where it goes on from; models that cannot go on learn anew."""


@dataclass(eq=False)
class Recommender(ABC):
    """Base of all models. The init fields of a subclass are its hyper-parameters."""

    predicts_stars: ClassVar[bool] = True
    """False: the model only ranks, and its stars are the baseline's."""

    _fitted: Fitted | None = field(default=None, init=False, repr=False)

    # --- learning

    def fit(
        self,
        train: Ratings | pd.DataFrame,
        *,
        validation: Holdout | None = None,
        rng: np.random.Generator,
        on_epoch: Report | None = None,
        resume: Path | None = None,
    ) -> Self:
        """Learn from `train`, forgetting what was learned before; returns self.

        train: Ratings, or a DataFrame of them, which `recae.load` reads.
        validation: only reported on (`on_epoch`), never learned from.
        rng: all randomness of the fit. on_epoch: called with Progress during iterative training.
        resume: a checkpoint written by `Progress.save`; the same data, settings and rng are needed.

        Raises DataError for a table without ratings.
        """
        train = train if isinstance(train, Ratings) else load(train)
        if not len(train):
            raise DataError("there are no ratings to learn from")
        self._fitted = Fitted.of(train)
        self._learn(Lesson(train, self._fitted, rng, validation, on_epoch, resume))
        return self

    def update(
        self,
        ratings: Ratings | pd.DataFrame,
        *,
        share: float = SHARE,
        validation: Holdout | None = None,
        rng: np.random.Generator,
        on_epoch: Report | None = None,
    ) -> Self:
        """Go on learning from `ratings`, old and new together; returns self.

        Models that are trained step by step (the family, multinomial autoencoders, the RBM, and
        ensembles of them) go on from what they have learned; all others are fitted anew, which for
        closed forms is exact. New users and items get places of their own, and what is not in
        `ratings` is no longer in the model. Where an update fails, the model is what it was.

        ratings: the whole table as it is now, because models keep no data.
        share: steps, as a share of those of a fit, from 0 to 1. 0: nothing is trained, and what is
            new is encoded or folded in, at once.
        validation, rng, on_epoch: as for `fit`.

        Raises NotFittedError; DataError for a table without ratings, on another scale, or of nobody
        and nothing that the model knows; ValueError for a share outside 0 to 1.
        """
        ratings = ratings if isinstance(ratings, Ratings) else load(ratings)
        own = checked(ratings, self.fitted, share)
        updated = self.fresh(grown(Fitted.of(own), self.fitted))
        past = Past(self, share)
        updated._learn(Lesson(own, updated.fitted, rng, validation, on_epoch, past=past))
        vars(self).update(vars(updated))
        return self

    @abstractmethod
    def _learn(self, lesson: Lesson) -> None:
        """Learn from the lesson's ratings; everything learned replaces what was there."""

    @property
    def fitted(self) -> Fitted:
        """What was learned. Raises NotFittedError before `fit`."""
        if self._fitted is None:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted: call fit or load_model"
            )
        return self._fitted

    @property
    def params(self) -> dict[str, Any]:
        """The hyper-parameters; `type(model)(**model.params)` rebuilds the model, unfitted."""
        return settings_of(self, deep=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The same as scikit-learn asks for them: deep is with `training__steps` and the like."""
        return settings_of(self, deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Change settings by name, `training__steps` and the like too; what was learned with others
        is forgotten. Raises ValueError, and then changes nothing."""
        if params:
            self.__dict__ = vars(with_settings(self, params))
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Asked by scikit-learn's check_is_fitted."""
        return self._fitted is not None

    def __sklearn_tags__(self) -> Any:
        """Asked by scikit-learn 1.6 and later, which is there when it asks."""
        from sklearn.utils import Tags, TargetTags

        return Tags(None, TargetTags(required=False))

    @property
    def steps(self) -> int:
        """Steps of a fit, as its reports count them; 0 where there are none."""
        return 0

    def steps_of_update(self, share: float) -> int:
        """Steps of an update, as its reports count them."""
        return self.steps

    def fresh(self, fitted: Fitted | None = None) -> Self:
        """A model with these settings that has learned nothing, or `fitted` alone."""
        model = type(self)(**self.params)
        model._fitted = fitted
        return model

    # --- predicting stars

    def predict(self, history: Ratings) -> Floats:
        """Stars, within the scale, for every user of `history` and item of the model: [U, N]."""
        own = self._own(history)
        blocks = [self._clip(self._stars(block)) for block in self._blocks(own)]
        return (
            np.concatenate(blocks) if blocks else np.empty((0, len(self.fitted.items)), np.float32)
        )

    def predict_at(self, holdout: Holdout) -> Floats:
        """Stars at the target ratings: [R], in their order, within the scale.

        Only `holdout.history` and the places of the targets (and by some models their times) are
        read, never their stars. Items that the model does not know get what it says of an item
        nobody has rated.
        """
        return self._clip(self._stars_at(self._own(holdout.history), self._targets(holdout)))

    def _targets(self, holdout: Holdout) -> Places:
        target = holdout.target
        items = self.fitted.items.find(target.items.values)[target.columns]
        return Places(target.rows, items, target.times)

    @abstractmethod
    def _stars(self, history: Ratings) -> Floats:
        """Stars, not yet clipped: [U, N], for a block of users over the model's items."""

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        """Stars, not yet clipped, at `places` [R]."""
        users, items, _ = places
        stars = self.fitted.baseline.unknown_item(history)[users]
        for start, block in self._numbered_blocks(history):
            inside = (users >= start) & (users < start + len(block.users)) & (items >= 0)
            stars[inside] = self._stars(block)[users[inside] - start, items[inside]]
        return stars

    def _own(self, history: Ratings) -> Ratings:
        """The history over the model's items. Raises DataError for stars outside its scale."""
        low, high = self.fitted.scale
        if len(history) and not (low <= history.stars.min() and history.stars.max() <= high):
            raise DataError(
                f"the ratings go from {history.stars.min():g} to {history.stars.max():g}, and the "
                f"model was trained on a scale of {low:g} to {high:g}: bring them to that scale"
            )
        return history.over(self.fitted.items)

    @property
    def _unit(self) -> np.float32:
        """Stars in the unit that models learn in, a quarter of the scale, so that settings that
        suit 1 to 5 suit any scale."""
        low, high = self.fitted.scale
        return np.float32((high - low) / 4)

    def _clip(self, stars: Floats) -> Floats:
        low, high = self.fitted.scale
        return np.clip(stars, low, high).astype(np.float32, copy=False)

    # --- predicting how likely every star is

    @property
    def levels(self) -> Floats:
        """The stars that a distribution is over, ascending: [L]. Raises DataError without one."""
        raise self._says_no_chances()

    def predict_distribution(self, history: Ratings, items: Rows | None = None) -> Floats:
        """How likely each of `levels` is, for every user of `history`: [U, n, L].

        items [n]: rows of the model's items; None: all of them, which is large for many users. Sums
        to 1 over levels; what is expected is what `predict` says. Raises DataError for models that
        say no more than stars.
        """
        own = self._own(history)
        wanted = np.arange(len(self.fitted.items)) if items is None else items
        users = np.arange(len(own.users))
        places = Places(np.repeat(users, len(wanted)), np.tile(wanted, len(users)))
        chances = self._chances_at(own, places)
        return chances.reshape(len(users), len(wanted), -1)

    def predict_distribution_at(self, holdout: Holdout) -> Floats:
        """The same at the target ratings, in their order: [R, L]. Their stars are not read."""
        return self._chances_at(self._own(holdout.history), self._targets(holdout))

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        """How likely each of `levels` is at `places`: [T, L]. Raises DataError."""
        raise self._says_no_chances()

    def _says_no_chances(self) -> DataError:
        return DataError(
            f"this {type(self).__name__} says how many stars, not how likely each of them is: "
            'train an AutoRec, or an Average of one, with head = "ordinal"'
        )

    # --- ranking

    def scores(self, history: Ratings) -> Floats:
        """What items are ranked by, the larger the better: [U, N] over the model's items.

        Predicted stars, unclipped, unless the model ranks by something else. A new array, the
        caller's to change; call for blocks of users.
        """
        return self._stars(self._own(history))

    @property
    def orders(self) -> tuple[str, ...]:
        """What lists can be made by, the usual first; `recae.models.rules` says what each is."""
        return ("stars",) if self.predicts_stars else ("liked",)

    def _ranked(self, own: Ratings, by: str) -> tuple[Floats, Floats | None]:
        """Scores by one of `orders`, [U, N], the caller's to change; and stars, not yet clipped,
        where they are known on the way (perhaps the same array)."""
        scores = self.scores(own)
        return scores, scores if self.predicts_stars else None

    def _bounds(
        self, own: Ratings, users: Rows, items: Rows, stars: Floats
    ) -> tuple[Floats, Floats] | None:
        """Where the intervals of predicted stars begin and end, of the shape of `stars`. None here,
        because it takes ratings that a model has not learned from to know them."""
        return None

    def intervals_at(
        self, holdout: Holdout, predicted: Floats | None = None
    ) -> tuple[Floats, Floats] | None:
        """Lowest and highest stars of the model's own intervals at the target ratings, [R] each;
        None where it knows none (`recae.intervals` makes some for any model).

        predicted [R]: what `predict_at` says there; None: it is asked.
        """
        stars = self.predict_at(holdout) if predicted is None else predicted
        users, items, _ = self._targets(holdout)
        return self._bounds(self._own(holdout.history), users, items, stars)

    @overload
    def recommend(
        self, history: Ratings, n: int = 10, **rules: Unpack[Rules]
    ) -> Recommendations: ...

    @overload
    def recommend(
        self, history: Mapping[Any, float] | pd.DataFrame, n: int = 10, **rules: Unpack[Rules]
    ) -> pd.DataFrame: ...

    def recommend(
        self,
        history: Ratings | Mapping[Any, float] | pd.DataFrame,
        n: int = 10,
        **rules: Unpack[Rules],
    ) -> Recommendations | pd.DataFrame:
        """The n best items for every user of `history`, or for one person.

        history: Ratings; or a DataFrame of ratings, for which one comes back: user, rank, item,
            title, stars; or one person's {item id or title: stars}, for whom it comes without the
            user and with the rating that speaks most for each item (`because`).
        rules: which items may be recommended, and what puts them in order; see `Rules`.

        Exactly n items each where enough exist. Raises DataError for n below 1, unknown ids or
        titles, stars outside the scale, and rules that the model cannot follow.
        """
        if isinstance(history, Ratings):
            return recommendations(self, self._own(history), n, rules)
        if isinstance(history, Mapping):
            person = self.history_of(history)
            found = recommendations(self, person, n, rules)
            frame = found.to_frame().drop(columns="user")
            frame["because"] = self.reasons(person, found.items[0][found.items[0] >= 0])
            return frame
        return recommendations(self, self.histories_of(history), n, rules).to_frame()

    def history_of(self, given: Mapping[Any, float]) -> Ratings:
        """One person's {item id or title: stars} as Ratings [1, N].

        Raises DataError for unknown or ambiguous titles, an item twice, stars outside the scale.
        """
        return self.history_of_rows((self.item_row(name), stars) for name, stars in given.items())

    def history_of_rows(self, given: Iterable[tuple[int, Any]]) -> Ratings:
        """The same from rows of the model's items, (row, stars)."""
        low, high = self.fitted.scale
        stars: dict[int, float] = {}
        for row, value in given:
            if row in stars:
                raise DataError(f"{self.item_name(row)} is rated twice: leave one out")
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise DataError(f"{self.item_name(row)} is rated {value!r}: stars are numbers")
            if not low <= value <= high:
                raise DataError(
                    f"{self.item_name(row)} is rated {value:g}, outside the scale "
                    f"{low:g} to {high:g}"
                )
            stars[row] = float(value)
        return Ratings.of_one(stars, self.fitted.items, self.fitted.scale)

    def item_row(self, name: int | str) -> int:
        """The row of the item with this id or title. Raises DataError, with suggestions."""
        if isinstance(name, bool) or not isinstance(name, str | int | np.integer):
            raise DataError(f"an item is named by its id or its title, not by {name!r}")
        fitted = self.fitted
        if fitted.catalog is not None:
            return int(fitted.items.rows([fitted.catalog.resolve(name)])[0])
        wanted = fitted.items.parse(name) if isinstance(name, str) else name
        return int(fitted.items.rows([wanted])[0])

    def histories_of(self, frame: pd.DataFrame) -> Ratings:
        """A DataFrame of ratings, whose items are ids or titles, over the model's items.

        Raises DataError for unknown titles, a table of which the model knows no item, and what
        `recae.load` refuses.
        """
        ratings, fitted = load(frame, scale=self.fitted.scale), self.fitted
        named = ratings.items.values.dtype.kind != fitted.items.values.dtype.kind
        if named and fitted.catalog is not None:
            rows = np.array([self.item_row(name) for name in ratings.items.values.tolist()])
            people = ratings.users.values[ratings.rows]
            items = fitted.items.values[rows[ratings.columns]]
            ratings = Ratings.of(people, items, ratings.stars, ratings.times, scale=fitted.scale)
        if (fitted.items.find(ratings.items.values) < 0).all():
            raise DataError("the model knows none of these items")
        return ratings.over(fitted.items)

    def item_name(self, row: int) -> str:
        """The title of an item, or its id where there is no title."""
        fitted = self.fitted
        return (
            str(fitted.items.values[row]) if fitted.catalog is None else fitted.catalog.title(row)
        )

    # --- explaining

    def effects(self, history: Ratings, items: Rows) -> Floats:
        """What each rating of one person does to the stars of `items`, or to their scores where the
        model only ranks: [ratings, items].

        The model's own output with the whole history, less its output with that one rating left
        out; both for a new user, so that nothing remembered from training blurs the difference.
        Raises DataError where `history` is not of one person.
        """
        return effects(self, history, items)

    def reasons(self, history: Ratings, items: Rows) -> list[str]:
        """For each of `items` the rating that raises its stars most, as "Heat (1995) 5: +0.31", or
        its score, as "Heat (1995) 5", where the model only ranks; empty where none does."""
        return reasons(self, history, items)

    # --- what is known

    def known(self, history: Ratings) -> Rows:
        """[U]: the row among the training users whose history is still the learned one, else -1."""
        rows = self.fitted.users.find(history.users.values)
        same = history_digests(history) == self.fitted.user_digests[rows]
        return np.where((rows >= 0) & same, rows, -1)

    def provenance(self, holdout: Holdout) -> dict[str, int]:
        """How many target ratings are `ordinary`, of `folded in` users, and `fallback`.

        Folded in are also users known from side data alone, and items. Fallback: the item was not
        rated in training, or the user has no history, and nothing else is known of them either.
        """
        own = holdout.history.over(self.fitted.items)
        places = self.fitted.items.find(holdout.target.items.values)[holdout.target.columns]
        cold = (places < 0) | ~self._known_items()[places]
        cold |= ~self._known_users(own)[holdout.target.rows]
        new = (self.known(own)[holdout.target.rows] < 0) | (self.fitted.item_counts[places] == 0)
        new |= own.user_counts[holdout.target.rows] == 0
        counts = {"ordinary": ~cold & ~new, "folded in": ~cold & new, "fallback": cold}
        return {name: int(mask.sum()) for name, mask in counts.items()}

    def _known_users(self, own: Ratings) -> NDArray[np.bool_]:
        """[U]: of whom the model has anything to say beyond its fallback."""
        return np.asarray(own.user_counts > 0)

    def _known_items(self) -> NDArray[np.bool_]:
        """[N]: the same of items."""
        return np.asarray(self.fitted.item_counts > 0)

    # --- keeping

    def save(self, folder: str | Path) -> Path:
        """Write the model, without the data, to `folder`: json and safetensors, no pickle."""
        from recae.models.persistence import save_model

        return save_model(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a model of this class back. Raises DataError for anything else."""
        from recae.models.persistence import load_model

        model = load_model(Path(folder))
        if not isinstance(model, cls):
            raise DataError(f"{folder} holds a {type(model).__name__}, not a {cls.__name__}")
        return model

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays learned beside `fitted`, by name."""

    @abstractmethod
    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; `fitted` is there already."""

    # --- blocks of users

    def _blocks(self, history: Ratings) -> Iterator[Ratings]:
        return (block for _, block in self._numbered_blocks(history))

    def _numbered_blocks(self, history: Ratings) -> Iterator[tuple[int, Ratings]]:
        size = max(1, _BLOCK // max(1, len(self.fitted.items)))
        for start in range(0, len(history.users), size):
            stop = min(start + size, len(history.users))
            yield start, history.take_users(np.arange(start, stop))


@dataclass(eq=False)
class FactorRecommender(Recommender):
    """Models whose score is <user factor, item factor>; biases stand in columns of their own."""

    @abstractmethod
    def user_factors(self, history: Ratings) -> Floats:
        """[U, K], from what was learned of known users and folded in for the others."""

    @abstractmethod
    def item_factors(self) -> Floats:
        """[N, K]."""

    def scores(self, history: Ratings) -> Floats:
        users = torch.from_numpy(self.user_factors(self._own(history)))
        product = users @ torch.from_numpy(self.item_factors()).T
        return np.asarray(product.numpy())

    def _stars(self, history: Ratings) -> Floats:
        return FactorRecommender.scores(self, history)

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        users, items, _ = places
        stars = self.fitted.baseline.unknown_item(history)[users]
        left, right = self.user_factors(history), self.item_factors()
        known = items >= 0
        stars[known] = dots(left, right, users[known], items[known])
        return stars


@dataclass(eq=False)
class RankingRecommender(Recommender):
    """Models that only rank, by their own `scores`: their stars are the shrunk baseline's."""

    predicts_stars: ClassVar[bool] = False

    def _stars(self, history: Ratings) -> Floats:
        return self.fitted.baseline.stars(history)

    def _stars_at(self, history: Ratings, places: Places) -> Floats:
        return self.fitted.baseline.stars_at(history, places.users, places.items)

    def _or_popular(self, scores: Floats) -> Floats:
        """The scores [U, N], in their place; where a user's are all equal, because nothing is known
        that the model reads, the share of the training users who rated each item."""
        silent = scores.min(axis=1) == scores.max(axis=1)
        scores[silent] = self.fitted.item_counts / len(self.fitted.users)
        return scores


def _coding(features: Features | None, ids: Ids) -> Coding | None:
    """Learned from the rows of `ids` alone. Raises DataError."""
    return None if features is None else Coding.of(features.over(ids))


def dots(left: Floats, right: Floats, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
    """<left_r, right_c> at the pairs (rows, columns): [U, K], [N, K] -> [R].

    In pieces, because a gather of [R, K] would be the largest array of all.
    """
    out = np.empty(len(rows), dtype=np.float32)
    step = max(1, _BLOCK // left.shape[1])
    for start in range(0, len(rows), step):
        piece = slice(start, start + step)
        out[piece] = np.einsum("rk,rk->r", left[rows[piece]], right[columns[piece]])
    return out
