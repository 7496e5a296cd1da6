"""Answers are what the model said, rating by rating, and come back from their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recae.catalog import Catalog
from recae.evaluation import evaluate
from recae.evaluation.answers import Answers
from recae.models.base import Recommender
from recae.models.linear import Bias, Popular
from recae.ratings import Ratings
from recae.splits import Holdout
from recae.tracking.answers import read_answers, write_answers

DAY = 86_400


def holdout() -> Holdout:
    """Three users; u2 asks for an item nobody has rated, u3 has no history."""
    history = Ratings.of(
        ["u1", "u1", "u2", "u2"], ["a", "b", "a", "c"], [5, 3, 4, 2], [10 * DAY, 0, 5 * DAY, DAY]
    )
    target = Ratings.of(
        ["u1", "u1", "u2", "u3"], ["c", "d", "new", "a"], [4, 1, 5, 2], [2 * DAY, 0, DAY, 7]
    )
    return Holdout.of(history, target)


def train() -> Ratings:
    names = Catalog.of(
        ["a", "b", "d"], ["Alpha (1990)", "Beta", ""], [["Drama", "War"], [], ["War"]]
    )
    return Ratings.of(
        ["u1", "u1", "u2", "u2", "x"],
        ["a", "b", "a", "c", "d"],
        [5, 3, 4, 2, 1],
        scale=(1, 5),
        catalog=names,
    )


def answered(model: Recommender, n: int = 2) -> Answers:
    found = evaluate(model.fit(train(), rng=np.random.default_rng(0)), holdout(), n=n).answers
    assert found is not None
    return found


def test_every_target_has_its_line() -> None:
    found = answered(Bias())
    assert found.items.values.tolist() == ["a", "b", "c", "d", "new"]
    assert found.items.values[found.columns].tolist() == ["c", "d", "new", "a"]
    assert found.users.tolist() == [0, 0, 1, 2]
    assert found.stars.tolist() == [4, 1, 5, 2]
    # u1 began on day 0, u2 on day 1; u3 is asked for the first rating.
    assert found.days.tolist() == [2, 0, 0, 0]
    assert found.known.tolist() == [2, 2, 0]
    assert found.counts.tolist() == [2, 1, 1, 1, 0]
    assert found.catalog is not None
    assert found.catalog.titles.tolist() == ["Alpha (1990)", "Beta", "", "", ""]
    model = Bias().fit(train(), rng=np.random.default_rng(0))
    assert found.predicted.tolist() == model.predict_at(holdout()).tolist()


def test_lists_hold_the_best_unseen_items() -> None:
    found = answered(Popular(), n=3)
    names = [[found.items.values[row] for row in rows if row >= 0] for rows in found.lists]
    assert [sorted(some) for some in names[:2]] == [["c", "d"], ["b", "d"]]
    assert names[2][0] == "a"
    assert found.lists.shape == (3, 3)
    assert np.isnan(found.predicted).all()


def test_without_times_nobody_knows_since_when() -> None:
    asked = holdout()
    timeless = Holdout.of(
        Ratings.of(["u1"], ["a"], [5], scale=(1, 5)), Ratings.of(["u1"], ["b"], [4], scale=(1, 5))
    )
    model = Bias().fit(train(), rng=np.random.default_rng(0))
    found = evaluate(model, timeless).answers
    assert found is not None
    assert np.isnan(found.days).all()
    assert asked.target.times is not None


@pytest.mark.parametrize("model", [Bias(), Popular()])
def test_answers_come_back_from_their_files(model: Recommender, tmp_path: Path) -> None:
    written = answered(model, n=3)
    users = holdout().target.users
    write_answers(written, users, tmp_path)
    found = read_answers(users, tmp_path)
    assert found is not None
    assert found.items == written.items
    for name in ("users", "columns", "stars", "days", "low", "high", "lists", "known", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name), name)
    np.testing.assert_allclose(found.predicted, written.predicted, rtol=1e-6)
    assert found.catalog is not None
    assert written.catalog is not None
    assert found.catalog.genres == written.catalog.genres
    assert found.catalog.titles.tolist() == written.catalog.titles.tolist()
    assert found.catalog.years.tolist() == [1990, 0, 0, 0, 0]
    assert read_answers(users, tmp_path / "of an earlier version") is None
