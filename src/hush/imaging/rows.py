"""Write a picture row by row, from top to bottom: what is too large for memory never is in it as a whole."""

from __future__ import annotations

import io
import math
import os
import queue
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.files import _alone, _format_for, _named, _publish
from hush.imaging.formats import FORMATS, jpeg, png, tiff
from hush.imaging.formats.codecs import least_quality, library_reason, vips, vips_image
from hush.imaging.formats.picture import Pages, Picture
from hush.imaging.formats.tags import append_directory, directories, is_big, tiff_header

PREVIEW = 1024  # pixels that the longer side of what thumbnails are made from has at least
PIECE = 4 * 2**20  # bytes that are handed to an encoder at a time
COPY = 2**20
STRIP = 128  # rows of a TIFF that are held back at most
JPEG_LONGEST = 65_500


def check_rows(target: Path, like: Picture) -> str:
    """Return the format that a picture would be written in.

    Raises PictureError if it cannot be written row by row, or does not hold the pixels.
    """
    with _named(target):
        name = _format_for(target, _alone(like))
        if name not in WRITERS:
            known = ", ".join(FORMATS[n].title for n in WRITERS)
            raise PictureError(
                f"{FORMATS[name].title} is written as a whole, for which memory is short; {known} are not. "
                "Name one of these, or allow more with --max-memory"
            )
        FORMATS[name].check_holds(like)
        if name != "npy" and like.pixels.dtype.name not in ("uint8", "uint16", "float32"):
            raise PictureError(
                f"{like.pixels.dtype.name} pixels are written as a whole in {FORMATS[name].title}, for which memory is "
                "short. Name a .npy file, or allow more with --max-memory"
            )
        return name


def write_rows(
    target: Path, like: Picture, shape: tuple[int, ...], bands: Iterable[NDArray[Any]], *, overwrite: bool = False
) -> Path:
    """Write rows as they come, as a file of the kind of ``like``; it appears whole or not at all.

    Args:
        target: the file; its suffix names the format, as for `hush.imaging.files.write`.
        like: everything but the pixels, of which it has a few of the right type and channels.
        shape: of the whole picture, (H, W) or (H, W, C).
        bands: its rows from top to bottom, (n, W) or (n, W, C).
        overwrite: whether a file that exists is replaced.

    An error that ``bands`` raises is passed on. Raises PictureError for what cannot be written.
    """
    name = check_rows(target, like)
    upstream: list[BaseException] = []

    def watched() -> Iterator[NDArray[Any]]:
        try:
            yield from bands
        except BaseException as error:
            upstream.append(error)
            raise

    try:
        with _named(target), _publish(target, overwrite, like.path) as file:
            WRITERS[name](file, like, shape, _Preview(watched(), shape), target)
    except Exception as error:
        if upstream:
            raise upstream[0] from None
        if isinstance(error, PictureError):
            raise
        if "write error" in str(error):  # of libvips, which does not tell why
            raise PictureError(f"{target}: no space is left on the disk. Free some, or write elsewhere") from error
        raise PictureError(f"{target}: cannot be written ({library_reason(error)}). Try a .tif name") from error
    return target


class _Preview:
    """Rows on their way, of which every so many pixels are remembered."""

    def __init__(self, bands: Iterable[NDArray[Any]], shape: tuple[int, ...]) -> None:
        self._bands = bands
        self._step = max(1, max(shape[:2]) // PREVIEW)
        self._kept: list[NDArray[Any]] = []
        self._at = 0

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for band in self._bands:
            first = -self._at % self._step
            self._kept.append(band[first :: self._step, :: self._step].copy())
            self._at += len(band)
            yield band

    def of(self, like: Picture) -> Picture:
        """Return a small picture that holds what ``like`` does, and looks like the one that was written."""
        return replace(like, pixels=np.concatenate(self._kept))


def _write_png(file: BinaryIO, like: Picture, shape: tuple[int, ...], bands: _Preview, target: Path) -> None:
    with _scratch(target) as scratch:
        _save(bands, shape, like, lambda image: image.pngsave(os.fsencode(scratch.name), keep="none", **png.PACKING))
        chunks = png.split(png.write(bands.of(like)))
        names = [name for name, _ in chunks]
        before, after = chunks[1 : names.index(b"IDAT")], chunks[names.index(b"IDAT") :]
        file.write(scratch.read(8 + 25))  # the signature and IHDR
        file.writelines(png.packed(chunk) for chunk in before)
        _copy_pixels(scratch, file)
        file.writelines(png.packed(chunk) for chunk in (*after, (b"IEND", b"")) if chunk[0] != b"IDAT")


def _copy_pixels(source: BinaryIO, target: BinaryIO) -> None:
    """Copy the chunks with pixels from one PNG into another."""
    while len(head := source.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            target.write(head)
            _copy(source, target, length + 4)
        else:
            source.seek(length + 4, os.SEEK_CUR)


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0 and (part := source.read(min(length, COPY))):
        target.write(part)
        length -= len(part)


def _write_tiff(file: BinaryIO, like: Picture, shape: tuple[int, ...], bands: _Preview, target: Path) -> None:
    coding = like.coding if isinstance(like.coding, tiff.TiffCoding) else tiff.TiffCoding()
    nbytes = math.prod(shape) * like.pixels.dtype.itemsize
    options = tiff.save_options(coding, like.pixels, coding.compression, shape[0], STRIP)
    options["bigtiff"] = coding.big or nbytes > tiff.LARGEST
    _save(bands, shape, like, lambda image: image.tiffsave(os.fsencode(file.name), **options))
    small = io.BytesIO()
    tiff.write_pages(small, [bands.of(like)], Pages("tiff", 1, lambda: iter(())), target)
    kept = {n: t for n, t in directories(small.getvalue())[0][0].items() if n not in tiff.STORAGE}
    _put_tags(file, {**kept, **coding.storage(like.pixels)})


def _put_tags(file: BinaryIO, tags: dict[int, Any]) -> None:
    """Give a TIFF a new directory, at its end, in which of the present tags those remain that describe storage."""
    with open(file.name, "rb") as written, mmap(written.fileno(), 0, access=ACCESS_READ) as data:
        big, size = is_big(data), len(data)
        own = {n: t for n, t in directories(data)[0][0].items() if n in tiff.STORAGE}
    tiff.check_strips(own)
    out = bytearray(size % 2)
    at, _ = append_directory(out, {**own, **tags}, big=big, base=size)
    file.seek(size)
    file.write(out)
    file.seek(0)
    file.write(tiff_header(at, big=big))


def _write_jpeg(file: BinaryIO, like: Picture, shape: tuple[int, ...], bands: _Preview, target: Path) -> None:
    if max(shape[:2]) > JPEG_LONGEST:
        raise PictureError(f"{shape[1]}x{shape[0]} pixels; a JPEG's sides are at most 65500. Name a .tif file")
    coding = like.coding if isinstance(like.coding, jpeg.JpegCoding) else None
    subsampled = coding is not None and coding.subsampling == "4:2:0"
    options = {"Q": _quality(coding), "subsample_mode": "on" if subsampled else "off", "keep": "none"}
    with _scratch(target) as scratch:
        _save(bands, shape, like, lambda image: image.jpegsave(os.fsencode(scratch.name), **options))
        own, _ = jpeg.split(jpeg.write(bands.of(like)))
        kept = [s for s in own if 0xE0 <= s[0] <= 0xEF or s[0] == jpeg.COMMENT]
        head = scratch.read(2**16)
        segments, at = jpeg.split(head)
        file.write(jpeg.join([*kept, *(s for s in segments if not 0xE0 <= s[0] <= 0xEF and s[0] != jpeg.COMMENT)]))
        file.write(head[at:])
        _copy(scratch, file, 2**62)


def _quality(coding: jpeg.JpegCoding | None) -> int:
    """Return the least quality on libjpeg's scale whose tables are as fine as those of the source."""
    if coding is None or not coding.tables:
        return jpeg.QUALITY
    pixels = vips_image(np.zeros((16, 16) if len(coding.tables) == 1 else (16, 16, 3), np.uint8))

    def fine(quality: int) -> bool:
        tables = jpeg.coding_of(jpeg.split(pixels.jpegsave_buffer(Q=quality))[0]).tables
        return bool((np.array(tables) <= np.array(coding.tables)).all())

    return least_quality(fine)


def _write_npy(file: BinaryIO, like: Picture, shape: tuple[int, ...], bands: _Preview, target: Path) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(like.pixels.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for band in bands:
        file.write(np.ascontiguousarray(band).data)


WRITERS: dict[str, Callable[[BinaryIO, Picture, tuple[int, ...], _Preview, Path], None]] = {
    "png": _write_png,
    "tiff": _write_tiff,
    "jpeg": _write_jpeg,
    "npy": _write_npy,
}


def _scratch(target: Path) -> Any:
    """Open a temporary file on the disk of the target, that goes when it is closed."""
    return tempfile.NamedTemporaryFile(dir=target.resolve().parent, prefix=".hush-", suffix=".part")


def _save(bands: Iterable[NDArray[Any]], shape: tuple[int, ...], like: Picture, save: Callable[[Any], None]) -> None:
    """Let libvips encode rows as they come.

    libvips asks for what it encodes, so it works in a thread of its own, and reads the rows as an uncompressed PNG.
    """
    feed = _Feed()
    failed: list[Exception] = []

    def work() -> None:
        try:
            save(_vips_image(feed, shape, like))
        except Exception as error:
            failed.append(error)
        finally:
            feed.close()

    thread = threading.Thread(target=work, name="hush-encode", daemon=True)
    thread.start()
    try:
        for piece in _as_png(bands, shape, like.pixels.dtype.itemsize):
            if not feed.put(piece):
                break
    finally:
        feed.put(b"")  # the end, or on an error too early an end
        thread.join()
    if failed:
        raise failed[0]


class _Feed:
    """Bytes between the thread that makes and the one that encodes them; few at a time."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes] = queue.Queue(2)
        self._part = memoryview(b"")
        self._closed = False
        self.source: Any = None  # of libvips; it must live as long as it is read from

    def put(self, piece: bytes) -> bool:
        """Hand over bytes, none for the end; returns whether anybody still reads."""
        while not self._closed:
            try:
                self._queue.put(piece, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def read(self, count: int) -> bytes:
        """Return some of the next bytes; none at the end."""
        if not self._part:
            self._part = memoryview(b"" if self._closed else self._queue.get())
            self._closed |= not self._part
        part, self._part = self._part[:count], self._part[count:]
        return bytes(part)

    def close(self) -> None:
        """Say that nobody reads any more."""
        self._closed = True


def _vips_image(feed: _Feed, shape: tuple[int, ...], like: Picture) -> Any:
    """Return an image of libvips that is read from the feed from top to bottom."""
    source = feed.source = vips().SourceCustom()
    source.on_read(feed.read)
    dtype, bands = like.pixels.dtype, 1 if len(shape) == 2 else shape[2]
    image = vips().Image.pngload_source(source, access="sequential", fail_on="error")
    image = image.bandfold(factor=bands * dtype.itemsize)
    if dtype.itemsize > 1:
        image = image.copy(bands=bands, format={2: "ushort", 4: "float"}[dtype.itemsize])
    sample = np.zeros((1, 1) if len(shape) == 2 else (1, 1, bands), dtype)
    return image.copy(interpretation=vips_image(sample, cmyk=like.cmyk).interpretation)


def _as_png(bands: Iterable[NDArray[Any]], shape: tuple[int, ...], itemsize: int) -> Iterator[bytes]:
    """Yield an uncompressed gray PNG whose pixels are the bytes of the rows."""
    width = math.prod(shape[1:]) * itemsize
    yield png.SIGNATURE + png.packed((b"IHDR", struct.pack(">IIBBBBB", width, shape[0], 8, 0, 0, 0, 0)))
    stored = zlib.compressobj(0)
    count = max(1, PIECE // width)
    for band in bands:
        for at in range(0, len(band), count):
            values = np.ascontiguousarray(band[at : at + count])
            rows = np.zeros((len(values), 1 + width), np.uint8)  # each row begins with its filter, 0 = none
            rows[:, 1:] = values.reshape(len(values), -1).view(np.uint8)
            yield png.packed((b"IDAT", stored.compress(rows.data)))
    yield png.packed((b"IDAT", stored.flush())) + png.packed((b"IEND", b""))
