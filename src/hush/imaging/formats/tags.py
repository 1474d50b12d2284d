"""Directories of tags: the skeleton of TIFF 6.0 and BigTIFF, and of EXIF, which is a TIFF without pixels."""

from __future__ import annotations

import mmap as mmap_module
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from mmap import mmap
from typing import Literal

import numpy as np

from hush.errors import PictureError
from hush.imaging.formats.marks import is_tiff

Data = bytes | mmap  # a file's bytes

NATIVE: Literal["<", ">"] = "<" if sys.byteorder == "little" else ">"
BYTE, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL, LONG8 = 1, 3, 4, 5, 7, 10, 16
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
NUMBERS = {6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}
DIRECTORIES = (34665, 34853, 40965)  # tags that point to another directory: EXIF, GPS, interoperability
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296


@dataclass(frozen=True)
class Tag:
    """A tag's value: its type, count and bytes in native order, or the directory that it points to."""

    type: int
    count: int
    value: bytes = b""
    directory: Mapping[int, Tag] | None = None
    place: int = field(default=0, compare=False)  # offset of the value in the file

    def integers(self) -> tuple[int, ...]:
        """Return the value as whole numbers; nothing for other types."""
        letter = INTEGERS.get(self.type)
        return struct.unpack(f"{NATIVE}{self.count}{letter}", self.value) if letter else ()

    def numbers(self) -> tuple[float, ...]:
        """Return the value as numbers; nothing for texts and bytes without a meaning."""
        letter = {**INTEGERS, **NUMBERS}.get(self.type)
        values = struct.unpack(f"{NATIVE}{self.count}{letter}", self.value) if letter else ()
        return tuple(map(float, values))


def whole(*values: int, kind: int = LONG) -> Tag:
    """Make a tag of whole numbers."""
    return Tag(kind, len(values), struct.pack(f"{NATIVE}{len(values)}{INTEGERS[kind]}", *values))


def resolution(tags: Mapping[int, Tag]) -> tuple[float, float] | None:
    """Return the pixels per inch, across and down, that tags tell; None if they tell none."""
    if X_RESOLUTION not in tags or Y_RESOLUTION not in tags:
        return None
    unit = tags[RESOLUTION_UNIT].integers() if RESOLUTION_UNIT in tags else ()
    scale = {2: 1.0, 3: 2.54}.get(unit[0] if unit else 2)
    across, down = _fraction(tags[X_RESOLUTION]), _fraction(tags[Y_RESOLUTION])
    return (across * scale, down * scale) if scale and across > 0 and down > 0 else None


def _fraction(tag: Tag) -> float:
    if tag.type != RATIONAL:
        return 0.0
    above, below = struct.unpack_from(NATIVE + "II", tag.value)
    return above / below if below else 0.0


def forget(data: Data) -> None:
    """Let go of the memory that holds what was read of a mapped file; it is read again when it is needed."""
    if isinstance(data, mmap) and hasattr(data, "madvise"):
        data.madvise(mmap_module.MADV_DONTNEED)


def byte_order(data: Data) -> Literal["<", ">"]:
    """Return the byte order that a TIFF declares."""
    return "<" if data[:2] == b"II" else ">"


def first(tags: Mapping[int, Tag], number: int, default: int) -> int:
    """Return the first whole number of a tag, or the default where there is none."""
    values = tags[number].integers() if number in tags else ()
    return values[0] if values else default


def directories(data: Data, *, limit: int = 1) -> tuple[list[dict[int, Tag]], bool]:
    """Read the first directories of a TIFF, at most ``limit``, and whether it is a BigTIFF.

    Tags whose value lies outside the file are left out. Raises PictureError if a further directory lies outside.
    """
    if not is_tiff(data[:4]) or len(data) < 8:
        return [], False
    order, big = byte_order(data), is_big(data)
    at = _unpack(order + ("Q" if big else "I"), data, 8 if big else 4)
    found: list[dict[int, Tag]] = []
    seen = set()
    while at and at not in seen and len(found) < limit:
        seen.add(at)
        if found and at + 2 > len(data):
            raise PictureError("truncated TIFF: it has more pages than its bytes hold. Get an intact copy")
        tags, at = _directory(data, at, order, big)
        if tags:
            found.append(tags)
    return found, big


def subdirectories(data: Data, tag: Tag) -> list[dict[int, Tag]]:
    """Read the directories that a tag of offsets points to."""
    return [_directory(data, at, byte_order(data), is_big(data))[0] for at in tag.integers()]


def is_big(data: Data) -> bool:
    """Tell a BigTIFF, whose offsets have 64 bits."""
    return data[2:4] in (b"+\0", b"\0+")


def _directory(data: Data, at: int, order: str, big: bool, depth: int = 0) -> tuple[dict[int, Tag], int]:
    """Read one directory; returns its tags and the offset of the next one."""
    head, entry, word = ("Q", 20, 8) if big else ("H", 12, 4)
    letter = "Q" if big else "I"
    count = min(_unpack(order + head, data, at), (len(data) - at) // entry)
    start = at + struct.calcsize(order + head)
    tags: dict[int, Tag] = {}
    for i in range(count):
        place = start + i * entry
        number, kind = struct.unpack_from(order + "HH", data, place)
        length = _unpack(order + letter, data, place + 4)
        size = TYPE_BYTES.get(kind, 0) * length
        value = place + 4 + word
        if size > word:
            value = _unpack(order + letter, data, value)
        if not size or value + size > len(data):
            continue
        tag = Tag(kind, length, in_order(kind, data[value : value + size], order), place=value)
        if number in DIRECTORIES:
            inner = _directory(data, (*tag.integers(), 0)[0], order, big, depth + 1)[0] if depth < 2 else {}
            tag = Tag(kind, length, b"", inner, value)
        tags[number] = tag
    return tags, _unpack(order + letter, data, start + count * entry)


def _unpack(letters: str, data: Data, at: int) -> int:
    """Read one number; 0 outside the data."""
    return struct.unpack_from(letters, data, at)[0] if 0 <= at <= len(data) - struct.calcsize(letters) else 0


def append_directory(
    out: bytearray, tags: Mapping[int, Tag], *, order: str = NATIVE, big: bool = False, base: int = 0
) -> tuple[int, int]:
    """Append a directory and what it points to; ``base`` is the place of ``out`` in the file.

    Returns the directory's offset in the file, and where in ``out`` stands its link to the next one, which is 0.
    """
    head, letter, word = ("Q", "Q", 8) if big else ("H", "I", 4)
    entries = []
    for number, tag in sorted(tags.items()):
        kind, count, value = tag.type, tag.count, in_order(tag.type, tag.value, order)
        if tag.directory is not None:
            if not tag.directory:
                continue
            place, _ = append_directory(out, tag.directory, order=order, big=big, base=base)
            kind, count, value = (LONG8 if big else LONG), 1, struct.pack(order + letter, place)
        if len(value) > word:
            out += b"\0" * ((base + len(out)) % 2)
            place = base + len(out)
            out += value
            value = struct.pack(order + letter, place)
        entries.append(struct.pack(f"{order}HH{letter}", number, kind, count) + value.ljust(word, b"\0"))
    out += b"\0" * ((base + len(out)) % 2)
    at = base + len(out)
    out += struct.pack(order + head, len(entries)) + b"".join(entries)
    link = len(out)
    out += bytes(word)
    return at, link


def tiff_header(at: int, *, order: str = NATIVE, big: bool = False) -> bytes:
    """Return the first bytes of a TIFF whose first directory stands at an offset."""
    mark = b"II" if order == "<" else b"MM"
    return mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))


def in_order(kind: int, value: bytes, order: str) -> bytes:
    """Turn a tag's bytes from native byte order into another, or back."""
    unit = TYPE_BYTES[kind] // (2 if kind in (RATIONAL, SIGNED_RATIONAL) else 1)
    return value if order == NATIVE or unit == 1 else np.frombuffer(value, f"u{unit}").byteswap().tobytes()


def exif_stream(tags: Mapping[int, Tag]) -> bytes | None:
    """Write tags as an EXIF stream, which is a TIFF without pixels; None if there are none."""
    if not tags:
        return None
    out = bytearray(tiff_header(0))
    at, _ = append_directory(out, tags)
    out[:8] = tiff_header(at)
    return bytes(out)
