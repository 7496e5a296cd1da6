"""Every autoencoder of the textbook: each tuned alike, and all in one table.

    python pipelines/autoencoders.py tune DATA [MODEL ...] [--trials 6]
    python pipelines/autoencoders.py score [MODEL ...] [--seeds 0,1,2] [--out FILE.md]

`tune` searches the settings of each model that predicts stars with the same number of trials on
validation ratings alone, the first being the model as it is by default, and writes the best into
the recipe of DATA; nothing of the test ratings is read. Models that only rank are tuned by
`recae tune` with the spaces of top-n-*.toml. `score` trains the recipes of both kinds on
ml-latest-small and on ML-1M and prints the table of docs/autoencoders.md: test RMSE of models that
predict stars, NDCG@100 for unseen users of those that only rank; mean and standard deviation over
seeds, and seconds of a fit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from reproduce import numbers

from recae.errors import RecaeError
from recae.recipes import read_recipe, read_toml
from recae.reports.rendering import titled
from recae.running import Listener, Outcome, run
from recae.tuning import Spaces, Study, StudyListener, Trial, as_toml
from recae.tuning.spaces import flat, parse_spaces

HERE: Final = Path(__file__).resolve().parent
SPACES: Final = HERE / "spaces" / "autoencoders.toml"
RECIPES: Final = {
    "ml-latest-small": "autoencoders-ml-latest-small",
    "ml-1m": "autoencoders-ml-1m",
    "leave-last-ml-latest-small": "leave-last-ml-latest-small",
    "leave-last-ml-100k": "leave-last-ml-100k",
}
"""By the data, which are those of the file of spaces of that name."""
TABLE: Final = {
    "ml-latest-small": ("autoencoders-ml-latest-small", "top-n-ml-latest-small"),
    "ML-1M": ("autoencoders-ml-1m", "top-n-ml-1m"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for mistakes in the call."""
    arguments = _arguments().parse_args(argv)
    try:
        if arguments.do == "tune":
            tune(arguments.data, arguments.model, arguments.trials)
        else:
            print(score(arguments.model, arguments.seeds, arguments.out))
    except RecaeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    return 0


def spaces(data: str) -> Spaces:
    """What may be chosen is the same everywhere; where it is judged is as in that data's recipe."""
    around = read_toml(HERE / "spaces" / f"{data}.toml")
    same = {key: around[key] for key in ("data", "split", "inner_seeds") if key in around}
    choices = {"space": read_toml(SPACES)["space"]}
    return parse_spaces(choices | same, f"{SPACES} on {data}")


def tune(data: str, models: Sequence[str], trials: int) -> None:
    """Search, and write what was found after each model. Raises RecaeError."""
    searched = spaces(data)
    path = HERE / f"{RECIPES[data]}.toml"
    for model in models or searched.choices:
        study = Study(searched, model, listener=StudyListener(on_finish=_said))
        study.run(trials)
        if study.best is None:
            raise RecaeError(f"no trial of {model} finished: {study.trials[-1].reason}")
        _put(path, model, study.best.settings)


def _said(trial: Trial) -> None:
    settings = json.dumps(trial.settings)
    what = f"{trial.measure} {trial.loss:.4f}, {trial.seconds:.1f} s, {settings} {trial.reason}"
    print(f"{trial.model} {trial.number} {trial.state}: {what}", flush=True)


def _put(path: Path, model: str, settings: dict[str, Any]) -> None:
    """The block of a model into a recipe, in place of the one that is there."""
    raw = read_toml(path)
    blocks = {m.get("name", m["kind"]): m for m in raw.get("model", [])}
    blocks[model] = {"kind": model} | settings
    head = path.read_text("utf-8").partition("[[model]]")[0].rstrip()
    texts = [
        as_toml(m["kind"], dict(flat({k: v for k, v in m.items() if k != "kind"})))
        for m in blocks.values()
    ]
    path.write_text("\n\n".join([head, *texts]) + "\n", "utf-8")


def score(models: Sequence[str], seeds: list[int] | None, out: Path | None) -> str:
    """The table, a row a model; of all of them if none is named."""
    rows: dict[str, dict[str, Cell]] = {}
    for place, recipes in TABLE.items():
        for name in recipes:
            recipe = read_recipe(HERE / f"{name}.toml")
            recipe = recipe if seeds is None else replace(recipe, seeds=seeds)
            for raw in recipe.model:
                if models and raw["kind"] not in models:
                    continue
                # One model at a time: what was fitted is not kept until the end.
                alone = replace(recipe, model=[raw], baseline=None, show=None)
                outcomes = run(alone, listener=Listener(on_finish=_told)).outcomes
                rows.setdefault(outcomes[0].plan.model, {})[place] = Cell.of(outcomes)
    header = ["model", *(f"{place}: {what}" for place in TABLE for what in ("found", "seconds"))]
    lines = [header, ["---"] * len(header)]
    for model, cells in sorted(rows.items(), key=lambda row: _rank(row[1])):
        told = [cells[place].told if place in cells else ("-", "-") for place in TABLE]
        lines.append([f"`{model}`", *(cell for pair in told for cell in pair)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if out is not None:
        out.write_text(table + "\n", "utf-8")
    return table


@dataclass(frozen=True)
class Cell:
    """What a model came to on some data, over seeds."""

    metric: str
    values: list[float]
    seconds: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Cell:
        found = [_found(outcome) for outcome in outcomes]
        seconds = float(np.mean([outcome.cost.seconds for outcome in outcomes]))
        return cls(found[0][0], [value for _, value in found], seconds)

    @property
    def told(self) -> tuple[str, str]:
        spread = f" ±{np.std(self.values, ddof=1):.4f}" if len(self.values) > 1 else ""
        return f"{self.metric} {np.mean(self.values):.4f}{spread}", f"{self.seconds:.1f}"


def _rank(cells: dict[str, Cell]) -> tuple[bool, int, float]:
    """Those that predict stars first; then by the last data of the table, best first."""
    places = list(TABLE)
    last = max(cells, key=places.index)
    cell, stars = cells[last], cells[last].metric == "RMSE"
    return not stars, -places.index(last), float(np.mean(cell.values)) * (1 if stars else -1)


def _found(outcome: Outcome) -> tuple[str, float]:
    metric = "rmse" if outcome.model.predicts_stars else "ndcg_at_100"
    return titled(metric), outcome.evaluation.metrics[metric]


def _told(outcome: Outcome) -> None:
    plan, (name, value) = outcome.plan, _found(outcome)
    what = f"{plan.model} (seed {plan.seed}): {name} {value:.4f}"
    print(f"{plan.recipe_name}: {what}, {outcome.cost.seconds:.1f} s", flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="do", required=True)
    tuned = commands.add_parser("tune")
    tuned.add_argument("data", choices=RECIPES)
    tuned.add_argument("model", nargs="*", help="none: all")
    tuned.add_argument("--trials", type=int, default=6)
    scored = commands.add_parser("score")
    scored.add_argument("model", nargs="*", help="none: all")
    scored.add_argument("--seeds", type=numbers, help="instead of the recipes' own, like 0,1,2")
    scored.add_argument("--out", type=Path, help="a file for the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
