"""Files of spaces: what a study may choose from, and on which splits it is judged.

inner_seeds = [0, 1]
[data]     source = "ml-100k/u1.base"
[split]    kind = "random"  test = 0.1
[evaluation]  n = 10
[[space]]  models = ["mf", "svdpp"]
           k = [16, 32, 64]
           dropout = 0.3
           training.learning_rate = { low = 2e-3, high = 3e-2, log = true }
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

from recae.errors import RecipeError
from recae.models import MODELS
from recae.models.persistence import plain
from recae.ratings import Ratings
from recae.recipes import EvaluationRecipe, ModelRecipe, Recipe, parse, read_toml
from recae.splits import Split

if TYPE_CHECKING:
    import optuna

_AROUND: Final = ("data", "split", "evaluation")
"""Keys that are a recipe's."""
_KEYS: Final = (*_AROUND, "inner_seeds", "space")
_RANGE: Final = ("low", "high", "log")


@dataclass(frozen=True)
class OneOf:
    """One of several values; a value that is listed twice is drawn twice as often at first."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that have to be possible ones."""
        return self.values

    def holds(self, value: Any) -> bool:
        """Whether `value` may be drawn."""
        return value in self.values

    def told(self, value: Any) -> str:
        """`value` as Optuna stores it: it knows no lists."""
        return json.dumps(self.values[self.values.index(value)])

    def draw(self, trial: optuna.Trial, name: str) -> Any:
        """The value that `trial` takes."""
        return json.loads(trial.suggest_categorical(name, [*map(json.dumps, self.values)]))


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, whole where both are; in equal shares of the logarithm where
    `log` says so."""

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Values that have to be possible ones."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether `value` may be drawn."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def told(self, value: float) -> float:
        """`value` as Optuna stores it."""
        return value

    def draw(self, trial: optuna.Trial, name: str) -> float:
        """The value that `trial` takes, to three digits: no more are of use in a recipe."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        drawn = trial.suggest_float(name, self.low, self.high, log=self.log)
        return min(max(float(f"{drawn:.3g}"), self.low), self.high)


Choice: TypeAlias = OneOf | Between


@dataclass(frozen=True)
class Spaces:
    """A file of spaces, checked. Settings have dotted names, like "training.steps"."""

    inner: list[Recipe]
    """A recipe for each inner split; its model is of no meaning."""
    choices: dict[str, dict[str, Choice]]
    """By model, what is chosen for which setting."""
    where: str
    """The file."""

    @property
    def scoring(self) -> EvaluationRecipe:
        """How lists are scored by which models that only rank are judged."""
        return self.inner[0].evaluation

    def of(self, model: str) -> dict[str, Choice]:
        """The choices for `model`. Raises RecipeError where there are none, or wrong ones."""
        _check_model(model, self.where)
        if model not in self.choices:
            there = ", ".join(self.choices) or "none"
            raise RecipeError(f"{self.where}: no [[space]] is for {model!r}: there are {there}")
        choices = self.choices[model]
        settled = {n: c.ends[0] for n, c in choices.items() if len(c.ends) == 1}
        for name, choice in choices.items():
            for value in choice.ends:
                try:
                    self.recipe(model, settled | {name: value})
                except RecipeError as trouble:
                    raise RecipeError(f"{self.where}: [[space]] of {trouble}") from None
        return choices

    def recipe(self, model: str, settings: Mapping[str, Any]) -> ModelRecipe:
        """`model` with `settings`, the others as they are by default. Raises RecipeError."""
        raw = {"kind": model} | _nested(settings)
        return replace(self.inner[0], model=[raw]).models[0]

    def split(self) -> tuple[Ratings, list[Split]]:
        """The ratings and the inner splits, among them every fold of one. Raises DataError."""
        ratings = self.inner[0].data.load()
        return ratings, [
            split for recipe in self.inner for split in recipe.splits(ratings).values()
        ]


def read_spaces(path: Path) -> Spaces:
    """The spaces in the TOML file `path`. Raises RecipeError with the path of what is wrong."""
    return parse_spaces(read_toml(path), str(path))


def parse_spaces(raw: Mapping[str, Any], where: str) -> Spaces:
    """The spaces in what a TOML file says. Raises RecipeError with the path of what is wrong."""
    for key in raw:
        if key not in _KEYS:
            raise RecipeError(f"{where}: there is no setting {key!r}{_hint(key, _KEYS)}")
    choices: dict[str, dict[str, Choice]] = {}
    tables = raw.get("space", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RecipeError(f"{where}: space has to be a list of tables, each under [[space]]")
    for table in tables:
        for model in _models(table, where):
            if model in choices:
                raise RecipeError(f"{where}: two [[space]] are for {model!r}")
            default = plain(MODELS[model]().params)
            settings = {key: value for key, value in table.items() if key != "models"}
            choices[model] = dict(_choices(settings, default, f"{where}: [[space]] of {model}"))
    return Spaces(_inner(raw, where), choices, where)


def _inner(raw: Mapping[str, Any], where: str) -> list[Recipe]:
    """A recipe for every seed of the inner splits, or the one whose split has its own seed."""
    around = {key: raw[key] for key in _AROUND if key in raw}
    recipe = parse({"name": "tuning", "model": [{"kind": "bias"}]} | around, where)
    seeds = raw.get("inner_seeds", [0])
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise RecipeError(
            f"{where}: inner_seeds must be a list of different whole numbers from 0, at least one"
        )
    if "seed" in raw["split"] or "seed" not in asdict(recipe.split):
        if len(seeds) > 1:
            raise RecipeError(
                f"{where}: inner_seeds asks for {len(seeds)} splits, and this split is always the "
                "same: leave its seed out, or give one inner seed"
            )
        return [recipe]
    return [replace(recipe, split=replace(recipe.split, seed=seed)) for seed in seeds]


def _models(table: Mapping[str, Any], where: str) -> list[str]:
    models = table.get("models")
    if not isinstance(models, list) or not models:
        raise RecipeError(f"{where}: a [[space]] needs models, a list of their names")
    for model in models:
        _check_model(model, where)
    return models


def _check_model(model: object, where: str) -> None:
    if not isinstance(model, str) or model not in MODELS:
        hint = _hint(str(model), MODELS) or f": there are {', '.join(MODELS)}"
        raise RecipeError(f"{where}: no model is called {model!r}{hint}")


def _choices(
    table: Mapping[str, Any], default: Mapping[str, Any], where: str, prefix: str = ""
) -> Iterator[tuple[str, Choice]]:
    """Choices by dotted name; `default`: all settings that there are, tables within tables."""
    for key, value in table.items():
        name = prefix + key
        if key not in default:
            known = [known for known, _ in flat(default, prefix)]
            raise RecipeError(f"{where}: there is no setting {name!r}{_hint(name, known)}")
        inner = default[key]
        if isinstance(inner, Mapping):
            if not isinstance(value, Mapping):
                raise RecipeError(
                    f"{where}: {name} is a table: choose for {name}.{next(iter(inner))}"
                )
            yield from _choices(value, inner, where, f"{name}.")
        else:
            yield name, _choice(value, f"{where}: {name}")


def _choice(value: Any, where: str) -> Choice:
    match value:
        case []:
            raise RecipeError(f"{where}: the list of values is empty")
        case list():
            return OneOf(tuple(value))
        case dict():
            return _between(value, where)
    return OneOf((value,))


def _between(table: Mapping[str, Any], where: str) -> Between:
    for key in table:
        if key not in _RANGE:
            raise RecipeError(f"{where}: there is no setting {key!r}{_hint(key, _RANGE)}")
    low, high, log = table.get("low"), table.get("high"), table.get("log", False)
    if not _is_number(low) or not _is_number(high) or not isinstance(log, bool):
        raise RecipeError(f"{where}: a range is {{ low = NUMBER, high = NUMBER, log = true }}")
    if low > high:
        raise RecipeError(f"{where}: low is {low:g}, above high, which is {high:g}")
    if log and low <= 0:
        raise RecipeError(f"{where}: low must be positive where log is true, not {low:g}")
    return Between(low, high, log)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as tables within tables."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        *tables, key = name.split(".")
        inner = nested
        for table in tables:
            inner = inner.setdefault(table, {})
        inner[key] = value
    return nested


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tables within tables as dotted names."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _hint(key: str, known: Any) -> str:
    """What was probably meant: also the dotted name of a setting of which the last part is."""
    by_end = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, [*known, *by_end], n=1)
    return f": did you mean {by_end.get(near[0], near[0])!r}?" if near else ""
