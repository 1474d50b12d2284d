"""DnCNN: a plain stack of convolutions that predicts the noise.

Zhang, Zuo, Chen, Meng, Zhang: Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising,
IEEE TIP 2017, arXiv:1608.03981.
"""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import NDArray
from torch import Tensor, nn

from hush.errors import WeightsError
from hush.learning.networks.layers import (
    activation,
    at_least,
    bare_layers,
    describe,
    fill,
    fold,
    pad_to_multiple,
    start,
    unfold,
)
from hush.learning.networks.limits import NetworkLimits


class DnCNN(nn.Module):
    """Restore pictures blindly by subtracting the noise that a stack of 3x3 convolutions finds.

    The paper has depth 17 for one noise level, 20 for the blind and the colour networks.

    Args:
        channels: of the pictures, 1 or 3.
        width: features of each hidden layer.
        depth: layers, first and last included.
        batch_norm: whether hidden layers are normalised, as in the paper's training.
        bias: whether convolutions without normalisation have biases.
        activation: relu, elu or leaky_relu.
        unshuffle: side of the pixel blocks that are folded into channels before the first convolution, as FFDNet
            does with 2: a quarter of the arithmetic, and twice the reach; 1 for none.
        residual: whether the stack finds the noise, which is subtracted, or the clean picture itself: in strong noise
            that is learnt several times faster, as the stack need not pass every pixel on.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        width: int = 64,
        depth: int = 20,
        batch_norm: bool = True,
        bias: bool = True,
        activation: str = "relu",
        unshuffle: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, width=width, unshuffle=unshuffle)
        at_least(2, depth=depth)
        overlap = unshuffle * depth + unshuffle - 1  # 1 cell per 3x3 layer, and the other pixels of the last cell
        self.limits = NetworkLimits(channels=channels, sigma_map=False, overlap=overlap)
        self.multiple = self.unshuffle = unshuffle
        self.residual = residual
        folded = channels * unshuffle**2
        self.layers = plain_stack(folded, width, folded, depth, batch_norm, bias, activation)
        start(self, self.layers[-1], tail_scale=0.1 if residual else 1.0)

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) of any size; map and label are not used."""
        height, width = noisy.shape[-2:]
        cells = fold(pad_to_multiple(noisy, self.multiple), self.unshuffle)
        found = unfold(self.layers(cells), self.unshuffle)[..., :height, :width]
        return noisy - found if self.residual else found.to(noisy.dtype)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> DnCNN:
        """Build the network that published bare arrays ``NN.weight``, ``NN.bias`` belong to.

        Normalisation is expected to be folded into the convolutions, as in the authors' files. Raises
        WeightsError if the arrays are no such stack.
        """
        layers = bare_layers(arrays)
        (first, first_bias), (last, _) = layers[0], layers[-1]
        channels = first.shape[1]
        biases = {bias is not None for _, bias in layers}
        if len(last) != channels or len(biases) > 1:
            raise WeightsError(
                f"{describe(layers)}; dncnn gives as many channels as it takes, and has a bias in all layers or none"
            )
        bias = first_bias is not None
        network = cls(channels=channels, width=len(first), depth=len(layers), batch_norm=False, bias=bias)
        fill(network, layers)
        return network


def plain_stack(
    inputs: int, width: int, outputs: int, depth: int, batch_norm: bool, bias: bool, active: str
) -> nn.Sequential:
    """Stack 3x3 convolutions: activation after each but the last, normalisation in the hidden ones."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1, bias=bias), activation(active)]
    for _ in range(depth - 2):
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=bias and not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(activation(active))
    layers.append(nn.Conv2d(width, outputs, 3, padding=1, bias=bias))
    return nn.Sequential(*layers)
