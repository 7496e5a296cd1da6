"""The Bayesian factorization machine against its library and against regressions written out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recae.errors import RecaeError
from recae.models import load_model
from recae.models.external import MyFM, _myfm
from recae.ratings import Ratings


def some_ratings() -> Ratings:
    """20 users, 9 items; the last user and the last item have no ratings."""
    rng = np.random.default_rng(4)
    users, items = np.nonzero(rng.random((20, 9)) < 0.5)
    everything = Ratings.of(users, items, rng.integers(1, 6, len(users)), scale=(1, 5))
    return everything.keep((everything.rows < 19) & (everything.columns < 8))


def fitted(ratings: Ratings, **settings: Any) -> MyFM:
    settings = {"k": 3, "iterations": 12, "kept": 8} | settings
    return MyFM(**settings).fit(ratings, rng=np.random.default_rng(5))


def by_the_library(model: MyFM, train: Ratings) -> np.ndarray:
    """What the library itself predicts from features that are written out in full: [U, N]."""
    mask = (train.matrix.toarray() > 0).astype(float)
    parts = [np.eye(20), np.eye(9)]
    sizes = [20, 9]
    if model.implicit:
        sets = [m / np.sqrt(np.maximum(m.sum(axis=1, keepdims=True), 1)) for m in (mask, mask.T)]
        parts = [np.hstack([part, of]) for part, of in zip(parts, sets, strict=True)]
        sizes = [20, 9, 9, 20]
    blocks = [sparse.csr_matrix(part) for part in parts]
    library = _myfm()

    def relations(users: np.ndarray, items: np.ndarray) -> list[Any]:
        pairs = zip((users, items), blocks, strict=True)
        return [library.RelationBlock(rows.tolist(), block) for rows, block in pairs]

    seed = int(np.random.default_rng(5).integers(2**31))
    machine = library.MyFMRegressor(rank=model.k, random_seed=seed)
    mu = model.fitted.baseline.mu
    machine.fit(
        None,
        train.stars - np.float32(mu),
        X_rel=relations(train.rows, train.columns),
        group_shapes=sizes,
        n_iter=model.iterations,
        n_kept_samples=min(model.kept, model.iterations),
    )
    everywhere = np.indices((20, 9)).reshape(2, -1)
    predicted: np.ndarray = machine.predict(None, X_rel=relations(*everywhere))
    return mu + predicted.reshape(20, 9)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("kept", [8, 100])
def test_the_factors_say_what_the_library_says(implicit: bool, kept: int) -> None:
    train = some_ratings()
    model = fitted(train, implicit=implicit, kept=kept)
    expected = by_the_library(model, train)
    # Who and what has no ratings is at the prior mean here, and a draw from the prior there.
    np.testing.assert_allclose(model._stars(train)[:19, :8], expected[:19, :8], atol=1e-4)
    assert np.abs(model._stars(train)[19] - expected[19]).max() > 1e-3


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("count", [4, 2, 0])
def test_new_users_get_the_mean_of_their_own_weights_given_their_ratings(
    implicit: bool, count: int
) -> None:
    """Sample by sample, from the normal equations of all features of the user's own."""
    train = some_ratings()
    model = fitted(train, implicit=implicit)
    samples = model._get()
    items, stars = np.array([0, 3, 4, 7])[:count], np.array([5.0, 1.0, 4.0, 2.0])[:count]
    new = Ratings.of_one(dict(zip(items.tolist(), stars, strict=True)), train.items, (1, 5))
    assert model.known(new).tolist() == [-1]
    mu = model.fitted.baseline.mu
    expected = np.zeros(9)
    for s in range(8):
        q, b = samples.items[:, s, :-1].astype(float), samples.items[:, s, -1]
        members = samples.rated[items if implicit else [], s] / np.sqrt(max(count, 1))
        of_set = members[:, :-1].sum(axis=0)
        pairs = sum(
            float(one @ other)
            for place, one in enumerate(members[:, :-1])
            for other in members[:place, :-1]
        )
        offset = mu + b + q @ of_set + members[:, -1].sum() + pairs
        x = np.column_stack([q + of_set, np.ones(9)])
        prior, noise = np.diag(samples.precision[s].astype(float)), float(samples.noise[s])
        left = noise * x[items].T @ x[items] + prior
        right = noise * x[items].T @ (stars - offset[items]) + prior @ samples.mean[s]
        expected += (offset + x @ np.linalg.solve(left, right)) / 8
    np.testing.assert_allclose(model._stars(new)[0], expected, atol=1e-4)


def test_samples_are_kept_as_plain_arrays(tmp_path: Any) -> None:
    for implicit in (True, False):
        model = fitted(some_ratings(), implicit=implicit)
        again = load_model(model.save(tmp_path / "m"))
        state = again.state()
        assert state["rated"].shape == (9 if implicit else 0, 8, 4)
        for name, array in model.state().items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(state[name], array)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "myfm", None)
    with pytest.raises(RecaeError, match=r"pip install 'recae\[baselines\]'"):
        fitted(some_ratings())


def test_fitting_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    fitted(some_ratings())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", ["k", "iterations", "kept"])
def test_settings_below_one_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"{wrong} must be at least 1, not 0"):
        MyFM(**{wrong: 0})
