"""Weights of a network carried over to one for other rows and columns.

What a module names in `axes` has a place for every row or column; whatever it does not name is
carried as it is. Buffers are not learned, and not carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import torch
from torch import Tensor

from recae.nn.axes import Axes, Axis
from recae.nn.network import Learner

Places: TypeAlias = Mapping[Axis, Tensor]
"""For each axis where every place of the new network is in the old one, -1: nowhere."""

_TURNED: Final[Mapping[Axis, Axis]] = {
    "rows": "columns",
    "columns": "rows",
    "row_side": "column_side",
    "column_side": "row_side",
    "levels": "levels",
}
"""What the side of the columns calls its rows is the columns of the network."""


def axes_of(learner: Learner) -> Axes:
    """The axes of all parameters that have named ones, in terms of the whole learner."""
    own = {name for name, _ in learner.named_parameters()}
    found: dict[str, tuple[Axis | None, ...]] = {}
    for path, module in learner.named_modules():
        turned = path.split(".")[0] == "columns"
        declared: Axes = getattr(type(module), "axes", {})
        for name, axes in declared.items():
            whole = f"{path}.{name}" if path else name
            if whole in own:
                found[whole] = tuple(_TURNED[a] if turned and a else a for a in axes)
    return found


def carry(old: Learner, new: Learner, places: Places) -> None:
    """Put what `old` learned where it belongs in `new`, a network of the same settings.

    Weights of what is new are the mean of those of the old: nothing is known of it yet.
    """
    named, learned = axes_of(new), dict(old.named_parameters())
    with torch.no_grad():
        for name, parameter in new.named_parameters():
            # Side data that were not there before are read by weights that are not there either.
            if name in learned:
                parameter.copy_(_carried(learned[name], named.get(name, ()), places))


def _carried(weights: Tensor, axes: tuple[Axis | None, ...], places: Places) -> Tensor:
    for dimension, axis in enumerate(axes):
        if axis is None:
            continue
        at, count = places[axis].to(weights.device), weights.shape[dimension]
        mean = weights.sum(dimension, keepdim=True) / max(count, 1)
        longer = torch.cat([weights, mean], dimension)
        weights = longer.index_select(dimension, at.where(at >= 0, count))
    return weights
