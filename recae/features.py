"""Side data: what is known of users or items beside ratings, and how models read it.

n rows, one a user (or item); F columns of the coded matrix. Absent means unknown: a missing value
and a category that was not learned are zeros in every column.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recae.errors import DataError
from recae.ids import Ids, Rows

_T = TypeVar("_T")

Kind: TypeAlias = Literal["category", "categories", "number"]
"""`category`: text, or a number that only names; `categories`: several of them in one row, as a
list or as text with | between them; `number`: one that measures."""

_MANY_VALUES: Final = 20
"""Numbers with more different values than that measure something; others name it."""
_KNOTS: Final = 8
_HELD_BY: Final = 2
"""Rows that must hold a category before anything is learned of it."""
_MOST_CATEGORIES: Final = 100_000
_LISTS: Final = (list, tuple, set, frozenset, np.ndarray)


@dataclass(frozen=True, eq=False)
class Categories:
    """A column of categories."""

    name: str
    values: tuple[tuple[str, ...], ...]
    """[n]: the different categories of each row, sorted; none where unknown."""

    def take(self, rows: Rows) -> Categories:
        """The rows at `rows`; nothing is known at row -1."""
        return Categories(
            self.name, tuple(self.values[row] if row >= 0 else () for row in rows.tolist())
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """[n]: where there is a value."""
        return np.fromiter(map(bool, self.values), dtype=np.bool_, count=len(self.values))

    @property
    def written(self) -> bytes:
        """The values, for a digest."""
        return json.dumps(self.values).encode()


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers."""

    name: str
    values: NDArray[np.float64]
    """[n]; NaN where unknown, never infinite."""

    def take(self, rows: Rows) -> Numbers:
        """The rows at `rows`; nothing is known at row -1."""
        taken = np.full(len(rows), np.nan)
        taken[rows >= 0] = self.values[rows[rows >= 0]]
        return Numbers(self.name, taken)

    @property
    def known(self) -> NDArray[np.bool_]:
        """[n]: where there is a value."""
        return ~np.isnan(self.values)

    @property
    def written(self) -> bytes:
        """The values, for a digest."""
        return self.values.astype("<f8").tobytes()


Column: TypeAlias = Categories | Numbers


@dataclass(frozen=True, eq=False)
class Features:
    """What is known of `ids`, row by row; build with `Features.of`, which checks.

    >>> side = Features.of([7, 8], {"age": [31, 54], "plays": ["chess|go", ""]},
    ...                    {"age": "number", "plays": "categories"})
    >>> side.columns[1].values
    (('chess', 'go'), ())
    """

    ids: Ids
    columns: tuple[Column, ...]

    @classmethod
    def of(
        cls,
        ids: Iterable[Any],
        values: Mapping[str, Iterable[Any]],
        kinds: Mapping[str, Kind] | None = None,
    ) -> Features:
        """Side data from parallel columns [n] in any order of rows.

        kinds: the columns to use and what each is; None: all of them, as `guess` sees them.

        Raises DataError for an empty table, no columns, columns of different lengths, an id listed
        twice, a column or kind that does not exist, and what is no (finite) number in a column of
        numbers. Missing values (None, NaN, empty text) are kept as such.
        """
        own, rows = Ids.factorize(ids)
        listed = {name: _listed(column) for name, column in values.items()}
        chosen = {name: guess(x) for name, x in listed.items()} if kinds is None else kinds
        _check(chosen, listed, len(rows))
        if not len(rows):
            raise DataError("there are no rows: the table is empty")
        if len(own) < len(rows):
            twice = own.values[np.flatnonzero(np.bincount(rows) > 1)[0]].item()
            raise DataError(f"id {twice!r} is there more than once: give one row to each")
        order = np.argsort(rows).tolist()
        columns = [
            _column(name, kind, [listed[name][place] for place in order], own)
            for name, kind in chosen.items()
        ]
        return cls(own, tuple(columns))

    def find(self, ids: Ids) -> Rows:
        """The row of each of `ids` [len(ids)], -1 where nothing is known of it.

        Where ids are numbers here and text there, they are compared as they are written.
        """
        if not len(self) or self.ids.values.dtype.kind == ids.values.dtype.kind:
            return self.ids.find(ids.values)
        written, places = np.unique(self.ids.values.astype(np.str_), return_index=True)
        found = Ids(written).find(ids.values.astype(np.str_))
        return np.where(found >= 0, places[found], -1).astype(np.int64)

    def over(self, ids: Ids) -> Features:
        """Row for row with `ids`; every value is missing for those that are unknown here."""
        return self if ids == self.ids else self.take(self.find(ids), ids)

    def take(self, rows: Rows, ids: Ids) -> Features:
        """The rows at `rows`, under the names `ids`; every value is missing at row -1."""
        return Features(ids, tuple(column.take(rows) for column in self.columns))

    @property
    def digest(self) -> str:
        """SHA-256 over ids, names and values: equal for equal side data."""
        sha = hashlib.sha256(self.ids.digest.encode())
        for column in self.columns:
            sha.update(json.dumps([type(column).__name__, column.name]).encode())
            sha.update(column.written)
        return sha.hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Features({len(self):,} rows: {', '.join(column.name for column in self.columns)})"


def guess(values: Sequence[Any]) -> Kind:
    """What a column seems to be: numbers with more than 20 different values measure, lists and
    text with | hold several categories, everything else is one."""
    known = [x for x in values if not _is_missing(x)]
    if any(isinstance(x, _LISTS) or (isinstance(x, str) and "|" in x) for x in known):
        return "categories"
    if len(set(map(str, known))) > _MANY_VALUES and all(map(_is_number, known)):
        return "number"
    return "category"


# --- coding


@dataclass(frozen=True)
class CategoryCode:
    """One column a category; a row of several has unit length, one of a single one holds a 1."""

    name: str
    categories: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """[categories]."""
        return [f"{self.name}={category}" for category in self.categories]

    def matrix(self, column: Column) -> sparse.csr_array:
        """[n, categories] float32. Raises DataError where the column holds numbers."""
        if not isinstance(column, Categories):
            raise DataError(f"column {self.name!r} holds numbers, and categories were learned from")
        places = {category: place for place, category in enumerate(self.categories)}
        lengths = [len(some) for some in column.values]
        codes = np.fromiter(
            (places.get(each, -1) for each in chain.from_iterable(column.values)), dtype=np.int64
        )
        rows = np.repeat(np.arange(len(lengths)), lengths)[codes >= 0]
        weights = 1 / np.sqrt(np.bincount(rows, minlength=len(lengths))[rows])
        return _csr(weights, rows, codes[codes >= 0], (len(lengths), len(places)))

    def unknown(self, column: Column) -> int:
        """Rows with a category that was not learned."""
        learned = set(self.categories)
        values = column.values if isinstance(column, Categories) else ()
        return sum(not learned.issuperset(some) for some in values)


@dataclass(frozen=True)
class NumberCode:
    """Piecewise linear: a number between two knots is shared between their columns, by distance.

    A linear layer on top is a linear spline; outside the knots it goes on level.
    """

    name: str
    knots: tuple[float, ...]
    """Ascending."""

    @property
    def names(self) -> list[str]:
        """[knots]."""
        return [f"{self.name}~{knot:.12g}" for knot in self.knots]

    def matrix(self, column: Column) -> sparse.csr_array:
        """[n, knots] float32. Raises DataError where the column holds categories."""
        if not isinstance(column, Numbers):
            raise DataError(f"column {self.name!r} holds categories, and numbers were learned from")
        rows = np.flatnonzero(column.known)
        last = len(self.knots) - 1
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            places = np.interp(column.values[rows], self.knots, np.arange(last + 1.0))
        # Knots so near that their distance has no reciprocal lead out of the range.
        places = np.clip(places, 0, last)
        below = np.floor(places).astype(np.int64)
        above = np.minimum(below + 1, last)
        share = places - below
        return _csr(
            np.concatenate([1 - share, share]),
            np.concatenate([rows, rows]),
            np.concatenate([below, above]),
            (len(column.values), last + 1),
        )

    def unknown(self, column: Column) -> int:
        """No number is unknown: outside the knots the nearest one stands for it."""
        return 0


@dataclass(frozen=True)
class Coding:
    """How side data become a matrix; learned from training rows, applied to any.

    >>> side = Features.of([1, 2, 3, 4], {"plays": ["go", "chess", "go", "chess"]})
    >>> coding = Coding.of(side)
    >>> coding.names
    ['plays=chess', 'plays=go']
    >>> coding.matrix(side).toarray().tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """

    columns: tuple[CategoryCode | NumberCode, ...]
    notes: tuple[str, ...] = ()
    """What was left out in learning, a sentence each."""

    @classmethod
    def of(cls, features: Features) -> Coding:
        """Learn categories (those that two rows hold at least) and knots (quantiles, at most 8).

        Columns that are the same in every row are left out and noted, so are rare categories.

        Raises DataError for a column with no category that two rows share, one with more than
        100,000, and where no column is left.
        """
        codes: list[CategoryCode | NumberCode] = []
        notes = []
        for column in features.columns:
            if _is_constant(column):
                notes.append(f"{column.name}: left out, the same in every row")
            elif isinstance(column, Numbers):
                codes.append(_knots(column))
            else:
                code, rare = _categories(column)
                codes.append(code)
                if rare:
                    notes.append(f"{column.name}: {rare:,} categories of one row each are left out")
        if not codes:
            names = ", ".join(column.name for column in features.columns)
            raise DataError(f"the side data tell no row from another ({names}): do without them")
        return cls(tuple(codes), tuple(notes))

    def matrix(self, features: Features) -> sparse.csr_array:
        """Any rows, also of new users or items: [n, F] float32, sorted, without stored zeros.

        Raises DataError where a column that was learned from is absent or of another kind.
        """
        blocks = [code.matrix(self._column(features, code.name)) for code in self.columns]
        return sparse.csr_array(sparse.hstack(blocks, format="csr", dtype=np.float32))

    @property
    def names(self) -> list[str]:
        """[F]: what each column of the matrix stands for, like `genres=Drama`, `year~1994`."""
        return [name for code in self.columns for name in code.names]

    def notes_on(self, features: Features) -> tuple[str, ...]:
        """What these rows lack, a sentence each: missing values, categories not learned."""
        notes = []
        for code in self.columns:
            column = self._column(features, code.name)
            if missing := int((~column.known).sum()):
                notes.append(f"{code.name}: missing in {missing:,} of {len(features):,} rows")
            if unknown := code.unknown(column):
                notes.append(f"{code.name}: categories that were not learned in {unknown:,} rows")
        return tuple(notes)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, for `json.dump`."""
        columns = [
            {"name": code.name, "knots": list(code.knots)}
            if isinstance(code, NumberCode)
            else {"name": code.name, "categories": list(code.categories)}
            for code in self.columns
        ]
        return {"columns": columns, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Coding:
        """The coding that `to_json` wrote."""
        columns = [
            NumberCode(each["name"], tuple(each["knots"]))
            if "knots" in each
            else CategoryCode(each["name"], tuple(each["categories"]))
            for each in stored["columns"]
        ]
        return cls(tuple(columns), tuple(stored["notes"]))

    def _column(self, features: Features, name: str) -> Column:
        for column in features.columns:
            if column.name == name:
                return column
        raise DataError(
            f"the side data have no column {name!r}, which was learned from: "
            f"there are {', '.join(column.name for column in features.columns)}"
        )


def _is_constant(column: Column) -> bool:
    """Whether the column is the same in every row, missing in all of them included."""
    known = column.known
    if not known.all():
        return not known.any()
    if isinstance(column, Numbers):
        return bool((column.values == column.values[0]).all())
    return len(set(column.values)) == 1


def _knots(column: Numbers) -> NumberCode:
    values = column.values[column.known]
    knots = np.unique(values)
    if len(knots) > _KNOTS:
        # Quantiles that are values of the data: a knot may be read as a year or an age.
        shares = np.linspace(0, 1, _KNOTS)
        knots = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    return NumberCode(column.name, tuple(knots.tolist()))


def _categories(column: Categories) -> tuple[CategoryCode, int]:
    """The categories to code, and the number of those that too few rows hold."""
    counts = Counter(chain.from_iterable(column.values))
    kept = sorted(category for category, count in counts.items() if count >= _HELD_BY)
    if not kept:
        raise DataError(
            f"column {column.name!r} has {len(counts):,} categories and no two rows share one: "
            "leave it out by naming the columns to use, or make it a number"
        )
    if len(kept) > _MOST_CATEGORIES:
        raise DataError(
            f"column {column.name!r} has {len(kept):,} categories, more than the "
            f"{_MOST_CATEGORIES:,} that can be learned: leave it out, or group them"
        )
    return CategoryCode(column.name, tuple(kept)), len(counts) - len(kept)


def _csr(
    weights: NDArray[np.float64], rows: Rows, columns: Rows, shape: tuple[int, int]
) -> sparse.csr_array:
    """[n, width] float32 from entries, of which those of weight 0 are left out."""
    kept = weights > 0
    entries = (weights[kept].astype(np.float32), (rows[kept], columns[kept]))
    return sparse.csr_array(sparse.coo_array(entries, shape=shape))


# --- values as they come


def _listed(values: Iterable[Any]) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _check(kinds: Mapping[str, Kind], columns: Mapping[str, Sequence[Any]], n: int) -> None:
    """Raises DataError where the columns that are to be used are not there, or not of length n."""
    if not kinds:
        raise DataError("there are no columns beside the ids: name at least one")
    for name, kind in kinds.items():
        if name not in columns:
            raise DataError(f"there is no column {name!r}: there are {', '.join(columns)}")
        if kind not in get_args(Kind):
            raise DataError(
                f"column {name!r} cannot be of kind {kind!r}: "
                f"the kinds are {', '.join(get_args(Kind))}"
            )
        if len(columns[name]) != n:
            raise DataError(f"there are {n} ids and {len(columns[name])} values of {name!r}")


def _column(name: str, kind: Kind, values: Sequence[Any], ids: Ids) -> Column:
    """A column in the order of `ids`. Raises DataError naming the id of the first bad value."""
    if kind == "number":
        numbers = _read(_number, name, values, ids)
        return Numbers(name, np.fromiter(numbers, dtype=np.float64, count=len(values)))
    read = _category if kind == "category" else _several
    return Categories(name, tuple(_read(read, name, values, ids)))


def _read(read: Callable[[Any], _T], name: str, values: Sequence[Any], ids: Ids) -> Iterator[_T]:
    for value, each in zip(values, ids.values.tolist(), strict=True):
        try:
            yield read(value)
        except ValueError as fault:
            raise DataError(f"{name!r} of id {each!r} {fault}") from None


def _number(value: Any) -> float:
    if _is_missing(value):
        return float("nan")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"is {value!r}, which is no number: correct it, empty it, or make the column a category"
        ) from None
    except OverflowError:
        number = float("inf")
    if np.isinf(number):
        raise ValueError("is infinite: correct it or empty it")
    return number


def _category(value: Any) -> tuple[str, ...]:
    if _is_missing(value):
        return ()
    if isinstance(value, _LISTS):
        raise ValueError("is a list: make the column one of kind 'categories'")
    if isinstance(value, float) and value.is_integer():
        # A gap turns whole numbers into fractions on their way through a DataFrame.
        value = int(value)
    return (str(value).strip(),)


def _several(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        parts: Iterable[Any] = value.split("|")
    else:
        parts = value if isinstance(value, _LISTS) else [value]
    return tuple(sorted({each for part in parts for each in _category(part)}))


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    nothing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return nothing or (isinstance(value, float) and value != value)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
