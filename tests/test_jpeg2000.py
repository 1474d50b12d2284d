"""JPEG 2000: everything around the codestream stays, and the codestream is coded as the file's own was."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hush.errors import PictureError
from hush.imaging.files import Metadata, Picture, read, write
from hush.imaging.formats import jpeg2000
from hush.imaging.formats.sizes import SIZES

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(100, 140, (70, 90, 3)).astype(np.uint8)
GEO = b"uuid", bytes(range(16)) + b"where on earth"


def coded(pixels: np.ndarray, *, bare: bool = False, **options: Any) -> bytes:
    """Return a JPEG 2000, as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", no_jp2=bare, **options)
    return file.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


@pytest.mark.parametrize(
    "pixels",
    [
        COLOUR[..., 0],
        COLOUR[..., :2],
        COLOUR,
        np.dstack([COLOUR, COLOUR[..., 0]]),
        COLOUR[..., 0].astype(np.uint16) * 257,
    ],
    ids=["gray", "gray+alpha", "RGB", "RGB+alpha", "gray of 16 bits"],
)
@pytest.mark.parametrize("bare", [False, True], ids=["jp2", "codestream"])
def test_pixels_are_those_that_pillow_reads_and_come_back_in_a_file_of_the_same_kind(
    pixels: np.ndarray, bare: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.jp2").write_bytes(coded(np.ascontiguousarray(pixels), bare=bare))
    picture = read(tmp_path / "a.jp2")
    np.testing.assert_array_equal(picture.pixels, pixels)
    data = write(tmp_path / "b.jp2", picture).read_bytes()
    assert data.startswith(b"\xff\x4f") == bare
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.jp2")), pixels)
    dtype = "u2" if pixels.dtype == np.uint16 else "u1"
    assert SIZES["jpeg2000"](data) == (*pixels.shape[:2], picture.channels, dtype)


def test_boxes_stay_as_they_are_but_for_the_codestream(tmp_path: Path) -> None:
    data = coded(COLOUR) + box(*GEO) + box(b"xml ", b"<note/>")
    (tmp_path / "a.jp2").write_bytes(data)
    picture = read(tmp_path / "a.jp2")
    assert write(tmp_path / "b.jp2", picture).read_bytes() == data  # without loss the codestream is the same, too
    after = write(tmp_path / "c.jp2", Picture(255 - COLOUR, format="jpeg2000", coding=picture.coding)).read_bytes()
    at = data.index(b"jp2c")
    assert after[: at - 4] == data[: at - 4]
    assert after.endswith(box(*GEO) + box(b"xml ", b"<note/>"))


@pytest.mark.parametrize(
    "options",
    [
        {"tile_size": (64, 32), "num_resolutions": 3, "progression": "RPCL", "codeblock_size": (32, 16), "mct": 1},
        {"irreversible": True, "quality_layers": [12], "mct": 1},
    ],
    ids=["tiles", "lossy"],
)
def test_a_codestream_is_coded_as_it_was(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jp2").write_bytes(coded(COLOUR, **options))
    before = read(tmp_path / "a.jp2")
    after = read(write(tmp_path / "b.jp2", before))
    rates = before.coding.rate, after.coding.rate
    assert rates == (0, 0) if "tile_size" in options else rates[1] == pytest.approx(rates[0], rel=0.02)
    assert vars(after.coding) | {"rate": 0} == vars(before.coding) | {"rate": 0}
    assert before.coding.transform
    if "tile_size" in options:
        assert (before.coding.tile, before.coding.block) == ((64, 32), (32, 16))
        assert (before.coding.resolutions, before.coding.progression) == (3, "RPCL")


@pytest.mark.parametrize("side", [1, 2, 3, 5, 33])
def test_small_pictures_from_other_formats_are_coded_without_loss(side: int, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (side, side + 1, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read(write(tmp_path / "a.jp2", Picture(pixels))).pixels, pixels)


@pytest.mark.parametrize("dpi", [72.0, 96.0, 300.0, 1200.0, 72.5, 0.01, 299.9994, 2e6])
def test_the_resolution_is_a_fraction_that_hits_it(dpi: float, tmp_path: Path) -> None:
    picture = Picture(COLOUR, metadata=Metadata(dpi=(dpi, 2 * dpi)))
    data = write(tmp_path / "a.jp2", picture).read_bytes()
    assert read(tmp_path / "a.jp2").metadata.dpi == pytest.approx((dpi, 2 * dpi), rel=1e-6)
    assert Image.open(io.BytesIO(data)).info["dpi"] == pytest.approx((dpi, 2 * dpi), rel=1e-6)


def test_alpha_is_called_alpha(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jp2", Picture(COLOUR[..., :2])).read_bytes()
    # ISO/IEC 15444-1, I.5.3.6: each channel's number, its kind (0 colour, 1 opacity), and what it belongs to (0: all)
    assert data[data.index(b"cdef") + 4 :].startswith(struct.pack(">H6H", 2, 0, 0, 1, 1, 1, 0))


def patched(start: bytes, at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Return a change of bytes so far behind where others are found."""

    def change(data: bytes) -> bytes:
        place = data.index(start) + at
        return data[:place] + value + data[place + len(value) :]

    return change


SIZ = b"\xff\x51"
REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "12 bits": (patched(SIZ, 40, bytes([11, 1, 1] * 3)), "colour of 12 bits; 8 are taken, and 16 of gray. Convert"),
    "16 bits": (patched(SIZ, 40, bytes([15, 1, 1] * 3)), "colour of 16 bits; 8 are taken, and 16 of gray. Convert"),
    "signed": (patched(SIZ, 40, bytes([135, 1, 1] * 3)), "3 channels are unlike, coarser or signed. Convert"),
    "halved colours": (patched(SIZ, 43, bytes([7, 2, 2] * 2)), "3 channels are unlike, coarser or signed. Convert"),
    "inks": (
        patched(b"colr\1", 7, struct.pack(">I", 12)),
        "in other colours than gray and RGB, or with a palette. Con",
    ),
    "no codestream": (patched(b"jp2c", 0, b"free"), "of 0 codestreams, where one is taken. Convert"),
    "two": (lambda data: data + box(b"jp2c", b""), "of 2 codestreams, where one is taken. Convert"),
    "cut": (lambda data: data[:-400], "damaged or unsupported JPEG 2000 .*Get an intact copy"),
    "damaged": (patched(SIZ, 2, b"\0\0"), "damaged or unsupported JPEG 2000 .*Get an intact copy"),
    "a header alone": (lambda data: data[:12], "of 0 codestreams"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_come_back_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    change, reason = REFUSED[what]
    (tmp_path / "a.jp2").write_bytes(change(coded(COLOUR)))
    with pytest.raises(PictureError, match=rf"a\.jp2: .*{reason}") as caught:
        read(tmp_path / "a.jp2")
    assert "\n" not in str(caught.value)


def test_a_profile_and_what_cameras_say_reach_other_formats_and_come_from_them(tmp_path: Path) -> None:
    said = Metadata(icc=b"profile" * 30, exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", xmp=b"<x:xmpmeta/>", dpi=(300, 300))
    jp2 = jpeg2000.read(jpeg2000.write(Picture(COLOUR, metadata=said)))
    assert jp2.metadata == said
    assert read(write(tmp_path / "b.jp2", jp2)).metadata == said


def test_tiles_of_sixteen_bits_keep_their_pixels(tmp_path: Path) -> None:
    """Pillow 12 writes every tile column but the first from the wrong place; so such files become one tile."""
    pixels = np.arange(130 * 200, dtype=np.uint16).reshape(130, 200)
    Image.fromarray(pixels).save(tmp_path / "tiled.jp2", tile_size=(64, 64))
    picture = replace(read(tmp_path / "tiled.jp2"), pixels=pixels)
    np.testing.assert_array_equal(read(write(tmp_path / "a.jp2", picture)).pixels, pixels)
