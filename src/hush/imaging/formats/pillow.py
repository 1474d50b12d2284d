"""The formats that Pillow codes: WebP, AVIF, GIF, BMP and TGA."""

from __future__ import annotations

import importlib
import io
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.codecs import exact_palette, pillow_encode, pillow_image, pillow_pixels
from hush.imaging.formats.picture import INTACT, Metadata, Picture

QUALITY = 90  # WebP and AVIF do not tell the quality that they were written with
EXIF = b"Exif\0\0"
LOOPING = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


@dataclass(frozen=True)
class PillowCoding:
    """How one of these formats held its picture."""

    format: str
    lossless: bool = False  # WebP
    subsampling: str = "4:2:0"  # AVIF
    palette: bool = False  # BMP, TGA
    compression: str | None = None  # TGA
    extensions: tuple[bytes, ...] = ()  # GIF: comments, XMP and profile blocks, verbatim


def is_webp(head: bytes) -> bool:
    """Tell a WebP by its first bytes."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def is_avif(head: bytes) -> bool:
    """Tell an AVIF by the brands in its first box."""
    return head[4:8] == b"ftyp" and any(brand in head[8:64] for brand in (b"avif", b"avis"))


def is_gif(head: bytes) -> bool:
    """Tell a GIF by its first bytes."""
    return head[:6] in (b"GIF87a", b"GIF89a")


def is_bmp(head: bytes) -> bool:
    """Tell a BMP by its first bytes and its header's size."""
    return head[:2] == b"BM" and head[14:18] in [struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)]


def read_webp(data: bytes) -> Picture:
    """Read a still WebP: RGB, with or without alpha."""
    pixels, info, _ = _decode("WebP", data)
    return _picture("webp", pixels, info, PillowCoding("webp", lossless=_has_chunk(data, b"VP8L")))


def write_webp(picture: Picture) -> bytes:
    """Write uint8 RGB, with or without alpha: lossless if it came so, with colour under full transparency kept."""
    coding = _coding(picture, "webp")
    return _encode(picture, "WebP", lossless=coding.lossless, exact=True, quality=QUALITY, method=4)


def read_avif(data: bytes) -> Picture:
    """Read a still AVIF of 8 bits: gray or RGB, with or without alpha."""
    settings = [data[at.end() + 2] for at in re.finditer(b"av1C", data[:65_536]) if at.end() + 2 < len(data)]
    if any(byte & 0x40 for byte in settings):  # high_bitdepth
        raise PictureError("an AVIF of more than 8 bits; 8 bits are taken. Convert it to a 16-bit PNG or TIFF")
    space = re.search(b"colrnclx(....)", data[:65_536], re.DOTALL)
    if space and not set(struct.unpack(">HH", space[1])) <= {1, 2, 5, 6, 13}:  # BT.709, BT.601, sRGB, unspecified
        raise PictureError("an AVIF in wide-gamut or HDR colours without a profile. Convert it to a 16-bit PNG or TIFF")
    pixels, info, _ = _decode("Avif", data)
    colour = [byte & 0x0C for byte in settings if not byte & 0x10]  # alpha is coded as a monochrome picture
    subsampling = {0x0C: "4:2:0", 0x08: "4:2:2"}.get(min(colour, default=0x0C), "4:4:4")
    return _picture("avif", pixels, info, PillowCoding("avif", subsampling=subsampling))


def write_avif(picture: Picture) -> bytes:
    """Write uint8 gray, or RGB with or without alpha, with the chroma subsampling that it came with."""
    coding = _coding(picture, "avif")
    subsampling = "4:0:0" if picture.channels < 3 else coding.subsampling
    return _encode(picture, "Avif", quality=QUALITY, subsampling=subsampling)


def read_bmp(data: bytes) -> Picture:
    """Read a BMP of any depth."""
    pixels, info, palette = _decode("Bmp", data)
    return _picture("bmp", pixels, info, PillowCoding("bmp", palette=palette))


def write_bmp(picture: Picture) -> bytes:
    """Write uint8 gray or RGB, or gray of one bit."""
    return _encode_palette(picture, "bmp", dpi=picture.metadata.dpi)


def read_tga(data: bytes) -> Picture:
    """Read a Truevision TGA."""
    pixels, info, palette = _decode("Tga", data)
    return _picture("tga", pixels, info, PillowCoding("tga", palette=palette, compression=info.get("compression")))


def write_tga(picture: Picture) -> bytes:
    """Write uint8 gray or RGB, with or without alpha."""
    return _encode_palette(picture, "tga", compression=_coding(picture, "tga").compression)


def read_gif(data: bytes) -> Picture:
    """Read a GIF of one picture as RGB, with alpha where it has transparent pixels."""
    frames, extensions, _ = split_gif(data)
    if frames > 1:
        raise PictureError(f"a GIF of {frames} pictures; single pictures are taken. Save its frames as files first")
    pixels, info, _ = _decode("Gif", data)
    if pixels.ndim == 2:  # Pillow finds that its palette is gray; a GIF written from it would not show that
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    return _picture("gif", pixels, info, PillowCoding("gif", extensions=tuple(extensions)))


def write_gif(picture: Picture) -> bytes:
    """Write uint8 RGB, with or without alpha: exact up to 256 colours, else with the nearest of a palette.

    Alpha of 128 and more is opaque, the rest transparent.
    """
    _plugin("Gif")
    rgb = picture.pixels[..., :3]
    transparent = picture.pixels[..., 3] < 128 if picture.channels == 4 else np.zeros(picture.size, dtype=bool)
    options = {"transparency": 255} if transparent.any() else {}
    encoded = pillow_encode(_quantised(rgb, transparent), "GIF", **options)
    _, _, at = split_gif(encoded)
    return b"GIF89a" + encoded[6:at] + b"".join(_coding(picture, "gif").extensions) + encoded[at:]


def split_gif(data: bytes) -> tuple[int, list[bytes], int]:
    """Walk through a GIF's blocks.

    Returns the number of pictures, the comments and application extensions but for the looping one, and the offset
    behind the global colour table. Raises PictureError if it is cut off.
    """
    frames: int = 0
    extensions: list[bytes] = []
    try:
        start = at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
        while data[at] != 0x3B:
            block = at
            if data[at] == 0x21:
                label, at = data[at + 1], at + 2
            elif data[at] == 0x2C:
                frames, label, flags = frames + 1, 0, data[at + 9]
                at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
            else:
                raise PictureError(f"damaged GIF: a block of unknown kind. {INTACT}")
            while data[at]:
                at += 1 + data[at]
            at += 1
            if label == 0xFE or (label == 0xFF and data[block + 3 : block + 14] not in LOOPING):
                extensions.append(data[block:at])
    except IndexError:
        raise PictureError(f"truncated GIF: it ends within a block. {INTACT}") from None
    return frames, extensions, start


def _quantised(rgb: NDArray[Any], transparent: NDArray[np.bool_]) -> Any:
    """Return a Pillow image with a palette; index 255 is the transparent one, where there is one."""
    if not transparent.any():
        return _palette_image(rgb, 256)
    hidden = rgb[transparent][0]
    some = rgb[~transparent][0] if not transparent.all() else hidden
    image = _palette_image(np.where(transparent[..., np.newaxis], some, rgb), 255)
    palette = np.zeros((256, 3), dtype=np.uint8)
    used = np.asarray(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[:255]
    palette[: len(used)], palette[255] = used, hidden
    return _indexed(np.where(transparent, np.uint8(255), np.asarray(image)), palette)


def _palette_image(rgb: NDArray[Any], room: int) -> Any:
    """Return a Pillow image with a palette of at most ``room`` colours, exact where they suffice."""
    exact = exact_palette(np.ascontiguousarray(rgb))
    return _indexed(*exact) if exact is not None and len(exact[1]) <= room else pillow_image(rgb).quantize(room)


def _indexed(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Any:
    """Return a Pillow image of indices (H, W) into a palette (N, 3)."""
    from PIL import Image

    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    return image


def _plugin(name: str) -> Any:
    return importlib.import_module(f"PIL.{name}ImagePlugin")


def _decode(name: str, data: bytes) -> tuple[NDArray[Any], dict[str, Any], bool]:
    """Decode with the named plugin of Pillow; returns pixels, what Pillow read beside them, and if it had a palette.

    The plugin is called by itself: ``Image.open`` would try others, and has its own limit of size.
    """
    plugin = getattr(_plugin(name), f"{name}ImageFile")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with plugin(io.BytesIO(data)) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise PictureError(f"an animation of {frames} pictures; single ones are taken. Save its frames first")
            pixels, palette = pillow_pixels(image, len(data))
            return pixels, dict(image.info), palette


def _picture(name: str, pixels: NDArray[Any], info: dict[str, Any], coding: PillowCoding) -> Picture:
    """Collect a picture from what Pillow read."""
    exif = info.get("exif")
    metadata = Metadata(
        icc=info.get("icc_profile"),
        exif=exif.removeprefix(EXIF) if exif else None,
        xmp=info.get("xmp"),
        dpi=info.get("dpi"),
    )
    return Picture(pixels, format=name, metadata=metadata, coding=coding)


def _coding(picture: Picture, name: str) -> PillowCoding:
    """Return how the picture's own file held it, if that was the same format."""
    coding = picture.coding
    return coding if isinstance(coding, PillowCoding) and coding.format == name else PillowCoding(name)


def _encode(picture: Picture, name: str, **options: Any) -> bytes:
    """Encode with the named plugin, with all metadata that Pillow writes as they are."""
    _plugin(name)
    metadata = picture.metadata
    blobs = {"icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
    return pillow_encode(pillow_image(picture.pixels), name.upper(), **blobs, **options)


def _encode_palette(picture: Picture, name: str, **options: Any) -> bytes:
    """Encode with a palette if the picture came with one and 256 colours still suffice."""
    _plugin(name.capitalize())
    exact = exact_palette(picture.pixels) if _coding(picture, name).palette and picture.kind == "RGB" else None
    image = _indexed(*exact) if exact is not None else pillow_image(picture.pixels)
    return pillow_encode(image, name.upper(), **options)


def _has_chunk(data: bytes, name: bytes) -> bool:
    """Tell whether a RIFF file holds a chunk."""
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] == name:
            return True
        at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1 & ~1)
    return False
