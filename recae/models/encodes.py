"""Codes: what models with codes have in common. U users, N items, K code size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError
from recae.ratings import Ratings

if TYPE_CHECKING:
    from recae.models.base import Recommender

Floats = NDArray[np.float32]


@runtime_checkable
class Encodes(Protocol):
    """A model with codes; having these two methods is all it takes."""

    def encode(self, history: Ratings) -> Floats:
        """[U, K], known users or new ones."""

    def encode_items(self) -> Floats:
        """[N, K], of the model's items."""


def encoding(model: Recommender) -> Encodes:
    """The same model, known to have codes. Raises DataError where it has none."""
    if isinstance(model, Encodes):
        return model
    raise DataError(
        f"a {type(model).__name__} has no codes: take an AutoRec, like autorec-dual or mf, or a "
        "MultinomialAutoencoder, like mult-dae"
    )
