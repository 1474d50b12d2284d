"""How noisy is this picture? Blind estimation of the level of noise, in NumPy.

The picture is cut into 8x8 patches and each is taken apart by the discrete cosine transform. The low frequencies say
how much texture a patch has, the high frequencies of the patches with the least texture say how strong the noise is
(Ponomarenko, Lukin, Zriakhov, Kaarna, Astola, An automatic approach to lossy compression of AVIRIS images, 2007).
White noise is independent from one frequency to the next, so choosing patches by their low frequencies does not bias
what the high ones say. As many patches are used as look like noise alone, and what clipping at black and white took
away from the noise is given back.

The same of the picture at half and at a quarter of its size says what the noise's coarser part is like: averaging
blocks of pixels leaves of white noise what it should, and more of noise that a camera or a codec has smoothed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.arrays import LUMA, check_array, mean_around
from hush.imaging.brightness import fit_brightness
from hush.imaging.spectra import PATCH, Patchwork, smallest, typical

Floats = NDArray[Any]

ROUGHLY_JUDGED = 500  # patches in all rounds but the last
MOST_JUDGED = 1_500  # patches; more do not make the medians any better
FEWEST = 64  # patches to judge by, where the picture has them
LEAST_TEXTURE = 0.005  # share of the patches that is always used
ROUNDS = 3  # the level and the choice of patches depend on each other; more rounds change nothing
NEAR = 0.4  # sigmas between a patch's mean and clipping; nearer than that too little is left of the noise
FIRST_NEAR = 0.02  # share of the picture's range that is not used at first, where it is clipped
DRAWN = 0.6  # share of pixels equal to their neighbour; noise that 8 bits can show at all leaves less than 0.5
PRINTED = 0.15  # the same for small print, whose spectrum is not flat: strong noise leaves less, unless counts are few

MOST_COARSE = 1_600  # patches of the picture at half its size
FREQUENCIES = (0.118, 0.236, 0.471)  # cycles per pixel that are judged by at a quarter, half and full size
BLOCKS = 0.56  # what averaging 2x2 pixels leaves of the power at the second: cos^4(pi/6)
TEXTURED = 1.5  # levels of 8 bit by which texture raises what half the size says
ALIKE = 1.1  # times as strong as in each channel from which on noise counts as shared by the channels
COARSER = 1.15  # times that white noise may seem stronger at half the size
SMOOTHED = 0.8  # level of 8 bit at the finest below which a camera or a codec may have taken all that was there
LUMPS, MOST_LUMPS = 0.5, 3.0  # levels of 8 bit at half the size: what smoothing left lies between; more is texture
LUMPIER = 4.0  # times the finest level: less than this is texture too (by PolyU's training pairs)
UNEVEN = 0.6  # deviation of the energies of patches, by their median, from which on they show texture
STRONG = 8.0  # level of 8 bit at the finest that cameras, which smooth, hardly leave
WHITE, WHITE_IF_STRONG = 1.5, 2.0  # times as much power in the middle of the high frequencies as at their end: of
# white noise, and of noise so strong that cameras hardly leave it; what a camera smoothed has more, mostly 2 to 9
LEAST_HALVED = 128  # pixels a side of a picture that is judged smaller: of a smaller one few patches are left
TOLD = 1.25  # times: a network that knows white noise must be told more of noise that is coarser
VARIES = 1.4  # times as much variance in the bright as in the dark, from which on one level is no good
VERDICTS = {"very strong": 25.0, "strong": 8.0, "light": 2.0, "clean": 0.0}  # from which level on
UNLIKE = 1.2  # times that one channel may be noisier than another and still be called alike
LIGHT_IF_COARSE = 1.0  # where noise is left in lumps, most of it is where the picture is not flat, and not judged
SMOOTH = 3  # pixels around one whose mean says how bright it is


@dataclass(frozen=True)
class NoiseEstimate:
    """What is known about a picture's noise. Levels are standard deviations on the 8-bit scale."""

    sigma: float  # over all channels and pixels; of the finest part if the noise is not white
    sigmas: tuple[float, ...]  # of each channel
    correlation: float = 0.0  # of the noise in neighbouring pixels: 0 if white, 0.5 to 0.8 from a camera's JPEG
    total: float = 0.0  # with the coarser parts; equal to sigma if the noise is white
    told: float = 0.0  # what weights that know white noise do best with, as one number
    gains: tuple[float, ...] = ()  # variance = gain * value + offset in each channel; 0 if brightness does not matter
    offsets: tuple[float, ...] = ()
    flat: bool = False  # nothing but patches of one value, or of the darkest and brightest alone: no noise is like that

    @property
    def white(self) -> bool:
        """Whether the noise is independent from pixel to pixel."""
        return self.total == self.sigma

    @property
    def varies(self) -> bool:
        """Whether the noise depends so much on brightness that one level is no good."""
        return any(self.gains)

    @property
    def alike(self) -> bool:
        """Whether no channel is so much noisier than another as white balance makes those of cameras."""
        return max(self.sigmas, default=0.0) <= UNLIKE * min(self.sigmas, default=0.0)

    @property
    def verdict(self) -> str:
        """How strong the noise is, in one or two words: clean, light, strong or very strong."""
        levels = VERDICTS if self.white else VERDICTS | {"light": LIGHT_IF_COARSE}
        return next(word for word, least in levels.items() if self.total >= least)

    @property
    def kind(self) -> str:
        """What kind of noise it is, in words."""
        if self.verdict == "clean":
            return "hardly any noise"
        if not self.white:
            return "alike in neighbouring pixels, as cameras and JPEG leave it"
        if self.varies:
            return "white, and stronger where it is brighter"
        return "white, alike everywhere" if self.alike else "white, stronger in some colours"

    def scaled(self, factor: float) -> NoiseEstimate:
        """Return the estimate for noise so many times as strong."""
        square = factor * factor
        return NoiseEstimate(
            factor * self.sigma,
            tuple(factor * sigma for sigma in self.sigmas),
            self.correlation,
            factor * self.total,
            factor * self.told,
            tuple(square * gain for gain in self.gains),
            tuple(square * offset for offset in self.offsets),
        )

    def level(self, image: Floats) -> float | Floats:
        """Return what to tell weights that know white noise: one level, or a map (H, W) where it varies.

        ``image`` is the picture that was looked at or a part of it, (H, W, C), floats with full scale 1. A pixel's
        brightness is the mean of the 7x7 pixels around it; its variance is the mean of those of its channels.
        """
        if not self.varies:
            return self.told
        values = 255 * mean_around(image, SMOOTH)
        variances = values * np.asarray(self.gains, np.float32) + np.asarray(self.offsets, np.float32)
        return np.sqrt(np.maximum(variances, 0).mean(axis=2))


NO_NOISE = NoiseEstimate(0.0, ())


def estimate_noise(image: Floats) -> NoiseEstimate:
    """Estimate the noise in a picture.

    ``image`` is (H, W) or (H, W, C) without alpha, floats with full scale 1, or integers. The noise may have been
    clipped at black and white: the level is that before clipping. Deterministic; takes about the same time for every
    size. Drawings, and pictures with a side under 3 pixels, which have no high frequencies, are given no noise.

    Raises PictureError if the array is no picture or holds NaN or infinity.
    """
    image = np.asarray(image)
    check_array(image)
    image = image.reshape(*image.shape[:2], -1)
    nothing = NoiseEstimate(0.0, (0.0,) * image.shape[2])
    if min(image.shape[:2]) < 3:
        return replace(nothing, flat=bool((image == image[:1, :1]).all()))
    patchwork = Patchwork.cut(image)
    if not len(patchwork):
        return replace(nothing, flat=True)
    if not np.isfinite(patchwork.patches).all():
        raise PictureError("the picture holds NaN or infinity; replace them before the noise is estimated")
    fine = _judge(patchwork)
    curve = _Curve.of(patchwork, fine.sigmas)
    level = _judge(patchwork, curve) if curve.varies else fine
    half = _judge_smaller(image, 2, curve)
    strong, tilt = level.strength > STRONG / 255, patchwork.tilt(fine.chosen)
    repeats = patchwork.repeats(fine.chosen)
    drawn = repeats > DRAWN or (strong and tilt > WHITE and repeats > PRINTED)
    # white noise over coarse texture
    texture = level.even and not half.even and tilt < (WHITE_IF_STRONG if strong else WHITE)
    coarse = half.strength > COARSER * level.strength + TEXTURED / 255 and not texture and not drawn
    least = max(LUMPIER * level.strength, LUMPS / 255)
    lumpy = level.strength < SMOOTHED / 255 and least < half.strength < MOST_LUMPS / 255
    sigma = 255 * _overall(curve.sigmas)
    told = 0.0 if drawn else sigma if curve.varies else 255 * fine.strength
    if coarse or lumpy:
        found = _of_coarse_noise(fine, half, _judge_smaller(image, 4, curve))
        # lumps may be texture: weights that know white noise are to leave them
        return found if coarse else replace(found, told=told)
    if drawn:
        return nothing
    lines = _plain(255 * curve.gains), _plain(255**2 * curve.offsets)
    return NoiseEstimate(sigma, _plain(255 * curve.sigmas), 0.0, sigma, told, *lines)


def _of_coarse_noise(fine: _Levels, half: _Levels, quarter: _Levels) -> NoiseEstimate:
    """Describe noise that is not white, from what the picture shows at full, half and a quarter of its size.

    What to tell was found on training scenes of PolyU and on noise of sigma 8 and 20 in JPEG files of quality 50 to 95.
    """
    told = TOLD * math.sqrt(half.strength * min(max(quarter.strength, half.strength), 2 * half.strength))
    correlation, total = _spectrum(fine.overall, half.overall, quarter.overall)
    sigmas = 255 * fine.sigmas
    gains = (0.0,) * len(sigmas)
    return NoiseEstimate(
        255 * fine.overall, _plain(sigmas), correlation, 255 * total, 255 * told, gains, _plain(np.square(sigmas))
    )


@dataclass(frozen=True, eq=False)
class _Curve:
    """How the noise depends on brightness: its variance is gains * value + offsets, each (C,), full scale 1."""

    gains: Floats
    offsets: Floats
    means: Floats
    """Of the picture's channels."""

    @classmethod
    def of(cls, patchwork: Patchwork, sigmas: Floats) -> _Curve:
        """Fit it; one that hardly rises from the picture's dark to its bright parts is taken for level."""
        gains, offsets = fit_brightness(patchwork, sigmas)
        dark, bright = (
            float((gains * np.quantile(patchwork.means, share, axis=0) + offsets).mean()) for share in (0.05, 0.95)
        )
        if not bright > VARIES * dark > 0:
            gains, offsets = np.zeros_like(sigmas), np.square(sigmas)
        return cls(gains, offsets, patchwork.means.mean(0))

    @property
    def varies(self) -> bool:
        return bool(self.gains.any())

    @property
    def sigmas(self) -> Floats:
        """The level of each channel (C,) over the whole picture."""
        return np.sqrt(np.maximum(self.gains * self.means + self.offsets, 0))

    def relative(self, values: Floats) -> Floats:
        """Return the variance at values (N, C) as a multiple of that over the whole picture; at least 0.001."""
        if not self.varies:
            return np.ones_like(values)
        overall = np.maximum(np.square(self.sigmas), 1e-12)
        return np.maximum((self.gains * values + self.offsets) / overall, 1e-3)


@dataclass(frozen=True, eq=False)
class _Levels:
    """How strong the noise is, on the image's own scale."""

    sigmas: Floats
    """Of each channel, (C,)."""
    shared: float
    """Of independent noise in three channels that leaves as much in the luminance."""
    chosen: NDArray[np.int_]
    """Patches that were judged by."""
    even: bool = False
    """Whether these are about equally strong: noise is everywhere, texture is not."""

    @property
    def overall(self) -> float:
        """The level over all channels."""
        return _overall(self.sigmas)

    @property
    def strength(self) -> float:
        """The level over all channels, or ``shared`` where that is clearly more."""
        return self.shared if self.shared > ALIKE * self.overall else self.overall


def _judge(patchwork: Patchwork, curve: _Curve | None = None) -> _Levels:
    """Judge the noise by the patches with the least texture.

    Where a curve says that the noise depends on brightness, levels are those over the whole picture.
    """
    nearest = patchwork.nearest.min(1)  # (N,)
    count, channels = patchwork.low_frequencies, patchwork.means.shape[1]
    near = FIRST_NEAR * float(np.ptp(patchwork.means))
    relative = curve.relative(patchwork.means) if curve else np.ones_like(patchwork.means)
    sigmas = np.zeros(channels)
    for round_ in range(ROUNDS + 1):
        usable = np.flatnonzero(nearest > (NEAR * sigmas.max() if round_ else near))
        if len(usable) < FEWEST:
            usable = smallest(-nearest, FEWEST)
        scale = patchwork.kept(usable, sigmas) * relative[usable]  # (n, C)
        strength = (patchwork.texture[usable] / scale).mean(1)
        expected = count * np.mean(np.square(sigmas)) * (1 + math.sqrt(2 / (count * channels)))
        wanted = max(FEWEST, int(LEAST_TEXTURE * len(usable)), int((strength <= expected).sum()))
        best = smallest(strength, wanted)
        best = best[:: math.ceil(len(best) / (MOST_JUDGED if round_ == ROUNDS else ROUGHLY_JUDGED))]
        energies = patchwork.fine[:, usable[best]] / scale[best]  # (K, n, C)
        sigmas = np.sqrt(typical(energies))
    chosen, shared = usable[best], 0.0
    if channels == 3:
        luminance = patchwork.fine_luminance(chosen) / scale[best].mean(1)
        shared = math.sqrt(float(typical(luminance)) / sum(weight * weight for weight in LUMA))
    low, middle, high = np.percentile(energies.mean((0, 2)), (16, 50, 84))
    return _Levels(sigmas, shared, chosen, bool(high - low <= 2 * UNEVEN * middle))


def _judge_smaller(image: Floats, scale: int, curve: _Curve) -> _Levels:
    """Judge the noise of a picture made smaller, as that of the picture itself if it is white.

    Of pictures that are too small for that nothing is known: they are given no noise.
    """
    nothing = _Levels(np.zeros(image.shape[2]), 0.0, np.zeros(0, int))
    if min(image.shape[:2]) < max(LEAST_HALVED, PATCH * scale):
        return nothing
    patchwork = Patchwork.cut(image, scale, MOST_COARSE // (scale // 2) ** 2)
    if not len(patchwork):
        return nothing
    found = _judge(patchwork, curve)
    return _Levels(scale * found.sigmas, scale * found.shared, found.chosen)


def _plain(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _overall(sigmas: Floats) -> float:
    return math.sqrt(float(np.mean(np.square(sigmas))))


def _spectrum(fine: float, half: float, quarter: float) -> tuple[float, float]:
    """Return the noise's correlation between neighbours, and its level over all frequencies.

    The power between the three frequencies that were judged by is interpolated, and constant beyond them.
    """
    second = fine**2 + max(0.0, half**2 - fine**2) / BLOCKS
    third = second + max(0.0, quarter**2 - half**2) / BLOCKS
    radius, shift = _frequencies()
    known = np.log(np.maximum([third, second, fine**2], (0.01 / 255) ** 2))
    power = np.exp(np.interp(radius, FREQUENCIES, known))
    return float((power * shift).sum() / power.sum()), math.sqrt(power.mean())


@cache
def _frequencies() -> tuple[Floats, Floats]:
    """Return for a grid of frequencies their radius, and what a step to the next pixel leaves of them."""
    across = (np.arange(32) + 0.5) / 64  # cycles per pixel
    cosine = np.cos(2 * math.pi * across)
    return np.hypot.outer(across, across), np.add.outer(cosine, cosine) / 2
