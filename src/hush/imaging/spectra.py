"""Patches of a picture and their spectra: what estimates of its noise look at.

A patch is taken apart by the discrete cosine transform. Its low frequencies say how much texture it has, its high ones
how strong the noise is. Where the picture is clipped, what that took away from the noise is known and given back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hush.imaging.arrays import LUMA

Floats = NDArray[Any]

PATCH = 8  # pixels along a side
MOST_PATCHES = 12_000  # so that the time does not grow with the picture
PILE = 0.001  # share of pixels on the lowest or highest value from which on the picture counts as clipped there
MEDIAN_OF_CHI_SQUARED = 0.45494


@dataclass(frozen=True, eq=False)
class Patchwork:
    """Patches (N, C, size * size) of a picture, full scale 1, and where it is clipped."""

    patches: Floats
    size: int
    low: Floats
    """(C,): where the picture is clipped below; -infinity where it is not."""
    high: Floats
    """(C,): where it is clipped above."""

    @classmethod
    def cut(cls, image: Floats, scale: int = 1, most: int = MOST_PATCHES) -> Patchwork:
        """Cut patches from a regular grid, at most about ``most``, of a picture (H, W, C) made smaller by ``scale``.

        ``scale`` is a power of two. Patches are 8x8, or smaller where the picture is; flat ones are left out.
        """
        size = min(PATCH, *(side // scale for side in image.shape[:2]))
        side = size * scale
        windows = sliding_window_view(image, (side, side), axis=(0, 1))  # (rows, columns, C, side, side)
        step = math.isqrt(windows.shape[0] * windows.shape[1] // most) or 1
        patches: Floats = windows[::step, ::step].reshape(-1, image.shape[2], side, side)
        patches = patches.astype(np.float32, copy=False)
        if image.dtype.kind in "ui":
            patches = patches / np.float32(np.iinfo(image.dtype).max)
        low, high, flat = _limits(patches.reshape(*patches.shape[:2], -1))
        patches = patches[~flat] if flat.any() else patches
        if scale > 1:
            low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)  # averages pile up nowhere
        while patches.shape[-1] > size:
            patches = _halved(patches)
        return cls(patches.reshape(len(patches), image.shape[2], size * size), size, low, high)

    def __len__(self) -> int:
        return len(self.patches)

    @cached_property
    def means(self) -> Floats:
        """(N, C)."""
        return self.patches.mean(-1)

    @cached_property
    def energies(self) -> Floats:
        """(N, C, size * size): squared coefficients; where noise is white, each is its variance on average."""
        return np.square((self.patches - self.means[..., None]) @ cosines(self.size).T)

    @cached_property
    def texture(self) -> Floats:
        """(N, C): the energy of the low frequencies, of which there are ``low_frequencies``."""
        return self.energies @ self._low.astype(np.float32)

    @cached_property
    def fine(self) -> Floats:
        """(N, C, K): the energies of the high frequencies."""
        return self.energies[..., order(self.size) > self.size]

    @property
    def low_frequencies(self) -> int:
        """How many make up ``texture``."""
        return int(self._low.sum())

    @property
    def _low(self) -> NDArray[np.bool_]:
        return (order(self.size) > 0) & (order(self.size) < self.size)

    @cached_property
    def nearest(self) -> Floats:
        """(N, C): how far the means are from where the picture is clipped."""
        return np.minimum(self.means - self.low, self.high - self.means)

    def fine_luminance(self, chosen: NDArray[np.int_]) -> Floats:
        """Return the energies (n, K) of the high frequencies of the luminance of colour patches."""
        colours = self.patches[chosen] - self.means[chosen][..., None]  # (n, 3, size * size)
        high = cosines(self.size)[order(self.size) > self.size]
        return np.square(np.tensordot(colours, np.asarray(LUMA, np.float32), (1, 0)) @ high.T)

    def kept(self, chosen: NDArray[np.int_] | slice, sigmas: Floats, channel: int | slice = slice(None)) -> Floats:
        """Return the share of the noise's variance that clipping leaves in patches: (n, C), or (n,) of one channel.

        ``sigmas`` are those of the channels, or of the patches of the one channel.
        """
        means = self.means[chosen, channel]
        if np.isinf(self.low[channel]).all() and np.isinf(self.high[channel]).all():
            return np.ones_like(means)
        below, above = means - self.low[channel], self.high[channel] - means
        return variance_kept(below, sigmas) * variance_kept(above, sigmas)

    def repeats(self, chosen: NDArray[np.int_]) -> float:
        """Return how often a pixel of patches is exactly equal to its neighbour."""
        patches = self.patches[chosen].reshape(-1, self.size, self.size)
        return float((patches[:, :, 1:] == patches[:, :, :-1]).mean())


def _halved(patches: Floats) -> Floats:
    """Average blocks of 2x2 pixels of patches (N, C, side, side)."""
    rows = patches[:, :, ::2] + patches[:, :, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]) / np.float32(4)


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


@cache
def cosines(size: int) -> Floats:
    """Return the orthonormal two-dimensional cosine transform (size**2, size**2); row u * size + v."""
    k = np.arange(size)
    basis = np.cos(np.pi * np.outer(k, 2 * k + 1) / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return np.kron(basis, basis).astype(np.float32)


def order(size: int) -> NDArray[np.int_]:
    """Return u + v of each coefficient: 0 is the mean, 2 * size - 2 the finest checkerboard."""
    return np.add.outer(np.arange(size), np.arange(size)).ravel()


def smallest(values: Floats, count: int) -> NDArray[np.int_]:
    """Return where the smallest values stand, in their order."""
    count = min(count, len(values))
    return np.sort(np.argpartition(values, count - 1)[:count])


def typical(energies: Floats) -> Floats:
    """Return the typical energy of energies (N, ..., K): medians over N, then K, so that no edge and pattern counts."""
    return np.median(np.median(energies, axis=0), axis=-1).astype(np.float64) / MEDIAN_OF_CHI_SQUARED


@cache
def _clipping_table() -> tuple[Floats, Floats]:
    """Tabulate for x = max(z, -a), z a standard normal variable: the mean of x + a, and the variance of x."""
    a = np.linspace(-1, 5, 241)
    above = np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in a])  # P(z > -a)
    density = np.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    gain = density - a * (1 - above)  # mean of x
    return a + gain, a * a * (1 - above) + above - a * density - gain * gain


def variance_kept(distances: Floats, sigmas: Floats) -> Floats:
    """Return the share of the noise's variance that clipping leaves at these distances between mean and limit."""
    return np.interp(distances / np.maximum(sigmas, 1e-9), *_clipping_table())
