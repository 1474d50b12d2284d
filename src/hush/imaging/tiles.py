"""Work on a large image tile by tile: where the tiles lie, how far they overlap, how they are joined.

A tile carries ``overlap`` pixels of context on every side that borders on another tile. Context is read,
never used: between the contexts of two neighbours the results are cross-faded. So a function that looks
no further than ``overlap`` pixels gives the same image tiled and untiled, and one that looks further shows
no seam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hush.errors import UsageError

Image = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image, in pixels. It may reach past the bottom and right by less than ``align``."""

    top: int
    left: int
    height: int
    width: int


def plan_tiles(height: int, width: int, tile: int, overlap: int, *, align: int = 16) -> list[Tile]:
    """Cover an image with tiles, row by row.

    All tiles have one size: ``tile`` rounded down to a multiple of ``align``, or along an axis that is no
    longer than ``tile`` the length of that axis. Neighbours share at least ``2 * overlap`` pixels.

    Networks that halve the image k times give the same answer only where tiles start at multiples of 2**k:
    ``align`` sees to that. The last tiles then reach past the image, to the next multiple of ``align``, just as
    far as a network that pads to multiples of ``align`` pads the untiled image. With ``align=1`` no tile leaves it.

    Raises UsageError if the tile is too small for the overlap.
    """
    rows, tile_height = _plan_axis(height, tile, overlap, align)
    columns, tile_width = _plan_axis(width, tile, overlap, align)
    return [Tile(top, left, tile_height, tile_width) for top in rows for left in columns]


def _plan_axis(size: int, tile: int, overlap: int, align: int) -> tuple[list[int], int]:
    """Return where tiles start along one axis, and their length."""
    if tile < 1 or overlap < 0 or align < 1:
        raise UsageError(f"tile {tile}, overlap {overlap}, align {align}: tile and align start at 1, overlap at 0")
    if size <= tile:
        return [0], size
    length = tile // align * align
    free = (length - 2 * overlap) // align * align  # the furthest that neighbours may lie apart
    if free < align:
        least = -(-(2 * overlap + align) // align) * align
        raise UsageError(f"tile {tile} is too small for an overlap of {overlap}; use a tile of {least} or more")
    step = max(align, (length - 2 * overlap - overlap // 4) // align * align)  # room for a cross-fade if there is any
    last = -(-size // align) * align - length
    joins = -(-last // step)
    return [i * last // joins // align * align for i in range(joins + 1)], length


def blend_windows(starts: Sequence[int], length: int, overlap: int) -> list[Image]:
    """Weigh tiles along one axis so that their sum is 1 everywhere.

    Returns one array (length,) per tile: 0 on the ``overlap`` pixels of context beside a neighbour, a linear
    cross-fade between the contexts of two neighbours, 1 elsewhere.
    """
    windows = []
    for i, start in enumerate(starts):
        centres: Doubles = np.arange(start, start + length, dtype=np.float64) + 0.5
        window = _rise(centres, starts, i, length, overlap) - _rise(centres, starts, i + 1, length, overlap)
        windows.append(window.astype(np.float32))
    return windows


def _rise(centres: Doubles, starts: Sequence[int], i: int, length: int, overlap: int) -> Doubles:
    """Return how far tile i has taken over from tile i - 1; windows are differences of these, so they sum to 1."""
    if i == 0:
        return np.ones_like(centres)
    if i == len(starts):
        return np.zeros_like(centres)
    begin, end = starts[i] + overlap, starts[i - 1] + length - overlap
    return np.clip((centres - begin) / (end - begin), 0, 1) if end > begin else (centres > begin).astype(np.float64)


def run_tiled(
    image: Image,
    function: Callable[[Image], Image],
    *,
    tile: int,
    overlap: int,
    align: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Image:
    """Apply a function (h, w, C) -> (h, w, C) to an image (H, W, C) tile by tile.

    Equal to ``function(image)`` where the function looks no further than ``overlap`` pixels, treats the border by
    repeating the edge (or ``align`` is 1) and answers alike for shifts by multiples of ``align``. An image no larger
    than ``tile`` is run whole. ``progress(done, total)`` is called after each tile.

    Raises UsageError if the tile is too small for the overlap.
    """
    height, width = image.shape[:2]
    tiles = plan_tiles(height, width, tile, overlap, align=align)
    if len(tiles) == 1 and height <= tile and width <= tile:
        restored = function(image)
        if progress is not None:
            progress(1, 1)
        return restored
    rows = _windows_by_start([t.top for t in tiles], tiles[0].height, overlap)
    columns = _windows_by_start([t.left for t in tiles], tiles[0].width, overlap)
    joined = np.zeros(image.shape, np.float32)
    for done, t in enumerate(tiles, 1):
        restored = function(_cut(image, t))
        target = joined[t.top : t.top + t.height, t.left : t.left + t.width]
        weight = rows[t.top][:, None, None] * columns[t.left][None, :, None]  # (h, w, 1)
        target += (restored * weight)[: target.shape[0], : target.shape[1]]
        if progress is not None:
            progress(done, len(tiles))
    return joined


def _windows_by_start(starts: list[int], length: int, overlap: int) -> dict[int, Image]:
    unique = sorted(set(starts))
    return dict(zip(unique, blend_windows(unique, length, overlap), strict=True))


def _cut(image: Image, tile: Tile) -> Image:
    """Copy a tile out of an image; past the image's end the last row and column are repeated."""
    part = image[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
    below, right = tile.height - part.shape[0], tile.width - part.shape[1]
    return np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else np.ascontiguousarray(part)
