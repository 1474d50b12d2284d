"""Parts of one's own: a noise, a network, a loss and a metric, used by name without touching the package.

hush train examples/my_parts.toml --set data.root=PICTURES
hush evaluate --weights runs/my-parts/best.onnx --data PICTURES \
              --degradation 'examples.my_parts:stripes(sigma=20)' --metrics psnr,examples.my_parts:largest_error
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hush.learning.networks import NetworkLimits


def stripes(clean: Tensor, rng: torch.Generator, *, sigma: float | Tensor = 10) -> Tensor:
    """Shift each row of a batch (N, C, H, W) by a random amount of deviation ``sigma`` on the 8-bit scale."""
    n, _, height, _ = clean.shape
    shifts = torch.randn(n, 1, height, 1, generator=rng, device=clean.device)
    return clean + shifts * torch.as_tensor(sigma, device=clean.device).reshape(-1, 1, 1, 1) / 255


class RowNet(nn.Module):
    """Subtract what a few convolutions along the rows find."""

    def __init__(self, channels: int = 3, width: int = 16, depth: int = 3, reach: int = 9) -> None:
        super().__init__()
        self.limits = NetworkLimits(channels=channels, overlap=depth * reach)
        sizes = [channels, *[width] * (depth - 1), channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(taken, given, (3, 2 * reach + 1), padding=(1, reach)) for taken, given in pairwise(sizes)
        )

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size."""
        features = noisy
        for layer in self.layers[:-1]:
            features = layer(features).relu()
        return noisy - self.layers[-1](features)


def edges(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the mean absolute difference of vertical steps, where stripes show."""
    return (restored.diff(dim=2) - clean.diff(dim=2)).abs().mean()


def largest_error(restored: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
    """Return the largest difference on the 8-bit scale."""
    return float(np.abs(restored - clean).max() * 255)
