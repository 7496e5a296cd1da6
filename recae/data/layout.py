"""What a table looks like: which columns hold what, and what separates them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TextIO

from recae.data.files import File
from recae.errors import DataError

# Common headers, in lower case.
USER = ("user", "userid", "user_id", "uid")
ITEM = ("item", "itemid", "item_id", "movieid", "movie_id")
RATING = ("rating", "stars", "score")
TIME = ("time", "timestamp")

_SEPARATORS = ("::", "\t", ",", ";", "|", " ")
_BY_SUFFIX = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_NAMES = {"::": "'::'", "\t": "a tab", " ": "a space"}


@dataclass(frozen=True)
class Naming:
    """What a person says of the columns: their names, and the values that rows must have."""

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    where: Mapping[str, object] = field(default_factory=dict)

    @property
    def says_nothing(self) -> bool:
        """Whether every column is left to be recognised."""
        return not (self.user or self.item or self.rating or self.time)


@dataclass(frozen=True)
class Places:
    """Which columns, counted from 0, hold what."""

    user: int
    item: int
    rating: int
    time: int | None = None
    where: tuple[tuple[int, str, object], ...] = ()
    """(place, name, the value that rows must have)."""

    @property
    def used(self) -> list[int]:
        """Every place that has to be read, in ascending order."""
        some = {self.user, self.item, self.rating, *(place for place, _, _ in self.where)}
        return sorted(some if self.time is None else some | {self.time})


@dataclass(frozen=True)
class Layout:
    """How the lines of a text file are to be read."""

    separator: str
    encoding: str
    header: bool
    width: int
    """Fields a line."""
    places: Places
    time_is_whole: bool
    """Whether times are whole numbers; else they are dates or fractions."""


def find_columns(columns: Sequence[str], naming: Naming, label: str) -> Places:
    """Where the wanted columns stand: those that are named, else those with a common header.

    Raises DataError, listing the columns, where one is missing.
    """
    return Places(
        user=_required(columns, naming.user, "user", USER, label),
        item=_required(columns, naming.item, "item", ITEM, label),
        rating=_required(columns, naming.rating, "rating", RATING, label),
        time=named_place(columns, naming.time, label) if naming.time else recognised(columns, TIME),
        where=tuple(
            (named_place(columns, name, label), name, value) for name, value in naming.where.items()
        ),
    )


def _required(
    columns: Sequence[str], named: str | None, what: str, known: Sequence[str], label: str
) -> int:
    if named is not None:
        return named_place(columns, named, label)
    place = recognised(columns, known)
    if place is None:
        raise DataError(
            f"{label} has no column that is known to hold the {what}, its columns are "
            f"{', '.join(columns)}: name it with {what}= (or --columns), "
            f"or add a header line if there is none"
        )
    return place


def named_place(columns: Sequence[str], name: str, label: str) -> int:
    """The place of the column called `name`. Raises DataError, listing the columns."""
    if name not in columns:
        raise DataError(f"{label} has no column {name!r}: its columns are {', '.join(columns)}")
    return columns.index(name)


def recognised(columns: Sequence[str], known: Sequence[str]) -> int | None:
    """The place of the column that has one of the `known` headers, in any case."""
    lowered = [column.strip().lower() for column in columns]
    return next((lowered.index(name) for name in known if name in lowered), None)


@dataclass(frozen=True)
class Beginning:
    """The first lines of a text file and what they tell."""

    name: str
    encoding: str
    lines: list[str]
    """One or two, not blank."""

    def separator(self, fields: int) -> str:
        """What its name says, or what divides its first line into so many fields or more."""
        by_name = _BY_SUFFIX.get(PurePath(self.name).suffix.lower())
        return by_name or _likely(self.lines[0], fields)


def beginning(file: File) -> Beginning:
    """The beginning of a text file. Raises DataError for an empty one."""
    with file.open() as stream:
        start = stream.read(1 << 16)
    encoding = _encoding(start)
    lines = _first_lines(start, encoding)
    if not lines:
        raise DataError(f"{file} is empty: there are no rows in it")
    return Beginning(file.name, encoding, lines)


def sniff(file: File, naming: Naming, separator: str | None) -> Layout:
    """The layout of a text file, from its name and its first lines.

    Without `separator`, `.csv` means commas and `.tsv` tabs; any other file is taken to be
    separated by what divides its first line into three fields or more. A first line of three or
    four numbers means that there is no header and that these are user, item, rating and time.

    Raises DataError for an empty file, a separator that leaves one column, missing columns.
    """
    if separator is not None and len(separator) != 1 and separator != "::":
        raise DataError(f"a separator is one character or '::', not {separator!r}")
    start = beginning(file)
    chosen = separator or start.separator(3)
    first, *others = [split_line(line, chosen) for line in start.lines]
    if len(first) < 3:
        raise DataError(_too_few(file, start.lines[0], first, chosen))
    if naming.says_nothing and len(first) > 4 and all(map(is_number, first)):
        raise DataError(
            f"{file} has no header, and {len(first)} numbers in its first line: name the columns "
            'in a first line, or, if a line is a user and that user\'s items, pass layout="lists"'
        )
    headerless = naming.says_nothing and len(first) in (3, 4) and all(map(is_number, first))
    if headerless and naming.where:
        raise DataError(f"{file} has no header, so no column {next(iter(naming.where))!r} in it")
    places = (
        Places(0, 1, 2, 3 if len(first) == 4 else None)
        if headerless
        else find_columns(first, naming, str(file))
    )
    if not headerless and not others:
        raise DataError(f"{file} has a header and no ratings")
    example = first if headerless else others[0]
    whole = places.time is None or _is_whole(example, places.time)
    return Layout(chosen, start.encoding, not headerless, len(first), places, whole)


def lines_of(
    text: TextIO, separator: str, label: str, *, header: bool
) -> Iterator[tuple[int, list[str]]]:
    """The lines below the header, if there is one, as (line number in the file from 1, fields).

    Blank lines are left out. text: opened with newline="", as the csv module wants it.

    Raises DataError where a line cannot be divided into fields.
    """
    wide = separator == "::"
    reader = csv.reader(text, delimiter=separator[0], skipinitialspace=True, strict=True)
    before = 0
    try:
        for row in reader:
            # A quoted field may go over several lines: the first is the one to look at.
            number, before = before + 1, reader.line_num
            if row and not header:
                yield number, row[::2] if wide else row
            header = header and not row
    except csv.Error as error:
        raise DataError(
            f"{label}, line {before + 1}: {error}: look for a quote that is not closed"
        ) from None


def split_line(line: str, separator: str) -> list[str]:
    """The fields of one line."""
    if separator == "::":
        return line.split("::")
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True))


def is_number(text: str) -> bool:
    """Whether `text` reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole(fields: Sequence[str], place: int) -> bool:
    return place >= len(fields) or fields[place].strip().lstrip("-").isdigit()


def _encoding(start: bytes) -> str:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-8-sig"


def _first_lines(start: bytes, encoding: str) -> list[str]:
    """Up to two lines that are not blank, from the beginning of a file."""
    text = start.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in text.split("\n") if line.strip()][:2]


def _likely(line: str, fields: int) -> str:
    for separator in _SEPARATORS:
        if len(split_line(line, separator)) >= fields:
            return separator
    return ","


def _too_few(file: File, line: str, fields: Sequence[str], separator: str) -> str:
    other = _likely(line, 3)
    found = f"{len(fields)} column{'s' if len(fields) > 1 else ''}"
    used = _NAMES.get(separator, repr(separator))
    if len(split_line(line, other)) >= 3:
        return (
            f"{file} has only {found} when {used} separates them, and "
            f"{_NAMES.get(other, repr(other))} looks right: pass separator={other!r}"
        )
    shown = line if len(line) <= 60 else line[:60] + "..."
    return (
        f"{file} is no table of ratings: it needs columns of users, items and ratings, and its "
        f"first line is {shown!r}"
    )
