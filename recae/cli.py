"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import csv
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from recae.errors import DataError, RecaeError

if TYPE_CHECKING:
    from rich.console import Console

    from recae.leaks import HeldOut
    from recae.models import Recommender
    from recae.ratings import Ratings
    from recae.recipes import DataRecipe, Recipe
    from recae.reports.standings import Standings
    from recae.splits import Holdout
    from recae.tuning import Spaces, Study, Trial

app = typer.Typer(
    help="Rating autoencoders: train on rating matrices, recommend, compare tracked experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    help="Rating tables: what is there, what is wrong with it.", no_args_is_help=True
)
app.add_typer(data_app, name="data")
plot_app = typer.Typer(help="Pictures of models.", no_args_is_help=True)
app.add_typer(plot_app, name="plot")
track_app = typer.Typer(
    help="Tracked runs: list, delete, register, deliver what waits.", no_args_is_help=True
)
app.add_typer(track_app, name="track")

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


def main() -> NoReturn:
    """The entry point: mistakes end with one sentence and exit code 2."""
    try:
        app(prog_name="recae")
    except RecaeError as mistake:
        print(f"recae: {mistake}", file=sys.stderr)
        sys.exit(2)
    except OSError as trouble:
        # A full disk, a folder that may not be written: nothing that a traceback would explain.
        where = f"{trouble.filename}: " if trouble.filename else ""
        print(f"recae: {where}{trouble.strerror or trouble}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from recae import __version__

        print(__version__)
        raise typer.Exit


# --- data


@data_app.command("list")
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
        _print_json(
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
    _print_table(header, body, left=2)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A release, see `recae data list`.")],
) -> None:
    """Download a release into the cache, checked and resumable."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from recae.data import fetch

    console = _console(err=True)
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


@data_app.command("info")
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
    found = describe(source, **_columns(columns), scale=_scale(scale), layout=layout)
    _print_json(found.to_dict()) if as_json else print(found)
    if found.problems:
        raise typer.Exit(1)


# --- train, evaluate


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a TOML file.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Like model.k=128.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted sweep of this recipe.")
    ] = False,
    track: Annotated[bool, typer.Option(help="Keep the runs in the tracking store.")] = True,
    save: Annotated[
        Path | None, typer.Option(help="Also save the models below this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train, evaluate, track and compare what a recipe says."""
    from recae import console
    from recae.recipes import read_recipe
    from recae.reports.rendering import as_records
    from recae.running import Untracked, run

    if resume and not track:
        raise RecaeError("--resume needs the tracking store: leave --no-track out")
    if save is not None and save.exists() and not save.is_dir():
        raise RecaeError(f"--save takes a folder, and {save} is a file")
    read = read_recipe(recipe, overrides or [])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tracker: Any = Untracked()
    if track:
        from recae.tracking import MlflowTracker, Store

        tracker = MlflowTracker(Store(), resume=resume)
    out = _console(err=as_json)
    try:
        with console.watching(out) as listener:
            report = run(read, tracker=tracker, listener=listener)
    except KeyboardInterrupt:
        print(f"interrupted; recae train {recipe} --resume goes on", file=sys.stderr)
        raise
    if save is not None:
        for outcome in report.outcomes:
            outcome.model.save(save / outcome.plan.folder)
    if as_json:
        _print_json(as_records(report.comparison, report.costs))
        return
    console.show_report(out, report)


@app.command()
def evaluate(
    model: ModelRef,
    data: Source = None,
    history: Annotated[
        str | None,
        typer.Option(help="Ratings that may be seen; --data are then all to be predicted."),
    ] = None,
    share: Annotated[
        float, typer.Option(help="Without --history: the share of each user's ratings to predict.")
    ] = 0.2,
    recipe: Annotated[
        Path | None, typer.Option(help="Instead of --data: the test ratings of this recipe.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Length of the lists; none: 10, or the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the share.")] = 0,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Score a saved model on held-out ratings."""
    from recae.evaluation import evaluate as score

    _check_asked(data, recipe, history, seed)
    fitted = _load(model)
    relevant = None
    if recipe is not None:
        holdout, read = _test_of(recipe, model)
        n, relevant = n or read.evaluation.n, read.evaluation.relevant
    else:
        holdout = _holdout(_data_recipe(model, data, columns), history, share, seed)
    result = score(fitted, holdout, n=10 if n is None else n, relevant=relevant)
    if as_json:
        _print_json(
            {"metrics": result.metrics, "counts": result.counts, "protocol": result.protocol}
        )
        return
    print(result)
    trained = fitted.fitted.users.find(holdout.target.users.values) >= 0
    changed = fitted.known(holdout.history.over(fitted.fitted.items)) < 0
    if overlap := int((trained & changed).sum()):
        print(
            f"note: the model was trained on {overlap:,} of these users with other histories; where"
            " the targets here were in its training data, this error is not a held-out one"
        )


def _check_asked(data: str | None, recipe: Path | None, history: str | None, seed: int) -> None:
    """What is held out is said once."""
    if (data is None) == (recipe is None):
        raise RecaeError("say what to predict: --data RATINGS, or --recipe RECIPE.toml")
    if recipe is not None and history is not None:
        raise RecaeError("--history goes with --data: a recipe has its own")
    if seed < 0:
        raise RecaeError(f"--seed must not be negative, and {seed} is")


def _test_of(path: Path, model: str | None = None) -> tuple[Holdout, Recipe]:
    """The test ratings of a recipe, which is that of the model if there is one."""
    from recae.recipes import read_recipe

    recipe = read_recipe(path)
    if model is not None:
        recipe = _of_its_split(model, recipe)
    return recipe.split.split(recipe.data.load(), recipe.data).test, recipe


def _holdout(data: DataRecipe, history: str | None, share: float, seed: int) -> Holdout:
    import numpy as np

    from recae.splits import Holdout, part_of_each

    if history is not None:
        return Holdout.of(data.of(history).load(), data.load())
    return part_of_each(data.load(), target=share, rng=np.random.default_rng(seed))


def _of_its_split(model: str, recipe: Recipe) -> Recipe:
    """A tracked model is scored on its own split only, and of several folds on its own: on
    another, its training ratings would be taken for held-out ones. Raises RecaeError."""
    if Path(model).is_dir():
        return recipe
    from recae.recipes import parse_data
    from recae.tracking import Store, load_run_recipe

    trained = load_run_recipe(Store(), model)
    recipe = recipe.of_fold(trained["split"].get("fold"))
    # What was tracked went through JSON, which knows no tuples.
    asked = json.loads(json.dumps(recipe.resolved))
    same = {
        "data": parse_data(trained["data"]) == recipe.data,
        "split": trained["split"] == asked["split"],
    }
    for part, is_same in same.items():
        if not is_same:
            raise RecaeError(
                f"{model} was trained with other {part} settings than this recipe's, so its "
                "training ratings would count as held-out: use the recipe it was trained with"
            )
    return recipe


@app.command()
def leak(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model's folder, a tracked run, or FILE.py:NAME for what a Python file calls so "
            "(the file is run): a function (train, test) -> stars, or a model with fit and "
            "predict, as a class or an object.",
        ),
    ],
    data: Source = None,
    history: Annotated[
        str | None,
        typer.Option(help="Ratings to see or to train on; --data are then all to be predicted."),
    ] = None,
    share: Annotated[
        float, typer.Option(help="Without --history: the share of each user's ratings to predict.")
    ] = 0.2,
    recipe: Annotated[
        Path | None, typer.Option(help="Instead of --data: the test ratings of this recipe.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the share, and of what is changed.")] = 0,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Look for held-out ratings in what a model predicts.

    It is asked six times; what is in a Python file is trained each time.

    Exit code 0: no leak; 1: a leak; 2: a mistake, or equal runs differ too much to tell.
    """
    import numpy as np

    from recae.leaks import from_script, guarded, leak_test

    _check_asked(data, recipe, history, seed)
    rng = np.random.default_rng(seed)
    script = _script(model)
    if script is None:
        fitted = _load(model)
        holdout = (
            _holdout(_data_recipe(model, data, columns), history, share, seed)
            if recipe is None
            else _test_of(recipe, model)[0]
        )
        report = leak_test(fitted, holdout, rng=rng)
    else:
        tested = from_script(*script)
        held_out = _to_train_on(data, history, share, recipe, seed, columns)
        with guarded(script[0]):
            report = leak_test(tested, held_out, rng=rng)
    _print_json(report.to_dict()) if as_json else print(report)
    if report.leaks or not report.deterministic:
        raise typer.Exit(1 if report.leaks else 2)


def _script(model: str) -> tuple[Path, str] | None:
    """The file and the name in FILE.py:NAME."""
    file, _, name = model.rpartition(":")
    if model.endswith(".py"):
        raise RecaeError(f"say what to test in {model}: {model}:NAME, a function or a model")
    return (Path(file), name) if file.endswith(".py") else None


def _to_train_on(
    data: str | None,
    history: str | None,
    share: float,
    recipe: Path | None,
    seed: int,
    columns: str | None,
) -> HeldOut:
    """Two tables stay as they are: what stands in both is for the test to find."""
    from recae.leaks import frame_of
    from recae.recipes import DataRecipe

    if recipe is not None:
        return _test_of(recipe)[0]
    assert data is not None
    ratings = DataRecipe(data, **_columns(columns))
    if history is None:
        return _holdout(ratings, None, share, seed)
    return frame_of(ratings.of(history).load()), frame_of(ratings.load())


# --- tune


@app.command()
def tune(
    space: Annotated[
        Path, typer.Argument(help="A file of spaces, like those in pipelines/spaces.")
    ],
    model: Annotated[
        str | None, typer.Option(help="The model whose settings are searched.")
    ] = None,
    frozen: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="Instead: score the models of a recipe as they are."),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="How many in all, those resumed included.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws and of the models.")] = 0,
    experiment: Annotated[
        str | None, typer.Option(help="Where it is tracked; none: by the data and the split.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the newest study of this space and model.")
    ] = False,
    track: Annotated[bool, typer.Option(help="Keep the trials in the tracking store.")] = True,
    out: Annotated[Path | None, typer.Option(help="Also write the trials to a CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Search the settings of a model, judged on validation ratings alone."""
    from recae import console
    from recae.tuning import frozen as score
    from recae.tuning import read_spaces

    if (model is None) == (frozen is None):
        raise RecaeError("say what to tune: --model MODEL, or --frozen RECIPE.toml")
    if frozen is not None and (resume or experiment is not None):
        raise RecaeError("--frozen searches and tracks nothing: leave --resume, --experiment out")
    if not track and (resume or experiment is not None):
        raise RecaeError("--resume and --experiment need the tracking store: leave --no-track out")
    _check_writable(out)
    spaces = read_spaces(space)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = _console(err=as_json)
    if model is None:
        assert frozen is not None
        from recae.recipes import read_recipe

        recipe = read_recipe(frozen)
        with console.watching_trials(screen) as listener:
            found = score(spaces, recipe, seed=seed, listener=listener)
        console.show_trials(screen, found)
        _keep_trials(found, out, as_json)
        return
    study, interrupted = _study(spaces, model, seed, trials, track, experiment, resume, screen)
    console.show_study(screen, study)
    _keep_trials(study.trials, out, as_json)
    if interrupted is not None:
        how = ": the same command goes on with --resume" if track else ""
        print(f"interrupted{how}", file=sys.stderr)
        raise interrupted


def _study(
    spaces: Spaces,
    model: str,
    seed: int,
    trials: int,
    track: bool,
    experiment: str | None,
    resume: bool,
    screen: Console,
) -> tuple[Study, KeyboardInterrupt | None]:
    """The study when it is over, or as far as it came before the interrupt."""
    from recae import console
    from recae.tuning import Study

    tracker: Any = None
    if track:
        from recae.tracking import MlflowStudies, Store

        tracker = MlflowStudies(Store())
    with console.watching_trials(screen) as listener:
        study = Study(
            spaces,
            model,
            seed=seed,
            tracker=tracker,
            resume=resume,
            experiment=experiment,
            listener=listener,
        )
        try:
            study.run(trials)
        except KeyboardInterrupt as interrupt:
            return study, interrupt
    return study, None


def _keep_trials(trials: list[Trial], out: Path | None, as_json: bool) -> None:
    """As CSV and as JSON, where that was asked for; the best first."""
    from recae.tuning import best_first

    records = [trial.record for trial in best_first(trials)]
    if out is not None:
        _write_csv([r | {"settings": json.dumps(r["settings"])} for r in records], out)
    if as_json:
        _print_json(records)


# --- recommend


@app.command()
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
    _check_writable(out)
    fitted = _load(model)
    rules: dict[str, Any] = {
        "allow": _items_in(allow, fitted),
        "deny": _items_in(deny, fitted),
        "include_seen": include_seen,
    }
    if out is not None:
        _recommend_to_all(fitted, _ratings_of(model, fitted, data, columns), n, rules, out)
        return
    if user is not None:
        ratings = _ratings_of(model, fitted, data, columns)
        history = ratings.take_users(ratings.users.rows([ratings.users.parse(user)]))
    else:
        history = fitted.history_of(_rated(rate or [], fitted))
    frame = fitted.recommend(history, n, **rules).to_frame().drop(columns="user")
    if explain:
        items = fitted.fitted.items.rows(frame["item"])
        frame["because"] = fitted.reasons(history, items)
    if as_json:
        _print_json(frame.to_dict("records"))
        return
    from recae.console import show_recommendations

    show_recommendations(_console(), frame)


def _rated(texts: list[str], model: Recommender) -> dict[Any, float]:
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


def _recommend_to_all(
    model: Recommender, ratings: Ratings, n: int, rules: dict[str, Any], out: Path
) -> None:
    """In blocks of users, so that the frame of the whole population never exists."""
    import numpy as np
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    partial = out.with_name(out.name + ".part")
    writer = None
    try:
        for start in range(0, len(ratings.users), 10_000):
            rows = np.arange(start, min(start + 10_000, len(ratings.users)))
            found = model.recommend(ratings.take_users(rows), n, **rules)
            block = pa.Table.from_pandas(found.to_frame(), preserve_index=False)
            writer = writer or parquet.ParquetWriter(partial, block.schema)
            writer.write_table(block)
        if writer is not None:
            writer.close()
        partial.replace(out)
    except OSError as trouble:
        raise DataError(f"cannot write {out}: {trouble.strerror or trouble}") from None
    finally:
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
    print(f"{out}: {n} items for {len(ratings.users):,} users")


# --- anomalies


@app.command()
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
    _check_writable(out)
    fitted = _load(model)
    ratings = _ratings_of(model, fitted, data, columns)
    judged = judge(fitted, ratings, rng=np.random.default_rng(seed))
    tables = {"users": judged.suspicious, "ratings": judged.surprising}
    if of is not None:
        kept = "users" if of else "ratings"
        tables = {kept: tables[kept]}
    if out is not None:
        (everything,) = (worst(len(ratings)) for worst in tables.values())
        _write_csv(everything, out)
    found = {name: worst(n) for name, worst in tables.items()}
    if as_json:
        _print_json(found)
        return
    from recae.console import show_anomalies

    show_anomalies(_console(), found)


# --- compare, ui


@app.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Ids or names of runs; none: the latest sweep.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="All runs of this experiment, or RUNS of it.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--filter", help="All runs of which this holds, like \"params.k = '64'\"."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The model to compare with; none: mf, or the first.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="The metric to sort by; none: rmse, or NDCG without stars.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric to show in full (repeatable); none: rmse and NDCG."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Slices: activity, popularity, stars, genre, year or days (repeatable)."),
    ] = None,
    measure: Annotated[str, typer.Option(help="Of the slices: rmse, recall or coverage.")] = "rmse",
    form: Annotated[str, typer.Option("--format", help="table, md, csv, json or latex.")] = "table",
    report: Annotated[
        Path | None, typer.Option(help="Also write everything, with plots, into this HTML file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw it: .png, .svg or .pdf.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Show runs that cannot be compared, apart.")
    ] = False,
) -> None:
    """Tracked runs side by side, with the interval of each difference to the baseline."""
    from recae import console
    from recae.reports.standings import told_apart
    from recae.reports.texts import FORMATS, Wanted, as_text, heading

    if form != "table" and form not in FORMATS:
        raise RecaeError(f"--format is one of table, {', '.join(FORMATS)}, not {form!r}")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RecaeError(f"--plot writes .png, .svg or .pdf, not {plot.name!r}")
    if report is not None and report.suffix.lower() != ".html":
        raise RecaeError(f"--report writes .html, not {report.name!r}")
    if force and (plot or report):
        raise RecaeError("--force shows several comparisons: leave --plot and --report out")
    if by and form == "csv":
        raise RecaeError("csv is one table, without slices: leave --by out, or give --format json")
    if measure != "rmse" and not by:
        raise RecaeError("--measure is of slices: say which with --by")
    for path in (plot, report):
        _check_writable(path)
    wanted = Wanted(sort, metric or (), by or (), measure)
    answers = bool(by or report or form == "json")
    several = _standings(runs or [], experiment, where, baseline, force, answers)
    if form == "table":
        for standings, told in zip(several, told_apart(several), strict=True):
            if told:
                _console().print(heading(told), style="bold", markup=False)
            console.show_comparison(_console(), standings, wanted)
    else:
        print(as_text(several, wanted, form))
    if plot is not None:
        from recae import plots

        (standings,) = several
        plots.comparison(standings.comparison, standings.headline[0]).savefig(plot)
    if report is not None:
        from recae.reports.page import write_html

        write_html(several[0], report, sort)


@app.command()
def leaderboard(
    experiment: Annotated[str, typer.Argument(help="An experiment of the store.")],
    metric: Annotated[
        str | None, typer.Option(help="The metric to rank by; none: rmse, or NDCG without stars.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, md, csv, json or latex.")] = "table",
) -> None:
    """All that was tried in an experiment, the best first; a table for each split and protocol."""
    from dataclasses import replace

    import numpy as np

    from recae import console
    from recae.reports.rendering import leaderboard as ranked
    from recae.reports.standings import each_led, told_apart
    from recae.reports.texts import FORMATS, Wanted, as_text, heading, in_markup
    from recae.tracking import Store, evaluations

    if form != "table" and form not in FORMATS:
        raise RecaeError(f"--format is one of table, {', '.join(FORMATS)}, not {form!r}")
    found = evaluations(Store(), experiment=experiment, answers=False)
    several = each_led(found, metric, rng=np.random.default_rng(0))
    if form in ("csv", "json"):
        print(as_text(several, Wanted(sort=metric), form))
        return
    for standings, told in zip(several, told_apart(several), strict=True):
        section = ranked(standings.comparison, standings.costs, metric or standings.headline[0])
        section = replace(section, title=heading(told))
        if form == "table":
            console.show_leaderboard(_console(), section, standings)
        else:
            print(in_markup([section], form))


def _standings(
    runs: list[str],
    experiment: str | None,
    where: str | None,
    baseline: str | None,
    force: bool,
    answers: bool,
) -> list[Standings]:
    """Runs of the store compared; `force`: several times, those together that may be."""
    import numpy as np

    from recae.reports.standings import Standings, each_apart
    from recae.tracking import Store, evaluations

    found = evaluations(Store(), runs, experiment, where, answers=answers)
    rng = np.random.default_rng(0)
    return (
        each_apart(found, baseline, rng=rng) if force else [Standings.of(found, baseline, rng=rng)]
    )


@app.command()
def ui(
    experiment: Annotated[str | None, typer.Option(help="Open this one; none: the newest.")] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where the page is served, on 127.0.0.1.")
    ] = 5000,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """The tracking page on this folder's store."""
    from recae.tracking import Store, open_page

    open_page(Store(), experiment, port=port, open_browser=browser)


# --- track


@track_app.command("list")
def track_list(
    experiment: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    as_json: Json = False,
) -> None:
    """Tracked runs, the newest sweep first."""
    from dataclasses import asdict

    from recae.console import show_runs
    from recae.tracking import Store, listed, waiting

    runs = listed(Store(), experiment)
    if as_json:
        _print_json([asdict(run) | {"started": run.started.isoformat()} for run in runs])
        return
    show_runs(_console(), runs)
    if count := waiting(Store()).total():
        print(f"waiting in {Store().outbox.name}: {count} (recae track sync)", file=sys.stderr)


@track_app.command("delete")
def track_delete(
    runs: Annotated[
        list[str], typer.Argument(help="Ids or names; a name stands for the newest run of it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete runs, their models, and the runs below them. `mlflow gc` then removes the files."""
    from recae.console import show_runs
    from recae.tracking import Store, delete, to_delete

    store = Store()
    chosen = to_delete(store, runs)
    if not yes:
        show_runs(_console(), chosen)
        typer.confirm(f"Delete them from {store.name}?", abort=True)
    delete(store, chosen)
    print(f"deleted: {len(chosen)}; `mlflow gc` removes their files")


@track_app.command("register")
def track_register(
    run: Annotated[str, typer.Argument(help="A finished run: its id or name.")],
    name: Annotated[str, typer.Option(help="Of the registered model, new or known.")],
    alias: Annotated[
        str | None, typer.Option(help="That then points to this version, like champion.")
    ] = None,
) -> None:
    """Make the model of a run a version of a registered model."""
    from recae.tracking import Store, register

    version = register(Store(), run, name, alias)
    print(f"models:/{name}/{version}")
    if alias is not None:
        print(f"models:/{name}@{alias}")


@track_app.command("sync")
def track_sync(
    here: Annotated[
        bool, typer.Option("--here", help="Also what was meant for another store.")
    ] = False,
) -> None:
    """Deliver the runs that the tracking store could not take when they were made."""
    from recae.tracking import Store, deliver, waiting

    store = Store()
    for run in deliver(store, here=here):
        lacked = f"{run.metrics} values, {run.files} files"
        print(f"{run.name}: {run.status.lower()}, {lacked}, now run {run.run_id}")
    left = waiting(store)
    goes_on = left.pop(store.name, 0)
    still = f"of sweeps that go on: {goes_on}" if goes_on else "nothing else"
    print(f"waiting for {store.name}: {still}")
    if left:
        raise RecaeError(
            f"other runs in {store.outbox.name} were meant for {', '.join(left)}: set "
            "MLFLOW_TRACKING_URI to it, or give --here"
        )


# --- plot


@plot_app.command("latent")
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
    _check_writable(out)
    fitted = _load(model)
    ratings = None if of == "items" else _ratings_of(model, fitted, data, columns)
    from recae import maps, plots

    style: Any = {"colour": colour, "method": method, "least": least}
    drawn = (
        maps.map_items(fitted, **style)
        if ratings is None
        else maps.map_users(fitted, ratings, **style)
    )
    plots.latent(drawn).savefig(out, format="png")
    print(out)


# --- what commands share


def _console(*, err: bool = False) -> Console:
    """Width as the terminal's; where there is none, wide enough for every table."""
    from rich.console import Console

    plain = Console(stderr=err, highlight=False, soft_wrap=False)
    return plain if plain.is_terminal else Console(stderr=err, highlight=False, width=120)


def _load(model: str) -> Recommender:
    from recae.models import load_model

    tracked = model.startswith(("runs:/", "models:/"))
    # Any other name with a separator can only be a path: no need to ask the tracking store.
    if not tracked and (Path(model).exists() or Path(model).name != model):
        return load_model(Path(model))
    from recae.tracking import Store, load_run_model

    return load_run_model(Store(), model)


def _data_recipe(model: str, data: str | None, columns: str | None) -> DataRecipe:
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
    return replace(recipe, **_columns(columns))


def _columns(text: str | None) -> dict[str, Any]:
    """ "customer,book,stars" as settings of a data recipe."""
    if text is None:
        return {}
    names = [name.strip() for name in text.split(",")]
    if not 3 <= len(names) <= 4 or not all(names):
        raise DataError(f"--columns takes USER,ITEM,RATING or USER,ITEM,RATING,TIME, not {text!r}")
    return dict(zip(("user", "item", "rating", "time"), names, strict=False))


def _ratings_of(model: str, fitted: Recommender, data: str | None, columns: str | None) -> Ratings:
    """The ratings named, or those of the run. Raises DataError where the model knows no item."""
    ratings = _data_recipe(model, data, columns).load()
    if (fitted.fitted.items.find(ratings.items.values) < 0).all():
        raise DataError(f"{data or model}: the model knows none of these items")
    return ratings


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


def _check_writable(out: Path | None) -> None:
    """Before any work is done for it. Raises DataError."""
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise DataError(f"cannot write {out}: {what}")


def _write_csv(records: list[dict[str, Any]], out: Path) -> None:
    """Flat records of the same keys."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]) if records else [])
        writer.writeheader()
        writer.writerows(records)


def _print_json(value: Any) -> None:
    from recae.reports.rendering import to_json

    print(to_json(value))


def _print_table(header: list[str], rows: list[list[str]], *, left: int) -> None:
    from recae.reports.rendering import rich_table

    _console().print(rich_table(header, rows, left=left))


if __name__ == "__main__":
    main()
