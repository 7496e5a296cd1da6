"""Models in closed form: the shrunk baseline and popularity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recae.models.base import (
    FactorRecommender,
    Fitted,
    Floats,
    RankingRecommender,
    Recommender,
)
from recae.nn.training import Report
from recae.ratings import Ratings
from recae.splits import Holdout


@dataclass(eq=False)
class _ClosedForm(Recommender):
    """Needs nothing beyond the baseline and the counts, which every model keeps."""

    def _learn(
        self,
        train: Ratings,
        fitted: Fitted,
        validation: Holdout | None,
        rng: np.random.Generator,
        report: Report | None,
        resume: Path | None,
    ) -> None:
        """All is learned already."""

    def state(self) -> dict[str, NDArray[Any]]:
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Nothing was saved."""


@dataclass(eq=False)
class Bias(_ClosedForm, FactorRecommender):
    """mu + b_u + b_i (Koren 2009): what every other model has to beat."""

    def user_factors(self, history: Ratings) -> Floats:
        """[U, 2]: mu + b_u, and 1."""
        part = self.fitted.baseline.unknown_item(history.over(self.fitted.items))
        return np.column_stack([part, np.ones_like(part)])

    def item_factors(self) -> Floats:
        """[N, 2]: 1, and b_i."""
        part = self.fitted.baseline.items
        return np.column_stack([np.ones_like(part), part])


@dataclass(eq=False)
class Popular(_ClosedForm, RankingRecommender):
    """Ranks by how many users rated an item; for everybody alike."""

    def user_factors(self, history: Ratings) -> Floats:
        """[U, 1]: 1."""
        return np.ones((len(history.users), 1), dtype=np.float32)

    def item_factors(self) -> Floats:
        """[N, 1]: training ratings of the item."""
        return self.fitted.item_counts.astype(np.float32)[:, None]
