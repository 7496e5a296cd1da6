"""The numbers that are claimed: trained again (slow), and the same wherever they are shown."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import autoencoders
import ml_100k_folds
import pytest
from reproduce import Target, read_targets

from recae.recipes import read_recipe
from recae.running import run

ROOT = Path(__file__).parents[1]
PIPELINES = ROOT / "pipelines"
TARGETS = {target.name: target for target in read_targets(PIPELINES)}
OWN = [name for name, target in TARGETS.items() if target.recipe == name]
OF_THE_TOUR = {*autoencoders.RECIPES.values(), "top-n-ml-latest-small"}
CHANGED = [name for name in TARGETS if name not in OWN]


def test_every_recipe_has_its_numbers() -> None:
    assert {path.stem for path in PIPELINES.glob("*.toml")} == set(OWN)
    for name, target in TARGETS.items():
        assert target.claimed(PIPELINES).folds == (5 if name == "ml-latest-small-folds" else 1)
        able = set(target.able(read_recipe(PIPELINES / f"{target.recipe}.toml")))
        assert set(target.claims) <= able
        assert name in CHANGED or set(target.claims) == able


def section(name: str) -> str:
    pipelines = (PIPELINES / "README.md").read_text("utf-8")
    return pipelines.split(f"## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", OWN)
def test_the_documents_show_these_numbers(name: str) -> None:
    target = TARGETS[name]
    for model, value in target.claims.items():
        (shown,) = re.findall(
            rf"^\| `{model}` \| \*?\*?([0-9.]+)", section(name), flags=re.MULTILINE
        )
        assert float(shown) == value, model
        if target.claimed(PIPELINES).folds == 1:
            page = "docs/autoencoders.md" if name in OF_THE_TOUR else "README.md"
            assert f"{value:.4f}" in (ROOT / page).read_text("utf-8"), model


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_recipe_is_a_line_in_its_section(name: str) -> None:
    target = TARGETS[name]
    tables = [part for part in section(target.recipe).split("\n\n") if f"| `{name}` |" in part]
    header, _, *rows = tables[0].strip().splitlines()
    (row,) = [row for row in rows if row.startswith(f"| `{name}` |")]
    cells = dict(zip(*(line.strip("| ").split(" | ") for line in (header, row)), strict=True))
    for model, value in target.claims.items():
        assert float(cells[f"`{model}`"].split()[0]) == value, model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("quickstart", None),
        ("ml-100k-cold-items", None),
        # The others differ in settings alone; `make reproduce` trains them all.
        ("ml-100k-u1", ("mf", "autorec-dual")),
        ("ml-1m-pmf", ("mf", "autorec-dual")),
    ],
)
def test_one_seed_reaches_its_number(
    name: str,
    only: tuple[str, ...] | None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name != "quickstart":
        monkeypatch.setenv("RECAE_DATA", str(request.getfixturevalue("shared_data")))
    target: Target = TARGETS[name]
    recipe = target.claimed(PIPELINES)
    models = [m for m in recipe.model if only is None or m["kind"] in only]
    report = run(replace(recipe, seeds=recipe.seeds[:1], model=models, baseline="mf"))
    for row in report.comparison.rows:
        found = row.metrics["rmse"][0]
        assert found == pytest.approx(target.claims[row.name], abs=target.tolerance), row.name
    assert report.comparison["autorec-dual"].differences["rmse"].high < 0


def test_folds_of_ml_100k_are_blocks_of_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{user}\t{item}\t3\t0\n" for user in (10, 9) for item in (2, 11, 1, 7, 5)]
    (tmp_path / "u.data").write_text("".join(lines))
    (tmp_path / "u2.test").write_text("as it was")
    assert ml_100k_folds.main([str(tmp_path)]) == 0
    assert "u1.test: 2 ratings" in capsys.readouterr().out
    assert (tmp_path / "u1.test").read_text() == lines[0] + lines[1]
    assert (tmp_path / "u2.test").read_text() == "as it was"
    # The third block has the last line of one user and the first of another: sorted by number.
    assert (tmp_path / "u3.test").read_text() == lines[5] + lines[4]
    base = [lines[place] for place in (7, 9, 8, 6, 2, 0, 3, 1)]
    assert (tmp_path / "u3.base").read_text() == "".join(base)
    assert ml_100k_folds.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere/u.data: No such file" in capsys.readouterr().err


def test_the_first_fold_of_ml_100k_is_the_official_one(shared_data: Path, tmp_path: Path) -> None:
    official = shared_data / "ml-100k"
    shutil.copy(official / "u.data", tmp_path)
    ml_100k_folds.main([str(tmp_path)])
    for name in ("u1.base", "u1.test"):
        assert (tmp_path / name).read_bytes() == (official / name).read_bytes()
