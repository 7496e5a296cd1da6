"""Where data lies: in the package, the path itself, the folders in RECAE_DATA, the downloads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from recae.data.movielens import RELEASES, Release, release_called
from recae.errors import DataError

_HERE = Path(__file__).resolve().parent


def cache_folder() -> Path:
    """Where downloads go: RECAE_CACHE, else the platform's folder for a user's caches."""
    if chosen := os.environ.get("RECAE_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "recae"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/recae"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recae"


def search_folders() -> list[Path]:
    """The folders in which a name or a relative path is looked up, in order."""
    named = os.environ.get("RECAE_DATA", "").split(os.pathsep)
    return [Path(), *(Path(each).expanduser() for each in named if each), cache_folder()]


def find(source: str | os.PathLike[str]) -> Path:
    """The file, folder or zip that a path or the name of a release stands for.

    Raises DataError saying where it was looked for and, of a release, how to fetch it.
    """
    path = Path(source).expanduser()
    release = release_called(str(source))
    for candidate in _candidates(path, release):
        if candidate.exists():
            return candidate
    looked = ", ".join("the current folder" if f == Path() else str(f) for f in search_folders())
    if release is not None:
        raise DataError(
            f"{release.name} is not in {looked}, as a folder or as {release.zip_name}: "
            f"run `recae data fetch {release.name}`, or name the folder that has it in RECAE_DATA"
        )
    where = "" if path.is_absolute() else f" in {looked}"
    raise DataError(
        f"there is no file or folder {str(source)!r}{where}: give the path of a table of "
        f"ratings, or one of the releases {', '.join(RELEASES)}"
    )


def _candidates(path: Path, release: Release | None) -> Iterator[Path]:
    if path.is_absolute():
        yield path
        return
    if release is not None:
        # What comes with the package first: the same name must mean the same data everywhere.
        # In an installed package it is beside this file, in a checkout in the data folder.
        yield _HERE / release.name
        yield _HERE.parents[1] / "data" / release.name
    for folder in search_folders():
        yield folder / path
        if release is not None:
            for name in filter(None, (release.name, release.folder, release.zip_name)):
                yield folder / name
