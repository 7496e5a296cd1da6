"""New users: which items to ask them for, in which order?

    python pipelines/asking.py [DATA] [--model autorec-dual] [--asked 5,10,20,30] [--seeds 0,1,2]
                               [--part test] [--orders popular,questions]

Users that were not trained on (as in cold_start.py) are asked for items, one after the other, and
answer where they have rated the item; of their ratings a fifth is left out of this, and is to be
predicted from the answers. Orders:

    popular             most rated first
    random              of the 100 most rated, another order a seed
    entropy             log of the number of ratings times the entropy of the stars (Rashid et al.
                        2002)
    entropy0            entropy of the stars, where being unknown is a star too, of half the weight
                        (Golbandi, Koren and Lempel 2010)
    questions           recae.asking, asked once: the same for everybody
    adaptive            the same, asked again after every fifth question

Prints a Markdown table: RMSE after so many questions, its difference to that of `popular` with the
95 % interval over users, and answers a user; means over seeds, which are those of the model.
--part validation: other users, among whom the way of asking was chosen. Exit code 2 for mistakes in
the call.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from cold_start import Setting, numbers, setting, told
from numpy.typing import NDArray

from recae.asking import Interview
from recae.comparison.ratios import Ratio
from recae.errors import DataError, RecaeError
from recae.ids import Rows
from recae.models import Recommender
from recae.ratings import Ratings
from recae.splits import Holdout

Floats: TypeAlias = NDArray[np.float64]

BASE: Final = "popular"
AMONG: Final = 100
"""The most rated items, of which a random order is made."""
ROUND: Final = 5
"""Questions after which it is decided anew what to ask."""


@dataclass(frozen=True)
class Asker:
    """What an order may be made from."""

    model: Recommender
    train: Ratings
    seed: int

    @property
    def popular(self) -> Rows:
        """[N]: most rated first."""
        return np.argsort(-self.train.item_counts, kind="stable")


Order: TypeAlias = Callable[[Asker, Ratings, int], Rows]
"""(asker, all that users could answer, n) -> the items that each is asked for: [U, n]."""


def popular(asker: Asker, history: Ratings, n: int) -> Rows:
    """Most rated first."""
    return _everybody(asker.popular[:n], history)


def random(asker: Asker, history: Ratings, n: int) -> Rows:
    """The most rated in a random order."""
    rng = np.random.default_rng(asker.seed)
    return _everybody(rng.permutation(asker.popular[:AMONG])[:n], history)


def entropy(asker: Asker, history: Ratings, n: int) -> Rows:
    """By the log of the count, times the entropy of the stars."""
    shares = _shares(asker.train, asker.train.item_counts)
    worth = np.log(np.maximum(asker.train.item_counts, 1)) * _entropy(shares).sum(axis=0)
    return _everybody(np.argsort(-worth, kind="stable")[:n], history)


def entropy0(asker: Asker, history: Ratings, n: int) -> Rows:
    """By the entropy of the stars and of being unknown, which weighs half."""
    shares = _shares(asker.train, np.full(len(asker.train.items), len(asker.train.users)))
    worth = _entropy(shares).sum(axis=0) + _entropy(1 - shares.sum(axis=0)) / 2
    return _everybody(np.argsort(-worth, kind="stable")[:n], history)


def questions(asker: Asker, history: Ratings, n: int) -> Rows:
    """By what they would tell, once."""
    nothing = np.empty(0, dtype=np.int64)
    return _everybody(Interview.of(asker.model).order(nothing, n)[0], history)


def adaptive(asker: Asker, history: Ratings, n: int) -> Rows:
    """By what they would tell, given which of those before were answered."""
    interview = Interview.of(asker.model)
    asked = np.empty((len(history.users), n), dtype=np.int64)
    for user, row in enumerate(asked):
        own = history.columns[history.matrix.indptr[user] : history.matrix.indptr[user + 1]]
        for start in range(0, n, ROUND):
            before = row[:start]
            found, _ = interview.order(np.intersect1d(before, own), min(ROUND, n - start), before)
            row[start : start + ROUND] = found
    return asked


ORDERS: Final[dict[str, Order]] = {
    order.__name__: order for order in (popular, random, entropy, entropy0, questions, adaptive)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    read = _parser().parse_args(arguments)
    try:
        for name in read.orders:
            if name not in ORDERS:
                raise DataError(f"there is no order {name!r}: there are {', '.join(ORDERS)}")
        orders = list(dict.fromkeys([BASE, *read.orders]))
        given = setting(read.data, [read.model])
        print(table(scored(given, orders, read.asked, read.seeds, read.part)))
    except RecaeError as mistake:
        print(f"asking: {mistake}", file=sys.stderr)
        return 2
    return 0


@dataclass(frozen=True)
class Score:
    """Of one order after so many questions."""

    rmse: Ratio
    answers: float
    """A user."""


def scored(
    given: Setting, orders: Sequence[str], asked: Sequence[int], seeds: Sequence[int], part: str
) -> dict[str, dict[int, Score]]:
    """By order and number of questions. Raises DataError where the split has no such part."""
    holdout = given.split.test if part == "test" else given.split.validation
    if holdout is None:
        raise DataError("this split holds nobody out to validate")
    ((_, recipe),) = given.models.items()
    sums: dict[tuple[str, int], list[tuple[Floats, Floats]]] = {}
    answers: dict[tuple[str, int], list[float]] = {}
    for seed in seeds:
        model = recipe.build().fit(given.split.train, rng=np.random.default_rng(seed))
        own = Holdout(
            holdout.history.over(model.fitted.items), holdout.target.over(model.fitted.items)
        )
        asker = Asker(model, given.split.train, seed)
        for name in orders:
            rows = ORDERS[name](asker, own.history, max(asked))
            for m in asked:
                known = answered(own.history, rows[:, :m])
                sums.setdefault((name, m), []).append(_errors(model, Holdout(known, own.target)))
                answers.setdefault((name, m), []).append(len(known) / len(known.users))
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
    return {
        name: {
            m: Score(Ratio.of(sums[name, m], root=True), float(np.mean(answers[name, m])))
            for m in asked
        }
        for name in orders
    }


def answered(history: Ratings, asked: Rows) -> Ratings:
    """What users have rated of what they are asked for, [U, m]."""
    n = len(history.items)
    wanted = np.arange(len(asked))[:, None] * n + asked
    return history.keep(np.isin(history.rows * n + history.columns, wanted.ravel()))


def table(found: Mapping[str, Mapping[int, Score]]) -> str:
    """Markdown: a row an order, a column a number of questions."""
    counts = list(found[BASE])
    lines = [["order", *map(str, counts)], ["---"] * (1 + len(counts))]
    for name, of in found.items():
        cells = []
        for m in counts:
            less = "" if name == BASE else f", {told(of[m].rmse.less(found[BASE][m].rmse))}"
            cells.append(f"{of[m].rmse.values[0]:.4f}{less} ({of[m].answers:.1f})")
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _everybody(order: Rows, history: Ratings) -> Rows:
    return np.tile(order, (len(history.users), 1))


def _errors(model: Recommender, holdout: Holdout) -> tuple[Floats, Floats]:
    """Squared errors and how many, by user: [U, 1] each."""
    target = holdout.target
    squares = (model.predict_at(holdout).astype(np.float64) - target.stars) ** 2
    sums = np.bincount(target.rows, squares, len(target.users)).astype(np.float64)
    return sums[:, None], target.user_counts.astype(np.float64)[:, None]


def _shares(train: Ratings, of: NDArray[np.int64]) -> Floats:
    """[L, N]: how many gave each item each number of stars, as shares of `of` [N]."""
    counts = [
        np.bincount(train.columns[train.stars == stars], minlength=len(train.items))
        for stars in np.unique(train.stars)
    ]
    return np.asarray(np.stack(counts) / np.maximum(of, 1))


def _entropy(shares: Floats) -> Floats:
    """- p log p."""
    return -shares * np.log(np.where(shares > 0, shares, 1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default="ml-1m")
    parser.add_argument("--model", default="autorec-dual")
    parser.add_argument("--asked", type=numbers, default=[5, 10, 20, 30])
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--orders", type=lambda text: text.split(","), default=list(ORDERS))
    return parser


if __name__ == "__main__":
    sys.exit(main())
