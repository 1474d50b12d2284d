"""Restore a file that is too large for memory, part by part."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError, PictureError
from hush.imaging.layouts import Layout
from hush.imaging.tiles import Tile
from hush.restoring.memory import allowed, amount, resident
from hush.restoring.options import DenoiseOptions
from hush.restoring.planning import FileResult
from hush.restoring.restorers import Restorer, TellProgress
from hush.restoring.working import Outcome, restore_windows, scene_of

SMALLEST_WORK = 128 * 2**20  # bytes; small tiles of the shipped weights
SMALLEST_TILE = 256 * 256  # pixels of such a tile; a picture that has fewer takes less


def in_parts(source: Path, target: Path, options: DenoiseOptions) -> Layout | None:
    """Return how to read a file in parts, if as a whole it would not fit into the memory that is allowed.

    Raises PictureError if it neither fits nor can be read in parts.
    """
    from hush.imaging.files import written_as
    from hush.imaging.formats import FORMATS
    from hush.imaging.layouts import read_layout

    try:
        layout = read_layout(source)
    except (HushError, OSError):
        return None  # reading it says what is wrong
    if layout is None:
        return None
    reading, writing = FORMATS[layout.picture.format].decoding, 2 + written_as(target, layout.picture).encoding
    work = int(SMALLEST_WORK * min(1.0, math.prod(layout.shape[:2]) / SMALLEST_TILE))
    needed = source.stat().st_size + max(reading, writing) * layout.nbytes + work
    left = allowed(options.max_memory) - resident()
    if needed <= left:
        return None
    if layout.open is None:
        raise PictureError(
            f"{source}: {layout.kind} is decoded as a whole; these {layout.shape[1]}x{layout.shape[0]} pixels take "
            f"{amount(needed)}, and {amount(max(0, left))} are left. "
            "Save it as TIFF, or allow more with --max-memory"
        )
    return layout


def denoise_large(
    layout: Layout,
    source: Path,
    target: Path,
    options: DenoiseOptions,
    restorer: Restorer,
    progress: TellProgress | None,
) -> FileResult:
    """Denoise a file of which only some rows are ever in memory."""
    from hush.imaging.files import Unchanged, copy, may_copy
    from hush.imaging.rows import check_rows, write_rows

    started = time.perf_counter()
    check_rows(target, layout.picture)
    outcome = Outcome(None)

    def watched(bands: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        yield from bands
        if not outcome.changed and may_copy(source, target, layout.picture):
            raise Unchanged

    try:
        scene = scene_of(layout, options)
        bands = _bands(restore_windows(scene, options, restorer, outcome, progress=progress), layout)
        write_rows(target, layout.picture, layout.shape, watched(bands), overwrite=options.overwrite)
    except Unchanged:
        copy(source, target, overwrite=options.overwrite)
    except PictureError as error:
        text = str(error)
        raise PictureError(text if text.startswith((f"{source}: ", f"{target}: ")) else f"{source}: {text}") from error
    except MemoryError as error:
        raise PictureError(f"{source}: does not fit in memory; close other programs or use a smaller tile") from error
    height, width = layout.shape[:2]
    seconds = time.perf_counter() - started
    size = height * width / 1e6
    return FileResult(
        source, target, outcome.sigma, seconds, size, (width, height), 1, outcome.psnr, outcome.remarks,
        outcome.weights,
    )  # fmt: skip


def _bands(parts: Iterator[tuple[Tile, NDArray[Any]]], layout: Layout) -> Iterator[NDArray[Any]]:
    """Join windows to bands across the picture; a band is valid until the next one is asked for."""
    band: NDArray[Any] = np.empty((0, *layout.shape[1:]), layout.dtype)
    for tile, part in parts:
        if len(band) < tile.height:
            band = np.empty((tile.height, *layout.shape[1:]), layout.dtype)
        band[: tile.height, tile.left : tile.left + tile.width] = part
        if tile.left + tile.width == layout.shape[1]:
            yield band[: tile.height]
