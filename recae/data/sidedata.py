"""Side data from tables, DataFrames and MovieLens releases: what is known beside ratings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from recae.data.files import File
from recae.data.layout import (
    ITEM,
    RATING,
    USER,
    beginning,
    lines_of,
    named_place,
    recognised,
    split_line,
)
from recae.data.movielens import Found
from recae.data.sources import locate
from recae.data.tables import as_ids, is_parquet, read_parquet
from recae.errors import DataError
from recae.features import Features, Kind

if TYPE_CHECKING:
    import pandas as pd

    from recae.data.sources import Source

Side: TypeAlias = Literal["users", "items"]

_KEYS: Final[dict[Side, tuple[str, ...]]] = {"users": USER, "items": ITEM}
# What is used of a release. A zip code is shared by too few to be learned from.
_OWN_KINDS: Final[dict[Side, dict[str, Kind]]] = {
    "users": {"age": "number", "gender": "category", "occupation": "category"},
    "items": {"year": "number", "genres": "categories"},
}


@dataclass(frozen=True)
class _Table:
    """Columns as they were read, by name; one of them holds the ids."""

    label: str
    columns: Mapping[str, Sequence[Any]]
    kinds: Mapping[str, Kind] | None = None
    """What is used, and as what, where nobody says; None: everything, as it looks."""


def features(
    source: Source,
    of: Side,
    *,
    key: str | None = None,
    columns: Mapping[str, Kind] | None = None,
) -> Features:
    """What a table with a row a user (or item) says of them.

    source: as for `recae.data.load`; a file, or a table of ratings in the folder, of a release
        stands for what the release says of its users (age, gender, occupation) or items (year,
        genres).
    of: whom the rows describe, `users` or `items`.
    key: the column of ids; where not given, common names are recognised.
    columns: the columns to use and what each holds: a `category`, several `categories` (in text
        with | between them) or a `number`. Where not given, all of them, by their looks.

    Raises DataError, one sentence, for everything that cannot be used.
    """
    table = _open(source, of)
    names = list(table.columns)
    if key is None and all(recognised(names, known) is not None for known in (USER, ITEM, RATING)):
        raise DataError(
            f"{table.label} is a table of ratings and says nothing of its {of}: "
            "name one with a row to each"
        )
    place = recognised(names, _KEYS[of]) if key is None else named_place(names, key, table.label)
    if place is None:
        raise DataError(
            f"{table.label} has no column that is known to hold the ids of {of}, its columns are "
            f"{', '.join(names)}: name it with key="
        )
    written = table.columns[names[place]]
    rest = {name: values for name, values in table.columns.items() if name != names[place]}
    try:
        return Features.of(_ids(written), rest, table.kinds if columns is None else columns)
    except DataError as error:
        raise DataError(f"{table.label}: {error}") from None


def _ids(written: Sequence[Any]) -> Any:
    """Text that writes whole numbers becomes numbers, as that of ratings does."""
    if not written or not all(isinstance(each, str) for each in written):
        return written
    for row, each in enumerate(written):
        if not each or each.isspace():
            raise DataError(f"an id is missing (row {row}): drop those rows or fill them in")
    return as_ids(written)


def of_release(release: Found, of: Side) -> Features | None:
    """What a release says of its users or items; None where it says nothing.

    Raises DataError for a bad line.
    """
    columns = _said_by(release, of)
    if columns is None:
        return None
    return Features.of(columns[_KEYS[of][0]], columns, _OWN_KINDS[of])


def _open(source: Source, of: Side) -> _Table:
    if not isinstance(source, str | os.PathLike):
        if not hasattr(source, "columns"):
            raise DataError(
                f"side data come from a path, the name of a release or a DataFrame, "
                f"not {type(source).__name__}"
            )
        return _of_frame(source, "the DataFrame")
    file, release = locate(source)
    if release is None:
        return _of_file(file)
    columns = _said_by(release, of)
    if columns is None:
        raise DataError(f"{source} says nothing of its {of}: name a table with a row to each")
    return _Table(f"{source}, {of}", columns, _OWN_KINDS[of])


def _said_by(release: Found, of: Side) -> dict[str, Sequence[Any]] | None:
    """Everything that a release says of its users or items, by column."""
    if of == "users":
        rows = release.users()
        if rows is None:
            return None
        names = ("user", "age", "gender", "occupation", "zip_code")
        return {name: [row[name] for row in rows] for name in names}
    catalog = release.catalog()
    if catalog is None:
        return None
    return {
        "item": catalog.items.values.tolist(),
        "title": catalog.titles.tolist(),
        "year": [year or None for year in catalog.years.tolist()],
        "genres": catalog.genres,
    }


def _of_frame(frame: pd.DataFrame, label: str) -> _Table:
    names = _checked([*map(str, frame.columns)], label)
    columns = {name: frame.iloc[:, place].tolist() for place, name in enumerate(names)}
    return _Table(label, columns)


def _of_file(file: File) -> _Table:
    if is_parquet(file):
        return _of_frame(read_parquet(file, lambda names: range(len(names))), str(file))
    start = beginning(file)
    separator = start.separator(2)
    names = _checked([name.strip() for name in split_line(start.lines[0], separator)], str(file))
    try:
        rows = _rows(file, separator, start.encoding, len(names))
    except UnicodeDecodeError:
        rows = _rows(file, separator, "latin-1", len(names))
    return _Table(str(file), {name: [row[i] for row in rows] for i, name in enumerate(names)})


def _rows(file: File, separator: str, encoding: str, width: int) -> list[list[str]]:
    """The lines below the header. Raises DataError for one of another width."""
    rows = []
    with file.open_text(encoding, newline="") as text:
        for number, fields in lines_of(text, separator, str(file), header=True):
            if len(fields) != width:
                raise DataError(
                    f"{file}, line {number}: {len(fields)} fields instead of {width}: complete "
                    "the line, or quote the field that contains the separator"
                )
            rows.append(fields)
    return rows


def _checked(names: list[str], label: str) -> list[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{label} has two columns {twice!r}: give one another name")
    return names
