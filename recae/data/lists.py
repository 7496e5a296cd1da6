"""Lists: a user and that user's items a line, without ratings, as graph models exchange them.

    0 81 239 260
    1 1040 283

Users and items are whole numbers from 0. What is in a list is rated 1 on a scale of 0 to 1, or the
highest star of the scale that is stated: a like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recae.data.files import File
from recae.data.layout import Places, beginning
from recae.data.problems import Findings, examine
from recae.data.tables import Columns
from recae.errors import DataError
from recae.ids import Ids
from recae.ratings import Scale

SCALE: Final[Scale] = (0.0, 1.0)


@dataclass(frozen=True)
class ListTable:
    """The lists in a file, or in the files of a folder together."""

    files: tuple[File, ...]
    label: str
    scale: Scale = SCALE

    def read(self) -> Columns:
        """Every pair of user and item; see `Table`."""
        lists = [list_ for file in self.files for list_ in _lists(file)]
        sizes = np.asarray([len(list_) - 1 for list_ in lists])
        user_of = np.repeat([int(list_[0]) for list_ in lists], sizes)
        item_of = np.concatenate([list_[1:] for list_ in lists])
        if not len(item_of):
            raise DataError("there are no items in its lists")
        if min(user_of.min(), item_of.min()) < 0:
            raise DataError("an id is negative")
        users, user_rows = Ids.factorize(user_of)
        items, item_rows = Ids.factorize(item_of)
        stars = np.full(len(item_of), self.scale[1])
        return Columns(users, user_rows, items, item_rows, stars, None)

    def examine(self, scale: Scale | None) -> Findings:
        """Every problem, by line, counted through the files; see `Table`."""
        return examine(
            self._pairs(), unit="line", width=3, places=Places(0, 1, 2), scale=scale, ids="natural"
        )

    def _pairs(self) -> Iterator[tuple[int, tuple[str, str, float]]]:
        """(line, (user, item, stars)), as written."""
        before = 0
        for file in self.files:
            with file.open_text("utf-8-sig") as text:
                for number, line in enumerate(text, start=before + 1):
                    before = number
                    user, *items = line.split() or [""]
                    yield from ((number, (user, item, self.scale[1])) for item in items)


def _lists(file: File) -> Iterator[NDArray[np.int64]]:
    """[1 + items]: the numbers of every line that is not blank.

    Raises DataError for an empty file and for what is no whole number.
    """
    beginning(file)
    with file.open_text("utf-8-sig") as text:
        for line in text:
            if fields := line.split():
                try:
                    yield np.asarray(fields).astype(np.int64)
                except (ValueError, OverflowError):
                    raise DataError(f"a list holds whole numbers alone, not {line!r}") from None
