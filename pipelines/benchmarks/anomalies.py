"""Attacks on a table of ratings: who finds them, and does cleaning help?

    python pipelines/benchmarks/anomalies.py [--data ml-100k ml-latest-small] [--seeds 0 1 2]

Two tables in Markdown. AUC of finding what was injected, by a model that was trained with it in the
data, and by statistics that need no model: users for all attacks, single ratings for "corrupted".
Then, on ML-100K's u1, the RMSE on the held-out ratings, which nobody touched, when a share of the
training ratings is corrupted: trained as they are, without the least plausible ratings, and with
these re-rated. The share that is cleaned is a setting, not what was corrupted.

The statistic of `Judgement.suspicion` was chosen with seed 100, attacks of 3 % of the users and
fillers of 3 % (ML-100K) and 0.6 % (ml-latest-small) of the items; what is printed is not that.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from numpy.typing import NDArray

import recae
from recae import anomalies
from recae.anomalies import Injected
from recae.metrics import auc, rmse
from recae.ratings import Ratings
from recae.recipes import Recipe, read_recipe

PIPELINES = Path(__file__).parents[1]
RECIPES = {"ml-100k": "ml-100k-u1", "ml-latest-small": "quickstart"}
MODELS = ("autorec-dual", "mf")
FILLER = {"ml-100k": 0.05, "ml-latest-small": 0.01}
"""Items rated by an attacker, as a share: 84 and 97 of them."""
SIZE = 0.05
CORRUPTED = (0.0, 0.05, 0.1)
CLEANED = 0.05

Table = defaultdict[tuple[str, ...], list[float]]


def main() -> None:
    """Inject, train, judge; print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = arguments.parse_args()
    found, cleaned = Table(list), Table(list)
    for seed in given.seeds:
        clean(cleaned, seed)
        for name in given.data:
            detect(found, name, seed)
    show(found, ("data", "attack"))
    show(cleaned, ("corrupted",))


def detect(found: Table, name: str, seed: int) -> None:
    """AUC of everybody on every attack on one data set."""
    recipe = read_recipe(PIPELINES / f"{RECIPES[name]}.toml")
    for attack, injected in attacks(recipe.data.load(), FILLER[name], seed):
        for who, value in detected(recipe, injected, seed).items():
            found[name, attack, who].append(value)
            said(name, attack, seed, who, value)


def attacks(ratings: Ratings, filler: float, seed: int) -> Iterator[tuple[str, Injected]]:
    """Every attack, on an item of at least 5 ratings that is drawn anew for each seed."""
    rng = np.random.default_rng(seed)
    target = int(rng.choice(np.flatnonzero(ratings.item_counts >= 5)))
    yield "random raters", anomalies.random_raters(ratings, size=SIZE, rng=rng)
    average = partial(anomalies.average_attack, ratings, target, size=SIZE, filler=filler, rng=rng)
    bandwagon = partial(
        anomalies.bandwagon_attack, ratings, target, size=SIZE, filler=filler, rng=rng
    )
    yield "average push", average(aim="push")
    yield "average nuke", average(aim="nuke")
    yield "bandwagon push", bandwagon(aim="push")
    yield "bandwagon nuke", bandwagon(aim="nuke")
    yield "average push, popular filler", average(aim="push", popular=0.2)
    yield "corrupted ratings", anomalies.corrupted(ratings, share=0.05, rng=rng)


def detected(recipe: Recipe, injected: Injected, seed: int) -> dict[str, float]:
    """AUC by model and by statistic."""
    ratings, scores = injected.ratings, {}
    of_users = bool(injected.users.any())
    for name in MODELS:
        model = built(recipe, name).fit(ratings, rng=np.random.default_rng(seed))
        judged = anomalies.judge(model, ratings, rng=np.random.default_rng(seed))
        scores[name] = judged.suspicion if of_users else judged.surprise
    plain: dict[str, Callable[[Ratings], NDArray[np.float64]]] = {
        "user variance": anomalies.user_variance if of_users else anomalies.from_user_mean,
        "from item mean": anomalies.user_deviation if of_users else anomalies.from_item_mean,
    }
    if of_users:
        plain["obscurity"] = anomalies.user_obscurity
    scores |= {name: statistic(ratings) for name, statistic in plain.items()}
    truth = injected.users if of_users else injected.entries
    return {name: auc(values, truth) for name, values in scores.items()}


def clean(found: Table, seed: int) -> None:
    """RMSE on u1's test ratings, by how much was corrupted and what was done about it."""
    recipe = read_recipe(PIPELINES / "ml-100k-u1.toml")
    split = recipe.split.split(recipe.data.load(), recipe.data)

    def fitted(train: Ratings) -> recae.Recommender:
        return built(recipe, "autorec-dual").fit(train, rng=np.random.default_rng(seed))

    for share in CORRUPTED:
        train = split.train
        if share:
            rng = np.random.default_rng(seed)
            train = anomalies.corrupted(train, share=share, rng=rng).ratings
        first = fitted(train)
        judged = anomalies.judge(first, train, rng=np.random.default_rng(seed))
        models = {"as they are": (first, train)}
        for what, after in (
            (f"without {CLEANED:.0%}", judged.without(CLEANED)),
            (f"{CLEANED:.0%} re-rated", judged.rerated(CLEANED)),
        ):
            models[what] = fitted(after), after
        for what, (model, seen) in models.items():
            holdout = recae.Holdout.of(seen, split.test.target)
            value = rmse(holdout.target.stars, model.predict_at(holdout))
            found[f"{share:.0%}", what].append(value)
            said(f"{share:.0%}", what, seed, value)


def built(recipe: Recipe, name: str) -> recae.Recommender:
    """The model of a recipe, unfitted."""
    return next(choice.model for choice in recipe.models if choice.name == name).fresh()


def said(*what: object) -> None:
    """A line for whoever waits."""
    print(*what, file=sys.stderr, flush=True)


def show(found: Table, names: tuple[str, ...]) -> None:
    """Mean and standard deviation over seeds; a row for every key but its last part."""
    columns = list(dict.fromkeys(key[-1] for key in found))
    print(f"\n| {' | '.join([*names, *columns])} |\n|{'---|' * (len(names) + len(columns))}")
    for row in dict.fromkeys(key[:-1] for key in found):
        cells = [told(found[*row, column]) if (*row, column) in found else "" for column in columns]
        print(f"| {' | '.join([*row, *cells])} |", flush=True)


def told(values: list[float]) -> str:
    """Like 0.987 ±0.002."""
    spread = f" ±{stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


if __name__ == "__main__":
    main()
