"""External ids (what the data calls a user or an item) and row numbers (what mathematics uses)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError

Rows: TypeAlias = NDArray[np.int64]


class Ids:
    """A sorted set of ids, all int or all str; the row number of an id is its place in `values`.

    Sorting makes the numbering a property of the data, not of the order in which it was read.
    """

    __slots__ = ("values",)

    values: NDArray[Any]

    def __init__(self, values: NDArray[Any]) -> None:
        """`values`: sorted, unique, int64 or str. Use `Ids.of` for anything else."""
        self.values = values

    @classmethod
    def of(cls, xs: Iterable[Any]) -> Ids:
        """The ids that occur in `xs`, repeated or not, in any order.

        Raises DataError for missing ids, fractions, and a mix of numbers and text.
        """
        return cls(np.unique(as_id_array(xs)))

    @classmethod
    def factorize(cls, xs: Iterable[Any]) -> tuple[Ids, Rows]:
        """The ids in `xs` and, for each element of `xs`, its row: [n] int64."""
        values, rows = np.unique(as_id_array(xs), return_inverse=True)
        return cls(values), rows.astype(np.int64)

    def find(self, xs: Iterable[Any]) -> Rows:
        """Rows of `xs`: [n] int64, -1 where unknown, as a number is among text."""
        wanted = as_id_array(xs)
        if not len(self) or not len(wanted) or wanted.dtype.kind != self.values.dtype.kind:
            return np.full(len(wanted), -1, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.values, wanted), len(self) - 1)
        return np.where(self.values[places] == wanted, places, -1).astype(np.int64)

    def rows(self, xs: Iterable[Any]) -> Rows:
        """Rows of `xs`: [n] int64. Raises DataError naming the first unknown id."""
        wanted = as_id_array(xs)
        rows = self.find(wanted)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise DataError(
                f"unknown id {wanted[unknown[0]].item()!r}{more}: there are {len(self)} ids here, "
                f"from {self.values[0].item()!r} to {self.values[-1].item()!r}"
                if len(self)
                else f"unknown id {wanted[unknown[0]].item()!r}: there are no ids here"
            )
        return rows

    def parse(self, text: str) -> int | str:
        """`text` as an id of this kind: what a person typed on a command line."""
        if self.values.dtype.kind != "i":
            return text
        try:
            return int(text)
        except ValueError:
            raise DataError(f"ids are whole numbers here, and {text!r} is none") from None

    @property
    def digest(self) -> str:
        """SHA-256 of the ids, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.values.tolist()).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ids):
            return NotImplemented
        return self is other or (
            self.values.dtype.kind == other.values.dtype.kind
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ids({len(self)}: {', '.join(map(str, self.values[:3]))}, ...)"


def as_id_array(xs: Iterable[Any]) -> NDArray[Any]:
    """`xs` as an int64 or str array [n]. Raises DataError for what cannot be an id."""
    array = xs if isinstance(xs, np.ndarray) else np.asarray(_listed(xs))
    if array.ndim != 1:
        raise DataError(f"ids must be a flat list, not an array of shape {array.shape}")
    if not len(array):
        return array if array.dtype.kind == "U" else array.astype(np.int64)
    match array.dtype.kind:
        case "U":
            return array
        case "i":
            return array.astype(np.int64)
        case "u":
            if array.max() > np.iinfo(np.int64).max:
                raise DataError(f"id {array.max()} does not fit 64 bits: read the ids as text")
            return array.astype(np.int64)
        case "f":
            return _whole(array)
        case "O" | "T":
            return _from_objects(array.tolist())
    raise DataError(f"ids must be whole numbers or text, not {array.dtype}")


def _listed(xs: Iterable[Any]) -> NDArray[Any] | list[Any]:
    if hasattr(xs, "to_numpy"):
        return np.asarray(xs.to_numpy())
    listed = list(xs)
    # numpy would turn [1, "a"] into text in silence, and [2**70] into objects.
    if len({isinstance(x, str) for x in listed}) > 1:
        raise DataError(_MIXED)
    return listed


def _whole(array: NDArray[Any]) -> Rows:
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"an id is missing (row {place}): drop those rows or fill them in")
    exact = 2 ** (np.finfo(array.dtype).nmant + 1)
    if (array != np.floor(array)).any() or np.abs(array).max() >= exact:
        raise DataError(
            "ids are fractions or too large to be exact as floating point: read them as "
            "whole numbers or text"
        )
    return array.astype(np.int64)


def _from_objects(xs: Sequence[Any]) -> NDArray[Any]:
    if all(isinstance(x, str) for x in xs):
        return np.asarray(xs, dtype=np.str_)
    for place, x in enumerate(xs):
        if x is None or x != x or type(x).__name__ == "NAType":
            raise DataError(f"an id is missing (row {place}): drop those rows or fill them in")
    if all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in xs):
        if max(xs) > np.iinfo(np.int64).max or min(xs) < np.iinfo(np.int64).min:
            raise DataError("an id does not fit 64 bits: read the ids as text")
        return np.asarray(xs, dtype=np.int64)
    if all(isinstance(x, float | int) for x in xs):
        return _whole(np.asarray(xs, dtype=np.float64))
    raise DataError(_MIXED)


_MIXED = "ids mix numbers and text: make them all text, for example with astype(str)"
