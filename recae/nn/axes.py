"""What the axes of a parameter count, where it has a place for every row or column.

A module names them in `axes`; without that its weights could not be carried over to other rows and
columns (`recae.nn.carrying`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Axis: TypeAlias = Literal["rows", "columns", "row_side", "column_side", "levels"]
"""Rows, columns, columns of the side data of either, levels of stars."""
Axes: TypeAlias = Mapping[str, tuple[Axis | None, ...]]
"""Of each parameter by name; None for an axis that is as long in any network."""
