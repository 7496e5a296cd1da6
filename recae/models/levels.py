"""The ordinal head: from a score and how well people and items can be told, chances of every star.

    P(r >= level_j) = sigmoid(slope_ui (s_ui - theta_j)),    theta ascending
    log(slope_ui / c) = w_u spread_u + w_i spread_i
    E[r] = level_0 + sum over j of (level_j - level_j-1) P(r >= level_j)

The cumulative model of McCullagh 1980 ("Regression models for ordinal data"), with a scale that
differs from rating to rating. Spreads are how far people's ratings, and the ratings of an item, lie
from the baseline: log of their mean square, less that of everybody.

Nothing of it may be learned where the score was learned: there the score fits too well, and slopes
come out a third too steep (docs/experiments.md). So it learns from scores of ratings that their
model never saw.

Shapes: L levels, T targets, U users, N items, R ratings. The prior of every parameter is a standard
normal around thresholds in the middle between neighbouring levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from recae.errors import DataError
from recae.ids import Rows
from recae.models.baseline import Baseline
from recae.ratings import Ratings
from recae.splits import Holdout

Floats = NDArray[np.float32]

MOST_LEVELS: Final = 50
"""Different stars beyond which they are no levels but a continuum."""
_SHRINK: Final = 10.0
"""Ratings of the usual spread that everybody and every item is taken to have beside their own."""
_SLOPE: Final = 2.0
"""Of the prior, in levels; that of the scores of MovieLens, nearly."""
_ROUNDS: Final = 100


def levels_of(ratings: Ratings, *, least: int = 2) -> Floats:
    """The different stars, ascending: [L]. Raises DataError for too few, and for too many."""
    levels = np.unique(ratings.stars)
    if len(levels) > MOST_LEVELS:
        raise DataError(
            f"ratings take {len(levels)} different values, too many for levels: use head = stars"
        )
    if len(levels) < least:
        raise DataError("all ratings are the same, so there are no levels: use head = stars")
    return np.asarray(levels)


@dataclass(frozen=True, eq=False)
class Spread:
    """How far ratings lie from the baseline, in logarithms of their mean square; 0 is usual."""

    baseline: Baseline
    usual: float
    """Mean square over all training ratings, in squared stars."""
    items: Floats
    """[N]; 0 where an item has no rating."""

    @classmethod
    def of(cls, train: Ratings, baseline: Baseline) -> Spread:
        """Learned from `train`, as the baseline was."""
        squares = baseline.residuals(train) ** 2
        # Nothing to divide by where the baseline explains every rating to its last digit.
        usual = max(float(squares.mean(dtype=np.float64)), 1e-6)
        return cls(baseline, usual, _logs(squares / usual, train.columns, len(train.items)))

    def users(self, history: Ratings) -> Floats:
        """Of any users, over the model's items: [U]; 0 of those without ratings."""
        squares = self.baseline.residuals(history) ** 2
        return _logs(squares / self.usual, history.rows, len(history.users))

    def at(self, history: Ratings, users: Rows, items: Rows) -> tuple[Floats, Floats]:
        """Of users and of items at (users, items): [T] each; 0 of an unknown item, row -1."""
        return self.users(history)[users], np.where(items >= 0, self.items[items], np.float32(0))


def _logs(squares: Floats, rows: NDArray[np.integer], count: int) -> Floats:
    """log of the shrunk mean of `squares` [R] by row: [count]."""
    sums = np.bincount(rows, weights=squares, minlength=count)
    counts = np.bincount(rows, minlength=count)
    return np.log((sums + _SHRINK) / (counts + _SHRINK)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels [L] and the thresholds between them [L - 1], in stars, and what slopes are made of."""

    stars: Floats
    thresholds: Floats
    slope: Floats
    """[3]: log c, with c in 1 / stars; w_u; w_i."""
    spread: Spread

    @classmethod
    def fit(cls, stars: Floats, spread: Spread, scores: Floats, hidden: Holdout) -> Levels:
        """By maximum likelihood, and a prior that counts no more than a few ratings.

        stars [L]: the levels. scores [T], in stars: of the targets of `hidden`, whose items are
        the model's, by a model that did not see them; nor did `spread`.
        """
        target = hidden.target
        places = torch.from_numpy(np.searchsorted(stars, target.stars))
        score = torch.from_numpy(scores).double()
        both = spread.at(hidden.history, target.rows, target.columns.astype(np.int64))
        spreads = torch.from_numpy(np.column_stack(both)).double()
        free = torch.zeros(len(stars) + 2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([free], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = _loss(free, stars, score, spreads, places)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        thresholds, slope = (part.float().numpy() for part in _read(free.detach(), stars))
        return cls(stars, thresholds, slope, spread)

    def expected(self, scores: Floats, history: Ratings) -> Floats:
        """E[r] in stars, of scores [U, N] of the users of a history: [U, N]."""
        return self._expected(
            scores, self._slopes(self.spread.users(history)[:, None], self.spread.items)
        )

    def expected_at(self, scores: Floats, history: Ratings, users: Rows, items: Rows) -> Floats:
        """The same of scores [T] at (users, items): [T]."""
        return self._expected(scores, self._slopes(*self.spread.at(history, users, items)))

    def chances_at(self, scores: Floats, history: Ratings, users: Rows, items: Rows) -> Floats:
        """P(r = level), of scores [T] at (users, items): [T, L]; rows sum to 1."""
        slopes = self._slopes(*self.spread.at(history, users, items))
        distances = slopes[:, None] * (scores[:, None] - self.thresholds)
        above = np.pad(distances, ((0, 0), (1, 0)), constant_values=np.inf)
        below = np.pad(distances, ((0, 0), (0, 1)), constant_values=-np.inf)
        # Their plain difference would be 0 where both are nearly 1, and its logarithm no number.
        return np.asarray(expit(above) * expit(-below) * -np.expm1(below - above))

    def _slopes(self, users: Floats, items: Floats) -> Floats:
        """Of spreads that broadcast to one shape, in it."""
        base, by_user, by_item = self.slope
        return np.asarray(np.exp(base + by_user * users) * np.exp(by_item * items))

    def _expected(self, scores: Floats, slopes: Floats) -> Floats:
        expected = np.full_like(scores, self.stars[0])
        # One level after the other: all of them at once would be L times the scores.
        for step, threshold in zip(np.diff(self.stars), self.thresholds, strict=True):
            expected += step * expit(slopes * (scores - threshold))
        return expected

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays by name; the baseline is not among them."""
        return {
            "levels.stars": self.stars,
            "levels.thresholds": self.thresholds,
            "levels.slope": self.slope,
            "levels.usual": np.array([self.spread.usual]),
            "levels.items": self.spread.items,
        }

    @classmethod
    def of_state(cls, arrays: dict[str, NDArray[Any]], baseline: Baseline) -> Levels:
        """Back from what `state` gave."""
        stars, thresholds, slope, usual, items = (
            arrays[f"levels.{name}"] for name in ("stars", "thresholds", "slope", "usual", "items")
        )
        return cls(stars, thresholds, slope, Spread(baseline, float(usual[0]), items))


def _read(free: Tensor, levels: Floats) -> tuple[Tensor, Tensor]:
    """Thresholds [L - 1], ascending whatever the parameters [L + 2] are, and the slope's [3]."""
    stars = torch.from_numpy(levels).double()
    middles = (stars[1:] + stars[:-1]) / 2
    step = (stars[-1] - stars[0]) / (len(stars) - 1)
    count = len(middles)
    first = middles[:1] + step * free[:1]
    gaps = middles.diff() * free[1:count].exp()
    base = free[count : count + 1] + torch.log(_SLOPE / step)
    return torch.cat([first, first + gaps.cumsum(0)]), torch.cat([base, free[count + 1 :]])


def _loss(free: Tensor, levels: Floats, scores: Tensor, spreads: Tensor, places: Tensor) -> Tensor:
    """Negative log posterior, divided by the number of targets; differentiable in `free`."""
    thresholds, slope = _read(free, levels)
    slopes = (slope[0] + spreads @ slope[1:]).exp()
    distances = slopes[:, None] * (scores[:, None] - thresholds)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)); the logarithm of that stays
    # finite in tails where the sigmoids themselves are 0 or 1.
    open_end = distances.new_full((len(scores), 1), torch.inf)
    ends = torch.cat([open_end, distances, -open_end], dim=1)
    rows = torch.arange(len(scores))
    above, below = ends[rows, places], ends[rows, places + 1]
    inside = torch.nn.functional.logsigmoid(above) + torch.nn.functional.logsigmoid(-below)
    likelihood = inside + torch.log(-torch.expm1(below - above))
    return (free.square().sum() / 2 - likelihood.sum()) / len(scores)
