"""Denoise arrays and files: the one path that the library, the command and the web page share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError, MissingExtra, PictureError, UsageError
from hush.imaging.windows import Layout, read_layout
from hush.restoring.memory import allowed, resident
from hush.restoring.options import DenoiseOptions
from hush.restoring.restorers import Restorer, TellProgress, open_restorer
from hush.restoring.working import Outcome, restore_array, restore_windows, scene_of

if TYPE_CHECKING:
    from hush.imaging.files import Picture
    from hush.imaging.tiles import Tile

__all__ = [
    "DenoiseOptions",
    "FileFailure",
    "FileResult",
    "FileSkipped",
    "Job",
    "Restorer",
    "denoise",
    "denoise_file",
    "denoise_files",
    "open_restorer",
    "plan_files",
]

ENCODING = 4  # times the bytes of the pixels: what encoders hold of a noisy picture, at most
WHOLE = ENCODING + 2  # the same for reading, restoring and writing a file as a whole
SMALLEST_WORK = 128 * 2**20  # bytes; small tiles of the shipped weights


def denoise(
    image: NDArray[Any],
    sigma: float | None = None,
    strength: float = 1.0,
    weights: str | Path = "gaussian",
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    threads: int | None = None,
    keep_detail: float = 0.0,
    only: str = "all",
    mask: NDArray[Any] | None = None,
    range: str | tuple[float, float] = "full",
    max_memory: int | None = None,
) -> NDArray[Any]:
    """Remove noise from a picture.

    Args:
        image: (H, W) or (H, W, C) with 1 or 3 channels, or 2 or 4 with alpha, which stays as it is; bool, uint8,
            uint16 or float. Full scale is 255, 65535 or 1.0; floats beyond it are not clipped.
        sigma: deviation of the noise on the 8-bit scale (0 to 255), whatever the type; None estimates it.
        strength: 0 returns the input bit for bit, 1 is the restored picture, between them they are blended.
        weights: a name, an .onnx file, NETWORK@FILE, identity, or classical:nlm|tv|wavelet|median|bm3d.
        runtime: auto, openvino, onnx or torch.
        device: auto, cpu, cuda or mps.
        precision: auto, fast or exact; see `hush.restoring.runtimes.open_runtime`.
        tile: largest side in pixels of the tiles that large pictures are cut into.
        threads: of the processor.
        keep_detail: how much of the fine luminance texture that was removed is returned, 0 to 1; colour noise is not.
        only: all, luma (colours stay as they are) or chroma (luminance stays as it is).
        mask: (H, W), gray: where it is white the picture is restored, where it is black it stays bit for bit.
        range: full is 255, 65535 or 1.0; auto looks for 12-bit data in 16 bits and the like; or two numbers.
        max_memory: bytes that the process may hold; tiles are chosen from it. None is half of what is free.

    Returns an array of the same shape and type. The weights stay in memory for the next call.

    Raises UsageError for an option that is not allowed, PictureError for an array that is no picture, WeightsError
    for weights that are unknown or damaged.

    Example:
        >>> import numpy as np, hush
        >>> noisy = np.clip(128 + 25 * np.random.default_rng(0).standard_normal((64, 64, 3)), 0, 255).astype(np.uint8)
        >>> restored = hush.denoise(noisy, sigma=25)  # doctest: +SKIP
    """
    options = DenoiseOptions(
        sigma,
        strength,
        weights,
        runtime,
        device,
        precision,
        tile,
        threads,
        keep_detail=keep_detail,
        only=only,
        mask=mask,
        range=range,
        max_memory=max_memory,
    )
    restored, _ = restore_array(np.asarray(image), options, _reopen(options))
    return restored


def _reopen(options: DenoiseOptions) -> Restorer:
    """Open a restorer, or take the one that an earlier call opened, unless its file has changed since."""
    path = Path(options.weights)
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _remember(
        os.fspath(options.weights),
        options.runtime,
        options.device,
        options.precision,
        options.tile,
        options.threads,
        stamp,
    )


@lru_cache(maxsize=4)
def _remember(
    weights: str, runtime: str, device: str, precision: str, tile: int | None, threads: int | None, stamp: int
) -> Restorer:
    return open_restorer(weights, runtime=runtime, device=device, precision=precision, tile=tile, threads=threads)


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


def denoise_file(
    source: str | Path,
    target: str | Path | None = None,
    options: DenoiseOptions | None = None,
    *,
    restorer: Restorer | None = None,
    progress: TellProgress | None = None,
) -> FileResult:
    """Denoise a picture file; what comes out differs from what went in by the noise only.

    Args:
        source: the picture; each page, plane or frame of it is restored.
        target: where the restored picture goes; None is beside the source, with ``-hush`` in its name.
        options: how to denoise.
        restorer: one that is open already; None opens ``options.weights``.
        progress: called with (done, total) tiles of the page at work.

    Raises PictureError if the source cannot be read, or the target exists and may not be replaced.
    """
    from hush.imaging.files import output_path, read_pages, write_pages

    options = options or DenoiseOptions()
    started = time.perf_counter()
    source = Path(source)
    target = output_path(source, None, out_is_folder=False) if target is None else Path(target)
    if target.exists() and not options.overwrite:
        raise PictureError(f"{target}: exists already; add --overwrite to replace it")  # before the work, not after it
    restorer = restorer or _reopen(options)
    layout = in_parts(source, options)
    if layout is not None:
        return _denoise_large(layout, source, target, options, restorer, progress)
    pages = read_pages(source)
    found = _Found()
    restored = (found.note(page, *_restore(page, source, options, restorer, progress)) for page in pages)
    written = write_pages(target, restored, pages, overwrite=options.overwrite)
    return found.result(source, written, time.perf_counter() - started)


def in_parts(source: Path, options: DenoiseOptions) -> Layout | None:
    """Return how to read a file in parts, if as a whole it would not fit into the memory that is allowed.

    Raises PictureError if it neither fits nor can be read in parts.
    """
    try:
        layout = read_layout(source)
    except (HushError, OSError):
        return None  # reading it says what is wrong
    if layout is None:
        return None
    needed = source.stat().st_size + WHOLE * layout.nbytes + SMALLEST_WORK
    left = allowed(options.max_memory) - resident()
    if needed <= left:
        return None
    if layout.open is None:
        raise PictureError(
            f"{source}: {layout.kind} is decoded as a whole; these {layout.shape[1]}x{layout.shape[0]} pixels take "
            f"{needed / 2**30:.1f} GB, and {max(0, left) / 2**30:.1f} GB are left. "
            "Save it as TIFF, or allow more with --max-memory"
        )
    return layout


def _denoise_large(
    layout: Layout,
    source: Path,
    target: Path,
    options: DenoiseOptions,
    restorer: Restorer,
    progress: TellProgress | None,
) -> FileResult:
    """Denoise a file of which only some rows are ever in memory."""
    from hush.imaging.rows import check_rows, write_rows

    started = time.perf_counter()
    check_rows(target, layout.picture)
    outcome = Outcome(None)
    try:
        scene = scene_of(layout, options)
        bands = _bands(restore_windows(scene, options, restorer, outcome, progress=progress), layout)
        write_rows(target, layout.picture, layout.shape, bands, overwrite=options.overwrite)
    except PictureError as error:
        text = str(error)
        raise PictureError(text if text.startswith((f"{source}: ", f"{target}: ")) else f"{source}: {text}") from error
    except MemoryError as error:
        raise PictureError(f"{source}: does not fit in memory; close other programs or use a smaller tile") from error
    height, width = layout.shape[:2]
    seconds = time.perf_counter() - started
    size = height * width / 1e6
    return FileResult(source, target, outcome.sigma, seconds, size, (width, height), 1, outcome.psnr)


def _bands(parts: Iterator[tuple[Tile, NDArray[Any]]], layout: Layout) -> Iterator[NDArray[Any]]:
    """Join windows to bands across the picture; a band is valid until the next one is asked for."""
    band: NDArray[Any] = np.empty((0, *layout.shape[1:]), layout.dtype)
    for tile, part in parts:
        if len(band) < tile.height:
            band = np.empty((tile.height, *layout.shape[1:]), layout.dtype)
        band[: tile.height, tile.left : tile.left + tile.width] = part
        if tile.left + tile.width == layout.shape[1]:
            yield band[: tile.height]


class _Found:
    """What was found in the pages of a file."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._sizes: list[tuple[int, int]] = []

    def note(self, page: Picture, restored: Picture, outcome: Outcome | None) -> Picture:
        """Remember what was found in a page, and return it restored."""
        height, width = page.size
        self._sizes.append((width, height))
        if outcome is not None:
            self._outcomes.append(outcome)
        return restored

    def result(self, source: Path, target: Path, seconds: float) -> FileResult:
        """Sum up: the noise level is the median of those of the pages."""
        sigmas = [outcome.sigma for outcome in self._outcomes if outcome.sigma is not None]
        total = Outcome(
            median(sigmas) if sigmas else None,
            sum(outcome.squares for outcome in self._outcomes),
            sum(outcome.values for outcome in self._outcomes),
        )
        return FileResult(
            source,
            target,
            total.sigma,
            seconds,
            sum(width * height for width, height in self._sizes) / 1e6,
            self._sizes[0],
            len(self._sizes),
            total.psnr,
        )


def _restore(
    page: Picture, source: Path, options: DenoiseOptions, restorer: Restorer, progress: TellProgress | None
) -> tuple[Picture, Outcome | None]:
    """Restore a page; one that is no picture, but a mask of another page, stays as it is."""
    if page.mask:
        return page, None
    try:
        pixels, outcome = restore_array(
            page.pixels,
            options,
            restorer,
            full_scale=page.full_scale,
            cmyk=page.cmyk,
            held=ENCODING * page.pixels.nbytes,
            progress=progress,
        )
    except PictureError as error:
        raise PictureError(f"{source}: {error}") from error
    except MemoryError as error:
        raise PictureError(f"{source}: does not fit in memory; close other programs or use a smaller tile") from error
    return replace(page, pixels=pixels), outcome


def denoise_files(
    inputs: Iterable[str | Path],
    out: str | Path | None = None,
    options: DenoiseOptions | None = None,
    *,
    recursive: bool = False,
    progress: TellProgress | None = None,
) -> Iterator[FileResult | FileFailure | FileSkipped]:
    """Denoise files, folders and globs, one result each; a picture that fails does not stop the others.

    Args:
        inputs: files, folders, globs.
        out: a file for one picture, or a folder; None is beside each source, with ``-hush`` in the name.
        options: how to denoise.
        recursive: whether folders inside folders are searched too.
        progress: called with (done, total) tiles of the picture at work.

    Raises, before the first result, UsageError for options that do not fit, WeightsError for weights that do not
    run, and PictureError if there is no picture.
    """
    options = options or DenoiseOptions()
    jobs = plan_files(inputs, out, options, recursive=recursive)
    return _work(jobs, options, _reopen(options), progress)


def plan_files(
    inputs: Iterable[str | Path],
    out: str | Path | None = None,
    options: DenoiseOptions | None = None,
    *,
    recursive: bool = False,
) -> list[Job]:
    """Return what `denoise_files` would do, without reading a picture or making a folder.

    Raises UsageError for an output that does not fit, and PictureError if there is no picture.
    """
    from hush.imaging.files import find_pictures, output_path

    options = options or DenoiseOptions()
    inputs = list(inputs)
    sources = find_pictures(inputs, recursive=recursive)
    folder = out is not None and _is_folder(out, inputs, len(sources))
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    for source in sources:
        target = output_path(source, out, out_is_folder=folder, base=_base(source, inputs) if folder else None)
        jobs.append(replace(_job(source, target, options, taken), make_folder=folder))
        taken.setdefault(target, source)
    return jobs


def _job(source: Path, target: Path, options: DenoiseOptions, taken: dict[Path, Path]) -> Job:
    if target in taken:
        return Job(
            source,
            target,
            problem=f"{source}: {taken[target]} goes to {target} already; use another folder for each",
        )
    if target.exists() and options.skip_existing:
        return Job(source, target, skipped=True)
    if target.exists() and not options.overwrite:
        return Job(source, target, problem=f"{target}: exists already; add --overwrite to replace it")
    return Job(source, target)


def _work(
    jobs: list[Job], options: DenoiseOptions, restorer: Restorer, progress: TellProgress | None
) -> Iterator[FileResult | FileFailure | FileSkipped]:
    for job in jobs:
        if job.skipped:
            yield FileSkipped(job.source, job.target)
            continue
        try:
            if job.problem:
                raise PictureError(job.problem)
            if job.make_folder:
                job.target.parent.mkdir(parents=True, exist_ok=True)
            yield denoise_file(job.source, job.target, options, restorer=restorer, progress=progress)
        except (PictureError, MissingExtra, OSError) as error:
            yield FileFailure(job.source, error)


def _base(source: Path, inputs: list[str | Path]) -> Path | None:
    """Return the input folder that a picture was found in: its subfolders are made again in the output."""
    return next((Path(entry) for entry in inputs if Path(entry).is_dir() and source.is_relative_to(entry)), None)


def _is_folder(out: str | Path, inputs: list[str | Path], count: int) -> bool:
    """Say whether an output is meant as a folder."""
    from hush.imaging.files import is_picture

    path = Path(out)
    many = count > 1 or any(Path(source).is_dir() for source in inputs)
    if many and path.is_file():
        raise UsageError(f"{out}: a file, but there are {count} pictures; give a folder")
    if many and is_picture(path) and not path.is_dir():
        raise UsageError(f"{out}: the name of a picture, but there are {count} pictures; give a folder")
    return many or path.is_dir() or os.fspath(out).endswith(("/", os.sep))
