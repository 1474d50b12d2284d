"""WebP: pictures and animations; the container is read and written here, the pixels by Pillow."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from hush.errors import PictureError
from hush.imaging.formats.picture import INTACT, Metadata, Pages, Picture, check_size
from hush.imaging.formats.pillow import (
    QUALITY,
    PillowCoding,
    decode,
    encode,
    make_picture,
    metadata_of,
    moving_frames,
    opened,
    own_coding,
)
from hush.imaging.formats.previews import refreshed
from hush.imaging.formats.tags import Data

Chunk = tuple[bytes, bytes]
PROFILE, ALPHA, HAS_EXIF, HAS_XMP, MOVING = 0x20, 0x10, 0x08, 0x04, 0x02  # flags of the VP8X chunk
REPLACE = 0x02  # flag of a frame: it is not blended with the one before
CODED = (b"ALPH", b"VP8 ", b"VP8L")
LONGEST = 2**24 - 1  # milliseconds that 24 bits hold
LARGEST = 2**14 - 1  # pixels a side that a coded picture has


def read(data: bytes) -> Picture:
    """Read a still WebP: RGB, with or without alpha."""
    chunks = split(data)
    pixels, info, _ = decode("WebP", data)
    return make_picture("webp", pixels, info, _coding(chunks))


def write(picture: Picture) -> bytes:
    """Write uint8 RGB, with or without alpha: lossless if it came so, with colour under full transparency kept."""
    coding = own_coding(picture, "webp")
    return encode(picture, "WebP", lossless=coding.lossless, exact=True, quality=coding.quality, method=4)


def read_pages(data: Data) -> Pages:
    """Read a still WebP, or the frames of an animation one by one."""
    data = data[:]
    chunks = split(data)
    moving = [content for name, content in chunks if name == b"ANMF"]
    if not moving:
        picture = read(data)
        return Pages("webp", 1, lambda: iter([picture]))
    header = next((content for name, content in chunks if name == b"ANIM" and len(content) >= 6), bytes(6))
    extended = next((content for name, content in chunks if name == b"VP8X" and len(content) >= 10), bytes(10))
    width, height = (int.from_bytes(extended[at : at + 3], "little") + 1 for at in (4, 7))
    check_size(height, width, 4, "u1", len(data))

    def pictures() -> Iterator[Picture]:
        with opened("WebP", data) as image:
            if image.n_frames != len(moving):
                raise PictureError(f"damaged WebP: {len(moving)} frames, {image.n_frames} of them whole. {INTACT}")
            metadata = metadata_of(image.info)
            frames = moving_frames(image, "RGBA" if extended[0] & ALPHA else "RGB")
            for pixels, frame in zip(frames, moving, strict=True):
                duration = int.from_bytes(frame[12:15], "little")
                coding = _coding(split(frame, 16))
                yield Picture(pixels, format="webp", metadata=metadata, coding=coding, duration=duration)

    return Pages("webp", len(moving), pictures, frames=True, loops=header[4] + 256 * header[5], coding=header[:4])


def write_pages(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write an animation: every frame whole, replacing the one before."""
    shown = (picture for picture in pictures if picture.duration is not None)
    first = next(shown)
    metadata = first.metadata
    (height, width), alpha = first.size, first.channels == 4
    if max(height, width) > LARGEST:
        raise PictureError(f"{width}x{height} pixels; a WebP's sides are at most 16383. Name a .tif file")
    behind = ((HAS_EXIF, b"EXIF", refreshed(metadata.exif, first)), (HAS_XMP, b"XMP ", metadata.xmp))
    flags = MOVING | (ALPHA if alpha else 0) | (PROFILE if metadata.icc else 0)
    flags |= sum(flag for flag, _, content in behind if content)
    file.write(b"RIFF\0\0\0\0WEBP")
    _put(file, b"VP8X", bytes([flags, 0, 0, 0]) + _three(width - 1) + _three(height - 1))
    if metadata.icc:
        _put(file, b"ICCP", metadata.icc)
    background = like.coding if like.format == "webp" else bytes(4)
    _put(file, b"ANIM", background + struct.pack("<H", min(like.loops, 65_535)))
    for picture in chain([first], shown):
        coded = [chunk for chunk in split(write(replace(picture, metadata=Metadata()))) if chunk[0] in CODED]
        duration = min(round(picture.duration or 0), LONGEST)
        frame = bytes(6) + _three(width - 1) + _three(height - 1) + _three(duration) + bytes([REPLACE])
        _put(file, b"ANMF", frame + b"".join(_packed(*chunk) for chunk in coded))
    for _, name, content in behind:
        if content:
            _put(file, name, content)
    length = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", length))


def split(data: bytes, at: int = 12) -> list[Chunk]:
    """Part a WebP, or a frame from behind its header, into its chunks."""
    chunks = []
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + (length + 1 & ~1)
    return chunks


def _packed(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _put(file: BinaryIO, name: bytes, content: bytes) -> None:
    file.write(_packed(name, content))


def _three(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _coding(chunks: list[Chunk]) -> PillowCoding:
    """Read how a picture was coded."""
    lossy = next((content for name, content in chunks if name == b"VP8 "), None)
    lossless = any(name == b"VP8L" for name, _ in chunks)
    return PillowCoding("webp", lossless=lossless, quality=QUALITY if lossy is None else estimate_quality(lossy))


def estimate_quality(frame: bytes) -> int:
    """Return the quality at which libwebp quantises as coarsely as a lossy frame (RFC 6386) is, or QUALITY.

    libwebp's steps come from its quality by a cubic curve; segments may have their own, of which the finest counts.
    """
    try:
        step = _finest_step(_Bools(frame[10:]))
    except IndexError:
        return QUALITY
    linear = (1 - step / 127) ** 3
    return min(100, max(1, round(100 * (linear * 1.5 if linear < 0.5 else (linear + 1) / 2))))


def _finest_step(bits: _Bools) -> int:
    """Read a key frame's header up to its quantiser, 0 (fine) to 127."""
    bits.number(2)  # colour space, clamping
    steps: list[int] = []
    relative = True
    if bits.number(1):  # segments
        new_map, new_values = bits.number(1), bits.number(1)
        if new_values:
            relative = not bits.number(1)
            steps = [bits.signed(7) for _ in range(4)]
            for _ in range(4):
                bits.signed(6)
        for _ in range(3 if new_map else 0):
            if bits.number(1):
                bits.number(8)
    bits.number(10)  # the loop filter
    if bits.number(1) and bits.number(1):
        for _ in range(8):
            bits.signed(6)
    bits.number(2)  # partitions
    base = bits.number(7)
    return max(0, min([base + step if relative else step for step in steps] or [base]))


class _Bools:
    """The arithmetic decoder of VP8 for even odds (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.value, self.range, self.shifts, self.at = data[0] * 256 + data[1], 255, 0, 2

    def number(self, bits: int) -> int:
        """Read an unsigned number."""
        value = 0
        for _ in range(bits):
            value = value * 2 + self._bit()
        return value

    def signed(self, bits: int) -> int:
        """Read an optional number with its sign; 0 if it is not there."""
        if not self._bit():
            return 0
        value = self.number(bits)
        return -value if self._bit() else value

    def _bit(self) -> int:
        part = 1 + ((self.range - 1) * 128 >> 8)
        bit = self.value >= part << 8
        if bit:
            self.range, self.value = self.range - part, self.value - (part << 8)
        else:
            self.range = part
        while self.range < 128:
            self.value, self.range, self.shifts = self.value << 1, self.range << 1, self.shifts + 1
            if self.shifts == 8:
                self.shifts, self.value, self.at = 0, self.value | self.data[self.at], self.at + 1
        return int(bit)
