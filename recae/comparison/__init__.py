"""Is one model better than another, by how much, for whom, and is it luck?"""

from recae.comparison.groups import (
    LEVEL,
    RESAMPLES,
    Comparison,
    Difference,
    Row,
    Verdict,
    common_protocol,
    compare,
    direction,
    holm,
    pooled,
    replicates,
    verdict,
)

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Comparison",
    "Difference",
    "Row",
    "Verdict",
    "common_protocol",
    "compare",
    "direction",
    "holm",
    "pooled",
    "replicates",
    "verdict",
]
