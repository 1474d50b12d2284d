"""How noisy is this picture? Blind estimation of the level of Gaussian noise, in NumPy.

The picture is cut into 8x8 patches and each is taken apart by the discrete cosine transform. The low frequencies say
how much texture a patch has, the high frequencies of the patches with the least texture say how strong the noise is
(Ponomarenko, Lukin, Zriakhov, Kaarna, Astola, An automatic approach to lossy compression of AVIRIS images, 2007).
White noise is independent from one frequency to the next, so choosing patches by their low frequencies does not bias
what the high ones say. As many patches are used as look like noise alone, and what clipping at black and white took
away from the noise is given back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hush.errors import PictureError

Floats = NDArray[Any]

PATCH = 8  # pixels along a side
MOST_PATCHES = 12_000  # so that the time does not grow with the picture
MOST_JUDGED = 4_000  # patches; more do not make the medians any better
FEWEST = 64  # patches to judge by, where the picture has them
LEAST_TEXTURE = 0.005  # share of the patches that is always used
ROUNDS = 3  # the level and the choice of patches depend on each other; more rounds change nothing
NEAR = 0.4  # sigmas between a patch's mean and clipping; nearer than that too little is left of the noise
FIRST_NEAR = 0.02  # share of the picture's range that is not used at first, where it is clipped
PILE = 0.001  # share of pixels on the lowest or highest value from which on the picture counts as clipped there
DRAWN = 0.6  # share of pixels equal to their neighbour; noise that 8 bits can show at all leaves less than 0.5
WHITE = 0.25  # lag-1 correlation; cameras' JPEGs were found to lie above 0.3, white noise of sigma 5 mostly below 0.15


@dataclass(frozen=True)
class NoiseEstimate:
    """What is known about a picture's noise. Levels are standard deviations on the 8-bit scale."""

    sigma: float  # over all channels; of the white part if the noise is correlated
    sigmas: tuple[float, ...]  # of each channel
    correlation: float  # of the noise in neighbouring pixels: 0 if white, 0.5 to 0.8 from a camera's JPEG
    total: float  # with the correlated part, extrapolated; equal to sigma if the noise is white

    @property
    def white(self) -> bool:
        """Whether the noise is independent from pixel to pixel; textures deceive below sigma 3."""
        return abs(self.correlation) < WHITE


def estimate_noise(image: Floats) -> NoiseEstimate:
    """Estimate the level of additive Gaussian noise in a picture.

    ``image`` is (H, W) or (H, W, C) without alpha, floats with full scale 1, or integers. The noise may have been
    clipped at black and white: the level is that before clipping. Deterministic; takes about the same time for every
    size. Drawings, and pictures with a side under 3 pixels, which have no high frequencies, are given sigma 0.

    Raises PictureError if the array is no picture or holds NaN or infinity.
    """
    if image.ndim not in (2, 3) or image.size == 0 or image.dtype.kind not in "buif":
        raise PictureError(f"an array {image.shape} of {image.dtype} is no picture; give (H, W) or (H, W, C)")
    image = image.reshape(*image.shape[:2], -1)
    size = min(PATCH, *image.shape[:2])
    nothing = NoiseEstimate(0.0, (0.0,) * image.shape[2], 0.0, 0.0)
    if size < 3:
        return nothing
    patches = _patches(image, size)  # (N, C, size**2)
    if not np.isfinite(patches).all():
        raise PictureError("the picture holds NaN or infinity; replace them before the noise is estimated")
    low, high, flat = _limits(patches)
    patches = patches[~flat] if flat.any() else patches
    if len(patches) == 0:
        return nothing
    means = patches.mean(-1)  # (N, C)
    energies = np.square((patches - means[..., None]) @ _cosines(size).T)  # (N, C, size**2)
    sigmas, usable, chosen = _levels(energies, means - low, high - means, FIRST_NEAR * float(np.ptp(means)), size)
    if _repeats(patches[chosen], size) > DRAWN:
        return nothing
    sigma = math.sqrt(float(np.mean(np.square(sigmas))))
    correlation, total = _spectrum(energies[usable], size, sigma)
    return NoiseEstimate(255 * sigma, tuple(255 * float(s) for s in sigmas), correlation, 255 * total)


def _patches(image: Floats, size: int) -> Floats:
    """Copy patches (N, C, size * size) from a regular grid, at most about MOST_PATCHES, as floats with full scale 1."""
    windows = sliding_window_view(image, (size, size), axis=(0, 1))  # (rows, columns, C, size, size)
    step = math.isqrt(windows.shape[0] * windows.shape[1] // MOST_PATCHES) or 1
    patches = windows[::step, ::step].reshape(-1, image.shape[2], size * size).astype(np.float32, copy=False)
    return patches / np.float32(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else patches


@cache
def _cosines(size: int) -> Floats:
    """Return the orthonormal two-dimensional cosine transform (size**2, size**2); row u * size + v."""
    k = np.arange(size)
    basis = np.cos(np.pi * np.outer(k, 2 * k + 1) / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return np.kron(basis, basis).astype(np.float32)


def _order(size: int) -> NDArray[np.int_]:
    """Return u + v of each coefficient: 0 is the mean, 2 * size - 2 the finest checkerboard."""
    return np.add.outer(np.arange(size), np.arange(size)).ravel()


def _limits(patches: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return where the picture is clipped below and above (C,), infinity where it is not, and which patches are flat.

    Flat patches (N,) are of one value, or of the picture's darkest and brightest alone. No noise is like that: they are
    frames, black bars, print, skies burnt out in the camera, and the other patches tell more about the noise.
    """
    lowest, highest = patches.min(-1), patches.max(-1)  # (N, C)
    low, high = lowest.min(0), highest.max(0)  # (C,)
    dark, bright = patches == low[:, None], patches == high[:, None]
    flat = (lowest == highest).all(1) | (dark | bright).all((1, 2))
    pile = PILE + 4 / len(patches)  # a single pixel lies in up to 64 patches
    low = np.where(dark.mean((0, 2)) > pile, low, -np.inf)
    return low, np.where(bright.mean((0, 2)) > pile, high, np.inf), flat


def _repeats(patches: Floats, size: int) -> float:
    """Return how often a pixel is exactly equal to its neighbour."""
    patches = patches.reshape(-1, size, size)
    return float((patches[:, :, 1:] == patches[:, :, :-1]).mean())


def _levels(
    energies: Floats, below: Floats, above: Floats, near: float, size: int
) -> tuple[Floats, NDArray[np.int_], NDArray[np.int_]]:
    """Return sigma of each channel on the image's own scale, the patches not spoilt by clipping, and those judged by.

    ``below`` and ``above`` are the distances (N, C) of the patches' means from where the picture is clipped;
    nearer than ``near`` no patch is used as long as sigma is not known.
    """
    order = _order(size)
    low, high = (order > 0) & (order < size), order > size
    texture = energies @ low.astype(np.float32)  # (N, C)
    nearest = np.minimum(below, above).min(1)  # (N,)
    sigmas = np.zeros(energies.shape[1])
    for round_ in range(ROUNDS + 1):
        usable = np.flatnonzero(nearest > (NEAR * sigmas.max() if round_ else near))
        if len(usable) < FEWEST:
            usable = _smallest(-nearest, FEWEST)
        kept = _variance_kept(below[usable], sigmas) * _variance_kept(above[usable], sigmas)  # (n, C)
        strength = (texture[usable] / kept).mean(1)
        expected = low.sum() * np.mean(np.square(sigmas)) * (1 + math.sqrt(2 / (low.sum() * len(sigmas))))
        count = max(FEWEST, int(LEAST_TEXTURE * len(usable)), int((strength <= expected).sum()))
        chosen = _smallest(strength, count)
        chosen = chosen[:: max(1, len(chosen) // MOST_JUDGED)]
        sigmas = np.sqrt(_typical(energies[usable[chosen]][..., high] / kept[chosen][..., None]))
    return sigmas, usable, usable[chosen]


def _smallest(values: Floats, count: int) -> NDArray[np.int_]:
    """Return where the smallest values stand, in the order of the picture."""
    count = min(count, len(values))
    return np.sort(np.argpartition(values, count - 1)[:count])


def _typical(energies: Floats) -> Floats:
    """Return the typical energy (C,) of energies (N, C, K): medians, so that no edge and no pattern counts."""
    median_of_chi_squared = 0.45494
    return np.median(np.median(energies, axis=0), axis=-1).astype(np.float64) / median_of_chi_squared


@cache
def _clipping_table() -> tuple[Floats, Floats]:
    """Tabulate for x = max(z, -a), z a standard normal variable: the mean of x + a, and the variance of x."""
    a = np.linspace(-1, 5, 241)
    above = np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in a])  # P(z > -a)
    density = np.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    gain = density - a * (1 - above)  # mean of x
    return a + gain, a * a * (1 - above) + above - a * density - gain * gain


def _variance_kept(distances: Floats, sigmas: Floats) -> Floats:
    """Return the share of the noise's variance that clipping leaves at these distances between mean and limit."""
    return np.interp(distances / np.maximum(sigmas, 1e-9), *_clipping_table())


def _spectrum(energies: Floats, size: int, sigma: float) -> tuple[float, float]:
    """Return the noise's correlation between neighbours, and its level with the correlated part, on the image's scale.

    Above the lowest frequencies, by which the patches are chosen here, the spectrum of the least textured patches is
    taken for that of the noise. The lowest are extrapolated as exp(a - b f^2): noise blurred by a Gaussian.
    """
    if size < PATCH:
        return 0.0, sigma
    order = _order(size)
    texture = (energies @ ((order > 0) & (order <= 3)).astype(np.float32)).sum(1)
    count = max(FEWEST, len(energies) // 100)
    power = energies[_smallest(texture, count)].mean((0, 1), dtype=np.float64)  # (size**2,)
    fitted = (order > 3) & (order <= 9) & (power > 0)
    if power[order > 3].max() < (0.05 / 255) ** 2 or fitted.sum() < 3:
        return 0.0, sigma
    squares = np.add.outer(np.square(np.arange(size)), np.square(np.arange(size))).ravel()
    weights = np.sqrt(power[fitted] / power[fitted].max())
    slope, start = np.polyfit(squares[fitted], np.log(power[fitted]), 1, w=weights)
    power[order <= 3] = np.exp(start + min(slope, 0) * squares[order <= 3])
    shift = np.cos(np.pi * np.arange(size) / size)  # what a step to the next pixel leaves of each frequency
    plane = power.reshape(size, size)
    correlation = float((plane * np.add.outer(shift, shift)).sum() / (2 * plane.sum())) - 1 / size  # 1/size: if white
    return correlation, sigma if abs(correlation) < WHITE else max(sigma, math.sqrt(plane.mean()))
