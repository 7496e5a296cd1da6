"""The autoencoders of the textbook on users' rating vectors, by name: settings of `AutoRec`.

All of them read a user's ratings, less the baseline, and that they were given; the decoder's last
layer is a table of items. They differ in what keeps the code from being a copy.
"""

from __future__ import annotations

from typing import Any, Final

from recae.nn.encoders import Convolutional, Dense, Recurrent
from recae.nn.training import Training

_PLAIN: Final = Training(
    objective="reconstruct", steps=200, learning_rate=0.005, weight_decay=2.0, ema=0.95
)
_CODE: Final[dict[str, Any]] = {"items": "table", "dropout": 0.0, "training": _PLAIN}
_SEQUENCE: Final[dict[str, Any]] = {
    "items": "table",
    "k": 64,
    "training": Training(
        steps=120, hide=(0.1, 0.3), learning_rate=0.012, weight_decay=6.0, ema=0.95
    ),
}

TEXTBOOK: Final[dict[str, dict[str, Any]]] = {
    "autoencoder": _CODE | {"k": 16},
    "autoencoder-stacked": _CODE | {"k": 16, "encoder": Dense(hidden=(64,))},
    "autoencoder-tied": _CODE | {"encoder": Dense(tied=True)},
    "autoencoder-denoising": _CODE
    | {"training": Training(objective="denoise", steps=200, weight_decay=2.0, ema=0.95)},
    "autoencoder-cross-entropy": _CODE
    | {"baseline": "none", "output": "sigmoid", "head": "cross-entropy"},
    "autoencoder-recurrent": _SEQUENCE | {"encoder": Recurrent(longest=20)},
    "autoencoder-convolutional": _SEQUENCE | {"encoder": Convolutional(longest=20)},
}
"""By the name of the idea; the code's size, penalties and steps were chosen on validation ratings
(docs/autoencoders.md)."""
