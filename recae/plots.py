"""Pictures of runs and comparisons. The only importer of matplotlib.

Every function gives a Figure to be saved with `figure.savefig`; pyplot and its global state are
never touched, and nothing needs a display.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recae.comparison import Comparison
from recae.errors import ComparisonError

_INK: Final = "#1f2933"
_FAINT: Final = "#8a94a0"
_GRID: Final = "#e3e7eb"
_BETTER: Final = "#1b7f5c"
_WORSE: Final = "#b4443c"
_LINES: Final = {"train/rmse": ("training", "#8a94a0"), "val/rmse": ("validation", "#2463a8")}
_DPI: Final = 150


def curves(points: Mapping[str, Mapping[int, float]]) -> Figure:
    """Learning curves: RMSE in stars by step. `points`: `train/rmse` and `val/rmse`, each step ->
    value; one of them may be missing or empty."""
    figure, axes = _figure(6.4, 3.8)
    lines = {name: sorted(points[name].items()) for name in _LINES if points.get(name)}
    highest_first = sorted(lines, key=lambda name: -lines[name][-1][1])
    for name in highest_first:
        label, colour = _LINES[name]
        steps, values = zip(*lines[name], strict=True)
        axes.plot(steps, values, color=colour, linewidth=2, marker="o", markersize=3)
        axes.annotate(
            f"{label} {values[-1]:.3f}",
            (steps[-1], values[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            # Away from each other, for lines that end close together.
            va="bottom" if name == highest_first[0] else "top",
        )
    axes.set_xlabel("step")
    axes.set_ylabel("RMSE (stars)")
    axes.grid(axis="y", color=_GRID)
    return figure


def comparison(compared: Comparison) -> Figure:
    """Each model's RMSE less the baseline's with its 95 % interval, the best on top.

    Raises ComparisonError where no model has an RMSE to compare.
    """
    rows = [row for row in compared.rows if "rmse" in row.differences]
    if not rows:
        raise ComparisonError(f"no model has an RMSE to compare with that of {compared.baseline}")
    rows.sort(key=lambda row: row.differences["rmse"].value, reverse=True)
    figure, axes = _figure(7.2, 1.5 + 0.42 * len(rows))
    axes.axvline(0, color=_INK, linewidth=1)
    for place, row in enumerate(rows):
        difference = row.differences["rmse"]
        colour = _colour(difference.low, difference.high)
        axes.plot([difference.low, difference.high], [place, place], color=colour, linewidth=2)
        axes.plot(difference.value, place, "o", color=colour, markersize=7)
        axes.annotate(
            f"{difference.value:+.4f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    base = compared[compared.baseline].metrics["rmse"][0]
    axes.set_xlabel(
        f"RMSE less that of {compared.baseline} ({base:.4f}), in stars; "
        "95 % interval over users; left is better"
    )
    axes.grid(axis="x", color=_GRID)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _colour(low: float, high: float) -> str:
    """By what the interval says: better, worse, or undecided."""
    if high < 0:
        return _BETTER
    return _WORSE if low > 0 else _FAINT


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture in the common style; sizes in inches."""
    figure = Figure((width, height), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(color=_FAINT, labelcolor=_INK)
    return figure, axes
