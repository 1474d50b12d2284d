"""U-Net: convolutions at halving sizes, with skip connections joined on the way up.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015,
arXiv:1505.04597; with padding, so that the size is kept, and for denoising as in Lehtinen et al. 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import UsageError
from hush.learning.networks.layers import at_least, convolution, fold, pad_to_multiple, start, unfold
from hush.learning.networks.limits import NetworkLimits


class UNet(nn.Module):
    """Restore pictures with two 3x3 convolutions per level; each level has half the size and twice the features.

    Args:
        channels: of the pictures, 1 or 3.
        width: features of the finest level; 64 in the paper.
        depth: how many times the size is halved; 4 in the paper.
        batch_norm: whether each 3x3 convolution is normalised.
        activation: relu, elu or leaky_relu.
        residual: whether the result is added to the input, so that only the noise must be found.
        sigma_map: whether the noise level is told by a map; without, the network is blind.
        up: transpose (2x2 transposed convolutions, as in the paper), or nearest (repeat, then a 3x3
            convolution: no checkerboards, Odena et al. 2016).
        widths: features per level, the finest first, in place of ``width`` and ``depth``.
        unshuffle: side of the pixel blocks that are folded into channels before the first convolution (Shi et al.
            2016): most arithmetic then happens on smaller maps; 1 for none.
        guides: channels of guidance that enter each level of the way up; see `GuidedUNet`.
        start_scale: size of the first numbers, 1 for He et al. 2015; Muon learns faster from about 0.4.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 32,
        depth: int = 4,
        batch_norm: bool = False,
        activation: str = "relu",
        residual: bool = True,
        sigma_map: bool = False,
        up: str = "transpose",
        widths: Sequence[int] | None = None,
        unshuffle: int = 1,
        guides: int = 0,
        start_scale: float = 1.0,
    ) -> None:
        super().__init__()
        at_least(1, width=width, depth=depth, unshuffle=unshuffle)
        widths = [width * 2**level for level in range(depth + 1)] if widths is None else list(widths)
        at_least(1, levels=len(widths) - 1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        depth = len(widths) - 1
        if up not in UPWARD:
            raise UsageError(f"up is {up!r}; it must be {' or '.join(UPWARD)}")
        overlap = unshuffle * _overlap(depth, up) + unshuffle - 1
        self.limits = NetworkLimits(channels=channels, sigma_map=sigma_map, overlap=overlap)
        self.multiple = unshuffle * 2**depth
        self.residual, self.unshuffle, self.guides = residual, unshuffle, guides

        def twice(inputs: int, outputs: int) -> nn.Sequential:
            first = convolution(inputs, outputs, batch_norm=batch_norm, active=activation)
            return nn.Sequential(first, convolution(outputs, outputs, batch_norm=batch_norm, active=activation))

        self.head = twice((channels + sigma_map) * unshuffle**2, widths[0])
        self.down, self.up, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for fine, coarse in pairwise(widths):
            self.down.append(twice(fine, coarse))
            self.up.insert(0, UPWARD[up](coarse, fine))
            self.join.insert(0, twice(2 * fine + guides, fine))
        self.tail = nn.Conv2d(widths[0], channels * unshuffle**2, 1)
        start(self, self.tail, tail_scale=0.1 if residual else 1.0, scale=start_scale)

    def forward(
        self,
        noisy: Tensor,
        *,
        sigma_map: Tensor | None = None,
        label: Tensor | None = None,
        guide: Tensor | None = None,
    ) -> Tensor:
        """Restore a batch (N, C, H, W) of any size.

        sigma_map is (N, 1, H, W) in [0, 1], guide (N, guides); label is not used.
        """
        x = noisy
        if self.limits.sigma_map:
            if sigma_map is None:
                raise UsageError("this unet is told the noise level: give sigma_map, (N, 1, H, W) in [0, 1]")
            x = torch.cat([noisy, sigma_map], dim=1)
        height, width = noisy.shape[-2:]
        x = self.head(fold(pad_to_multiple(x, self.multiple), self.unshuffle))
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(F.max_pool2d(x, 2))
        for up, join in zip(self.up, self.join, strict=True):
            joined = [skips.pop(), up(x)]
            if guide is not None:
                joined.append(guide[:, :, None, None].to(x.dtype).expand(-1, -1, *joined[0].shape[-2:]))
            x = join(torch.cat(joined, dim=1))
        found = unfold(self.tail(x), self.unshuffle)[..., :height, :width]
        return noisy + found if self.residual else found.to(noisy.dtype)


def _transpose(coarse: int, fine: int) -> nn.Module:
    return nn.ConvTranspose2d(coarse, fine, 2, stride=2)


def _nearest(coarse: int, fine: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(coarse, fine, 3, padding=1))


UPWARD = {"transpose": _transpose, "nearest": _nearest}


def _overlap(depth: int, up: str) -> int:
    """Add up how far a result looks, level by level, in pixels of the picture."""
    levels = 2**depth - 1  # sum of the sides of the levels' cells: 1 + 2 + 4 ...
    along = 2 * levels + 2 * 2**depth + 2 * levels  # two convolutions a level: down, at the bottom, up
    return along + levels + (levels if up == "nearest" else 0)  # the pooling's cells; the convolution after repeating
