"""How files hold their pictures, found without decoding them: what can be read in parts, and how."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError, PictureError
from hush.imaging.formats import FORMATS, HEAD, recognise
from hush.imaging.formats.codecs import VIPS_DTYPES, library_reason, vips
from hush.imaging.formats.picture import INTACT, Picture, check_size
from hush.imaging.formats.tags import first

if TYPE_CHECKING:
    from hush.imaging.formats.jpeg import Segment
    from hush.imaging.formats.png import Chunk
    from hush.imaging.formats.tags import Tag

ReadRows = Callable[[int, int], NDArray[Any]]  # (top, count) -> (count, W) or (count, W, C)

JPEG_HEAD = 16 * 2**20  # bytes in which the first scan of a JPEG begins
LARGEST_PART = 128 * 2**20  # bytes of a compressed strip or a row of tiles, which are decoded as a whole
BASELINE = (0xC0, 0xC1)  # markers of frames that are coded from top to bottom


@dataclass(frozen=True, eq=False)
class Layout:
    """How a file that can be read in parts holds its picture."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    picture: Picture
    """Everything but the pixels; those are a few that stand for the others."""
    open: Callable[[], ReadRows] | None
    """Begin to read, at the top; None for what is only decoded as a whole."""
    kind: str = ""
    """What it is, in words."""

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a row of pixels."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Return the bytes of all pixels."""
        return self.shape[0] * self.row_bytes


def read_layout(path: Path) -> Layout | None:
    """Return how a file holds its picture, and how to read it in parts; None for kinds of which that is not known.

    In parts are read PNG that is not interlaced, TIFF of one page, baseline JPEG, and NPY. Raises PictureError if the
    file is damaged.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        if len(head) < HEAD:
            return None
        name = recognise(head, path.suffix)
        file.seek(0)
        try:
            layout = READERS[name](path, file) if name in READERS else _whole(name, file)
        except (HushError, OSError):
            raise
        except Exception as error:  # decoders raise anything at all on damaged data
            raise PictureError(f"{path}: damaged or unsupported ({library_reason(error)}). {INTACT}") from error
    return layout and replace(layout, picture=replace(layout.picture, path=path, format=name))


def _whole(name: str, file: BinaryIO) -> Layout | None:
    """Return the size of a picture that is decoded as a whole; None where it is not known."""
    from hush.imaging.formats import sizes

    size = sizes.SIZES[name](file.read(sizes.HEAD)) if name in sizes.SIZES else None
    if size is None:
        return None
    height, width, channels, dtype = size
    sample = Picture(np.zeros((1, 1, channels), dtype), format=name)
    return Layout((height, width, channels), np.dtype(dtype), sample, None, FORMATS[name].title)


def _png(path: Path, file: BinaryIO) -> Layout | None:
    from hush.imaging.formats import png

    start = file.read(33)
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", start[16:29])
    channels = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(colour_type, 4)
    dtype = np.dtype("u2" if depth == 16 else "u1")
    check_size(height, width, channels, dtype, _bytes(file))
    chunks = list(_png_chunks(file))
    names = [name for name, _ in chunks]
    if b"IDAT" not in names or names[0] != b"IHDR":
        raise PictureError(f"damaged PNG: it lacks its header or its pixels. {INTACT}")
    shape = (height, width) if channels == 1 else (height, width, channels)
    if depth < 8 or colour_type == 3 or interlaced or {b"acTL", b"tRNS"} & set(names):
        kind = "an interlaced PNG" if interlaced else "a PNG with a palette, few bits or a transparent colour"
        return Layout(shape, dtype, Picture(np.zeros((1, 1, *shape[2:]), dtype)), None, kind)
    first = names.index(b"IDAT")
    header = struct.pack(">II", 1, 1) + start[24:29]
    pixel = zlib.compress(bytes(1 + channels * dtype.itemsize))  # a row of one pixel, behind its filter
    others = [chunk for chunk in chunks[first:] if chunk[0] != b"IDAT"]
    picture = png.read(png.join([(b"IHDR", header), *chunks[1:first], (b"IDAT", pixel), *others, (b"IEND", b"")]))
    return Layout(shape, dtype, picture, lambda: _vips_rows("pngload", path, shape, dtype))


def _png_chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a PNG, those with pixels empty."""
    from hush.imaging.formats.png import SIGNATURE

    at, end = file.seek(len(SIGNATURE)), _bytes(file)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if at + 12 + length > end:
            raise PictureError(f"truncated or damaged PNG: at byte {at} of {end} a chunk of {length}. {INTACT}")
        if name == b"IEND":
            return
        yield name, b"" if name == b"IDAT" else file.read(length)
        at = file.seek(at + 12 + length)
    raise PictureError(f"truncated PNG: its last chunk is cut off. {INTACT}")


def _bytes(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _tiff(path: Path, file: BinaryIO) -> Layout | None:
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return _tiff_page(path, data)


def _tiff_page(path: Path, data: mmap) -> Layout | None:
    from hush.imaging.formats import stacks, tiff
    from hush.imaging.formats.tags import byte_order, is_big

    pages = stacks.find_pages(data)
    if len(pages) > 1:
        return None
    tags = pages[0].tags
    wanted = (stacks.HEIGHT, stacks.WIDTH, stacks.SAMPLES, stacks.PLANAR, tiff.PHOTOMETRIC)
    height, width, samples, planar, photometric = (first(tags, n, 1) for n in wanted)
    dtype = np.dtype(tiff.layout_of(tags)[0])
    check_size(height, width, samples, dtype, len(data), packed=tiff.packed(dtype.name))
    shape = (height, width) if samples == 1 else (height, width, samples)
    part = _first_part(tags, height, width)
    multiplied = tiff.EXTRA_SAMPLES in tags and tags[tiff.EXTRA_SAMPLES].integers() == (tiff.MULTIPLIED,)
    odd = dtype.name not in ("uint8", "uint16", "float32") or multiplied or planar != 1
    if odd or part is None or photometric in (tiff.PALETTE, tiff.MASK):
        kind = "a TIFF with values, colours, alpha or strips of this kind"
        return Layout(shape, dtype, Picture(np.zeros((1, 1, *shape[2:]), dtype)), None, kind)
    picture = next(iter(tiff.read_pages(stacks.extract(data, part))))
    own = stacks.native_tags(tags, byte_order(data))  # with those that extract leaves out: EXIF, GPS
    metadata, coding = tiff.description(pages[0], own, is_big(data))
    picture = replace(picture, metadata=metadata, coding=replace(coding, rows=_rows_per_strip(tags, height)))
    return Layout(shape, dtype, picture, lambda: _vips_rows("tiffload", path, shape, dtype, access="random"))


def _first_part(tags: Mapping[int, Tag], height: int, width: int) -> dict[int, Tag] | None:
    """Describe the first tile, strip or uncompressed row of a TIFF's page as a page of its own.

    None if its parts are so large that there is nothing gained by reading them one by one.
    """
    from hush.imaging.formats import stacks, tiff
    from hush.imaging.formats.tags import whole

    tiled = stacks.TILES in tags
    places, sizes = (stacks.TILES, stacks.TILE_BYTES) if tiled else (stacks.STRIPS, stacks.STRIP_BYTES)
    place, size = first(tags, places, 0), first(tags, sizes, 0)
    rows = min(first(tags, tiff.TILE_HEIGHT, height), height) if tiled else _rows_per_strip(tags, height)
    columns = min(first(tags, tiff.TILE_WIDTH, width), width) if tiled else width
    if not place or not size or not rows:
        return None
    if not tiled and first(tags, stacks.COMPRESSION, 1) == 1:
        size, rows = size // rows, 1
    if rows * width * first(tags, stacks.SAMPLES, 1) * first(tags, stacks.BITS, 8) // 8 > LARGEST_PART:
        return None
    changed = {
        stacks.HEIGHT: whole(rows),
        stacks.WIDTH: whole(columns),
        stacks.ROWS_PER_STRIP: whole(rows),
        places: whole(place, kind=tags[places].type),
        sizes: whole(size, kind=tags[sizes].type),
    }
    return {**tags, **changed}


def _rows_per_strip(tags: Mapping[int, Tag], height: int) -> int:
    from hush.imaging.formats import stacks

    return min(first(tags, stacks.ROWS_PER_STRIP, height), height)


def _jpeg(path: Path, file: BinaryIO) -> Layout | None:
    from hush.imaging.formats import jpeg

    segments, scan = jpeg.split(file.read(JPEG_HEAD))
    marker, frame = next(((m, content) for m, content in segments if m in jpeg.FRAMES), (0, b""))
    if len(frame) < 6:
        return None
    _, height, width, channels = struct.unpack(">BHHB", frame[:6])
    check_size(height, width, channels, "u1", _bytes(file))
    segments = [(m, jpeg.preview_free(m, content)) for m, content in segments]
    coding = jpeg.coding_of(segments)
    shape = (height, width) if channels == 1 else (height, width, channels)
    picture = Picture(
        np.zeros((1, 1, *shape[2:]), "u1"), format="jpeg", metadata=jpeg.metadata_of(segments), coding=coding
    )
    if marker not in BASELINE or channels not in (1, 3) or coding.stored_rgb or _has_more(file, segments, scan):
        kind = "a progressive JPEG" if coding.progressive else "a JPEG of this kind"
        return Layout(shape, np.dtype("u1"), picture, None, kind)
    return Layout(shape, np.dtype("u1"), picture, lambda: _jpeg_rows(path, shape))


def _has_more(file: BinaryIO, segments: list[Segment], scan: int) -> bool:
    """Say whether more follows the JPEG whose first scan begins at an offset, or its end is missing."""
    from hush.imaging.formats.jpeg import MULTI_PICTURE

    if any(content.startswith(MULTI_PICTURE) for _, content in segments):
        return True
    file.seek(scan)
    last = b""
    while block := file.read(2**20):
        block = last + block
        if (end := block.find(b"\xff\xd9")) >= 0:  # within a scan 0xff is followed by 0
            return bool(block[end + 2 :] or file.read(1))
        last = block[-1:]
    return True


def _jpeg_rows(path: Path, shape: tuple[int, ...]) -> ReadRows:
    """Decode a JPEG row by row, as strictly as `hush.imaging.formats.jpeg.read` does it as a whole."""
    opened: list[ReadRows] = []

    def rows(top: int, count: int, fail_on: str = "warning") -> NDArray[Any]:
        try:
            if not opened:
                opened.append(_vips_rows("jpegload", path, shape, np.dtype("u1"), fail_on=fail_on))
            return opened[0](top, count)
        except PictureError as error:
            if fail_on != "warning" or "extraneous bytes" not in str(error):
                raise
            opened.clear()
            return rows(top, count, "error")

    return rows


def _npy(path: Path, file: BinaryIO) -> Layout | None:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        return None
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    start = file.tell()
    if fortran or dtype.hasobject or not dtype.isnative or len(shape) not in (2, 3):
        return None
    count = math.prod(shape[1:])
    if start + shape[0] * count * dtype.itemsize > _bytes(file):
        raise PictureError(f"truncated NPY: {_bytes(file) - start} bytes for the shape {shape}. {INTACT}")

    def rows(top: int, n: int) -> NDArray[Any]:
        with path.open("rb") as file:
            file.seek(start + top * count * dtype.itemsize)
            return np.fromfile(file, dtype, n * count).reshape(n, *shape[1:])

    picture = Picture(np.zeros((1, 1, *shape[2:]), dtype), format="npy")
    return Layout(shape, dtype, picture, lambda: rows)


READERS: dict[str, Callable[[Path, BinaryIO], Layout | None]] = {"png": _png, "tiff": _tiff, "jpeg": _jpeg, "npy": _npy}


def _vips_rows(
    loader: str,
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    access: str = "sequential",
    fail_on: str = "error",
) -> ReadRows:
    """Open a file with libvips, to be decoded row by row."""
    pyvips = vips()
    with _decoding(pyvips):
        image = getattr(pyvips.Image, loader)(os.fsencode(path), access=access, fail_on=fail_on)
        region = pyvips.Region.new(image)
    found = (image.height, image.width) if image.bands == 1 else (image.height, image.width, image.bands)
    if found != shape or np.dtype(VIPS_DTYPES.get(image.format, "V")) != dtype:
        raise PictureError(f"damaged file: its parts do not agree ({image.width}x{image.height}). {INTACT}")

    def rows(top: int, count: int) -> NDArray[Any]:
        with _decoding(pyvips):
            return np.frombuffer(region.fetch(0, top, shape[1], count), dtype).reshape(count, *shape[1:])

    return rows


@contextmanager
def _decoding(pyvips: ModuleType) -> Iterator[None]:
    """Turn what libvips raises into a PictureError."""
    try:
        yield
    except pyvips.Error as error:
        raise PictureError(f"damaged or unsupported file ({library_reason(error)}). {INTACT}") from error
