"""The command ``hush``: a thin front door; the work is done by the library.

Nothing heavy is imported before a command runs, so that help and shell completion come at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from hush.cli import making, using
from hush.errors import HushError

EPILOG = "Each command explains itself: hush denoise --help. Add --debug to any for the traceback of an error."
INTERRUPTED = 130  # what shells give a program that Ctrl-C ended

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
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Remove noise from pictures; train, judge and export denoisers.

    \b
    hush denoise photo.jpg            writes photo-hush.jpg
    hush demo                         shows what to expect
    hush train gaussian --set data.root=PICTURES
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    sys.path.append(os.getcwd())  # parts named module:attribute may lie in this folder; it hides no installed module
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code: 0, 1 for failed work, 2 for wrong usage, 130 for Ctrl-C.

    An error is one line on stderr, unless ``--debug`` is among the arguments, which raises it.
    """
    debug = "--debug" in arguments
    try:
        return app([a for a in arguments if a != "--debug"], prog_name="hush", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"hush: {_one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def _one_line(error: Exception) -> str:
    """Return what an error says: of hush, of the command line, or unforeseen."""
    if isinstance(error, HushError):
        text = str(error)
    elif hasattr(error, "format_message"):  # typer's own, which has no public base class
        command = getattr(getattr(error, "ctx", None), "command_path", "hush")
        text = f"{error.format_message().rstrip('.')}. Try: {command} --help"
    else:
        text = f"{type(error).__name__}: {error}. Run it with --debug to see where, and report it"
    return " ".join(text.split())
