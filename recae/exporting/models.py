"""Whole models as graphs of new users: codes, and stars or scores, from their ratings.

Legend: B users, N items, W width of the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from recae.errors import DataError
from recae.exporting.encoders import Read, activated, encoded, under
from recae.exporting.graph import Value
from recae.models import AutoRec, MultinomialAutoencoder, Recommender
from recae.models.baseline import LAMBDA_USER
from recae.models.ridge import with_ones
from recae.nn.encoders import Dense

Said: TypeAlias = tuple[Value, Value]
"""Codes [B, W], and stars or scores [B, N]."""

_MOST_TURNS: Final = 500
_PRECISION: Final = 1e-6
"""Conjugate gradients stop when this share of the right-hand side is left over."""
_TINY: Final = 1e-30


@dataclass(frozen=True)
class Given:
    """The ratings of new users."""

    stars: Value
    """[B, N]: 0 where there is none."""
    mask: Value
    """[B, N]: 1 where there is one."""
    counts: Value
    """[B, 1]."""


def said(model: Recommender, ratings: Value) -> Said:
    """What `model` says of users with `ratings` [B, N], NaN where there is none; NaN of users with
    stars outside the scale. Raises DataError for a model that cannot be written as a graph."""
    missing = ratings.missing()
    mask = missing.where(0.0, 1.0)
    given = Given(missing.where(0.0, ratings), mask, mask.sums())
    if isinstance(model, MultinomialAutoencoder):
        found = _by_likes(model, given)
    elif isinstance(model, AutoRec):
        found = _by_stars(model, given)
    else:
        raise DataError(
            f"{type(model).__name__} models cannot be exported to ONNX: train an AutoRec, like "
            "autorec-dual or mf, or a MultinomialAutoencoder, like mult-dae"
        )
    beyond = (given.stars - given.stars.within(*model.fitted.scale)) * mask
    outside = (beyond * beyond).sums() > 0.0
    codes, predicted = (outside.where(np.nan, each) for each in found)
    return codes, predicted


def _by_likes(model: MultinomialAutoencoder, given: Given) -> Said:
    """`MultinomialAutoencoder.encode` and `.scores`."""
    low, high = model.fitted.scale
    threshold = low + 0.75 * (high - low) if model.liked_from is None else model.liked_from
    likes = (given.stars >= threshold).number() * given.mask
    read = Read(likes, likes, likes.sums())
    if model.reads == "rated":
        read = Read(likes, given.mask, given.counts)
    vectors = encoded(
        model.encoder,
        under(model.state(), "network.rows."),
        read,
        k=model.k,
        activation=model.activation,
        normalize=model.normalize,
    )
    items = model.item_factors()
    scores = vectors @ vectors.graph.value(items[:, :-1]).T + items[:, -1]
    return (read.counts > 0.0).where(vectors, 0.0), scores


def _by_stars(model: AutoRec, given: Given) -> Said:
    """`AutoRec.encode` and `.predict`, of users who were not there in training."""
    _check(model)
    fitted, graph = model.fitted, given.stars.graph
    low, high = fitted.scale
    unit = (high - low) / 4  # that in which models learn
    residuals, offset = _residuals(model, given)
    read = Read(residuals / unit, given.mask, given.counts)
    users = _users(model, read)
    width = model.item_factors().shape[1] - 3
    known = given.counts > 0.0
    codes = known.where(users.columns(0, width), 0.0)
    bias = users.columns(width, width + 1)
    mu = fitted.baseline.mu
    # The factors of `AutoRec.user_factors`, whose last one is 1.
    own = known.where(bias * unit + offset, mu)
    share = known.where(1.0, 1.0 if model.baseline == "shrunk" else 0.0)
    of_own, of_share, instead = model.item_factors().T[-3:]
    scores = (codes * unit) @ graph.value(model.encode_items()).T
    scores = scores + own * of_own + share * of_share + instead
    if model.output != "identity":
        bent = activated(scores / unit, model.output) * (high - low) + low
        scores = (known & model.state()["item_known"]).where(bent, scores)
    return codes, scores.within(low, high)


def _check(model: AutoRec) -> None:
    """Raises DataError for what has no graph."""
    if model.kernel:
        raise DataError(
            "a kernel over a user's ratings cannot be exported to ONNX: train without kernel.local "
            "and kernel.times"
        )
    if model.head in ("nade", "ordinal"):
        raise DataError(
            f"what head = {model.head} makes of scores cannot be exported to ONNX: train with "
            "head = stars"
        )


def _residuals(model: AutoRec, given: Given) -> tuple[Value, Value | float]:
    """What is read of ratings, [B, N], and what was subtracted of each user's, [B, 1]."""
    baseline = model.fitted.baseline
    match model.baseline:
        case "shrunk":
            centred = (given.stars - (baseline.items + np.float32(baseline.mu))) * given.mask
            own = centred.sums() / (given.counts + LAMBDA_USER)
            return centred - own * given.mask, own + baseline.mu
        case "mean":
            return (given.stars - baseline.mu) * given.mask, baseline.mu
    return given.stars, 0.0


def _users(model: AutoRec, read: Read) -> Value:
    """[B, W + 1]: vectors and biases of new users, `AutoRec._fold_in` with algebra of its own."""
    expected, state = _expected(model, read), model.state()
    if model.users == "encoder" and not model.refine:
        return expected
    items = expected.graph.value(with_ones(state["item_vectors"]))
    rest = (read.values - state["item_bias"] - expected @ items.T) * read.mask
    return expected + _ridge(rest, read.mask, items, model.ridge)


def _expected(model: AutoRec, read: Read) -> Value:
    """[B, W + 1]: the encoder's codes, or the mean of the table (plus SVD++'s implicit part)."""
    state = model.state()
    own = under(state, "network.rows.")
    if model.users == "encoder":
        vectors = encoded(
            model.encoder,
            own,
            read,
            k=model.k,
            activation=model.activation,
            normalize=model.normalize,
        )
        bias = vectors @ own["head"][:, None] if model.bias_head else read.counts * 0.0
        return vectors.beside(bias)
    table = own if model.users == "table" else under(own, "table.")
    # A table without vectors of its own has those by which the other side's encoder reads.
    shared = "network.columns.entry.values_weight"
    places = table["vectors"] if "vectors" in table else state[shared]
    mean = np.append(places.mean(axis=0), table["row_bias"].mean())[None]
    if model.users == "table":
        return read.counts * 0.0 + mean
    implicit = encoded(
        Dense(),
        under(own, "encoder."),
        read,
        k=model.k,
        activation="identity",
        normalize=model.normalize,
    )
    return implicit.beside(read.counts * 0.0) + mean


def _ridge(rest: Value, mask: Value, items: Value, penalty: float) -> Value:
    """argmin over p of |mask (rest - p items')|^2 + penalty |p|^2, row by row: [B, W + 1].

    ONNX has no solver: by conjugate gradients (Hestenes and Stiefel 1952), all rows at once, until
    the last of them is precise; NaN for a row that never is. In single precision: doubles were
    much slower in onnxruntime and no nearer to the half-step, whose products are single too.
    """
    right, across = rest @ items, items.T
    size = (right * right).sums()
    enough = size * _PRECISION**2

    def turn(state: list[Value]) -> tuple[Value, list[Value]]:
        solved, left, way, before = state
        image = ((way @ across) * mask) @ items + way * penalty
        step = before / (way * image).sums().at_least(_TINY)
        solved, left = solved + way * step, left - image * step
        now = (left * left).sums()
        way = left + way * (now / before.at_least(_TINY))
        return (now > enough).any(), [solved, left, way, now]

    nothing = right * 0.0
    solved, *_, over = rest.graph.loop(_MOST_TURNS, turn, [nothing, right, right, size])
    return (over > enough).where(np.nan, solved)
