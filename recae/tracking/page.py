"""MLflow's page on the store, served on this machine for as long as it is looked at."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from recae.errors import RecaeError
from recae.tracking.finding import TrackedEvaluation
from recae.tracking.store import Store, explained, search, tolerated
from recae.tracking.views import save_view

_PORTS: Final = 20
"""How many ports are tried."""
_START_SECONDS: Final = 120
"""What the server may take to answer; the first start of a store migrates it."""
_ML_VIEW: Final = "workflowType=machine_learning"
"""Without it the page may open in its view for language models."""


def compare_url(runs: Sequence[TrackedEvaluation], base: str = "http://127.0.0.1:5000") -> str:
    """The page's own comparison of `runs`; `base` is where the page is served."""
    ids = json.dumps([run.run_id for run in runs], separators=(",", ":"))
    experiments = json.dumps(sorted({run.experiment_id for run in runs}), separators=(",", ":"))
    return f"{base.rstrip('/')}/#/compare-runs?runs={ids}&experiments={experiments}&{_ML_VIEW}"


def open_page(
    store: Store,
    experiment: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    open_browser: bool = True,
) -> None:
    """Serve MLflow's page on the store until interrupted or terminated, printing its link at
    `experiment`, or else at the newest one. A port in use gives way to the next free one. Where
    the store is a server, only the link to its own page is given. For the main thread.

    Raises RecaeError where there is no such experiment, the store is empty, cannot be reached or
    has a page of another kind, where no port is free, and where the page does not start.
    """
    if store.is_server and not store.name.startswith("http"):
        raise RecaeError(f"the runs are on a tracking server, which has the page: {store.name}")
    place = _place(store, experiment)
    if store.is_server:
        _show(store.name.rstrip("/") + place, open_browser)
        return
    base = f"http://{host}:{_free_port(host, port)}"
    with suppress(KeyboardInterrupt), _termination(), _server(store, base) as server:
        _show(base + place, open_browser)
        server.wait()
        raise RecaeError(f"the tracking page stopped: {_last_line(store)}")


def _place(store: Store, name: str | None) -> str:
    """Of an experiment on the page, in the view that is kept with it."""
    client = store.open()
    with explained(store):
        known = [each for each in client.search_experiments() if name in (None, each.name)]
        newest = next(search(client, "", known), None) if known else None
        if newest is None:
            of = "" if name is None else f"of an experiment {name!r} "
            raise RecaeError(f"there are no tracked runs {of}in {store.name}: train a recipe first")
        experiment = client.get_experiment(newest.info.experiment_id)
    place = f"/#/experiments/{experiment.experiment_id}/runs?{_ML_VIEW}"
    with tolerated("the page opens without its columns"):
        place += f"&viewStateShareKey={save_view(client, experiment)}"
    return place


def _show(link: str, open_browser: bool) -> None:
    print(link, flush=True)
    if open_browser:
        webbrowser.open(link)


def _free_port(host: str, first: int) -> int:
    for port in range(first, first + _PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as trouble:
                if trouble.errno == errno.EADDRINUSE:
                    continue
                raise RecaeError(f"nothing can be served at {host}:{port}: {trouble}") from None
            return port
    raise RecaeError(f"the ports {first} to {first + _PORTS - 1} are all in use: name another")


@contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM as SystemExit, so that what is under way is ended and not left behind."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _server(store: Store, base: str) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server while the block lasts; no process of it is left behind."""
    at = urlsplit(base)
    options = {
        "backend-store-uri": store.uri,
        "default-artifact-root": store.artifacts.as_uri(),
        "host": at.hostname,
        "port": at.port,
        "workers": 1,
    }
    command = [sys.executable, "-m", "mlflow", "server"]
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    with _log(store).open("wb") as log:
        # In a session of its own: an interrupt reaches it through us, with all of its children.
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(server, base, store)
        yield server
    finally:
        _stop(server)


def _await(server: subprocess.Popen[bytes], base: str, store: Store) -> None:
    # Whatever proxy the environment names, it does not lead to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), opener.open(f"{base}/health", timeout=5):
            return
        time.sleep(0.1)
    raise RecaeError(f"the tracking page did not start: {_last_line(store)}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    for blow in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, blow)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=10)


def _log(store: Store) -> Path:
    return store.folder / "server.log"


def _last_line(store: Store) -> str:
    lines = _log(store).read_text(errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'it said nothing'} (all of it in {_log(store)})"
