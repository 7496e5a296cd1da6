"""How wrong a prediction is to be expected to be, from what is known before the rating is given.

R target ratings, U users. All in stars.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from recae.ids import Rows
from recae.models.baseline import Baseline
from recae.models.levels import Spread
from recae.ratings import Ratings
from recae.splits import Holdout

if TYPE_CHECKING:
    from recae.models.base import Fitted, Recommender

Floats = NDArray[np.float64]

_PRIOR: Final = 100.0
"""Ratings' worth of the belief that what is known of a rating says nothing of its error."""
_FAR: Final = 3.0
"""Standard deviations beyond which what is known is not extrapolated."""
_ROUNDS: Final = 50
_TINY: Final = 1e-9
_ALL: Final = slice(None)
_OF_USER: Final = [0, 2]
_OF_ITEM: Final = [1, 3]
_OF_STARS: Final = [4, 5]
"""Places of what is known of each."""


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """The root mean square error to be expected at a rating, log-linear in what is known of it.

    Known are how far the user's other ratings and the item's lie from the baseline (`Spread`), how
    many there are of both (log), and the prediction, in shares of the scale, and its square: near
    an end of the scale nothing is far away.
    """

    spread: Spread
    centre: Floats
    """[6]: the mean of each thing known."""
    width: Floats
    """[6]: its standard deviation."""
    weights: Floats
    """[7]: of a constant and of each thing known, for the log of the mean square."""

    @classmethod
    def of(cls, model: Recommender, holdout: Holdout) -> ExpectedError:
        """Maximum likelihood of a normal error, with a prior of no effect, by Fisher scoring."""
        fitted, target = model.fitted, holdout.target
        own = holdout.history.over(fitted.items)
        items = fitted.items.find(target.items.values)[target.columns]
        spread = Spread.of(own, fitted.baseline)
        predicted = model.predict_at(holdout).astype(np.float64)
        known = np.column_stack(
            [
                *spread.at(own, target.rows, items),
                np.log1p(own.user_counts[target.rows]),
                np.log1p(item_counts(fitted, items)),
                *_places(fitted, predicted),
            ]
        )
        centre, width = known.mean(axis=0), known.std(axis=0)
        empty = cls(spread, centre, np.where(width > 0, width, 1), np.zeros(7))
        terms = np.column_stack([np.ones(len(known)), empty._standard(known)])
        squares = np.maximum((target.stars - predicted) ** 2, _TINY)
        return replace(empty, weights=_log_linear(terms, squares))

    def at(
        self, fitted: Fitted, own: Ratings, users: Rows, items: Rows, predicted: Floats
    ) -> Floats:
        """At pairs of a user of `own`, histories over the model's items, and an item (-1: one that
        the model does not know) that are predicted so: the shape of all three together, in stars.
        """
        of_user = self._said(_OF_USER, self.spread.users(own), np.log1p(own.user_counts))
        of_item = self._said(_OF_ITEM, self.spread.items, np.log1p(fitted.item_counts))
        of_unknown = self._said(_OF_ITEM, np.zeros(1), np.zeros(1))
        logs = self.weights[0] + of_user[users] + np.append(of_item, of_unknown)[items]
        return np.asarray(np.exp((logs + self._said(_OF_STARS, *_places(fitted, predicted))) / 2))

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays by name; the baseline is not among them."""
        return {
            "error.centre": self.centre,
            "error.width": self.width,
            "error.weights": self.weights,
            "error.usual": np.array([self.spread.usual]),
            "error.items": self.spread.items,
        }

    @classmethod
    def of_state(cls, arrays: dict[str, NDArray[Any]], baseline: Baseline) -> ExpectedError:
        """Back from what `state` gave."""
        usual, items = float(arrays["error.usual"][0]), arrays["error.items"]
        learned = (arrays[f"error.{name}"] for name in ("centre", "width", "weights"))
        return cls(Spread(baseline, usual, items), *learned)

    def _said(self, which: list[int], *known: NDArray[Any]) -> Floats:
        """What some of the things known, of one shape, add to the logarithm, in that shape."""
        standard = self._standard(np.stack(known, axis=-1), which)
        return np.asarray(standard @ self.weights[1:][which])

    def _standard(self, known: Floats, which: list[int] | slice = _ALL) -> Floats:
        """[..., things]: in standard deviations, as far as they have been seen."""
        return np.clip((known - self.centre[which]) / self.width[which], -_FAR, _FAR)


def _places(fitted: Fitted, predicted: Floats) -> tuple[Floats, Floats]:
    """Predictions in shares of the scale, and squared."""
    low, high = fitted.scale
    place = (predicted - low) / (high - low)
    return place, place**2


def item_counts(fitted: Fitted, items: Rows) -> Rows:
    """Training ratings of items of the model, in the shape of `items`; 0 of an unknown one, -1."""
    return np.where(items >= 0, fitted.item_counts[items], 0)


def _log_linear(terms: Floats, squares: Floats) -> Floats:
    """Weights w [K] for which exp(terms w) fits the mean of `squares` [R], best by the gamma's
    likelihood, all but the first of them with a normal prior around 0."""
    prior = np.full(terms.shape[1], _PRIOR)
    prior[0] = 0
    curvature = terms.T @ terms + np.diag(prior)
    weights = np.zeros(terms.shape[1])
    weights[0] = np.log(squares.mean())
    for _ in range(_ROUNDS):
        slope = terms.T @ (squares / np.exp(terms @ weights) - 1) - prior * weights
        # A rating far beyond its expectation would throw the first steps off.
        step = np.clip(np.linalg.solve(curvature, slope), -1, 1)
        weights += step
        if np.abs(step).max() < 1e-6:
            break
    return weights
