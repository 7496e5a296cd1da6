"""A model that went on learning against one that was trained anew: how far apart are they?

    python pipelines/updating.py [RECIPE] [--model autorec-dual] [--seeds 0 1 2] [--inner]
                                 [--known 0.9 0.5 new] [--shares 0 0.25 0.5] [--rates 0.5]
                                 [--again 10]

For a model of a recipe (quickstart.toml), a table in Markdown. `known` is what the old model was
trained on: that share of the training ratings, drawn uniformly, or all but those of a tenth of the
users and of a tenth of the items (new). Then it is asked as it is; given all training ratings to
encode; and updated with them, by shares of the steps of a fit. `--again 10`: it knows 90 %, and the
rest comes in ten updates of as many ratings each. All are asked about the same test ratings.

Columns: RMSE; `from anew`: the mean |difference| of what is predicted of the test ratings from what
the model trained anew from everything predicts; `top 10`: the share of items of either list of ten
that are in both (Jaccard), mean over users; seconds of the processor. The yardstick is the last
row: a model trained anew with another seed. Means over the seeds, of which every old model, update
and fit has its own.
--inner: instead of the test ratings, which then are not read, a tenth hidden from the others.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from recae import splits
from recae.errors import RecaeError
from recae.ids import Ids
from recae.metrics import overlap, rmse
from recae.models import Recommender, updating
from recae.ratings import Ratings
from recae.recipes import ModelRecipe, read_recipe
from recae.splits import Holdout, Split

HERE: Final = Path(__file__).parent
NEW: Final = "new"
LIST: Final = 10
T = TypeVar("T")
Table: TypeAlias = dict[str, dict[str, list[list[float]]]]
"""By case and name of a row, of each seed what stands in the columns."""
COLUMNS: Final = ("RMSE", "from anew", "top 10", "seconds")


@dataclass(frozen=True)
class Answer:
    """What one model says of the test ratings, and whom it recommends what."""

    stars: NDArray[np.float32]
    lists: NDArray[np.int64]
    """[U, 10]: rows of the items of all training ratings."""
    seconds: float

    @classmethod
    def of(cls, model: Recommender, asked: Holdout, train: Ratings, seconds: float) -> Answer:
        """Of a model that may not know all items of `train`."""
        items = train.items.find(model.fitted.items.values)
        found = model.recommend(train, LIST).items
        return cls(model.predict_at(asked), np.where(found >= 0, items[found], -1), seconds)


@dataclass(frozen=True)
class Trial:
    """One seed: what is asked, and the model that is trained anew."""

    recipe: ModelRecipe
    split: Split
    seed: int

    def rng(self, role: int) -> np.random.Generator:
        """Of one of the fits."""
        return np.random.default_rng([self.seed, role])

    def anew(self, role: int) -> Answer:
        """From everything."""
        model, seconds = timed(lambda: self.fitted(self.split.train, role))
        return Answer.of(model, self.split.test, self.split.train, seconds)

    def fitted(self, train: Ratings, role: int) -> Recommender:
        return self.recipe.build().fit(train, rng=self.rng(role))

    def updated(self, model: Recommender, tables: list[Ratings], share: float) -> Answer:
        """Of a copy that went on with one table after the other."""
        own, rng = copy.copy(model), self.rng(3)

        def go_on() -> None:
            for table in tables:
                own.update(table, share=share, rng=rng)

        _, seconds = timed(go_on)
        return Answer.of(own, self.split.test, self.split.train, seconds)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the seconds of the processor that it takes: other work does not count."""
    began = time.process_time()
    return work(), time.process_time() - began


def present(ratings: Ratings) -> Ratings:
    """Without users and items that have no rating."""
    users = ratings.take_users(np.flatnonzero(ratings.user_counts))
    return users.over(Ids(ratings.items.values[ratings.item_counts > 0]))


def known(train: Ratings, what: str, rng: np.random.Generator) -> Ratings:
    """What the old model is trained on."""
    if what != NEW:
        return present(train.keep(rng.random(len(train)) < float(what)))
    users, items = (rng.random(len(ids)) < 0.1 for ids in (train.users, train.items))
    return present(train.keep(~users[train.rows] & ~items[train.columns]))


def main() -> None:
    """Print the table; meanwhile, rows as they are known, to stderr."""
    given = _parser().parse_args()
    recipe = read_recipe(given.recipe, ["split.validation=0"])
    (model,) = [model for model in recipe.models if model.kind == given.model]
    split = recipe.split.split(recipe.data.load(), recipe.data)
    if given.inner:
        split = splits.random(split.train, test=0.1, rng=np.random.default_rng(1))
    split = Split(present(split.train), None, split.test)
    cases: Table = defaultdict(lambda: defaultdict(list))
    for seed in given.seeds:
        trial = Trial(model, split, seed)
        anew = trial.anew(0)

        def keep(case: str, found: Iterable[tuple[str, Answer]], anew: Answer = anew) -> None:
            for name, answer in found:
                cases[case][name].append(_compared(f"{case}, {name}", answer, anew, split.test))

        for case in given.known:
            keep(case, answers(trial, known(split.train, case, trial.rng(4)), given))
        if given.again:
            keep(f"0.9, then {given.again} updates", in_a_row(trial, given.again))
        keep("all", [("trained anew", anew), ("trained anew, another seed", trial.anew(1))])
    show(cases)


def answers(trial: Trial, old: Ratings, given: argparse.Namespace) -> Iterator[tuple[str, Answer]]:
    """Of the old model and its updates, by name."""
    train, test = trial.split.train, trial.split.test
    model, seconds = timed(lambda: trial.fitted(old, 2))
    before = Holdout.of(old, test.target)
    yield "old, as it is", Answer.of(model, before, train, seconds)
    encoded, seconds = timed(lambda: Answer.of(model, test, train, 0.0))
    yield "old, all ratings encoded", encoded
    for share in given.shares:
        for rate in given.rates if share else given.rates[:1]:
            updating.RATE = rate
            named = f", rate {rate:g}" if len(given.rates) > 1 and share else ""
            yield f"update, {share:.0%}{named}", trial.updated(model, [train], share)


def in_a_row(trial: Trial, count: int) -> Iterator[tuple[str, Answer]]:
    """The old model with 90 %, and the rest in so many pieces."""
    train, rng = trial.split.train, trial.rng(5)
    drawn = rng.random(len(train))
    pieces = 0.9 + 0.1 * np.arange(count + 1) / count
    first, *tables = (present(train.keep(drawn < share)) for share in pieces)
    model = trial.fitted(first, 2)
    for share in (0.0, updating.SHARE):
        yield f"updates, {share:.0%} each", trial.updated(model, tables, share)


def _compared(name: str, answer: Answer, anew: Answer, test: Holdout) -> list[float]:
    values = [
        rmse(test.target.stars, answer.stars),
        float(np.abs(answer.stars - anew.stars).mean()),
        float(np.nanmean(overlap(answer.lists, anew.lists))),
        answer.seconds,
    ]
    print(f"{name}: {_told(values)}", file=sys.stderr, flush=True)
    return values


def _told(values: list[float]) -> str:
    error, difference, lists, seconds = values
    return f"{error:.4f} | {difference:.3f} | {lists:.2f} | {seconds:.1f}"


def show(cases: Table) -> None:
    """Means over the seeds so far."""
    print(f"| known | model | {' | '.join(COLUMNS)} |")
    print(f"|---|---|{'---|' * len(COLUMNS)}")
    for case, rows in cases.items():
        for name, values in rows.items():
            print(f"| {case} | {name} | {_told(np.mean(values, axis=0).tolist())} |")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", type=Path, default=HERE / "quickstart.toml")
    parser.add_argument("--model", default="autorec-dual")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--known", nargs="*", default=["0.9", "0.5", NEW])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.25, 0.5])
    parser.add_argument("--rates", nargs="+", type=float, default=[updating.RATE])
    parser.add_argument("--again", type=int, default=0)
    parser.add_argument("--inner", action="store_true")
    return parser


if __name__ == "__main__":
    try:
        main()
    except RecaeError as mistake:
        print(f"updating: {mistake}", file=sys.stderr)
        sys.exit(2)
