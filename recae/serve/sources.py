"""Where a served model comes from, and whether there is a newer one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from recae.errors import DataError
from recae.models import Recommender, load_model

if TYPE_CHECKING:
    from recae.tracking import Store


class Source(Protocol):
    """A place that holds a model, another one from time to time."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def changes(self) -> bool:
        """Whether it can ever hold another one."""

    def version(self) -> str:
        """Of the model that is there now. Raises RecaeError where it cannot be told."""

    def load(self) -> Recommender:
        """Read it. Raises RecaeError."""


class Folder:
    """A model's folder, which is written again when the model is saved again."""

    changes = True

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The folder's."""
        return self._path.resolve().name

    def version(self) -> str:
        """When its newest file was written, UTC. Raises DataError."""
        try:
            # A folder that is copied into place is not whole before its last file.
            newest = max((each.stat().st_mtime for each in self._path.iterdir()), default=0.0)
        except OSError as trouble:
            raise DataError(f"there is no model in {self._path}: {trouble.strerror}") from None
        return datetime.fromtimestamp(newest, UTC).isoformat(" ", "microseconds")[:-6]

    def load(self) -> Recommender:
        """Read it. Raises DataError."""
        return load_model(self._path)


class Tracked:
    """A run's model, or a registered one; an alias may come to point to another version."""

    def __init__(self, store: Store, wanted: str) -> None:
        self._store = store
        self._wanted = wanted

    @property
    def name(self) -> str:
        """The registered name, or the run as it was named."""
        return self._wanted.removeprefix("models:/").removeprefix("runs:/")

    @property
    def changes(self) -> bool:
        """An alias does."""
        return self._wanted.startswith("models:/") and "@" in self._wanted

    def version(self) -> str:
        """The number in the registry, or the run's id. Raises RecaeError."""
        from recae.tracking import version_of

        return version_of(self._store, self._wanted)

    def load(self) -> Recommender:
        """Read it. Raises RecaeError."""
        from recae.tracking import load_run_model

        return load_run_model(self._store, self._wanted)
