"""JPEG (ITU-T T.81): written again with the source's own quantisation tables, subsampling and segments."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.codecs import pillow_encode, pillow_image, vips, vips_decode
from hush.imaging.formats.picture import INTACT, Metadata, Picture
from hush.imaging.formats.previews import plain_xmp, refreshed, without_previews

Segment = tuple[int, bytes]  # second byte of the marker, content
Table = tuple[int, ...]  # 64 quantisation steps, row by row

EXAMPLE_STEPS = 3688  # the sum of the standard's example for brightness (table K.1), which libjpeg calls quality 50
QUALITY = 95  # for pictures that were no JPEG; their chroma is not subsampled
LONGEST = 65_533  # bytes that a segment holds
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
ICC, PHOTOSHOP, MULTI_PICTURE = b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"MPF\0"

APP0, APP1, APP2, APP13, APP14, APP15, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE
DQT, DRI, SOS, EOI, PROGRESSIVE = 0xDB, 0xDD, 0xDA, 0xD9, (0xC2, 0xC6, 0xCA, 0xCE)
FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
MARKERS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # behind the first scan
PICTURE_LIST = 0xB002  # tag of the multi-picture index
LARGE_PREVIEWS = {0x010001, 0x010002}  # kinds of pictures in it
STANDALONE = (0x01, *range(0xD0, 0xD9))

# Where the k-th coefficient of a zigzag stands in the 8x8 block: along diagonals, every other one upwards.
ZIGZAG = np.argsort([64 * (i + j) + (i if (i + j) % 2 else j) for i in range(8) for j in range(8)], kind="stable")


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG held its picture."""

    segments: tuple[Segment, ...] = ()  # its APPn and comments, verbatim
    tables: tuple[Table, ...] = ()  # one per component
    subsampling: str = "4:4:4"
    progressive: bool = False
    stored_rgb: bool = False  # the components are R, G, B, not Y, Cb, Cr
    restart: int = 0  # blocks between restart markers
    trailer: bytes = b""  # what follows the picture: a gain map, a video, further pictures
    length: int = field(default=0, compare=False)  # bytes before the trailer
    index: int = field(default=0, compare=False)  # offset that the index of further pictures counts from

    @property
    def quality(self) -> int | None:
        """The quality in per cent, on libjpeg's scale, that comes nearest to how coarsely brightness is quantised.

        Below 20, where steps end at 255, it is too high.
        """
        if not self.tables:
            return None
        percent = 100 * sum(self.tables[0]) / EXAMPLE_STEPS
        return round(min(100.0, max(1.0, 5000 / percent if percent > 100 else (200 - percent) / 2)))


def read(data: bytes) -> Picture:
    """Read a gray, RGB or CMYK JPEG; 255 is full ink."""
    pixels, image = _decode(data)
    segments, scan = split(data)
    segments = [(marker, preview_free(marker, content)) for marker, content in segments]
    return Picture(
        pixels,
        format="jpeg",
        cmyk=image.interpretation == "cmyk",
        metadata=metadata_of(segments),
        coding=_with_trailer(coding_of(segments), data, scan),
    )


def write(picture: Picture) -> bytes:
    """Write uint8 gray, RGB or CMYK, at the quality and subsampling that the picture came with, or better."""
    from PIL import JpegImagePlugin  # noqa: F401  (registers the writer)

    coding = picture.coding if isinstance(picture.coding, JpegCoding) else None
    height, width = picture.size
    if max(height, width) > 65_500:
        raise PictureError(f"{width}x{height} pixels; a JPEG's sides are at most 65500. Name a .tif file")
    dpi = picture.metadata.dpi
    fits = dpi is not None and max(dpi) < 2**16  # that of a microscope stands in EXIF alone
    options: dict[str, Any] = {"quality": QUALITY, "subsampling": "4:4:4", "dpi": dpi if fits else None}
    if coding is not None:
        options = {"qtables": _tables(coding, picture.cmyk), "progressive": coding.progressive}
        options["subsampling"] = "4:4:4" if picture.cmyk else coding.subsampling
        options["keep_rgb"] = coding.stored_rgb
        options["restart_marker_blocks"] = coding.restart or None
    encoded = pillow_encode(pillow_image(picture.pixels, cmyk=picture.cmyk), "JPEG", **options)
    segments, at = split(encoded)
    own = list(coding.segments) if coding else [s for s in segments if s[0] == APP0] + _segments(picture.metadata)
    own = [(marker, _with_thumbnail(marker, content, picture)) for marker, content in own]
    data = join([*own, *(s for s in segments if s[0] not in (APP0, COMMENT))]) + encoded[at:]
    return _pointing(data, coding) + coding.trailer if coding and coding.trailer else data


def split(data: bytes) -> tuple[list[Segment], int]:
    """Part a JPEG into its segments before the first scan, and the offset where that scan begins.

    Raises PictureError if a segment runs past the end.
    """
    segments: list[Segment] = []
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (SOS, EOI):
            return segments, at
        if marker in (0x00, 0xFF, *STANDALONE):
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            break
        segments.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    raise PictureError(f"truncated JPEG: it ends before its pixels begin. {INTACT}")


def join(segments: Iterable[Segment]) -> bytes:
    """Write segments behind the start of an image."""
    return b"\xff\xd8" + b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments
    )


def _decode(data: bytes) -> tuple[NDArray[Any], Any]:
    """Decode strictly: libjpeg only warns of missing data, and fills it with gray.

    A warning counts from the next eight rows on. Padding between segments is warned of too, but harms nobody.
    """
    try:
        return vips_decode("jpegload_buffer", data, fail_on="warning")
    except vips().Error as error:
        if "extraneous bytes" not in str(error):
            raise
    return vips_decode("jpegload_buffer", data, fail_on="error")


def _with_trailer(coding: JpegCoding, data: bytes, scan: int) -> JpegCoding:
    """Add what follows the picture. Large previews are dropped with the index of them, if nothing else follows."""
    end = _end(data, scan)
    index = data.find(MULTI_PICTURE, 0, scan) + len(MULTI_PICTURE)
    entries = _entries(data, index) if index >= len(MULTI_PICTURE) else []
    attributes = [struct.unpack_from(order + "I", data, at)[0] & 0xFFFFFF for order, at in entries]
    previews = [entry for entry, kind in zip(entries, attributes, strict=True) if kind in LARGE_PREVIEWS]
    if data[end:] and (not previews or _others(data, end, index, previews)):
        return replace(coding, trailer=data[end:], length=end, index=index)
    segments = tuple(s for s in coding.segments if not (s[0] == APP2 and s[1].startswith(MULTI_PICTURE)))
    return replace(coding, segments=segments)


def _others(data: bytes, end: int, index: int, previews: list[tuple[str, int]]) -> bool:
    """Say whether anything but previews follows a picture that ends there: a gain map, a video."""
    left = bytearray(data[end:])
    for order, at in previews:
        length, place = struct.unpack_from(order + "II", data, at + 4)
        start = max(0, index + place - end)
        left[start : start + length] = bytes(len(left[start : start + length]))
    return any(left)


def _end(data: bytes, scan: int) -> int:
    """Return the offset behind the end of the image whose first scan begins at an offset."""
    at = scan
    for found in MARKERS.finditer(data, scan):
        if found.start() < at:
            continue
        if found[0][1] == EOI:
            return found.end()
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return len(data)


def _entries(data: bytes, index: int) -> list[tuple[str, int]]:
    """Return byte order and offset of each entry in an index of several pictures (CIPA DC-007)."""
    order = "<" if data[index : index + 2] == b"II" else ">"
    try:
        directory = index + struct.unpack_from(order + "I", data, index + 4)[0]
        for i in range(struct.unpack_from(order + "H", data, directory)[0]):
            number, _, length, place = struct.unpack_from(order + "HHII", data, directory + 2 + 12 * i)
            if number == PICTURE_LIST and index + place + length <= len(data):
                return [(order, index + place + 16 * k) for k in range(length // 16)]
    except struct.error:
        pass
    return []


def _pointing(data: bytes, coding: JpegCoding) -> bytes:
    """Let the index of the pictures in the trailer point at where they are now."""
    _, scan = split(data)
    index = data.find(MULTI_PICTURE, 0, scan) + len(MULTI_PICTURE)
    if index < len(MULTI_PICTURE):
        return data
    out = bytearray(data)
    moved = (len(data) - coding.length) - (index - coding.index)
    for order, at in _entries(data, index):
        length, place = struct.unpack_from(order + "II", data, at + 4)
        new = (len(data), 0) if place == 0 else (length, max(0, place + moved))
        struct.pack_into(order + "II", out, at + 4, *new)
    return bytes(out)


def preview_free(marker: int, content: bytes) -> bytes:
    """Drop previews of the noisy picture from a segment, but for EXIF's, which is made anew in the end."""
    if marker == APP13 and content.startswith(PHOTOSHOP):
        return PHOTOSHOP + without_previews(content[len(PHOTOSHOP) :])
    if marker == APP1 and content.startswith(XMP):
        return XMP + plain_xmp(content[len(XMP) :])
    if marker == APP0 and content.startswith(b"JFIF\0") and len(content) > 14:
        return content[:12] + b"\0\0"
    return content


def _with_thumbnail(marker: int, content: bytes, picture: Picture) -> bytes:
    """Make the thumbnail in a segment of EXIF anew."""
    if marker == APP1 and content.startswith(EXIF):
        return EXIF + (refreshed(content[len(EXIF) :], picture) or b"")
    return content


def _tables(coding: JpegCoding, cmyk: bool) -> list[list[int]] | None:
    """Return the quantisation tables to write with, one for luminance and one or two for chrominance.

    Inks are all written with the finest table of the source, which may have stored them as luminance and chrominance.
    """
    tables = list(dict.fromkeys(coding.tables)) if len(set(coding.tables[1:])) <= 1 else list(coding.tables)
    if cmyk and tables:
        return [np.min(tables, axis=0).tolist()]
    return [list(table) for table in tables] or None


def coding_of(segments: list[Segment]) -> JpegCoding:
    """Read how the pixels are coded from the tables and the frame header."""
    quantisers: dict[int, Table] = {}
    frame, marker, restart = b"", 0, 0
    adobe, jfif = None, False
    for name, content in segments:
        if name == DQT:
            quantisers.update(_quantisers(content))
        elif name == DRI and len(content) >= 2:
            restart = int.from_bytes(content[:2], "big")
        elif name in FRAMES:
            frame, marker = content, name
        elif name == APP14 and content.startswith(b"Adobe") and len(content) >= 12:
            adobe = content[11]
        elif name == APP0 and content.startswith(b"JFIF\0"):
            jfif = True
    components = [tuple(frame[i : i + 3]) for i in range(6, len(frame) - 2, 3)]  # (id, sampling, table)
    letters = bytes(c[0] for c in components) == b"RGB"
    return JpegCoding(
        tuple(segment for segment in segments if _is_kept(*segment)),
        tuple(quantisers.get(c[2], (1,) * 64) for c in components),
        _subsampling([c[1] for c in components]),
        progressive=marker in PROGRESSIVE,
        restart=restart,
        stored_rgb=len(components) == 3 and not jfif and (letters if adobe is None else adobe == 0),
    )


def _is_kept(marker: int, content: bytes) -> bool:
    """Tell whether a segment describes the picture, rather than how this file stores it.

    JFXX holds nothing but a preview.
    """
    if marker == APP0 and content.startswith(b"JFXX\0"):
        return False
    return (APP0 <= marker <= APP15 and marker != APP14) or marker == COMMENT


def _quantisers(content: bytes) -> dict[int, Table]:
    """Read a DQT segment: tables of 64 steps of 8 or 16 bits in zigzag order."""
    tables, at = {}, 0
    while at < len(content):
        wide, slot = content[at] >> 4, content[at] & 15
        steps = np.frombuffer(content, dtype=">u2" if wide else "u1", count=64, offset=at + 1)
        table = np.empty(64, dtype=int)
        table[ZIGZAG] = steps
        tables[slot] = tuple(table.tolist())
        at += 1 + 64 * (2 if wide else 1)
    return tables


def _subsampling(factors: list[int]) -> str:
    """Name the chroma subsampling; what Pillow cannot write is written without."""
    if len(factors) != 3 or factors[1] != factors[2] or factors[1] != 0x11:
        return "4:4:4"
    return {0x21: "4:2:2", 0x22: "4:2:0"}.get(factors[0], "4:4:4")


def metadata_of(segments: list[Segment]) -> Metadata:
    """Read what other formats can take over."""
    exif = xmp = dpi = None
    icc: dict[int, bytes] = {}
    photoshop = b""
    for marker, content in segments:
        if marker == APP1 and content.startswith(EXIF):
            exif = exif or content[len(EXIF) :]
        elif marker == APP1 and content.startswith(XMP):
            xmp = content[len(XMP) :]
        elif marker == APP2 and content.startswith(ICC):
            icc[content[len(ICC)]] = content[len(ICC) + 2 :]
        elif marker == APP13 and content.startswith(PHOTOSHOP):
            photoshop += content[len(PHOTOSHOP) :]
        elif marker == APP0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, across, down = struct.unpack_from(">BHH", content, 7)
            scale = {1: 1.0, 2: 2.54}.get(unit)  # per inch, per centimetre
            dpi = (across * scale, down * scale) if scale and across and down else None
    profile = b"".join(icc[number] for number in sorted(icc))
    return Metadata(profile or None, exif, xmp, photoshop or None, dpi)


def _segments(metadata: Metadata) -> list[Segment]:
    """Write metadata that came from another format; raises PictureError if a part does not fit."""
    segments = []
    for name, prefix, content in (("EXIF", EXIF, metadata.exif), ("XMP", XMP, metadata.xmp)):
        if content and len(prefix) + len(content) > LONGEST:
            raise PictureError(f"{len(content)} bytes of {name}; a JPEG holds {LONGEST}. Name a .tif or .png file")
        if content:
            segments.append((APP1, prefix + content))
    if metadata.photoshop:
        segments += [(APP13, PHOTOSHOP + part) for part in _parts(metadata.photoshop, LONGEST - len(PHOTOSHOP))]
    if metadata.icc:
        parts = _parts(metadata.icc, LONGEST - len(ICC) - 2)
        segments += [(APP2, ICC + bytes([i + 1, len(parts)]) + part) for i, part in enumerate(parts)]
    return segments


def _parts(content: bytes, length: int) -> list[bytes]:
    return [content[at : at + length] for at in range(0, len(content), length)]
