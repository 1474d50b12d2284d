"""A residual U-Net without biases or normalisation, after DRUNet (Zhang et al. 2021, arXiv:2008.13751).

Changed for speed on processors without a GPU: ``unshuffle`` folds blocks of pixels into channels before the
first convolution (as FFDNet does, Zhang et al. 2018), so that most arithmetic happens on small, deep feature
maps, where plain 3x3 convolutions run at full speed. Without biases the network is homogeneous of degree one:
scaling picture and noise level scales the result (Mohan et al. 2020), so levels that it never saw degrade gently.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import UsageError
from hush.learning.networks.layers import at_least, pad_to_multiple
from hush.learning.networks.limits import NetworkLimits


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class DRUNet(nn.Module):
    """Restore pictures of 1 or 3 channels, told the noise level by a map.

    Args:
        channels: of the pictures, 1 or 3.
        widths: features per level, the finest first; each level halves the size.
        blocks: residual blocks per level, on the way down, at the bottom and on the way up.
        unshuffle: side of the pixel blocks folded into channels; 1 for none.
        sigma_map: whether the noise level is told; without, the network is blind.
        merge_early: whether the features of the way down, after their blocks, are added before the blocks of the way
            up, which so see what is fine; in DRUNet features from before the blocks are added after them.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: int = 4,
        unshuffle: int = 1,
        sigma_map: bool = True,
        merge_early: bool = False,
    ) -> None:
        super().__init__()
        at_least(0, blocks=blocks)
        at_least(1, unshuffle=unshuffle, levels=len(widths))
        at_least(1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        self.limits = NetworkLimits(channels=channels, sigma_map=sigma_map, overlap=80)
        self.unshuffle = unshuffle
        self.merge_early = merge_early
        self.blocks = blocks
        self.multiple = unshuffle * 2 ** (len(widths) - 1)
        folded = unshuffle**2
        self.head = nn.Conv2d((channels + sigma_map) * folded, widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for fine, coarse in itertools.pairwise(widths):
            halve = nn.Conv2d(fine, coarse, 2, stride=2, bias=False)
            double = nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False)
            self.down.append(nn.Sequential(*(ResidualBlock(fine) for _ in range(blocks)), halve))
            self.up.insert(0, nn.Sequential(double, *(ResidualBlock(fine) for _ in range(blocks))))
        self.body = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(blocks)))
        self.tail = nn.Conv2d(widths[0], channels * folded, 3, padding=1, bias=False)
        self._start()

    def _start(self) -> None:
        """Begin as the identity: the tail is zero. All else keeps PyTorch's small start (a sixth of He's variance).

        Muon's updates have one size whatever the numbers are, so what starts large is slow to learn: He's start
        (He et al. 2015) costs 1.5 dB after 500 steps.
        """
        nn.init.zeros_(self.tail.weight)

    def adopt(self, numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the numbers of a network with fewer blocks a level as numbers of this one, which then does the same.

        The blocks that it has more follow those that are trained, and begin as the identity: their second convolution
        is zero (Net2Net: Chen, Goodfellow, Shlens, ICLR 2016, arXiv:1511.05641). Numbers of any other network are
        returned as they are.

        Args:
            numbers: by the names of `state_dict`.
        """
        trained = sum(re.fullmatch(r"body\.\d+\.first\.weight", name) is not None for name in numbers)
        halve = re.compile(rf"(down\.\d+\.){trained}(\.weight)")  # follows the blocks, so that its name tells how many
        adopted = {halve.sub(rf"\g<1>{self.blocks}\2", name): value for name, value in numbers.items()}
        own = self.state_dict()
        new = {}
        for name, value in own.items():
            block = re.fullmatch(r"(down\.\d+|up\.\d+|body)\.(\d+)\.(first|second)\.weight", name)
            doubles = block is not None and block[1].startswith("up")  # what doubles the size comes before the blocks
            if block and int(block[2]) - doubles >= trained:
                new[name] = value if block[3] == "first" else torch.zeros_like(value)
        fitting = {name: value.shape for name, value in (adopted | new).items()} == {n: v.shape for n, v in own.items()}
        return adopted | new if 0 < trained < self.blocks and fitting else dict(numbers)

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size; sigma_map is (N, 1, H, W) in [0, 1]."""
        x = noisy
        if self.limits.sigma_map:
            if sigma_map is None:
                raise UsageError("this network is told the noise level: give sigma_map")
            x = torch.cat([noisy, sigma_map], dim=1)
        height, width = noisy.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        x = self.head(F.pixel_unshuffle(x, self.unshuffle))
        skips = []
        down, up = cast("list[nn.Sequential]", self.down), cast("list[nn.Sequential]", self.up)
        for level in down:  # blocks, and what halves the size
            fine = level[:-1](x)
            skips.append(fine if self.merge_early else x)
            x = level[-1](fine)
        x = self.body(x)
        for level, skip in zip(up, reversed(skips), strict=True):  # what doubles the size, and blocks
            x = level[0](x)
            x = level[1:](x + skip) if self.merge_early else level[1:](x) + skip
        residual = F.pixel_shuffle(self.tail(x), self.unshuffle)
        return noisy + residual[..., :height, :width].float()  # the sum in float32: bf16 would cost 8-bit steps
