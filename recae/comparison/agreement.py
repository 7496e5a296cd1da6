"""Do two models recommend the same? How alike the lists of groups of runs are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.comparison.groups import common_protocol
from recae.comparison.slices import answers_of
from recae.evaluation import Evaluation
from recae.ids import Rows
from recae.metrics import overlap, rank_biased_overlap

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How alike the lists of two groups are, on average over users; of one group with itself, those
    of its first two runs. 1: the same lists; 0: not an item in common; NaN: no user has a list."""

    one: str
    other: str
    overlap: float
    """Items in both lists / items in either."""
    rank_biased: float
    """The same with the first places weighing most (Webber et al. 2010)."""


def agreements(groups: Mapping[str, Sequence[Evaluation]]) -> list[Agreement]:
    """Every two groups by their first runs, and every group of several runs with itself.

    Raises ComparisonError where the groups were not scored alike, and without answers.
    """
    common_protocol(groups)
    lists = {name: [answers_of(run).lists for run in runs] for name, runs in groups.items()}
    return [
        Agreement(name, other, _mean(overlap(left, right)), _mean(rank_biased_overlap(left, right)))
        for name, other, left, right in _pairs(lists)
    ]


def _pairs(lists: Mapping[str, Sequence[Rows]]) -> Iterator[tuple[str, str, Rows, Rows]]:
    for one, other in combinations_with_replacement(lists, 2):
        if one != other:
            yield one, other, lists[one][0], lists[other][0]
        elif len(lists[one]) > 1:
            yield one, one, lists[one][0], lists[one][1]


def _mean(values: Floats) -> float:
    """Over users who have a list of either."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
