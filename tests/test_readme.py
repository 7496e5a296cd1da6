"""What README says works: its Python example runs, its files and commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from typer.main import get_command

from recae.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert "recae.load(" in example
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rmse" in done.stdout
    assert (tmp_path / "my-model" / "config.json").exists()


def test_files_that_are_linked_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_commands_that_are_named_exist() -> None:
    command = get_command(app)
    known = set(command.commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"^\s*(?:\$ )?recae ([a-z]+)", README, flags=re.MULTILINE))
    assert named
    assert named <= known, named - known
