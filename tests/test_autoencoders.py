"""The pipeline of the textbook's autoencoders: nobody is left out, tuned blocks, the table."""

from __future__ import annotations

import tomllib
from pathlib import Path

import autoencoders
import pytest

from recae.models.textbook import TEXTBOOK
from recae.recipes import read_recipe

RECIPE = """\
# A comment that stays.
name = "{name}"
seeds = [0, 1]

[data]
source = "ml-latest-small"

[split]
kind = "{split}"
test = 0.1
seed = 0

[[model]]
kind = "{model}"
"""


def test_every_model_of_the_textbook_is_tuned_and_scored() -> None:
    assert set(autoencoders.spaces("ml-latest-small").choices) >= set(TEXTBOOK)
    names = {
        model.name
        for recipes in autoencoders.TABLE.values()
        for recipe in recipes
        for model in read_recipe(autoencoders.HERE / f"{recipe}.toml").models
    }
    assert names >= {*TEXTBOOK, "mult-dae", "mult-vae", "recvae", "ease", "denoising-ease"}


def test_what_was_found_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "autoencoders-ml-latest-small.toml"
    before = RECIPE.format(name="x", split="random", model="pca")
    path.write_text(before + 'k = 3\n\n[[model]]\nkind = "mf"\nname = "small"\nk = 5\n')
    around = (autoencoders.HERE / "spaces" / "ml-latest-small.toml").read_text("utf-8")
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "ml-latest-small.toml").write_text(around)
    monkeypatch.setattr(autoencoders, "HERE", tmp_path)
    assert autoencoders.main(["tune", "ml-latest-small", "pca", "--trials", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split("RMSE ")[1].split(",")[0]) for line in lines]
    assert len(losses) == 4
    written = tomllib.loads(path.read_text())
    model, other = written["model"]
    assert other == {"kind": "mf", "name": "small", "k": 5}
    assert model.get("k") != 3
    assert path.read_text().startswith("# A comment that stays.")
    # The first trial is the default, which is written as no setting.
    best = lines[losses.index(min(losses))]
    assert str(model.get("k", "{}")) in best


def test_the_table_has_stars_first_and_the_best_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stars = RECIPE.format(name="stars", split="random", model="bias")
    (tmp_path / "stars.toml").write_text(stars + '[[model]]\nkind = "pca"\n')
    lists = RECIPE.format(name="lists", split="unseen-users", model="popular")
    (tmp_path / "lists.toml").write_text(lists + "[evaluation]\nn = 100\n")
    monkeypatch.setattr(autoencoders, "HERE", tmp_path)
    monkeypatch.setattr(autoencoders, "TABLE", {"here": ("stars", "lists")})
    out = tmp_path / "table.md"
    assert autoencoders.main(["score", "--out", str(out)]) == 0
    header, _, *rows = out.read_text().splitlines()
    assert header == "| model | here: found | here: seconds |"
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [cell[0] for cell in cells] == ["`pca`", "`bias`", "`popular`"]
    assert [cell[1].split()[0] for cell in cells] == ["RMSE", "RMSE", "NDCG@100"]
    assert cells[0][1].endswith(" ±0.0000")
    capsys.readouterr()
    assert autoencoders.main(["score", "bias", "--seeds", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3
