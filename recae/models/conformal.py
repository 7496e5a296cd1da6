"""How far from a prediction a stated share of ratings lies (split-conformal prediction, Vovk et al.
2005): what `recae.intervals` rests on."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError

Floats = NDArray[np.float64]

_TINY: Final = 1e-9


def quantile(distances: Floats, level: float) -> float:
    """The smallest of n distances that at least (n + 1) level of n + 1 are not above: the
    ceil((n + 1) level)-th.

    Raises DataError where n is so small that there is none.
    """
    check_enough(len(distances), level)
    # A distance that is met again is to be inside, whichever way its last bit was rounded.
    return float(np.partition(distances, k := _rank(len(distances), level) - 1)[k]) * (1 + _TINY)


def _rank(n: int, level: float) -> int:
    # 0.55 * 100 is a little more than 55.
    return math.ceil((n + 1) * level - _TINY)


def check_enough(n: int, level: float, *, halved: bool = False) -> None:
    """That n distances have such a quantile; `halved`: a half of them. Raises DataError."""
    least = math.ceil(level / (1 - level) - _TINY) * (1 + halved)
    if n < least:
        raise DataError(
            f"intervals that hold {level:.4g} of all ratings need {least} ratings to calibrate on, "
            f"and there are {n}: hold out more, or state a lower level"
        )
