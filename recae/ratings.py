"""The rating matrix: what was rated, by whom, how, when. Absent means unknown, never zero.

R ratings, U users, N items. Stars are in the data's own scale, times in Unix seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from recae.catalog import Catalog
from recae.errors import DataError
from recae.features import Coding, Features
from recae.ids import Ids, Rows

Duplicates: TypeAlias = Literal["error", "last", "mean"]
Scale: TypeAlias = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Ratings:
    """A users x items matrix of stars with the ids of its rows and columns.

    `matrix` is CSR [U, N] float32 with sorted column indices; every stored entry is a rating, a
    stored zero too. `times` [R] int64 stands in the order of `matrix.data`, or is None.
    Side data stand under ids of their own, in any number, and are aligned by who reads them.
    Build with `Ratings.of` or `Ratings.from_frame`, which check; the constructor does not.
    """

    matrix: sparse.csr_array
    times: NDArray[np.int64] | None
    users: Ids
    items: Ids
    scale: Scale
    catalog: Catalog | None = field(default=None, repr=False)
    user_features: Features | None = field(default=None, repr=False)
    item_features: Features | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        users: Iterable[Any],
        items: Iterable[Any],
        stars: ArrayLike,
        times: ArrayLike | None = None,
        *,
        scale: Scale | None = None,
        duplicates: Duplicates = "error",
        catalog: Catalog | None = None,
    ) -> Ratings:
        """Ratings from parallel columns, [R] each.

        scale: the lowest and highest star that can be given; the lowest and highest present
            where it is not stated.
        duplicates: what to do when a user rated an item twice: `error`, keep the `last` (by time;
            by order where there are no times), or the `mean` (with the latest time).

        Raises DataError for an empty table, columns of different lengths, missing ids, stars that
        are missing, infinite, not numbers or outside the scale, and duplicates.
        """
        user_ids, user_rows = Ids.factorize(users)
        item_ids, item_rows = Ids.factorize(items)
        values = _as_stars(stars)
        seconds = None if times is None else _as_times(times)
        lengths = {"users": len(user_rows), "items": len(item_rows), "stars": len(values)}
        if seconds is not None:
            lengths["times"] = len(seconds)
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns differ in length: {lengths}")
        if not len(values):
            raise DataError("there are no ratings: the table is empty")
        known = _checked_scale(values, scale)
        user_rows, item_rows, values, seconds = _without_duplicates(
            user_rows, item_rows, values, seconds, duplicates, user_ids, item_ids
        )
        matrix = _csr(user_rows, item_rows, values, (len(user_ids), len(item_ids)))
        return cls(matrix, seconds, user_ids, item_ids, known, catalog)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str = "user",
        item: str = "item",
        rating: str = "rating",
        time: str | None = None,
        scale: Scale | None = None,
        duplicates: Duplicates = "error",
        catalog: Catalog | None = None,
    ) -> Ratings:
        """Ratings from a DataFrame whose columns are named here; see `Ratings.of` for the rest.

        `time`: a column of Unix seconds or of timestamps. Raises DataError for a missing column.
        """
        wanted = [user, item, rating] + ([time] if time is not None else [])
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise DataError(
                f"no column {missing[0]!r}: the columns are {', '.join(map(str, frame.columns))}; "
                "name yours with user=, item=, rating= and time="
            )
        seconds: Any = None if time is None else frame[time]
        if getattr(getattr(seconds, "dtype", None), "tz", None) is not None:
            # numpy knows no time zones, and would see objects.
            seconds = seconds.dt.tz_convert("UTC").dt.tz_localize(None)
        return cls.of(
            frame[user],
            frame[item],
            frame[rating].to_numpy(),
            None if seconds is None else seconds.to_numpy(),
            scale=scale,
            duplicates=duplicates,
            catalog=catalog,
        )

    @classmethod
    def of_one(
        cls, stars: Mapping[int, float], items: Ids, scale: Scale, *, user: int | str = "you"
    ) -> Ratings:
        """One person's ratings, item row -> stars, over `items`: [1, N]; none at all is allowed.

        The rows are taken to be rows of `items`. Raises DataError for stars outside the scale.
        """
        columns = np.fromiter(stars.keys(), dtype=np.int64, count=len(stars))
        values = _as_stars(list(stars.values()))
        _checked_scale(values, scale)
        order = np.argsort(columns)
        matrix = _csr(
            np.zeros(len(columns), np.int64), columns[order], values[order], (1, len(items))
        )
        return cls(matrix, None, Ids.of([user]), items, scale)

    def keep(self, mask: NDArray[np.bool_]) -> Ratings:
        """The ratings where `mask` [R] holds; users, items and scale stay as they are."""
        kept = np.flatnonzero(mask)
        starts = np.concatenate([[0], np.cumsum(mask)])[self.matrix.indptr]
        matrix = _compressed(
            self.stars[kept], self.columns[kept], starts, (len(self.users), len(self.items))
        )
        times = None if self.times is None else self.times[kept]
        return replace(self, matrix=matrix, times=times)

    def with_stars(self, stars: NDArray[np.float32]) -> Ratings:
        """The same ratings with other stars, [R] in the order of the matrix; not checked."""
        shape = (len(self.users), len(self.items))
        return replace(self, matrix=_compressed(stars, self.columns, self.matrix.indptr, shape))

    def take_users(self, rows: Rows) -> Ratings:
        """The users at `rows`, a sorted selection, with their ratings; items stay as they are."""
        entries = _entries_of_rows(self.matrix.indptr, rows)
        counts = np.diff(self.matrix.indptr)[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        shape = (len(rows), len(self.items))
        matrix = _compressed(self.stars[entries], self.columns[entries], starts, shape)
        times = None if self.times is None else self.times[entries]
        return replace(self, matrix=matrix, times=times, users=Ids(self.users.values[rows]))

    def with_users(self, users: Ids) -> Ratings:
        """The same ratings with `users`, of whom the present ones are a part, as rows."""
        rows = users.rows(self.users.values)[self.rows]
        shape = (len(users), len(self.items))
        return replace(self, matrix=_csr(rows, self.columns, self.stars, shape), users=users)

    def over(self, items: Ids) -> Ratings:
        """The same ratings with `items` as columns; ratings of other items are left out."""
        if items == self.items:
            return self
        places = items.find(self.items.values)
        kept = self.keep(places[self.matrix.indices] >= 0)
        # Both sets are sorted, so the columns keep their order.
        shape = (len(self.users), len(items))
        matrix = _compressed(kept.stars, places[kept.columns], kept.matrix.indptr, shape)
        catalog = None if self.catalog is None else self.catalog.over(items)
        return replace(kept, matrix=matrix, items=items, catalog=catalog)

    def with_features(
        self, *, users: Features | None = None, items: Features | None = None
    ) -> Ratings:
        """The same ratings with side data of users, items or both; None: as they are.

        Rows of others are no mistake, nor are users or items without a row. Raises DataError where
        no row at all is of one who is here.
        """
        for what, ids, given in (("user", self.users, users), ("item", self.items, items)):
            if given is not None and not (given.find(ids) >= 0).any():
                raise DataError(
                    f"no row of the side data is of {what}s of these ratings: its ids are like "
                    f"{given.ids.values[0].item()!r}, theirs like {ids.values[0].item()!r}; "
                    "is its column of ids the right one (key=)?"
                )
        return replace(
            self,
            user_features=self.user_features if users is None else users,
            item_features=self.item_features if items is None else items,
        )

    def transposed(self) -> Ratings:
        """Items as rows, users as columns. The catalog describes items and is left behind."""
        order = np.argsort(self.matrix.indices, kind="stable")
        matrix = _csr(
            self.matrix.indices[order].astype(np.int64),
            self.rows[order],
            self.matrix.data[order],
            (len(self.items), len(self.users)),
        )
        times = None if self.times is None else self.times[order]
        return Ratings(
            matrix,
            times,
            self.items,
            self.users,
            self.scale,
            user_features=self.item_features,
            item_features=self.user_features,
        )

    def liked_from(self, stated: float | None = None) -> float:
        """The stars from which a rating is a like: as stated, or three quarters up the scale.

        4 of 1 to 5, and on half stars from 0.5 to 5 also 4, the first step above 3.875.
        """
        low, high = self.scale
        return low + 0.75 * (high - low) if stated is None else stated

    def liked(self, stated: float | None = None) -> Ratings:
        """The ratings that are likes."""
        return self.keep(self.stars >= self.liked_from(stated))

    @property
    def mask(self) -> sparse.csr_array:
        """[U, N] float32: 1 at every rating."""
        return _compressed(
            np.ones_like(self.stars), self.columns, self.matrix.indptr, self.matrix.shape
        )

    @property
    def stars(self) -> NDArray[np.float32]:
        """[R] in the order of the matrix."""
        return np.asarray(self.matrix.data)

    @property
    def columns(self) -> NDArray[np.int32]:
        """[R]: the item row of each rating."""
        return np.asarray(self.matrix.indices)

    @cached_property
    def rows(self) -> Rows:
        """[R]: the user row of each rating."""
        return np.repeat(np.arange(len(self.users), dtype=np.int64), self.user_counts)

    @property
    def user_counts(self) -> Rows:
        """[U]: ratings by user."""
        return np.diff(self.matrix.indptr).astype(np.int64)

    @property
    def item_counts(self) -> Rows:
        """[N]: ratings by item."""
        return np.bincount(self.columns, minlength=len(self.items)).astype(np.int64)

    @property
    def side_data(self) -> tuple[str, ...]:
        """What is known of users and items beside the ratings, in words; empty without any."""
        return tuple(_told(*side) for side in self._sides())

    @property
    def side_notes(self) -> tuple[str, ...]:
        """What no model can use of it, and what is missing, a sentence each. Raises DataError."""
        notes: list[str] = []
        for _, ids, given in self._sides():
            own = given.over(ids)
            coding = Coding.of(own)
            notes += [*coding.notes, *coding.notes_on(own)]
        return tuple(notes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over ids, scale, structure, stars, times and side data: equal for equal data."""
        sha = hashlib.sha256(f"{self.users.digest}{self.items.digest}{self.scale}".encode())
        parts: list[NDArray[Any]] = [
            self.matrix.indptr.astype("<i8"),
            self.columns.astype("<i8"),
            self.stars.astype("<f4"),
        ]
        if self.times is not None:
            parts.append(self.times.astype("<i8"))
        for part in parts:
            sha.update(np.ascontiguousarray(part).tobytes())
        for what, ids, given in self._sides():
            sha.update(f"{what} {given.over(ids).digest}".encode())
        return sha.hexdigest()

    def _sides(self) -> list[tuple[str, Ids, Features]]:
        """(what they are called, their ids, what is known of them) where something is known."""
        both = (
            ("users", self.users, self.user_features),
            ("items", self.items, self.item_features),
        )
        return [(what, ids, given) for what, ids, given in both if given is not None]

    def __len__(self) -> int:
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        low, high = self.scale
        return (
            f"Ratings({len(self):,} ratings, {len(self.users):,} users, {len(self.items):,} items, "
            f"{low:g} to {high:g} stars{', with times' if self.times is not None else ''}"
            f"{', with side data' if self.side_data else ''})"
        )


def _told(what: str, ids: Ids, given: Features) -> str:
    """Like "age, gender of 940 of 943 users (and of 3 others)"."""
    here = int((given.find(ids) >= 0).sum())
    of = f"{here:,}" if here == len(ids) else f"{here:,} of {len(ids):,}"
    others = f" (and of {len(given) - here:,} others)" if len(given) > here else ""
    return f"{', '.join(column.name for column in given.columns)} of {of} {what}{others}"


def _as_stars(xs: ArrayLike) -> NDArray[np.float32]:
    try:
        values = np.asarray(xs, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"a rating is not a number: {_first_text(xs)!r}") from None
    if values.ndim != 1:
        raise DataError(f"stars must be a flat list, not an array of shape {values.shape}")
    with np.errstate(over="ignore"):
        stars = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(stars))
    if len(bad):
        what = "infinite" if np.isinf(stars[bad[0]]) else "missing"
        raise DataError(
            f"{len(bad)} ratings are missing or infinite, the first ({what}) in row {bad[0]}: "
            "drop those rows; an unknown rating is an absent row, not an empty one"
        )
    return stars


def _first_text(xs: ArrayLike) -> object:
    for x in np.asarray(xs, dtype=object).ravel().tolist():
        try:
            float(x)
        except (TypeError, ValueError):
            return x
    return xs


def _as_times(xs: ArrayLike) -> NDArray[np.int64]:
    values = np.asarray(xs)
    if values.dtype.kind == "M":
        if np.isnat(values).any():
            raise DataError(f"a time is missing (row {int(np.flatnonzero(np.isnat(values))[0])})")
        return values.astype("datetime64[s]").astype(np.int64)
    try:
        seconds = values.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError("times must be Unix seconds or timestamps") from None
    if not np.isfinite(seconds).all():
        place = int(np.flatnonzero(~np.isfinite(seconds))[0])
        raise DataError(f"a time is missing or infinite (row {place})")
    return values.astype(np.int64)


def _checked_scale(stars: NDArray[np.float32], scale: Scale | None) -> Scale:
    if scale is None:
        low, high = float(stars.min()), float(stars.max())
        if low == high:
            raise DataError(f"every rating is {low:g}: state the scale, for example scale=(1, 5)")
        return low, high
    low, high = float(scale[0]), float(scale[1])
    if not (np.isfinite([low, high]).all() and low < high):
        raise DataError(f"the scale must be (lowest, highest), not ({low:g}, {high:g})")
    outside = np.flatnonzero((stars < np.float32(low)) | (stars > np.float32(high)))
    if len(outside):
        raise DataError(
            f"{len(outside)} ratings are outside the scale {low:g} to {high:g}, the first is "
            f"{stars[outside[0]]:g} in row {outside[0]}: correct them or state another scale"
        )
    return low, high


def _without_duplicates(
    users: Rows,
    items: Rows,
    stars: NDArray[np.float32],
    times: NDArray[np.int64] | None,
    policy: Duplicates,
    user_ids: Ids,
    item_ids: Ids,
) -> tuple[Rows, Rows, NDArray[np.float32], NDArray[np.int64] | None]:
    """The columns sorted by user and item, one entry a pair, the latest where there are times."""
    if (np.diff(users * len(item_ids) + items) > 0).all():
        return users, items, stars, times
    order = np.lexsort((items, users) if times is None else (times, items, users))
    users, items, stars = users[order], items[order], stars[order]
    times = None if times is None else times[order]
    fresh = np.concatenate([[True], (np.diff(users) != 0) | (np.diff(items) != 0)])
    if fresh.all():
        return users, items, stars, times
    if policy == "error":
        place = int(np.flatnonzero(~fresh)[0])
        raise DataError(
            f"{int((~fresh).sum())} ratings repeat a (user, item) pair, the first is user "
            f"{user_ids.values[users[place]].item()!r}, item "
            f"{item_ids.values[items[place]].item()!r}: "
            'choose duplicates="last" or duplicates="mean"'
        )
    if policy not in ("last", "mean"):
        raise DataError(f"duplicates must be error, last or mean, not {policy!r}")
    last = np.concatenate([fresh[1:], [True]])
    values = stars[last]
    if policy == "mean":
        starts = np.flatnonzero(fresh)
        sums = np.add.reduceat(stars.astype(np.float64), starts)
        values = (sums / np.diff(np.append(starts, len(stars)))).astype(np.float32)
    return users[last], items[last], values, None if times is None else times[last]


def _csr(
    rows: Rows, columns: NDArray[Any], stars: NDArray[np.float32], shape: tuple[int, int]
) -> sparse.csr_array:
    """CSR from entries sorted by row and column, without the sum that scipy makes of duplicates."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return _compressed(stars, columns, starts, shape)


def _compressed(
    stars: NDArray[np.float32], columns: NDArray[Any], starts: NDArray[Any], shape: tuple[int, int]
) -> sparse.csr_array:
    """CSR with int32 indices, which halve the index traffic of products, below 2^31 ratings."""
    wide = np.int32 if len(stars) < 2**31 else np.int64
    return sparse.csr_array((stars, columns.astype(wide), starts.astype(wide)), shape=shape)


def _entries_of_rows(indptr: NDArray[Any], rows: Rows) -> Rows:
    """Positions of the entries of `rows`, row after row."""
    starts, counts = indptr[rows].astype(np.int64), np.diff(indptr)[rows].astype(np.int64)
    offsets = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return offsets + np.arange(counts.sum(), dtype=np.int64)
