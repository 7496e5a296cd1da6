"""The generic reader: what it recognises, and one sentence for each kind of bad input."""

from __future__ import annotations

import contextlib
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recae.data
from recae.data import tables
from recae.errors import DataError

HEADER = "user,item,rating,time\n"
GOOD = HEADER + "1,10,3.5,100\n1,20,4,200\n2,10,0.5,300\n"


def write(folder: Path, content: str | bytes, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def triples(ratings: Any) -> list[tuple[Any, Any, float]]:
    users = ratings.users.values[ratings.rows].tolist()
    items = ratings.items.values[ratings.columns].tolist()
    return list(zip(users, items, ratings.stars.tolist(), strict=True))


WANTED = [(1, 10, 3.5), (1, 20, 4.0), (2, 10, 0.5)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", GOOD),
        ("r.csv", GOOD.replace("\n", "\r\n")),
        ("r.csv", "\ufeff" + GOOD),
        ("r.csv", GOOD.encode("utf-16")),
        ("r.csv", "\n" + GOOD.replace("\n", "\n\n")),
        ("r.csv", GOOD.replace(",", ", ")),
        ("r.csv", GOOD.rstrip("\n")),
        ("r.csv", GOOD.replace("1,", '"1",')),
        ("r.csv.gz", gzip.compress(GOOD.encode(), mtime=0)),
        ("named-wrongly.csv", gzip.compress(GOOD.encode(), mtime=0)),
        ("r.tsv", GOOD.replace(",", "\t")),
        ("r.txt", GOOD.replace(",", ";")),
        ("r.txt", GOOD.replace(",", "|")),
        ("r.txt", GOOD.replace(",", " ")),
        ("r.dat", GOOD.replace(",", "::")),
        ("r.dat", GOOD.replace(",", "::").removeprefix(HEADER.replace(",", "::"))),
        ("u.data", GOOD.removeprefix(HEADER).replace(",", "\t")),
        ("r.csv", GOOD.replace("user", "userId").replace("item", "movieId")),
        ("r.csv", GOOD.replace("user", "UserID").replace("time", "timestamp")),
        ("r.csv", "time,note,rating,item,user\n100,é,3.5,10,1\n200,,4,20,1\n300,x,0.5,10,2\n"),
        (
            "r.csv",
            'note,user,item,rating,time\n"a, b",1,10,3.5,100\n"c\nd",1,20,4,200\n,2,10,.5,300\n',
        ),
        ("r.csv", "note,user,item,rating,time\nx,1,10,3.5,1e2\nx,1,20,4,200\nx,2,10,.5,300\n"),
        ("r.csv", "\ufeff" + GOOD.replace("1,", "1.0,").replace("2,", "2.0,")),
    ],
)
def test_forms_of_one_table(tmp_path: Path, name: str, content: str | bytes) -> None:
    ratings = recae.data.load(write(tmp_path, content, name))
    assert triples(ratings) == WANTED
    assert ratings.users.values.dtype == np.int64
    assert ratings.times is not None
    assert ratings.times.tolist() == [100, 200, 300]
    assert ratings.scale == (0.5, 4.0)
    assert ratings.catalog is None


def test_parquet_and_frames_say_the_same(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path, GOOD))
    frame["note"] = "x"
    frame.to_parquet(tmp_path / "r.parquet")
    frame.to_parquet(tmp_path / "no_suffix")
    wanted = recae.data.load(tmp_path / "r.csv").digest
    for source in (frame, tmp_path / "r.parquet", tmp_path / "no_suffix"):
        assert recae.data.load(source).digest == wanted
    assert triples(recae.data.load(frame.astype({"user": "Int64", "rating": "Float64"}))) == WANTED


def test_folder_and_zip_with_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder, GOOD)
    write(folder, "about", "README.md")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("top/r.csv", GOOD)
    assert triples(recae.data.load(folder)) == WANTED
    assert triples(recae.data.load(tmp_path / "mine.zip")) == WANTED
    write(folder, GOOD, "second.csv")
    with pytest.raises(DataError, match=r"several tables, name one of them: r.csv, second.csv"):
        recae.data.load(folder)


def test_named_columns_and_where(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c,fold\n1,1,2,0\n1,2,3,1\n2,1,4,1.0\n")
    names: Any = {"user": "a", "item": "b", "rating": "c"}
    assert len(recae.data.load(path, **names)) == 3
    for value in (1, "1", 1.0):
        kept = recae.data.load(path, **names, where={"fold": value})
        assert triples(kept) == [(1, 2, 3), (2, 1, 4)]
        assert len(recae.data.load(pd.read_csv(path), **names, where={"fold": value})) == 2
    with pytest.raises(DataError, match=r"no row has fold = 7"):
        recae.data.load(path, **names, where={"fold": 7})
    with pytest.raises(DataError, match=r"no column 'x': its columns are a, b, c, fold"):
        recae.data.load(path, **names, where={"x": 7})


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (["1", "-2"], [-2, 1]),
        (["007", "1"], ["007", "1"]),
        (["1", "x"], ["1", "x"]),
        (["1", str(2**63)], ["1", str(2**63)]),
        (["1", str(2**63 - 1)], [1, 2**63 - 1]),
        (["1.0", "2.0"], [1, 2]),
        (["1.0", "1"], ["1", "1.0"]),
        (["NA", "null"], ["NA", "null"]),
        (["Zoë", "Ana"], ["Ana", "Zoë"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_ids_are_numbers_where_all_are(
    tmp_path: Path, ids: list[str], wanted: list[Any], encoding: str
) -> None:
    lines = "".join(f"{each},1,{star}\n" for star, each in enumerate(ids))
    ratings = recae.data.load(write(tmp_path, ("user,item,rating\n" + lines).encode(encoding)))
    assert ratings.users.values.tolist() == wanted


@pytest.mark.parametrize(
    "times",
    [
        ["1970-01-01T00:01:40", "1970-01-01 00:03:20"],
        ["1970-01-01T00:01:40Z", "1970-01-01T01:03:20+01:00"],
        ["100.0", "200.9"],
    ],
)
def test_times(tmp_path: Path, times: list[str]) -> None:
    text = HEADER + "".join(f"1,{i},{i},{when}\n" for i, when in enumerate(times))
    path = write(tmp_path, text)
    frame = pd.DataFrame({"user": 1, "item": [0, 1], "rating": [0, 1], "time": times})
    for source in (path, frame):
        ratings = recae.data.load(source)
        assert ratings.times is not None
        assert ratings.times.tolist() == [100, 200]


def test_milliseconds_are_known_by_their_size(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1,1,1,1260759144000\n1,2,2,1260759179999\n")
    ratings = recae.data.load(path)
    assert ratings.times is not None
    assert ratings.times.tolist() == [1260759144, 1260759179]


BAD_ROWS = [
    ("1,30,x,1", "number", "line 5: the rating 'x' is not a number: correct it"),
    ("1,30,,1", "missing", "line 5: the rating is missing: remove"),
    ("1,30,nan,1", "missing", "line 5: the rating is missing"),
    ("1,30,inf,1", "infinite", "line 5: the rating 'inf' is infinite"),
    ("1,30,9,1", "scale", "line 5: the rating 9 is outside the scale 0.5 to 5"),
    (",30,3,1", "user", "line 5: the user is missing"),
    ("1,,3,1", "item", "line 5: the item is missing"),
    ("1,30,3,soon", "time", "line 5: the time 'soon' is neither"),
    ("1,30,3,", "time", "line 5: the time '' is neither"),
    ("1,30,3", "fields", "line 5: 3 fields instead of 4"),
    ("1,30,3,1,7", "fields", "line 5: 5 fields instead of 4"),
    ("1,20,3,1", "repeated", "line 5: user 1, item 20 is rated again, first in line 3: choose"),
    ('1,30,3,"1', None, "line 5: unexpected end of data: look for a quote"),
]


@pytest.mark.parametrize(("row", "kind", "said"), BAD_ROWS)
def test_a_bad_row_is_named(tmp_path: Path, row: str, kind: str | None, said: str) -> None:
    path = write(tmp_path, f"{GOOD}{row}\n3,10,1,400\n")
    with pytest.raises(DataError, match=said) as caught:
        recae.data.load(path, scale=(0.5, 5))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    if kind is not None:
        described = recae.data.describe(path, scale=(0.5, 5))
        assert [problem.kind for problem in described.problems] == [kind]
        assert described.ratings == 4


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_are_counted_in_the_file(tmp_path: Path, ends: str) -> None:
    text = 'note,user,item,rating\n\n"two\nlines",1,1,2\n\nx,1,2,bad\nx,1,3,worse\n'
    path = write(tmp_path, text.replace("\n", ends))
    with pytest.raises(DataError, match=r"line 6: the rating 'bad'.*\(2 such rows\)"):
        recae.data.load(path)


def test_everything_wrong_is_described(tmp_path: Path) -> None:
    rows = [row for row, kind, _ in BAD_ROWS if kind is not None]
    path = write(tmp_path, GOOD + "\n".join(rows) + "\n")
    description = recae.data.describe(path, scale=(0.5, 5))
    counts = {problem.kind: problem.count for problem in description.problems}
    assert counts == {kind: [k for _, k, _ in BAD_ROWS].count(kind) for kind in counts}
    assert len(counts) == 9
    assert (description.ratings, description.users, description.items) == (3, 2, 2)
    assert description.digest is None
    assert "line 5: the rating 'x' is not a number" in str(description)
    assert json.loads(json.dumps(description.to_dict()))["problems"][0]["count"] == 1


def test_a_good_table_is_described(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    description = recae.data.describe(path)
    assert description.problems == ()
    assert description.density == 0.75
    assert description.mean == pytest.approx(8 / 3)
    assert description.per_user == (1, 1.5, 2)
    assert (description.users_seen_once, description.items_seen_once) == (1, 1)
    assert description.first_time == "1970-01-01T00:01:40"
    assert description.digest == recae.data.load(path).digest
    assert "problems   none" in str(description)


def test_one_value_alone_is_described_and_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,rating\n1,1,3\n1,2,3\n")
    with pytest.raises(DataError, match=r"state the scale"):
        recae.data.load(path)
    description = recae.data.describe(path)
    assert (description.ratings, description.scale) == (2, (3, 3))
    assert "state the scale" in description.problems[0].what
    assert recae.data.describe(path, scale=(1, 5)).problems == ()


def test_nothing_right_at_all(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,rating\n1,1,x\n1,2,y\n")
    description = recae.data.describe(path)
    assert (description.ratings, description.scale, description.digest) == (0, None, None)
    assert description.problems[0].count == 2
    assert "2 such rows" in str(description)


@pytest.mark.parametrize(
    ("content", "name", "more", "said"),
    [
        (b"", "r.csv", {}, "is empty"),
        (b"\n\n", "r.csv", {}, "is empty"),
        (HEADER.encode(), "r.csv", {}, "header and no ratings"),
        (GOOD.replace(",", ";").encode(), "r.csv", {}, "';' looks right: pass separator=';'"),
        (GOOD.encode(), "r.csv", {"separator": "\t"}, "a tab separates.*pass separator=','"),
        (GOOD.encode(), "r.csv", {"separator": "##"}, "one character or '::'"),
        (b"hello world\n", "r.txt", {}, "no table of ratings.*'hello world'"),
        (b"a,b,c\n1,2,3\n", "r.csv", {}, "known to hold the user.*columns are a, b, c: name it"),
        (b"user,b,c\n1,2,3\n", "r.csv", {}, "known to hold the item"),
        (GOOD.encode(), "r.csv", {"rating": "s"}, "no column 's': its columns are user, item"),
        (GOOD.encode(), "r.csv", {"time": "t"}, "no column 't'"),
        (b"1,2,3\n1,3,4\n", "r.csv", {"where": {"x": 1}}, "no header, so no column 'x'"),
        (
            gzip.compress(np.random.default_rng(0).bytes(50_000), mtime=0)[:30_000],
            "r.csv.gz",
            {},
            "truncated or corrupt",
        ),
        (
            gzip.compress(GOOD.encode(), mtime=0)[:20] + b"??????",
            "r.csv.gz",
            {},
            "truncated or corrupt",
        ),
        (b"PK\x03\x04 and no more", "r.zip", {}, "truncated or corrupt"),
        (b"PAR1 and no more", "r.parquet", {}, "truncated or corrupt"),
        (GOOD.encode(), "r.parquet", {}, "no Parquet file"),
        (GOOD.encode(), "r.csv", {"duplicates": "sum"}, "error, last or mean"),
        (np.random.default_rng(1).bytes(5000).replace(b"\n", b""), "r.csv", {}, "r.csv"),
    ],
)
def test_bad_files(
    tmp_path: Path, content: bytes, name: str, more: dict[str, Any], said: str
) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(DataError, match=said) as caught:
        recae.data.load(path, **more)
    if "separator" not in more and "duplicates" not in more:
        assert str(path) in str(caught.value)


def test_a_truncated_gzip_is_noticed_late(tmp_path: Path) -> None:
    lines = "".join(f"{i},{i * 7919 % 1009},{i % 5}\n" for i in range(60_000))
    whole = gzip.compress(("user,item,rating\n" + lines).encode(), mtime=0)
    path = write(tmp_path, whole[: len(whole) * 3 // 4], "r.csv.gz")
    for read in (recae.data.load, recae.data.describe):
        with pytest.raises(DataError, match=r"r.csv.gz is truncated or corrupt"):
            read(path)


def test_a_corrupt_member_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("r.csv", GOOD)
    content = (tmp_path / "r.zip").read_bytes().replace(b"1,10,3.5", b"1,10,4.5")
    with pytest.raises(DataError, match=r"r.csv is truncated or corrupt"):
        recae.data.load(write(tmp_path, content, "r.zip"))


def test_bad_frames() -> None:
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "rating": [1.0, np.nan, 3.0]})
    with pytest.raises(DataError, match=r"DataFrame, row 1: the rating is missing"):
        recae.data.load(frame)
    with pytest.raises(DataError, match=r"row 0: the rating 'x' is not a number"):
        recae.data.load(frame.assign(rating=["x", "2", "3"]))
    with pytest.raises(DataError, match=r"row 2: user 1, item 1 is rated again, first in row 0"):
        recae.data.load(frame.assign(rating=[1, 2, 3], user=1))
    with pytest.raises(DataError, match=r"row 2: the user is missing"):
        recae.data.load(frame.assign(rating=[1, 2, 3], user=[1, 1, None]))
    with pytest.raises(DataError, match=r"fractions"):
        recae.data.load(frame.assign(rating=[1, 2, 3], user=[1, 1.5, 2]))
    with pytest.raises(DataError, match=r"mix numbers and text"):
        recae.data.load(frame.assign(rating=[1, 2, 3], user=[1, "a", 2]))
    with pytest.raises(DataError, match=r"no ratings"):
        recae.data.load(frame[:0])
    with pytest.raises(DataError, match=r"not list"):
        recae.data.load([1, 2])  # type: ignore[arg-type]


def test_duplicates_may_be_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "1,10,1.5,50\n")
    assert triples(recae.data.load(path, duplicates="last"))[0] == (1, 10, 3.5)
    assert triples(recae.data.load(path, duplicates="mean"))[0] == (1, 10, 2.5)
    bad = write(tmp_path, GOOD + "1,10,1.5,50\n1,7,x,1\n")
    with pytest.raises(DataError, match=r"line 6: the rating 'x'"):
        recae.data.load(bad, duplicates="last")


def test_blocks_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"u{i * 7 % 13}", i, i % 5) for i in range(100)]
    path = write(tmp_path, "user,item,rating\n" + "".join(f"{u},{i},{s}\n" for u, i, s in rows))
    whole = recae.data.load(path)
    assert sorted(triples(whole)) == sorted(rows)
    monkeypatch.setattr(tables, "_BLOCK", 7)
    assert recae.data.load(path).digest == whole.digest


FIELD = st.sampled_from(["1", "2", "07", "x", "", "é", "3.5", "nan", "1e400", '"', "a,b", " 4"])


@given(st.lists(st.lists(FIELD, min_size=1, max_size=5), max_size=6), st.booleans())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_read_or_refused(tmp_path: Path, lines: list[list[str]], header: bool) -> None:
    text = HEADER * header + "\n".join(map(",".join, lines))
    path = write(tmp_path, text)
    with contextlib.suppress(DataError):
        ratings = recae.data.load(path)
        assert np.isfinite(ratings.stars).all()
        assert len(ratings) == len([line for line in text.splitlines() if line.strip()]) - header
