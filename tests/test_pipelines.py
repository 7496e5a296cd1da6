"""The numbers that are claimed: trained again (slow), and the same wherever they are shown."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recae.recipes import read_recipe
from recae.running import run

ROOT = Path(__file__).parents[1]
PIPELINES = ROOT / "pipelines"
EXPECTED: dict[str, dict[str, float]] = tomllib.loads(
    (PIPELINES / "expected" / "rmse.toml").read_text("utf-8")
)


def models_of(name: str) -> list[dict[str, Any]]:
    raw: dict[str, Any] = tomllib.loads((PIPELINES / f"{name}.toml").read_text("utf-8"))
    return list(raw["model"])


def claims(name: str) -> dict[str, float]:
    return {model: value for model, value in EXPECTED[name].items() if model != "tolerance"}


def test_every_recipe_has_its_numbers() -> None:
    assert {path.stem for path in PIPELINES.glob("*.toml")} == set(EXPECTED)
    for name in EXPECTED:
        names = {model.get("name", model["kind"]) for model in models_of(name)}
        assert set(claims(name)) == names - {"popular", "implicit-als"}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_documents_show_these_numbers(name: str) -> None:
    pipelines = (PIPELINES / "README.md").read_text("utf-8")
    section = pipelines.split(f"## {name}\n")[1].split("\n## ")[0]
    for model, value in claims(name).items():
        (shown,) = re.findall(rf"^\| `{model}` \| \*?\*?([0-9.]+)", section, flags=re.MULTILINE)
        assert float(shown) == value, model
        assert f"{value:.4f}" in (ROOT / "README.md").read_text("utf-8"), model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("quickstart", None),
        ("ml-100k-u1", None),
        ("ml-100k-cold-items", None),
        # The others take a minute each and differ in settings alone.
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
    recipe = read_recipe(PIPELINES / f"{name}.toml")
    models = [m for m in recipe.model if only is None or m["kind"] in only]
    report = run(replace(recipe, seeds=recipe.seeds[:1], model=models, show=None))
    for model, value in claims(name).items():
        if only is None or model in only:
            found = report.comparison[model].metrics["rmse"][0]
            assert found == pytest.approx(value, abs=EXPECTED[name]["tolerance"]), model
    assert report.comparison["autorec-dual"].differences["rmse"].high < 0
