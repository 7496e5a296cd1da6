"""Everything wrong with a table, row by row: slow and thorough, run only where reading failed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from recae.data.layout import Places, is_number
from recae.ratings import Scale

IdKind: TypeAlias = Literal["any", "whole", "natural"]
"""What ids have to be: anything, whole numbers, whole numbers from 0."""


@dataclass(frozen=True)
class Problem:
    """One kind of fault: how many rows have it, and the first of them."""

    kind: str
    """`fields`, `user`, `item`, `whole`, `natural`, `missing`, `number`, `infinite`, `scale`,
    `time`, `repeated`, or `table` for what concerns no row."""
    what: str
    """The fault of the first row, with the offending value: "the rating 'x' is not a number"."""
    remedy: str
    count: int
    where: str
    """Of the first row: `line 5` (from 1, in the file) or `row 4` (from 0, in a DataFrame)."""
    value: str

    def __str__(self) -> str:
        more = f" ({self.count:,} such rows)" if self.count > 1 else ""
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}{more}" + (f": {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, eq=False)
class Findings:
    """What is wrong, by kind, and the columns [R] of the rows that are right."""

    problems: tuple[Problem, ...]
    users: list[Any]
    """[R] ids as written."""
    items: list[Any]
    stars: list[float]
    times: list[int]
    """Empty where the table has no times."""


def examine(
    rows: Iterable[tuple[int, Sequence[Any]]],
    *,
    unit: str,
    width: int,
    places: Places,
    scale: Scale | None,
    ids: IdKind = "any",
) -> Findings:
    """Every row that cannot be used, and what is left.

    rows: (number of the line or row, its fields); unit: what these numbers count; width: how many
    fields a row must have; ids: what they have to be.
    """
    tally = _Tally(unit)
    users: list[Any] = []
    items: list[Any] = []
    stars: list[float] = []
    times: list[int] = []
    first: dict[tuple[Any, Any], int] = {}
    for number, fields in rows:
        if len(fields) != width:
            tally.add("fields", number, len(fields), width)
            continue
        if not all(same(fields[place], value) for place, _, value in places.where):
            continue
        user, item = _clean(fields[places.user]), _clean(fields[places.item])
        fault = _id_fault(user, item, ids) or _rating_fault(fields[places.rating], scale)
        if fault is not None:
            kind, *found = fault
            tally.add(kind, number, *found)
            continue
        if places.time is not None:
            seconds = as_seconds(fields[places.time])
            if seconds is None:
                tally.add("time", number, fields[places.time])
                continue
            times.append(seconds)
        if (user, item) in first:
            tally.add("repeated", number, f"user {user}, item {item}", first[user, item])
        first.setdefault((user, item), number)
        users.append(user)
        items.append(item)
        stars.append(float(fields[places.rating]))
    return Findings(tally.problems(), users, items, stars, times)


def same(field: Any, value: object) -> bool:
    """Whether a field, perhaps text, holds `value`: `1`, `1.0` and `"1"` are the same."""
    if str(field).strip() == str(value):
        return True
    try:
        return float(field) == float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def as_seconds(field: Any) -> int | None:
    """A time as Unix seconds: a number of them, a timestamp, or an ISO 8601 date as text (UTC)."""
    try:
        if isinstance(field, str) and not is_number(field):
            field = datetime.fromisoformat(field.strip())
        if isinstance(field, datetime) and field.tzinfo is None:
            field = field.replace(tzinfo=UTC)
        seconds = int(field.timestamp() if isinstance(field, datetime) else float(field))
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if abs(seconds) < 2**63 else None


# At most 18 digits, which 64 bits hold.
_IDS = {
    "whole": re.compile(r"[+-]?\d{1,18}", re.ASCII),
    "natural": re.compile(r"\d{1,18}", re.ASCII),
}

# Kind -> (the fault, with the value and what else is known of it; the remedy).
_KINDS = {
    "fields": (
        "{0} fields instead of {1}",
        "complete the line, or quote the field that contains the separator",
    ),
    "user": ("the user is missing", "fill it in or remove the row"),
    "item": ("the item is missing", "fill it in or remove the row"),
    "whole": ("the id {0!r} is not a whole number", "correct it or remove the row"),
    "natural": (
        "the id {0!r} is not a whole number from 0",
        "a line of a list is a user and items, all of them numbers",
    ),
    "missing": (
        "the rating is missing",
        "remove the row; an unknown rating is an absent row, not an empty one",
    ),
    "number": ("the rating {0!r} is not a number", "correct it or remove the row"),
    "infinite": ("the rating {0!r} is infinite", "correct it or remove the row"),
    "scale": (
        "the rating {0} is outside the scale {1[0]:g} to {1[1]:g}",
        "correct it or state another scale",
    ),
    "time": (
        "the time {0!r} is neither Unix seconds nor a date",
        "correct it or remove the row",
    ),
    "repeated": (
        "{0} is rated again, first in {unit} {1}",
        'choose duplicates="last" or duplicates="mean"',
    ),
}


class _Tally:
    """Faults as they are met: the first of each kind in full, of the others the number."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.counts: Counter[str] = Counter()
        self.first: dict[str, tuple[int, Any, tuple[Any, ...]]] = {}

    def add(self, kind: str, number: int, value: Any = "", *more: Any) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, (number, value, more))

    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problem(kind) for kind in self.first)

    def _problem(self, kind: str) -> Problem:
        number, value, more = self.first[kind]
        what, remedy = _KINDS[kind]
        return Problem(
            kind,
            what.format(value, *more, unit=self.unit),
            remedy,
            self.counts[kind],
            f"{self.unit} {number}",
            str(value),
        )


def _clean(field: Any) -> Any:
    return field.strip() if isinstance(field, str) else field


def _is_missing(field: Any) -> bool:
    return field is None or field == "" or field != field or type(field).__name__ == "NAType"


def _id_fault(user: Any, item: Any, ids: IdKind) -> tuple[Any, ...] | None:
    """(kind, value, ...) of the first fault of a row's ids, None without one."""
    for kind, each in (("user", user), ("item", item)):
        if _is_missing(each):
            return (kind,)
        if ids != "any" and not _IDS[ids].fullmatch(each):
            return (ids, each)
    return None


def _rating_fault(rating: Any, scale: Scale | None) -> tuple[Any, ...] | None:
    """(kind, value, ...) of the fault of a rating, None without one."""
    if _is_missing(_clean(rating)):
        return ("missing",)
    try:
        stars = float(rating)
    except (TypeError, ValueError):
        return ("number", rating)
    if math.isnan(stars):
        return ("missing", rating)
    if math.isinf(stars):
        return ("infinite", rating)
    if scale is not None and not scale[0] <= stars <= scale[1]:
        return ("scale", rating, scale)
    return None
