"""What a model is for: recommendations, other runtimes, anomalies, maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recae.cli.shared import (
    By,
    Columns,
    Diversity,
    Duplicates,
    Json,
    ModelRef,
    Popularity,
    Source,
    check_writable,
    named_model,
    print_json,
    ratings_of,
    terminal,
    write_csv,
)
from recae.errors import DataError, RecaeError

if TYPE_CHECKING:
    from recae.models import Recommender
    from recae.models.rules import Rules


def recommend(
    model: ModelRef,
    user: Annotated[str | None, typer.Option(help="A user of the ratings.")] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option("--rate", metavar="ITEM=STARS", help='A new user: "Toy Story (1995)=5".'),
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All users, into --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --all: a Parquet file.")] = None,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 10,
    data: Source = None,
    columns: Columns = None,
    duplicates: Duplicates = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which rating speaks most for it.")
    ] = False,
    allow: Annotated[
        Path | None, typer.Option(help="A file of titles or ids, one a line: only these.")
    ] = None,
    deny: Annotated[
        Path | None, typer.Option(help="A file of titles or ids, one a line: none of these.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also what is rated already.")
    ] = False,
    by: By = None,
    genre: Annotated[
        list[str] | None, typer.Option(help="Only items of this genre (repeatable: or of that).")
    ] = None,
    year: Annotated[
        str | None, typer.Option(metavar="FIRST-LAST", help="Only items of these years.")
    ] = None,
    diversity: Diversity = 0.0,
    popularity: Popularity = 0.0,
    as_json: Json = False,
) -> None:
    """Recommend to a known user, to a new one from a few ratings, or to everybody."""
    if (user is not None) + bool(rate) + everybody != 1:
        raise RecaeError("say for whom: --user ID, --rate ITEM=STARS (repeatable), or --all")
    if everybody != (out is not None):
        raise RecaeError("--all writes a file: give --all and --out FILE.parquet together")
    if everybody and (explain or as_json):
        raise RecaeError("--explain and --json are for one user: leave them out with --all")
    if rate and data is not None:
        raise RecaeError("--rate says all that is known of a new user: leave --data out")
    check_writable(out)
    fitted = named_model(model)
    rules: Rules = {
        "by": by,
        "allow": _items_in(allow, fitted),
        "deny": _items_in(deny, fitted),
        "genres": genre,
        "years": None if year is None else _years(year),
        "include_seen": include_seen,
        "diversity": diversity,
        "popularity": popularity,
    }
    if out is not None:
        from recae.everybody import recommend_to_all

        ratings = ratings_of(model, fitted, data, columns, duplicates)
        recommend_to_all(fitted, ratings, out, n, **rules)
        print(f"{out}: {n} items for {len(ratings.users):,} users")
        return
    if user is not None:
        ratings = ratings_of(model, fitted, data, columns, duplicates)
        history = ratings.take_users(ratings.users.rows([ratings.users.parse(user)]))
    else:
        history = fitted.history_of(rated(rate or [], fitted))
    frame = fitted.recommend(history, n, **rules).to_frame().drop(columns="user")
    if explain:
        items = fitted.fitted.items.rows(frame["item"])
        frame["because"] = fitted.reasons(history, items)
    if as_json:
        print_json(frame.to_dict("records"))
        return
    from recae.console import show_recommendations

    show_recommendations(terminal(), frame)


def rated(texts: list[str], model: Recommender) -> dict[Any, float]:
    given: dict[Any, float] = {}
    for text in texts:
        name, equals, stars = text.rpartition("=")
        try:
            value = float(stars)
        except ValueError:
            equals = ""
            value = 0.0
        if not equals or not name.strip():
            raise DataError(f"--rate takes ITEM=STARS, like 'Toy Story (1995)=5', not {text!r}")
        row = model.item_row(name.strip())
        item = model.fitted.items.values[row].item()
        if item in given:
            raise DataError(f"{model.item_name(row)} is rated twice")
        low, high = model.fitted.scale
        if not low <= value <= high:
            raise DataError(
                f"{model.item_name(row)} is rated {stars.strip()}: the scale is {low:g} to {high:g}"
            )
        given[item] = value
    return given


def _years(text: str) -> tuple[int | None, int | None]:
    """ "1990-1999", "1990-", "-1999" or "1994"."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    years = [first, last if dash else first]
    if not any(years) or not all(year.isdecimal() or not year for year in years):
        raise DataError(f"--year takes FIRST-LAST, like 1990-1999, 1990- or 1994, not {text!r}")
    begin, end = (int(year) if year else None for year in years)
    return begin, end


def _items_in(path: Path | None, model: Recommender) -> list[Any] | None:
    if path is None:
        return None
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as trouble:
        raise DataError(f"cannot read {path}: {trouble.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"cannot read {path}: it is not text in UTF-8") from None
    rows = [model.item_row(line.strip()) for line in lines if line.strip()]
    return [model.fitted.items.values[row].item() for row in rows]


def export(
    model: ModelRef, out: Annotated[Path, typer.Option(help="An ONNX file.")] = Path("model.onnx")
) -> None:
    """Write a model as an ONNX file, from which other runtimes answer for new users."""
    check_writable(out)
    from recae.exporting import export_onnx

    print(export_onnx(named_model(model), out))


def anomalies(
    model: ModelRef,
    data: Source = None,
    of: Annotated[
        bool | None,
        typer.Option("--users/--ratings", help="Only the one table; none: both.", show_default=""),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many of each.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the parts that are hidden in turn.")] = 0,
    columns: Columns = None,
    out: Annotated[
        Path | None, typer.Option(help="With --users or --ratings: also all of them, as CSV.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Users and single ratings that a model finds least plausible, seen without themselves."""
    import numpy as np

    from recae.anomalies import judge

    if out is not None and of is None:
        raise RecaeError("--out writes one table: say --users or --ratings")
    if n < 1:
        raise RecaeError(f"-n must be at least 1, and {n} is not")
    check_writable(out)
    fitted = named_model(model)
    ratings = ratings_of(model, fitted, data, columns)
    judged = judge(fitted, ratings, rng=np.random.default_rng(seed))
    tables = {"users": judged.suspicious, "ratings": judged.surprising}
    if of is not None:
        kept = "users" if of else "ratings"
        tables = {kept: tables[kept]}
    if out is not None:
        (everything,) = (worst(len(ratings)) for worst in tables.values())
        write_csv(everything, out)
    found = {name: worst(n) for name, worst in tables.items()}
    if as_json:
        print_json(found)
        return
    from recae.console import show_anomalies

    show_anomalies(terminal(), found)


def plot_latent(
    model: ModelRef,
    of: Annotated[str, typer.Option(help="items or users.")] = "items",
    colour: Annotated[str, typer.Option(help="genre or year.")] = "genre",
    method: Annotated[str, typer.Option(help="pca, or umap where that is installed.")] = "pca",
    least: Annotated[
        int, typer.Option(min=1, help="Only those with so many ratings; of fewer, little is known.")
    ] = 20,
    out: Annotated[Path, typer.Option(help="A PNG file.")] = Path("latent.png"),
    data: Source = None,
    columns: Columns = None,
) -> None:
    """A map of a model's codes: where its items are, or users of the ratings."""
    for option, given, choices in (
        ("--of", of, ("items", "users")),
        ("--colour", colour, ("genre", "year")),
        ("--method", method, ("pca", "umap")),
    ):
        if given not in choices:
            raise RecaeError(f"{option} is {' or '.join(choices)}, not {given!r}")
    if of == "items" and (data is not None or columns is not None):
        raise RecaeError("items are in the model: --data and --columns go with --of users")
    check_writable(out)
    fitted = named_model(model)
    ratings = None if of == "items" else ratings_of(model, fitted, data, columns)
    from recae import maps, plots

    style: Any = {"colour": colour, "method": method, "least": least}
    drawn = (
        maps.map_items(fitted, **style)
        if ratings is None
        else maps.map_users(fitted, ratings, **style)
    )
    plots.latent(drawn).savefig(out, format="png")
    print(out)
