"""What a network is told of the noise level in training.

Weights for real photographs cannot rely on being told: their level is estimated, or given by a person. They learn from
pictures whose level is told with an error, for the whole picture or pixel by pixel, and from pictures whose level is
not told at all.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hush.restoring.weights import UNTOLD

NEAR = 16  # pixels around, over whose square a level is measured; noise of fewer samples says little


def measured_level(noise: Tensor) -> Tensor:
    """Return the deviation (N, 1, H, W) of noise (N, C, H, W) around each pixel, all channels together."""
    power = noise.float().square().mean(1, keepdim=True)
    window, edge = 2 * NEAR + 1, F.pad(power, (NEAR,) * 4, mode="replicate")
    rows = F.avg_pool2d(edge, (window, 1), stride=1)
    return F.avg_pool2d(rows, (1, window), stride=1).clamp(min=0).sqrt()


def one_level(noise: Tensor) -> Tensor:
    """Return the deviation over each picture of noise (N, C, H, W), as a map (N, 1, H, W) of one value."""
    level = noise.float().square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return level.expand(-1, 1, *noise.shape[-2:])


def told_level(sigma_map: Tensor, rng: torch.Generator, *, error: float, untold: float) -> Tensor:
    """Return what a network is told of true levels (N, 1, H, W).

    Half of the pictures whose level is told with an error are told one value. Nothing is drawn where there is neither
    error nor doubt.

    Args:
        sigma_map: the true level in [0, 1].
        rng: draws errors and choices.
        error: deviation of the natural logarithm of the level that is told.
        untold: share of pictures that are told nothing: their map holds `hush.restoring.weights.UNTOLD`.
    """
    shape, device = (len(sigma_map), 1, 1, 1), sigma_map.device
    if error:
        one = torch.rand(shape, generator=rng, device=device) < 0.5
        wrong = torch.exp(error * torch.randn(shape, generator=rng, device=device))
        sigma_map = wrong * torch.where(one, one_level(sigma_map), sigma_map)
    if untold:
        silent = torch.rand(shape, generator=rng, device=device) < untold
        sigma_map = torch.where(silent, UNTOLD, sigma_map)
    return sigma_map
