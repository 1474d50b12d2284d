"""What commands share in showing their work: tables, progress bars, numbers."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - set(map(ord, "\t\n")), "?")  # C0, DEL and C1


def out() -> Console:
    """Return what results are shown on."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """Print a line of a result."""
    print(plain(text), flush=True)


def plain(text: str) -> str:
    """Return text without control characters, which names of files may have and terminals obey."""
    return text.translate(CONTROLS)


def complain(text: str) -> None:
    """Print a line that is no result, on stderr."""
    print(f"hush: {plain(' '.join(text.split()))}", file=sys.stderr, flush=True)


def trace(error: Exception) -> None:
    """Show where an error came from, if ``--debug`` asks for that."""
    if "--debug" in sys.argv:
        traceback.print_exception(error)


def say_json(value: Any, *, indent: int | None = None, stream: TextIO | None = None) -> None:
    """Print a value for programs, on stdout unless said otherwise; paths become text."""
    import json

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:  # names that are no text, or that the terminal cannot show
        text = json.dumps(value, indent=indent, default=_plain)
    if stream is None:
        say(text)
    else:
        print(text, file=stream, flush=True)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value.item()


def show_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", left: Sequence[int] = (0,)
) -> None:
    """Print a table; columns are set to the right but for those in ``left``."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for number, header in enumerate(headers):
        if number in left:
            table.add_column(escape(header), justify="left", overflow="fold", min_width=10)
        else:
            table.add_column(escape(header), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = out()
    console.soft_wrap = False
    if not console.is_terminal:
        console.width = 240  # nobody folds what goes into a file
    console.print(table)


@contextmanager
def bar(description: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Show a progress bar on stderr while the work runs, if stderr is a terminal.

    Yields a function that is called with ``done``, and if they changed ``total`` and ``description``.
    """
    if not sys.stderr.isatty():
        yield lambda done, total=None, description=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total)

        def show(done: float, total: float | None = None, description: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=description)

        yield show


def duration(seconds: float) -> str:
    """Return a duration as ``4.2 s``, ``3:05`` or ``1:02:03``; a dash where it is not known."""
    if not seconds < float("inf"):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float | None, decimals: int) -> str:
    """Return a number with so many decimals; a dash for None."""
    return "–" if value is None else f"{value:.{decimals}f}"
