"""An evaluation asked again with shorter lists, from the lists that it kept.

U users, R target ratings, L the length of the kept lists, n that of the shorter ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recae import metrics
from recae.errors import DataError
from recae.evaluation.answers import Answers
from recae.evaluation.beyond import mean
from recae.evaluation.scoring import RANKING, Evaluation

Floats: TypeAlias = NDArray[np.float64]


def shortened(evaluation: Evaluation, n: int) -> Evaluation:
    """The metrics of the n best of every list; what else is known of lists is left out, for it
    takes the model to tell. Items that a model scored alike stand as they were listed.

    Raises DataError for n below 1 or beyond the lists, and for an evaluation that kept none.
    """
    answers = evaluation.answers
    if answers is None:
        raise DataError("this evaluation kept no lists: evaluate the model anew")
    if not 1 <= n <= evaluation.n:
        raise DataError(f"lists are {evaluation.n} long: ask for 1 to {evaluation.n}, not {n}")
    ranked = metrics.ranking(*_places(answers, evaluation.protocol["relevant"]), n)
    of_lists = {f"{name}_at_{n}": getattr(ranked, its) for name, its in RANKING.items()}
    longer = f"_at_{evaluation.n}"
    kept = {k: v for k, v in evaluation.metrics.items() if not k.endswith(longer)}
    by_user = {k: v for k, v in evaluation.by_user.items() if not k.endswith(longer)}
    return replace(
        evaluation,
        metrics=kept | {name: mean(values) for name, values in of_lists.items()},
        protocol=evaluation.protocol | {"n": n},
        by_user=by_user | of_lists,
        answers=replace(answers, lists=answers.lists[:, :n]),
    )


def _places(answers: Answers, relevant: float) -> tuple[Floats, sparse.csr_array]:
    """Scores of the places of a list [U, L + most], and which of them are targets; behind the list
    stand the targets that are not in it, which cannot be found."""
    liked = answers.stars >= relevant
    users, columns = answers.users[liked], answers.columns[liked]
    found = answers.lists[users] == columns[:, None]
    length = answers.lists.shape[1]
    inside = found.any(axis=1)
    order = np.argsort(users[~inside], kind="stable")
    missed = users[~inside][order]
    first = np.searchsorted(missed, missed, side="left")
    places = np.empty(len(users), dtype=np.int64)
    places[inside] = found[inside].argmax(axis=1)
    places[np.flatnonzero(~inside)[order]] = length + np.arange(len(missed)) - first
    width = max(int(places.max(initial=-1)) + 1, length)
    scores = np.full((len(answers.lists), width), -np.inf)
    scores[:, :length] = np.where(answers.lists >= 0, -np.arange(length), -np.inf)
    ones = np.ones(len(users))
    targets = sparse.csr_array((ones, (users, places)), shape=scores.shape)
    targets.sort_indices()
    return scores, targets
