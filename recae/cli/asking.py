"""What to ask a new person."""

from __future__ import annotations

from typing import Annotated

import typer

from recae.cli.shared import Json, ModelRef, named_model, print_json, print_table
from recae.cli.using import rated


def ask(
    model: ModelRef,
    rate: Annotated[
        list[str] | None,
        typer.Option("--rate", metavar="ITEM=STARS", help='Known already: "Toy Story (1995)=5".'),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 10,
    as_json: Json = False,
) -> None:
    """Items to ask a new user for, those whose rating would tell most first."""
    from recae.asking import questions

    fitted = named_model(model)
    found = questions(fitted, rated(rate or [], fitted), n)
    if as_json:
        print_json(found)
        return
    names = ["item"] if fitted.fitted.catalog is None else ["item", "title"]
    cells = [
        [
            str(rank),
            *(str(row[name]) for name in names),
            f"{row['known']:.0%}",
            f"{row['gain']:.4f}",
        ]
        for rank, row in enumerate(found, 1)
    ]
    print_table(["rank", *names, "rated by", "gain"], cells, left=1 + len(names))
