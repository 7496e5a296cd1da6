"""From what a person names, a release, a path or a DataFrame, to a table that can be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from recae.catalog import Catalog
from recae.data import lookup, movielens
from recae.data.files import File, files_in, is_zip
from recae.data.layout import Naming
from recae.data.tables import Table, open_table
from recae.errors import DataError
from recae.ratings import Scale

if TYPE_CHECKING:
    import pandas as pd

    Source: TypeAlias = str | os.PathLike[str] | pd.DataFrame

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
    source: Source, naming: Naming, *, scale: Scale | None, separator: str | None
) -> Opened:
    """Find `source` and its columns; see `recae.data.load`."""
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
    tables = [file for name, file in files.items() if name.lower().endswith(_SUFFIXES)]
    if len(tables) == 1:
        return tables[0]
    if tables:
        names = ", ".join(file.name for file in tables)
        raise DataError(f"{path} holds several tables, name one of them: {names}")
    inside = _releases_below(path)
    also = f"; it holds the releases {', '.join(inside)}: name one of them" if inside else ""
    raise DataError(f"{path} holds no release of MovieLens and no table of ratings{also}")


def _releases_below(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    folders = [each for each in sorted(path.iterdir()) if each.is_dir()]
    return [str(f) for f in folders if movielens.recognise(files_in(f), f.name) is not None]
