"""The tables of README.md, pipelines/README.md and docs/, made of results/*.json, not typed in.

    python pipelines/tables.py             # writes them; --check only tells (exit code 1)

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. NAME is one of `TABLES`, or a
section of expected/rmse.toml: then it is that section's table, a row a model.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from reproduce import HERE, LISTS, STARS

from recae.reports.markup import Section, markdown
from recae.reports.rendering import titled

DOCUMENTS: Final = (
    HERE.parent / "README.md",
    HERE / "README.md",
    HERE.parent / "docs" / "recommending.md",
)
_MARKED: Final = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables, or check them; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(argv).check
    texts = {path: path.read_text("utf-8") for path in DOCUMENTS}
    stale = {path: new for path, text in texts.items() if (new := filled(text)) != text}
    for path, new in stale.items():
        print(f"{path.name} {'is stale' if check else 'is written'}")
        if not check:
            path.write_text(new, "utf-8")
    return int(check and bool(stale))


def filled(text: str) -> str:
    """A document with every table made anew."""
    return _MARKED.sub(lambda found: f"{found[1]}{markdown(made(found[2]))}{found[3]}", text)


def made(name: str) -> Section:
    """The table of that name. Raises KeyError where neither it nor its results exist."""
    return TABLES[name]() if name in TABLES else of_recipe(name)


def results(name: str) -> dict[str, Any]:
    """What a section came to. Raises KeyError where nobody collected it."""
    path = HERE / "results" / f"{name}.json"
    if not path.exists():
        raise KeyError(f"no {path.name}: python pipelines/results.py {name}")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def of_recipe(name: str) -> Section:
    """A row a model, the best first: the metric, the differences to baselines, seconds."""
    found = results(name)
    metric, models = found["metric"], found["models"]
    there = {key for model in models.values() for key in model["less"]}
    baselines = [name for name in (*STARS, *LISTS) if name in there]
    header = ["model", f"test {titled(metric)}"]
    header += [f"less {baseline} (95 %)" for baseline in baselines]
    rows = [
        [
            f"`{model}`",
            _mean(of["metrics"][metric]),
            *(_interval(of["less"].get(baseline)) for baseline in baselines),
            f"{of['seconds']:.1f}",
        ]
        for model, of in _ranked(models, metric)
    ]
    return Section("", [*header, "seconds"], rows)


def _quickstart() -> Section:
    """As `make` prints it."""
    found = results("quickstart")
    n, models = found["protocol"]["n"], found["models"]
    header = ["model", "RMSE", "vs mf (95 %)", "MAE", f"NDCG@{n}", f"Recall@{n}"]
    rows = []
    for model, of in _ranked(models, "rmse"):
        values = [of["metrics"][name] for name in ("rmse", "mae", f"ndcg_at_{n}", f"recall_at_{n}")]
        rmse, *others = map(_mean, values)
        coverage = of["metrics"][f"item_coverage_at_{n}"][0]
        against = "baseline" if model == "mf" else _interval(of["less"].get("mf"))
        cost = [f"{coverage:.3f}", f"{of['seconds']:.1f}", f"{of['megabytes']:,}"]
        rows.append([model, rmse, against, *others, *cost])
    return Section("", [*header, "coverage", "seconds", "MB"], rows)


_STARS: Final[dict[str, tuple[str, ...]]] = {
    "ML-100K u1": ("ml-100k-u1", "ml-100k-u1-stack"),
    "ML-1M, 90/10 of PMF": ("ml-1m-pmf", "ml-1m-paper", "ml-1m-stack"),
    "ml-latest-small, 5 folds": ("ml-latest-small-folds",),
}
"""Columns of the table on stars, and whose results are in them: the first that has a model."""
_LISTS: Final[dict[str, tuple[str, ...]]] = {
    "ML-1M, unseen users": ("top-n-ml-1m",),
    "ML-1M, split of LightGCN++": ("top-n-lightgcn",),
}


def _side_by_side(columns: dict[str, tuple[str, ...]], less: Sequence[tuple[str, str]]) -> Section:
    """A row a model, ranked by the column that has most; below them differences of two models."""
    found = {name: _merged([results(each) for each in of]) for name, of in columns.items()}
    metrics = {name: results(of[0])["metric"] for name, of in columns.items()}
    most = max(found, key=lambda name: len(found[name]))
    order = [model for model, _ in _ranked(found[most], metrics[most])]
    rows = [
        [
            f"`{model}`",
            *(
                _mean(models[model]["metrics"][metrics[name]]) if model in models else "-"
                for name, models in found.items()
            ),
        ]
        for model in order
    ]
    for model, baseline in less:
        cells = [models.get(model, {"less": {}})["less"].get(baseline) for models in found.values()]
        rows.append([f"`{model}` less `{baseline}`, 95 % interval", *map(_interval, cells)])
    return Section("", ["model", *columns], rows)


def _short_lists() -> Section:
    """A row a model, the best first: each shorter metric, and what it is behind the first."""
    shorter = results("top-n-ml-1m")["shorter"]
    names = list(shorter)
    first = shorter[names[0]]
    order = sorted(first, key=lambda model: -first[model]["value"][0])
    header = ["model"]
    rows = [[f"`{model}`"] for model in order]
    for name in names:
        header += [titled(name), f"less {order[0]} (95 %)"]
        for row, model in zip(rows, order, strict=True):
            found = shorter[name][model]
            row += [_mean(found["value"]), _interval(found["less"])]
    return Section("", header, rows)


def _merged(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for each in found:
        models = each["models"] | models
    return models


TABLES: Final[dict[str, Callable[[], Section]]] = {
    "make": _quickstart,
    "stars": lambda: _side_by_side(_STARS, [("autorec-dual", "mf"), ("autorec-dual", "myfm")]),
    "lists": lambda: _side_by_side(
        _LISTS,
        [
            ("blend", "ease"),
            ("blend", "implicit-als"),
            ("denoising-ease", "ease"),
            ("denoising-ease", "implicit-als"),
        ],
    ),
    "short-lists": _short_lists,
}
"""Name -> the table, for those that are of no one section."""


def _ranked(models: dict[str, Any], metric: str) -> list[tuple[str, Any]]:
    """The best first, those without the metric last."""
    sign = 1 if metric == "rmse" else -1

    def place(pair: tuple[str, Any]) -> tuple[bool, float]:
        value = pair[1]["metrics"][metric][0]
        return value is None, sign * (value or 0.0)

    return sorted(models.items(), key=place)


def _mean(pair: Sequence[float | None]) -> str:
    mean, spread = pair
    if mean is None:
        return "-"
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ±{spread:.4f}"


def _interval(found: dict[str, float] | None) -> str:
    if found is None:
        return "-"
    return f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


if __name__ == "__main__":
    sys.exit(main())
