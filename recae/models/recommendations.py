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


@dataclass(frozen=True, eq=False)
class Recommendations:
    """The n best items for each user, best first.

    items [U, n]: item rows, -1 where fewer than n items could be recommended; scores [U, n]: what
    was ranked by; stars [U, n]: predicted stars, clipped to the scale; NaN beside -1.
    """

    users: Ids
    catalog_items: Ids
    items: Rows
    scores: NDArray[np.float32]
    stars: NDArray[np.float32]
    catalog: Catalog | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row a recommendation: user, rank (from 1), item, title (where known), stars."""
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
        return frame

    def __len__(self) -> int:
        return len(self.users)
