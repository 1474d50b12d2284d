"""Blurs: defocus and camera motion, as convolutions of a batch (N, C, H, W) with one kernel per picture.

They belong to the noises (same signature, same table), so they chain: ``defocus(radius=2) + gaussian(sigma=5)``.
Nothing is drawn inside; a range such as ``angle=0..180`` gives each picture its own blur.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hush.learning.noise import per_image


def defocus(clean: Tensor, rng: torch.Generator, *, radius: float | Tensor = 3) -> Tensor:
    """Blur with a disc of ``radius`` pixels, the picture of a point through an ideal lens out of focus.

    The disc's edge is anti-aliased, so the radius may be any number; 0 changes nothing. Pixels beyond the border
    repeat the edge. Subbarao and Surya, Depth from Defocus, IJCV 1994.
    """
    radii = _each(radius, clean)
    y, x = _grid(math.ceil(float(radii.max()) + 0.5), clean)
    disc = (radii + 0.5 - torch.hypot(x, y)).clamp(0, 1)  # (N or 1, k, k)
    return _convolve(clean, disc)


def motion_blur(
    clean: Tensor, rng: torch.Generator, *, length: float | Tensor = 9, angle: float | Tensor = 0
) -> Tensor:
    """Blur along a straight line: the camera moves by ``length`` pixels while the shutter is open.

    ``angle`` is in degrees, counter-clockwise from the horizontal. The line is anti-aliased; length 1 changes
    nothing. Pixels beyond the border repeat the edge. Potmesil and Chakravarty, Modeling Motion Blur, SIGGRAPH 1983.
    """
    half = (_each(length, clean) - 1).clamp(min=0) / 2  # the end pixels' centres
    radians = torch.deg2rad(_each(angle, clean))
    y, x = _grid(math.ceil(float(half.max())), clean)
    cosine, sine = torch.cos(radians), -torch.sin(radians)  # rows count downwards
    along = x * cosine + y * sine
    nearest = torch.minimum(torch.maximum(along, -half), half)  # of the segment's points
    distance = torch.hypot(x - nearest * cosine, y - nearest * sine)
    return _convolve(clean, (1 - distance).clamp(0, 1))


def _each(value: float | Tensor, clean: Tensor) -> Tensor:
    """Shape an option so that it meets kernels (N, k, k), in float32."""
    return per_image(value, clean.new_empty(0, dtype=torch.float32)).reshape(-1, 1, 1)


def _grid(reach: int, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (k, 1) and columns (1, k) of a kernel that reaches so far from its centre."""
    steps = torch.arange(-reach, reach + 1, device=clean.device, dtype=torch.float32)
    return steps[:, None], steps[None, :]


def _convolve(clean: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each picture with its kernel (N or 1, k, k), scaled to sum 1, the edge repeated."""
    n, channels, height, width = clean.shape
    kernels = kernels / kernels.sum(dim=(1, 2), keepdim=True)
    k = kernels.shape[-1]
    weight = kernels[:, None, None].expand(n, channels, 1, k, k).reshape(n * channels, 1, k, k)
    planes = clean.float().reshape(1, n * channels, height, width)
    padded = F.pad(planes, (k // 2,) * 4, mode="replicate")
    # a cross-correlation; discs and centred lines are point-symmetric, so it is the convolution
    blurred = F.conv2d(padded, weight, groups=n * channels)
    return blurred.reshape(clean.shape).to(clean.dtype)
