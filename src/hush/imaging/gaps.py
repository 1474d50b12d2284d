"""Gaps: pixels that hold a file's nodata value (GDAL's, in TIFF). They are kept, tell nothing, and leave no edge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.imaging.arrays import Range, colours_of

REACH = 3  # pixels: gaps are filled with the mean of what lies no further away


def find_gaps(array: NDArray[Any], nodata: float | None, *, cmyk: bool = False) -> NDArray[np.bool_] | None:
    """Return which pixels (H, W) of an array (H, W) or (H, W, C) hold nothing but ``nodata``; None if none does."""
    if nodata is None:
        return None
    colours = colours_of(array, cmyk=cmyk)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # GDAL writes the least double for floats too
            value = array.dtype.type(nodata)
        gaps = np.isnan(colours) if np.isnan(value) else colours == value
    else:
        gaps = colours == nodata  # which no integer is, if it does not fit the type
    gaps = gaps.all(axis=2) if gaps.ndim == 3 else gaps
    return gaps if gaps.any() else None


def present(array: NDArray[Any], nodata: float | None, *, cmyk: bool = False) -> NDArray[Any]:
    """Return the pixels that are no gaps, side by side: (1, N) or (1, N, C); if there are only gaps, one of zeros."""
    gaps = find_gaps(array, nodata, cmyk=cmyk)
    if gaps is None:
        return array
    return array[~gaps][np.newaxis] if not gaps.all() else np.zeros_like(array[:1, :1])


def without_gaps(array: NDArray[Any], gaps: NDArray[np.bool_], full_scale: Range) -> NDArray[Any]:
    """Return a copy of an array with the middle of its range in the gaps."""
    array = array.copy()
    array[gaps] = np.mean(full_scale if isinstance(full_scale, tuple) else (0, full_scale))
    return array


def bridge(image: NDArray[np.float32], gaps: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return an image (H, W, C) whose gaps hold the mean of the pixels around them, where there are some."""
    known = (~gaps).astype(np.float32)[..., np.newaxis]
    counts = _sums_around(known)
    means = _sums_around(image * known) / np.maximum(counts, 1)
    return np.where(gaps[..., np.newaxis] & (counts > 0.5), means.astype(np.float32), image)


def _sums_around(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sums over the square around each pixel; nothing lies beyond the border."""
    size = 2 * REACH + 1
    sums = np.pad(image, ((REACH + 1, REACH), (REACH + 1, REACH), (0, 0))).cumsum(0, np.float64).cumsum(1)
    return sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
