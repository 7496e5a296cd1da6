"""Imports point down, and each third party has one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "recae"

LAYERS = {
    "cli": 8,
    "serve": 8,
    "pyfunc": 8,
    "console": 7,
    "running": 6,
    "recipes": 6,
    "tracking": 6,
    "tuning": 6,
    "plots": 6,
    "reports": 6,
    "anomalies": 5,
    "asking": 5,
    "codes": 5,
    "comparison": 5,
    "exporting": 5,
    "maps": 5,
    "evaluation": 5,
    "everybody": 5,
    "leaks": 5,
    "intervals": 5,
    "neighbours": 5,
    "models": 4,
    "nn": 3,
    "data": 2,
    "splits": 2,
    "ratings": 1,
    "catalog": 1,
    "features": 1,
    "metrics": 1,
    "ids": 0,
    "memory": 0,
    "errors": 0,
}

DOORS = {
    "torch": {"nn", "models"},
    "mlflow": {"tracking"},
    "matplotlib": {"plots"},
    "onnx": {"exporting"},
    "optuna": {"tuning"},
    "pydantic": {"recipes", "serve"},
    "pydantic_core": {"serve"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "implicit": {"models"},
    "myfm": {"models"},
    "sklearn": {"codes", "models"},
    "umap": {"maps"},
    "faiss": {"neighbours"},
    "typer": {"cli"},
    "jinja2": {"reports"},
    "rich": {"cli", "console", "reports"},
    "pyarrow": {"data", "everybody"},
    "pandas": {
        "data",
        "models",
        "tracking",
        "pyfunc",
        "console",
        "codes",
        "everybody",
        "leaks",
        "neighbours",
    },
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """`models` for recae/models/autorec.py, `cli` for recae/cli.py, `recae` for the package."""
    first = path.relative_to(PACKAGE).parts[0]
    return "recae" if first == "__init__.py" else first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, anywhere in it, those for type checking included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names.add(node.module)
            if node.module == "recae":
                names |= {f"recae.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    if here == "recae":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "recae" or len(parts) == 1:
            continue
        there = parts[1]
        if there == "__version__":
            continue
        assert there in LAYERS, f"{path.name} imports {name}, which has no place in the table"
        below = LAYERS[there] < LAYERS[here]
        assert below or there == here or LAYERS[there] == LAYERS[here] != 4, (
            f"{here} (layer {LAYERS[here]}) imports {there} (layer {LAYERS[there]})"
        )


def test_nn_imports_nothing_of_recae() -> None:
    for path in (PACKAGE / "nn").rglob("*.py"):
        foreign = {n for n in imports(path) if n.startswith("recae") and ".nn" not in n}
        assert not foreign, f"{path.name} imports {foreign}"


@pytest.mark.parametrize("party", DOORS)
def test_one_door_for_each_third_party(party: str) -> None:
    users = {room(path) for path in MODULES if party in {n.split(".")[0] for n in imports(path)}}
    assert users <= DOORS[party], f"{party} is imported in {users - DOORS[party]}"


def test_every_module_has_a_place() -> None:
    assert {room(path) for path in MODULES} - {"recae"} == set(LAYERS)
