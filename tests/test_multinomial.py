"""Autoencoders that rank: what they read, what they say, and that validation says the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.codes import Codes
from recae.errors import DataError, RecaeError
from recae.evaluation import evaluate
from recae.models import MODELS, MultinomialAutoencoder
from recae.nn.encoders import Dense, Variational
from recae.nn.training import Progress, Training
from recae.ratings import Ratings
from recae.splits import unseen_users

QUICK = Training(objective="denoise", steps=30, reports=3, batch_size=20, ema=0.9)
SMALL: dict[str, dict[str, Any]] = {
    "mult-dae": {"k": 4},
    "mult-vae": {"k": 4, "encoder": Variational(hidden=(8,))},
    "recvae": {
        "k": 4,
        "encoder": Variational(
            hidden=(8, 8), residual=True, beta=0.01, beta_by="entry", prior="composite"
        ),
    },
}


def world() -> Ratings:
    """60 users in two camps, each of which likes its own half of 16 items."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((60, 16)) < 0.6)
    same = (users % 2) == (items % 2)
    stars = np.where(same, rng.integers(4, 6, len(users)), rng.integers(1, 4, len(users)))
    return Ratings.of(users, items, stars, scale=(1, 5))


RATINGS = world()
SPLIT = unseen_users(RATINGS, test=0.2, validation=0.2, target=0.5, rng=np.random.default_rng(0))


def make(name: str, **settings: Any) -> MultinomialAutoencoder:
    model = MODELS[name](**SMALL[name] | {"training": QUICK} | settings)
    assert isinstance(model, MultinomialAutoencoder)
    return model


@pytest.mark.parametrize("reads", ["liked", "rated"])
def test_scores_are_the_formula(reads: str) -> None:
    """b_i + <tanh(c + sum (like A_j + B_j) / sqrt n), q_i>, written out."""
    model = make("mult-dae", reads=reads).fit(RATINGS, rng=np.random.default_rng(0))
    weights = {k.removeprefix("network."): v for k, v in model.state().items()}
    scores = model.scores(RATINGS)
    for user in range(3):
        mine = RATINGS.rows == user
        liked = (RATINGS.stars[mine] >= 4).astype(np.float32)
        items = RATINGS.columns[mine]
        read = liked > 0 if reads == "liked" else liked >= 0
        total = liked[read] @ weights["rows.entry.values_weight"][items[read]]
        if reads == "rated":
            total = total + weights["rows.entry.mask_weight"][items].sum(axis=0)
        code = np.tanh(weights["rows.entry.bias"] + total / np.sqrt(read.sum()))
        wanted = weights["columns.row_bias"] + weights["columns.vectors"] @ code
        np.testing.assert_allclose(scores[user], wanted, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_camps_are_learned_and_validation_says_what_evaluation_does(name: str) -> None:
    said: list[Progress] = []
    training = replace(QUICK, steps=200, learning_rate=0.02)
    model = make(name, training=training).fit(
        SPLIT.train,
        validation=SPLIT.validation,
        rng=np.random.default_rng(0),
        on_epoch=said.append,
    )
    assert SPLIT.validation is not None
    found = evaluate(model, SPLIT.validation, n=100).metrics["ndcg_at_100"]
    assert said[-1].metrics["val/ndcg_at_100"] == pytest.approx(found, abs=1e-6)
    assert said[-1].metrics["train/loss"] < said[0].metrics["train/loss"]
    popular = MODELS["popular"]().fit(SPLIT.train, rng=np.random.default_rng(0))
    assert found > evaluate(popular, SPLIT.validation, n=100).metrics["ndcg_at_100"] + 0.1


@pytest.mark.parametrize("name", SMALL)
def test_a_resumed_fit_equals_one_that_never_stopped(name: str, tmp_path: Path) -> None:
    training = replace(QUICK, alternate=(3, 2) if name == "recvae" else (0, 0))

    def fit(report: Any = None, resume: Path | None = None) -> np.ndarray:
        model = make(name, training=training)
        model.fit(SPLIT.train, rng=np.random.default_rng(3), on_epoch=report, resume=resume)
        return model.scores(SPLIT.test.history)

    def stop(progress: Progress) -> None:
        progress.save(tmp_path / "checkpoint")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stop)
    np.testing.assert_array_equal(fit(resume=tmp_path / "checkpoint"), fit())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="nobody likes anything"):
        make("mult-dae", liked_from=6.0).fit(RATINGS, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="reads must be one of"):
        make("mult-dae", reads="seen")
    with pytest.raises(ValueError, match="k must be"):
        make("mult-dae", k=0)
    with pytest.raises(ValueError, match="dropout"):
        make("mult-dae", dropout=1.0)
    wild = replace(QUICK, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(RecaeError, match=r"lower training\.learning_rate"):
        make("mult-dae", encoder=Dense(), activation="identity", training=wild).fit(
            RATINGS, rng=np.random.default_rng(0)
        )


@pytest.mark.parametrize("reads", ["liked", "rated"])
def test_codes_are_the_factors_without_the_bias(reads: str) -> None:
    model = make("mult-dae", reads=reads).fit(RATINGS, rng=np.random.default_rng(0))
    codes, items = model.encode(RATINGS), model.encode_items()
    np.testing.assert_array_equal(codes, model.user_factors(RATINGS)[:, :-1])
    np.testing.assert_array_equal(items, model.item_factors()[:, :-1])
    alike = items @ items.T
    same = np.equal.outer(np.arange(16) % 2, np.arange(16) % 2)
    assert alike[same].mean() > alike[~same].mean()


def test_nothing_read_is_no_code() -> None:
    mine = RATINGS.rows == 3
    own = RATINGS.keep(~mine | (RATINGS.stars < 4))
    for reads, said in (("liked", False), ("rated", True)):
        model = make("mult-dae", reads=reads).fit(own, rng=np.random.default_rng(0))
        assert model.encode(own)[3].any() == said
        assert not model.encode(own.keep(own.rows != 3))[3].any()
    unrated = own.keep(own.columns != 5)
    codes = make("mult-dae").fit(unrated, rng=np.random.default_rng(0)).encode_items()
    assert codes.any(axis=1).tolist() == [item != 5 for item in range(16)]
    with pytest.raises(DataError, match="scale of 1 to 5"):
        model.encode(Ratings.of([1], [1], [9.0], scale=(1, 9)))


def test_codes_are_features_of_other_tasks() -> None:
    found = Codes(make("mult-dae")).fit_transform(RATINGS)
    assert found.shape == (len(RATINGS.users), 4)
