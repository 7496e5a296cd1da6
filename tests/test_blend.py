"""Two heads: stars and what is liked, an order of both, and intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.errors import DataError, NotFittedError
from recae.evaluation import evaluate
from recae.metrics import ranking
from recae.models import AutoRec, Blend, load_model
from recae.models.blend import chosen_weight
from recae.models.linear import EASE, Bias, Popular
from recae.models.ranking import standard
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.splits import Holdout, random


def ratings() -> Ratings:
    """120 users, 40 items in two halves: everybody rates one half mostly, for what is watched tells
    nothing of stars, which are better the higher an item's id is within its half."""
    rng = np.random.default_rng(2)
    half = rng.integers(0, 2, 120)
    chance = np.where((np.arange(40) < 20) == (half == 0)[:, None], 0.55, 0.04)
    users, items = np.nonzero(rng.random((120, 40)) < chance)
    stars = np.clip(np.round(1.5 + (items % 20) / 5 + rng.normal(size=len(users)) * 0.6), 1, 5)
    return Ratings.of(users, items, stars, scale=(1, 5))


RATINGS = ratings()
SPLIT = random(RATINGS, test=0.2, rng=np.random.default_rng(0))
STARS = AutoRec.dual(k=4, training=Training(steps=60))


def blend(**settings: Any) -> Blend:
    return Blend(**{"stars": STARS, "liked": EASE(l2=5.0)} | settings)


@pytest.fixture(scope="module")
def model() -> Blend:
    return blend().fit(SPLIT.train, rng=np.random.default_rng(0))


def ndcg(model: Blend, by: str) -> float:
    history = SPLIT.test.history
    scores = model._ranked(history.over(model.fitted.items), by)[0]
    scores[history.rows, history.columns] = -np.inf
    target = SPLIT.test.target
    relevant = target.keep(target.stars >= 4).over(model.fitted.items).matrix
    return float(np.nanmean(ranking(scores, relevant, 5).ndcg))


def test_both_heads_together_find_more_than_either(model: Blend) -> None:
    assert model.weight > 0
    assert ndcg(model, "blend") > ndcg(model, "liked")
    assert ndcg(model, "blend") > ndcg(model, "stars")


def test_a_blend_is_the_sum_that_it_says(model: Blend) -> None:
    own = SPLIT.test.history.over(model.fitted.items)
    learned = model._get()
    wanted = standard(learned.liked.scores(own)) + model.weight * standard(
        learned.stars._stars(own)
    )
    np.testing.assert_allclose(model.scores(own), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model._ranked(own, "liked")[0], learned.liked.scores(own))


def test_everything_but_lists_is_the_stars_models(model: Blend) -> None:
    alone = model._get().stars
    np.testing.assert_array_equal(model.predict_at(SPLIT.test), alone.predict_at(SPLIT.test))
    assert model.provenance(SPLIT.test) == alone.provenance(SPLIT.test)
    person = model.history_of({3: 5.0, 7: 1.0})
    items = np.array([9, 30])
    np.testing.assert_array_equal(model.effects(person, items), alone.effects(person, items))


def test_the_weight_is_the_best_on_what_was_hidden() -> None:
    hidden = random(SPLIT.train, test=0.2, rng=np.random.default_rng(4)).test
    rng = np.random.default_rng(0)
    stars, liked = STARS.fresh().fit(hidden.history, rng=rng), EASE(l2=5.0)
    liked.fit(hidden.history, rng=rng)
    best = chosen_weight(stars, liked, hidden)
    own = hidden.history.over(liked.fitted.items)
    target = hidden.target.liked()
    people = np.flatnonzero(target.user_counts)

    def found(weight: float) -> float:
        scores = standard(liked.scores(own)) + weight * standard(stars._stars(own))
        scores[own.rows, own.columns] = -np.inf
        relevant = target.over(liked.fitted.items).take_users(people).matrix
        return float(np.nansum(ranking(scores[people].astype(np.float32), relevant, 10).ndcg))

    assert all(found(best) >= found(other) - 1e-6 for other in (0.0, 0.1, 0.4, 1.0, 3.0, 5.0))
    nobody = Holdout(hidden.history, hidden.target.keep(hidden.target.stars < 2))
    assert chosen_weight(stars, liked, nobody) == 0


def test_intervals_hold_the_share_that_they_promise() -> None:
    split = random(RATINGS, test=0.3, rng=np.random.default_rng(5))
    for level in (0.5, 0.8):
        model = blend(level=level).fit(split.train, rng=np.random.default_rng(1))
        target = split.test.target
        bounds = model.intervals_at(split.test)
        assert bounds is not None
        inside = float(((bounds[0] <= target.stars) & (target.stars <= bounds[1])).mean())
        assert abs(inside - level) < 0.1
        found = evaluate(model, split.test).metrics
        assert found["interval_coverage"] == pytest.approx(inside)
        assert found["interval_width"] == pytest.approx(float((bounds[1] - bounds[0]).mean()))


def test_the_lower_bound_is_where_intervals_begin(model: Blend) -> None:
    history = SPLIT.test.history
    found = model.recommend(history, 40, by="lower-bound", include_seen=True)
    assert found.low is not None
    inside = (found.scores > 1) & (found.scores < 5)
    np.testing.assert_allclose(found.low[inside], found.scores[inside], atol=1e-5)
    assert (np.diff(found.low, axis=1) <= 1e-6).all()


def test_with_few_ratings_there_are_lists_but_no_intervals() -> None:
    few = Ratings.of([1, 1, 2], [5, 6, 5], [4.0, 2.0, 5.0], scale=(1, 5))
    model = blend().fit(few, rng=np.random.default_rng(0))
    found = model.recommend(few, 1, include_seen=True)
    assert found.low is None
    assert model.intervals_at(Holdout(few.keep(few.stars > 2), few.keep(few.stars <= 2))) is None
    assert "low" not in found.to_frame()
    with pytest.raises(DataError, match="too few ratings to know how wrong it is"):
        model.recommend(few, 1, by="lower-bound")


def test_what_is_learned_is_kept(model: Blend, tmp_path: Path) -> None:
    again = load_model(model.save(tmp_path / "model"))
    assert isinstance(again, Blend)
    assert again.weight == model.weight
    for order in model.orders:
        ours, theirs = (m.recommend(SPLIT.test.history, 5, by=order) for m in (model, again))
        np.testing.assert_array_equal(ours.items, theirs.items)
        assert ours.low is not None
        assert theirs.low is not None
        np.testing.assert_array_equal(ours.low, theirs.low)


def test_the_usual_order_is_a_setting() -> None:
    model = blend(by="liked").fit(SPLIT.train, rng=np.random.default_rng(0))
    assert model.orders == ("liked", "blend", "stars", "lower-bound")
    own = SPLIT.test.history.over(model.fitted.items)
    np.testing.assert_array_equal(model.scores(own), model._get().liked.scores(own))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"stars": Popular()}, "stars: Popular only ranks: choose one like autorec-dual"),
        ({"liked": Bias()}, "liked: Bias predicts stars: choose one like mult-dae"),
        ({"liked": "ease"}, "liked must be a model"),
        ({"stars": Bias(), "liked": EASE()}, "one of the two models must have codes"),
        ({"by": "fame"}, "by must be one of"),
        ({"level": 1.0}, "level must be between 0 and 1"),
        ({"holdout": 0.0}, "holdout must be between 0 and 1"),
    ],
)
def test_settings_that_make_no_sense(settings: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        blend(**settings)


def test_a_blend_says_what_its_stars_say_of_chances() -> None:
    stars = AutoRec.dual(k=4, head="ordinal", training=Training(steps=20))
    model = blend(stars=stars).fit(SPLIT.train, rng=np.random.default_rng(0))
    chances = model.predict_distribution_at(SPLIT.test)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(chances @ model.levels, model.predict_at(SPLIT.test), rtol=1e-4)


def test_an_unfitted_blend_says_so() -> None:
    with pytest.raises(NotFittedError):
        _ = blend().weight
