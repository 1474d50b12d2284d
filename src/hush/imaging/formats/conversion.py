"""What a picture becomes in another format, where the same numbers would look otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.picture import Picture
from hush.imaging.formats.previews import ORIENTATION, upright
from hush.imaging.formats.tags import directories, resolution

NUMBERS = ("npy",)  # formats that are read by programs, for which numbers are what counts
NO_EXIF = ("bmp", "exr", "gif", "netpbm", "tga")  # formats that cannot say how a picture is to be turned
ACROSS, DOWN, TURNED = (2, 3, 6, 7), (3, 4, 7, 8), (5, 6, 7, 8)  # EXIF orientations that mirror, and swap the axes


def converted(picture: Picture, name: str) -> Picture:
    """Return a picture as it must be for another format, so that it looks there as in its own file.

    Colours into which alpha is multiplied (TIFF) are divided by it, values up to a maximum that the file states
    (Netpbm) are stretched to what the type holds, and what EXIF says to turn is turned where there is no EXIF.
    """
    if picture.format in ("", name) or name in NUMBERS:
        return picture
    if getattr(picture.coding, "transparent", False):
        raise PictureError("an OpenEXR that is partly transparent, which no other format holds as it does. Name a .exr")
    if getattr(picture.coding, "multiplied", False):
        picture = replace(picture, pixels=_divided(picture.pixels))
    if picture.metadata.dpi is None:
        pages, _ = directories(picture.metadata.exif or b"")
        dpi = resolution(pages[0]) if pages else None  # as of JPEGs of cameras, which have no JFIF
        picture = replace(picture, metadata=replace(picture.metadata, dpi=dpi))
    if picture.format == "netpbm" and isinstance(picture.full_scale, float):
        picture = replace(picture, pixels=_stretched(picture.pixels, picture.full_scale), full_scale=None)
    if name in NO_EXIF and picture.duration is None:
        picture = turned(picture)
        return replace(picture, metadata=replace(picture.metadata, exif=None))
    return picture


def _divided(pixels: NDArray[Any]) -> NDArray[Any]:
    """Divide the colours by alpha, which was multiplied into them; of integers, as other formats with alpha hold."""
    full = np.iinfo(pixels.dtype).max
    share = pixels[..., -1:] / full
    colours = np.divide(pixels[..., :-1], share, out=np.zeros(pixels[..., :-1].shape), where=share > 0)
    return np.concatenate([np.rint(colours).clip(0, full).astype(pixels.dtype), pixels[..., -1:]], axis=-1)


def _stretched(pixels: NDArray[Any], white: float) -> NDArray[Any]:
    """Stretch integers from 0 to ``white`` to all that their type holds."""
    full = np.iinfo(pixels.dtype).max
    return np.rint(np.minimum(pixels, white) * (full / white)).astype(pixels.dtype)


def orientation_of(picture: Picture) -> int:
    """Return how EXIF says that a picture is to be turned: 1 for not at all, to 8."""
    pages = directories(picture.metadata.exif or b"")[0]
    tag = pages[0].get(ORIENTATION) if pages else None
    return (tag.integers() or (1,))[0] if tag else 1


def unturned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo what `turned` does: lay an upright picture down as one of this orientation is stored."""
    pixels = pixels[:: -1 if orientation in DOWN else 1, :: -1 if orientation in ACROSS else 1]
    return pixels.swapaxes(0, 1) if orientation in TURNED else pixels


def turned(picture: Picture) -> Picture:
    """Turn a picture upright, as EXIF says."""
    orientation = orientation_of(picture)
    if orientation == 1:
        return picture
    pixels, dpi, exif = picture.pixels, picture.metadata.dpi, upright(picture.metadata.exif or b"")
    if orientation in TURNED:
        pixels, dpi = pixels.swapaxes(0, 1), dpi and dpi[::-1]
    pixels = pixels[:: -1 if orientation in DOWN else 1, :: -1 if orientation in ACROSS else 1]
    return replace(picture, pixels=np.ascontiguousarray(pixels), metadata=replace(picture.metadata, dpi=dpi, exif=exif))
