"""What ``hush denoise`` does: restore pictures one after the other, and tell what came of them."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hush.cli.console import bar, complain, duration, say, say_json, trace
from hush.cli.quick import PIPE
from hush.errors import UsageError, WeightsError
from hush.restoring.options import DenoiseOptions
from hush.restoring.planning import FileFailure, FileResult, FileSkipped, Job
from hush.restoring.tiers import choose_weights

FAILED = 1  # the exit code where pictures failed
NOTHING = 0.05  # noise levels below it are shown as 0.0


@dataclass(frozen=True)
class Request:
    """What a command line of ``hush denoise`` asks for."""

    inputs: list[str]
    out: str | None
    options: DenoiseOptions
    recursive: bool = False
    dry_run: bool = False
    as_json: bool = False
    silent: bool = False
    """Whether results are not told, since stdout is for the picture."""
    hidden: Mapping[str, str] = field(default_factory=dict)
    """Paths that nobody needs to know of, and what stands for them."""

    def bare(self, value: object) -> str:
        """Return a path or message as it is told."""
        text = str(value)
        for path, word in self.hidden.items():
            text = text.replace(path, word)
        return text


def restore(request: Request) -> int:
    """Do what a command line asks for, and return the exit code: 1 if pictures failed."""
    if request.dry_run:
        return _tell_plan(request)
    if PIPE in (*request.inputs, request.out):
        return _restore_piped(request)
    return _restore_files(request)


def _restore_files(request: Request) -> int:
    """Restore pictures, tell of each when it is done, and at the end what else is worth a word."""
    from hush.restoring.denoising import denoise_files

    total, left_out = _count(request)
    results: list[FileResult | FileFailure | FileSkipped] = []
    with bar("denoising", total) as show:

        def show_tiles(tile: int, tiles: int) -> None:
            show(len(results) + tile / tiles)

        options, recursive = request.options, request.recursive
        try:
            with closing(
                denoise_files(request.inputs, request.out, options, recursive=recursive, progress=show_tiles)
            ) as coming:
                for result in coming:
                    results.append(result)
                    show(len(results), description=f"{len(results)} of {total}")
                    _tell(result, request)
        except KeyboardInterrupt:
            complain(_stopped(len(results), total))
            raise
    for remark in _remarks([result for result in results if isinstance(result, FileResult)], request):
        complain(remark)
    _tell_left_out(left_out)
    _tell_unread(request)
    failures = [result for result in results if isinstance(result, FileFailure)]
    for failure in failures:
        trace(failure.error)
    code = _complain_of([request.bare(failure.error) for failure in failures], total)
    return _tell_nothing(request) or code


def _restore_piped(request: Request) -> int:
    """Restore one picture of which stdin, stdout or both stand for a file."""
    import tempfile

    from hush.imaging.finding import written

    _check_pipe(request)
    if request.inputs[0] != PIPE:
        request = replace(request, inputs=[_the_one(request)])
    with tempfile.TemporaryDirectory(prefix="hush-") as folder, stdin_as_file(request.inputs) as (inputs, hidden):
        to_stdout = request.out is None or request.out == PIPE
        place = Path(folder, written(Path(f"restored{Path(inputs[0]).suffix}")))
        target = place if to_stdout else Path(str(request.out))
        hidden[folder + os.sep] = ""
        code = _restore_files(replace(request, inputs=inputs, out=str(target), silent=to_stdout, hidden=hidden))
        if to_stdout and not code:
            with target.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    return code


@contextmanager
def stdin_as_file(names: list[str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Give a picture that comes on stdin a file for as long as it is needed.

    Yields the names with the path of that file in place of -, and that path with what stands for it in messages; or the
    names as they are and nothing. Raises UsageError where - stands beside other names.
    """
    import tempfile

    from hush.imaging.finding import named_by_content

    if PIPE not in names:
        yield names, {}
        return
    if len(names) > 1:
        raise UsageError("- (stdin) takes one picture; name files and a folder for more")
    with tempfile.TemporaryDirectory(prefix="hush-") as folder:
        place = Path(folder, PIPE)
        with place.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        path = str(named_by_content(place))
        yield [path], {path: PIPE}


def _the_one(request: Request) -> str:
    """Return the one picture that a name or a pattern stands for."""
    from hush.imaging.finding import find_pictures

    found = find_pictures(request.inputs)
    if len(found) > 1:
        raise UsageError(f"{request.inputs[0]}: {len(found)} pictures, but - takes one; name it")
    return str(found[0])


def _check_pipe(request: Request) -> None:
    """Raise UsageError where - stands beside other inputs, or a picture without a name is to go into a folder."""
    if len(request.inputs) > 1 or os.path.isdir(request.inputs[0]):
        raise UsageError("- (stdin or stdout) takes one picture; name files and a folder for more")
    if request.out and (os.path.isdir(request.out) or request.out.endswith(("/", os.sep))):
        raise UsageError(f"{request.out}: a folder, but the picture from stdin has no name; name a file in it")


def _tell(result: FileResult | FileFailure | FileSkipped, request: Request) -> None:
    """Tell of a picture; in words failures are told at the end."""
    source = request.bare(result.source)
    if request.as_json:
        told = {"error": request.bare(result.error)} if isinstance(result, FileFailure) else vars(result)
        skipped = {"skipped": True} if isinstance(result, FileSkipped) else {}
        target = {"target": PIPE} if request.silent and isinstance(result, FileResult) else {}
        line = {"source": source, **{k: v for k, v in told.items() if k != "source"}, **target, **skipped}
        say_json(line, stream=sys.stderr if request.silent else None)
    elif request.silent:
        return
    elif isinstance(result, FileSkipped):
        say(f"{source}: {result.target} exists, skipped")
    elif isinstance(result, FileResult):
        from hush.restoring.weights import WEIGHTS

        level = "" if result.sigma is None else f"sigma {result.sigma:.1f}, "
        pages = "" if result.pages == 1 else f"{result.pages} pages, "
        shipped = result.weights and WEIGHTS.keys() >= set(result.weights.split(", "))  # paths would be long
        chosen = f"{result.weights}, " if shipped else ""
        size = f"{chosen}{level}{pages}{result.megapixels:.2f} MP, {duration(result.seconds)}"
        say(f"{source} -> {result.target}  ({size})")


def _count(request: Request) -> tuple[int, int]:
    """Return how many pictures there are to restore, and how many results of an earlier run are left out."""
    from hush.imaging.finding import find_pictures

    count, all_of_them = (
        len(find_pictures(request.inputs, recursive=request.recursive, results=results, out=request.out))
        for results in (False, True)
    )
    return count, all_of_them - count


def _tell_left_out(count: int) -> None:
    if count:
        these = "1 picture, the result" if count == 1 else f"{count} pictures, the results"
        why = "-hush in the name, or in the output folder"
        complain(f"left out {these} of an earlier run ({why}); name such a file explicitly to restore it again")


def _tell_nothing(request: Request) -> int:
    """Say which inputs name no picture, and return the exit code."""
    from hush.imaging.finding import find_nothing

    missing = find_nothing(request.inputs, recursive=request.recursive)
    for name in missing:
        complain(f"{request.bare(name)}: no pictures found")
    return FAILED if missing else 0


def _tell_unread(request: Request) -> None:
    from hush.imaging.finding import find_unread

    if unread := find_unread(request.inputs, recursive=request.recursive):
        kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
        count = "1 picture" if len(unread) == 1 else f"{len(unread)} pictures"
        complain(f"left out {count} ({kinds}) of formats that hush does not read; convert them to PNG or TIFF")


def _remarks(results: Sequence[FileResult], request: Request) -> list[str]:
    """Return what is worth a word of the weights, of the noise that was told or found, and of the options."""
    word = choose_weights(str(request.options.weights), request.options.quality).word
    remarks = [word] if word else []
    levels = [result.sigma for result in results if result.sigma is not None]
    clean = sum(level < NOTHING for level in levels)
    if clean and request.options.sigma is None:
        where = (
            "no noise was found" if len(results) == 1 else f"in {clean} of {len(results)} pictures no noise was found"
        )
        remarks.append(f"{where}, so nothing was changed; --sigma 10 denoises anyway")
    remarks += dict.fromkeys(remark for result in results for remark in result.remarks)
    told = [(name, result.sigma) for result in results if result.sigma for name in (result.weights or "").split(", ")]
    for weights in dict.fromkeys(name for name, _ in told if name):
        level = max(sigma for name, sigma in told if name == weights)
        largest = _largest_sigma(weights)
        if largest is not None and level > largest:
            remarks.append(
                f"sigma {level:.3g}: the weights {weights!r} were trained up to {largest:g}; check the result carefully"
            )
    return remarks


def _largest_sigma(weights: str | Path) -> float | None:
    """Return the highest noise level that weights saw in their training; None where that is not known."""
    from hush.restoring.weights import open_weights

    try:
        return open_weights(weights).card.largest_sigma
    except WeightsError:  # a classical method, bare arrays
        return None


def _stopped(done: int, total: int) -> str:
    if total == 1:
        return "stopped; nothing was written"
    told = f"stopped: at least {done} of {total} pictures are done"  # those at work are finished too
    return f"{told}; the same command with --skip-existing (in place of --overwrite) does the others"


def _complain_of(problems: Sequence[str], total: int, failed: str = "failed") -> int:
    """Say what went wrong, once where it is the same for several pictures, and return the exit code."""
    if problems and total > 1:
        complain(f"{len(problems)} of {total} pictures {failed}:")
    for problem, count in Counter(problems).items():
        complain(problem if count == 1 else f"{problem} (all {count})")
    return FAILED if problems else 0


def _tell_plan(request: Request) -> int:
    """Say what would be written, and return the exit code."""
    from hush.restoring.denoising import plan_files
    from hush.restoring.planning import in_the_way

    if PIPE in (*request.inputs, request.out):
        _check_pipe(request)
        source, target = request.inputs[0], request.out or PIPE
        if target != PIPE and os.path.exists(target) and not request.options.overwrite:
            return _complain_of([f"{target}: {in_the_way(Path(source), Path(target))}"], 1, "would fail")
        say_json({"source": source, "target": target}) if request.as_json else say(f"{source} -> {target}")
        return 0  # of what comes through a pipe nothing is known beforehand
    _, left_out = _count(request)
    jobs = plan_files(request.inputs, request.out, request.options, recursive=request.recursive)
    for job in jobs:
        if request.as_json:
            say_json(_planned(job))
        elif not job.problem:
            say(f"{job.source}: {job.target} exists, skipped" if job.skipped else f"{job.source} -> {job.target}")
    _tell_left_out(left_out)
    return _complain_of([job.problem for job in jobs if job.problem], len(jobs), "would fail")


def _planned(job: Job) -> dict[str, Any]:
    if job.problem:
        return {"source": job.source, "error": job.problem}
    return {"source": job.source, "target": job.target, **({"skipped": True} if job.skipped else {})}
