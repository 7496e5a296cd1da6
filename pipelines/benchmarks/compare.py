"""How long a comparison takes: 20 runs, 6,040 users, 100,000 ratings, 10,000 resamples.

    python pipelines/benchmarks/compare.py [--groups 4] [--seeds 5]

Made-up evaluations of the size of MovieLens 1M's, so that nothing is trained and no store is read.
Prints the seconds of each step; `recae compare --report` adds starting Python and reading the runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from recae.catalog import Catalog
from recae.comparison.agreement import agreements
from recae.comparison.facets import FACETS
from recae.comparison.slices import MEASURES, sliced
from recae.evaluation import Evaluation
from recae.evaluation.answers import Answers
from recae.ids import Ids
from recae.reports.page import html
from recae.reports.standings import Standings
from recae.running import Cost
from recae.tracking import TrackedEvaluation

Floats = NDArray[np.float64]

USERS, ITEMS, RATINGS, LENGTH = 6_040, 3_706, 100_000, 10
GENRES = [f"genre {number}" for number in range(18)]
LISTS = ("ndcg", "recall", "recall_min", "precision", "map", "mrr", "hit", "novelty", "serendipity")


def main() -> None:
    """Compare, slice, write the report; print the seconds of each."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--groups", type=int, default=4)
    arguments.add_argument("--seeds", type=int, default=5)
    given = arguments.parse_args()
    asked = questions()
    with timed("made up"):
        runs = [
            made_up(asked, group, seed)
            for group in range(given.groups)
            for seed in range(given.seeds)
        ]
    print(f"{len(runs)} runs of {given.groups} models")
    with timed("compared, 10,000 resamples"):
        standings = Standings.of(runs, rng=np.random.default_rng(0))
    with timed("sliced by everything"):
        for measure in MEASURES:
            for by in FACETS:
                sliced(standings.evaluations, by, baseline="model 0", measure=measure)
    with timed("agreement"):
        agreements(standings.evaluations)
    with timed("the report, slices and agreement among it"):
        size = len(html(standings).encode())
    print(f"  {size / 1e6:.1f} MB")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints the seconds."""
    start = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - start:.2f} s", flush=True)


def questions() -> Answers:
    """What is asked of every model."""
    rng = np.random.default_rng(0)
    users = np.sort(np.concatenate([np.arange(USERS), rng.integers(USERS, size=RATINGS - USERS)]))
    popular = rng.zipf(1.3, ITEMS).clip(1, 3_000)
    genres = [rng.choice(GENRES, rng.integers(1, 4), replace=False).tolist() for _ in range(ITEMS)]
    names = [f"title {row}" for row in range(ITEMS)]
    return Answers(
        users,
        rng.choice(ITEMS, RATINGS, p=popular / popular.sum()),
        rng.integers(1, 6, RATINGS).astype(np.float64),
        np.zeros(RATINGS),
        rng.exponential(60, RATINGS),
        np.full(RATINGS, np.nan),
        np.full(RATINGS, np.nan),
        np.full((USERS, LENGTH), -1),
        rng.geometric(1 / 150, USERS),
        Ids.of(range(ITEMS)),
        popular,
        Catalog.of(range(ITEMS), names, genres, rng.integers(1920, 2001, ITEMS)),
    )


def made_up(asked: Answers, group: int, seed: int) -> TrackedEvaluation:
    """A run whose errors are smaller the later its group."""
    rng = np.random.default_rng([group, seed])
    noise = rng.normal(0, 1 - 0.02 * group, RATINGS)
    answers = Answers(
        **vars(asked)
        | {
            "predicted": np.clip(asked.stars + noise, 1, 5),
            "lists": (rng.integers(ITEMS, size=(USERS, 1)) + 7 * np.arange(LENGTH)) % ITEMS,
        }
    )
    error = answers.predicted - answers.stars
    by_user: dict[str, Floats] = {
        "ratings": np.bincount(asked.users).astype(np.float64),
        "squared_error": np.bincount(asked.users, error**2).astype(np.float64),
        "absolute_error": np.bincount(asked.users, np.abs(error)).astype(np.float64),
    } | {f"{name}_at_{LENGTH}": rng.random(USERS) for name in LISTS}
    stars = {"rmse": (error**2).mean() ** 0.5, "mae": np.abs(error).mean()}
    values = stars | dict.fromkeys(("rmse_macro", "mae_macro"), 0.9)
    values |= {
        f"{name}_at_{LENGTH}": float(by_user[f"{name}_at_{LENGTH}"].mean()) for name in LISTS
    }
    values[f"item_coverage_at_{LENGTH}"] = 0.5
    protocol = {"scale": [1.0, 5.0], "n": LENGTH, "relevant": 4.0}
    counts = dict.fromkeys(("ratings", "ordinary", "ranked users"), RATINGS)
    counts |= {"folded in": 0, "fallback": 0}
    name = f"model {group}"
    evaluation = Evaluation(values, counts, protocol, Ids.of(range(USERS)), by_user, answers)
    return TrackedEvaluation(
        f"{name}-{seed}",
        f"{name}-{seed}",
        name,
        seed,
        None,
        {"kind": "mf", "k": str(2**group), "seed": str(seed)},
        "benchmark",
        "0",
        datetime.now(UTC),
        Cost(1.0, 100.0),
        evaluation,
    )


if __name__ == "__main__":
    main()
