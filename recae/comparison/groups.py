"""Is one model better than another, by how much, for how many users, and is it luck?

Runs that differ only by seed are one group: a group's value is the mean over its runs. Legend:
G groups, U users, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.comparison.resampling import Part, resampled, two_sided
from recae.errors import ComparisonError
from recae.evaluation import ERRORS, RANKING, Evaluation
from recae.ids import Ids

Floats: TypeAlias = NDArray[np.float64]
Verdict: TypeAlias = Literal["better", "worse", "higher", "lower", "no difference"]

RESAMPLES: Final = 10_000
LEVEL: Final = 0.05
"""A difference is one where its corrected p is below this."""

_SUMS: Final = {
    "rmse": "squared_error",
    "mae": "absolute_error",
    "rmse_macro": "squared_error",
    "mae_macro": "absolute_error",
    "interval_coverage": "coverage",
    "interval_width": "width",
}
"""Metrics over ratings -> what they are made of, by user."""
_BETTER: Final = {**dict.fromkeys([*ERRORS, "miscalibration"], -1), **dict.fromkeys(RANKING, 1)}
"""Which way a metric is better; of the others, as novelty, nobody can say."""

_OF_ONE_FOLD: Final = ("holdout", "split", "candidates")
"""What the protocols of the folds of one cross validation may differ in."""


def direction(metric: str) -> int:
    """-1 where smaller is better, 1 where larger is, 0 where that is a matter of taste."""
    return _BETTER.get(metric.partition("_at_")[0], 0)


@dataclass(frozen=True)
class Difference:
    """A group's metric less the baseline's, with its 95 % interval over users."""

    value: float
    low: float
    high: float
    """NaN, as `low`, where one user counts alone."""
    p: float
    """Two-sided, by the bootstrap; never below what signs of so few users can tell."""
    p_holm: float
    """Corrected for the number of groups (Holm 1979)."""
    effect: float
    """Mean over users of their own differences, in standard deviations of these (Cohen's d for
    pairs): 0.2 is called small, 0.8 large."""
    wins: int
    """Users to whom the group is better, or its value higher where neither is better."""
    ties: int
    losses: int
    verdict: Verdict
    """`no difference` unless the corrected p is below 0.05."""


@dataclass(frozen=True)
class Row:
    """One group: `metrics` name -> (mean, standard deviation over its runs, NaN for one)."""

    name: str
    runs: int
    metrics: dict[str, tuple[float, float]]
    differences: dict[str, Difference]

    def metric(self, name: str) -> tuple[float, float]:
        """One of the metrics, NaN where the group does not have it."""
        return self.metrics.get(name, (math.nan, math.nan))


@dataclass(frozen=True)
class Comparison:
    """Groups side by side; differences are to `baseline`."""

    baseline: str
    rows: list[Row]
    protocol: dict[str, Any]

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    @property
    def metrics(self) -> list[str]:
        """What any group has: not all have codes or genres."""
        return list(dict.fromkeys(metric for row in self.rows for metric in row.metrics))


def compare(
    evaluations: Mapping[str, Evaluation | Sequence[Evaluation]],
    *,
    baseline: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Groups of evaluations (one a seed) against the group `baseline`.

    Every metric that is a mean over users or ratings gets an interval: users are drawn with
    replacement, the same ones for every run, and the difference of the groups' means is computed
    anew each time.

    Raises ComparisonError where protocols differ, naming what, and for an unknown baseline.
    """
    groups = {k: [v] if isinstance(v, Evaluation) else list(v) for k, v in evaluations.items()}
    if baseline not in groups:
        raise ComparisonError(f"no {baseline!r} to compare with: there are {', '.join(groups)}")
    protocol = common_protocol(groups)
    differences = _differences(groups, baseline, rng, resamples)
    rows = [
        Row(
            group,
            len(runs),
            {
                metric: _spread([run.metrics[metric] for run in runs])
                for metric in runs[0].metrics
                # Runs of an earlier version have fewer.
                if all(metric in run.metrics for run in runs)
            },
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
        differing = [
            f"{key} differs ({first.protocol.get(key)} and {run.protocol.get(key)})"
            for key in sorted(first.protocol.keys() | run.protocol.keys())
            if first.protocol.get(key) != run.protocol.get(key)
        ]
        if differing:
            raise ComparisonError(
                f"{first_name} and {name} cannot be compared: {', '.join(differing)}"
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
    which the folds are pooled. Raises ComparisonError like `pooled`.
    """
    groups: dict[str, dict[int, dict[int | None, Evaluation]]] = {}
    for group, seed, fold, evaluation in runs:
        groups.setdefault(group, {}).setdefault(seed, {})[fold] = evaluation
    return {group: [_whole(folds) for folds in of.values()] for group, of in groups.items()}


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


def _differences(
    groups: Mapping[str, Sequence[Evaluation]],
    baseline: str,
    rng: np.random.Generator,
    resamples: int,
) -> dict[str, dict[str, Difference]]:
    """By metric and group, for the groups (the baseline is none of them) that have it."""
    able: dict[str, dict[str, Part]] = {}
    for metric in groups[baseline][0].metrics:
        parts = {name: _part(runs, metric) for name, runs in groups.items()}
        have = {name: part for name, part in parts.items() if part is not None}
        if baseline in have and len(have) > 1:
            # The baseline comes first.
            able[metric] = {baseline: have[baseline]} | have
    drawn = resampled({metric: list(of.values()) for metric, of in able.items()}, rng, resamples)
    return {metric: _against_first(able[metric], draws, metric) for metric, draws in drawn.items()}


def _part(runs: Sequence[Evaluation], metric: str) -> Part | None:
    """The metric by user; None where it is no mean over users or ratings, or a run has none."""
    source = _SUMS.get(metric, metric)
    if any(source not in run.by_user for run in runs):
        return None
    sums = [run.by_user[source] for run in runs]
    if metric not in _SUMS:
        known = [~np.isnan(values) for values in sums]
        return Part.of([np.nan_to_num(values) for values in sums], [k.astype(float) for k in known])
    counts, root = [run.by_user["ratings"] for run in runs], metric.startswith("rmse")
    if not metric.endswith("_macro"):
        return Part.of(sums, counts, root=root)
    # Whoever is in an evaluation has a rating to be predicted.
    means = [total / count for total, count in zip(sums, counts, strict=True)]
    own = [np.sqrt(values) if root else values for values in means]
    return Part.of(own, [np.ones_like(values) for values in own])


def _against_first(parts: Mapping[str, Part], drawn: Floats, metric: str) -> dict[str, Difference]:
    """By group but the first. drawn: [G, B]."""
    base, *others = parts.values()
    draws = drawn[1:] - drawn[0]
    low, high = np.percentile(draws, [2.5, 97.5], axis=1)
    by_user = [_by_user(part.by_user - base.by_user) for part in others]
    p = [max(two_sided(row), _least(signs)) for row, (_, signs) in zip(draws, by_user, strict=True)]
    corrected = holm(p)
    found = {}
    for place, (name, part) in enumerate(zip(list(parts)[1:], others, strict=True)):
        value = part.value - base.value
        effect, signs = by_user[place]
        if len(signs) == 1:
            # Drawn again and again, a single user is always the same.
            low[place] = high[place] = np.nan
        wins, losses = (signs > 0, signs < 0) if direction(metric) >= 0 else (signs < 0, signs > 0)
        found[name] = Difference(
            value,
            float(low[place]),
            float(high[place]),
            p[place],
            corrected[place],
            effect,
            int(wins.sum()),
            int((signs == 0).sum()),
            int(losses.sum()),
            verdict(value, corrected[place], direction(metric)),
        )
    return found


def _by_user(differences: Floats) -> tuple[float, Floats]:
    """Effect size and signs of the users' own differences [U], NaN for those who do not count."""
    known = differences[~np.isnan(differences)]
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return float(known.mean() / spread) if spread else 0.0, np.sign(known)


def _least(signs: Floats) -> float:
    """The smallest two-sided p that users' differences can have whose signs are as likely turned:
    a bootstrap of three users who agree would have none at all."""
    return float(min(1.0, 2.0 ** (1 - np.count_nonzero(signs))))


def verdict(value: float, p: float, better: int) -> Verdict:
    """On a difference with a corrected p; `better`: the metric's `direction`."""
    if p >= LEVEL:
        return "no difference"
    if not better:
        return "higher" if value > 0 else "lower"
    return "better" if value * better > 0 else "worse"


def _spread(values: Sequence[float]) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), spread
