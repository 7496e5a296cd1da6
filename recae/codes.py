"""What models make of users and items, as features for other tasks.

scikit-learn is not needed: a transformer is whatever has its methods. U users, N items, K code
size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.data import load
from recae.errors import NotFittedError
from recae.ids import Ids
from recae.models import MODELS, Recommender
from recae.models.encodes import encoding
from recae.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = NDArray[np.float32]
Side: TypeAlias = Literal["users", "items"]


@dataclass(eq=False)
class Codes:
    """Ratings to codes, as a transformer of scikit-learn: a row for each user, or each item.

    X is Ratings, or a DataFrame of ratings whose columns `recae.load` recognises. The rows that
    come out are those of the ratings' own users or items, by ascending id; y is never read, so that
    codes may be learned from ratings of everybody and a task from the few rows that have a label.
    """

    model: str | Recommender = "autorec-dual"
    """A name of `MODELS`, or a model whose settings are taken; it is not itself fitted."""
    of: Side = "users"
    """Whose codes come out."""
    seed: int = 0
    """Of the fit."""

    model_: Recommender | None = field(default=None, init=False, repr=False)
    """What was fitted; None before."""

    def fit(self, X: Ratings | pd.DataFrame, y: object = None) -> Self:
        """Learn the codes. Raises ValueError for bad settings, DataError for a model without codes
        and for ratings that cannot be used."""
        if self.of not in ("users", "items"):
            raise ValueError(f"of must be users or items, not {self.of!r}")
        if isinstance(self.model, str) and self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, not {self.model!r}")
        blank = MODELS[self.model]() if isinstance(self.model, str) else self.model.fresh()
        encoding(blank)
        self.model_ = blank.fit(_ratings(X), rng=np.random.default_rng(self.seed))
        return self

    def transform(self, X: Ratings | pd.DataFrame) -> Floats:
        """[U, K], new users folded in; or [N, K], zero for items that were not learned.

        Raises NotFittedError before `fit`, DataError for ratings that cannot be used.
        """
        model, ratings = self._get(), _ratings(X)
        if self.of == "users":
            return encoding(model).encode(ratings)
        return item_codes(model, ratings.items)

    def fit_transform(self, X: Ratings | pd.DataFrame, y: object = None) -> Floats:
        """Learn the codes and give them."""
        ratings = _ratings(X)
        return self.fit(ratings).transform(ratings)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """[K]: code0, code1, ..."""
        width = encoding(self._get()).encode_items().shape[1]
        return np.array([f"code{place}" for place in range(width)], dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def set_params(self, **params: Any) -> Self:
        """Change settings by name. Raises ValueError for one that there is not."""
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"there is no setting {name!r}: {', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Asked by scikit-learn's check_is_fitted."""
        return self.model_ is not None

    def __sklearn_tags__(self) -> Any:
        """Asked by scikit-learn 1.6 and later, which is there when it asks."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags("transformer", TargetTags(required=False), TransformerTags())

    def _get(self) -> Recommender:
        if self.model_ is None:
            raise NotFittedError("these Codes are not fitted: call fit")
        return self.model_


def item_codes(model: Recommender, items: Ids) -> Floats:
    """Codes of any items: [len(items), K], zero for those that the model does not know.

    Raises DataError for a model without codes.
    """
    codes = encoding(model).encode_items()
    rows = model.fitted.items.find(items.values)
    return np.where(rows[:, None] >= 0, codes[rows], np.float32(0))


def _ratings(given: Ratings | pd.DataFrame) -> Ratings:
    return given if isinstance(given, Ratings) else load(given)
