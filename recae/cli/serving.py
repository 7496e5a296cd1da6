"""Recommendations on a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recae.cli.shared import ModelRef, is_path

if TYPE_CHECKING:
    from recae.serve import Source


def serve(
    model: ModelRef,
    other: Annotated[
        str | None, typer.Argument(metavar="MODEL2", help="A second one, to compare with.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="The address that is served.")] = "127.0.0.1",
    threads: Annotated[int, typer.Option(min=1, help="Requests that are computed at once.")] = 1,
) -> None:
    """A page and an API on a model, which takes new versions as they come."""
    from recae import serve

    sources = [_source(each) for each in (model, other) if each is not None]
    serve.serve(sources, host=host, port=port, threads=threads)


def _source(model: str) -> Source:
    from recae.serve import Folder, Tracked

    if is_path(model):
        return Folder(Path(model))
    from recae.tracking import Store

    return Tracked(Store(), model)
