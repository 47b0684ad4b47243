"""The command itself: its options, its commands in the order in which help shows them, and its errors."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from syft_fl import __version__
from syft_fl.cli.figures import plot
from syft_fl.cli.overviews import check, codecs, scenarios
from syft_fl.cli.recorded import retime, trace
from syft_fl.cli.running import compare, run, sweep
from syft_fl.errors import SyftFLError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="After how many seconds on the air is a federated model how accurate, "
    "for this way of compressing and sending it?",
)

for command in (run, compare, retime, sweep, plot, trace, check, scenarios, codecs):
    app.command()(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"syft-fl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Options of the command itself."""


def main(arguments: list[str] | None = None) -> None:
    """The ``syft-fl`` command: an error of ours is one message, never a traceback.

    Args:
        arguments: of the command line; None: the process's own.
    """
    warnings.showwarning = _show_warning
    try:
        app(arguments)
    except SyftFLError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"warning: {message}", err=True)
