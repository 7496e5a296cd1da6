"""Generated users: whose margins they share with the data, and that they come from the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recae.errors import DataError
from recae.models import MODELS, AutoRec, MultinomialAutoencoder
from recae.models.generation import _lists, sample
from recae.nn.encoders import Variational
from recae.nn.training import Training
from recae.ratings import Ratings

ENCODER = Variational(hidden=(16,), beta=0.2)
TRAINING = Training(steps=150, objective="denoise", ema=0.9, weight_decay=0.1)


def world() -> Ratings:
    """300 users of 20 items, of which the first are rated most and best."""
    rng = np.random.default_rng(0)
    chances = np.linspace(0.9, 0.1, 20)
    users, items = np.nonzero(rng.random((300, 20)) < chances)
    stars = np.clip(np.round(4.5 - items / 8 + rng.normal(size=len(users))), 1, 5)
    return Ratings.of(users, items * 7, stars, scale=(1, 5))


RATINGS = world()


def test_likes_have_the_margins_of_the_data() -> None:
    model = MultinomialAutoencoder.vae(k=4, encoder=ENCODER, training=TRAINING)
    model.fit(RATINGS, rng=np.random.default_rng(0))
    made = sample(model, RATINGS, 1000, rng=np.random.default_rng(1))
    likes = RATINGS.liked()
    assert made.matrix.shape == (1000, 20)
    assert set(made.user_counts) <= set(likes.user_counts)
    assert made.user_counts.mean() == pytest.approx(
        likes.user_counts[likes.user_counts > 0].mean(), rel=0.1
    )
    assert set(made.stars) == {5.0}
    assert np.corrcoef(made.item_counts, likes.item_counts)[0, 1] > 0.95
    again = sample(model, RATINGS, 1000, rng=np.random.default_rng(1))
    assert (made.matrix != again.matrix).nnz == 0


def test_ratings_have_the_margins_of_the_data() -> None:
    # A small beta leaves codes away from the prior, and draws from it stars that nobody gives.
    encoder = replace(ENCODER, beta=1.0)
    model = AutoRec.user(k=4, encoder=encoder, training=TRAINING, dropout=0.0)
    model.fit(RATINGS, rng=np.random.default_rng(0))
    made = sample(model, RATINGS, 1000, rng=np.random.default_rng(1))
    assert set(made.stars) <= {1, 2, 3, 4, 5}
    assert made.stars.mean() == pytest.approx(RATINGS.stars.mean(), abs=0.15)
    assert made.stars.std() == pytest.approx(RATINGS.stars.std(), abs=0.15)
    assert np.corrcoef(made.item_counts, RATINGS.item_counts)[0, 1] > 0.95
    means = [t.matrix.sum(axis=0) / t.item_counts for t in (made, RATINGS)]
    assert np.corrcoef(*means)[0, 1] > 0.9


def test_lists_are_draws_without_repetition() -> None:
    """The first draws of lists of one are those of the softmax; lists as long as the catalogue hold
    everything once."""
    scores = np.log(np.array([0.5, 0.3, 0.2], np.float32))

    def same(block: slice) -> np.ndarray:
        return np.broadcast_to(scores, (len(lengths[block]), 3))

    lengths = np.ones(20_000, np.int64)
    rows, columns = _lists(same, lengths, np.random.default_rng(0))
    assert np.array_equal(rows, np.arange(20_000))
    np.testing.assert_allclose(np.bincount(columns) / 20_000, [0.5, 0.3, 0.2], atol=0.015)
    lengths = np.full(4, 3)
    _, columns = _lists(same, lengths, np.random.default_rng(0))
    assert np.array_equal(np.sort(columns.reshape(4, 3), axis=1), [[0, 1, 2]] * 4)


def test_what_cannot_be_generated_is_refused() -> None:
    rng = np.random.default_rng(0)
    for name in ("bias", "mf", "mult-dae"):
        model = MODELS[name]()
        if hasattr(model, "training"):
            model = type(model)(
                **model.params | {"k": 2, "training": replace(model.training, steps=2)}
            )
        model.fit(RATINGS, rng=rng)
        with pytest.raises(DataError, match='kind = "variational"'):
            sample(model, RATINGS, 3, rng=rng)
    with pytest.raises(DataError, match="n must be at least 1"):
        sample(model, RATINGS, 0, rng=rng)
    with pytest.raises(DataError, match="nothing to be like"):
        sample(model, RATINGS.keep(RATINGS.stars < 4), 3, rng=rng)
