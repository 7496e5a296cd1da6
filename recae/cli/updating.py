"""Going on learning with a model that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recae.cli.shared import (
    Columns,
    Duplicates,
    ModelRef,
    Source,
    named_model,
    read_ratings,
    terminal,
)
from recae.errors import RecaeError

if TYPE_CHECKING:
    from recae.models import Fitted


def update(
    model: ModelRef,
    save: Annotated[Path, typer.Option(help="The folder that the updated model is saved to.")],
    data: Source = None,
    columns: Columns = None,
    duplicates: Duplicates = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Steps, as a share of those of a fit; 0: encode what is new, train nothing.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random in training.")] = 0,
) -> None:
    """Go on training a model with the ratings as they are now, old and new together."""
    import numpy as np

    from recae.models.updating import SHARE

    if save.exists() and not save.is_dir():
        raise RecaeError(f"--save takes a folder, and {save} is a file")
    going_on = named_model(model)
    before = going_on.fitted
    ratings = read_ratings(model, going_on, data, columns, duplicates)
    going_on.update(
        ratings, share=SHARE if share is None else share, rng=np.random.default_rng(seed)
    )
    going_on.save(save)
    terminal().print(f"{save}: {_told(going_on.fitted, before)}, of {len(ratings):,} ratings")


def _told(now: Fitted, before: Fitted) -> str:
    """Like "671 users (3 new), 9,066 items (12 new, 1 gone)"."""
    parts = []
    for what, ids, were in (
        ("users", now.users, before.users),
        ("items", now.items, before.items),
    ):
        new = int((were.find(ids.values) < 0).sum())
        gone = int((ids.find(were.values) < 0).sum())
        changes = [f"{new:,} new"] * (new > 0) + [f"{gone:,} gone"] * (gone > 0)
        parts.append(f"{len(ids):,} {what}" + (f" ({', '.join(changes)})" if changes else ""))
    return ", ".join(parts)
