"""Any table of ratings: DataFrame, CSV, TSV, Parquet, plain or gzipped, with named columns.

Read fast and in blocks; where that fails, read again row by row to say what is wrong and where.
R ratings.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from recae.catalog import Catalog
from recae.data.files import File, UnreadableError, reason
from recae.data.layout import Layout, Naming, Places, find_columns, lines_of, sniff
from recae.data.problems import Findings, examine, same
from recae.errors import DataError
from recae.ids import Ids, Rows
from recae.ratings import Duplicates, Ratings, Scale

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1_000_000
_WHOLE = re.compile(r"(0|-?[1-9]\d*)(\.0+)?")
# Later than the year 5000 if they were seconds: these are milliseconds.
_MILLISECONDS = 10**11


@dataclass(frozen=True, eq=False)
class Columns:
    """What was read, [R] each: rows of users and items, stars, times (Unix seconds)."""

    users: Ids
    user_rows: Rows
    items: Ids
    item_rows: Rows
    stars: NDArray[Any]
    times: NDArray[np.int64] | None

    def ratings(
        self, scale: Scale | None, duplicates: Duplicates, catalog: Catalog | None
    ) -> Ratings:
        """The ratings; raises what `Ratings.of` raises."""
        # Row numbers sort as their ids do, so a long list of text ids need not be sorted again.
        numbered = Ratings.of(
            self.user_rows,
            self.item_rows,
            self.stars,
            self.times,
            scale=scale,
            duplicates=duplicates,
        )
        known = None if catalog is None else catalog.over(self.items)
        return replace(numbered, users=self.users, items=self.items, catalog=known)


class Table(Protocol):
    """Somewhere ratings can be read from."""

    @property
    def label(self) -> str:
        """What errors call it."""

    def read(self) -> Columns:
        """All of it, fast. Raises DataError or ValueError, without saying where, for bad rows."""

    def examine(self, scale: Scale | None) -> Findings:
        """All of it, slowly, with every problem."""


def load(
    table: Table,
    *,
    scale: Scale | None = None,
    duplicates: Duplicates = "error",
    catalog: Callable[[], Catalog | None] = lambda: None,
) -> Ratings:
    """The ratings in `table`; `catalog` is called once they are known to be good.

    Raises DataError naming the first bad line or row, its value, and how many there are.
    """
    if duplicates not in ("error", "last", "mean"):
        raise DataError(f"duplicates must be error, last or mean, not {duplicates!r}")
    try:
        ratings = table.read().ratings(scale, duplicates, None)
    except UnreadableError:
        raise
    except (DataError, ValueError, OverflowError) as error:
        problems = table.examine(scale).problems
        first = next((p for p in problems if p.kind != "repeated" or duplicates == "error"), None)
        raise DataError(f"{table.label}, {first}" if first else f"{table.label}: {error}") from None
    known = catalog()
    return ratings if known is None else replace(ratings, catalog=known.over(ratings.items))


def columns_of(findings: Findings) -> Columns:
    """The good rows of a table that also has bad ones. Raises DataError for ids that do not fit."""
    if not findings.users:
        raise DataError("no row can be used")
    users, user_rows = _numbered(findings.users)
    items, item_rows = _numbered(findings.items)
    times = _in_seconds(np.asarray(findings.times, dtype=np.int64)) if findings.times else None
    return Columns(users, user_rows, items, item_rows, np.asarray(findings.stars), times)


def open_table(
    source: File | pd.DataFrame,
    naming: Naming,
    *,
    separator: str | None = None,
    whole_ids: bool = False,
) -> Table:
    """The table in a file or DataFrame, its columns found but its rows not yet read.

    whole_ids: the ids are known to be whole numbers, which reads faster.

    Raises DataError for an empty or damaged file, a wrong separator, and missing columns.
    """
    if not isinstance(source, File):
        return _frame_table(source, naming, "the DataFrame")
    if is_parquet(source):

        def used(columns: Sequence[str]) -> list[int]:
            return find_columns(columns, naming, str(source)).used

        return _frame_table(read_parquet(source, used), naming, str(source))
    layout = sniff(source, naming, separator)
    return TextTable(source, layout, whole_ids)


@dataclass(frozen=True)
class TextTable:
    """Lines of fields. Ids are numbers where all are whole without leading zeros, else text."""

    file: File
    layout: Layout
    whole_ids: bool = False

    @property
    def label(self) -> str:
        """The file's path."""
        return str(self.file)

    def read(self) -> Columns:
        """Every rating, by pandas in blocks; see `Table`."""
        # A gap in a column of whole numbers makes pandas warn before it raises.
        with np.errstate(invalid="ignore"):
            try:
                return self._read()
            except UnicodeDecodeError:
                return self._in_latin_1()._read()

    def examine(self, scale: Scale | None) -> Findings:
        """Every problem, by line; see `Table`."""
        try:
            return self._examine(scale)
        except UnicodeDecodeError:
            return self._in_latin_1()._examine(scale)

    def _in_latin_1(self) -> TextTable:
        return replace(self, layout=replace(self.layout, encoding="latin-1"))

    def _examine(self, scale: Scale | None) -> Findings:
        layout = self.layout
        with self.file.open_text(layout.encoding, newline="") as text:
            rows = lines_of(text, layout.separator, self.label, header=layout.header)
            return examine(
                rows,
                unit="line",
                width=layout.width,
                places=layout.places,
                scale=scale,
                ids="whole" if self.whole_ids else "any",
            )

    def _read(self) -> Columns:
        places = self.layout.places
        users, items = _Numbering(), _Numbering()
        stars: list[NDArray[Any]] = []
        times: list[NDArray[Any]] = []
        for block in self._blocks():
            kept = _kept(block, places)
            users.add(kept[places.user])
            items.add(kept[places.item])
            stars.append(kept[places.rating].to_numpy())
            if places.time is not None:
                times.append(_seconds(kept[places.time]))
        if not sum(map(len, stars)):
            raise DataError(_nothing_left(places))
        seconds = _in_seconds(np.concatenate(times)) if times else None
        return Columns(*users.finish(), *items.finish(), np.concatenate(stars), seconds)

    def _blocks(self) -> Iterator[pd.DataFrame]:
        """Blocks of rows with the columns that are used, named by their places.

        Raises ValueError where the lines have unequal numbers of fields, which pandas, asked for
        some columns, would pass over in silence.
        """
        import pandas as pd

        layout, places = self.layout, self.layout.places
        stride = len(layout.separator)
        names = list(range((layout.width - 1) * stride + 1))
        ids = "int64" if self.whole_ids else "str"
        kinds: dict[int, str] = {place * stride: "str" for place, _, _ in places.where}
        kinds |= {places.user * stride: ids, places.item * stride: ids}
        kinds[places.rating * stride] = "float32"
        if places.time is not None:
            kinds[places.time * stride] = "int64" if layout.time_is_whole else "str"
        lines = int(layout.header)
        with self.file.open() as stream:
            counted = _Counting(stream, layout.separator[0].encode())
            for block in pd.read_csv(
                io.BufferedReader(counted, 1 << 20),
                sep=layout.separator[0],
                header=0 if layout.header else None,
                names=names,
                index_col=False,
                usecols=[place * stride for place in places.used],
                dtype=cast(Any, kinds),
                encoding=layout.encoding,
                keep_default_na=False,
                na_values=[""],
                skipinitialspace=True,
                chunksize=_BLOCK,
            ):
                lines += len(block)
                yield block.rename(columns={place * stride: place for place in places.used})
        if counted.count != lines * (len(names) - 1) and not self._is_even():
            raise ValueError("the lines have unequal numbers of fields")

    def _is_even(self) -> bool:
        """Whether every line has as many fields as the first: quoted separators are none."""
        with self.file.open_text(self.layout.encoding, newline="") as text:
            rows = lines_of(text, self.layout.separator, self.label, header=self.layout.header)
            return all(len(fields) == self.layout.width for _, fields in rows)


@dataclass(frozen=True, eq=False)
class FrameTable:
    """A DataFrame. Ids are what its columns hold."""

    frame: pd.DataFrame
    places: Places
    label: str

    def read(self) -> Columns:
        """Every rating; see `Table`."""
        import pandas as pd

        places = self.places
        frame = _kept(self.frame.set_axis(range(self.frame.shape[1]), axis=1), places)
        if not len(frame):
            raise DataError(_nothing_left(places) if len(self.frame) else "there are no ratings")
        users, user_rows = Ids.factorize(frame[places.user])
        items, item_rows = Ids.factorize(frame[places.item])
        stars = pd.to_numeric(frame[places.rating]).to_numpy(dtype=np.float64, na_value=np.nan)
        times = None if places.time is None else _in_seconds(_seconds(frame[places.time]))
        return Columns(users, user_rows, items, item_rows, stars, times)

    def examine(self, scale: Scale | None) -> Findings:
        """Every problem, by row counted from 0; see `Table`."""
        rows = enumerate(self.frame.itertuples(index=False, name=None))
        width = self.frame.shape[1]
        return examine(rows, unit="row", width=width, places=self.places, scale=scale)


class _Numbering:
    """Numbers ids in the order in which they are met, block by block; sorts them at the end."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.blocks: list[NDArray[np.int32]] = []

    def add(self, column: pd.Series[Any]) -> None:
        """One block of ids. Raises DataError where one is missing."""
        import pandas as pd

        codes, ids = pd.factorize(column)
        if len(codes) and codes.min() < 0:
            raise DataError("an id is missing")
        numbers = self.numbers
        translated = [numbers.setdefault(each, len(numbers)) for each in ids.tolist()]
        self.blocks.append(np.asarray(translated, dtype=np.int32)[codes])

    def finish(self) -> tuple[Ids, Rows]:
        """All ids, and the row of each of them in the order they were added: [R]."""
        ids, ranks = Ids.factorize(as_ids(list(self.numbers)))
        return ids, ranks[np.concatenate(self.blocks)]


class _Counting(io.RawIOBase):
    """A stream that counts a byte as it goes by."""

    def __init__(self, stream: BinaryIO, byte: bytes) -> None:
        self.stream, self.byte, self.count = stream, byte, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.stream.read(len(buffer))
        buffer[: len(piece)] = piece
        self.count += piece.count(self.byte)
        return len(piece)


def as_ids(written: Sequence[Any]) -> NDArray[Any]:
    """Distinct ids as written -> int64 where every one is a whole number that fits, else text."""
    if not all(isinstance(each, str) for each in written):
        return np.asarray(written)
    texts = [each.strip() for each in written]
    if "" in texts:
        raise DataError("an id is missing")
    if all(map(_WHOLE.fullmatch, texts)):
        numbers = {int(text.partition(".")[0]) for text in texts}
        fits = min(numbers) >= -(2**63) and max(numbers) < 2**63
        if fits and len(numbers) == len(set(texts)):
            return np.asarray([int(text.partition(".")[0]) for text in texts], dtype=np.int64)
    return np.asarray(texts, dtype=np.str_)


def _numbered(written: Sequence[Any]) -> tuple[Ids, Rows]:
    """The ids in a column of a table that was read row by row, and their rows [R]."""
    distinct = {each: place for place, each in enumerate(dict.fromkeys(written))}
    ids, ranks = Ids.factorize(as_ids(list(distinct)))
    return ids, ranks[np.asarray([distinct[each] for each in written], dtype=np.int64)]


def _kept(frame: pd.DataFrame, places: Places) -> pd.DataFrame:
    """The rows whose columns have the values asked for."""
    for place, _, value in places.where:
        column = frame[place]
        frame = frame[column.isin([each for each in column.unique() if same(each, value)])]
    return frame


def _nothing_left(places: Places) -> str:
    if not places.where:
        return "there are no ratings in it"
    return "no row has " + " and ".join(f"{name} = {value}" for _, name, value in places.where)


def _seconds(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Times as they are written, numbers, timestamps or dates: [R]. Raises ValueError for gaps."""
    import pandas as pd
    from pandas.api import types

    if not (types.is_datetime64_any_dtype(column) or types.is_numeric_dtype(column)):
        try:
            column = pd.to_numeric(column)
        except (TypeError, ValueError):
            column = pd.to_datetime(column, utc=True, format="ISO8601")
    if column.isna().any():
        raise ValueError("a time is missing")
    if types.is_datetime64_any_dtype(column):
        stamps = column if column.dt.tz is None else column.dt.tz_convert(None)
        return stamps.to_numpy().astype("datetime64[s]").astype(np.int64)
    numbers = column.to_numpy()
    if not np.isfinite(numbers).all():
        raise ValueError("a time is infinite")
    return numbers.astype(np.int64)


def _in_seconds(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """[R] Unix seconds, from those or from milliseconds."""
    return times // 1000 if np.abs(times).max(initial=0) > _MILLISECONDS else times


def _frame_table(frame: pd.DataFrame, naming: Naming, label: str) -> FrameTable:
    return FrameTable(frame, find_columns([*map(str, frame.columns)], naming, label), label)


def is_parquet(file: File) -> bool:
    """Whether the file is, or by its name should be, a Parquet file."""
    with file.open() as stream:
        return file.name.endswith(".parquet") or stream.read(4) == b"PAR1"


def read_parquet(file: File, used: Callable[[Sequence[str]], Iterable[int]]) -> pd.DataFrame:
    """The columns of a Parquet file at the places that `used` picks from their names.

    Raises UnreadableError where it is damaged.
    """
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    with file.open() as stream:
        try:
            columns = parquet.ParquetFile(stream).schema_arrow.names
            wanted = [columns[place] for place in used(columns)]
            stream.seek(0)
            return pd.read_parquet(stream, columns=wanted)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UnreadableError(
                f"{file} is truncated or corrupt, or no Parquet file ({reason(error)}): "
                "get it again"
            ) from None
