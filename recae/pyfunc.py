"""The model as MLflow serves it. MLflow keeps a copy of this file with every model and runs it to
load the model, so that nothing is pickled: recae has to be installed where the model is loaded.

A row of the input is one person: `items` (ids) and `stars`, lists of equal length. A row of the
output: `items`, `stars`, `titles` where the model knows them, `low` and `high` where it knows
intervals, `because` where `explain` asks for it; the best first. Parameters: `n`, how many, and the
rules of `recae.models.rules` that are not lists of ids; an empty text or list states nothing.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from recae.errors import DataError
from recae.models import Recommender, load_model
from recae.models.rules import Rules
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
        """The best items for every row.

        Raises DataError for unknown items, an item twice, stars outside the scale, n below 1, lists
        that differ in length, and rules that the model cannot follow.
        """
        lists = zip(model_input["items"], model_input["stars"], strict=True)
        answers = [
            self._recommend(list(items), list(stars), params or {}) for items, stars in lists
        ]
        return pd.DataFrame(answers)

    def _recommend(
        self, items: list[Any], stars: list[float], params: dict[str, Any]
    ) -> dict[str, list[Any]]:
        if len(items) != len(stars):
            raise DataError(f"{len(items)} items and {len(stars)} stars: they must be as many")
        if len(set(items)) < len(items):
            raise DataError("an item is rated twice")
        history = self._model.history_of(dict(zip(items, stars, strict=True)))
        found = self._model.recommend(history, int(params.get("n", 10)), **_rules(params))
        frame = found.to_frame()
        if params.get("explain"):
            frame["because"] = self._model.reasons(history, found.items[found.items >= 0])
        columns = {"items": "item", "stars": "stars", "titles": "title"}
        columns |= {name: name for name in ("low", "high", "because")}
        return {name: frame[of].tolist() for name, of in columns.items() if of in frame}


def _rules(params: dict[str, Any]) -> Rules:
    first, last = (int(params.get(name, 0)) or None for name in ("first_year", "last_year"))
    return {
        "by": params.get("by") or None,
        "genres": list(params.get("genres", ())) or None,
        "years": (first, last) if first or last else None,
        "include_seen": bool(params.get("include_seen", False)),
        "diversity": float(params.get("diversity", 0.0)),
        "popularity": float(params.get("popularity", 0.0)),
    }


set_model(ServedModel())
