"""Small classifiers of noisy pictures: a plain stack and a residual one.

Both average over all places before the last layer (Lin, Chen, Yan: Network in Network, ICLR 2014), so that any size
of picture can be named, and normalise every convolution (Ioffe and Szegedy 2015) unless told not to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from hush.learning.networks.layers import at_least, convolution, pad_to_multiple, start
from hush.learning.networks.limits import NetworkLimits


class CNNClassifier(nn.Module):
    """Name pictures with 3x3 convolutions and 2x2 max-pooling, as VGG does.

    Simonyan and Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015.

    Args:
        channels: of the pictures, 1 or 3.
        classes: how many there are.
        widths: features per level; each level but the last halves the size.
        convolutions: per level.
        dropout: share of the averaged features that is left out in training (Srivastava et al. 2014).
        batch_norm: normalise each convolution.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        classes: int = 10,
        widths: Sequence[int] = (32, 64, 128, 280),
        convolutions: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, classes=classes, convolutions=convolutions, levels=len(widths))
        self.limits = NetworkLimits(channels=channels, classes=classes)
        self.multiple = 2 ** (len(widths) - 1)
        layers: list[nn.Module] = []
        before = channels
        for level, width in enumerate(widths):
            layers += [nn.MaxPool2d(2)] if level else []
            for _ in range(convolutions):
                layers.append(convolution(before, width, batch_norm=batch_norm, active="relu"))
                before = width
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.tail = nn.Linear(before, classes)
        start(self, self.tail)

    def forward(self, noisy: Tensor) -> Tensor:
        """Return the scores (N, classes) of a batch (N, C, H, W) of any size."""
        features = self.layers(pad_to_multiple(noisy, self.multiple)).mean(dim=(2, 3))
        scores: Tensor = self.tail(self.dropout(features))
        return scores


class ResNetClassifier(nn.Module):
    """Name pictures with residual blocks of two 3x3 convolutions.

    He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016; the first convolution is 3x3 with
    stride 2, without pooling behind it.

    Args:
        channels: of the pictures, 1 or 3.
        classes: how many there are.
        widths: features per level; each further level halves the size.
        blocks: per level.
        dropout: share of the averaged features that is left out in training.
        batch_norm: normalise each convolution.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        classes: int = 10,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, classes=classes, blocks=blocks, levels=len(widths))
        self.limits = NetworkLimits(channels=channels, classes=classes)
        first = nn.Conv2d(channels, widths[0], 3, stride=2, padding=1, bias=not batch_norm)
        self.head = nn.Sequential(first, _norm(widths[0], batch_norm), nn.ReLU())
        layers: list[nn.Module] = []
        for before, width in pairwise((widths[0], *widths)):
            level = len(layers) // blocks
            layers.append(_Block(before, width, stride=2 if level else 1, batch_norm=batch_norm))
            layers += [_Block(width, width, batch_norm=batch_norm) for _ in range(blocks - 1)]
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.tail = nn.Linear(widths[-1], classes)
        start(self, self.tail)

    def forward(self, noisy: Tensor) -> Tensor:
        """Return the scores (N, classes) of a batch (N, C, H, W) of any size."""
        features = self.layers(self.head(noisy)).mean(dim=(2, 3))
        scores: Tensor = self.tail(self.dropout(features))
        return scores


def _norm(width: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(width) if batch_norm else nn.Identity()


class _Block(nn.Module):
    """relu(pass(x) + conv(relu(conv(x)))), where pass is a 1x1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, batch_norm: bool) -> None:
        super().__init__()
        bias = not batch_norm
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
        self.first_norm = _norm(outputs, batch_norm)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.second_norm = _norm(outputs, batch_norm)
        self.passing: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            passing = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=bias)
            self.passing = nn.Sequential(passing, _norm(outputs, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        found = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.passing(x) + self.second_norm(self.second(found)))
