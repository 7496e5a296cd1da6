"""The models that are served, each exchanged for its next version as soon as there is one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Final

from recae.errors import RecaeError
from recae.serve.engine import Engine
from recae.serve.sources import Source

SECONDS: Final = 2.0
"""Between two looks for newer versions."""
_READS: Final = 5

_logger = logging.getLogger(__name__)


class Served:
    """A source and the engine that answers for it.

    Who answers takes `engine` once and finishes with it, whatever comes meanwhile.
    """

    def __init__(self, source: Source, name: str) -> None:
        """Load it. Raises RecaeError."""
        self.source = source
        self.name = name
        self.engine = self._load()
        self._seen = self.engine.version
        self._away = False

    def refresh(self) -> None:
        """Take the newer version, if there is one that works; what goes wrong is logged, once."""
        try:
            version = self.source.version()
        except RecaeError as trouble:
            if not self._away:
                _logger.warning("%s stays as it is: %s", self.name, _sentence(trouble))
            self._away = True
            return
        self._away = False
        if version == self._seen:
            return
        self._seen = version
        try:
            self.engine = self._load()
        # Whatever a broken model raises: the one that works goes on.
        except Exception as trouble:
            _logger.warning(
                "%s %s cannot be used, %s goes on: %s",
                self.name,
                version,
                self.engine.version,
                _sentence(trouble),
            )
            return
        self._seen = self.engine.version
        _logger.info("%s is now version %s", self.name, self.engine.version)

    def _load(self) -> Engine:
        """The model that the source holds, ready to answer. Raises RecaeError, and whatever a
        broken model raises."""
        version = self.source.version()
        for _ in range(_READS):
            before, model = version, self.source.load()
            # Exchanged while it was read: it may be half of each.
            if (version := self.source.version()) == before:
                engine = Engine(model, self.name, version)
                engine.warm()
                return engine
        raise RecaeError(f"{self.name} changes faster than it can be read")


class Watcher:
    """Looks for newer versions in a thread of its own while the block lasts."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._served = [each for each in served if each.source.changes]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(SECONDS)

    def _watch(self) -> None:
        while not self._over.wait(SECONDS):
            for each in self._served:
                each.refresh()


def _sentence(trouble: BaseException) -> str:
    lines = str(trouble).strip().splitlines()
    return lines[0] if lines else type(trouble).__name__
