"""What is kept of a restoration: its strength, fine texture, luminance or colours only, and where.

All work on parts of an image as on the whole: strength, luma and chroma pixel by pixel, texture within `CONTEXT`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hush.imaging.arrays import luminance
from hush.restoring.options import DenoiseOptions

Image = NDArray[np.float32]

CONTEXT = 4  # pixels around a part that its fine texture depends on
REACH = 2  # pixels; texture is what differs from the mean of the (2 * REACH + 1)^2 pixels around, taken twice


def control(noisy: Image, restored: Image, options: DenoiseOptions, mask: Image | None = None) -> Image:
    """Return what the options keep of the change from noisy to restored.

    Args:
        noisy: (H, W, C), C = 1, 3 or, for inks, 4.
        restored: the same.
        options: of these strength, keep_detail and only count.
        mask: (H, W) in [0, 1], None for 1 everywhere.
    """
    colour = noisy.shape[2] == 3
    if options.keep_detail > 0:
        restored = _with_detail(noisy, restored, np.float32(options.keep_detail))
    if options.only == "luma":
        restored = noisy + (luminance(restored) - luminance(noisy))[..., np.newaxis] if colour else restored
    elif options.only == "chroma":
        restored = restored + (luminance(noisy) - luminance(restored))[..., np.newaxis] if colour else noisy
    share = np.float32(options.strength) if mask is None else np.float32(options.strength) * mask[..., np.newaxis]
    if mask is None and options.strength == 1:
        return restored
    return noisy + share * (restored - noisy)


def _with_detail(noisy: Image, restored: Image, share: np.float32) -> Image:
    """Return the fine part of the luminance that was removed, to all colours alike.

    Inks are no colours whose luminance is known: each is taken by itself.
    """
    removed = luminance(noisy - restored)[..., np.newaxis] if noisy.shape[2] == 3 else noisy - restored
    return restored + share * (removed - _mean(_mean(removed)))


def _mean(image: Image) -> Image:
    """Average (2 * REACH + 1)^2 pixels; past the border the edge is repeated."""
    for axis in (0, 1):
        size = image.shape[axis]
        padded = np.pad(image, [(REACH, REACH) if a == axis else (0, 0) for a in range(3)], mode="edge")
        parts = [padded[i : i + size] if axis == 0 else padded[:, i : i + size] for i in range(2 * REACH + 1)]
        image = np.add.reduce(parts) / np.float32(len(parts))
    return image
