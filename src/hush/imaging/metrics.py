"""How close is a restored image to the clean one? PSNR, three named variants of SSIM, and the squared error.

Everything is computed in double precision, on images (H, W, C) or (H, W), one figure per image.

SSIM has several variants in the literature that differ by up to 0.04 on the same images. Here ``ssim`` is the original
(Wang et al. 2004), ``ssim_uniform`` is scikit-image's default and ``ssim_volume`` what MATLAB gives for colour
pictures; name the one that you report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.arrays import luminance

Doubles = NDArray[np.float64]

K1, K2 = 0.01, 0.03  # stabilise SSIM's two quotients; Wang et al. 2004


def mse(restored: NDArray[Any], clean: NDArray[Any]) -> float:
    """Return the mean squared error over all pixels and channels.

    Raises PictureError if the shapes differ.
    """
    restored, clean = _pair(restored, clean)
    return float(np.mean(np.square(restored - clean)))


def psnr(restored: NDArray[Any], clean: NDArray[Any], *, peak: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio in dB, over all pixels and channels of an image.

    ``peak`` is the value of full scale: 1 for images in [0, 1], 255 for 8-bit integers. Equal images give infinity,
    one that is not finite NaN. Equal to ``skimage.metrics.peak_signal_noise_ratio(clean, restored, data_range=peak)``.

    Raises PictureError if the shapes differ, or if integers come without a peak.
    """
    _check_peak(restored, clean, peak)
    error = mse(restored, clean)
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(restored: NDArray[Any], clean: NDArray[Any], *, peak: float = 1.0) -> float:
    """Return the structural similarity with the original Gaussian window, averaged over the channels.

    The window is 11x11 with sigma 1.5, kept inside the image; variances are those of the window's weights
    (Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, IEEE TIP 2004). Equal to
    ``skimage.metrics.structural_similarity(..., gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=peak, channel_axis=2)``, and to the mean of torchmetrics' map without its border of 5 pixels
    (torchmetrics' own figure counts that border, on pixels made up by reflection: up to 0.01 away).
    Along a side shorter than 11 pixels the window is cut to the largest odd length that fits.

    Raises PictureError if the shapes differ, or if integers come without a peak.
    """
    _check_peak(restored, clean, peak)
    restored, clean = _pair(restored, clean)
    windows = [np.exp(-np.square(np.arange(n) - n // 2) / (2 * 1.5**2)) for n in _window_sizes(clean, 11)]
    return _ssim(restored, clean, windows, peak, unbiased=1.0)


def ssim_uniform(restored: NDArray[Any], clean: NDArray[Any], *, peak: float = 1.0) -> float:
    """Return the structural similarity with a uniform 7x7 window, averaged over the channels.

    Variances are unbiased (n - 1). Equal to ``skimage.metrics.structural_similarity(..., data_range=peak,
    channel_axis=2)`` with its defaults. Along a side shorter than 7 pixels the window is cut to the largest odd length
    that fits.

    Raises PictureError if the shapes differ, or if integers come without a peak.
    """
    _check_peak(restored, clean, peak)
    restored, clean = _pair(restored, clean)
    rows, columns = _window_sizes(clean, 7)
    n = rows * columns
    return _ssim(restored, clean, [np.ones(rows), np.ones(columns)], peak, unbiased=n / max(n - 1, 1))


def ssim_volume(restored: NDArray[Any], clean: NDArray[Any], *, peak: float = 1.0) -> float:
    """Return the structural similarity of colour pictures taken as volumes: what MATLAB's ``ssim(A, B)`` gives.

    The Gaussian window of sigma 1.5 and 11 pixels goes across the channels too, and over the border, where the edge is
    repeated; variances are those of the window's weights. Published figures on SIDD's validation blocks are this one;
    it is higher than ``ssim``.

    Raises PictureError if the shapes differ, or if integers come without a peak.
    """
    _check_peak(restored, clean, peak)
    restored, clean = _pair(restored, clean)
    window = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    channels = clean.shape[2]
    places = np.clip(np.arange(channels)[:, None] + np.arange(-5, 6), 0, channels - 1)  # (C, 11)
    mix = (places[..., None] == np.arange(channels)).swapaxes(1, 2) @ (window / window.sum())  # (C, C)

    def smooth(volume: Doubles) -> Doubles:
        padded = np.pad(volume, ((5, 5), (5, 5), (0, 0)), mode="edge")
        planes = [_smooth(padded[..., channel], [window, window]) for channel in range(channels)]
        return np.asarray(np.stack(planes, axis=2) @ mix.T)

    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    x, y = smooth(restored), smooth(clean)
    covariance = smooth(restored * clean) - x * y
    variances = smooth(restored * restored + clean * clean) - x * x - y * y
    return float(np.mean((2 * x * y + c1) * (2 * covariance + c2) / ((x * x + y * y + c1) * (variances + c2))))


METRICS: dict[str, Callable[..., float] | str] = {
    "psnr": psnr,
    "ssim": ssim,
    "ssim_uniform": ssim_uniform,
    "ssim_volume": ssim_volume,
    "mse": mse,
    "lpips": "hush.learning.perceptual:lpips",  # these two need torch
    "lpips_vgg16": "hush.learning.perceptual:lpips_vgg16",
}


def sharpness(image: NDArray[Any]) -> float:
    """Return how much detail an image (H, W, C) in [0, 1] shows: the rms of its luminance's Laplacian, 8-bit scale.

    It compares views of one scene without a clean one, blurred and restored; noise counts as detail. After Pech-Pacheco
    et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    gray = 255 * (luminance(image) if image.shape[2] == 3 else image[..., 0]).astype(np.float64)
    padded = np.pad(gray, 1, mode="edge")
    laplacian = padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * gray
    return float(np.sqrt(np.mean(np.square(laplacian))))


def to_eight_bit(image: NDArray[Any]) -> NDArray[Any]:
    """Clamp an image to [0, 1] and round it to 256 levels: what a viewer sees of it, and what the field measures.

    Returns floats k / 255 of the image's own type and shape.
    """
    return np.rint(np.clip(image, 0, 1) * 255) / 255


def _pair(restored: NDArray[Any], clean: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Return both images as doubles (H, W, C)."""
    if restored.shape != clean.shape:
        raise PictureError(f"restored is {restored.shape}, clean is {clean.shape}; only images of one shape compare")
    if restored.ndim not in (2, 3) or restored.size == 0:
        raise PictureError(f"an array of shape {restored.shape} is no image; give (H, W) or (H, W, C)")
    shape = restored.shape if restored.ndim == 3 else (*restored.shape, 1)
    return restored.astype(np.float64).reshape(shape), clean.astype(np.float64).reshape(shape)


def _check_peak(restored: NDArray[Any], clean: NDArray[Any], peak: float) -> None:
    if peak == 1.0 and any(image.dtype.kind in "iu" for image in (restored, clean)):
        raise PictureError(f"{clean.dtype} images need their full scale: give peak=255 for 8 bit, 65535 for 16 bit")


def _window_sizes(image: Doubles, largest: int) -> list[int]:
    return [min(largest, side - 1 + side % 2) for side in image.shape[:2]]


def _ssim(restored: Doubles, clean: Doubles, windows: list[Doubles], peak: float, unbiased: float) -> float:
    """Average SSIM over channels and over the places where the whole window lies in the image."""
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    values = []
    for channel in range(clean.shape[2]):
        x, y = np.ascontiguousarray(restored[..., channel]), np.ascontiguousarray(clean[..., channel])
        mean_x, mean_y, mean_squares, mean_xy = (_smooth(z, windows) for z in (x, y, x * x + y * y, x * y))
        product = mean_x * mean_y
        squares = mean_x * mean_x + mean_y * mean_y
        covariance = unbiased * (mean_xy - product)
        variances = unbiased * (mean_squares - squares)  # of x and y together: only their sum is needed
        values.append(np.mean((2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))))
    return float(np.mean(values))


def _smooth(image: Doubles, windows: list[Doubles]) -> Doubles:
    """Return the weighted mean under a separable window, where it lies inside the image."""
    for window in windows:  # rows first; each pass hands over its result transposed, so two passes restore the order
        image = _smooth_rows(image, window / window.sum()).T
    return image


def _smooth_rows(image: Doubles, window: Doubles, block: int = 32) -> Doubles:
    """Filter down the columns, block by block, by products with a banded matrix: faster than a pass for each weight."""
    height = image.shape[0] - len(window) + 1
    image = np.ascontiguousarray(image)
    block = min(block, height)
    band = np.zeros((block, block + len(window) - 1))
    for row in range(block):
        band[row, row : row + len(window)] = window
    whole = height // block * block
    views = sliding_window_view(image, band.shape[1], axis=0)[:whole:block]  # (blocks, W, block + window - 1)
    smooth = np.empty((height, image.shape[1]))
    np.matmul(band, views.transpose(0, 2, 1), out=smooth[:whole].reshape(-1, block, image.shape[1]))
    if whole < height:
        smooth[whole:] = band[: height - whole, : image.shape[0] - whole] @ image[whole:]
    return smooth
