"""Critics for adversarial training: what tells restored pictures from clean ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from hush.errors import UsageError
from hush.learning.networks.layers import at_least
from hush.learning.perceptual import open_features, prepared, unit

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


class FeatureDiscriminator(nn.Module):
    """Judge pictures by the fixed features of a network that was trained to tell things apart.

    Only what reads the features is learnt, a small stack per layer, so it is of use after a few hundred steps, where a
    critic that starts from pixels still guesses. Sauer, Chitta, Müller, Geiger: Projected GANs Converge Faster, NeurIPS
    2021, arXiv:2111.01007. What learnt from it must not be judged by LPIPS of the same features.

    Args:
        channels: of the pictures, 1 or 3.
        features: alexnet or vgg16, see `hush.learning.perceptual`.
        width: features of each reader.
        conditional: whether readers also see how the features differ from those of the noisy picture.
        spectral: whether kernels are divided by their largest singular value.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        features: str = "alexnet",
        width: int = 64,
        conditional: bool = True,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, channels=channels, width=width)
        self.channels, self.conditional, self.features = channels, conditional, features
        readers = []
        for count in open_features(features, torch.device("cpu")).widths:
            layers = nn.Conv2d(count * (1 + conditional), width, 1), nn.Conv2d(width, 1, 1)
            first, last = (spectral_norm(layer) if spectral else layer for layer in layers)
            readers.append(nn.Sequential(first, nn.LeakyReLU(SLOPE), last))
        self.readers = nn.ModuleList(readers)

    def forward(self, picture: Tensor, noisy: Tensor | None = None) -> Tensor:
        """Return scores (N, L, h, w), one for each of L layers, high for clean pictures, of (N, C, H, W).

        Raises UsageError if the noisy view is missing where it is needed.
        """
        found = self._seen(picture)
        if self.conditional:
            if noisy is None:
                raise UsageError("this critic compares pictures with their noisy view: give it, or conditional=false")
            given = self._seen(noisy)
            found = [torch.cat([x, x - y], dim=1) for x, y in zip(found, given, strict=True)]
        scores = [reader(x) for reader, x in zip(self.readers, found, strict=True)]
        size = scores[0].shape[-2:]  # coarse layers count as much as fine ones
        return torch.cat([F.interpolate(score, size, mode="nearest") for score in scores], dim=1)

    def _seen(self, pictures: Tensor) -> list[Tensor]:
        """Return the features of pictures, scaled to a root mean square of 1 at each place."""
        features = open_features(self.features, pictures.device)
        return [unit(x) * x.shape[1] ** 0.5 for x in features(prepared(pictures.float(), self.features))]
