"""Is one model better than another, by how much, and is it luck? Paired bootstrap over users.

Runs that differ only by seed are one group: a group's value is the mean over its runs. Legend:
G groups, M runs, U users, B resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.errors import ComparisonError
from recae.evaluation import Evaluation
from recae.ids import Ids

Floats: TypeAlias = NDArray[np.float64]

RESAMPLES: Final = 10_000
_BLOCK: Final = 4_000_000
"""Resampling weights held at once: 32 MB."""

SMALLER_IS_BETTER: Final = ("rmse", "mae")

_OF_ONE_FOLD: Final = ("holdout", "split", "candidates")
"""What the protocols of the folds of one cross validation may differ in."""


@dataclass(frozen=True)
class Difference:
    """A group's metric less the baseline's, with its 95 % interval over users.

    p: two-sided, by the bootstrap; p_holm: corrected for the number of groups (Holm 1979).
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Row:
    """One group: `metrics` name -> (mean, standard deviation over its runs, NaN for one)."""

    name: str
    runs: int
    metrics: dict[str, tuple[float, float]]
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Comparison:
    """Groups side by side; differences are to `baseline`."""

    baseline: str
    rows: list[Row]
    protocol: dict[str, Any]

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def compare(
    evaluations: Mapping[str, Evaluation | Sequence[Evaluation]],
    *,
    baseline: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Groups of evaluations (one a seed) against the group `baseline`.

    Intervals are given for RMSE, MAE and NDCG: users are drawn with replacement, the same ones for
    every run, and the difference of the groups' means is computed anew each time.

    Raises ComparisonError where protocols differ, naming what, and for an unknown baseline.
    """
    groups = {k: [v] if isinstance(v, Evaluation) else list(v) for k, v in evaluations.items()}
    if baseline not in groups:
        raise ComparisonError(f"no {baseline!r} to compare with: there are {', '.join(groups)}")
    protocol = common_protocol(groups)
    names = ["rmse", "mae", f"ndcg_at_{protocol['n']}"]
    differences = {name: _differences(groups, baseline, name, rng, resamples) for name in names}
    rows = [
        Row(
            group,
            len(runs),
            {metric: _spread([run.metrics[metric] for run in runs]) for metric in runs[0].metrics},
            {name: of[group] for name, of in differences.items() if group in of},
        )
        for group, runs in groups.items()
    ]
    return Comparison(baseline, rows, protocol)


def common_protocol(groups: Mapping[str, Sequence[Evaluation]]) -> dict[str, Any]:
    """The protocol that all runs share. Raises ComparisonError naming what differs and where."""
    runs = [(name, run) for name, runs in groups.items() for run in runs]
    first_name, first = runs[0]
    for name, run in runs[1:]:
        for key in sorted(first.protocol.keys() | run.protocol.keys()):
            mine, other = first.protocol.get(key), run.protocol.get(key)
            if mine != other:
                raise ComparisonError(
                    f"{first_name} and {name} cannot be compared: {key} differs "
                    f"({mine} and {other})"
                )
        if run.users != first.users:
            raise ComparisonError(f"{first_name} and {name} were scored on different users")
    return first.protocol


def pooled(folds: Sequence[Evaluation]) -> Evaluation:
    """The evaluations of one model on disjoint holdouts, the folds of a cross validation, as one.

    Each user's errors are summed over the folds: a user stays one draw of the bootstrap, however
    many folds ask for their ratings. RMSE and MAE are those over all ratings together. Lists are
    left out, because each fold asks for other ones.

    Raises ComparisonError where the folds were not scored alike, where two are the same, and for a
    model that only ranks.
    """
    protocol = dict(folds[0].protocol)
    for key in sorted({key for fold in folds for key in fold.protocol}):
        values = [fold.protocol.get(key) for fold in folds]
        if all(value == values[0] for value in values):
            continue
        if key not in _OF_ONE_FOLD:
            raise ComparisonError(f"folds scored differently cannot be pooled: {key} differs")
        protocol[key] = values
    if len({fold.protocol["holdout"] for fold in folds}) < len(folds):
        raise ComparisonError("two of the folds are the same: pool each of them once")
    names = ("ratings", "squared_error", "absolute_error")
    if any(name not in fold.by_user for fold in folds for name in names):
        raise ComparisonError("a model that only ranks has no errors to pool")
    users = Ids.of(np.concatenate([fold.users.values for fold in folds]))
    by_user = {name: np.zeros(len(users)) for name in names}
    for fold in folds:
        places = users.rows(fold.users.values)
        for name in names:
            by_user[name][places] += fold.by_user[name]
    ratings, squared, absolute = by_user.values()
    metrics = {
        "rmse": float(np.sqrt(squared.sum() / ratings.sum())),
        "mae": float(absolute.sum() / ratings.sum()),
    }
    counts = {name: sum(fold.counts[name] for fold in folds) for name in folds[0].counts}
    return Evaluation(metrics, counts | {"ranked users": 0}, protocol, users, by_user)


def replicates(
    runs: Iterable[tuple[str, int, int | None, Evaluation]],
) -> dict[str, list[Evaluation]]:
    """Runs, each with its group, seed and fold, for `compare`: by group an evaluation a seed, in
    which the folds are pooled. A fold that a seed has twice begins another one, as a repeated seed
    does where there are no folds. Raises ComparisonError like `pooled`.
    """
    groups: dict[str, list[tuple[int, dict[int | None, Evaluation]]]] = {}
    for group, seed, fold, evaluation in runs:
        wholes = groups.setdefault(group, [])
        lacking = (folds for of, folds in wholes if of == seed and fold not in folds)
        folds = next(lacking, None)
        if folds is None:
            wholes.append((seed, folds := {}))
        folds[fold] = evaluation
    return {group: [_whole(folds) for _, folds in wholes] for group, wholes in groups.items()}


def _whole(folds: Mapping[int | None, Evaluation]) -> Evaluation:
    """Pooled in the order of their numbers, so that the protocols of two models are alike."""
    ordered = [folds[fold] for fold in sorted(folds, key=lambda fold: fold or 0)]
    return ordered[0] if len(ordered) == 1 else pooled(ordered)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number, step down (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(
        [min(1.0, (len(p) - place) * p[i]) for place, i in enumerate(order)]
    )
    return [float(x) for x in corrected]


def _spread(values: Sequence[float]) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), spread


def _differences(
    groups: Mapping[str, Sequence[Evaluation]],
    baseline: str,
    metric: str,
    rng: np.random.Generator,
    resamples: int,
) -> dict[str, Difference]:
    """By group, for those (baseline included in none) that have the metric."""
    parts = {name: _parts(runs, metric) for name, runs in groups.items()}
    able = {name: part for name, part in parts.items() if part is not None}
    base = able.pop(baseline, None)
    if base is None or not able:
        return {}
    # Users who count nowhere, as those without relevant targets, are not drawn: a resample of
    # them alone would have no value. They are the same for every run of one protocol.
    counted = base[1].any(axis=1)
    if not counted.any():
        return {}
    sides = [(sums[counted], counts[counted]) for sums, counts in [base, *able.values()]]
    drawn = _resampled(sides, metric, rng, resamples)
    whole = [_value(sums.sum(0), counts.sum(0), metric) for sums, counts in sides]
    values, draws = np.array(whole[1:]) - whole[0], drawn[1:] - drawn[0]
    low, high = np.percentile(draws, [2.5, 97.5], axis=1)
    p = [_two_sided(row) for row in draws]
    rows = zip(able, values.tolist(), low.tolist(), high.tolist(), p, holm(p), strict=True)
    return {name: Difference(*numbers) for name, *numbers in rows}


_Part: TypeAlias = tuple[Floats, Floats]
"""Sums and counts by user, [U, runs] each: a metric is a function of their totals."""


def _parts(runs: Sequence[Evaluation], metric: str) -> _Part | None:
    source = {"rmse": "squared_error", "mae": "absolute_error"}.get(metric, metric)
    if any(source not in run.by_user for run in runs):
        return None
    sums = np.stack([run.by_user[source] for run in runs], axis=1)
    if metric in SMALLER_IS_BETTER:
        return sums, np.stack([run.by_user["ratings"] for run in runs], axis=1)
    return np.nan_to_num(sums), (~np.isnan(sums)).astype(np.float64)


def _value(sums: Floats, counts: Floats, metric: str) -> Floats:
    """The group's metric: [..., runs] -> [...], the mean over runs."""
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return np.asarray((np.sqrt(means) if metric == "rmse" else means).mean(axis=-1))


def _resampled(
    parts: Sequence[_Part], metric: str, rng: np.random.Generator, resamples: int
) -> Floats:
    """The groups' metric in every resample: [G, B]."""
    n_users = len(parts[0][0])
    size = max(1, _BLOCK // n_users)
    blocks = []
    for start in range(0, resamples, size):
        weights = _weights(n_users, min(size, resamples - start), rng)
        blocks.append(
            np.stack([_value(weights @ sums, weights @ counts, metric) for sums, counts in parts])
        )
    return np.concatenate(blocks, axis=1)


def _weights(n_users: int, resamples: int, rng: np.random.Generator) -> Floats:
    """[B, U]: how often each user is in each resample of U users."""
    drawn = rng.integers(n_users, size=(resamples, n_users))
    drawn += np.arange(resamples)[:, None] * n_users
    counts = np.bincount(drawn.ravel(), minlength=resamples * n_users)
    return counts.reshape(resamples, n_users).astype(np.float64)


def _two_sided(draws: Floats) -> float:
    """Twice the smaller share of resamples on the far side of zero, at least 1 / (B + 1)."""
    n = len(draws) + 1
    below, above = (np.sum(draws <= 0) + 1) / n, (np.sum(draws >= 0) + 1) / n
    return float(min(1.0, 2 * min(below, above)))
