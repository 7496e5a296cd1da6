"""What tracked runs of a recipe came to, as a file that the documents' tables are made of.

    recae train pipelines/NAME.toml
    python pipelines/results.py NAME [...]      # from the store, to results/NAME.json
    python pipelines/tables.py                  # from there to README.md and pipelines/README.md

NAME is a section of expected/rmse.toml. What counts is the newest run of every model and seed that
has the recipe's settings. The metric of the section is also given less that of `mf` and `myfm`
(lists: `implicit-als` and `ease`), with the 95 % interval of the paired bootstrap over users; a
baseline that the recipe does not train is taken from other runs on the very same split.

Exit code 2 where the store lacks a run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from reproduce import HERE, Target, read_targets

from recae.comparison import compare, replicates
from recae.errors import RecaeError
from recae.evaluation import shortened
from recae.recipes import read_recipe, read_toml
from recae.reports.rendering import to_json
from recae.reports.standings import Standings
from recae.tracking import Store, TrackedEvaluation, evaluations, evaluations_of

_DIGITS: Final = 6


def main(argv: Sequence[str] | None = None, folder: Path = HERE) -> int:
    """Write the files; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="+", help="sections of expected/rmse.toml")
    names = parser.parse_args(argv).name
    targets = {target.name: target for target in read_targets(folder)}
    try:
        if unknown := [name for name in names if name not in targets]:
            raise RecaeError(
                f"nothing is claimed of {unknown[0]!r}: there are {', '.join(targets)}"
            )
        for name in names:
            found = collected(targets[name], folder)
            path = folder / "results" / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(to_json(found) + "\n", "utf-8")
            print(f"{path.name}: {', '.join(found['models'])}")
    except RecaeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    return 0


def collected(target: Target, folder: Path) -> dict[str, Any]:
    """Everything that the tables need. Raises RecaeError where a claimed model has no runs."""
    recipe = read_recipe(folder / f"{target.recipe}.toml", target.changes)
    store = Store()
    runs = evaluations_of(store, recipe.resolved)
    standings = Standings.of(runs, rng=np.random.default_rng(0))
    if missing := [name for name in target.claims if name not in standings.groups]:
        raise RecaeError(f"{target.name}: no finished run of {missing[0]!r} in {store.name}")
    others = _baselines(store, target, runs)
    models = {}
    for row in standings.comparison.rows:
        runs_of = standings.groups[row.name]
        models[row.name] = {
            "metrics": {name: _rounded(pair) for name, pair in row.metrics.items()},
            # The least: other processes only ever add to it.
            "seconds": round(min(run.cost.seconds for run in runs_of), 1),
            "megabytes": round(min(run.cost.megabytes for run in runs_of)),
            "less": _less(target, runs_of, others, row.name),
        }
    return {
        "recipe": target.recipe,
        "set": target.changes,
        "recipe_digest": digest(folder / f"{target.recipe}.toml"),
        "seeds": sorted({run.seed for run in standings.runs}),
        "metric": target.metric,
        "protocol": standings.comparison.protocol,
        "models": models,
        "shorter": {metric: _shorter(store, target, runs, metric) for metric in target.shorter},
    }


def _shorter(
    store: Store, target: Target, runs: Sequence[TrackedEvaluation], metric: str
) -> dict[str, Any]:
    """By model, a metric of lists cut shorter, and that less the first claimed model's."""
    n = int(metric.rpartition("_at_")[2])
    whole = evaluations(store, [run.run_id for run in runs])
    cut = [replace(run, evaluation=shortened(run.evaluation, n)) for run in whole]
    first = next(iter(target.claims))
    rows = Standings.of(cut, first, rng=np.random.default_rng(0)).comparison.rows
    found = {}
    for row in rows:
        difference = row.differences.get(metric)
        told = None if difference is None else asdict(difference)
        found[row.name] = {
            "value": _rounded(row.metrics[metric]),
            "less": told and {key: _rounded(told[key]) for key in ("value", "low", "high")},
        }
    return found


def digest(path: Path) -> str:
    """SHA-256 of what a recipe says, comments and layout aside."""
    said = json.dumps(read_toml(path), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _baselines(
    store: Store, target: Target, runs: Sequence[TrackedEvaluation]
) -> dict[str, list[TrackedEvaluation]]:
    """By name, of these runs, or of others on the same split."""
    found = {}
    for name in target.baselines:
        own = [run for run in runs if run.model == name]
        if not own:
            split = runs[0].evaluation.protocol["split"]
            same = f"tags.`recae.split_digest` = '{split}' and tags.`recae.model` = '{name}'"
            try:
                own = evaluations(store, where=same, answers=False)
            except RecaeError:
                continue
        found[name] = own
    return found


def _less(
    target: Target,
    runs: Sequence[TrackedEvaluation],
    baselines: dict[str, list[TrackedEvaluation]],
    name: str,
) -> dict[str, Any]:
    """By baseline, the difference of the target's metric over the seeds that both have."""
    found = {}
    for baseline, theirs in baselines.items():
        both = {run.seed for run in runs} & {run.seed for run in theirs}
        if baseline == name or not both:
            continue
        # The newest come last and count.
        groups = replicates(
            (label, run.seed, run.fold, run.evaluation)
            for label, some in (("model", runs), ("baseline", theirs))
            for run in reversed(some)
            if run.seed in both
        )
        compared = compare(groups, baseline="baseline", rng=np.random.default_rng(0))
        difference = compared["model"].differences.get(target.metric)
        if difference is not None:
            told = asdict(difference)
            found[baseline] = {key: _rounded(told[key]) for key in ("value", "low", "high")}
    return found


def _rounded(value: Any) -> Any:
    """Enough digits for every table, few enough for a diff that can be read."""
    if isinstance(value, tuple):
        return [_rounded(each) for each in value]
    return round(float(value), _DIGITS)


if __name__ == "__main__":
    sys.exit(main())
