"""What is answered; these become JSON as they are. None: unknown. Stars in the model's scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Id = int | str


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the catalogue."""

    item: Id
    title: str
    """As it is written in the catalogue."""
    name: str
    """As it is said."""
    year: int | None
    genres: tuple[str, ...]
    ratings: int
    """In training."""


@dataclass(frozen=True, slots=True)
class Found:
    """Items that a search found, best first."""

    items: list[Item]


@dataclass(frozen=True, slots=True)
class Questions:
    """Items to ask a person for, the first one first."""

    by: Literal["gain", "popularity"]
    """Gain: those whose ratings would tell most about all others. Popularity, of a model that
    cannot tell which these are: the best known."""
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Reason:
    """The rating that raises an item's stars most."""

    item: Id
    title: str
    name: str
    stars: float
    """As it was given."""
    effect: float | None
    """By how many stars the prediction falls when the rating is left out; None of a model that only
    ranks, whose scores have no unit."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """A line of a list."""

    rank: int
    """From 1."""
    item: Id
    title: str
    name: str
    year: int | None
    genres: tuple[str, ...]
    stars: float
    """Predicted."""
    low: float | None
    """Of the prediction interval."""
    high: float | None
    because: Reason | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A list, best first, and what it comes from."""

    model: str
    version: str
    by: str
    """What it is ordered by."""
    items: list[Recommended]
    place: tuple[float, float] | None
    """Of the person on the map: the way to what they like."""


@dataclass(frozen=True, slots=True)
class About:
    """A model that is served, and what may be asked of it."""

    name: str
    kind: str
    version: str
    scale: tuple[float, float]
    step: float
    """Between stars that a page offers."""
    orders: tuple[str, ...]
    """What lists can be ordered by; the first is the default."""
    users: int
    items: int
    genres: list[str]
    years: tuple[int, int] | None
    """First and last."""
    stars: bool
    """False: it only ranks, and its stars are those of a baseline."""
    intervals: bool
    diversity: bool
    """Whether lists can be made more diverse."""
    map: bool


@dataclass(frozen=True, slots=True)
class Abouts:
    """All models that are served; the first is the default."""

    models: list[About]


@dataclass(frozen=True, slots=True)
class Point:
    """An item on the map."""

    item: Id
    title: str
    name: str
    genre: str | None
    """The first one."""
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Atlas:
    """The best known items by their codes, in the two directions in which these differ most."""

    shares: tuple[float, float]
    """Of the variance of codes, in each direction."""
    items: list[Point]


@dataclass(frozen=True, slots=True)
class Health:
    """The server answers."""

    status: str
    versions: dict[str, str]
    """Of each model."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What was wrong with a request."""

    error: str
    """One sentence."""
