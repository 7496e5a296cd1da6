"""What to ask somebody: the items whose rating would tell most about all others.

A person is taken to be a vector p, Gaussian with the spread of the training users, and a rating to
be <p, q_i> plus noise: a Bayesian linear regression, in which what a rating tells does not depend
on its stars (Rasmussen and Williams 2006, section 2.1). With S the covariance of p, given what is
rated, a rating of item i lowers the expected squared error of the others by

    sum over j of w_j (q_j' S q_i)^2 / (noise + q_i' S q_i),    w_j: j's share of all ratings

(Cohn, Ghahramani and Jordan 1996). Few know obscure items: times the share of the users who rated
i, that is what asking gains (Rashid et al. 2002 weigh popularity and entropy in that manner).

N items, K code size; vectors have K + 1 entries, the last of which is the person's bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ids import Rows
from recae.models import Recommender
from recae.models.ridge import with_ones
from recae.ratings import Ratings

Floats: TypeAlias = NDArray[np.float64]

_NOISE: Final = 0.7
"""Variance of a rating around what is expected, in squared quarters of the scale: on MovieLens, on
1 to 5 stars, the squared error of good models."""
_MEANS: Final = 0.15
"""Variance of people's mean ratings, items' part apart, in the same unit: on MovieLens too."""


@runtime_checkable
class _KnowsSpread(Protocol):
    """A model with codes that tells how far apart those of people are."""

    def encode_items(self) -> NDArray[np.float32]:
        """[N, K], of the model's items."""

    def user_spread(self) -> NDArray[np.float32]:
        """[K + 1, K + 1]: covariance of people's codes and, last, biases."""


def questions(
    model: Recommender,
    history: Ratings | Mapping[Any, float] | None = None,
    n: int = 10,
    *,
    deny: Iterable[Any] | None = None,
) -> list[dict[str, Any]]:
    """The n items to ask a person for, the one whose rating would tell most first: item, title
    where there are any, known (the share of training users who rated it), gain (by how much the
    expected squared error falls, in stars squared, and counting that not everybody knows it).

    history: what the person rated already: Ratings of one user or {item id or title: stars}; None:
        nothing. Ask again after some answers: what is left to tell has changed.
    deny: ids of what need not be asked for, as items that the person has said not to know.

    Fewer than n where no more items were rated in training. Raises DataError for n below 1,
    unknown ids or titles, ratings of several people, and a model without codes.
    """
    if n < 1:
        raise DataError(f"n must be at least 1, not {n}")
    interview, items = Interview.of(model), model.fitted.items
    denied = None if deny is None else items.rows(deny)
    rows, gains = interview.order(_rated(model, history), n, denied)
    low, high = model.fitted.scale
    catalog, unit = model.fitted.catalog, (high - low) / 4
    return [
        {"item": items.values[row].item()}
        | ({} if catalog is None else {"title": catalog.title(row)})
        | {"known": float(interview.known[row]), "gain": float(gain) * unit**2}
        for row, gain in zip(rows.tolist(), gains.tolist(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Interview:
    """What deciding on questions needs of a model."""

    vectors: Floats
    """[N, K + 1]: of the items; the last column, of ones, is what a person's bias belongs to."""
    spread: Floats
    """[K + 1, K + 1]: covariance of the vectors of people of whom nothing is known."""
    known: Floats
    """[N]: share of the training users who rated the item."""

    @classmethod
    def of(cls, model: Recommender) -> Self:
        """Raises DataError for a model without codes."""
        if not isinstance(model, _KnowsSpread):
            raise DataError(
                f"a {type(model).__name__} has no codes of what people like, by which questions "
                "are chosen: take an AutoRec, like autorec-dual or mf, or a blend of one"
            )
        vectors = with_ones(model.encode_items()).astype(np.float64)
        spread = model.user_spread().astype(np.float64)
        # The baseline takes a person's own mean out of what is learned, but of a new one it is
        # not known.
        spread[-1, -1] += _MEANS
        return cls(vectors, spread, model.fitted.item_counts / len(model.fitted.users))

    def order(self, rated: Rows, n: int, denied: Rows | None = None) -> tuple[Rows, Floats]:
        """The n items to ask for, best first, and what each gains: [n] each, or as many as there
        are. O(N K^2), and O(N K) a question.

        Each is chosen as if those before it had been answered.
        """
        items, known = self.vectors, self.known.copy()
        known[rated] = 0
        known[[] if denied is None else denied] = 0
        count = min(n, int((known > 0).sum()))
        of_all = self._of_all
        given = items @ self._covariance(rated)
        variance = np.einsum("nk,nk->n", given, items)
        told = np.einsum("nk,nk->n", given @ of_all, given)
        chosen, gains = np.empty(count, dtype=np.int64), np.empty(count)
        for place in range(count):
            gain = known * told / (_NOISE + variance)
            best = int(np.argmax(np.where(known > 0, gain, -1)))
            chosen[place], gains[place] = best, gain[best]
            known[best] = 0
            # S less S q q' S / (noise + q' S q), in all that it enters.
            along = given[best].copy()
            share = given @ items[best] / (_NOISE + variance[best])
            shared = of_all @ along
            told += share * (share * (along @ shared) - 2 * (given @ shared))
            variance -= share**2 * (_NOISE + variance[best])
            given -= np.outer(share, along)
        return chosen, gains

    @cached_property
    def _of_all(self) -> Floats:
        """[K + 1, K + 1]: mean of q q' over the items, as often as they are rated."""
        weights = self.known / self.known.sum()
        return np.asarray(self.vectors.T @ (weights[:, None] * self.vectors))

    def _covariance(self, rated: Rows) -> Floats:
        """Of the person's vector, given ratings of these items: [K + 1, K + 1]."""
        gram = self.vectors[rated].T @ self.vectors[rated]
        # (spread^-1 + gram / noise)^-1, where the spread may be singular.
        known = np.eye(len(gram)) + self.spread @ gram / _NOISE
        return np.asarray(np.linalg.solve(known, self.spread))


def _rated(model: Recommender, history: Ratings | Mapping[Any, float] | None) -> Rows:
    """Rows of the items that one person has rated. Raises DataError."""
    if history is None:
        return np.empty(0, dtype=np.int64)
    given = model.history_of(history) if isinstance(history, Mapping) else history
    if len(given.users) != 1:
        raise DataError(f"questions are for one person, not for {len(given.users)}")
    return given.over(model.fitted.items).columns.astype(np.int64)
