"""What is answered over HTTP, by a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recae.asking import Interview, questions
from recae.models import load_model
from recae.serve.reloading import Served
from recae.serve.sources import Folder
from tests.serve.conftest import HTML, ITEMS, TITLES, USERS, Ask

GIVEN = [{"item": 1, "stars": 5}, {"item": "Alien (1979)", "stars": 4.5}, {"item": 6, "stars": 0.5}]


def test_the_list_is_the_models_own(ask: Ask, folders: tuple[Path, Path]) -> None:
    model = load_model(folders[0])
    history = model.history_of({1: 5, 5: 4.5, 6: 0.5})
    found = model.recommend(history, 5)
    status, answer = ask(
        "/api/recommend", {"ratings": GIVEN, "n": 5, "explain": True, "place": True}
    )
    assert status == 200
    assert [each["item"] for each in answer["items"]] == found.items[0].tolist()
    np.testing.assert_allclose([e["stars"] for e in answer["items"]], found.stars[0], atol=6e-4)
    assert (answer["model"], answer["by"]) == ("dual", "stars")
    effects = model.effects(history, found.items[0])
    for place, each in enumerate(answer["items"]):
        assert each["rank"] == place + 1
        assert each["title"] == model.item_name(each["item"])
        assert (each["low"], each["high"]) == (None, None)
        best = effects[:, place].max()
        if best < 0.005:
            assert each["because"] is None
        else:
            assert each["because"]["effect"] == pytest.approx(best, abs=6e-4)
            assert each["because"]["item"] in (1, 5, 6)
    assert any(each["because"] for each in answer["items"])
    assert len(answer["place"]) == 2


def test_nothing_rated_is_answered_as_for_somebody_unknown(ask: Ask) -> None:
    status, answer = ask("/api/recommend", {"ratings": [], "explain": True, "place": True})
    assert status == 200
    assert len(answer["items"]) == 10
    assert answer["place"] is None
    assert {each["because"] for each in answer["items"]} == {None}


def test_rules_are_followed(ask: Ask) -> None:
    wish = {"ratings": GIVEN, "n": 100, "genres": ["Comedy"], "years": [2010, None], "deny": [10]}
    _, answer = ask("/api/recommend", wish)
    assert {each["item"] for each in answer["items"]} == set(range(12, ITEMS, 2))
    assert all(each["genres"] == ["Comedy"] and each["year"] >= 2010 for each in answer["items"])
    _, answer = ask("/api/recommend", {"ratings": GIVEN, "allow": ["Alien (1979)", 1, 2]})
    assert [each["item"] for each in answer["items"]] == [2]
    _, answer = ask("/api/recommend", {"ratings": GIVEN, "n": 100, "include_seen": True})
    assert len(answer["items"]) == ITEMS
    for key in ("popularity", "diversity"):
        _, changed = ask("/api/recommend", {"ratings": GIVEN, key: 0.9})
        assert changed["items"] != answer["items"][:10]


def test_a_model_that_only_ranks(ask: Ask) -> None:
    status, answer = ask(
        "/api/recommend", {"ratings": GIVEN, "model": "popular", "explain": True, "place": True}
    )
    assert (status, answer["by"], answer["place"]) == (200, "liked", None)
    assert ask("/api/map?model=popular")[0] == 422


def test_questions_are_the_models_own(ask: Ask, folders: tuple[Path, Path]) -> None:
    model = load_model(folders[0])
    rated = {1: 5.0, 5: 4.5, 6: 0.5}
    first = questions(model, rated, 4)
    status, answer = ask("/api/questions", {"ratings": GIVEN, "n": 4})
    assert (status, answer["by"]) == (200, "gain")
    assert [each["item"] for each in answer["items"]] == [each["item"] for each in first]
    found = {each["item"]: each for each in ask("/api/items?n=100")[1]["items"]}
    assert all(each == found[each["item"]] for each in answer["items"])
    denied = [first[0]["item"], first[2]["title"]]
    _, answer = ask("/api/questions", {"ratings": GIVEN, "n": 100, "deny": denied})
    rest = questions(model, rated, 100, deny=[first[0]["item"], first[2]["item"]])
    assert [each["item"] for each in answer["items"]] == [each["item"] for each in rest]
    assert len(rest) == ITEMS - 5
    _, nobody = ask("/api/questions", {"ratings": []})
    assert [each["item"] for each in nobody["items"]] == [e["item"] for e in questions(model)]


def test_a_model_without_codes_asks_for_what_is_best_known(ask: Ask) -> None:
    known = [each["item"] for each in ask("/api/items?n=100")[1]["items"]]
    wish = {"ratings": [{"item": known[1], "stars": 5}], "deny": [known[0], known[3]]}
    status, answer = ask("/api/questions", wish | {"model": "popular", "n": 3})
    assert (status, answer["by"]) == (200, "popularity")
    assert [each["item"] for each in answer["items"]] == [known[2], *known[4:6]]
    _, answer = ask("/api/questions", wish | {"model": "popular", "n": 100})
    assert len(answer["items"]) == ITEMS - 3


def test_questions_are_prepared_before_anybody_asks(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Served(Folder(folders[0]), "dual").engine
    monkeypatch.setattr(Interview, "of", None)
    assert len(engine.questions([(1, 5.0)], 3).items) == 3


def test_items_are_found_by_parts_of_their_titles(ask: Ask) -> None:
    def found(q: str) -> list[str]:
        return [each["title"] for each in ask(f"/api/items?q={q}")[1]["items"]]

    assert found("amelie") == ["Amélie (2001)"]
    assert found("AM%C3%89L") == ["Amélie (2001)"]
    assert found("the+matrix") == ["Matrix, The (1999)"]
    assert sorted(found("heat")) == ["Heat (1986)", "Heat (1995)"]
    assert found("heat+95") == ["Heat (1995)"]
    assert found("xyzzy") == []
    # What begins a word comes before what is inside one, however popular.
    assert found("li")[0] != "Amélie (2001)" or len(found("li")) == 2
    counts = [each["ratings"] for each in ask("/api/items?n=100")[1]["items"]]
    assert len(counts) == ITEMS
    assert counts == sorted(counts, reverse=True)


def test_models_are_described(ask: Ask, folders: tuple[Path, Path]) -> None:
    dual, popular = ask("/api/model")[1]["models"]
    assert (dual["name"], dual["kind"], popular["kind"]) == ("dual", "autorec-dual", "popular")
    assert (dual["users"], dual["items"], dual["scale"]) == (USERS, ITEMS, [0.5, 5.0])
    assert (dual["step"], dual["orders"], popular["orders"]) == (0.5, ["stars"], ["liked"])
    assert (dual["genres"], dual["years"]) == (["Comedy", "Crime", "Drama"], [1979, 2039])
    assert [dual[key] for key in ("stars", "intervals", "diversity", "map")] == [1, 0, 1, 1]
    assert not any(popular[key] for key in ("stars", "intervals", "diversity", "map"))
    status, health = ask("/health")
    assert (status, health["status"]) == (200, "ok")
    assert health["versions"] == {each["name"]: each["version"] for each in (dual, popular)}


def test_the_map_has_all_items(ask: Ask) -> None:
    _, atlas = ask("/api/map")
    assert len(atlas["items"]) == ITEMS
    assert {each["title"] for each in atlas["items"]} >= set(TITLES)
    assert 0 < sum(atlas["shares"]) <= 1


def test_the_api_describes_itself(ask: Ask) -> None:
    _, described = ask("/openapi.json")
    assert set(described["paths"]) == {
        *("/api/recommend", "/api/questions", "/api/items", "/api/model", "/api/map", "/health")
    }


# --- what is refused

MANY = [{"item": 1, "stars": 1}] * 2001
REFUSED: dict[str, tuple[Any, str]] = {
    "stars as text": ({"ratings": [{"item": 1, "stars": "5"}]}, "stars: .*valid number"),
    "stars as truth": ({"ratings": [{"item": 1, "stars": True}]}, "stars: .*valid number"),
    "a flag as text": ({"ratings": [], "include_seen": "yes"}, "include_seen: .*boolean"),
    "a share as text": ({"ratings": [], "diversity": "0.5"}, "diversity: .*valid number"),
    "a year as text": ({"ratings": [], "years": ["1990", None]}, "years.*valid integer"),
    "no item": (
        {"ratings": [{"item": "", "stars": 5}]},
        r"ratings\[0\]\.item: an id is a whole number and a title a text",
    ),
    "an unknown title": (
        {"ratings": [{"item": "Heet", "stars": 5}]},
        r"no item is called 'Heet'; .*Heat",
    ),
    "several": ({"ratings": [{"item": "heat", "stars": 5}]}, r"matches 2 titles, .*\[1\]; .*\[2\]"),
    "no id": ({"ratings": [{"item": 10**9, "stars": 5}]}, r"no item is called 1000000000"),
    "huge id": ({"ratings": [{"item": 10**30, "stars": 5}]}, r"ratings\[0\]\.item.*"),
    "blank": ({"ratings": [{"item": "", "stars": 5}]}, r"ratings\[0\]\.item.*"),
    "scale": ({"ratings": [{"item": 1, "stars": 7}]}, r"7.* scale"),
    "text": ({"ratings": [{"item": 1, "stars": "many"}]}, r"ratings\[0\]\.stars: input should be"),
    "twice": ({"ratings": [GIVEN[0], GIVEN[0]]}, r"Heat \(1995\) is rated twice"),
    "by title": (
        {"ratings": [GIVEN[0], {"item": "Heat (1995)", "stars": 1}]},
        r"Heat \(1995\) is rated twice",
    ),
    "none": ({}, r"ratings: field required"),
    "too many": ({"ratings": MANY}, r"ratings: .*at most 2000 items"),
    "reasons": (
        {"ratings": [{"item": n, "stars": 1} for n in range(201)], "explain": True},
        r"reasons are found for at most 200 ratings, not 201",
    ),
    "n = 0": ({"ratings": [], "n": 0}, r"n: .*greater than or equal to 1"),
    "a billion": ({"ratings": [], "n": 10**9}, r"n: .*less than or equal to 100"),
    "n = 2.5": ({"ratings": [], "n": 2.5}, r"n: .*integer"),
    "genre": ({"ratings": [], "genres": ["Polka"]}, r"no item is 'Polka': there are Comedy"),
    "years": ({"ratings": [], "years": [2000, 1990]}, r"years go from the first to the last"),
    "order": ({"ratings": [], "by": "magic"}, r"there is no order 'magic'"),
    "not its": ({"ratings": [], "by": "liked"}, r"does not rank by liked"),
    "variety": ({"ratings": [], "diversity": 2}, r"diversity: .*less than or equal to 1"),
    "model": ({"ratings": [], "model": "x"}, r"no model is called 'x' here: there is dual, pop"),
    "key": ({"ratings": [], "nn": 3}, r"nn: extra inputs are not permitted"),
    "list": ([], r"input should be a valid dictionary"),
}
RAW = {
    "broken": (b'{"ratings": [', 422, r"the body is not JSON: "),
    "empty": (b"", 422, r"field required|not JSON"),
    "nan": (b'{"ratings": [{"item": 1, "stars": NaN}]}', 422, r"finite number"),
    "infinity": (b'{"ratings": [{"item": 1, "stars": -Infinity}]}', 422, r"finite number"),
    "1e999": (b'{"ratings": [{"item": 1, "stars": 1e999}]}', 422, r"finite number"),
    "digits": (b'{"ratings": [], "n": ' + b"9" * 5000 + b"}", 400, r"cannot be read"),
    "deep": (b"[" * 100_000, 400, r"cannot be read"),
    "latin": (b'{"ratings": [{"item": "Am\xe9lie", "stars": 5}]}', 400, r"cannot be read"),
    "surrogate": (b'{"ratings": [{"item": "\\ud800", "stars": 5}]}', 422, r"ratings\[0\]\.item"),
    "nul": (b'{"ratings": [{"item": "\\u0000", "stars": 5}]}', 422, r"no item is called"),
    "large": (b" " * 262_145, 413, r"larger than 256 KB"),
}


def unharmed(ask: Ask) -> None:
    assert ask("/health")[1]["status"] == "ok"
    assert ask("/api/recommend", {"ratings": GIVEN})[0] == 200


def refused(answer: tuple[int, Any], status: int, sentence: str) -> None:
    assert answer[0] == status, answer
    assert list(answer[1]) == ["error"]
    assert "\n" not in answer[1]["error"]
    assert len(answer[1]["error"]) < 400
    assert re.search(sentence, answer[1]["error"]), answer


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_wish_gets_one_sentence(ask: Ask, what: str) -> None:
    wish, sentence = REFUSED[what]
    refused(ask("/api/recommend", wish), 422, sentence)
    unharmed(ask)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({}, r"ratings: field required"),
        ({"ratings": [], "n": 0}, r"n: .*greater than or equal to 1"),
        ({"ratings": [], "n": 101}, r"n: .*less than or equal to 100"),
        ({"ratings": [], "deny": ["Heet"]}, r"no item is called 'Heet'; .*Heat"),
        ({"ratings": [], "deny": [1] * 2001}, r"deny: .*at most 2000 items"),
        ({"ratings": MANY}, r"ratings: .*at most 2000 items"),
        ({"ratings": [{"item": 1, "stars": 7}]}, r"7.* scale"),
        ({"ratings": [GIVEN[0], GIVEN[0]]}, r"Heat \(1995\) is rated twice"),
        ({"ratings": [], "explain": True}, r"explain: extra inputs are not permitted"),
        ({"ratings": [], "model": "x"}, r"no model is called 'x' here: there is dual, pop"),
    ],
)
def test_a_bad_interview_gets_one_sentence(ask: Ask, wish: Any, sentence: str) -> None:
    refused(ask("/api/questions", wish), 422, sentence)
    unharmed(ask)


@pytest.mark.parametrize("what", RAW)
def test_a_bad_body_gets_one_sentence(ask: Ask, what: str) -> None:
    body, status, sentence = RAW[what]
    refused(ask("/api/recommend", body=body), status, sentence)
    unharmed(ask)


def test_a_body_of_unknown_length_is_counted(ask: Ask) -> None:
    chunks = (b" " * 10_000 for _ in range(200))
    refused(ask("/api/recommend", body=chunks), 413, "larger than 256 KB")
    whole = json.dumps({"ratings": GIVEN}).encode()
    halves = iter([whole[:10], whole[10:]])
    assert ask("/api/recommend", body=halves)[0] == 200
    unharmed(ask)


def test_a_million_ratings_are_too_many(ask: Ask) -> None:
    body = b'{"ratings": [' + b'{"item": 1, "stars": 1},' * 1_000_000 + b"]}"
    refused(ask("/api/recommend", body=body), 413, "larger than 256 KB")
    unharmed(ask)


def test_who_asks_before_sending_is_told(ask: Ask) -> None:
    answer = ask("/api/recommend", body=b"{", expect="100-continue", content_length="300000")
    refused(answer, 413, "larger than 256 KB")


def test_other_doors_are_closed(ask: Ask) -> None:
    body = json.dumps({"ratings": []})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = ask("/api/recommend", body=body, content_type=kind)
        refused(answer, 415, "send JSON")
    assert (
        ask("/api/recommend", body=body, content_type="application/json; charset=utf-8")[0] == 200
    )
    refused(ask("/api/recommend", body=body, method="PUT"), 405, "")
    refused(ask("/api/recommend"), 405, "")
    refused(ask("/nowhere"), 404, "nothing at /nowhere: see /docs")
    refused(ask("/static/../app.py"), 404, "nothing at")
    refused(ask(f"/api/items?q={'x' * 300}"), 422, "q: ")
    refused(ask("/api/items?n=0"), 422, "n: ")
    refused(ask("/api/items?model=x"), 422, "no model is called 'x'")
    unharmed(ask)


def test_a_title_is_data(ask: Ask) -> None:
    _, answer = ask("/api/items?q=bold")
    assert [each["title"] for each in answer["items"]] == [HTML]
