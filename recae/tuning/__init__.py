"""Hyper-parameter search with Optuna, judged on validation alone; the only importer of optuna.

A file of spaces says which data, which inner splits, and what may be chosen for which model. A
study draws trials from it, stops those that are worse than the median of the earlier ones, and can
be continued after an interruption. What it finds is pasted into a recipe.
"""

from recae.tuning.spaces import Between, OneOf, Spaces, read_spaces
from recae.tuning.studies import Study
from recae.tuning.trials import (
    StudyListener,
    StudyPlan,
    StudyTracker,
    TrackedStudy,
    TrackedTrial,
    Trial,
    as_toml,
    best_first,
    frozen,
)

__all__ = [
    "Between",
    "OneOf",
    "Spaces",
    "Study",
    "StudyListener",
    "StudyPlan",
    "StudyTracker",
    "TrackedStudy",
    "TrackedTrial",
    "Trial",
    "as_toml",
    "best_first",
    "frozen",
    "read_spaces",
]
