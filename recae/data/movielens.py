"""Every MovieLens release (Harper and Konstan 2015): one table of facts, one reader.

Releases come as a folder or a zip, the zip perhaps with a folder inside, files perhaps gzipped.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePath
from typing import TextIO

from recae.catalog import Catalog
from recae.data.files import File
from recae.errors import DataError
from recae.ratings import Scale

BASE_URL = "https://files.grouplens.org/datasets/movielens/"

_NO_GENRES = "(no genres listed)"
_HALF_STARS = (0.5, 5.0)
# The flags of u.item, in their order.
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


@dataclass(frozen=True)
class Format:
    """How the files of some releases are named and written."""

    tables: tuple[str, ...]
    """Patterns of files with ratings; the first two are names of one with all of them."""
    separator: str | None
    """Between the fields of the ratings; None: as the file's name or first line says."""
    movies: str
    encoding: str
    """Of the movies file."""
    films: Callable[[Iterator[str]], Iterator[tuple[str, str, list[str]]]]
    """Lines of the movies file -> (id, title, genres)."""
    users: tuple[str, str, tuple[str, ...]] | None = None
    """The file that describes users, its separator, its columns."""


@dataclass(frozen=True)
class Release:
    """One release: where it is, how it is written, what is in it."""

    name: str
    format: Format
    scale: Scale
    md5: str | None
    """Of the zip; None where it changes, and its checksum is published beside it."""
    ratings: int
    users: int
    items: int
    """Rated ones."""
    megabytes: int
    """The zip, in 10^6 bytes."""
    folder: str = ""
    """The folder inside the zip where it has another name."""

    @property
    def short(self) -> str:
        """The name without `ml-`."""
        return self.name.removeprefix("ml-")

    @property
    def zip_name(self) -> str:
        """The zip as GroupLens calls it."""
        return f"{self.name}.zip"


def _films_100k(lines: Iterator[str]) -> Iterator[tuple[str, str, list[str]]]:
    for line in lines:
        fields = line.split("|")
        flags = zip(_GENRES_100K, fields[5:], strict=True)
        genres = [genre for genre, flag in flags if flag.strip() == "1" and genre != "unknown"]
        # The data's own placeholder for a film that nobody could identify.
        yield fields[0], "" if fields[1] == "unknown" else fields[1], genres


def _films_dat(lines: Iterator[str]) -> Iterator[tuple[str, str, list[str]]]:
    for line in lines:
        number, rest = line.split("::", 1)
        title, genres = rest.rsplit("::", 1)
        yield number, title, genres.split("|")


def _films_csv(lines: Iterator[str]) -> Iterator[tuple[str, str, list[str]]]:
    for row in csv.DictReader(lines):
        yield row["movieId"], row["title"], row["genres"].split("|")


_U_DATA = Format(
    ("u.data", "u.data", "u*.base", "u*.test"),
    "\t",
    "u.item",
    "latin-1",
    _films_100k,
    ("u.user", "|", ("user", "age", "gender", "occupation", "zip_code")),
)
_DAT = ("ratings.dat", "ratings.csv", "r*.train", "r*.test")
_DAT_LATIN = Format(
    _DAT,
    None,
    "movies.dat",
    "latin-1",
    _films_dat,
    ("users.dat", "::", ("user", "gender", "age", "occupation", "zip_code")),
)
_DAT_UTF_8 = Format(_DAT, None, "movies.dat", "utf-8", _films_dat)
_CSV = Format(("ratings.csv", "ratings.csv"), ",", "movies.csv", "utf-8", _films_csv)

# Counts: the READMEs of the releases; `latest` and `latest-small` as of the dates below.
RELEASES: dict[str, Release] = {
    release.name: release
    for release in (
        Release(
            "ml-100k", _U_DATA, (1.0, 5.0), "0e33842e24a9c977be4e0107933c0723",
            100_000, 943, 1_682, 5,
        ),
        Release(
            "ml-1m", _DAT_LATIN, (1.0, 5.0), "c4d9eecfca2ab87c1945afe126590906",
            1_000_209, 6_040, 3_706, 6,
        ),
        Release(
            "ml-10m", _DAT_UTF_8, _HALF_STARS, "ce571fd55effeba0271552578f2648bd",
            10_000_054, 69_878, 10_677, 66, "ml-10M100K",
        ),
        Release(
            "ml-20m", _CSV, _HALF_STARS, "cd245b17a1ae2cc31bb14903e1204af3",
            20_000_263, 138_493, 26_744, 199,
        ),
        Release(
            "ml-25m", _CSV, _HALF_STARS, "6b51fb2759a8657d3bfcbfc42b592ada",
            25_000_095, 162_541, 59_047, 262,
        ),
        Release(
            "ml-32m", _CSV, _HALF_STARS, "d472be332d4daa821edc399621853b57",
            32_000_204, 200_948, 84_432, 239,
        ),
        # July 2023.
        Release("ml-latest", _CSV, _HALF_STARS, None, 33_832_162, 330_975, 83_239, 351),
        # October 2016, the embedded one; the download has been that of September 2018 since then.
        Release("ml-latest-small", _CSV, _HALF_STARS, None, 100_004, 671, 9_066, 1),
    )
}  # fmt: skip


def release_called(name: str) -> Release | None:
    """The release of that name, `ml-1m` or in short `1m`, in any case; None for other names."""
    lowered = name.lower()
    return RELEASES.get(lowered) or RELEASES.get(f"ml-{lowered}")


@dataclass(frozen=True)
class Found:
    """A release, or a part of one, as it lies somewhere."""

    name: str | None
    """None where the files are MovieLens's but not the name."""
    scale: Scale
    format: Format
    files: Mapping[str, File]

    @property
    def table(self) -> File | None:
        """The file with all ratings."""
        names = (name for name in self.format.tables[:2] if name in self.files)
        return next((self.files[name] for name in names), None)

    def holds(self, file: File) -> bool:
        """Whether `file` is one of the release's own files of ratings."""
        return any(fnmatch(file.name, pattern) for pattern in self.format.tables)

    def separator(self, file: File) -> str | None:
        """What separates the fields of one of its files of ratings, where that is settled."""
        return None if file.name.endswith(".csv") else self.format.separator

    def users(self) -> list[dict[str, int | str]] | None:
        """What the release says of its users, a row each; None where it says nothing.

        Raises DataError for a bad line.
        """
        if self.format.users is None or self.format.users[0] not in self.files:
            return None
        name, separator, columns = self.format.users
        file = self.files[name]
        rows: list[dict[str, int | str]] = []
        with file.open_text(self.format.encoding) as text:
            lines = _Numbered(text)
            try:
                for line in lines:
                    row = dict(zip(columns, line.split(separator), strict=True))
                    rows.append(row | {"user": int(row["user"]), "age": int(row["age"])})
            except ValueError:
                raise DataError(
                    f"{file}, line {lines.number}: not a line of a MovieLens file of users: "
                    "get it again"
                ) from None
        return rows

    def catalog(self) -> Catalog | None:
        """Titles, genres and years; None without a movies file. Raises DataError for a bad line."""
        file = self.files.get(self.format.movies)
        if file is None:
            return None
        ids, titles, genres = [], [], []
        with file.open_text(self.format.encoding) as text:
            lines = _Numbered(text)
            try:
                for number, title, kinds in self.format.films(lines):
                    ids.append(int(number))
                    titles.append(title)
                    genres.append([kind for kind in kinds if kind and kind != _NO_GENRES])
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, csv.Error):
                raise DataError(
                    f"{file}, line {lines.number}: not a line of a MovieLens file of movies: "
                    "get it again"
                ) from None
        return Catalog.of(ids, titles, genres)


def recognise(files: Mapping[str, File], name: str) -> Found | None:
    """The release that a folder or zip called `name` holds, by that name or else by its files."""
    stem = PurePath(name).name.removesuffix(".zip")
    for release in RELEASES.values():
        if stem.lower() in (release.name, release.folder.lower()):
            found = Found(release.name, release.scale, release.format, files)
            if found.table is not None:
                return found
    like = _by_files(files)
    return None if like is None else Found(None, like.scale, like.format, files)


class _Numbered:
    """Lines without their ends, blank ones left out, and the number of the last one given."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.number = stream, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            line = next(self.stream)
            self.number += 1
            if line.strip():
                return line.rstrip("\n")


def _by_files(files: Mapping[str, File]) -> Release | None:
    if {"u.data", "u.item"} <= files.keys():
        return RELEASES["ml-100k"]
    if {"ratings.dat", "movies.dat"} <= files.keys():
        # Only 1M describes its users, and only it is in latin-1.
        return RELEASES["ml-1m" if "users.dat" in files else "ml-10m"]
    if {"ratings.csv", "movies.csv"} <= files.keys() and _is_movielens(files["movies.csv"]):
        return RELEASES["ml-latest"]
    return None


def _is_movielens(movies: File) -> bool:
    with movies.open() as stream:
        return stream.readline().strip().removeprefix(b"\xef\xbb\xbf") == b"movieId,title,genres"
