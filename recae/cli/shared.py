"""What commands share: options, how models and ratings are named, what is printed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from recae.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from recae.models import Recommender
    from recae.ratings import Ratings
    from recae.recipes import DataRecipe


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelRef = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model's folder, a tracked run's id or name, or models:/NAME@ALIAS of the registry.",
    ),
]
Source = Annotated[
    str | None, typer.Option("--data", help="Ratings: a release's name, a file or a folder.")
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="USER,ITEM,RATING[,TIME]",
        help="The columns of the ratings; none: those of the run, or common names.",
    ),
]
Duplicates = Annotated[
    str | None,
    typer.Option(help="Of an item that a user rated twice: last (by time), mean, or error."),
]
By = Annotated[
    str | None,
    typer.Option(help="blend, stars, liked or lower-bound, as far as the model can."),
]
Diversity = Annotated[
    float, typer.Option(help="0 to 1: how much it counts to be unlike the rest of the list.")
]
Popularity = Annotated[
    float, typer.Option(help="-1 to 1: how much it counts that few, or many, have rated it.")
]


def terminal(*, err: bool = False) -> Console:
    """Width as the terminal's; where there is none, wide enough for every table."""
    from rich.console import Console

    plain = Console(stderr=err, highlight=False, soft_wrap=False)
    return plain if plain.is_terminal else Console(stderr=err, highlight=False, width=120)


def named_model(model: str) -> Recommender:
    from recae.models import load_model

    if is_path(model):
        return load_model(Path(model))
    from recae.tracking import Store, load_run_model

    return load_run_model(Store(), model)


def is_path(model: str) -> bool:
    """Whether a model is named by its folder, and not as it is tracked."""
    tracked = model.startswith(("runs:/", "models:/"))
    # Any other name with a separator can only be a path: no need to ask the tracking store.
    return not tracked and (Path(model).exists() or Path(model).name != model)


def data_recipe(model: str, data: str | None, columns: str | None) -> DataRecipe:
    """How to read --data: like the ratings that a run was trained on, where a run is named.
    Without --data, those ratings themselves."""
    from dataclasses import replace

    from recae.recipes import DataRecipe, parse_data

    if Path(model).is_dir():
        if data is None:
            raise DataError("a model's folder holds no ratings: name them with --data")
        recipe = DataRecipe(data)
    else:
        from recae.tracking import Store, load_run_recipe

        recipe = parse_data(load_run_recipe(Store(), model)["data"])
        recipe = recipe if data is None else recipe.of(data)
    return replace(recipe, **named_columns(columns))


def named_columns(text: str | None) -> dict[str, Any]:
    """ "customer,book,stars" as settings of a data recipe."""
    if text is None:
        return {}
    names = [name.strip() for name in text.split(",")]
    if not 3 <= len(names) <= 4 or not all(names):
        raise DataError(f"--columns takes USER,ITEM,RATING or USER,ITEM,RATING,TIME, not {text!r}")
    return dict(zip(("user", "item", "rating", "time"), names, strict=False))


def ratings_of(
    model: str,
    fitted: Recommender,
    data: str | None,
    columns: str | None,
    duplicates: Duplicates = None,
) -> Ratings:
    """The ratings named, or those of the run. Raises DataError where the model knows no item."""
    ratings = read_ratings(model, fitted, data, columns, duplicates)
    if (fitted.fitted.items.find(ratings.items.values) < 0).all():
        raise DataError(f"{data or model}: the model knows none of these items")
    return ratings


def read_ratings(
    model: str,
    fitted: Recommender,
    data: str | None,
    columns: str | None,
    duplicates: Duplicates = None,
) -> Ratings:
    """The same, whatever they are of; on the model's scale where nothing else is known of one."""
    from dataclasses import replace

    recipe = data_recipe(model, data, columns)
    if data is not None and recipe.scale is None:
        recipe = replace(recipe, scale=fitted.fitted.scale)
    if duplicates is not None:
        check_choice("--duplicates", duplicates, ("error", "last", "mean"))
        recipe = replace(recipe, duplicates=cast(Any, duplicates))
    return recipe.load()


def check_choice(option: str, given: str, choices: tuple[str, ...]) -> None:
    """Raises DataError for another one."""
    if given not in choices:
        raise DataError(f"{option} is one of {', '.join(choices)}, not {given!r}")


def check_writable(out: Path | None) -> None:
    """Before any work is done for it. Raises DataError."""
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise DataError(f"cannot write {out}: {what}")


def write_csv(records: list[dict[str, Any]], out: Path) -> None:
    """Flat records of the same keys."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]) if records else [])
        writer.writeheader()
        writer.writerows(records)


def print_json(value: Any) -> None:
    from recae.reports.rendering import to_json

    print(to_json(value))


def print_table(header: list[str], rows: list[list[str]], *, left: int) -> None:
    from recae.reports.rendering import rich_table

    terminal().print(rich_table(header, rows, left=left))
