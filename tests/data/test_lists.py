"""Files of lists: a user and that user's items a line; what is wrong with one in one sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

import recae.data
from recae.errors import DataError
from recae.recipes import RecipeError, parse
from tests.data.test_tables import triples, write

LISTS = "0 5 7 12\n2 7\n\n1 5 12\n"
WANTED = [(0, 5, 1.0), (0, 7, 1.0), (0, 12, 1.0), (1, 5, 1.0), (1, 12, 1.0), (2, 7, 1.0)]


@pytest.mark.parametrize(
    "content",
    [LISTS, LISTS.replace("\n", " \r\n"), "\ufeff" + LISTS, gzip.compress(LISTS.encode(), mtime=0),
     LISTS.replace(" ", "\t"), LISTS + "9\n"],
)  # fmt: skip
def test_lists_are_likes(content: str | bytes, tmp_path: Path) -> None:
    path = write(tmp_path, content, "train.txt")
    ratings = recae.data.load(path, layout="lists")
    assert triples(ratings) == WANTED
    assert ratings.scale == (0, 1)
    assert len(ratings.liked()) == 6
    stars = recae.data.load(path, layout="lists", scale=(1, 5))
    assert (stars.scale, stars.stars.tolist()) == ((1, 5), [5.0] * 6)


def test_the_lists_of_a_folder_are_read_together(tmp_path: Path) -> None:
    write(tmp_path, "0 5 7\n1 5\n", "train.txt")
    write(tmp_path, gzip.compress(b"0 12\n2 7\n1 12\n", mtime=0), "test.txt.gz")
    write(tmp_path, "about these lists", "README")
    assert triples(recae.data.load(tmp_path, layout="lists")) == WANTED
    facts = recae.data.describe(tmp_path, layout="lists")
    assert (facts.ratings, facts.users, facts.items, facts.problems) == (6, 3, 3, ())


MISTAKES: dict[str, tuple[str, str]] = {
    "empty": ("", "train.txt is empty"),
    "users alone": ("0\n1\n", "train.txt: there are no items in its lists"),
    "no number": ("0 5\n1 5 x 7\n", "line 2: the id 'x' is not a whole number from 0"),
    "negative": ("0 5\n1 5 -1\n2 -1\n", "line 2: the id '-1' is not a whole number from 0 (2 such"),
    "a fraction": ("0 5\n1 5 4.5\n", "line 2: the id '4.5' is not a whole number from 0"),
    "too long": (f"0 5\n1 {10**30}\n", "is not a whole number from 0"),
    "a table": ("user,item\n1,2\n", "a list holds whole numbers alone, not 'user,item"),
    "twice": ("0 5 7 5\n", "line 1: user 0, item 5 is rated again, first in line 1"),
    "twice, below": ("0 5\n1 5\n0 7 5\n", "line 3: user 0, item 5 is rated again, first in line 1"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_one_sentence(what: str, tmp_path: Path) -> None:
    content, said = MISTAKES[what]
    path = write(tmp_path, content, "train.txt")
    with pytest.raises(DataError) as caught:
        recae.data.load(path, layout="lists")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layout": "list"}, "layout must be table or lists, not 'list'"),
        ({"layout": "lists", "user": "who"}, "lists have no columns"),
        ({"layout": "lists", "where": {"a": 1}}, "lists have no columns"),
        ({"layout": "lists", "separator": ","}, "lists have no columns"),
        ({}, 'pass layout="lists"'),
    ],
)
def test_how_lists_are_asked_for(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path, "0 1 2 3 4 5\n1 4\n", "train.txt")
    with pytest.raises(DataError) as caught:
        recae.data.load(path, **options)
    assert said in str(caught.value)


def test_a_folder_without_lists(tmp_path: Path) -> None:
    write(tmp_path, "about", "README")
    with pytest.raises(DataError, match="holds no lists"):
        recae.data.load(tmp_path, layout="lists")


def recipe(folder: Path, **split: Any) -> Any:
    data = {"source": str(folder), "layout": "lists"}
    split = {"kind": "predefined", "test": str(folder / "test.txt")} | split
    return parse({"name": "x", "model": [{"kind": "bias"}], "data": data, "split": split})


def test_a_split_by_files(tmp_path: Path) -> None:
    for name, text in {"train": "0 5 7\n1 5 12\n", "valid": "0 12\n", "test": "1 7\n"}.items():
        write(tmp_path, text, f"{name}.txt")
    asked = recipe(tmp_path, validation=str(tmp_path / "valid.txt"))
    split = asked.split.split(asked.data.load(), asked.data)
    assert triples(split.train) == [(0, 5, 1), (0, 7, 1), (1, 5, 1), (1, 12, 1)]
    assert triples(split.validation.target) == [(0, 12, 1)]
    assert triples(split.test.target) == [(1, 7, 1)]
    assert triples(split.test.history) == triples(split.validation.history) == triples(split.train)


def test_files_that_are_no_split(tmp_path: Path) -> None:
    for name, text in {"train": "0 5 7\n1 5 12\n", "test": "1 7\n"}.items():
        write(tmp_path, text, f"{name}.txt")
    elsewhere = write(tmp_path, "0 12\n", "valid.lst")
    twice = recipe(tmp_path, validation=str(tmp_path / "test.txt"))
    for asked, said in (
        (twice, "1 ratings are both to validate and to test"),
        (recipe(tmp_path, validation=str(elsewhere)), "1 validation ratings are not among the"),
    ):
        with pytest.raises(DataError, match=said):
            asked.split.split(asked.data.load(), asked.data)
    with pytest.raises(RecipeError, match=r"data\.layout"):
        parse({"name": "x", "model": [{"kind": "bias"}], "data": {"layout": "list"},
               "split": {"kind": "random"}})  # fmt: skip
