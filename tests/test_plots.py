from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from recae import plots
from recae.comparison import Comparison, Difference, Row
from recae.comparison.slices import Bin, Gap, Slice, Sliced, Value
from recae.errors import ComparisonError
from recae.maps import Map


def told(value: float, low: float, high: float) -> Difference:
    return Difference(value, low, high, 0.01, 0.02, 0.1, 3, 1, 2, "no difference")


def row(name: str, rmse: float, difference: tuple[float, float, float] | None) -> Row:
    differences = {} if difference is None else {"rmse": told(*difference)}
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


# --- the latent space


def a_map(colours: tuple[str, ...] | np.ndarray, names: tuple[str, ...] | None = None) -> Map:
    n = len(colours)
    places = np.random.default_rng(0).standard_normal((n, 2))
    names = names or tuple(f"A film of a rather long name, number {place}" for place in range(n))
    return Map(places, ("first", "second"), names, np.arange(1, n + 1), colours, "points, by genre")


def test_latent_shows_six_kinds_and_the_rest_in_grey(tmp_path: Path) -> None:
    kinds = ("", *(kind for place, kind in enumerate("abcdefg", 2) for _ in range(place)))
    figure = plots.latent(a_map(kinds))
    assert saved(figure, tmp_path).startswith(b"\x89PNG")
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["g (8)", "f (7)", "e (6)", "d (5)", "c (4)", "b (3)", "others (3)"]
    assert {"first", "second"} <= set(words(figure))
    assert figure.axes[0].get_title(loc="left") == "points, by genre"


def test_names_of_the_most_rated_cover_no_other_and_no_edge() -> None:
    figure = plots.latent(a_map(("a",) * 200))
    (axes,) = figure.axes
    assert len(axes.texts) > 10
    assert axes.texts[0].get_text() == "A film of a rather long name, n…"
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(two) for at, one in enumerate(boxes) for two in boxes[:at])
    inside = axes.get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)


def test_latent_by_year_has_a_scale_and_needs_no_names(tmp_path: Path) -> None:
    years = np.array([1950.0, np.nan, 1990, 1995, 2000])
    figure = plots.latent(a_map(years, ("",) * 5))
    assert saved(figure, tmp_path)
    axes, bar = figure.axes
    assert not axes.texts
    assert bar.get_ylabel() == "year"
    assert [len(dots.get_offsets()) for dots in axes.collections] == [1, 4]


def sliced_by(by: str, names: list[str], *, gaps: bool) -> Sliced:
    slices = [
        Slice(
            label,
            users,
            50,
            {name: Value(0.9, 0.8, 1.0) for name in ["mf", *names]},
            {name: Gap(-0.1, -0.2, 0.0, 0.01, "better") for name in names if gaps},
        )
        for label, users in (("few", 3), ("many", 30))
    ]
    return Sliced(by, "rmse", "mf", slices)


def test_slices_show_differences_where_there_are_some(tmp_path: Path) -> None:
    figure = plots.slices([sliced_by("stars", ["a", "b"], gaps=True)])
    assert "RMSE less that of mf; 95 % interval over users; left is better" in words(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert saved(figure, tmp_path).startswith(b"\x89PNG")
    alone = plots.slices([sliced_by("stars", [], gaps=True)])
    assert "RMSE; 95 % interval over users" in words(alone)
    assert not alone.legends


def test_a_ninth_model_looks_otherwise() -> None:
    figure = plots.slices([sliced_by("stars", list("abcdefghi"), gaps=True)])
    looks = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines[1:]]
    assert len(set(looks)) == len(looks) == 9


def test_names_are_no_formulas(tmp_path: Path) -> None:
    """Half a formula between dollars used to end in a traceback of matplotlib's."""
    name = r"$\frac{a$"
    figure = plots.slices([sliced_by("stars", [name], gaps=True)])
    saved(figure, tmp_path)
    one, other = row(name, 0.9, None), row(f"{name} k=2", 0.8, (-0.1, -0.2, 0.0))
    assert saved(plots.comparison(Comparison(name, [one, other], {"n": 10})), tmp_path)
    bins = [Bin(3, 2.0, 2.1, 1.9, 2.3)]
    assert saved(plots.calibration({name: bins, "other": bins}), tmp_path)


def test_steps_have_one_colour_a_series_and_leave_out_what_is_not_known(tmp_path: Path) -> None:
    nothing = [np.nan, np.nan, np.nan]
    panels = {
        "RMSE": {"ranks": nothing, "mf": [1.1, 1.0, 0.9]},
        "NDCG": {"ranks": [0.1, 0.2, 0.3], "mf": [0.2, 0.2, 0.2]},
    }
    figure = plots.steps(panels, ["0", "1", "all"], x="ratings")
    upper, lower = figure.axes
    assert [line.get_ydata().tolist() for line in upper.lines] == [[1.1, 1.0, 0.9]]
    assert upper.lines[0].get_color() == lower.lines[1].get_color() != lower.lines[0].get_color()
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0", "1", "all"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["ranks", "mf"]
    figure.savefig(tmp_path / "steps.png")
