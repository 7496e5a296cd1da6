"""Settings by name, those inside settings too: `training__steps`, as scikit-learn writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any


def settings_of(owner: Any, *, deep: bool) -> dict[str, Any]:
    """What a dataclass, such as a model, was made with, by name; `deep`: also of what is in it."""
    own = {f.name: getattr(owner, f.name) for f in fields(owner) if f.init}
    if not deep:
        return own
    within = {
        f"{name}__{inner}": value
        for name, setting in own.items()
        if is_dataclass(setting)
        for inner, value in settings_of(setting, deep=True).items()
    }
    return own | within


def with_settings(owner: Any, changes: Mapping[str, Any]) -> Any:
    """A new one with other settings, checked as when it is made. Raises ValueError for a name that
    there is not, and for what does not go together."""
    own = settings_of(owner, deep=False)
    changed: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        first, _, rest = name.partition("__")
        if first not in own:
            raise ValueError(f"there is no setting {first!r}: {', '.join(own)}")
        if rest:
            inner.setdefault(first, {})[rest] = value
        else:
            changed[first] = value
    for name, some in inner.items():
        setting = changed.get(name, own[name])
        if not is_dataclass(setting):
            raise ValueError(f"{name} is {setting!r} and has no settings of its own: set it whole")
        changed[name] = with_settings(setting, some)
    return replace(owner, **changed)
