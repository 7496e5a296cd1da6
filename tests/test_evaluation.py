"""`evaluate` against loops over dicts, nothing dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import comb, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recae import splits
from recae.errors import DataError, NotFittedError
from recae.evaluation import RANKING, Evaluation, evaluate, scoring
from recae.models import MODELS, AutoRec
from recae.models.base import Floats, Recommender
from recae.models.linear import Bias, Popular
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.splits import Holdout

HALF_STARS = (0.5, 5.0)


@dataclass(eq=False)
class Told(Recommender):
    """Says what it is told: (user id, item id) -> stars, else `otherwise`."""

    table: dict[tuple[int, int], float] = field(default_factory=dict)
    otherwise: float = 3.0

    def _learn(self, *_: Any) -> None:
        """Nothing."""

    def _stars(self, history: Ratings) -> Floats:
        items, users = self.fitted.items.values.tolist(), history.users.values.tolist()
        rows = [[self.table.get((u, i), self.otherwise) for i in items] for u in users]
        return np.array(rows, dtype=np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Nothing."""


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rated(entries: dict[tuple[int, int], float], scale: tuple[float, float] = (1, 5)) -> Ratings:
    users, items = zip(*entries, strict=True)
    return Ratings.of(users, items, list(entries.values()), scale=scale)


def some_ratings(n_users: int = 14, n_items: int = 11, seed: int = 3) -> Ratings:
    """Two thirds of all pairs, in half stars, ids that are no row numbers."""
    rng = rng_of(seed)
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.67)
    stars = rng.integers(1, 11, len(users)) / 2
    return Ratings.of(users * 10 + 7, items * 3 + 1000, stars, scale=HALF_STARS)


def as_dict(ratings: Ratings) -> dict[tuple[int, int], float]:
    users = ratings.users.values[ratings.rows].tolist()
    items = ratings.items.values[ratings.columns].tolist()
    return dict(zip(zip(users, items, strict=True), ratings.stars.tolist(), strict=True))


def of_list(ranked: list[int], relevant: set[int], n: int) -> dict[str, float]:
    """The ranking metrics of one list without ties, as in the textbook."""
    ranks = [rank for rank, item in enumerate(ranked[:n], 1) if item in relevant]
    most = min(n, len(relevant))
    return {
        "ndcg": sum(1 / log2(r + 1) for r in ranks) / sum(1 / log2(r + 2) for r in range(most)),
        "recall": len(ranks) / len(relevant),
        "recall_min": len(ranks) / most,
        "precision": len(ranks) / n,
        "map": sum(hits / rank for hits, rank in enumerate(ranks, 1)) / most,
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "hit": float(bool(ranks)),
    }


def assert_same(one: Evaluation, other: Evaluation) -> None:
    assert one.metrics == pytest.approx(other.metrics, nan_ok=True)
    assert (one.counts, one.protocol) == (other.counts, other.protocol)
    assert one.users == other.users
    assert one.by_user.keys() == other.by_user.keys()
    for name, values in one.by_user.items():
        np.testing.assert_allclose(values, other.by_user[name])


def told_in_random_order(ratings: Ratings, low: float = -1, high: float = 7) -> Told:
    """Every pair has a score of its own, some of them outside the scale."""
    pairs = [(u, i) for u in ratings.users.values.tolist() for i in ratings.items.values.tolist()]
    scores = rng_of(5).permutation(np.linspace(low, high, len(pairs))).tolist()
    return Told(dict(zip(pairs, scores, strict=True)))


# --- values


@pytest.mark.parametrize("n", [1, 3, 10, 50])
@pytest.mark.parametrize("relevant", [None, 2.5])
def test_all_metrics_agree_with_loops(n: int, relevant: float | None) -> None:
    ratings = some_ratings()
    split = splits.random(ratings, test=0.4, rng=rng_of())
    model = told_in_random_order(ratings).fit(split.train, rng=rng_of())
    found = evaluate(model, split.test, n=n, relevant=relevant)

    threshold = 3.875 if relevant is None else relevant
    train, target = as_dict(split.train), as_dict(split.test.target)
    errors = {pair: min(max(model.table[pair], 0.5), 5.0) - stars for pair, stars in target.items()}
    by_user: dict[int, list[float]] = {}
    for (user, _), error in errors.items():
        by_user.setdefault(user, []).append(error)
    expected = {
        "rmse": np.sqrt(np.mean([e**2 for e in errors.values()])),
        "mae": np.mean([abs(e) for e in errors.values()]),
        "rmse_macro": np.mean([np.sqrt(np.mean(np.square(es))) for es in by_user.values()]),
        "mae_macro": np.mean([np.mean(np.abs(es)) for es in by_user.values()]),
    }
    items = ratings.items.values.tolist()
    lists, scored = [], []
    for user in by_user:
        candidates = [item for item in items if (user, item) not in train]
        ranked = sorted(candidates, key=lambda item: -model.table[user, item])
        lists.append(ranked[:n])
        likes = {i for (u, i), stars in target.items() if u == user and stars >= threshold}
        if likes:
            scored.append(of_list(ranked, likes, n))
    for name in RANKING:
        expected[f"{name}_at_{n}"] = np.mean([values[name] for values in scored])
    shown = [item for some in lists for item in some]
    raters = {item: sum(i == item for _, i in train) for item in items}
    n_users = len(ratings.users)
    expected[f"item_coverage_at_{n}"] = len(set(shown)) / len(items)
    bits = {item: log2((n_users + 1) / (count + 1)) for item, count in raters.items()}
    expected[f"novelty_at_{n}"] = np.mean([np.mean([bits[i] for i in some]) for some in lists])
    times = sorted(shown.count(item) for item in items)
    pairs = [abs(one - other) for one in times for other in times]
    expected[f"gini_at_{n}"] = sum(pairs) / (2 * (len(items) - 1) * sum(times))
    histories = {user: [i for u, i in train if u == user] for user in by_user}
    lifts, surprises = [], []
    by_counts = sorted(items, key=lambda item: -raters[item])
    for user, some in zip(by_user, lists, strict=True):
        usual = np.mean([raters[item] for item in histories[user]])
        lifts.append((np.mean([raters[item] for item in some]) - usual) / usual)
        likes = {i for (u, i), stars in target.items() if u == user and stars >= threshold}
        popular = [item for item in by_counts if item not in histories[user]][:n]
        if likes:
            surprises.append(len(set(some) & likes - set(popular)) / min(n, len(items)))
    expected[f"popularity_lift_at_{n}"] = np.mean(lifts)
    expected[f"serendipity_at_{n}"] = np.mean(surprises)
    assert found.metrics == pytest.approx(expected, rel=1e-5)
    assert found.counts["ranked users"] == len(scored)
    assert found.users.values.tolist() == sorted(by_user)
    assert found.n == n
    assert found.protocol["relevant"] == threshold


def test_by_user_values_add_up_to_the_metrics() -> None:
    split = splits.random(some_ratings(), test=0.3, rng=rng_of(1))
    found = evaluate(Bias().fit(split.train, rng=rng_of()), split.test, n=4)
    ratings = found.by_user["ratings"]
    assert ratings.sum() == len(split.test.target) == found.counts["ratings"]
    rmse = np.sqrt(found.by_user["squared_error"].sum() / ratings.sum())
    assert found.metrics["rmse"] == pytest.approx(rmse)
    mae = found.by_user["absolute_error"].sum() / ratings.sum()
    assert found.metrics["mae"] == pytest.approx(mae)
    for name in RANKING:
        assert found.metrics[f"{name}_at_4"] == pytest.approx(
            np.nanmean(found.by_user[f"{name}_at_4"])
        )
    assert all(len(values) == len(found.users) for values in found.by_user.values())


def test_predictions_are_clipped_to_the_half_star_scale() -> None:
    train = rated({(1, 1): 0.5, (1, 2): 5, (2, 1): 3}, HALF_STARS)
    target = rated({(2, 2): 5, (2, 3): 0.5}, HALF_STARS)
    model = Told({(2, 2): 9.0}, otherwise=-4).fit(
        rated({(1, 1): 0.5, (1, 2): 5, (2, 1): 3, (1, 3): 1}, HALF_STARS), rng=rng_of()
    )
    assert evaluate(model, Holdout.of(train, target)).metrics["rmse"] == 0


def test_a_constant_model_scores_what_chance_scores() -> None:
    """One user, 12 candidates, 5 of them relevant, all tied; and a second one as heavy."""
    items = range(20)
    history = {(u, i): 3.0 for u in (1, 2) for i in range(8)}
    target = {(u, i): 5.0 for u in (1, 2) for i in range(10, 15)}
    train = rated(history | {(9, i): 2.0 for i in items})
    found = evaluate(
        Told().fit(train, rng=rng_of()), Holdout.of(rated(history), rated(target)), n=4
    ).metrics
    discounts = [1 / log2(rank + 1) for rank in range(1, 5)]
    assert found["ndcg_at_4"] == pytest.approx(5 / 12)
    assert found["recall_at_4"] == pytest.approx(4 / 12)
    assert found["recall_min_at_4"] == pytest.approx(5 / 12)
    assert found["precision_at_4"] == pytest.approx(5 / 12)
    assert found["hit_at_4"] == pytest.approx(1 - comb(7, 4) / comb(12, 4))
    assert sum(discounts) > 1


def test_a_list_longer_than_the_catalogue() -> None:
    train = rated({(1, 1): 5, (1, 2): 4, (2, 1): 2, (2, 3): 1})
    target = rated({(2, 2): 5})
    found = evaluate(
        Bias().fit(train, rng=rng_of()), Holdout.of(rated({(2, 1): 2, (2, 3): 1}), target), n=50
    ).metrics
    assert found["recall_at_50"] == found["ndcg_at_50"] == found["hit_at_50"] == 1
    assert found["precision_at_50"] == pytest.approx(1 / 50)
    assert found["item_coverage_at_50"] == pytest.approx(1 / 3)


# --- what is ranked


def test_all_items_but_the_history_are_ranked() -> None:
    """Rated low by the user, never rated by anybody, rated in the test set: all are candidates."""
    train = rated({(1, 1): 5, (1, 2): 5, (2, 2): 3, (2, 3): 3, (2, 4): 3, (2, 5): 3})
    history = rated({(1, 1): 5, (1, 2): 5})
    target = rated({(1, 3): 1, (1, 4): 5})
    holdout = Holdout.of(history, target)
    best = {(1, 1): 5.0, (1, 2): 4.9, (1, 3): 4.8, (1, 5): 4.7, (1, 4): 4.6}
    found = evaluate(Told(best, otherwise=1).fit(train, rng=rng_of()), holdout, n=3).metrics
    # The history is left out; the disliked target and the item nobody asked for come first.
    assert found["mrr_at_3"] == pytest.approx(1 / 3)
    assert found["item_coverage_at_3"] == pytest.approx(3 / 5)


def test_an_item_that_nobody_rated_is_a_candidate() -> None:
    everything = rated({(1, 1): 5, (2, 2): 4, (2, 3): 5, (1, 3): 5})
    mask = np.array([False, True, False, True])
    split = splits.by_mask(everything, mask, rng=rng_of())
    assert (split.train.item_counts == 0).any()
    found = evaluate(Told({(1, 2): 5.0}).fit(split.train, rng=rng_of()), split.test, n=1)
    assert found.users.values.tolist() == [1, 2]
    assert found.by_user["hit_at_1"][0] == 0
    assert found.counts == {
        "ordinary": 0,
        "folded in": 0,
        "fallback": 2,
        "ratings": 2,
        "ranked users": 2,
    }


def test_users_without_relevant_targets_are_left_out_and_counted() -> None:
    train = rated({(u, i): 3.0 for u in range(4) for i in range(3)} | {(9, 5): 4, (9, 6): 2})
    history = rated({(u, i): 3.0 for u in range(4) for i in range(3)})
    target = rated({(0, 5): 5, (1, 5): 2, (2, 6): 1, (3, 6): 4})
    found = evaluate(Told({(0, 5): 5.0}).fit(train, rng=rng_of()), Holdout.of(history, target), n=1)
    assert found.counts["ranked users"] == 2
    assert found.counts["ratings"] == 4
    assert np.isnan(found.by_user["ndcg_at_1"]).tolist() == [False, True, True, False]
    # User 3's only relevant item is tied with the other candidate: half a hit.
    assert found.metrics["hit_at_1"] == pytest.approx((1 + 0.5) / 2)
    assert "for 2 users with a rating of at least 4" in found.summary
    assert "4 ratings of 4 users" in str(found)


def test_nobody_with_relevant_targets() -> None:
    split = splits.random(some_ratings(), test=0.3, rng=rng_of())
    found = evaluate(Bias().fit(split.train, rng=rng_of()), split.test, relevant=6)
    assert found.counts["ranked users"] == 0
    assert np.isnan(found.metrics["ndcg_at_10"])
    assert np.isfinite(found.metrics["rmse"])


def test_users_without_targets_do_not_count() -> None:
    """A user with a history alone is neither scored nor shown a list."""
    history = rated({(1, 1): 5, (2, 2): 4, (3, 3): 5, (3, 1): 1})
    target = rated({(1, 2): 5})
    wide = Holdout(history, target.with_users(history.users).over(history.items))
    model = Bias().fit(history, rng=rng_of())
    assert_same(evaluate(model, wide), evaluate(model, Holdout.of(history, target)))


# --- nothing is dropped


@pytest.fixture
def cold() -> tuple[Ratings, Holdout]:
    """Training ratings, and targets of known, new and history-less users on known and unknown
    items, item 4 being one that only has an empty column."""
    train = rated(
        {(1, 1): 5, (1, 2): 3, (2, 1): 4, (2, 3): 1, (3, 2): 2, (3, 3): 5, (3, 1): 4, (3, 4): 2}
    )
    train = train.keep(~((train.rows == 2) & (train.columns == 3)))
    history = rated(
        {(1, 1): 5, (1, 2): 3, (2, 1): 4, (2, 3): 2, (50, 1): 1, (50, 77): 5, (51, 77): 3}
    )
    target = rated(
        {
            (1, 3): 4,  # known user, known item
            (1, 4): 5,  # an item without ratings
            (1, 99): 5,  # an item the model does not know
            (2, 2): 1,  # a known user with a changed history
            (50, 2): 4,  # a new user
            (50, 99): 2,
            (51, 3): 5,  # a user all of whose history is unknown
            (60, 1): 5,  # a user without a history
            (60, 98): 1,
        }
    )
    return train, Holdout.of(history, target)


def test_every_target_rating_counts(cold: tuple[Ratings, Holdout]) -> None:
    train, holdout = cold
    found = evaluate(Bias().fit(train, rng=rng_of()), holdout, n=2)
    assert found.counts == {
        "ordinary": 1,
        "folded in": 2,
        "fallback": 6,
        "ratings": 9,
        "ranked users": 4,
    }
    assert found.by_user["ratings"].tolist() == [3, 1, 2, 1, 2]
    assert found.users.values.tolist() == [1, 2, 50, 51, 60]


def test_rmse_is_over_every_target_rating(cold: tuple[Ratings, Holdout]) -> None:
    train, holdout = cold
    model = Bias().fit(train, rng=rng_of())
    mu = model.fitted.baseline.mu
    items = dict(
        zip(model.fitted.items.values.tolist(), model.fitted.baseline.items.tolist(), strict=True)
    )
    history = as_dict(holdout.history)
    squares = []
    for (user, item), stars in as_dict(holdout.target).items():
        own = [s - mu - items[i] for (u, i), s in history.items() if u == user and i in items]
        said = mu + sum(own) / (10 + len(own)) + items.get(item, 0.0)
        squares.append((min(max(said, 1), 5) - stars) ** 2)
    assert len(squares) == 9
    found = evaluate(model, holdout).metrics["rmse"]
    assert found == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)


def test_unknown_items_stay_in_the_denominators(cold: tuple[Ratings, Holdout]) -> None:
    train, holdout = cold
    found = evaluate(Told({(1, 4): 5.0}, otherwise=1).fit(train, rng=rng_of()), holdout, n=2)
    recall = dict(zip(found.users.values.tolist(), found.by_user["recall_at_2"], strict=True))
    # User 1 likes items 3, 4 and 99, of which the last cannot be found; both candidates can.
    assert recall[1] == pytest.approx(2 / 3)
    assert np.isnan(recall[2])
    ndcg = dict(zip(found.users.values.tolist(), found.by_user["ndcg_at_2"], strict=True))
    assert ndcg[1] == pytest.approx(1)
    three = evaluate(Told({(1, 4): 5.0}, otherwise=1).fit(train, rng=rng_of()), holdout, n=3)
    ideal = sum(1 / log2(rank + 1) for rank in (1, 2, 3))
    assert three.by_user["ndcg_at_3"][0] == pytest.approx((1 + 1 / log2(3)) / ideal)


def test_a_user_all_of_whose_likes_are_unknown_scores_zero() -> None:
    train = rated({(1, 1): 5, (1, 2): 1, (2, 1): 3})
    found = evaluate(
        Bias().fit(train, rng=rng_of()), Holdout.of(rated({(2, 1): 3}), rated({(2, 9): 5}))
    )
    assert found.counts["ranked users"] == 1
    assert found.metrics["ndcg_at_10"] == found.metrics["recall_at_10"] == 0


@pytest.mark.parametrize("name", ["mf", "autorec-dual", "autorec-item", "implicit-als", "popular"])
def test_real_models_score_every_target(name: str, cold: tuple[Ratings, Holdout]) -> None:
    train, holdout = cold
    model = small(name).fit(train, rng=rng_of())
    found = evaluate(model, holdout, n=3)
    counts = found.counts
    assert counts["ordinary"] + counts["folded in"] + counts["fallback"] == counts["ratings"] == 9
    if model.predicts_stars:
        assert found.by_user["ratings"].sum() == 9
        assert np.isfinite(found.metrics["rmse"])


def small(name: str) -> Recommender:
    """A model of the registry, as small as it goes."""
    from recae.nn.training import Training

    match name:
        case "bias" | "popular":
            return MODELS[name]()
        case "implicit-als":
            return MODELS[name](k=2, iterations=2)
    return MODELS[name](k=2, training=Training(steps=3))


def test_models_that_only_rank_have_no_stars() -> None:
    split = splits.random(some_ratings(), test=0.3, rng=rng_of())
    found = evaluate(Popular().fit(split.train, rng=rng_of()), split.test)
    assert all(np.isnan(found.metrics[m]) for m in ("rmse", "mae", "rmse_macro", "mae_macro"))
    assert np.isfinite(found.metrics["ndcg_at_10"])
    assert "squared_error" not in found.by_user
    assert found.counts["ratings"] == len(split.test.target)


def test_blocks_of_users_change_nothing(
    monkeypatch: pytest.MonkeyPatch, cold: tuple[Ratings, Holdout]
) -> None:
    ratings = some_ratings()
    split = splits.random(ratings, test=0.4, rng=rng_of())
    told = told_in_random_order(ratings).fit(split.train, rng=rng_of())
    bias = Bias().fit(cold[0], rng=rng_of())
    whole = evaluate(told, split.test, n=3), evaluate(bias, cold[1], n=3)
    monkeypatch.setattr(scoring, "_BLOCK", 23)
    assert_same(evaluate(told, split.test, n=3), whole[0])
    assert_same(evaluate(bias, cold[1], n=3), whole[1])


# --- which split it was does not matter


def test_evaluate_knows_the_holdout_alone() -> None:
    ratings = some_ratings()
    mask = rng_of(8).random(len(ratings)) < 0.3
    split = splits.by_mask(ratings, mask, rng=rng_of())
    other = splits.predefined(ratings, ratings.keep(mask), rng=rng_of(99))
    model = Bias().fit(split.train, rng=rng_of())
    first = evaluate(model, split.test)
    assert_same(first, evaluate(model, other.test))
    assert_same(first, evaluate(model, Holdout.of(split.train, ratings.keep(mask))))


def test_protocol_tells_holdouts_scales_and_candidates_apart() -> None:
    ratings = some_ratings()
    one, two = (splits.random(ratings, test=0.3, rng=rng_of(seed)) for seed in (0, 1))
    model = Bias().fit(one.train, rng=rng_of())
    first = evaluate(model, one.test).protocol
    assert evaluate(model, two.test).protocol["holdout"] != first["holdout"]
    assert evaluate(Popular().fit(one.train, rng=rng_of()), one.test).protocol == first
    fewer = one.train.over(type(ratings.items)(ratings.items.values[:-1]))
    narrow = Bias().fit(fewer, rng=rng_of())
    assert evaluate(narrow, one.test).protocol["candidates"] != first["candidates"]
    assert first["scale"] == [0.5, 5.0]


# --- misuse and display


def test_refusals(tmp_path: Path) -> None:
    ratings = some_ratings()
    split = splits.random(ratings, test=0.3, rng=rng_of())
    model = Bias().fit(split.train, rng=rng_of())
    nothing = Holdout(split.train, ratings.keep(np.zeros(len(ratings), dtype=bool)))
    with pytest.raises(DataError, match="no target ratings"):
        evaluate(model, nothing)
    with pytest.raises(DataError, match="n must be at least 1, not 0"):
        evaluate(model, split.test, n=0)
    with pytest.raises(NotFittedError):
        evaluate(Bias(), split.test)


def test_it_shows_itself() -> None:
    split = splits.random(some_ratings(), test=0.3, rng=rng_of())
    found = evaluate(Bias().fit(split.train, rng=rng_of()), split.test)
    text, html = str(found), found._repr_html_()
    for name, value in found.metrics.items():
        assert name in text
        assert f"{value:.4f}" in text
        assert f"<td>{value:.4f}</td>" in html
    assert found.summary in text


def test_lists_by_rules_are_those_that_are_recommended() -> None:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 25)) < 0.4)
    ratings = Ratings.of(users, items, rng.integers(1, 6, len(users)), scale=(1, 5))
    split = splits.random(ratings, test=0.3, rng=rng)
    model = AutoRec.dual(k=4, training=Training(steps=20)).fit(split.train, rng=rng)
    plain, stated = evaluate(model, split.test), evaluate(model, split.test, by="stars")
    assert plain.metrics == pytest.approx(stated.metrics)
    moved = evaluate(model, split.test, n=5, popularity=-0.6, diversity=0.3)
    assert moved.answers is not None
    history = split.test.history.take_users(np.flatnonzero(split.test.target.user_counts))
    listed = model.recommend(history, 5, popularity=-0.6, diversity=0.3)
    np.testing.assert_array_equal(moved.answers.lists, listed.items)
    assert moved.metrics["novelty_at_5"] > evaluate(model, split.test, n=5).metrics["novelty_at_5"]
    assert moved.metrics["rmse"] == plain.metrics["rmse"]
    with pytest.raises(DataError, match="does not rank by liked"):
        evaluate(model, split.test, by="liked")
