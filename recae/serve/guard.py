"""What stands before the application: who may ask, how much, and what a browser may do with it.

The page is on this machine and asks for no password, so what protects it from other pages is that
its name is one of this machine (DNS rebinding), and that JSON cannot be sent across origins
unasked.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from pydantic_core import to_json

BODY: Final = 256 * 1024
"""Bytes of a request's body."""
_DRAINED: Final = 64 * 1024 * 1024
"""Bytes of a body that is too large, of which no more is taken."""
_SECONDS: Final = 10.0
"""That a body may take to arrive."""
_OWN: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware that refuses, with one sentence, what the application should never see."""

    def __init__(self, app: App, host: str) -> None:
        """host: the address that is served, which may be asked by that name too."""
        self._app = app
        self._host = host

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Of HTTP; anything else goes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        headers = dict(scope["headers"])
        refusal = self._refusal(scope["method"], headers)
        if refusal is None and scope["method"] == "POST":
            read = await _body(headers, receive)
            if isinstance(read, bytes):
                receive = _replayed(read, receive)
            else:
                refusal = read
        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            await _refuse(guarded, *refusal)

    def _refusal(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and sentence, before the body is read."""
        name = _hostname(headers.get(b"host", b"").decode("latin-1"))
        if not self._may_ask(name):
            return 400, f"this server is called {self._host} or localhost, not {name!r}"
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
        if method == "POST" and kind.lower() != "application/json":
            return 415, "send JSON, with content-type: application/json"
        return None

    def _may_ask(self, name: str) -> bool:
        if name in _OWN or name == self._host.lower():
            return True
        # Where all addresses are served any of them will do: what is rebound is a name.
        return self._host in ("0.0.0.0", "::") and _is_address(name)


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes | tuple[int, str]:
    """All of it, or why not. What was announced is believed only if it is too much."""
    too_much = 413, f"the request is larger than {BODY // 1024} KB: send fewer ratings"
    if b"expect" in headers and _announced(headers) > BODY:
        return too_much
    read, size, more = bytearray(), 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS):
            while more and size <= _DRAINED:
                message = await receive()
                if message["type"] != "http.request":
                    return 400, "the request ended early"
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                # Who is still sending would not read the answer: the rest is taken, and dropped.
                if size <= BODY:
                    read += part
            return bytes(read) if size <= BODY else too_much
    return 408, f"the request took longer than {_SECONDS:g} seconds to arrive"


def _announced(headers: dict[bytes, bytes]) -> int:
    """Bytes; 0 where nothing is said, or no number."""
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return 0


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = to_json({"error": sentence})
    # The rest of the request may never come: nothing more is read from this connection.
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _hostname(host: str) -> str:
    """Without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
