"""Lists beyond accuracy: how new, how varied, how popular, how much like the user's own taste.

U users, N items, n the list length; see `metrics` and docs/metrics.md for definitions.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae import metrics
from recae.ids import Rows
from recae.models.base import Recommender
from recae.models.encodes import Encodes
from recae.models.ranking import best
from recae.ratings import Ratings

Floats: TypeAlias = NDArray[np.float64]


def of_everybody(model: Recommender, lists: Rows) -> dict[str, float]:
    """What only all lists [U, n] together have, rows of the model's items; NaN without any item.

    Diversity by codes is among these although every list has one: it is measured in the model's
    own codes, so that two models' values are not of one kind, and their difference is nothing.
    """
    n_items = len(model.fitted.items)
    found = {"item_coverage": metrics.item_coverage(lists, n_items), "gini": np.nan}
    if (lists >= 0).any():
        found["gini"] = metrics.gini(lists, n_items)
    codes = model.encode_items() if isinstance(model, Encodes) else None
    if codes is not None:
        found["code_diversity"] = mean(metrics.intra_list_diversity(lists, codes))
    return found


def by_user(
    model: Recommender, history: Ratings, relevant: Ratings, lists: Rows
) -> dict[str, Floats]:
    """Name -> [U], NaN where a user has no such value. Genres: only where the model knows any.

    history, relevant: of the same users, over the model's items. lists: [U, n].
    """
    fitted = model.fitted
    seen, counts = history.matrix, fitted.item_counts
    popular = _popular(history, counts, lists.shape[1])
    found = {
        "novelty": metrics.novelty_by_user(lists, counts, len(fitted.users)),
        "popularity_lift": metrics.popularity_lift(lists, seen, counts),
        "serendipity": metrics.serendipity(lists, relevant.matrix, popular),
    }
    genres = None if fitted.catalog is None else fitted.catalog.genre_matrix
    if genres is not None:
        found["genre_diversity"] = metrics.intra_list_diversity(lists, genres)
        found["miscalibration"] = metrics.miscalibration(lists, genres, seen)
    return found


def _popular(history: Ratings, counts: Rows, n: int) -> Rows:
    """[U, n]: what a ranking by training ratings lists, ties by row."""
    order = np.argsort(-counts, kind="stable")
    scores = np.empty(len(counts), dtype=np.float32)
    scores[order] = np.arange(len(counts), 0, -1)
    ranked = np.tile(scores, (len(history.users), 1))
    ranked[history.rows, history.columns] = -np.inf
    return best(ranked, n)[0]


def mean(values: Floats) -> float:
    """Over those who have a value, NaN where nobody has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
