"""The family's own members: settings of `AutoRec`, chosen on inner splits (docs/experiments.md)."""

from __future__ import annotations

from typing import Any

from recae.nn.training import Training

_PAPER: dict[str, Any] = {
    "k": 128,
    "activation": "sigmoid",
    "dropout": 0.0,
    "baseline": "none",
    "mask_channel": False,
    "normalize": False,
    "bias_head": False,
    "ridge": 20.0,
    "training": Training(
        objective="reconstruct",
        learning_rate=0.012,
        weight_decay=0.0,
        l2=120.0,
        shrink_biases=False,
        ema=0.95,
    ),
}
PAPER_ITEM: dict[str, Any] = _PAPER | {"users": "table"}
PAPER_USER: dict[str, Any] = _PAPER | {"items": "table"}
DUAL: dict[str, Any] = {
    "dropout": 0.3,
    "refine": True,
    "ridge": 60.0,
    "training": Training(weight_decay=6.0),
}
ITEM: dict[str, Any] = {
    "users": "table",
    "ridge": 10.0,
    "training": Training(hide=(0.2, 0.4), learning_rate=0.008, weight_decay=4.0),
}
USER: dict[str, Any] = {
    "items": "table",
    "training": Training(hide=(0.1, 0.3), learning_rate=0.008, weight_decay=6.0),
}
_TABLES: dict[str, Any] = {
    "items": "table",
    "dropout": 0.5,
    "ridge": 4.0,
    "training": Training(
        objective="reconstruct", steps=200, learning_rate=0.01, weight_decay=0.0, l2=10.0, ema=0.95
    ),
}
MF: dict[str, Any] = _TABLES | {"users": "table"}
SVDPP: dict[str, Any] = _TABLES | {"users": "table+mask"}
