"""Denoise arrays and files: the one path that the library, the command and the web page share."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import MissingExtra, PictureError, UsageError
from hush.imaging.arrays import decode, encode
from hush.restoring.restorers import Restorer, TellProgress, find_sigma, open_restorer
from hush.restoring.runtimes import DEVICES, PRECISIONS, check_choice

__all__ = [
    "DenoiseOptions",
    "FileFailure",
    "FileResult",
    "Restorer",
    "denoise",
    "denoise_file",
    "denoise_files",
    "open_restorer",
]

LARGEST_SIGMA = 255.0  # on the 8-bit scale


@dataclass(frozen=True)
class DenoiseOptions:
    """How to denoise. Raises UsageError for a value that is not allowed."""

    sigma: float | None = None
    """Deviation of the noise on the 8-bit scale, whatever the picture's depth; None estimates it."""
    strength: float = 1.0
    """How much of the change is kept: 0 returns the input bit for bit, 1 is the restored picture."""
    weights: str | Path = "gaussian"
    """A name, an .onnx file, a run's .safetensors, NETWORK@FILE, identity, or classical:METHOD."""
    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    """auto, fast or exact; see `hush.restoring.runtimes.open_runtime`."""
    tile: int | None = None
    """Largest side of the tiles in pixels; None is 1280. Smaller ones take less memory."""
    threads: int | None = None
    overwrite: bool = False
    """Whether files that exist may be replaced."""

    def __post_init__(self) -> None:
        if self.sigma is not None:
            _check_number(
                "sigma", self.sigma, 0, LARGEST_SIGMA, "the noise level on the 8-bit scale; None estimates it"
            )
        _check_number("strength", self.strength, 0, 1, "0 keeps the picture, 1 is full")
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        for name in ("tile", "threads"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{name} is {value!r}; it must be a whole number from 1 on")


def _check_number(name: str, value: object, low: float, high: float, meaning: str) -> None:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]  # NaN fails every comparison
        raise UsageError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}: {meaning}")


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

    Returns an array of the same shape and type. The weights stay in memory for the next call.

    Raises UsageError for an option that is not allowed, PictureError for an array that is no picture, WeightsError
    for weights that are unknown or damaged.

    Example:
        >>> import numpy as np, hush
        >>> noisy = np.clip(128 + 25 * np.random.default_rng(0).standard_normal((64, 64, 3)), 0, 255).astype(np.uint8)
        >>> restored = hush.denoise(noisy, sigma=25)  # doctest: +SKIP
    """
    options = DenoiseOptions(sigma, strength, weights, runtime, device, precision, tile, threads)
    pixels, _ = _denoise_array(np.asarray(image), options, _reopen(options))
    return pixels


def _denoise_array(
    array: NDArray[Any],
    options: DenoiseOptions,
    restorer: Restorer,
    *,
    full_scale: float | None = None,
    cmyk: bool = False,
    progress: TellProgress | None = None,
) -> tuple[NDArray[Any], float | None]:
    """Denoise an array of any kind; return it, and the noise level that was told or found."""
    image, encoding = decode(array, full_scale=full_scale, cmyk=cmyk)
    if options.strength == 0:
        return array.copy(), options.sigma
    sigma = find_sigma(restorer, image, options.sigma)
    restored = restorer(image, sigma, progress=progress)
    if options.strength < 1:
        restored = image + np.float32(options.strength) * (restored - image)
    return encode(restored, encoding), None if sigma is None else float(sigma)


def _open(options: DenoiseOptions) -> Restorer:
    return open_restorer(
        options.weights,
        runtime=options.runtime,
        device=options.device,
        precision=options.precision,
        tile=options.tile,
        threads=options.threads,
    )


def _reopen(options: DenoiseOptions) -> Restorer:
    """Open a restorer, or take the one that an earlier call opened, unless its file has changed since."""
    path = Path(options.weights)
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _remember(replace(options, sigma=None, strength=1.0, overwrite=False), stamp)


@lru_cache(maxsize=4)
def _remember(options: DenoiseOptions, stamp: int) -> Restorer:
    return _open(options)


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


@dataclass(frozen=True)
class FileFailure:
    """A picture that could not be restored."""

    source: Path
    error: Exception
    """Its text says what came, what is allowed and what to do."""


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
        source: the picture.
        target: where the restored picture goes; None is beside the source, with ``-hush`` in its name.
        options: how to denoise.
        restorer: one that is open already; None opens ``options.weights``.
        progress: called with (done, total) tiles.

    Raises PictureError if the source cannot be read, or the target exists and may not be replaced.
    """
    from hush.imaging.files import output_path, read, write

    options = options or DenoiseOptions()
    started = time.perf_counter()
    target = output_path(source, None, out_is_folder=False) if target is None else Path(target)
    if target.exists() and not options.overwrite:
        raise PictureError(f"{target}: exists already; add --overwrite to replace it")  # before the work, not after it
    picture = read(source)
    try:
        pixels, sigma = _denoise_array(
            picture.pixels,
            options,
            restorer or _reopen(options),
            full_scale=picture.full_scale,
            cmyk=picture.cmyk,
            progress=progress,
        )
    except PictureError as error:
        raise PictureError(f"{source}: {error}") from error
    except MemoryError as error:
        raise PictureError(f"{source}: does not fit in memory; close other programs or use a smaller tile") from error
    written = write(target, replace(picture, pixels=pixels), overwrite=options.overwrite)
    seconds = time.perf_counter() - started
    return FileResult(Path(source), written, sigma, seconds, math.prod(pixels.shape[:2]) / 1e6)


def denoise_files(
    inputs: Iterable[str | Path],
    out: str | Path | None = None,
    options: DenoiseOptions | None = None,
    *,
    recursive: bool = False,
    progress: TellProgress | None = None,
) -> Iterator[FileResult | FileFailure]:
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
    from hush.imaging.files import find_pictures, output_path

    options = options or DenoiseOptions()
    inputs = list(inputs)
    sources = find_pictures(inputs, recursive=recursive)
    folder = out is not None and _is_folder(out, inputs, len(sources))
    bases = [_base(source, inputs) if folder and recursive else None for source in sources]
    targets = [
        output_path(source, out, out_is_folder=folder, base=base) for source, base in zip(sources, bases, strict=True)
    ]
    return _work(sources, targets, options, _reopen(options), folder, progress)


def _work(
    sources: list[Path],
    targets: list[Path],
    options: DenoiseOptions,
    restorer: Restorer,
    make_folders: bool,
    progress: TellProgress | None,
) -> Iterator[FileResult | FileFailure]:
    taken: dict[Path, Path] = {}
    for source, target in zip(sources, targets, strict=True):
        try:
            if target in taken:
                raise PictureError(f"{source}: {taken[target]} was written to {target}; use another folder for each")
            taken[target] = source
            if make_folders:
                target.parent.mkdir(parents=True, exist_ok=True)
            yield denoise_file(source, target, options, restorer=restorer, progress=progress)
        except (PictureError, MissingExtra, OSError) as error:
            yield FileFailure(source, error)


def _base(source: Path, inputs: list[str | Path]) -> Path | None:
    """Return the input folder that a picture was found in: its subfolders are made again in the output."""
    return next((Path(entry) for entry in inputs if Path(entry).is_dir() and source.is_relative_to(entry)), None)


def _is_folder(out: str | Path, inputs: list[str | Path], count: int) -> bool:
    """Say whether an output is meant as a folder."""
    path = Path(out)
    many = count > 1 or any(Path(source).is_dir() for source in inputs)
    if many and path.is_file():
        raise UsageError(f"{out}: a file, but there are {count} pictures; give a folder")
    return many or path.is_dir() or os.fspath(out).endswith(("/", os.sep))
