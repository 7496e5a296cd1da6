"""Side data through training: what encoders make of them, who is known by them, and what stays."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from recae.cli import main
from recae.data import features, load
from recae.errors import DataError
from recae.features import Features
from recae.ids import Ids
from recae.leaks import leak_test
from recae.models import AutoRec, load_model
from recae.models.bridge import matrix_of
from recae.nn.encoders import Dense
from recae.nn.sides import Seen, encode
from recae.nn.training import Training, _hide
from recae.ratings import Ratings
from recae.splits import Holdout, unseen_items
from tests.nn.test_training import READS, problem

KINDS = ("red", "green", "blue")


def world() -> Ratings:
    """60 users with an age that decides which of three kinds of the 40 items they like."""
    rng = np.random.default_rng(7)
    users, items = np.nonzero(rng.random((60, 40)) < 0.4)
    likes = users % 3 == items % 3
    stars = np.clip(np.round(2.5 + 2 * likes + rng.normal(size=len(users)) * 0.5), 1, 5)
    ratings = Ratings.of(users, items + 100, stars, scale=(1, 5))
    ages = Features.of(range(60), {"group": [f"g{u % 3}" for u in range(60)]})
    kinds = Features.of(range(100, 140), {"kind": [KINDS[i % 3] for i in range(40)]})
    return ratings.with_features(users=ages, items=kinds)


RATINGS = world()
SPLIT = unseen_items(RATINGS, test=0.2, rng=np.random.default_rng(0))
TRAINING = Training(steps=100, reports=2, cold=0.2, learning_rate=0.02)


def make(**settings: object) -> AutoRec:
    return AutoRec.dual(**{"k": 4, "dropout": 0.1, "training": TRAINING} | settings)


def fit(ratings: Ratings = SPLIT.train, **settings: object) -> AutoRec:
    return make(**settings).fit(ratings, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def model() -> AutoRec:
    return fit()


def bare(ratings: Ratings) -> Ratings:
    return replace(ratings, user_features=None, item_features=None)


def rmse(model: AutoRec, holdout: Holdout) -> float:
    return float(np.sqrt(np.mean((model.predict_at(holdout) - holdout.target.stars) ** 2)))


# --- the encoder


def test_the_encoder_adds_side_data_before_its_activation() -> None:
    """code = tanh(c + ratings + f F), whatever the number of entries seen; row by row."""
    _, structure, residuals = problem()
    dense = Dense().side(replace(READS, side=3))
    entry = dense.entry
    known = (torch.rand(12, 3) * (torch.rand(12, 3) < 0.5)).numpy()
    side = matrix_of(sparse.csr_array(known), torch.device("cpu"))
    codes = encode(dense, Seen.everything(structure, residuals, side))
    assert entry.values_weight is not None
    assert entry.mask_weight is not None
    assert entry.side_weight is not None
    for row in range(12):
        mine = structure.row_of_entry == row
        columns = structure.columns.long()[mine]
        total = residuals[mine] @ entry.values_weight[columns] + entry.mask_weight[columns].sum(0)
        total = total / max(len(columns), 1) ** 0.5
        total = total + torch.from_numpy(known[row]) @ entry.side_weight
        wanted = torch.tanh(entry.bias + total)
        torch.testing.assert_close(codes.vectors[row], wanted.detach())


def test_some_rows_and_columns_are_hidden_whole() -> None:
    _, structure, residuals = problem()
    data = Seen.everything(structure, residuals)
    torch.manual_seed(0)
    hidden, seen = _hide(data, Training(hide=(0.01, 0.01), cold=0.5))
    assert hidden is not None
    counts = structure.sums(torch.ones_like(residuals))
    rows = seen.counts / counts
    columns = seen.T.counts / structure.transposed.sums(torch.ones_like(residuals))
    assert (rows == 0).sum() > 2
    assert (columns == 0).sum() > 2
    warm = (rows[structure.row_of_entry] > 0) & (columns[structure.columns.long()] > 0)
    assert seen.mask.by_row[warm].mean() > 0.9
    torch.testing.assert_close(seen.mask.by_row, 1 - hidden)


# --- through training


def test_items_nobody_rated_are_told_apart(model: AutoRec) -> None:
    """What is left to do without side data is the user's mean."""
    without = fit(side_data=False)
    assert rmse(model, SPLIT.test) < 0.85 * rmse(without, SPLIT.test)
    n = len(SPLIT.test.target)
    assert model.provenance(SPLIT.test) == {"ordinary": 0, "folded in": n, "fallback": 0}
    assert without.provenance(SPLIT.test) == {"ordinary": 0, "folded in": 0, "fallback": n}
    assert leak_test(model, SPLIT.test, rng=np.random.default_rng(0)).verdict.startswith("no leak")


def test_side_data_left_aside_leave_no_trace() -> None:
    ours, theirs = fit(side_data=False), fit(bare(SPLIT.train))
    np.testing.assert_array_equal(ours.predict(SPLIT.train), theirs.predict(bare(SPLIT.train)))


@pytest.mark.parametrize("preset", [AutoRec.mf, AutoRec.svdpp])
def test_tables_do_not_read_side_data(preset: object) -> None:
    small = preset(k=4, training=Training(steps=5, reports=1))  # type: ignore[operator]
    ours = small.fit(SPLIT.train, rng=np.random.default_rng(0)).predict(SPLIT.train)
    theirs = small.fresh().fit(bare(SPLIT.train), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(ours, theirs.predict(bare(SPLIT.train)))


def test_one_sided_encoders_read_their_side() -> None:
    small = {"k": 4, "training": Training(steps=60, reports=1, cold=0.2, learning_rate=0.02)}
    by_item = AutoRec.item(**small).fit(SPLIT.train, rng=np.random.default_rng(0))
    by_user = AutoRec.user(**small).fit(SPLIT.train, rng=np.random.default_rng(0))
    n = len(SPLIT.test.target)
    assert by_item.provenance(SPLIT.test)["folded in"] == n
    assert by_user.provenance(SPLIT.test)["fallback"] == n
    assert rmse(by_item, SPLIT.test) < rmse(by_user, SPLIT.test)


def newcomers(group: Features | None) -> Ratings:
    """Two users without a rating, 1000 and 1001."""
    empty = RATINGS.keep(np.zeros(len(RATINGS), bool)).take_users(np.array([0, 1]))
    return replace(empty, users=Ids.of([1000, 1001]), user_features=group)


def test_new_users_are_known_by_side_data(model: AutoRec) -> None:
    """Without ratings and side data nothing is known of them, and all of them are alike."""
    known = newcomers(Features.of([1000, 7], {"group": ["g1", "g2"]}))
    first, second = model.predict(known)
    liked = np.arange(40) % 3 == 1
    assert first[liked].mean() > first[~liked].mean() + 0.5
    nothing = model.predict(newcomers(None))
    np.testing.assert_array_equal(nothing[0], nothing[1])
    np.testing.assert_array_equal(second, nothing[0])
    target = Ratings.of([1000, 1001], [100, 100], [3.0, 3.0], scale=(1, 5))
    of_both = Holdout(known, target.over(RATINGS.items))
    assert model.provenance(of_both) == {"ordinary": 0, "folded in": 1, "fallback": 1}


def test_ratings_alone_are_enough_for_new_users(model: AutoRec) -> None:
    assert len(model.recommend({100: 5.0, 101: 1.0}, n=3)) == 3
    strangers = replace(SPLIT.train, users=Ids(SPLIT.train.users.values + 500))
    without = model.predict(bare(strangers))
    assert np.isfinite(without).all()
    told = Features(strangers.users, SPLIT.train.user_features.columns)  # type: ignore[union-attr]
    with_them = model.predict(replace(strangers, user_features=told))
    np.testing.assert_allclose(with_them, model.predict(SPLIT.train), atol=1e-5)
    assert not np.allclose(without, with_them, atol=1e-3)


def test_histories_need_no_side_data_of_items(model: AutoRec) -> None:
    """Items are known since training; a history may come with others, or with none."""
    strangers = replace(SPLIT.train, users=Ids(SPLIT.train.users.values + 500))
    other = replace(strangers, item_features=Features.of([100, 101], {"colour": ["x", "y"]}))
    np.testing.assert_array_equal(
        model.predict(other), model.predict(replace(strangers, item_features=None))
    )


def test_items_without_a_row_are_unknown_where_nobody_rated_them() -> None:
    rows = SPLIT.train.item_features
    assert rows is not None
    cold = np.flatnonzero(SPLIT.train.item_counts == 0)
    some = np.setdiff1d(np.arange(len(rows)), cold[:2])
    fewer = rows.take(some, Ids(rows.ids.values[some]))
    model = fit(replace(SPLIT.train, item_features=fewer))
    stars = model.predict(SPLIT.train)
    np.testing.assert_array_equal(stars[:, cold[0]], stars[:, cold[1]])
    assert not np.allclose(stars[:, cold[2]], stars[:, cold[3]], atol=1e-3)
    counts = model.provenance(SPLIT.test)
    without = np.isin(SPLIT.test.target.columns, cold[:2]).sum()
    assert counts["fallback"] == without
    assert counts["folded in"] == len(SPLIT.test.target) - without


def test_codings_are_kept(model: AutoRec, tmp_path: Path) -> None:
    again = load_model(model.save(tmp_path / "model"))
    assert again.fitted.user_coding == model.fitted.user_coding
    assert again.fitted.item_coding == model.fitted.item_coding
    known = newcomers(Features.of([1000], {"group": ["g1"]}))
    np.testing.assert_array_equal(again.predict(known), model.predict(known))
    np.testing.assert_array_equal(again.predict_at(SPLIT.test), model.predict_at(SPLIT.test))


def test_a_column_that_was_learned_from_is_missed(model: AutoRec) -> None:
    other = newcomers(Features.of([1000], {"age": [31]}))
    with pytest.raises(DataError, match="no column 'group'"):
        model.predict(other)


# --- from a recipe


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        (["9001,red", "9002,blue", "9003,red"], None, "no row of the side data is of items"),
        ([f"{i + 100},same" for i in range(40)], None, "tell no row from another"),
        ([f"{i + 100}," for i in range(40)], None, "tell no row from another"),
        ([f"{i},c{i}" for i in range(10**6)], 'kind = "category"', "no two rows share one"),
        ([f"{i // 2},c{i // 2}" for i in range(10)], None, "more than once"),
        (["100,red", "101"], None, "line 3"),
        (["100,red", "101,blue"], 'kind = "number"', "is no number"),
        (["100,red", "101,blue"], 'knd = "number"', "no column 'knd'"),
    ],
)
def test_bad_side_data_are_one_sentence(
    rows: list[str],
    columns: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is trained, and nobody waits."""
    ratings = tmp_path / "ratings.csv"
    lines = [f"{u},{i},{s:g}" for u, i, s in zip(*triples(), strict=True)]
    ratings.write_text("\n".join(["user,item,rating", *lines]))
    side = tmp_path / "items.csv"
    side.write_text("\n".join(["item,kind", *rows]))
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'name = "r"\n[data]\nsource = "{ratings}"\n[data.items]\nsource = "{side}"\n'
        + ("" if columns is None else f"[data.items.columns]\n{columns}\n")
        + '[split]\nkind = "unseen-items"\n[[model]]\nkind = "autorec-dual"\n'
    )
    began = time.process_time()
    monkeypatch.setattr("sys.argv", ["recae", "train", str(recipe), "--no-track"])
    with pytest.raises(SystemExit, match="2"):
        main()
    (told,) = capsys.readouterr().err.splitlines()
    assert said in told
    assert time.process_time() - began < 20


def triples() -> tuple[list[int], list[int], list[float]]:
    users, items = RATINGS.rows.tolist(), RATINGS.items.values[RATINGS.columns].tolist()
    return users, items, RATINGS.stars.tolist()


def test_missing_values_and_unknown_rows_are_no_mistake(tmp_path: Path) -> None:
    kinds = {100 + i: KINDS[i % 3] for i in range(0, 40, 2)} | {101: "", 9000: "red"}
    told = Features.of(kinds, {"kind": list(kinds.values())})
    model = fit(replace(SPLIT.train, item_features=told))
    assert np.isfinite(model.predict(SPLIT.train)).all()


# --- real data


@pytest.mark.slow
def test_new_films_of_ml_100k_are_known_by_year_and_genres(shared_data: Path) -> None:
    folder = shared_data / "ml-100k"
    ratings = load(folder).with_features(items=features(folder, "items"))
    split = unseen_items(ratings, test=0.1, rng=np.random.default_rng(0))
    training = Training(steps=200, cold=0.4)
    with_them, without = (
        AutoRec.dual(k=32, side_data=read, training=training).fit(
            split.train, rng=np.random.default_rng(0)
        )
        for read in (True, False)
    )
    assert rmse(with_them, split.test) < rmse(without, split.test) - 0.01


def test_what_side_data_lack_is_counted() -> None:
    ratings = Ratings.of([1, 1, 2, 2], [1, 2, 3, 4], [1, 5, 3, 4])
    known = {"color": ["red", "blue", "red", None], "shape": ["round"] * 4}
    side = Features.of([1, 2, 3, 4], known)
    notes = ratings.with_features(items=side).side_notes
    assert "shape: left out, the same in every row" in notes
    assert "color: 1 categories of one row each are left out" in notes
    assert "color: missing in 1 of 4 rows" in notes
    assert ratings.side_notes == ()
