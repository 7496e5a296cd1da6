"""What several tests need: the benchmark data, where it is, and a clean environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from recae.tracking import Store

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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first use of a store creates its tables, which takes seconds: once."""
    from recae.tracking import Store

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Store(folder).open(create=True)
    return folder


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of its own, with tables and without runs, in the current folder."""
    from recae.tracking import Store

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(empty_store, tmp_path / "recae-runs")
    return Store()
