"""Prediction intervals: do they hold what they say, for whom, and how wide are they?

    python pipelines/benchmarks/intervals.py [--data ml-1m ml-latest-small] [--seeds 0 1 2]

Two tables in Markdown, means over the seeds and their standard deviations. Models of the recipes
are trained without a part that is only calibrated on, and asked about the recipe's test ratings.
That part is 5 % of the training ratings, drawn anew by each seed; "new users": the ratings of a
tenth of the users, the test that of another tenth, of whom four fifths of the ratings may be seen.

The first table: coverage of three levels; for 0.9 the mean width in stars, its share of that of
constant width, how many of the stars that can be given lie inside, and the least and the most
covered slice: of those known before a rating is given, and of the stars given, with 500 ratings or
more. The second: what it costs to hold the part back, in RMSE.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

import recae
from recae import splits
from recae.intervals import Coverage, Floats, Intervals, Method
from recae.metrics import rmse
from recae.ratings import Ratings
from recae.recipes import Recipe, read_recipe
from recae.splits import Holdout

PIPELINES = Path(__file__).parents[1]
RECIPES = {"ml-1m": "ml-1m-pmf", "ml-latest-small": "quickstart"}
MODELS = ("bias", "mf", "autorec-dual", "autorec-dual, ordinal")
MAIN = "autorec-dual"
"""Whose price is measured, and that of new users."""
CALIBRATION = 0.05
LEVELS = (0.8, 0.9, 0.95)
SHOWN = 0.9
FEWEST = 500
"""Ratings from which a slice counts as the least or the most covered."""

Table = defaultdict[tuple[str, ...], dict[str, list[float]]]


def main() -> None:
    """Train, calibrate, ask; print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = arguments.parse_args()
    held: Table = defaultdict(lambda: defaultdict(list))
    paid: Table = defaultdict(lambda: defaultdict(list))
    for seed in given.seeds:
        for data in given.data:
            recipe = read_recipe(PIPELINES / f"{RECIPES[data]}.toml", ["split.validation=0"])
            known_users(held, paid, data, recipe, seed)
            new_users(held, f"{data}, new users", recipe, seed)
    show(held, ("data", "model", "method"), digits=3)
    show(paid, ("data", "model"), digits=4)


def known_users(held: Table, paid: Table, data: str, recipe: Recipe, seed: int) -> None:
    """The recipe's own split."""
    split = recipe.split.split(recipe.data.load(), recipe.data)
    calibration = splits.random(split.train, test=CALIBRATION, rng=np.random.default_rng(seed)).test
    test = Holdout(calibration.history, split.test.target)
    for name in MODELS:
        model = fitted(recipe, name, calibration.history, seed)
        ask(held, data, name, model, calibration, test, seed)
        if name == MAIN:
            pay(paid[data, name], fitted(recipe, name, split.train, seed), split.test, model, test)


def pay(
    row: dict[str, list[float]],
    whole: recae.Recommender,
    asked: Holdout,
    model: recae.Recommender,
    test: Holdout,
) -> None:
    """RMSE of the model that saw everything, and of the one that is calibrated."""
    before = rmse(asked.target.stars, whole.predict_at(asked))
    after = rmse(test.target.stars, model.predict_at(test))
    row["from all"].append(before)
    row["without 5 %"].append(after)
    row["difference"].append(after - before)
    said("rmse", before, after)


def new_users(held: Table, data: str, recipe: Recipe, seed: int) -> None:
    """Nobody who is asked about was trained on."""
    split = splits.unseen_users(
        recipe.data.load(), test=0.1, validation=0.1, rng=np.random.default_rng(seed)
    )
    assert split.validation is not None
    model = fitted(recipe, MAIN, split.train, seed)
    ask(held, data, MAIN, model, split.validation, split.test, seed)


def ask(
    held: Table,
    data: str,
    name: str,
    model: recae.Recommender,
    calibration: Holdout,
    test: Holdout,
    seed: int,
) -> None:
    """What every method holds."""
    constant = float("nan")
    stars = test.target.stars
    for method in get_args(Method):
        row = held[data, name, method]
        made = {
            level: Intervals.of(
                model, calibration, level=level, method=method, rng=np.random.default_rng(seed)
            )
            for level in LEVELS
        }
        for level, intervals in made.items():
            low, high = intervals.at(test)
            row[f"{level:.0%}"].append(float(((low <= stars) & (stars <= high)).mean()))
        low, high = made[SHOWN].at(test)
        width = float((high - low).mean())
        constant = width if method == "constant" else constant
        row["width"].append(width)
        row["of constant"].append(width / constant)
        row["stars inside"].append(inside(low, high, np.unique(stars)))
        for what, value in extremes(made[SHOWN].coverage(test)):
            row[what].append(value)
        said(
            data, name, method, seed, *(f"{what} {values[-1]:.4f}" for what, values in row.items())
        )


def inside(low: Floats, high: Floats, stars: NDArray[np.float32]) -> float:
    """How many of the stars that can be given an interval holds, on average."""
    return float(((low[:, None] <= stars) & (stars <= high[:, None])).sum(axis=1).mean())


def extremes(coverage: Coverage) -> Iterator[tuple[str, float]]:
    """The least and the most covered slices."""
    for what, given in (("slices", False), ("stars given", True)):
        shares = [
            each.covered
            for each in coverage.slices[1:]
            if each.ratings >= FEWEST and (each.by == "stars given") == given
        ]
        yield f"{what}: least", min(shares)
        yield f"{what}: most", max(shares)


def fitted(recipe: Recipe, name: str, train: Ratings, seed: int) -> recae.Recommender:
    """The model of a recipe, perhaps with an ordinal head, trained."""
    kind, _, head = name.partition(", ")
    model: Any = next(each.model for each in recipe.models if each.name == kind).fresh()
    model = replace(model, head=head) if head else model
    found: recae.Recommender = model.fit(train, rng=np.random.default_rng(seed))
    return found


def said(*what: object) -> None:
    """A line for whoever waits."""
    print(*what, file=sys.stderr, flush=True)


def show(found: Table, names: tuple[str, ...], *, digits: int) -> None:
    """A row for every key."""
    columns = list(next(iter(found.values())))
    print(f"\n| {' | '.join([*names, *columns])} |\n|{'---|' * (len(names) + len(columns))}")
    for key, values in found.items():
        cells = [told(values[column], digits) for column in columns]
        print(f"| {' | '.join([*key, *cells])} |", flush=True)


def told(values: list[float], digits: int) -> str:
    """Like 0.901 ±0.002."""
    spread = f" ±{stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
