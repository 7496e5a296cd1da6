"""Encoders as graphs: what `recae.nn.encoders` compute of rows when they no longer learn.

Legend: B rows, N columns, K code size, W width of the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.errors import DataError
from recae.exporting.graph import Value
from recae.nn.activations import Activation
from recae.nn.encoders import Dense, Encoder, Variational

Weights: TypeAlias = dict[str, NDArray[Any]]

_NORM_EPSILON = 0.1
"""RecVAE's, of `recae.nn.encoders.stack.Residual`."""


@dataclass(frozen=True)
class Read:
    """What an encoder reads of rows, hidden from nothing."""

    values: Value
    """[B, N]: zero where there is no entry."""
    mask: Value
    """[B, N]: 1 where there is one."""
    counts: Value
    """[B, 1]: entries."""


def under(weights: Weights, prefix: str) -> Weights:
    """Those whose name begins so, without it."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def encoded(
    encoder: Encoder,
    weights: Weights,
    read: Read,
    *,
    k: int,
    activation: Activation,
    normalize: bool,
) -> Value:
    """Vectors: [B, W]. Raises DataError for an encoder that cannot be written as a graph."""
    match encoder:
        case Dense():
            code = activated(_entry(under(weights, "entry."), read, normalize), activation)
            down, up = under(weights, "down."), under(weights, "up.")
            code = _largest(_stack(code, down, activation), encoder.active, k)
            return _stack(code, up, activation, mirrored=down)
        case Variational():
            first = _entry(under(weights, "posterior.entry."), read, normalize)
            return _variational(activated(first, activation), encoder, weights, k, activation)
    raise DataError(
        f"encoder = {encoder.kind} cannot be exported to ONNX: train with encoder.kind = dense or "
        "variational"
    )


def _entry(weights: Weights, read: Read, normalize: bool) -> Value:
    """The layer over a row's entries, before any activation: [B, W]. Nothing is known of rows
    beside their entries."""
    parts = {"values_weight": read.values, "mask_weight": read.mask}
    products = [what @ weights[name] for name, what in parts.items() if name in weights]
    total = products[0] if len(products) == 1 else products[0] + products[1]
    if normalize:
        total = total / read.counts.at_least(1.0).sqrt()
    return total + weights["bias"]


def activated(x: Value, activation: Activation) -> Value:
    match activation:
        case "identity":
            return x
        case "silu":
            return x * x.graph.op("Sigmoid", x)
    return x.graph.op(activation.capitalize(), x)


def _largest(code: Value, share: float, k: int) -> Value:
    """[B, K] with the largest units of each row, and zeros; all of them for a share of 0."""
    if not share:
        return code
    number = max(1, round(share * k))
    values, units = code.graph.ops("TopK", code, np.array([number]), outputs=2)
    return code.graph.op("ScatterElements", code * 0.0, units, values, axis=1)


def _variational(
    x: Value, encoder: Variational, weights: Weights, k: int, activation: Activation
) -> Value:
    """From the first layer, [B, H], by way of the mean of the code."""
    layers, moments = under(weights, "posterior.layers."), under(weights, "posterior.moments.")
    through = _residual if encoder.residual else _stack
    mean = through(x, layers, activation) @ moments["weight"][:k].T + moments["bias"][:k]
    return _stack(mean, under(weights, "up."), activation)


def _stack(
    x: Value, weights: Weights, activation: Activation, mirrored: Weights | None = None
) -> Value:
    """x -> phi(W_d ... phi(W_1 x)); a layer without weights uses those of its mirror image."""
    depth = _depth(weights)
    for place in range(depth):
        if mirrored is not None and f"{place}.weight" not in weights:
            product = mirrored[f"{depth - 1 - place}.weight"]
        else:
            product = weights[f"{place}.weight"].T
        x = activated(x @ product + weights[f"{place}.bias"], activation)
    return x


def _residual(x: Value, weights: Weights, activation: Activation) -> Value:
    """`recae.nn.encoders.stack.Residual`."""
    layers, norms = under(weights, "layers."), under(weights, "norms.")

    def norm(x: Value, place: int) -> Value:
        scale, shift = norms[f"{place}.weight"], norms[f"{place}.bias"]
        return x.graph.op("LayerNormalization", x, scale, shift, epsilon=_NORM_EPSILON)

    h = total = norm(x, 0)
    for place in range(_depth(layers)):
        total = total + h if place else h
        product = h @ layers[f"{place}.weight"].T + layers[f"{place}.bias"]
        h = norm(activated(product + total, activation), place + 1)
    return h


def _depth(layers: Weights) -> int:
    return sum(name.endswith("bias") for name in layers)
