"""Which pictures are restored, where each result goes, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hush.errors import MissingExtra, PictureError, UsageError
from hush.restoring.options import DenoiseOptions


@dataclass(frozen=True)
class FileResult:
    """A picture that was restored."""

    source: Path
    target: Path
    sigma: float | None
    """The noise level that was told or found, on the 8-bit scale; None where none was needed."""
    seconds: float
    """Reading, restoring and writing."""
    megapixels: float
    size: tuple[int, int] = field(default=(0, 0), compare=False)
    """Width and height of its first page."""
    pages: int = field(default=1, compare=False)
    psnr: float | None = field(default=None, compare=False)
    """PSNR of the noisy picture in dB, if what was removed is all its noise; None if nothing was."""
    remarks: tuple[str, ...] = field(default=(), compare=False)
    """What is worth a word of the options: where they keep more or less than they seem to."""
    weights: str | None = field(default=None, compare=False)
    """What restored it, by name, such as ``gaussian``; of pages that differ in it all of them, joined by a comma."""


@dataclass(frozen=True)
class FileFailure:
    """A picture that could not be restored."""

    source: Path
    error: Exception
    """Its text says what came, what is allowed and what to do."""


@dataclass(frozen=True)
class FileSkipped:
    """A picture that was left out, since its result exists."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Job:
    """A picture to restore, and where the result goes."""

    source: Path
    target: Path
    skipped: bool = False
    """Its result exists, and options say that it is then left out."""
    problem: str = ""
    """Why it will fail, as far as that is known before it is read."""
    make_folder: bool = False
    """Whether the target's folder is made if it is missing."""


def plan_files(
    inputs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    options: DenoiseOptions | None = None,
    *,
    recursive: bool = False,
) -> list[Job]:
    """Return what `denoise_files` would do, without reading a picture or making a folder.

    Raises UsageError for an output that does not fit, and PictureError if there is no picture, or no mask.
    """
    from hush.imaging.files import check_present
    from hush.imaging.finding import find_pictures, output_path, searched

    options = options or DenoiseOptions()
    inputs = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    if isinstance(options.mask, str | Path):
        check_present(Path(options.mask))
    if out is not None and not os.fspath(out):
        raise UsageError("an empty name as the output; name a file, or a folder such as .")
    sources = find_pictures(inputs, recursive=recursive, out=out)
    folder = out is not None and _is_folder(out, inputs, len(sources))
    bases = dict.fromkeys(searched(inputs, recursive=recursive) if folder else ())
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    others = {_real(source): source for source in sources}
    for source in sources:
        base = next((base for base in reversed(source.parents) if base in bases), None)
        target = output_path(source, out, out_is_folder=folder, base=base)
        job = _job(source, target, options, taken, make_folder=folder)
        if not (job.skipped or job.problem) and others.get(_real(target), source) != source:
            problem = f"{source}: {target} is one of the pictures that are to be restored; use another folder"
            job = replace(job, problem=problem)
        jobs.append(job)
        taken.setdefault(_place(target), source)
    return jobs


def _job(
    source: Path, target: Path, options: DenoiseOptions, taken: dict[Path, Path], *, make_folder: bool = False
) -> Job:
    skipped = options.skip_existing and _place(target) not in taken and os.path.isfile(target)
    problem = "" if skipped else _problem(source, target, options, taken, make_folder=make_folder)
    return Job(source, target, skipped, problem, make_folder)


def _problem(source: Path, target: Path, options: DenoiseOptions, taken: dict[Path, Path], *, make_folder: bool) -> str:
    """Return why a picture will fail, as far as names tell; else nothing."""
    from hush.imaging.files import check_names

    if _place(target) in taken:
        return f"{source}: {taken[_place(target)]} goes to {target} already; use another folder for each"
    try:
        check_names(source, target, make_folder=make_folder)
    except (PictureError, MissingExtra) as error:
        return str(error)
    if target.exists() and not options.overwrite:
        return f"{target}: {in_the_way(source, target)}"
    return ""


def _real(path: Path) -> Path:
    """Return a file by one name, whatever links lead to it."""
    return Path(os.path.realpath(path))


def _place(target: Path) -> Path:
    """Return a target by one name, however it is written."""
    return Path(os.path.abspath(target))


def in_the_way(source: Path, target: Path) -> str:
    """Say that a target exists, and what to do."""
    if source.exists() and target.samefile(source):
        return "that is the picture itself; name another file, or add --overwrite to replace the original for good"
    return "exists already; add --overwrite (in Python overwrite=True) to replace it, or --skip-existing to leave it"


def _is_folder(out: str | Path, inputs: list[str | Path], count: int) -> bool:
    """Say whether an output is meant as a folder."""
    from hush.imaging.finding import is_picture

    path = Path(out)
    many = count > 1 or any(Path(source).is_dir() for source in inputs)
    if many and path.is_file():
        raise UsageError(f"{out}: a file, but there are {count} pictures; give a folder")
    if many and is_picture(path) and not path.is_dir():
        raise UsageError(f"{out}: the name of a picture, but there are {count} pictures; give a folder")
    return many or path.is_dir() or os.fspath(out).endswith(("/", os.sep))
