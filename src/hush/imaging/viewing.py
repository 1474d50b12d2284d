"""The picture of a file as an image to look at: for those who judge its noise, and for browsers."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hush.imaging.arrays import FULL_SCALES, Encoding, Range, decode, to_bytes
from hush.imaging.formats.conversion import turned
from hush.imaging.formats.picture import Picture
from hush.imaging.gaps import find_gaps, present, without_gaps
from hush.imaging.ranges import value_range

QUALITY = 92  # of a preview
LARGEST = 24_000_000  # pixels of a preview; of larger pictures every second, third ... is shown
LONGEST = 65_000  # of them along a side, which is what JPEG holds


def range_of(picture: Picture) -> Range:
    """Return which values of a picture are black and white."""
    told = present(picture.pixels, picture.nodata, cmyk=picture.cmyk)
    return value_range(told, declared=picture.full_scale, cmyk=picture.cmyk)


def image_of(
    picture: Picture, scale: Range | None = None
) -> tuple[NDArray[np.float32], Encoding, NDArray[np.bool_] | None]:
    """Return a picture's image (H, W, C) in a range (its own), how it was held, and where its gaps are (H, W)."""
    gaps = find_gaps(picture.pixels, picture.nodata, cmyk=picture.cmyk)
    scale = range_of(picture) if scale is None else scale
    pixels = picture.pixels if gaps is None else without_gaps(picture.pixels, gaps, scale)
    return *decode(pixels, full_scale=scale, cmyk=picture.cmyk), gaps


def preview(picture: Picture, scale: Range | None = None) -> bytes:
    """Return a picture as a JPEG that any browser shows: upright, 8 bit, white where transparent, its profile kept.

    ``scale`` says which values are black and white, so that two pictures of one scene can be compared.
    """
    from PIL import Image

    scale = range_of(picture) if scale is None else scale
    height, width = picture.size
    step = max(math.ceil(math.sqrt(height * width / LARGEST)), math.ceil(max(height, width) / LONGEST))
    image, encoding, _ = image_of(turned(replace(picture, pixels=picture.pixels[::step, ::step])), scale)
    if picture.cmyk:
        image = (1 - image[..., :3]) * (1 - image[..., 3:])
    if encoding.alpha is not None:
        share = (encoding.alpha / FULL_SCALES[encoding.dtype.str[1:]]).astype(np.float32)[..., np.newaxis]
        within = getattr(picture.coding, "multiplied", False)  # alpha is in the colours already
        image = (image if within else image * share) + (1 - share)
    eight = to_bytes(image)
    buffer = io.BytesIO()
    profile = None if picture.cmyk else picture.metadata.icc
    shown = Image.fromarray(eight[..., 0] if eight.shape[2] == 1 else eight)
    shown.save(buffer, "JPEG", quality=QUALITY, subsampling=0, icc_profile=profile)
    return buffer.getvalue()
