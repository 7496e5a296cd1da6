"""Items and users whose codes point the same way.

Similarity is the cosine of codes as they are: biases stand apart from them, and taking the mean
code out changed nothing. That of items counts by how many have rated them.

Q queries, M rows that have a code, K code size, B queries of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Any, Final, Unpack
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from recae.data import load
from recae.errors import DataError
from recae.ids import Rows
from recae.models.base import Fitted, Recommender, dots
from recae.models.encodes import encoding
from recae.models.ranking import best
from recae.models.rules import Choice, Rules
from recae.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]

_LIMITS: Final = {"allow", "deny", "genres", "years"}
_DOUBT: Final = 2
"""Ratings of an item at which its cosine counts for half. A code of one or two ratings points
anywhere: without this, half of the neighbours of well-known films in an `mf` have fewer than 5
ratings. `pipelines/likeness.py` measures it."""
_EXACT: Final = 1_000_000
"""Rows from which faiss, where it is installed, looks for neighbours instead of one product."""
_BLOCK: Final = 2_000_000
"""Similarities held at once: 8 MB, near a cache."""


def similar_items(
    model: Recommender, item: int | str, n: int = 10, **rules: Unpack[Rules]
) -> pd.DataFrame:
    """The n items nearest to one, by id or title: rank, item, title (where known), similarity.

    Similarity is the cosine of the codes times r / (r + 2), r the neighbour's ratings in training;
    what was not rated in training is nobody's neighbour. Ties go to the lower id.

    rules: `allow`, `deny`, `genres` and `years` of `recommend`, of what may be found.

    Raises DataError for an unknown item or one without a code, n below 1, another rule, and a model
    without codes.
    """
    _check(n)
    if unfit := sorted(set(rules) - _LIMITS):
        raise DataError(f"similar items follow {', '.join(sorted(_LIMITS))}, not {unfit[0]}")
    row, fitted = model.item_row(item), model.fitted
    near = _prepared(model, fitted, partial(_of_items, model))
    code = _item_code(model, near, row)
    excluded = Choice.of(model, rules).excluded
    near = near if excluded is None else near.only(~excluded)
    rows, similarities = near.nearest(code, n, but=np.array([row]))
    frame = _frame("item", fitted.items.values, rows[0], similarities[0])
    if fitted.catalog is not None:
        found = rows[0][rows[0] >= 0].tolist()
        frame.insert(2, "title", [fitted.catalog.title(row) for row in found])
    return frame


def similar_users(
    model: Recommender,
    ratings: Ratings | pd.DataFrame,
    who: int | str | Mapping[Any, float],
    n: int = 10,
) -> pd.DataFrame:
    """The n users of `ratings` nearest to one of them, or to a new person: rank, user, similarity.

    ratings: Ratings, or a DataFrame whose columns `recae.load` recognises.
    who: a user's id, or a person's {item id or title: stars}.

    Similarity is the cosine of the codes. Users who rated nothing that the model knows are nobody's
    neighbours. Ties go to the lower id.

    Raises DataError for unknown users and titles, one of whom nothing is known, n below 1, and a
    model without codes.
    """
    _check(n)
    if not isinstance(ratings, Ratings):
        ratings = load(ratings, scale=model.fitted.scale)
    if isinstance(who, Mapping):
        row, history = -1, model.history_of(who)
    else:
        row = int(ratings.users.rows([who])[0])
        history = ratings.take_users(np.array([row]))
    code = encoding(model).encode(history)
    if not code.any():
        named = "this person" if isinstance(who, Mapping) else f"user {who!r}"
        raise DataError(f"{named} has rated nothing that the model reads, and is like nobody")
    near = _prepared(model, ratings, partial(_of_users, model, ratings))
    rows, similarities = near.nearest(code, n, but=np.array([row]))
    return _frame("user", ratings.users.values, rows[0], similarities[0])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Codes made ready to be asked for the nearest of them; build with `Neighbours.of`."""

    rows: Rows
    """[M]: rows of the codes that are not zero."""
    vectors: Floats
    """[M, K]: their directions, as long as they are to be trusted."""
    index: Any = None
    """faiss's, of the vectors; None: all are compared."""

    @classmethod
    def of(cls, codes: Floats, trust: Floats | None = None) -> Neighbours:
        """codes [N, K]; trust [N]: what a row's cosines are multiplied with, 0: is never found."""
        known = codes.any(axis=1) if trust is None else codes.any(axis=1) & (trust > 0)
        rows = np.flatnonzero(known)
        units = _units(codes[rows])
        vectors = units if trust is None else units * trust[rows, None]
        return cls(rows, vectors, _index(units, vectors) if len(rows) > _EXACT else None)

    def direction(self, row: int) -> Floats | None:
        """[1, K]: of the code at a row, None where there is none."""
        place = int(np.searchsorted(self.rows, row))
        there = place < len(self.rows) and self.rows[place] == row
        return self.vectors[[place]] if there else None

    def only(self, allowed: NDArray[np.bool_]) -> Neighbours:
        """Those of the rows where `allowed` [N] holds, all compared."""
        kept = allowed[self.rows]
        return Neighbours(self.rows[kept], self.vectors[kept])

    def nearest(self, codes: Floats, n: int, *, but: Rows | None = None) -> tuple[Rows, Floats]:
        """The n nearest rows to each of `codes` [Q, K], and their similarities: [Q, n] each.

        but [Q]: a row that is not to be found, the query's own; -1: none. Fewer columns than n
        where there are fewer rows; -1 and NaN stand behind the last of a query. With faiss a few
        neighbours are missed, 1 in 100 of a million realistic codes.
        """
        n = min(n, len(self.rows))
        size = max(1, _BLOCK // max(1, len(self.rows)))
        out = np.full((len(codes), n), -1), np.full((len(codes), n), np.nan, dtype=np.float32)
        left_out = np.full(len(codes), -1) if but is None else but
        for start in range(0, len(codes) if n else 0, size):
            block = slice(start, start + size)
            who, rank, rows, values = self._ranked(_units(codes[block]), n, left_out[block])
            out[0][block][who, rank], out[1][block][who, rank] = rows, values
        return out

    def _ranked(self, units: Floats, n: int, but: Rows) -> tuple[Rows, Rows, Rows, Floats]:
        """Query, rank from 0, row and similarity of what is found for a block."""
        who, places = self._candidates(units, min(n + 1, len(self.rows)))
        others = self.rows[places] != but[who]
        who, places = who[others], places[others]
        # Once more pair by pair: in a product, the last digit depends on where a row stands, and
        # twins would not tie.
        values = dots(units, self.vectors, who, places)
        order = np.lexsort((places, -values, who))
        rank = np.arange(len(who)) - np.searchsorted(who, who)
        kept = order[rank < n]
        return who[rank < n], rank[rank < n], self.rows[places[kept]], np.clip(values[kept], -1, 1)

    def _candidates(self, units: Floats, n: int) -> tuple[Rows, Rows]:
        """Pairs of query and place among which are the n nearest of each, by query."""
        if self.index is not None:
            _, found = self.index.search(units, n)
            who, column = np.nonzero(found >= 0)
            return who, found[who, column]
        similarities = units @ self.vectors.T
        _, values = best(similarities, n)
        # Whoever rounding alone may have put behind the last, as ties are.
        slack = units.shape[1] * np.finfo(np.float32).eps
        likely = np.flatnonzero(similarities >= values[:, -1:] - slack)
        return likely // len(self.rows), likely % len(self.rows)


def _of_items(model: Recommender) -> Neighbours:
    counts = model.fitted.item_counts
    trust = np.asarray(counts / (counts + _DOUBT), dtype=np.float32)
    return Neighbours.of(encoding(model).encode_items(), trust)


def _item_code(model: Recommender, near: Neighbours, row: int) -> Floats:
    """[1, K]. Raises DataError where there is none."""
    code = near.direction(row)
    # One that nobody rated is found by nobody; what side data say of it can still be asked with.
    code = encoding(model).encode_items()[[row]] if code is None else code
    if not code.any():
        raise DataError(f"{model.item_name(row)} was not rated in training: it has no code")
    return code


def _of_users(model: Recommender, ratings: Ratings) -> Neighbours:
    return Neighbours.of(encoding(model).encode(ratings))


_READY: Final[
    WeakKeyDictionary[Recommender, tuple[Fitted, WeakKeyDictionary[Fitted | Ratings, Neighbours]]]
] = WeakKeyDictionary()


def _prepared(
    model: Recommender, of: Fitted | Ratings, build: Callable[[], Neighbours]
) -> Neighbours:
    """What was built before for the items or ratings `of`, until the model is fitted again."""
    fitted, kept = _READY.get(model, (None, None))
    if fitted is not model.fitted or kept is None:
        kept = WeakKeyDictionary()
        _READY[model] = model.fitted, kept
    if of not in kept:
        kept[of] = build()
    return kept[of]


def _index(units: Floats, vectors: Floats) -> Any:
    """An inverted file (faiss's IndexIVFFlat) over directions, or None without faiss.

    One list for every sqrt(M) rows, a tenth of them searched: recall of the 10 nearest is 0.99 of a
    million realistic codes, built in seconds; four times as many lists answer in two thirds of the
    time and are built in eleven times as much. Vectors are kept whole, so what is found has its
    exact similarity.
    """
    try:
        import faiss
    except ImportError:
        return None
    lists, width = isqrt(len(units)), units.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = min(lists, max(16, lists // 10))
    index.cp.max_points_per_centroid = 64
    index.train(units)
    index.add(vectors)
    return index


def _units(codes: Floats) -> Floats:
    """Directions of codes; zero stays zero."""
    lengths = np.linalg.norm(codes, axis=1, keepdims=True)
    units: Floats = np.divide(codes, lengths, out=np.zeros_like(codes), where=lengths > 0)
    return units


def _check(n: int) -> None:
    if n < 1:
        raise DataError(f"n must be at least 1, not {n}")


def _frame(what: str, ids: NDArray[Any], rows: Rows, similarities: Floats) -> pd.DataFrame:
    import pandas as pd

    found = rows >= 0
    rank = np.arange(1, int(found.sum()) + 1)
    return pd.DataFrame({"rank": rank, what: ids[rows[found]], "similarity": similarities[found]})
