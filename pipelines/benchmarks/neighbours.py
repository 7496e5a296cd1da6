"""The ten nearest of many codes: milliseconds a query, next to scikit-learn and faiss.

    OMP_NUM_THREADS=1 python pipelines/benchmarks/neighbours.py [--rows N ...] [--queries 20]

Codes of 64 numbers, made to be as unevenly spread as real ones: mixtures of two item codes of a
dual model of ml-latest-small, and noise of half their spread. All answer the same queries one by
one in turn, in one process; medians of rounds. `recae exact` compares all,
`recae faiss` is what is built beyond a million rows where faiss is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

import recae
from recae import neighbours
from recae.neighbours import Neighbours

Floats: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = NDArray[np.int64]
Ask: TypeAlias = Callable[[Floats], Rows]

N = 10


def main() -> None:
    """Build, time in turn, print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, nargs="+", default=[60_000, 1_000_000])
    arguments.add_argument("--queries", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    ratings = recae.load("ml-latest-small")
    real = recae.AutoRec.dual(k=64).fit(ratings, rng=np.random.default_rng(0)).encode_items()
    for rows in options.rows:
        rng = np.random.default_rng(rows)
        codes = like(real[real.any(axis=1)], rows, rng)
        compared(codes, codes[rng.integers(rows, size=options.queries)], options.rounds)


def like(real: Floats, n: int, rng: np.random.Generator) -> Floats:
    """[n, K]: mixtures of two real codes, and noise."""
    share = rng.random((n, 1), dtype=np.float32) / 2
    first, second = real[rng.integers(len(real), size=n)], real[rng.integers(len(real), size=n)]
    noise = rng.standard_normal(first.shape, dtype=np.float32) * real.std(axis=0) / 2
    return np.asarray(first * (1 - share) + second * share + noise, dtype=np.float32)


def compared(codes: Floats, queries: Floats, rounds: int) -> None:
    """Print seconds to build, milliseconds a query, and recall of what all comparisons find."""
    print(f"{len(codes):,} x {codes.shape[1]}, {len(queries)} queries, median of {rounds} rounds")
    ways = {name: built(build, codes) for name, build in WAYS.items()}
    exact = [set(ways["recae exact"][0](query[None])[0].tolist()) for query in queries]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (ask, _) in ways.items():
            began = time.perf_counter()
            for query in queries:
                ask(query[None])
            seconds[name].append(time.perf_counter() - began)
    for name, (ask, build) in ways.items():
        found = [
            len(set(ask(query[None])[0].tolist()) & wanted)
            for query, wanted in zip(queries, exact, strict=True)
        ]
        each = 1000 * median(seconds[name]) / len(queries)
        recall = np.mean(found) / N
        print(
            f"  {name:<14} {each:8.2f} ms a query   {build:7.2f} s to build   recall {recall:.3f}"
        )


def built(build: Callable[[Floats], Ask], codes: Floats) -> tuple[Ask, float]:
    """What answers queries, and the seconds that making it took."""
    began = time.perf_counter()
    return build(codes), time.perf_counter() - began


def exactly(codes: Floats) -> Ask:
    """Ours, all compared."""
    near = Neighbours.of(codes)
    return lambda query: near.nearest(query, N)[0]


def by_index(codes: Floats) -> Ask:
    """Ours beyond a million, at any number of rows."""
    limit, neighbours._EXACT = neighbours._EXACT, 0  # type: ignore[misc]
    near = Neighbours.of(codes)
    neighbours._EXACT = limit  # type: ignore[misc]
    if near.index is None:
        raise SystemExit("faiss is not installed: pip install 'recae[faiss]'")
    return lambda query: near.nearest(query, N)[0]


def scikit(codes: Floats) -> Ask:
    """scikit-learn's, all compared; of its metrics the cosine."""
    near = NearestNeighbors(n_neighbors=N, metric="cosine", algorithm="brute").fit(codes)
    return lambda query: np.asarray(near.kneighbors(query, return_distance=False))


WAYS: dict[str, Callable[[Floats], Ask]] = {
    "recae exact": exactly,
    "recae faiss": by_index,
    "scikit-learn": scikit,
}


if __name__ == "__main__":
    main()
