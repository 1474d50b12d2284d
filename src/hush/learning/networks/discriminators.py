"""Critics for adversarial training: what tells restored pictures from clean ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from hush.errors import UsageError
from hush.learning.networks.layers import at_least

SLOPE = 0.2  # of the leaky ReLU
TAKEN = 4.0  # brings noise of a tenth of full scale near the size of a picture
SMALLEST = 32  # pixels along a side; smaller pictures repeat their edge up to it


class PatchDiscriminator(nn.Module):
    """Judge each patch of a picture: 4x4 convolutions that halve the size, one score per place at the end.

    PatchGAN as in Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017,
    arXiv:1611.07004; spectral normalisation (Miyato et al. 2018, arXiv:1802.05957) in place of batch normalisation, so
    that pictures of a batch are judged one by one and the critic cannot become steep.

    Args:
        channels: of the pictures, 1 or 3.
        width: features of the first level; each level has twice as many, up to eight times.
        depth: how many times the size is halved; 3 sees patches of 70x70 pixels.
        conditional: whether it is shown what was taken from the noisy picture too, so that it also judges whether that
            was noise.
        spectral: whether kernels are divided by their largest singular value; without, use the R1 penalty.
    """

    def __init__(
        self, *, channels: int = 3, width: int = 32, depth: int = 3, conditional: bool = True, spectral: bool = True
    ) -> None:
        super().__init__()
        at_least(1, channels=channels, width=width, depth=depth)
        self.channels, self.conditional = channels, conditional
        widths = [channels * (1 + conditional), *(width * min(8, 2**level) for level in range(depth + 1)), 1]
        strides = [2] * depth + [1, 1]
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            layer: nn.Module = nn.Conv2d(before, after, 4, stride=stride, padding=1)
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)  # type: ignore[arg-type]
            layers += [spectral_norm(layer) if spectral else layer, nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, picture: Tensor, noisy: Tensor | None = None) -> Tensor:
        """Return scores (N, 1, h, w), high for clean pictures, of a batch (N, C, H, W) and its noisy view.

        Raises UsageError if the noisy view is missing where it is needed.
        """
        x = picture * 2 - 1
        if self.conditional:
            if noisy is None:
                raise UsageError("this critic compares pictures with their noisy view: give it, or conditional=false")
            # what was taken away rather than the noisy picture, and large: telling two like pictures apart is slow
            x = torch.cat([x, TAKEN * (noisy - picture)], dim=1)
        lacking = [max(0, SMALLEST - side) for side in (x.shape[-1], x.shape[-2])]
        scores: Tensor = self.layers(F.pad(x, (0, lacking[0], 0, lacking[1]), mode="replicate"))
        return scores
