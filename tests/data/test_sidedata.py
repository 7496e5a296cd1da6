"""Side data from files, frames and releases: what is recognised, and one sentence for the rest."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import recae
import recae.data
from recae.errors import DataError
from recae.features import Categories, Coding, Features, Numbers

RATINGS = "userId,movieId,rating\n1,31,2.5\n1,1029,3.0\n2,31,0.5\n3,1029,4\n"
PEOPLE = "userId,age,job,likes\n2,31.5,writer,go|chess\n1,,cook,\n9,18,cook,go\n"
KINDS: Any = {"age": "number", "job": "category", "likes": "categories"}


def write(folder: Path, content: str | bytes, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def column(features: Features | None, name: str) -> list[Any]:
    assert features is not None
    (found,) = (each for each in features.columns if each.name == name)
    if isinstance(found, Numbers):
        return [None if x != x else x for x in found.values.tolist()]
    return list(found.values)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.csv", PEOPLE),
        ("people.csv", PEOPLE.replace("\n", "\r\n")),
        ("people.csv", "\ufeff" + PEOPLE.replace("userId", "UserID")),
        ("people.csv.gz", gzip.compress(PEOPLE.encode(), mtime=0)),
        ("people.tsv", PEOPLE.replace(",", "\t")),
        ("people.txt", PEOPLE.replace(",", ";")),
        ("people.dat", PEOPLE.replace(",", "::")),
        ("people.csv", PEOPLE.replace(",", ", ")),
    ],
)
def test_text_tables(tmp_path: Path, name: str, content: str | bytes) -> None:
    side = recae.data.features(write(tmp_path, content, name), "users", columns=KINDS)
    assert side.ids.values.tolist() == [1, 2, 9]
    assert column(side, "age") == [None, 31.5, 18]
    assert column(side, "job") == [("cook",), ("writer",), ("cook",)]
    assert column(side, "likes") == [(), ("chess", "go"), ("go",)]


def test_parquet_and_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"age": [31.5, None, 18], "who": [2, 1, 9], "likes": [["go", "chess"], None, ["go"]]}
    )
    frame.to_parquet(tmp_path / "people.parquet")
    for source in (frame, tmp_path / "people.parquet"):
        side = recae.data.features(source, "users", key="who", columns={"likes": "categories"})
        assert side.ids.values.tolist() == [1, 2, 9]
        assert column(side, "likes") == [(), ("chess", "go"), ("go",)]
        assert [each.name for each in side.columns] == ["likes"]


def test_columns_by_their_looks(tmp_path: Path) -> None:
    lines = [f"{i},{i / 7},{i % 3},a|b,{i % 2}x" for i in range(50)]
    path = write(tmp_path, "\n".join(["item_id,price,shelf,tags,sort", *lines]))
    side = recae.data.features(path, "items")
    kinds = {each.name: type(each) for each in side.columns}
    assert kinds == {"price": Numbers, "shelf": Categories, "tags": Categories, "sort": Categories}
    assert column(side, "tags")[0] == ("a", "b")


def test_two_columns_and_another_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "user job\n1 caf\xe9\n2 bar\n".encode("latin-1"), "people.txt")
    assert column(recae.data.features(path, "users"), "job") == [("caf\xe9",), ("bar",)]


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ("", {}, "people.csv is empty"),
        ("userId,age\n", {}, "there are no rows: the table is empty"),
        ("userId\n1\n", {}, "no columns beside the ids"),
        (PEOPLE + "2,1,x,y\n", {}, "id 2 is there more than once"),
        (PEOPLE + "4,1,x\n", {}, "people.csv, line 5: 3 fields instead of 4"),
        (PEOPLE + "4,old,x,\n", {"columns": KINDS}, "people.csv: 'age' of id 4 is 'old', which"),
        (PEOPLE + "4,inf,x,\n", {"columns": KINDS}, "'age' of id 4 is infinite"),
        (PEOPLE + ",5,x,\n", {}, "people.csv: an id is missing (row 3)"),
        (PEOPLE + '4,5,"x,\n', {}, "a quote that is not closed"),
        (PEOPLE, {"columns": {"agee": "number"}}, "no column 'agee': there are age, job, likes"),
        (PEOPLE, {"columns": {"age": "float"}}, "kind 'float': the kinds are"),
        (PEOPLE, {"key": "who"}, "no column 'who': its columns are userId, age, job, likes"),
        (PEOPLE.replace("userId", "who"), {}, "hold the ids of users, its columns are who, age"),
        (PEOPLE.replace("job", "age"), {}, "has two columns 'age'"),
        (RATINGS, {}, "is a table of ratings and says nothing of its users"),
        (b"PAR1 and no more", {}, "no Parquet file"),
    ],
)
def test_refusals(tmp_path: Path, content: str | bytes, more: Any, said: str) -> None:
    with pytest.raises(DataError) as refused:
        recae.data.features(write(tmp_path, content), "users", **more)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_source() -> None:
    not_a_source: Any = 3
    with pytest.raises(DataError, match=r"side data come from a path.*not int"):
        recae.data.features(not_a_source, "users")
    with pytest.raises(DataError, match="no file or folder"):
        recae.data.features("nowhere.csv", "users")


# --- beside ratings


def test_load_takes_tables_frames_and_features(tmp_path: Path) -> None:
    ratings, people = write(tmp_path, RATINGS, "r.csv"), write(tmp_path, PEOPLE)
    side = recae.data.features(people, "users")
    digests = set()
    for given in (people, str(people), pd.read_csv(people), side):
        loaded = recae.load(ratings, users=given)
        assert loaded.side_data == ("age, job, likes of 2 of 3 users (and of 1 others)",)
        assert loaded.item_features is None
        digests.add(loaded.digest)
    assert len(digests) == 1
    assert recae.load(ratings).digest not in digests
    assert recae.load(ratings).side_data == ()


def test_ids_are_those_of_the_ratings_whatever_the_table_makes_of_them(tmp_path: Path) -> None:
    people = write(tmp_path, "user,job\n1,a\n02,b\n3,c\n")
    frame = pd.DataFrame({"user": ["1", "3", "x"], "item": [1, 1, 2], "rating": [1, 2, 3]})
    loaded = recae.load(frame, users=people)
    assert loaded.user_features is not None
    assert column(loaded.user_features.over(loaded.users), "job") == [("a",), ("c",), ()]
    numbers = write(tmp_path, "user,job\n1,a\n2,b\n3,c\n", "numbers.csv")
    loaded = recae.load(frame, users=numbers)
    assert column(loaded.user_features.over(loaded.users), "job") == [("a",), ("c",), ()]


def test_side_data_of_nobody_and_ratings_with_none_of_their_own(tmp_path: Path) -> None:
    ratings = write(tmp_path, RATINGS, "r.csv")
    others = write(tmp_path, "user,job\n77,a\n78,b\n")
    with pytest.raises(DataError, match=r"no row of the side data is of users.*like 77, theirs"):
        recae.load(ratings, users=others)
    with pytest.raises(DataError, match="is a table of ratings and says nothing of its items"):
        recae.load(ratings, items=True)


# --- releases


def test_the_embedded_release_knows_its_films() -> None:
    ratings = recae.load("ml-latest-small", items=True)
    assert ratings.side_data == ("year, genres of 9,066 items",)
    assert ratings.item_features is not None
    matrix = Coding.of(ratings.item_features).matrix(ratings.item_features)
    assert matrix.shape[0] == 9_066
    assert ratings.digest != recae.load("ml-latest-small").digest
    with pytest.raises(DataError, match=r"ml-latest-small says nothing of its users: name a table"):
        recae.load("ml-latest-small", users=True)
    with pytest.raises(DataError, match=r"no column 'agee': there are title, year, genres"):
        recae.data.features("ml-latest-small", "items", columns={"agee": "number"})


def test_100k(shared_data: Path) -> None:
    ratings = recae.load(shared_data / "ml-100k", users=True, items=True)
    assert ratings.side_data == (
        "age, gender, occupation of 943 users",
        "year, genres of 1,682 items",
    )
    assert column(ratings.user_features, "age")[0] == 24
    assert column(ratings.user_features, "occupation")[0] == ("technician",)
    assert column(ratings.item_features, "genres")[0] == ("Animation", "Children's", "Comedy")
    assert column(ratings.item_features, "year")[266] is None
    assert ratings.user_features is not None
    people = Coding.of(ratings.user_features)
    assert people.matrix(ratings.user_features).shape == (943, 8 + 2 + 21)
    assert people.notes == people.notes_on(ratings.user_features) == ()
    base = recae.load(shared_data / "ml-100k" / "u1.base", users=True)
    assert base.side_data == ("age, gender, occupation of 943 users",)
    zipped = recae.data.features(shared_data / "ml-100k", "users", columns={"zip_code": "category"})
    assert column(zipped, "zip_code")[0] == ("85711",)


def test_1m(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAE_DATA", str(shared_data))
    ratings = recae.load("ml-1m/ratings.csv.gz", users="ml-1m", items=True)
    assert ratings.side_data == (
        "age, gender, occupation of 6,040 users",
        "year, genres of 3,706 items (and of 177 others)",
    )
    assert ratings.item_features is not None
    films = ratings.item_features.over(ratings.items)
    coding = Coding.of(films)
    assert coding.names[8] == "genres=Action"
    assert len(coding.names) == 8 + 18
    norms = np.sqrt(coding.matrix(films)[:, 8:].power(2).sum(axis=1))
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_bad_lines_of_a_release_are_described(tmp_path: Path) -> None:
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    write(folder, "1::122::5::838985046\n1::185::4::838983525\n", "ratings.dat")
    write(folder, "122::Heat (1995)::Crime|Drama\n185::Net, The (1995)::Action\n", "movies.dat")
    write(folder, "1::F::1::10::48067\n2::M::x::1::1\n", "users.dat")
    described = recae.data.describe(folder)
    assert described.side_data == ()
    assert "users.dat, line 2: not a line" in str(described)
    write(folder, "1::F::1::10::48067\n2::M::25::1::1\n", "users.dat")
    described = recae.data.describe(folder)
    assert described.problems == ()
    assert described.side_data == (
        "age, gender, occupation of 1 users (and of 1 others)",
        "year, genres of 2 items",
    )
    assert "side data  age, gender" in str(described)
