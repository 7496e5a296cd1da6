"""What to ask for: the gain by brute force, the order of questions, and the script of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import asking
import numpy as np
import pytest
from cold_start import Setting
from numpy.typing import NDArray

from recae.asking import _NOISE, Interview, questions
from recae.errors import DataError
from recae.models import MODELS, AutoRec, MultinomialAutoencoder
from recae.models.blend import Blend
from recae.models.linear import EASE
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.recipes import ModelRecipe
from recae.splits import unseen_users

NOTHING = np.empty(0, dtype=np.int64)
QUICK = {"k": 3, "training": Training(steps=4)}


def world() -> Ratings:
    """60 users of 25 items, of which the first are the best known."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((60, 25)) < np.linspace(0.9, 0.1, 25))
    taste = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 25))
    stars = np.clip(np.round(3 + taste[users, items]), 1, 5)
    return Ratings.of(users, items + 100, stars, scale=(1, 5))


RATINGS = world()


@pytest.fixture(scope="module")
def model() -> AutoRec:
    return AutoRec.dual(**QUICK).fit(RATINGS, rng=np.random.default_rng(0))


def made_up(rank: int = 4) -> Interview:
    """12 items with vectors of 5, people who differ in `rank` directions."""
    rng = np.random.default_rng(rank)
    vectors = np.column_stack([rng.normal(size=(12, 4)), np.ones(12)])
    root = rng.normal(size=(5, rank))
    return Interview(vectors, root @ root.T, np.append(rng.random(11), 0))


def left(interview: Interview, rated: list[int]) -> float:
    """Expected squared error over items as often as they are rated, by the joint covariance of all
    ratings: no vector of a person is inferred."""
    among = interview.vectors @ interview.spread @ interview.vectors.T
    told = among[:, rated]
    noisy = among[np.ix_(rated, rated)] + _NOISE * np.eye(len(rated))
    after = among - told @ np.linalg.solve(noisy, told.T)
    return float(np.diag(after) @ interview.known / interview.known.sum())


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_each_question_is_the_best_and_gains_what_it_says(rank: int) -> None:
    interview, rated = made_up(rank), [2, 7]
    chosen, gains = interview.order(np.array(rated), 5, np.array([4]))
    seen = list(rated)
    for item, gain in zip(chosen.tolist(), gains, strict=True):
        everything = {
            i: interview.known[i] * (left(interview, seen) - left(interview, [*seen, i]))
            for i in range(12)
            if i not in (4, *seen)
        }
        assert item == max(everything, key=lambda i: everything[i])
        assert gain == pytest.approx(everything[item])
        seen.append(item)


def test_all_that_can_be_asked_and_no_more() -> None:
    interview = made_up()
    chosen, gains = interview.order(NOTHING, 10**9)
    # Nobody rated the last item.
    assert sorted(chosen.tolist()) == list(range(11))
    assert (gains > 0).all()
    assert not len(interview.order(np.arange(12), 3)[0])


def test_people_differ_as_the_codes_of_training_users_do(model: AutoRec) -> None:
    codes = model.encode(RATINGS)
    spread = model.user_spread()
    assert spread.shape == (4, 4)
    np.testing.assert_allclose(spread[:-1, :-1], np.cov(codes.T, ddof=0), atol=1e-6)
    interview = Interview.of(model)
    assert interview.spread[-1, -1] > spread[-1, -1]
    np.testing.assert_allclose(interview.known, RATINGS.item_counts / 60)


def test_questions_to_somebody_unknown_and_to_somebody_who_answered(model: AutoRec) -> None:
    first = questions(model, n=5)
    assert [set(each) for each in first] == [{"item", "known", "gain"}] * 5
    assert len({each["item"] for each in first}) == 5
    answers = {each["item"]: 4.0 for each in first[:2]}
    then = questions(model, answers, n=5)
    assert [each["item"] for each in then[:3]] == [each["item"] for each in first[2:]]
    assert questions(model, model.history_of(answers), n=5) == then
    unknown = [first[2]["item"]]
    assert first[2]["item"] not in {e["item"] for e in questions(model, answers, deny=unknown)}
    assert len(questions(model, answers, n=100)) == 23


def test_gains_are_in_stars_squared() -> None:
    """Of the same ratings on a scale twice as long."""
    wide = replace(RATINGS.with_stars(RATINGS.stars * 2), scale=(2.0, 10.0))
    gains = [
        questions(AutoRec.mf(**QUICK).fit(each, rng=np.random.default_rng(0)), n=3)
        for each in (RATINGS, wide)
    ]
    assert [e["item"] for e in gains[0]] == [e["item"] for e in gains[1]]
    np.testing.assert_allclose(
        [4 * e["gain"] for e in gains[0]], [e["gain"] for e in gains[1]], rtol=1e-3
    )


@pytest.mark.parametrize(
    ("history", "words", "sentence"),
    [
        (None, {"n": 0}, "n must be at least 1, not 0"),
        ({100: 9.0}, {}, "outside the scale"),
        ({99: 3.0}, {}, "99"),
        (None, {"deny": [99]}, "99"),
        (RATINGS, {}, "for one person, not for 60"),
    ],
)
def test_mistakes(model: AutoRec, history: Any, words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        questions(model, history, **words)


def test_a_model_without_codes_is_told_so() -> None:
    ease = EASE().fit(RATINGS, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="a EASE has no codes of what people like"):
        questions(ease)


def test_a_blend_asks_as_its_stars_do() -> None:
    stars, liked = AutoRec.dual(**QUICK), EASE()
    blend = Blend(stars=stars, liked=liked).fit(RATINGS, rng=np.random.default_rng(0))
    np.testing.assert_allclose(
        blend.user_spread()[:-1, :-1], np.cov(blend.encode(RATINGS).T, ddof=0), atol=1e-6
    )
    assert len(questions(blend, {100: 5.0})) == 10
    dae = MultinomialAutoencoder.dae(k=3, training=Training(steps=4))
    plain = Blend(stars=MODELS["bias"](), liked=dae)
    plain.fit(RATINGS, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="the stars of this blend are a Bias's, without codes"):
        questions(plain)


# --- the script


@pytest.fixture(scope="module")
def given() -> Setting:
    rng = np.random.default_rng(1)
    split = unseen_users(RATINGS, test=0.3, validation=0.2, target=0.3, rng=rng)
    return Setting(split, {"mf": ModelRecipe("mf", "mf", AutoRec.mf(**QUICK))})


def test_answers_are_what_is_asked_for_and_known(given: Setting) -> None:
    history = given.split.test.history
    asked: NDArray[np.int64] = np.tile(np.arange(4), (len(history.users), 1))
    asked[1] = [5, 6, 7, 8]
    known = asking.answered(history, asked)
    dense, all_known = known.matrix.toarray(), history.matrix.toarray()
    np.testing.assert_array_equal(dense[0, :4], all_known[0, :4])
    np.testing.assert_array_equal(dense[1, 5:9], all_known[1, 5:9])
    assert not dense[0, 4:].any()
    assert not dense[1, :5].any()


def test_orders(given: Setting) -> None:
    train, history = given.split.train, given.split.test.history
    mf = given.models["mf"].build().fit(train, rng=np.random.default_rng(0))
    asker = asking.Asker(mf, train, 0)
    for name, order in asking.ORDERS.items():
        rows = order(asker, history, 12)
        assert rows.shape == (len(history.users), 12), name
        assert all(len(set(row)) == 12 for row in rows.tolist()), name
    counts = train.item_counts[asking.popular(asker, history, 12)[0]]
    assert (np.diff(counts) <= 0).all()


def test_adaptive_questions_follow_the_answers(
    given: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = given.split.test.history
    vectors = np.random.default_rng(0).normal(size=(25, 4))
    interview = Interview(vectors, np.eye(4), np.linspace(0.9, 0.1, 25))
    monkeypatch.setattr(asking.Interview, "of", lambda model: interview)
    asker = asking.Asker(AutoRec.mf(), given.split.train, 0)
    once, rows = (asking.ORDERS[name](asker, history, 8) for name in ("questions", "adaptive"))
    np.testing.assert_array_equal(rows[:, :5], once[:, :5])
    assert len(np.unique(rows[:, 5:], axis=0)) > 1
    for user, asked in enumerate(rows):
        known = np.intersect1d(asked[:5], history.take_users(np.array([user])).columns)
        np.testing.assert_array_equal(asked[5:], interview.order(known, 3, asked[:5])[0])


def test_the_table(given: Setting) -> None:
    found = asking.scored(given, ["popular", "questions"], [2, 25], [0, 1], "validation")
    # Whoever is asked for everything has said everything, in any order.
    everything = [of[25].rmse.values[0] for of in found.values()]
    assert everything[0] == pytest.approx(everything[1])
    assert found["popular"][2].answers >= found["questions"][2].answers
    _, _, popular, questioned = asking.table(found).splitlines()
    assert popular.startswith("| popular | ")
    assert "+0.0000 [" in questioned or "-0.0000 [" in questioned


def test_mistakes_in_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (["--orders", "alphabetical"], "no order 'alphabetical'"),
        (["ml-25m"], "no recipe for 'ml-25m'"),
        (["ml-latest-small", "--model", "dual"], "no model 'dual'"),
    ):
        assert asking.main(words) == 2
        assert sentence in capsys.readouterr().err
