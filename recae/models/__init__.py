"""The models and their registry.

A name stands for a class or one of its presets; calling it with settings builds the model. Adding
a model is adding its line here: recipes, the command line and the contract suite follow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from recae.models.autorec import AutoRec
from recae.models.base import Fitted, Recommender
from recae.models.blend import Blend
from recae.models.ensembles import Average, Stack
from recae.models.external import ImplicitALS, ImplicitBPR, MyFM
from recae.models.linear import EASE, Bias, ItemRidge, Popular
from recae.models.multinomial import MultinomialAutoencoder
from recae.models.pca import PCA
from recae.models.persistence import load_model
from recae.models.rbm import RBM
from recae.models.recommendations import Recommendations
from recae.models.textbook import TEXTBOOK

MODELS: Final[dict[str, Callable[..., Recommender]]] = {
    "bias": Bias,
    "popular": Popular,
    "mf": AutoRec.mf,
    "svdpp": AutoRec.svdpp,
    "autorec-user": AutoRec.user,
    "autorec-item": AutoRec.item,
    "autorec-dual": AutoRec.dual,
    "autorec-user-paper": AutoRec.paper_user,
    "autorec-item-paper": AutoRec.paper_item,
    "rbm": RBM,
    "average": Average,
    "stack": Stack,
    "blend": Blend,
    "implicit-als": ImplicitALS,
    "implicit-bpr": ImplicitBPR,
    "myfm": MyFM,
    "ease": EASE,
    "denoising-ease": EASE.denoising,
    "pca": PCA,
    "item-ridge": ItemRidge,
    "mult-dae": MultinomialAutoencoder.dae,
    "mult-vae": MultinomialAutoencoder.vae,
    "recvae": MultinomialAutoencoder.recvae,
    **{name: partial(AutoRec, **settings) for name, settings in TEXTBOOK.items()},
}

__all__ = [
    "MODELS",
    "RBM",
    "AutoRec",
    "Average",
    "Blend",
    "Fitted",
    "MultinomialAutoencoder",
    "Recommendations",
    "Recommender",
    "Stack",
    "load_model",
]
