"""Top-10 for everybody in ML-1M: users a second, next to `implicit` with as many factors.

    python pipelines/benchmarks/top_n.py [--rounds 7]

Both models are fitted on the same training ratings and recommend to the same users in turn, in one
process, what they have rated left out; the ratio is taken round by round, because machines are
noisy. Ours includes encoding every user from the ratings; implicit looks its factors up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

import recae
from recae.nn.training import Training

FACTORS = 64


def main() -> None:
    """Fit, time in turn, print medians and the ratio."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    ratings = recae.load("ml-1m/ratings.csv.gz", where={"pmf_test": 0}, scale=(1, 5))
    print(ratings)
    # How well it is trained does not change what a list costs.
    model = recae.AutoRec.dual(k=FACTORS, training=replace(Training(), steps=20))
    model.fit(ratings, rng=np.random.default_rng(0))
    likes = sparse.csr_matrix(
        (np.ones_like(ratings.stars), ratings.columns, ratings.matrix.indptr),
        shape=ratings.matrix.shape,
    )
    users = np.arange(len(ratings.users))
    with threadpool_limits(1, "blas"):
        als = AlternatingLeastSquares(factors=FACTORS, iterations=5, random_state=0)
        als.fit(likes, show_progress=False)

    def theirs() -> object:
        return als.recommend(users, likes, N=10, filter_already_liked_items=True)

    def ours() -> object:
        return model.recommend(ratings, n=10)

    timings = [(seconds(ours), seconds(theirs)) for _ in range(rounds + 1)][1:]
    for name, values in zip(
        ("recae dual", "implicit als"), zip(*timings, strict=True), strict=True
    ):
        print(
            f"{name:<13} {len(users) / median(values):>9,.0f} users a second (median of {rounds})"
        )
    ratios = sorted(their / our for our, their in timings)
    print(
        f"recae / implicit: {median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
