"""A small model whose titles are not harmless, and a real server on it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from recae.catalog import Catalog
from recae.models import MODELS, AutoRec
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.serve.app import app_of
from recae.serve.reloading import Served
from recae.serve.running import listening
from recae.serve.sources import Folder

HTML = "<img src=x onerror=alert`1`><b>Bold</b> (1999)"
TITLES = [HTML, "Heat (1995)", "Heat (1986)", "Amélie (2001)", "Matrix, The (1999)", "Alien (1979)"]
USERS, ITEMS = 60, 40

Ask = Callable[..., tuple[int, Any]]


def made_up() -> Ratings:
    """Two tastes; the first items have the most ratings."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((USERS, ITEMS)) < np.linspace(0.9, 0.3, ITEMS))
    stars = np.where((users % 2) == (items % 2), 4.5, 2.0) + rng.choice([-0.5, 0, 0.5], len(users))
    titles = [*TITLES, *(f"Film {n} (20{n:02d})" for n in range(len(TITLES), ITEMS))]
    genres = [("Drama", "Crime") if n % 2 else ("Comedy",) for n in range(ITEMS)]
    catalog = Catalog.of(range(ITEMS), titles, genres)
    return Ratings.of(users, items, stars, scale=(0.5, 5.0), catalog=catalog)


def fitted(**settings: Any) -> AutoRec:
    """A dual AutoRec of these ratings."""
    model = AutoRec.dual(**{"k": 4, "training": Training(steps=30)} | settings)
    return model.fit(made_up(), rng=np.random.default_rng(0))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dual AutoRec and a model that only ranks, saved."""
    at = tmp_path_factory.mktemp("models")
    popular = MODELS["popular"]().fit(made_up(), rng=np.random.default_rng(0))
    return fitted().save(at / "dual"), popular.save(at / "popular")


@contextmanager
def serving(*served: Served, threads: int = 2) -> Iterator[int]:
    """The port of a real server, while the block lasts."""
    with listening("127.0.0.1", 0) as listener:
        app = app_of(served, host="127.0.0.1", threads=threads)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def asker(port: int) -> Ask:
    """Asks the server on `port`: status and what the JSON says."""

    def ask(
        path: str, wish: Any = None, *, body: Any = None, method: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if wish is not None:
            body = json.dumps(wish)
        if body is not None:
            sent = {"content-type": "application/json"} | sent
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return ask


@pytest.fixture(scope="session")
def ask(folders: tuple[Path, Path]) -> Iterator[Ask]:
    """A server of both models."""
    with serving(*(Served(Folder(each), each.name) for each in folders)) as port:
        yield asker(port)


def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
