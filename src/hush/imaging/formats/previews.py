"""Small previews inside metadata: they show the noise that is gone, so they are made anew or dropped."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np

from hush.imaging.formats.marks import is_tiff
from hush.imaging.formats.picture import Picture
from hush.imaging.formats.tags import byte_order

ORIENTATION = 274
JPEG_PLACE, JPEG_BYTES = 513, 514  # tags of the thumbnail's directory
RESOURCE = b"8BIM"
PHOTOSHOP_PREVIEWS = (1033, 1036)
QUALITIES = (85, 75, 60, 45, 30)
LARGEST = 2**18  # bytes of a thumbnail; EXIF as a whole holds 65533 in a JPEG
XMP_PREVIEWS = re.compile(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)


def refreshed(exif: bytes | None, picture: Picture) -> bytes | None:
    """Return an EXIF stream whose thumbnail shows the picture, or none: every other byte stays where it is.

    So maker notes, which point into the stream, stay valid.
    """
    if exif is None or not is_tiff(exif[:4]) or exif[2:4] in (b"+\0", b"\0+"):
        return exif
    order = byte_order(exif)
    try:
        link, _ = _directory(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
        (at,) = struct.unpack_from(order + "I", exif, link)
        if not at:
            return exif
        _, entries = _directory(exif, at, order)
        place, length = (struct.unpack_from(order + "I", exif, entries[n] + 8)[0] for n in (JPEG_PLACE, JPEG_BYTES))
    except (struct.error, KeyError):
        return _without(exif, order)
    if place + length > len(exif) or not 0 < length <= LARGEST:
        return _without(exif, order)
    fresh = _thumbnail(picture, exif[place : place + length])
    out = bytearray(exif)
    out[place : place + length] = (fresh or b"").ljust(length, b"\0")
    if fresh is None:
        return _without(bytes(out), order)
    struct.pack_into(order + "I", out, entries[JPEG_BYTES] + 8, len(fresh))
    return bytes(out)


def upright(exif: bytes) -> bytes:
    """Return an EXIF stream whose orientation is 1, for pixels that have been turned."""
    order = byte_order(exif)
    try:
        _, entries = _directory(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
    except struct.error:
        return exif
    out = bytearray(exif)
    if ORIENTATION in entries:
        struct.pack_into(order + "H", out, entries[ORIENTATION] + 8, 1)
    return bytes(out)


def _directory(exif: bytes, at: int, order: str) -> tuple[int, dict[int, int]]:
    """Return where a directory's link to the next one stands, and where the entry of each tag."""
    (count,) = struct.unpack_from(order + "H", exif, at)
    places = range(at + 2, at + 2 + 12 * count, 12)
    return at + 2 + 12 * count, {struct.unpack_from(order + "H", exif, place)[0]: place for place in places}


def _without(exif: bytes, order: str) -> bytes:
    """Cut the thumbnail's directory off."""
    out = bytearray(exif)
    try:
        link, _ = _directory(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
        struct.pack_into(order + "I", out, link, 0)
    except struct.error:
        return exif  # no directory that could be followed, so no thumbnail either
    return bytes(out)


def _thumbnail(picture: Picture, old: bytes) -> bytes | None:
    """Return a JPEG of the picture in the size of an old one and in no more bytes; None if that cannot be."""
    from PIL import Image, JpegImagePlugin

    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(old)) as stale:
            size, gray = stale.size, stale.mode == "L"
    except (OSError, SyntaxError, ValueError):
        return None
    if picture.pixels.dtype.kind not in "u" or max(size) > 2048:
        return None
    small = _shrunk(picture, size)
    if (small.width > small.height) != (size[0] > size[1]) and small.width != small.height:
        return None  # the old one was turned, and nothing says how
    canvas = Image.new("RGB", size)  # cameras put bars where the shapes differ
    canvas.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    for quality in QUALITIES:
        buffer = io.BytesIO()
        (canvas.convert("L") if gray else canvas).save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= len(old):
            return buffer.getvalue()
    return None


def _shrunk(picture: Picture, size: tuple[int, int]) -> Any:
    """Return the picture as a Pillow image that fits into a size."""
    from PIL import Image

    step = max(1, min(picture.size) // (4 * max(size)))
    pixels = picture.pixels[::step, ::step]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    mode = "CMYK" if picture.cmyk else {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[picture.channels]
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    image = image.convert("RGB")
    scale = min(size[0] / image.width, size[1] / image.height)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def without_previews(resources: bytes) -> bytes:
    """Drop the previews among Photoshop's image resources; what cannot be followed stays as it is."""
    kept, at = [], 0
    while resources[at : at + 4] == RESOURCE and at + 12 <= len(resources):
        (number,) = struct.unpack_from(">H", resources, at + 4)
        name = at + 6 + (resources[at + 6] + 2 & ~1)
        if name + 4 > len(resources):
            break
        (length,) = struct.unpack_from(">I", resources, name)
        end = name + 4 + (length + 1 & ~1)
        if number not in PHOTOSHOP_PREVIEWS:
            kept.append(resources[at:end])
        at = end
    return b"".join([*kept, resources[at:]])


def plain_xmp(xmp: bytes) -> bytes:
    """Drop the previews inside XMP."""
    return XMP_PREVIEWS.sub(b"", xmp)
