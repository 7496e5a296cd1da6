"""Implausible ratings and users: by hand, by counting, and on attacks that must be found."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from recae import anomalies
from recae.anomalies import Injected, Judgement, expected, judge
from recae.catalog import Catalog
from recae.errors import DataError
from recae.metrics import auc
from recae.models import AutoRec, Recommender
from recae.models.linear import Bias, Popular
from recae.nn.training import Training
from recae.ratings import Ratings

U, N = 40, 30


def tastes(rng: np.random.Generator, *, words: bool = False) -> Ratings:
    """Two tastes, each liking another half of the items, half of the matrix."""
    users, items = np.nonzero(rng.random((U, N)) < 0.5)
    liked = (users % 2 == items % 2) * 3.0 + 1
    stars = np.clip(np.round(liked + rng.normal(0, 0.5, len(users))), 1, 5)
    names = np.array([f"u{user:02d}" for user in users]) if words else users + 1
    return Ratings.of(names, items + 100, stars, scale=(1, 5))


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return tastes(np.random.default_rng(0))


@pytest.fixture(scope="module")
def models(ratings: Ratings) -> list[Recommender]:
    training = Training(steps=60)
    return [
        model.fit(ratings, rng=np.random.default_rng(0))
        for model in (
            Bias(),
            AutoRec.mf(k=4, training=training),
            AutoRec.dual(k=4, training=training),
        )
    ]


def by_hand() -> Judgement:
    """Three users, three items, expectations as stated."""
    ratings = Ratings.of([1, 1, 1, 2, 2, 3], [1, 2, 3, 1, 2, 1], [5, 1, 3, 4, 4, 2], scale=(1, 5))
    return Judgement(ratings, np.array([4.0, 3.0, 3.0, 4.0, 3.0, 4.0]))


# --- what is expected


def test_a_rating_is_not_in_its_own_expectation(
    ratings: Ratings, models: list[Recommender]
) -> None:
    place = 17
    for model in models:
        before = expected(model, ratings, rng=np.random.default_rng(1))
        changed = ratings.stars.copy()
        changed[place] = 1 if changed[place] > 3 else 5
        after = expected(model, ratings.with_stars(changed), rng=np.random.default_rng(1))
        assert after[place] == before[place]
        others = ratings.rows == ratings.rows[place]
        assert (after[others] != before[others]).any(), "it is in those of its user's others"


def test_every_rating_is_hidden_once_and_parts_are_even(ratings: Ratings) -> None:
    fold = anomalies._dealt(ratings, 4, np.random.default_rng(0))
    for user in range(len(ratings.users)):
        dealt = np.bincount(fold[ratings.rows == user], minlength=4)
        assert dealt.max() - dealt.min() <= 1
    assert fold.shape == (len(ratings),)


def test_expectations_are_stars_and_know_tastes(
    ratings: Ratings, models: list[Recommender]
) -> None:
    bias, _, dual = (expected(model, ratings, rng=np.random.default_rng(1)) for model in models)
    assert (bias >= 1).all()
    assert (dual <= 5).all()
    assert np.mean((dual - ratings.stars) ** 2) < np.mean((bias - ratings.stars) ** 2) / 2


def test_one_rating_alone_is_judged_too(models: list[Recommender]) -> None:
    alone = Ratings.of([900], [100], [5], scale=(1, 5))
    judged = judge(models[1], alone, rng=np.random.default_rng(0))
    assert np.isfinite(judged.surprise).all()
    assert np.isfinite(judged.suspicion).all()


def test_what_cannot_be_judged(ratings: Ratings, models: list[Recommender]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="Popular only ranks"):
        expected(Popular().fit(ratings, rng=rng), ratings, rng=rng)
    with pytest.raises(DataError, match="no ratings to judge"):
        expected(models[0], ratings.keep(np.zeros(len(ratings), dtype=bool)), rng=rng)
    with pytest.raises(DataError, match="at least 2, not 1"):
        expected(models[0], ratings, folds=1, rng=rng)


# --- how implausible


def test_surprise_by_hand() -> None:
    judged = by_hand()
    squares = np.array([1.0, 4.0, 0.0, 0.0, 1.0, 4.0])
    np.testing.assert_allclose(judged.residuals, [1, -2, 0, 0, 1, -2])
    overall = 10 * squares.mean()
    # User 1 without the rating of item 2: 1 and 0; item 2 without that of user 1: 1.
    user, item = (1 + 0 + overall) / (2 + 10), (1 + overall) / (1 + 10)
    assert judged.surprise[1] == pytest.approx(2 / np.sqrt((user + item) / 2))
    assert judged.surprise[2] == 0


def test_suspicion_is_a_distance_that_counts_errors_twice() -> None:
    rng = np.random.default_rng(3)
    ratings = tastes(rng)
    noise = rng.normal(0, 0.5, len(ratings))
    wrong, right = 5, 6
    noise[ratings.rows == wrong] *= 4
    noise[ratings.rows == right] *= 0.25
    judged = Judgement(ratings, ratings.stars + noise)
    assert (judged.suspicion >= 0).all()
    assert judged.suspicion.argmax() == wrong
    assert judged.suspicion[wrong] > 2 * judged.suspicion[right]


def test_users_without_ratings_are_not_suspicious(ratings: Ratings) -> None:
    empty = ratings.keep(ratings.rows > 0)
    judged = Judgement(empty, np.full(len(empty), 3.0))
    assert judged.suspicion[0] == 0
    assert np.isfinite(judged.suspicion).all()
    assert anomalies.user_variance(empty)[0] == 0


def test_ratings_that_are_all_foreseen(ratings: Ratings) -> None:
    judged = Judgement(ratings, ratings.stars.astype(np.float64))
    assert not judged.surprise.any()
    assert np.isfinite(judged.suspicion).all()


def test_baselines_by_hand() -> None:
    ratings = by_hand().ratings
    np.testing.assert_allclose(anomalies.user_variance(ratings), [8 / 3, 0, 0], atol=1e-12)
    items = [11 / 3, 2.5, 3]
    first = (5 - items[0]) + (items[1] - 1) + 0
    second = (4 - items[0]) + (4 - items[1])
    np.testing.assert_allclose(
        anomalies.user_deviation(ratings), [first / 3, second / 2, items[0] - 2]
    )
    np.testing.assert_allclose(anomalies.from_user_mean(ratings), [2, 2, 0, 0, 0, 0])
    np.testing.assert_allclose(
        anomalies.user_obscurity(ratings), -np.log([6 ** (1 / 3), 6**0.5, 3])
    )


# --- cleaning


def test_cleaning_by_hand() -> None:
    judged = by_hand()
    worst = np.argsort(-judged.surprise)[:2]
    assert set(worst) == {1, 5}
    assert judged.without(1 / 3).stars.tolist() == [5, 3, 4, 4]
    assert judged.rerated(1 / 3).stars.tolist() == [5, 3, 3, 4, 4, 4]
    assert judged.rerated(0).stars.tolist() == judged.ratings.stars.tolist()
    with pytest.raises(DataError, match="not 1"):
        judged.without(1)


def test_lists_have_titles_where_there_are_any(models: list[Recommender], ratings: Ratings) -> None:
    judged = by_hand()
    assert judged.surprising(1)[0].keys() == {"user", "item", "given", "expected", "surprise"}
    first, second = judged.suspicious(2)
    assert first["suspicion"] >= second["suspicion"]
    row = next(row for row in judged.suspicious(3) if row["user"] == 1)
    assert (row["ratings"], row["mean"]) == (3, 3.0)
    assert row["rmse"] == pytest.approx(np.sqrt(5 / 3))
    with pytest.raises(DataError, match="not 0"):
        judged.surprising(0)
    titles = Catalog.of(ratings.items.values, [f"film {i}" for i in ratings.items.values])
    titled = Bias().fit(replace(ratings, catalog=titles), rng=np.random.default_rng(0))
    worst = judge(titled, ratings, rng=np.random.default_rng(0)).surprising(3)
    assert [row["title"] for row in worst] == [f"film {row['item']}" for row in worst]


# --- attacks


def filler_of(injected: Injected, target: int) -> tuple[np.ndarray, Ratings]:
    """Places of the invented ratings that are not the target's, and the ratings."""
    found = injected.ratings
    return np.flatnonzero(injected.entries & (found.columns != target)), found


@pytest.mark.parametrize("aim", ["push", "nuke"])
@pytest.mark.parametrize("words", [False, True])
def test_average_attack(aim: anomalies.Aim, words: bool) -> None:
    ratings = tastes(np.random.default_rng(0), words=words)
    rng = np.random.default_rng(1)
    injected = anomalies.average_attack(ratings, 3, aim=aim, size=0.5, filler=0.5, rng=rng)
    found = injected.ratings
    assert injected.users.sum() == U / 2
    assert len(found.users) == U * 3 / 2
    assert (found.user_counts[injected.users] == N / 2 + 1).all()
    assert set(found.stars[injected.entries & (found.columns == 3)]) == {5 if aim == "push" else 1}
    assert (np.isin(found.stars, [1, 2, 3, 4, 5])).all()
    # The ratings that were there are there still.
    assert (
        found.keep(~injected.entries).take_users(np.flatnonzero(~injected.users)).digest
        == ratings.digest
    )
    places, _ = filler_of(injected, 3)
    means = np.bincount(ratings.columns, ratings.stars, N) / ratings.item_counts
    assert abs(np.mean(found.stars[places] - means[found.columns[places]])) < 0.2


def test_popular_filler() -> None:
    ratings = tastes(np.random.default_rng(0))
    injected = anomalies.average_attack(
        ratings, 3, aim="push", filler=0.1, popular=0.2, rng=np.random.default_rng(1)
    )
    places, found = filler_of(injected, 3)
    known = np.argsort(-ratings.item_counts, kind="stable")[:6]
    assert set(found.columns[places]) <= set(known)
    assert (found.user_counts[injected.users] == 4).all()


@pytest.mark.parametrize("aim", ["push", "nuke"])
def test_bandwagon_attack(ratings: Ratings, aim: anomalies.Aim) -> None:
    injected = anomalies.bandwagon_attack(
        ratings, 3, aim=aim, size=0.25, filler=0.2, selected=4, rng=np.random.default_rng(1)
    )
    found = injected.ratings
    assert injected.users.sum() == U / 4
    assert (found.user_counts[injected.users] == 6 + 4 + 1).all()
    star = 5 if aim == "push" else 1
    invented = found.take_users(np.flatnonzero(injected.users))
    by_all = invented.keep(invented.stars == star).item_counts == U / 4
    assert by_all.sum() >= 5
    others = np.setdiff1d(np.arange(N), [3])
    counts = ratings.item_counts
    if aim == "push":
        assert by_all[others[np.argsort(-counts[others], kind="stable")[:4]]].all()
    else:
        means = np.bincount(ratings.columns, ratings.stars, N) / counts
        known = others[counts[others] >= counts.mean()]
        assert by_all[known[np.argsort(means[known], kind="stable")[:4]]].all()


def test_random_raters_rate_what_somebody_rated(ratings: Ratings) -> None:
    injected = anomalies.random_raters(ratings, size=0.5, rng=np.random.default_rng(1))
    found = injected.ratings
    rows = [set(ratings.columns[ratings.rows == user]) for user in range(U)]
    for user in np.flatnonzero(injected.users):
        assert set(found.columns[found.rows == user]) in rows
    shares = np.bincount(found.stars[injected.entries].astype(int))[1:] / injected.entries.sum()
    np.testing.assert_allclose(shares, 0.2, atol=0.07)


def test_corrupted_ratings_are_others(ratings: Ratings) -> None:
    injected = anomalies.corrupted(ratings, share=0.25, rng=np.random.default_rng(1))
    changed = injected.ratings.stars != ratings.stars
    np.testing.assert_array_equal(changed, injected.entries)
    assert changed.sum() == round(0.25 * len(ratings))
    assert not injected.users.any()


def test_times_catalog_and_items_stay(ratings: Ratings) -> None:
    timed = replace(
        ratings,
        times=np.arange(len(ratings)),
        catalog=Catalog.of(ratings.items.values, [f"film {i}" for i in range(N)]),
    )
    found = anomalies.random_raters(timed, rng=np.random.default_rng(0)).ratings
    assert found.items == timed.items
    assert found.catalog is timed.catalog
    assert found.times is not None
    assert len(found.times) == len(found)
    first = found.take_users(np.arange(U))
    assert first.digest == timed.digest


def test_attacks_that_make_no_sense(ratings: Ratings) -> None:
    rng = np.random.default_rng(0)
    average = partial(anomalies.average_attack, ratings, 3, rng=rng)
    with pytest.raises(DataError, match="push or nuke, not 'love'"):
        average(aim="love")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="above 0, not 0"):
        average(aim="push", size=0)
    with pytest.raises(DataError, match="at most 1, not 2"):
        average(aim="push", filler=2)
    with pytest.raises(DataError, match="between 0 and 1, not 1"):
        anomalies.corrupted(ratings, share=1, rng=rng)
    same = ratings.with_stars(np.full(len(ratings), 3, np.float32))
    with pytest.raises(DataError, match="all ratings are equal"):
        anomalies.corrupted(same, share=0.1, rng=rng)


def test_what_was_injected_is_found(ratings: Ratings) -> None:
    """Trained with the anomalies in the data, in a world where tastes are plain."""
    rng = np.random.default_rng(5)
    for injected in (
        anomalies.random_raters(ratings, size=0.1, rng=rng),
        anomalies.corrupted(ratings, share=0.05, rng=rng),
    ):
        model = AutoRec.dual(k=4, training=Training(steps=200))
        model.fit(injected.ratings, rng=np.random.default_rng(0))
        judged = judge(model, injected.ratings, rng=rng)
        if injected.users.any():
            assert auc(judged.suspicion, injected.users) > 0.8
        else:
            assert auc(judged.surprise, injected.entries) > 0.8
