"""The boxes that files consist of (ISO/IEC 14496-12); in AVIF and HEIF (23008-12) they lead to what is coded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

GRID, CODED = b"grid", (b"av01", b"hvc1")
Place = tuple[int, int]  # where a box's content begins and ends


@dataclass(frozen=True)
class Coded:
    """A picture, or a tile of one, as it is coded."""

    kind: bytes  # av01 or hvc1
    data: bytes
    config: bytes  # of its decoder: the content of av1C or hvcC


def coded_parts(data: bytes) -> list[Coded]:
    """Return what the picture that a file shows is coded in: one part, or the tiles of a grid.

    Empty where the boxes do not lead there. Alpha, thumbnails, depth and gain maps are not among them.
    """
    try:
        meta = _boxes(data, *_boxes(data, 0, len(data))[b"meta"][0], skip=4)
        kinds, places, configs = _kinds(data, meta), _places(data, meta), _configs(data, meta)
        shown = _number(data, meta[b"pitm"][0][0] + 4, 4 if data[meta[b"pitm"][0][0]] else 2)
        items = _tiles(data, meta, shown) if kinds[shown] == GRID else [shown]
        found = [Coded(kinds[item], b"".join(data[a:b] for a, b in places[item]), configs[item]) for item in items]
    except (struct.error, LookupError, ValueError):
        return []
    return [part for part in found if part.kind in CODED]


def split(data: bytes, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Return the boxes between two places: the type of each, and where its content begins and ends.

    Raises ValueError for a box that reaches beyond the end.
    """
    found = []
    at = start
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = _number(data, at + 8, 8), 16
        size = size or end - at
        if size < head or at + size > end:
            raise ValueError("a box that reaches beyond its parent")
        found.append((kind, at + head, at + size))
        at += size
    return found


def _boxes(data: bytes, start: int, end: int, *, skip: int = 0) -> dict[bytes, list[Place]]:
    """Return where the boxes of each type lie."""
    found: dict[bytes, list[Place]] = {}
    for kind, at, stop in split(data, start + skip, end):
        found.setdefault(kind, []).append((at, stop))
    return found


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _kinds(data: bytes, meta: dict[bytes, list[Place]]) -> dict[int, bytes]:
    """Read the item types (iinf, infe of version 2 and 3)."""
    start, end = meta[b"iinf"][0]
    entries = _boxes(data, start, end, skip=8 if data[start] else 6)[b"infe"]
    found = {}
    for at, _ in entries:
        size = 4 if data[at] == 3 else 2
        found[_number(data, at + 4, size)] = data[at + 6 + size : at + 10 + size]
    return found


def _places(data: bytes, meta: dict[bytes, list[Place]]) -> dict[int, list[Place]]:
    """Read where the items' bytes lie (iloc)."""
    at, end = meta[b"iloc"][0]
    version = data[at]
    offset, length, base, index = (half for byte in data[at + 4 : at + 6] for half in (byte >> 4, byte & 15))
    if not offset + length:
        raise ValueError("places of no size")
    wide = 4 if version == 2 else 2
    count, at = _number(data, at + 6, wide), at + 6 + wide
    found: dict[int, list[Place]] = {}
    for _ in range(count):
        if at >= end:
            raise ValueError("more items are announced than there are")
        item, at = _number(data, at, wide), at + wide
        inside = version > 0 and data[at + 1] & 15 == 1  # the item data box
        at += 2 * (version > 0) + 2
        start, at = _number(data, at, base), at + base
        if inside:
            start += meta[b"idat"][0][0]
        extents, at = _number(data, at, 2), at + 2
        for _ in range(extents):
            if at >= end:
                raise ValueError("more items are announced than there are")
            at += index if version > 0 else 0
            first = start + _number(data, at, offset)
            size, at = _number(data, at + offset, length), at + offset + length
            found.setdefault(item, []).append((first, first + size if size else len(data)))
    return found


def _configs(data: bytes, meta: dict[bytes, list[Place]]) -> dict[int, bytes]:
    """Read each item's av1C or hvcC (iprp: ipco holds the properties, ipma says whose they are)."""
    iprp = _boxes(data, *meta[b"iprp"][0])
    properties = sorted((place, kind) for kind, places in _boxes(data, *iprp[b"ipco"][0]).items() for place in places)
    found = {}
    at, _ = iprp[b"ipma"][0]
    wide_item, wide_index = 4 if data[at] else 2, 2 if data[at + 3] & 1 else 1
    count, at = _number(data, at + 4, 4), at + 8
    for _ in range(count):
        item, associations, at = _number(data, at, wide_item), data[at + wide_item], at + wide_item + 1
        for _ in range(associations):
            index, at = _number(data, at, wide_index) & (0x7FFF if wide_index == 2 else 0x7F), at + wide_index
            (start, end), kind = properties[index - 1]
            if kind in (b"av1C", b"hvcC"):
                found[item] = data[start:end]
    return found


def _tiles(data: bytes, meta: dict[bytes, list[Place]], grid: int) -> list[int]:
    """Read which items a grid is made of (iref: dimg)."""
    start, end = meta[b"iref"][0]
    size = 4 if data[start] else 2
    for at, _ in _boxes(data, start, end, skip=4)[b"dimg"]:
        if _number(data, at, size) == grid:
            count = _number(data, at + size, 2)
            return [_number(data, at + size + 2 + i * size, size) for i in range(count)]
    raise ValueError("a grid without tiles")
