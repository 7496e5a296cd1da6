"""A planted leak: an item-based AutoRec that predicts with test ratings in its input.

    python pipelines/leaky_autorec.py [--seeds 0,1,2]
    recae leak pipelines/leaky_autorec.py:LeakyAutoRec --data ml-latest-small
    recae leak pipelines/leaky_autorec.py:HonestAutoRec --data ml-latest-small

`LeakyAutoRec` does as widely copied implementations do: it learns from the training matrix alone,
but to predict, all known ratings go through the network, those that are to be predicted among them.
The first command prints the test RMSE of both on ml-latest-small, a random tenth to test. The
network, its training and its seed are the same. Exit code 2 for mistakes in the call.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import recae
from recae.leaks import frame_of
from recae.metrics import rmse

Floats = NDArray[np.float32]


class HonestAutoRec:
    """Sedhain et al. 2015, eq. 1 and 2: a row is an item, a column a user, zero what is unknown."""

    def __init__(
        self, *, hidden: int = 50, epochs: int = 10, penalty: float = 0.003, seed: int = 0
    ):
        """Defaults: the best of ten for `HonestAutoRec` on a tenth of the training ratings."""
        self.hidden, self.epochs, self.penalty, self.seed = hidden, epochs, penalty, seed

    def fit(self, train: pd.DataFrame) -> None:
        """Learn from a frame of user, item, stars."""
        self.users = pd.Index(np.sort(train["user"].unique()))
        self.items = pd.Index(np.sort(train["item"].unique()))
        self.mean = float(train["stars"].mean())
        self.range = float(train["stars"].min()), float(train["stars"].max())
        self.seen = self._matrix(train)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._learn(torch.from_numpy(self.seen))

    def _learn(self, ratings: torch.Tensor) -> None:
        n = len(self.users)
        inward, outward = torch.nn.Linear(n, self.hidden), torch.nn.Linear(self.hidden, n)
        torch.nn.init.constant_(outward.bias, self.mean)
        self.network = torch.nn.Sequential(inward, torch.nn.Sigmoid(), outward)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        for _ in range(self.epochs):
            order = torch.randperm(len(ratings))
            for start in range(0, len(order), 256):
                rows = order[start : start + 256]
                batch = ratings[rows]
                error = (self.network(batch) - batch)[batch != 0]
                weights = inward.weight.square().sum() + outward.weight.square().sum()
                loss = error.square().sum() / len(rows) + self.penalty * weights
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def _matrix(self, frame: pd.DataFrame) -> Floats:
        """[items, users] of those that training knows."""
        items, users = self._places(frame)
        known = (items >= 0) & (users >= 0)
        matrix = np.zeros((len(self.items), len(self.users)), dtype=np.float32)
        matrix[items[known], users[known]] = frame["stars"].to_numpy()[known]
        return matrix

    def _places(self, frame: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return self.items.get_indexer(frame["item"]), self.users.get_indexer(frame["user"])

    def _input(self, test: pd.DataFrame) -> Floats:
        return self.seen

    def predict(self, test: pd.DataFrame) -> Floats:
        """Stars [R] at the rows of `test`; the mean where training knows no such user or item."""
        items, users = self._places(test)
        with torch.no_grad():
            output = self.network(torch.from_numpy(self._input(test))).numpy()
        stars = np.where((items >= 0) & (users >= 0), output[items, users], self.mean)
        return np.asarray(stars.clip(*self.range), dtype=np.float32)


class LeakyAutoRec(HonestAutoRec):
    """The same network, fed with all ratings to predict some of them."""

    def _input(self, test: pd.DataFrame) -> Floats:
        return self.seen + self._matrix(test)


def main(arguments: Sequence[str] | None = None) -> None:
    """RMSE of both, seed by seed; the split has seed 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(seed) for seed in text.split(",")],
        default=[0, 1, 2],
        help="of the network, like 0,1,2",
    )
    asked = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    test = recae.splits.random(recae.load("ml-latest-small"), test=0.1, rng=rng).test
    train, held = frame_of(test.history), frame_of(test.target)
    for kind in (HonestAutoRec, LeakyAutoRec):
        for seed in asked.seeds:
            model = kind(seed=seed)
            model.fit(train)
            error = rmse(test.target.stars, model.predict(held))
            print(f"{kind.__name__}, seed {seed}: RMSE {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
