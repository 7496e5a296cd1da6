"""The model as MLflow serves it. MLflow keeps a copy of this file with every model and runs it to
load the model, so that nothing is pickled: recae has to be installed where the model is loaded.

A row of the input is one person: `items` (ids) and `stars`, lists of equal length. A row of the
output: `items`, `stars`, and `titles` where the model knows them, the best first. Parameter `n`:
how many.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from recae.errors import DataError
from recae.models import Recommender, load_model
from recae.tracking import PythonModel, PythonModelContext, set_model


class ServedModel(PythonModel):
    """Recommends to people that come with their ratings."""

    _model: Recommender

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model from the artifacts. Raises DataError."""
        self._model = load_model(context.artifacts["model"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """The `n` best items for every row.

        Raises DataError for unknown items, an item twice, stars outside the scale, n below 1, and
        lists that differ in length.
        """
        n = int((params or {}).get("n", 10))
        lists = zip(model_input["items"], model_input["stars"], strict=True)
        answers = [self._recommend(list(items), list(stars), n) for items, stars in lists]
        return pd.DataFrame(answers)

    def _recommend(self, items: list[Any], stars: list[float], n: int) -> dict[str, list[Any]]:
        if len(items) != len(stars):
            raise DataError(f"{len(items)} items and {len(stars)} stars: they must be as many")
        if len(set(items)) < len(items):
            raise DataError("an item is rated twice")
        history = self._model.history_of(dict(zip(items, stars, strict=True)))
        found = self._model.recommend(history, n).to_frame()
        columns = {"items": "item", "stars": "stars", "titles": "title"}
        return {name: found[of].tolist() for name, of in columns.items() if of in found}


set_model(ServedModel())
