"""Files as they lie on disk or in a zip, gzip undone; what cannot be read becomes one sentence."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from recae.errors import DataError

_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile)


class UnreadableError(DataError):
    """A file that is damaged, locked or missing: looking at its rows cannot tell more."""


@dataclass(frozen=True)
class File:
    """One file: `path` itself, or `member` of the zip at `path`."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """Its name without folders and without `.gz`."""
        return PurePosixPath(self.member or self.path.name).name.removesuffix(".gz")

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}: {self.member}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes, unzipped and decompressed.

        Raises UnreadableError, also for what goes wrong while the caller reads.
        """
        try:
            if self.member is None:
                with self.path.open("rb") as raw:
                    yield _decompressed(raw)
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as packed:
                    yield _decompressed(io.BufferedReader(cast(io.RawIOBase, packed)))
        except _BROKEN as error:
            raise UnreadableError(
                f"{self} is truncated or corrupt ({reason(error)}): get it again"
            ) from None
        except (OSError, NotImplementedError) as error:
            raise UnreadableError(f"{self} cannot be read: {reason(error)}") from None

    @contextmanager
    def open_text(self, encoding: str, *, newline: str | None = None) -> Iterator[io.TextIOWrapper]:
        """Its text; `newline` as for the built-in `open`. Raises what `open` raises."""
        with self.open() as stream:
            text = io.TextIOWrapper(stream, encoding, newline=newline)
            try:
                yield text
            finally:
                # The stream is closed by the one who opened it.
                text.detach()


def _decompressed(raw: io.BufferedReader) -> BinaryIO:
    if raw.peek(2)[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    return raw


def reason(error: BaseException) -> str:
    """What an exception says, on one line and without its full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def files_in(path: Path) -> dict[str, File]:
    """The files of a folder or zip by name; of equal names the one nearest to the top.

    Folders inside a zip are looked through, subfolders of a folder are not.
    """
    if path.is_dir():
        found = [File(each) for each in sorted(path.iterdir()) if each.is_file()]
    else:
        found = [File(path, member) for member in _members(path)]
    named: dict[str, File] = {}
    for file in found:
        named.setdefault(file.name, file)
    return named


def is_zip(path: Path) -> bool:
    """Whether the file at `path` is, or by its name should be, a zip."""
    if path.suffix.lower() == ".zip":
        return True
    with File(path).open() as stream:
        return stream.read(4) == b"PK\x03\x04"


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (*_BROKEN, OSError) as error:
        raise UnreadableError(
            f"{path} is truncated or corrupt ({reason(error)}): get it again"
        ) from None
    return sorted(names, key=lambda name: (name.count("/"), name))
