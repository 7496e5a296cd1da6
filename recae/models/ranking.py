"""From scores to lists: the best items that the rules allow.

U users, N items, n length of a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ids import Rows
from recae.models.diversity import diversified, pool_size
from recae.models.encodes import encoding
from recae.models.places import Places
from recae.models.recommendations import Recommendations
from recae.models.rules import Choice, Rules
from recae.ratings import Ratings

if TYPE_CHECKING:
    from recae.models.base import Recommender

Floats = NDArray[np.float32]


def recommendations(model: Recommender, own: Ratings, n: int, rules: Rules) -> Recommendations:
    """Lists for every user of `own`, whose items are the model's; in blocks of users.

    Raises DataError, see `Recommender.recommend`.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise DataError(f"n is a whole number, how many items, not {n!r}")
    if n < 1:
        raise DataError(f"n must be at least 1, not {n}")
    fitted, choice = model.fitted, Choice.of(model, rules)
    n = min(n, len(fitted.items))
    codes = encoding(model).encode_items() if choice.diversity else None
    blocks = list(model._blocks(own)) or [own]
    parts = [_lists(model, block, n, choice, codes) for block in blocks]
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    items, scores, stars, *bounds = columns
    low, high = bounds or (None, None)
    return Recommendations(own.users, fitted.items, items, scores, stars, low, high, fitted.catalog)


def _lists(
    model: Recommender, own: Ratings, n: int, choice: Choice, codes: Floats | None
) -> tuple[Rows, *tuple[Floats, ...]]:
    """Items, scores, stars, and where the model knows it, where intervals begin and end: [U, n]
    each."""
    scores, stars = model._ranked(own, choice.by)
    if choice.popularity:
        scores = _shifted(scores, model.fitted.item_counts, choice.popularity)
    ranked = torch.from_numpy(scores)
    if choice.excluded is not None:
        ranked[:, torch.from_numpy(choice.excluded)] = -torch.inf
    if not choice.include_seen:
        ranked[torch.from_numpy(own.rows), torch.from_numpy(own.columns)] = -torch.inf
    if codes is None:
        items, values = best(scores, n)
    else:
        pool, worth = best(scores, pool_size(n, scores.shape[1]))
        chosen = diversified(pool, worth, codes, n, choice.diversity)
        items = np.take_along_axis(pool, chosen, axis=1)
        values = np.take_along_axis(worth, chosen, axis=1)
    users = np.arange(len(items))[:, None]
    if stars is None:
        places = Places(np.repeat(users.ravel(), n), items.ravel())
        said = model._stars_at(own, places).reshape(items.shape)
    else:
        said = stars[users, items]
    said = model._clip(said)
    told = [said, *(model._bounds(own, users, items, said) or ())]
    for column in told:
        column[items < 0] = np.nan
    return items, values, *told


def best(scores: Floats, n: int) -> tuple[Rows, Floats]:
    """The n best columns of each row, best first, and their scores: [B, N] -> [B, n] each.

    n is at most N. Column -1 stands where only -inf is left: what must not be recommended.
    """
    values, places = torch.topk(torch.from_numpy(scores), n, dim=1)
    found = values.numpy()
    return np.where(np.isneginf(found), -1, places.numpy()), found


def standard(scores: Floats) -> Floats:
    """Scores [U, N] less each user's mean, in each user's standard deviations; 0 where all of a
    user's are equal. A new array."""
    centred: Floats = scores - scores.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.einsum("un,un->u", centred, centred) / centred.shape[1])[:, None]
    np.divide(centred, deviation, out=centred, where=deviation > 0)
    return centred


def _shifted(scores: Floats, counts: Rows, popularity: float) -> Floats:
    """Between scores and how many have rated an item, both in standard deviations."""
    usual = standard(np.log1p(counts)[None].astype(np.float32))
    moved = standard(scores)
    moved *= 1 - abs(popularity)
    moved += np.float32(popularity) * usual
    return moved
