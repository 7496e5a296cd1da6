"""Training what a recipe says, and searching settings."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recae.cli.shared import Json, check_writable, print_json, terminal, write_csv
from recae.errors import RecaeError

if TYPE_CHECKING:
    from rich.console import Console

    from recae.tuning import Spaces, Study, Trial


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
    out = terminal(err=as_json)
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
        print_json(as_records(report.comparison, report.costs))
        return
    console.show_report(out, report)


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
    check_writable(out)
    spaces = read_spaces(space)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = terminal(err=as_json)
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
        write_csv([r | {"settings": json.dumps(r["settings"])} for r in records], out)
    if as_json:
        print_json(records)
