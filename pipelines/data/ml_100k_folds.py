"""The folds u1 to u5 of ML-100K beside its u.data, where a copy comes without them.

    python pipelines/data/ml_100k_folds.py FOLDER      # that of u.data

GroupLens's mku.sh, which made the files of the release: the test set of fold number i is block i of
five equal blocks of lines of u.data, its base the rest, both sorted by user and item. A file that
is there already stays as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FOLDS = 5


def main(argv: list[str] | None = None) -> int:
    """Write what is missing and say so; 2 where that cannot be."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("folder", type=Path, help="the folder of u.data")
    folder: Path = arguments.parse_args(argv).folder
    try:
        lines = (folder / "u.data").read_bytes().splitlines(keepends=True)
        for name, part in folds(lines).items():
            if not (folder / name).exists():
                (folder / name).write_bytes(b"".join(part))
                print(f"{folder / name}: {len(part):,} ratings")
    except OSError as trouble:
        print(f"error: {trouble.filename}: {trouble.strerror}", file=sys.stderr)
        return 2
    return 0


def folds(lines: list[bytes]) -> dict[str, list[bytes]]:
    """By the name of a file its lines; `lines` are those of u.data, in its order."""
    size = len(lines) // FOLDS
    files = {}
    for number in range(FOLDS):
        test = slice(number * size, (number + 1) * size)
        files[f"u{number + 1}.base"] = sorted(lines[: test.start] + lines[test.stop :], key=_pair)
        files[f"u{number + 1}.test"] = sorted(lines[test], key=_pair)
    return files


def _pair(line: bytes) -> tuple[int, int]:
    user, item, *_ = line.split(b"\t")
    return int(user), int(item)


if __name__ == "__main__":
    sys.exit(main())
