"""Tables in other programs' markup come back as they were."""

from __future__ import annotations

import csv
import io
import re

import pytest

from recae.reports.markup import Section, csv_text, latex, markdown

NASTY = ["a_b & c%", "x|y", "$k$ #1 {2}", "~^\\", "Amélie – <b>", '"quoted", comma']
TABLE = Section("all", ["model", "RMSE"], [[name, "-0.0345 ±0.0007"] for name in NASTY])


def test_markdown_has_as_many_columns_everywhere() -> None:
    lines = markdown(TABLE).splitlines()
    cells = [re.split(r"(?<!\\)\|", line.strip("| ")) for line in lines]
    assert {len(row) for row in cells} == {2}
    assert [row[0].strip().replace("\\|", "|") for row in cells] == ["model", "---", *NASTY]


def test_a_line_break_in_a_name_stays_in_its_cell() -> None:
    table = Section("", ["a|b", "c"], [["one\ntwo", "3"]])
    assert markdown(table).splitlines() == ["| a\\|b | c |", "| --- | --- |", "| one two | 3 |"]


def test_latex_rows_and_what_is_special_there() -> None:
    text = latex(TABLE)
    begin, top, head, middle, *rows, bottom, end = text.splitlines()
    assert (begin, end) == (r"\begin{tabular}{lr}", r"\end{tabular}")
    assert (top, middle, bottom) == (r"\toprule", r"\midrule", r"\bottomrule")
    assert head == r"model & RMSE \\"
    assert [row.partition(" & $")[0] for row in rows] == [
        r"a\_b \& c\%",
        r"x\textbar{}y",
        r"\$k\$ \#1 \{2\}",
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}",
        "Amélie – $<$b$>$",
        '"quoted", comma',
    ]
    assert {row.partition(" & $")[2] for row in rows} == {r"-$0.0345 $\pm$0.0007 \\"}


def test_latex_signs_of_numbers_are_those_of_mathematics() -> None:
    cells = ["+0.1 [-0.2, +0.3] −", "svd-2", "2026-11", "<0.001", "1e-5", "p=-1"]
    row = latex(Section("", ["a"] * 6, [cells])).splitlines()[4]
    assert row == (r"$+$0.1 {[}$-$0.2, $+$0.3] $-$ & svd-2 & 2026-11 & $<$0.001 & 1e-5 & p=$-$1 \\")


@pytest.mark.parametrize("left", [1, 2])
def test_latex_aligns_text_left(left: int) -> None:
    assert latex(Section("", ["a", "b", "c"], [], left)).startswith(
        rf"\begin{{tabular}}{{{'l' * left}{'r' * (3 - left)}}}"
    )


def test_csv_comes_back() -> None:
    records = [{"model": name, "rmse": 0.5} for name in NASTY] + [{"model": "last", "other": 1}]
    found = list(csv.DictReader(io.StringIO(csv_text(records))))
    assert [row["model"] for row in found] == [*NASTY, "last"]
    assert [row["rmse"] for row in found] == ["0.5"] * len(NASTY) + [""]
    assert found[-1]["other"] == "1"
