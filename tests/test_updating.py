"""Models that go on learning: what is new enters, what was learned stays, mistakes harm nothing."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import updating as pipeline

from recae.catalog import Catalog
from recae.cli import main
from recae.errors import DataError
from recae.features import Features, NumberCode
from recae.ids import Ids
from recae.metrics import rmse
from recae.models import AutoRec, Average, MultinomialAutoencoder, Recommender, Stack, load_model
from recae.models.blend import Blend
from recae.models.linear import Bias
from recae.nn.encoders import Ordinal
from recae.nn.training import Progress, Training
from recae.ratings import Ratings
from recae.splits import Holdout
from tests import test_side_data
from tests.test_contract import fitted, make, present, world

TRAINING = Training(steps=150, reports=3, learning_rate=0.02, weight_decay=1.0)
QUICK = Training(steps=12, reports=3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tastes() -> Ratings:
    """120 users, of whom every other likes the even ones of 40 items, and the others the odd."""
    draw = rng(3)
    users, items = np.nonzero(draw.random((120, 40)) < 0.5)
    stars = np.clip(3 + 1.5 * (-1.0) ** (users + items) + draw.normal(size=len(users)) * 0.3, 1, 5)
    return Ratings.of(users, items, stars, scale=(1, 5))


TASTES = tastes()
NEW_ITEMS = np.isin(TASTES.columns, range(36, 40))
LATER = rng(4).random(len(TASTES)) < 0.5
OLD = present(TASTES.keep(~NEW_ITEMS))
NOW = TASTES.keep(~NEW_ITEMS | ~LATER)
ASKED = Holdout(NOW, TASTES.keep(NEW_ITEMS & LATER))
"""Ratings of new items by users that rated them not."""


def error(model: Recommender) -> float:
    return rmse(ASKED.target.stars, model.predict_at(ASKED))


@pytest.mark.parametrize("make_one", [AutoRec.dual, AutoRec.item, AutoRec.user, AutoRec.mf])
def test_a_new_item_is_predicted_without_a_step_of_training(make_one: Any) -> None:
    """By the item encoder, or the half-step by which a table would be told of it."""
    model = make_one(k=4, dropout=0.1, ridge=1.0, training=TRAINING).fit(OLD, rng=rng())
    unknown = error(model)
    model.update(NOW, share=0, rng=rng(1))
    plain = error(Bias().fit(NOW, rng=rng()))
    assert error(model) < 0.6 * plain < 0.7 * unknown


def test_side_data_alone_tell_of_an_item_that_nobody_rated() -> None:
    split = test_side_data.SPLIT
    asked = split.test
    errors = []
    for side_data in (True, False):
        model = test_side_data.fit(present(split.train), side_data=side_data)
        assert len(model.fitted.items) < len(split.train.items)
        model.update(split.train, share=0, rng=rng(1))
        errors.append(rmse(asked.target.stars, model.predict_at(asked)))
    assert errors[0] < 0.85 * errors[1]


def test_without_training_new_ratings_of_a_tables_user_take_effect() -> None:
    """As in the model before, which folds in a user who changed."""
    model = fitted("mf")
    more = world()
    before = copy(model)
    model.update(more, share=0, rng=rng())
    changed = np.flatnonzero(before.known(more) < 0)
    assert len(changed)
    assert isinstance(model, AutoRec)
    assert isinstance(before, AutoRec)
    np.testing.assert_allclose(
        model._get().user_vectors[changed], before._users(more).vectors[changed], atol=1e-6
    )


def test_training_begins_where_the_model_was() -> None:
    """The first report of an update is nearer to the end of the fit than to its beginning."""
    said: list[float] = []
    model = AutoRec.dual(k=4, training=TRAINING)
    model.fit(TASTES, rng=rng(), on_epoch=lambda p: said.append(p.metrics["train/rmse"]))
    model.update(TASTES, rng=rng(), on_epoch=lambda p: said.append(p.metrics["train/rmse"]))
    first, last, again = said[0], said[2], said[3]
    assert abs(again - last) < 0.2 * (first - last)


def test_what_is_gone_is_gone() -> None:
    model = fitted("autorec-dual")
    fewer = present(world().keep(world().columns < 20))
    model.update(fewer, rng=rng())
    assert model.fitted.items == fewer.items
    with pytest.raises(DataError, match="unknown id"):
        model.recommend({int(world().items.values[25]): 4.0})


@pytest.mark.parametrize("name", ["autorec-dual", "ease", "mult-dae", "rbm", "stack"])
def test_mistakes_are_refused_and_change_nothing(name: str) -> None:
    model, ratings = fitted(name), world()
    expected = model.predict(ratings)
    wide = replace(ratings.with_stars(ratings.stars * 20), scale=(20, 100))
    strange = Ratings.of(["a", "b"], ["x", "y"], [1.0, 5.0], scale=(1, 5))
    nothing = ratings.keep(np.zeros(len(ratings), bool))
    for table, what in (
        (wide, "scale of 20 to 100, and the model was trained on one of 1 to 5"),
        (strange, "knows none of these users and items"),
        (nothing, "no ratings to learn from"),
    ):
        with pytest.raises(DataError, match=what):
            model.update(table, rng=rng())
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.update(ratings, share=share, rng=rng())
    np.testing.assert_array_equal(model.predict(ratings), expected)


def test_an_update_that_is_interrupted_changes_nothing() -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    model, ratings = fitted("autorec-dual"), world()
    expected = model.predict(ratings)
    with pytest.raises(KeyboardInterrupt):
        model.update(ratings, rng=rng(), on_epoch=stop)
    np.testing.assert_array_equal(model.predict(ratings), expected)


def test_a_table_with_fewer_different_stars_is_read_on_the_models_scale() -> None:
    model, ratings = fitted("autorec-dual"), world()
    middle = ratings.keep((ratings.stars > 1) & (ratings.stars < 5))
    model.update(replace(middle, scale=(1.5, 4.5)), rng=rng())
    assert model.fitted.scale == (1, 5)


def test_a_frame_is_read_like_ratings() -> None:
    pd = pytest.importorskip("pandas")
    model, ratings = fitted("autorec-dual"), world()
    frame = pd.DataFrame(
        {
            "user": ratings.users.values[ratings.rows],
            "item": ratings.items.values[ratings.columns],
            "rating": ratings.stars,
            "time": ratings.times,
        }
    )
    by_frame = copy(model).update(frame, rng=rng()).predict(ratings)
    np.testing.assert_array_equal(by_frame, model.update(ratings, rng=rng()).predict(ratings))


# --- side data


def test_numbers_keep_their_knots_and_new_categories_enter() -> None:
    ratings = test_side_data.world()
    years = [1900.0 + item for item in range(40)]
    kinds = ["old" if item < 30 else "new" for item in range(40)]

    def told(ids: range, some: Ratings) -> Ratings:
        rows = {
            "year": [years[i - 100] for i in ids],
            "kind": [kinds[i - 100] for i in ids],
        }
        columns = Features.of(ids, rows, {"year": "number", "kind": "category"})
        return present(some).with_features(items=columns)

    early = told(range(100, 131), ratings.keep(ratings.columns < 31))
    # One row of a category is too few to learn of it.
    model = test_side_data.fit(early)
    before = model.fitted.item_coding
    assert before is not None
    model.update(told(range(100, 140), ratings), rng=rng())
    coding = model.fitted.item_coding
    assert coding is not None
    knots = [[c for c in each.columns if isinstance(c, NumberCode)] for each in (before, coding)]
    assert knots[0] == knots[1]
    assert "kind=new" in set(coding.names) - set(before.names)
    assert np.isfinite(model.predict(ratings)).all()


def test_side_data_that_are_read_must_come_along() -> None:
    model = test_side_data.fit()
    without = replace(test_side_data.RATINGS, user_features=None)
    with pytest.raises(DataError, match="reads side data of users"):
        model.update(without, rng=rng())


def test_side_data_may_be_new() -> None:
    plain = replace(test_side_data.RATINGS, user_features=None, item_features=None)
    model = test_side_data.fit(plain).update(test_side_data.RATINGS, rng=rng())
    assert model.fitted.item_coding is not None
    assert np.isfinite(model.predict(test_side_data.RATINGS)).all()


# --- heads, and models beyond the family


def test_levels_are_kept_and_only_new_ones_are_learned_anew() -> None:
    ratings = world()
    model = AutoRec.dual(k=4, head="ordinal", training=QUICK)
    old = ratings.keep(ratings.stars != 2.5)
    model.fit(old, rng=rng())
    before = model._get().levels
    assert before is not None
    steps: list[int] = []
    fewer = old.keep(rng(1).random(len(old)) < 0.9)
    same = copy(model).update(fewer, rng=rng(), on_epoch=lambda p: steps.append(p.steps))
    now = same._get().levels
    assert now is not None
    assert set(steps) == {3}
    np.testing.assert_array_equal(now.thresholds, before.thresholds)
    np.testing.assert_array_equal(now.stars, before.stars)
    model.update(ratings, rng=rng(), on_epoch=lambda p: steps.append(p.steps))
    assert steps[-1] == 12 + 3, "levels by a first network, and the second one goes on"
    assert 2.5 in model.levels


def test_a_new_level_of_nade_begins_by_how_usual_it_is() -> None:
    ratings = world()
    old = ratings.keep(ratings.stars != 2.5)
    model = make("autorec-dual").params | {
        "users": "encoder",
        "items": "table",
        "refine": False,
        "baseline": "none",
        "encoder": Ordinal(levels=9),
        "head": "nade",
    }
    nade = AutoRec(**model).fit(old, rng=rng())
    nade.update(ratings, share=0, rng=rng())
    assert 2.5 in nade.levels
    chances = nade.predict_distribution(ratings)
    np.testing.assert_allclose(chances.sum(axis=-1), 1, atol=1e-5)


def test_members_go_on_and_a_stack_keeps_its_weights() -> None:
    ratings = world()
    early = present(ratings.keep(rng(1).random(len(ratings)) < 0.8))
    steps: list[tuple[int, int]] = []
    dual = AutoRec.dual(k=4, training=QUICK)
    stack = Stack(members=(dual, AutoRec.item(k=4, training=QUICK))).fit(early, rng=rng())
    weights = stack.weights.copy()
    stack.update(ratings, rng=rng(), on_epoch=lambda p: steps.append((p.step, p.steps)))
    np.testing.assert_array_equal(stack.weights, weights)
    assert steps[-1] == (6, 6)
    average = Average(member=dual, size=2).fit(early, rng=rng())
    alone = copy(average._get().members[0])
    average.update(ratings, share=0, rng=rng())
    alone.update(ratings, share=0, rng=rng())
    np.testing.assert_allclose(
        average._get().members[0].predict(ratings), alone.predict(ratings), atol=1e-6
    )


def test_a_blend_keeps_what_was_learned_of_hidden_ratings() -> None:
    ratings = world()
    early = present(ratings.keep(rng(1).random(len(ratings)) < 0.8))
    steps: list[tuple[int, int]] = []
    blend = make("blend").fit(early, rng=rng())
    assert isinstance(blend, Blend)
    before = blend._get()
    blend.update(ratings, rng=rng(), on_epoch=lambda p: steps.append((p.step, p.steps)))
    assert steps[-1] == (6, 6)
    assert (blend.weight, blend._get().reach) == (before.weight, before.reach)
    assert blend.recommend(ratings, 5).items.shape == (40, 5)


def test_a_new_item_is_ranked_by_how_much_it_is_liked() -> None:
    """Nothing else is known of it to a table of items before a step of training."""
    ratings = world()
    counts = ratings.liked().item_counts
    most, least = int(counts.argmax()), int(counts.argmin())
    early = present(ratings.keep(~np.isin(ratings.columns, [most, least])))
    model = MultinomialAutoencoder.dae(k=4, training=replace(QUICK, objective="denoise"))
    model.fit(early, rng=rng()).update(ratings, share=0, rng=rng())
    scores = model.scores(ratings)
    assert (scores[:, most] > scores[:, least]).all()


# --- the command line


def test_the_command_saves_a_model_that_knows_more(tmp_path: Path, capsys: Any) -> None:
    ratings = world()
    early = present(ratings.keep((ratings.rows != 3) & (ratings.columns != 17)))
    AutoRec.dual(k=4, training=QUICK).fit(early, rng=rng()).save(tmp_path / "old")
    table = written(ratings, tmp_path / "ratings.csv")
    code, out, err = run(
        capsys, "update", tmp_path / "old", "--data", table, "--save", tmp_path / "new"
    )
    assert (code, err) == (0, "")
    assert "40 users (1 new), 30 items (1 new)" in " ".join(out.split())
    assert load_model(tmp_path / "new").fitted.items == ratings.items
    expected = load_model(tmp_path / "old").update(
        replace(ratings, times=None), rng=np.random.default_rng(0)
    )
    np.testing.assert_array_equal(
        load_model(tmp_path / "new").predict(ratings), expected.predict(ratings)
    )
    code, _, err = run(capsys, "update", tmp_path / "old", "--save", tmp_path / "new")
    assert code == 2
    assert "holds no ratings: name them with --data" in err
    code, _, err = run(
        capsys, "update", tmp_path / "old", "--data", table, "--save", tmp_path / "ratings.csv"
    )
    assert code == 2
    assert "--save takes a folder" in err
    assert load_model(tmp_path / "old").fitted.users == Ids(early.users.values)


def test_what_was_known_of_items_stays_known() -> None:
    """A plain table says nothing of titles, genres and years."""
    catalog = Catalog.of(range(40), [f"Film {i} ({1950 + i})" for i in range(40)], [["Drama"]] * 40)
    model = AutoRec.dual(k=4, training=QUICK).fit(replace(OLD, catalog=catalog), rng=rng())
    model.update(NOW, share=0, rng=rng())
    kept = model.fitted.catalog
    assert kept is not None
    assert kept.items == NOW.items
    assert kept.title(5) == "Film 5 (1955)"
    found = model.recommend({"Film 5": 4}, 3, genres=["drama"], years=(None, 1970))
    assert list(found["title"]) == [f"Film {i} ({1950 + i})" for i in found["item"]]


def test_tables_that_are_read_for_a_model(tmp_path: Path, capsys: Any) -> None:
    """All stars alike tell no scale, the model does; of a film that was rated twice one decides."""
    AutoRec.dual(k=4, training=QUICK).fit(world(), rng=rng()).save(tmp_path / "old")
    items = world().items.values
    lines = [f"1,{items[0]},4", f"1,{items[1]},4", f"1,{items[1]},4"]
    (tmp_path / "r.csv").write_text("\n".join(["user,item,rating", *lines]))
    words = ["update", tmp_path / "old", "--data", tmp_path / "r.csv", "--save", tmp_path / "new"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "duplicates" in err
    assert run(capsys, *words, "--duplicates", "some")[0] == 2
    code, out, err = run(capsys, *words, "--duplicates", "last")
    assert (code, err) == (0, "")
    assert "1 users" in out
    words = ["recommend", tmp_path / "old", "--user", "1", "--data", tmp_path / "r.csv", "--json"]
    assert run(capsys, *words, "--duplicates", "mean")[0] == 0


# --- the measurement


def test_the_pipeline_measures_from_the_model_that_is_trained_anew(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = written(world(), tmp_path / "ratings.csv")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'''name = "updates"
data = {{ source = "{table}", scale = [1, 5] }}
split = {{ kind = "random", test = 0.2, seed = 0 }}
[[model]]
kind = "autorec-dual"
k = 4
training = {{ steps = 12, reports = 3 }}
''',
        "utf-8",
    )
    words = ["--seeds", "0", "1", "--known", "0.9", "new", "--shares", "0", "0.5", "--again", "2"]
    monkeypatch.setattr("sys.argv", ["updating.py", str(recipe), *words])
    pipeline.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    updates = ["update, 0%", "update, 50%"]
    of_case = ["old, as it is", "old, all ratings encoded", *updates]
    assert [row[:2] for row in rows] == [
        *(["0.9", name] for name in of_case),
        *(["new", name] for name in of_case),
        ["0.9, then 2 updates", "updates, 0% each"],
        ["0.9, then 2 updates", "updates, 25% each"],
        ["all", "trained anew"],
        ["all", "trained anew, another seed"],
    ]
    far = {(row[0], row[1]): float(row[3]) for row in rows}
    assert far["all", "trained anew"] == 0
    assert all(0 < value < 2 for key, value in far.items() if key != ("all", "trained anew"))


def written(ratings: Ratings, path: Path) -> Path:
    """As a file."""
    users, items = ratings.users.values[ratings.rows], ratings.items.values[ratings.columns]
    lines = [f"{u},{i},{s}" for u, i, s in zip(users, items, ratings.stars, strict=True)]
    path.write_text("\n".join(["user,item,rating", *lines]), "utf-8")
    return path


def run(capsys: Any, *words: object) -> tuple[int, str, str]:
    """The command line, in this process."""
    import sys

    argv, sys.argv = sys.argv, ["recae", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as done:
            main()
    finally:
        sys.argv = argv
    said = capsys.readouterr()
    code = done.value.code
    assert isinstance(code, int)
    return code, said.out, said.err
