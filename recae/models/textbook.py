"""The autoencoders of the textbook on users' rating vectors, by name: settings of `AutoRec`.

All of them read a user's ratings, less the baseline, and that they were given; the decoder's last
layer is a table of items. They differ in what keeps the code from being a copy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from recae.nn.encoders import (
    Convolutional,
    Dense,
    Kernelized,
    Ordinal,
    Recurrent,
    Variational,
)
from recae.nn.training import Training

_PLAIN: Final = Training(
    objective="reconstruct", steps=200, learning_rate=0.005, weight_decay=2.0, ema=0.95
)
_IN_BATCHES: Final = Training(steps=200, batch_size=128, weight_decay=2.0, ema=0.95)
_SHORT: Final = replace(_PLAIN, steps=100, learning_rate=0.01)
_CODE: Final[dict[str, Any]] = {"items": "table", "dropout": 0.0, "training": _PLAIN}

TEXTBOOK: Final[dict[str, dict[str, Any]]] = {
    "autoencoder": _CODE | {"k": 16},
    "autoencoder-stacked": _CODE | {"k": 16, "encoder": Dense(hidden=(64,))},
    "autoencoder-tied": _CODE | {"encoder": Dense(tied=True)},
    "autoencoder-denoising": _CODE
    | {"training": Training(objective="denoise", steps=200, weight_decay=2.0, ema=0.95)},
    # Wider than what almost any user has rated.
    "autoencoder-overcomplete": _CODE
    | {"k": 600, "training": replace(_SHORT, steps=50, weight_decay=16.0, noise=0.5)},
    "autoencoder-sparse": _CODE
    | {
        "k": 300,
        "activation": "sigmoid",
        "encoder": Dense(sparsity=0.05, sparsity_target=0.1),
        "training": replace(_PLAIN, learning_rate=0.02, weight_decay=4.0),
    },
    "autoencoder-k-sparse": _CODE
    | {
        "k": 300,
        "encoder": Dense(active=0.2),
        "training": replace(_SHORT, weight_decay=32.0),
    },
    "autoencoder-contractive": _CODE
    | {"encoder": Dense(contraction=10.0), "training": replace(_SHORT, weight_decay=24.0)},
    "autoencoder-variational": _CODE
    | {
        "k": 32,
        "encoder": Variational(hidden=(128,), beta=1.75),
        "training": Training(steps=200, learning_rate=0.0047, weight_decay=4.0, ema=0.95),
    },
    "autoencoder-cross-entropy": _CODE
    | {"baseline": "none", "output": "sigmoid", "head": "cross-entropy"},
    "autoencoder-recurrent": _CODE | {"encoder": Recurrent(), "training": _IN_BATCHES},
    "autoencoder-convolutional": _CODE | {"encoder": Convolutional(), "training": _IN_BATCHES},
    "autoencoder-pretrained": _CODE
    | {"k": 16, "encoder": Dense(hidden=(64,)), "pretraining": "layerwise"},
    "autoencoder-rbm": _CODE
    | {
        "k": 16,
        "activation": "sigmoid",
        "encoder": Dense(hidden=(64,)),
        "pretraining": "rbm",
    },
    "autoencoder-kernelized": _CODE
    | {
        "encoder": Kernelized(hidden=(128,)),
        "training": Training(steps=200, learning_rate=0.008, weight_decay=4.0, ema=0.95),
    },
    "autoencoder-nade": _CODE
    | {
        "baseline": "none",
        "encoder": Ordinal(levels=10),
        "head": "nade",
        "training": Training(steps=200, learning_rate=0.01, weight_decay=4.0, ema=0.95),
    },
}
"""By the name of the idea; the code's size, penalties and steps were chosen on validation ratings
(docs/autoencoders.md)."""
