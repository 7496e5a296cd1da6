"""Ratings from MovieLens releases, tables and DataFrames; pandas is used here and nowhere below."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from recae.data import tables
from recae.data.description import Description, describe
from recae.data.download import fetch
from recae.data.layout import Naming
from recae.data.movielens import RELEASES, Release
from recae.data.sidedata import Side, features
from recae.data.sources import Layout, open_source
from recae.errors import DataError
from recae.features import Features
from recae.ratings import Duplicates, Ratings, Scale

if TYPE_CHECKING:
    import pandas as pd

    from recae.data.sources import Source

__all__ = ["RELEASES", "Description", "Release", "describe", "features", "fetch", "load", "users"]


def load(
    source: Source,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    scale: Scale | None = None,
    duplicates: Duplicates = "error",
    where: Mapping[str, object] | None = None,
    separator: str | None = None,
    layout: Layout = "table",
    users: Source | Features | Literal[True] | None = None,
    items: Source | Features | Literal[True] | None = None,
) -> Ratings:
    """The ratings in `source`, with the titles of its items where it is a MovieLens release.

    source: the name of a release (`ml-1m`, or `1m`), a DataFrame, or the path of a file (CSV,
        TSV, Parquet, plain or gzipped), a folder or a zip. Names and relative paths are looked up
        in the current folder, in the folders of RECAE_DATA (separated as in PATH) and among the
        downloads; `ml-latest-small` comes with the package.
    user, item, rating, time: names of columns; where not given, common ones are recognised. Times
        are Unix seconds (milliseconds are known by their size) or ISO 8601 dates.
    scale: the lowest and highest star; a release's own, or else the lowest and highest present.
    duplicates: what to do where a user rated an item twice, see `Ratings.of`.
    where: keeps only the rows in which these columns have these values.
    separator: what divides the fields of a text file; else its name or first line tells.
    layout: `lists` for files of lists, a user and that user's items a line, all whole numbers from
        0; of a folder, the lists of its files together. Every item is a like: rated 1 on a scale of
        0 to 1, or the highest star of `scale`.
    users, items: what is known of them beside their ratings, see `features`: a table with a row to
        each, features that were read already, or True for what the release in `source` says.

    Raises DataError, one sentence with file, line and value, for everything that cannot be used.
    """
    naming = Naming(user, item, rating, time, where or {})
    opened = open_source(source, naming, scale=scale, separator=separator, layout=layout)
    ratings = tables.load(
        opened.table, scale=opened.scale, duplicates=duplicates, catalog=opened.catalog
    )
    return ratings.with_features(
        users=_beside(source, users, "users"), items=_beside(source, items, "items")
    )


def _beside(
    source: Source, given: Source | Features | Literal[True] | None, of: Side
) -> Features | None:
    if given is None or isinstance(given, Features):
        return given
    return features(source if given is True else given, of)


def users(source: str | os.PathLike[str]) -> pd.DataFrame:
    """What a MovieLens release says of its users: user, age, gender, occupation, zip_code.

    source: as for `load`. As in the files: ML-1M codes age by its lower bound and occupation by a
    number. Raises DataError for data that say nothing of users (all but ml-100k and ml-1m).
    """
    import pandas as pd

    release = open_source(source, Naming(), scale=None, separator=None).release
    rows = None if release is None else release.users()
    if rows is None:
        raise DataError(f"{source} says nothing of its users: ml-100k and ml-1m do")
    return pd.DataFrame(rows, columns=["user", "age", "gender", "occupation", "zip_code"])
