"""FFDNet: a plain stack on half-size pictures, told the noise level by a map.

Zhang, Zuo, Zhang: FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising, IEEE TIP 2018,
arXiv:1710.04026.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import UsageError, WeightsError
from hush.learning.networks.dncnn import plain_stack
from hush.learning.networks.layers import at_least, bare_layers, describe, fill, pad_to_multiple, start
from hush.learning.networks.limits import NetworkLimits


class FFDNet(nn.Module):
    """Restore pictures at half size: blocks of 2x2 pixels become channels, the noise level is one more.

    The paper has depth 12 and width 96 for colour, depth 15 and width 64 for gray.

    Args:
        channels: of the pictures, 1 or 3.
        width: features of each hidden layer.
        depth: layers, first and last included.
        batch_norm: whether hidden layers are normalised; the authors train with it and fold it away.
    """

    def __init__(self, *, channels: int = 3, width: int = 96, depth: int = 12, batch_norm: bool = False) -> None:
        super().__init__()
        at_least(1, width=width)
        at_least(2, depth=depth)
        overlap = 2 * depth + 1  # 2 px per layer at half size, and the other pixel of the last 2x2 block
        self.limits = NetworkLimits(channels=channels, sigma_map=True, overlap=overlap)
        self.multiple = 2
        self.layers = plain_stack(4 * channels + 1, width, 4 * channels, depth, batch_norm, True, "relu")
        start(self, self.layers[-1])

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size; sigma_map is (N, 1, H, W) in [0, 1], label is not used."""
        if sigma_map is None:
            raise UsageError("ffdnet is told the noise level: give sigma_map, (N, 1, H, W) in [0, 1]")
        height, width = noisy.shape[-2:]
        blocks = F.pixel_unshuffle(pad_to_multiple(noisy, 2), 2)  # (N, 4C, H/2, W/2)
        level = F.avg_pool2d(pad_to_multiple(sigma_map, 2), 2)  # (N, 1, H/2, W/2)
        restored = F.pixel_shuffle(self.layers(torch.cat([blocks, level.to(blocks.dtype)], dim=1)), 2)
        return restored[..., :height, :width].to(noisy.dtype)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> FFDNet:
        """Build the network that published bare arrays ``NN.weight``, ``NN.bias`` belong to.

        Raises WeightsError if the arrays are no such stack.
        """
        layers = bare_layers(arrays)
        (first, _), (last, _) = layers[0], layers[-1]
        channels = len(last) // 4
        if not channels or len(last) % 4 or first.shape[1] != 4 * channels + 1 or any(b is None for _, b in layers):
            raise WeightsError(
                f"{describe(layers)}; ffdnet takes 4 x channels + 1 and gives 4 x channels, with a bias in each layer"
            )
        network = cls(channels=channels, width=len(first), depth=len(layers))
        fill(network, layers)
        return network
