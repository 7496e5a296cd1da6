"""Ratios of sums over users, as the RMSE of a slice, with intervals that need no resampling.

Users are what varies, and a user's ratings belong together: the interval is that of the linearised
ratio (the delta method; Cochran 1977, section 6.4) with Student's t for the users who count. With
few users it is wide, where the bootstrap is too narrow.

U users, S ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ratio:
    """S ratios, or differences of such."""

    values: Floats
    """[S], NaN where nobody counts."""
    influence: Floats
    """[U, S]: how much the values change with each user; in sum 0."""
    counts: Floats
    """[U, S]: what is divided by."""

    @classmethod
    def of(cls, runs: Sequence[tuple[Floats, Floats]], *, root: bool) -> Ratio:
        """The mean over runs of sum / count, or of its root; each run gives both, [U, S]."""
        values, influence = [], []
        for sums, counts in runs:
            total = counts.sum(axis=0)
            empty = total == 0
            total = np.where(empty, 1, total)
            ratio = sums.sum(axis=0) / total
            change = (sums - ratio * counts) / total
            if root:
                ratio = np.sqrt(ratio)
                change = change / np.where(ratio > 0, 2 * ratio, 1)
            values.append(np.where(empty, np.nan, ratio))
            influence.append(change)
        return cls(np.mean(values, axis=0), np.mean(influence, axis=0), runs[0][1])

    def less(self, other: Ratio) -> Ratio:
        """This one less another of the same users: what they share cancels."""
        return Ratio(self.values - other.values, self.influence - other.influence, self.counts)

    @property
    def users(self) -> NDArray[np.int64]:
        """[S]: who counts."""
        return np.asarray(np.count_nonzero(self.counts, axis=0))

    @property
    def error(self) -> Floats:
        """[S]: the standard error; infinite for a single user, of whom nothing follows."""
        users = self.users
        size = np.divide(users, users - 1, out=np.ones(len(users)), where=users > 1)
        squares = (self.influence**2).sum(axis=0)
        return np.where(users > 1, np.sqrt(size * squares), np.inf)

    @property
    def half_width(self) -> Floats:
        """[S]: half the 95 % interval."""
        return np.asarray(self.error * stats.t.ppf(0.975, np.maximum(self.users - 1, 1)))

    @property
    def p(self) -> Floats:
        """[S]: that the value is 0, two-sided; 1 where there is nothing to tell."""
        error = self.error
        t = np.divide(np.abs(self.values), error, out=np.zeros_like(error), where=error > 0)
        p = 2 * stats.t.sf(t, np.maximum(self.users - 1, 1))
        return np.nan_to_num(p, nan=1.0)
