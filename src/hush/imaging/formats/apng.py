"""PNG, still or animated (W3C, third edition): frames are composed here, so that 16 bits stay 16 bits."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats import png
from hush.imaging.formats.codecs import vips_decode
from hush.imaging.formats.marks import PNG_SIGNATURE as SIGNATURE
from hush.imaging.formats.picture import INTACT, Pages, Picture, check_size
from hush.imaging.formats.tags import Data

CLEARED, RESTORED = 1, 2  # what becomes of a frame before the next one is drawn
OVER = 1  # drawn over the canvas, rather than replacing a part of it
CONTROL = ">IIIIIHHBB"  # number, width, height, left, top, delay over, delay under, disposal, blending


@dataclass(frozen=True)
class Frame:
    """A frame as the file holds it; without a control chunk it is the still picture that is shown elsewhere."""

    data: tuple[bytes, ...]
    control: tuple[int, ...] | None

    @property
    def delay(self) -> tuple[int, int]:
        """Return seconds as a fraction."""
        return (self.control[5], self.control[6] or 100) if self.control else (0, 100)


def read(data: bytes) -> Picture:
    """Read a still PNG."""
    return png.read(data)


def write(picture: Picture) -> bytes:
    """Write a still PNG."""
    return png.write(picture)


def read_pages(data: Data) -> Pages:
    """Read a still PNG, or the frames of an animation one by one, each of them whole."""
    data = data[:]
    chunks = png.split(data)
    if not any(name == b"acTL" for name, _ in chunks):
        picture = png.read(data)
        return Pages("png", 1, lambda: iter([picture]))
    frames = _frames(chunks)
    loops = next(int.from_bytes(content[4:8], "big") for name, content in chunks if name == b"acTL")
    width, height = struct.unpack_from(">II", chunks[0][1])
    check_size(height, width, 4, "u2" if chunks[0][1][8] == 16 else "u1", len(data))

    def pictures() -> Iterator[Picture]:
        still = replace(png.read(data, frame=True), pixels=np.zeros((1, 1)))
        for frame, pixels in zip(frames, _composed(chunks, frames, (height, width)), strict=True):
            over, under = frame.delay
            duration = 1000 * over / under if frame.control else None
            coding = replace(still.coding, palette=False, delay=(over, under))
            yield replace(still, pixels=pixels, duration=duration, coding=coding)

    return Pages("png", len(frames), pictures, frames=True, loops=loops)


def _frames(chunks: list[png.Chunk]) -> list[Frame]:
    """Collect each frame's pixel data; raises PictureError for an animation without frames."""
    found: list[tuple[list[bytes], tuple[int, ...] | None]] = []
    control: tuple[int, ...] | None = None
    for name, content in chunks:
        if name == b"fcTL" and len(content) >= struct.calcsize(CONTROL):
            control = struct.unpack_from(CONTROL, content)
            found.append(([], control))
        elif name == b"IDAT":
            if not found:
                found.append(([], None))
            found[-1][0].append(content)
        elif name == b"fdAT" and found:
            found[-1][0].append(content[4:])
    if not found or not all(parts for parts, _ in found):
        raise PictureError(f"damaged animated PNG: a frame without pixels. {INTACT}")
    return [Frame(tuple(parts), control) for parts, control in found]


def _composed(chunks: list[png.Chunk], frames: list[Frame], size: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Yield each frame as it is shown."""
    header = chunks[0][1]
    colours = [chunk for chunk in chunks if chunk[0] in (b"PLTE", b"tRNS")]
    see_through = any(f.control and (f.control[1:5] != (*size[::-1], 0, 0) or f.control[7] == CLEARED) for f in frames)
    canvas: NDArray[Any] | None = None
    for frame in frames:
        _, width, height, left, top, _, _, disposal, blending = frame.control or (0, *size[::-1], 0, 0, 0, 0, 0, 0)
        if left + width > size[1] or top + height > size[0] or not width or not height:
            raise PictureError(f"damaged animated PNG: a frame reaches out of the picture. {INTACT}")
        alone = png.join([(b"IHDR", struct.pack(">II", width, height) + header[8:]), *colours,
                          *((b"IDAT", part) for part in frame.data), (b"IEND", b"")])  # fmt: skip
        pixels, _ = vips_decode("pngload_buffer", alone)
        pixels = pixels.reshape(height, width, -1)
        pixels = _with_alpha(pixels) if see_through and pixels.shape[2] in (1, 3) else pixels
        if canvas is None or frame.control is None:
            canvas = np.zeros((*size, pixels.shape[2]), pixels.dtype)
        place = np.s_[top : top + height, left : left + width]
        before = canvas[place].copy()
        canvas[place] = _over(pixels, before) if blending == OVER and pixels.shape[2] in (2, 4) else pixels
        shown = canvas.copy() if canvas.shape[2] > 1 else canvas[..., 0].copy()
        yield shown > 0 if header[8] == 1 and shown.ndim == 2 else shown
        if disposal == CLEARED or frame.control is None:
            canvas[place] = 0
        elif disposal == RESTORED:
            canvas[place] = before


def _with_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """Add an opaque alpha to pixels (H, W, C)."""
    opaque = np.full((*pixels.shape[:2], 1), np.iinfo(pixels.dtype).max, pixels.dtype)
    return np.concatenate([pixels, opaque], axis=2)


def _over(above: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
    """Blend pixels (H, W, C) with alpha, as Porter and Duff 1984 define "over"."""
    full = np.iinfo(above.dtype).max
    a, b = above[..., -1:] / full, below[..., -1:] / full
    alpha = a + b * (1 - a)
    colours = (above[..., :-1] * a + below[..., :-1] * b * (1 - a)) / np.where(alpha > 0, alpha, 1)
    blended = np.rint(np.concatenate([colours, alpha * full], axis=2)).astype(above.dtype)
    return np.where(a == 1, above, np.where(a == 0, below, blended))


def write_pages(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write an animation: every frame whole, replacing the one before."""
    file.write(SIGNATURE)
    number, moving = 0, 0
    after: tuple[png.Chunk, ...] = ()
    place = 0
    for begun, picture in enumerate(pictures):
        header, *parts = png.pixel_chunks(picture)
        if not begun:
            before, after = png.ancillary(picture, header[1])
            file.write(png.packed(header) + b"".join(map(png.packed, before)))
            place = file.tell()
            file.write(png.packed((b"acTL", bytes(8))))
        if picture.duration is not None:
            height, width = picture.size
            control = struct.pack(CONTROL, number, width, height, 0, 0, *_delay(picture), 0, 0)
            file.write(png.packed((b"fcTL", control)))
            number, moving = number + 1, moving + 1
        for _, content in parts:
            if begun:
                content, number = struct.pack(">I", number) + content, number + 1
            file.write(png.packed((b"fdAT" if begun else b"IDAT", content)))
    file.write(b"".join(map(png.packed, (*after, (b"IEND", b"")))))
    file.seek(place)
    file.write(png.packed((b"acTL", struct.pack(">II", moving, like.loops))))


def _delay(picture: Picture) -> tuple[int, int]:
    """Return seconds as a fraction of two 16-bit numbers."""
    if isinstance(picture.coding, png.PngCoding) and picture.coding.delay:
        return picture.coding.delay
    return min(round(picture.duration or 0), 65_535), 1000
