"""Tracked runs side by side: which are one group, in what groups differ, how they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from recae.comparison import RESAMPLES, Comparison, compare, direction, replicates
from recae.errors import ComparisonError, RecaeError
from recae.evaluation import Evaluation
from recae.running import Cost

if TYPE_CHECKING:
    from recae.tracking import TrackedEvaluation

Kind: TypeAlias = frozenset[tuple[str, str]]
"""The settings of a run, its seed and fold left out."""

_NAMED: Final = 3
"""So many settings at most stand in the name of a group."""
_REPEATS: Final = frozenset(("seed", "split.fold"))
"""Parameters in which the runs of one group differ."""
_OWN: Final = _REPEATS | {"kind"}
"""Parameters that are no settings."""


@dataclass(frozen=True, eq=False)
class Standings:
    """Groups of runs that differ only by seed or fold, compared."""

    groups: dict[str, list[TrackedEvaluation]]
    """By name, a run a seed and fold."""
    comparison: Comparison
    repeats: int
    """Runs that were left out: a newer one has the same settings, seed and fold."""

    @classmethod
    def of(
        cls,
        runs: Sequence[TrackedEvaluation],
        baseline: str | None = None,
        *,
        rng: np.random.Generator,
        resamples: int = RESAMPLES,
    ) -> Standings:
        """Runs, newest first, against the group `baseline`: the name of a group or of a model that
        has one group only; none: `mf` where it is there, else the first.

        Raises ComparisonError where protocols differ, and for an unknown baseline.
        """
        groups = _grouped(runs)
        against = _baseline(groups, baseline)
        compared = compare(_evaluations(groups), baseline=against, rng=rng, resamples=resamples)
        return cls(groups, compared, len(runs) - sum(map(len, groups.values())))

    @classmethod
    def led(
        cls, runs: Sequence[TrackedEvaluation], metric: str | None, *, rng: np.random.Generator
    ) -> Standings:
        """Against the group that is best by `metric`, larger being better unless it is an error;
        none: the first headline.

        Raises RecaeError for a metric that no run has, ComparisonError where protocols differ.
        """
        groups = _evaluations(_grouped(runs))
        metric = metric or _headline(groups)[0]
        sign = direction(metric) or 1
        means = {
            name: sign * float(np.mean([each.metrics.get(metric, np.nan) for each in some]))
            for name, some in groups.items()
        }
        known = {name: mean for name, mean in means.items() if not np.isnan(mean)}
        if not known:
            has = ", ".join(_valued(groups))
            raise RecaeError(f"no run has a value for {metric!r}: the metrics are {has}")
        return cls.of(runs, max(known, key=lambda name: known[name]), rng=rng)

    @property
    def runs(self) -> list[TrackedEvaluation]:
        """All that are compared."""
        return [run for runs in self.groups.values() for run in runs]

    @cached_property
    def evaluations(self) -> dict[str, list[Evaluation]]:
        """By group, one a seed, in which folds are pooled."""
        return _evaluations(self.groups)

    @property
    def summary(self) -> str:
        """One sentence on what was predicted how."""
        return next(iter(self.evaluations.values()))[0].summary

    @property
    def headline(self) -> list[str]:
        """The metrics that are told of first: pooled folds have no lists, and where all models only
        rank there is no RMSE."""
        return _headline(self.evaluations)

    @property
    def answered(self) -> bool:
        """Are there answers of all? Pooled folds and runs of an earlier version have none."""
        return all(each.answers is not None for some in self.evaluations.values() for each in some)

    @property
    def costs(self) -> dict[str, Cost]:
        """By group, the mean of its fits."""
        return {name: Cost.mean([r.cost for r in runs]) for name, runs in self.groups.items()}

    @property
    def settings(self) -> dict[str, dict[str, str]]:
        """The parameters that several groups have and that are not the same in all of these:
        parameter -> group -> value."""
        by_group = {name: runs[0].params for name, runs in self.groups.items()}
        names = sorted({key for params in by_group.values() for key in params} - _OWN)
        found = {
            key: {name: params[key] for name, params in by_group.items() if key in params}
            for key in names
        }
        return {key: of for key, of in found.items() if len(set(of.values())) > 1}


def each_apart(
    runs: Sequence[TrackedEvaluation], baseline: str | None, *, rng: np.random.Generator
) -> list[Standings]:
    """Runs that cannot all be compared, in comparisons of those that can; against `baseline` where
    that is among them. Raises ComparisonError where it is nowhere."""
    parts = apart(runs)
    having = [baseline in {*group_names(some), *(run.model for run in some)} for some in parts]
    if not any(having):
        # Refused by the first, unless it is none.
        having[0] = True
    return [
        Standings.of(some, baseline if here else None, rng=rng)
        for some, here in zip(parts, having, strict=True)
    ]


def each_led(
    runs: Sequence[TrackedEvaluation], metric: str | None, *, rng: np.random.Generator
) -> list[Standings]:
    """Those that can be compared together, each led like `Standings.led`, without those of which
    none has the metric. Raises RecaeError where no run has it."""
    parts = apart(runs)
    having = [some for some in parts if metric in (None, *_valued(_evaluations(_grouped(some))))]
    # Refused by the first, if it is none.
    return [Standings.led(some, metric, rng=rng) for some in having or parts[:1]]


def told_apart(several: Sequence[Standings]) -> list[dict[str, Any]]:
    """What keeps comparisons apart: for each, what the protocol of another has differently."""
    protocols = [
        each.comparison.protocol | {"users": len(each.runs[0].evaluation.users)} for each in several
    ]
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    differing = [
        name for name in names if any(p.get(name) != protocols[0].get(name) for p in protocols)
    ]
    return [{name: protocol.get(name) for name in differing} for protocol in protocols]


def apart(runs: Sequence[TrackedEvaluation]) -> list[list[TrackedEvaluation]]:
    """Runs that may be compared, together; the newest first. Folds of one cross validation are."""
    found: list[tuple[Evaluation, list[TrackedEvaluation]]] = []
    for evaluation, some in _pooled(runs):
        same = next((of for other, of in found if _alike(other, evaluation)), None)
        if same is None:
            found.append((evaluation, some))
        else:
            same.extend(some)
    return [some for _, some in found]


def _pooled(
    runs: Sequence[TrackedEvaluation],
) -> list[tuple[Evaluation, list[TrackedEvaluation]]]:
    """Each run with its evaluation; folds of one group and seed with what they are together, unless
    they cannot be pooled."""
    folds: dict[tuple[str, int, int | None], list[TrackedEvaluation]] = {}
    for place, (name, run) in enumerate(zip(group_names(runs), runs, strict=True)):
        folds.setdefault((name, run.seed, place if run.fold is None else None), []).append(run)
    found = []
    for some in folds.values():
        try:
            ((evaluation,),) = _evaluations(_grouped(some)).values()
            found.append((evaluation, some))
        except ComparisonError:
            found += [(run.evaluation, [run]) for run in some]
    return found


def group_names(runs: Sequence[TrackedEvaluation]) -> list[str]:
    """A name for every run: its model's, and where runs of one model have other settings, those
    that differ, or a number where they are many, the newest being 1. Runs of one name differ by
    seed or fold alone and are one group."""
    by_model: dict[str, list[Mapping[str, str]]] = {}
    for run in runs:
        by_model.setdefault(run.model, []).append(run.params)
    named = {model: _names(model, params) for model, params in by_model.items()}
    return [named[run.model][_settings(run.params)] for run in runs]


def _names(model: str, several: Sequence[Mapping[str, str]]) -> dict[Kind, str]:
    """Of the runs of one model, newest first: settings -> name."""
    kinds = {_settings(params): params for params in several}
    keys = sorted({key for params in kinds.values() for key in params} - _REPEATS)
    differing = [key for key in keys if len({params.get(key) for params in kinds.values()}) > 1]
    if len(differing) > _NAMED:
        return {kind: f"{model} ({place})" for place, kind in enumerate(kinds, 1)}
    return {
        kind: " ".join([model, *(f"{key}={params.get(key, '-')}" for key in differing)])
        for kind, params in kinds.items()
    }


def _grouped(runs: Sequence[TrackedEvaluation]) -> dict[str, list[TrackedEvaluation]]:
    """By name, of each seed and fold the newest run."""
    named: dict[str, dict[tuple[int, int | None], TrackedEvaluation]] = {}
    for name, run in zip(group_names(runs), runs, strict=True):
        named.setdefault(name, {}).setdefault((run.seed, run.fold), run)
    return {name: list(of.values()) for name, of in named.items()}


def _settings(params: Mapping[str, str]) -> Kind:
    return frozenset((key, value) for key, value in params.items() if key not in _REPEATS)


def _evaluations(groups: Mapping[str, Sequence[TrackedEvaluation]]) -> dict[str, list[Evaluation]]:
    return replicates(
        (name, run.seed, run.fold, run.evaluation) for name, runs in groups.items() for run in runs
    )


def _headline(groups: Mapping[str, Sequence[Evaluation]]) -> list[str]:
    known = _valued(groups)
    lists = [name for name in known if name.startswith("ndcg_at_")]
    # Stars come first wherever a model has any, be the newest run of one that only ranks. Nobody
    # may have a relevant rating to be ranked: then there is nothing to tell of.
    return [*(name for name in known if name == "rmse"), *lists] or ["rmse"]


def _valued(groups: Mapping[str, Sequence[Evaluation]]) -> list[str]:
    """The metrics of which any run has a value."""
    metrics = [each.metrics for some in groups.values() for each in some]
    return list(dict.fromkeys(k for of in metrics for k, v in of.items() if not np.isnan(v)))


def _baseline(groups: Mapping[str, Sequence[Any]], wanted: str | None) -> str:
    if wanted is None:
        return "mf" if "mf" in groups else next(iter(groups))
    if wanted in groups:
        return wanted
    named = [name for name, runs in groups.items() if runs[0].model == wanted]
    if len(named) > 1:
        raise ComparisonError(
            f"{wanted!r} stands for {len(named)} groups: name one of {', '.join(map(repr, named))}"
        )
    # An unknown one is refused by the comparison, which lists what there is.
    return named[0] if named else wanted


def _alike(one: Evaluation, other: Evaluation) -> bool:
    return one.protocol == other.protocol and one.users == other.users
