"""How a camera makes a picture of what its sensor saw, and the way back.

Colours and tones have inverses, after Brooks, Mildenhall, Xue, Chen, Sharlet and Barron, Unprocessing Images for
Learned Raw Denoising, CVPR 2019; filters work on luminance and colour apart, as cameras' do. All on batches
(N, 3, H, W) on any device, with a value per picture, (N, 1, 1, 1) where nothing else is said.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hush.imaging.arrays import LUMA

RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
XYZ_TO_CAMERA = (  # of four cameras; Brooks et al. 2019 mix these
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
HIGHLIGHT = 0.9  # luminance above which white balance is given up, so that what is white stays white
LONGEST = 3  # deviations that a Gaussian kernel reaches
TONES = 6  # knots from black to white
RARE = 3e-3  # share of a picture; tones of so many pixels are shifted by about half


def colour_matrices(shares: Tensor) -> Tensor:
    """Mix the four cameras by ``shares`` (N, 4): matrices (N, 3, 3) from linear sRGB to the camera's colours.

    Each row sums to 1, so that gray stays gray.
    """
    cameras = torch.tensor(XYZ_TO_CAMERA, device=shares.device) @ torch.tensor(RGB_TO_XYZ, device=shares.device)
    mixed = torch.einsum("nk,kij->nij", shares / shares.sum(1, keepdim=True), cameras)
    return mixed / mixed.sum(2, keepdim=True)


def mix_colours(image: Tensor, matrices: Tensor) -> Tensor:
    """Multiply each pixel by its picture's matrix (N, 3, 3)."""
    return torch.einsum("nij,njhw->nihw", matrices, image)


def undo_gains(image: Tensor, gains: Tensor) -> Tensor:
    """Divide the channels by ``gains`` (N, 3, 1, 1), but not where all are nearly white: a sensor is full there.

    Equation 6 of Brooks et al. 2019.
    """
    whiteness = ((image.mean(1, keepdim=True) - HIGHLIGHT) / (1 - HIGHLIGHT)).clamp(min=0).square()
    return image * torch.maximum(whiteness + (1 - whiteness) / gains, 1 / gains)


def to_linear(image: Tensor) -> Tensor:
    """Undo the curve of sRGB (IEC 61966-2-1) on values in [0, 1]."""
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Apply the curve of sRGB (IEC 61966-2-1) to values in [0, 1]."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def tone(image: Tensor, chosen: Tensor) -> Tensor:
    """Raise the contrast of the ``chosen`` (bool) pictures by the smooth step 3x^2 - 2x^3."""
    return torch.where(chosen, image * image * (3 - 2 * image), image)


def undo_tone(image: Tensor, chosen: Tensor) -> Tensor:
    """Invert `tone` on values in [0, 1]."""
    return torch.where(chosen, 0.5 - torch.sin(torch.asin(1 - 2 * image) / 3), image)


def take_tones(clean: Tensor, noisy: Tensor) -> Tensor:
    """Shift the tones of clean views (N, C, H, W) so that noise lies evenly around each: mean tones of many exposures.

    Clipping at black brightens shadows on average, and the mean of a bent curve lies below the curve. Each channel is
    shifted by a function of its tone, linear between knots that are even in the square root, which fits the noise by
    least squares. Tones that few pixels have are hardly shifted.
    """
    places = (TONES - 1) * clean.clamp(0, 1).sqrt()
    knots = torch.arange(TONES, device=clean.device).reshape(-1, 1)
    hats = (1 - (places.flatten(2).unsqueeze(2) - knots).abs()).clamp(min=0)  # (N, C, TONES, H * W)
    count = hats.shape[-1]
    squares = hats @ hats.mT / count + RARE * torch.eye(TONES, device=clean.device)
    shifts = torch.linalg.solve(squares, hats @ (noisy - clean).flatten(2).unsqueeze(3) / count)
    return (clean + (shifts.mT @ hats).reshape(clean.shape)).clamp(0, 1)


def to_luma_chroma(image: Tensor) -> tuple[Tensor, Tensor]:
    """Part colours into luma (N, 1, H, W) and the differences of red and blue to it (N, 2, H, W)."""
    weights = torch.tensor(LUMA, device=image.device, dtype=image.dtype).reshape(1, 3, 1, 1)
    luma = (image * weights).sum(1, keepdim=True)
    return luma, torch.cat([image[:, :1] - luma, image[:, 2:] - luma], dim=1)


def from_luma_chroma(luma: Tensor, chroma: Tensor) -> Tensor:
    """Join what `to_luma_chroma` parted."""
    red, green, blue = LUMA
    rest = -(red * chroma[:, :1] + blue * chroma[:, 1:]) / green
    return luma + torch.cat([chroma[:, :1], rest, chroma[:, 1:]], dim=1)


def blur(planes: Tensor, radius: Tensor, longest: float) -> Tensor:
    """Blur (N, C, H, W) by Gaussians of deviation ``radius`` pixels, at most ``longest``; the edge is repeated."""
    n, channels, height, width = planes.shape
    reach = max(1, round(LONGEST * longest))
    steps = torch.arange(-reach, reach + 1, device=planes.device, dtype=planes.dtype)
    taps = torch.exp(-0.5 * (steps / radius.reshape(-1, 1).clamp(min=0.05)).square())
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(channels, dim=0)  # (N * C, k)
    flat = F.pad(planes.reshape(1, n * channels, height, width), (reach,) * 4, mode="replicate")
    flat = F.conv2d(flat, taps[:, None, None, :], groups=n * channels)
    return F.conv2d(flat, taps[:, None, :, None], groups=n * channels).reshape(planes.shape)


def smooth_and_sharpen(
    luma: Tensor, guide: Tensor, *, radius: Tensor, longest: float, smoothing: Tensor, sharpening: Tensor, edge: Tensor
) -> Tensor:
    """Do what cameras do to luminance: smooth what is flat, sharpen all.

    What is finer than ``radius`` is multiplied by 1 + ``sharpening`` at edges, and by a share 1 - ``smoothing`` of
    that where the ``guide``, the picture without its noise, is flatter than ``edge``. As the guide decides, it is a
    linear filter: what it does to noise it does to texture, and the mean of many exposures is the filtered picture.

    Args:
        luma: (N, 1, H, W).
        guide: the same.
        radius: of the Gaussian, in pixels, at most ``longest``.
        longest: see there.
        smoothing: 0 to 1.
        sharpening: 0 and more.
        edge: deviation of the fine luminance that is texture, not flatness; full scale is 1.
    """
    planes = blur(torch.cat([luma, guide], dim=1), radius, longest)
    coarse, fine = planes[:, :1], luma - planes[:, :1]
    texture = F.avg_pool2d((guide - planes[:, 1:]).square(), 5, stride=1, padding=2, count_include_pad=False)
    flatness = 1 / (1 + texture / edge.square())
    return coarse + fine * (1 + sharpening) * (1 - smoothing * flatness)


def zoom(image: Tensor, factor: Tensor) -> Tensor:
    """Enlarge (``factor`` above 1) or reduce pictures about their centre by bilinear interpolation.

    The size stays; beyond the border the picture is mirrored. Pictures whose factor is 1 cost nothing.
    """
    chosen = factor.flatten() != 1
    if not chosen.any():
        return image
    some = image[chosen]
    transform = torch.zeros((len(some), 2, 3), device=image.device, dtype=image.dtype)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 / factor.flatten()[chosen]
    grid = F.affine_grid(transform, list(some.shape), align_corners=False)
    zoomed = image.clone()
    zoomed[chosen] = F.grid_sample(some, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return zoomed
