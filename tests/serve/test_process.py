"""`recae serve` as a process: its port, its end, and new versions of what it serves."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recae.running import run
from recae.tracking import MlflowTracker, Store, register
from tests.serve.conftest import ITEMS, asker, fitted, until
from tests.test_tracking import AUTOREC, BIAS, recipe

# A shell that starts the tests in the background has them ignore Ctrl-C; a terminal does not.
SERVE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from recae.cli import main
sys.argv[1:1] = ["serve", "--port", "0"]
main()
"""


@contextmanager
def opened(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port; what it says goes to `folder`/said."""
    command = [sys.executable, "-c", SERVE, *arguments]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, cwd=folder
        )
    assert process.stdout is not None
    try:
        port = urlsplit(process.stdout.readline().strip()).port
        assert port is not None, (folder / "said").read_text()
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def answered(person: socket.socket) -> bytes:
    """A whole answer."""
    with person.makefile("rb") as file:
        lines = list(iter(file.readline, b"\r\n"))
        (length,) = (line for line in lines if line.startswith(b"content-length: "))
        return b"".join(lines) + file.read(int(length.split()[1]))


def said(folder: Path) -> list[str]:
    return (folder / "said").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_answered(
    folders: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    ratings = [{"item": item, "stars": 4} for item in range(ITEMS - 1)]
    body = json.dumps({"ratings": ratings, "explain": True}).encode()
    head = b"POST /api/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    with (
        opened(tmp_path, str(folders[0]), "--threads", "1") as (process, port),
        ExitStack() as open_,
    ):
        address = ("127.0.0.1", port)
        people = [
            open_.enter_context(socket.create_connection(address, timeout=60)) for _ in range(50)
        ]
        for person in people:
            person.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert answered(person).startswith(b"HTTP/1.1 200")
        for person in people:
            person.sendall(request)
        first = answered(people[0])
        process.send_signal(number)
        answers = [first, *map(answered, people[1:])]
        assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 50
        assert process.wait(timeout=30) == 0
        open_.close()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(address)
    assert said(tmp_path) == []


@pytest.mark.slow
def test_a_port_in_use_is_one_sentence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "recae.cli", "serve", str(folders[0]), "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"recae: port {port} of 127.0.0.1 is in use: name another with --port\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["./nothing"], "there is no model in nothing: No such file"),
        (["models:/films@champion"], "there are no tracked runs in recae-runs"),
        ([".", "--host", "no.such.host.invalid"], "nothing can be served at no.such.host.invalid"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    tmp_path: Path, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = [sys.executable, "-c", SERVE, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"recae: {sentence}")


@pytest.mark.slow
def test_a_new_champion_is_served(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, AUTOREC, BIAS), tracker=MlflowTracker(store))
    register(store, "bias", "films", "champion")
    with opened(tmp_path, "models:/films@champion") as (_, port):
        ask = asker(port)
        (first,) = ask("/api/model")[1]["models"]
        assert (first["name"], first["kind"], first["version"]) == ("films@champion", "bias", "1")
        register(store, "autorec-dual", "films", "champion")
        until(lambda: ask("/health")[1]["versions"] == {"films@champion": "2"})
        assert ask("/api/model")[1]["models"][0]["kind"] == "autorec-dual"
        # Without its store the server goes on, and says so once.
        (tmp_path / "recae-runs").rename(tmp_path / "away")
        until(lambda: len(said(tmp_path)) == 2)
        assert ask("/api/recommend", {"ratings": [{"item": 1, "stars": 5}]})[0] == 200
        (tmp_path / "away").rename(tmp_path / "recae-runs")
        register(store, "bias", "films", "champion")
        until(lambda: ask("/health")[1]["versions"] == {"films@champion": "1"})
    taken, stays, again = said(tmp_path)
    assert taken == "recae: films@champion is now version 2"
    assert stays.startswith("recae: films@champion stays as it is: ")
    assert again == "recae: films@champion is now version 1"


@pytest.mark.slow
def test_a_model_that_is_saved_again_is_served(tmp_path: Path) -> None:
    folder = fitted().save(tmp_path / "films")
    with opened(tmp_path, str(folder)) as (_, port):
        ask = asker(port)
        before = ask("/health")[1]["versions"]["films"]
        fitted(k=3).save(folder)
        until(lambda: ask("/health")[1]["versions"]["films"] > before)
        (folder / "config.json").write_text("{")
        until(lambda: len(said(tmp_path)) == 2)
        assert ask("/api/recommend", {"ratings": []})[0] == 200
    taken, broken = said(tmp_path)
    assert "is now version" in taken
    assert "cannot be used" in broken
