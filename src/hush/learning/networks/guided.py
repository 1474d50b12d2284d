"""A U-Net that is told what the picture shows: class probabilities enter its decoder as feature channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import UsageError
from hush.learning.networks.layers import at_least
from hush.learning.networks.limits import NetworkLimits
from hush.learning.networks.unet import UNet

GUIDES = ("classifier", "label", "shuffled", "constant")


class GuidedUNet(nn.Module):
    """Restore pictures with a U-Net whose decoder reads a class in ``classes`` constant channels at each level.

    The classifier sees the noisy picture, or the tile of it, and does not learn here: its numbers come from a
    training of its own (``--from classifier=RUN/last.safetensors``).

    Args:
        channels: of the pictures, 1 or 3.
        guide: where the class comes from: classifier (its probabilities), label (the true one where it is told),
            shuffled (one drawn from the noise, which says nothing: a control) or constant (all equally likely).
        classifier: specification of the classifier.
        classes: how many there are.
        width: as in `UNet`, so are depth, widths, unshuffle, batch_norm and residual.
        depth: how many times the size is halved.
        widths: features per level.
        unshuffle: side of the pixel blocks folded into channels.
        batch_norm: whether each 3x3 convolution is normalised.
        residual: whether the result is added to the input.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        guide: str = "classifier",
        classifier: str = "resnet_classifier",
        classes: int = 10,
        width: int = 16,
        depth: int = 4,
        widths: Sequence[int] | None = None,
        unshuffle: int = 1,
        batch_norm: bool = True,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if guide not in GUIDES:
            raise UsageError(f"guide is {guide!r}; it must be one of {', '.join(GUIDES)}")
        at_least(1, classes=classes)
        self.guide, self.classes = guide, classes
        self.classifier = _open_classifier(classifier, channels, classes) if guide == "classifier" else None
        self.unet = UNet(
            channels=channels,
            width=width,
            depth=depth,
            widths=widths,
            unshuffle=unshuffle,
            batch_norm=batch_norm,
            residual=residual,
            guides=classes,
        )
        self.multiple = self.unet.multiple
        guided = classes if guide == "label" else 0
        self.limits = NetworkLimits(channels=channels, overlap=self.unet.limits.overlap, classes=guided)

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size; label is (N,), read where it is the guide; the map is not used."""
        restored: Tensor = self.unet(noisy, guide=self._probabilities(noisy, label))
        return restored

    def train(self, mode: bool = True) -> GuidedUNet:
        """Switch to training; the classifier stays as it is."""
        super().train(mode)
        if self.classifier is not None:
            self.classifier.eval()
        return self

    def _probabilities(self, noisy: Tensor, label: Tensor | None) -> Tensor:
        """Return (N, classes), each row summing to 1."""
        if self.classifier is not None:
            with torch.no_grad():
                return F.softmax(self.classifier(noisy).float(), dim=1)
        if self.guide == "shuffled":
            # the digits behind the point of a sum over noise are evenly spread, whatever the picture shows
            total = noisy.float().sum(dim=(1, 2, 3)).abs()
            label = ((total - total.floor()) * self.classes).long()
        if label is None or self.guide == "constant":
            return torch.full_like(noisy[:, :1, 0, 0], 1 / self.classes).expand(-1, self.classes)
        return F.one_hot(label, self.classes).to(noisy.dtype)


def _open_classifier(spec: str, channels: int, classes: int) -> nn.Module:
    from hush.learning.networks import build_classifier  # here: the table names this module

    classifier = build_classifier(spec)
    limits = classifier.limits
    assert isinstance(limits, NetworkLimits)
    if (limits.channels, limits.classes) != (channels, classes):
        raise UsageError(
            f"classifier {spec} takes {limits.channels} channels and knows {limits.classes} classes; "
            f"this network has {channels} and {classes}"
        )
    return classifier.requires_grad_(False)
