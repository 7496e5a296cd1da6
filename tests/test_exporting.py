"""ONNX files say in another runtime what the models themselves say of new users."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from recae import __version__, exporting, load
from recae.errors import DataError, NotFittedError, RecaeError
from recae.exporting import export_onnx, graph, models, onnx_model
from recae.features import Features
from recae.ids import Ids
from recae.models import MODELS, AutoRec, MultinomialAutoencoder, Recommender
from recae.models.kernel import Kernel
from recae.nn.activations import ACTIVATIONS
from recae.nn.encoders import Dense, Recurrent
from recae.ratings import Ratings
from tests.test_contract import SPLIT, small, world

ELSEWHERE = {
    "autorec-item-tied": (AutoRec.item, {"encoder": Dense(tied=True)}),
    "autorec-dual-mean": (AutoRec.dual, {"baseline": "mean"}),
    "autorec-dual-raw": (AutoRec.dual, {"baseline": "none"}),
    "autorec-item-of-sequences": (AutoRec.item, {"encoder": Recurrent()}),
    "autorec-user-sigmoid-stars": (AutoRec.user, {"baseline": "none", "output": "sigmoid"}),
    "mult-dae-all-rated": (MultinomialAutoencoder.dae, {"reads": "rated"}),
    "mult-dae-from-two": (MultinomialAutoencoder.dae, {"liked_from": 2.0, "normalize": False}),
    **{f"autorec-user-{name}": (AutoRec.user, {"activation": name}) for name in ACTIVATIONS},
}
MADE = {name: (make, {}) for name, make in MODELS.items()} | ELSEWHERE
EXPORTED = [
    name
    for name, (make, settings) in MADE.items()
    if isinstance(make(**settings), AutoRec | MultinomialAutoencoder)
    and name not in {f"autoencoder-{kind}" for kind in ("recurrent", "convolutional", "nade")}
    and name != "autoencoder-kernelized"
]


TRAIN = SPLIT.train.keep(SPLIT.train.columns != 29)
"""Nobody has rated the last item."""


def fitted(name: str, train: Ratings = TRAIN) -> Recommender:
    """Trained for a moment, then moved far from where it began: no weight is too small to be
    missed."""
    make, settings = MADE[name]
    model = small(make(**settings)).fit(train, rng=np.random.default_rng(3))
    rng, arrays = np.random.default_rng(4), model.state()
    for key, array in arrays.items():
        if array.dtype == np.float32:
            arrays[key] = array + rng.normal(scale=0.4, size=array.shape).astype(np.float32)
    model.restore(arrays)
    return model


def newcomers(items: Ids, scale: tuple[float, float] = (1, 5), times: bool = True) -> Ratings:
    """Nobody seen before: 12 of any taste, then who rated nothing, one item, everything alike,
    everything low, and one item that training has no rating of."""
    rng, (low, high) = np.random.default_rng(5), scale
    chosen = np.ones((17, len(items)), bool)
    chosen[:12] = rng.random((12, len(items))) < 0.4
    chosen[12:14] = chosen[16] = False
    chosen[13, 2] = chosen[16, -1] = True
    stars = np.round(rng.uniform(low, high, chosen.shape) * 2) / 2
    stars[14], stars[15] = high, low
    users, columns = np.nonzero(np.ones_like(chosen))
    everything = Ratings.of(
        [f"new {user:02d}" for user in users],
        items.values[columns],
        stars.ravel(),
        np.arange(stars.size) if times else None,
        scale=scale,
    )
    return everything.keep(chosen.ravel())


def dense(history: Ratings) -> np.ndarray:
    """As a file reads it."""
    given = np.full(history.matrix.shape, np.nan, np.float32)
    given[history.rows, history.columns] = history.stars
    return given


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString())


def said(model: onnx.ModelProto, given: np.ndarray) -> dict[str, np.ndarray]:
    running = session(model)
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(None, {"ratings": given}), strict=True))


def agree(model: Recommender, history: Ratings, *, within: float) -> None:
    """The file and the model, of new users."""
    assert model.known(history).max() == -1
    told: Any = model
    found = said(onnx_model(model), dense(history))
    name = "stars" if model.predicts_stars else "scores"
    assert set(found) == {"codes", "item_codes", name}
    wanted = model.predict(history) if model.predicts_stars else model.scores(history)
    size = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found[name], wanted, rtol=0, atol=within * size)
    np.testing.assert_allclose(found["codes"], told.encode(history), rtol=0, atol=within * size)
    np.testing.assert_array_equal(found["item_codes"], told.encode_items())


@pytest.mark.parametrize("name", EXPORTED)
def test_a_file_says_what_the_model_says_of_new_users(name: str) -> None:
    model = fitted(name)
    agree(model, newcomers(model.fitted.items), within=2e-5)


@pytest.mark.parametrize("name", ["autorec-dual", "mf", "mult-dae"])
def test_ids_that_are_text_and_a_scale_with_nought(name: str) -> None:
    text = world(text_ids=True)
    wide = Ratings.of(
        text.users.values[text.rows],
        text.items.values[text.columns],
        (text.stars - 1) * 25,
        scale=(0, 100),
    )
    model = fitted(name, wide)
    history = newcomers(model.fitted.items, (0, 100), times=False)
    assert (history.stars == 0).any()
    agree(model, history, within=2e-5)
    written = {entry.key: entry.value for entry in onnx_model(model).metadata_props}
    assert json.loads(written["items"]) == text.items.values.tolist()
    assert json.loads(written["scale"]) == [0, 100]
    assert (written["model"], written["recae"]) == (name, __version__)


def test_side_data_of_items_are_in_the_file_and_those_of_users_are_not_read() -> None:
    train = TRAIN
    kinds = ["go" if row % 3 else "chess" for row in range(len(train.users))]
    years = np.arange(len(train.items)) % 9
    train = replace(
        train,
        user_features=Features.of(train.users.values, {"plays": kinds}),
        item_features=Features.of(train.items.values, {"year": years}),
    )
    model = fitted("autorec-dual", train)
    agree(model, newcomers(model.fitted.items), within=2e-5)


def test_numbers_of_items_are_the_models_own(tmp_path: Path) -> None:
    model = fitted("autorec-dual")
    file = export_onnx(model, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    read = onnx.load(file)
    written = {entry.key: entry.value for entry in read.metadata_props}
    assert json.loads(written["items"]) == model.fitted.items.values.tolist()
    (ratings,) = session(read).get_inputs()
    assert (ratings.name, ratings.shape) == ("ratings", ["users", len(model.fitted.items)])


def test_who_has_stars_outside_the_scale_gets_none() -> None:
    model = fitted("autorec-dual")
    given = dense(newcomers(model.fitted.items))
    fine = said(onnx_model(model), given)
    for wrong in (5.5, 0.0, -np.inf, np.inf):
        loud = given.copy()
        loud[3, 4] = wrong
        found = said(onnx_model(model), loud)
        for name in ("codes", "stars"):
            assert np.isnan(found[name][3]).all()
            others = np.arange(len(given)) != 3
            np.testing.assert_allclose(found[name][others], fine[name][others], atol=1e-5)


def test_nobody_at_all() -> None:
    for name in ("autorec-dual", "mult-dae"):
        model = fitted(name)
        found = said(onnx_model(model), np.empty((0, len(model.fitted.items)), np.float32))
        assert [len(each) for each in found.values()] == [0, 0, len(model.fitted.items)]


def test_a_half_step_that_is_not_solved_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted("autorec-dual")
    monkeypatch.setattr(models, "_MOST_TURNS", 2)
    stars = said(onnx_model(model), dense(newcomers(model.fitted.items)))["stars"]
    assert np.isnan(stars[:12]).all()
    assert np.isfinite(stars[12]).all()


@pytest.mark.parametrize("name", [name for name in MADE if name not in EXPORTED])
def test_other_models_are_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be exported to ONNX: train") as refusal:
        onnx_model(fitted(name) if name.startswith("autoencoder") else plainly(name))
    assert "\n" not in str(refusal.value)


def plainly(name: str) -> Recommender:
    return small(MODELS[name]()).fit(TRAIN, rng=np.random.default_rng(0))


@pytest.mark.parametrize("settings", [{"kernel": Kernel(local=0.5)}, {"head": "ordinal"}])
def test_settings_that_have_no_graph_are_refused(settings: dict[str, Any]) -> None:
    model = small(AutoRec.dual(**settings)).fit(TRAIN, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match=f"{next(iter(settings))}.* cannot be exported to ONNX"):
        onnx_model(model)


def test_what_else_can_go_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFittedError):
        onnx_model(AutoRec.dual())
    model = fitted("mf")
    with pytest.raises(DataError, match=r"cannot write .*nowhere"):
        export_onnx(model, tmp_path / "nowhere" / "m.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(graph, "_MOST_BYTES", 1000)
        with pytest.raises(DataError, match="2 GB of weights"):
            export_onnx(model, tmp_path / "m.onnx")
    monkeypatch.delitem(sys.modules, "recae.exporting.files")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RecaeError, match=r"pip install 'recae\[onnx\]'"):
        exporting.onnx_model(model)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autorec-dual", "mf", "mult-dae"])
def test_models_of_real_ratings(name: str) -> None:
    ratings = load("ml-latest-small")
    model = MODELS[name]().set_params(training__steps=60)
    model.fit(ratings, rng=np.random.default_rng(0))
    agree(model, newcomers(ratings.items, (0.5, 5)), within=1e-4)
