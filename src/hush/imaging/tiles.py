"""Work on a large image tile by tile: where the tiles lie, how far they overlap, how they are joined.

A tile carries ``overlap`` pixels of context on every side that borders on another tile. Context is read,
never used: between the contexts of two neighbours the results are cross-faded. So a function that looks
no further than ``overlap`` pixels gives the same image tiled and untiled, and one that looks further shows
no seam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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

    Equal to ``function(image)`` where the function looks no further than ``overlap`` pixels, mirrors the image past its
    last row and column up to multiples of ``align``, and answers alike for shifts by these. An image no larger than
    ``tile`` is run whole. ``progress(done, total)`` is called after each tile.

    Raises UsageError if the tile is too small for the overlap.
    """
    height, width = image.shape[:2]
    joined: Image = np.empty((height, width, 0), np.float32)
    for top, left, block in run_blocks(
        height, width, lambda t: function(cut(image, t)), tile=tile, overlap=overlap, align=align, progress=progress
    ):
        if block.shape[:2] == (height, width):
            return block
        if joined.shape[2] != block.shape[2]:
            joined = np.empty((height, width, block.shape[2]), np.float32)
        joined[top : top + block.shape[0], left : left + block.shape[1]] = block
    return joined


def run_blocks(
    height: int,
    width: int,
    restore: Callable[[Tile], Image],
    *,
    tile: int,
    overlap: int,
    align: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, int, Image]]:
    """Restore an image tile by tile, and yield (top, left, block) as soon as nothing more will change a block.

    ``restore`` is called with each tile of `plan_tiles`, row by row, and returns it restored, (height, width, C). The
    blocks come in the same order, do not overlap, and make up the image. Of what was restored only the rows and columns
    between neighbours are held, so memory does not grow with the height.

    Raises UsageError if the tile is too small for the overlap.
    """
    tiles = plan_tiles(height, width, tile, overlap, align=align)
    rows = _spans(sorted({t.top for t in tiles}), tiles[0].height, overlap, height)
    columns = _spans(sorted({t.left for t in tiles}), tiles[0].width, overlap, width)
    above = _Seam(width)
    done = 0
    for row in rows:
        below = _Seam(width)
        beside: Image | None = None
        for column in columns:
            restored = restore(Tile(row.start, column.start, tiles[0].height, tiles[0].width))
            part = row.weigh(column.weigh(restored, 1), 0)
            if beside is not None:
                part[:, : beside.shape[1]] += beside
            part, beside = part[:, : column.finished], part[:, column.finished :]
            above.add_to(part, column.begin)
            below.take(part[row.finished :], column.begin)
            done += 1
            if progress is not None:
                progress(done, len(tiles))
            yield row.begin, column.begin, part[: row.finished]
        above = below


@dataclass(frozen=True)
class _Span:
    """A tile along one axis: of its pixels, those that count, and how much."""

    start: int  # of the tile in the image
    begin: int  # of what counts, in the image
    finished: int  # pixels from there on that the next tile does not change
    weights: Image  # (n,) of what counts

    def weigh(self, image: Image, axis: int) -> Image:
        """Cut out what counts along an axis, weighed."""
        at = self.begin - self.start
        inside = image[at : at + len(self.weights)] if axis == 0 else image[:, at : at + len(self.weights)]
        if (self.weights == 1).all():
            return inside
        return inside * (self.weights[:, None, None] if axis == 0 else self.weights[None, :, None])


def _spans(starts: list[int], length: int, overlap: int, size: int) -> list[_Span]:
    begins = [starts[0], *(start + overlap for start in starts[1:])]
    ends = [*(start + length - overlap for start in starts[:-1]), size]
    return [
        _Span(start, begin, following - begin, window[begin - start : end - start])
        for start, begin, following, end, window in zip(
            starts, begins, [*begins[1:], size], ends, blend_windows(starts, length, overlap), strict=True
        )
    ]


class _Seam:
    """Rows across the image that two rows of tiles share."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: Image | None = None

    def take(self, part: Image, left: int) -> None:
        if self._rows is None:
            self._rows = np.empty((len(part), self._width, part.shape[2]), np.float32)
        self._rows[:, left : left + part.shape[1]] = part

    def add_to(self, part: Image, left: int) -> None:
        if self._rows is not None:
            part[: len(self._rows)] += self._rows[:, left : left + part.shape[1]]


def cut(image: NDArray[Any], tile: Tile) -> NDArray[Any]:
    """Take a tile out of an array (H, W, ...); past its end the array is mirrored, as networks do it.

    The last row repeated all the way would be noise drawn into streaks, which networks take for picture.
    """
    part = image[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
    below, right = tile.height - part.shape[0], tile.width - part.shape[1]
    if not below and not right:
        return np.ascontiguousarray(part)
    return np.pad(part, [(0, below), (0, right), *[(0, 0)] * (part.ndim - 2)], mode="symmetric")
