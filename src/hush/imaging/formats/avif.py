"""AVIF: 8 bits through Pillow; 10 and 12 bits, and colours stated in numbers, through libvips."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hush.errors import PictureError
from hush.imaging.formats.boxes import coded_parts
from hush.imaging.formats.codecs import finer, least_quality, pillow_encode, pillow_image, vips, vips_decode, vips_image
from hush.imaging.formats.colour import signalled
from hush.imaging.formats.conversion import turned
from hush.imaging.formats.picture import Metadata, Pages, Picture, check_size
from hush.imaging.formats.pillow import (
    EXIF,
    QUALITY,
    PillowCoding,
    decode,
    encode,
    make_picture,
    metadata_of,
    moving_frames,
    opened,
    own_coding,
    plugin,
)
from hush.imaging.formats.previews import plain_xmp, refreshed, upright
from hush.imaging.formats.quantisers import av1_quantiser
from hush.imaging.formats.tags import Data

HEADERS = 65_536  # bytes in which the boxes lie
PLAIN = {1, 2, 5, 6, 13}  # codes of BT.709, BT.601, sRGB and "not said" (ITU-T H.273)


@dataclass(frozen=True)
class Settings:
    """What the boxes of an AVIF say of its coding."""

    bits: int = 8
    subsampling: str = "4:2:0"
    quality: int = QUALITY
    signal: tuple[int, int] | None = None  # codes of primaries and transfer, where they are not those of sRGB

    @property
    def coding(self) -> PillowCoding:
        return PillowCoding("avif", quality=self.quality, subsampling=self.subsampling, bits=self.bits)


def settings_of(data: bytes) -> Settings:
    """Read depth, subsampling and colours from the boxes."""
    bits = [data[at.end() + 2] for at in re.finditer(b"av1C", data[:HEADERS]) if at.end() + 2 < len(data)]
    colour = [byte & 0x0C for byte in bits if not byte & 0x10]  # alpha is coded as a monochrome picture
    deep = max((byte & 0x60 for byte in bits), default=0)
    found = re.search(b"colrnclx(....)", data[:HEADERS], re.DOTALL)
    signal = struct.unpack(">HH", found[1]) if found else (1, 13)
    return Settings(
        {0x40: 10, 0x60: 12}.get(deep, 8),
        {0x0C: "4:2:0", 0x08: "4:2:2"}.get(min(colour, default=0x0C), "4:4:4"),
        quality_of(data),
        None if set(signal) <= PLAIN else (signal[0], signal[1]),
    )


def quality_of(data: bytes) -> int:
    """Return the least quality at which Pillow quantises as finely as an AVIF is, or QUALITY if that is unknown."""
    step = _step(data)
    return QUALITY if step is None else _quality_for(step)


def _step(data: bytes) -> int | None:
    """Return the finest quantiser of a picture's parts."""
    return min((step for part in coded_parts(data) if (step := av1_quantiser(part.data)) is not None), default=None)


@cache
def _quality_for(step: int) -> int:
    """Ask the encoder, whose scale differs from version to version but not from picture to picture."""
    plugin("Avif")
    sample = pillow_image(np.zeros((16, 16, 3), np.uint8))

    def fine(quality: int) -> bool:
        found = _step(pillow_encode(sample, "AVIF", quality=quality))
        return found is None or found <= step

    return least_quality(fine)


def read(data: bytes) -> Picture:
    """Read a still AVIF: gray or RGB, with or without alpha, as uint8 or, of 10 and 12 bits, uint16.

    Deeper ones and those of other colours than sRGB come upright, with an ICC profile for colours stated in numbers.
    """
    settings = settings_of(data)
    if settings.bits > 8 or settings.signal:
        return _read_deep(data, settings)
    pixels, info, _ = decode("Avif", data)
    return make_picture("avif", pixels, info, settings.coding)


def _read_deep(data: bytes, settings: Settings) -> Picture:
    """Read with libvips, which keeps 16 bits and turns the picture as the file says."""
    pixels, image = vips_decode("heifload_buffer", data)
    if image.get_typeof("n-pages") and image.get("n-pages") > 1:
        raise PictureError("an AVIF sequence of more than 8 bits, or of wide gamut; convert it to single pictures")
    blobs = {name: image.get(name) for name in ("icc-profile-data", "exif-data", "xmp-data") if image.get_typeof(name)}
    icc, exif, xmp = (blobs.get(name) for name in ("icc-profile-data", "exif-data", "xmp-data"))
    if icc is None and settings.signal:
        icc = signalled(bytes([*settings.signal, 0, 1]), gray=pixels.ndim == 2)
    metadata = Metadata(
        icc=icc,
        exif=upright(exif.removeprefix(EXIF)) if exif else None,
        xmp=plain_xmp(xmp) if xmp else None,
    )
    return Picture(pixels, format="avif", metadata=metadata, coding=settings.coding)


def write(picture: Picture, **options: Any) -> bytes:
    """Write gray, or RGB with or without alpha, with the depth and chroma subsampling that it came with.

    16 bits that came from another format become 10.
    """
    coding = own_coding(picture, "avif")
    if picture.pixels.dtype == np.uint16:
        return _write_deep(picture, coding)
    subsampling = "4:0:0" if picture.channels < 3 else coding.subsampling
    return encode(picture, "Avif", quality=finer(coding.quality), subsampling=subsampling, **options)


def _write_deep(picture: Picture, coding: PillowCoding) -> bytes:
    """Write 10 or 12 bits with libvips."""
    image = vips_image(picture.pixels)
    exif = refreshed(picture.metadata.exif, picture)
    blobs = {"icc-profile-data": picture.metadata.icc, "xmp-data": picture.metadata.xmp}
    blobs["exif-data"] = EXIF + exif if exif else None
    for name, content in blobs.items():
        if content:
            image.set_type(vips().GValue.blob_type, name, content)
    chroma = "on" if coding.subsampling == "4:2:0" and isinstance(picture.coding, PillowCoding) else "off"
    bits = coding.bits if coding.bits > 8 else 10
    return image.heifsave_buffer(
        compression="av1", bitdepth=bits, Q=finer(coding.quality), subsample_mode=chroma, effort=3
    )


def read_pages(data: Data) -> Pages:
    """Read a still AVIF, or the frames of a sequence."""
    data = data[:]
    settings = settings_of(data)
    if settings.bits > 8 or settings.signal:
        picture = _read_deep(data, settings)
        return Pages("avif", 1, lambda: iter([picture]))
    with opened("Avif", data) as image:
        count, mode, size = image.n_frames, image.mode, image.size
    if count == 1:
        picture = read(data)
        return Pages("avif", 1, lambda: iter([picture]))
    check_size(size[1], size[0], 4, "u1", len(data))

    def pictures() -> Iterator[Picture]:
        with opened("Avif", data) as image:
            metadata = metadata_of(image.info)
            for pixels in moving_frames(image, mode):
                yield Picture(
                    pixels, format="avif", metadata=metadata, coding=settings.coding, duration=image.info["duration"]
                )

    return Pages("avif", count, pictures, frames=True)


def write_pages(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write a sequence of 8 bits; Pillow takes all frames at once."""
    frames = [turned(picture) for picture in pictures if picture.duration is not None]  # Pillow crashes on turned ones
    if frames[0].pixels.dtype != np.uint8:
        raise PictureError("an animation of 16 bits; AVIF holds it with 8 here. Name a .png file")
    durations = [round(picture.duration or 0) for picture in frames]
    rest = [pillow_image(picture.pixels) for picture in frames[1:]]
    file.write(write(frames[0], save_all=True, append_images=rest, duration=durations))
