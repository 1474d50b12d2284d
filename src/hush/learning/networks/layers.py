"""What several networks share: activations, padding, how numbers start, and bare published weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import UsageError, WeightsError
from hush.names import find

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),  # slope of Lehtinen et al. 2018
}

Layer = tuple[NDArray, NDArray | None]
"""Weight (out, in, k, k) and bias (out,) of a convolution."""


def activation(name: str) -> nn.Module:
    """Make an activation: relu, elu or leaky_relu. Raises UsageError for another name."""
    made: nn.Module = find(ACTIVATIONS, name, "activation")()
    return made


def at_least(least: int, **options: int) -> None:
    """Raise UsageError for an option that is no whole number or is below ``least``."""
    for name, value in options.items():
        if not isinstance(value, int) or value < least:
            raise UsageError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def convolution(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    batch_norm: bool = False,
    active: str | None = None,
) -> nn.Sequential:
    """Make a convolution that keeps the size (or divides it by ``stride``), with normalisation and activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=not batch_norm)
    ]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    if active is not None:
        layers.append(activation(active))
    return nn.Sequential(*layers)


def pad_to_multiple(batch: Tensor, multiple: int) -> Tensor:
    """Mirror pictures (N, C, H, W) past their last row and column until height and width are multiples.

    The last row and column are repeated once, then those before them follow, as in numpy's ``symmetric``; the first of
    a picture with fewer is repeated. Repeating the last alone would draw its noise into streaks, which networks take
    for picture: 0.2 dB at sigma 50.
    """
    for axis in (2, 3):
        size = batch.shape[axis]
        # (k - h % k) % k rather than (-h) % k: only the former exports with dynamic sizes
        beyond = torch.arange((multiple - size % multiple) % multiple, device=batch.device)
        batch = torch.cat([batch, batch.index_select(axis, (size - 1 - beyond).clamp(min=0))], dim=axis)
    return batch


def fold(batch: Tensor, side: int) -> Tensor:
    """Fold blocks of side x side pixels into channels (N, C side^2, H/side, W/side); with 1 there is nothing to do."""
    return batch if side == 1 else F.pixel_unshuffle(batch, side)


def unfold(batch: Tensor, side: int) -> Tensor:
    """Undo `fold`."""
    return batch if side == 1 else F.pixel_shuffle(batch, side)


def start(network: nn.Module, tail: nn.Module, *, tail_scale: float = 1.0, scale: float = 1.0) -> None:
    """Draw all convolutions after He et al. 2015 with zero biases, so that plain deep stacks keep their scale.

    The tail has no activation behind it; where it adds a residual, a small ``tail_scale`` starts near the identity.
    ``scale`` makes all other numbers smaller; PyTorch's usual start is 0.4 of He's.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            seen: float = module.in_channels * math.prod(module.kernel_size)  # numbers that one result is a sum of
            if isinstance(module, nn.ConvTranspose2d):
                seen /= math.prod(module.stride)
            size = tail_scale if module is tail else scale * math.sqrt(2)
            nn.init.normal_(module.weight, std=size / math.sqrt(seen))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def bare_layers(arrays: Mapping[str, NDArray]) -> list[Layer]:
    """Order published arrays ``00.weight``, ``00.bias``, ``01.weight`` ... into a plain stack of convolutions.

    Raises WeightsError if they are no stack of at least two 3x3 convolutions of one width in between.
    """
    unknown = [name for name in arrays if not re.fullmatch(r"\d+\.(weight|bias)", name)]
    if unknown or not arrays:
        came = f"array {unknown[0]!r}" if unknown else "no arrays"
        raise WeightsError(f"{came}; a plain stack has NN.weight (out, in, 3, 3) and NN.bias (out), NN from 00 on")
    named = {(int(name.split(".")[0]), name.split(".")[1]): np.asarray(array) for name, array in arrays.items()}
    count = 1 + max(number for number, _ in named)
    layers: list[Layer] = []
    for number in range(count):
        if (number, "weight") not in named:
            raise WeightsError(f"{number:02d}.weight is missing among {count} layers")
        layers.append((named[number, "weight"], named.get((number, "bias"))))
    _check_stack(layers)
    return layers


def _check_stack(layers: list[Layer]) -> None:
    if len(layers) < 2:
        raise WeightsError("only one layer; a stack has two or more")
    width = len(layers[0][0])
    for number, (weight, bias) in enumerate(layers):
        expected_out = len(weight) if number == len(layers) - 1 else width
        expected_in = width if number else (weight.shape[1] if weight.ndim == 4 else 1)
        if weight.shape != (expected_out, expected_in, 3, 3):
            raise WeightsError(
                f"{number:02d}.weight is {weight.shape}; expected {(expected_out, expected_in, 3, 3)}, "
                f"since the first layer has {width} features"
            )
        if bias is not None and bias.shape != (expected_out,):
            raise WeightsError(f"{number:02d}.bias is {bias.shape}; expected {(expected_out,)}")


def describe(layers: list[Layer]) -> str:
    """Say what a stack is, for errors: ``20 layers of 64, 3 channels in, 3 out``."""
    first, last = layers[0][0], layers[-1][0]
    return f"{len(layers)} layers of {len(first)}, {first.shape[1]} channels in, {len(last)} out"


def fill(network: nn.Module, layers: list[Layer]) -> None:
    """Write a stack into a network's convolutions, in order."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for module, (weight, bias) in zip(convolutions, layers, strict=True):
            module.weight.copy_(torch.from_numpy(weight.copy()))
            if module.bias is not None and bias is not None:
                module.bias.copy_(torch.from_numpy(bias.copy()))
