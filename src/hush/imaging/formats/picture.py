"""What a picture file is to hush: pixels, what the file says of them, and how it held them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.arrays import Range
from hush.imaging.formats.tags import Data

INCH = 0.0254  # metres
SMALL = 64 * 2**20  # bytes; pixels that take no more are never a bomb
INTACT = "Get an intact copy"
EXPANSION = 2000  # no codec here packs a photograph tighter; deflate's own limit is 1032 to 1


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels, in a form that any format can take over."""

    icc: bytes | None = None  # ICC colour profile
    exif: bytes | None = None  # a TIFF stream, without the prefix "Exif\0\0"
    xmp: bytes | None = None
    photoshop: bytes | None = None  # Photoshop image resources, which hold IPTC
    dpi: tuple[float, float] | None = None  # pixels per inch: across, down


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as its file holds it.

    ``pixels`` is (H, W) or (H, W, C) in the file's own dtype, stored as in the file: an EXIF orientation is not
    applied but kept, so that what comes out looks like what went in.
    """

    pixels: NDArray[Any]
    path: Path | None = None
    format: str = ""  # its name in FORMATS
    cmyk: bool = False  # four channels are inks, not RGB and alpha
    full_scale: Range | None = None  # value of white, or of black and white, where the file says so
    metadata: Metadata = field(default_factory=Metadata)
    coding: Any = None  # how this format held pixels and metadata; its writer writes the same again
    duration: float | None = None  # milliseconds that a frame of an animation is shown
    nodata: float | None = None  # the value of pixels that hold nothing, where the file says so
    mask: bool = False  # a page that says which pixels of another one count: not a picture to restore

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> int:
        """Return the number of channels, alpha included."""
        return 1 if self.pixels.ndim == 2 else self.pixels.shape[2]

    @property
    def kind(self) -> str:
        """Return what the channels are: gray, gray+alpha, RGB, RGB+alpha or CMYK."""
        if self.cmyk:
            return "CMYK"
        return {1: "gray", 2: "gray+alpha", 3: "RGB", 4: "RGB+alpha"}.get(self.channels, f"{self.channels} channels")


@dataclass(frozen=True, eq=False)
class Pages:
    """The pictures of one file in their order, each read when it is asked for.

    Most files hold one. ``frames`` says that they are the frames of an animation, each of them whole, with its
    ``duration``; else they are pages or planes, which may differ in everything.
    """

    format: str  # its name in FORMATS
    count: int
    open: Callable[[], Iterator[Picture]]  # starts again at the first
    frames: bool = False
    loops: int = 0  # how often an animation is shown; 0 is for ever
    coding: Any = None  # what the file as a whole held beside its pictures
    path: Path | None = None

    def __iter__(self) -> Iterator[Picture]:
        return self.open()

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Format:
    """A file format: how it is recognised, what it holds, and the module that reads and writes it.

    The module is imported when it is needed. It has ``read(data) -> Picture`` and ``write(picture) -> bytes``, and for
    files of several pictures ``read_pages(data) -> Pages`` and ``write_pages(file, pictures, like, target)``; where one
    module serves several formats, the names end in ``suffix``.
    """

    title: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]  # of a file's first bytes
    module: str
    holds: Mapping[str, tuple[str, ...]]  # dtype -> what the channels may be
    pages: bool = False  # it holds several pictures
    frames: bool = False  # and they are an animation
    soft: bool = True  # alpha may lie between transparent and opaque
    suffix: str = ""
    decoding: int = 7  # times the bytes of its pixels that reading a picture holds at most, with the pixels
    encoding: int = 8  # the same for writing it, without them
    needs: Mapping[str, str] = field(default_factory=dict)  # packages that it takes -> the extra that brings them

    def _function(self, name: str) -> Any:
        return getattr(import_module(self.module), name + self.suffix)

    def read(self, data: bytes) -> Picture:
        """Read a file's only picture."""
        return self._function("read")(data)

    def write(self, picture: Picture) -> bytes:
        """Write a picture as the bytes of a file."""
        return self._function("write")(picture)

    def read_pages(self, data: Data) -> Pages:
        """Read all pictures of a file."""
        if self.pages:
            return self._function("read_pages")(data)
        picture = self.read(data[:])
        return Pages(picture.format, 1, lambda: iter([picture]))

    def write_pages(self, file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
        """Write pictures, as they come, into an open file."""
        if self.pages and (len(like) > 1 or like.frames or not self.frames):
            self._function("write_pages")(file, pictures, like, target)
        else:
            file.writelines(map(self.write, pictures))

    def check_holds(self, picture: Picture) -> None:
        """Raise PictureError if this format would change the pixels' type or channels."""
        dtype = picture.pixels.dtype.newbyteorder("=").name
        self.check_written()
        if picture.kind not in self.holds.get(dtype, ()):
            better = ".tif" if picture.cmyk or picture.pixels.dtype.kind == "f" else ".png or .tif"
            held = "; ".join(f"{name} {', '.join(kinds)}" for name, kinds in self.holds.items())
            raise PictureError(
                f"{dtype} {picture.kind} pixels; {self.title} holds {held}. Name a {better} file, or convert first"
            )
        if not self.soft and "alpha" in picture.kind and not np.isin(picture.pixels[..., -1], (0, 255)).all():
            raise PictureError(
                f"pixels that are half transparent; those of a {self.title} are transparent or not. Name a .png file"
            )

    def check_written(self) -> None:
        """Raise PictureError if this format is read only."""
        if not self.holds:
            raise PictureError(f"{self.title} is read, not written. Name a .tif or .png file")


def check_size(
    height: int, width: int, channels: int, dtype: str | np.dtype[Any], file_bytes: int, *, packed: int = 1
) -> None:
    """Raise PictureError if the size that a file declares is absurd for its bytes, before memory is taken.

    So many values are ``packed`` into a byte: 8 of one bit, of which a blank page of a fax takes next to nothing.
    """
    if min(height, width) < 1:
        raise PictureError(f"damaged file: it declares {width}x{height} pixels. {INTACT}")
    declared = height * width * channels * np.dtype(dtype).itemsize // packed
    if declared > max(SMALL, EXPANSION * file_bytes):
        raise PictureError(
            f"{file_bytes} bytes that declare {width}x{height} pixels ({declared / 2**30:.1f} GiB); "
            f"at most {EXPANSION} bytes of pixels per byte are believed. If the picture is real, store it as TIFF"
        )
