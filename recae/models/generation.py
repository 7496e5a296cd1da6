"""People who never were: codes drawn from the prior of a variational model, and decoded.

How many ratings somebody gives, and how generously, is no matter of taste and not in the code:
both are drawn together from real users. Legend: n people, N items of the model, K code size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from scipy import sparse

from recae.errors import DataError
from recae.ids import Ids, Rows
from recae.models.autorec import AutoRec
from recae.models.base import Floats, Recommender, dots
from recae.models.bridge import numpy_of
from recae.models.kernel import Users
from recae.models.multinomial import MultinomialAutoencoder
from recae.nn.encoders.variational import VariationalSide
from recae.nn.network import Network
from recae.nn.sides import Codes
from recae.ratings import Ratings

_BLOCK: Final = 512
"""People whose scores of all items are held at once."""


def sample(model: Recommender, like: Ratings, n: int, *, rng: np.random.Generator) -> Ratings:
    """n new users of a variational `model`: z from N(0, 1), decoded.

    like: real ratings, from which the lengths of lists are drawn, and whatever else the model does
        not say. A MultinomialAutoencoder draws items from its softmax without repetition, as likes
        with the highest stars. An AutoRec says stars: items are drawn by popularity, the offset of
        a person comes with the length, noise has the deviation of the model's residuals on `like`,
        and stars are rounded to those that occur.

    Raises DataError for models without a variational encoder of users, n below 1, and where nobody
    in `like` has a rating that counts.
    """
    if n < 1:
        raise DataError(f"n must be at least 1, not {n}")
    own = like.over(model.fitted.items)
    match model:
        case MultinomialAutoencoder():
            return _likes(model, own.liked(model.liked_from), n, rng)
        case AutoRec():
            return _ratings(model, own, n, rng)
    raise _no_prior(model)


def _likes(
    model: MultinomialAutoencoder, like: Ratings, n: int, rng: np.random.Generator
) -> Ratings:
    lengths = like.user_counts[_drawn(like, n, rng)]
    users, items = numpy_of(_codes(model, n, rng).vectors), model.item_factors()

    def scores(block: slice) -> Floats:
        return np.asarray(users[block] @ items[:, :-1].T + items[:, -1])

    rows, columns = _lists(scores, lengths, rng)
    return _table(like, n, rows, columns, np.full(len(rows), like.scale[1], np.float32))


def _ratings(model: AutoRec, like: Ratings, n: int, rng: np.random.Generator) -> Ratings:
    chosen = _drawn(like, n, rng)
    with np.errstate(divide="ignore"):
        popularity = np.log(like.item_counts).astype(np.float32)

    def scores(block: slice) -> Floats:
        return np.broadcast_to(popularity, (len(chosen[block]), len(popularity)))

    rows, columns = _lists(scores, like.user_counts[chosen], rng)
    codes, items = _codes(model, n, rng), model.item_factors()
    # A real user's offset, with the code of a user who is none.
    nothing = np.zeros((len(like.users), items.shape[1] - 3), np.float32)
    offsets = Users(nothing, nothing[:, 0], np.zeros(len(like), np.float32))
    users = model._factors(like, offsets)[chosen]
    users[:, :-3] = model._unit * numpy_of(codes.vectors)
    users[:, -3] += model._unit * numpy_of(codes.bias)
    residuals = like.stars - model.predict(like)[like.rows, like.columns]
    stars = model._linked(dots(users, items, rows, columns), np.ones(len(rows), bool))
    stars += rng.normal(scale=residuals.std(), size=len(stars)).astype(np.float32)
    return _table(like, n, rows, columns, _rounded(stars, np.unique(like.stars)))


def _drawn(like: Ratings, n: int, rng: np.random.Generator) -> Rows:
    """[n]: rows of `like`, with repetition, of users who have anything."""
    able = np.flatnonzero(like.user_counts)
    if not len(able):
        raise DataError("there is nothing to be like: no rating of these counts for the model")
    return rng.choice(able, n)


def _codes(model: AutoRec | MultinomialAutoencoder, n: int, rng: np.random.Generator) -> Codes:
    """Decoded draws from the prior."""
    side = _network(model).rows
    if not isinstance(side, VariationalSide):
        raise _no_prior(model)
    z = torch.from_numpy(rng.standard_normal((n, model.k)).astype(np.float32))
    with torch.no_grad():
        return side.decode(z.to(next(side.parameters()).device))


def _network(model: AutoRec | MultinomialAutoencoder) -> Network:
    return model.network if isinstance(model, MultinomialAutoencoder) else model._get().network


def _lists(
    scores: Callable[[slice], Floats], lengths: Rows, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Rows and columns of `lengths` [n] draws each from a softmax of scores [block, N], without
    repetition: the largest of the scores with Gumbel noise (Kool et al. 2019)."""
    parts = []
    for start in range(0, len(lengths), _BLOCK):
        block = slice(start, start + _BLOCK)
        said = scores(block)
        order = np.argsort(-(said + rng.gumbel(size=said.shape)), axis=1)
        place, rank = np.nonzero(np.arange(said.shape[1]) < lengths[block, None])
        parts.append((start + place, order[place, rank]))
    rows, columns = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(columns)


def _rounded(stars: Floats, levels: Floats) -> Floats:
    """The nearest level: [R]."""
    between = (levels[1:] + levels[:-1]) / 2
    return np.asarray(levels[np.searchsorted(between, stars)])


def _table(like: Ratings, n: int, rows: Rows, columns: Rows, stars: Floats) -> Ratings:
    """Of users named 0 to n - 1, over the items of `like`."""
    matrix = sparse.csr_array((stars, (rows, columns)), shape=(n, len(like.items)))
    matrix.sort_indices()
    return Ratings(matrix, None, Ids.of(np.arange(n)), like.items, like.scale, like.catalog)


def _no_prior(model: Recommender) -> DataError:
    return DataError(
        f"this {type(model).__name__} has no prior to draw codes from: train one whose users have "
        'encoder.kind = "variational"'
    )
