"""Top-10 for everybody in ML-1M: users a second, next to `implicit` with as many factors.

    python pipelines/benchmarks/top_n.py [--rounds 7]

Both models are fitted on the same training ratings and recommend to the same users in turn, in one
process, what they have rated left out; ratios are taken round by round, because machines are noisy.
Once for users that both know from training, and once for the same ratings as those of new users:
ours encodes them and takes its half-step, implicit solves for them (`recalculate_user`). Then both
again with a kernel, which asks for more accuracy and more time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

import recae
from recae.models.kernel import Kernel
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
    models = {"recae dual": Kernel(), "with a kernel": Kernel(local=0.3)}
    fitted = {
        name: recae.AutoRec.dual(k=FACTORS, kernel=kernel, training=Training(steps=20)).fit(
            ratings, rng=np.random.default_rng(0)
        )
        for name, kernel in models.items()
    }
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

    for name, model in fitted.items():
        for new in (False, True):
            compared(
                f"{name}, {'new' if new else 'known'} users",
                partial(model.recommend, strangers if new else ratings, n=10),
                partial(theirs, new),
                len(users),
                rounds,
            )


def compared(
    title: str, ours: Callable[[], object], theirs: Callable[[], object], users: int, rounds: int
) -> None:
    """Print users a second of both, and the ratio."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds + 1)][1:]
    print(f"{title} (median of {rounds} rounds)")
    for name, values in zip(("recae", "implicit"), zip(*pairs, strict=True), strict=True):
        print(f"  {name:<9} {users / median(values):>9,.0f} users a second")
    ratios = sorted(their / our for our, their in pairs)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"  recae / implicit: {median(ratios):.2f} times as fast ({spread})")


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
