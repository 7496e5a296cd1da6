"""recae: masked-loss autoencoders for rating matrices.

Train on ratings, recommend for known and new users, compare tracked experiments. The names below
are imported when they are first used, so `import recae` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recae import metrics, splits
    from recae.asking import questions
    from recae.catalog import Catalog
    from recae.comparison import compare
    from recae.data import load
    from recae.errors import ComparisonError, DataError, NotFittedError, RecaeError, RecipeError
    from recae.evaluation import Evaluation, evaluate
    from recae.everybody import recommend_to_all
    from recae.ids import Ids
    from recae.leaks import LeakReport, leak_test
    from recae.models import (
        MODELS,
        AutoRec,
        Average,
        Blend,
        Recommendations,
        Recommender,
        Stack,
        load_model,
    )
    from recae.neighbours import similar_items, similar_users
    from recae.nn.training import Training
    from recae.ratings import Ratings
    from recae.splits import Holdout, Split

__version__ = "0.1.0"

_HOMES = {
    "MODELS": "recae.models",
    "AutoRec": "recae.models",
    "Average": "recae.models",
    "Blend": "recae.models",
    "Catalog": "recae.catalog",
    "ComparisonError": "recae.errors",
    "DataError": "recae.errors",
    "Evaluation": "recae.evaluation",
    "Holdout": "recae.splits",
    "Ids": "recae.ids",
    "LeakReport": "recae.leaks",
    "NotFittedError": "recae.errors",
    "Ratings": "recae.ratings",
    "RecaeError": "recae.errors",
    "RecipeError": "recae.errors",
    "Recommendations": "recae.models",
    "Recommender": "recae.models",
    "Split": "recae.splits",
    "Stack": "recae.models",
    "Training": "recae.nn.training",
    "compare": "recae.comparison",
    "evaluate": "recae.evaluation",
    "leak_test": "recae.leaks",
    "load": "recae.data",
    "load_model": "recae.models",
    "questions": "recae.asking",
    "recommend_to_all": "recae.everybody",
    "similar_items": "recae.neighbours",
    "similar_users": "recae.neighbours",
}
_MODULES = ("metrics", "splits")

__all__ = [
    "MODELS",
    "AutoRec",
    "Average",
    "Blend",
    "Catalog",
    "ComparisonError",
    "DataError",
    "Evaluation",
    "Holdout",
    "Ids",
    "LeakReport",
    "NotFittedError",
    "Ratings",
    "RecaeError",
    "RecipeError",
    "Recommendations",
    "Recommender",
    "Split",
    "Stack",
    "Training",
    "compare",
    "evaluate",
    "leak_test",
    "load",
    "load_model",
    "metrics",
    "questions",
    "recommend_to_all",
    "similar_items",
    "similar_users",
    "splits",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"recae.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'recae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
