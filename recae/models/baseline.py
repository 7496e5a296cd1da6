"""The shrunk baseline b_ui = mu + b_u + b_i (Koren 2009), in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recae.ids import Rows
from recae.ratings import Ratings

LAMBDA_USER: Final = 10.0
LAMBDA_ITEM: Final = 5.0
_ROUNDS: Final = 10


@dataclass(frozen=True, eq=False)
class Baseline:
    """mu in stars, items [N]: b_i; the user's part is a function of the user's history."""

    mu: float
    items: NDArray[np.float32]

    @classmethod
    def of(cls, train: Ratings) -> Baseline:
        """Alternating ridge solutions on `train`: lambda_u = 10, lambda_i = 5.

        The users' half-step comes last, so that `users(train)` is what was alternated to.
        """
        mu = float(train.stars.mean(dtype=np.float64))
        centred, columns, rows = train.stars - np.float32(mu), train.columns, train.rows
        n = len(train.items)
        user_part = np.zeros(len(train.users))
        item_part = np.zeros(n)
        for _ in range(_ROUNDS):
            sums = np.bincount(columns, weights=centred - user_part[rows], minlength=n)
            item_part = sums / (LAMBDA_ITEM + train.item_counts)
            user_part = _user_part(train, mu, item_part)
        return cls(mu, item_part.astype(np.float32))

    def users(self, history: Ratings) -> NDArray[np.float32]:
        """b_u of any users over the model's items, zero without a history: [U]."""
        return _user_part(history, self.mu, self.items.astype(np.float64)).astype(np.float32)

    def residuals(self, history: Ratings) -> NDArray[np.float32]:
        """r - b at every rating of `history`: [R]."""
        offset = self.users(history)[history.rows] + self.items[history.columns]
        return history.stars - np.float32(self.mu) - offset

    def stars(self, history: Ratings) -> NDArray[np.float32]:
        """mu + b_u + b_i: [U, N]."""
        return np.float32(self.mu) + self.users(history)[:, None] + self.items[None, :]

    def stars_at(self, history: Ratings, users: Rows, items: Rows) -> NDArray[np.float32]:
        """mu + b_u + b_i at (users, items) [R]; b_i is zero for an unknown item, row -1."""
        item_part = np.where(items >= 0, self.items[items], np.float32(0))
        return np.asarray(np.float32(self.mu) + self.users(history)[users] + item_part)

    def unknown_item(self, history: Ratings) -> NDArray[np.float32]:
        """mu + b_u: what is said of an item that nobody has rated: [U]."""
        return np.asarray(np.float32(self.mu) + self.users(history))


def _user_part(history: Ratings, mu: float, items: NDArray[np.float64]) -> NDArray[np.float64]:
    rest = history.stars - mu - items[history.columns]
    sums = np.bincount(history.rows, weights=rest, minlength=len(history.users))
    return np.asarray(sums / (LAMBDA_USER + history.user_counts))
