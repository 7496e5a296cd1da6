"""The map of the latent space: its mathematics another way, and what stands at its points."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recae import maps
from recae.catalog import Catalog
from recae.errors import DataError, RecaeError
from recae.models import AutoRec, Popular
from recae.nn.training import Training
from tests.test_codes import RATINGS

GENRES = (("Action",), ("Comedy", "War"), ())
CATALOG = Catalog.of(
    RATINGS.items.values.tolist(),
    [f"Film {n}, The ({1990 + n})" if n else "Nameless" for n in range(12)],
    [GENRES[n % 3] for n in range(12)],
)
DATA = replace(RATINGS, catalog=CATALOG)
STYLE: dict[str, Any] = {"method": "pca", "least": 1}


@pytest.fixture(scope="module")
def model() -> AutoRec:
    settings: dict[str, Any] = {"k": 3, "training": Training(steps=4)}
    return AutoRec.dual(**settings).fit(DATA, rng=np.random.default_rng(0))


def test_principal_components_are_eigenvectors_of_the_covariance() -> None:
    codes = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32) @ np.diag(
        np.arange(1, 6, dtype=np.float32)
    )
    plane = maps.Plane.of(codes)
    places, shares = plane.places(codes), plane.shares
    values, vectors = np.linalg.eigh(np.cov(codes.T.astype(np.float64)))
    np.testing.assert_allclose(shares, values[:-3:-1] / values.sum(), rtol=1e-5)
    expected = (codes - codes.mean(axis=0)) @ vectors[:, :-3:-1]
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-4)
    np.testing.assert_array_equal(places, maps.Plane.of(codes).places(codes))


def test_codes_that_are_all_the_same_are_one_place() -> None:
    codes = np.ones((4, 3), np.float32)
    plane = maps.Plane.of(codes)
    places, shares = plane.places(codes), plane.shares
    assert not places.any()
    assert not shares.any()


def test_items_with_their_first_genre_or_year(model: AutoRec) -> None:
    drawn = maps.map_items(model, colour="genre", **STYLE)
    assert drawn.places.shape == (12, 2)
    assert drawn.colours[:3] == ("Action", "Comedy", "")
    assert drawn.names[:2] == ("Nameless", "The Film 1")
    assert "% of the variance" in drawn.axes[0]
    years = maps.map_items(model, colour="year", **STYLE).colours
    assert np.isnan(years[0])
    assert years[1:].tolist() == list(range(1991, 2002))


def test_only_those_rated_often_enough(model: AutoRec) -> None:
    least = int(np.sort(RATINGS.item_counts)[-4])
    drawn = maps.map_items(model, colour="genre", method="pca", least=least)
    assert (drawn.counts >= least).all()
    assert len(drawn.places) == len(drawn.names) == (RATINGS.item_counts >= least).sum()
    with pytest.raises(DataError, match="0 items have 21 ratings or more"):
        maps.map_items(model, colour="genre", method="pca", least=21)


def test_users_by_what_they_rate_more_than_others(model: AutoRec) -> None:
    actions = [row for row in range(12) if row % 3 == 0]
    fan = DATA.keep((DATA.rows != 7) | np.isin(DATA.columns, actions))
    favourites = maps.map_users(model, fan, colour="genre", **STYLE).colours
    assert favourites[7] == "Action"
    assert set(favourites) <= {"Action", "Comedy", "War"}
    years = maps.map_users(model, DATA, colour="year", **STYLE).colours
    rated = [1990 + column for column in DATA.columns[DATA.rows == 2].tolist() if column]
    assert years[2] == pytest.approx(np.mean(rated))


def test_what_has_no_map() -> None:
    rng, style = np.random.default_rng(0), {"colour": "genre", **STYLE}
    settings: dict[str, Any] = {"training": Training(steps=2)}
    with pytest.raises(DataError, match="a Popular has no codes"):
        maps.map_items(Popular().fit(DATA, rng=rng), **style)
    with pytest.raises(DataError, match="knows no genre of any item"):
        maps.map_items(AutoRec.mf(k=2, **settings).fit(RATINGS, rng=rng), **style)
    with pytest.raises(DataError, match="codes of size 1"):
        maps.map_items(AutoRec.mf(k=1, **settings).fit(DATA, rng=rng), **style)


def test_umap_is_an_extra(model: AutoRec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(RecaeError, match=r"pip install 'recae\[maps\]'"):
        maps.map_items(model, colour="genre", method="umap", least=1)


def test_umap_is_asked_where_it_is_there(model: AutoRec, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stand:
        def __init__(self, **settings: Any) -> None:
            assert settings["random_state"] == 0

        def fit_transform(self, codes: Any) -> Any:
            return codes[:, :2]

    monkeypatch.setitem(sys.modules, "umap", type(sys)("umap"))
    monkeypatch.setattr(sys.modules["umap"], "UMAP", Stand, raising=False)
    drawn = maps.map_items(model, colour="genre", method="umap", least=1)
    np.testing.assert_allclose(drawn.places, model.encode_items()[:, :2])
    assert drawn.axes == ("UMAP 1", "UMAP 2")
