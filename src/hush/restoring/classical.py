"""Classical denoisers, each at the strength that suits a noise level: peers to compare networks with.

Each takes an image (H, W, C) and sigma on the 8-bit scale. The strengths per sigma are fits to the best PSNR on 13
colour crops of training photographs at sigma 5, 15, 25, 50 and 75.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import MissingExtra, need
from hush.imaging.arrays import pad_to

Image = NDArray[np.float32]
EXTRA = "classical"
SMALLEST = 32  # pixels a side; smaller images are mirrored up to it, since some methods fail on them


def nlm(image: Image, sigma: float) -> Image:
    """Average pixels whose 5x5 surroundings look alike, among 13x13 (Buades, Coll, Morel, CVPR 2005).

    Needs scikit-image. The best h fell from 0.82 sigma at 5 to 0.45 sigma at 75.
    """
    restoration = need("skimage.restoration", EXTRA)
    h = 1.17 * sigma**0.78 / 255
    return _apply(
        image, restoration.denoise_nl_means, patch_size=5, patch_distance=6, h=h, sigma=sigma / 255, fast_mode=True
    )


def tv(image: Image, sigma: float) -> Image:
    """Find the close image of least total variation (Rudin, Osher, Fatemi 1992; solved as in Chambolle 2004).

    Needs scikit-image. The best weight rose from 0.5 sigma at 5 to 0.95 sigma at 75.
    """
    restoration = need("skimage.restoration", EXTRA)
    weight = 0.32 * sigma**1.25 / 255
    return _apply(image, restoration.denoise_tv_chambolle, weight=weight, eps=1e-5, max_num_iter=200)


def wavelet(image: Image, sigma: float) -> Image:
    """Shrink wavelet coefficients softly, by a threshold per band (BayesShrink; Chang, Yu, Vetterli 2000).

    Needs scikit-image and PyWavelets. Symlet 4 on up to four levels, colours as YCbCr.
    """
    restoration = need("skimage.restoration", EXTRA)
    pywt = need("pywt", EXTRA)
    shortest = max(SMALLEST, min(image.shape[:2]))
    return _apply(
        image,
        restoration.denoise_wavelet,
        sigma=sigma / 255,
        wavelet="sym4",
        wavelet_levels=min(4, pywt.dwt_max_level(shortest, "sym4")),
        convert2ycbcr=image.shape[2] == 3,
    )


def median(image: Image, sigma: float) -> Image:
    """Take the median over a disk: radius 1 at sigma 25, 3 at 50. Needs scikit-image."""
    ndimage = need("scipy.ndimage", EXTRA)
    radius = int(np.clip(round(sigma / 17), 1, 4))
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = rows**2 + columns**2 <= radius**2
    return ndimage.median_filter(image, footprint=disk[..., np.newaxis], mode="nearest")


def bm3d(image: Image, sigma: float) -> Image:
    """Filter stacks of similar blocks together (Dabov, Foi, Katkovnik, Egiazarian, IEEE TIP 2007).

    Raises MissingExtra where bm3d is not installed; its licence keeps it out of every extra of hush.
    """
    try:
        import bm3d as package
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "bm3d is not installed. Run: pip install bm3d (its licence allows non-commercial use only)"
        ) from error

    def method(image: NDArray[np.float32], *, channel_axis: int | None) -> NDArray[np.float64]:
        return (package.bm3d if channel_axis is None else package.bm3d_rgb)(image, sigma / 255)

    if image.shape[2] in (1, 3):
        return _apply(image, method)
    return np.dstack([_apply(channel[..., np.newaxis], method) for channel in np.moveaxis(image, 2, 0)])


CLASSICAL: dict[str, Callable[[Image, float], Image]] = {
    "nlm": nlm,
    "tv": tv,
    "wavelet": wavelet,
    "median": median,
    "bm3d": bm3d,
}


def _apply(image: Image, method: Callable[..., NDArray[Any]], **options: Any) -> Image:
    """Call a function of scikit-image's manner, which takes (H, W) or (H, W, C), with an image of any size."""
    height, width, channels = image.shape
    padded = pad_to(image, SMALLEST, SMALLEST)
    gray = channels == 1
    restored = method(padded[..., 0] if gray else padded, channel_axis=None if gray else 2, **options)
    return np.asarray(restored, np.float32).reshape(padded.shape)[:height, :width]
