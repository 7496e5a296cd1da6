"""Where stars are wanted: pairs of a user and an item. T pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recae.ids import Rows


class Places(NamedTuple):
    """Where stars are wanted: T users of a history, items of the model, and perhaps when."""

    users: Rows
    """[T]: rows of the history."""
    items: Rows
    """[T]: rows of the model's items; -1 is one that the model does not know."""
    times: NDArray[np.int64] | None = None
    """[T]: seconds."""
