"""How large a picture is, by the head of its file, for formats that are decoded as a whole."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

HEAD = 65_536  # bytes in which the size stands
Size = tuple[int, int, int, str]  # height, width, channels at most, dtype


def webp(head: bytes) -> Size:
    """Read the size of a WebP (RFC 9649)."""
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 26))
    return height, width, 4 if head[12:16] == b"VP8X" and head[20] & 0x10 else 3, "u1"


def boxed(head: bytes) -> Size | None:
    """Read the size of an AVIF or HEIF: the largest of its pictures (ISO/IEC 23008-12, ispe)."""
    sides = [struct.unpack(">II", found) for found in re.findall(b"ispe\0{4}(.{8})", head, re.DOTALL)]
    if not sides:
        return None
    width, height = max(sides, key=lambda side: side[0] * side[1])
    deep = any(bits > b"\x08" for bits in re.findall(b"pixi\0{4}.(.)", head, re.DOTALL))
    return height, width, 3, "u2" if deep else "u1"


def gif(head: bytes) -> Size:
    """Read the size of a GIF's canvas; its frames are composed with alpha."""
    width, height = struct.unpack_from("<HH", head, 6)
    return height, width, 4, "u1"


def bmp(head: bytes) -> Size:
    """Read the size of a BMP."""
    width, height = struct.unpack_from("<HH" if head[14] == 12 else "<ii", head, 18)
    return abs(height), width, 3, "u1"


def tga(head: bytes) -> Size:
    """Read the size of a TGA."""
    width, height = struct.unpack_from("<HH", head, 12)
    return height, width, max(1, head[16] // 8), "u1"


def netpbm(head: bytes) -> Size:
    """Read the size of a Netpbm file."""
    numbers = re.sub(rb"#[^\r\n]*", b" ", head[2:512]).split()
    dtype = "f4" if head[:2] in (b"Pf", b"PF") else "u2" if numbers[2:] and len(numbers[2]) > 3 else "u1"
    return int(numbers[1]), int(numbers[0]), 3 if head[:2] in (b"P3", b"P6", b"PF") else 1, dtype


def jpeg2000(head: bytes) -> Size:
    """Read the size of a JPEG 2000: in the marker SIZ of its codestream, or the box before it."""
    at = head.index(b"ihdr") + 4 if b"ihdr" in head else None
    if at is not None:
        height, width, channels, bits = struct.unpack_from(">IIHB", head, at)
    else:
        width, height, left, top, channels, bits = struct.unpack_from(">4I16xHB", head, 8)
        width, height = width - left, height - top
    return height, width, channels, "u1" if bits % 128 < 8 else "u2"


SIZES: dict[str, Callable[[bytes], Size | None]] = {
    "webp": webp,
    "avif": boxed,
    "heif": boxed,
    "gif": gif,
    "bmp": bmp,
    "tga": tga,
    "netpbm": netpbm,
    "jpeg2000": jpeg2000,
}
