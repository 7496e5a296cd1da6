"""A comparison as one HTML file: tables and pictures inside, nothing to load, nothing to run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

import recae
from recae.errors import DataError
from recae.reports.chapters import chapters, figures
from recae.reports.headlines import headlines
from recae.reports.rendering import titled, verdicts_table
from recae.reports.standings import Standings

# A verdict, a marked difference, or a count of slices of which none is the other way.
_GOOD: Final = re.compile(r"better|.* \+|\+\d+ of \d+")
_BAD: Final = re.compile(r"worse|.* −|−\d+ of \d+")


def write_html(standings: Standings, path: Path, sort: str | None = None) -> None:
    """Everything that a comparison tells. Raises DataError where the file cannot be written,
    RecaeError for an unknown metric to sort by."""
    text = html(standings, sort)
    try:
        path.write_text(text, "utf-8")
    except OSError as trouble:
        raise DataError(f"cannot write {path}: {trouble.strerror}") from None


def html(standings: Standings, sort: str | None = None) -> str:
    """The page's text. sort: None: the first headline. Raises RecaeError for an unknown metric."""
    comparison, runs = standings.comparison, standings.runs
    sort = sort or standings.headline[0]
    environment = Environment(
        loader=PackageLoader("recae.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["titled"] = titled
    environment.filters["tone"] = _tone
    experiments = dict.fromkeys(run.experiment for run in runs)
    return environment.get_template("report.html.j2").render(
        title=", ".join(experiments),
        size=f"{_many(len(standings.groups), 'model')}, {_many(len(runs), 'run')}",
        lead=standings.summary,
        baseline=comparison.baseline,
        headlines=headlines(comparison, standings.headline),
        verdicts=verdicts_table(comparison, standings.headline, sort),
        figures=list(figures(standings)),
        chapters=chapters(standings, sort),
        protocol=comparison.protocol,
        repeats=standings.repeats,
        runs=[(name, run) for name, some in standings.groups.items() for run in some],
        version=recae.__version__,
    )


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tone(cell: str) -> str:
    """The class of a cell: is good or bad news in it? Cells say so in words or signs too."""
    if _GOOD.fullmatch(cell):
        return "better"
    return "worse" if _BAD.fullmatch(cell) else ""
