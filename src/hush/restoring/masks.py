"""Masks: where a picture is restored, and by how much."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.arrays import FULL_SCALES, Range, check_array, check_finite, colours_of, decode, luminance
from hush.imaging.layouts import Layout
from hush.imaging.ranges import value_range
from hush.imaging.tiles import Tile, cut
from hush.imaging.windows import ArrayWindows, FileWindows, Windows

if TYPE_CHECKING:
    from hush.imaging.formats.picture import Picture

FAINT = 0.5  # of white: a mask that is nowhere lighter gets a remark
ROWS = 256  # that are looked at together


@dataclass(frozen=True, eq=False)
class Mask:
    """Where a picture is restored, and by how much."""

    windows: Windows
    full_scale: Range
    """The value of white, or those of black and white."""
    remark: str = ""
    """What is worth a word of its values."""

    def share(self, tile: Tile) -> NDArray[np.float32]:
        """Return how much of the change is kept in a tile, (h, w) in [0, 1]."""
        image, _ = decode(self.windows.window(tile), full_scale=self.full_scale)
        return cut(np.clip(luminance(image), 0, 1), Tile(0, 0, tile.height, tile.width))


def open_mask(
    mask: str | os.PathLike[str] | NDArray[Any] | None, shape: tuple[int, ...], orientation: int = 1
) -> Mask | None:
    """Open a mask for a picture (H, W, ...) that EXIF says to turn by ``orientation``.

    A file lies on the picture as both are seen, an array on its pixels. Raises PictureError if it is of another size,
    or no mask: neither gray nor RGB, or partly transparent.
    """
    if mask is None:
        return None
    from hush.imaging.files import read
    from hush.imaging.formats.conversion import TURNED, turned, unturned
    from hush.imaging.formats.picture import Picture

    upright = False
    if isinstance(mask, (str, os.PathLike)):
        name, picture = os.fspath(mask), read(Path(mask))
        pixels = unturned(turned(picture).pixels, orientation)
        upright = orientation in TURNED
    else:
        name, pixels = "the mask", np.asarray(mask)
        if pixels.dtype.kind in "iu" and pixels.max(initial=0) <= 1:
            pixels = pixels > 0  # lists of 0 and 1, which NumPy makes int64
        with _named(name):
            check_array(pixels)
        picture = Picture(pixels)
    if pixels.shape[:2] != shape[:2]:
        order = 1 if upright else -1  # sizes as people see them
        size, wanted = pixels.shape[:2][::order], shape[:2][::order]
        raise PictureError(
            f"{name} has {size[0]}x{size[1]} pixels, the picture {wanted[0]}x{wanted[1]}{' seen upright' * upright}; "
            f"a mask has the picture's size. {'Turn' if size == wanted[::-1] else 'Scale'} it"
        )
    return _checked(ArrayWindows(pixels), picture, name)


def open_mask_of(layout: Layout, mask: str | os.PathLike[str] | NDArray[Any] | None) -> Mask | None:
    """Open a mask for a file that is read in parts: in parts too, where it can be and lies as the picture does.

    Raises PictureError as `open_mask` does.
    """
    from hush.imaging.formats.conversion import orientation_of
    from hush.imaging.layouts import read_layout

    orientation = orientation_of(layout.picture)
    if isinstance(mask, (str, os.PathLike)):
        own = read_layout(Path(mask))
        lies_so = own is not None and (*own.shape[:2], orientation_of(own.picture)) == (*layout.shape[:2], orientation)
        if own is not None and own.open is not None and lies_so:
            return _checked(FileWindows(own), own.picture, os.fspath(mask))
    return open_mask(mask, layout.shape, orientation)


def _checked(windows: Windows, picture: Picture, name: str) -> Mask:
    """Look at all values of a mask for its white; raises PictureError where they do not say how much to restore."""
    with _named(name):
        if picture.cmyk:
            raise PictureError("inks (CMYK); a mask is gray or RGB, white where to restore. Convert it to gray")
        largest = _largest(windows)
    value = np.full((1, 1), largest, windows.dtype)
    ones = windows.dtype.kind == "u" and picture.full_scale is None and largest <= 1
    white = 1.0 if ones else value_range(value, declared=picture.full_scale)
    lightest = float(decode(value, full_scale=white)[0].item())
    faint = f"{name}: its lightest value is {lightest:.0%} of white, so no more of the change is kept anywhere"
    return Mask(windows, white, faint if 0 < lightest < FAINT else "")


def _largest(windows: Windows) -> Any:
    """Return the largest value of a mask's colours; raises PictureError if it is partly transparent, or not finite."""
    height, width = windows.shape[:2]
    largest = 0
    for top in range(0, height, ROWS):
        part = windows.window(Tile(top, 0, min(ROWS, height - top), width))
        check_finite(part)
        colours = colours_of(part)
        if colours is not part and (part[..., -1] != FULL_SCALES.get(part.dtype.str[1:], 1.0)).any():
            raise PictureError("partly transparent; a mask is opaque, white where to restore. Flatten it to gray")
        largest = max(largest, colours.max())
    return largest


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say of which mask an error speaks."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
