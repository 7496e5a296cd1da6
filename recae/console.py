"""What commands print: progress while training, the report of a recipe, lists, comparisons."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from recae.nn.training import Progress as Training
from recae.ratings import Ratings
from recae.reports.markup import Section
from recae.reports.rendering import records, rich_table, short_table, table
from recae.reports.standings import Standings
from recae.reports.texts import Wanted, sections
from recae.running import Listener, Outcome, Plan, Report
from recae.splits import Split
from recae.tuning import Study, StudyListener, Trial, as_toml, best_first
from recae.tuning.trials import held_out

if TYPE_CHECKING:
    import pandas as pd

    from recae.tracking import ListedRun

_PATIENCE: Final = 5.0
"""Seconds between plain progress lines where there is no terminal."""


@contextmanager
def watching(console: Console) -> Iterator[Listener]:
    """A listener that shows a bar a model on a terminal, and plain lines elsewhere."""
    if not console.is_terminal:
        yield _plain(console)
        return
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[said]}"), console=console) as bars:
        yield _bars(console, bars)


def _plain(console: Console) -> Listener:
    last_said = 0.0

    def on_progress(plan: Plan, progress: Training) -> None:
        nonlocal last_said
        if time.monotonic() - last_said >= _PATIENCE and progress.step < progress.steps:
            last_said = time.monotonic()
            console.print(f"{_label(plan)}: step {progress.step}/{progress.steps}{_said(progress)}")

    def on_start(plan: Plan) -> None:
        nonlocal last_said
        last_said = time.monotonic()

    return Listener(
        on_data=lambda ratings, split: _show_data(console, ratings, split),
        on_start=on_start,
        on_progress=on_progress,
        on_finish=lambda outcome: console.print(f"{_label(outcome.plan)}: {_result(outcome)}"),
    )


def _bars(console: Console, bars: Progress) -> Listener:
    tasks = {}

    def on_start(plan: Plan) -> None:
        tasks[_label(plan)] = bars.add_task(_label(plan), total=None, said="")

    def on_progress(plan: Plan, progress: Training) -> None:
        bars.update(
            tasks[_label(plan)],
            completed=progress.step,
            total=progress.steps,
            said=_said(progress),
        )

    def on_finish(outcome: Outcome) -> None:
        if _label(outcome.plan) not in tasks:
            on_start(outcome.plan)
        task = tasks[_label(outcome.plan)]
        total = bars.tasks[task].total or 1
        bars.update(task, completed=total, total=total, said=_result(outcome))
        bars.stop_task(task)

    return Listener(
        on_data=lambda ratings, split: _show_data(console, ratings, split),
        on_start=on_start,
        on_progress=on_progress,
        on_finish=on_finish,
    )


def _label(plan: Plan) -> str:
    fold = f", fold {plan.fold}" if plan.folds > 1 else ""
    return f"{plan.model} (seed {plan.seed}{fold})"


def _said(progress: Training) -> str:
    return "".join(f", {name} {value:.4f}" for name, value in progress.metrics.items())


def _result(outcome: Outcome) -> str:
    n = outcome.evaluation.n
    values = outcome.evaluation.metrics
    rmse = "" if np.isnan(values["rmse"]) else f"test RMSE {values['rmse']:.4f}, "
    return f"{rmse}NDCG@{n} {values[f'ndcg_at_{n}']:.4f}, fitted in {outcome.cost.seconds:.1f} s"


def _show_data(console: Console, ratings: Ratings, split: Split) -> None:
    users, items = len(ratings.users), len(ratings.items)
    low, high = ratings.scale
    console.print(
        f"{len(ratings):,} ratings of {users:,} users and {items:,} items, {low:g} to {high:g} "
        f"stars, {len(ratings) / users / items:.2%} of the matrix"
    )
    if ratings.side_data:
        console.print(f"beside them {' and '.join(ratings.side_data)}")
    for note in split.train.side_notes:
        console.print(f"  {note}")
    held = "" if split.validation is None else f"{len(split.validation.target):,} to validate, "
    console.print(f"{len(split.train):,} to train on, {held}{len(split.test.target):,} to test\n")


def show_report(console: Console, report: Report) -> None:
    """The table of a recipe, the recommendations that it asks for, and what to try next."""
    print_table(console, table(short_table(report.comparison, report.costs)))
    console.print(next(iter(report.evaluations.values()))[0].summary)
    baseline, counts = report.comparison.baseline, {row.runs for row in report.comparison.rows}
    spread = ", ± over seeds" if max(counts) > 1 else ""
    n = report.recipe.folds
    folds = f" over all ratings of {n} folds" if n > 1 else ""
    console.print(
        f"RMSE and MAE in stars{folds}{spread}; difference of RMSE to {baseline} with its 95 % "
        f"interval (paired bootstrap over users); seconds of a fit, "
        f"and the memory that the process held meanwhile\n"
    )
    if report.recipe.show is not None:
        _show_example(console, report)
    if any(outcome.run_id is not None for outcome in report.outcomes):
        _show_next(console, report)


def _show_next(console: Console, report: Report) -> None:
    """Commands that work on what was just trained: the model that was shown, or the best, and two
    of its items."""
    show = report.recipe.show
    best = show.model if show else records(report.comparison, report.costs)[0]["model"]
    run = next(o.plan.name for o in report.outcomes if o.plan.model == best)
    # The two that most people rated: whoever tries it knows them.
    popular = np.argsort(-report.ratings.item_counts, kind="stable")[:2]
    names = [report.model(best).item_name(int(row)) for row in popular]
    low, high = report.ratings.scale
    rates = [f'--rate "{name}={stars:g}"' for name, stars in zip(names, (high, low), strict=False)]
    lists = f"ndcg_at_{report.comparison.protocol['n']}"
    sort = f" --sort {lists}" if lists in report.comparison[best].metrics else ""
    console.print(
        f"next:\n"
        f"  recae recommend {run} {' '.join(rates)} --explain\n"
        f"  recae compare --baseline {report.comparison.baseline}{sort}\n"
        f"  recae serve {run}",
        markup=False,
        soft_wrap=True,
    )


def _show_example(console: Console, report: Report) -> None:
    show = report.recipe.show
    assert show is not None
    model = report.model(show.model)
    ratings = report.ratings
    history = ratings.take_users(ratings.users.rows([show.user]))
    best = np.argsort(-history.stars, kind="stable")[:3]
    liked = [f"{model.item_name(int(history.columns[i]))} {history.stars[i]:g}" for i in best]
    console.print(
        f"{show.model} recommends to user {show.user}, who gave {len(history)} ratings, among "
        f"them {', '.join(liked)}:",
        markup=False,
    )
    found = model.recommend(history, show.n)
    frame = found.to_frame().drop(columns="user")
    frame["because"] = model.reasons(history, found.items[0][found.items[0] >= 0])
    show_recommendations(console, frame)


@contextmanager
def watching_trials(console: Console) -> Iterator[StudyListener]:
    """A listener that prints a line a trial, and on a terminal shows a bar of the one going on."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn())
    said = TextColumn("{task.fields[said]}")
    with Progress(*columns, said, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, said="", visible=False)

        def on_data(ratings: Ratings, splits: list[Split]) -> None:
            judged = ", ".join(f"{len(held_out(split).target):,}" for split in splits)
            console.print(
                f"{len(ratings):,} ratings of {len(ratings.users):,} users and "
                f"{len(ratings.items):,} items; judged by {judged} held-out ones\n"
            )

        def on_start(number: int, model: str) -> None:
            bar.reset(task, total=1.0, said="", visible=True, description=f"{model} {number}")

        def on_progress(done: float, progress: Training) -> None:
            bar.update(task, completed=done, said=_said(progress))

        def on_finish(trial: Trial) -> None:
            console.print(_trial_line(trial), markup=False)

        yield StudyListener(on_data, on_start, on_progress, on_finish)
        bar.update(task, visible=False)


def _trial_line(trial: Trial) -> str:
    at = " at" if trial.state == "pruned" else ""
    loss = f"{at} {trial.loss:.4f}" if math.isfinite(trial.loss) else ""
    why = f": {trial.reason}" if trial.reason else ""
    return f"trial {trial.number}: {trial.state}{loss} in {trial.seconds:.1f} s{why}"


def show_trials(console: Console, trials: Sequence[Trial]) -> None:
    """The trials, best first, with the settings that were chosen for them; a table a measure."""
    for measure in dict.fromkeys(trial.measure for trial in best_first(trials)):
        alike = [trial for trial in trials if trial.measure == measure]
        print_table(console, _trials_table(alike, measure))


def _trials_table(trials: Sequence[Trial], measure: str) -> Table:
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    short = [name.rpartition(".")[2] for name in names]
    header = ["trial", "model", "state", *short, measure, "seconds"]
    rows = [
        [
            str(trial.number),
            trial.model,
            trial.state,
            *(_setting(trial.settings, name) for name in names),
            f"{trial.loss:.4f}" if math.isfinite(trial.loss) else "-",
            f"{trial.seconds:.1f}",
        ]
        for trial in best_first(trials)
    ]
    return rich_table(header, rows, left=3)


def _setting(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name], ensure_ascii=False) if name in settings else "default"


def show_study(console: Console, study: Study) -> None:
    """The table of a study, how its trials ended, and its best settings as a recipe's block."""
    if not study.trials:
        console.print("no trial has ended")
        return
    show_trials(console, study.trials)
    states = [trial.state for trial in study.trials]
    ended = ", ".join(
        f"{states.count(state)} {state}" for state in ("finished", "pruned", "failed")
    )
    seconds = sum(trial.seconds for trial in study.trials)
    console.print(f"{len(states)} trials: {ended}, in {seconds:.0f} s\n")
    if study.best is None:
        console.print("no trial has finished: there are no best settings")
        return
    best = study.best
    console.print(f"best on validation, trial {best.number}, {best.measure} {best.loss:.4f}:\n")
    console.print(as_toml(best.model, best.settings), markup=False, soft_wrap=True)


def print_table(console: Console, built: Table) -> None:
    """Whole, also where it is wider than the terminal, whose lines then go over: rich would leave
    columns out."""
    width, most = console.width, console.options.update(width=10_000)
    console.width = max(width, Measurement.get(console, most, built).minimum)
    console.print(built)
    console.width = width


def show_recommendations(console: Console, frame: pd.DataFrame) -> None:
    """A list: rank, item, title where known, stars, their interval where the model knows one, and
    why where that was asked for."""
    names = [name for name in ("rank", "item", "title", "because") if name in frame]
    stars = [name for name in ("stars", "low", "high") if name in frame]
    header = [*names, *stars]
    rows = [
        [
            *(str(getattr(row, name)) for name in names),
            *(f"{getattr(row, name):.2f}" for name in stars),
        ]
        for row in frame.itertuples()
    ]
    if not rows:
        console.print("nothing is left to recommend")
        return
    print_table(console, rich_table(header, rows, left=len(names)))


def show_anomalies(console: Console, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Tables of records, the least plausible first, and what their last column means."""
    meaning = {
        "users": "rmse in stars; suspicion: squared distance from everybody's profile of error, "
        "known items and departure from the average, 3 is usual",
        "ratings": "surprise: distance of given from expected stars over what is usual there, "
        "1 is an everyday error",
    }
    for name, rows in found.items():
        header = list(rows[0])
        left = [key for key in ("user", "item", "title") if key in header]
        cells = [[_anomaly_cell(value) for value in row.values()] for row in rows]
        print_table(console, rich_table(header, cells, left=len(left)))
        console.print(f"{meaning[name]}\n")


def _anomaly_cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def show_comparison(console: Console, standings: Standings, wanted: Wanted) -> None:
    """The tables that are wanted, and where else the same runs can be looked at."""
    from recae.tracking import compare_url

    for section in sections(standings, wanted):
        if section.title:
            console.print(section.title, style="bold")
        print_table(console, table(section))
    console.print(standings.summary)
    if standings.repeats:
        console.print(
            f"{standings.repeats} older runs, with settings and seed of newer ones, left out"
        )
    link = compare_url(standings.runs)
    console.print(f"side by side, after `recae ui`: {link}", soft_wrap=True)


def show_leaderboard(console: Console, section: Section, standings: Standings) -> None:
    """The table, and what its runs were asked."""
    if section.title:
        console.print(section.title, style="bold", markup=False)
    print_table(console, table(section))
    console.print(standings.summary)


def show_runs(console: Console, runs: Sequence[ListedRun]) -> None:
    """Tracked runs, those below others indented; when they began in the time of this place."""
    header = ["run", "model", "seed", "state", "started", "RMSE", "NDCG", "seconds", "id"]
    rows = [
        [
            ("  " if run.parent else "") + run.name,
            run.model or "",
            "" if run.seed is None else str(run.seed),
            run.status.lower(),
            f"{run.started.astimezone():%Y-%m-%d %H:%M}",
            "" if run.rmse is None else f"{run.rmse:.4f}",
            "" if run.ndcg is None else f"{run.ndcg:.4f}",
            "" if run.seconds is None else f"{run.seconds:.1f}",
            run.run_id,
        ]
        for run in runs
    ]
    print_table(console, rich_table(header, rows, left=4))
