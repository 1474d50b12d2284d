"""GIF: pictures and animations; the container is read and written here, the pixels by Pillow."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.codecs import exact_palette, indexed, pillow_encode, pillow_image
from hush.imaging.formats.picture import INTACT, Metadata, Pages, Picture, check_size
from hush.imaging.formats.pillow import PillowCoding, decode, make_picture, moving_frames, opened, plugin
from hush.imaging.formats.tags import Data

LOOPING = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
PROFILE = b"ICCRGBG1012"
STAYS, CLEARED = 1, 2  # what becomes of a frame before the next one is drawn
TICK = 10  # milliseconds
HIDDEN = 255  # the index of transparent pixels
SAMPLE = (
    16_384  # pixels by which the colours of a palette are chosen; all of them give 10 % less error, 15 times slower
)
FEW = 4_096  # colours of that sample
PORTION = 8_192  # colours that are compared with the palette at a time
SUITS = 1.5  # times the square error of the frame that a palette was chosen for


@dataclass(frozen=True)
class Frame:
    """What a GIF says of one of its pictures."""

    duration: int = 0  # milliseconds
    transparent: bool = False
    disposal: int = 0
    full: bool = True  # covers the canvas


@dataclass(frozen=True)
class Blocks:
    """The parts of a GIF but for its pixels."""

    frames: tuple[Frame, ...]
    extensions: tuple[bytes, ...]  # comments and application data, verbatim
    loops: int  # how often it is shown, 0 for ever
    start: int  # offset behind the global colour table
    pictures: tuple[tuple[int, int], ...]  # where descriptor and pixels of each picture begin and end


def read(data: bytes) -> Picture:
    """Read a GIF of one picture as RGB, with alpha where it has transparent pixels."""
    blocks = split(data)
    if len(blocks.frames) > 1:
        raise PictureError(
            f"a GIF of {len(blocks.frames)} pictures, where one is taken. Save its frames as files first"
        )
    pixels, info, _ = decode("Gif", data)
    if pixels.ndim == 2:  # Pillow finds that its palette is gray; a GIF written from it would not show that
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    picture = make_picture("gif", pixels, info, PillowCoding("gif", extensions=blocks.extensions))
    return replace(picture, metadata=replace(picture.metadata, icc=_profile(blocks.extensions)))


def read_pages(data: Data) -> Pages:
    """Read a GIF of one picture, or the frames of an animation, each as it is shown: whole."""
    data = data[:]
    blocks = split(data)
    if len(blocks.frames) < 2:
        picture = read(data)
        return Pages("gif", 1, lambda: iter([picture]))
    width, height = struct.unpack_from("<HH", data, 6)
    check_size(height, width, 4, "u1", len(data))
    alpha = any(f.transparent or f.disposal == CLEARED for f in blocks.frames) or not blocks.frames[0].full

    def pictures() -> Iterator[Picture]:
        coding, metadata = PillowCoding("gif", extensions=blocks.extensions), Metadata(_profile(blocks.extensions))
        with opened("Gif", data) as image:
            if image.n_frames != len(blocks.frames):
                raise PictureError(f"damaged GIF: {len(blocks.frames)} frames, {image.n_frames} whole. {INTACT}")
            for frame, pixels in zip(blocks.frames, moving_frames(image, "RGBA" if alpha else "RGB"), strict=True):
                yield Picture(pixels, format="gif", metadata=metadata, coding=coding, duration=frame.duration)

    return Pages("gif", len(blocks.frames), pictures, frames=True, loops=blocks.loops, coding=blocks.extensions)


def write(picture: Picture) -> bytes:
    """Write uint8 RGB, with or without alpha of 0 and 255: exact up to 256 colours, else the nearest of a palette."""
    encoded = _Palettes().encode(picture)
    at = split(encoded).start
    coding = picture.coding
    own = isinstance(coding, PillowCoding) and coding.format == "gif"
    extensions = coding.extensions if own else _with_profile(picture.metadata.icc)
    return b"GIF89a" + encoded[6:at] + b"".join(extensions) + encoded[at:]


def write_pages(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write an animation: every frame whole, with its palette."""
    begun, palettes = False, _Palettes()
    for picture in pictures:
        if picture.duration is None:
            continue  # the still picture that stands in for an animated PNG
        if not begun:
            begun = True
            file.write(b"GIF89a" + struct.pack("<HHBBB", *picture.size[::-1], 0x70, 0, 0))
            if like.loops != 1:  # this block counts the repetitions after the first
                times = struct.pack("<H", min(max(like.loops - 1, 0), 65_535))
                file.write(b"\x21\xff\x0b" + LOOPING[0] + b"\x03\x01" + times + b"\0")
            file.write(b"".join(like.coding if like.format == "gif" else _with_profile(picture.metadata.icc)))
        file.write(_frame(picture, palettes))
    file.write(b"\x3b")


def _profile(extensions: Iterable[bytes]) -> bytes | None:
    """Return the ICC profile among extensions, in the parts of up to 255 bytes that GIF divides it into."""
    for extension in extensions:
        if extension[3:14] == PROFILE:
            parts, at = [], 14
            while extension[at]:
                parts.append(extension[at + 1 : at + 1 + extension[at]])
                at += 1 + extension[at]
            return b"".join(parts)
    return None


def _with_profile(icc: bytes | None) -> tuple[bytes, ...]:
    """Return the extension that holds an ICC profile (ICC.1:2022, B.5), if there is one."""
    if not icc:
        return ()
    parts = [icc[at : at + 255] for at in range(0, len(icc), 255)]
    return (b"\x21\xff\x0b" + PROFILE + b"".join(bytes([len(part)]) + part for part in parts) + b"\0",)


def _frame(picture: Picture, palettes: _Palettes) -> bytes:
    """Encode a frame as its control block, descriptor, colours and pixels."""
    encoded = palettes.encode(picture)
    blocks = split(encoded)
    control = encoded.find(b"\x21\xf9\x04", blocks.start, blocks.pictures[0][0])
    alpha = picture.channels == 4
    # an opaque frame says so too, by an index that it has no pixel of: Pillow else clears the canvas to a colour
    hidden = encoded[control + 6] if blocks.frames[0].transparent else HIDDEN if alpha else 0
    flags = (CLEARED if alpha else STAYS) << 2 | alpha
    delay = min(round((picture.duration or 0) / TICK), 65_535)
    begin, end = blocks.pictures[0]
    descriptor = bytearray(encoded[begin : begin + 10])
    colours = encoded[13 : blocks.start]
    descriptor[9] = descriptor[9] & 0x40 | 0x80 | encoded[10] & 7  # interlaced as it is; the colours are its own
    return (
        b"\x21\xf9\x04"
        + struct.pack("<BHBB", flags, delay, hidden, 0)
        + descriptor
        + colours
        + encoded[begin + 10 : end]
    )


def split(data: bytes) -> Blocks:
    """Walk through a GIF's blocks; raises PictureError if it is cut off."""
    frames: list[Frame] = []
    extensions: list[bytes] = []
    pictures: list[tuple[int, int]] = []
    loops, control = 1, bytes(4)
    try:
        canvas = data[6:10]
        start = at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
        while data[at] != 0x3B:
            block = at
            if data[at] == 0x21:
                label, at = data[at + 1], at + 2
            elif data[at] == 0x2C:
                label, flags, full = 0, data[at + 9], data[at + 1 : at + 9] == bytes(4) + canvas
                delay = struct.unpack_from("<H", control, 1)[0] * TICK
                frames.append(Frame(delay, bool(control[0] & 1), control[0] >> 2 & 7, full))
                control = bytes(4)
                at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
            else:
                raise PictureError(f"damaged GIF: a block of unknown kind. {INTACT}")
            while data[at]:
                at += 1 + data[at]
            at += 1
            if label == 0:
                pictures.append((block, at))
            elif label == 0xF9 and data[block + 2] >= 4:
                control = data[block + 3 : block + 7]
            elif label == 0xFF and data[block + 3 : block + 14] in LOOPING:
                times = int.from_bytes(data[block + 16 : block + 18], "little")
                loops = times + 1 if times else 0
            elif label in (0xFE, 0xFF):
                extensions.append(data[block:at])
    except IndexError:
        raise PictureError(f"truncated GIF: it ends within a block. {INTACT}") from None
    return Blocks(tuple(frames), tuple(extensions), loops, start, tuple(pictures))


class _Palettes:
    """Gives pictures palettes: exact where 256 colours suffice, else the nearest of a choice, undithered.

    Dithering would be noise again. A frame keeps the choice of the one before where it suits about as well: new colours
    for each frame would flicker.
    """

    def __init__(self) -> None:
        self._chosen: _Choice | None = None
        self._error = 0.0

    def encode(self, picture: Picture) -> bytes:
        """Encode one picture as a GIF of its own."""
        plugin("Gif")
        rgb = picture.pixels[..., :3]
        if picture.channels < 4:
            return pillow_encode(self._paletted(rgb, 256), "GIF")
        transparent = picture.pixels[..., 3] < 128
        options = {"transparency": HIDDEN} if transparent.any() else {}
        return pillow_encode(self._cut_out(rgb, transparent), "GIF", **options)

    def _cut_out(self, rgb: NDArray[Any], transparent: NDArray[np.bool_]) -> Any:
        """Return a Pillow image with a palette whose last index is the transparent one."""
        if not transparent.any():
            return self._paletted(rgb, HIDDEN)
        hidden = rgb[transparent][0]
        some = rgb[~transparent][0] if not transparent.all() else hidden
        image = self._paletted(np.where(transparent[..., np.newaxis], some, rgb), HIDDEN)
        palette = np.zeros((256, 3), dtype=np.uint8)
        used = np.asarray(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[:HIDDEN]
        palette[: len(used)], palette[HIDDEN] = used, hidden
        return indexed(np.where(transparent, np.uint8(HIDDEN), np.asarray(image)), palette)

    def _paletted(self, rgb: NDArray[Any], room: int) -> Any:
        """Return a Pillow image with a palette of at most ``room`` colours."""
        exact = exact_palette(np.ascontiguousarray(rgb))
        if exact is not None and len(exact[1]) <= room:
            return indexed(*exact)
        if self._chosen is not None:
            indices, error = self._chosen.indices(rgb)
            if error <= SUITS * self._error:
                return indexed(indices, self._chosen.colours)
        self._chosen = _Choice(rgb, room)
        indices, self._error = self._chosen.indices(rgb)
        return indexed(indices, self._chosen.colours)


class _Choice:
    """Colours chosen for a picture, and which of them is nearest to any other.

    That is found once for each colour where the picture has few, as smooth ones do, else for each 2x2x2 of them.
    """

    def __init__(self, rgb: NDArray[Any], room: int) -> None:
        step = max(1, math.isqrt(rgb.shape[0] * rgb.shape[1] // SAMPLE))
        sample = np.ascontiguousarray(rgb[::step, ::step])
        image = pillow_image(sample).quantize(room, kmeans=1)  # moved until they move no more
        self.colours = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)
        self._side = 1 if len(np.unique(sample.reshape(-1, 3), axis=0)) < FEW else 2
        self._nearest = np.zeros((256 // self._side) ** 3, np.uint16)  # the index + 1, or 0 where it is not known yet

    def indices(self, rgb: NDArray[Any]) -> tuple[NDArray[np.uint8], float]:
        """Return the index of the nearest colour for each pixel, and the mean square of how far they are."""
        side, across = self._side, 256 // self._side
        cells = (rgb.astype(np.int32) // side) @ np.array([across**2, across, 1], np.int32)  # (H, W)
        unknown = np.unique(cells[self._nearest[cells] == 0])
        colours = self.colours.astype(np.float32)
        for part in np.array_split(unknown, len(unknown) // PORTION + 1):
            places = np.stack([part // across**2, part // across % across, part % across], axis=1)  # (n, 3)
            middles = side * places + np.float32((side - 1) / 2)
            self._nearest[part] = 1 + (np.square(colours).sum(1) - 2 * middles @ colours.T).argmin(1)
        indices = (self._nearest[cells] - 1).astype(np.uint8)
        return indices, float(np.square(colours[indices] - rgb).mean())
