"""TIFF 6.0 and BigTIFF: pixels by libvips, every tag that does not describe their storage kept byte for byte."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.codecs import squeezed, vips_decode, vips_image
from hush.imaging.formats.picture import INTACT, Metadata, Pages, Picture, check_size
from hush.imaging.formats.previews import plain_xmp, without_previews
from hush.imaging.formats.stacks import (
    BITS,
    BOUNDS,
    COMPRESSION,
    DESCRIPTION,
    HEIGHT,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_BYTES,
    STRIPS,
    SUB_IMAGES,
    TILE_BYTES,
    TILES,
    WIDTH,
    Page,
    declared_nodata,
    declared_white,
    extract,
    find_pages,
    native_tags,
    renamed,
    significant_white,
    strips,
)
from hush.imaging.formats.tags import (
    BYTE,
    LONG,
    LONG8,
    NATIVE,
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    TYPE_BYTES,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Data,
    Tag,
    append_directory,
    byte_order,
    directories,
    exif_stream,
    first,
    forget,
    in_order,
    is_big,
    resolution,
    tiff_header,
    whole,
)

PHOTOMETRIC, PREDICTOR, TILE_WIDTH, TILE_HEIGHT = 262, 317, 322, 323
KIND, IS_MASK = 254, 4
LARGEST = 2**32 - 2**28  # bytes of pixels that a classic TIFF holds beside its directories
EXTRA_SAMPLES, SAMPLE_FORMAT, XMP, PHOTOSHOP, ICC = 338, 339, 700, 34377, 34675
IPTC, IPTC_RESOURCE, IPTC_RECORD = 33723, b"8BIM\x04\x04", b"\x1c"

# Tags that describe how the pixels lie in the file: the encoder writes its own. 37724 holds Photoshop's layers, which
# would hide the restored picture.
STORAGE = {
    *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 288, 289, 292, 293, 317, 320),
    *(322, 323, 324, 325, 326, 327, 328, 330, 339, 347, *range(512, 522), 529, 530, 531, 532, 37724),
}
COMPRESSIONS = {1: "none", 3: "ccittfax4", 4: "ccittfax4", 5: "lzw", 32773: "packbits", 50000: "zstd"}
DTYPES = {(1, 8): "uint8", (1, 16): "uint16", (3, 16): "float16", (3, 32): "float32", (3, 64): "float64"}
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3}  # samples: gray, gray, RGB, palette, mask, CMYK, YCbCr
WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE, MASK, CMYK, YCBCR = 0, 1, 3, 4, 5, 6  # photometrics
INKS = (332, 333, 334)
MULTIPLIED, UNMULTIPLIED = 1, 2  # kinds of alpha
SEPARATE = 2  # how samples lie: each in a plane of its own
MOST_ROWS = 32_768  # that libvips puts in a strip


@dataclass(frozen=True)
class TiffCoding:
    """How a TIFF held its picture."""

    tags: Mapping[int, Tag] = field(default_factory=dict)  # those that do not describe storage
    compression: str = "deflate"
    predictor: bool = True
    tile: tuple[int, int] | None = None  # width, height
    rows: int = 128  # of a strip
    white_is_zero: bool = False
    level: int = 0  # 1: a sub-image of the page before it
    big: bool = False

    def inverted(self, pixels: NDArray[Any]) -> bool:
        """Whether libvips turned black and white of such pixels when it read them: it does of integers alone."""
        return self.white_is_zero and pixels.ndim == 2 and pixels.dtype.kind != "f"

    def storage(self, pixels: NDArray[Any]) -> dict[int, Tag]:
        """Return the tags of storage that no encoder writes: that white is zero in floats."""
        floats = self.white_is_zero and pixels.dtype.kind == "f" and (pixels.ndim == 2 or pixels.shape[2] < 3)
        return {PHOTOMETRIC: whole(WHITE_IS_ZERO, kind=SHORT)} if floats else {}

    @property
    def multiplied(self) -> bool:
        """Whether alpha is multiplied into the colours."""
        return EXTRA_SAMPLES in self.tags and self.tags[EXTRA_SAMPLES].integers() == (MULTIPLIED,)


def read(data: Data) -> Picture:
    """Read a TIFF of one page: 1, 8 or 16 bits, or floats; gray, RGB, palette or CMYK.

    Alpha that is multiplied into the colours stays so. Raises PictureError for a TIFF of several pages.
    """
    pages = read_pages(data)
    if len(pages) > 1:
        raise PictureError(f"a TIFF of several pages ({len(pages)}), where one is taken. Save them as files first")
    return next(iter(pages))


def read_pages(data: Data) -> Pages:
    """Read a TIFF's pages, sub-images and planes one by one."""
    found = find_pages(data)
    order = byte_order(data)
    significant = significant_white(found[0].tags.get(DESCRIPTION))

    def pictures() -> Iterator[Picture]:
        for page in found:
            tags, masking = page.tags, first(page.tags, PHOTOMETRIC, 1) == MASK
            if masking:
                tags = {**tags, PHOTOMETRIC: whole(BLACK_IS_ZERO, kind=SHORT)}
            alone = extract(data, tags) if masking or len(found) > 1 else bytes(data)
            forget(data)
            picture = _picture(alone, page, native_tags(page.tags, order), is_big(data))
            white = declared_white(page.tags, significant)
            yield replace(picture, full_scale=white, nodata=_nodata(page.tags, picture.pixels.dtype))

    big = is_big(data) or sum(map(_bytes, found)) > LARGEST
    return Pages("tiff", len(found), pictures, coding=big)


def _picture(data: bytes, page: Page, tags: Mapping[int, Tag], big: bool) -> Picture:
    """Decode a page that has been made a TIFF of its own."""
    dtype, samples = layout_of(tags)
    height, width = first(tags, HEIGHT, 0), first(tags, WIDTH, 0)
    check_size(height, width, samples, dtype, len(data), packed=packed(dtype))
    masking = first(tags, PHOTOMETRIC, 1) == MASK
    metadata, coding = description(page, tags, big)
    return Picture(
        _pixels(data, tags, dtype),
        format="tiff",
        cmyk=first(tags, PHOTOMETRIC, 1) == CMYK,
        metadata=metadata,
        coding=coding,
        mask=masking or bool(first(tags, KIND, 0) & IS_MASK),
    )


def description(page: Page, tags: Mapping[int, Tag], big: bool) -> tuple[Metadata, TiffCoding]:
    """Return what a page says beside its pixels, and how it holds them; ``tags`` are its own in native byte order."""
    masking = first(tags, PHOTOMETRIC, 1) == MASK
    kept = {n: tag for n, tag in tags.items() if n not in STORAGE or (masking and n == PHOTOMETRIC)}
    for number, drop in ((PHOTOSHOP, without_previews), (XMP, plain_xmp)):
        if number in kept:
            value = drop(kept[number].value)
            kept[number] = replace(kept[number], value=value, count=len(value) // TYPE_BYTES[kept[number].type])
    return _metadata(kept), _coding(tags, kept if page.described else {}, page.level, big)


def _bytes(page: Page) -> int:
    """Return how many bytes the pixels of a page take."""
    return (
        first(page.tags, WIDTH, 0)
        * first(page.tags, HEIGHT, 0)
        * first(page.tags, SAMPLES, 1)
        * (first(page.tags, BITS, 8) + 7)
        // 8
    )


def write(picture: Picture) -> bytes:
    """Write any picture, compressed as it came; what was compressed with loss is compressed without."""
    file = io.BytesIO()
    write_pages(file, [picture], Pages("tiff", 1, lambda: iter(())), picture.path or Path())
    return file.getvalue()


def write_pages(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write pages: first the pixels of all, one behind the other as ImageJ wants its planes, then the directories."""
    pictures = iter(pictures)
    first = next(pictures)
    was_big = like.coding is True or (isinstance(first.coding, TiffCoding) and first.coding.big)
    big = was_big or first.pixels.nbytes * len(like) > LARGEST
    file.write(tiff_header(0, big=big))
    found: list[tuple[int, dict[int, Tag]]] = []
    for picture in chain([first], pictures):
        coding = picture.coding if isinstance(picture.coding, TiffCoding) else TiffCoding(_tags(picture.metadata))
        encoded = _encoded(picture, coding)
        own = {n: t for n, t in directories(encoded)[0][0].items() if n in STORAGE | {EXTRA_SAMPLES}}
        places = TILES if TILES in own else STRIPS
        offsets = []
        for strip in strips(encoded, own):
            offsets.append(file.tell())
            file.write(strip)
        own[places] = whole(*offsets, kind=LONG8 if big else LONG)
        tags = {**own, **coding.storage(picture.pixels), **_kept_tags(picture, coding)}
        if DESCRIPTION in tags:
            tags[DESCRIPTION] = renamed(tags[DESCRIPTION], picture.path, target)
        found.append((coding.level, tags))
    _write_directories(file, found, big)


def _write_directories(file: BinaryIO, found: list[tuple[int, dict[int, Tag]]], big: bool) -> None:
    """Write the directories of all pages behind their pixels; each links to the next, or to its sub-images."""
    file.write(bytes(file.tell() % 2))
    base, out = file.tell(), bytearray()
    first, link = 0, 0
    while found:
        _, tags = found.pop(0)
        inner = []
        while found and found[0][0]:
            inner.append(append_directory(out, found.pop(0)[1], big=big, base=base)[0])
        if inner:
            tags[SUB_IMAGES] = whole(*inner, kind=LONG8 if big else LONG)
        at, next_link = append_directory(out, tags, big=big, base=base)
        if first:
            struct.pack_into(NATIVE + ("Q" if big else "I"), out, link, at)
        first, link = first or at, next_link
    if not big and base + len(out) > 2**32:
        raise PictureError("more than 4 GiB, which only a BigTIFF holds. Convert the source to BigTIFF first")
    file.write(out)
    file.seek(0)
    file.write(tiff_header(first, big=big))


def _encoded(picture: Picture, coding: TiffCoding) -> bytes:
    """Encode pixels as a TIFF of its own."""
    pixels = squeezed(picture.pixels)
    if pixels.dtype.name in ("float16", "float64"):
        return _write_tifffile(pixels, coding)
    return _write_vips(pixels, picture.cmyk, coding)


def _kept_tags(picture: Picture, coding: TiffCoding) -> dict[int, Tag]:
    """Return the tags that the picture came with; those of alpha and inks only where it still has some."""
    extra = picture.channels - (4 if picture.cmyk else 3 if picture.channels > 2 else 1)
    fits = {EXTRA_SAMPLES: lambda tag: tag.count == extra, **dict.fromkeys(INKS, lambda tag: picture.cmyk)}
    return {n: t for n, t in coding.tags.items() if n not in fits or fits[n](t)}


def layout_of(tags: Mapping[int, Tag]) -> tuple[str, int]:
    """Return dtype and number of samples; raises PictureError for layouts that are not taken."""
    samples, photometric = first(tags, SAMPLES, 1), first(tags, PHOTOMETRIC, 1)
    bits = set(tags[BITS].integers()) if BITS in tags else {1}
    form = first(tags, SAMPLE_FORMAT, 1)
    if photometric not in COLOURS:
        raise PictureError(f"TIFF colours of kind {photometric}; gray, RGB, palette and CMYK are taken. Convert it")
    small = photometric in (0, 1, PALETTE, MASK) and samples == 1 and form == 1 and bits <= {1, 2, 4} and len(bits) == 1
    if small:
        return ("bool" if bits == {1} and photometric != PALETTE else "uint8"), (3 if photometric == PALETTE else 1)
    dtype = DTYPES.get((form, max(bits, default=0))) if len(bits) == 1 else None
    if dtype is None:
        kind = {1: "unsigned", 2: "signed", 3: "floating"}.get(form, "other")
        raise PictureError(
            f"TIFF samples of {'/'.join(map(str, sorted(bits)))} {kind} bits; 1, 8 and 16 unsigned bits and floats "
            "are taken. Convert it to 16 unsigned bits"
        )
    if samples - COLOURS[photometric] not in ((0,) if photometric in (PALETTE, CMYK) else (0, 1)):
        raise PictureError(f"{samples} channels; gray, RGB (each with or without alpha) and CMYK are taken. Split them")
    return dtype, 3 if photometric == PALETTE else samples


def packed(dtype: str) -> int:
    """Return how many values a byte holds."""
    return 8 if dtype == "bool" else 1


def _nodata(tags: Mapping[int, Tag], dtype: np.dtype[Any]) -> float | None:
    """Return the value that gaps have in the pixels as they are read; None where numbers are not as stored."""
    nodata, photometric = declared_nodata(tags), first(tags, PHOTOMETRIC, 1)
    bits = first(tags, BITS, 1)
    if nodata is None or photometric in (PALETTE, YCBCR) or bits < 8:
        return None
    return np.iinfo(dtype).max - nodata if photometric == WHITE_IS_ZERO and dtype.kind == "u" else nodata


def _pixels(data: bytes, tags: Mapping[int, Tag], dtype: str) -> NDArray[Any]:
    """Decode the first page."""
    planar = first(tags, PLANAR, 1) == SEPARATE and first(tags, SAMPLES, 1) > 1
    if planar and first(tags, PHOTOMETRIC, 1) != YCBCR:
        return np.dstack([_pixels(plane, directories(plane)[0][0], dtype) for plane in _planes(data)])
    if dtype in ("float16", "float64"):
        import tifffile

        pixels = tifffile.imread(io.BytesIO(data), key=0)
        return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    extra = tags.get(EXTRA_SAMPLES)
    if extra is not None and extra.integers() == (MULTIPLIED,):  # libvips would divide by alpha and round
        patched, here = bytearray(data), directories(data)[0][0][EXTRA_SAMPLES]  # a page may have been cut out
        patched[here.place + (data[:2] == b"MM")] = UNMULTIPLIED  # the low byte of a SHORT
        data = bytes(patched)
    pixels, _ = vips_decode("tiffload_buffer", data, packed=packed(dtype))
    return pixels > 0 if dtype == "bool" else pixels


def _planes(data: bytes) -> Iterator[bytes]:
    """Yield each sample of a planar TIFF as a gray one: libvips mixes up two of them, and reads no planes in tiles."""
    tags = directories(data)[0][0]
    samples = first(tags, SAMPLES, 1)
    lists = (TILES, TILE_BYTES) if TILES in tags else (STRIPS, STRIP_BYTES)
    if any(number not in tags or len(tags[number].integers()) % samples for number in lists):
        raise PictureError(f"damaged TIFF: strips of {samples} planes that differ in number. {INTACT}")
    single = {n: whole(first(tags, n, 1), kind=SHORT) for n in (BITS, SAMPLE_FORMAT) if n in tags}
    shared = {n: t for n, t in tags.items() if n not in (PLANAR, EXTRA_SAMPLES, *BOUNDS)} | single
    shared[SAMPLES] = whole(1, kind=SHORT)
    for i in range(samples):
        inverted = i == 0 and first(tags, PHOTOMETRIC, 1) == WHITE_IS_ZERO  # alpha never is
        kind = WHITE_IS_ZERO if inverted else BLACK_IS_ZERO
        own = {n: whole(*np.array_split(tags[n].integers(), samples)[i]) for n in lists}
        yield extract(data, {**shared, **own, PHOTOMETRIC: whole(kind, kind=SHORT)})


def _write_vips(pixels: NDArray[Any], cmyk: bool, coding: TiffCoding) -> bytes:
    """Encode bool, uint8, uint16 or float32 pixels."""
    one_bit = pixels.dtype == np.bool_
    compression = coding.compression if one_bit or coding.compression != "ccittfax4" else "deflate"
    options = save_options(coding, pixels, compression, len(pixels), MOST_ROWS) | {"bigtiff": coding.big}
    if one_bit:
        options["bitdepth"] = 1
    image = vips_image(pixels.astype(np.uint8) * 255 if one_bit else pixels, cmyk=cmyk)
    encoded: bytes = image.tiffsave_buffer(**options)
    check_strips(directories(encoded)[0][0])
    return encoded


def save_options(
    coding: TiffCoding, pixels: NDArray[Any], compression: str, height: int, most_rows: int
) -> dict[str, Any]:
    """Return what to tell libvips to write a picture of ``height`` rows as its file held it, strips up to a height."""
    options: dict[str, Any] = {"compression": compression, "keep": "none", "miniswhite": coding.inverted(pixels)}
    predicted = coding.predictor and pixels.dtype != np.bool_ and compression in ("lzw", "deflate")
    options["predictor"] = ("float" if pixels.dtype.kind == "f" else "horizontal") if predicted else "none"
    if coding.tile and all(side % 16 == 0 for side in coding.tile):
        return options | {"tile": True, "tile_width": coding.tile[0], "tile_height": coding.tile[1]}
    rows = max(1, min(coding.rows, most_rows))
    if rows % 2 and height > rows and height % rows == 1 % rows:
        rows += 1  # libvips 8.18 leaves out the last strip if it is of one row and the others of an odd number
    return options | {"tile_height": rows}


def check_strips(tags: Mapping[int, Tag]) -> None:
    """Raise PictureError if a strip or tile of what was written is empty: no file may lose what was in it."""
    for number in (STRIP_BYTES, TILE_BYTES):
        if number in tags and 0 in tags[number].integers():
            raise PictureError("libvips left out a part of this TIFF. Name a .png file")


def _write_tifffile(pixels: NDArray[Any], coding: TiffCoding) -> bytes:
    """Encode half or double precision, which libvips does not hold."""
    import tifffile

    buffer = io.BytesIO()
    colour = pixels.ndim == 3 and pixels.shape[2] > 2
    tifffile.imwrite(
        buffer,
        np.ascontiguousarray(pixels),
        byteorder=NATIVE,
        compression=None if coding.compression == "none" else "zlib",
        rowsperstrip=coding.rows,
        photometric="rgb" if colour else "minisblack",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=["unassalpha"] if pixels.ndim == 3 and pixels.shape[2] in (2, 4) else None,
        metadata=None,
    )
    return buffer.getvalue()


def _coding(tags: Mapping[int, Tag], kept: Mapping[int, Tag], level: int, big: bool) -> TiffCoding:
    """Read how the pixels are coded."""
    tile = (first(tags, TILE_WIDTH, 0), first(tags, TILE_HEIGHT, 0))
    return TiffCoding(
        kept,
        COMPRESSIONS.get(first(tags, COMPRESSION, 1), "deflate"),
        predictor=first(tags, PREDICTOR, 1) != 1,
        tile=tile if all(tile) else None,
        rows=min(first(tags, ROWS_PER_STRIP, 2**32 - 1), first(tags, HEIGHT, 1)),
        white_is_zero=first(tags, PHOTOMETRIC, 1) == WHITE_IS_ZERO,
        level=level,
        big=big,
    )


def _metadata(kept: Mapping[int, Tag]) -> Metadata:
    """Read what other formats can take over."""
    blobs = {number: kept[number].value for number in (ICC, XMP, PHOTOSHOP) if number in kept}
    photoshop = blobs.get(PHOTOSHOP, b"")
    if IPTC in kept and IPTC_RESOURCE not in photoshop:
        photoshop += _iptc_resource(kept[IPTC])
    exif = exif_stream({n: t for n, t in kept.items() if n not in (ICC, XMP, PHOTOSHOP, IPTC, EXTRA_SAMPLES)})
    return Metadata(blobs.get(ICC), exif, blobs.get(XMP), photoshop or None, resolution(kept))


def _iptc_resource(tag: Tag) -> bytes:
    """Return IPTC of a tag of its own as the resource of Photoshop that other formats hold it in."""
    records = tag.value
    if tag.type == LONG and records[:1] != IPTC_RECORD:  # bytes, though many programs call them words
        records = in_order(LONG, records, ">" if NATIVE == "<" else "<")
    return IPTC_RESOURCE + b"\0\0" + struct.pack(">I", len(records)) + records + bytes(len(records) % 2)


def _tags(metadata: Metadata) -> dict[int, Tag]:
    """Write metadata that came from another format."""
    pages, _ = directories(metadata.exif or b"")
    tags = {number: tag for number, tag in (pages[0] if pages else {}).items() if number not in STORAGE}
    blobs = {ICC: (UNDEFINED, metadata.icc), XMP: (BYTE, metadata.xmp), PHOTOSHOP: (BYTE, metadata.photoshop)}
    tags |= {number: Tag(kind, len(content), content) for number, (kind, content) in blobs.items() if content}
    if metadata.dpi:
        for number, value in zip((X_RESOLUTION, Y_RESOLUTION), metadata.dpi, strict=True):
            below = 1000 if value * 1000 < 2**32 else 1
            tags[number] = Tag(RATIONAL, 1, struct.pack(NATIVE + "II", min(round(value * below), 2**32 - 1), below))
        tags[RESOLUTION_UNIT] = Tag(SHORT, 1, struct.pack(NATIVE + "H", 2))
    return tags
