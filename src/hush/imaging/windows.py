"""Windows: parts of a picture that are read alone, of arrays and of files too large for memory."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hush.imaging.tiles import Tile


class Windows(Protocol):
    """A picture of which parts can be read."""

    shape: tuple[int, ...]
    """(H, W) or (H, W, C)."""
    dtype: np.dtype[Any]

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return the part of a picture inside a tile, in the picture's own dtype.

        Tiles come row by row, each row further down than the one before; rows above are forgotten.
        """
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
