"""Train what expected/rmse.toml claims, and say in one table what came out.

    python pipelines/reproduce.py [NAME ...] [--seeds 0,1,2] [--out FILE.md]    # or: make reproduce

A line a fit, and at the end a row a claim: test RMSE or NDCG, a table each, mean and standard
deviation over seeds, next to the claim; the difference to `mf` and `myfm`, of lists to
`implicit-als` and `ease`, where one of them was trained on the very same split, with the 95 %
interval of the paired bootstrap over users; mean seconds of a fit; and how much memory the process
has held at most up to there. Nothing is tracked. Data that are not there are skipped.

Exit code 1 if a row is outside its tolerance or its training failed, 2 for mistakes in the call.
"""

from __future__ import annotations

import argparse
import difflib
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from recae.comparison import Difference, compare
from recae.errors import DataError, RecaeError, RecipeError
from recae.evaluation import Evaluation
from recae.recipes import Recipe, read_recipe, read_toml
from recae.reports.rendering import interval, titled, to_json
from recae.running import Listener, Outcome, run

HERE: Final = Path(__file__).resolve().parent
STARS: Final = ("mf", "myfm")
LISTS: Final = ("implicit-als", "ease")


@dataclass(frozen=True)
class Target:
    """A section of the file of claims: which recipe, changed how, has to give which numbers."""

    name: str
    recipe: str
    """Stem of the recipe's file; the section's name where it does not say."""
    changes: list[str]
    """As `recae train --set` takes them."""
    tolerance: float
    metric: str
    """`rmse`, in stars, or like `ndcg_at_10`, with the recipe's own length of lists."""
    claims: dict[str, float]
    """By the name of a model."""
    shorter: list[str] = field(default_factory=list)
    """More metrics that are told, of lists cut shorter, like `recall_at_20`."""

    @property
    def baselines(self) -> tuple[str, ...]:
        """Whom the models are compared with."""
        return STARS if self.metric == "rmse" else LISTS

    def claimed(self, folder: Path) -> Recipe:
        """The recipe with the claimed models alone. Raises RecipeError."""
        recipe = read_recipe(folder / f"{self.recipe}.toml", self.changes)
        raw = {model.name: raw for model, raw in zip(recipe.models, recipe.model, strict=True)}
        lists = f"ndcg_at_{recipe.evaluation.n}"
        if self.metric not in ("rmse", lists):
            raise RecipeError(f"[{self.name}]: metric is rmse or {lists}, not {self.metric!r}")
        if self.metric != "rmse" and recipe.folds > 1:
            raise RecipeError(f"[{self.name}]: folds are pooled for RMSE alone")
        able = self.able(recipe)
        for name in self.claims:
            if name not in able:
                raise RecipeError(
                    f"[{self.name}] claims an {titled(self.metric)} of {name!r}, and the models of "
                    f"{self.recipe} that have one are {', '.join(able)}"
                )
        models = [raw[name] for name in self.claims]
        return replace(recipe, model=models, baseline=None, show=None)

    def able(self, recipe: Recipe) -> list[str]:
        """The models that have the metric."""
        every = self.metric != "rmse"
        return [model.name for model in recipe.models if every or model.model.predicts_stars]


@dataclass
class Row:
    """What became of one claim. `evaluations` are by seed, in which folds are pooled."""

    target: Target
    model: str
    evaluations: dict[int, Evaluation] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    peak: float = float("nan")
    """Gigabytes, of the process until this row was done."""
    reason: str = ""
    """Why there is no number."""
    skipped: bool = False
    """For want of data: nobody's fault."""
    differences: dict[str, Difference] = field(default_factory=dict)
    """By baseline."""

    @property
    def values(self) -> list[float]:
        """Of the metric, by seed."""
        return [each.metrics[self.target.metric] for each in self.evaluations.values()]

    @property
    def within(self) -> bool:
        """The mean is as claimed."""
        if self.reason:
            return False
        off = abs(float(np.mean(self.values)) - self.target.claims[self.model])
        return off <= self.target.tolerance

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.reason:
            return "skipped" if self.skipped else "failed"
        return "yes" if self.within else "NO"


def main(argv: Sequence[str] | None = None, folder: Path = HERE) -> int:
    """Train, print, write; the exit code. `folder`: of the recipes and of expected/rmse.toml."""
    arguments = _arguments().parse_args(argv)
    try:
        _check_out(arguments.out)
        targets = _chosen(read_targets(folder), arguments.name)
        # Every recipe is read before the first is trained: hours lie between.
        recipes = [target.claimed(folder) for target in targets]
        if arguments.seeds is not None:
            recipes = [replace(recipe, seeds=arguments.seeds) for recipe in recipes]
    except RecaeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    rows = [row for pair in zip(targets, recipes, strict=True) for row in _rows(*pair)]
    for row in rows:
        row.differences = differences(row, rows)
    report = markdown(rows)
    print(f"\n{report}")
    if arguments.out is not None:
        found = to_json([record(row) for row in rows])
        text = found if arguments.out.suffix == ".json" else report
        arguments.out.write_text(text + "\n", "utf-8")
    return int(any(not row.within and not row.skipped for row in rows))


def read_targets(folder: Path) -> list[Target]:
    """The sections of expected/rmse.toml below `folder`. Raises RecipeError."""
    targets = []
    for name, section in read_toml(folder / "expected" / "rmse.toml").items():
        if "tolerance" not in section:
            raise RecipeError(f"expected/rmse.toml: [{name}] has no tolerance")
        recipe, changes = section.pop("recipe", name), section.pop("set", [])
        tolerance, metric = section.pop("tolerance"), section.pop("metric", "rmse")
        shorter = section.pop("shorter", [])
        targets.append(Target(name, recipe, changes, tolerance, metric, section, shorter))
    return targets


def differences(row: Row, rows: Sequence[Row]) -> dict[str, Difference]:
    """The metric less that of each baseline there is, by its name; the target's own comes first.

    Another target's counts only where it was scored by the same protocol, on the same splits; the
    seeds are those that both have.
    """
    found = {}
    metric = row.target.metric
    for name in row.target.baselines:
        named = [other for other in rows if other.model == name and other is not row]
        for other in sorted(named, key=lambda other: other.target is not row.target):
            seeds = [seed for seed in row.evaluations if seed in other.evaluations]
            mine, theirs = ([each.evaluations[seed] for seed in seeds] for each in (row, other))
            if seeds and mine[0].protocol == theirs[0].protocol:
                groups = {"baseline": theirs, "model": mine}
                rng = np.random.default_rng(0)
                comparison = compare(groups, baseline="baseline", rng=rng)
                found[name] = comparison["model"].differences[metric]
                break
    return found


def markdown(rows: Sequence[Row]) -> str:
    """A table a metric, and below them why rows are without a number."""
    metrics = dict.fromkeys(row.target.metric for row in rows)
    tables = [_table([row for row in rows if row.target.metric == each]) for each in metrics]
    reasons = dict.fromkeys(
        f"{row.target.name}: {row.verdict}: {row.reason}" for row in rows if row.reason
    )
    return "\n\n".join([*tables, *reasons])


def _table(rows: Sequence[Row]) -> str:
    """Of rows with one metric."""
    target = rows[0].target
    against = [f"less {name} (95 %)" for name in target.baselines]
    header = ["recipe", "model", titled(target.metric), "expected", "tolerance", "within", *against]
    header += ["seconds", "peak GB"]
    lines = [header, ["---"] * len(header), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def record(row: Row) -> dict[str, Any]:
    """A row for JSON; numbers that there are not are NaN."""
    values = row.values or [float("nan")]
    against = {
        name: {"value": found.value, "low": found.low, "high": found.high}
        for name, found in row.differences.items()
    }
    return {
        "recipe": row.target.name,
        "model": row.model,
        "seeds": list(row.evaluations),
        "metric": row.target.metric,
        "found": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
        "expected": row.target.claims[row.model],
        "tolerance": row.target.tolerance,
        "within": row.within,
        "less": against,
        "seconds": float(np.mean(row.seconds or [float("nan")])),
        "peak_gb": row.peak,
        "reason": row.reason,
    }


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help="sections of expected/rmse.toml; none: all")
    parser.add_argument("--seeds", type=numbers, help="instead of the recipes' own, like 0,1,2")
    parser.add_argument("--out", type=Path, help="a file for the table (.md) or the rows (.json)")
    return parser


def numbers(text: str) -> list[int]:
    """ "0,1,2" as a list."""
    return [int(seed) for seed in text.split(",")]


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix not in (".md", ".json"):
        raise RecipeError(f"--out takes a .md or a .json file, not {out.name!r}")
    if not out.parent.is_dir():
        raise RecipeError(f"--out: there is no folder {out.parent}")


def _chosen(targets: Sequence[Target], names: Sequence[str]) -> list[Target]:
    known = [target.name for target in targets]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise RecipeError(f"nothing is claimed of {name!r}: {hint}")
    return [target for target in targets if not names or target.name in names]


def _rows(target: Target, recipe: Recipe) -> Iterator[Row]:
    """Every claim of the target, trained if its data are there."""
    missing = _missing(recipe)
    for raw, model in zip(recipe.model, target.claims, strict=True):
        row = Row(target, model, reason=missing, skipped=bool(missing))
        if not missing:
            try:
                # One model at a time: what was fitted is not kept until the end.
                _train(row, replace(recipe, model=[raw]))
            except RecaeError as trouble:
                row.reason = str(trouble)
        if row.reason:
            print(f"{target.name}: {model} {row.verdict}: {row.reason}", flush=True)
        row.peak = _peak()
        yield row


def _missing(recipe: Recipe) -> str:
    """What keeps the data from being read and split; nothing if they can be."""
    try:
        recipe.splits(recipe.data.load())
    except DataError as trouble:
        return str(trouble)
    return ""


def _train(row: Row, recipe: Recipe) -> None:
    def said(outcome: Outcome) -> None:
        plan, metric = outcome.plan, row.target.metric
        value = f"{titled(metric)} {outcome.evaluation.metrics[metric]:.4f}"
        fold = f", fold {plan.fold}" if plan.folds > 1 else ""
        where = f"{row.target.name}: {plan.model} (seed {plan.seed}{fold})"
        print(f"{where}: {value}, {outcome.cost.seconds:.1f} s", flush=True)

    report = run(recipe, listener=Listener(on_finish=said))
    row.evaluations = dict(zip(recipe.seeds, report.evaluations[row.model], strict=True))
    row.seconds = [outcome.cost.seconds for outcome in report.outcomes]


def _peak() -> float:
    """The most memory that this process has held, in GB."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1e9 if sys.platform == "darwin" else 1e9 / 1024)


def _cells(row: Row) -> list[str]:
    found = record(row)
    spread = "" if np.isnan(found["sd"]) else f" ±{found['sd']:.4f}"
    return [
        row.target.name,
        f"`{row.model}`",
        "-" if row.reason else f"{found['found']:.4f}{spread}",
        f"{found['expected']:.4f}",
        f"{found['tolerance']:g}",
        row.verdict,
        *(interval(row.differences.get(name)) for name in row.target.baselines),
        "-" if row.reason else f"{found['seconds']:.1f}",
        "-" if row.reason else f"{row.peak:.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
