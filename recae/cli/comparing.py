"""Tracked runs side by side, and the page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recae.cli.shared import check_writable, terminal
from recae.errors import RecaeError

if TYPE_CHECKING:
    from recae.reports.standings import Standings


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
    at: Annotated[
        int | None, typer.Option("--at", help="Cut lists to so many items; none: as evaluated.")
    ] = None,
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
        check_writable(path)
    wanted = Wanted(sort, metric or (), by or (), measure)
    answers = bool(by or report or form == "json" or at is not None)
    several = _standings(runs or [], experiment, where, baseline, force, answers, at)
    if form == "table":
        for standings, told in zip(several, told_apart(several), strict=True):
            if told:
                terminal().print(heading(told), style="bold", markup=False)
            console.show_comparison(terminal(), standings, wanted)
    else:
        print(as_text(several, wanted, form))
    if plot is not None:
        from recae import plots

        (standings,) = several
        plots.comparison(standings.comparison, standings.headline[0]).savefig(plot)
    if report is not None:
        from recae.reports.page import write_html

        write_html(several[0], report, sort)


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
            console.show_leaderboard(terminal(), section, standings)
        else:
            print(in_markup([section], form))


def _standings(
    runs: list[str],
    experiment: str | None,
    where: str | None,
    baseline: str | None,
    force: bool,
    answers: bool,
    at: int | None,
) -> list[Standings]:
    """Runs of the store compared; `force`: several times, those together that may be. `at`: with
    lists of so many items."""
    from dataclasses import replace

    import numpy as np

    from recae.evaluation import shortened
    from recae.reports.standings import Standings, each_apart
    from recae.tracking import Store, evaluations

    found = evaluations(Store(), runs, experiment, where, answers=answers)
    if at is not None:
        found = [replace(run, evaluation=shortened(run.evaluation, at)) for run in found]
    rng = np.random.default_rng(0)
    return (
        each_apart(found, baseline, rng=rng) if force else [Standings.of(found, baseline, rng=rng)]
    )


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
