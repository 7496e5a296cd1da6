"""How runs are grouped for a comparison, and which of them can be compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from recae.standings import group_names


def run(model: str, **params: str) -> Any:
    return SimpleNamespace(model=model, params=params)


def test_runs_that_differ_by_seed_are_one_group() -> None:
    runs = [run("mf", k="8", seed="0"), run("mf", k="8", seed="1"), run("bias", seed="0")]
    assert group_names(runs) == ["mf", "mf", "bias"]


def test_runs_with_other_settings_are_groups_of_their_own() -> None:
    runs = [
        run("mf", k="8", lr="1", seed="0"),
        run("mf", k="4", lr="1", seed="0"),
        run("bias", seed="0"),
    ]
    assert group_names(runs) == ["mf k=8", "mf k=4", "bias"]
