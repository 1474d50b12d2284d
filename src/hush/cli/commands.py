"""The commands of ``hush``, as typer reads and explains them."""

from __future__ import annotations

from typing import Annotated

import typer

from hush.cli import making, using
from hush.cli.denoising import FLAG

EPILOG = "Each command explains itself: hush denoise --help. Add --debug to any for the traceback of an error."

app = typer.Typer(
    name="hush",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)
using.add_to(app)
making.add_to(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"hush {version('hush')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def hush(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar=FLAG, callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", metavar=FLAG, help="Show the traceback of an error.")] = False,
) -> None:
    """Remove noise from pictures; train, judge and export denoisers.

    \b
    hush denoise photo.jpg            writes photo-hush.jpg
    hush demo                         shows what to expect
    hush train gaussian --set data.root=PICTURES
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run_command(arguments: list[str]) -> int:
    """Do what a command line says, and return its exit code.

    Raises KeyboardInterrupt where a question of the command line is not answered.
    """
    try:
        return app(arguments, prog_name="hush", standalone_mode=False) or 0
    except typer.Abort as error:
        raise KeyboardInterrupt from error
