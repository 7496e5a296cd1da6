"""The socket that connections come in by."""

from __future__ import annotations

import socket

import pytest

from recae.errors import RecaeError
from recae.serve.running import listening


def test_answers_do_not_wait_for_more_to_send() -> None:
    with listening("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=10):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RecaeError, match=f"port {port} of 127.0.0.1 is in use"):
            listening("127.0.0.1", port)
    # Of the addresses that documents are written with, which are nobody's.
    with pytest.raises(RecaeError, match=r"nothing can be served at 192\.0\.2\.1:0"):
        listening("192.0.2.1", 0)
