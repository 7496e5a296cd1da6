"""From what a person names, a release, a path or a DataFrame, to a table that can be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from recae.catalog import Catalog
from recae.data import lookup, movielens
from recae.data.files import File, files_in, is_zip
from recae.data.layout import Naming
from recae.data.lists import SCALE, ListTable
from recae.data.tables import Table, open_table
from recae.errors import DataError
from recae.ratings import Scale

if TYPE_CHECKING:
    import pandas as pd

    Source: TypeAlias = str | os.PathLike[str] | pd.DataFrame

Layout: TypeAlias = Literal["table", "lists"]
"""A rating a row, or a user and that user's items a line."""

_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".parquet")


@dataclass(frozen=True, eq=False)
class Opened:
    """A table and what is known of it before reading."""

    table: Table
    release: movielens.Found | None
    scale: Scale | None

    def catalog(self) -> Catalog | None:
        """What the release calls its items; None elsewhere."""
        return None if self.release is None else self.release.catalog()


def open_source(
    source: Source,
    naming: Naming,
    *,
    scale: Scale | None,
    separator: str | None,
    layout: Layout = "table",
) -> Opened:
    """Find `source` and its columns; see `recae.data.load`."""
    if layout == "lists":
        return _open_lists(source, naming, scale, separator)
    if layout != "table":
        raise DataError(f"layout must be table or lists, not {layout!r}")
    if not isinstance(source, str | os.PathLike):
        if not hasattr(source, "columns"):
            raise DataError(
                f"ratings come from a path, the name of a release or a DataFrame, "
                f"not {type(source).__name__}"
            )
        return Opened(open_table(source, naming), None, scale)
    file, release = locate(source)
    if release is None:
        return Opened(open_table(file, naming, separator=separator), None, scale)
    table = open_table(file, naming, separator=separator or release.separator(file), whole_ids=True)
    return Opened(table, release, scale or release.scale)


def _open_lists(
    source: Source, naming: Naming, scale: Scale | None, separator: str | None
) -> Opened:
    """The lists in a file, or in all files of a folder that could be tables."""
    if not isinstance(source, str | os.PathLike):
        raise DataError("lists come from a file or a folder of files")
    if naming != Naming() or separator is not None:
        raise DataError("lists have no columns and nothing but spaces: name none, select by none")
    path = lookup.find(source)
    files = [File(path)]
    if path.is_dir() or is_zip(path):
        files = _tables(files_in(path))
        if not files:
            raise DataError(f"{path} holds no lists: no file of it is called like a table")
    known = scale or SCALE
    return Opened(ListTable(tuple(files), str(path), known), None, known)


def locate(source: str | os.PathLike[str]) -> tuple[File, movielens.Found | None]:
    """The table that a path or the name of a release stands for, and the release it is of.

    Raises DataError where there is nothing, or more than one table.
    """
    path = lookup.find(source)
    if not (path.is_dir() or is_zip(path)):
        file = File(path)
        return file, _release_around(file)
    files = files_in(path)
    # The name of the folder that is meant, also where the path is `.` or ends in `..`.
    release = movielens.recognise(files, path.resolve().name)
    table = release.table if release is not None else None
    return table or _only_table(path, files), release


def _release_around(file: File) -> movielens.Found | None:
    """The release in whose folder one of its own files lies, such as `ml-100k/u1.base`."""
    folder = file.path.resolve().parent
    release = movielens.recognise(files_in(folder), folder.name)
    return release if release is not None and release.holds(file) else None


def _only_table(path: Path, files: Mapping[str, File]) -> File:
    tables = _tables(files)
    if len(tables) == 1:
        return tables[0]
    if tables:
        names = ", ".join(file.name for file in tables)
        raise DataError(f"{path} holds several tables, name one of them: {names}")
    inside = _releases_below(path)
    also = f"; it holds the releases {', '.join(inside)}: name one of them" if inside else ""
    raise DataError(f"{path} holds no release of MovieLens and no table of ratings{also}")


def _tables(files: Mapping[str, File]) -> list[File]:
    return [file for name, file in files.items() if name.lower().endswith(_SUFFIXES)]


def _releases_below(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    folders = [each for each in sorted(path.iterdir()) if each.is_dir()]
    return [str(f) for f in folders if movielens.recognise(files_in(f), f.name) is not None]
