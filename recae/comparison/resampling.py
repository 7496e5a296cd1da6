"""Paired bootstrap over users: the same draws of users for every metric of every group of runs.

U users, M runs, G groups, B resamples, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_BLOCK: Final = 4_000_000
"""Resampling weights held at once: 32 MB."""


@dataclass(frozen=True, eq=False)
class Part:
    """A group's metric as sums and counts by user, [U, M] each; `root`: of the mean, as RMSE.

    Where a user counts nothing, the sum is 0.
    """

    sums: Floats
    counts: Floats
    root: bool = False

    @classmethod
    def of(cls, sums: Sequence[Floats], counts: Sequence[Floats], *, root: bool = False) -> Part:
        """From [U] a run. Runs with the same counts are averaged at once where that is the same."""
        alike = all(np.array_equal(counts[0], other) for other in counts[1:])
        if alike and not root:
            return cls(np.mean(sums, axis=0)[:, None], counts[0][:, None])
        return cls(np.stack(sums, axis=1), np.stack(counts, axis=1), root)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """[U]: who counts anywhere."""
        return np.asarray(self.counts.any(axis=1))

    @property
    def value(self) -> float:
        """The metric itself: the mean over runs."""
        return float(self.of_totals(self.sums.sum(axis=0), self.counts.sum(axis=0)))

    @property
    def by_user(self) -> Floats:
        """[U]: every user's own value, NaN for those who do not count."""
        return self.of_totals(self.sums, self.counts)

    def of_totals(self, sums: Floats, counts: Floats) -> Floats:
        """[..., M] -> [...]: the mean over runs, NaN where nobody counts."""
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        return np.asarray((np.sqrt(means) if self.root else means).mean(axis=-1))


def resampled(
    parts: Mapping[str, Sequence[Part]], rng: np.random.Generator, resamples: int
) -> dict[str, Floats]:
    """By metric its groups' values in every resample: [G, B].

    Users who count nowhere, as those without relevant targets, are not drawn for that metric: a
    resample of them alone would have no value. Metrics in which the same users count share draws.
    """
    alike: dict[bytes, list[str]] = {}
    counted = {name: np.any([part.counted for part in of], axis=0) for name, of in parts.items()}
    for name, users in counted.items():
        if users.any():
            alike.setdefault(users.tobytes(), []).append(name)
    drawn: dict[str, Floats] = {}
    for names in alike.values():
        drawn |= _drawn({name: parts[name] for name in names}, counted[names[0]], rng, resamples)
    return drawn


def two_sided(draws: Floats) -> float:
    """Twice the smaller share of resamples on the far side of zero, at least 1 / (B + 1)."""
    n = len(draws) + 1
    below, above = (np.sum(draws <= 0) + 1) / n, (np.sum(draws >= 0) + 1) / n
    return float(min(1.0, 2 * min(below, above)))


def _drawn(
    parts: Mapping[str, Sequence[Part]],
    users: NDArray[np.bool_],
    rng: np.random.Generator,
    resamples: int,
) -> dict[str, Floats]:
    columns = _Columns()
    places = {
        name: [(columns.add(part.sums[users]), columns.add(part.counts[users])) for part in of]
        for name, of in parts.items()
    }
    matrix, n_users = np.stack(columns.kept, axis=1), int(users.sum())
    size = max(1, _BLOCK // n_users)
    blocks: dict[str, list[Floats]] = {name: [] for name in parts}
    for start in range(0, resamples, size):
        totals = _weights(n_users, min(size, resamples - start), rng) @ matrix
        for name, of in parts.items():
            pairs = zip(of, places[name], strict=True)
            values = [part.of_totals(totals[:, s], totals[:, c]) for part, (s, c) in pairs]
            blocks[name].append(np.stack(values))
    return {name: np.concatenate(values, axis=1) for name, values in blocks.items()}


class _Columns:
    """Columns [U] that are summed in every resample, each of them once: counts are mostly alike."""

    def __init__(self) -> None:
        self.kept: list[Floats] = []
        self._places: dict[bytes, int] = {}

    def add(self, block: Floats) -> list[int]:
        """[U, M] -> where its columns are."""
        places = []
        for column in block.T:
            key = column.tobytes()
            if key not in self._places:
                self._places[key] = len(self.kept)
                self.kept.append(column)
            places.append(self._places[key])
        return places


def _weights(n_users: int, resamples: int, rng: np.random.Generator) -> Floats:
    """[B, U]: how often each user is in each resample of U users."""
    drawn = rng.integers(n_users, size=(resamples, n_users))
    drawn += np.arange(resamples)[:, None] * n_users
    counts = np.bincount(drawn.ravel(), minlength=resamples * n_users)
    return counts.reshape(resamples, n_users).astype(np.float64)
