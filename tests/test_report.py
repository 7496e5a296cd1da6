"""`recae compare` on a real store: every form of it, what it refuses, and its report."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recae.comparison import compare
from recae.evaluation import Evaluation
from recae.ids import Ids
from recae.recipes import Recipe
from recae.reports.headlines import headlines
from recae.reports.page import html
from recae.reports.standings import Standings
from recae.running import run
from recae.tracking import MlflowTracker, Store, evaluations
from tests.test_cli import Recae, good, recae
from tests.test_tracking import AUTOREC, BIAS, recipe, write_ratings

__all__ = ["recae"]

NASTY = "a_b & c% $k$ <b>"
POPULAR = {"kind": "popular"}
ATTACK = "<img src=x onerror=alert(1)>.csv"


def attacked(folder: Path, *models: dict[str, Any], **settings: Any) -> Recipe:
    """A recipe whose data, and with it the experiment, is named like an attack on a page."""
    source = folder / ATTACK
    shutil.copy(write_ratings(folder), source)
    columns = {"user": "user", "item": "item", "rating": "rating", "scale": [1, 5]}
    return recipe(folder, *models, data={"source": str(source), **columns}, **settings)


@pytest.fixture(scope="module")
def kept(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store: two sweeps of one experiment, and another split of another."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("RECAE_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        shutil.copytree(empty_store, folder / "recae-runs")
        nasty = AUTOREC | {"name": NASTY}
        run(attacked(folder, BIAS, nasty, POPULAR, seeds=[0, 1]), tracker=MlflowTracker(Store()))
        run(
            attacked(folder, AUTOREC | {"name": NASTY, "k": 2}, BIAS),
            tracker=MlflowTracker(Store()),
        )
        other = {"kind": "random", "test": 0.3, "validation": 0.1}
        run(recipe(folder, BIAS, split=other), tracker=MlflowTracker(Store()))
    return folder


@pytest.fixture
def compared(
    kept: Path, recae: Recae, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`recae compare` on what is kept."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(*words: Any) -> tuple[int, str, str]:
        monkeypatch.chdir(kept)
        return recae("compare", *words)

    return call


Compared = Callable[..., tuple[int, str, str]]
WHOLE = ["--experiment", f"{ATTACK} random"]
NAMES = {"bias", f"{NASTY} k=4", f"{NASTY} k=2", "popular"}


# --- forms


def test_json_holds_everything(compared: Compared) -> None:
    found = json.loads(good(compared(*WHOLE, "--by", "stars", "--format", "json")))
    assert {each["model"] for each in found["models"]} == NAMES
    assert {each["model"]: each["runs"] for each in found["models"]} == {
        "bias": 2,
        "popular": 2,
        f"{NASTY} k=4": 2,
        f"{NASTY} k=2": 1,
    }
    assert found["settings"]["k"] == {f"{NASTY} k=4": "4", f"{NASTY} k=2": "2"}
    assert sum(map(len, found["runs"].values())) == 7
    assert [each["label"] for each in found["slices"][0]["slices"]] == ["1", "2", "3", "4", "5"]
    pairs = {(each["one"], each["other"]): each["overlap"] for each in found["agreement"]}
    assert len(pairs) == 4 * 3 / 2 + 3
    assert pairs["bias", "bias"] == 1
    assert pairs["popular", "popular"] == 1


def test_csv_is_a_table(compared: Compared) -> None:
    rows = list(csv.DictReader(io.StringIO(good(compared(*WHOLE, "--format", "csv")))))
    assert {row["model"] for row in rows} == NAMES
    values = [float(row["rmse"]) for row in rows]
    assert values[:3] == sorted(values[:3])
    assert np.isnan(values[3])


def test_markdown_tables_are_whole(compared: Compared) -> None:
    text = good(compared(*WHOLE, "--by", "activity", "--format", "md"))
    assert re.findall("^### (.+)$", text, re.MULTILINE) == [
        "RMSE",
        "NDCG@10",
        "Settings that differ",
        "RMSE by activity",
    ]
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_latex_is_balanced_and_escaped(compared: Compared) -> None:
    text = good(compared(*WHOLE, "--format", "latex"))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 4
    assert r"a\_b \& c\% \$k\$ $<$b$>$ k=2 & " in text
    for table in text.split(r"\begin{tabular}")[1:]:
        columns = re.match(r"\{([lr]+)\}", table)
        assert columns is not None
        for line in table.partition(r"\midrule")[2].partition(r"\bottomrule")[0].splitlines()[1:]:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
            assert line.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0


def test_a_table_for_people(compared: Compared) -> None:
    out = good(compared(*WHOLE, "--metric", "mae", "--baseline", "bias"))
    assert "\nMAE\n" in out
    assert "\nNDCG@10\n" not in out
    assert "vs bias (95 %)" in out
    assert "1 older runs, with settings and seed of newer ones, left out" in out


# --- which runs


def test_a_filter_finds_its_runs(compared: Compared) -> None:
    out = good(compared("--filter", "params.k = '2'", "--format", "json"))
    assert [each["model"] for each in json.loads(out)["models"]] == [NASTY]


def test_a_baseline_by_the_name_of_its_model(compared: Compared) -> None:
    out = good(compared(*WHOLE, "--baseline", "popular", "--format", "json"))
    assert json.loads(out)["baseline"] == "popular"
    code, _, err = compared(*WHOLE, "--baseline", NASTY)
    assert code == 2
    assert "stands for 2 groups: name one of" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--experiment", "no such"], "there is no experiment 'no such': there are "),
        (["--filter", "params.k ="], "'params.k =' is no filter: "),
        (["--filter", "colour = 'red'"], "is no filter: "),
        (["--filter", "params.k = '77'"], "there are no finished runs of which"),
        (["bias", "--filter", "params.k = '2'"], "name runs or give a filter, not both"),
        ([*WHOLE, "--baseline", "ease"], "no 'ease' to compare with: there are "),
        ([*WHOLE, "--sort", "beauty"], "cannot sort by 'beauty': the metrics are rmse, "),
        ([*WHOLE, "--metric", "beauty"], "cannot compare 'beauty': the metrics are rmse, "),
        ([*WHOLE, "--by", "weather"], "there is no facet 'weather'"),
        ([*WHOLE, "--by", "genre"], "the genre of these items or ratings is not known"),
        ([*WHOLE, "--by", "stars", "--measure", "mae"], "there is no measure 'mae'"),
        ([*WHOLE, "--report", "r.pdf"], "--report writes .html, not 'r.pdf'"),
        ([*WHOLE, "--report", "nowhere/r.html"], "no folder"),
        ([*WHOLE, "--plot", "r.gif"], "--plot writes .png, .svg or .pdf, not 'r.gif'"),
        (["--force", "--report", "r.html"], "--force shows several comparisons"),
        (["--filter", "params.seed = '0'"], "cannot be compared: "),
        (["popular", "--by", "stars"], "these models only rank, so slices have no RMSE"),
        ([*WHOLE, "--by", "stars", "--measure", "coverage"], "no run has intervals"),
        ([*WHOLE, "--by", "stars", "--format", "csv"], "csv is one table, without slices"),
        ([*WHOLE, "--measure", "recall"], "--measure is of slices: say which with --by"),
    ],
)
def test_mistakes_are_one_sentence(compared: Compared, words: list[str], said: str) -> None:
    code, out, err = compared(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("recae: ")
    assert err.count("\n") == 1


# --- apart


def test_other_splits_are_refused_and_shown_apart(compared: Compared) -> None:
    everything = ["--filter", "params.seed = '0'"]
    code, _, err = compared(*everything)
    assert code == 2
    assert re.search("bias.* and .* cannot be compared: candidates|holdout|split differs", err)
    out = good(compared(*everything, "--force"))
    assert len(re.findall("^Scored with .*split ", out, re.MULTILINE)) == 2
    assert out.count("side by side, after") == 2


def test_forced_forms_come_back_too(compared: Compared) -> None:
    everything = ["--filter", "params.seed = '0'", "--force", "--baseline", "popular"]
    one, two = json.loads(good(compared(*everything, "--format", "json")))
    assert {one["baseline"], two["baseline"]} == {"popular", "bias"}
    assert one["protocol"]["split"] != two["protocol"]["split"]
    rows = list(csv.DictReader(io.StringIO(good(compared(*everything, "--format", "csv")))))
    assert len({row["split"] for row in rows}) == 2
    assert len(rows) == len(one["models"]) + len(two["models"])
    assert good(compared(*everything, "--format", "md")).count("### Scored with ") == 2


def test_what_differs_is_named(store: Store, tmp_path: Path, recae: Recae) -> None:
    """Candidates and averaging are the same in this version: one of a run's files is changed."""
    run(recipe(tmp_path, BIAS, POPULAR), tracker=MlflowTracker(store))
    (path,) = (
        found
        for found in store.folder.rglob("evaluation.json")
        if json.loads(found.read_text("utf-8"))["metrics"]["rmse"] is not None
    )
    whole = json.loads(path.read_text("utf-8"))
    for key in ("split", "scale", "candidates", "averaging"):
        changed = whole | {"protocol": whole["protocol"] | {key: "another"}}
        path.write_text(json.dumps(changed), "utf-8")
        code, _, err = recae("compare")
        assert (code, err.count("\n")) == (2, 1)
        assert f"cannot be compared: {key} differs (" in err
        assert f"{key} another" in good(recae("compare", "--force"))


# --- runs of an earlier version


def test_runs_without_answers_still_compare(store: Store, tmp_path: Path, recae: Recae) -> None:
    """An earlier version kept no answers, and fewer metrics."""
    run(recipe(tmp_path, BIAS, POPULAR, seeds=[0, 1]), tracker=MlflowTracker(store))
    for name in ("ratings", "lists", "known", "items"):
        for path in list(store.folder.rglob(f"{name}.parquet"))[:1]:
            for old in path.parent.glob("*.parquet"):
                if old.name != "by_user.parquet":
                    old.unlink()
            summary = path.with_name("evaluation.json")
            whole = json.loads(summary.read_text("utf-8"))
            del whole["metrics"]["gini_at_10"]
            summary.write_text(json.dumps(whole), "utf-8")
    found = json.loads(good(recae("compare", "--format", "json")))
    assert len(found["models"]) == 2
    assert found["agreement"] == []
    good(recae("compare", "--report", "r.html"))
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "For whom" not in page
    assert "Is it luck?" in page
    code, _, err = recae("compare", "--by", "stars")
    assert (code, err.count("\n")) == (2, 1)
    assert "or train again" in err


# --- the report


@pytest.fixture(scope="module")
def page(kept: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(kept)
        found = evaluations(Store(), experiment=f"{ATTACK} random")
    rng = np.random.default_rng(0)
    return html(Standings.of(found, "bias", rng=rng, resamples=300))


def test_names_are_text_on_the_page(page: str) -> None:
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.csv random" in page
    assert "<b>" not in page
    assert "a_b &amp; c% $k$ &lt;b&gt; k=2" in page


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert re.findall(r'(?:src|href)="(?!data:image/svg)[^"]*', page) == []
    assert "@import" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert "<link" not in page


def test_every_question_has_its_chapter(page: str) -> None:
    assert re.findall("<h2>(.+)</h2>", page) == [
        "Is it luck?",
        "For whom are the stars better?",
        "For whom are the lists better?",
        "Are the stars right on average?",
        "Do they recommend the same?",
        "What else, and at what cost?",
        "Settings that differ",
        "Protocol",
        "Runs",
    ]
    assert page.count("<img ") == page.count(' alt="') == len(re.findall(r' alt="[^"]{20,}"', page))


def test_the_report_of_one_model(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(kept)
    for model in ("popular", "bias"):
        alone = evaluations(Store(), [model], f"{ATTACK} random")
        text = html(Standings.of(alone, rng=np.random.default_rng(0), resamples=20))
        assert "Is it luck?" not in text
        assert "1 model, " in text


# --- headlines


def scored(ndcg: list[float], rmse: float = float("nan")) -> Evaluation:
    lists = np.array(ndcg)
    return Evaluation(
        {"rmse": rmse, "ndcg_at_3": float(lists.mean())},
        {},
        {"n": 3},
        Ids.of(range(len(lists))),
        {"ndcg_at_3": lists},
    )


def told(**groups: Evaluation) -> Any:
    found = compare(groups, baseline="base", rng=np.random.default_rng(0), resamples=500)
    (only,) = headlines(found, ["rmse", "ndcg_at_3"])
    return SimpleNamespace(best=only.best, verdicts=only.verdicts)


def test_the_best_is_named_with_what_it_is_worth() -> None:
    values = np.random.default_rng(1).random(40) / 2
    found = told(
        base=scored(values.tolist()),
        good=scored((values + 0.25).tolist()),
        bad=scored((values / 4).tolist()),
        same=scored((values + np.tile([0.01, -0.01], 20)).tolist()),
    )
    assert re.fullmatch(
        r"good has the highest NDCG@3, 0\.\d{4}, 0\.2500 above base \(95 % interval \+0\.2500 to "
        r"\+0\.2500\): better for 40 of 40 users, worse for 0\. This is more than luck \(p = 0\.0"
        r"\d\d\)\.",
        found.best,
    )
    assert found.verdicts == [
        ("better", ["good"]),
        ("worse", ["bad"]),
        ("no difference", ["same"]),
    ]


def test_a_best_baseline_is_measured_by_the_next() -> None:
    values = np.random.default_rng(1).random(40)
    found = told(
        base=scored(values.tolist()),
        near=scored((values - 0.01).tolist()),
        far=scored((values / 9).tolist()),
    )
    assert found.best.startswith("base has the highest NDCG@3, ")
    assert "; next is near, 0.0100 below base (" in found.best


def test_no_difference_is_said() -> None:
    values = np.random.default_rng(1).random(40)
    flip = np.tile([0.1, -0.09], 20)
    found = told(base=scored(values.tolist()), near=scored((values + flip).tolist()))
    assert "This may be luck (p = " in found.best
    assert found.verdicts == [("no difference", ["near"])]


def test_one_model_has_a_value_alone() -> None:
    found = told(base=scored([0.5, 0.5]))
    assert found.best == "base has the highest NDCG@3, 0.5000."
    assert found.verdicts == []
