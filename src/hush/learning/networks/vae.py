"""A convolutional variational autoencoder: from noisy pictures to a distribution of codes, from codes to pictures.

Kingma, Welling: Auto-Encoding Variational Bayes, ICLR 2014, arXiv:1312.6114; given noisy input as in Im, Ahn,
Memisevic, Bengio: Denoising Criterion for Variational Auto-Encoding Framework, AAAI 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hush.errors import UsageError
from hush.learning.networks.layers import at_least, convolution, pad_to_multiple, start
from hush.learning.networks.limits import NetworkLimits

WIDEST = 8.0  # of the logarithm of a variance, so that its exponential stays finite


class Drawn(NamedTuple):
    """A restored batch from codes that were drawn, and what they were drawn from."""

    restored: Tensor
    """(N, C, H, W)."""
    mean: Tensor
    """(N, latent, h, w)."""
    log_variance: Tensor
    """(N, latent, h, w)."""


class VAE(nn.Module):
    """Restore pictures through a map of codes, each a Gaussian whose mean and variance the encoder finds.

    A picture is restored from the means: what is exported draws nothing. The method ``variational`` learns from
    drawn codes.

    Args:
        channels: of the pictures, 1 or 3.
        widths: features per level, the finest first; each further level halves the size, and the codes are at the last.
        latent: codes per place of the coarsest level.
        batch_norm: whether each layer but the first, the codes and the last is normalised.
        activation: relu, elu or leaky_relu.
    """

    variational = True
    """Whether it draws codes when it is given a generator, as the method ``variational`` needs."""

    def __init__(
        self,
        *,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        latent: int = 32,
        batch_norm: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        at_least(1, latent=latent, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        if len(widths) < 2:
            raise UsageError(f"widths are {list(widths)}; codes lie on a coarser level, so give two widths or more")
        self.multiple = 2 ** (len(widths) - 1)
        # head and tail, on each level the halving and what follows it, around the codes, after doubling; cells
        self.limits = NetworkLimits(channels=channels, overlap=6 * self.multiple - 3)
        encoder: list[nn.Module] = [convolution(channels, widths[0], active=activation)]
        decoder: list[nn.Module] = [convolution(latent, widths[-1], batch_norm=batch_norm, active=activation)]
        for fine, coarse in pairwise(widths):
            encoder.append(convolution(fine, coarse, stride=2, batch_norm=batch_norm, active=activation))
            encoder.append(convolution(coarse, coarse, batch_norm=batch_norm, active=activation))
        for coarse, fine in pairwise(reversed(widths)):
            decoder.append(nn.Upsample(scale_factor=2, mode="nearest"))  # no checkerboards, Odena et al. 2016
            decoder.append(convolution(coarse, fine, batch_norm=batch_norm, active=activation))
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.codes = nn.Conv2d(widths[-1], 2 * latent, 1)
        self.tail = nn.Conv2d(widths[0], channels, 3, padding=1)
        start(self, self.tail)

    def forward(
        self,
        noisy: Tensor,
        *,
        sigma_map: Tensor | None = None,
        label: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor | Drawn:
        """Restore a batch (N, C, H, W) of any size from the means; with a generator, from drawn codes: `Drawn`.

        Map and label are not used.
        """
        height, width = noisy.shape[-2:]
        mean, log_variance = self.codes(self.encoder(pad_to_multiple(noisy, self.multiple))).chunk(2, dim=1)
        if rng is None:
            return self._decode(mean, height, width).to(noisy.dtype)
        mean, log_variance = mean.float(), log_variance.float().clamp(-WIDEST, WIDEST)
        noise = torch.randn(mean.shape, generator=rng, device=mean.device)
        restored = self._decode(mean + (log_variance / 2).exp() * noise, height, width)
        return Drawn(restored.to(noisy.dtype), mean, log_variance)

    def _decode(self, codes: Tensor, height: int, width: int) -> Tensor:
        restored: Tensor = self.tail(self.decoder(codes))
        return restored[..., :height, :width]
