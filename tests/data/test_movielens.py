"""Every MovieLens release: the real files where they are, elsewhere small ones of their format."""

from __future__ import annotations

import gzip
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import recae.data
from recae.data import lookup, movielens
from recae.errors import DataError

CSV_RATINGS = (
    "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,3.0,1260759179\n2,31,0.5,1\n"
)
CSV_MOVIES = (
    "movieId,title,genres\n"
    '31,"Dangerous, ""Minds"" (1995)",Drama\n'
    "1029,Dumbo (1941),Animation|Children\n"
    "7,Nothing,(no genres listed)\n"
)
DAT_RATINGS = "1::122::5::838985046\n1::185::4.5::838983525\n139::122::0.5::1133571026\n"
DAT_MOVIES = "122::Léon: The Professional (1994)::Crime|Drama\n185::Net, The (1995)::Action\n"


def folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def zipped(path: Path, files: dict[str, bytes], top: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(top)
        for name, content in files.items():
            archive.writestr(f"{top}/{name}", content)
    return path


def csv_files(ends: str = "\n") -> dict[str, bytes]:
    return {
        "ratings.csv": CSV_RATINGS.replace("\n", ends).encode(),
        "movies.csv": CSV_MOVIES.replace("\n", ends).encode(),
        "tags.csv": b"userId,movieId,tag,timestamp\n",
    }


def dat_files(extra: str = "tags.dat", encoding: str = "utf-8") -> dict[str, bytes]:
    return {
        "ratings.dat": DAT_RATINGS.encode(),
        "movies.dat": DAT_MOVIES.encode(encoding),
        extra: b"",
    }


def test_embedded_latest_small() -> None:
    ratings = recae.data.load("ml-latest-small")
    assert (len(ratings), len(ratings.users), len(ratings.items)) == (100_004, 671, 9_066)
    assert ratings.scale == (0.5, 5)
    assert ratings.stars.mean(dtype=np.float64) == pytest.approx(3.543608, abs=1e-6)
    assert ratings.times is not None
    assert (ratings.times.min(), ratings.times.max()) == (789652009, 1476640644)
    catalog = ratings.catalog
    assert catalog is not None
    assert catalog.items == ratings.items
    assert (catalog.titles == "").sum() == 5
    assert catalog.resolve("the matrix") == 2571
    assert catalog.title(int(ratings.items.rows([2571])[0])) == "Matrix, The (1999)"
    assert catalog.genres[0] == ("Adventure", "Animation", "Children", "Comedy", "Fantasy")
    assert catalog.years[0] == 1995
    assert recae.data.load("latest-small").digest == ratings.digest


def test_embedded_files_are_sorted_and_reproducible() -> None:
    path = lookup.find("ml-latest-small")
    for name in ("ratings.csv.gz", "movies.csv.gz"):
        packed = (path / name).read_bytes()
        assert packed[4:8] == bytes(4), "a gzip with a date in it differs from build to build"
    lines = gzip.decompress((path / "ratings.csv.gz").read_bytes()).decode().splitlines()[1:]
    pairs = [tuple(map(int, line.split(",")[:2])) for line in lines]
    assert pairs == sorted(set(pairs))
    assert len(pairs) == 100_004


def test_100k(shared_data: Path, tmp_path: Path) -> None:
    ratings = recae.data.load(shared_data / "ml-100k")
    assert (len(ratings), len(ratings.users), len(ratings.items)) == (100_000, 943, 1_682)
    assert ratings.scale == (1, 5)
    assert ratings.stars.mean(dtype=np.float64) == pytest.approx(3.52986)
    assert ratings.times is not None
    assert ratings.catalog is not None
    assert ratings.catalog.title(0) == "Toy Story (1995)"
    assert ratings.catalog.genres[0] == ("Animation", "Children's", "Comedy")
    assert ratings.catalog.genres[266] == ()
    assert ratings.catalog.title(266) == "267"
    assert "Misérables, Les (1995)" in ratings.catalog.titles
    names = ["u.data", "u.item"]
    files = {name: (shared_data / "ml-100k" / name).read_bytes() for name in names}
    packed = zipped(tmp_path / "any.zip", files, "ml-100k")
    assert recae.data.load(packed).digest == ratings.digest


def test_100k_u1(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAE_DATA", str(shared_data))
    base, test = recae.data.load("ml-100k/u1.base"), recae.data.load("ml-100k/u1.test")
    assert (len(base), len(test)) == (80_000, 20_000)
    assert test.users.values.max() == 462
    assert test.scale == base.scale == (1, 5)
    assert test.catalog is not None
    assert test.catalog.items == test.items


def test_1m(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAE_DATA", str(shared_data))
    ratings = recae.data.load("1m")
    assert (len(ratings), len(ratings.users), len(ratings.items)) == (1_000_209, 6_040, 3_706)
    assert ratings.scale == (1, 5)
    assert ratings.stars.mean(dtype=np.float64) == pytest.approx(3.58156, abs=1e-5)
    assert ratings.times is None
    assert ratings.catalog is not None
    assert (ratings.catalog.titles == "").sum() == 0
    assert "Misérables, Les (1995)" in ratings.catalog.titles
    test = recae.data.load("ml-1m", where={"pmf_test": 1})
    assert len(test) == 100_209
    train = recae.data.load("ml-1m", where={"pmf_test": 0})
    untrained = np.setdiff1d(test.items.values, train.items.values)
    assert len(untrained) == 9
    assert np.isin(test.items.values[test.columns], untrained).sum() == 10


def test_1m_in_its_own_format(tmp_path: Path) -> None:
    files = dat_files("users.dat", "latin-1")
    files["ratings.dat"] = b"1::122::5::838985046\n1::185::4::838983525\n2::122::1::838983525\n"
    for path in (folder(tmp_path / "x", files), zipped(tmp_path / "y.zip", files, "ml-1m")):
        ratings = recae.data.load(path)
        assert ratings.scale == (1, 5)
        assert ratings.stars.tolist() == [5, 4, 1]
        assert ratings.catalog is not None
        assert ratings.catalog.title(0) == "Léon: The Professional (1994)"


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_10m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    files = {n: c.replace(b"\n", ends.encode()) for n, c in dat_files().items()}
    zipped(tmp_path / "ml-10m.zip", files, "ml-10M100K")
    folder(tmp_path / "unpacked" / "ml-10M100K", files)
    digests = set()
    for place in (tmp_path, tmp_path / "unpacked"):
        monkeypatch.setenv("RECAE_DATA", str(place))
        ratings = recae.data.load("10m")
        assert ratings.scale == (0.5, 5)
        assert ratings.users.values.tolist() == [1, 139]
        assert ratings.stars.tolist() == [5, 4.5, 0.5]
        assert ratings.times is not None
        assert ratings.times.tolist() == [838985046, 838983525, 1133571026]
        assert ratings.catalog is not None
        assert ratings.catalog.titles.tolist() == [
            "Léon: The Professional (1994)",
            "Net, The (1995)",
        ]
        assert ratings.catalog.genres == (("Crime", "Drama"), ("Action",))
        digests.add(ratings.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["ml-20m", "ml-25m", "ml-32m", "ml-latest"])
@pytest.mark.parametrize("form", ["folder", "gz", "zip"])
def test_csv_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    files = csv_files("\r\n" if name == "ml-20m" else "\n")
    if form == "zip":
        zipped(tmp_path / f"{name}.zip", files, name)
    elif form == "gz":
        folder(tmp_path / name, {f"{n}.gz": gzip.compress(c, mtime=0) for n, c in files.items()})
    else:
        folder(tmp_path / name, files)
    monkeypatch.setenv("RECAE_DATA", str(tmp_path))
    ratings = recae.data.load(name)
    assert recae.data.load(name.removeprefix("ml-").upper()).digest == ratings.digest
    assert ratings.scale == (0.5, 5)
    assert ratings.items.values.tolist() == [31, 1029]
    assert ratings.stars.tolist() == [2.5, 3, 0.5]
    assert ratings.catalog is not None
    assert ratings.catalog.titles.tolist() == ['Dangerous, "Minds" (1995)', "Dumbo (1941)"]
    assert ratings.catalog.years.tolist() == [1995, 1941]
    assert recae.data.describe(name).release == name


def test_the_embedded_release_wins_by_name_and_another_copy_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = folder(tmp_path / "ml-latest-small", csv_files())
    monkeypatch.setenv("RECAE_DATA", str(tmp_path))
    assert len(recae.data.load("ml-latest-small")) == 100_004
    assert recae.data.load(copy).items.values.tolist() == [31, 1029]


def test_a_renamed_folder_is_known_by_its_files(tmp_path: Path) -> None:
    path = folder(tmp_path / "films", csv_files())
    description = recae.data.describe(path)
    assert description.release is None
    assert description.scale == (0.5, 5)
    assert description.titles == 2
    assert recae.data.describe(path / "ratings.csv").titles == 2
    (path / "mine.csv").write_text("user,item,rating\n1,31,9\n1,32,10\n")
    assert recae.data.load(path / "mine.csv").scale == (9, 10)


def test_files_of_that_name_need_not_be_movielens(tmp_path: Path) -> None:
    files = csv_files() | {"movies.csv": b"id,name\n31,x\n"}
    path = folder(tmp_path / "films", files)
    (path / "tags.csv").unlink()
    with pytest.raises(DataError, match=r"several tables, name one of them: movies.csv, ratings"):
        recae.data.load(path)
    assert recae.data.load(path / "ratings.csv").catalog is None


def test_bad_lines_of_a_release(tmp_path: Path) -> None:
    bad = csv_files() | {"ratings.csv": (CSV_RATINGS + "2,x,3,1\n").encode()}
    # No fault of any table, but one of a release.
    with pytest.raises(DataError, match=r"ratings.csv, line 5: the id 'x' is not a whole number"):
        recae.data.load(folder(tmp_path / "a", bad))
    bad = csv_files() | {"ratings.csv": (CSV_RATINGS + "2,1029,7,1\n").encode()}
    with pytest.raises(DataError, match=r"line 5: the rating 7 is outside the scale 0.5 to 5"):
        recae.data.load(folder(tmp_path / "b", bad))
    bad = csv_files() | {"movies.csv": (CSV_MOVIES + "x,y\n").encode()}
    with pytest.raises(DataError, match=r"movies.csv, line 5: not a line of a MovieLens file"):
        recae.data.load(folder(tmp_path / "c", bad))
    dat = dat_files() | {"ratings.dat": (DAT_RATINGS + "1::2::x::3\n").encode()}
    with pytest.raises(DataError, match=r"ratings.dat, line 4: the rating 'x'"):
        recae.data.load(folder(tmp_path / "d", dat))


def test_lookup_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, first, second = tmp_path / "work", tmp_path / "first", tmp_path / "second"
    work.mkdir()
    places = [lookup.cache_folder(), second, first, work]
    monkeypatch.chdir(work)
    monkeypatch.setenv("RECAE_DATA", os.pathsep.join([str(first), str(second)]))
    for place in places:
        folder(place / "ml-25m", csv_files())
        assert lookup.find("25m").resolve() == place / "ml-25m"
    shutil.rmtree(work / "ml-25m")
    assert lookup.find("ml-25m/ratings.csv") == first / "ml-25m" / "ratings.csv"


def test_what_is_not_found_says_where_and_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAE_DATA", str(tmp_path / "here"))
    with pytest.raises(DataError, match=r"here.*cache.*run `recae data fetch ml-20m`"):
        recae.data.load("20m")
    with pytest.raises(DataError, match=r"no file or folder 'x.csv' in .*here"):
        recae.data.load("x.csv")
    folder(tmp_path / "all" / "ml-25m", csv_files())
    with pytest.raises(DataError, match=r"holds the releases .*ml-25m: name one"):
        recae.data.load(tmp_path / "all")


def test_the_table_of_releases() -> None:
    assert len(movielens.RELEASES) == 8
    for name, release in movielens.RELEASES.items():
        assert movielens.release_called(release.short.upper()) is release
        assert release.name == name
        assert release.md5 is None or len(release.md5) == 32
    assert movielens.release_called("ml-5m") is None


def test_embedded_data_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_HERE", tmp_path / "site-packages" / "recae" / "data")
    with pytest.raises(DataError, match="recae data fetch ml-latest-small"):
        lookup.find("latest-small")
    inside = folder(lookup._HERE / "ml-latest-small", csv_files())
    assert lookup.find("latest-small") == inside


def test_what_100k_says_of_its_users(shared_data: Path) -> None:
    users = recae.data.users(shared_data / "ml-100k")
    assert len(users) == 943
    assert users.iloc[0].tolist() == [1, 24, "M", "technician", "85711"]
    assert users["gender"].value_counts().to_dict() == {"M": 670, "F": 273}


def test_what_1m_says_of_its_users(shared_data: Path) -> None:
    users = recae.data.users(shared_data / "ml-1m")
    assert len(users) == 6040
    assert users.iloc[0].tolist() == [1, 1, "F", "10", "48067"]


def test_data_that_say_nothing_of_users_and_bad_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="says nothing of its users"):
        recae.data.users("ml-latest-small")
    lines = {
        "u.data": b"1\t1\t3\t1\n",
        "u.item": b"",
        "u.user": b"1|24|M|writer|85711\n2|x|F|a|b\n",
    }
    with pytest.raises(DataError, match=r"u\.user, line 2: not a line"):
        recae.data.users(folder(tmp_path / "ml-100k", lines))
