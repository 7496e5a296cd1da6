"""Going on from a model that was fitted: what is carried over, and how long is trained.

Users, items, categories and levels are found again by what they are called. A short training begins
with a lower rate than a fit, so as not to forget first what it starts from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recae.errors import DataError
from recae.features import Coding, NumberCode
from recae.ids import Ids, Rows
from recae.nn.axes import Axis
from recae.nn.carrying import Places
from recae.nn.training import Training
from recae.ratings import Ratings

if TYPE_CHECKING:
    from recae.models.base import Fitted, Recommender

SHARE: Final = 0.25
"""Of the steps of a fit; where a tenth is new, more gave nothing (docs/updating.md)."""
RATE = 0.5
"""The highest learning rate, as a share of that of a fit."""


class Past(NamedTuple):
    """Where a model of the same settings goes on from."""

    model: Recommender
    share: float
    """Of the steps of a fit."""


def schedule(settings: Training, past: Past | None) -> Training | None:
    """Of a fit, or of an update; None where nothing is to be trained."""
    if past is None:
        return settings
    steps = steps_of(settings, past.share)
    if not steps:
        return None
    # Penalties have risen to their full weight already.
    return replace(settings, steps=steps, learning_rate=RATE * settings.learning_rate, warmup=0.0)


def steps_of(settings: Training, share: float) -> int:
    """Steps of an update."""
    return round(share * settings.steps)


def checked(ratings: Ratings, fitted: Fitted, share: float) -> Ratings:
    """The ratings on the scale of the model, with what it knows of items where they say nothing.
    Raises DataError and ValueError."""
    if not 0 <= share <= 1:
        raise ValueError(f"share must be between 0 and 1, a share of the steps, not {share}")
    if not len(ratings):
        raise DataError("there are no ratings to learn from")
    low, high = fitted.scale
    if not (low <= ratings.scale[0] and ratings.scale[1] <= high):
        raise DataError(
            f"the ratings are on a scale of {ratings.scale[0]:g} to {ratings.scale[1]:g}, and the "
            f"model was trained on one of {low:g} to {high:g}: bring them to that scale, or fit "
            "a new model"
        )
    if not (_known(ratings.users, fitted.users) or _known(ratings.items, fitted.items)):
        raise DataError(
            "the model knows none of these users and items: fit a new model, or bring the ids to "
            f"those that it was trained on, users like {fitted.users.values[0].item()!r}"
        )
    # A plain table says nothing of titles, genres and years: what was known of them still is.
    catalog = ratings.catalog
    if catalog is None and fitted.catalog is not None:
        catalog = fitted.catalog.over(ratings.items)
    return replace(ratings, scale=fitted.scale, catalog=catalog)


def _known(ids: Ids, learned: Ids) -> bool:
    return bool((learned.find(ids.values) >= 0).any())


def grown(fitted: Fitted, before: Fitted) -> Fitted:
    """With numbers of side data read by the knots that there were, so that what is learned of knots
    stays true; categories may come and go."""
    return replace(
        fitted,
        user_coding=_grown(fitted.user_coding, before.user_coding),
        item_coding=_grown(fitted.item_coding, before.item_coding),
    )


def _grown(coding: Coding | None, before: Coding | None) -> Coding | None:
    if coding is None or before is None:
        return coding
    knots = {code.name: code for code in before.columns if isinstance(code, NumberCode)}
    columns = (
        knots.get(code.name, code) if isinstance(code, NumberCode) else code
        for code in coding.columns
    )
    return replace(coding, columns=tuple(columns))


def old_places(fitted: Fitted, before: Fitted) -> Places:
    """Where users, items and columns of side data were."""
    found: dict[Axis, Rows] = {
        "rows": before.users.find(fitted.users.values),
        "columns": before.items.find(fitted.items.values),
        "row_side": _same_names(fitted.user_coding, before.user_coding),
        "column_side": _same_names(fitted.item_coding, before.item_coding),
    }
    return {axis: torch.from_numpy(rows) for axis, rows in found.items()}


def _same_names(coding: Coding | None, before: Coding | None) -> Rows:
    old = {} if before is None else {name: place for place, name in enumerate(before.names)}
    new = [] if coding is None else coding.names
    return np.array([old.get(name, -1) for name in new], dtype=np.int64)


def same_levels(levels: NDArray[np.float32], before: NDArray[np.float32]) -> Rows:
    """Where each of the levels was among those before, both ascending; -1: nowhere."""
    at = np.searchsorted(before, levels).clip(max=len(before) - 1)
    return np.where(before[at] == levels, at, -1).astype(np.int64)
