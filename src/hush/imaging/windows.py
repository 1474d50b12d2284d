"""Windows: parts of a picture that are read alone, of arrays and of files too large for memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.layouts import Layout, ReadRows
from hush.imaging.tiles import Tile

PIECE = 4 * 2**20  # bytes that are decoded at a time


class Windows(Protocol):
    """A picture of which parts can be read."""

    shape: tuple[int, ...]
    """(H, W) or (H, W, C)."""
    dtype: np.dtype[Any]

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return the part of a picture inside a tile, in the picture's own dtype."""
        ...


class ArrayWindows:
    """Windows of an array."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return a view of the part inside a tile."""
        return self.array[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]


class FileWindows:
    """Windows of a file.

    Only the rows from the top of the last window on are in memory, so windows should come row by row, each row further
    down than the one before; to go back up means to read the file again.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.shape = layout.shape
        self.dtype = layout.dtype
        self._read: ReadRows | None = None
        self._rows: NDArray[Any] = np.empty((0, *layout.shape[1:]), layout.dtype)
        self._top = 0

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return a view of the part inside a tile; valid until a window further down is asked for."""
        bottom = min(tile.top + tile.height, self.shape[0])
        if self._read is None or tile.top < self._top:
            if self.layout.open is None:
                raise PictureError(f"{self.layout.kind}, which is not read in parts. Save it as a plain TIFF")
            self._read, self._rows, self._top = self.layout.open(), self._rows[:0], tile.top
            self._skip(tile.top)
        if bottom > self._top + len(self._rows):
            self._advance(tile.top, bottom)
        rows = self._rows[tile.top - self._top : bottom - self._top]
        return rows[:, tile.left : tile.left + tile.width]

    def _skip(self, top: int) -> None:
        """Read over what lies above: most decoders only go forward."""
        for _ in self._pieces(0, top):
            pass

    def _advance(self, top: int, bottom: int) -> None:
        """Forget the rows above ``top``, and read those down to ``bottom``."""
        end = self._top + len(self._rows)
        if top > end:
            for _ in self._pieces(end, top):
                pass
        kept = self._rows[top - self._top :]
        rows = np.empty((bottom - top, *self.shape[1:]), self.dtype)
        rows[: len(kept)] = kept
        del kept
        self._rows, self._top = rows, top
        for at, piece in self._pieces(max(end, top), bottom):
            rows[at - top : at - top + len(piece)] = piece

    def _pieces(self, top: int, bottom: int) -> Iterator[tuple[int, NDArray[Any]]]:
        count = max(1, PIECE // max(1, self.layout.row_bytes))
        for at in range(top, bottom, count):
            yield at, self._read(at, min(count, bottom - at))  # type: ignore[misc]  # it is open
