"""Rating tables: what is there, what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recae.cli.shared import Columns, Json, named_columns, print_json, print_table, terminal
from recae.errors import DataError


def data_list(as_json: Json = False) -> None:
    """The MovieLens releases, and which of them are here."""
    from recae.data import RELEASES
    from recae.data.lookup import find

    rows = []
    for release in RELEASES.values():
        try:
            where = str(find(release.name))
        except DataError:
            where = None
        rows.append((release, where))
    if as_json:
        print_json(
            [
                {
                    "name": r.name,
                    "ratings": r.ratings,
                    "users": r.users,
                    "items": r.items,
                    "megabytes": r.megabytes,
                    "path": where,
                }
                for r, where in rows
            ]
        )
        return
    header = ["here", "name", "ratings", "users", "items", "zip MB"]
    body = [
        [
            "yes" if where else "",
            r.name,
            *(f"{x:,}" for x in (r.ratings, r.users, r.items)),
            f"{r.megabytes:g}",
        ]
        for r, where in rows
    ]
    print_table(header, body, left=2)


def data_fetch(
    name: Annotated[str, typer.Argument(help="A release, see `recae data list`.")],
) -> None:
    """Download a release into the cache, checked and resumable."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from recae.data import fetch

    console = terminal(err=True)
    with Progress(
        *Progress.get_default_columns(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(name, total=None)
        path = fetch(
            name, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    print(path)


def data_info(
    source: Annotated[str, typer.Argument(help="A release, a file or a folder.")],
    columns: Columns = None,
    scale: Annotated[str | None, typer.Option(help="Lowest and highest star, like 1,5.")] = None,
    lists: Annotated[
        bool, typer.Option("--lists", help="A line is a user and that user's items.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Describe any table of ratings, and everything wrong with it. Exit code 1 if something is."""
    from recae.data import describe

    layout: Any = "lists" if lists else "table"
    found = describe(source, **named_columns(columns), scale=_scale(scale), layout=layout)
    print_json(found.to_dict()) if as_json else print(found)
    if found.problems:
        raise typer.Exit(1)


def _scale(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise DataError(f"--scale takes LOWEST,HIGHEST, like 1,5, not {text!r}")
    return low, high
