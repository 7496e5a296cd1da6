"""The process: models loaded once, one port, an end that lets requests in flight finish."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from collections.abc import Sequence
from typing import Final

import uvicorn

from recae.errors import RecaeError
from recae.models.threads import compute_in_one_thread
from recae.serve.app import app_of
from recae.serve.reloading import Served, Watcher
from recae.serve.sources import Source

_GRACE: Final = 10
"""Seconds that requests in flight have when the server stops."""


def serve(
    sources: Sequence[Source], *, host: str = "127.0.0.1", port: int = 8000, threads: int = 1
) -> None:
    """Serve the page and the API until SIGTERM or SIGINT, printing the link. For the main thread.

    sources: of one or two models. port: 0 takes a free one. threads: requests computed at once.

    Raises RecaeError for models that cannot be loaded and a port that cannot be had.
    """
    logging.basicConfig(format="recae: %(message)s", level=logging.WARNING)
    logging.getLogger("recae.serve").setLevel(logging.INFO)
    with listening(host, port) as listener:
        compute_in_one_thread()
        served = [Served(each, name) for each, name in zip(sources, _names(sources), strict=True)]
        app = app_of(served, host=host, threads=threads)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        # uvicorn ends in order and then raises the signal again, for handlers like these.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        print(f"http://{_at(host)}:{listener.getsockname()[1]}", flush=True)
        with Watcher(served):
            uvicorn.Server(config).run([listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that waits for connections. Raises RecaeError where the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
        # asyncio does it only for sockets that it makes itself. Without it, whoever asks again at
        # once is answered 40 ms late, when the kernel has stopped waiting for more to send.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, OverflowError) as trouble:
        if getattr(trouble, "errno", None) == errno.EADDRINUSE:
            raise RecaeError(f"port {port} of {host} is in use: name another with --port") from None
        raise RecaeError(f"nothing can be served at {host}:{port}: {trouble}") from None


def _at(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _names(sources: Sequence[Source]) -> list[str]:
    """A second model that is called like the first is told apart."""
    names: list[str] = []
    for each in sources:
        names.append(each.name if each.name not in names else f"{each.name} (2)")
    return names
