"""Which values are black and white: 12-bit data in a 16-bit file, 0 to 255 in floats, counts and other units."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError, UsageError
from hush.imaging.arrays import FULL_SCALES, Range, colours_of

WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # of 8, 10, 12, 14 and 16 bits
FAINT = 1 / 64  # floats that span no more than this share of [0, 1] are no photograph
BRIGHT = 2.0  # half the values of a photograph in floats, even of high dynamic range, are not beyond this
SIGNED = 0.25  # of the brightest values: darkest ones that far below zero are more than noise, or out of gamut
SOME = 65_536  # values by which floats are judged
LARGEST, LEAST = 1e38, 1e-30  # of limits, and between them: the work is done in single precision
NUMBERS = (int, float, np.integer, np.floating)
NOISE = 1.25  # how far noise in floats may reach beyond white


def read_range(text: str) -> str | tuple[float, float]:
    """Read ``auto``, ``full`` or ``LO,HI``; raises UsageError for anything else."""
    if text in ("auto", "full"):
        return text
    match = re.fullmatch(r"\s*([^,\s]+)\s*[,:]\s*([^,\s]+)\s*", text)
    try:
        return check_range((float(match[1]), float(match[2]))) if match else check_range(text)
    except ValueError:
        return check_range(text)


def check_range(request: object) -> Any:
    """Return a request for a range, or raise UsageError unless it is auto, full or two numbers, the lower one first."""
    if request in ("auto", "full"):
        return request
    if isinstance(request, (tuple, list)) and len(request) == 2:
        low, high = (float(value) if isinstance(value, NUMBERS) else math.nan for value in request)
        if max(abs(low), abs(high)) <= LARGEST and high - low >= LEAST:
            return low, high
    raise UsageError(f"range is {request!r}; it must be auto, full or LO,HI with LO below HI, such as 0,4095")


def value_range(
    array: NDArray[Any],
    request: str | tuple[float, float] = "auto",
    declared: Range | None = None,
    *,
    cmyk: bool = False,
) -> Range:
    """Return the values that become 0 and 1: what ``decode`` takes as its ``full_scale``.

    Args:
        array: the picture, (H, W) or (H, W, C), or a part of it that tells; alpha does not count.
        request: auto; full, which is all that the type holds (1.0 for floats); or (low, high).
        declared: what the file says of its values (`Picture.full_scale`); auto believes it.
        cmyk: four channels are inks.

    auto takes for integers of 16 bits the least of 8, 10, 12, 14 and 16 bits that holds the largest value. Floats are
    taken to be in [0, 1], brighter lights included, unless they clearly are not: whole numbers or mostly beyond 2 (then
    0 to 255, 4095 ...), far below zero, or within 1/64 (then from the least to the largest value). Raises UsageError
    for any other request, PictureError for a range beyond what the type of integers holds.
    """
    request = check_range(request)
    own = FULL_SCALES.get(array.dtype.str[1:], 1.0)
    if not isinstance(request, str):
        low, high = float(request[0]), float(request[1])
        if array.dtype.kind != "f" and not 0 <= low < high <= np.max(own):
            raise PictureError(
                f"range is {low:g} to {high:g}, and {array.dtype.name} holds 0 to {np.max(own):g}; give a range within "
                "that, or leave it out"
            )
        return low, high
    if request == "full":
        return own
    if declared is not None:
        return declared
    if array.dtype.str[1:] not in ("u2", "f2", "f4", "f8") or array.size == 0:
        return own
    colours = colours_of(array, cmyk=cmyk)
    if array.dtype.kind == "u":
        return next(white for white in WHITES if colours.max() <= white)
    return _float_range(colours)


def _float_range(values: NDArray[Any]) -> Range:
    """Choose the range of floats."""
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return 1.0
    some = values.reshape(-1)[:: max(1, values.size // SOME)]
    lower, middle, upper = np.quantile(some, (0.05, 0.5, 0.95))
    signed = lower < -SIGNED * upper and (middle < -FAINT or upper > BRIGHT)
    if signed or high - low < FAINT:
        return low, high
    if high > NOISE and ((some == np.rint(some)).all() or middle > BRIGHT):
        return next((white for white in WHITES if high <= NOISE * white), 2.0 ** math.ceil(math.log2(high)))
    return 1.0
