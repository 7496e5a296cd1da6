"""Recipes: one TOML file says which data, which split, which models. Unknown keys are refused.

name = "quickstart"
[data]     source = "ml-latest-small"
[split]    kind = "random"  test = 0.1  validation = 0.05  seed = 0
[[model]]  kind = "mf"      k = 32
[[model]]  kind = "autorec-dual"
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_type_hints

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from recae import splits
from recae.data import features, load
from recae.data.sidedata import Side
from recae.data.sources import Layout
from recae.errors import RecipeError
from recae.features import Features, Kind
from recae.intervals import Method
from recae.models import MODELS, Recommender
from recae.models.persistence import plain
from recae.nn.encoders import ENCODERS
from recae.ratings import Duplicates, Ratings, Scale
from recae.splits import Split

_STRICT: dict[str, Any] = {"extra": "forbid"}
_MEMBERS: Final = (Recommender, tuple[Recommender, ...])
"""Settings of a model that are models themselves."""

Seed: TypeAlias = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SideRecipe:
    """What is known of users or items beside their ratings: `recae.data.features`."""

    source: str | None = None
    """A table with a row to each, or a release; None: what the data's own release says."""
    key: str | None = None
    """The column of ids; None: a common name."""
    columns: dict[str, Kind] | None = None
    """The columns to use and what each holds; None: all, by their looks."""

    __pydantic_config__ = _STRICT

    def load(self, ratings: str, of: Side) -> Features:
        """Read it, for ratings from `ratings`. Raises DataError."""
        return features(self.source or ratings, of, key=self.key, columns=self.columns)


@dataclass(frozen=True)
class DataRecipe:
    """Where the ratings come from; the fields are `recae.load`'s."""

    source: str = "ml-latest-small"
    """A release by name, or a file or folder, also below the folders of RECAE_DATA."""
    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    scale: Scale | None = None
    duplicates: Duplicates = "error"
    separator: str | None = None
    """What divides the fields of a text file; None: its name or first line tells."""
    layout: Layout = "table"
    """`lists`: a user and that user's items a line."""
    where: dict[str, Any] | None = None
    """Only rows whose columns have these values."""
    users: SideRecipe | None = None
    items: SideRecipe | None = None

    __pydantic_config__ = _STRICT

    def of(self, source: str) -> DataRecipe:
        """Other ratings, read the same way, with the side data of these."""
        users, items = (
            side and replace(side, source=side.source or self.source)
            for side in (self.users, self.items)
        )
        return replace(self, source=source, where=None, users=users, items=items)

    def load(self) -> Ratings:
        """Read it. Raises DataError."""
        return load(
            self.source,
            user=self.user,
            item=self.item,
            rating=self.rating,
            time=self.time,
            scale=self.scale,
            duplicates=self.duplicates,
            where=self.where,
            separator=self.separator,
            layout=self.layout,
            users=None if self.users is None else self.users.load(self.source, "users"),
            items=None if self.items is None else self.items.load(self.source, "items"),
        )


@dataclass(frozen=True)
class _DrawnShares:
    """Splits that draw a share to test and a share to validate."""

    kind: str
    test: float = 0.1
    validation: float = 0.0
    seed: Seed = 0

    __pydantic_config__ = _STRICT

    def _drawn(self, split: Callable[..., Split], ratings: Ratings, **more: Any) -> Split:
        rng = np.random.default_rng(self.seed)
        return split(ratings, test=self.test, validation=self.validation, rng=rng, **more)


@dataclass(frozen=True)
class RandomSplit(_DrawnShares):
    """`splits.random`."""

    kind: Literal["random"]

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split."""
        return self._drawn(splits.random, ratings)


@dataclass(frozen=True)
class KFoldSplit:
    """Fold number `fold` of `splits.k_fold`, or all of them, one after the other."""

    kind: Literal["k-fold"]
    fold: int | None = None
    """From 0; None: all."""
    k: int = 5
    validation: float = 0.0
    seed: Seed = 0

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        if self.fold is not None and not 0 <= self.fold < self.k:
            raise ValueError(f"fold must be from 0 to {self.k - 1}")

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split of the one fold. Raises RecipeError where all of them are meant."""
        if self.fold is None:
            raise RecipeError(
                f"this split is {self.k} folds, and one is needed: name it, like `fold = 0`"
            )
        return self.folds(ratings)[self.fold]

    def folds(self, ratings: Ratings) -> dict[int | None, Split]:
        """By number, the folds that are meant."""
        rng = np.random.default_rng(self.seed)
        every = splits.k_fold(ratings, k=self.k, validation=self.validation, rng=rng)
        # Those before a fold are drawn, too: its validation part depends on them.
        return {fold: split for fold, split in enumerate(every) if self.fold in (None, fold)}


@dataclass(frozen=True)
class LeaveLastSplit:
    """`splits.leave_last`."""

    kind: Literal["leave-last"]
    validation: bool = False

    __pydantic_config__ = _STRICT

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split."""
        return splits.leave_last(ratings, validation=self.validation)


@dataclass(frozen=True)
class TemporalSplit:
    """`splits.temporal`."""

    kind: Literal["temporal"]
    test: float = 0.1
    validation: float = 0.0

    __pydantic_config__ = _STRICT

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split."""
        return splits.temporal(ratings, test=self.test, validation=self.validation)


@dataclass(frozen=True)
class UnseenUsersSplit(_DrawnShares):
    """`splits.unseen_users`."""

    kind: Literal["unseen-users"]
    target: float = 0.2

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split."""
        return self._drawn(splits.unseen_users, ratings, target=self.target)


@dataclass(frozen=True)
class UnseenItemsSplit(_DrawnShares):
    """`splits.unseen_items`."""

    kind: Literal["unseen-items"]

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split."""
        return self._drawn(splits.unseen_items, ratings)


@dataclass(frozen=True)
class PartialUsersSplit:
    """`splits.partial_users`."""

    kind: Literal["partial-users"]
    users: float = 0.5
    target: float = 0.38
    seed: Seed = 0

    __pydantic_config__ = _STRICT

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split."""
        rng = np.random.default_rng(self.seed)
        return splits.partial_users(ratings, users=self.users, target=self.target, rng=rng)


@dataclass(frozen=True)
class PredefinedSplit:
    """`splits.predefined`: the test ratings, which are among the data, are in a file too, or are
    marked by a column."""

    kind: Literal["predefined"]
    test: str | None = None
    """Like the data's `source`; None: the data themselves, of which `where` selects."""
    where: dict[str, Any] | None = None
    validation: float | str = 0.0
    """A share of the others, or a file like that of `test`."""
    seed: Seed = 0

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        if self.test is None and self.where is None:
            raise ValueError("name the test ratings: `test`, a file, or `where`, a column's value")

    def split(self, ratings: Ratings, data: DataRecipe) -> Split:
        """The split. What is held out is read like the data."""
        alike = replace(data, where=None, users=None, items=None)
        test = replace(alike, source=self.test or data.source, where=self.where).load()
        held = self.validation
        by_file = replace(alike, source=held).load() if isinstance(held, str) else held
        rng = np.random.default_rng(self.seed)
        return splits.predefined(ratings, test, validation=by_file, rng=rng)


SplitRecipe: TypeAlias = Annotated[
    RandomSplit
    | KFoldSplit
    | LeaveLastSplit
    | TemporalSplit
    | UnseenUsersSplit
    | UnseenItemsSplit
    | PartialUsersSplit
    | PredefinedSplit,
    Field(discriminator="kind"),
]
_SPLITS = {
    get_args(get_type_hints(split)["kind"])[0]: split
    for split in get_args(get_args(SplitRecipe)[0])
}


@dataclass(frozen=True)
class IntervalsRecipe:
    """Prediction intervals, calibrated on the validation ratings."""

    level: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """The share of ratings that is to be inside."""
    method: Method = "adaptive"
    """See `recae.intervals`."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class EvaluationRecipe:
    """How models are scored."""

    n: Annotated[int, Field(ge=1)] = 10
    """Length of the lists."""
    relevant: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Stars from which a target is relevant; None: three quarters up the scale."""
    intervals: IntervalsRecipe | None = None
    """None: no prediction intervals."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class ShowRecipe:
    """Whose recommendations are printed at the end, and how many."""

    user: int | str
    model: str
    n: Annotated[int, Field(ge=1)] = 10

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class ModelRecipe:
    """A model of the registry under a name of its own, with all of its settings."""

    name: str
    kind: str
    model: Recommender

    @property
    def params(self) -> dict[str, Any]:
        """All settings, nested ones as dicts."""
        settings: dict[str, Any] = plain(self.model.params)
        return settings

    def build(self) -> Recommender:
        """A fresh, unfitted model."""
        return self.model.fresh()


@dataclass(frozen=True)
class Recipe:
    """One experiment: every model with every seed on one split, or on every fold of one."""

    name: str
    split: SplitRecipe
    model: list[dict[str, Any]]
    """Each with `kind` (a name of the registry), optionally `name`, and settings."""
    data: DataRecipe = field(default_factory=DataRecipe)
    seeds: list[int] = field(default_factory=lambda: [0])
    """Of the models; the split has its own."""
    baseline: str | None = None
    """Name of the model that the others are compared with; None: the first."""
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    show: ShowRecipe | None = None

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if not names:
            raise RecipeError("a recipe needs at least one [[model]]")
        if twice := {name for name in names if names.count(name) > 1}:
            raise RecipeError(f"two models are called {twice.pop()!r}: give one a `name`")
        for wanted in (self.baseline, self.show and self.show.model):
            if wanted is not None and wanted not in names:
                raise RecipeError(f"no model is called {wanted!r}: there are {', '.join(names)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise RecipeError("seeds must be a list of different numbers, at least one")
        if min(self.seeds) < 0:
            raise RecipeError(f"seeds must not be negative, and {min(self.seeds)} is")

    @property
    def models(self) -> list[ModelRecipe]:
        """The models with their settings checked. Raises RecipeError."""
        return [_model(raw) for raw in self.model]

    @property
    def folds(self) -> int:
        """How many splits are trained on: all folds of a cross validation, or one."""
        if isinstance(self.split, KFoldSplit) and self.split.fold is None:
            return self.split.k
        return 1

    def splits(self, ratings: Ratings) -> dict[int | None, Split]:
        """By number the folds to train on; a split that is no cross validation under None.

        Raises DataError.
        """
        if isinstance(self.split, KFoldSplit):
            return self.split.folds(ratings)
        return {None: self.split.split(ratings, self.data)}

    def of_fold(self, fold: int | None) -> Recipe:
        """The same of `fold` alone, where the recipe names none of several."""
        if isinstance(self.split, KFoldSplit) and self.split.fold is None:
            return replace(self, split=replace(self.split, fold=fold))
        return self

    @property
    def experiment(self) -> str:
        """One experiment per data set, track and protocol."""
        known = "" if self.track == "ratings only" else " + side data"
        return f"{Path(self.data.source).name} {self.split.kind}{known}"

    @property
    def track(self) -> str:
        """What models may read: `ratings only` or `ratings + side data`; results of the two do not
        belong in one column."""
        only = self.data.users is None and self.data.items is None
        return "ratings only" if only else "ratings + side data"

    @property
    def resolved(self) -> dict[str, Any]:
        """Everything, defaults written out, as JSON knows it."""
        models = [{"kind": m.kind, "name": m.name} | m.params for m in self.models]
        return asdict(self) | {"model": models}

    @property
    def digest(self) -> str:
        """SHA-256 of `resolved`."""
        return hashlib.sha256(json.dumps(self.resolved, sort_keys=True).encode()).hexdigest()


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the TOML file `path`, with overrides like "model.k=128" applied.

    Raises RecipeError for a file that cannot be read, unknown keys and wrong types, with the path
    of the key.
    """
    raw = read_toml(path)
    for override in overrides:
        _override(raw, override)
    return parse(raw, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """What the TOML file `path` says. Raises RecipeError for a file that cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as trouble:
        raise RecipeError(f"cannot read {path}: {trouble.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as trouble:
        raise RecipeError(f"{path} is not TOML: {trouble}") from None


def parse(raw: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """A recipe from what TOML says. Raises RecipeError."""
    try:
        return TypeAdapter(Recipe).validate_python(raw)
    except ValidationError as trouble:
        raise RecipeError(f"{where}: {_explained(trouble, Recipe)}") from None
    except RecipeError as trouble:
        raise RecipeError(f"{where}: {trouble}") from None


def parse_data(raw: Mapping[str, Any]) -> DataRecipe:
    """The data of a resolved recipe that was tracked, perhaps by an earlier version."""
    return TypeAdapter(DataRecipe).validate_python(raw)


def _model(raw: Mapping[str, Any]) -> ModelRecipe:
    kind = _kind(raw, "")
    name = str(raw.get("name", kind))
    if not name or name != Path(name).name:
        raise RecipeError(f"a model cannot be called {name!r}: its name is a folder's, without /")
    settings = {key: value for key, value in raw.items() if key not in ("kind", "name")}
    return ModelRecipe(name, kind, _built(kind, settings, f"model {name}"))


def _kind(table: Mapping[str, Any], where: str) -> str:
    kind = table.get("kind")
    if kind is None:
        raise RecipeError(f"{where or 'a [[model]] '}has no kind: there are {', '.join(MODELS)}")
    if not isinstance(kind, str) or kind not in MODELS:
        near = difflib.get_close_matches(str(kind), MODELS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(MODELS)}"
        raise RecipeError(f"{where}no model is of kind {kind!r}: {hint}")
    return kind


def _built(kind: str, settings: Mapping[str, Any], where: str) -> Recommender:
    """A model of this kind with these settings over its own; `where` it stands, for messages."""
    default = MODELS[kind]()
    above = _merged(plain(default.params), settings)
    for key, hint in get_type_hints(type(default)).items():
        if hint in _MEMBERS:
            above[key] = _members(above[key], f"{where}.{key}", one=hint is Recommender)
    try:
        checked = _schema(type(default)).validate_python(above)
        return type(default)(**{f.name: getattr(checked, f.name) for f in fields(checked)})
    except ValidationError as trouble:
        raise RecipeError(f"{where}: {_explained(trouble, type(default))}") from None
    except ValueError as trouble:
        raise RecipeError(f"{where}: {trouble}") from None


def _members(tables: Any, where: str, *, one: bool) -> Any:
    """The model that a table within a model describes, or the models of a list of tables."""
    if one and isinstance(tables, Mapping):
        settings = {key: value for key, value in tables.items() if key != "kind"}
        return _built(_kind(tables, f"{where}: "), settings, where)
    if not one and isinstance(tables, list | tuple):
        return tuple(_members(table, f"{where}.{i}", one=True) for i, table in enumerate(tables))
    raise RecipeError(f"{where}: has to be a {'table' if one else 'list of tables'}")


def _schema(of: type[Recommender]) -> TypeAdapter[Any]:
    """The init fields of a model as a checked dataclass: what was learned is not in a recipe.

    Models among them are checked already, each as what it is.
    """
    hints = get_type_hints(of)
    names = [f.name for f in fields(of) if f.init]
    settings = [(name, Any if hints[name] in _MEMBERS else hints[name]) for name in names]
    settings = [(name, _strict(hint)) for name, hint in settings]
    namespace = {"__pydantic_config__": _STRICT}
    return TypeAdapter(make_dataclass(f"{of.__name__}Settings", settings, namespace=namespace))


def _strict(hint: Any) -> Any:
    """The type of a setting, where unknown keys of tables are refused; of several tables that one
    is meant whose kind is named."""
    tables = [each for each in (hint, *get_args(hint)) if is_dataclass(each)]
    for table in tables:
        setattr(table, "__pydantic_config__", _STRICT)  # noqa: B010
    return Annotated[hint, Field(discriminator="kind")] if len(tables) > 1 else hint


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, tables within tables; one that names a kind stands for itself."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping) and "kind" not in value
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _override(raw: dict[str, Any], text: str) -> None:
    """Apply "a.b.c=value" in place; "model.k" means every model that has it."""
    path, equals, value_text = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"--set takes KEY=VALUE, like model.k=128, not {text!r}")
    try:
        value = tomllib.loads(f"x = {value_text}")["x"]
    except tomllib.TOMLDecodeError:
        value = value_text.strip()
    if keys[0] != "model":
        _assign(raw, keys, value, text)
        return
    models = [m for m in raw.get("model", []) if isinstance(m, dict)]
    named = [m for m in models if len(keys) > 2 and m.get("name", m.get("kind")) == keys[1]]
    chosen = named or [m for m in models if len(keys) > 1 and keys[1] in _model(m).params]
    if not chosen and len(keys) == 1:
        raise RecipeError(f"--set takes a setting of the models, like model.k=128, not {text!r}")
    if not chosen:
        raise RecipeError(f"--set {text}: no model here has a setting {'.'.join(keys[1:])!r}")
    for model in chosen:
        _assign(model, keys[2:] if named else keys[1:], value, text)


def _assign(table: dict[str, Any], keys: Sequence[str], value: Any, text: str) -> None:
    inside: Any = table
    for above, key in zip(("", *keys), keys[:-1], strict=False):
        if isinstance(inside, dict):
            inside.setdefault(key, {})
        inside = inside[_place(inside, key, above, text)]
    inside[_place(inside, keys[-1], keys[-2] if len(keys) > 1 else "", text)] = value


def _place(inside: Any, key: str, above: str, text: str) -> str | int:
    """`key` of a table, or of a list the number that it is. Raises RecipeError."""
    if isinstance(inside, dict):
        return key
    if not isinstance(inside, list):
        raise RecipeError(f"--set {text}: {above} is a value, not a table")
    if not key.isdecimal() or int(key) >= len(inside):
        raise RecipeError(f"--set {text}: {above} is a list of {len(inside)}, numbered from 0")
    return int(key)


def _explained(trouble: ValidationError, of: type) -> str:
    """The first thing that is wrong, with the path of its key."""
    # A misspelt key is unknown and leaves another one missing: the first tells more.
    first = min(trouble.errors(), key=lambda error: error["type"] == "missing")
    loc = [str(part) for part in first["loc"]]
    kinds: Mapping[str, type] | None = None
    if len(loc) > 1:
        kinds = {"split": _SPLITS, "encoder": ENCODERS}.get(loc[0])
    if kinds is not None:
        # Below it comes the kind, which is a value in the file and no key.
        of = kinds[loc.pop(1)]
    path, context = ".".join(loc), first.get("ctx", {})
    match first["type"]:
        case "unexpected_keyword_argument":
            near = difflib.get_close_matches(loc[-1], _known_keys(of), n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            return f"there is no setting {path!r}{hint}"
        case "union_tag_invalid":
            return f"{path}: no kind {context['tag']!r}: there are {context['expected_tags']}"
        case "union_tag_not_found":
            return f"{path}: kind: field required"
        case "dataclass_type" | "dict_type":
            message = "has to be a table"
        case "list_type" if path == "model":
            message = "has to be a list of tables, each under [[model]]"
        case _:
            message = str(context.get("error") or first["msg"][:1].lower() + first["msg"][1:])
    return f"{path}: {message}" if path else message


def _known_keys(of: type) -> list[str]:
    """The keys of a table and of the tables in it."""
    keys: list[str] = []
    hints = get_type_hints(of)
    for f in fields(of):
        if f.init:
            keys.append(f.name)
            for inner in (hints[f.name], *get_args(hints[f.name])):
                if is_dataclass(inner) and isinstance(inner, type):
                    keys += _known_keys(inner)
    return keys
