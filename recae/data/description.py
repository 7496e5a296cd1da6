"""What is in a table of ratings, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recae.data import tables
from recae.data.files import UnreadableError
from recae.data.layout import Naming
from recae.data.problems import Problem
from recae.data.sidedata import of_release
from recae.data.sources import Layout, Opened, open_source
from recae.errors import DataError
from recae.ratings import Ratings, Scale

if TYPE_CHECKING:
    from recae.data.sources import Source


@dataclass(frozen=True)
class Description:
    """Facts of a table; of one with problems, facts of the rows that are right.

    Where a pair of user and item is rated twice the later rating counts.
    """

    source: str
    release: str | None
    """The MovieLens release it is by name, or None."""
    ratings: int
    users: int
    items: int
    scale: Scale | None
    density: float
    """Share of the pairs of user and item that are rated."""
    mean: float
    """Stars."""
    first_time: str | None
    """ISO 8601, UTC; None without times."""
    last_time: str | None
    per_user: tuple[int, float, int] | None
    """Fewest, median and most ratings of a user."""
    users_seen_once: int
    items_seen_once: int
    titles: int
    """Items whose title is known."""
    side_data: tuple[str, ...]
    """What its release says of users and items beside, like "age, gender of 943 users"."""
    digest: str | None
    """`Ratings.digest`; None where there are problems."""
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        facts = self._facts() if self.ratings else {}
        lines = [self.source, *(f"  {name:<10} {fact}" for name, fact in facts.items())]
        if not self.problems:
            return "\n".join([*lines, "  problems   none"])
        count = sum(problem.count for problem in self.problems)
        return "\n".join([*lines, f"  problems   {count:,}", *(f"    {p}" for p in self.problems)])

    def _facts(self) -> dict[str, str]:
        facts = {"release": self.release} if self.release else {}
        facts["ratings"] = f"{self.ratings:,}, mean {self.mean:.4f}"
        facts["users"] = f"{self.users:,}, {self.users_seen_once:,} of them seen once"
        facts["items"] = (
            f"{self.items:,}, {self.items_seen_once:,} of them seen once, "
            f"{self.titles:,} with titles"
        )
        if self.scale is not None:
            facts["scale"] = f"{self.scale[0]:g} to {self.scale[1]:g} stars"
        facts["density"] = f"{self.density:.3%}"
        if self.per_user is not None:
            few, median, many = self.per_user
            facts["per user"] = f"{few:,} to {many:,} ratings, median {median:g}"
        facts["times"] = f"{self.first_time} to {self.last_time}" if self.first_time else "none"
        if self.side_data:
            facts["side data"] = "; ".join(self.side_data)
        if self.digest is not None:
            facts["digest"] = self.digest
        return facts


def describe(
    source: Source,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    scale: Scale | None = None,
    where: Mapping[str, object] | None = None,
    separator: str | None = None,
    layout: Layout = "table",
) -> Description:
    """Facts and problems of what `recae.data.load` would read; its parameters are explained there.

    Raises DataError only where there are no rows to look at: nothing found, damaged, no columns.
    """
    naming = Naming(user, item, rating, time, where or {})
    opened = open_source(source, naming, scale=scale, separator=separator, layout=layout)
    label = opened.table.label
    release = opened.release.name if opened.release else None
    try:
        ratings = tables.load(opened.table, scale=opened.scale, catalog=opened.catalog)
    except UnreadableError:
        raise
    except DataError as error:
        good, problems = _in_spite_of(opened, str(error))
        return _described(label, release, good, problems)
    try:
        side_data = _side_data(opened, ratings)
    except DataError as error:
        return _described(label, release, ratings, (_of_the_table(str(error)),))
    return _described(label, release, ratings, (), side_data)


def _side_data(opened: Opened, ratings: Ratings) -> tuple[str, ...]:
    release = opened.release
    if release is None:
        return ()
    users, items = of_release(release, "users"), of_release(release, "items")
    return ratings.with_features(users=users, items=items).side_data


def _in_spite_of(opened: Opened, error: str) -> tuple[Ratings | None, tuple[Problem, ...]]:
    """The usable ratings of a table that could not be loaded, and all its problems."""
    findings = opened.table.examine(opened.scale)
    problems = findings.problems
    try:
        columns = tables.columns_of(findings)
        low, high = columns.stars.min(initial=np.inf), columns.stars.max(initial=-np.inf)
        # One value alone makes no scale; its facts are worth printing all the same.
        wide = (low - 1, high + 1) if low == high and opened.scale is None else opened.scale
        ratings = columns.ratings(wide, "last", None)
    except DataError as also:
        return None, problems or (_of_the_table(str(also)),)
    if wide != opened.scale:
        ratings = replace(ratings, scale=(float(low), float(high)))
        problems += (_of_the_table(f"every rating is {low:g}: state the scale"),)
    return ratings, problems or (_of_the_table(error),)


def _of_the_table(what: str) -> Problem:
    return Problem("table", what, "", 1, "", "")


def _described(
    label: str,
    release: str | None,
    ratings: Ratings | None,
    problems: tuple[Problem, ...],
    side_data: tuple[str, ...] = (),
) -> Description:
    if ratings is None:
        return Description(
            label, release, 0, 0, 0, None, 0.0, 0.0, None, None, None, 0, 0, 0, (), None, problems
        )
    counts = ratings.user_counts
    times = ratings.times
    titles = 0 if ratings.catalog is None else int((ratings.catalog.titles != "").sum())
    return Description(
        source=label,
        release=release,
        ratings=len(ratings),
        users=len(ratings.users),
        items=len(ratings.items),
        scale=ratings.scale,
        density=len(ratings) / (len(ratings.users) * len(ratings.items)),
        mean=float(ratings.stars.mean(dtype=np.float64)),
        first_time=None if times is None else str(times.min().astype("datetime64[s]")),
        last_time=None if times is None else str(times.max().astype("datetime64[s]")),
        per_user=(int(counts.min()), float(np.median(counts)), int(counts.max())),
        users_seen_once=int((counts == 1).sum()),
        items_seen_once=int((ratings.item_counts == 1).sum()),
        titles=titles,
        side_data=side_data,
        digest=None if problems else ratings.digest,
        problems=problems,
    )
