"""What several tests need: the benchmark data, where it is, and a clean environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("RECAE_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with ml-100k and ml-1m, whose licences forbid to ship them."""
    if not (_DATA / "ml-100k" / "u.data").exists():
        pytest.skip(f"no MovieLens 100K in {_DATA}: name its folder in RECAE_DATA")
    return _DATA


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds data of the machine or writes into its cache."""
    monkeypatch.setenv("RECAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RECAE_DATA", raising=False)
