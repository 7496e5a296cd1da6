"""Why an item is recommended: what one rating changes in the model's own output.

N items, R ratings of one person.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recae.errors import DataError
from recae.ids import Ids, Rows
from recae.models.places import Places
from recae.ratings import Ratings

if TYPE_CHECKING:
    from recae.models.base import Recommender

Floats = NDArray[np.float32]

_LEAST: Final = 0.005
"""Stars that are no reason: they would be printed as +0.00."""


def effects(model: Recommender, history: Ratings, items: Rows) -> Floats:
    """What each rating of one person does to `items`: [R, items], see `Recommender.effects`."""
    own = history.over(model.fitted.items)
    count, n = len(own), len(items)
    if len(own.users) != 1:
        raise DataError(f"effects are for one person, not for {len(own.users)}")
    variants = _leave_one_out(own)
    if model.predicts_stars:
        users = np.repeat(np.arange(count + 1), n)
        places = Places(users, np.tile(items, count + 1))
        said = model._stars_at(variants, places).reshape(count + 1, n)
    else:
        said = np.concatenate([model.scores(block)[:, items] for block in model._blocks(variants)])
    return np.asarray(said[0] - said[1:])


class Cause(NamedTuple):
    """The rating of one person that speaks most for an item."""

    item: int
    """Row of what was rated."""
    stars: float
    """As given."""
    effect: float
    """What the rating adds: stars, or what the model scores in where it only ranks."""


def causes(model: Recommender, history: Ratings, items: Rows) -> list[Cause | None]:
    """For each of `items`; None where no rating of the one person adds anything to speak of."""
    if not len(history) or not len(items):
        return [None] * len(items)
    own = history.over(model.fitted.items)
    found = model.effects(own, items)
    least = _LEAST if model.predicts_stars else np.finfo(np.float32).tiny
    best = [
        Cause(int(own.columns[place]), own.stars[place].item(), found[place, column].item())
        for column, place in enumerate(found.argmax(axis=0).tolist())
    ]
    return [cause if cause.effect >= least else None for cause in best]


def reasons(model: Recommender, history: Ratings, items: Rows) -> list[str]:
    """The same in words, see `Recommender.reasons`."""
    found = causes(model, history, items)
    return ["" if cause is None else _said(model, cause) for cause in found]


def _said(model: Recommender, cause: Cause) -> str:
    rated = f"{model.item_name(cause.item)} {cause.stars:g}"
    # What a score is counted in means nothing to anybody.
    return f"{rated}: {cause.effect:+.2f}" if model.predicts_stars else rated


def _leave_one_out(history: Ratings) -> Ratings:
    """One person's history h as h + 1 new users: whole, then without each rating in turn."""
    count = len(history)
    kept = np.ones((count + 1, count), dtype=bool)
    kept[np.arange(1, count + 1), np.arange(count)] = False
    places = np.nonzero(kept)[1]
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    matrix = sparse.csr_array(
        (history.stars[places], history.columns[places], indptr),
        shape=(count + 1, len(history.items)),
    )
    # Text where the model's ids are numbers and the other way round: nobody's id.
    names = Ids(np.array([f"variant {i:09d}" for i in range(count + 1)]))
    known = history.user_features
    if known is not None:
        known = known.over(history.users).take(np.zeros(count + 1, dtype=np.int64), names)
    return replace(
        history,
        matrix=matrix,
        times=None,
        users=names,
        catalog=None,
        user_features=known,
    )
