"""Encoders of sequences in the family: whose times count, and data that have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recae.cli import main
from recae.errors import DataError
from recae.models import MODELS, AutoRec, Recommender
from recae.nn.encoders import Convolutional, Recurrent
from recae.ratings import Ratings
from recae.recipes import parse
from tests.test_contract import RATINGS, SPLIT, fitted, small

NAMES = ("autoencoder-recurrent", "autoencoder-convolutional")


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> Recommender:
    return fitted(str(request.param))


def moved(user: int) -> Ratings:
    """The training ratings, those of one user in the reverse order."""
    times = np.asarray(SPLIT.train.times).copy()
    mine = SPLIT.train.rows == user
    times[mine] = -times[mine]
    return replace(SPLIT.train, times=times)


def test_who_rated_in_another_order_is_folded_in(model: Recommender) -> None:
    changed = moved(2)
    assert np.flatnonzero(model.known(changed) < 0).tolist() == [2]
    before, after = model.predict(SPLIT.train), model.predict(changed)
    assert np.abs(after[2] - before[2]).max() > 1e-6
    others = np.arange(len(before)) != 2
    np.testing.assert_allclose(after[others], before[others], atol=2e-6)


def test_known_or_new_is_the_same(model: Recommender) -> None:
    strangers = replace(SPLIT.train, users=type(SPLIT.train.users)(SPLIT.train.users.values + 999))
    assert model.known(strangers).max() == -1
    np.testing.assert_allclose(model.predict(strangers), model.predict(SPLIT.train), atol=1e-5)


def test_who_comes_without_times_is_taken_as_learned_or_in_the_order_of_items(
    model: Recommender,
) -> None:
    timeless = replace(SPLIT.train, times=None)
    assert model.known(timeless).min() >= 0
    np.testing.assert_array_equal(model.predict(timeless), model.predict(SPLIT.train))
    ids = RATINGS.items.values
    one = Ratings.of([10**6] * 3, ids[[4, 1, 7]], [5.0, 2.0, 1.0], scale=(1, 5))
    at_once = replace(one, times=np.zeros(3, np.int64))
    np.testing.assert_array_equal(model.predict(one), model.predict(at_once))


def test_items_may_be_read_in_time_order_too() -> None:
    """Their codes are learned, so that users are known whatever the times of a history are."""
    model = small(AutoRec.item(encoder=Recurrent())).fit(SPLIT.train, rng=np.random.default_rng(0))
    assert model.known(moved(2)).min() >= 0
    other = small(AutoRec.item(encoder=Recurrent())).fit(moved(2), rng=np.random.default_rng(0))
    assert not np.array_equal(model.predict(SPLIT.train), other.predict(SPLIT.train))


@pytest.mark.parametrize(
    "encoder", [Recurrent(reconstruction=0.3), Convolutional(reconstruction=0.3)]
)
def test_the_second_decoder_is_trained_and_reported(encoder: Recurrent | Convolutional) -> None:
    said: list[float] = []
    small(AutoRec.user(encoder=encoder)).fit(
        SPLIT.train,
        rng=np.random.default_rng(0),
        on_epoch=lambda p: said.append(p.metrics["train/rows/reconstruction"]),
    )
    assert len(said) == 3
    assert np.isfinite(said).all()


@pytest.mark.parametrize("name", NAMES)
def test_ratings_without_times_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="have no times: name their column"):
        fitted(name, replace(SPLIT, train=replace(SPLIT.train, times=None)))


@pytest.mark.parametrize("name", NAMES)
def test_training_without_times_ends_with_a_sentence(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, recipe = tmp_path / "ratings.csv", tmp_path / "r.toml"
    rows = (f"{i % 5},{i},{i % 4 + 1}\n" for i in range(40))
    table.write_text("user,item,rating\n" + "".join(rows))
    recipe.write_text(
        f'name = "r"\n[data]\nsource = {json.dumps(str(table))}\n[split]\nkind = "random"\n'
        f'[[model]]\nkind = "{name}"\n'
    )
    monkeypatch.setattr("sys.argv", ["recae", "train", str(recipe), "--no-track"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert "reads ratings in time order, and these have no times: name their column" in sentence


def test_recipes_set_them() -> None:
    raw = {
        "name": "r",
        "split": {"kind": "random"},
        "model": [{"kind": "autoencoder-recurrent", "encoder": {"reconstruction": 0.5}}],
    }
    built = parse(raw).models[0].build()
    default = MODELS["autoencoder-recurrent"]().params["encoder"]
    assert built.params["encoder"] == replace(default, reconstruction=0.5)
