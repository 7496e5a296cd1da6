"""Who may ask, and what a browser is told."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from recae.serve import app, guard
from recae.serve.guard import Guard, Message
from recae.serve.reloading import Served
from recae.serve.sources import Folder
from tests.serve.conftest import Ask, serving


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_own_names_are_answered(ask: Ask, host: str) -> None:
    assert ask("/health", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "10.0.0.1", ""])
def test_a_rebound_name_is_refused(ask: Ask, host: str) -> None:
    status, answer = ask("/health", host=host)
    assert (status, list(answer)) == (400, ["error"])
    assert "not '" in answer["error"]


@pytest.mark.parametrize(
    ("served", "host", "status"),
    [
        ("0.0.0.0", "10.0.0.1:8000", 200),
        ("::", "[fe80::1]", 200),
        ("0.0.0.0", "evil.example", 400),
        ("box.local", "box.local:80", 200),
        ("box.local", "10.0.0.1", 400),
    ],
)
def test_what_is_served_decides(served: str, host: str, status: int) -> None:
    assert status_of(served, [(b"host", host.encode())])[0] == status


def status_of(served: str, headers: list[tuple[bytes, bytes]], *parts: Message) -> tuple[int, Any]:
    """Of what a guarded application answers that says 200 to everything."""
    sent: list[Message] = []
    waiting = list(parts)

    async def yes(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST" if parts else "GET", "headers": headers}
    asyncio.run(Guard(yes, served)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_SECONDS", 0.05)
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    part = {"type": "http.request", "body": b"{", "more_body": True}
    assert status_of("localhost", headers, part)[0] == 408
    assert status_of("localhost", headers, part, {"type": "http.disconnect"})[0] == 400


def test_browsers_are_told_to_trust_nothing_else(folders: tuple[Path, Path]) -> None:
    with serving(Served(Folder(folders[0]), "dual")) as port:
        for path in ("/", "/docs", "/static/page.js", "/api/model", "/nowhere"):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["set-cookie"] is None
            assert "https://" not in text
            assert "<script>" not in text
            connection.close()


def test_noise_and_halves_leave_the_server_unharmed(folders: tuple[Path, Path]) -> None:
    with serving(Served(Folder(folders[0]), "dual")) as port:
        post = b"POST /api/recommend HTTP/1.1\r\nhost: localhost\r\n"
        post += b"content-type: application/json\r\ncontent-length: "
        for noise in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            post + b"9" * 40 + b"\r\n\r\n",
            post + b"100\r\n\r\n{",
            b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                try:
                    connection.sendall(noise)
                except ConnectionError:
                    continue
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


def test_nobody_waits_behind_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_WAITING", 2)
    free = threading.Event()

    async def ask() -> None:
        pool = app.Pool(1)
        asked = [asyncio.create_task(pool.run(free.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="too many requests are waiting"):
            await pool.run(free.wait)
        free.set()
        assert await asyncio.gather(*asked) == [True, True]
        assert await pool.run(free.wait)

    asyncio.run(ask())
