"""The answer of `recommend`: rows and scores, and the table that people read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recae.catalog import Catalog
from recae.ids import Ids, Rows

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]

_SHOWN = 100
"""Rows of a table in a notebook."""


@dataclass(frozen=True, eq=False)
class Recommendations:
    """The n best items for each user, best first.

    items [U, n]: item rows, -1 where fewer than n items could be recommended; scores [U, n]: what
    was ranked by; stars [U, n]: predicted stars, clipped to the scale; low, high [U, n]: the
    interval of the stars, None where the model knows none; all of them NaN beside -1.
    """

    users: Ids
    catalog_items: Ids
    items: Rows
    scores: Floats
    stars: Floats
    low: Floats | None = None
    high: Floats | None = None
    catalog: Catalog | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row a recommendation: user, rank (from 1), item, title (where known), stars, and
        where the model knows intervals, low and high."""
        import pandas as pd

        users, places = np.nonzero(self.items >= 0)
        rows = self.items[users, places]
        frame = pd.DataFrame(
            {
                "user": self.users.values[users],
                "rank": places + 1,
                "item": self.catalog_items.values[rows],
                "stars": self.stars[users, places],
            }
        )
        if self.catalog is not None:
            frame.insert(3, "title", [self.catalog.title(row) for row in rows.tolist()])
        if self.low is not None and self.high is not None:
            frame["low"], frame["high"] = self.low[users, places], self.high[users, places]
        return frame

    def _repr_html_(self) -> str:
        """In a notebook: the beginning of the table."""
        shown = self.to_frame().head(_SHOWN).to_html(index=False, float_format="{:.2f}".format)
        count = int((self.items >= 0).sum())
        more = f"<p>{_SHOWN} of {count:,} recommendations</p>" if count > _SHOWN else ""
        return str(shown) + more

    def __len__(self) -> int:
        return len(self.users)
