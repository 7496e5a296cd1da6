"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Final, NoReturn

import typer

from recae.cli.asking import ask
from recae.cli.comparing import compare, leaderboard, ui
from recae.cli.data import data_fetch, data_info, data_list
from recae.cli.judging import evaluate, leak
from recae.cli.serving import serve
from recae.cli.similar import similar
from recae.cli.tracked import track_delete, track_list, track_register, track_sync
from recae.cli.training import train, tune
from recae.cli.updating import update
from recae.cli.using import anomalies, export, plot_latent, recommend
from recae.errors import RecaeError

app = typer.Typer(
    help="Rating autoencoders: train on rating matrices, recommend, compare tracked experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    train,
    update,
    evaluate,
    leak,
    tune,
    recommend,
    similar,
    serve,
    export,
    ask,
    anomalies,
    compare,
    leaderboard,
    ui,
)
_GROUPS: Final[dict[str, tuple[str, dict[str, Callable[..., None]]]]] = {
    "data": (
        "Rating tables: what is there, what is wrong with it.",
        {"list": data_list, "fetch": data_fetch, "info": data_info},
    ),
    "track": (
        "Tracked runs: list, delete, register, deliver what waits.",
        {
            "list": track_list,
            "delete": track_delete,
            "register": track_register,
            "sync": track_sync,
        },
    ),
    "plot": ("Pictures of models.", {"latent": plot_latent}),
}

for _command in _COMMANDS:
    app.command()(_command)
for _name, (_help, _verbs) in _GROUPS.items():
    _group = typer.Typer(help=_help, no_args_is_help=True)
    for _verb, _command in _verbs.items():
        _group.command(_verb)(_command)
    app.add_typer(_group, name=_name)


def main() -> NoReturn:
    """The entry point: mistakes end with one sentence and exit code 2."""
    try:
        app(prog_name="recae")
    except RecaeError as mistake:
        print(f"recae: {mistake}", file=sys.stderr)
        sys.exit(2)
    except OSError as trouble:
        # A full disk, a folder that may not be written: nothing that a traceback would explain.
        where = f"{trouble.filename}: " if trouble.filename else ""
        print(f"recae: {where}{trouble.strerror or trouble}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from recae import __version__

        print(__version__)
        raise typer.Exit
