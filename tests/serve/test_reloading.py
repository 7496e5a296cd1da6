"""Newer versions are taken, broken ones are not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from recae.errors import RecaeError
from recae.models import Recommender
from recae.serve.reloading import Served
from recae.serve.sources import Folder
from tests.serve.conftest import fitted


class Shelf:
    """A source that holds what is put there."""

    name = "shelf"
    changes = True

    def __init__(self, model: Recommender) -> None:
        self.held: Recommender | Exception = model
        self.at: str | Exception = "1"
        self.reads = 0
        self.swapped: list[str] = []

    def version(self) -> str:
        if isinstance(self.at, Exception):
            raise self.at
        return self.at

    def load(self) -> Recommender:
        self.reads += 1
        if self.swapped:
            self.at = self.swapped.pop(0)
        if isinstance(self.held, Exception):
            raise self.held
        return self.held


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted()


@pytest.fixture
def shelf(model: Recommender) -> Shelf:
    return Shelf(model)


def test_a_newer_version_takes_over_and_who_is_asked_finishes(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recae.serve")
    served = Served(shelf, "films")
    before = served.engine
    served.refresh()
    assert (served.engine, shelf.reads) == (before, 1)
    shelf.at = "2"
    served.refresh()
    assert served.engine is not before
    assert (served.engine.version, before.version) == ("2", "1")
    assert len(before.recommend([(1, 5)], 3, {}).items) == 3
    assert caplog.messages == ["films is now version 2"]


def test_a_store_that_is_away_is_told_once(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    served = Served(shelf, "films")
    before = served.engine
    for _ in range(2):
        shelf.at = RecaeError("the store cannot be used:\nits server sleeps")
        served.refresh()
    assert served.engine is before
    assert caplog.messages == ["films stays as it is: the store cannot be used:"]
    shelf.at = "2"
    served.refresh()
    assert served.engine.version == "2"


@pytest.mark.parametrize("trouble", [RecaeError("half of it is missing"), KeyError("weights")])
def test_a_broken_version_is_told_once_and_not_taken(
    shelf: Shelf, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served(shelf, "films")
    before, whole = served.engine, shelf.held
    shelf.at, shelf.held = "2", trouble
    for _ in range(3):
        served.refresh()
    assert served.engine is before
    assert shelf.reads == 2
    (said,) = caplog.messages
    assert said.startswith("films 2 cannot be used, 1 goes on: ")
    shelf.at, shelf.held = "3", whole
    served.refresh()
    assert served.engine.version == "3"


def test_what_is_exchanged_while_it_is_read_is_read_again(shelf: Shelf) -> None:
    shelf.swapped = ["2"]
    assert Served(shelf, "films").engine.version == "2"
    assert shelf.reads == 2
    shelf.swapped = [str(n) for n in range(10)]
    with pytest.raises(RecaeError, match="changes faster than it can be read"):
        Served(shelf, "films")


def test_a_folder_has_the_version_of_its_newest_file(tmp_path: Path, model: Recommender) -> None:
    folder = Folder(model.save(tmp_path / "films"))
    served = Served(folder, folder.name)
    first = served.engine.version
    assert first == folder.version()
    other = fitted(k=3)
    other.save(tmp_path / "films")
    served.refresh()
    assert served.engine.version > first
    history = other.history_of({1: 5})
    expected = other.recommend(history, 3).stars[0]
    found = [each.stars for each in served.engine.recommend([(1, 5)], 3, {}).items]
    np.testing.assert_allclose(found, expected, atol=6e-4)
    (tmp_path / "films" / "arrays.safetensors").write_bytes(b"torn")
    kept = served.engine
    served.refresh()
    assert served.engine is kept
