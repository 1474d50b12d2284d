"""The pages of a TIFF: directories, their sub-images, and the planes that ImageJ stores behind a single directory."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from mmap import ACCESS_READ, mmap
from pathlib import Path

from hush.errors import PictureError
from hush.imaging.arrays import Range
from hush.imaging.formats.picture import INTACT
from hush.imaging.formats.tags import (
    BYTE,
    LONG,
    LONG8,
    NATIVE,
    Data,
    Tag,
    append_directory,
    byte_order,
    directories,
    first,
    in_order,
    is_big,
    subdirectories,
    tiff_header,
    whole,
)

WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, STRIPS, SAMPLES = 256, 257, 258, 259, 270, 273, 277
ROWS_PER_STRIP, STRIP_BYTES, PLANAR, TILES, TILE_BYTES, SUB_IMAGES = 278, 279, 284, 324, 325, 330
BOUNDS = LEAST, LARGEST = 340, 341  # SMinSampleValue, SMaxSampleValue
FORM = 339  # SampleFormat
IJ_COUNTS, IJ_METADATA = 50838, 50839
NODATA = 42113  # GDAL_NODATA, a number as text
DEPTH, METAMORPH = 32997, 33629  # ImageDepth; UIC2tag, with a value for each plane
MOST = 65_536  # pages; a file that chains more is taken for damaged
OLD_JPEG = 6  # a compression whose parts point at each other


@dataclass(frozen=True)
class Page:
    """One picture of a TIFF, as its directory describes it."""

    tags: Mapping[int, Tag]
    level: int = 0  # 1: a sub-image of the last page of level 0
    described: bool = True  # False: a plane that shares the directory of the first


def find_pages(data: Data) -> list[Page]:
    """Return all pages of a TIFF in their order, sub-images behind the page that they belong to.

    Raises PictureError if there are none, or they are nested deeper.
    """
    found, _ = directories(data, limit=MOST + 1)
    if len(found) > MOST:
        raise PictureError(f"a TIFF of more than {MOST} pages. {INTACT}")
    found = [tags for tags in found if WIDTH in tags and HEIGHT in tags]
    if not found:
        raise PictureError(f"damaged TIFF: it holds no readable page. {INTACT}")
    if len(found) == 1 and (count := hidden_planes(found[0])) > 1:
        return _virtual_planes(_all_told(found[0]), count, len(data))
    pages = []
    for tags in found:
        pages.append(Page(tags))
        for inner in subdirectories(data, tags[SUB_IMAGES]) if SUB_IMAGES in tags else ():
            if SUB_IMAGES in inner or WIDTH not in inner:
                raise PictureError("a TIFF whose sub-images are damaged or nested; save it as a plain TIFF first")
            pages.append(Page(inner, level=1))
    return pages


def imagej_planes(tags: Mapping[int, Tag]) -> int:
    """Return how many planes ImageJ says there are."""
    description = tags[DESCRIPTION].value if DESCRIPTION in tags else b""
    found = re.search(rb"^images=(\d{1,9})\s*$", description.rstrip(b"\0"), re.MULTILINE)
    return int(found[1]) if found and description.startswith(b"ImageJ=") else 1


def hidden_planes(tags: Mapping[int, Tag]) -> int:
    """Return how many planes lie behind a single directory, as ImageJ or tifffile says.

    Raises PictureError for those of other programs, which lie otherwise.
    """
    slices = first(tags, DEPTH, 1)
    planes = tags[METAMORPH].count if METAMORPH in tags else 1
    if slices > 1 or planes > 1:
        kind = f"a volume of {slices} slices" if slices > 1 else f"a MetaMorph stack of {planes} planes"
        raise PictureError(f"{kind} behind one directory. Save it as a TIFF of several pages, from ImageJ for one")
    return max(imagej_planes(tags), _tifffile_planes(tags))


def _tifffile_planes(tags: Mapping[int, Tag]) -> int:
    """Return how many planes the shape says that tifffile notes, where it wrote a directory for the first alone."""
    try:
        noted = json.loads(tags[DESCRIPTION].value.rstrip(b"\0") if DESCRIPTION in tags else b"")
        values = math.prod(noted["shape"]) if noted["truncated"] else 0
    except (ValueError, TypeError, KeyError):
        return 1
    width, height, samples = (first(tags, n, 1) for n in (WIDTH, HEIGHT, SAMPLES))
    return int(values // max(1, width * height * samples))


def _all_told(tags: Mapping[int, Tag]) -> Mapping[int, Tag]:
    """Take the note of tifffile's that directories are missing out of a description: written anew none is."""
    if DESCRIPTION not in tags:
        return tags
    value = tags[DESCRIPTION].value.replace(b', "truncated": true', b"")
    return {**tags, DESCRIPTION: replace(tags[DESCRIPTION], count=len(value), value=value)}


def _virtual_planes(tags: Mapping[int, Tag], count: int, file_bytes: int) -> list[Page]:
    """Return the planes that lie one behind the other, of which only the first has a directory."""
    numbers = {n: first(tags, n, 0) for n in (WIDTH, HEIGHT, BITS, STRIPS) if n in tags}
    samples = first(tags, SAMPLES, 1)
    size = numbers.get(WIDTH, 0) * numbers.get(HEIGHT, 0) * samples * numbers.get(BITS, 8) // 8
    start = numbers.get(STRIPS, 0)
    if COMPRESSION in tags and tags[COMPRESSION].integers() != (1,):
        raise PictureError(f"a compressed stack of {count} planes with one directory. Save it again from ImageJ")
    if samples > 1 and PLANAR in tags and tags[PLANAR].integers() != (1,):
        raise PictureError(
            f"a stack of {count} pictures in colour planes with one directory. Save it with interleaved colours"
        )
    if not size or count > MOST or start + count * size > file_bytes:
        raise PictureError(f"truncated or damaged stack: {count} planes of {size} bytes. {INTACT}")
    shared = {n: t for n, t in tags.items() if n not in (DESCRIPTION, IJ_COUNTS, IJ_METADATA)}
    pages = []
    for i in range(count):
        place = {STRIPS: whole(start + i * size, kind=LONG8), STRIP_BYTES: whole(size, kind=LONG8)}
        rows = {ROWS_PER_STRIP: whole(numbers[HEIGHT])}
        pages.append(Page({**(shared if i else tags), **place, **rows}, described=not i))
    return pages


def extract(data: Data, tags: Mapping[int, Tag]) -> bytes:
    """Return one page as a TIFF of its own, in the byte order of the file.

    Raises PictureError if a strip or tile lies outside the file.
    """
    if tags.get(COMPRESSION, whole(1)).integers() == (OLD_JPEG,):
        raise PictureError("a page in the old JPEG compression of TIFF 6.0; save it with another compression first")
    order = byte_order(data)
    places, sizes = (TILES, TILE_BYTES) if TILES in tags else (STRIPS, STRIP_BYTES)
    offsets = tags[places].integers() if places in tags else ()
    lengths = tags[sizes].integers() if sizes in tags else ()
    if not offsets or len(offsets) != len(lengths):
        raise PictureError(f"damaged TIFF: a page without places of its strips. {INTACT}")
    if any(at + length > len(data) for at, length in zip(offsets, lengths, strict=True)):
        raise PictureError(f"truncated TIFF: pixels of a page lie beyond its end. {INTACT}")
    big = is_big(data) and sum(lengths) > 2**31
    out = bytearray(tiff_header(0, order=order, big=big))
    moved = []
    for at, length in zip(offsets, lengths, strict=True):
        moved.append(len(out))
        out += data[at : at + length]
    kind = LONG8 if big else LONG
    own = {n: t for n, t in tags.items() if n != SUB_IMAGES and t.directory is None}
    if not big:
        own = {n: whole(*t.integers()) if t.type in (16, 18) else t for n, t in own.items()}
    at, _ = append_directory(out, {**own, places: whole(*moved, kind=kind)}, order=order, big=big)
    out[: 16 if big else 8] = tiff_header(at, order=order, big=big)
    return bytes(out)


def strips(data: bytes, tags: Mapping[int, Tag]) -> Iterator[bytes]:
    """Yield the strips or tiles of a page."""
    places, sizes = (TILES, TILE_BYTES) if TILES in tags else (STRIPS, STRIP_BYTES)
    for at, length in zip(tags[places].integers(), tags[sizes].integers(), strict=True):
        yield data[at : at + length]


def native_tags(tags: Mapping[int, Tag], order: str) -> dict[int, Tag]:
    """Turn tags whose bytes have an inner byte order into the native one: ImageJ's metadata."""
    tags = dict(tags)
    if order != NATIVE and IJ_METADATA in tags and IJ_COUNTS in tags:
        tags[IJ_METADATA] = replace(tags[IJ_METADATA], value=_turn_imagej(tags[IJ_METADATA], tags[IJ_COUNTS]))
    return tags


def _turn_imagej(metadata: Tag, counts: Tag) -> bytes:
    """Turn the byte order of ImageJ's metadata: a header of 4-byte words, then texts in UTF-16, numbers, and bytes."""
    lengths = counts.integers()
    header = metadata.value[: lengths[0]]
    out = [in_order(LONG, header[: len(header) // 4 * 4], "<" if NATIVE == ">" else ">")]
    letters = [header[i : i + 4] for i in range(4, len(header) - 7, 8)]
    repeats = struct.unpack(f"{NATIVE}{2 * len(letters)}I", out[0][4 : 4 + 8 * len(letters)])[1::2]
    kinds = [kind for kind, count in zip(letters, repeats, strict=True) for _ in range(min(count, len(lengths)))]
    at = lengths[0]
    for i, length in enumerate(lengths[1:]):
        content, at = metadata.value[at : at + length], at + length
        name = kinds[i] if i < len(kinds) else b""
        name = name if name in WORDS else name[::-1]
        unit = WORDS.get(name, BYTE)
        out.append(in_order(unit, content, ">" if NATIVE == "<" else "<") if length % UNITS[unit] == 0 else content)
    return b"".join(out)


SHORTS, DOUBLES = 3, 12
UNITS = {BYTE: 1, SHORTS: 2, DOUBLES: 8}
WORDS = {
    b"info": SHORTS,
    b"labl": SHORTS,
    b"prop": SHORTS,
    b"rang": DOUBLES,
    b"luts": BYTE,
    b"roi ": BYTE,
    b"over": BYTE,
}


def declared_white(tags: Mapping[int, Tag], significant: float | None) -> Range | None:
    """Return the values of black and white that a page of more than 8 bits declares; None if it does not.

    Integers are meant to fill a number of bits, whatever maximum stands there: OME's SignificantBits, or the least that
    holds SMaxSampleValue.
    """
    bits = max(tags[BITS].integers(), default=1) if BITS in tags else 1
    bounds = [tags[number].numbers() if number in tags else () for number in (LEAST, LARGEST)]
    low, high = (min(values, default=0.0) if len(set(values)) == 1 else 0.0 for values in bounds)
    if tags.get(FORM, whole(1)).integers()[:1] == (3,):
        return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None
    if bits != 16:
        return None
    white = significant or next((2.0**n - 1 for n in (8, 10, 12, 14) if 1 < high <= 2**n - 1), None)
    return white if white != 65_535 else None


def declared_nodata(tags: Mapping[int, Tag]) -> float | None:
    """Return the value that GDAL says pixels have that hold nothing; None if it says none, or no number."""
    try:
        return float(tags[NODATA].value.rstrip(b"\0 ")) if NODATA in tags else None
    except ValueError:
        return None


def significant_white(description: Tag | None) -> float | None:
    """Return the value of white by the bits that OME-XML says are significant."""
    found = re.search(rb'<Pixels[^>]*\sSignificantBits="(\d{1,2})"', description.value) if description else None
    return 2.0 ** int(found[1]) - 1 if found and 1 < int(found[1]) < 16 else None


def names_itself(path: Path) -> bool:
    """Say whether OME-XML in a file names that file: a copy under another name would name the old one."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        pages, _ = directories(data)
        return any(_own_name(path) in page[DESCRIPTION].value for page in pages if DESCRIPTION in page)


def _own_name(path: Path) -> bytes:
    return f'FileName="{escape(path.name)}"'.encode()


def renamed(description: Tag, old: Path | None, new: Path) -> Tag:
    """Let OME-XML that names its own file name the new one: readers would open the old file again."""
    if old is None or old.name == new.name or b"<OME" not in description.value[:4096]:
        return description
    value = description.value.replace(_own_name(old), _own_name(new))
    return replace(description, count=len(value), value=value)
