"""New users: how good are stars and lists after 0, 1, 2, 5, 10 and 20 ratings?

    python pipelines/cold_start.py [DATA] [--models autorec-dual,mf] [--counts 0,1,2,5,10,20]
                                   [--seeds 0,1,2] [--out docs/new-users.png]

A fifth of the users, the test part of top-n-DATA.toml, is not trained on. Each of them is known by
the first so many of their ratings, in an order drawn by the seed, and at last by all of them; what
is to be predicted stays the same. Settings are those of the recipes in pipelines/.

Prints two Markdown tables, RMSE and NDCG@10 of full rankings (relevant: from 4 stars), mean and
standard deviation over seeds, and below them `autorec-dual` less `mf` with its 95 % interval over
users. --out draws the curves. Exit code 2 for mistakes in the call.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from recae import plots
from recae.comparison.ratios import Ratio
from recae.errors import DataError, RecaeError
from recae.evaluation import Evaluation, evaluate
from recae.ratings import Ratings
from recae.recipes import ModelRecipe, read_recipe
from recae.splits import Holdout, Split

HERE: Final = Path(__file__).resolve().parent
RECIPES: Final = {
    "ml-1m": ("top-n-ml-1m", "ml-1m-pmf"),
    "ml-latest-small": ("top-n-ml-latest-small", "quickstart"),
}
"""Where data, split and rankers are from, and where the models that predict stars are."""
COMPARED: Final = (
    "autorec-dual",
    "autorec-item",
    "mf",
    "bias",
    "popular",
    "blend",
    "denoising-ease",
)
DIFFERENCE: Final = ("autorec-dual", "mf")
METRICS: Final = {"rmse": "RMSE", "ndcg_at_10": "NDCG@10"}
COUNTS: Final = (0, 1, 2, 5, 10, 20)
EVERYTHING: Final = sys.maxsize
"""Ratings, more than anybody has."""

Scored: TypeAlias = Mapping[str, Mapping[int, Sequence[Evaluation]]]
"""By model and number of known ratings, one a seed."""


class Setting(NamedTuple):
    """On what, and with which models."""

    split: Split
    models: dict[str, ModelRecipe]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    asked = _parser().parse_args(arguments)
    try:
        given = setting(asked.data, asked.models)
        counts = [*asked.counts, EVERYTHING]
        scored = everybody(given, counts, asked.seeds)
    except RecaeError as mistake:
        print(f"cold_start: {mistake}", file=sys.stderr)
        return 2
    print("\n\n".join(table(scored, metric) for metric in METRICS))
    if asked.out is not None:
        drawn(scored).savefig(asked.out)
    return 0


def setting(data: str, models: Sequence[str]) -> Setting:
    """The split of these data, and the models by name. Raises RecaeError."""
    if data not in RECIPES:
        raise DataError(f"there is no recipe for {data!r}: there are {', '.join(RECIPES)}")
    recipes = [read_recipe(HERE / f"{name}.toml") for name in RECIPES[data]]
    found = {model.name: model for recipe in recipes for model in recipe.models}
    for name in models:
        if name not in found:
            raise DataError(f"there is no model {name!r}: there are {', '.join(found)}")
    (split,) = recipes[0].splits(recipes[0].data.load()).values()
    return Setting(split, {name: found[name] for name in models})


def everybody(given: Setting, counts: Sequence[int], seeds: Sequence[int]) -> Scored:
    """Every model, fitted once a seed, on the test users after so many of their ratings."""
    test = given.split.test
    scored: dict[str, dict[int, list[Evaluation]]] = {
        name: {count: [] for count in counts} for name in given.models
    }
    for name, recipe in given.models.items():
        for seed in seeds:
            model = recipe.build().fit(given.split.train, rng=np.random.default_rng(seed))
            for count in counts:
                seen = Holdout(first(test.history, count, seed), test.target)
                # Histories of single evaluations are thousands of lists: only numbers are kept.
                scored[name][count].append(replace(evaluate(model, seen), answers=None))
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
    return scored


def first(history: Ratings, count: int, seed: int) -> Ratings:
    """Of every user so many ratings, or as many as there are, the first of a random order; those of
    a smaller count are among those of a larger one."""
    order = np.lexsort((np.random.default_rng(seed).random(len(history)), history.rows))
    place = np.empty(len(history), dtype=np.int64)
    place[order] = np.arange(len(history)) - history.matrix.indptr[history.rows]
    return history.keep(place < count)


def table(scored: Scored, metric: str) -> str:
    """Markdown: a row a model, a column a number of ratings, and the difference of two of them."""
    counts = list(next(iter(scored.values())))
    lines = [[METRICS[metric], *map(_named, counts)], ["---"] * (1 + len(counts))]
    for name, of in scored.items():
        values = [[run.metrics[metric] for run in of[count]] for count in counts]
        if not np.isnan(values).any():
            lines.append([f"`{name}`", *map(_spread, values)])
    better, other = DIFFERENCE
    if better in scored and other in scored:
        gaps = [_gap(scored[better][count], scored[other][count], metric) for count in counts]
        lines.append([f"`{better}` less `{other}`", *gaps])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(runs: Sequence[Evaluation], metric: str) -> Ratio:
    """The mean of the metric over seeds, with what every user adds to it."""
    if metric == "rmse":
        parts = [(run.by_user["squared_error"], run.by_user["ratings"]) for run in runs]
    else:
        own = [run.by_user[metric] for run in runs]
        parts = [(np.nan_to_num(values), (~np.isnan(values)).astype(float)) for values in own]
    columns = [(sums[:, None], counts[:, None]) for sums, counts in parts]
    return Ratio.of(columns, root=metric == "rmse")


def told(difference: Ratio) -> str:
    """With its 95 % interval over users."""
    (value,), (half,) = difference.values, difference.half_width
    return f"{value:+.4f} [{value - half:+.4f}, {value + half:+.4f}]"


def _gap(runs: Sequence[Evaluation], others: Sequence[Evaluation], metric: str) -> str:
    return told(ratio(runs, metric).less(ratio(others, metric)))


def drawn(scored: Scored) -> plots.Figure:
    """RMSE above, NDCG@10 below."""
    counts = list(next(iter(scored.values())))
    means = {
        title: {
            name: [float(np.mean([run.metrics[metric] for run in of[count]])) for count in counts]
            for name, of in scored.items()
        }
        for metric, title in METRICS.items()
    }
    return plots.steps(means, [_named(count) for count in counts], x="ratings known of a new user")


def _named(count: int) -> str:
    return "all" if count == EVERYTHING else str(count)


def _spread(values: Sequence[float]) -> str:
    alone = len(values) == 1
    return f"{np.mean(values):.4f}" + ("" if alone else f" ±{np.std(values, ddof=1):.4f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default="ml-1m", help=", ".join(RECIPES))
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(COMPARED))
    parser.add_argument("--counts", type=numbers, default=list(COUNTS))
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="a picture of the curves")
    return parser


def numbers(text: str) -> list[int]:
    """ "0,1,2" """
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
