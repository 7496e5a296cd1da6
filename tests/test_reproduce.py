"""`make reproduce` on claims of its own: what is trained, matched, printed, and the exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reproduce

from recae.comparison import compare, pooled
from recae.errors import DataError
from recae.recipes import read_recipe
from recae.running import run
from tests.test_running import write_ratings

RECIPE = """
name = "tiny"
seeds = [0, 7]
baseline = "mf"
[data]
source = "{source}"
scale = [0.5, 5]
[split]
kind = "k-fold"
k = 3
fold = 0
[show]
user = 1
model = "popular"
[[model]]
kind = "{kind}"
name = "{name}"
[[model]]
kind = "mf"
k = 3
training = {{ steps = 4 }}
[[model]]
kind = "popular"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recipes `tiny` and `other` on one split, and `folds`, which is `tiny` on all of them."""
    source = write_ratings(tmp_path / "ratings.csv")
    (tmp_path / "expected").mkdir()
    for name, model in (("tiny", "bias"), ("other", "item")):
        kind = "item-ridge" if model == "item" else model
        text = RECIPE.format(source=source, kind=kind, name=model)
        (tmp_path / f"{name}.toml").write_text(text)
    every = (tmp_path / "tiny.toml").read_text().replace("fold = 0\n", "")
    (tmp_path / "folds.toml").write_text(every)
    return tmp_path


def claim(folder: Path, text: str) -> None:
    (folder / "expected" / "rmse.toml").write_text(text)


def rmse(folder: Path) -> dict[str, list[float]]:
    """By model, its RMSE by seed, of `tiny`."""
    found: dict[str, list[float]] = {}
    for outcome in run(read_recipe(folder / "tiny.toml")).outcomes:
        found.setdefault(outcome.plan.model, []).append(outcome.evaluation.metrics["rmse"])
    return found


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["recipe"], row["model"]): row for row in json.loads(path.read_text())}


def test_what_is_claimed_is_trained_and_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = {model: float(np.mean(values)) for model, values in rmse(folder).items()}
    claim(folder, f"[tiny]\ntolerance = 0.001\nbias = {true['bias']}\nmf = {true['mf']}\n")
    assert reproduce.main(["--out", str(folder / "out.md")], folder) == 0
    lines, _, table = capsys.readouterr().out.partition("\n\n")
    said = [line.split(": RMSE")[0] for line in lines.splitlines()]
    assert said == [f"tiny: {m} (seed {s})" for m in ("bias", "mf") for s in (0, 7)]
    header, _, bias, mf = table.splitlines()
    assert header.startswith("| recipe | model | RMSE | expected | tolerance | within | less mf (")
    assert bias.startswith(f"| tiny | `bias` | {true['bias']:.4f} ±0.0000 | {true['bias']:.4f} |")
    assert re.search(r"\| 0\.001 \| yes \| [+-]0\.\d{4} \[", bias)
    assert "| 0.001 | yes | - | - |" in mf
    assert (folder / "out.md").read_text() == table


def test_a_row_outside_its_tolerance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true = rmse(folder)["bias"][0]
    claim(folder, f"[tiny]\ntolerance = 0.01\nbias = {true - 0.011}\n")
    assert reproduce.main([], folder) == 1
    assert "| 0.01 | NO |" in capsys.readouterr().out
    claim(folder, f"[tiny]\ntolerance = 0.01\nbias = {true - 0.009}\n")
    assert reproduce.main([], folder) == 0


def test_missing_data_are_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim(
        folder,
        '[gone]\nrecipe = "tiny"\nset = ["data.source=gone.csv"]\n'
        "tolerance = 0.1\nbias = 1.0\nmf = 1.0\n[tiny]\ntolerance = 9.0\nmf = 1.0\n",
    )
    out = folder / "out.json"
    assert reproduce.main(["--out", str(out)], folder) == 0
    shown = capsys.readouterr().out
    assert "gone: bias skipped: there is no file or folder 'gone.csv'" in shown
    assert "| gone | `mf` | - | 1.0000 | 0.1 | skipped | - | - | - | - |" in shown
    assert shown.count("\ngone: skipped: there is no file or folder 'gone.csv'") == 1
    rows = rows_of(out)
    assert rows["gone", "mf"]["found"] is None
    assert "gone.csv" in rows["gone", "bias"]["reason"]
    assert rows["tiny", "mf"]["within"]


def test_a_failed_training_does_not_end_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_bias(recipe: Any, **given: Any) -> Any:
        if recipe.models[0].name == "bias":
            raise DataError("it diverged")
        return run(recipe, **given)

    monkeypatch.setattr(reproduce, "run", fails_for_bias)
    claim(folder, "[tiny]\ntolerance = 9.0\nbias = 1.0\nmf = 1.0\n")
    assert reproduce.main([], folder) == 1
    shown = capsys.readouterr().out
    assert "| tiny | `bias` | - | 1.0000 | 9 | failed |" in shown
    assert "tiny: failed: it diverged" in shown
    assert "| 9 | yes |" in shown


def test_the_errors_of_folds_are_pooled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim(folder, "[folds]\ntolerance = 9.0\nbias = 1.0\nmf = 1.0\n")
    assert reproduce.main(["--out", str(folder / "out.json")], folder) == 0
    said = [line.split(": RMSE")[0] for line in capsys.readouterr().out.splitlines()[:12]]
    assert said == [
        f"folds: {model} (seed {seed}, fold {fold})"
        for model in ("bias", "mf")
        for seed in (0, 7)
        for fold in range(3)
    ]
    rows = rows_of(folder / "out.json")
    folds = [run(read_recipe(folder / "tiny.toml", [f"split.fold={f}"])) for f in range(3)]
    by_model: dict[str, list[Any]] = {}
    for model in ("bias", "mf"):
        values, groups = [], []
        for seed in (0, 7):
            runs = [
                outcome.evaluation
                for report in folds
                for outcome in report.outcomes
                if (outcome.plan.model, outcome.plan.seed) == (model, seed)
            ]
            groups.append(pooled(runs))
            values.append(groups[-1].metrics["rmse"])
        by_model[model] = groups
        row = rows["folds", model]
        assert row["found"] == pytest.approx(np.mean(values))
        assert row["sd"] == pytest.approx(np.std(values, ddof=1))
        assert row["seeds"] == [0, 7]
    difference = compare(by_model, baseline="mf", rng=np.random.default_rng(0))["bias"]
    found, expected = rows["folds", "bias"]["less"]["mf"], difference.differences["rmse"]
    assert found == pytest.approx(
        {"value": expected.value, "low": expected.low, "high": expected.high}
    )
    assert rows["folds", "mf"]["less"] == {}


def test_a_baseline_of_another_recipe_counts_on_the_same_split_alone(folder: Path) -> None:
    claim(
        folder,
        '[other]\ntolerance = 9.0\nitem = 1.0\n[elsewhere]\nrecipe = "other"\n'
        'set = ["split.fold=1"]\ntolerance = 9.0\nitem = 1.0\n'
        "[tiny]\ntolerance = 9.0\nmf = 1.0\n",
    )
    out = folder / "out.json"
    assert reproduce.main(["--out", str(out)], folder) == 0
    rows = rows_of(out)
    values = [rows[name]["found"] for name in (("other", "item"), ("tiny", "mf"))]
    assert rows["other", "item"]["less"]["mf"]["value"] == pytest.approx(values[0] - values[1])
    assert rows["elsewhere", "item"]["less"] == {}


def test_seeds_that_both_have_are_compared(folder: Path) -> None:
    claim(
        folder,
        '[other]\nset = ["seeds=[7, 8]"]\ntolerance = 9.0\nitem = 1.0\n'
        "[tiny]\ntolerance = 9.0\nmf = 1.0\n"
        '[new]\nrecipe = "other"\nset = ["seeds=[9]"]\ntolerance = 9.0\nitem = 1.0\n',
    )
    out = folder / "out.json"
    assert reproduce.main(["--out", str(out)], folder) == 0
    rows = rows_of(out)
    # The item model draws nothing; `mf` counts with seed 7 alone.
    expected = rows["other", "item"]["found"] - rmse(folder)["mf"][1]
    assert rows["other", "item"]["less"]["mf"]["value"] == pytest.approx(expected)
    assert rows["new", "item"]["less"] == {}


def test_names_and_seeds_choose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim(folder, "[tiny]\ntolerance = 9.0\nmf = 1.0\n[other]\ntolerance = 9.0\nmf = 1.0\n")
    assert reproduce.main(["other", "--seeds", "3"], folder) == 0
    shown = capsys.readouterr().out
    assert "other: mf (seed 3)" in shown
    assert "seed 7" not in shown
    assert "tiny" not in shown


@pytest.mark.parametrize(
    ("claimed", "given", "said"),
    [
        ("mf = 1.0", ["tini"], "nothing is claimed of 'tini': did you mean 'tiny'?"),
        ("mf = 1.0", ["xyz"], "nothing is claimed of 'xyz': there are tiny"),
        (
            "popular = 1.0",
            [],
            "an RMSE of 'popular', and the models of tiny that have one are bias",
        ),
        ('metric = "ndcg_at_5"\nmf = 1.0', [], "metric is rmse or ndcg_at_10, not 'ndcg_at_5'"),
        (
            'recipe = "folds"\nmetric = "ndcg_at_10"\nmf = 1.0',
            [],
            "folds are pooled for RMSE alone",
        ),
        ('recipe = "gone"\nmf = 1.0', [], "gone.toml: No such file"),
        ("mf = 1.0", ["--seeds", "1,1"], "seeds must be a list of different numbers"),
        ("mf = 1.0", ["--out", "table.csv"], "--out takes a .md or a .json file, not 'table.csv'"),
        ("mf = 1.0", ["--out", "no/such/a.md"], "--out: there is no folder no/such"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], claimed: str, given: list[str], said: str
) -> None:
    claim(folder, f"[tiny]\ntolerance = 0.1\n{claimed}\n")
    assert reproduce.main(given, folder) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_lists_are_claimed_by_their_own_metric(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = (folder / "tiny.toml").read_text().replace('name = "bias"', 'name = "implicit-als"')
    (folder / "tiny.toml").write_text(recipe + "[evaluation]\nn = 5\n")
    report = run(read_recipe(folder / "tiny.toml"))
    found = {row.name: row.metrics["ndcg_at_5"][0] for row in report.comparison.rows}
    claim(
        folder,
        f'[tiny]\nmetric = "ndcg_at_5"\ntolerance = 1e-6\npopular = {found["popular"]}\n'
        f"implicit-als = {found['implicit-als']}\n[other]\ntolerance = 9.0\nmf = 1.0\n",
    )
    out = folder / "out.json"
    assert reproduce.main(["--out", str(out)], folder) == 0
    rows = rows_of(out)
    difference = found["popular"] - found["implicit-als"]
    assert rows["tiny", "popular"]["less"]["implicit-als"]["value"] == pytest.approx(difference)
    shown = capsys.readouterr().out
    assert f"tiny: popular (seed 0): NDCG@5 {found['popular']:.4f}, " in shown
    assert (
        "| recipe | model | NDCG@5 | expected | tolerance | within | less implicit-als (" in shown
    )
    assert "| recipe | model | RMSE | expected |" in shown


def test_claims_need_a_tolerance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim(folder, "[tiny]\nmf = 1.0\n")
    assert reproduce.main([], folder) == 2
    assert "[tiny] has no tolerance" in capsys.readouterr().err
