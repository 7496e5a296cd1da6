"""Errors of predicted stars. R ratings; stars are in the data's scale."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recae.errors import DataError

Floats: TypeAlias = NDArray[np.float64]


def rmse(stars: ArrayLike, predicted: ArrayLike) -> float:
    """Root mean squared error in stars, pooled over entries: sqrt(mean((predicted - stars)^2)).

    stars, predicted: [R]. Raises DataError where they are empty, differ in length or not finite.
    """
    return float(np.sqrt(np.mean(_errors(stars, predicted) ** 2)))


def mae(stars: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error in stars, pooled over entries: mean(|predicted - stars|).

    stars, predicted: [R]. Raises DataError where they are empty, differ in length or not finite.
    """
    return float(np.mean(np.abs(_errors(stars, predicted))))


def rmse_macro(users: ArrayLike, stars: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over users of each user's own RMSE in stars: a user with one rating counts fully.

    users: [R] rows; stars, predicted: [R]. Raises DataError as `rmse` does.
    """
    return float(np.mean(np.sqrt(_mean_by_user(users, _errors(stars, predicted) ** 2))))


def mae_macro(users: ArrayLike, stars: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over users of each user's own MAE in stars: a user with one rating counts fully.

    users: [R] rows; stars, predicted: [R]. Raises DataError as `mae` does.
    """
    return float(np.mean(_mean_by_user(users, np.abs(_errors(stars, predicted)))))


def _errors(stars: ArrayLike, predicted: ArrayLike) -> Floats:
    true, guess = np.asarray(stars, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if true.ndim != 1 or true.shape != guess.shape:
        raise DataError(
            f"stars and predictions must be flat and equally long, not {true.shape} and "
            f"{guess.shape}"
        )
    if not len(true):
        raise DataError("there are no ratings to compare with: the holdout is empty")
    bad = np.flatnonzero(~(np.isfinite(true) & np.isfinite(guess)))
    if len(bad):
        place = int(bad[0])
        raise DataError(
            f"{guess[place]:g} was predicted for {true[place]:g} stars (row {place}): both must "
            "be finite numbers"
        )
    return guess - true


def _mean_by_user(users: ArrayLike, values: Floats) -> Floats:
    """[users that occur]: the mean of each one's values [R]."""
    rows = np.asarray(users)
    if rows.shape != values.shape:
        raise DataError(f"{rows.shape} users for {values.shape} ratings: give one user a rating")
    _, places, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return np.bincount(places, weights=values) / counts
