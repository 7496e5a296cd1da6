"""Tracked runs themselves: listed, deleted, registered, delivered."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from recae.cli.shared import Json, print_json, terminal
from recae.errors import RecaeError


def track_list(
    experiment: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    as_json: Json = False,
) -> None:
    """Tracked runs, the newest sweep first."""
    from dataclasses import asdict

    from recae.console import show_runs
    from recae.tracking import Store, listed, waiting

    runs = listed(Store(), experiment)
    if as_json:
        print_json([asdict(run) | {"started": run.started.isoformat()} for run in runs])
        return
    show_runs(terminal(), runs)
    if count := waiting(Store()).total():
        print(f"waiting in {Store().outbox.name}: {count} (recae track sync)", file=sys.stderr)


def track_delete(
    runs: Annotated[
        list[str], typer.Argument(help="Ids or names; a name stands for the newest run of it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete runs, their models, and the runs below them. `mlflow gc` then removes the files."""
    from recae.console import show_runs
    from recae.tracking import Store, delete, to_delete

    store = Store()
    chosen = to_delete(store, runs)
    if not yes:
        show_runs(terminal(), chosen)
        typer.confirm(f"Delete them from {store.name}?", abort=True)
    delete(store, chosen)
    print(f"deleted: {len(chosen)}; `mlflow gc` removes their files")


def track_register(
    run: Annotated[str, typer.Argument(help="A finished run: its id or name.")],
    name: Annotated[str, typer.Option(help="Of the registered model, new or known.")],
    alias: Annotated[
        str | None, typer.Option(help="That then points to this version, like champion.")
    ] = None,
) -> None:
    """Make the model of a run a version of a registered model."""
    from recae.tracking import Store, register

    version = register(Store(), run, name, alias)
    print(f"models:/{name}/{version}")
    if alias is not None:
        print(f"models:/{name}@{alias}")


def track_sync(
    here: Annotated[
        bool, typer.Option("--here", help="Also what was meant for another store.")
    ] = False,
) -> None:
    """Deliver the runs that the tracking store could not take when they were made."""
    from recae.tracking import Store, deliver, waiting

    store = Store()
    for run in deliver(store, here=here):
        lacked = f"{run.metrics} values, {run.files} files"
        print(f"{run.name}: {run.status.lower()}, {lacked}, now run {run.run_id}")
    left = waiting(store)
    goes_on = left.pop(store.name, 0)
    of = "runs of sweeps that go on" if goes_on else "nothing"
    print(f"{goes_on or ''} {of} waiting for {store.name}".strip())
    if left:
        raise RecaeError(
            f"other runs in {store.outbox.name} were meant for {', '.join(left)}: set "
            "MLFLOW_TRACKING_URI to it, or give --here"
        )
