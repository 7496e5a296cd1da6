"""Tables in the markups that people paste: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_LATEX: Final = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    "\n": " ",
    # At the start of a line it would be an argument of the line break above.
    "[": "{[}",
}


@dataclass(frozen=True)
class Section:
    """A table with its title, in whatever form it will be shown."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    """So many columns, the first ones, hold text."""


def markdown(section: Section) -> str:
    """The table alone."""
    head, *rows = (
        [" ".join(cell.replace("|", "\\|").split("\n")) for cell in row]
        for row in (section.header, *section.rows)
    )
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(section: Section) -> str:
    """The table alone, for the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(_in_latex(cell) for cell in cells)} \\\\"

    numbers = len(section.header) - section.left
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{'l' * section.left}{'r' * numbers}}}",
            r"\toprule",
            line(section.header),
            r"\midrule",
            *map(line, section.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Flat records, which need not have the same keys."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().rstrip("\n")


def _in_latex(text: str) -> str:
    written = "".join(_LATEX.get(char, char) for char in text)
    # A hyphen in front of a number is a minus.
    return re.sub(r"(?<![\w-])([+-])(?=\d)", r"$\1$", written)
