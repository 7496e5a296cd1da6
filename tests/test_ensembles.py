"""Ensembles: sums of what members say, weights from what was hidden, and members of any depth."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recae.errors import DataError
from recae.models import MODELS, AutoRec, Average, Recommender, Stack, ensembles, load_model
from recae.models.ensembles import non_negative
from recae.models.linear import Bias, Popular
from recae.models.persistence import kind_of, plain
from recae.nn.training import Progress, Training
from recae.ratings import Ratings
from recae.splits import Holdout, random

TRAINING = Training(steps=12, reports=4)


def world() -> Ratings:
    """60 users, 40 items, whole stars that two directions of taste explain in part."""
    rng = np.random.default_rng(5)
    users, items = np.nonzero(rng.random((60, 40)) < 0.4)
    taste = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    stars = np.clip(np.round(3 + taste[users, items] + rng.normal(0, 0.5, len(users))), 1, 5)
    return Ratings.of(users, items, stars, scale=(1, 5))


SPLIT = random(world(), test=0.2, rng=np.random.default_rng(0))


def dual(**settings: Any) -> AutoRec:
    return AutoRec.dual(k=4, training=replace(TRAINING, **settings))


def item() -> AutoRec:
    return AutoRec.item(k=3, training=TRAINING)


def rng_of(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def nested() -> Stack:
    return Stack((Average(dual(), size=2), Bias(), Stack((item(), Average(Bias(), size=1)))))


class Noise(Bias):
    """The baseline, and what has nothing to do with anything."""

    def item_factors(self) -> np.ndarray:
        factors = super().item_factors()
        factors[:, 1] += np.random.default_rng(0).normal(0, 0.5, len(factors))
        return factors


# --- what is said


def test_an_average_of_one_is_that_one() -> None:
    alone = dual().fit(SPLIT.train, rng=rng_of().spawn(1)[0])
    average = Average(dual(), size=1).fit(SPLIT.train, rng=rng_of())
    history = SPLIT.test.history
    np.testing.assert_array_equal(average.predict(history), alone.predict(history))
    np.testing.assert_array_equal(average.predict_at(SPLIT.test), alone.predict_at(SPLIT.test))
    person = {3: 5.0, 11: 1.0}
    assert average.recommend(person, n=5).equals(alone.recommend(person, n=5))


def test_an_average_is_the_mean_of_different_seeds() -> None:
    average = Average(dual(), size=3).fit(SPLIT.train, rng=rng_of())
    history = SPLIT.test.history
    each = [dual().fit(SPLIT.train, rng=own).scores(history) for own in rng_of().spawn(3)]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(average.scores(history), np.mean(each, axis=0), atol=2e-6)


def test_a_stack_is_the_baseline_and_weighted_differences_clipped_once() -> None:
    stack = Stack((dual(learning_rate=0.1), item(), Bias())).fit(SPLIT.train, rng=rng_of())
    strangers = replace(SPLIT.test.history, users=SPLIT.train.users.of([*range(1000, 1060)]))
    for history in (SPLIT.test.history, strangers):
        b = stack.fitted.baseline.stars(history)
        parts = [member.scores(history) for member in stack._get().members]
        wanted = b + sum(w * (p - b) for w, p in zip(stack.weights, parts, strict=True))
        assert wanted.max() > 5, "something is clipped"
        np.testing.assert_allclose(stack.predict(history), np.clip(wanted, 1, 5), atol=2e-6)


# --- weights


def brute_force(system: np.ndarray) -> np.ndarray:
    """The best of the ordinary solutions over every subset of members that are not negative."""
    a, y = system[:, :-1], system[:, -1]
    best, found = np.inf, np.zeros(a.shape[1])
    members = range(a.shape[1])
    for chosen in chain.from_iterable(combinations(members, n) for n in range(len(members) + 1)):
        weights = np.zeros(a.shape[1])
        weights[list(chosen)] = np.linalg.lstsq(a[:, chosen], y, rcond=None)[0]
        error = np.sum((a @ weights - y) ** 2)
        if (weights >= 0).all() and error < best:
            best, found = error, weights
    return found


@pytest.mark.parametrize("seed", range(8))
def test_weights_are_the_best_that_are_not_negative(seed: int) -> None:
    rng = rng_of(seed)
    system = rng.normal(size=(50, 5)).astype(np.float32)
    system[:, -1] += system[:, :-1] @ rng.normal(size=4).astype(np.float32)
    np.testing.assert_allclose(non_negative(system), brute_force(system), atol=1e-5)


def test_equal_members_share_and_noise_counts_nothing() -> None:
    stack = Stack((dual(learning_rate=0.05), Noise())).fit(SPLIT.train, rng=rng_of())
    good, noise = stack.weights
    assert good > 0.3
    assert 0 <= noise < 0.05
    same = Stack((Bias(), Bias())).fit(SPLIT.train, rng=rng_of())
    np.testing.assert_array_equal(same.weights, 0)
    expected = Bias().fit(SPLIT.train, rng=rng_of()).predict_at(SPLIT.test)
    np.testing.assert_allclose(same.predict_at(SPLIT.test), expected, atol=2e-6)


def test_what_is_hidden_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned upside down, hidden stars change nothing that is said of them, only the weights."""
    told: list[tuple[Holdout, np.ndarray]] = []
    said = ensembles._said

    def recorded(model: Recommender, hidden: Holdout) -> dict[str, np.ndarray]:
        arrays = said(model, hidden)
        told.append((hidden, *arrays.values()))
        return arrays

    monkeypatch.setattr(ensembles, "_said", recorded)
    stack = Stack((dual(learning_rate=0.05), item()), holdout=0.15)
    before = stack.fit(SPLIT.train, rng=rng_of()).weights
    hidden = told[0][0].target
    assert len(hidden) == round(0.15 * len(SPLIT.train))
    n = len(SPLIT.train.items)
    places = SPLIT.train.rows * n + SPLIT.train.columns
    turned = np.isin(places, hidden.rows * n + hidden.columns)
    stars = np.where(turned, 6 - SPLIT.train.stars, SPLIT.train.stars)
    matrix = SPLIT.train.matrix
    matrix = sparse.csr_array((stars, matrix.indices, matrix.indptr), shape=matrix.shape)
    after = stack.fit(replace(SPLIT.train, matrix=matrix), rng=rng_of()).weights
    for (old, ours), (new, theirs) in zip(told[:2], told[2:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(old.target.stars, 6 - new.target.stars)
    assert np.abs(before - after).max() > 0.1


def test_where_hardly_anything_can_be_hidden_all_count_the_same() -> None:
    tiny = Ratings.of([1, 1, 2], [5, 6, 5], [5.0, 4.0, 5.0], scale=(1, 5))
    stack = Stack((Bias(), dual()), holdout=0.5).fit(tiny, rng=rng_of())
    np.testing.assert_array_equal(stack.weights, 0.5)


# --- members


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Stack((Bias(), Popular())), "Popular only ranks.*leave it out"),
        (lambda: Average(Popular()), "Popular only ranks.*leave it out"),
        (lambda: Stack(()), "at least one model"),
        (lambda: Stack(("mf",)), "must be a model, not 'mf'"),
        (lambda: Average(size=0), "size must be at least 1"),
        (lambda: Stack(holdout=1), "holdout must be between 0 and 1"),
    ],
)
def test_settings_that_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_members_are_not_touched_by_a_fit() -> None:
    member = dual()
    Average(member, size=2).fit(SPLIT.train, rng=rng_of())
    assert member._fitted is None


def test_ensembles_of_ensembles_are_saved_and_loaded(tmp_path: Path) -> None:
    stack = nested().fit(SPLIT.train, rng=rng_of())
    again = load_model(stack.save(tmp_path / "model"))
    assert isinstance(again, Stack)
    assert plain(again) == plain(stack)
    np.testing.assert_array_equal(again.weights, stack.weights)
    strangers = replace(SPLIT.test.history, users=SPLIT.train.users.of([*range(1000, 1060)]))
    for history in (SPLIT.test.history, strangers):
        np.testing.assert_array_equal(again.predict(history), stack.predict(history))


@pytest.mark.parametrize("kind", MODELS)
def test_a_kind_is_told_from_the_settings(kind: str) -> None:
    assert kind_of(MODELS[kind]()) == kind


def test_a_kind_is_what_a_model_is_made_of_not_its_numbers() -> None:
    mf = AutoRec.mf()
    assert kind_of(AutoRec.dual(k=mf.k, dropout=mf.dropout, training=mf.training)) == "autorec-dual"
    assert kind_of(AutoRec.paper_item(k=3, training=TRAINING)) == "autorec-item-paper"
    with pytest.raises(DataError, match="no kind of model is a Noise"):
        kind_of(Noise())


# --- progress and checkpoints


def test_progress_runs_through_once() -> None:
    said: list[Progress] = []
    stack = nested().fit(SPLIT.train, rng=rng_of(), on_epoch=said.append)
    assert {progress.steps for progress in said} == {stack.steps}
    steps = [progress.step for progress in said]
    assert steps == sorted(set(steps))
    assert steps[-1] == stack.steps == 2 * (2 * 12 + 2 * 12)
    seconds = [progress.seconds for progress in said]
    assert seconds == sorted(seconds)


def test_a_resumed_fit_equals_one_that_never_stopped(tmp_path: Path) -> None:
    files: list[Path] = []

    def keep(progress: Progress) -> None:
        files.append(tmp_path / str(progress.step))
        progress.save(files[-1])

    whole = nested().fit(SPLIT.train, rng=rng_of(), on_epoch=keep)
    expected = whole.predict(SPLIT.test.history)
    assert len(files) == 32
    for file in files[::5]:
        steps: list[int] = []
        resumed = nested().fit(
            SPLIT.train,
            rng=rng_of(),
            on_epoch=lambda progress, steps=steps: steps.append(progress.step),
            resume=file,
        )
        assert all(step > int(file.name) for step in steps)
        np.testing.assert_array_equal(resumed.predict(SPLIT.test.history), expected)
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_an_interrupted_fit_leaves_no_half_model() -> None:
    class StoppedError(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise StoppedError

    stack = Stack((Bias(), dual())).fit(SPLIT.train, rng=rng_of())
    with pytest.raises(StoppedError):
        stack.fit(SPLIT.train, rng=rng_of(), on_epoch=stop)
    with pytest.raises(DataError, match="not trained to its end"):
        stack.predict(SPLIT.test.history)
