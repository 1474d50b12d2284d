"""The command ``hush``: a thin front door; the work is done by the library.

Nothing heavy is imported before a command runs, so that help and shell completion come at once.
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hush.errors import HushError

ADVICE = {
    errno.ENOSPC: "Free some space, or write elsewhere",
    errno.EROFS: "The disk is read-only; write elsewhere",
    errno.EACCES: "There is no permission; write elsewhere, or change it",
    errno.ENOTDIR: "A part of the path is a file, not a folder",
    errno.ENOENT: "Check the path",
}
INTERRUPTED, TERMINATED = 130, 143  # what shells give a program that Ctrl-C or kill ended


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started it, as some services do
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115  # for as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops no work
    if sys.argv[1:2] in (["denoise"], ["estimate"]):
        for name in ("SIGTERM", "SIGHUP"):  # which Windows does not have: what is half written is cleared away
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: sys.exit(TERMINATED))
    gc.set_threshold(100_000)  # what is imported stays; looking through it again and again takes 15 ms
    sys.path.append(os.getcwd())  # parts named module:attribute may lie in this folder; it hides no installed module
    code = run(sys.argv[1:])
    if sys.argv[1:2] == ["denoise"]:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End the process as the interpreter does, but for freeing memory, which takes a network 30 ms."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: there is nothing left to stop
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code: 0, 1 for failed work, 2 for wrong usage, 130 for Ctrl-C.

    An error is one line on stderr, unless ``--debug`` is among the arguments, which raises it.
    """
    debug = "--debug" in arguments
    try:
        return _run([a for a in arguments if a != "--debug"])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"hush: {_one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def _run(arguments: list[str]) -> int:
    """Do what a command line says: if it is an everyday one without waiting for typer, which reads all others."""
    from hush.cli.quick import read_line

    request = read_line(arguments)
    if request is None:
        from hush.cli.commands import run_command

        return run_command(arguments)
    from hush.cli.pictures import restore

    return restore(request)


def _own_place(error: BaseException) -> str:
    """Return file and line of the user's own code that an error came through last; empty if it met none."""
    import sysconfig  # here, since an unforeseen error is rare and start-up counts
    import traceback

    ours = [Path(__file__).parents[1], *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))]
    frames = traceback.extract_tb(error.__traceback__)
    ours.append(Path(sys.argv[0]))  # the script that started this
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(place) for place in ours):
            return f"{path}, line {frame.lineno}"
    return ""


def _one_line(error: Exception) -> str:
    """Return what an error says: of hush, of the command line, or unforeseen."""
    if isinstance(error, HushError):
        text = str(error)
    elif hasattr(error, "format_message"):  # typer's own, which has no public base class
        command = getattr(getattr(error, "ctx", None), "command_path", "hush")
        text = f"{error.format_message().rstrip('.')}. Try: {command} --help"
    elif isinstance(error, OSError):
        what = error.filename or "the output"
        text = f"{what}: {error.strerror or error}. " + ADVICE.get(error.errno or 0, "Run it with --debug to see where")
    else:
        place = _own_place(error)
        where = f"in {place}" if place else "Run it with --debug to see where, and report it"
        text = f"{type(error).__name__}: {error}{' ' if place else '. '}{where}"
    return " ".join(text.split())
