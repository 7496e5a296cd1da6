"""How well scores tell two kinds apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from recae.errors import DataError


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """The chance that a positive has a higher score than a negative, ties counted half.

    The area under the ROC curve, as the Mann-Whitney statistic: mean ranks of tied scores
    (Hanley and McNeil 1982). 0.5 says nothing, 1 separates.

    scores: [n]; positive: [n] booleans. Raises DataError where they differ in length, a score is
    NaN, and where all or none are positive.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive)
    if values.ndim != 1 or values.shape != truth.shape or truth.dtype != bool:
        raise DataError(
            f"scores and booleans must be flat and equally long, not {values.shape} and "
            f"{truth.dtype} {truth.shape}"
        )
    if np.isnan(values).any():
        raise DataError("a score is NaN: it has no place among the others")
    positives = np.count_nonzero(truth)
    if positives in (0, len(truth)):
        raise DataError("an AUC needs positives and negatives, and there is only one kind here")
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[places][truth].sum() - positives * (positives + 1) / 2
    return float(above / positives / (len(truth) - positives))
