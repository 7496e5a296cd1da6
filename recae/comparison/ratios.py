"""Ratios of sums over users, as the RMSE of a slice, with intervals that need no resampling.

Users are what varies, and a user's ratings belong together: the interval is that of the linearised
ratio (the delta method; Cochran 1977, section 6.4). Users with many ratings weigh more, which makes
of nine users fewer: the variance and the degrees of freedom of Student's t allow for it as Bell and
McCaffrey do (2002, Survey Methodology 28, sections 3 and 4), here in closed form. With few users
the interval is wide, where the bootstrap is too narrow; tests/test_ratios.py counts how often it
holds the truth.

U users, S ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats: TypeAlias = NDArray[np.float64]

_TINY: Final = 1e-12
"""Below it a spread is rounding, and a user is all there is."""


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

    def take(self, slices: NDArray[np.int64]) -> Ratio:
        """Some of the slices."""
        return Ratio(self.values[slices], self.influence[:, slices], self.counts[:, slices])

    @property
    def users(self) -> NDArray[np.int64]:
        """[S]: who counts."""
        return np.asarray(np.count_nonzero(self.counts, axis=0))

    @property
    def weights(self) -> Floats:
        """[U, S]: every user's share in what is divided by."""
        total = self.counts.sum(axis=0)
        return np.asarray(self.counts / np.where(total > 0, total, 1))

    @property
    def error(self) -> Floats:
        """[S]: the standard error; infinite where users do not vary, as a single one or all with a
        recall of 0: of these nothing follows for others."""
        apart = np.maximum(1 - self.weights, _TINY)
        spread = np.sqrt((self.influence**2 / apart).sum(axis=0))
        varies = (self.users > 1) & (spread > _TINY * np.abs(self.values))
        return np.where(varies, spread, np.inf)

    @property
    def freedom(self) -> Floats:
        """[S]: degrees of freedom, users less 1 where all count alike, else fewer."""
        squares = self.weights**2
        crossed = squares / np.maximum(1 - self.weights, _TINY)
        both = crossed.sum(axis=0) ** 2 - (crossed**2).sum(axis=0)
        known = self.users > 1
        return 1 / np.where(known, squares.sum(axis=0) + both, 1)

    @property
    def half_width(self) -> Floats:
        """[S]: half the 95 % interval."""
        return np.asarray(self.error * stats.t.ppf(0.975, self.freedom))

    @property
    def p(self) -> Floats:
        """[S]: that the value is 0, two-sided; 1 where there is nothing to tell."""
        p = 2 * stats.t.sf(np.abs(self.values) / self.error, self.freedom)
        return np.nan_to_num(p, nan=1.0)
