"""Top-10 for everybody in ML-1M: users a second, next to `implicit` with as many factors.

    python pipelines/benchmarks/top_n.py [--rounds 7]

Both models are fitted on the same training ratings and recommend to the same users in turn, in one
process, what they have rated left out; ratios are taken round by round, because machines are noisy.
Once for users that both know from training, and once for the same ratings as those of new users:
ours encodes them and takes its half-step, implicit solves for them (`recalculate_user`).
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
    model = recae.AutoRec.dual(k=FACTORS, refine=True, training=Training(steps=20))
    model.fit(ratings, rng=np.random.default_rng(0))
    strangers = replace(ratings, users=recae.Ids(ratings.users.values + 10**6))
    likes = sparse.csr_matrix(
        (np.ones_like(ratings.stars), ratings.columns, ratings.matrix.indptr),
        shape=ratings.matrix.shape,
    )
    users = np.arange(len(ratings.users))
    with threadpool_limits(1, "blas"):
        als = AlternatingLeastSquares(factors=FACTORS, iterations=5, random_state=0)
        als.fit(likes, show_progress=False)

    def theirs(new: bool) -> object:
        # Each way with the threads that made it fastest on 2 cores.
        als.num_threads = 0 if new else 1
        with threadpool_limits(1 if new else None, "blas"):
            return als.recommend(users, likes, N=10, recalculate_user=new)

    def ours(new: bool) -> object:
        return model.recommend(strangers if new else ratings, n=10)

    for new in (False, True):
        pairs = [(seconds(ours, new), seconds(theirs, new)) for _ in range(rounds + 1)][1:]
        print("new users" if new else "known users", f"(median of {rounds} rounds)")
        for name, values in zip(
            ("recae dual", "implicit als"), zip(*pairs, strict=True), strict=True
        ):
            print(f"  {name:<13} {len(users) / median(values):>9,.0f} users a second")
        ratios = sorted(their / our for our, their in pairs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"  recae / implicit: {median(ratios):.2f} times as fast ({spread})")


def seconds(work: Callable[[bool], object], new: bool) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work(new)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
