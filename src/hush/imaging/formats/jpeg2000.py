"""JPEG 2000 (ISO/IEC 15444-1): the boxes are read and written here, the codestream in them by Pillow (OpenJPEG).

The codestream is coded anew, the way the file's own was; all other boxes of a JP2 stay as they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from hush.errors import PictureError
from hush.imaging.formats.boxes import split
from hush.imaging.formats.codecs import pillow_encode, pillow_image, pillow_pixels
from hush.imaging.formats.marks import CODESTREAM
from hush.imaging.formats.picture import INCH, Metadata, Picture
from hush.imaging.formats.pillow import opened, plugin
from hush.imaging.formats.previews import plain_xmp, refreshed

Box = tuple[bytes, bytes]  # type and content
BEGINNING: tuple[Box, ...] = ((b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "))
EXIF = b"JpgTiffExif->JP2"  # what identifies the box of EXIF, and that of XMP
XMP = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
SIZ, COD, TILE = 0xFF51, 0xFF52, 0xFF90  # markers of a codestream (annex A)
PROGRESSIONS = ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")
SRGB, GRAYSCALE = 16, 17  # enumerated colour spaces
LARGEST = 65_535  # of 16 bits
PLAIN = (None, SRGB, GRAYSCALE)  # those whose values are taken as they are
ADVICE = "Convert it to PNG or TIFF"


@dataclass(frozen=True)
class Jpeg2000Coding:
    """How a JPEG 2000 held its picture."""

    boxes: tuple[Box, ...] = ()  # around the codestream, which stands empty among them; none for a bare codestream
    rate: float = 0.0  # bytes of pixels to a byte of codestream; 0 for lossless
    transform: bool = True  # luminance and colour are taken apart
    resolutions: int = 6
    block: tuple[int, int] = (64, 64)
    progression: str = "LRCP"
    tile: tuple[int, int] | None = None  # width and height; None for one tile


class Header(NamedTuple):
    """What a codestream says before its first tile."""

    components: tuple[tuple[int, int, int], ...]  # bits less one, 128 more if signed; width and height of a value
    coding: Jpeg2000Coding


def read(data: bytes) -> Picture:
    """Read gray or RGB, with or without alpha, of 8 bits, or gray of 16."""
    bare = data.startswith(CODESTREAM)
    boxes = () if bare else tuple((kind, data[at:end]) for kind, at, end in split(data, 0, len(data)))
    streams = [data] if bare else [content for kind, content in boxes if kind == b"jp2c"]
    if len(streams) != 1:
        raise PictureError(f"a JPEG 2000 of {len(streams)} codestreams, where one is taken. {ADVICE}")
    header = _header(streams[0])
    inner = next((content for kind, content in boxes if kind == b"jp2h"), b"")
    within = {kind: inner[at:end] for kind, at, end in reversed(split(inner, 0, len(inner)))}  # the first of a kind
    _check(header, within)
    with opened("Jpeg2K", streams[0]) as image:
        pixels, _ = pillow_pixels(image, len(data))
    around = tuple((kind, b"" if kind == b"jp2c" else content) for kind, content in boxes)
    return Picture(
        pixels, format="jpeg2000", metadata=_metadata(boxes, within), coding=replace(header.coding, boxes=around)
    )


def write(picture: Picture) -> bytes:
    """Write uint8 gray or RGB, with or without alpha, or uint16 gray; what comes from another format without loss."""
    own = isinstance(picture.coding, Jpeg2000Coding)
    coding = picture.coding if own else Jpeg2000Coding()
    stream = _encoded(picture, coding)
    if own and not coding.boxes:
        return stream
    boxes = _refilled(coding.boxes, picture) if own else _boxes(picture)
    return b"".join(_packed(kind, stream if kind == b"jp2c" else content) for kind, content in boxes)


def _header(stream: bytes) -> Header:
    """Read a codestream's markers SIZ and COD."""
    segments: dict[int, bytes] = {}
    at = 2
    while (found := struct.unpack_from(">HH", stream, at))[0] != TILE:
        marker, length = found
        segments.setdefault(marker, stream[at + 4 : at + 2 + length])
        at += 2 + length
    right, bottom, left, top, across, down, count = struct.unpack_from(">2x6I8xH", segments[SIZ])
    components = tuple(struct.iter_unpack(">3B", segments[SIZ][36 : 36 + 3 * count]))
    order, transform, levels, wide, high, reversible = struct.unpack_from(">xB2x4BxB", segments[COD])
    raw = (right - left) * (bottom - top) * count * (1 if components[0][0] % 128 < 8 else 2)
    return Header(
        components,
        Jpeg2000Coding(
            rate=0.0 if reversible else max(1.0, raw / len(stream)),
            transform=bool(transform),
            resolutions=levels + 1,
            block=(4 << wide, 4 << high),
            progression=PROGRESSIONS[order],
            tile=None if across >= right and down >= bottom else (across, down),
        ),
    )


def _check(header: Header, within: dict[bytes, bytes]) -> None:
    """Raise PictureError for pixels that would not come back as they are stored."""
    components = header.components
    bits = {size % 128 + 1 for size, _, _ in components}
    if b"pclr" in within or _colour_space(within) not in PLAIN:
        raise PictureError(f"a JPEG 2000 in other colours than gray and RGB, or with a palette. {ADVICE}")
    if len(set(components)) > 1 or components[0][1:] != (1, 1) or components[0][0] > 127 or len(components) > 4:
        raise PictureError(f"a JPEG 2000 whose {len(components)} channels are unlike, coarser or signed. {ADVICE}")
    if not (bits == {8} or (bits == {16} and len(components) == 1)):
        kind = "gray" if len(components) == 1 else "colour"
        raise PictureError(f"a JPEG 2000 in {kind} of {bits.pop()} bits; 8 are taken, and 16 of gray. {ADVICE}")


def _colour_space(within: dict[bytes, bytes]) -> int | None:
    """Return the number of an enumerated colour space, None for a profile or where nothing is said."""
    colour = within.get(b"colr", b"")
    return int.from_bytes(colour[3:7], "big") if colour[:1] == b"\1" else None


def _metadata(boxes: tuple[Box, ...], within: dict[bytes, bytes]) -> Metadata:
    """Collect what the boxes hold beside the pixels."""
    known = {content[:16]: content[16:] for kind, content in boxes if kind == b"uuid"}
    colour = within.get(b"colr", b"")
    return Metadata(
        icc=colour[3:] if colour[:1] in (b"\2", b"\3") else None,
        exif=known.get(EXIF) or None,
        xmp=plain_xmp(known[XMP]) if known.get(XMP) else None,
        dpi=_resolution(within.get(b"res ", b"")),
    )


def _resolution(content: bytes) -> tuple[float, float] | None:
    """Read pixels per inch, across and down, of the capture or else of the display."""
    found = {kind: content[at:end] for kind, at, end in split(content, 0, len(content))}
    values = found.get(b"resc") or found.get(b"resd")
    if not values:
        return None
    down, below_down, across, below_across, power_down, power_across = struct.unpack(">4H2b", values)
    if not (below_down and below_across and down and across):
        return None
    return across / below_across * 10.0**power_across * INCH, down / below_down * 10.0**power_down * INCH


def _encoded(picture: Picture, coding: Jpeg2000Coding) -> bytes:
    """Return a picture's codestream."""
    plugin("Jpeg2K")
    tile = None if picture.pixels.dtype == np.uint16 else coding.tile  # of 16 bits Pillow mixes up what lies in tiles
    levels = min(coding.resolutions, min(tile or picture.size).bit_length())  # of a small picture there are less
    return pillow_encode(
        pillow_image(picture.pixels),
        "JPEG2000",
        no_jp2=True,
        irreversible=coding.rate > 0,
        quality_layers=[coding.rate] if coding.rate else None,
        mct=int(coding.transform and picture.channels > 2),
        num_resolutions=levels,
        codeblock_size=coding.block,
        progression=coding.progression,
        tile_size=tile,
    )


def _refilled(boxes: tuple[Box, ...], picture: Picture) -> list[Box]:
    """Return a file's own boxes, with EXIF and XMP that show no stale preview."""
    fresh = {EXIF: refreshed(picture.metadata.exif, picture), XMP: picture.metadata.xmp}
    refilled = []
    for kind, content in boxes:
        name = content[:16]
        refilled.append((kind, name + (fresh[name] or b"") if kind == b"uuid" and name in fresh else content))
    return refilled


def _boxes(picture: Picture) -> list[Box]:
    """Return the boxes of a JP2 for a picture from another format."""
    metadata, channels = picture.metadata, picture.channels
    bits = picture.pixels.dtype.itemsize * 8
    colours = 1 if channels < 3 else 3
    if metadata.icc:
        colour = b"\2\0\0" + metadata.icc
    else:
        colour = struct.pack(">BBBI", 1, 0, 0, GRAYSCALE if colours == 1 else SRGB)
    inner = [(b"ihdr", struct.pack(">IIH4B", *picture.size, channels, bits - 1, 7, 0, 0)), (b"colr", colour)]
    if channels > colours:
        kinds = [(number, 0, number + 1) for number in range(colours)] + [(colours, 1, 0)]  # 1: alpha, of the whole
        inner.append((b"cdef", struct.pack(">H", channels) + b"".join(struct.pack(">3H", *kind) for kind in kinds)))
    if metadata.dpi and all(0 < value < 1e9 for value in metadata.dpi):
        across, down = map(_fraction, metadata.dpi)
        values = struct.pack(">4H2b", *down[:2], *across[:2], down[2], across[2])
        inner.append((b"res ", _packed(b"resc", values)))
    exif = refreshed(metadata.exif, picture)
    notes = [(b"uuid", name + content) for name, content in ((EXIF, exif), (XMP, metadata.xmp)) if content]
    header = (b"jp2h", b"".join(_packed(*box) for box in inner))
    return [*BEGINNING, header, *notes, (b"jp2c", b"")]


def _fraction(dpi: float) -> tuple[int, int, int]:
    """Return pixels per metre as numerator and denominator of 16 bits, and a power of ten."""
    value, power = Fraction(dpi) / Fraction("0.0254"), 0
    while value > LARGEST or (value.numerator > LARGEST and value.numerator % 10 == 0):
        value, power = value / 10, power + 1
    value = value.limit_denominator(int(LARGEST / value) if value > 1 else LARGEST)
    return value.numerator, value.denominator, power


def _packed(kind: bytes, content: bytes) -> bytes:
    if len(content) + 8 < 2**32:
        return struct.pack(">I4s", len(content) + 8, kind) + content
    return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
