"""Users after so many ratings: what is shown of them, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import cold_start
import numpy as np
import pytest
from cold_start import EVERYTHING, Setting

from recae.comparison import compare
from recae.models import MODELS, AutoRec
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.recipes import ModelRecipe
from recae.splits import unseen_users


def world() -> Ratings:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((50, 30)) < 0.5)
    return Ratings.of(users, items, rng.integers(1, 6, len(users)), scale=(1, 5))


@pytest.fixture(scope="module")
def given() -> Setting:
    split = unseen_users(world(), test=0.3, target=0.3, rng=np.random.default_rng(1))
    quick = {"k": 3, "training": Training(steps=4)}
    models = {
        "autorec-dual": AutoRec.dual(**quick),
        "mf": AutoRec.mf(**quick),
        "popular": MODELS["popular"](),
    }
    return Setting(split, {name: ModelRecipe(name, name, own) for name, own in models.items()})


def test_the_first_of_a_random_order(given: Setting) -> None:
    history = given.split.test.history
    few, more = (cold_start.first(history, count, 0) for count in (2, 5))
    assert few.user_counts.tolist() == [2] * len(history.users)
    assert more.user_counts.tolist() == [5] * len(history.users)
    assert ((few.matrix.toarray() > 0) <= (more.matrix.toarray() > 0)).all()
    # The stars stay with their items, and another seed shows others.
    dense = history.matrix.toarray()
    assert (dense[more.rows, more.columns] == more.stars).all()
    assert cold_start.first(history, 5, 1).digest != more.digest
    assert len(cold_start.first(history, 0, 0)) == 0
    assert cold_start.first(history, EVERYTHING, 0).digest == history.digest


def test_tables_and_picture(given: Setting, tmp_path: Path) -> None:
    scored = cold_start.everybody(given, [0, 3, EVERYTHING], [0, 1])
    header, _, *rows = cold_start.table(scored, "rmse").splitlines()
    assert header == "| RMSE | 0 | 3 | all |"
    # What only ranks has no error.
    names = [row.split(" | ")[0] for row in rows]
    assert names == ["| `autorec-dual`", "| `mf`", "| `autorec-dual` less `mf`"]
    _, _, *rows = cold_start.table(scored, "ndcg_at_10").splitlines()
    assert [row.split(" | ")[0] for row in rows][2] == "| `popular`"
    # Of whom nothing is known, popularity says the same however often it is trained.
    assert "±0.0000" in rows[2].split(" | ")[1]
    cold_start.drawn(scored).savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("metric", cold_start.METRICS)
def test_intervals_are_those_of_comparisons(given: Setting, metric: str) -> None:
    scored = cold_start.everybody(given, [EVERYTHING], [0, 1])
    runs = {name: of[EVERYTHING] for name, of in scored.items()}
    compared = compare(runs, baseline="mf", rng=np.random.default_rng(0))
    expected = compared["autorec-dual"].differences[metric]
    found = cold_start.ratio(runs["autorec-dual"], metric).less(
        cold_start.ratio(runs["mf"], metric)
    )
    assert found.values[0] == pytest.approx(expected.value)
    # Student's t of a dozen users is wider than the bootstrap.
    assert 1 < 2 * found.half_width[0] / (expected.high - expected.low) < 1.4


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ml-latest-small", "--models", "bias,popular", "--counts", "0,2", "--seeds", "0"]
    assert cold_start.main(words) == 0
    stars, lists = capsys.readouterr().out.split("\n\n")
    assert "`bias`" in stars
    assert "`popular`" not in stars
    assert "| `popular` |" in lists


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ml-25m"], "no recipe for 'ml-25m'"),
        (["ml-latest-small", "--models", "x"], "no model 'x'"),
    ],
)
def test_mistakes_in_the_call(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cold_start.main(words) == 2
    assert sentence in capsys.readouterr().err
