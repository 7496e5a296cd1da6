"""What items are called, titles, genres and years, and how a typed title finds one.

N items; row numbers are places in `items`.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recae.errors import DataError
from recae.ids import Ids

_YEAR = re.compile(r"\s*\((\d{4})(?:[-\u2013]\d{0,4})?\)\s*$")
# MovieLens files "The Matrix" as "Matrix, The", and does the same in other languages.
_ARTICLES = (
    "the|a|an|le|la|les|l'|un|une|der|die|das|ein|eine|el|los|las|il|lo|gli|i|o|os|as|de|het"
)
_MOVED = re.compile(rf"^(.*), ({_ARTICLES})$", re.IGNORECASE)
_LEADING = re.compile(rf"^(?:(?:{_ARTICLES}) |l')")
_BRACKETED = re.compile(r"\s*\([^()]*\)")

_CANDIDATES = 8
_SUGGESTIONS = 3
_COMPARED = 200


@dataclass(frozen=True, eq=False)
class Catalog:
    """Titles, genres and years of `items`, row by row; build with `Catalog.of`, which checks."""

    items: Ids
    titles: NDArray[np.str_]
    """[N]; empty where unknown."""
    genres: tuple[tuple[str, ...], ...]
    """[N]; empty where unknown."""
    years: NDArray[np.int64]
    """[N]; 0 where unknown."""

    @classmethod
    def of(
        cls,
        ids: Iterable[Any],
        titles: Iterable[str],
        genres: Iterable[Sequence[str]] | None = None,
        years: Iterable[int] | None = None,
    ) -> Catalog:
        """A catalog from parallel lists [N] in any order.

        years: 0 where unknown; where not given they are read off titles like `Heat (1995)`.

        Raises DataError for lists of different lengths and for an id listed twice.
        """
        items, rows = Ids.factorize(ids)
        named = [str(title) for title in titles]
        kinds = [()] * len(rows) if genres is None else [tuple(map(str, some)) for some in genres]
        dated = [_year(title) for title in named] if years is None else [int(y) for y in years]
        lengths = {
            "ids": len(rows),
            "titles": len(named),
            "genres": len(kinds),
            "years": len(dated),
        }
        if len(set(lengths.values())) > 1:
            raise DataError(f"a catalog's columns differ in length: {lengths}")
        if len(items) < len(rows):
            twice = int(np.flatnonzero(np.bincount(rows) > 1)[0])
            raise DataError(f"the catalog lists item {items.values[twice].item()!r} more than once")
        order = np.argsort(rows).tolist()
        return cls(
            items,
            np.asarray([named[place] for place in order], dtype=np.str_),
            tuple(kinds[place] for place in order),
            np.asarray([dated[place] for place in order], dtype=np.int64),
        )

    def over(self, items: Ids) -> Catalog:
        """The catalog of other items, row for row with `items`; blank for those unknown here."""
        if items == self.items:
            return self
        rows = self.items.find(items.values)
        known = rows >= 0
        titles = np.zeros(len(items), dtype=self.titles.dtype)
        titles[known] = self.titles[rows[known]]
        years = np.zeros(len(items), dtype=np.int64)
        years[known] = self.years[rows[known]]
        genres = tuple(self.genres[row] if row >= 0 else () for row in rows.tolist())
        return Catalog(items, titles, genres, years)

    @cached_property
    def genre_names(self) -> list[str]:
        """All genres, in order of the alphabet."""
        return sorted({genre for some in self.genres for genre in some})

    @cached_property
    def genre_matrix(self) -> sparse.csr_array | None:
        """[N, G]: 1 at the genres of each item, in the order of `genre_names`; None without any."""
        if not self.genre_names:
            return None
        places = {genre: place for place, genre in enumerate(self.genre_names)}
        columns = [sorted({places[genre] for genre in some}) for some in self.genres]
        indptr = np.concatenate([[0], np.cumsum([len(some) for some in columns])])
        indices = np.array([place for some in columns for place in some], dtype=np.int64)
        shape = (len(self.items), len(places))
        return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=shape)

    def title(self, row: int) -> str:
        """The title of the item at `row`, its id as text where there is none."""
        return str(self.titles[row]) or str(self.items.values[row])

    def short(self, row: int) -> str:
        """The same as it is said: without year and brackets, with its article in front."""
        title = self.title(row)
        return _article_first(_BRACKETED.sub("", _YEAR.sub("", title)).strip()) or title

    def resolve(self, text: int | str) -> int | str:
        """The id of the item that a person means by `text`.

        An id is taken as one, whether it comes as a number or as text. Otherwise `text` is a
        title: as it is written here; or without regard to case and accents, with its article in
        front, without its year, without what stands in brackets, without its article: the first
        of these that finds anything decides. A year that is typed has to match.

        Raises DataError where several items match, listing them, and where none does, naming the
        nearest titles.
        """
        row = self._row_of_id(text)
        if row is None:
            rows = self._rows_of_title(str(text))
            if len(rows) != 1:
                raise DataError(self._ambiguous(text, rows) if rows else self._unknown(text))
            row = rows[0]
        found: int | str = self.items.values[row].item()
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, for `json.dump`."""
        return {
            "items": self.items.values.tolist(),
            "titles": self.titles.tolist(),
            "genres": [list(some) for some in self.genres],
            "years": self.years.tolist(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Catalog:
        """The catalog that `to_json` wrote."""
        return cls.of(stored["items"], stored["titles"], stored["genres"], stored["years"])

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Catalog({len(self):,} items, {int((self.titles != '').sum()):,} with titles)"

    def _row_of_id(self, text: int | str) -> int | None:
        if not len(self.items):
            return None
        wanted: int | str = str(text)
        if self.items.values.dtype.kind == "i":
            try:
                wanted = np.int64(int(text)).item()
            except (ValueError, OverflowError):
                return None
        row = int(self.items.find([wanted])[0])
        return row if row >= 0 else None

    def _rows_of_title(self, text: str) -> list[int]:
        exact = np.flatnonzero(self.titles == text).tolist() if text else []
        if exact:
            return exact
        folded, dated = _forms(text)
        # A year that was typed has to match: what is looked up keeps it at every level.
        for key, table in zip((folded, dated, dated, dated, dated), self._by_form, strict=True):
            if key and key in table:
                return table[key]
        return []

    @cached_property
    def _by_form(self) -> tuple[dict[str, list[int]], ...]:
        """Rows by each of the forms in `_keys`."""
        tables: tuple[defaultdict[str, list[int]], ...] = tuple(defaultdict(list) for _ in range(5))
        for row, title in enumerate(self.titles.tolist()):
            for table, keys in zip(tables, _keys(title), strict=True):
                for key in keys:
                    table[key].append(row)
        return tuple(dict(table) for table in tables)

    def _ambiguous(self, text: int | str, rows: list[int]) -> str:
        listed = "; ".join(self._listed(row) for row in rows[:_CANDIDATES])
        more = f"; and {len(rows) - _CANDIDATES} more" if len(rows) > _CANDIDATES else ""
        return f"{text!r} matches {len(rows)} titles, give the id of one: {listed}{more}"

    def _unknown(self, text: int | str) -> str:
        nearest = self._nearest(str(text))
        if nearest:
            listed = "; ".join(map(self._listed, nearest))
            return f"no item is called {text!r}; the nearest titles are: {listed}"
        return f"no item is called {text!r}, and no title is near it: give the item's id"

    def _listed(self, row: int) -> str:
        return f"{self.title(row)} [{self.items.values[row]}]"

    def _nearest(self, text: str) -> list[int]:
        """Rows of the titles most like `text`, best first; those that contain it come first."""
        wanted = _bare(text)
        if not wanted:
            return []
        bares, letters = self._bares
        # Counts of letters bound difflib's ratio from above, so that few are compared in full.
        shared = np.minimum(letters, _letters(wanted)).sum(axis=1, dtype=np.int64)
        bound = 2 * shared / (letters.sum(axis=1, dtype=np.int64) + len(wanted))
        likely = set(np.argsort(-bound, kind="stable")[:_COMPARED].tolist())
        holding = {row for row, bare in enumerate(bares) if wanted in bare}
        matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)
        scored = []
        for row in sorted(likely | set(sorted(holding)[:_COMPARED])):
            matcher.set_seq1(bares[row])
            scored.append((row in holding, matcher.ratio(), -row))
        near = sorted((s for s in scored if s[0] or s[1] >= 0.6), reverse=True)
        return [-row for _, _, row in near[:_SUGGESTIONS]]

    @cached_property
    def _bares(self) -> tuple[list[str], NDArray[np.uint8]]:
        """Every title without year and article, and its counts of letters [N, 64]."""
        bares = [_bare(title) for title in self.titles.tolist()]
        counts = np.zeros((len(bares), 64), dtype=np.uint8)
        for row, bare in enumerate(bares):
            counts[row] = _letters(bare)
        return bares, counts


def _year(title: str) -> int:
    found = _YEAR.search(title)
    return int(found[1]) if found else 0


def fold(text: str) -> str:
    """Without case, accents and superfluous spaces."""
    if text.isascii():
        return " ".join(text.casefold().split())
    apart = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in apart if not unicodedata.combining(c)).split())


def _forms(title: str) -> tuple[str, str]:
    """The folded title, and the same with its article in front; both keep the year."""
    folded = fold(title)
    name = _YEAR.sub("", folded)
    return folded, _article_first(name) + folded[len(name) :]


def _keys(title: str) -> tuple[set[str], ...]:
    """What finds a title, strictest form first: folded; with its article in front; without its
    year; without what is in brackets; without article. The last two go with or without the year.
    """
    folded, dated = _forms(title)
    name = _YEAR.sub("", folded)
    year = folded[len(name) :]
    brief = _article_first(_BRACKETED.sub("", name))
    plain = _LEADING.sub("", brief)
    return {folded}, {dated}, {_article_first(name)}, {brief, brief + year}, {plain, plain + year}


def _article_first(name: str) -> str:
    moved = _MOVED.match(name)
    if moved is None:
        return name
    return f"{moved[2]}{'' if moved[2].endswith(chr(39)) else ' '}{moved[1]}"


def _bare(title: str) -> str:
    return _LEADING.sub("", _article_first(_YEAR.sub("", fold(title))))


def _letters(text: str) -> NDArray[np.uint8]:
    """[64]: how often each letter occurs, letters told apart by their last six bits."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32) & 63
    return np.minimum(np.bincount(codes, minlength=64), 255).astype(np.uint8)
