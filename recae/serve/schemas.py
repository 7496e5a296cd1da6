"""What may be asked, checked before a model sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recae.models.rules import Rules

MOST: Final = 100
"""Items of a list."""
RATINGS: Final = 2000
"""Of one person."""
EXPLAINED: Final = 200
"""Ratings of a person whose list comes with reasons: each of them is left out in turn."""

Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Name = Whole | Annotated[str, Field(strict=True, min_length=1, max_length=300)]
Text = Annotated[str, Field(max_length=100)]
Share = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1, le=1)]
Flag = Annotated[bool, Field(strict=True)]
Year = Annotated[int, Field(strict=True, ge=0, le=9999)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Rating(_Asked):
    """How many stars somebody gave."""

    item: Name = Field(description="Its id, or its title.")
    stars: float = Field(strict=True, allow_inf_nan=False)


class _ForOne(_Asked):
    """Who a person is, and how many items are wanted for the person."""

    ratings: list[Rating] = Field(
        max_length=RATINGS,
        description="Of the person; none at all: of whom nothing is known.",
    )
    n: int = Field(default=10, strict=True, ge=1, le=MOST)
    model: Text | None = Field(default=None, description="By name; none: the first.")
    deny: list[Name] | None = Field(
        default=None, max_length=RATINGS, description="Items that are left out."
    )

    @property
    def given(self) -> list[tuple[int | str, float]]:
        """Items with their stars."""
        return [(each.item, each.stars) for each in self.ratings]


class Interviewed(_ForOne):
    """Whom to ask for ratings, and what need not be asked for."""


class Wish(_ForOne):
    """Whom to recommend to, and what."""

    by: Text | None = Field(default=None, description="An order of the model; none: its default.")
    genres: list[Text] | None = Field(
        default=None, min_length=1, max_length=100, description="Any of these."
    )
    years: tuple[Year | None, Year | None] | None = Field(
        default=None, description="From and to, inclusive; null is open."
    )
    allow: list[Name] | None = Field(
        default=None, max_length=RATINGS, description="Items that alone may be recommended."
    )
    include_seen: Flag = Field(default=False, description="Also what is rated.")
    diversity: Share = Field(default=0, ge=0, description="0 best fit, 1 unlike each other.")
    popularity: Share = Field(default=0, description="-1 obscure, 1 popular.")
    explain: Flag = Field(default=False, description="With the rating that speaks most for each.")
    place: Flag = Field(default=False, description="With the person's place on the map.")

    @model_validator(mode="after")
    def _explains_what_it_can(self) -> Self:
        if self.explain and len(self.ratings) > EXPLAINED:
            raise ValueError(
                f"reasons are found for at most {EXPLAINED} ratings, not {len(self.ratings)}: "
                "leave explain out"
            )
        return self

    @property
    def rules(self) -> dict[str, Any]:
        """As `Recommender.recommend` takes them."""
        return self.model_dump(include=set(Rules.__optional_keys__))


def sentence(errors: Sequence[Any]) -> str:
    """What pydantic found wrong, the first of it, in words."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}"
    path = [part for part in first["loc"] if part not in ("body", "query")]
    if "item" in path[:-1]:
        # An id or a title: pydantic tells what is wrong with each of the two.
        path = path[: path.index("item") + 1]
        first = {"msg": "An id is a whole number and a title a text of 1 to 300 letters"}
        errors = errors[:1]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where.lstrip('.') or 'the body'}: {said}{more}"
