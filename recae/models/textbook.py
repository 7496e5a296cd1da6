"""The autoencoders of the textbook on users' rating vectors, by name: settings of `AutoRec`.

All of them read a user's ratings, less the baseline, and that they were given; the decoder's last
layer is a table of items. They differ in what keeps the code from being a copy. Sizes, penalties
and steps suit ml-latest-small; pipelines/autoencoders-*.toml have those that were tuned.
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
    objective="reconstruct", steps=200, learning_rate=0.02, weight_decay=12.0, ema=0.95
)
_SHORT: Final = replace(_PLAIN, steps=100, learning_rate=0.01)
_HIDING: Final = Training(steps=200, learning_rate=0.008, weight_decay=4.0, ema=0.95)
_CODE: Final[dict[str, Any]] = {"items": "table", "dropout": 0.0, "training": _PLAIN}
_STACK: Final[dict[str, Any]] = _CODE | {
    "k": 32,
    "encoder": Dense(hidden=(64,)),
    "training": replace(_SHORT, learning_rate=0.004, weight_decay=8.0),
}
_SEQUENCE: Final[dict[str, Any]] = _CODE | {
    "dropout": 0.4,
    "training": replace(_HIDING, steps=120, hide=(0.1, 0.3), learning_rate=0.012, weight_decay=6.0),
}

TEXTBOOK: Final[dict[str, dict[str, Any]]] = {
    "autoencoder": _CODE | {"k": 32},
    # Wider than what almost any user has rated.
    "autoencoder-overcomplete": _CODE
    | {"k": 600, "training": replace(_SHORT, steps=50, weight_decay=16.0, noise=0.5)},
    "autoencoder-cross-entropy": _CODE
    | {"baseline": "none", "output": "sigmoid", "head": "cross-entropy"},
    "autoencoder-stacked": _STACK,
    "autoencoder-tied": _CODE | {"k": 32, "encoder": Dense(tied=True)},
    "autoencoder-pretrained": _STACK | {"pretraining": "layerwise"},
    # Machines learn by these settings too, and under the decay of other stacks they learn nothing.
    "autoencoder-rbm": _STACK
    | {
        "activation": "sigmoid",
        "encoder": Dense(hidden=(200,)),
        "pretraining": "rbm",
        "training": replace(_SHORT, weight_decay=0.5),
    },
    "autoencoder-denoising": _CODE
    | {"training": replace(_HIDING, objective="denoise", noise=0.25, weight_decay=8.0)},
    "autoencoder-sparse": _CODE
    | {
        "k": 300,
        "activation": "sigmoid",
        "encoder": Dense(sparsity=0.05, sparsity_target=0.1),
        "training": replace(_PLAIN, weight_decay=4.0),
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
        "training": replace(_HIDING, learning_rate=0.0047),
    },
    "autoencoder-recurrent": _SEQUENCE | {"encoder": Recurrent(longest=20)},
    "autoencoder-convolutional": _SEQUENCE | {"encoder": Convolutional(longest=20)},
    "autoencoder-kernelized": _CODE
    | {"dropout": 0.4, "encoder": Kernelized(sparsity=0.1), "training": _HIDING},
    "autoencoder-nade": _CODE
    | {
        "baseline": "none",
        "dropout": 0.5,
        "encoder": Ordinal(levels=10),
        "head": "nade",
        "training": replace(_HIDING, learning_rate=0.03, weight_decay=2.0, shrink_biases=False),
    },
}
