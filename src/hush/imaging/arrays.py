"""The image contract: (H, W, C) float32, nominally [0, 1], never clipped on entry.

A picture file or a user's array may hold 1, 8 or 16 bits or floats, gray or colour, with alpha or without.
``decode`` turns it into an image, ``encode`` turns an image back into exactly that kind of array; rounding and
clipping happen there and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hush.errors import PictureError

FULL_SCALES = {"b1": 1.0, "u1": 255.0, "u2": 65535.0, "f2": 1.0, "f4": 1.0, "f8": 1.0}  # kind and bytes of a dtype
Range = float | tuple[float, float]  # the value that becomes 1, or the two that become 0 and 1
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; the gray of BSD68 and Set12


@dataclass(frozen=True, eq=False)
class Encoding:
    """How an array held its image, so that the restored one can be held alike."""

    dtype: np.dtype[Any]
    squeeze: bool  # the array was (H, W), not (H, W, C)
    full_scale: float  # the value that became 1.0
    alpha: NDArray[Any] | None = None  # (H, W), in the array's own dtype
    low: float = 0.0  # the value that became 0.0


def decode(
    array: ArrayLike, *, full_scale: Range | None = None, cmyk: bool = False
) -> tuple[NDArray[np.float32], Encoding]:
    """Turn an array into an image and remember how to turn it back.

    ``array`` is bool, uint8, uint16, float16, float32 or float64, (H, W) or (H, W, C) with C = 1 (gray),
    2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); with ``cmyk`` C = 4 means four inks. ``full_scale`` is the value
    that becomes 1.0, or the two values that become 0.0 and 1.0: by default 1, 255 or 65535 for integers and 1.0 for
    floats (see ``hush.imaging.ranges``). Alpha is kept apart.

    Returns the image, (H, W, 1), (H, W, 3) or for inks (H, W, 4) float32, and its Encoding. Values outside
    [0, 1] stay. A float32 array is not copied. Raises PictureError for any other array, and for NaN or infinity.
    """
    array = np.asarray(array)
    check_array(array, cmyk=cmyk)
    low, high = _bounds(FULL_SCALES[array.dtype.str[1:]] if full_scale is None else full_scale)
    squeeze = array.ndim == 2
    colours, alpha = (array[..., np.newaxis], None) if squeeze else _without_alpha(array, cmyk)
    with np.errstate(over="ignore"):  # what is beyond single precision is told below
        if low != 0:
            image = ((colours.astype(np.float64) - low) / (high - low)).astype(np.float32)
        elif high == 1:
            image = colours.astype(np.float32, copy=False)
        else:
            image = np.divide(colours, high, dtype=np.float32, casting="unsafe")
    check_finite(image)
    return image, Encoding(array.dtype, squeeze, high, alpha, low)


def shown(
    image: NDArray[np.float32], encoding: Encoding, gaps: NDArray[np.bool_] | None = None, *, judged: bool = False
) -> NDArray[np.float32]:
    """Return an image in which nothing tells what lies under full transparency, and in ``gaps`` (H, W): it is gray.

    ``judged`` puts blocks of the darkest and brightest values there, so that whoever looks for noise, among the patches
    with the least texture, looks elsewhere; gray would leave patches that are half noise, half none.
    """
    hidden = gaps
    if encoding.alpha is not None:
        hidden = encoding.alpha == 0 if gaps is None else gaps | (encoding.alpha == 0)
    if hidden is None or hidden.all() or not hidden.any():
        return image
    if not judged:
        return np.where(hidden[..., np.newaxis], np.float32(0.5), image)
    rows, columns = (np.arange(side) // 4 % 2 for side in image.shape[:2])
    seen = image[~hidden]  # (N, C)
    blocks = np.where((rows[:, None] == columns)[..., np.newaxis], seen.min(0), seen.max(0))
    return np.where(hidden[..., np.newaxis], blocks, image)


def _bounds(full_scale: Range) -> tuple[float, float]:
    """Return the values that become 0.0 and 1.0; raises PictureError if they are none."""
    low, high = full_scale if isinstance(full_scale, tuple) else (0.0, float(full_scale))
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise PictureError(f"full scale {full_scale}; it is a positive number, such as 255 or 4095, or two numbers")
    return float(low), float(high)


def encode(image: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Turn an image back into the kind of array it came from.

    ``image`` is (H, W, C) or (H, W), float. Integers are rounded and clipped to their type's range, floats to the
    largest number of their type, one bit is thresholded at 0.5. Alpha returns untouched. Raises PictureError for NaN or
    infinity.
    """
    check_finite(image)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    array = _quantise(image, encoding)
    if encoding.alpha is not None:
        array = np.concatenate([array, encoding.alpha[..., np.newaxis]], axis=2).astype(encoding.dtype, copy=False)
    return array[..., 0] if encoding.squeeze else array


def _quantise(image: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Scale an image to full scale in the encoding's dtype."""
    if encoding.dtype.kind == "b":
        return image >= 0.5
    low, span = encoding.low, encoding.full_scale - encoding.low
    if encoding.dtype.kind == "f":
        scaled = image if (low, span) == (0, 1) else image * np.float64(span) + low
        most = np.finfo(encoding.dtype).max  # of half floats 65504, where lights are often clamped
        return np.clip(scaled, -most, most).astype(encoding.dtype)
    scaled = np.multiply(image, span, dtype=np.float64 if low else np.float32)  # 24 bits of mantissa hold 16 exactly
    if low:
        scaled += low
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, np.iinfo(encoding.dtype).max, out=scaled)
    return scaled.astype(encoding.dtype)


def check_array(array: NDArray[Any], *, cmyk: bool = False) -> None:
    """Raise PictureError unless ``decode`` takes an array of this dtype and shape."""
    if array.dtype.str[1:] not in FULL_SCALES:
        raise PictureError(
            f"values of type {array.dtype}; bool, uint8, uint16, float16, float32 and float64 are taken. "
            "Convert the array to one of them"
        )
    if array.ndim not in (2, 3):
        raise PictureError(
            f"an array of shape {array.shape}; an image is (H, W) or (H, W, C). Pass the images of a batch one by one"
        )
    if array.ndim == 3 and array.shape[2] not in ((4,) if cmyk else (1, 2, 3, 4)):
        raise PictureError(_wrong_channels(array.shape, cmyk))
    if array.size == 0:
        raise PictureError(f"an array of shape {array.shape} holds no pixel; the least size is 1x1")


def _wrong_channels(shape: tuple[int, ...], cmyk: bool) -> str:
    allowed = "4 (CMYK)" if cmyk else "1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)"
    if shape[0] in (1, 3) and shape[2] > 4:
        advice = "The channels seem to come first: use numpy.moveaxis(array, 0, -1)"
    else:
        advice = "Choose or merge channels first"
    return f"{shape[2]} channels; an image has {allowed}. {advice}"


def check_finite(array: NDArray[Any]) -> None:
    """Raise PictureError if an array holds NaN, infinity, or values beyond float32."""
    finite = np.isfinite(array)
    if not finite.all():
        broken = array.size - int(np.count_nonzero(finite))
        raise PictureError(
            f"{broken} of {array.size} values are NaN or infinite; finite numbers are taken. "
            "Fill them first, for instance with numpy.nan_to_num"
        )


def _without_alpha(array: NDArray[Any], cmyk: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Part (H, W, C) into its colours and a copy of its alpha."""
    if cmyk or array.shape[2] in (1, 3):
        return array, None
    return array[..., :-1], array[..., -1].copy()


def colours_of(array: NDArray[Any], *, cmyk: bool = False) -> NDArray[Any]:
    """Return an array (H, W) or (H, W, C) without its alpha."""
    return array[..., :-1] if array.ndim == 3 and array.shape[2] in (2, 4) and not cmyk else array


def to_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image in [0, 1], clamped to that, as 8 bit."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def mean_around(image: NDArray[Any], reach: int) -> NDArray[Any]:
    """Average (2 * reach + 1)^2 pixels of an image (H, W, C); past the border the edge is repeated."""
    for axis in (0, 1):
        size = image.shape[axis]
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        parts = [padded[i : i + size] if axis == 0 else padded[:, i : i + size] for i in range(2 * reach + 1)]
        image = np.add.reduce(parts) / np.float32(len(parts))
    return image


def luminance(image: NDArray[Any]) -> NDArray[Any]:
    """Return the luma (H, W) of an image (H, W, 1) or (H, W, 3), by ITU-R BT.601."""
    if image.shape[2] == 1:
        return image[..., 0]
    return image[..., :3] @ np.asarray(LUMA, dtype=image.dtype)


def pad_to(
    image: NDArray[Any], height: int, width: int, *, mode: Literal["reflect", "edge"] = "reflect"
) -> NDArray[Any]:
    """Pad an image (H, W, C) at its lower and right border to at least ``height`` x ``width``.

    ``reflect`` mirrors without repeating the border, as often as it takes; a side of one pixel is repeated.
    An image that is large enough comes back as it is.
    """
    below, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    if below == 0 and right == 0:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode=mode)
