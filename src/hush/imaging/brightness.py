"""How noise depends on brightness: light itself is noisy, and more so the more of it there is.

    variance(value) = gain * value + offset

fitted to the noise of smooth patches of each brightness (Foi, Trimeche, Katkovnik, Egiazarian, Practical
Poissonian-Gaussian noise modeling and fitting for single-image raw-data, IEEE TIP 2008).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.imaging.spectra import Patchwork, median, smallest, typical

Floats = NDArray[Any]

STEPS = 8  # of brightness, each with as many patches
FEWEST = 40  # patches to judge a step by
MOST = 200  # more do not make its median any better
LEAST_TEXTURE = 0.01  # share of a step's patches that is always used
ROUNDS = 2  # the curve and the choice of patches depend on each other
LEVEL = 0.2  # times more variance in the bright than in the dark: less is no slope worth another round
NEAR = 0.4  # sigmas between a patch's mean and clipping; nearer than that too little is left of the noise
TRIMS = 6  # rounds of weighing down the steps that texture has spoilt


def fit_brightness(patchwork: Patchwork, sigmas: Floats) -> tuple[Floats, Floats]:
    """Return gain and offset of the noise's variance in each channel (C,), full scale 1; neither is below zero.

    ``sigmas`` (C,) are the levels that were found without regard to brightness: where a channel has too few patches of
    unlike brightness to tell, its gain is 0. So are all where it hardly matters to the noisiest channel.
    """
    lines = {}
    for channel in np.argsort(-sigmas):
        lines[channel] = gain, offset = _fit_channel(patchwork, channel, float(sigmas[channel]))
        if len(lines) == 1 and _is_level(gain, offset, patchwork.means[:, channel]):
            return np.zeros_like(sigmas), np.square(sigmas)
    gains, offsets = np.array([lines[channel] for channel in range(len(sigmas))]).T
    return gains, offsets


def _is_level(gain: float, offset: float, means: Floats) -> bool:
    """Say whether variance hardly rises from the darkest to the brightest patch."""
    dark, bright = float(means.min()), float(means.max())
    return gain * (bright - dark) < LEVEL * (gain * dark + offset)


def _fit_channel(patchwork: Patchwork, channel: int, sigma: float) -> tuple[float, float]:
    means = patchwork.means[:, channel]
    steps = np.array_split(np.argsort(means), STEPS)  # patches of about one brightness each
    gain, offset = 0.0, sigma * sigma
    for round_ in range(ROUNDS):
        if round_ and _is_level(gain, offset, means):
            break
        expected = np.maximum(gain * means + offset, 1e-9)  # (N,)
        usable = patchwork.nearest[:, channel] > NEAR * np.sqrt(expected)
        scale = expected * patchwork.kept(slice(None), np.sqrt(expected), channel)
        points = [_judge_step(patchwork, channel, step[usable[step]], scale, expected) for step in steps]
        found = [point for point in points if point is not None]
        if len(found) < 3:
            return 0.0, sigma * sigma
        gain, offset = _fit_line(*np.array(found).T)
    return gain, offset


def _judge_step(
    patchwork: Patchwork, channel: int, members: NDArray[np.int_], scale: Floats, expected: Floats
) -> tuple[float, float, float] | None:
    """Return brightness, variance, and how much they count, of patches of about one brightness; None if they are few.

    Variances are judged relative to what is expected so far, so that the slope within a step does not matter;
    ``scale`` (N,) is the expected variance as clipping leaves it.
    """
    if len(members) < FEWEST:
        return None
    count = patchwork.low_frequencies
    texture = patchwork.texture[members, channel] / (scale[members] * count)  # about 1 if there is noise only
    smooth = int((texture <= 1 + math.sqrt(2 / count)).sum())
    best = smallest(texture, max(FEWEST, int(LEAST_TEXTURE * len(members)), smooth))
    best = best[:: max(1, len(best) // MOST)]
    chosen = members[best]
    noise = patchwork.fine[:, chosen, channel] / scale[chosen]  # (K, n)
    variance = float(typical(noise) * expected[chosen].mean())
    spoilt = max(1.0, float(median(texture[best])))
    return float(patchwork.means[chosen, channel].mean()), variance, len(chosen) / spoilt**4


def _fit_line(values: Floats, variances: Floats, weights: Floats) -> tuple[float, float]:
    """Fit variance = gain * value + offset, neither below zero, to points of which some are spoilt by texture."""
    relative = weights / np.maximum(variances, 1e-12) ** 2  # a variance is known to a share of itself
    trust = np.ones_like(weights)
    for _ in range(TRIMS):
        gain, offset = _least_squares(values, variances, relative * trust)
        line = np.maximum(gain * values + offset, 1e-12)
        misses = np.abs(variances - line) / line
        scale = 1.4826 * np.median(misses) + 0.02
        trust = 1 / np.maximum(1, misses / (1.5 * scale))  # Huber's weights
    return gain, offset


def _least_squares(x: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    w = weights / weights.sum()
    x0, y0 = float(w @ x), float(w @ y)
    spread = float(w @ np.square(x - x0))
    gain = float(w @ ((x - x0) * (y - y0))) / spread if spread > 1e-9 else 0.0
    if gain <= 0:
        return 0.0, y0
    if y0 - gain * x0 < 0:
        return float(w @ (x * y)) / float(w @ (x * x)), 0.0
    return gain, y0 - gain * x0
