"""A task with few labels: codes, learned from all ratings and no label, against ratings and SVD.

    python pipelines/few_labels.py [TASK ...] [--codes autorec-dual] [--labels 10,50,200]
                                   [--repeats 20] [--first 0] [--seeds 0,1,2]

Prints a Markdown table: for each number of labels and each kind of features the mean AUC over draws
of labels (over genres too, where there are several); for codes, also with SVD beside them, what
they have more than raw stars and than SVD of stars, with its 95 % interval. Draws are numbered from
--first on, and draw d takes codes of seed d modulo the seeds; all else is the same for all
features: the labels, a logistic regression whose C is chosen by cross-validation within them, and
rows of unit length. The interval is over draws and seeds, for these data; not for other films or
people.

Data that are not there are skipped. Exit code 2 for mistakes in the call.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.sparse.linalg import svds
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import recae
from recae.codes import Side
from recae.data import users
from recae.errors import DataError, RecaeError
from recae.models import MODELS, Recommender
from recae.models.baseline import Baseline
from recae.models.encodes import encoding
from recae.ratings import Ratings

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

COSTS: Final = (1.0, 10.0, 100.0, 1000.0)
"""C of the logistic regression, for rows of unit length."""
FOLDS: Final = 3
LEAST: Final = 5
"""Ratings from which a film takes part: of fewer, nobody knows much."""
COMMON: Final = 0.1
"""Share of the films from which a genre takes part: with 10 labels, a rarer one is never seen."""

STARS: Final = "stars"
RESIDUALS: Final = "stars less baseline"
SVD: Final = "SVD of stars"
SVD_OF_RESIDUALS: Final = "SVD of stars less baseline"
WIDE_SVD: Final = "SVD of stars, twice as wide"
PLAIN: Final = (STARS, SVD, WIDE_SVD, RESIDUALS, SVD_OF_RESIDUALS)


@dataclass(frozen=True)
class Task:
    """What is to be told of users or items, of those alone that have a label."""

    data: str
    of: Side
    labels: Callable[[str, Ratings], tuple[Flags, Flags]]
    """(data, ratings) -> labels [n, L], and which rows take part [n]."""


def genres(data: str, ratings: Ratings) -> tuple[Flags, Flags]:
    """Which of the common genres each film has; films with ratings enough and any genre."""
    assert ratings.catalog is not None
    of_films = ratings.catalog.genres
    names = sorted({name for some in of_films for name in some})
    flags = np.array([[name in some for name in names] for some in of_films])
    rows = (ratings.item_counts >= LEAST) & flags.any(axis=1)
    return flags[:, flags[rows].mean(axis=0) >= COMMON], rows


def gender(data: str, ratings: Ratings) -> tuple[Flags, Flags]:
    """Which users are women, as the release says."""
    told = users(data).set_index("user").loc[ratings.users.values, "gender"]
    return (told == "F").to_numpy()[:, None], np.ones(len(told), dtype=np.bool_)


TASKS: Final = {
    "ml-100k-gender": Task("ml-100k", "users", gender),
    "ml-100k-genres": Task("ml-100k", "items", genres),
    "ml-latest-small-genres": Task("ml-latest-small", "items", genres),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """One task after the other, each row when it is known."""
    parser = _parser()
    read = parser.parse_args(arguments)
    for name in read.tasks:
        if name not in TASKS:
            parser.error(f"there is no task {name!r}: there are {', '.join(TASKS)}")
    for name in read.codes:
        if name not in MODELS:
            parser.error(f"there is no model {name!r}: there are {', '.join(MODELS)}")
    print("| task | labels | features | AUC | less that of stars | less that of SVD |")
    print("|---|---|---|---|---|---|")
    for name in read.tasks or TASKS:
        try:
            ratings = recae.load(TASKS[name].data)
        except DataError as missing:
            print(f"{name} is skipped: {missing}", file=sys.stderr)
            continue
        for row in compared(TASKS[name], ratings, read):
            print(f"| {name} | {' | '.join(row)} |", flush=True)


def compared(task: Task, ratings: Ratings, asked: argparse.Namespace) -> Iterator[list[str]]:
    """Rows of the table: labels, features, AUC, and the two differences."""
    labels, rows = task.labels(task.data, ratings)
    labels = labels[rows]
    features = {
        name: [of_unit_length(matrix[rows]) for matrix in matrices]
        for name, matrices in everything(task, ratings, asked).items()
    }
    for name in asked.codes:
        beside = [np.hstack([each, *features[SVD]]) for each in features[name]]
        features[f"{name} and SVD"] = beside
    draws = range(asked.first, asked.first + asked.repeats)
    for n in asked.labels:
        splits = [drawn_labels(len(labels), n, draw) for draw in draws]
        scores: dict[str, Floats] = {}
        for name, matrices in features.items():
            of_draws = [matrices[draw % len(matrices)] for draw in draws]
            found = [
                auc(matrix, labels, *split) for matrix, split in zip(of_draws, splits, strict=True)
            ]
            scores[name] = np.array(found)
            more = (
                ["", ""]
                if name in PLAIN
                else [_difference(scores[name] - scores[other]) for other in (STARS, SVD)]
            )
            yield [str(n), name, f"{scores[name].mean():.3f}", *more]


def everything(task: Task, ratings: Ratings, asked: argparse.Namespace) -> dict[str, list[Floats]]:
    """Features of all rows by name, of one seed or of each."""
    learned: dict[str, list[Floats]] = {
        name: [codes(task.data, task.of, name, seed) for seed in asked.seeds]
        for name in asked.codes
    }
    width = learned[asked.codes[0]][0].shape[1]
    return {name: [each] for name, each in plain(ratings, task.of, width).items()} | learned


def codes(data: str, of: Side, name: str, seed: int) -> Floats:
    """[n, K] of all users, or of all items."""
    ratings, learned = fitted(data, name, seed)
    model = encoding(learned)
    found = model.encode(ratings) if of == "users" else model.encode_items()
    return found.astype(np.float64)


@cache
def fitted(data: str, name: str, seed: int) -> tuple[Ratings, Recommender]:
    """Once for the tasks that share it."""
    ratings = recae.load(data)
    return ratings, MODELS[name]().fit(ratings, rng=np.random.default_rng(seed))


def plain(ratings: Ratings, of: Side, width: int) -> dict[str, Floats]:
    """What needs no autoencoder: rows of the matrix with zeros where nothing was rated, and their
    coordinates in its first singular directions."""
    residuals = ratings.matrix.copy()
    residuals.data = Baseline.of(ratings).residuals(ratings)
    found: dict[str, Floats] = {}
    for (name, svd), matrix in zip(
        ((STARS, SVD), (RESIDUALS, SVD_OF_RESIDUALS)), (ratings.matrix, residuals), strict=True
    ):
        side = sparse.csr_array(matrix if of == "users" else matrix.T).astype(np.float64)
        found |= {name: side.toarray(), svd: _coordinates(side, width)}
        if name == STARS:
            # As many features as codes and SVD side by side.
            found[WIDE_SVD] = _coordinates(side, 2 * width)
    return found


def _coordinates(matrix: sparse.csr_array, width: int) -> Floats:
    """[n, width] of its rows in its first singular directions."""
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    left, scales, _ = svds(matrix, k=width, v0=start)
    return np.asarray(left * scales)


def of_unit_length(matrix: Floats) -> Floats:
    """[n, K] with rows of length 1, where they are not zero: how much is rated says little."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.where(lengths > 0, lengths, 1))


def drawn_labels(n: int, labelled: int, draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that have a label, and the others."""
    order = np.random.default_rng([labelled, draw]).permutation(n)
    return order[:labelled], order[labelled:]


def auc(
    matrix: Floats, labels: Flags, known: NDArray[np.int64], others: NDArray[np.int64]
) -> float:
    """Mean over labels [n, L] of the area under the curve of the others, from those known.

    One C for all of them, that of the smallest log loss over folds.
    """
    near, far = shortened(matrix[known], matrix[others])
    told = labels[known]
    folds = np.arange(len(known)) % FOLDS
    losses = []
    for cost in COSTS:
        chances = np.empty(told.shape)
        for fold in range(FOLDS):
            inside = folds == fold
            chances[inside] = predicted(near[~inside], told[~inside], near[inside], cost)
        right = np.where(told, chances, 1 - chances)
        losses.append(-np.log(np.maximum(right, 1e-9)).mean())
    chances = predicted(near, told, far, COSTS[int(np.argmin(losses))])
    pairs = zip(labels[others].T, chances.T, strict=True)
    return float(np.mean([roc_auc_score(true, chance) for true, chance in pairs]))


def shortened(near: Floats, far: Floats) -> tuple[Floats, Floats]:
    """The same points in as many dimensions as `near` [n, K] has rows, if it has fewer than K.

    The weights of a ridge penalty lie in the span of what was learned from (the representer
    theorem), so that predictions are the same, and a raw row costs no more than a code.
    """
    if len(near) >= near.shape[1]:
        return near, far
    left, scales, directions = np.linalg.svd(near, full_matrices=False)
    return left * scales, far @ directions.T


def predicted(near: Floats, told: Flags, far: Floats, cost: float) -> Floats:
    """Chances [far, L]; the share, where all that is told of a label is the same."""
    chances = np.empty((len(far), told.shape[1]))
    for column, flags in enumerate(told.T):
        if flags.all() or not flags.any():
            chances[:, column] = (flags.sum() + 0.5) / (len(flags) + 1)
        else:
            fitted = LogisticRegression(C=cost, max_iter=1000).fit(near, flags)
            chances[:, column] = fitted.predict_proba(far)[:, 1]
    return chances


def _difference(more: Floats) -> str:
    """Its mean over draws with the 95 % interval of Student's t."""
    margin = stats.t.ppf(0.975, len(more) - 1) * stats.sem(more)
    return f"{more.mean():+.3f} [{more.mean() - margin:+.3f}, {more.mean() + margin:+.3f}]"


def _parser() -> argparse.ArgumentParser:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{', '.join(TASKS)}; none: all")
    parser.add_argument("--codes", type=lambda text: text.split(","), default=["autorec-dual"])
    parser.add_argument("--labels", type=numbers, default=[10, 50, 200])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    return parser


if __name__ == "__main__":
    try:
        main()
    except RecaeError as mistake:
        print(f"few_labels: {mistake}", file=sys.stderr)
        sys.exit(2)
