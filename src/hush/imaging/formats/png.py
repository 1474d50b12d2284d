"""PNG (W3C, third edition): pixels by libvips, every other chunk kept byte for byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.codecs import exact_palette, squeezed, vips_decode, vips_image
from hush.imaging.formats.colour import png_profile
from hush.imaging.formats.marks import PNG_SIGNATURE as SIGNATURE
from hush.imaging.formats.picture import INCH, INTACT, Metadata, Picture
from hush.imaging.formats.previews import RESOURCE, plain_xmp, refreshed, without_previews

Chunk = tuple[bytes, bytes]  # type, content

XMP_KEYWORD = b"XML:com.adobe.xmp"
IPTC_KEYWORDS = (b"Raw profile type iptc", b"Raw profile type 8bim")  # no chunk of their own: what programs agree on
EXIF_KEYWORDS = (b"Raw profile type exif", b"Raw profile type APP1")  # before there was eXIf; ImageMagick still does
XMP_TEXT = b"Raw profile type xmp"
EXIF_HEAD = b"Exif\0\0"
LIMIT = 64 * 2**20  # bytes that a compressed profile or text may unfold to

# On restored photographs 3 % larger than the best filter for each row at level 6, in half the time or less.
PACKING = {"filter": "sub", "compression": 4}

PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
DEPTH_CHUNKS = (b"bKGD", b"sBIT", b"hIST")  # mean something for one colour type and bit depth only
# Chunks that a programme may copy though the pixels have changed: these, and those that say so of themselves.
COPIED = b"cHRM gAMA iCCP sRGB cICP mDCV cLLI sPLT eXIf pHYs sTER oFFs pCAL sCAL tIME tEXt zTXt iTXt".split()


@dataclass(frozen=True)
class PngCoding:
    """How a PNG held its picture."""

    header: bytes = b""  # IHDR
    before: tuple[Chunk, ...] = ()  # ancillary chunks before the pixels, verbatim
    after: tuple[Chunk, ...] = ()  # and after them
    palette: bool = False
    delay: tuple[int, int] | None = None  # of a frame: seconds as a fraction

    @property
    def interlaced(self) -> bool:
        return self.header[12:13] == b"\x01"


def read(data: bytes, *, frame: bool = False) -> Picture:
    """Read a PNG of 1 to 16 bits; a palette or a transparent colour becomes RGB or gray with alpha.

    One bit of gray comes as bool, two and four bits as eight. An animation is refused, unless its first picture
    (``frame``) is asked for.
    """
    chunks = split(data)
    names = [name for name, _ in chunks]
    if names[:1] != [b"IHDR"] or len(chunks[0][1]) != 13 or b"IDAT" not in names:
        raise PictureError(f"damaged PNG: it lacks its header or its pixels. {INTACT}")
    if b"acTL" in names and not frame:
        raise PictureError("an animated PNG, where a single picture is taken. Save its frames as files first")
    pixels, _ = vips_decode("pngload_buffer", data)
    header = chunks[0][1]
    depth, colour_type = header[8], header[9]
    if depth == 1 and pixels.ndim == 2:
        pixels = pixels > 0
    first_pixels = names.index(b"IDAT")
    kept = [(i, chunk) for i, chunk in enumerate(chunks) if _is_copied(chunk[0])]
    coding = PngCoding(
        header,
        tuple(chunk for i, chunk in kept if i < first_pixels),
        tuple(chunk for i, chunk in kept if i > first_pixels),
        palette=colour_type == 3,
    )
    return Picture(pixels, format="png", metadata=_metadata(chunks, gray=colour_type in (0, 4)), coding=coding)


def write(picture: Picture) -> bytes:
    """Write gray or RGB with or without alpha, bool, uint8 or uint16; what came with a palette gets an exact one.

    Pixels of more than 256 colours are written as they are, without a palette.
    """
    header, *pixels = pixel_chunks(picture)
    before, after = ancillary(picture, header[1])
    return join([header, *before, *pixels, *after, (b"IEND", b"")])


def pixel_chunks(picture: Picture) -> list[Chunk]:
    """Encode a picture's pixels as IHDR, if need be PLTE and tRNS, and IDAT."""
    coding = picture.coding if isinstance(picture.coding, PngCoding) else PngCoding()
    pixels = squeezed(picture.pixels)
    encoded = _palette_chunks(pixels) if coding.palette and pixels.dtype == np.uint8 and pixels.ndim == 3 else None
    return encoded or _encoded(pixels, coding.interlaced)


def ancillary(picture: Picture, header: bytes) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Return the chunks before and after the pixels: verbatim in a file with such a header (IHDR), or new ones."""
    coding = picture.coding if isinstance(picture.coding, PngCoding) else PngCoding(before=_chunks(picture.metadata))
    same_type = header[8:10] == coding.header[8:10] and header[9] != 3
    before = (chunk for chunk in coding.before if same_type or chunk[0] not in DEPTH_CHUNKS)
    return tuple(_fresh(chunk, picture) for chunk in before), tuple(_fresh(chunk, picture) for chunk in coding.after)


def _fresh(chunk: Chunk, picture: Picture) -> Chunk:
    """Make the previews inside metadata anew, or drop them."""
    name, content = chunk
    if name == b"eXIf":
        return name, refreshed(content, picture) or b""
    if name in (b"tEXt", b"zTXt") and content.startswith(EXIF_KEYWORDS):
        profile = _profile(name, content) or b""
        fresh = EXIF_HEAD + (refreshed(profile[len(EXIF_HEAD) :], picture) or b"")
        kept = fresh == profile or not profile.startswith(EXIF_HEAD)
        return chunk if kept else _profile_chunk(content.partition(b"\0")[0], fresh)
    if name in (b"tEXt", b"zTXt") and content.startswith(XMP_TEXT):
        profile = _profile(name, content) or b""
        return chunk if plain_xmp(profile) == profile else _profile_chunk(XMP_TEXT, plain_xmp(profile))
    if name == b"iTXt" and content.startswith(XMP_KEYWORD + b"\0") and picture.metadata.xmp:
        text = _text(content[len(XMP_KEYWORD) + 1 :]) or b""
        return chunk if plain_xmp(text) == text else (name, XMP_KEYWORD + b"\0\0\0\0\0" + picture.metadata.xmp)
    return chunk


def split(data: bytes) -> list[Chunk]:
    """Part a PNG into its chunks, without IEND and what follows it.

    Raises PictureError if a chunk runs past the end.
    """
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise PictureError(f"truncated or damaged PNG: at byte {at} of {len(data)} a chunk of {length}. {INTACT}")
        if name == b"IEND":
            return chunks
        chunks.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    if at != len(data):
        raise PictureError(f"truncated PNG: its last chunk is cut off. {INTACT}")
    return chunks


def join(chunks: Iterable[Chunk]) -> bytes:
    """Write chunks, with their lengths and check sums, as a PNG."""
    return SIGNATURE + b"".join(map(packed, chunks))


def packed(chunk: Chunk) -> bytes:
    """Write a chunk with its length and check sum."""
    name, content = chunk
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def _is_copied(name: bytes) -> bool:
    known = name in PIXEL_CHUNKS or name in DEPTH_CHUNKS or name in COPIED
    safe_to_copy = len(name) == 4 and name[0:1].islower() and name[3:4].islower()
    return name not in PIXEL_CHUNKS and (known or safe_to_copy)


def _encoded(pixels: NDArray[Any], interlaced: bool) -> list[Chunk]:
    """Encode pixels as IHDR and IDAT."""
    one_bit = pixels.dtype == np.bool_
    image = vips_image(pixels.astype(np.uint8) * 255 if one_bit else pixels)
    data = image.pngsave_buffer(keep="none", interlace=interlaced, **PACKING, **({"bitdepth": 1} if one_bit else {}))
    return [chunk for chunk in split(data) if chunk[0] in (b"IHDR", b"IDAT")]


def _palette_chunks(pixels: NDArray[np.uint8]) -> list[Chunk] | None:
    """Encode pixels of at most 256 colours as IHDR, PLTE, tRNS and IDAT; None if there are more."""
    found = exact_palette(pixels)
    if found is None:
        return None
    indices, colours = found
    height, width = indices.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row begins with its filter, 0 = none
    rows[:, 1:] = indices
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", colours[:, :3].tobytes())]
    if colours.shape[1] == 4:
        chunks.append((b"tRNS", colours[:, 3].tobytes()))
    return [*chunks, (b"IDAT", zlib.compress(rows.tobytes()))]


def _metadata(chunks: list[Chunk], *, gray: bool) -> Metadata:
    """Read what other formats can take over."""
    icc: bytes | None = png_profile(dict(reversed(chunks)), gray=gray)
    exif = xmp = photoshop = dpi = old_exif = old_xmp = None
    for name, content in chunks:
        if name == b"iCCP":
            icc = _inflate(content.partition(b"\0")[2][1:]) or icc
        elif name == b"eXIf":
            exif = content
        elif name == b"iTXt" and content.startswith(XMP_KEYWORD + b"\0"):
            xmp = plain_xmp(_text(content[len(XMP_KEYWORD) + 1 :]) or b"") or None
        elif name == b"pHYs" and len(content) == 9 and content[8] == 1:
            across, down, _ = struct.unpack(">IIB", content)
            dpi = (across * INCH, down * INCH)
        elif name in (b"tEXt", b"zTXt") and content.startswith(IPTC_KEYWORDS):
            resources = _profile(name, content) or b""
            photoshop = without_previews(resources) if resources.startswith(RESOURCE) else None
        elif name in (b"tEXt", b"zTXt") and content.startswith(EXIF_KEYWORDS):
            profile = _profile(name, content) or b""
            old_exif = profile[len(EXIF_HEAD) :] if profile.startswith(EXIF_HEAD) else old_exif
        elif name in (b"tEXt", b"zTXt") and content.startswith(XMP_TEXT):
            old_xmp = plain_xmp(_profile(name, content) or b"") or None
    return Metadata(icc, exif or old_exif, xmp or old_xmp, photoshop, dpi)


def _profile(name: bytes, content: bytes) -> bytes | None:
    """Read what a text holds in lines of a name, a length, and hexadecimal digits."""
    text = content.partition(b"\0")[2]
    lines = ((_inflate(text[1:]) or b"") if name == b"zTXt" else text).strip().split(b"\n", 2)
    try:
        return bytes.fromhex(lines[2].decode("ascii"))
    except (IndexError, ValueError):
        return None


def _profile_chunk(keyword: bytes, profile: bytes) -> Chunk:
    """Write what `_profile` reads."""
    text = b"\n%s\n%8d\n%s\n" % (keyword.split()[-1], len(profile), profile.hex("\n", -36).encode())
    return b"zTXt", keyword + b"\0\0" + zlib.compress(text)


def _text(content: bytes) -> bytes | None:
    """Read the text of an iTXt chunk from behind its keyword: flag, method, language, translated keyword, text."""
    text = content[2:].split(b"\0", 2)[-1]
    return _inflate(text) if content[:1] == b"\x01" else text


def _chunks(metadata: Metadata) -> tuple[Chunk, ...]:
    """Write metadata that came from another format."""
    chunks = []
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    metre = [round(value / INCH) for value in metadata.dpi or ()]
    if metre and max(metre) < 2**32:
        chunks.append((b"pHYs", struct.pack(">IIB", *metre, 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp))
    if metadata.photoshop:
        chunks.append(_profile_chunk(IPTC_KEYWORDS[0], metadata.photoshop))
    return tuple(chunks)


def _inflate(data: bytes) -> bytes | None:
    """Decompress, or return None where the data are damaged or unfold to more than the limit."""
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(data, LIMIT)
    except zlib.error:
        return None
    return content if inflater.eof else None
