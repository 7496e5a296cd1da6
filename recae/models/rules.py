"""What a list is to be like: which items may be in it, and what puts them in order.

U users, N items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError

if TYPE_CHECKING:
    from recae.models.base import Fitted, Recommender

Mask = NDArray[np.bool_]

Order: TypeAlias = Literal["blend", "stars", "liked", "lower-bound"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
"""All that any model ranks by; `Recommender.orders` says which of them are a model's own."""


class Rules(TypedDict, total=False):
    """Keywords of `recommend`; what is left out makes no difference."""

    by: str | None
    """What is ranked by, one of the model's `orders`: predicted `stars`; `liked`, what people with
    such a history go on to like; `lower-bound`, the stars that are likely to be reached; `blend`,
    stars and liked together. None: the first of them."""
    allow: Iterable[Any] | None
    """Ids, or titles, of items that alone may be recommended."""
    deny: Iterable[Any] | None
    """The same of items that may not be."""
    genres: Iterable[str] | None
    """Only items of at least one of these, by the model's catalogue."""
    years: tuple[int | None, int | None] | None
    """Only items from the first year to the last, both included; None: no such end."""
    include_seen: bool
    """Also recommend what the history holds."""
    diversity: float
    """From 0 to 1: how much it counts that an item is unlike those before it in the list (maximal
    marginal relevance on the model's codes, Carbonell and Goldstein 1998)."""
    popularity: float
    """From -1 to 1: how much it counts that many have rated an item (or, below 0, that few have);
    at 1 nothing else does."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Rules that a model can follow."""

    by: str
    excluded: Mask | None
    """[N]: what may not be recommended to anybody; None: everything may."""
    include_seen: bool = False
    diversity: float = 0.0
    popularity: float = 0.0
    plain: bool = True
    """No rule makes a difference: the usual order, of everything that is unseen."""

    @classmethod
    def of(cls, model: Recommender, rules: Rules) -> Choice:
        """Checked. Raises DataError for an order that is not the model's, unknown ids and genres,
        years that end before they begin, a diversity or popularity out of range."""
        unknown = sorted(set(rules) - Rules.__optional_keys__)
        if unknown:
            raise TypeError(f"recommend has no rule {unknown[0]!r}")
        by = rules.get("by") or model.orders[0]
        if by not in model.orders:
            raise DataError(_no_such_order(model, by))
        diversity = _within("diversity", rules.get("diversity", 0.0), 0)
        popularity = _within("popularity", rules.get("popularity", 0.0), -1)
        seen, excluded = rules.get("include_seen", False), _excluded(model, rules)
        plain = by == model.orders[0] and excluded is None
        plain = plain and not (seen or diversity or popularity)
        return cls(by, excluded, seen, diversity, popularity, plain)


def _no_such_order(model: Recommender, by: str) -> str:
    if by not in ORDERS:
        return f"there is no order {by!r}: lists are made by {', '.join(model.orders)}"
    remedy = (
        'train a model of kind = "blend", which has them all'
        if len(model.orders) == 1
        else f"there are {', '.join(model.orders)}"
    )
    return f"this {type(model).__name__} does not rank by {by}: {remedy}"


def _within(name: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise DataError(f"{name} is a number from {least:g} to 1, not {value!r}")
    if not least <= value <= 1:
        raise DataError(f"{name} goes from {least:g} to 1, and {value:g} is outside")
    return float(value)


def _excluded(model: Recommender, rules: Rules) -> Mask | None:
    fitted = model.fitted
    allow, deny = rules.get("allow"), rules.get("deny")
    allowed = [
        None if allow is None else _marked(model, allow),
        None if deny is None else ~_marked(model, deny),
        _of_genres(fitted, rules.get("genres")),
        _of_years(fitted, rules.get("years")),
    ]
    stated = [mask for mask in allowed if mask is not None]
    return ~np.logical_and.reduce(stated) if stated else None


def _marked(model: Recommender, named: Iterable[Any]) -> Mask:
    """[N]: the items of these ids, or titles."""
    ids = model.fitted.items
    wanted = _listed("allow and deny are lists of items", named)
    texts = any(isinstance(name, str) for name in wanted)
    # Ids alone, of which there may be many, are found at once.
    by_id = not (texts and (ids.values.dtype.kind == "i" or model.fitted.catalog is not None))
    marked = np.zeros(len(ids), dtype=bool)
    marked[ids.rows(wanted) if by_id else [model.item_row(name) for name in wanted]] = True
    return marked


def _listed(what: str, given: Iterable[Any]) -> list[Any]:
    """As a list; one text is a list of one."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable):
        raise DataError(f"{what}, not {given!r}")
    return list(given)


def _of_genres(fitted: Fitted, genres: Iterable[str] | None) -> Mask | None:
    if genres is None:
        return None
    wanted = _listed("genres are a list of names", genres)
    catalog = fitted.catalog
    matrix = None if catalog is None else catalog.genre_matrix
    if catalog is None or matrix is None:
        raise DataError("the model knows no genre of any item: leave genres out")
    places = {name.casefold(): place for place, name in enumerate(catalog.genre_names)}
    columns = []
    for name in wanted:
        if not isinstance(name, str) or name.casefold() not in places:
            raise DataError(f"no item is {name!r}: there are {', '.join(catalog.genre_names)}")
        columns.append(places[name.casefold()])
    return np.asarray(matrix[:, columns].sum(axis=1) > 0)


def _of_years(fitted: Fitted, years: tuple[int | None, int | None] | None) -> Mask | None:
    if years is None:
        return None
    catalog = fitted.catalog
    if catalog is None or not catalog.years.any():
        raise DataError("the model knows the year of no item: leave years out")
    known = catalog.years[catalog.years > 0]
    first, last = _ends(years)
    first, last = (known.min() if first is None else first), (known.max() if last is None else last)
    if first > last:
        raise DataError(f"years go from the first to the last, and {first} is after {last}")
    return np.asarray((catalog.years >= first) & (catalog.years <= last) & (catalog.years > 0))


def _ends(years: Any) -> tuple[int | None, int | None]:
    """Checked. Raises DataError."""
    if isinstance(years, Sequence) and not isinstance(years, str) and len(years) == 2:
        first, last = years
        if all(end is None or isinstance(end, int | np.integer) for end in years):
            return first, last
    raise DataError(f"years are a first and a last one, like (1990, 1999), not {years!r}")
