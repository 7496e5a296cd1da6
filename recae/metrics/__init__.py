"""How good predictions and lists are: functions of arrays, which know row numbers and no ids.

docs/metrics.md has every definition side by side, and where other libraries differ.
"""

from recae.metrics.agreement import overlap, rank_biased_overlap
from recae.metrics.errors import mae, mae_macro, rmse, rmse_macro
from recae.metrics.lists import (
    gini,
    intra_list_diversity,
    item_coverage,
    novelty,
    novelty_by_user,
)
from recae.metrics.ranks import Ranking, ranking
from recae.metrics.roc import auc
from recae.metrics.slices import popularity_groups
from recae.metrics.tastes import miscalibration, popularity_lift, serendipity

__all__ = [
    "Ranking",
    "auc",
    "gini",
    "intra_list_diversity",
    "item_coverage",
    "mae",
    "mae_macro",
    "miscalibration",
    "novelty",
    "novelty_by_user",
    "overlap",
    "popularity_groups",
    "popularity_lift",
    "rank_biased_overlap",
    "ranking",
    "rmse",
    "rmse_macro",
    "serendipity",
]
