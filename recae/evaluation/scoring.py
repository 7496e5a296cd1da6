"""Scoring a fitted model on a holdout.

U users with targets, R target ratings, N items. Rating metrics are in stars; see `metrics` for
definitions.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recae import metrics
from recae.errors import DataError
from recae.evaluation import beyond
from recae.evaluation.answers import Answers
from recae.ids import Ids
from recae.intervals import Intervals
from recae.models.base import Recommender
from recae.models.ranking import best
from recae.models.rules import Choice, Rules
from recae.ratings import Ratings
from recae.splits import Holdout

Floats: TypeAlias = NDArray[np.float64]

_BLOCK: Final = 4_000_000
"""Scores held at once while lists are ranked."""

ERRORS: Final = ("rmse", "mae", "rmse_macro", "mae_macro")
"""Names of the rating metrics."""

RANKING: Final = {
    "ndcg": "ndcg",
    "recall": "recall",
    "recall_min": "recall_min",
    "precision": "precision",
    "map": "average_precision",
    "mrr": "reciprocal_rank",
    "hit": "hit",
}
"""Names of the ranking metrics here -> fields of `metrics.Ranking`."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well one fitted model does on one holdout.

    metrics: name -> value; NaN for stars of a model that only ranks. counts: what was predicted
    how, nothing dropped. protocol: what must be equal for two evaluations to stand in one table.
    users: the holdout's users with targets; by_user: name -> [U], from which comparisons resample.
    answers: None where several evaluations were pooled.
    """

    metrics: dict[str, float]
    counts: dict[str, int]
    protocol: dict[str, Any]
    users: Ids
    by_user: dict[str, Floats]
    answers: Answers | None = None

    @property
    def n(self) -> int:
        """Length of the ranked lists."""
        return int(self.protocol["n"])

    def __str__(self) -> str:
        width = max(map(len, self.metrics))
        lines = [f"{name:<{width}}  {value:.4f}" for name, value in self.metrics.items()]
        return "\n".join([*lines, self.summary])

    @property
    def summary(self) -> str:
        """One sentence on what was predicted how."""
        how = ", ".join(
            f"{self.counts[name]:,} {name}" for name in ("ordinary", "folded in", "fallback")
        )
        scored = f"{self.counts['ratings']:,} ratings of {len(self.users):,} users ({how})"
        if f"ndcg_at_{self.n}" not in self.metrics:
            return scored
        return (
            f"{scored}; lists of {self.n} for {self.counts['ranked users']:,} users with a rating "
            f"of at least {self.protocol['relevant']:g} stars"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{value:.4f}</td></tr>"
            for name, value in self.metrics.items()
        )
        return f"<table>{rows}</table><p>{html.escape(self.summary)}</p>"


def evaluate(
    model: Recommender,
    holdout: Holdout,
    *,
    n: int = 10,
    relevant: float | None = None,
    intervals: Intervals | None = None,
    **rules: Unpack[Rules],
) -> Evaluation:
    """Score `model` on every target rating and on full rankings of all items not in the history.

    n: length of the lists. relevant: the stars from which a target counts as relevant for the
    lists; three quarters of the scale where not stated. intervals: of this model, to be told how
    many targets are inside and how wide they are; None: its own, where it has any. rules: of the
    lists, as `recommend` takes them.

    Raises DataError for a holdout without targets, n below 1 and rules that the model cannot
    follow, NotFittedError.
    """
    if not len(holdout.target):
        raise DataError("there is nothing to predict: the holdout has no target ratings")
    if n < 1:
        raise DataError(f"n must be at least 1, not {n}")
    holdout = _with_targets(holdout)
    threshold = holdout.target.liked_from(relevant)
    predicted = _predicted(model, holdout)
    stars: dict[str, float] = dict.fromkeys(ERRORS, float("nan"))
    by_user: dict[str, Floats] = {}
    if model.predicts_stars:
        stars, by_user = _errors(holdout.target, predicted)
    nothing = np.full(len(predicted), np.nan)
    interval = _intervals(model, holdout, intervals, predicted)
    if interval is not None:
        within = _covered(holdout.target, *interval)
        stars |= {f"interval_{k}": float(v.sum() / len(predicted)) for k, v in within.items()}
        by_user |= within
    ranked, lists = _lists(model, holdout, n, threshold, rules)
    by_user |= ranked
    with_targets = ~np.isnan(ranked[f"ndcg_at_{n}"])
    stars |= {name: beyond.mean(values) for name, values in ranked.items()}
    everybody = beyond.of_everybody(model, lists)
    stars |= {f"{name}_at_{n}": value for name, value in everybody.items()}
    return Evaluation(
        stars,
        model.provenance(holdout)
        | {"ratings": len(holdout.target), "ranked users": int(with_targets.sum())},
        {
            "holdout": _digest(holdout),
            "scale": list(holdout.target.scale),
            "candidates": f"all items not in the history: {model.fitted.items.digest[:16]}",
            "averaging": "stars over ratings, lists over users",
            "n": n,
            "relevant": threshold,
        },
        holdout.target.users,
        by_user,
        Answers.of(model, holdout, predicted, interval or (nothing, nothing), lists),
    )


def _with_targets(holdout: Holdout) -> Holdout:
    rows = np.flatnonzero(holdout.target.user_counts)
    return Holdout(holdout.history.take_users(rows), holdout.target.take_users(rows))


def _digest(holdout: Holdout) -> str:
    return f"{holdout.history.digest[:16]}-{holdout.target.digest[:16]}"


def _predicted(model: Recommender, holdout: Holdout) -> Floats:
    """[R]: stars, NaN of a model that only ranks."""
    if not model.predicts_stars:
        return np.full(len(holdout.target), np.nan)
    return model.predict_at(holdout).astype(np.float64)


def _intervals(
    model: Recommender, holdout: Holdout, intervals: Intervals | None, predicted: Floats
) -> tuple[Floats, Floats] | None:
    """Lowest and highest stars, [R] each: of `intervals`, or the model's own where it has any."""
    if intervals is not None:
        return intervals.at(holdout)
    own = model.intervals_at(holdout, predicted.astype(np.float32))
    return own and (own[0].astype(np.float64), own[1].astype(np.float64))


def _errors(target: Ratings, predicted: Floats) -> tuple[dict[str, float], dict[str, Floats]]:
    """Rating metrics, and by user the number of ratings and sums of squared and absolute errors."""
    error = predicted - target.stars
    values = {
        "rmse": metrics.rmse(target.stars, predicted),
        "mae": metrics.mae(target.stars, predicted),
        "rmse_macro": metrics.rmse_macro(target.rows, target.stars, predicted),
        "mae_macro": metrics.mae_macro(target.rows, target.stars, predicted),
    }
    by_user: dict[str, Floats] = {
        "ratings": target.user_counts.astype(np.float64),
        "squared_error": _summed(target, error**2),
        "absolute_error": _summed(target, np.abs(error)),
    }
    return values, by_user


def _covered(target: Ratings, low: Floats, high: Floats) -> dict[str, Floats]:
    """By user, how many ratings are inside their intervals, and the sum of their widths."""
    inside = (low <= target.stars) & (target.stars <= high)
    return {
        "coverage": _summed(target, inside.astype(np.float64)),
        "width": _summed(target, high - low),
    }


def _summed(target: Ratings, values: Floats) -> Floats:
    """By user, [U], of values at the target ratings."""
    return np.bincount(target.rows, values, len(target.users)).astype(np.float64)


def _lists(
    model: Recommender, holdout: Holdout, n: int, threshold: float, rules: Rules
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Metrics of lists by user, [U] each, and the lists themselves, [U, n] item rows."""
    items = model.fitted.items
    # Without rules that make a difference, whole rankings: they tell of ties.
    ruled = not Choice.of(model, rules).plain
    blocks, lists = [], []
    for history, target in _blocks(holdout, len(items)):
        scores = _ruled(model, history, n, rules) if ruled else model.scores(history)
        own = history.over(items)
        scores[own.rows, own.columns] = -np.inf
        relevant = target.keep(target.stars >= threshold)
        ranked = metrics.ranking(*_with_unknown(scores, relevant, items), n)
        lists.append(best(scores, min(n, len(items)))[0])
        known = beyond.by_user(model, own, relevant.over(items), lists[-1])
        # A target that the model does not know is one all the same: it cannot be found.
        nothing = np.isnan(known["serendipity"]) & ~np.isnan(ranked.ndcg)
        known["serendipity"][nothing] = 0
        blocks.append({name: getattr(ranked, its) for name, its in RANKING.items()} | known)
    by_user = {
        f"{name}_at_{n}": np.concatenate([block[name] for block in blocks]) for name in blocks[0]
    }
    return by_user, np.concatenate(lists)


def _ruled(model: Recommender, history: Ratings, n: int, rules: Rules) -> NDArray[np.float32]:
    """Scores [U, N] by which the lists are those that the rules make; -inf outside of them."""
    listed = model.recommend(history, n, **rules).items
    scores = np.full((len(listed), len(model.fitted.items)), -np.inf, dtype=np.float32)
    users, places = np.nonzero(listed >= 0)
    scores[users, listed[users, places]] = -places
    return scores


def _with_unknown(
    scores: NDArray[np.float32], relevant: Ratings, items: Ids
) -> tuple[NDArray[np.float32], sparse.csr_array]:
    """Targets on items that the model does not know stay in the denominators: as items that
    cannot be retrieved, in a column each behind the model's own."""
    places = items.find(relevant.items.values)
    strangers = np.flatnonzero((places < 0) & (relevant.item_counts > 0))
    if not len(strangers):
        return scores, relevant.over(items).matrix
    places[strangers] = len(items) + np.arange(len(strangers))
    padding = np.full((len(scores), len(strangers)), -np.inf, dtype=scores.dtype)
    columns = places[relevant.columns]
    matrix = sparse.csr_array(
        (relevant.stars, columns, relevant.matrix.indptr),
        shape=(len(scores), len(items) + len(strangers)),
    )
    matrix.sort_indices()
    return np.concatenate([scores, padding], axis=1), matrix


def _blocks(holdout: Holdout, n_items: int) -> Iterator[tuple[Ratings, Ratings]]:
    size = max(1, _BLOCK // max(1, n_items))
    for start in range(0, len(holdout.target.users), size):
        rows = np.arange(start, min(start + size, len(holdout.target.users)))
        yield holdout.history.take_users(rows), holdout.target.take_users(rows)
