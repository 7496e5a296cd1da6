"""Lists for a whole population, into one Parquet file; in blocks of users, so that the table of all
of them never exists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from recae.errors import DataError
from recae.models import Recommender
from recae.models.rules import Rules
from recae.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd

_BLOCK: Final = 10_000
"""Users at a time."""
_OTHERS: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".xlsx", ".feather")
"""Names of other kinds of tables, for whom a Parquet file would be a riddle."""


def recommend_to_all(
    model: Recommender,
    ratings: Ratings | pd.DataFrame,
    out: str | Path,
    n: int = 10,
    **rules: Unpack[Rules],
) -> int:
    """Write a row for every recommendation to every user of `ratings`, with the columns of
    `Recommendations.to_frame`; returns how many rows.

    The file appears when it is whole. Raises DataError where it cannot be written or is called like
    one of another kind, and what `Recommender.recommend` raises.
    """
    out = Path(out)
    if out.suffix.lower() in _OTHERS:
        raise DataError(f"what is written is Parquet: call the file {out.stem}.parquet")
    ratings = ratings if isinstance(ratings, Ratings) else model.histories_of(ratings)
    partial = out.with_name(out.name + ".part")
    try:
        rows = _write(_frames(model, ratings, n, rules), partial)
        partial.replace(out)
    except OSError as trouble:
        raise DataError(f"cannot write {out}: {trouble.strerror or trouble}") from None
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _frames(model: Recommender, ratings: Ratings, n: int, rules: Rules) -> Iterator[pd.DataFrame]:
    for start in range(0, max(len(ratings.users), 1), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(ratings.users)))
        yield model.recommend(ratings.take_users(rows), n, **rules).to_frame()


def _write(frames: Iterator[pd.DataFrame], path: Path) -> int:
    first = pa.Table.from_pandas(next(frames), preserve_index=False)
    rows = len(first)
    with parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(pa.Table.from_pandas(frame, first.schema, preserve_index=False))
            rows += len(frame)
    return rows
