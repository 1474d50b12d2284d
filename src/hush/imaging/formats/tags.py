"""Directories of tags: the skeleton of TIFF 6.0 and BigTIFF, and of EXIF, which is a TIFF without pixels."""

from __future__ import annotations

import struct
import sys
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

NATIVE: Literal["<", ">"] = "<" if sys.byteorder == "little" else ">"
BYTE, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL, LONG8 = 1, 3, 4, 5, 7, 10, 16
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
DIRECTORIES = (34665, 34853, 40965)  # tags that point to another directory: EXIF, GPS, interoperability


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


def is_tiff(head: bytes) -> bool:
    """Tell a TIFF or BigTIFF by its first bytes."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def directories(data: bytes, *, limit: int = 1) -> tuple[list[dict[int, Tag]], bool]:
    """Read the first directories of a TIFF, at most ``limit``, and whether it is a BigTIFF.

    Tags whose value lies outside the file are left out.
    """
    if not is_tiff(data[:4]) or len(data) < 8:
        return [], False
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    at = _unpack(order + ("Q" if big else "I"), data, 8 if big else 4)
    found: list[dict[int, Tag]] = []
    seen = set()
    while at and at not in seen and len(found) < limit:
        seen.add(at)
        tags, at = _directory(data, at, order, big)
        if tags:
            found.append(tags)
    return found, big


def _directory(data: bytes, at: int, order: str, big: bool, depth: int = 0) -> tuple[dict[int, Tag], int]:
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
        tag = Tag(kind, length, _native(kind, data[value : value + size], order), place=value)
        if number in DIRECTORIES:
            inner = _directory(data, (*tag.integers(), 0)[0], order, big, depth + 1)[0] if depth < 2 else {}
            tag = Tag(kind, length, b"", inner, value)
        tags[number] = tag
    return tags, _unpack(order + letter, data, start + count * entry)


def _unpack(letters: str, data: bytes, at: int) -> int:
    """Read one number; 0 outside the data."""
    return struct.unpack_from(letters, data, at)[0] if 0 <= at <= len(data) - struct.calcsize(letters) else 0


def put_tags(data: bytes, tags: Mapping[int, Tag], *, own: Container[int] = ()) -> bytes:
    """Give a TIFF in native byte order new tags; of its present ones those in ``own`` stay.

    The new directory and its values are appended, the pixels stay where they are.
    """
    pages, big = directories(data)
    kept = {number: tag for number, tag in (pages[0] if pages else {}).items() if number in own}
    out = bytearray(data)
    letter = "Q" if big else "I"
    at = _append_directory(out, {**kept, **tags}, letter)
    struct.pack_into(NATIVE + letter, out, 8 if big else 4, at)
    return bytes(out)


def _append_directory(out: bytearray, tags: Mapping[int, Tag], letter: str) -> int:
    """Append a directory and what it points to, in native byte order; returns its offset."""
    word = struct.calcsize(NATIVE + letter)
    entries = []
    for number, tag in sorted(tags.items()):
        kind, count, value = tag.type, tag.count, tag.value
        if tag.directory is not None:
            if not tag.directory:
                continue
            place = _append_directory(out, tag.directory, letter)
            kind, count, value = (LONG8 if word == 8 else LONG), 1, struct.pack(NATIVE + letter, place)
        if len(value) > word:
            out += b"\0" * (len(out) % 2)
            place = len(out)
            out += value
            value = struct.pack(NATIVE + letter, place)
        entries.append(struct.pack(f"{NATIVE}HH{letter}", number, kind, count) + value.ljust(word, b"\0"))
    out += b"\0" * (len(out) % 2)
    at = len(out)
    out += struct.pack(NATIVE + ("Q" if word == 8 else "H"), len(entries)) + b"".join(entries) + bytes(word)
    return at


def _native(kind: int, value: bytes, order: str) -> bytes:
    """Return a tag's bytes in native byte order."""
    unit = TYPE_BYTES[kind] // (2 if kind in (RATIONAL, SIGNED_RATIONAL) else 1)
    return value if order == NATIVE or unit == 1 else np.frombuffer(value, f"u{unit}").byteswap().tobytes()


def exif_stream(tags: Mapping[int, Tag]) -> bytes | None:
    """Write tags as an EXIF stream, which is a TIFF without pixels; None if there are none."""
    return put_tags((b"II*\0" if NATIVE == "<" else b"MM\0*") + bytes(4), tags) if tags else None
