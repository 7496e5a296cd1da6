"""Pictures of runs and comparisons. The only importer of matplotlib.

Every function gives a Figure to be saved with `figure.savefig`; pyplot and its global state are
never touched, and nothing needs a display.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure as Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from recae.comparison import Comparison, direction
from recae.comparison.slices import Bin, Gap, Slice, Sliced, Value
from recae.errors import ComparisonError
from recae.maps import Map
from recae.reports.rendering import titled

_INK: Final = "#1f2933"
_FAINT: Final = "#8a94a0"
_GRID: Final = "#e3e7eb"
_BETTER: Final = "#1b7f5c"
_WORSE: Final = "#b4443c"
_LINES: Final = {"train/rmse": ("training", "#8a94a0"), "val/rmse": ("validation", "#2463a8")}
_DPI: Final = 150
_REST: Final = "#c5ccd3"
# Told apart with any colour vision (Okabe and Ito 2008), its yellow darkened for a white page.
_KINDS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9")
_MODELS: Final = (*_KINDS, "#6a3d9a", "#4d4d4d")
_SHAPES: Final = ("o", "s", "^")
"""Where there are more models than colours."""
_LEGEND: Final[dict[str, Any]] = {"frameon": False, "labelcolor": _INK}
_YEARS: Final = "viridis"
_FEW: Final = 10
"""Users; slices of fewer do not decide how wide a picture is."""
_NAMED: Final = 40
"""Points that are labelled, where there is room."""
_NAME_SIZE: Final = 7.5
_NAME_LENGTH: Final = 32


def as_svg(figure: Figure) -> bytes:
    """The same picture for the same figure: without a date in it."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


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


def comparison(compared: Comparison, metric: str = "rmse") -> Figure:
    """Each model's metric less the baseline's with its 95 % interval, the best on top.

    Raises ComparisonError where no model has the metric to compare.
    """
    name = titled(metric)
    rows = [row for row in compared.rows if metric in row.differences]
    if not rows:
        raise ComparisonError(f"no model has an {name} to compare with that of {compared.baseline}")
    better = direction(metric)
    rows.sort(key=lambda row: row.differences[metric].value * (better or 1))
    figure, axes = _figure(7.2, 1.5 + 0.42 * len(rows))
    axes.axvline(0, color=_INK, linewidth=1)
    for place, row in enumerate(rows):
        difference = row.differences[metric]
        colour = _colour(difference.low * -(better or 1), difference.high * -(better or 1))
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
    axes.set_yticks(range(len(rows)), [_plain(row.name) for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    base = compared[compared.baseline].metrics[metric][0]
    unit = ", in stars" if metric in ("rmse", "mae") else ""
    told = {-1: "; left is better", 1: "; right is better", 0: ""}[better]
    axes.set_xlabel(
        f"{name} less that of {_plain(compared.baseline)} ({base:.4f}){unit}; "
        f"95 % interval over users{told}"
    )
    axes.grid(axis="x", color=_GRID)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def slices(facets: Sequence[Sliced]) -> Figure:
    """By slices of facets, with 95 % intervals over users: each group's RMSE or recall less the
    baseline's; without a difference, as for one group alone, the RMSE or recall itself."""
    names = list(_drawn(facets[0].slices[0]))
    heights = [0.9 + len(found.slices) * (0.2 + 0.12 * len(names)) for found in facets]
    figure, panels = _panels(7.2, heights)
    for axes, found in zip(panels, facets, strict=True):
        _sliced(axes, found, names)
    panels[-1].set_xlabel(_sliced_by_what(facets[0]))
    if len(names) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, **_LEGEND)
    return figure


def _drawn(each: Slice) -> Mapping[str, Value | Gap]:
    return each.gaps or each.values


def _sliced_by_what(found: Sliced) -> str:
    name = titled(found.measure)
    if not found.slices[0].gaps:
        return f"{name}; 95 % interval over users"
    told = {-1: "; left is better", 1: "; right is better", 0: ""}[direction(found.measure)]
    return f"{name} less that of {_plain(found.baseline)}; 95 % interval over users{told}"


def _sliced(axes: Axes, found: Sliced, names: Sequence[str]) -> None:
    step = 0.7 / len(names)
    if found.slices[0].gaps:
        axes.axvline(0, color=_INK, linewidth=1)
    for number, (name, colour) in enumerate(zip(names, cycle(_MODELS), strict=False)):
        values = [_drawn(each)[name] for each in found.slices]
        ys = [place + (number - (len(names) - 1) / 2) * step for place in range(len(values))]
        known = [(v.low, v.high, y) for v, y in zip(values, ys, strict=True) if np.isfinite(v.low)]
        if known:
            low, high, places = zip(*known, strict=True)
            axes.hlines(places, low, high, color=colour, linewidth=1.5)
        xs = [value.value for value in values]
        shape = _SHAPES[number // len(_MODELS) % len(_SHAPES)]
        axes.plot(xs, ys, shape, color=colour, markersize=4.5, label=_plain(name))
    labels = [f"{_plain(each.label)} ({each.ratings:,})" for each in found.slices]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    _look_at(axes, [each for each in found.slices if each.users >= _FEW] or found.slices)
    axes.grid(axis="x", color=_GRID)
    axes.set_title(f"by {found.by} (ratings)", loc="left", color=_INK, fontsize=11)


def _look_at(axes: Axes, slices: Sequence[Slice]) -> None:
    """As wide as these slices need: what is known of three users would hide all others."""
    values = [value for each in slices for value in _drawn(each).values()]
    known = [value for value in values if np.isfinite(value.low)]
    if known:
        low, high = min(v.low for v in known), max(v.high for v in known)
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def calibration(bins: Mapping[str, Sequence[Bin]]) -> Figure:
    """Mean given against mean predicted stars, by group, with 95 % intervals over users."""
    figure, axes = _figure(6.4, 5.0)
    lowest = min(each.predicted for found in bins.values() for each in found)
    axes.axline((lowest, lowest), slope=1, color=_FAINT, linewidth=1)
    for (name, found), colour in zip(bins.items(), cycle(_MODELS), strict=False):
        xs, ys = [each.predicted for each in found], [each.given for each in found]
        label = _plain(name)
        axes.plot(xs, ys, color=colour, linewidth=2, marker="o", markersize=3.5, label=label)
        known = [each for each in found if np.isfinite(each.low)]
        axes.vlines(
            [each.predicted for each in known],
            [each.low for each in known],
            [each.high for each in known],
            color=colour,
            alpha=0.5,
        )
    _described(axes, "predicted stars (mean of a bin)", "given stars (mean)", "")
    if len(bins) > 1:
        figure.legend(loc="outside right upper", frameon=False, labelcolor=_INK)
    return figure


def latent(drawn: Map) -> Figure:
    """A map of the latent space, a dot for each user or item, larger with more ratings, the most
    rated ones with their names. Genres: the most frequent six in colour; years: from old to new.
    """
    figure, axes = _figure(9.5, 7.2)
    # The most rated on top.
    order = np.argsort(drawn.counts, kind="stable")
    places, counts = drawn.places[order], drawn.counts[order]
    sizes = 8 + 70 * counts / counts.max()
    if isinstance(drawn.colours, tuple):
        _dots_by_kind(axes, places, sizes, np.array(drawn.colours)[order])
    else:
        _dots_by_year(figure, axes, places, sizes, drawn.colours[order])
    axes.set_title(drawn.title, loc="left", color=_INK, fontsize=11)
    axes.set_xlabel(drawn.axes[0])
    axes.set_ylabel(drawn.axes[1])
    axes.margins(0.06)
    _name(figure, axes, places[::-1], [drawn.names[place] for place in order[::-1]])
    return figure


def _dots_by_kind(
    axes: Axes, places: NDArray[np.float64], sizes: NDArray[np.float64], kinds: NDArray[np.str_]
) -> None:
    """kinds [n]: empty where unknown. The rarer ones and the unknown are grey and at the back."""
    frequent = Counter(kind for kind in kinds.tolist() if kind).most_common(len(_KINDS))
    shown = {kind: colour for (kind, _), colour in zip(frequent, _KINDS, strict=False)}
    colours = np.array([shown.get(kind, _REST) for kind in kinds.tolist()])
    rest = colours == _REST
    _dots(axes, places[rest], sizes[rest], _REST)
    _dots(axes, places[~rest], sizes[~rest], colours[~rest].tolist(), alpha=0.85)
    entries = [(shown[kind], f"{kind} ({count:,})") for kind, count in frequent]
    if rest.any():
        entries.append((_REST, f"others ({int(rest.sum()):,})"))
    for colour, label in entries:
        axes.scatter([], [], s=45, c=colour, label=label)
    axes.figure.legend(loc="outside right upper", frameon=False, labelcolor=_INK)


def _dots_by_year(
    figure: Figure,
    axes: Axes,
    places: NDArray[np.float64],
    sizes: NDArray[np.float64],
    years: NDArray[np.float64],
) -> None:
    """years [n]: NaN where unknown, which is grey."""
    known = np.isfinite(years)
    _dots(axes, places[~known], sizes[~known], _REST)
    # A few very old films would leave one colour to all others.
    low, high = np.quantile(years[known], [0.1, 0.9])
    limits = {"cmap": _YEARS, "vmin": low, "vmax": high}
    dots = _dots(axes, places[known], sizes[known], years[known], **limits)
    bar = figure.colorbar(dots, ax=axes, extend="both", shrink=0.6, aspect=30, label="year")
    bar.outline.set_visible(False)


def _dots(
    axes: Axes,
    places: NDArray[np.float64],
    sizes: NDArray[np.float64],
    colours: str | list[str] | NDArray[np.float64],
    **style: Any,
) -> PathCollection:
    x, y = places.T
    return axes.scatter(x, y, s=sizes, c=colours, linewidths=0.3, edgecolors="white", **style)


def _name(figure: Figure, axes: Axes, places: NDArray[np.float64], names: list[str]) -> None:
    """Names next to the first points, where they cover none of these, no other name, no edge."""
    figure.draw_without_rendering()
    # From here on the axes stay where they are: what is free now is free in the end.
    figure.set_layout_engine("none")
    named = [(place, _cut(name)) for place, name in zip(places, names, strict=True) if name]
    named = named[:_NAMED]
    inside = axes.get_window_extent()
    at = [axes.transData.transform(place) for place, _ in named]
    taken = [Bbox.from_extents(x, y, x, y).padded(_NAME_SIZE) for x, y in at]
    for place, name in named:
        for offset, across, along in _BESIDE:
            text = axes.annotate(
                name,
                tuple(place),
                xytext=offset,
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=_NAME_SIZE,
                color=_INK,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
            box = text.get_window_extent()
            if _within(box, inside) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1].rstrip()}…"


def _within(box: Bbox, outer: Bbox) -> bool:
    low, high = np.less_equal(outer.min, box.min), np.less_equal(box.max, outer.max)
    return bool(low.all() and high.all())


_BESIDE: Final = (
    ((7, 0), "left", "center"),
    ((-7, 0), "right", "center"),
    ((0, 7), "center", "bottom"),
    ((0, -7), "center", "top"),
    ((5, 5), "left", "bottom"),
    ((-5, 5), "right", "bottom"),
    ((5, -5), "left", "top"),
    ((-5, -5), "right", "top"),
)
"""Where a name may stand: offset in points, and how it is aligned there."""


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log: bool = False,
    title: str = "",
) -> Figure:
    """One line a series, named at its end: name -> (xs, ys). `log`: the horizontal scale."""
    figure, axes = _figure(7.2, 4.2)
    for (name, (xs, ys)), colour in zip(series.items(), cycle(_KINDS), strict=False):
        axes.plot(xs, ys, color=colour, linewidth=2, marker="o", markersize=3.5, label=name)
    if log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    _described(axes, x, y, title)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=_INK)
    return figure


def steps(
    panels: Mapping[str, Mapping[str, Sequence[float]]], labels: Sequence[str], *, x: str
) -> Figure:
    """One panel below the other, each with a line a series over the same steps, evenly spaced:
    title -> name -> a value a label. Series have one colour in all panels; those that are NaN, as
    stars of a model that only ranks, are left out of a panel."""
    figure, drawn = _panels(7.2, [3.4] * len(panels))
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    colours = dict(zip(names, cycle(_MODELS), strict=False))
    handles = {}
    for axes, (title, series) in zip(drawn, panels.items(), strict=True):
        for name, values in series.items():
            if np.isnan(values).all():
                continue
            style: dict[str, Any] = {"color": colours[name], "linewidth": 2, "markersize": 3.5}
            (handles[name],) = axes.plot(values, marker="o", **style)
        axes.set_xticks(range(len(labels)), labels)
        _described(axes, "", title, "")
    drawn[-1].set_xlabel(x)
    order = [name for name in names if name in handles]
    figure.legend(
        [handles[name] for name in order], order, loc="outside upper left", ncols=4, **_LEGEND
    )
    return figure


def histograms(
    values: Mapping[str, NDArray[Any]], *, x: str, bins: int | Sequence[float] = 40, title: str = ""
) -> Figure:
    """Outlines of how often values occur, as shares of each series: name -> values."""
    figure, axes = _figure(7.2, 4.2)
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins)
    for (name, found), colour in zip(values.items(), cycle(_KINDS), strict=False):
        shares = np.histogram(found, edges)[0] / max(len(found), 1)
        axes.stairs(shares, edges, color=colour, linewidth=2, label=name)
    _described(axes, x, "share", title)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=_INK)
    return figure


def scatter(
    xs: NDArray[Any], ys: NDArray[Any], *, x: str, y: str, log: bool = False, title: str = ""
) -> Figure:
    """A dot a pair, with the diagonal on which both are equal. `log`: both scales."""
    figure, axes = _figure(5.6, 5.2)
    axes.axline((1, 1), slope=1, color=_FAINT, linewidth=1)
    axes.scatter(xs, ys, s=10, color=_KINDS[0], alpha=0.4, linewidths=0)
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    _described(axes, x, y, title)
    return figure


def _described(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", color=_INK, fontsize=11)
    axes.grid(axis="y", color=_GRID)


def _plain(text: str) -> str:
    """As it stands: between two dollars matplotlib reads formulas."""
    return text.replace("$", r"\$")


def _colour(low: float, high: float) -> str:
    """By what the interval says: better, worse, or undecided."""
    if high < 0:
        return _BETTER
    return _WORSE if low > 0 else _FAINT


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture in the common style; sizes in inches."""
    figure, (axes,) = _panels(width, [height])
    return figure, axes


def _panels(width: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """An empty picture of one below the other."""
    figure = Figure((width, sum(heights)), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    for axes in panels:
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("bottom", "left"):
            axes.spines[side].set_color(_FAINT)
        axes.tick_params(color=_FAINT, labelcolor=_INK)
    return figure, list(panels)
