"""Models on disk: config.json, arrays.safetensors, ids.npz. No pickle, no ratings.

A folder is written beside its place and renamed into it, so a reader never sees half a model.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recae.catalog import Catalog
from recae.errors import DataError
from recae.features import Coding
from recae.ids import Ids
from recae.models.base import Fitted, Recommender
from recae.models.baseline import Baseline
from recae.nn.encoders import ENCODERS, Settings

FORMAT: Final = 2
_CONFIG, _ARRAYS, _IDS = "config.json", "arrays.safetensors", "ids.npz"
_OWN: Final = "model."


def save_model(model: Recommender, folder: Path) -> Path:
    """Write `model` to `folder`, replacing a model that is there; returns the folder.

    Raises NotFittedError, and DataError where the folder holds something else.
    """
    fitted = model.fitted
    if folder.exists() and not (folder / _CONFIG).is_file() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no model: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        config = {
            "format": FORMAT,
            "model": type(model).__name__,
            "params": plain(model.params),
            "scale": list(fitted.scale),
            "mu": fitted.baseline.mu,
            "catalog": None if fitted.catalog is None else fitted.catalog.to_json(),
            "user_coding": fitted.user_coding and fitted.user_coding.to_json(),
            "item_coding": fitted.item_coding and fitted.item_coding.to_json(),
        }
        (new / _CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False), "utf-8")
        own = {_OWN + name: np.ascontiguousarray(a) for name, a in model.state().items()}
        shared: dict[str, NDArray[Any]] = {
            "baseline_items": fitted.baseline.items,
            "item_counts": fitted.item_counts,
            "user_digests": fitted.user_digests,
        }
        save_file(own | shared, new / _ARRAYS)
        np.savez_compressed(new / _IDS, users=fitted.users.values, items=fitted.items.values)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
    return folder


def load_model(folder: str | Path) -> Recommender:
    """The model in `folder`, ready to predict. Raises DataError where there is none, or a part."""
    folder = Path(folder)
    if not (folder / _CONFIG).is_file():
        raise DataError(f"there is no model in {folder}: no {_CONFIG}")
    try:
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        arrays = load_file(folder / _ARRAYS)
        with np.load(folder / _IDS, allow_pickle=False) as ids:
            users, items = Ids(ids["users"]), Ids(ids["items"])
        return _revive(config, arrays, users, items)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as trouble:
        raise DataError(
            f"the model in {folder} is damaged or of another version: {trouble}"
        ) from None


def plain(settings: Any) -> Any:
    """Hyper-parameters as JSON knows them; a model among them as its kind and all its settings."""
    match settings:
        case Recommender():
            return {"kind": kind_of(settings)} | plain(settings.params)
        case dict():
            return {key: plain(value) for key, value in settings.items()}
        case list() | tuple():
            return type(settings)(plain(value) for value in settings)
    return asdict(settings) if is_dataclass(settings) else settings  # type: ignore[arg-type]


def kind_of(model: Recommender) -> str:
    """The name in the registry from which `model` differs least.

    Among presets of one class those are nearest that have the most texts and truths in common,
    which say what a model is made of; numbers decide between equals. Raises DataError where no
    name stands for this class.
    """
    from recae.models import MODELS

    presets = {kind: make() for kind, make in MODELS.items()}
    same = {kind: preset for kind, preset in presets.items() if type(preset) is type(model)}
    if not same:
        raise DataError(f"no kind of model is a {type(model).__name__}: add it to MODELS")
    return max(same, key=lambda kind: _common(model.params, same[kind].params))


def _common(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[int, int]:
    """How many settings are equal: texts and truths, and all, those of tables included."""
    kinds = all_of_them = 0
    for name, value in ours.items():
        if name not in theirs:
            continue
        if is_dataclass(value) and not isinstance(value, Recommender):
            inner = _common(vars(value), vars(theirs[name]))
            kinds, all_of_them = kinds + inner[0], all_of_them + inner[1]
        elif value == theirs[name]:
            kinds, all_of_them = kinds + isinstance(value, str | bool), all_of_them + 1
    return kinds, all_of_them


def _coding(stored: dict[str, Any] | None) -> Coding | None:
    return None if stored is None else Coding.from_json(stored)


def _revive(
    config: dict[str, Any], arrays: dict[str, NDArray[Any]], users: Ids, items: Ids
) -> Recommender:
    if config["format"] != FORMAT:
        raise ValueError(f"format {config['format']}, and this recae reads {FORMAT}")
    catalog = config["catalog"]
    model: Recommender = _rebuilt(_classes()[config["model"]](), config["params"])
    low, high = config["scale"]
    model._fitted = Fitted(
        users,
        items,
        (low, high),
        None if catalog is None else Catalog.from_json(catalog),
        Baseline(config["mu"], arrays["baseline_items"]),
        arrays["item_counts"],
        arrays["user_digests"],
        _coding(config.get("user_coding")),
        _coding(config.get("item_coding")),
    )
    own = {k.removeprefix(_OWN): v for k, v in arrays.items() if k.startswith(_OWN)}
    model.restore(own)
    return model


def _classes() -> dict[str, type[Recommender]]:
    from recae.models import MODELS

    return {type(model).__name__: type(model) for model in (make() for make in MODELS.values())}


def _rebuilt(default: Any, params: dict[Any, Any]) -> Any:
    """An object like `default`, a dataclass, with the settings `params`; tuples come as lists."""
    names = [f.name for f in fields(default) if f.init]
    return type(default)(**{name: _revived(getattr(default, name), params[name]) for name in names})


def _revived(default: Any, value: Any) -> Any:
    """The setting that `plain` gave as `value`."""
    from recae.models import MODELS

    match value:
        case {"kind": kind, **params}:
            if isinstance(default, Settings):
                return _rebuilt(ENCODERS[kind](), value)
            return _rebuilt(MODELS[kind](), params)
        case dict():
            return _rebuilt(default, value)
        case list():
            return tuple(_revived(None, each) for each in value)
    return value
