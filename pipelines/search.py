"""Random search over the settings of one model, judged on inner validation alone.

    python pipelines/search.py pipelines/spaces/u1.toml --model mf --trials 20 --seed 0
    python pipelines/search.py pipelines/spaces/u1.toml --frozen pipelines/ml-100k-u1.toml

The second draws nothing: it scores the models of a recipe, as they are, on the same inner splits.
A space is a TOML file: `[data]` and `[split]` as in a recipe, `inner_seeds` of the split, and
`[[space]]` tables: the `models` they are for, and for each setting a value, a list to choose from,
or `{ low, high, log }`. Where the split has a validation part, that alone is scored and its test
part is not touched; a split without one divides a table that holds training ratings only.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recae.errors import RecaeError
from recae.evaluation import evaluate
from recae.models import MODELS
from recae.recipes import DataRecipe, ModelRecipe, Recipe, parse, read_recipe
from recae.splits import Split

N = 10
"""Length of the lists by which models that only rank are judged."""


def main() -> None:
    """Print a line for every trial as it ends, then all of them, the best first."""
    options = _options()
    file = tomllib.loads(options.space.read_text("utf-8"))
    inner = [_split(_recipe(file, "bias", {}, seed)) for seed in file["inner_seeds"]]
    trials = []
    for model, settings in _candidates(file, options):
        trials.append(run(model, inner, options.seed) | {"settings": settings})
        print(_line(trials[-1]), flush=True)
    trials.sort(key=lambda trial: trial["loss"])
    print("\nbest first", *map(_line, trials), sep="\n")
    if options.out is not None:
        _write(options.out, trials)


def _candidates(
    file: Mapping[str, Any], options: argparse.Namespace
) -> Iterator[tuple[ModelRecipe, str]]:
    """Models to score, with what is printed of their settings."""
    if options.frozen is not None:
        yield from ((model, "frozen") for model in read_recipe(options.frozen).models)
        return
    space = _space_of(file, options.model)
    rng = np.random.default_rng(options.seed)
    for _ in range(options.trials):
        settings = draw(space, rng)
        yield _recipe(file, options.model, settings, 0).models[0], json.dumps(settings)


def draw(space: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """One point of a space, tables within tables."""
    return {name: _draw(choices, rng) for name, choices in space.items()}


def run(model: ModelRecipe, inner: list[Split], seed: int) -> dict[str, Any]:
    """Mean over the inner splits of `loss`, the smaller the better, and of the seconds of `fit`.

    The loss is the RMSE in stars, or 1 - NDCG@10 of a model that only ranks; infinite where
    training diverged.
    """
    began = time.perf_counter()
    try:
        losses = [_loss(model, split, seed) for split in inner]
    except RecaeError as trouble:
        print(trouble)
        losses = [math.inf]
    seconds = (time.perf_counter() - began) / len(inner)
    return {"model": model.kind, "loss": float(np.mean(losses)), "seconds": round(seconds, 1)}


def _loss(recipe: ModelRecipe, split: Split, seed: int) -> float:
    model = recipe.build().fit(split.train, rng=np.random.default_rng(seed))
    found = evaluate(model, split.validation or split.test, n=N).metrics
    return found["rmse"] if model.predicts_stars else 1 - found[f"ndcg_at_{N}"]


def _draw(choices: Any, rng: np.random.Generator) -> Any:
    match choices:
        case {"low": low, "high": high, **rest}:
            return _number(low, high, bool(rest.get("log")), rng)
        case dict():
            return draw(choices, rng)
        case list():
            return choices[rng.integers(len(choices))]
    return choices


def _number(low: float, high: float, log: bool, rng: np.random.Generator) -> float:
    """Uniform between low and high, or uniform in the logarithm; three digits."""
    drawn = math.exp(rng.uniform(math.log(low), math.log(high))) if log else rng.uniform(low, high)
    return float(f"{drawn:.3g}")


def _space_of(file: Mapping[str, Any], model: str) -> dict[str, Any]:
    for space in file["space"]:
        if model in space["models"]:
            return {name: choices for name, choices in space.items() if name != "models"}
    raise SystemExit(f"no [[space]] is for {model!r}")


def _recipe(file: Mapping[str, Any], model: str, settings: dict[str, Any], seed: int) -> Recipe:
    split = {"seed": seed} | file["split"]
    return parse(
        {
            "name": "search",
            "data": file["data"],
            "split": split,
            "model": [{"kind": model} | settings],
        }
    )


def _split(recipe: Recipe) -> Split:
    data: DataRecipe = recipe.data
    return recipe.split.split(data.load(), data)


def _line(trial: Mapping[str, Any]) -> str:
    return "{loss:.5f}  {seconds:6.1f} s  {model}  {settings}".format(**trial)


def _write(path: Path, trials: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(trials[0]))
        writer.writeheader()
        writer.writerows(trials)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("space", type=Path, help="a file of pipelines/spaces")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", choices=MODELS, help="draw settings of this model")
    what.add_argument("--frozen", type=Path, help="score the models of this recipe")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the draws and of the models")
    parser.add_argument("--out", type=Path, help="write the trials to this CSV file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
