from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from recae import plots
from recae.comparison import Comparison, Difference, Row
from recae.errors import ComparisonError


def row(name: str, rmse: float, difference: tuple[float, float, float] | None) -> Row:
    differences = {} if difference is None else {"rmse": Difference(*difference, 0.01, 0.02)}
    return Row(name, 3, {"rmse": (rmse, 0.001)}, differences)


COMPARISON = Comparison(
    "mf",
    [
        row("mf", 0.8912, None),
        row("bias", 0.9312, (0.04, 0.035, 0.045)),
        row("autorec-dual", 0.8612, (-0.03, -0.0342, -0.0261)),
        row("svdpp", 0.8902, (-0.001, -0.004, 0.002)),
        row("implicit-als", math.nan, None),
    ],
    {"n": 10},
)


def words(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    labels = [axes.xaxis.label, axes.yaxis.label]
    return [text.get_text() for text in [*axes.texts, *ticks, *labels]]


def saved(figure: Figure, folder: Path) -> bytes:
    figure.savefig(folder / "figure.png")
    return (folder / "figure.png").read_bytes()


def test_curves_show_both_lines_with_their_last_value(tmp_path: Path) -> None:
    steps = range(20, 401, 20)
    train = {step: 0.8 + 2 / step for step in steps}
    validation = {step: 0.9 + 1 / step for step in steps}
    figure = plots.curves({"train/rmse": train, "val/rmse": validation})
    assert saved(figure, tmp_path).startswith(b"\x89PNG")
    assert {"training 0.805", "validation 0.902", "RMSE (stars)", "step"} <= set(words(figure))
    upper, lower = figure.axes[0].lines
    assert list(upper.get_ydata()) == list(validation.values())
    assert list(lower.get_xdata()) == list(steps)


def test_curves_without_validation_and_out_of_order(tmp_path: Path) -> None:
    figure = plots.curves({"train/rmse": {40: 0.9, 20: 1.0}})
    (line,) = figure.axes[0].lines
    assert list(line.get_xdata()) == [20, 40]
    assert saved(figure, tmp_path)


def test_comparison_is_sorted_with_the_best_on_top(tmp_path: Path) -> None:
    figure = plots.comparison(COMPARISON)
    assert saved(figure, tmp_path).startswith(b"\x89PNG")
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["bias", "svdpp", "autorec-dual"]
    assert "-0.0300" in " ".join(words(figure)).replace("\N{MINUS SIGN}", "-")
    assert "mf" in axes.get_xlabel()
    assert "stars" in axes.get_xlabel()


def test_colours_tell_better_from_worse_from_undecided() -> None:
    (axes,) = plots.comparison(COMPARISON).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert len({dot.get_color() for dot in dots}) == 3


def test_one_model_is_enough(tmp_path: Path) -> None:
    only = Comparison("mf", COMPARISON.rows[:2], {"n": 10})
    assert saved(plots.comparison(only), tmp_path)


def test_nothing_to_compare_is_refused() -> None:
    nothing = Comparison("mf", [COMPARISON.rows[0], COMPARISON.rows[4]], {"n": 10})
    with pytest.raises(ComparisonError, match="no model has an RMSE"):
        plots.comparison(nothing)
