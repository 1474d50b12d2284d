"""BMP and TGA, and what all formats that Pillow codes share."""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.codecs import exact_palette, indexed, pillow_encode, pillow_image, pillow_pixels, quiet
from hush.imaging.formats.picture import INCH, Metadata, Picture
from hush.imaging.formats.previews import plain_xmp, refreshed

QUALITY = 90  # where a file does not tell the quality that it was written with
EXIF = b"Exif\0\0"


@dataclass(frozen=True)
class PillowCoding:
    """How one of these formats held its picture."""

    format: str
    lossless: bool = False  # WebP
    quality: int = QUALITY  # WebP, AVIF: as fine as the file was
    subsampling: str = "4:2:0"  # AVIF
    bits: int = 8  # AVIF
    palette: bool = False  # BMP, TGA
    compression: str | None = None  # TGA
    extensions: tuple[bytes, ...] = ()  # GIF: looping, comments, XMP and profile blocks, verbatim


def read_bmp(data: bytes) -> Picture:
    """Read a BMP of any depth."""
    pixels, info, palette = decode("Bmp", data)
    return make_picture("bmp", pixels, info, PillowCoding("bmp", palette=palette))


def write_bmp(picture: Picture) -> bytes:
    """Write uint8 gray or RGB, with or without alpha, or gray of one bit."""
    if picture.kind == "RGB+alpha":
        return _bmp_with_alpha(picture)
    return _encode_palette(picture, "bmp", dpi=_bmp_dpi(picture))


def _bmp_dpi(picture: Picture) -> tuple[float, float] | None:
    """Return the resolution, where a BMP's four bytes for pixels per metre hold it."""
    dpi = picture.metadata.dpi
    return dpi if dpi is not None and max(dpi) / INCH < 2**31 else None


def _bmp_with_alpha(picture: Picture) -> bytes:
    """Write a BMP whose header (BITMAPV5HEADER) says that the fourth byte is alpha; Pillow's does not."""
    height, width = picture.size
    raster = np.ascontiguousarray(picture.pixels[::-1][..., [2, 1, 0, 3]]).tobytes()
    metre = [round(value / INCH) for value in _bmp_dpi(picture) or (0, 0)]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 32, 3, len(raster), *metre, 0, 0)
    header += struct.pack("<4I4s", *masks, b"BGRs") + bytes(48) + struct.pack("<IIII", 4, 0, 0, 0)
    return struct.pack("<2sIII", b"BM", 14 + len(header) + len(raster), 0, 14 + len(header)) + header + raster


def read_tga(data: bytes) -> Picture:
    """Read a Truevision TGA."""
    pixels, info, palette = decode("Tga", data)
    return make_picture("tga", pixels, info, PillowCoding("tga", palette=palette, compression=info.get("compression")))


def write_tga(picture: Picture) -> bytes:
    """Write uint8 gray or RGB, with or without alpha."""
    return _encode_palette(picture, "tga", compression=own_coding(picture, "tga").compression)


def plugin(name: str) -> Any:
    """Import one of Pillow's plugins."""
    return importlib.import_module(f"PIL.{name}ImagePlugin")


def opened(name: str, data: bytes) -> Any:
    """Open with the named plugin of Pillow: ``Image.open`` would try others, and has its own limit of size."""
    with quiet():
        return getattr(plugin(name), f"{name}ImageFile")(io.BytesIO(data))


def decode(name: str, data: bytes) -> tuple[NDArray[Any], dict[str, Any], bool]:
    """Decode a single picture with the named plugin of Pillow.

    Returns pixels, what Pillow read beside them, and if it had a palette.
    """
    with opened(name, data) as image, quiet():
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise PictureError(f"an animation of {frames} pictures, where one is taken. Save its frames first")
        pixels, palette = pillow_pixels(image, len(data))
        return pixels, dict(image.info), palette


def moving_frames(image: Any, mode: str) -> Iterator[NDArray[Any]]:
    """Yield the frames of an opened animation, each as a whole picture in Pillow's ``mode``."""
    for number in range(image.n_frames):
        with quiet():
            image.seek(number)
            frame = np.asarray(image.convert(mode))
        yield frame


def make_picture(name: str, pixels: NDArray[Any], info: dict[str, Any], coding: PillowCoding) -> Picture:
    """Collect a picture from what Pillow read."""
    return Picture(pixels, format=name, metadata=metadata_of(info), coding=coding)


def metadata_of(info: dict[str, Any]) -> Metadata:
    """Collect what Pillow read beside the pixels."""
    exif = info.get("exif")
    return Metadata(
        icc=info.get("icc_profile"),
        exif=exif.removeprefix(EXIF) if exif else None,
        xmp=plain_xmp(info["xmp"]) if info.get("xmp") else None,
        dpi=info.get("dpi"),
    )


def own_coding(picture: Picture, name: str) -> PillowCoding:
    """Return how the picture's own file held it, if that was the same format."""
    coding = picture.coding
    return coding if isinstance(coding, PillowCoding) and coding.format == name else PillowCoding(name)


def encode(picture: Picture, name: str, **options: Any) -> bytes:
    """Encode with the named plugin, with all metadata that Pillow writes as they are."""
    plugin(name)
    metadata = picture.metadata
    blobs = {"icc_profile": metadata.icc, "exif": refreshed(metadata.exif, picture), "xmp": metadata.xmp}
    return pillow_encode(pillow_image(picture.pixels), name.upper(), **blobs, **options)


def _encode_palette(picture: Picture, name: str, **options: Any) -> bytes:
    """Encode with a palette if the picture came with one and 256 colours still suffice."""
    plugin(name.capitalize())
    exact = exact_palette(picture.pixels) if own_coding(picture, name).palette and picture.kind == "RGB" else None
    image = indexed(*exact) if exact is not None else pillow_image(picture.pixels)
    return pillow_encode(image, name.upper(), **options)
