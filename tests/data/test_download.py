"""Downloads, from a real server on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import recae.data
from recae.data import download, movielens
from recae.data.lookup import cache_folder
from recae.errors import DataError


class Server(ThreadingHTTPServer):
    """Serves `files`, byte ranges included; breaks off after `cut` bytes, `breaks` times."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cut, self.breaks = 0, 0
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, name = self.server, self.path.lstrip("/")
        asked = self.headers["Range"]
        server.asked.append((name, asked))
        content = server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        content = content[start:]
        self.send_response(206 if asked and server.ranges else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if server.breaks and not name.endswith(".md5"):
            server.breaks -= 1
            content = content[: server.cut]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small ml-25m.zip whose checksum is the pinned one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "ml-25m/ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4\n1,3,5,4\n"
        )
        archive.writestr("ml-25m/movies.csv", "movieId,title,genres\n2,Heat (1995),Crime\n")
    release = replace(movielens.RELEASES["ml-25m"], md5=md5(packed.getvalue()))
    monkeypatch.setitem(movielens.RELEASES, "ml-25m", release)
    return packed.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def cached() -> list[str]:
    return sorted(path.name for path in cache_folder().iterdir())


def test_fetched_once_checked_and_loaded(server: Server, content: bytes) -> None:
    server.files["ml-25m.zip"] = content
    seen: list[tuple[int, int | None]] = []
    path = recae.data.fetch(
        "25m", base_url=server.url, progress=lambda done, total: seen.append((done, total))
    )
    assert path == cache_folder() / "ml-25m.zip"
    assert path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert cached() == ["ml-25m.zip"]
    assert recae.data.load("ml-25m").stars.tolist() == [3, 5]
    recae.data.fetch("25m", base_url=server.url)
    assert len(server.asked) == 1


def test_a_broken_transfer_goes_on_where_it_broke(server: Server, content: bytes) -> None:
    server.files["ml-25m.zip"] = content
    server.cut, server.breaks = 50, 2
    assert recae.data.fetch("25m", base_url=server.url).read_bytes() == content
    assert [asked for _, asked in server.asked] == [None, "bytes=50-", "bytes=100-"]


def test_too_many_breaks_keep_what_arrived(server: Server, content: bytes) -> None:
    server.files["ml-25m.zip"] = content
    server.cut, server.breaks = 10, 5
    with pytest.raises(DataError, match=r"broke off 5 times, after 50 bytes: fetch it again"):
        recae.data.fetch("25m", base_url=server.url)
    assert cached() == ["ml-25m.zip.part"]
    assert recae.data.fetch("25m", base_url=server.url).read_bytes() == content
    assert server.asked[-1] == ("ml-25m.zip", "bytes=50-")


def test_a_server_without_ranges(server: Server, content: bytes) -> None:
    server.files["ml-25m.zip"] = content
    server.ranges = False
    server.cut, server.breaks = 50, 1
    assert recae.data.fetch("25m", base_url=server.url).read_bytes() == content


def test_a_complete_part_is_only_checked(server: Server, content: bytes) -> None:
    server.files["ml-25m.zip"] = content
    cache_folder().mkdir(parents=True)
    (cache_folder() / "ml-25m.zip.part").write_bytes(content)
    assert recae.data.fetch("25m", base_url=server.url).read_bytes() == content


@pytest.mark.parametrize("name", ["25m", "latest"])
def test_a_wrong_checksum_removes_the_file(server: Server, content: bytes, name: str) -> None:
    server.files[f"ml-{name}.zip"] = content[:-1] + b"?"
    server.files[f"ml-{name}.zip.md5"] = f"{md5(content)}  ml-{name}.zip\n".encode()
    with pytest.raises(DataError, match=f"does not have the checksum {md5(content)}.*removed"):
        recae.data.fetch(name, base_url=server.url)
    assert cached() == []


@pytest.mark.parametrize("written", ["MD5 (ml-latest.zip) = {}\n", "{}  ml-latest.zip\n"])
def test_latest_is_checked_against_its_neighbour(
    server: Server, content: bytes, written: str
) -> None:
    for version in (content, content + b"newer"):
        server.files["ml-latest.zip"] = version
        server.files["ml-latest.zip.md5"] = written.format(md5(version).upper()).encode()
        assert recae.data.fetch("latest", base_url=server.url).read_bytes() == version
    before = len(server.asked)
    recae.data.fetch("latest", base_url=server.url)
    assert server.asked[before:] == [("ml-latest.zip.md5", None)]


def test_no_checksum_beside_it(server: Server) -> None:
    server.files["ml-latest.zip.md5"] = b"<html>maintenance</html>"
    with pytest.raises(DataError, match=r"holds no checksum"):
        recae.data.fetch("latest", base_url=server.url)


def test_not_there(server: Server) -> None:
    with pytest.raises(DataError, match=r"ml-20m.zip cannot be fetched: 404"):
        recae.data.fetch("20m", base_url=server.url)


def test_offline(server: Server) -> None:
    url = server.url
    server.server_close()
    for name in ("20m", "latest"):
        with pytest.raises(
            DataError, match=rf"{url}ml-{name}.zip cannot be reached.*put it at .*zip"
        ):
            recae.data.fetch(name, base_url=url)


def test_unknown_release() -> None:
    with pytest.raises(DataError, match=r"no release '5m': the releases are ml-100k"):
        download.fetch("5m")
