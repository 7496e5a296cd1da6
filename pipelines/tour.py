"""The pictures of docs/autoencoders.md, from the embedded ml-latest-small.

    python pipelines/tour.py [NAME ...] [--out docs/tour]

NAME: bottleneck, pretraining, denoising, sparsity, contraction, generated, pca, latent, anomalies;
none: all of them, in a few minutes. Every model has the settings of its name but for those that a
picture is about, seed 0, and the split of the quickstart; errors are of validation ratings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

import recae
from recae import plots, splits
from recae.anomalies import average_attack, judge, random_raters
from recae.errors import RecaeError
from recae.maps import map_items
from recae.metrics import rmse
from recae.models import MODELS, AutoRec, Recommender
from recae.models.generation import sample
from recae.models.pca import PCA
from recae.nn.training import Progress
from recae.splits import Holdout, Split

HERE: Final = Path(__file__).resolve().parent
SIZES: Final = (2, 4, 8, 16, 32, 64, 128, 256)
SHARES: Final = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
NOISES: Final = (0.1, 0.25, 0.5, 1.0, 2.0)


@cache
def split() -> Split:
    """That of the quickstart."""
    ratings = recae.load("ml-latest-small")
    return splits.random(ratings, test=0.1, validation=0.05, rng=np.random.default_rng(0))


def held() -> Holdout:
    """Its validation ratings."""
    found = split().validation
    assert found is not None
    return found


def trained(kind: str, on_epoch: Callable[[Progress], None] | None = None, **changed: Any) -> Any:
    """The model of that name with these settings, on the split's training ratings."""
    model: Recommender = MODELS[kind](**changed)
    validation = None if on_epoch is None else split().validation
    rng = np.random.default_rng(0)
    return model.fit(split().train, validation=validation, rng=rng, on_epoch=on_epoch)


def error(model: Recommender, holdout: Holdout) -> float:
    """RMSE in stars."""
    return rmse(holdout.target.stars, model.predict_at(holdout))


def bottleneck() -> Figure:
    """Errors on known and on held-out ratings, by the size of the code."""
    training = MODELS["autoencoder"]().params["training"]
    free = replace(training, weight_decay=0.0)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for k in SIZES:
        for name, settings in (("no constraint", free), ("weight decay", training)):
            model = trained("autoencoder", k=k, training=settings)
            own = split().train
            again = model.predict(own)[own.rows, own.columns]
            for what, value in (
                ("known", rmse(own.stars, again)),
                ("held out", error(model, held())),
            ):
                xs, ys = found.setdefault(f"{name}: {what}", ([], []))
                xs.append(k)
                ys.append(value)
    return plots.lines(found, x="size of the code, k", y="RMSE (stars)", log=True)


def pretraining() -> Figure:
    """Validation error by step of the whole stack, from the same seed."""
    found = {}
    labels = {"none": "from random weights", "layerwise": "layer by layer", "rbm": "as machines"}
    for way, label in labels.items():
        points: list[tuple[int, float]] = []

        def said(progress: Progress, points: list[tuple[int, float]] = points) -> None:
            if "val/rmse" in progress.metrics:
                points.append((progress.step, progress.metrics["val/rmse"]))

        model = trained("autoencoder-rbm", said, pretraining=way)
        first = model.steps - model.training.steps
        steps, values = zip(*points, strict=True)
        found[label] = ([step - first for step in steps], list(values))
    return plots.lines(found, x="step of fine-tuning", y="validation RMSE (stars)")


def denoising() -> Figure:
    """Error by how much of a history is shown, for each objective."""
    rng, found = np.random.default_rng(1), {}
    order = rng.random(len(held().history))
    for objective in ("reconstruct", "denoise", "split"):
        training = replace(MODELS["autorec-user"]().params["training"], objective=objective)
        model = trained("autorec-user", training=training)
        shown = [Holdout(held().history.keep(order < share), held().target) for share in SHARES]
        found[objective] = (list(SHARES), [error(model, some) for some in shown])
    return plots.lines(found, x="share of each history that is shown", y="validation RMSE (stars)")


def sparsity() -> Figure:
    """Activations of codes."""
    plain = MODELS["autoencoder-sparse"]().params["encoder"]
    models = {
        "sigmoid units": trained("autoencoder-sparse", encoder=replace(plain, sparsity=0.0)),
        "sparse, KL to 0.1": trained("autoencoder-sparse", encoder=replace(plain, sparsity=5.0)),
        "k-sparse (size)": trained("autoencoder-k-sparse"),
    }
    values = {name: np.abs(model.encode(split().train)).ravel() for name, model in models.items()}
    return plots.histograms(values, x="activation of a unit (tanh units: its size)")


def contraction() -> Figure:
    """How far codes move when ratings are jittered."""
    rng, own = np.random.default_rng(2), split().train
    noise = rng.standard_normal(len(own)).astype(np.float32)
    low, high = own.scale
    found = {}
    for name, weight in (("no penalty", 0.0), ("contraction 10", 10.0), ("contraction 1000", 1e3)):
        encoder = replace(MODELS["autoencoder-contractive"]().params["encoder"], contraction=weight)
        model = trained("autoencoder-contractive", encoder=encoder)
        codes = model.encode(own)
        moved = []
        for size in NOISES:
            jittered = own.with_stars(np.clip(own.stars + size * noise, low, high))
            moved.append(float(np.linalg.norm(model.encode(jittered) - codes)))
        spread = float(np.linalg.norm(codes - codes.mean(axis=0)))
        found[name] = (list(NOISES), [each / spread for each in moved])
    y = "distance codes move, over their spread"
    return plots.lines(found, x="standard deviation of the jitter (stars)", y=y)


def generated() -> Figure:
    """How often each film is liked, by real and by generated users."""
    model, own = trained("mult-vae"), split().train
    people = sample(model, own, 5 * len(own.users), rng=np.random.default_rng(3))
    liked = own.liked(None).mask.sum(axis=0) / len(own.users)
    drawn = people.over(own.items).mask.sum(axis=0) / len(people.users)
    some = (liked > 0) & (drawn > 0)
    correlation = np.corrcoef(liked, drawn)[0, 1]
    title = f"a dot a film; correlation {correlation:.3f}"
    x, y = "share of real users who like it", "share of generated users who do"
    return plots.scatter(liked[some], drawn[some], x=x, y=y, log=True, title=title)


def pca() -> Figure:
    """Variance explained by the first k components, of ratings less the baseline and of noise."""
    model = trained("pca", k=256)
    own, rng = split().train, np.random.default_rng(4)
    shuffled = own.with_stars(rng.permutation(own.stars))
    noise = PCA(k=256).fit(shuffled, rng=rng)
    ks = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    found = {
        name: (ks, [float(each.variance_explained[:k].sum()) for k in ks])
        for name, each in (("ratings", model), ("the same stars, shuffled", noise))
    }
    return plots.lines(found, x="size of the code, k", y="share of variance explained", log=True)


def latent() -> Figure:
    """Films by their codes."""
    return plots.latent(map_items(trained("autorec-dual"), colour="genre", method="pca", least=20))


def anomalies() -> Figure:
    """How suspicious real and invented users are."""
    own, rng = split().train, np.random.default_rng(5)
    target = int(np.flatnonzero(own.item_counts == 5)[0])
    style: dict[str, Any] = {"size": 0.05, "rng": rng}
    attacked = {
        "average push": average_attack(own, target, aim="push", filler=0.01, **style),
        "random raters": random_raters(own, **style),
    }
    values = {}
    for name, injected in attacked.items():
        model = AutoRec.dual().fit(injected.ratings, rng=np.random.default_rng(0))
        suspicion = np.sqrt(judge(model, injected.ratings, rng=rng).suspicion)
        values[name] = suspicion[injected.users]
        values.setdefault("real users", suspicion[~injected.users])
    return plots.histograms(values, x="suspicion (root)")


PICTURES: Final[dict[str, Callable[[], Figure]]] = {
    made.__name__: made
    for made in (
        bottleneck,
        pretraining,
        denoising,
        sparsity,
        contraction,
        generated,
        pca,
        latent,
        anomalies,
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, and say where; the exit code is 2 for mistakes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help=", ".join(PICTURES))
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "tour")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.name if name not in PICTURES]:
        print(f"error: no picture is called {unknown[0]!r}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for name in arguments.name or PICTURES:
            path = arguments.out / f"{name}.png"
            PICTURES[name]().savefig(path, dpi=100)
            print(path, flush=True)
    except RecaeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
