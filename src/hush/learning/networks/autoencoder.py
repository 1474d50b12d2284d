"""A convolutional autoencoder: max-pooling down, transposed convolutions up, no path around the bottleneck.

Masci, Meier, Cireşan, Schmidhuber: Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction,
ICANN 2011; trained on noisy input as in Vincent et al. 2008 (denoising autoencoders).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hush.errors import UsageError
from hush.learning.networks.layers import activation as make_activation
from hush.learning.networks.layers import at_least, convolution, pad_to_multiple, start
from hush.learning.networks.limits import NetworkLimits


class Autoencoder(nn.Module):
    """Restore pictures by squeezing them through a bottleneck.

    Per entry of ``widths`` a convolution and a 2x2 max-pooling; per entry of ``decoder_widths`` a transposed
    convolution that doubles the size; then one convolution back to pictures.

    Args:
        channels: of the pictures, 1 or 3.
        widths: features per level on the way down, the finest first; each level halves the size.
        decoder_widths: features per level on the way up, the coarsest first; None mirrors ``widths``.
        kernel: side of the convolutions, odd.
        up_kernel: side of the transposed convolutions, 2 or more; None is ``kernel``.
        batch_norm: whether each layer but the last is normalised.
        activation: relu, elu or leaky_relu.
        output: linear, or sigmoid, which bounds the result to [0, 1].
        residual: whether the result is added to the input, so that only the noise passes the bottleneck.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        decoder_widths: Sequence[int] | None = None,
        kernel: int = 3,
        up_kernel: int | None = None,
        batch_norm: bool = False,
        activation: str = "relu",
        output: str = "linear",
        residual: bool = False,
    ) -> None:
        super().__init__()
        rising = tuple(reversed(widths)) if decoder_widths is None else tuple(decoder_widths)
        up_kernel = kernel if up_kernel is None else up_kernel
        _check(channels, widths, rising, kernel, up_kernel, output, residual)
        self.limits = NetworkLimits(channels=channels, overlap=_overlap(len(widths), kernel, up_kernel))
        self.multiple = 2 ** len(widths)
        self.residual, self.output = residual, output
        layers: list[nn.Module] = []
        before = channels
        for width in widths:
            layers.append(convolution(before, width, kernel, batch_norm=batch_norm, active=activation))
            layers.append(nn.MaxPool2d(2))
            before = width
        for width in rising:
            layers.append(_doubling(before, width, up_kernel, batch_norm, activation))
            before = width
        self.layers = nn.Sequential(*layers)
        self.tail = nn.Conv2d(before, channels, kernel, padding=kernel // 2)
        start(self, self.tail, tail_scale=0.1 if residual else 1.0)

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size; map and label are not used."""
        height, width = noisy.shape[-2:]
        found = self.tail(self.layers(pad_to_multiple(noisy, self.multiple)))[..., :height, :width]
        if self.residual:
            return noisy + found
        return (torch.sigmoid(found) if self.output == "sigmoid" else found).to(noisy.dtype)


def _doubling(inputs: int, outputs: int, kernel: int, batch_norm: bool, active: str) -> nn.Sequential:
    """Make a transposed convolution of stride 2; the paddings make (in - 1) * 2 - 2p + k + op equal 2 * in."""
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(
            inputs,
            outputs,
            kernel,
            stride=2,
            padding=(kernel - 1) // 2,
            output_padding=kernel % 2,
            bias=not batch_norm,
        )
    ]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    layers.append(make_activation(active))
    return nn.Sequential(*layers)


def _overlap(depth: int, kernel: int, up_kernel: int) -> int:
    """Add up how far a result looks, level by level, in pixels of the picture."""
    levels = 2**depth - 1  # sum of the sides of the levels' cells: 1 + 2 + 4 ...
    along = (kernel // 2) * levels + kernel // 2  # convolutions down, and the last one
    upward = (up_kernel + 1) // 4 * 2 * levels  # coarse cells beside its own that a transposed convolution reads
    return along + upward + levels  # and the pooling's own cells


def _check(
    channels: int,
    widths: Sequence[int],
    rising: Sequence[int],
    kernel: int,
    up_kernel: int,
    output: str,
    residual: bool,
) -> None:
    at_least(1, kernel=kernel, **{f"widths[{i}]": width for i, width in enumerate(widths)})
    at_least(1, **{f"decoder_widths[{i}]": width for i, width in enumerate(rising)})
    at_least(2, up_kernel=up_kernel)
    if not widths or len(rising) != len(widths):
        raise UsageError(f"{len(widths)} widths down, {len(rising)} up; there must be as many up as down, at least 1")
    if kernel % 2 == 0:
        raise UsageError(f"kernel is {kernel}; it must be odd, so that the size is kept")
    if output not in ("linear", "sigmoid") or (residual and output != "linear"):
        raise UsageError(f"output is {output!r}; it must be linear or, without residual, sigmoid")
