"""ResNet-34 with torchvision's parameter names, as a classifier and as the encoder of a U-Net.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385. The official ImageNet
file fits both: ``hush train RECIPE --from encoder=resnet34-b627a593.pth`` for the U-Net.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import UsageError
from hush.learning.networks.layers import at_least, convolution, pad_to_multiple, start
from hush.learning.networks.limits import NetworkLimits

BLOCKS = (3, 4, 6, 3)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the official numbers expect


class ResNet34(nn.Module):
    """Name pictures; trained here (method `classification`), or with the official numbers of ImageNet.

    Args:
        channels: of the pictures, 1 or 3; gray ones count as three equal channels.
        classes: how many there are; 1000 in the official file.
        width: features of the first level, 8 or more; 64 in the paper.
    """

    def __init__(self, *, channels: int = 3, classes: int = 10, width: int = 64) -> None:
        super().__init__()
        at_least(0, classes=classes)
        at_least(8, width=width)  # with fewer, 1x1 convolutions of stride 2 overrun memory in oneDNN 3.12 on AVX2
        self.limits = NetworkLimits(channels=channels, classes=classes)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.widths = [width, *(width * 2**level for level in range(4))]  # of what `features` returns
        for level, (before, after) in enumerate(pairwise(self.widths)):
            blocks = [_BasicBlock(before, after, stride=2 if level else 1)]
            blocks += [_BasicBlock(after, after) for _ in range(BLOCKS[level] - 1)]
            setattr(self, f"layer{level + 1}", nn.Sequential(*blocks))
        self.fc: nn.Module | None = nn.Linear(self.widths[-1], classes) if classes else None
        start(self, self.conv1, tail_scale=2**0.5)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Return features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size of a batch (N, C, H, W) in [0, 1]."""
        mean, deviation = (pictures.new_tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        x = (pictures.expand(-1, 3, -1, -1) - mean) / deviation
        found = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(found[0], 3, stride=2, padding=1)
        for level in range(1, 5):
            x = self.get_submodule(f"layer{level}")(x)
            found.append(x)
        return found

    def forward(self, noisy: Tensor) -> Tensor:
        """Return the scores (N, classes) of a batch (N, C, H, W) of any size."""
        assert self.fc is not None
        scores: Tensor = self.fc(self.features(noisy)[-1].mean(dim=(2, 3)))
        return scores


class _BasicBlock(nn.Module):
    """relu(pass(x) + conv(relu(conv(x)))), with torchvision's names."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(found + (x if self.downsample is None else self.downsample(x)))


class ResNet34UNet(nn.Module):
    """Restore pictures with a U-Net whose encoder is a ResNet-34; the result is the noisy picture plus what is found.

    The decoder doubles the size by pixel shuffles (Shi et al. 2016) and joins the encoder's features on the way, and
    the noisy picture at the end. It starts as the identity.

    Args:
        channels: of the pictures, 1 or 3.
        width: features of the encoder's first level; 64 fits the official numbers of ImageNet.
        widths: features of the decoder, the coarsest level first.
    """

    def __init__(self, *, channels: int = 3, width: int = 64, widths: Sequence[int] = (256, 128, 64, 64, 32)) -> None:
        super().__init__()
        if len(widths) != 5:
            raise UsageError(f"widths has {len(widths)} entries; resnet34_unet has 5 levels on the way up")
        at_least(1, **{f"widths[{i}]": w for i, w in enumerate(widths)})
        self.encoder = ResNet34(channels=channels, classes=0, width=width)
        self.multiple = 32
        # it can see 700 pixels far; what lies beyond 128 counts little
        self.limits = NetworkLimits(channels=channels, overlap=128)
        skips = [*self.encoder.widths[-2::-1], channels]
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        before = self.encoder.widths[-1]
        for after, skip in zip(widths, skips, strict=True):
            self.up.append(nn.Conv2d(before, 4 * after, 1))
            self.join.append(
                nn.Sequential(convolution(after + skip, after, active="relu"), convolution(after, after, active="relu"))
            )
            before = after
        self.tail = nn.Conv2d(before, channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size; map and label are not used."""
        height, width = noisy.shape[-2:]
        given = pad_to_multiple(noisy, self.multiple)
        features = self.encoder.features(given)
        x = features.pop()
        for up, join, skip in zip(self.up, self.join, [*reversed(features), given], strict=True):
            x = join(torch.cat([F.relu(F.pixel_shuffle(up(x), 2)), skip.to(x.dtype)], dim=1))
        return noisy + self.tail(x)[..., :height, :width].float()  # the sum in float32: bf16 would cost 8-bit steps
