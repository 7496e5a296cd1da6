"""The answers of an evaluation as Parquet files, which other programs read too.

ratings.parquet  user, item, stars, predicted, days    a row for each target rating
lists.parquet    user, rank, item                      a row for each recommended item
known.parquet    user, ratings                         of the users' histories
items.parquet    item, ratings, title, genres, year    training ratings; the last three if known
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from recae.catalog import Catalog
from recae.evaluation.answers import Answers
from recae.ids import Ids, Rows

_RATINGS: Final = "ratings.parquet"
_LISTS: Final = "lists.parquet"
_KNOWN: Final = "known.parquet"
_ITEMS: Final = "items.parquet"


def write_answers(answers: Answers, users: Ids, folder: Path) -> None:
    """Four files; `users` are those of the evaluation."""
    people, things = users.values, answers.items.values
    ratings = {
        "user": people[answers.users],
        "item": things[answers.columns],
        "stars": answers.stars.astype(np.float32),
        "predicted": answers.predicted.astype(np.float32),
        "days": answers.days.astype(np.float32),
        # As they are: a rating on the border is inside, by the last bit.
        "low": answers.low,
        "high": answers.high,
    }
    user, place = np.nonzero(answers.lists >= 0)
    lists = {"user": people[user], "rank": place + 1, "item": things[answers.lists[user, place]]}
    items: dict[str, Any] = {"item": things, "ratings": answers.counts}
    if (catalog := answers.catalog) is not None:
        genres = [list(some) for some in catalog.genres]
        items |= {"title": catalog.titles.astype(object), "genres": genres, "year": catalog.years}
    known = {"user": people, "ratings": answers.known}
    tables = {_RATINGS: ratings, _LISTS: lists, _KNOWN: known, _ITEMS: items}
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(folder / name, index=False)


def read_answers(users: Ids, folder: Path) -> Answers | None:
    """What was written, stars and predictions as float32; None where nothing was."""
    if not (folder / _RATINGS).exists():
        return None
    ratings, ranked, known = (pd.read_parquet(folder / name) for name in (_RATINGS, _LISTS, _KNOWN))
    items, counts, catalog = _items((folder / _ITEMS).read_bytes())
    length = int(ranked["rank"].max()) if len(ranked) else 0
    lists = np.full((len(users), length), -1, dtype=np.int64)
    lists[users.find(ranked["user"]), ranked["rank"] - 1] = items.find(ranked["item"])
    names = ("stars", "predicted", "days", "low", "high")
    numbers = {name: ratings[name].to_numpy(np.float64) for name in names}
    return Answers(
        users.find(ratings["user"]),
        items.find(ratings["item"]),
        **numbers,
        lists=lists,
        known=known["ratings"].to_numpy(),
        items=items,
        counts=counts,
        catalog=catalog,
    )


@lru_cache(maxsize=4)
def _items(content: bytes) -> tuple[Ids, Rows, Catalog | None]:
    """Items, training ratings and catalog; runs on one split have the same file."""
    table = pd.read_parquet(io.BytesIO(content))
    items, counts = Ids.of(table["item"]), table["ratings"].to_numpy()
    if "title" not in table:
        return items, counts, None
    columns = (table[name] for name in ("item", "title", "genres", "year"))
    return items, counts, Catalog.of(*columns)
