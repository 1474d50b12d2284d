"""The two libraries that decode and encode, told to be strict and silent."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.picture import check_size

_QUIET = threading.RLock()
_SILENCED = threading.Lock()  # what is redirected belongs to the whole process
VIPS_DTYPES = {"uchar": "u1", "ushort": "u2", "float": "f4"}


@cache
def vips() -> ModuleType:
    """Import libvips; its own messages go to Python's logging, which is silent unless set up."""
    import pyvips

    pyvips.cache_set_max(0)  # its cache would keep the bytes of the last hundred files in memory
    return pyvips


def vips_decode(loader: str, data: bytes, *, fail_on: str = "error", packed: int = 1) -> tuple[NDArray[Any], Any]:
    """Decode a file's bytes with one of libvips's loaders.

    Returns pixels (H, W) or (H, W, C), and the image with its fields. A damaged or cut file raises pyvips.Error
    (libvips by itself would fill the missing part with gray). ``packed`` is that of `check_size`.
    """
    image = getattr(vips().Image, loader)(data, access="sequential", fail_on=fail_on)
    if image.format not in VIPS_DTYPES:
        raise PictureError(f"values of type {image.format}; 8 or 16 bits or floats are taken. Convert the picture")
    check_size(image.height, image.width, image.bands, VIPS_DTYPES[image.format], len(data), packed=packed)
    shape = (image.height, image.width) if image.bands == 1 else (image.height, image.width, image.bands)
    return image.numpy().reshape(shape), image


def vips_image(pixels: NDArray[Any], *, cmyk: bool = False) -> Any:
    """Wrap pixels as a libvips image that knows its colours."""
    pixels = squeezed(pixels)
    gray = pixels.ndim == 2 or pixels.shape[2] < 3
    if cmyk:
        interpretation = "cmyk"
    elif pixels.dtype == np.uint16:
        interpretation = "grey16" if gray else "rgb16"
    elif pixels.dtype == np.uint8:
        interpretation = "b-w" if gray else "srgb"
    else:
        interpretation = "b-w" if gray else "scrgb"
    return vips().Image.new_from_array(pixels).copy(interpretation=interpretation)


@contextmanager
def silenced() -> Iterator[None]:
    """Let a library print nothing, by Python or past it: what is wrong comes as an exception too. One at a time."""
    with _SILENCED, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        sys.stderr.flush()
        before = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Let Pillow warn of nothing: what is wrong is told in one line. One thread at a time: all share the filters."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def library_reason(error: Exception) -> str:
    """Return the one line of a library's message that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("unable to")] or lines or [type(error).__name__]
    return re.sub(r"^(VipsJpeg|vipspng|tiff2vips): ", "", telling[0])[:160]


def squeezed(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels of one channel as (H, W), contiguous and in native byte order."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def pillow_pixels(image: Any, file_bytes: int) -> tuple[NDArray[Any], bool]:
    """Decode an opened Pillow image.

    Returns pixels in the file's own dtype, and whether the file held a palette (the pixels are its colours).
    """
    palette = image.mode in ("P", "PA")
    dtype = "u2" if image.mode.startswith("I;16") else "u1"
    check_size(image.height, image.width, 4 if palette else len(image.getbands()), dtype, file_bytes)
    if palette:
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16L", "I;16B"):
        raise PictureError(f"pixels of Pillow's mode {image.mode}; gray, RGB and alpha are taken. Convert the picture")
    pixels = np.asarray(image)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False), palette


def pillow_image(pixels: NDArray[Any], *, cmyk: bool = False) -> Any:
    """Wrap uint8 or bool pixels as a Pillow image."""
    from PIL import Image

    pixels = squeezed(pixels)
    if cmyk:
        return Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    return Image.fromarray(pixels)


def pillow_encode(image: Any, name: str, **options: Any) -> bytes:
    """Encode a Pillow image; options that are None are left out."""
    buffer = io.BytesIO()
    image.save(buffer, name, **{key: value for key, value in options.items() if value is not None})
    return buffer.getvalue()


def finer(quality: int) -> int:
    """Return a quality, up to 90, that quantises in half the steps: the loss of coding twice adds up.

    On the scales of libavif and libheif 12 points halve the step. From 90 on the loss is not worth so many bytes.
    """
    return max(quality, min(quality + 12, 90))


def least_quality(fine: Callable[[int], bool]) -> int:
    """Return the least quality from 1 to 100 that is fine enough; 100 if none is."""
    return 1 + bisect_left(range(1, 100), True, key=fine)


def exact_palette(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return indices (H, W) and colours (N, C) with N <= 256 that stand for the pixels exactly, or None."""
    height, width, channels = pixels.shape
    padded = np.zeros((height, width, 4), dtype=np.uint8)
    padded[..., :channels] = pixels
    packed = padded.view(np.uint32)[..., 0]
    colours, indices = np.unique(packed, return_inverse=True)
    if len(colours) > 256:
        return None
    table = colours.view(np.uint8).reshape(-1, 4)[:, :channels]
    return indices.reshape(height, width).astype(np.uint8), table


def indexed(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Any:
    """Return a Pillow image of indices (H, W) into a palette (N, 3)."""
    from PIL import Image

    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    return image
