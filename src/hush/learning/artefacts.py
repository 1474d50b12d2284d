"""Artefacts made with Pillow: JPEG compression, and writing pasted over a picture.

They belong to the noises (same signature, same table). Codec and font are on the CPU, so batches visit it and come
back to their device.
"""

from __future__ import annotations

import functools
import io
import string
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hush.errors import UsageError

if TYPE_CHECKING:
    from PIL import ImageFont


def jpeg(clean: Tensor, rng: torch.Generator, *, quality: float | Tensor = 40) -> Tensor:
    """Compress and decompress as JPEG of ``quality`` 1 to 100, chroma at half size (4:2:0).

    As the codec works on bytes, the result is clipped to [0, 1] and rounded to 8 bit. Pictures of other than
    1 or 3 channels are compressed channel by channel. Nothing is drawn: one quality gives one result.
    ITU-T T.81 (1992), with the tables of libjpeg.

    Raises UsageError if the quality is outside 1 to 100.
    """
    qualities = _values("quality", quality, clean, 1, 100)
    pictures = clean.detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    restored = [_through_jpeg(picture, round(q)) for picture, q in zip(pictures, qualities, strict=True)]
    return _batch(np.stack(restored), clean).div(255).to(clean.dtype)


def _through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Send (H, W, C) bytes through the codec."""
    from PIL import Image

    if picture.shape[2] not in (1, 3):
        return np.concatenate([_through_jpeg(plane[..., None], quality) for plane in np.moveaxis(picture, 2, 0)], 2)
    file = io.BytesIO()
    flat = np.ascontiguousarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    Image.fromarray(flat).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file)).reshape(picture.shape)


def text(clean: Tensor, rng: torch.Generator, *, coverage: float | Tensor = 0.1, size: float | Tensor = 0) -> Tensor:
    """Write random words over the picture, at random places, angles, sizes and colours.

    Words are added until their ink covers a share ``coverage`` of the picture (0 to 0.9), so the last word may
    pass it a little. Letters are of 10 to ``size`` pixels (at most 1000); 0 is an eighth of the picture's shorter side,
    so tell it where patches are to have the letters of whole pictures. Lehtinen et al. 2018 (Noise2Noise),
    arXiv:1803.04189, section 3.3.

    Raises UsageError if the coverage is outside 0 to 0.9, or the size outside 0 to 1000.
    """
    coverages = _values("coverage", coverage, clean, 0, 0.9)
    sizes = _values("size", size, clean, 0, 1000)
    seeds = torch.randint(2**62, (len(clean),), generator=rng, device=clean.device).tolist()
    _, channels, height, width = clean.shape
    sheets = [
        _write(height, width, channels, share, round(largest) or min(height, width) // 8, np.random.default_rng(seed))
        for share, largest, seed in zip(coverages, sizes, seeds, strict=True)
    ]
    sheet = _batch(np.stack(sheets), clean).to(clean.dtype) / 255  # (N, C + 1, H, W)
    return clean * (1 - sheet[:, channels:]) + sheet[:, :channels]


def _write(
    height: int, width: int, channels: int, coverage: float, largest: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a sheet (H, W, C + 1) of colours, already multiplied by their ink, and the ink itself."""
    from PIL import Image

    planes = [Image.new("L", (width, height)) for _ in range(channels + 1)]
    while np.asarray(planes[-1]).mean() < 255 * coverage:
        stamp = _stamp(largest, rng)
        place = tuple(int(rng.uniform(-s / 2, p - s / 2)) for s, p in zip(stamp.size, (width, height), strict=True))
        colour = [int(value) for value in rng.integers(0, 256, channels)]
        for plane, value in zip(planes, [*colour, 255], strict=True):
            plane.paste(value, (place[0], place[1]), stamp)
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def _stamp(largest: int, rng: np.random.Generator) -> Any:
    """Draw a word of 3 to 12 letters of 10 to ``largest`` pixels, turned by any angle."""
    from PIL import Image, ImageDraw

    word = "".join(rng.choice(list(string.ascii_letters + string.digits), rng.integers(3, 13)))
    font = _font(int(rng.integers(10, max(11, largest + 1))))
    left, top, right, bottom = font.getbbox(word)
    stamp = Image.new("L", (int(right - left) + 1, int(bottom - top) + 1))
    ImageDraw.Draw(stamp).text((-left, -top), word, fill=255, font=font)
    return stamp.rotate(rng.uniform(0, 360), resample=Image.Resampling.BILINEAR, expand=True)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _values(name: str, option: float | Tensor, clean: Tensor, low: float, high: float) -> list[float]:
    """Return one number per picture, checked."""
    values: list[float] = torch.as_tensor(option, dtype=torch.float64).reshape(-1).expand(len(clean)).tolist()
    for value in values:
        if not low <= value <= high:
            raise UsageError(f"{name} is {value:g}; it must lie within {low:g}..{high:g}")
    return values


def _batch(pictures: NDArray[np.uint8], clean: Tensor) -> Tensor:
    """Turn (N, H, W, C) bytes into a float32 batch (N, C, H, W) on the device of ``clean``."""
    return torch.from_numpy(pictures).to(clean.device).permute(0, 3, 1, 2).float()
