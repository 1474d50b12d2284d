"""Following a training in the terminal, and ending it well."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shlex import quote
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from hush.cli.console import bar, complain, duration, say, show_table

if TYPE_CHECKING:
    from hush.judging.findings import Findings
    from hush.judging.search import Search, SearchProgress
    from hush.judging.study import StudyProgress
    from hush.learning.training import Progress


Report = TypeVar("Report")


def follow(reports: Generator[Progress, None, None], name: str, folder: Path) -> None:
    """Show a training until it ends; of several processes only the first shows it.

    The first Ctrl-C ends it after a report, so that no step is cut in two, and raises KeyboardInterrupt.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from hush.learning.processes import leave_at_exit

        if os.environ.get("RANK", "0") == "0":
            show_training(reports, name, folder)
        else:
            deque(reports, maxlen=0)
        leave_at_exit(0)
    try:
        with _asked_to_stop() as asked:
            show_training(_until(asked, reports), name, folder)
    except KeyboardInterrupt:
        _explain_resuming(folder)
        raise


def follow_study(reports: Generator[StudyProgress, None, None], name: str) -> Findings:
    """Show a study until it ends, print its tables and warnings, and return what it found.

    The first Ctrl-C ends it after a report, and raises KeyboardInterrupt.
    """
    from hush.judging.report import difference_tables, result_tables

    try:
        with _asked_to_stop() as asked, bar(name, 1.0) as show:
            for report in _until(asked, reports):
                show(report.share, description=str(report))
                if report.training is None or report.training.validation:
                    say(str(report))
    except KeyboardInterrupt:
        complain("stopped. The same command goes on where it was")
        raise
    findings = report.findings
    assert findings is not None  # of the last report
    for table in result_tables(findings):
        show_table(table.headers, table.rows, title=table.title)
    for table in difference_tables(findings):
        show_table(table.headers, table.rows, title=table.title, left=(0, 1))
    for warning in findings.warnings:
        complain(f"WARNING: {warning}")
    return findings


def follow_search(reports: Generator[SearchProgress, None, None], search: Search, folder: Path) -> None:
    """Show a search until it ends, write its report and print its trials.

    The first Ctrl-C ends it after a report, and raises KeyboardInterrupt.
    """
    from hush.judging.trials import save_trials, trial_table

    report, noted = None, ""
    try:
        with _asked_to_stop() as asked, bar(search.name, 1.0) as show:
            for report in _until(asked, reports):
                show(report.share, description=str(report))
                if report.note != noted and report.note:
                    complain(noted := report.note)
                if report.trial is not None and not report.trials:
                    say(str(report))
    except KeyboardInterrupt:
        complain("stopped. The same command goes on where it was")
        raise
    if report is not None and report.trials:
        table = trial_table(search, report.trials)
        show_table(table.headers, table.rows, title=table.title)
        page = save_trials(search, report.trials, folder, note=report.note)
        if report.trial is not None and report.trial.warning:
            complain(f"WARNING: the best trial: {report.trial.warning}")
        say(f"Report: {page}; the best: hush train {folder / 'best.json'}")


def show_training(reports: Iterable[Progress], name: str, folder: Path) -> None:
    """Show a training as a bar, and a line for each validation; warn if it ends worse than its input."""
    judged: dict[str, float] = {}
    with bar(name, 1.0) as show:
        for report in reports:
            show(report.share, description=training_line(report))
            for note in report.notes:
                complain(note)
            if report.validation:
                judged = report.validation
                say(training_line(report))
    from hush.learning.methods import result_of
    from hush.learning.runs import is_run, read_run_recipe
    from hush.learning.validation import falls_short

    if falls_short(judged):
        complain(
            f"WARNING: restored pictures ({judged['psnr']:.2f} dB) are further from the clean ones than the noisy "
            f"pictures were ({judged['psnr_input']:.2f} dB). Train longer, or look at {folder / 'curves.png'}"
        )
    result = result_of(read_run_recipe(folder).method) if is_run(folder) else "best"
    weights = folder / f"{result}.onnx"
    used = f" Use it: hush denoise PICTURE --weights {quote(str(weights))}"
    say(f"Run directory: {folder}.{used if weights.exists() else ''}")


def training_line(report: Progress) -> str:
    """Return a report of a training as one line."""
    speeds = [f"{report.images_per_second:.1f} images/s", f"{report.megapixels_per_second:.2f} MP/s"]
    return "  ".join([str(report), *speeds, f"waiting {report.waiting:.1%}", f"{duration(report.remaining)} left"])


@contextmanager
def _asked_to_stop() -> Iterator[Event]:
    """Turn the first Ctrl-C into an event; the second one interrupts."""
    asked = Event()

    def ask(number: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        complain("stopping at the next report, within seconds; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _until(asked: Event, reports: Generator[Report, None, None]) -> Iterator[Report]:
    """Pass reports on; once asked to stop, close what makes them and interrupt."""
    with closing(reports):
        for report in reports:
            yield report
            if asked.is_set():
                raise KeyboardInterrupt


def _explain_resuming(folder: Path) -> None:
    if (folder / "checkpoint.safetensors").exists():
        recipe, out = quote(str(folder / "recipe.json")), quote(str(folder))
        complain(f"stopped. Go on with: hush train {recipe} --out {out} --resume")
    else:
        complain(f"stopped before the first checkpoint; {folder} holds nothing to resume and may be deleted")
