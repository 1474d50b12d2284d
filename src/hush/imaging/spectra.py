"""Patches of a picture and their spectra: what estimates of its noise look at.

A patch is taken apart by the discrete cosine transform. Its low frequencies say how much texture it has, its high ones
how strong the noise is. Where the picture is clipped, what that took away from the noise is known and given back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hush.imaging.arrays import LUMA

Floats = NDArray[Any]

PATCH = 8  # pixels along a side
MOST_PATCHES = 4_000  # so that the time does not grow with the picture; more no longer fit into a core's own cache
BLOCK = 64  # columns of a product; OpenBLAS uses one thread up to 64 * 64 * 64
PILE = 0.001  # share of pixels on the lowest or highest value from which on the picture counts as clipped there
REPEATS_JUDGED = 300  # patches
MEDIAN_OF_CHI_SQUARED = 0.45494


@dataclass(frozen=True, eq=False)
class Patchwork:
    """Patches (size * size, N, C) of a picture, full scale 1, and where it is clipped.

    Pixels come first, so that all that is summed over a patch is summed over long rows: several times as fast.
    """

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
        if scale > 1 and image[..., 0].size <= most * side * side:  # patches overlap: averages serve several
            return cls.cut(_shrunk(image, scale), most=most)._unlimited()
        windows = sliding_window_view(image, (side, side), axis=(0, 1))  # (rows, columns, C, side, side)
        step = math.isqrt(windows.shape[0] * windows.shape[1] // most) or 1
        channels = image.shape[2]
        patches = np.ascontiguousarray(windows[::step, ::step].transpose(3, 4, 0, 1, 2)).reshape(
            side, side, -1, channels
        )
        patches = patches.astype(np.float32, copy=False)
        if image.dtype.kind in "ui":
            patches = patches / np.float32(np.iinfo(image.dtype).max)
        low, high, flat = _limits(patches.reshape(side * side, -1, channels))
        patches = patches[:, :, ~flat] if flat.any() else patches
        while len(patches) > size:
            patches = _halved(patches)
        whole = cls(patches.reshape(size * size, -1, channels), size, low, high)
        return whole._unlimited() if scale > 1 else whole

    def _unlimited(self) -> Patchwork:
        """Return the same, not clipped: averages pile up nowhere."""
        return replace(self, low=np.full_like(self.low, -np.inf), high=np.full_like(self.high, np.inf))

    def __len__(self) -> int:
        return self.patches.shape[1]

    @cached_property
    def means(self) -> Floats:
        """(N, C)."""
        return self.patches.mean(0)

    @cached_property
    def energies(self) -> Floats:
        """(size * size, N, C): squared coefficients; where noise is white, each is its variance on average."""
        coefficients = _product(cosines(self.size), self.patches.reshape(len(self.patches), -1))
        return np.square(coefficients, out=coefficients).reshape(self.patches.shape)

    @cached_property
    def texture(self) -> Floats:
        """(N, C): the energy of the low frequencies, of which there are ``low_frequencies``."""
        return self.energies[self._low].sum(0)

    @cached_property
    def fine(self) -> Floats:
        """(K, N, C): the energies of the high frequencies."""
        return self.energies[order(self.size) > self.size]

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
        """Return the energies (K, n) of the high frequencies of the luminance of colour patches."""
        patches = self.patches[:, chosen]
        red, green, blue = (patches[..., c] * np.float32(weight) for c, weight in enumerate(LUMA))
        luminance = red + green + blue  # (size * size, n); a product with a vector is slower
        return np.square(_product(cosines(self.size)[order(self.size) > self.size], luminance))

    def kept(self, chosen: NDArray[np.int_] | slice, sigmas: Floats, channel: int | slice = slice(None)) -> Floats:
        """Return the share of the noise's variance that clipping leaves in patches: (n, C), or (n,) of one channel.

        ``sigmas`` are those of the channels, or of the patches of the one channel.
        """
        means = self.means[chosen, channel]
        if np.isinf(self.low[channel]).all() and np.isinf(self.high[channel]).all():
            return np.ones_like(means)
        below, above = means - self.low[channel], self.high[channel] - means
        return variance_kept(below, sigmas) * variance_kept(above, sigmas)

    def tilt(self, chosen: NDArray[np.int_]) -> float:
        """Return how many times the power of the upper high frequencies the lower ones have: 1 if noise is white.

        Of patches too small to tell, infinity.
        """
        if self.size < PATCH:
            return math.inf
        orders = order(self.size)
        high = orders[orders > self.size]
        energies = self.fine[:, chosen]
        lower, upper = (
            float(np.median(energies[there].mean(0))) for there in (high <= self.size + 2, high >= self.size + 4)
        )
        return lower / upper if upper > 0 else math.inf

    def repeats(self, chosen: NDArray[np.int_]) -> float:
        """Return how often a pixel of patches is exactly equal to its neighbour."""
        chosen = chosen[:: 1 + len(chosen) // REPEATS_JUDGED]
        patches = self.patches[:, chosen].reshape(self.size, self.size, -1)
        return float((patches[:, 1:] == patches[:, :-1]).mean())


def _shrunk(image: Floats, scale: int) -> Floats:
    """Average blocks of scale x scale pixels of an image (H, W, C); what is left over at the right and below is cut."""
    height, width = (side - side % scale for side in image.shape[:2])
    image = image[:height, :width, np.newaxis]
    if image.dtype.kind in "ui":
        image = image / np.float32(np.iinfo(image.dtype).max)
    for _ in range(scale.bit_length() - 1):
        image = _halved(image)
    return image[:, :, 0]


def _halved(patches: Floats) -> Floats:
    """Average blocks of 2x2 pixels of patches (side, side, N, C)."""
    rows = patches[::2] + patches[1::2]
    return (rows[:, ::2] + rows[:, 1::2]) / np.float32(4)


def _limits(patches: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return where the picture is clipped below and above (C,), infinity where it is not, and which patches are flat.

    Flat patches (N,) are of one value, or of the picture's darkest and brightest alone. No noise is like that: they are
    frames, black bars, print, skies burnt out in the camera, and the other patches tell more about the noise.
    """
    lowest, highest = patches.min(0), patches.max(0)  # (N, C)
    low, high = lowest.min(0), highest.max(0)  # (C,)
    flat = (lowest == highest).all(1)
    ends = np.flatnonzero((((lowest == low) | (lowest == high)) & ((highest == low) | (highest == high))).all(1))
    flat[ends] |= ((patches[:, ends] == low) | (patches[:, ends] == high)).all((0, 2))
    enough = (PILE + 4 / patches.shape[1]) * patches[..., 0].size  # a single pixel lies in up to 64 patches
    dark = [np.count_nonzero(patches[:, lowest[:, c] == low[c], c] == low[c]) for c in range(len(low))]
    bright = [np.count_nonzero(patches[:, highest[:, c] == high[c], c] == high[c]) for c in range(len(high))]
    low = np.where(np.array(dark) > enough, low, -np.inf)
    return low, np.where(np.array(bright) > enough, high, np.inf), flat


def _product(matrix: Floats, columns: Floats) -> Floats:
    """Multiply in blocks so small that BLAS wakes no other threads: they would fight with those of a network."""
    product = np.empty((len(matrix), columns.shape[1]), np.float32)
    for start in range(0, columns.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        np.matmul(matrix, columns[:, part], out=product[:, part])
    return product


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
    """Return the typical energy of energies (K, N, ...): medians over N, then K, so that no edge and pattern counts."""
    return np.median(median(energies, axis=1), axis=0).astype(np.float64) / MEDIAN_OF_CHI_SQUARED


def median(values: Floats, axis: int = 0) -> Floats:
    """Return the median along an axis, without the last value if they are even in number: faster than NumPy's."""
    middle = (values.shape[axis] - 1) // 2
    odd = values.take(range(2 * middle + 1), axis) if values.shape[axis] % 2 == 0 else values
    return np.partition(odd, middle, axis).take(middle, axis)


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
