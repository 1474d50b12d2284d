"""HEIC and other HEIF of 8 to 12 bits, through pillow-heif (the extra ``heif``)."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hush.errors import PictureError, need
from hush.imaging.formats.boxes import coded_parts
from hush.imaging.formats.codecs import finer, least_quality, squeezed
from hush.imaging.formats.colour import signalled
from hush.imaging.formats.picture import INTACT, Metadata, Pages, Picture, check_size
from hush.imaging.formats.previews import plain_xmp, refreshed
from hush.imaging.formats.quantisers import hevc_quantiser
from hush.imaging.formats.tags import Data

QUALITY = 90  # where the coarseness of a HEIC is not found
EXIF = b"Exif\0\0"
SIGNAL = ("color_primaries", "transfer_characteristics", "matrix_coefficients", "full_range_flag")  # ITU-T H.273

_depth = threading.Lock()  # the depth that pillow-heif writes is an option of the whole process


@dataclass(frozen=True)
class HeifCoding:
    """How a HEIF held its picture."""

    bits: int = 8
    chroma: int = 444
    signal: tuple[int, int, int, int] | None = None  # codes of primaries, transfer, matrix, and if the range is full
    icc: bytes | None = None  # as it was in the file
    primary: bool = True
    quality: int = QUALITY


def read(data: bytes) -> Picture:
    """Read a HEIF of one picture: gray or RGB, with or without alpha, as uint8 or, of 10 and 12 bits, uint16.

    It comes upright: a rotation is part of the coding, and the EXIF orientation is set to 1. Raises MissingExtra if
    pillow-heif is not installed.
    """
    pages = read_pages(data)
    if len(pages) > 1:
        raise PictureError(f"a HEIF of {len(pages)} pictures, where one is taken. Save them as files first")
    return next(iter(pages))


def read_pages(data: Data) -> Pages:
    """Read the pictures of a HEIF; auxiliary ones (depth, gain maps) are not among them."""
    library = need("pillow_heif", "heif")
    data = data[:]
    quality = quality_of(data)

    def opened() -> Any:
        return library.open_heif(data, convert_hdr_to_8bit=False)

    def pictures() -> Iterator[Picture]:
        for image in opened():
            width, height = image.size
            deep = image.info["bit_depth"] > 8
            check_size(height, width, len(image.mode.split(";")[0]), "u2" if deep else "u1", len(data))
            library.set_orientation(image.info)
            yield _picture(image, image.info, quality)

    count = len(opened())
    if not count:
        raise PictureError(f"damaged HEIF: it holds no picture. {INTACT}")
    return Pages("heif", count, pictures)


def quality_of(data: bytes) -> int:
    """Return the least quality at which the encoder quantises as finely as a HEIC is, or QUALITY if that is unknown."""
    qp = _finest(data)
    if qp is None:
        return QUALITY
    return _quality_for(qp) if qp > 0 else 100  # the last steps of the scale quantise alike, but differ in other ways


def _finest(data: bytes) -> int | None:
    """Return the finest quantisation parameter of a picture's parts."""
    parts = coded_parts(data)
    return min((qp for part in parts if (qp := hevc_quantiser(part.data, part.config)) is not None), default=None)


@cache
def _quality_for(qp: int) -> int:
    """Ask the encoder, if there is one."""
    library = need("pillow_heif", "heif")
    if not library.libheif_info()["HEIF"]:
        return QUALITY

    def fine(quality: int) -> bool:
        file = io.BytesIO()
        library.from_bytes("RGB", (64, 64), bytes(64 * 64 * 3)).save(file, quality=quality)
        found = _finest(file.getvalue())
        return found is None or found <= qp

    return least_quality(fine)


def _picture(image: Any, info: dict[str, Any], quality: int) -> Picture:
    """Collect a picture from what pillow-heif read."""
    nclx = info.get("nclx_profile")
    signal = tuple(int(nclx[name]) for name in SIGNAL) if nclx else None
    icc, exif, xmp = info.get("icc_profile"), info.get("exif"), info.get("xmp")
    pixels = np.asarray(image)
    primary = bool(info.get("primary", True))
    coding = HeifCoding(info["bit_depth"], info.get("chroma") or 444, signal, icc, primary, quality)  # type: ignore[arg-type]
    metadata = Metadata(
        icc=icc or _signalled(signal, gray=pixels.ndim == 2),
        exif=exif.removeprefix(EXIF) if exif else None,
        xmp=plain_xmp(xmp) if xmp else None,
    )
    return Picture(pixels, format="heif", metadata=metadata, coding=coding)


def _signalled(signal: tuple[int, ...] | None, *, gray: bool) -> bytes | None:
    """Return a profile for colours stated in numbers; None for sRGB, or what is near to it."""
    if signal is None or (signal[0] in (1, 5, 6) and signal[1] in (1, 6, 13)):
        return None
    return signalled(bytes([*signal[:2], 0, 1]), gray=gray)


def write(picture: Picture) -> bytes:
    """Write a picture as HEIC, with the depth, subsampling and colours that it came with."""
    file = io.BytesIO()
    write_pages(file, [picture], Pages("heif", 1, lambda: iter(())), Path())
    return file.getvalue()


def write_pages(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write pictures as HEIC; pillow-heif takes all of them at once.

    Raises MissingExtra if pillow-heif is not installed, PictureError if it cannot write.
    """
    library = need("pillow_heif", "heif")
    if not library.libheif_info()["HEIF"]:
        raise PictureError("this build of pillow-heif reads HEIC, but cannot write it. Name a .png, .tif or .jpg file")
    out = library.HeifFile()
    found = []
    for picture in pictures:
        pixels = squeezed(picture.pixels)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[picture.channels] + (";16" if pixels.dtype == np.uint16 else "")
        image = out.add_frombytes(mode, picture.size[::-1], pixels.tobytes())
        image.info |= _info(picture)
        found.append(picture)
    first = found[0]
    coding = first.coding if isinstance(first.coding, HeifCoding) else HeifCoding()
    signal = dict(zip(SIGNAL, coding.signal, strict=True)) if coding.signal else {}
    with _depth:
        before = library.options.SAVE_HDR_TO_12_BIT
        library.options.SAVE_HDR_TO_12_BIT = coding.bits > 10
        try:
            out.save(file, quality=finer(coding.quality), chroma=str(coding.chroma), **signal)
        finally:
            library.options.SAVE_HDR_TO_12_BIT = before


def _info(picture: Picture) -> dict[str, Any]:
    """Return what pillow-heif writes beside the pixels."""
    own = isinstance(picture.coding, HeifCoding)
    icc = picture.coding.icc if own else picture.metadata.icc
    exif = refreshed(picture.metadata.exif, picture)
    info = {"icc_profile": icc, "icc_profile_type": "prof" if icc else None, "xmp": picture.metadata.xmp}
    info |= {"exif": EXIF + exif if exif else None, "primary": picture.coding.primary if own else True}
    return {name: value for name, value in info.items() if value is not None}
