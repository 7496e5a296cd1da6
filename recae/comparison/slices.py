"""For whom is a model better? Errors and lists by kinds of users, items and ratings.

Every number has its 95 % interval, so that a slice of nine users does not shout: see `ratios`.

U users, S slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.comparison.facets import FACETS, Facet
from recae.comparison.groups import Verdict, common_protocol, direction, holm, verdict
from recae.comparison.ratios import Ratio
from recae.errors import ComparisonError
from recae.evaluation import Evaluation
from recae.evaluation.answers import Answers

Floats: TypeAlias = NDArray[np.float64]

MEASURES: Final = ("rmse", "recall", "coverage")
"""What slices are measured by; coverage is of prediction intervals."""
_NEEDS: Final = {"rmse": "squared_error", "coverage": "coverage"}
"""Measure -> what an evaluation has by user where it can be measured."""


@dataclass(frozen=True)
class Value:
    """A group's value in a slice, with its 95 % interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap:
    """A group's value in a slice less the baseline's, with its 95 % interval."""

    value: float
    low: float
    high: float
    p_holm: float
    """Two-sided, corrected for all slices and groups of the facet."""
    verdict: Verdict


@dataclass(frozen=True)
class Slice:
    """One slice: by group its value, and its difference to the baseline."""

    label: str
    users: int
    ratings: int
    values: dict[str, Value]
    gaps: dict[str, Gap]


@dataclass(frozen=True)
class Sliced:
    """All slices of one facet."""

    by: str
    measure: str
    baseline: str
    slices: list[Slice]


@dataclass(frozen=True)
class Bin:
    """Ratings for which about the same was predicted, and what was given."""

    ratings: int
    """Predictions here, of all runs together."""
    predicted: float
    """Mean, in stars."""
    given: float
    """Mean, in stars."""
    low: float
    high: float
    """95 % interval of what is given on average."""


def sliced(
    groups: Mapping[str, Sequence[Evaluation]],
    by: str,
    *,
    baseline: str,
    measure: str = "rmse",
) -> Sliced | None:
    """Every group's RMSE, recall of the relevant targets or coverage, in the slices of one facet.

    by: a name in `FACETS`. measure: `rmse` over the ratings of a slice; `recall`, the share of its
    relevant ratings whose item is in the user's list; or `coverage`, the share of its ratings that
    are inside their prediction intervals. Groups without stars or intervals are left out. Give
    groups as `compare` takes them.

    None where nothing is known to slice by, as genres without a catalog. Raises ComparisonError
    where the groups were not scored alike, an evaluation has no answers, and for unknown names.
    """
    _check(groups, by, baseline, measure)
    first = answers_of(next(iter(groups.values()))[0])
    facet = FACETS[by](first)
    if facet is None:
        return None
    able = {
        name: runs
        for name, runs in groups.items()
        if measure not in _NEEDS or _NEEDS[measure] in runs[0].by_user
    }
    if not able:
        return None
    parts = {
        name: Ratio.of([_summed(run, facet, measure) for run in runs], root=measure == "rmse")
        for name, runs in able.items()
    }
    # Nothing is tested where nothing was asked: empty slices must not cost the others power.
    asked = np.flatnonzero(next(iter(parts.values())).users)
    parts = {name: part.take(asked) for name, part in parts.items()}
    labels = [facet.labels[place] for place in asked]
    return Sliced(by, measure, baseline, _slices(labels, parts, baseline, measure))


def answers_of(run: Evaluation) -> Answers:
    """What it was answered. Raises ComparisonError where that was not kept."""
    if run.answers is None:
        raise ComparisonError(
            "folds that were pooled, and runs of a version that kept no answers, tell of no single "
            "rating or list: take the runs of one fold, or train again"
        )
    return run.answers


def calibration(runs: Sequence[Evaluation], bins: int = 10) -> list[Bin]:
    """Is what gets 4 stars predicted given 4 on average? Runs of one model, pooled.

    Predictions are cut into `bins` equal parts of the scale; empty ones are left out. Raises
    ComparisonError for a model that only ranks and evaluations without answers.
    """
    answers = [answers_of(run) for run in runs]
    if any(np.isnan(each.predicted).any() for each in answers):
        raise ComparisonError("a model that only ranks predicts no stars to calibrate")
    low, high = runs[0].protocol["scale"]
    predicted = np.concatenate([each.predicted for each in answers])
    given = np.concatenate([each.stars for each in answers])
    # A user stays one, in however many runs.
    users = np.concatenate([each.users for each in answers])
    place = np.clip(((predicted - low) / (high - low) * bins).astype(int), 0, bins - 1)
    found = []
    for number in np.unique(place):
        inside = place == number
        stars = given[inside]
        sums = np.bincount(users[inside], stars)[:, None].astype(np.float64)
        counts = np.bincount(users[inside])[:, None].astype(np.float64)
        ratio = Ratio.of([(sums, counts)], root=False)
        half = float(ratio.half_width[0])
        mean = float(ratio.values[0])
        means = float(predicted[inside].mean()), mean
        found.append(Bin(int(inside.sum()), *means, mean - half, mean + half))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance between what is predicted and what is given on average, in stars, over ratings
    (Naeini et al. 2015, for means)."""
    ratings = np.array([each.ratings for each in bins], dtype=np.float64)
    distances = np.array([abs(each.given - each.predicted) for each in bins])
    return float(ratings @ distances / ratings.sum())


def _check(
    groups: Mapping[str, Sequence[Evaluation]], by: str, baseline: str, measure: str
) -> None:
    for what, given, known in (("facet", by, FACETS), ("measure", measure, MEASURES)):
        if given not in known:
            raise ComparisonError(f"there is no {what} {given!r}: there are {', '.join(known)}")
    if baseline not in groups:
        raise ComparisonError(f"no {baseline!r} to compare with: there are {', '.join(groups)}")
    common_protocol(groups)


def _slices(
    labels: Sequence[str], parts: Mapping[str, Ratio], baseline: str, measure: str
) -> list[Slice]:
    counts = next(iter(parts.values())).counts
    values = {name: _values(part, measure) for name, part in parts.items()}
    gaps = _gaps(parts, baseline, measure)
    return [
        Slice(
            label,
            int(np.count_nonzero(counts[:, place])),
            int(counts[:, place].sum()),
            {name: of[place] for name, of in values.items()},
            {name: of[place] for name, of in gaps.items()},
        )
        for place, label in enumerate(labels)
    ]


def _summed(run: Evaluation, facet: Facet, measure: str) -> tuple[Floats, Floats]:
    """Sums and counts by user and slice: [U, S] each."""
    answers = answers_of(run)
    if measure == "rmse":
        values, counted = (answers.predicted - answers.stars) ** 2, np.ones(len(answers.stars))
    elif measure == "coverage":
        inside = (answers.low <= answers.stars) & (answers.stars <= answers.high)
        values, counted = inside.astype(np.float64), np.ones(len(answers.stars))
    else:
        # As `evaluate` compares them: 3.3 stars as float32 are fewer than 3.3.
        relevant = np.float32(run.protocol["relevant"])
        counted = (answers.stars.astype(np.float32) >= relevant).astype(np.float64)
        values = counted * answers.listed
    n_slices = len(facet.labels)
    cells = answers.users[facet.places] * n_slices + facet.slices
    shape = (len(run.users), n_slices)

    def by_cell(weights: Floats) -> Floats:
        summed = np.bincount(cells, weights[facet.places], shape[0] * n_slices)
        return np.asarray(summed.reshape(shape), dtype=np.float64)

    return by_cell(values), by_cell(counted)


def _gaps(parts: Mapping[str, Ratio], baseline: str, measure: str) -> dict[str, list[Gap]]:
    """By group but the baseline, a gap a slice."""
    others = {name: part for name, part in parts.items() if name != baseline}
    if baseline not in parts or not others:
        return {}
    base = parts[baseline]
    less = {name: part.less(base) for name, part in others.items()}
    corrected = iter(holm(np.concatenate([gap.p for gap in less.values()]).tolist()))
    return {
        name: [
            _gap(value, half, next(corrected), direction(measure))
            for value, half in zip(gap.values, gap.half_width, strict=True)
        ]
        for name, gap in less.items()
    }


def _values(ratio: Ratio, measure: str) -> list[Value]:
    """No error is below 0, no share outside 0 to 1; where no interval is known it is infinite."""
    most = np.inf if measure == "rmse" else 1.0
    half = ratio.half_width
    low = np.where(np.isfinite(half), np.maximum(ratio.values - half, 0), -np.inf)
    high = np.where(np.isfinite(half), np.minimum(ratio.values + half, most), np.inf)
    return [Value(*each) for each in np.stack([ratio.values, low, high], axis=1).tolist()]


def _gap(value: float, half: float, p: float, better: int) -> Gap:
    low, high = float(value - half), float(value + half)
    return Gap(float(value), low, high, p, verdict(value, p, better))
