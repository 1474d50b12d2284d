"""Formats so plain that NumPy reads them: PBM, PGM, PPM, PFM (Netpbm) and NPY."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.formats.marks import NETPBM, is_netpbm
from hush.imaging.formats.picture import INTACT, Pages, Picture, check_size
from hush.imaging.formats.tags import Data

ONLY: dict[str, Callable[[Picture], bool]] = {
    ".pbm": lambda picture: picture.pixels.dtype == np.bool_,
    ".pgm": lambda picture: picture.channels == 1 and picture.pixels.dtype.kind == "u",
    ".ppm": lambda picture: picture.pixels.dtype.kind in ("b", "u"),
    ".pfm": lambda picture: picture.pixels.dtype.kind == "f",
}
"""What suffixes of Netpbm files are for; .pnm takes all, and gray in a .ppm is common."""
TOKEN = re.compile(rb"\s+|#[^\r\n]*|[^\s#]+")


@dataclass(frozen=True)
class NetpbmCoding:
    """How a Netpbm file held its picture."""

    text: bool = False  # values in decimal digits
    comments: tuple[bytes, ...] = ()
    scale: float = 1.0  # of a PFM; a remark on its values, not applied to them


def read_netpbm(data: Data) -> Picture:
    """Read PBM (bool, True is white), PGM and PPM (uint8 or uint16 up to the file's own maximum), or PFM (float32).

    Raises PictureError for a file of several pictures.
    """
    picture, end = _read_netpbm(data, 0)
    if is_netpbm(data[end : end + 3]):
        raise PictureError("a Netpbm file of several pictures, where one is taken. Save them as files first")
    return picture


def read_pages_netpbm(data: Data) -> Pages:
    """Read the pictures of a Netpbm file, which may follow on one another."""
    starts = [0]
    while is_netpbm(data[(end := _end(data, starts[-1])) : end + 3]):
        starts.append(end)
    return Pages("netpbm", len(starts), lambda: (_read_netpbm(data, start)[0] for start in starts))


def _end(data: Data, start: int) -> int:
    """Return where a picture ends by its header; one of decimal digits fills the file."""
    magic = data[start : start + 2]
    bits = magic in (b"P1", b"P4")
    (width, height, *rest), _, at = _header(data, start, 2 if bits else 3)
    if magic in (b"P1", b"P2", b"P3"):
        return len(data)
    count = int(width) * int(height) * NETPBM[magic]
    if bits:
        return at + (int(width) + 7) // 8 * int(height)
    return at + count * (4 if magic in (b"Pf", b"PF") else 1 if int(rest[0]) < 256 else 2)


def write_pages_netpbm(file: BinaryIO, pictures: Iterable[Picture], like: Pages, target: Path) -> None:
    """Write pictures one behind the other.

    Raises PictureError for pixels that a suffix denies, unless the file that they are of had it too.
    """
    suffix = target.suffix.lower()
    kept = like.path is not None and like.path.suffix.lower() == suffix
    for picture in pictures:
        kind = "one bit" if picture.pixels.dtype == np.bool_ else picture.pixels.dtype.name
        if not kept and suffix in ONLY and not ONLY[suffix](picture):
            raise PictureError(
                f"{picture.kind} pixels of {kind}, which is no {suffix[1:].upper()}. Name a .pnm or .tif file"
            )
        file.write(write_netpbm(picture))


def _read_netpbm(data: Data, start: int) -> tuple[Picture, int]:
    """Read the picture at an offset; returns it and where it ends."""
    magic = data[start : start + 2]
    bits, floats, text = magic in (b"P1", b"P4"), magic in (b"Pf", b"PF"), magic in (b"P1", b"P2", b"P3")
    (width, height, *rest), comments, at = _header(data, start, 2 if bits else 3)
    if floats:
        dtype, full_scale = ("<f4" if float(rest[0]) < 0 else ">f4"), None
    else:
        maximum = 1 if bits else int(rest[0])
        if not 0 < maximum < 65_536:
            raise PictureError(f"a Netpbm file with the maximum {maximum}; 1 to 65535 is allowed. {INTACT}")
        dtype = "u1" if maximum < 256 else ">u2"
        full_scale = None if bits or maximum in (255, 65_535) else float(maximum)
    shape = (int(height), int(width), NETPBM[magic])
    check_size(*shape, dtype, len(data) - start)
    if text:
        values, end = _digits(data[at:], bits, shape, dtype), len(data)
    else:
        values, end = _raster(data, at, "bits" if bits else dtype, shape)
    if not floats and values.max() > maximum:
        raise PictureError(f"damaged Netpbm file: a value of {values.max()}, its maximum is {maximum}. {INTACT}")
    pixels = values[..., 0] if shape[2] == 1 else values
    pixels = pixels[::-1].copy() if floats else pixels == 0 if bits else pixels
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    coding = NetpbmCoding(text, comments, abs(float(rest[0])) if floats else 1.0)
    return Picture(pixels, format="netpbm", full_scale=full_scale, coding=coding), end


def write_netpbm(picture: Picture) -> bytes:
    """Write gray of one bit, gray or RGB of uint8, uint16 or float32."""
    coding = picture.coding if isinstance(picture.coding, NetpbmCoding) else NetpbmCoding()
    colour = picture.channels == 3
    pixels = picture.pixels.reshape(*picture.size, picture.channels)
    if pixels.dtype == np.bool_:
        magic, last, pixels = b"P4", b"", ~pixels
        raster = np.packbits(pixels[..., 0], axis=1).tobytes()
    elif pixels.dtype.kind == "f":
        magic, last = (b"PF" if colour else b"Pf"), b"%g\n" % -coding.scale
        raster = pixels[::-1].astype("<f4").tobytes()
    else:
        white = picture.full_scale if isinstance(picture.full_scale, float) else np.inf
        maximum = int(min(white, np.iinfo(pixels.dtype).max))
        pixels = np.minimum(pixels, maximum)
        magic, last = (b"P6" if colour else b"P5"), b"%d\n" % maximum
        raster = pixels.astype(">u2" if maximum > 255 else "u1").tobytes()
    if coding.text and magic in (b"P4", b"P5", b"P6"):
        magic = b"P%d" % (magic[1] - ord("0") - 3)
        values = pixels.reshape(-1, picture.channels)
        raster = b"".join(b" ".join(b"%d" % value for value in pixel) + b"\n" for pixel in values)
    comments = b"".join(b"#" + comment + b"\n" for comment in coding.comments)
    height, width = picture.size
    return b"%s\n%s%d %d\n%s%s" % (magic, comments, width, height, last, raster)


def read_npy(data: bytes) -> Picture:
    """Read a NumPy array, shaped (H, W) or (H, W, C); arrays of objects are never unpickled."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject or len(shape) not in (2, 3):
        raise PictureError(f"an array of {dtype}, shape {shape}; numbers in (H, W) or (H, W, C) are taken. Save it so")
    values = np.frombuffer(data, dtype=dtype, offset=file.tell())
    if values.size != np.prod(shape, dtype=object):
        raise PictureError(f"truncated NPY: {values.size} values for the shape {shape}. {INTACT}")
    return Picture(values.reshape(shape, order="F" if fortran else "C").copy(), format="npy")


def write_npy(picture: Picture) -> bytes:
    """Write the pixels as a NumPy array of the same type and shape."""
    file = io.BytesIO()
    np.save(file, picture.pixels, allow_pickle=False)
    return file.getvalue()


def _header(data: Data, start: int, count: int) -> tuple[list[bytes], tuple[bytes, ...], int]:
    """Read the numbers behind the two magic letters; returns them, the comments, and where the raster begins."""
    numbers: list[bytes] = []
    comments: list[bytes] = []
    at = start + 2
    while len(numbers) < count and (match := TOKEN.match(data, at)):
        at = match.end()
        if match[0].startswith(b"#"):
            comments.append(match[0][1:])
        elif not match[0].isspace():
            numbers.append(match[0])
    if len(numbers) < count or not all(number.isdigit() for number in numbers[:2]):
        raise PictureError(f"damaged Netpbm header ({b' '.join(numbers)[:40]!r}). {INTACT}")
    return numbers, tuple(comments), at + 1


def _raster(data: Data, at: int, dtype: str, shape: tuple[int, int, int]) -> tuple[NDArray[Any], int]:
    """Read binary values (H, W, C), rows of bits padded to whole bytes; returns them and where they end."""
    height, width, channels = shape
    row = (width + 7) // 8 if dtype == "bits" else width * channels
    kind = np.dtype("u1" if dtype == "bits" else dtype)
    if len(data) - at < height * row * kind.itemsize:
        raise PictureError(f"truncated Netpbm file: {len(data) - at} bytes for {width}x{height} pixels")
    end = at + height * row * kind.itemsize
    values = np.frombuffer(data[at:end], dtype=kind).reshape(height, row)
    if dtype == "bits":
        values = np.unpackbits(values, axis=1, count=width)
    return values.reshape(shape), end


def _digits(text: bytes, bits: bool, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    """Read decimal values (H, W, C); bits need no space between them."""
    text = re.sub(rb"#[^\r\n]*", b"", text)
    digits = re.findall(rb"[01]" if bits else rb"\d+", text)
    count = shape[0] * shape[1] * shape[2]
    if len(digits) < count:
        raise PictureError(f"truncated Netpbm file: {len(digits)} values for {shape[1]}x{shape[0]} pixels")
    values = np.array(digits[:count], dtype="S").astype(np.int64)
    return np.minimum(values, np.iinfo(dtype).max).astype(dtype).reshape(shape)
