"""pipelines/lists.py on a small recipe."""

from __future__ import annotations

from pathlib import Path

import lists
import pandas as pd
import pytest

from recae.recipes import read_recipe
from recae.running import run
from recae.tracking import MlflowTracker, Store
from tests.test_blend import RATINGS


def written(folder: Path) -> Path:
    users, items = RATINGS.users.values[RATINGS.rows], RATINGS.items.values[RATINGS.columns]
    frame = pd.DataFrame({"user": users, "item": items, "rating": RATINGS.stars})
    frame.to_csv(folder / "ratings.csv", index=False)
    recipe = folder / "small.toml"
    recipe.write_text(
        f"""
name = "small"
[data]
source = "{(folder / "ratings.csv").as_posix()}"
scale = [1, 5]
[split]
kind = "random"
test = 0.3
[[model]]
kind = "blend"
stars = {{ kind = "autorec-dual", k = 3, training = {{ steps = 10 }} }}
liked = {{ kind = "ease", l2 = 5.0 }}
""",
        "utf-8",
    )
    return recipe


def test_three_tables_of_the_tracked_model(
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = written(tmp_path)
    report = run(read_recipe(path), tracker=MlflowTracker(store))
    assert lists.main(["--recipe", str(path), "--seeds", "0"]) == 0
    by, diversity, popularity = capsys.readouterr().out.strip().split("\n\n")
    rows = {row.split(" | ")[0].strip("| "): row for row in by.splitlines()}
    found = report.outcomes[0].evaluation.metrics["ndcg_at_10"]
    assert rows["blend"].split(" | ")[1] == f"{found:.4f}"
    assert list(rows)[2:] == ["blend", "liked", "stars", "lower-bound"]
    same = [
        t.splitlines()[2 + place].split(" | ")[1] for t, place in ((diversity, 0), (popularity, 3))
    ]
    assert same == [f"{found:.4f}"] * 2
    assert lists.main(["--recipe", str(tmp_path / "none.toml")]) == 2
    assert "lists.py: cannot read" in capsys.readouterr().err
