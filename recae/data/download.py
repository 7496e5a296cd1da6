"""MovieLens releases from GroupLens into the cache: resumed, checked, then put in place."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from recae.data.lookup import cache_folder
from recae.data.movielens import BASE_URL, RELEASES, Release, release_called
from recae.errors import DataError

Progress: TypeAlias = Callable[[int, int | None], None]

_ATTEMPTS = 5
_BLOCK = 1 << 18
_TIMEOUT = 30.0


def fetch(name: str, *, progress: Progress | None = None, base_url: str | None = None) -> Path:
    """The zip of a release in the cache, downloaded unless it is there and up to date.

    progress: called with the bytes that have arrived and, where known, all bytes.
    base_url: another place to fetch from, such as a mirror.

    Raises DataError without a network, for a transfer that keeps breaking off (what has arrived
    is kept, and the next call goes on from there), and for a wrong checksum (the file is removed).
    """
    release = release_called(name)
    if release is None:
        raise DataError(f"there is no release {name!r}: the releases are {', '.join(RELEASES)}")
    url = f"{(base_url or BASE_URL).rstrip('/')}/{release.zip_name}"
    target = cache_folder() / release.zip_name
    try:
        wanted = release.md5 or _published_md5(url)
        if target.exists() and _md5(target) == wanted:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        _download(url, part, progress)
    except urllib.error.HTTPError as error:
        raise DataError(f"{url} cannot be fetched: {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise DataError(_offline(release, url, target, error)) from None
    if _md5(part) != wanted:
        part.unlink()
        raise DataError(
            f"what {url} sent does not have the checksum {wanted} and was removed: fetch it again, "
            "and distrust the source if that happens twice"
        )
    part.replace(target)
    return target


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full length. Raises DataError where that takes too many attempts."""
    for _ in range(_ATTEMPTS):
        if _continue(url, part, progress):
            return
    raise DataError(
        f"the transfer of {url} broke off {_ATTEMPTS} times, after {part.stat().st_size:,} bytes: "
        "fetch it again to go on from there"
    )


def _continue(url: str, part: Path, progress: Progress | None) -> bool:
    """One request for what `part` lacks; whether it is complete afterwards."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            # All of it is here, or more than there is: the checksum tells which.
            return True
        raise
    with response:
        # A server that ignores the range sends everything from the start.
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with part.open("ab" if done else "wb") as file:
            for block in _blocks(response):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
    return total is None or done >= total


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What arrives until the end or until the connection breaks."""
    while True:
        try:
            block = response.read(_BLOCK)
        except (http.client.IncompleteRead, ConnectionError, TimeoutError):
            return
        if not block:
            return
        yield block


def _published_md5(url: str) -> str:
    """The checksum that stands beside the zip. Raises DataError where there is none in the file."""
    with urllib.request.urlopen(f"{url}.md5", timeout=_TIMEOUT) as response:
        found = re.search(rb"\b[0-9a-f]{32}\b", response.read(4096).lower())
    if found is None:
        raise DataError(f"{url}.md5 holds no checksum: fetch it again later")
    return found[0].decode()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def _offline(release: Release, url: str, target: Path, error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return (
        f"{url} cannot be reached ({reason}): fetch it on a machine with a network and put it at "
        f"{target}, then use it as {release.name}"
    )
