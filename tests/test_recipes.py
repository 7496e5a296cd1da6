"""Recipes: what they say, what is refused and how, what --set does, and that nothing is lost."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.errors import DataError, RecipeError
from recae.models import MODELS, AutoRec, Average, Stack
from recae.models.persistence import plain
from recae.recipes import Recipe, parse, parse_data, read_recipe

PIPELINES = Path(__file__).parents[1] / "pipelines"

SPLITS: dict[str, dict[str, Any]] = {
    "random": {"test": 0.2, "validation": 0.1, "seed": 3},
    "k-fold": {"fold": 1, "k": 3},
    "leave-last": {"validation": True},
    "temporal": {"test": 0.2, "validation": 0.1},
    "unseen-users": {"test": 0.3, "validation": 0.2, "target": 0.4},
    "unseen-items": {"test": 0.3, "validation": 0.2},
    "partial-users": {"users": 0.5, "target": 0.4},
    "predefined": {"where": {"part": "test"}},
}

BASE = """
name = "tiny"
seeds = [0, 1]
baseline = "mf"

[data]
source = "{source}"

[split]
kind = "random"
test = 0.2

[[model]]
kind = "bias"

[[model]]
kind = "mf"
k = 4
training.steps = 5

[[model]]
kind = "autorec-dual"
name = "small"
k = 3
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Half stars of 12 users on 10 items, with times, a third of the rows marked as test."""
    rng = np.random.default_rng(0)
    lines = ["userId,movieId,rating,timestamp,part"]
    for user, item in np.argwhere(rng.random((12, 10)) < 0.6).tolist():
        part = "test" if rng.random() < 0.3 else "train"
        stars, time = rng.integers(1, 11) / 2, 1000 + rng.integers(1000)
        lines.append(f"{user + 1},{item + 100},{stars},{time},{part}")
    path = tmp_path / "tiny.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def raw(**more: Any) -> dict[str, Any]:
    return {"name": "x", "split": {"kind": "random"}, "model": [{"kind": "bias"}]} | more


def refusal(*overrides: str, tmp_path: Path) -> str:
    with pytest.raises(RecipeError) as refused:
        read_recipe(written(tmp_path, BASE), overrides)
    return str(refused.value)


# --- what it says


@pytest.mark.parametrize("kind", SPLITS)
def test_every_kind_of_split_splits(kind: str, table: Path) -> None:
    recipe = parse(
        raw(data={"source": str(table), "scale": [0.5, 5]}, split={"kind": kind} | SPLITS[kind])
    )
    ratings = recipe.data.load()
    split = recipe.split.split(ratings, recipe.data)
    assert len(split.train)
    assert len(split.test.target)
    again = parse(recipe.resolved)
    assert again.split.split(again.data.load(), again.data).digest == split.digest
    held = SPLITS[kind].get("validation")
    assert (split.validation is not None) == bool(held)


def test_side_data_stand_in_tables_of_their_own(table: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("who,age,job\n1,20,a\n2,30,b\n3,40,a\n", "utf-8")
    data = {"source": str(table), "users": {"source": str(people), "key": "who"}}
    recipe = parse(raw(data=data | {"scale": [0.5, 5]}))
    assert recipe.data.load().side_data == ("age, job of 3 of 12 users",)
    assert recipe.track == "ratings + side data"
    assert recipe.experiment == "tiny.csv random + side data"
    plain = parse(raw(data={"source": str(table)}))
    assert (plain.track, plain.experiment) == ("ratings only", "tiny.csv random")
    again = parse(json.loads(json.dumps(recipe.resolved)))
    assert again.data == parse_data(recipe.resolved["data"]) == recipe.data
    assert again.data.load().digest == recipe.data.load().digest
    fewer = parse(raw(data=data | {"users": data["users"] | {"columns": {"age": "number"}}}))
    assert fewer.data.load().side_data == ("age of 3 of 12 users",)


def test_other_ratings_keep_the_side_data(table: Path) -> None:
    here = parse(raw(data={"items": {"columns": {"year": "number"}}, "where": {"x": 1}})).data
    other = here.of(str(table))
    assert (other.source, other.where, other.users) == (str(table), None, None)
    assert other.items is not None
    assert other.items.source == "ml-latest-small"
    assert other.of("third.csv").items == other.items
    # Films 100 to 109, two of which the release does not have.
    assert other.load().side_data == ("year of 8 of 10 items (and of 9,058 others)",)


def test_a_predefined_test_set_goes_with_side_data(table: Path) -> None:
    split = {"kind": "predefined"} | SPLITS["predefined"]
    data = {"source": str(table), "scale": [0.5, 5], "items": {"source": "ml-latest-small"}}
    recipe = parse(raw(data=data, split=split))
    found = recipe.split.split(recipe.data.load(), recipe.data)
    assert found.test.target.side_data == found.train.side_data


def test_splits_have_seeds_of_their_own(table: Path) -> None:
    for kind in ("random", "k-fold", "unseen-users", "unseen-items", "partial-users"):
        digests = set()
        for seed in (0, 1):
            split = {"kind": kind} | SPLITS[kind] | {"seed": seed}
            recipe = parse(raw(data={"source": str(table)}, split=split))
            digests.add(recipe.split.split(recipe.data.load(), recipe.data).digest)
        assert len(digests) == 2, kind


def test_folds_are_the_folds_of_one_split(table: Path) -> None:
    sizes = 0
    for fold in range(3):
        split = {"kind": "k-fold", "k": 3, "fold": fold}
        recipe = parse(raw(data={"source": str(table)}, split=split))
        ratings = recipe.data.load()
        sizes += len(recipe.split.split(ratings, recipe.data).test.target)
    assert sizes == len(ratings)


def test_predefined_test_ratings_of_a_file(table: Path, tmp_path: Path) -> None:
    lines = table.read_text("utf-8").splitlines()
    test = tmp_path / "test.csv"
    test.write_text("\n".join([lines[0], *lines[1:6]]) + "\n", "utf-8")
    recipe = parse(
        raw(
            data={"source": str(table), "scale": [0.5, 5]},
            split={"kind": "predefined", "test": str(test)},
        )
    )
    ratings = recipe.data.load()
    split = recipe.split.split(ratings, recipe.data)
    assert len(split.test.target) == 5
    assert len(split.train) == len(ratings) - 5


def test_data_settings_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("who,what,how,when,keep\na,x,1,5,1\na,x,3,9,1\nb,y,2,7,0\na,y,4,8,1\n", "utf-8")
    data = {
        "source": str(path),
        "user": "who",
        "item": "what",
        "rating": "how",
        "time": "when",
        "scale": [0, 10],
        "duplicates": "last",
        "where": {"keep": 1},
    }
    ratings = parse(raw(data=data)).data.load()
    assert ratings.scale == (0, 10)
    assert ratings.stars.tolist() == [3, 4]
    assert ratings.times is not None
    assert ratings.times.tolist() == [9, 8]
    with pytest.raises(DataError, match="rated again"):
        parse(raw(data=data | {"duplicates": "error"})).data.load()


def test_a_whole_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, BASE.format(source="ml-latest-small")))
    bias, mf, small = recipe.models
    assert (bias.name, bias.kind, bias.params) == ("bias", "bias", {})
    assert (mf.params["k"], mf.params["training"]["steps"]) == (4, 5)
    assert (small.name, small.kind, small.params["k"]) == ("small", "autorec-dual", 3)
    assert recipe.experiment == "ml-latest-small random"
    assert (recipe.seeds, recipe.baseline, recipe.show) == ([0, 1], "mf", None)
    # What is not said is the model's own default, and for MF that of its preset.
    assert mf.build().params["users"] == "table"
    assert mf.params["training"]["learning_rate"] == AutoRec.mf().training.learning_rate
    assert mf.build() is not mf.build()


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_is_built_as_it_comes(kind: str) -> None:
    (model,) = parse(raw(model=[{"kind": kind}])).models
    assert plain(model.build()) == plain(MODELS[kind]())
    assert type(model.build()) is type(MODELS[kind]())


def test_what_is_said_goes_over_the_settings_of_the_preset() -> None:
    settings = {"kind": "autorec-item-paper", "training": {"steps": 3}}
    (model,) = parse(raw(model=[settings])).models
    preset = MODELS["autorec-item-paper"]().params["training"]
    training = model.build().params["training"]
    assert (training.steps, training.objective, training.l2) == (3, "reconstruct", preset.l2)
    assert preset.l2 > 0


RECIPES = sorted([*PIPELINES.glob("*.toml"), *PIPELINES.glob("inner/*.toml")])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_parse(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.models
    assert parse(recipe.resolved).digest == recipe.digest


def test_there_are_recipes_in_the_repository() -> None:
    assert (PIPELINES / "quickstart.toml").is_file()


# --- resolved and digest


def test_resolved_is_the_recipe(tmp_path: Path) -> None:
    text = BASE.format(source="x.csv") + "[show]\nuser = 3\nmodel = 'small'\n"
    recipe = read_recipe(written(tmp_path, text))
    through_json = json.loads(json.dumps(recipe.resolved))
    for again in (parse(recipe.resolved), parse(through_json)):
        assert again.digest == recipe.digest
        assert [m.params for m in again.models] == [m.params for m in recipe.models]
        assert [m.build().params for m in again.models] == [m.build().params for m in recipe.models]
    learning_rate = AutoRec.mf().training.learning_rate
    assert recipe.resolved["model"][1]["training"]["learning_rate"] == learning_rate
    assert recipe.resolved["evaluation"] == {"n": 10, "relevant": None, "intervals": None}


def test_a_default_written_out_changes_nothing() -> None:
    written_out = raw(
        seeds=[0],
        data={"source": "ml-latest-small", "duplicates": "error"},
        evaluation={"n": 10},
        split={"kind": "random", "test": 0.1, "seed": 0},
        model=[{"kind": "bias", "name": "bias"}],
    )
    assert parse(written_out).digest == parse(raw()).digest


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "seeds=[5]",
        "baseline=bias",
        "data.source=y.csv",
        "data.scale=[1, 5]",
        "split.seed=9",
        "evaluation.n=5",
        "evaluation.relevant=3.5",
        "model.k=9",
        "model.training.steps=9",
        "model.small.name=tiny",
        "model.small.kind=mf",
    ],
)
def test_every_setting_changes_the_digest(override: str, tmp_path: Path) -> None:
    path = written(tmp_path, BASE.format(source="x.csv"))
    assert read_recipe(path, [override]).digest != read_recipe(path).digest


# --- the file


@pytest.mark.parametrize("change", ["\ufeff{}", "crlf"])
def test_byte_order_marks_and_windows_line_ends(change: str, tmp_path: Path) -> None:
    text = BASE.format(source="x.csv")
    plain = read_recipe(written(tmp_path, text)).digest
    changed = text.replace("\n", "\r\n") if change == "crlf" else change.format(text)
    path = tmp_path / "changed.toml"
    path.write_bytes(changed.encode())
    assert read_recipe(path).digest == plain


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = ", "is not TOML"),
        (b"\x00\x01\xff\xfe", "is not TOML"),
        (b"", "name: field required"),
        (b'name = "x"\nname = "y"', "is not TOML"),
    ],
)
def test_files_that_are_no_recipes(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as refused:
        read_recipe(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read .*nowhere\.toml: No such file"):
        read_recipe(tmp_path / "nowhere.toml")
    with pytest.raises(RecipeError, match="cannot read"):
        read_recipe(tmp_path)


# --- what is refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sedes": [1]}, ["'sedes'", "did you mean 'seeds'?"]),
        ({"data": {"sorce": "x"}}, ["'data.sorce'", "did you mean 'source'?"]),
        ({"split": {"kind": "random", "tset": 0.1}}, ["'split.tset'", "did you mean 'test'?"]),
        ({"evaluation": {"k": 3}}, ["'evaluation.k'"]),
        ({"evaluation": {"relevnt": 3}}, ["relevnt'", "did you mean 'relevant'?"]),
        ({"show": {"user": 1, "model": "bias", "m": 3}}, ["'show.m'"]),
        ({"model": [{"kind": "mf", "dropuot": 0.1}]}, ["model mf", "did you mean 'dropout'?"]),
        (
            {"model": [{"kind": "autoencoder-recurrent", "encoder": {"longst": 9}}]},
            ["no setting 'encoder.longst'", "did you mean 'longest'?"],
        ),
        (
            {"model": [{"kind": "mf", "training": {"stpes": 3}}]},
            ["model mf", "'training.stpes'", "did you mean 'steps'?"],
        ),
        ({"model": [{"kind": "autorec"}]}, ["'autorec'", "did you mean 'autorec-"]),
        ({"model": [{"kind": "zzz"}]}, ["'zzz'", "there are bias, popular"]),
        ({"model": [{"kind": ["mf"]}]}, ["['mf']", "there are bias, popular"]),
        ({"model": [{}]}, ["a [[model]] has no kind: there are bias, popular"]),
        ({"split": {"kind": "ramdom"}}, ["split: no kind 'ramdom'", "'random', 'k-fold'"]),
        ({"split": {}}, ["split: kind: field required"]),
        ({"data": {"user_features": {}}}, ["'data.user_features'"]),
        ({"data": {"users": {"colums": {}}}}, ["'data.users.colums'", "did you mean 'columns'?"]),
        ({"show": {"usr": 1, "model": "bias"}}, ["'show.usr'", "did you mean 'user'?"]),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(
    change: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(RecipeError) as refused:
        parse(raw(**change), "recipe.toml")
    message = str(refused.value)
    assert message.startswith("recipe.toml: ")
    assert "\n" not in message
    for part in said:
        assert part in message, message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 5}, "name: "),
        ({"seeds": "0"}, "seeds: "),
        ({"seeds": [0.5]}, "seeds.0: "),
        ({"data": {"scale": [1]}}, "data.scale"),
        ({"data": {"scale": ["low", "high"]}}, "data.scale.0: "),
        ({"data": {"duplicates": "sum"}}, "data.duplicates: "),
        ({"data": "ml-1m"}, "data: has to be a table"),
        ({"data": {"users": True}}, "data.users: has to be a table"),
        ({"data": {"items": {"columns": ["year"]}}}, "data.items.columns: has to be a table"),
        (
            {"data": {"items": {"columns": {"year": "int"}}}},
            "data.items.columns.year: input should be 'category', 'categories' or 'number'",
        ),
        ({"seeds": [3, -1]}, "seeds must not be negative, and -1 is"),
        ({"evaluation": {"n": 0}}, "evaluation.n: "),
        ({"evaluation": {"relevant": float("nan")}}, "evaluation.relevant"),
        ({"show": {"user": 1, "model": "bias", "n": 0}}, "show.n: "),
        ({"split": {"kind": "random", "test": "much"}}, "split.test: "),
        ({"split": {"kind": "random", "seed": -1}}, "split.seed: "),
        ({"split": {"kind": "k-fold", "fold": 5}}, "fold must be from 0 to 4"),
        ({"split": {"kind": "predefined"}}, "name the test ratings"),
        ({"model": {"kind": "bias"}}, "model: has to be a list of tables"),
        ({"model": ["bias"]}, "model.0: has to be a table"),
        ({"model": [{"kind": "mf", "k": "many"}]}, "model mf: k: "),
        ({"model": [{"kind": "mf", "k": 2.5}]}, "model mf: k: "),
        ({"model": [{"kind": "mf", "k": 0}]}, "model mf: k must be at least 1, not 0"),
        ({"model": [{"kind": "mf", "dropout": 1.0}]}, "dropout must be at least 0 and below 1"),
        ({"model": [{"kind": "mf", "activation": "cube"}]}, "model mf: activation: "),
        ({"model": [{"kind": "mf", "training": 5}]}, "model mf: training: "),
        ({"model": [{"kind": "mf", "training": {"steps": 0}}]}, "steps must be at least 1"),
        ({"model": [{"kind": "mf", "training": {"hide": [0.6, 0.1]}}]}, "hide must be"),
        ({"model": [{"kind": "bias", "k": 3}]}, "model bias: there is no setting 'k'"),
    ],
)
def test_wrong_values_are_refused_with_their_path(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse(raw(**change), "recipe.toml")
    message = str(refused.value)
    assert said in message, message
    assert "\n" not in message


def test_a_setting_of_another_kind_is_not_suggested_for_itself() -> None:
    with pytest.raises(RecipeError) as refused:
        parse(raw(split={"kind": "leave-last", "test": 0.1}))
    assert str(refused.value) == "the recipe: there is no setting 'split.test'"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": []}, "at least one [[model]]"),
        ({"model": [{"kind": "mf"}, {"kind": "mf", "k": 3}]}, "two models are called 'mf'"),
        (
            {"model": [{"kind": "bias", "name": "a"}, {"kind": "mf", "name": "a"}]},
            "two models are called 'a': give one a `name`",
        ),
        ({"baseline": "mf"}, "no model is called 'mf': there are bias"),
        ({"model": [{"kind": "mf", "name": "../mf"}]}, "cannot be called '../mf'"),
        ({"model": [{"kind": "mf", "name": ""}]}, "cannot be called ''"),
        ({"show": {"user": 1, "model": "mf"}}, "no model is called 'mf': there are bias"),
        ({"seeds": []}, "seeds must be"),
        ({"seeds": [1, 1]}, "seeds must be"),
    ],
)
def test_conflicts_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse(raw(**change))
    assert said in str(refused.value)


@pytest.mark.parametrize("missing", ["name", "split", "model"])
def test_what_has_to_be_there(missing: str) -> None:
    some = raw()
    del some[missing]
    with pytest.raises(RecipeError, match=f"{missing}: field required"):
        parse(some)


# --- --set


def read(tmp_path: Path, *overrides: str) -> Recipe:
    return read_recipe(written(tmp_path, BASE.format(source="x.csv")), overrides)


def test_set_for_every_model_that_has_it(tmp_path: Path) -> None:
    recipe = read(tmp_path, "model.k=7", "model.training.steps=2")
    bias, mf, small = recipe.models
    assert bias.params == {}
    assert (mf.params["k"], small.params["k"]) == (7, 7)
    assert mf.params["training"]["steps"] == small.params["training"]["steps"] == 2
    # A table's other settings stay as they were.
    assert mf.params["training"]["learning_rate"] == AutoRec.mf().training.learning_rate


def test_set_for_one_model_by_its_name(tmp_path: Path) -> None:
    recipe = read(tmp_path, "model.small.k=7", "model.mf.training.steps=2")
    _, mf, small = recipe.models
    assert (mf.params["k"], small.params["k"]) == (4, 7)
    assert (mf.params["training"]["steps"], small.params["training"]["steps"]) == (2, 400)


def test_set_values_are_toml_or_else_text(tmp_path: Path) -> None:
    recipe = read(
        tmp_path,
        "seeds=[3, 4]",
        "data.source=ml-1m",
        'data.user="who = that"',
        "split.test = 0.3",
        "evaluation.n=5",
        "model.mask_channel=false",
        "model.training.hide=[0.2, 0.3]",
        "data.where={part = 'train'}",
    )
    assert recipe.seeds == [3, 4]
    assert (recipe.data.source, recipe.data.user) == ("ml-1m", "who = that")
    assert recipe.data.where == {"part": "train"}
    assert recipe.split.test == 0.3  # type: ignore[union-attr]
    assert recipe.evaluation.n == 5
    assert recipe.models[1].params["mask_channel"] is False
    assert recipe.models[1].params["training"]["hide"] == (0.2, 0.3)


def test_the_last_set_wins(tmp_path: Path) -> None:
    assert read(tmp_path, "model.k=7", "model.mf.k=8", "model.k=9").models[1].params["k"] == 9


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.k", "--set takes KEY=VALUE, like model.k=128, not 'model.k'"),
        ("=5", "--set takes KEY=VALUE"),
        ("model..k=5", "--set takes KEY=VALUE"),
        ("", "--set takes KEY=VALUE"),
        ("model.kk=5", "no model here has a setting 'kk'"),
        ("model.large.k=5", "no model here has a setting 'large.k'"),
        ("model=5", "model"),
        ("model.small.kk=5", "model small: there is no setting 'kk'"),
        ("model.training.stpes=5", "'training.stpes': did you mean 'steps'?"),
        ("name.first=5", "name is a value, not a table"),
        ("sedes=[1]", "did you mean 'seeds'?"),
        ("model.k=", "k: "),
        ("model.k=many", "k: "),
        ("seeds=1,2", "seeds: "),
        ("split.kind=magic", "split"),
    ],
)
def test_sets_that_are_refused(override: str, said: str, tmp_path: Path) -> None:
    message = refusal(override, tmp_path=tmp_path)
    assert said in message, message
    assert "\n" not in message


def test_set_adds_tables_that_were_not_there(tmp_path: Path) -> None:
    recipe = read(tmp_path, "show.user=4", "show.model=mf")
    assert recipe.show is not None
    assert (recipe.show.user, recipe.show.n) == (4, 10)


# --- models in models

NESTED = """
name = "nested"
[data]
source = "{source}"
[split]
kind = "random"
[[model]]
name = "seeds"
kind = "average"
size = 2
member = { kind = "autorec-dual", k = 3, training = { steps = 5 } }
[[model]]
kind = "stack"
[[model.members]]
kind = "mf"
k = 5
[[model.members]]
kind = "average"
member = { kind = "svdpp", k = 6 }
"""


def nested(tmp_path: Path, *overrides: str) -> Recipe:
    return read_recipe(written(tmp_path, NESTED), overrides)


def test_members_are_tables_with_a_kind(tmp_path: Path) -> None:
    recipe = nested(tmp_path)
    seeds, stack = (model.build() for model in recipe.models)
    assert isinstance(seeds, Average)
    assert isinstance(stack, Stack)
    small = AutoRec.dual(k=3, training=replace(AutoRec.dual().training, steps=5))
    assert plain(seeds) == plain(Average(small, size=2))
    assert plain(stack) == plain(Stack((AutoRec.mf(k=5), Average(AutoRec.svdpp(k=6)))))
    assert recipe.models[1].params["members"][1]["member"]["kind"] == "svdpp"
    again = parse(json.loads(json.dumps(recipe.resolved)))
    assert again.digest == recipe.digest
    assert plain(again.models[1].build()) == plain(stack)


def test_a_member_without_a_kind_is_of_the_kind_that_was_there() -> None:
    (model,) = parse(raw(model=[{"kind": "average", "member": {"k": 7}}])).models
    assert plain(model.build()) == plain(Average(AutoRec.dual(k=7)))


def test_set_reaches_members(tmp_path: Path) -> None:
    recipe = nested(
        tmp_path,
        "model.seeds.member.k=9",
        "model.stack.members.0.training.steps=4",
        'model.members.1={kind="bias"}',
    )
    seeds, stack = (model.params for model in recipe.models)
    assert (seeds["member"]["k"], seeds["member"]["training"]["steps"]) == (9, 5)
    assert (stack["members"][0]["k"], stack["members"][0]["training"]["steps"]) == (5, 4)
    assert stack["members"][1] == {"kind": "bias"}
    text = NESTED.partition("[[model]]")[0] + '[[model]]\nkind = "average"'
    (model,) = read_recipe(written(tmp_path, text), ["model.member.k=5"]).models
    assert model.params["member"]["k"] == 5


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.members.0.kk=5", "model stack.members.0: there is no setting 'kk': did you mean"),
        (
            "model.members.1.member.training.stpes=5",
            "model stack.members.1.member: there is no setting 'training.stpes': did you mean",
        ),
        ("model.seeds.member.kind='mff'", "model seeds.member: no model is of kind 'mff': did you"),
        ("model.stack.members.0={k=1}", "model stack.members.0: has no kind: there are bias, "),
        ("model.stack.members.0=5", "model stack.members.0: has to be a table"),
        ("model.stack.members={kind='mf'}", "model stack.members: has to be a list of tables"),
        ("model.stack.members=[]", "model stack: members must be at least one model"),
        ("model.members.1.kind='popular'", "model stack.members.1: there is no setting 'member'"),
        ("model.members.1={kind='popular'}", "model stack: Popular only ranks"),
        ("model.members.0.name='x'", "model stack.members.0: there is no setting 'name'"),
        ("model.members.2.k=5", "members is a list of 2, numbered from 0"),
        ("model.members.k=5", "members is a list of 2, numbered from 0"),
        ("model.stack.memebrs=[]", "there is no setting 'memebrs': did you mean 'members'?"),
        ("model.seeds.size=0", "model seeds: size must be at least 1"),
    ],
)
def test_members_that_are_refused(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        nested(tmp_path, override)
    message = str(refused.value)
    assert said in message, message
    assert "\n" not in message


def test_the_example_in_the_docstring_is_a_recipe() -> None:
    from recae import recipes

    assert recipes.__doc__ is not None
    # In the docstring a table stands on one line, to be short.
    text = recipes.__doc__.split("\n\n", 1)[1]
    for word in ("source", "kind", "k", "test", "validation", "seed"):
        text = text.replace(f"  {word} =", f"\n{word} =").replace(f"] {word} =", f"]\n{word} =")
    assert [m.name for m in parse(tomllib.loads(text)).models] == ["mf", "autorec-dual"]
