"""A camera's sensor: its noise, the colour filter before it, and how three colours are made of one.

All work on batches on any device; what is drawn is an argument. Raw values are linear, with black 0 and white 1.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_SIDE = 4  # pixels; smaller pictures are no mosaic


def sensor_noise(raw: Tensor, rng: torch.Generator, shot: Tensor, read: Tensor) -> Tensor:
    """Draw the noise of counting photons and of reading them out.

    Its variance is ``shot`` x raw + ``read``, normally distributed: Foi, Trimeche, Katkovnik and Egiazarian, Practical
    Poissonian-Gaussian noise modeling and fitting for single-image raw-data, IEEE TIP 2008.

    Args:
        raw: (N, C, H, W), linear.
        rng: draws it.
        shot: (N, 1, 1, 1), variance for each unit of light.
        read: (N, 1, 1, 1), variance in the dark.
    """
    normal = torch.randn(raw.shape, generator=rng, device=raw.device, dtype=raw.dtype)
    return normal * (shot * raw.clamp(min=0) + read).sqrt()


def line_noise(
    like: Tensor, rng: torch.Generator, row: Tensor, band: Tensor, period: Tensor, upright: Tensor
) -> Tensor:
    """Draw what a sensor adds to whole rows: to each its own offset, and a wave across them.

    Row noise is a part of the noise model of Wei, Fu, Yang and Huang, A Physics-based Noise Formation Model for
    Extreme Low-light Raw Denoising, CVPR 2020.

    Args:
        like: (N, C, H, W), only its shape counts.
        rng: draws it.
        row: (N, 1, 1, 1), deviation of the rows' offsets.
        band: (N, 1, 1, 1), deviation of the wave.
        period: (N, 1, 1, 1), of the wave in rows.
        upright: (N, 1, 1, 1) bool, the camera was held upright: its rows are columns.
    """
    n, _, height, width = like.shape
    size = max(height, width)
    offsets = torch.randn((n, 1, size, 1), generator=rng, device=like.device, dtype=like.dtype)
    start = torch.rand((n, 1, 1, 1), generator=rng, device=like.device, dtype=like.dtype)
    lines = torch.arange(size, device=like.device, dtype=like.dtype).reshape(1, 1, size, 1)
    wave = torch.sin(2 * torch.pi * (lines / period + start)) * 2**0.5
    noise = row * offsets + band * wave  # (N, 1, size, 1)
    return torch.where(upright, noise.mT[..., :width], noise[:, :, :height])


def bayer_masks(phase: Tensor, height: int, width: int) -> Tensor:
    """Return where a Bayer sensor sees red, green and blue: bool (N, 3, H, W).

    ``phase`` (N,), 0 to 3, is where the red of each 2x2 block stands: 0 at its top left, 1 right of it, 2 below,
    3 at its bottom right. Bayer, US patent 3,971,065, 1976.
    """
    down = (torch.arange(height, device=phase.device) + (phase // 2)[:, None]) % 2  # (N, H)
    across = (torch.arange(width, device=phase.device) + (phase % 2)[:, None]) % 2  # (N, W)
    red = (down == 0)[:, :, None] & (across == 0)[:, None]
    blue = (down == 1)[:, :, None] & (across == 1)[:, None]
    return torch.stack([red, ~(red | blue), blue], dim=1)


def mosaic(rgb: Tensor, masks: Tensor) -> Tensor:
    """Keep of each pixel (N, 3, H, W) the colour that the sensor sees there: (N, 1, H, W)."""
    return (rgb * masks).sum(1, keepdim=True)


def demosaic_bilinear(seen: Tensor, masks: Tensor) -> Tensor:
    """Make three colours of a mosaic (N, 1, H, W) by averaging the nearest of each: (N, 3, H, W)."""
    around = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]], device=seen.device, dtype=seen.dtype) / 4
    beside = torch.tensor([[0, 1, 0], [1, 4, 1], [0, 1, 0]], device=seen.device, dtype=seen.dtype) / 4
    kernels = torch.stack([around, beside, around])[:, None]  # (3, 1, 3, 3)
    planes = F.pad(seen * masks, (1, 1, 1, 1), mode="reflect")  # reflected, the pattern goes on
    return F.conv2d(planes, kernels, groups=3)


def demosaic_malvar(seen: Tensor, masks: Tensor) -> Tensor:
    """Make three colours of a mosaic (N, 1, H, W): bilinear, corrected by the gradients of the colour that is seen.

    Malvar, He and Cutler, High-quality linear interpolation for demosaicing of Bayer-patterned color images,
    ICASSP 2004. About 5 dB closer to the truth than the bilinear one, and its noise is less smooth.
    """
    kernels = _malvar_kernels().to(seen)
    green, along, across, diagonal = F.conv2d(F.pad(seen, (2, 2, 2, 2), mode="reflect"), kernels).split(1, dim=1)
    at_red, at_green, at_blue = masks.split(1, dim=1)
    # a green pixel with red to its left and right lies in a row of red ones
    red_rows = at_red.any(dim=3, keepdim=True)
    beside_red = torch.where(red_rows, along, across)
    beside_blue = torch.where(red_rows, across, along)
    red = torch.where(at_red, seen, torch.where(at_green, beside_red, diagonal))
    blue = torch.where(at_blue, seen, torch.where(at_green, beside_blue, diagonal))
    return torch.cat([red, torch.where(at_green, seen, green), blue], dim=1)


@functools.cache
def _malvar_kernels() -> Tensor:
    """Return figure 2 of the paper: (4, 1, 5, 5)."""
    green = [[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]
    along = [[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]
    across = [list(column) for column in zip(*along, strict=True)]
    diagonal = [[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]
    return torch.tensor([green, along, across, diagonal], dtype=torch.float32)[:, None] / 16
