"""A loaded model and what it answers: plain values in, plain values out. It knows no web.

N items of the model, K code size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np

from recae.asking import Interview
from recae.errors import DataError
from recae.ids import Rows
from recae.maps import Plane
from recae.models import Recommender
from recae.models.encodes import Encodes, encoding
from recae.models.explaining import Cause, causes
from recae.models.persistence import kind_of
from recae.models.recommendations import Recommendations
from recae.ratings import Ratings, Scale
from recae.serve.answers import (
    About,
    Answer,
    Atlas,
    Found,
    Id,
    Item,
    Point,
    Questions,
    Reason,
    Recommended,
)
from recae.serve.search import TitleIndex

_ON_MAP: Final = 1500
"""Items of a map at most."""
_REMEMBERED: Final = 10_000
"""Names of items whose rows are kept."""


class Engine:
    """A model under a name, in a version."""

    def __init__(self, model: Recommender, name: str, version: str) -> None:
        self.model = model
        self.name = name
        self.version = version
        self._row = lru_cache(_REMEMBERED)(model.item_row)

    def warm(self) -> None:
        """Make now what the first request would wait for, and find out whether the model works.

        Raises whatever a broken model raises.
        """
        self.recommend(self._somebody, 1, {}, explain=True, place=True)
        self.search("", 1)
        self.questions(self._somebody, 1)
        if self.about.map:
            _ = self.atlas
        with suppress(DataError):
            self.model.item_row("nobody calls an item this")

    # --- recommending

    def recommend(
        self,
        given: Sequence[tuple[Id, float]],
        n: int,
        rules: dict[str, Any],
        *,
        explain: bool = False,
        place: bool = False,
    ) -> Answer:
        """The n best items for one person.

        given: (id or title, stars); nothing at all is allowed, and gets what is said to somebody
            of whom nothing is known.
        rules: of `recae.models.rules`.
        explain: with the rating that speaks most for each. place: with the person's on the map.

        Raises DataError, as `Recommender.recommend` does.
        """
        history = self._history(given)
        found = self.model.recommend(history, n, **rules)
        rows = found.items[0][found.items[0] >= 0]
        told = causes(self.model, history, rows) if explain else [None] * len(rows)
        reasons = [self._reason(cause) for cause in told]
        by = rules.get("by") or self.model.orders[0]
        at = self._place(history) if place and len(history) else None
        return Answer(self.name, self.version, by, self._listed(found, rows, reasons), at)

    def _history(self, given: Sequence[tuple[Id, float]]) -> Ratings:
        rows = self._rows(name for name, _ in given)
        return self.model.history_of_rows(zip(rows, (stars for _, stars in given), strict=True))

    def _rows(self, names: Iterable[Id]) -> list[int]:
        return [self._row(name) for name in names]

    def _reason(self, cause: Cause | None) -> Reason | None:
        if cause is None:
            return None
        row = cause.item
        told = round(cause.effect, 3) if self.model.predicts_stars else None
        return Reason(self._id(row), self._titles[row], self._names[row], cause.stars, told)

    def _listed(
        self, found: Recommendations, rows: Rows, reasons: Sequence[Reason | None]
    ) -> list[Recommended]:
        lines = []
        for place, row in enumerate(rows.tolist()):
            item = self.item(row)
            line = Recommended(
                place + 1,
                item.item,
                item.title,
                item.name,
                item.year,
                item.genres,
                round(found.stars[0, place].item(), 3),
                None if found.low is None else round(found.low[0, place].item(), 3),
                None if found.high is None else round(found.high[0, place].item(), 3),
                reasons[place],
            )
            lines.append(line)
        return lines

    # --- asking

    def questions(
        self, given: Sequence[tuple[Id, float]], n: int, *, deny: Iterable[Id] = ()
    ) -> Questions:
        """At most n items to ask one person for, see `recae.asking`; of a model without codes, the
        best known.

        given: (id or title, stars). deny: ids or titles that need not be asked for.

        Raises DataError for unknown items and ratings that nobody can have given.
        """
        rated = self._history(given).columns.astype(np.int64)
        denied = np.asarray(self._rows(deny), dtype=np.int64)
        if self._interview is None:
            left_out = {*rated.tolist(), *denied.tolist()}
            known = self._index.find("", n + len(left_out))
            rows = [row for row in known if row not in left_out][:n]
            return Questions("popularity", [self.item(row) for row in rows])
        chosen, _ = self._interview.order(rated, n, denied)
        return Questions("gain", [self.item(row) for row in chosen.tolist()])

    # --- what there is

    def search(self, typed: str, n: int) -> Found:
        """At most n items by their titles; see `TitleIndex.find`."""
        return Found([self.item(row) for row in self._index.find(typed, n)])

    def item(self, row: int) -> Item:
        """What is known of the item at `row`."""
        fitted = self.model.fitted
        catalog, title = fitted.catalog, self._titles[row]
        ratings = int(fitted.item_counts[row])
        if catalog is None:
            return Item(self._id(row), title, title, None, (), ratings)
        year = int(catalog.years[row]) or None
        return Item(self._id(row), title, self._names[row], year, catalog.genres[row], ratings)

    @cached_property
    def about(self) -> About:
        """The model, and what may be asked of it."""
        fitted, catalog = self.model.fitted, self.model.fitted.catalog
        years = np.zeros(0, int) if catalog is None else catalog.years[catalog.years > 0]
        low, high = fitted.scale
        return About(
            self.name,
            kind_of(self.model),
            self.version,
            (float(low), float(high)),
            _step(fitted.scale),
            self.model.orders,
            len(fitted.users),
            len(fitted.items),
            [] if catalog is None else catalog.genre_names,
            (int(years.min()), int(years.max())) if len(years) else None,
            self.model.predicts_stars,
            self._has_intervals,
            isinstance(self.model, Encodes),
            self._plane is not None,
        )

    @cached_property
    def atlas(self) -> Atlas:
        """The map. Raises DataError for a model without one."""
        coder = encoding(self.model)
        if self._plane is None:
            raise DataError(f"{self.name} has codes of size 1, or too few items, for a map")
        places = self._plane.places(coder.encode_items()[self._mapped])
        catalog, (first, second) = self.model.fitted.catalog, self._plane.shares.tolist()
        points = []
        for row, (x, y) in zip(self._mapped.tolist(), places.tolist(), strict=True):
            genres = () if catalog is None else catalog.genres[row]
            genre = genres[0] if genres else None
            title, name = self._titles[row], self._names[row]
            points.append(Point(self._id(row), title, name, genre, round(x, 4), round(y, 4)))
        return Atlas((first, second), points)

    # --- made once

    @cached_property
    def _somebody(self) -> list[tuple[Id, float]]:
        """A person who likes what is best known."""
        best = int(self.model.fitted.item_counts.argmax())
        return [(self._id(best), float(self.model.fitted.scale[1]))]

    @cached_property
    def _has_intervals(self) -> bool:
        return self.model.recommend(self._history(self._somebody), 1).low is not None

    @cached_property
    def _titles(self) -> list[str]:
        return [self.model.item_name(row) for row in range(len(self.model.fitted.items))]

    @cached_property
    def _names(self) -> list[str]:
        catalog = self.model.fitted.catalog
        if catalog is None:
            return self._titles
        return [catalog.short(row) for row in range(len(catalog))]

    @cached_property
    def _index(self) -> TitleIndex:
        return TitleIndex(self._titles, self.model.fitted.item_counts)

    @cached_property
    def _interview(self) -> Interview | None:
        """None of a model without codes."""
        with suppress(DataError):
            return Interview.of(self.model)
        return None

    @cached_property
    def _mapped(self) -> Rows:
        """The rows of the best known items."""
        counts = self.model.fitted.item_counts
        rows = np.argsort(-counts, kind="stable")[:_ON_MAP]
        return rows[counts[rows] > 0]

    @cached_property
    def _plane(self) -> Plane | None:
        """Where the map is in the space of codes; None where there is no map."""
        if not isinstance(self.model, Encodes):
            return None
        codes = self.model.encode_items()[self._mapped]
        return Plane.of(codes) if min(codes.shape) > 2 else None

    def _place(self, history: Ratings) -> tuple[float, float] | None:
        if self._plane is None:
            return None
        # Not from the middle of the items: a person's code is a direction, in which scores rise.
        x, y = self._plane.directions @ encoding(self.model).encode(history)[0]
        return round(float(x), 4), round(float(y), 4)

    def _id(self, row: int) -> Id:
        found: Id = self.model.fitted.items.values[row].item()
        return found


def _step(scale: Scale) -> float:
    """What ratings on such a scale are usually multiples of."""
    low, high = scale
    if not float(low).is_integer() or high - low < 2:
        return 0.5 if high - low > 1 else 0.1
    return 1.0
