"""The autoencoders of the textbook on users' rating vectors, by name: settings of `AutoRec`.

All of them read a user's ratings, less the baseline, and that they were given; the decoder's last
layer is a table of items. They differ in what keeps the code from being a copy.
"""

from __future__ import annotations

from typing import Any, Final

from recae.nn.encoders import Dense, Variational
from recae.nn.training import Training

_PLAIN: Final = Training(
    objective="reconstruct", steps=200, learning_rate=0.005, weight_decay=2.0, ema=0.95
)
_CODE: Final[dict[str, Any]] = {"items": "table", "dropout": 0.0, "training": _PLAIN}

TEXTBOOK: Final[dict[str, dict[str, Any]]] = {
    "autoencoder": _CODE | {"k": 16},
    "autoencoder-stacked": _CODE | {"k": 16, "encoder": Dense(hidden=(64,))},
    "autoencoder-tied": _CODE | {"encoder": Dense(tied=True)},
    "autoencoder-denoising": _CODE
    | {"training": Training(objective="denoise", steps=200, weight_decay=2.0, ema=0.95)},
    "autoencoder-variational": _CODE
    | {
        "k": 32,
        "encoder": Variational(hidden=(128,), beta=1.75),
        "training": Training(steps=200, learning_rate=0.0047, weight_decay=4.0, ema=0.95),
    },
    "autoencoder-cross-entropy": _CODE
    | {"baseline": "none", "output": "sigmoid", "head": "cross-entropy"},
}
"""By the name of the idea; the code's size, penalties and steps were chosen on validation ratings
(docs/autoencoders.md)."""
