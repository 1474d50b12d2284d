"""What is kept of a restoration: its strength, fine texture, grain, luminance or colours only, and where.

All work on parts of an image as on the whole: strength, luma and chroma pixel by pixel, texture and grain within
`CONTEXT`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hush.imaging.arrays import luminance, mean_around
from hush.restoring.options import DenoiseOptions

Image = NDArray[np.float32]

CONTEXT = 8  # pixels around a part that its fine texture and its grain depend on
GRAIN = np.float32(2 / 255)  # deviation of the grain that is returned at most: seen close by, hardly from afar
REACH = 2  # pixels; texture is what differs from the mean of the (2 * REACH + 1)^2 pixels around, taken twice


def control(noisy: Image, restored: Image, options: DenoiseOptions, mask: Image | None = None) -> Image:
    """Return what the options keep of the change from noisy to restored.

    Args:
        noisy: (H, W, C), C = 1, 3 or, for inks, 4.
        restored: the same.
        options: of these strength, keep_detail, keep_grain and only count.
        mask: (H, W) in [0, 1], None for 1 everywhere.
    """
    colour = noisy.shape[2] == 3
    if options.keep_detail > 0:
        restored = _with_detail(noisy, restored, np.float32(options.keep_detail))
    if options.keep_grain > 0:
        restored = restored + np.float32(options.keep_grain) * _grain(noisy, restored)
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
    return restored + share * _fine(noisy, restored)


def _fine(noisy: Image, restored: Image) -> Image:
    """Return the fine part of what was removed from the luminance, (H, W, 1), or from each ink."""
    removed = luminance(noisy - restored)[..., np.newaxis] if noisy.shape[2] == 3 else noisy - restored
    return removed - mean_around(mean_around(removed, REACH), REACH)


def _grain(noisy: Image, restored: Image) -> Image:
    """Return the fine part of the luminance that was removed, made weaker where it is stronger than `GRAIN`.

    Where much was removed a little comes back, so that flat places do not look like plastic; where little was removed
    all of it does; blotches, colour noise and the edges that a restorer softened do not.
    """
    fine = _fine(noisy, restored)
    deviation = np.sqrt(mean_around(mean_around(np.square(fine), REACH), REACH))
    return np.asarray(fine * (GRAIN / np.maximum(deviation, GRAIN)), np.float32)
