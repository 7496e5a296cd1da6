"""Are neighbours alike? Films by their genres and years, people by the other half of their ratings.

    python pipelines/likeness.py

On ml-latest-small. Of the ten nearest of every film with 20 ratings or more: how many share a genre
with it, by how many years they differ, and how many ratings they have; by codes as they are, with
the mean code taken out, and counted by ratings r as r / (r + doubt), `recae.neighbours` having 2.
Next to them chance, and the cosine of who rated what. Then every history is cut in two at random
and both halves are encoded as new users: how often each half's nearest is the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import recae
from recae.catalog import Catalog
from recae.ids import Rows
from recae.models import MODELS, Recommender
from recae.models.encodes import encoding
from recae.neighbours import Neighbours

Floats: TypeAlias = NDArray[np.float32]

N = 10
NAMES = ("mf", "autorec-dual", "autorec-item")
DOUBTS = (0, 1, 2, 5, 20)


def main() -> None:
    """Fit, and print a line for every way."""
    ratings = recae.load("ml-latest-small")
    catalog, counts = ratings.catalog, ratings.item_counts
    assert catalog is not None
    asked = np.flatnonzero(counts >= 20)
    print("10 nearest films                      share a genre   years apart   ratings (median)")
    chance = np.random.default_rng(0).integers(len(counts), size=(len(asked), N))
    line("chance", chance, asked, counts, catalog)
    films = ratings.mask.toarray().T.astype(np.float32)
    line("who rated what", nearest(films, asked), asked, counts, catalog)
    for name in NAMES:
        model = MODELS[name]().fit(ratings, rng=np.random.default_rng(0))
        codes = encoding(model).encode_items()
        for doubt in DOUBTS:
            trust = np.asarray(counts / (counts + doubt), np.float32)
            line(f"{name}, doubt {doubt}", nearest(codes, asked, trust), asked, counts, catalog)
        centred = codes - codes.mean(axis=0)
        line(f"{name}, centred", nearest(centred, asked), asked, counts, catalog)
        halves(name, model, ratings)


def nearest(codes: Floats, asked: Rows, trust: Floats | None = None) -> Rows:
    """[Q, N]: neighbours of the rows asked for."""
    return Neighbours.of(codes, trust).nearest(codes[asked], N, but=asked)[0]


def line(name: str, found: Rows, asked: Rows, counts: Rows, catalog: Catalog) -> None:
    """Print what the neighbours found [Q, N] have in common with the films asked for [Q]."""
    genres = catalog.genre_matrix
    assert genres is not None
    every = genres.toarray()
    shared = np.einsum("qg,qng->qn", every[asked], every[found]) > 0
    years = catalog.years
    known = (years[asked] > 0)[:, None] & (years[found] > 0)
    apart = np.abs(years[asked][:, None] - years[found])[known].mean()
    print(f"{name:<36}  {shared.mean():12.3f} {apart:13.2f} {np.median(counts[found]):15.0f}")


def halves(name: str, model: Recommender, ratings: recae.Ratings) -> None:
    """Print how often one half of a history is nearest to the other half, among everybody's."""
    first = np.random.default_rng(1).random(len(ratings)) < 0.5
    one, other = (
        replace(half, users=recae.Ids(half.users.values + 10**6))
        for half in (ratings.keep(first), ratings.keep(~first))
    )
    asked, codes = encoding(model).encode(one), encoding(model).encode(other)
    counts = other.user_counts
    trust = np.asarray(counts / (counts + 5), np.float32)
    own = np.arange(len(asked))
    for way, near in (
        ("as they are", Neighbours.of(codes)),
        ("doubt 5", Neighbours.of(codes, trust)),
    ):
        rows, _ = near.nearest(asked, 1)
        share = (rows[:, 0] == own).mean()
        print(f"{name}, users {way}: the other half of a history is nearest for {share:.3f}")


if __name__ == "__main__":
    main()
