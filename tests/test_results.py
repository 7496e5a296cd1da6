"""Tables of the documents: made of result files, which are made of the store; nothing typed in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import results
import tables
from reproduce import read_targets

from recae.comparison import compare
from recae.recipes import read_recipe
from recae.running import run
from recae.tracking import MlflowTracker, Store

ROOT = Path(__file__).parents[1]
PIPELINES = ROOT / "pipelines"
TARGETS = {target.name: target for target in read_targets(PIPELINES)}
COLLECTED = sorted(path.stem for path in (PIPELINES / "results").glob("*.json"))

RECIPE = """
name = "tiny"
seeds = [0, 1]
baseline = "bias"
[data]
source = "ratings.csv"
[split]
kind = "random"
[[model]]
kind = "bias"
[[model]]
kind = "mf"
k = 3
training = { steps = 10 }
"""
CLAIMS = """
[tiny]
tolerance = 0.1
mf = 0.9
bias = 0.9
"""


@pytest.mark.parametrize("path", tables.DOCUMENTS, ids=lambda path: path.parent.name)
def test_the_documents_hold_what_the_result_files_say(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "<!-- table: " in text
    assert tables.filled(text) == text, "run: python pipelines/tables.py"


@pytest.mark.parametrize("name", COLLECTED)
def test_a_result_is_what_is_claimed_and_shown(name: str) -> None:
    found = json.loads((PIPELINES / "results" / f"{name}.json").read_text("utf-8"))
    target = TARGETS[name]
    recipe = read_recipe(PIPELINES / f"{target.recipe}.toml", target.changes)
    path = PIPELINES / f"{target.recipe}.toml"
    assert found["recipe_digest"] == results.digest(path), "the recipe has changed since"
    assert found["seeds"] == recipe.seeds
    for model, value in target.claims.items():
        assert round(found["models"][model]["metrics"][target.metric][0], 4) == value, model
    assert f"<!-- table: {name} -->" in (PIPELINES / "README.md").read_text("utf-8")


@pytest.fixture
def trained(store: Store, tmp_path: Path) -> Path:
    """A folder like pipelines/, with runs of its recipe in the store."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((30, 20)) < 0.5)
    stars = rng.integers(1, 6, len(users))
    rows = [f"{u},{i},{s}" for u, i, s in zip(users, items, stars, strict=True)]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,rating", *rows]))
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected" / "rmse.toml").write_text(CLAIMS)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    run(read_recipe(tmp_path / "tiny.toml"), tracker=MlflowTracker(store))
    return tmp_path


def collected(folder: Path) -> Any:
    assert results.main(["tiny"], folder) == 0
    return json.loads((folder / "results" / "tiny.json").read_text("utf-8"))


def test_results_are_those_of_the_store(trained: Path, store: Store) -> None:
    found = collected(trained)
    again = run(read_recipe(trained / "tiny.toml"))
    by_model = {
        name: [o.evaluation for o in again.outcomes if o.plan.model == name]
        for name in ("bias", "mf")
    }
    for name, evaluations in by_model.items():
        values = [evaluation.metrics["rmse"] for evaluation in evaluations]
        mean, spread = found["models"][name]["metrics"]["rmse"]
        assert mean == pytest.approx(np.mean(values), abs=1e-5)
        assert spread == pytest.approx(np.std(values, ddof=1), abs=1e-5)
    expected = compare(by_model, baseline="mf", rng=np.random.default_rng(0))["bias"]
    less = found["models"]["bias"]["less"]["mf"]
    assert less["value"] == pytest.approx(expected.differences["rmse"].value, abs=1e-5)
    assert less["low"] == pytest.approx(expected.differences["rmse"].low, abs=1e-4)
    assert found["models"]["mf"]["less"] == {}
    assert found["seeds"] == [0, 1]


def test_other_settings_and_seeds_do_not_count(trained: Path, store: Store) -> None:
    def numbers() -> Any:
        found = collected(trained)["models"]
        return {name: (of["metrics"], of["less"]) for name, of in found.items()}

    before = numbers()
    for change in (["seeds=[7]"], ["model.k=2"], ["split.test=0.3"]):
        path = trained / "tiny.toml"
        run(read_recipe(path, change), tracker=MlflowTracker(store))
    assert numbers() == before


def test_a_run_that_is_missing_is_named(
    trained: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = RECIPE + '[[model]]\nkind = "popular"\nname = "new"\n'
    (trained / "tiny.toml").write_text(changed.replace('name = "new"', ""))
    (trained / "expected" / "rmse.toml").write_text(CLAIMS + "popular = 0.1\n")
    assert results.main(["tiny"], trained) == 2
    assert "no finished run of 'popular'" in capsys.readouterr().err
    assert results.main(["nothing"], trained) == 2
    assert "nothing is claimed of 'nothing'" in capsys.readouterr().err


def test_a_table_is_filled_in_and_a_stale_one_told(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collected(trained)
    monkeypatch.setattr(tables, "HERE", trained)
    page = trained / "page.md"
    page.write_text("before\n<!-- table: tiny -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(tables, "DOCUMENTS", (page,))
    monkeypatch.setattr(tables, "HERE", trained)
    assert tables.main(["--check"]) == 1
    assert "page.md is stale" in capsys.readouterr().out
    assert tables.main([]) == 0
    assert tables.main(["--check"]) == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert lines[2].startswith("| model | test RMSE | less mf (95 %) | seconds |")
    shutil.rmtree(trained / "results")
    with pytest.raises(KeyError, match=r"no tiny\.json"):
        tables.main([])
