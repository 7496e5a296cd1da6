"""What is like an item, and who is like a person."""

from __future__ import annotations

from typing import Annotated

import typer

from recae.cli.shared import (
    Columns,
    Json,
    ModelRef,
    Source,
    named_model,
    print_json,
    print_table,
    ratings_of,
)
from recae.cli.using import rated
from recae.errors import RecaeError


def similar(
    model: ModelRef,
    item: Annotated[str | None, typer.Argument(help="A title or id.")] = None,
    user: Annotated[str | None, typer.Option(help="A user of the ratings.")] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option("--rate", metavar="ITEM=STARS", help='A new person: "Toy Story (1995)=5".'),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 10,
    data: Source = None,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """The items most like one, or the users of the ratings most like one or like a new person."""
    if (item is not None) + (user is not None) + bool(rate) != 1:
        raise RecaeError("say like what: an item, --user ID, or --rate ITEM=STARS (repeatable)")
    if item is not None and (data is not None or columns is not None):
        raise RecaeError("items are in the model: --data and --columns go with --user and --rate")
    fitted = named_model(model)
    from recae.neighbours import similar_items, similar_users

    if item is not None:
        frame = similar_items(fitted, item, n)
    else:
        person = rated(rate or [], fitted)
        ratings = ratings_of(model, fitted, data, columns)
        who = person if user is None else ratings.users.parse(user)
        frame = similar_users(fitted, ratings, who, n)
    if as_json:
        print_json(frame.to_dict("records"))
        return
    if frame.empty:
        print("nothing else has a code")
        return
    rows = [[*map(str, first), f"{last:.2f}"] for *first, last in frame.itertuples(index=False)]
    print_table([*map(str, frame)], rows, left=len(frame.columns) - 1)
