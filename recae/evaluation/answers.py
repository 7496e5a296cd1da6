"""What an evaluation asked and was answered, rating by rating and list by list.

From these come slices, calibration, diversity, and the agreement of two models: everything that a
number for all users hides. U users, R target ratings, N items, n the list length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.catalog import Catalog
from recae.ids import Ids, Rows
from recae.models.base import Recommender
from recae.ratings import Ratings
from recae.splits import Holdout

Floats: TypeAlias = NDArray[np.float64]

_DAY: Final = 86_400


@dataclass(frozen=True, eq=False)
class Answers:
    """The targets of a holdout with what was predicted, and the lists of its users."""

    users: Rows
    """[R]: rows of the holdout's users."""
    columns: Rows
    """[R]: rows of `items`."""
    stars: Floats
    """[R]: as given."""
    predicted: Floats
    """[R]: within the scale; NaN of a model that only ranks."""
    days: Floats
    """[R]: since the user's first rating that is known; NaN without times."""
    low: Floats
    """[R]: where the prediction interval begins; NaN without intervals."""
    high: Floats
    """[R]: where it ends."""
    lists: Rows
    """[U, n]: rows of `items`, the best first; -1 where there are no more."""
    known: Rows
    """[U]: how many ratings the users' histories hold."""
    items: Ids
    """[N]: the model's, and those of the targets that it does not know."""
    counts: Rows
    """[N]: training ratings."""
    catalog: Catalog | None
    """Of `items`, where the model or the holdout has one."""

    @classmethod
    def of(
        cls,
        model: Recommender,
        holdout: Holdout,
        predicted: Floats,
        interval: tuple[Floats, Floats],
        lists: Rows,
    ) -> Answers:
        """predicted and interval: [R] each, in the order of the targets; lists: [U, n], rows of
        the model's items."""
        own, target = model.fitted.items, holdout.target
        asked = target.items.values[np.flatnonzero(target.item_counts)]
        strangers = asked[own.find(asked) < 0]
        items = Ids.of(np.concatenate([own.values, strangers])) if len(strangers) else own
        places = np.append(items.find(own.values), -1)
        counts = np.zeros(len(items), dtype=np.int64)
        counts[places[:-1]] = model.fitted.item_counts
        catalog = model.fitted.catalog or target.catalog
        return cls(
            target.rows,
            items.find(target.items.values)[target.columns],
            target.stars.astype(np.float64),
            predicted,
            _days(holdout.history, target),
            *interval,
            places[lists],
            holdout.history.user_counts,
            items,
            counts,
            None if catalog is None else catalog.over(items),
        )

    @cached_property
    def listed(self) -> NDArray[np.bool_]:
        """[R]: is the item in its user's list?"""
        return np.asarray((self.lists[self.users] == self.columns[:, None]).any(axis=1))


def _days(history: Ratings, target: Ratings) -> Floats:
    """[R]: from each user's first rating, known or asked for, to the asked one."""
    if history.times is None or target.times is None:
        return np.full(len(target), np.nan)
    first = np.full(len(target.users), np.iinfo(np.int64).max)
    np.minimum.at(first, history.rows, history.times)
    np.minimum.at(first, target.rows, target.times)
    return np.asarray((target.times - first[target.rows]) / _DAY)
