"""What each order of a blend's lists is worth, and what diversity and popularity cost.

    RECAE_DATA=FOLDER recae train pipelines/top-n-ml-1m.toml
    RECAE_DATA=FOLDER python pipelines/lists.py [--recipe FILE] [--seeds 0,1,2]

Prints three tables for the model called `blend` in the recipe (top-n-ml-1m.toml), of the runs that
are tracked: means over seeds on the test users, with standard deviations. Nothing is trained, and
nothing is chosen by these numbers. Exit code 2 for mistakes in the call.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from recae.errors import RecaeError
from recae.evaluation import Evaluation, evaluate
from recae.models import Recommender
from recae.models.rules import Rules
from recae.recipes import read_recipe
from recae.splits import Holdout
from recae.tracking import Store, load_run_model

HERE: Final = Path(__file__).parent
COLUMNS: Final = {
    "NDCG@10": "ndcg_at_10",
    "Recall@20": "recall_at_20",
    "novelty": "novelty_at_10",
    "popularity lift": "popularity_lift_at_10",
    "diversity, codes": "code_diversity_at_10",
    "diversity, genres": "genre_diversity_at_10",
    "coverage": "item_coverage_at_10",
}
"""What is printed -> names of metrics."""

DIVERSITY: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
POPULARITY: Final = (-0.5, -0.3, -0.1, 0.0, 0.1, 0.3, 0.5, 1.0)
TABLES: Final[Mapping[str, Mapping[str, Rules]]] = {
    "by": {by: {"by": by} for by in ("blend", "liked", "stars", "lower-bound")},
    "diversity": {f"{d:g}": {"diversity": d} for d in DIVERSITY},
    "popularity": {
        f"{p:g}": {"popularity": p} for p in (-0.5, -0.3, -0.1, 0.0, 0.1, 0.3, 0.5, 1.0)
    },
}


def measured(model: Recommender, holdout: Holdout, rules: Rules) -> dict[str, float]:
    """By name of metric, of lists of 10 and of 20."""
    of_lists: list[Evaluation] = [evaluate(model, holdout, n=n, **rules) for n in (10, 20)]
    return of_lists[1].metrics | of_lists[0].metrics


def table(name: str, rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Markdown: a row for each rule, over seeds."""
    known = [column for column, metric in COLUMNS.items() if metric in next(iter(rows.values()))[0]]
    lines = [f"| {name} | {' | '.join(known)} |", "| --- " * (len(known) + 1) + "|"]
    for rule, seeds in rows.items():
        cells = (_cell([each[COLUMNS[column]] for each in seeds]) for column in known)
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    spread = f" ±{np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=HERE / "top-n-ml-1m.toml")
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(seed) for seed in text.split(",")],
        default=[0, 1, 2],
        help="of the runs, like 0,1,2",
    )
    asked = parser.parse_args(arguments)
    try:
        for text in tables(asked.recipe, asked.seeds):
            print(f"{text}\n", flush=True)
    except RecaeError as mistake:
        print(f"lists.py: {mistake}", file=sys.stderr)
        return 2
    return 0


def tables(path: Path, seeds: Sequence[int]) -> Iterable[str]:
    """One after the other. Raises RecaeError."""
    recipe = read_recipe(path)
    ratings = recipe.data.load()
    holdout = recipe.split.split(ratings, recipe.data).test
    several = len(recipe.seeds) > 1
    store = Store()
    models: list[Any] = [
        load_run_model(store, f"blend-{seed}" if several else "blend") for seed in seeds
    ]
    for name, rules in TABLES.items():
        rows = {
            rule: [measured(model, holdout, stated) for model in models]
            for rule, stated in rules.items()
        }
        yield table(name, rows)


if __name__ == "__main__":
    sys.exit(main())
