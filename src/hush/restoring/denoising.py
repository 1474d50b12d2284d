"""Denoise arrays and files: the one path that the library, the command and the web page share."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError, UsageError
from hush.imaging.formats.picture import Picture
from hush.restoring.filework import FileWork
from hush.restoring.folders import work_through
from hush.restoring.large import denoise_large, in_parts
from hush.restoring.options import DenoiseOptions
from hush.restoring.planning import FileFailure, FileResult, FileSkipped, Job, in_the_way, plan_files
from hush.restoring.restorers import Restorer, TellProgress, open_restorer
from hush.restoring.weights import split_bare
from hush.restoring.working import restore_picture

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


def denoise(
    image: NDArray[Any],
    sigma: float | None = None,
    strength: float = 1.0,
    weights: str | Path = "auto",
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    threads: int | None = None,
    keep_detail: float = 0.0,
    keep_grain: float = 0.0,
    only: str = "all",
    mask: NDArray[Any] | None = None,
    range: str | tuple[float, float] = "full",
    max_memory: int | None = None,
    quality: str = "balanced",
) -> NDArray[Any]:
    """Remove noise from a picture.

    Args:
        image: (H, W) or (H, W, C) with 1 or 3 channels, or 2 or 4 with alpha, which stays as it is; bool, uint8,
            uint16 or float. Full scale is 255, 65535 or 1.0; floats beyond it are not clipped.
        sigma: deviation of the noise on the 8-bit scale (0 to 255), whatever the type; None or auto where it is not
            known.
        strength: 0 returns the input bit for bit, 1 is the restored picture, between them they are blended.
        weights: a name, an .onnx file, NETWORK@FILE, identity, or classical:nlm|tv|wavelet|median|bm3d; auto is
            gaussian where sigma is told or the noise is white, else photo.
        runtime: auto, openvino, onnx or torch.
        device: auto, cpu, cuda or mps.
        precision: auto, fast or exact; see `hush.restoring.runtimes.open_runtime`.
        tile: largest side in pixels of the tiles that large pictures are cut into.
        threads: of the processor.
        keep_detail: how much of the fine luminance texture that was removed is returned, 0 to 1; colour noise is not.
        keep_grain: how much natural luminance grain is returned, 0 to 1; at 1 at most a deviation of 2 of 255.
        only: all, luma (colours stay as they are) or chroma (luminance stays as it is).
        mask: (H, W), gray: where it is white the picture is restored, where it is black it stays bit for bit. White is
            True, 1 in integers where none is larger, the least of 8 to 16 bits that holds all of uint16, or 255 or 1.0.
        range: full is 255, 65535 or 1.0; auto looks for 12-bit data in 16 bits and the like; or two numbers.
        max_memory: bytes that the process may hold; tiles are chosen from it. None is half of what is free.
        quality: fast, balanced or best, which takes 8 to 15 times as long; own weights have no faster tier.

    Returns an array of the same shape and type. The weights stay in memory for the next call.

    Raises UsageError for an option that is not allowed, PictureError for an array that is no picture, WeightsError
    for weights that are unknown or damaged.

    Example:
        >>> import numpy as np, hush
        >>> noisy = np.clip(128 + 25 * np.random.default_rng(0).standard_normal((64, 64, 3)), 0, 255).astype(np.uint8)
        >>> restored = hush.denoise(noisy, sigma=25)  # doctest: +SKIP
    """
    options = DenoiseOptions(
        sigma=None if isinstance(sigma, str) and sigma == "auto" else sigma,
        strength=strength,
        weights=weights,
        runtime=runtime,
        device=device,
        precision=precision,
        tile=tile,
        threads=threads,
        keep_detail=keep_detail,
        keep_grain=keep_grain,
        only=only,
        mask=mask,
        range=range,
        max_memory=max_memory,
        quality=quality,
    )
    if isinstance(image, (str, os.PathLike)):
        raise UsageError(f"denoise takes an array, and {image!r} is a name; use hush.restoring.denoising.denoise_file")
    restored, _ = restore_picture(Picture(np.asarray(image)), options, _reopen(options))
    return restored


def _reopen(options: DenoiseOptions) -> Restorer:
    """Open a restorer, or take the one that an earlier call opened, unless its file has changed since."""
    bare = split_bare(os.fspath(options.weights))
    path = Path(bare[1] if bare else options.weights).expanduser()
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    restorer = _remember(os.fspath(options.weights), stamp, **options.opening)
    if options.max_memory is not None:
        restorer.memory()  # whatever is counted later, the network is there already
    return restorer


@lru_cache(maxsize=4)
def _remember(weights: str, stamp: int, **opening: Any) -> Restorer:
    return open_restorer(weights, **opening)


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
    from hush.imaging.files import check_names, read_pages
    from hush.imaging.finding import output_path

    options = options or DenoiseOptions()
    started = time.perf_counter()
    source = Path(source)
    target = output_path(source, None, out_is_folder=False) if target is None else Path(target)
    check_names(source, target)  # before the work, not after it
    if target.exists() and not options.overwrite:
        raise PictureError(f"{target}: {in_the_way(source, target)}")
    restorer = restorer or _reopen(options)
    layout = in_parts(source, target, options)
    if layout is not None:
        return denoise_large(layout, source, target, options, restorer, progress)
    pages = read_pages(source)
    work = FileWork(source, target, pages, options, restorer, progress)
    work.write(work.restore(pages))
    return work.result(time.perf_counter() - started)


def denoise_files(
    inputs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    options: DenoiseOptions | None = None,
    *,
    recursive: bool = False,
    progress: TellProgress | None = None,
) -> Generator[FileResult | FileFailure | FileSkipped, None, None]:
    """Denoise files, folders and globs, one result each; a picture that fails does not stop the others.

    Args:
        inputs: files, folders, globs; or one of these.
        out: a file for one picture, or a folder; None is beside each source, with ``-hush`` in the name.
        options: how to denoise.
        recursive: whether folders inside folders are searched too.
        progress: called with (done, total) tiles of the picture at work.

    Several pictures are read and written while others are restored, and are read in processes of their own, so that a
    decoder that crashes costs its picture only. The results come in the order of the pictures.

    Raises at once UsageError for options that do not fit, and PictureError if there is no picture; with the first
    result WeightsError for weights that do not run.
    """
    options = options or DenoiseOptions()
    jobs = plan_files(inputs, out, options, recursive=recursive)
    restorer = _reopen(options)

    def alone(job: Job) -> FileResult:
        return denoise_file(job.source, job.target, options, restorer=restorer, progress=progress)

    return work_through(jobs, options, restorer, alone, progress)
