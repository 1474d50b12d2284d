"""Windows: parts of a picture that are read alone, of arrays and of files too large for memory."""

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
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats import HEAD, jpeg, png, recognise, stacks, tiff
from hush.imaging.formats.codecs import VIPS_DTYPES, library_reason, vips
from hush.imaging.formats.picture import INTACT, Picture, check_size
from hush.imaging.formats.tags import Tag, whole
from hush.imaging.tiles import Tile

ReadRows = Callable[[int, int], NDArray[Any]]  # (top, count) -> (count, W) or (count, W, C)

PIECE = 4 * 2**20  # bytes that are decoded at a time
JPEG_HEAD = 16 * 2**20  # bytes in which the first scan of a JPEG begins
LARGEST_PART = 128 * 2**20  # bytes of a compressed strip or a row of tiles, which are decoded as a whole
BASELINE = (0xC0, 0xC1)  # markers of frames that are coded from top to bottom
PLANAR = 284  # a tag: whether each colour is stored by itself


class Windows(Protocol):
    """A picture of which parts can be read."""

    shape: tuple[int, ...]
    """(H, W) or (H, W, C)."""
    dtype: np.dtype[Any]

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return the part of a picture inside a tile, in the picture's own dtype."""
        ...


class ArrayWindows:
    """Windows of an array."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return a view of the part inside a tile."""
        return self.array[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]


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


class FileWindows:
    """Windows of a file.

    Only the rows from the top of the last window on are in memory, so windows should come row by row, each row further
    down than the one before; to go back up means to read the file again.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.shape = layout.shape
        self.dtype = layout.dtype
        self._read: ReadRows | None = None
        self._rows: NDArray[Any] = np.empty((0, *layout.shape[1:]), layout.dtype)
        self._top = 0

    def window(self, tile: Tile) -> NDArray[Any]:
        """Return a view of the part inside a tile; valid until a window further down is asked for."""
        bottom = min(tile.top + tile.height, self.shape[0])
        if self._read is None or tile.top < self._top:
            if self.layout.open is None:
                raise PictureError(f"{self.layout.kind}, which is not read in parts. Save it as a plain TIFF")
            self._read, self._rows, self._top = self.layout.open(), self._rows[:0], tile.top
            self._skip(tile.top)
        if bottom > self._top + len(self._rows):
            self._advance(tile.top, bottom)
        rows = self._rows[tile.top - self._top : bottom - self._top]
        return rows[:, tile.left : tile.left + tile.width]

    def _skip(self, top: int) -> None:
        """Read over what lies above: most decoders only go forward."""
        for _ in self._pieces(0, top):
            pass

    def _advance(self, top: int, bottom: int) -> None:
        """Forget the rows above ``top``, and read those down to ``bottom``."""
        end = self._top + len(self._rows)
        if top > end:
            for _ in self._pieces(end, top):
                pass
        kept = self._rows[top - self._top :]
        rows = np.empty((bottom - top, *self.shape[1:]), self.dtype)
        rows[: len(kept)] = kept
        del kept
        self._rows, self._top = rows, top
        for at, piece in self._pieces(max(end, top), bottom):
            rows[at - top : at - top + len(piece)] = piece

    def _pieces(self, top: int, bottom: int) -> Iterator[tuple[int, NDArray[Any]]]:
        count = max(1, PIECE // max(1, self.layout.row_bytes))
        for at in range(top, bottom, count):
            yield at, self._read(at, min(count, bottom - at))  # type: ignore[misc]  # it is open


def read_layout(path: Path) -> Layout | None:
    """Return how a file holds its picture, and how to read it in parts; None for kinds of which that is not known.

    In parts are read PNG that is not interlaced, TIFF of one page, baseline JPEG, and NPY. Raises PictureError if the
    file is damaged.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        if len(head) < HEAD:
            return None
        reader = READERS.get(recognise(head, path.suffix))
        if reader is None:
            return None
        file.seek(0)
        layout = reader(path, file)
    return layout and replace(layout, picture=replace(layout.picture, path=path))


def _png(path: Path, file: BinaryIO) -> Layout | None:
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


def _png_chunks(file: BinaryIO) -> Iterator[png.Chunk]:
    """Yield the chunks of a PNG, those with pixels empty."""
    at, end = file.seek(len(png.SIGNATURE)), _bytes(file)
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
    pages = stacks.find_pages(data)
    if len(pages) > 1:
        return None
    tags = pages[0].tags
    wanted = (stacks.HEIGHT, stacks.WIDTH, stacks.SAMPLES, PLANAR, tiff.PHOTOMETRIC)
    height, width, samples, planar, photometric = (tiff._number(tags, n, 1) for n in wanted)
    dtype = np.dtype(tiff._layout(tags)[0])
    check_size(height, width, samples, dtype, len(data))
    shape = (height, width) if samples == 1 else (height, width, samples)
    part = _first_part(tags, height, width)
    multiplied = tiff.EXTRA_SAMPLES in tags and tags[tiff.EXTRA_SAMPLES].integers() == (tiff.MULTIPLIED,)
    odd = dtype.name not in ("uint8", "uint16", "float32") or multiplied or planar != 1
    if odd or part is None or photometric in (tiff.PALETTE, tiff.MASK):
        kind = "a TIFF with values, colours, alpha or strips of this kind"
        return Layout(shape, dtype, Picture(np.zeros((1, 1, *shape[2:]), dtype)), None, kind)
    picture = next(iter(tiff.read_pages(stacks.extract(data, part))))
    picture = replace(picture, coding=replace(picture.coding, rows=_rows_per_strip(tags, height)))
    return Layout(shape, dtype, picture, lambda: _vips_rows("tiffload", path, shape, dtype, access="random"))


def _first_part(tags: Mapping[int, Tag], height: int, width: int) -> dict[int, Tag] | None:
    """Describe the first tile, strip or uncompressed row of a TIFF's page as a page of its own.

    None if its parts are so large that there is nothing gained by reading them one by one.
    """
    tiled = stacks.TILES in tags
    places, sizes = (stacks.TILES, stacks.TILE_BYTES) if tiled else (stacks.STRIPS, stacks.STRIP_BYTES)
    place, size = tiff._number(tags, places, 0), tiff._number(tags, sizes, 0)
    rows = min(tiff._number(tags, tiff.TILE_HEIGHT, height), height) if tiled else _rows_per_strip(tags, height)
    columns = min(tiff._number(tags, tiff.TILE_WIDTH, width), width) if tiled else width
    if not place or not size or not rows:
        return None
    if not tiled and tiff._number(tags, stacks.COMPRESSION, 1) == 1:
        size, rows = size // rows, 1
    if rows * width * tiff._number(tags, stacks.SAMPLES, 1) * tiff._number(tags, stacks.BITS, 8) // 8 > LARGEST_PART:
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
    return min(tiff._number(tags, stacks.ROWS_PER_STRIP, height), height)


def _jpeg(path: Path, file: BinaryIO) -> Layout | None:
    segments, _ = jpeg.split(file.read(JPEG_HEAD))
    marker, frame = next(((m, content) for m, content in segments if m in jpeg.FRAMES), (0, b""))
    if len(frame) < 6:
        return None
    _, height, width, channels = struct.unpack(">BHHB", frame[:6])
    check_size(height, width, channels, "u1", _bytes(file))
    coding = jpeg._coding(segments)
    shape = (height, width) if channels == 1 else (height, width, channels)
    picture = Picture(
        np.zeros((1, 1, *shape[2:]), "u1"), format="jpeg", metadata=jpeg._metadata(segments), coding=coding
    )
    if marker not in BASELINE or channels not in (1, 3) or coding.stored_rgb or _has_more(file, segments):
        kind = "a progressive JPEG" if coding.progressive else "a JPEG of this kind"
        return Layout(shape, np.dtype("u1"), picture, None, kind)
    return Layout(shape, np.dtype("u1"), picture, lambda: _vips_rows("jpegload", path, shape, np.dtype("u1")))


def _has_more(file: BinaryIO, segments: list[jpeg.Segment]) -> bool:
    """Say whether other pictures or data follow in a JPEG."""
    file.seek(-2, os.SEEK_END)
    return file.read(2) != b"\xff\xd9" or any(content.startswith(jpeg.MULTI_PICTURE) for _, content in segments)


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
    loader: str, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, access: str = "sequential"
) -> ReadRows:
    """Open a file with libvips, to be decoded row by row."""
    pyvips = vips()
    with _decoding(pyvips):
        image = getattr(pyvips.Image, loader)(str(path), access=access, fail_on="error")
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
