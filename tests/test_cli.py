"""The command line as a person uses it: what it prints, what it leaves behind, how it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from recae.cli import judging, main
from recae.errors import RecaeError
from recae.leaks import frame_of
from recae.models import load_model
from recae.recipes import read_recipe

ROOT = Path(__file__).parents[1]

TITLES = [
    "Toy Story (1995)",
    "Heat (1995)",
    "Heat (1986)",
    "Matrix, The (1999)",
    "Fargo (1996)",
    "Alien (1979)",
    "Brazil (1985)",
    "Clerks (1994)",
    "Seven (a.k.a. Se7en) (1995)",
    "Amélie (2001)",
]
N_USERS = 14
HEAVY = ("torch", "numpy", "scipy", "pandas", "mlflow", "optuna", "pyarrow", "matplotlib")

Recae = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder like MovieLens's with ten titles (ids 101 ..), a recipe, and its saved models."""
    folder = tmp_path_factory.mktemp("cli")
    films = folder / "films"
    films.mkdir()
    rng = np.random.default_rng(0)
    ratings, movies = ["userId,movieId,rating,timestamp"], ["movieId,title,genres"]
    for row, title in enumerate(TITLES):
        movies.append(f'{101 + row},"{title}",Drama')
    for user in range(1, N_USERS + 1):
        for item in np.sort(rng.choice(10, rng.integers(4, 8), replace=False)):
            ratings.append(f"{user},{101 + item},{rng.integers(1, 11) / 2},{1000 + user}")
    (films / "ratings.csv").write_text("\n".join(ratings) + "\n", "utf-8")
    (films / "movies.csv").write_text("\n".join(movies) + "\n", "utf-8")
    recipe = folder / "tiny.toml"
    recipe.write_text(
        f"""
name = "tiny"
seeds = [0, 3]
baseline = "mf"
[data]
source = '{films}'
[split]
kind = "random"
test = 0.25
[show]
user = 3
model = "mf"
n = 4
[[model]]
kind = "bias"
[[model]]
kind = "mf"
k = 3
training.steps = 5
[[model]]
kind = "popular"
""",
        "utf-8",
    )
    from recae.recipes import read_recipe
    from recae.running import run

    report = run(read_recipe(recipe))
    for outcome in report.outcomes:
        outcome.model.save(folder / "models" / f"{outcome.plan.model}-{outcome.plan.seed}")
    return SimpleNamespace(
        folder=folder,
        films=films,
        recipe=recipe,
        model=folder / "models" / "mf-0",
        popular=folder / "models" / "popular-0",
        report=report,
    )


@pytest.fixture
def recae(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Recae]:
    """Runs a command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def call(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["recae", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return code, out, err

    yield call
    signal.signal(signal.SIGTERM, before)


def good(result: tuple[int, str, str]) -> str:
    """What a command that has to succeed prints."""
    code, out, err = result
    assert (code, err) == (0, "")
    return out


def process(*words: Any, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recae.cli", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | env,
        timeout=100,
        check=False,
    )


# --- in a process of its own


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "-h"], ["data", "-h"]])
def test_help_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from recae.cli import main\n"
        f"sys.argv = ['recae', *{words!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as left:\n    code = left.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], code)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
        check=True,
    )
    assert found.stdout.splitlines()[-1] == "[] 0"


def test_a_mistake_in_a_process(tmp_path: Path) -> None:
    found = process("train", "nowhere.toml", "--no-track", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == "recae: cannot read nowhere.toml: No such file or directory\n"


def test_a_process_from_start_to_end(place: SimpleNamespace, tmp_path: Path) -> None:
    found = process(
        *("recommend", place.model, "--rate", "Amélie (2001)=5", "--rate", "the matrix=2"),
        *("-n", 3, "--json"),
        cwd=tmp_path,
        PYTHONWARNINGS="error::DeprecationWarning:recae",
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert len(json.loads(found.stdout)) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_neither_a_folder_nor_a_run(tmp_path: Path) -> None:
    found = process("recommend", "nothing-of-this-name", "--rate", "1=5", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("recae: ")
    assert found.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_output_that_nobody_reads(place: SimpleNamespace, tmp_path: Path) -> None:
    """`recae ... | head -0`: no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "recae.cli", "data", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert "Traceback" not in running.stderr.read()


# --- help


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["data"],
        *(
            [c]
            for c in ("train", "evaluate", "leak", "tune", "recommend", "similar", "compare", "ui")
        ),
    ],
)
def test_every_command_explains_itself(command: list[str], recae: Recae) -> None:
    out = good(recae(*command, "--help"))
    assert "Usage" in out
    assert out == good(recae(*command, "-h"))


def test_version(recae: Recae) -> None:
    from recae import __version__

    assert good(recae("--version")).strip() == __version__


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["train"],
        ["train", "x.toml", "--nonsense"],
        ["recommend", "m", "-n", "many", "--all"],
        ["evaluate", "m", "--share", "half"],
        ["data", "info"],
        ["tune", "x.toml", "--model", "mf", "--trials", "0"],
    ],
)
def test_usage_mistakes(words: list[str], recae: Recae) -> None:
    code, out, err = recae(*words)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "Usage: recae" in err


# --- data


def test_data_list(recae: Recae) -> None:
    out = good(recae("data", "list"))
    lines = {line.split()[-5 if "yes" not in line else 1]: line for line in out.splitlines()[3:-1]}
    assert "ml-latest-small" in out
    assert lines["ml-latest-small"].split()[0] == "yes"
    found = json.loads(good(recae("data", "list", "--json")))
    by_name = {each["name"]: each for each in found}
    assert by_name["ml-1m"]["ratings"] == 1_000_209
    assert by_name["ml-1m"]["path"] is None
    assert Path(by_name["ml-latest-small"]["path"]).is_dir()


def test_data_info(recae: Recae, place: SimpleNamespace) -> None:
    out = good(recae("data", "info", place.films))
    assert "10 with titles" in out
    assert "0.5 to 5 stars" in out
    assert "side data  year, genres of 10 items" in out
    assert "problems   none" in out
    found = json.loads(good(recae("data", "info", place.films, "--json")))
    assert (found["users"], found["items"], found["problems"]) == (N_USERS, 10, [])
    assert found["ratings"] == len(place.report.ratings)


def test_data_info_of_a_table_with_columns_of_its_own(recae: Recae, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("who,what,how\na,x,1\nb,x,3\na,y,11\n", "utf-8")
    words = ("data", "info", table, "--columns", "who,what,how")
    assert json.loads(good(recae(*words, "--json")))["scale"] == [1, 11]
    code, out, err = recae(*words, "--scale", "1,10")
    assert (code, err) == (1, "")
    assert "line 4: the rating 11 is outside the scale 1 to 10" in out
    code, out, _ = recae(*words, "--scale", "1,10", "--json")
    assert code == 1
    assert json.loads(out)["problems"][0]["kind"] == "scale"


# --- train


def test_train_prints_a_report_and_saves(
    recae: Recae, place: SimpleNamespace, tmp_path: Path
) -> None:
    out = good(recae("train", place.recipe, "--no-track", "--save", "models"))
    assert f"{len(place.report.ratings)} ratings of {N_USERS} users and 10 items" in out
    lines = out.splitlines()
    for name in ("bias", "mf", "popular"):
        for seed in (0, 3):
            assert any(line.startswith(f"{name} (seed {seed}): ") for line in lines)
            assert load_model(tmp_path / "models" / f"{name}-{seed}").fitted
    table = next(line for line in lines if line.strip().startswith("mf  "))
    rmse = place.report.comparison["mf"].metrics["rmse"][0]
    assert f"{rmse:.4f}" in table
    assert "baseline" in table
    assert "mf recommends to user 3, who gave" in out
    assert "because" in out
    # Nothing was tracked, so there is nothing to compare or to open.
    assert "recae compare" not in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models"]


def test_train_json(recae: Recae, place: SimpleNamespace) -> None:
    code, out, err = recae("train", place.recipe, "--no-track", "--json", "--set", "seeds=[0]")
    assert code == 0
    assert "mf (seed 0)" in err
    found = json.loads(out)
    assert found["baseline"] == "mf"
    models = {each["model"]: each for each in found["models"]}
    assert models["popular"]["rmse"] is None
    expected = place.report.outcomes[1].evaluation.metrics
    assert models["mf"]["rmse"] == pytest.approx(expected["rmse"])
    assert found["protocol"]["split"] == place.report.split.digest
    assert models["mf"]["seconds"] >= 0


def test_train_set(recae: Recae, place: SimpleNamespace, tmp_path: Path) -> None:
    words = ("--set", "model.k=2", "--set", "seeds=[1]", "--save", "m")
    recae("train", place.recipe, "--no-track", *words)
    assert load_model(tmp_path / "m" / "mf-1").params["k"] == 2


def test_train_with_side_data_says_so(recae: Recae, place: SimpleNamespace) -> None:
    out = good(recae("train", place.recipe, "--no-track", "--set", "data.items={}"))
    assert "beside them year, genres of 10 items" in out
    code, _, err = recae("train", place.recipe, "--no-track", "--set", "data.users={}")
    assert code == 2
    assert "says nothing of its users: name a table with a row to each" in err


# --- recommend


def recommended(recae: Recae, *words: Any) -> list[dict[str, Any]]:
    found = json.loads(good(recae("recommend", *words, "--json")))
    assert [each["rank"] for each in found] == list(range(1, len(found) + 1))
    return list(found)


def test_recommend_from_a_few_ratings(recae: Recae, place: SimpleNamespace) -> None:
    words = ("--rate", "Toy Story (1995)=5", "--rate", "102=1.5", "-n", 5)
    found = recommended(recae, place.model, *words)
    assert len(found) == 5
    assert not {101, 102} & {each["item"] for each in found}
    assert [each["title"] for each in found] == [TITLES[each["item"] - 101] for each in found]
    model = load_model(place.model)
    expected = model.recommend({101: 5, 102: 1.5}, 5)
    assert [each["item"] for each in found] == expected["item"].tolist()
    assert [each["stars"] for each in found] == pytest.approx(expected["stars"].tolist())


def test_titles_and_ids_mean_the_same(recae: Recae, place: SimpleNamespace) -> None:
    by_id = recommended(recae, place.model, "--rate", "104=4")
    for name in ("Matrix, The (1999)", "the matrix", "MATRIX", "The Matrix (1999)"):
        assert recommended(recae, place.model, "--rate", f"{name}=4") == by_id


def test_an_equals_sign_in_a_title(recae: Recae, tmp_path: Path) -> None:
    from recae.catalog import Catalog
    from recae.models import MODELS
    from recae.ratings import Ratings

    catalog = Catalog.of([1, 2], ["E=mc2 (2005)", "Other (2000)"])
    ratings = Ratings.of([1, 1, 2], [1, 2, 1], [1, 5, 4], scale=(1, 5), catalog=catalog)
    MODELS["bias"]().fit(ratings, rng=np.random.default_rng(0)).save(tmp_path / "m")
    (found,) = recommended(recae, "m", "--rate", "E=mc2=4")
    assert found["title"] == "Other (2000)"


def test_recommend_to_a_known_user(recae: Recae, place: SimpleNamespace) -> None:
    ratings = place.report.ratings
    found = recommended(recae, place.model, "--user", 3, "--data", place.films)
    own = ratings.items.values[ratings.take_users(np.array([2])).columns].tolist()
    assert sorted([each["item"] for each in found] + own) == list(range(101, 111))
    seen = recommended(recae, place.model, "--user", 3, "--data", place.films, "--include-seen")
    assert sorted(each["item"] for each in seen) == list(range(101, 111))


def test_allow_and_deny(recae: Recae, place: SimpleNamespace, tmp_path: Path) -> None:
    rate = ("--rate", "101=5")
    allow, deny = tmp_path / "allow.txt", tmp_path / "deny.txt"
    allow.write_bytes("\ufeffHeat (1986)\r\n\r\n  fargo \r\n101\r\n107".encode())
    deny.write_text("Fargo\n", "utf-8")
    found = recommended(recae, place.model, *rate, "--allow", allow)
    assert {each["item"] for each in found} == {103, 105, 107}
    found = recommended(recae, place.model, *rate, "--allow", allow, "--deny", deny)
    assert {each["item"] for each in found} == {103, 107}
    words = ("--allow", allow, "--deny", deny, "--include-seen")
    assert {e["item"] for e in recommended(recae, place.model, *rate, *words)} == {101, 103, 107}
    deny.write_text("\n".join(TITLES), "utf-8")
    assert recommended(recae, place.model, *rate, "--deny", deny) == []
    assert "nothing is left" in good(recae("recommend", place.model, *rate, "--deny", deny))


def test_genres_years_and_orders(recae: Recae, place: SimpleNamespace) -> None:
    rate = ("--rate", "101=5")
    model = load_model(place.model)
    catalog = model.fitted.catalog
    assert catalog is not None
    genre = catalog.genre_names[0]
    found = recommended(recae, place.model, *rate, "--genre", genre.lower())
    rows = [int(catalog.items.find([each["item"]])[0]) for each in found]
    assert rows
    assert all(genre in catalog.genres[row] for row in rows)
    for text, ends in {
        "1990-1995": (1990, 1995),
        "1990-": (1990, None),
        "1999": (1999, 1999),
    }.items():
        found = recommended(recae, place.model, *rate, "--year", text)
        wanted = model.recommend({101: 5}, years=ends)
        assert [each["item"] for each in found] == wanted["item"].tolist()
    popular = recommended(recae, place.model, *rate, "--popularity", "1")
    counts = [int(model.fitted.item_counts[catalog.items.find([e["item"]])[0]]) for e in popular]
    assert counts == sorted(counts, reverse=True)
    assert recommended(recae, place.model, *rate, "--by", "stars") == recommended(
        recae, place.model, *rate
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--year", "ninety"), "--year takes FIRST-LAST, like 1990-1999, 1990- or 1994"),
        (("--year", "1990-1980"), "1990 is after 1980"),
        (("--genre", "Nonsense"), "no item is 'Nonsense': there are"),
        (("--by", "liked"), "does not rank by liked"),
        (("--diversity", "7"), "diversity goes from 0 to 1, and 7 is outside"),
        (("--popularity", "nan"), "popularity goes from -1 to 1"),
    ],
)
def test_rules_that_cannot_be_followed(
    recae: Recae, place: SimpleNamespace, words: tuple[str, str], says: str
) -> None:
    code, out, err = recae("recommend", place.model, "--rate", "101=5", *words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_explain(recae: Recae, place: SimpleNamespace) -> None:
    words = ("--rate", "Heat (1995)=5", "--rate", "104=5")
    found = recommended(recae, place.model, *words, "--explain", "-n", 3)
    assert all("because" in each for each in found)
    assert any("Heat (1995) 5: +" in e["because"] or "Matrix" in e["because"] for e in found)
    out = good(recae("recommend", place.model, *words, "--explain", "-n", 3))
    assert "because" in out
    plain = good(recae("recommend", place.model, *words, "-n", 3))
    assert "because" not in plain
    for each in found:
        assert each["title"] in plain
        assert f"{each['stars']:.2f}" in plain
    # A model that only ranks gives no reasons, and says nothing wrong.
    words = (*words, "--explain", "-n", 3)
    assert all(not e["because"] for e in recommended(recae, place.popular, *words))


def test_more_than_there_are(recae: Recae, place: SimpleNamespace) -> None:
    assert len(recommended(recae, place.model, "--rate", "101=5", "-n", 1000)) == 9


def test_similar(recae: Recae, place: SimpleNamespace) -> None:
    from recae.neighbours import similar_items, similar_users

    model, ratings = load_model(place.model), place.report.ratings
    told = {
        ("Heat (1995)",): similar_items(model, 102, 4),
        ("--user", 3, "--data", place.films): similar_users(model, ratings, 3, 4),
        ("--rate", "Fargo=5", "--rate", "101=2", "--data", place.films): similar_users(
            model, ratings, {105: 5, 101: 2}, 4
        ),
    }
    for words, expected in told.items():
        found = json.loads(good(recae("similar", place.model, *words, "-n", 4, "--json")))
        assert found == expected.to_dict("records")
        assert len(found) == 4
        table = good(recae("similar", place.model, *words, "-n", 4))
        assert list(expected) == table.split()[: len(expected.columns)]
        for each in found:
            assert f"{each['similarity']:.2f}" in table
    assert "Heat (1995)" not in good(recae("similar", place.model, "Heat (1995)"))


def test_like_the_only_one(recae: Recae, tmp_path: Path) -> None:
    from recae.models import MODELS
    from recae.ratings import Ratings

    ratings = Ratings.of([1, 2, 3], [7, 7, 7], [1, 5, 4], scale=(1, 5))
    MODELS["mf"](k=2).fit(ratings, rng=np.random.default_rng(0)).save(tmp_path / "m")
    assert "nothing else has a code" in good(recae("similar", "m", "7"))
    assert json.loads(good(recae("similar", "m", "7", "--json"))) == []


def test_what_to_ask_for(recae: Recae, place: SimpleNamespace) -> None:
    words = ("ask", place.model, "--rate", "Toy Story (1995)=5", "-n", 4)
    found = json.loads(good(recae(*words, "--json")))
    assert [each["title"] for each in found] == [TITLES[each["item"] - 101] for each in found]
    assert len({each["item"] for each in found} - {101}) == 4
    shown = good(recae(*words))
    assert all(each["title"] in shown for each in found)
    assert len(json.loads(good(recae("ask", place.model, "-n", 99, "--json")))) == 10
    code, _, err = recae("ask", place.model, "-n", 0)
    assert (code, err) == (2, "recae: n must be at least 1, not 0\n")


def test_recommend_to_everybody(recae: Recae, place: SimpleNamespace, tmp_path: Path) -> None:
    words = (
        "recommend",
        place.model,
        "--all",
        "--data",
        place.films,
        "-n",
        2,
        "--out",
        "r.parquet",
    )
    assert "r.parquet" in good(recae(*words))
    frame = pd.read_parquet(tmp_path / "r.parquet")
    assert len(frame) == 2 * N_USERS
    assert sorted(frame["user"].unique()) == list(range(1, N_USERS + 1))
    seen = set(
        zip(
            place.report.ratings.users.values[place.report.ratings.rows].tolist(),
            place.report.ratings.items.values[place.report.ratings.columns].tolist(),
            strict=True,
        )
    )
    assert not seen & set(zip(frame["user"], frame["item"], strict=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.parquet"]
    (tmp_path / "deny.txt").write_text("Alien\n101\n", "utf-8")
    good(recae(*words, "--include-seen", "--deny", "deny.txt", "--out", "some.parquet", "-n", 10))
    some = pd.read_parquet(tmp_path / "some.parquet")
    assert len(some) == 8 * N_USERS
    assert not {101, 106} & set(some["item"])
    one = recommended(recae, place.model, "--user", 3, "--data", place.films, "-n", 2)
    assert frame[frame["user"] == 3]["item"].tolist() == [each["item"] for each in one]


def test_nothing_is_left_of_a_list_that_failed(
    recae: Recae, place: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    old = tmp_path / "r.parquet"
    old.write_bytes(b"what was there")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    words = ("recommend", place.model, "--all", "--data", place.films, "--out", "r.parquet")
    with monkeypatch.context() as broken:
        broken.setattr(pq.ParquetWriter, "write_table", full)
        code, out, err = recae(*words)
    assert (code, out) == (2, "")
    assert err == "recae: cannot write r.parquet: No space left on device\n"
    assert [p.name for p in tmp_path.iterdir()] == ["r.parquet"]
    assert old.read_bytes() == b"what was there"


# --- evaluate


def metrics(result: tuple[int, str, str]) -> dict[str, Any]:
    return dict(json.loads(good(result))["metrics"])


def test_evaluate_on_the_recipes_test_ratings(recae: Recae, place: SimpleNamespace) -> None:
    for name, outcome in (("mf-0", 1), ("popular-0", 2), ("mf-3", 4)):
        model = place.folder / "models" / name
        found = metrics(recae("evaluate", model, "--recipe", place.recipe, "--json"))
        trained = place.report.outcomes[outcome].evaluation.metrics
        expected = {k: None if np.isnan(v) else pytest.approx(v) for k, v in trained.items()}
        assert found == expected


def test_evaluate_on_a_share_of_each_history(recae: Recae, place: SimpleNamespace) -> None:
    words = ("evaluate", place.model, "--data", place.films)
    out = good(recae(*words, "-n", 3))
    assert "ndcg_at_3" in out
    assert f"of {N_USERS} users" in out
    # The model was fitted on most of these ratings, and the number is not an honest one.
    assert re.search(r"note: the model was trained on \d+ of these users", out)
    one, same = (metrics(recae(*words, "--json")) for _ in range(2))
    assert one == same
    assert metrics(recae(*words, "--json", "--seed", 1)) != one
    more = json.loads(good(recae(*words, "--share", 0.5, "--json")))
    assert more["counts"]["ratings"] > 14


def test_anomalies(recae: Recae, place: SimpleNamespace, tmp_path: Path) -> None:
    words = ("anomalies", place.model, "--data", place.films)
    both = json.loads(good(recae(*words, "-n", 3, "--json")))
    assert {name: len(rows) for name, rows in both.items()} == {"users": 3, "ratings": 3}
    worst = both["ratings"][0]
    assert worst["title"] in TITLES
    assert 0.5 <= worst["expected"] <= 5
    shown = good(recae(*words, "-n", 3))
    for row in both["ratings"]:
        assert row["title"] in shown
        assert f"{row['surprise']:.2f}" in shown
    assert "suspicion" in shown
    users = json.loads(good(recae(*words, "--users", "--out", "all.csv", "--json")))
    assert list(users) == ["users"]
    kept = pd.read_csv(tmp_path / "all.csv")
    assert len(kept) == N_USERS
    assert kept["user"].head(3).tolist() == [row["user"] for row in both["users"]]
    assert "suspicion" not in good(recae(*words, "--ratings", "-n", 2))
    assert good(recae(*words, "--seed", 1)) != good(recae(*words))


def test_evaluate_on_two_tables(recae: Recae, place: SimpleNamespace, tmp_path: Path) -> None:
    split = place.report.split
    for name, ratings in (("seen", split.train), ("asked", split.test.target)):
        frame = pd.DataFrame(
            {
                "userId": ratings.users.values[ratings.rows],
                "movieId": ratings.items.values[ratings.columns],
                "rating": ratings.stars,
            }
        )
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    words = ("--data", "asked.csv", "--history", "seen.csv", "--json")
    found = json.loads(good(recae("evaluate", place.model, *words)))
    assert found["metrics"]["rmse"] == pytest.approx(
        place.report.outcomes[1].evaluation.metrics["rmse"]
    )
    assert found["counts"]["ratings"] == len(split.test.target)
    words = ("evaluate", place.model, "--data", "seen.csv", "--history", "seen.csv")
    code, _, err = recae(*words)
    assert code == 2
    assert "are in the history too" in err


# --- leak

PLANTED = ROOT / "pipelines" / "leaky_autorec.py"


def test_leak_of_saved_models(recae: Recae, place: SimpleNamespace) -> None:
    for model in (place.model, place.popular):
        out = good(recae("leak", model, "--recipe", place.recipe))
        assert out.startswith("no leak: 7 probes, largest movement 0 stars\n")


def test_leak_of_what_a_model_was_trained_on(
    recae: Recae, place: SimpleNamespace, tmp_path: Path
) -> None:
    seen = frame_of(place.report.split.train).rename(columns={"stars": "rating"})
    seen.to_csv(tmp_path / "seen.csv", index=False)
    code, out, err = recae("leak", place.model, "--data", "seen.csv", "--json")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert found["leak"]
    assert found["verdict"].startswith("leak: training has seen ")
    held = int((seen.groupby("user").size() > 1).sum())
    assert found["probes"][-1]["name"] == "overlap"
    assert found["probes"][-1]["size"] >= held


def test_leak_of_a_script(recae: Recae, place: SimpleNamespace) -> None:
    for words in (("--data", place.films), ("--recipe", place.recipe)):
        code, out, err = recae("leak", f"{PLANTED}:LeakyAutoRec", *words)
        assert (code, err) == (1, "")
        assert out.startswith("leak: the predictions move by up to ")
        out = good(recae("leak", f"{PLANTED}:HonestAutoRec", *words))
        assert out.startswith("no leak: 6 probes, largest movement 0 stars\n")


def test_leak_of_a_script_on_two_tables(
    recae: Recae, place: SimpleNamespace, tmp_path: Path
) -> None:
    """What a script prints does not mix with the verdict."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "print('loaded')\n"
        "def mean(train, test):\n"
        "    print('asked')\n"
        "    return np.full(len(test), train['stars'].mean())\n"
        "def guess(train, test):\n"
        "    return np.random.default_rng().uniform(1, 5, len(test))\n"
    )
    frame = frame_of(place.report.split.train)
    frame.columns = ["who", "what", "mark", "time"]
    frame.to_csv(tmp_path / "seen.csv", index=False)
    frame[7:9].to_csv(tmp_path / "asked.csv", index=False)
    words = ("--data", "asked.csv", "--history", "seen.csv", "--columns", "who,what,mark")
    code, out, err = recae("leak", "mine.py:mean", *words, "--json")
    assert (code, err) == (1, "loaded\n" + 6 * "asked\n")
    user, item = map(int, (frame["who"][7], frame["what"][7]))
    assert f"training has seen 2 held-out ratings (user {user}, item {item} first)" in out
    assert json.loads(out)["probes"][-1]["size"] == 2
    code, out, _ = recae("leak", "mine.py:guess", "--data", place.films)
    assert code == 2
    assert out.startswith("no verdict: two runs on the same ratings differ by up to ")


# --- everything that a person can do wrong

GARBAGE = bytes(range(256)) * 20

MISTAKES: dict[str, tuple[str, str]] = {
    # train
    "no recipe": ("train {tmp}/none.toml --no-track", "cannot read"),
    "a folder as recipe": ("train {tmp} --no-track", "cannot read"),
    "not toml": ("train {films}/ratings.csv --no-track", "is not TOML"),
    "garbage as recipe": ("train {tmp}/garbage.bin --no-track", "is not TOML"),
    "empty recipe": ("train {tmp}/empty --no-track", "field required"),
    "unknown setting": ("train {recipe} --no-track --set sedes=[1]", "did you mean 'seeds'?"),
    "set without value": ("train {recipe} --no-track --set model.k", "--set takes KEY=VALUE"),
    "no such model": ("train {recipe} --no-track --set model.knn.k=3", "no model here"),
    "resume untracked": ("train {recipe} --no-track --resume", "leave --no-track out"),
    "nobody to show": ("train {recipe} --no-track --set show.user=999", "999"),
    "unfit split": ("train {recipe} --no-track --set split.test=2", "between 0 and 1, not 2"),
    "release not here": ("train {recipe} --no-track --set data.source=ml-1m", "data fetch ml-1m"),
    "no data": ("train {recipe} --no-track --set data.source=none.csv", "no file or folder"),
    "negative seed": ("train {recipe} --no-track --set seeds=[-1]", "must not be negative"),
    "diverging": (
        "train {recipe} --no-track --set model.training.learning_rate=1e30",
        "lower training.learning_rate",
    ),
    "save into a file": ("train {recipe} --no-track --save {tmp}/empty", "is a file"),
    # tune
    "tune nothing": ("tune {space}", "--model MODEL, or --frozen RECIPE.toml"),
    "tune both": ("tune {space} --model mf --frozen {recipe}", "--model MODEL, or --frozen"),
    "no space file": ("tune {tmp}/none.toml --model mf", "cannot read"),
    "garbage as space": ("tune {tmp}/garbage.bin --model mf", "is not TOML"),
    "a recipe as space": ("tune {recipe} --model mf", "there is no setting 'name'"),
    "tune the unknown": ("tune {space} --model mff", "did you mean 'mf'?"),
    "tune what has no space": ("tune {space} --model bias", "no [[space]] is for 'bias'"),
    "tune resume untracked": ("tune {space} --model mf --no-track --resume", "leave --no-track"),
    "tune resume frozen": ("tune {space} --frozen {recipe} --resume", "leave --resume"),
    "tune into a folder": ("tune {space} --model mf --no-track --out {tmp}", "it is a folder"),
    "tune into nowhere": ("tune {space} --model mf --out {tmp}/no/t.csv", "there is no folder"),
    "no frozen recipe": ("tune {space} --frozen {tmp}/none.toml", "cannot read"),
    # models
    "no model": ("recommend {tmp}/none --rate 101=5", "there is no model in"),
    "not a model": ("recommend {films} --rate 101=5", "there is no model in"),
    "a file as model": ("recommend {recipe} --rate 101=5", "there is no model in"),
    "broken model": ("recommend {broken} --rate 101=5", "is damaged or of another version"),
    "evaluate no model": ("evaluate {tmp}/none --data {films}", "there is no model in"),
    # leak
    "leak of nothing": ("leak {model}", "say what to predict"),
    "leak, history alone": ("leak {model} --recipe {recipe} --history {films}", "goes with --data"),
    "leak of no model": ("leak {tmp}/none --data {films}", "there is no model in"),
    "leak of no script": ("leak {tmp}/none.py:Any --data {films}", "no such file"),
    "leak of a whole script": ("leak {tmp}/exits.py --data {films}", "exits.py:NAME"),
    "leak of a script that exits": ("leak {tmp}/exits.py:Any --data {films}", "SystemExit"),
    "leak of nothing in a script": ("leak {tmp}/some.py:none --data {films}", "called 'none'"),
    "leak of no model in a script": ("leak {tmp}/some.py:number --data {films}", "cannot test 3"),
    "leak of a script that fails": ("leak {tmp}/some.py:fails --data {films}", "line 3: 'rating'"),
    # similar
    "like nothing": ("similar {model}", "say like what"),
    "like two": ("similar {model} 101 --user 3 --data {films}", "say like what"),
    "item with data": ("similar {model} 101 --data {films}", "items are in the model"),
    "users without data": ("similar {model} --user 3", "name them with --data"),
    "like no film": ("similar {model} Alein", "nearest titles are: Alien (1979) [106]"),
    "like two films": ("similar {model} Heat", "Heat (1995) [102]; Heat (1986) [103]"),
    "like no user": ("similar {model} --user 999 --data {films}", "999"),
    "like no number": ("similar {model} --user bob --data {films}", "whole numbers"),
    "like too many stars": ("similar {model} --rate Alien=7 --data {films}", "is rated 7"),
    "none alike": ("similar {model} 101 -n 0", "n must be at least 1, not 0"),
    "no user alike": ("similar {model} --user 3 --data {films} -n 0", "n must be at least 1"),
    "like nobody's code": ("similar {popular} 101", "a Popular has no codes: take an AutoRec"),
    # recommend
    "for nobody": ("recommend {model}", "say for whom"),
    "for two": ("recommend {model} --user 1 --rate 101=5 --data {films}", "say for whom"),
    "for all and one": ("recommend {model} --all --user 1 --out o", "say for whom"),
    "all without file": ("recommend {model} --all --data {films}", "--out FILE.parquet together"),
    "file without all": ("recommend {model} --rate 101=5 --out {tmp}/o", "together"),
    "all as json": ("recommend {model} --all --data {films} --out {tmp}/o --json", "one user"),
    "all explained": ("recommend {model} --all --data {films} --out {tmp}/o --explain", "one user"),
    "no folder": ("recommend {model} --all --data {films} --out {tmp}/no/o", "no folder"),
    "a folder as file": ("recommend {model} --all --data {films} --out {tmp}", "it is a folder"),
    "rate with data": ("recommend {model} --rate 101=5 --data {films}", "leave --data out"),
    "unknown title": ("recommend {model} --rate Alein=5", "nearest titles are: Alien (1979) [106]"),
    "nothing near": ("recommend {model} --rate qqqqqqq=5", "no title is near it"),
    "unknown id": ("recommend {model} --rate 999=5", "no item is called '999'"),
    "ambiguous title": ("recommend {model} --rate Heat=5", "Heat (1995) [102]; Heat (1986) [103]"),
    "too many stars": ("recommend {model} --rate Alien=7", "Alien (1979) is rated 7: the scale"),
    "too few stars": ("recommend {model} --rate Alien=0", "is rated 0: the scale is 0.5 to 5"),
    "nan stars": ("recommend {model} --rate Alien=nan", "is rated nan: the scale"),
    "infinite stars": ("recommend {model} --rate Alien=inf", "is rated inf: the scale"),
    "no stars": ("recommend {model} --rate Alien", "--rate takes ITEM=STARS"),
    "empty stars": ("recommend {model} --rate Alien=", "--rate takes ITEM=STARS"),
    "stars as words": ("recommend {model} --rate Alien=five", "--rate takes ITEM=STARS"),
    "no item": ("recommend {model} --rate =5", "--rate takes ITEM=STARS"),
    "twice": ("recommend {model} --rate Alien=5 --rate 106=4", "Alien (1979) is rated twice"),
    "no items wanted": ("recommend {model} --rate 101=5 -n 0", "n must be at least 1, not 0"),
    "fewer than none": ("recommend {model} --rate 101=5 -n -3", "n must be at least 1, not -3"),
    "none for all": ("recommend {model} --all --data {films} --out {tmp}/o -n 0", "at least 1"),
    "unknown user": ("recommend {model} --user 999 --data {films}", "999"),
    "user as text": ("recommend {model} --user bob --data {films}", "whole numbers here"),
    "user without data": ("recommend {model} --user 1", "name them with --data"),
    "user of no data": ("recommend {model} --user 1 --data none.csv", "no file or folder"),
    "all without data": ("recommend {model} --all --out {tmp}/o", "name them with --data"),
    "no allow file": ("recommend {model} --rate 101=5 --allow {tmp}/none", "No such file"),
    "allow folder": ("recommend {model} --rate 101=5 --allow {tmp}", "cannot read"),
    "allow garbage": ("recommend {model} --rate 101=5 --allow {tmp}/garbage.bin", "UTF-8"),
    "allow unknown": ("recommend {model} --rate 101=5 --allow {tmp}/unknown", "no item is called"),
    "deny unknown": ("recommend {model} --rate 101=5 --deny {tmp}/unknown", "no item is called"),
    # anomalies
    "anomalies without data": ("anomalies {model}", "name them with --data"),
    "anomalies of a list": ("anomalies {popular} --data {films}", "Popular only ranks"),
    "no anomalies": ("anomalies {model} --data {films} -n 0", "at least 1, and 0 is not"),
    "two tables, one file": ("anomalies {model} --data {films} --out {tmp}/o", "one table: say"),
    "anomalies nowhere": ("anomalies {model} --data {films} --users --out {tmp}/n/o", "no folder"),
    # evaluate
    "on nothing": ("evaluate {model}", "say what to predict"),
    "on both": ("evaluate {model} --data {films} --recipe {recipe}", "say what to predict"),
    "recipe and history": (
        "evaluate {model} --recipe {recipe} --history {films}",
        "--history goes",
    ),
    "history alone": ("evaluate {model} --history {films}", "say what to predict"),
    "all of it": ("evaluate {model} --data {films} --share 1", "between 0 and 1"),
    "none of it": ("evaluate {model} --data {films} --share 0", "between 0 and 1"),
    "lists of none": ("evaluate {model} --data {films} -n 0", "n must be at least 1"),
    "bad recipe": ("evaluate {model} --recipe {tmp}/none.toml", "cannot read"),
    "negative draw": ("evaluate {model} --data {films} --seed -1", "--seed must not be negative"),
    "empty data": ("evaluate {model} --data {tmp}/empty.csv", "empty.csv"),
    "garbage data": ("evaluate {model} --data {tmp}/garbage.csv", "garbage.csv"),
    "broken gzip": ("evaluate {model} --data {tmp}/garbage.csv.gz", "garbage.csv.gz"),
    "broken zip": ("evaluate {model} --data {tmp}/garbage.zip", "garbage.zip"),
    "broken parquet": ("evaluate {model} --data {tmp}/garbage.parquet", "garbage.parquet"),
    "an empty folder": ("evaluate {model} --data {tmp}/nothing", "no table of ratings"),
    "a header alone": ("evaluate {model} --data {tmp}/header.csv", "header.csv"),
    # data
    "info of nothing": ("data info {tmp}/none.csv", "no file or folder"),
    "info of empty": ("data info {tmp}/empty.csv", "empty.csv"),
    "info of garbage": ("data info {tmp}/garbage.csv", "garbage.csv"),
    "info without the column": ("data info {films} --columns who,item,rating", "who"),
    "half a scale": ("data info {films} --scale 5", "--scale takes LOWEST,HIGHEST"),
    "scale as words": ("data info {films} --scale one,five", "--scale takes LOWEST,HIGHEST"),
    "a scale upside down": ("data info {films} --scale 5,1", "not '5,1'"),
    "fetch the unknown": ("data fetch ml-7m", "there is no release 'ml-7m'"),
    # compare
    "format": ("compare --format xml", "--format is one of table, md, csv, json, latex, not 'xml'"),
}


@pytest.fixture
def spoilt(place: SimpleNamespace, tmp_path: Path) -> dict[str, Path]:
    """Good and bad files by the names that `MISTAKES` uses."""
    bad = tmp_path / "bad"
    bad.mkdir()
    for name in ("bin", "csv", "csv.gz", "zip", "parquet"):
        (bad / f"garbage.{name}").write_bytes(GARBAGE)
    (bad / "empty").touch()
    (bad / "empty.csv").touch()
    (bad / "nothing").mkdir()
    (bad / "header.csv").write_text("userId,movieId,rating\n", "utf-8")
    (bad / "unknown").write_text("Alien\nAliens vs. Brazil\n", "utf-8")
    (bad / "exits.py").write_text("raise SystemExit(0)\n", "utf-8")
    (bad / "some.py").write_text(
        "number = 3\ndef fails(train, test):\n    return test['rating']\n", "utf-8"
    )
    broken = bad / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((place.model / "config.json").read_bytes())
    (broken / "ids.npz").write_bytes((place.model / "ids.npz").read_bytes())
    (broken / "arrays.safetensors").write_bytes(b"half")
    return {
        "tmp": bad,
        "broken": broken,
        "films": place.films,
        "recipe": place.recipe,
        "space": Path(__file__).parents[1] / "pipelines" / "spaces" / "ml-latest-small.toml",
        "model": place.model,
        "popular": place.popular,
    }


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_end_with_one_sentence(
    what: str, recae: Recae, spoilt: dict[str, Path], tmp_path: Path
) -> None:
    line, said = MISTAKES[what]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = recae(*(word.format(**spoilt) for word in line.split()))
    assert code == 2, err
    assert err.startswith("recae: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert said in err, err
    assert "Traceback" not in err
    # Nothing was promised on the way to the mistake but what training had to say.
    assert line.startswith("train") or out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_written(
    recae: Recae, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "models")

    monkeypatch.setattr("recae.models.base.Recommender.save", refused)
    code, _, err = recae("train", place.recipe, "--no-track", "--save", "models")
    assert (code, err) == (2, "recae: models: Permission denied\n")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_is_whole_on_every_terminal(width: int) -> None:
    """The columns that do not fit used to vanish, the one with the models' names first."""
    from io import StringIO

    from rich.console import Console

    from recae.console import print_table
    from recae.reports.rendering import rich_table

    header = ["model", *(f"metric {i}" for i in range(9))]
    rows = [[name, *(f"0.{i}000 ±0.0001" for i in range(9))] for name in ("mf", "autorec-dual")]
    out = StringIO()
    console = Console(file=out, width=width)
    print_table(console, rich_table(header, rows, left=1))
    assert console.width == width
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert lines[0] == " ".join(header).split()
    assert lines[2:] == [" ".join(row).split() for row in rows]


def test_an_interrupt_is_no_traceback(
    recae: Recae, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recae.running.run", interrupted)
    code, out, err = recae("train", place.recipe, "--no-track")
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_data_in_a_folder_of_ones_own(
    recae: Recae, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAE_DATA", str(place.folder))
    assert "10 with titles" in good(recae("data", "info", "films"))
    monkeypatch.setenv("RECAE_DATA", str(place.folder / "nowhere"))
    code, _, err = recae("data", "info", "films")
    assert code == 2
    assert "nowhere" in err


def test_a_tracked_model_is_scored_on_its_own_split_only(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace
) -> None:
    from recae import tracking

    asked = read_recipe(place.recipe, ["data.scale=[1, 5]"])
    tracked = json.loads(json.dumps(asked.resolved))
    monkeypatch.setattr(tracking, "load_run_recipe", lambda store, run: tracked)
    judging._of_its_split("some-run", asked)
    del tracked["data"]["users"], tracked["data"]["items"]
    # Tracked before there were side data.
    judging._of_its_split("some-run", asked)
    with pytest.raises(RecaeError, match="trained with other data settings"):
        judging._of_its_split("some-run", read_recipe(place.recipe, ["data.items={}"]))
    tracked["split"]["seed"] = 99
    with pytest.raises(RecaeError, match="trained with other split settings"):
        judging._of_its_split("some-run", asked)


# --- plot


def test_plot_latent_draws_items_and_users(recae: Recae, place: SimpleNamespace) -> None:
    code, out, err = recae("plot", "latent", place.model, "--least", 1)
    assert (code, out.strip(), err) == (0, "latent.png", "")
    assert Path("latent.png").read_bytes().startswith(b"\x89PNG")
    rest = ("--of", "users", "--data", place.films, "--colour", "year", "--least", 1)
    code, out, _ = recae("plot", "latent", place.model, *rest, "--out", "users.png")
    assert (code, out.strip()) == (0, "users.png")
    assert Path("users.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--of", "films"], "--of is items or users, not 'films'"),
        (["--colour", "red"], "--colour is genre or year, not 'red'"),
        (["--method", "tsne"], "--method is pca or umap, not 'tsne'"),
        (["--data", "ml-latest-small"], "items are in the model"),
        (["--of", "users"], "a model's folder holds no ratings: name them with --data"),
        (["--out", "nowhere/latent.png"], "there is no folder nowhere"),
        (["--out", "."], "it is a folder"),
        (["--least", "99"], "0 items have 99 ratings or more"),
    ],
)
def test_plot_latent_refuses(
    recae: Recae, place: SimpleNamespace, words: list[str], sentence: str
) -> None:
    code, out, err = recae("plot", "latent", place.model, *words)
    assert (code, out) == (2, "")
    assert err.startswith("recae: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_plot_latent_of_a_model_without_codes(recae: Recae, place: SimpleNamespace) -> None:
    code, _, err = recae("plot", "latent", place.popular)
    assert code == 2
    assert "a Popular has no codes" in err


def test_export_writes_what_other_runtimes_read(
    recae: Recae, place: SimpleNamespace, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    code, out, err = recae("export", place.model, "--out", str(file))
    assert (code, out, err) == (0, f"{file}\n", "")
    onnx.checker.check_model(onnx.load(file), full_check=True)


def test_export_refuses(recae: Recae, place: SimpleNamespace, tmp_path: Path) -> None:
    for words, sentence in (
        ([place.popular, "--out", str(tmp_path / "m.onnx")], "Popular models cannot be exported"),
        ([place.model, "--out", str(tmp_path)], "it is a folder"),
        ([place.model, "--out", str(tmp_path / "no" / "m.onnx")], "there is no folder"),
    ):
        code, out, err = recae("export", *words)
        assert (code, out) == (2, "")
        assert err.startswith("recae: ")
        assert sentence in err
        assert err.count("\n") == 1
