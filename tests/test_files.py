"""Pictures come back from disk as they went there; whatever cannot is refused in one line."""

from __future__ import annotations

import errno
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from conftest import shared_data
from hush.errors import MissingExtra, PictureError
from hush.imaging import files
from hush.imaging.files import Metadata, Picture, read, write
from hush.imaging.finding import find_pictures, is_picture, output_path
from hush.imaging.formats import FORMATS, png, tiff
from hush.imaging.formats.jpeg import JpegCoding
from hush.imaging.formats.picture import check_size
from hush.imaging.formats.tags import byte_order, directories
from hush.imaging.layouts import read_layout

RNG = np.random.default_rng(0)
CHANNELS = {"gray": 1, "gray+alpha": 2, "RGB": 3, "RGB+alpha": 4, "CMYK": 4}
LOSSY = ("jpeg", "webp", "avif", "gif", "heif")
EXTRAS = {"heif": "pillow_heif", "exr": "OpenEXR"}
WRITTEN = [name for name in FORMATS if name != "raw" and (name not in EXTRAS or find_spec(EXTRAS[name]))]
HELD = [(name, dtype, kind) for name in WRITTEN for dtype, kinds in FORMATS[name].holds.items() for kind in kinds]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def exif_stream() -> bytes:
    """Return EXIF with an orientation, a camera and an exposure time, as Pillow writes it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 125)
    return exif.tobytes().removeprefix(b"Exif\0\0")


def smooth(height: int = 40, width: int = 56) -> np.ndarray:
    """Return a smooth RGB picture, which codecs with loss change little."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 4 + 40, columns * 3 + 30, (rows + columns) * 2 + 20], axis=2).astype(np.uint8)


def suffix(name: str) -> str:
    return FORMATS[name].suffixes[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (21, 1), (17, 14)])
@pytest.mark.parametrize(("name", "dtype", "kind"), HELD)
def test_every_format_returns_what_it_holds(
    name: str, dtype: str, kind: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    channels = CHANNELS[kind]
    values = RNG.integers(0, 65_536, (*shape, channels) if channels > 1 else shape)
    pixels = (values > 32_767) if dtype == "bool" else (values - 99).astype(dtype)
    if name == "gif" and channels == 4:
        pixels[..., 3] = 255
        pixels[0, 0, 3] = 0  # a GIF has alpha where a pixel is transparent
    picture = read(write(tmp_path / f"x{suffix(name)}", Picture(pixels, cmyk=kind == "CMYK")))
    assert (picture.format, picture.kind, picture.pixels.dtype) == (name, kind, pixels.dtype)
    assert picture.size == shape
    if name not in LOSSY:
        np.testing.assert_array_equal(picture.pixels, pixels)
        again = FORMATS[name].read(FORMATS[name].write(picture))
        np.testing.assert_array_equal(again.pixels, pixels)
        assert name == "exr" or again.coding == picture.coding  # of arrays, which its own tests compare


@pytest.mark.parametrize("name", [name for name in LOSSY if name in WRITTEN and name != "gif"])
def test_formats_with_loss_stay_near(name: str, tmp_path: Path) -> None:
    picture = read(write(tmp_path / f"x{suffix(name)}", Picture(smooth())))
    assert np.abs(picture.pixels.astype(int) - smooth()).mean() < 1.5


@pytest.mark.parametrize("name", ["jpeg", "tiff", "png", "webp", "avif"])
@pytest.mark.parametrize("source", ["jpeg", "tiff", "png"])
def test_metadata_survive_and_travel(source: str, name: str, tmp_path: Path) -> None:
    metadata = Metadata(icc=PROFILE, exif=exif_stream(), xmp=XMP, dpi=(300.0, 300.0))
    first = read(write(tmp_path / f"a{suffix(source)}", Picture(smooth(), metadata=metadata)))
    target = write(tmp_path / f"b{suffix(name)}", first)
    seen = read(target).metadata
    assert seen.icc == PROFILE
    assert seen.xmp == XMP
    if source == name:
        assert seen == first.metadata
    with Image.open(target) as judge:
        assert judge.info["icc_profile"] == PROFILE
        exif = judge.getexif()
        assert (exif[0x0112], exif[0x010F]) == (6, "Camera")
        assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(1 / 125)
        if name not in ("webp", "avif"):
            assert judge.info["dpi"] == pytest.approx((300, 300), abs=0.02)


def test_a_blank_page_of_a_large_scan_is_believed(tmp_path: Path) -> None:
    """In CCITT G4 white takes next to nothing."""
    Image.new("1", (8200, 8300), 1).save(tmp_path / "a.tif", compression="group4")
    assert 2000 * (tmp_path / "a.tif").stat().st_size < 8200 * 8300
    pixels = read(tmp_path / "a.tif").pixels
    assert (pixels.shape, pixels.dtype) == ((8300, 8200), bool)
    assert pixels.all()
    assert read_layout(tmp_path / "a.tif") is not None
    with pytest.raises(PictureError, match="at most 2000 bytes of pixels per byte are believed"):
        check_size(8200, 80 * 8300, 1, bool, 5000, packed=8)


def test_jpeg_is_written_with_its_own_tables_subsampling_and_segments(tmp_path: Path) -> None:
    for quality, subsampling, progressive in ((35, "4:2:0", False), (88, "4:2:2", True), (97, "4:4:4", False)):
        source = tmp_path / "x.jpg"
        Image.fromarray(smooth()).save(
            source, quality=quality, subsampling=subsampling, progressive=progressive, comment=b"hello",
            icc_profile=PROFILE * 40, xmp=XMP, exif=b"Exif\0\0" + exif_stream(), dpi=(72, 72),
        )  # fmt: skip
        picture = read(source)
        assert picture.metadata.icc == PROFILE * 40  # over several segments
        target = write(tmp_path / "y.jpg", picture, overwrite=True)
        assert read(target).coding == picture.coding
        with Image.open(source) as before, Image.open(target) as after:
            assert before.quantization == after.quantization
            assert before.info == after.info
            assert before.layer == after.layer


def test_jpeg_that_stores_luminance_and_inks_keeps_fine_tables(tmp_path: Path) -> None:
    inks = Image.fromarray(smooth()).convert("CMYK")
    inks.save(tmp_path / "x.jpg", quality=90)
    picture = read(tmp_path / "x.jpg")
    assert picture.kind == "CMYK"
    with Image.open(tmp_path / "x.jpg") as judge:
        np.testing.assert_array_equal(picture.pixels, np.asarray(judge))
    again = read(write(tmp_path / "y.jpg", picture))
    assert np.abs(again.pixels.astype(int) - picture.pixels).max() <= 4


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_avif_keeps_its_subsampling(subsampling: str, tmp_path: Path) -> None:
    alpha = np.dstack([smooth(), smooth()[..., 0]])
    Image.fromarray(alpha).save(tmp_path / "x.avif", subsampling=subsampling)
    picture = read(tmp_path / "x.avif")
    assert picture.coding.subsampling == subsampling
    assert read(write(tmp_path / "y.avif", picture)).coding.subsampling == subsampling


def test_jpeg_index_of_further_pictures_is_not_copied(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.jpg", extra=b"\xff\xe2\0\x0aMPF\0xxxx\xff\xe5\0\x06stay")
    segments = read(tmp_path / "x.jpg").coding.segments
    assert (0xE5, b"stay") in segments
    assert not any(content.startswith(b"MPF\0") for _, content in segments)


def test_sixteen_bit_colour_stays_sixteen_bits(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65_536, (9, 7, 3), dtype=np.uint16)
    data = write(tmp_path / "x.png", Picture(pixels)).read_bytes()
    assert data[24:26] == b"\x10\x02"  # bit depth, colour type in IHDR
    raw = zlib.decompress(b"".join(content for name, content in png.split(data) if name == b"IDAT"))
    rows = np.frombuffer(raw, np.uint8).reshape(9, 1 + 7 * 6)
    assert (rows[:, 0] == 1).all()  # filter "sub"
    summed = np.cumsum(rows[:, 1:].reshape(9, 7, 6), axis=1, dtype=np.uint8)
    np.testing.assert_array_equal(summed.view(">u2"), pixels)
    np.testing.assert_array_equal(tifffile.imread(write(tmp_path / "x.tif", Picture(pixels))), pixels)


def test_png_chunks_return_verbatim_and_in_their_places(tmp_path: Path) -> None:
    early = [(b"gAMA", struct.pack(">I", 45455)), (b"sBIT", b"\5\6\5"), (b"bKGD", bytes(6)), (b"tEXt", b"Title\0quiet")]
    late = [(b"tIME", bytes([7, 226, 1, 2, 3, 4, 5])), (b"prIv", b"safe to copy"), (b"prIV", b"unsafe to copy")]
    header, *pixels = png.split(png.write(Picture(smooth())))
    (tmp_path / "x.png").write_bytes(png.join([header, *early, *pixels, *late, (b"IEND", b"")]))
    written = png.split(write(tmp_path / "y.png", read(tmp_path / "x.png")).read_bytes())
    assert written == [header, *early, *pixels, *late[:2]]


@pytest.mark.parametrize("name", ["png", "gif", "bmp", "tga"])
def test_palettes_come_back_exactly_and_yield_to_more_colours(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"x{suffix(name)}"
    Image.fromarray(smooth()).quantize(200).save(source)
    picture = read(source)
    target = write(tmp_path / f"y{suffix(name)}", picture)
    with Image.open(source) as before, Image.open(target) as after:
        assert after.mode == "P"
        np.testing.assert_array_equal(np.asarray(after.convert("RGB")), np.asarray(before.convert("RGB")))
    if name != "gif":
        many = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        np.testing.assert_array_equal(read(write(target, replace(picture, pixels=many), overwrite=True)).pixels, many)


def test_png_transparency_of_a_palette_and_of_one_colour_becomes_alpha(tmp_path: Path) -> None:
    Image.fromarray(smooth()).quantize(16).save(tmp_path / "p.png", transparency=bytes(range(0, 160, 10)))
    Image.fromarray(smooth()).save(tmp_path / "k.png", transparency=(40, 30, 20))
    for name in ("p.png", "k.png"):
        picture = read(tmp_path / name)
        with Image.open(tmp_path / name) as judge:
            np.testing.assert_array_equal(picture.pixels, np.asarray(judge.convert("RGBA")))
        again = read(write(tmp_path / f"again-{name}", picture))
        np.testing.assert_array_equal(again.pixels, picture.pixels)


def test_gif_keeps_its_transparent_pixels_and_comment(tmp_path: Path) -> None:
    pixels = np.dstack([smooth() // 64 * 64, np.where(smooth()[..., 0] > 99, 255, 0).astype(np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "x.gif", comment=b"kept")
    picture = read(tmp_path / "x.gif")
    assert picture.kind == "RGB+alpha"
    again = read(write(tmp_path / "y.gif", picture))
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert any(b"kept" in block for block in again.coding.extensions)


def test_tiff_keeps_every_tag_compression_tiles_and_byte_order_does_not_matter(tmp_path: Path) -> None:
    extra = [(65_000, "H", 3, (1, 2, 65_535), True), (65_001, "s", 0, "a long text of its own", True),
             (65_002, "d", 2, (0.5, -3.25), True), (34_377, "B", 4, b"8BIM", True)]  # fmt: skip
    for order in "<>":
        source = tmp_path / "x.tif"
        tifffile.imwrite(
            source, smooth(48, 64).astype(np.uint16) * 200, byteorder=order, photometric="rgb", compression="zlib",
            predictor=True, tile=(16, 32), bigtiff=order == ">", description="of a cell", software="microscope",
            resolution=(1181.1, 590.5), resolutionunit="CENTIMETER", extratags=extra, metadata=None,
        )  # fmt: skip
        target = write(tmp_path / "y.tif", read(source), overwrite=True)
        with tifffile.TiffFile(source) as before, tifffile.TiffFile(target) as after:
            np.testing.assert_array_equal(after.asarray(), before.asarray())
            assert (after.is_bigtiff, after.pages[0].tile) == (before.is_bigtiff, before.pages[0].tile)
            assert (after.pages[0].compression, after.pages[0].predictor) == (8, 2)
            values = [{tag.code: tag.value for tag in file.pages[0].tags if tag.code not in tiff.STORAGE}
                      for file in (before, after)]  # fmt: skip
            assert values[0] == values[1]
            assert 65_002 in values[1]


def test_tiff_alpha_that_is_multiplied_into_the_colours_stays_so(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    for order in "<>":
        tifffile.imwrite(tmp_path / "x.tif", pixels, byteorder=order, photometric="rgb", extrasamples=["assocalpha"])
        picture = read(tmp_path / "x.tif")
        np.testing.assert_array_equal(picture.pixels, pixels)
        with tifffile.TiffFile(write(tmp_path / "y.tif", picture, overwrite=True)) as judge:
            np.testing.assert_array_equal(judge.asarray(), pixels)
            assert judge.pages[0].extrasamples == (1,)


def test_tiff_where_zero_is_white_stays_so(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65_536, (20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="miniswhite")
    picture = read(tmp_path / "x.tif")
    np.testing.assert_array_equal(picture.pixels, 65_535 - pixels)
    with tifffile.TiffFile(write(tmp_path / "y.tif", picture)) as judge:
        np.testing.assert_array_equal(judge.asarray(), pixels)
        assert judge.pages[0].photometric == 0


def test_netpbm_keeps_its_maximum_comment_and_digits(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P2\n# from a scanner\n3 2\n4095\n0 1 2\n4095 7 8\n")
    picture = read(tmp_path / "x.pgm")
    assert (picture.full_scale, picture.pixels.dtype) == (4095, np.uint16)
    np.testing.assert_array_equal(picture.pixels, [[0, 1, 2], [4095, 7, 8]])
    brighter = replace(picture, pixels=picture.pixels + np.uint16(5))
    again = read(write(tmp_path / "y.pgm", brighter))
    assert again.coding == picture.coding
    assert again.pixels.max() == 4095
    (tmp_path / "x.pbm").write_bytes(b"P1\n3 2\n101\n0 1 0\n")
    np.testing.assert_array_equal(read(tmp_path / "x.pbm").pixels, [[False, True, False], [True, False, True]])


def test_orientation_stays_a_tag_and_is_applied_by_nobody(tmp_path: Path) -> None:
    for name in ("jpeg", "tiff", "png", "webp", "avif"):
        source = tmp_path / f"x{suffix(name)}"
        write(source, Picture(smooth(), metadata=Metadata(exif=exif_stream())))
        picture = read(source)
        assert picture.size == (40, 56)
        with Image.open(write(tmp_path / f"y{suffix(name)}", picture)) as judge:
            assert judge.getexif()[0x0112] == 6


def test_the_content_tells_the_format_and_the_name_does_not_change_it(tmp_path: Path) -> None:
    data = write(tmp_path / "x.png", Picture(smooth())).read_bytes()
    (tmp_path / "x.jpg").write_bytes(data)
    picture = read(tmp_path / "x.jpg")
    assert picture.format == "png"
    assert write(tmp_path / "x-hush.jpg", picture).read_bytes() == data
    assert read(write(tmp_path / "x.jpeg", picture)).format == "jpeg"  # this one was asked for


# Bad input


def broken_files(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return contents that are no picture, by name, with words of the refusal."""
    picture = Picture(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = {name: write(folder / f"whole{suffix(name)}", picture).read_bytes() for name in WRITTEN if name != "exr"}
    half = {name: content[: len(content) * 2 // 3] for name, content in data.items()}
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = png.join([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9999))), (b"IEND", b"")])
    npy_bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy_bomb, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)})
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 99, 200)]
    moving: dict[str, bytes] = {}
    for kind in ("png", "gif", "webp", "tiff"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        moving[kind] = buffer.getvalue()
    return {
        "empty.png": (b"", "0 bytes"),
        "text.jpg": (b"this is not a picture", "begins with"),
        "bomb.png": (bomb, "60000x60000"),
        "bomb.ppm": (b"P6 60000 60000 255\n" + bytes(99), "60000x60000"),
        "bomb.npy": (npy_bomb.getvalue(), "truncated"),
        "bomb.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\1D\0;", "65535x65535"),
        "zero.gif": (b"GIF89a\0\0\0\0\0\0\0,\0\0\0\0\0\0\0\0\0\2\1D\0;", "zero.gif"),
        "negative.ppm": (b"P6 -5 8 255\n" + bytes(99), "header"),
        "gray.jpg": (half["jpeg"] + b"\xff\xd9", "premature end"),  # libjpeg would fill it with gray
        "five.npy": (_npy(np.zeros((4, 4, 5))), "5 channels"),
        "zero.npy": (_npy(np.zeros((4, 4, 0))), "0 channels"),
        "nan.npy": (_npy(np.array([[np.nan, 1]])), "1 of 2 values are NaN"),
        "object.npy": (_npy(np.array([[None]])), "object"),
        "integers.tif": (_tif(np.zeros((4, 4), np.int32)), "32 signed bits"),
        "five.tif": (_tif(np.zeros((4, 4, 5), np.uint8), photometric="rgb", planarconfig="contig"), "5 channels"),
        "nan.tif": (_tif(np.full((4, 4), np.nan, np.float32)), "NaN"),
        "stack.tif": (_tif(np.zeros((5, 4, 4), np.uint16), imagej=True), "several pages"),
        "photo.jxl": (b"\xff\x0a" + bytes(40), "JPEG XL is not read"),
        "photo.pam": (b"P7\nWIDTH 1\n", "PAM is not read"),
        **{f"moving{suffix(name)}": (content, "is taken") for name, content in moving.items()},
        **{f"half{suffix(name)}": (content, f"half{suffix(name)}") for name, content in half.items()},
    }


def refusal(path: Path) -> str:
    """Return why a file is not read."""
    try:
        read(path)
    except PictureError as error:
        return str(error)
    return f"{path} was read"


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _tif(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def test_bad_files_are_refused_in_one_line_and_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, (content, words) in broken_files(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        message = refusal(path)
        assert words in message
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo1.png").touch()
    with pytest.raises(PictureError, match=r"no such file \(did you mean 'photo1.png'\?\)"):
        read(tmp_path / "photo.png")
    with pytest.raises(PictureError, match="a folder"):
        read(tmp_path)
    with pytest.raises(PictureError, match="no such file"):
        read(tmp_path / "nowhere" / "photo.png")


def test_absurd_sizes_are_refused_and_real_ones_are_not() -> None:
    check_size(10_000, 10_000, 3, "uint8", 300_000)  # 100 megapixels of one colour, deflated
    check_size(8_000, 8_000, 1, "uint8", 1)  # little enough
    with pytest.raises(PictureError, match="believed"):
        check_size(65_500, 65_500, 3, "uint8", 100_000)


@pytest.mark.parametrize(
    ("name", "picture", "words"),
    [
        ("x.jpg", Picture(np.zeros((4, 4, 3), np.uint16)), "uint16 RGB pixels; JPEG holds uint8 gray, RGB, CMYK"),
        ("x.jpg", Picture(np.zeros((4, 4, 4), np.uint8)), "RGB\\+alpha pixels"),
        ("x.png", Picture(np.zeros((4, 4, 4), np.uint8), cmyk=True), "CMYK pixels.*Name a .tif file"),
        ("x.png", Picture(np.zeros((4, 4))), "float64 gray.*Name a .tif file"),
        ("x.webp", Picture(np.zeros((4, 4), np.uint8)), "WebP holds uint8 RGB"),
        ("x.gif", Picture(np.full((4, 4, 4), 77, np.uint8)), "half transparent"),
        ("x.png", Picture(np.zeros((4, 4, 5), np.uint8)), "5 channels"),
        ("x.xyz", Picture(np.zeros((4, 4), np.uint8)), "suffix '.xyz'. Choose one of (?!.*nef)"),
        ("no/x.png", Picture(np.zeros((4, 4), np.uint8)), "there is no folder"),
    ],
)
def test_what_a_format_would_change_is_not_written(name: str, picture: Picture, words: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=words) as caught:
        write(tmp_path / name, picture)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# Writing is all or nothing


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(PictureError, match="a folder or device"):
        write(tmp_path / "x.png", Picture(np.zeros((4, 4), np.uint8)), overwrite=True)
    assert (tmp_path / "x.png").is_fifo()


def test_nothing_is_overwritten_unless_told(tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    target.write_bytes(b"mine")
    target.chmod(0o640)
    with pytest.raises(PictureError, match="exists already"):
        write(target, Picture(smooth()))
    assert target.read_bytes() == b"mine"
    link = tmp_path / "link.png"
    link.symlink_to(target)
    write(link, Picture(smooth()), overwrite=True)
    assert link.is_symlink()
    assert read(target).size == (40, 56)
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "x.png"]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")]
)
def test_a_refusing_disk_leaves_nothing_behind(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: BinaryIO, *rest: object) -> None:
        file.write(b"half of a picture")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_encode", half)
    with pytest.raises(PictureError, match=words):
        write(tmp_path / "x.png", Picture(smooth()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match="no permission"):
        write(tmp_path / "x.png", Picture(smooth()))
    tmp_path.chmod(0o700)


FULL_DISK = """
import resource, signal, sys
import numpy as np
from hush.errors import MissingExtra, PictureError
from hush.imaging.layouts import read_layout
from hush.imaging.files import Picture, write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name in sys.argv[1:]:
    try:
        write(name, Picture(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)))
    except PictureError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_a_full_disk_costs_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    names = [str(tmp_path / f"x{suffix(name)}") for name in ("png", "tiff", "jpeg", "npy")]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *names], capture_output=True, text=True, check=True)
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == names
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
import numpy as np
from hush.imaging import files
from hush.imaging.layouts import read_layout
from hush.imaging.files import Picture, write

def stall(file, *rest):
    file.write(b"half of a picture")
    file.flush()
    time.sleep(60)

files._encode = stall
write(sys.argv[1], Picture(np.zeros((64, 64, 3), np.uint8)), overwrite=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("before", [None, b"the old picture"])
def test_a_kill_in_the_middle_of_writing_leaves_no_half_picture(before: bytes | None, tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    if before is not None:
        target.write_bytes(before)
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(target)])
    try:
        wait_for(lambda: any(path.stat().st_size for path in tmp_path.glob(".hush-*.part")))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (target.read_bytes() if target.exists() else None) == before
    leftover = next(tmp_path.glob(".hush-*.part"))
    assert not is_picture(leftover)  # so a later run does not take it for one


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


# Finding


def test_find_pictures_takes_files_folders_and_patterns_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.png", "b2.PNG", "a.jpg", "a-hush.jpg", "only-hush.jpg", "notes.txt", ".hidden.png", "sub/c.tif",
                 "p[1].png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*inputs: Path | str, recursive: bool = False) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in find_pictures(inputs, recursive=recursive)]

    assert names(tmp_path) == ["a.jpg", "b2.PNG", "b10.png", "only-hush.jpg", "p[1].png"]
    assert names(tmp_path, recursive=True)[-1] == "sub/c.tif"
    assert names(tmp_path / "b*") == ["b2.PNG", "b10.png"]
    assert names(tmp_path / "**" / "*.tif", recursive=True) == ["sub/c.tif"]
    assert names(tmp_path / "p[1].png", tmp_path / "p[1].png") == ["p[1].png"]
    assert names(tmp_path / "missing.png", tmp_path / "a.jpg") == ["missing.png", "a.jpg"]
    for nothing in ([], [tmp_path / "sub" / "*.png"], [str(tmp_path / "empty?")]):
        with pytest.raises(PictureError, match="no pictures found"):
            find_pictures(nothing)


def test_output_path_lies_beside_the_source_or_where_told() -> None:
    assert output_path("in/photo.jpg", None) == Path("in/photo-hush.jpg")
    assert output_path("in/photo.jpg", "out.png") == Path("out.png")
    assert output_path("in/photo.jpg", "out", out_is_folder=True) == Path("out/photo.jpg")
    assert output_path("in/photo.jpg", "in", out_is_folder=True) == Path("in/photo-hush.jpg")
    assert output_path("in/sub/a.v2.tif", "out", out_is_folder=True, base="in") == Path("out/sub/a.v2.tif")


# The odd files


def plain(metadata: Metadata) -> tuple[Metadata, Any]:
    """Return metadata and the tags of their EXIF, without its thumbnail, which is made anew."""
    return replace(metadata, exif=None), directories(metadata.exif or b"")


def test_odd_files_return_with_their_metadata_or_are_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = {}
    for source in sorted(shared_data("formats").iterdir()):
        try:
            picture = read(source)
        except (PictureError, MissingExtra) as error:
            refused[source.name] = str(error)
            continue
        again = read(write(tmp_path / source.name, picture))
        assert plain(again.metadata) == plain(picture.metadata), source.name
        assert (again.format, again.kind, again.pixels.dtype) == (picture.format, picture.kind, picture.pixels.dtype)
        difference = np.abs(again.pixels.astype(float) - picture.pixels.astype(float)).mean()
        lossy = picture.format in ("jpeg", "avif", "heif") or (picture.format == "webp" and not picture.coding.lossless)
        coarse = picture.format in ("avif", "heif")  # coded anew, nearly as coarsely as they were
        assert difference <= (4 if coarse else 2 if lossy else 0), source.name
        if isinstance(picture.coding, JpegCoding):
            assert [s for s in again.coding.segments if not s[1].startswith(b"Exif")] == [
                s for s in picture.coding.segments if not s[1].startswith(b"Exif")
            ]
    assert capfd.readouterr() == ("", "")
    assert not any("\n" in message for message in refused.values())
    heif = [] if "heif" in WRITTEN else ["hopper.heif", "samplefilehub.heif"]
    assert set(refused) == {
        "12bit.cropped.tif", "broken.png", "broken_data_stream.png", "decompression_bomb.gif",
        "dispose_none.gif", "lab.tif", "mode_16bit.png", "multipage.tiff", "negative_size.ppm",
        "text_named.jpg", "truncated_image.png", "truncated_jpeg.jpg", "zero_bytes.png",
        "zero_width.gif",
        *heif,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize(("kind", "samples"), [("minisblack", 2), ("miniswhite", 2), ("rgb", 3), ("rgb", 4)])
@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (16, 16)}], ids=["strips", "tiles"])
def test_samples_in_planes_of_their_own_are_what_they_are_side_by_side(
    dtype: str, kind: str, samples: int, options: dict[str, Any], tmp_path: Path
) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (samples, 40, 33)).astype(dtype)
    alpha: Any = {"extrasamples": ["unassalpha"] if samples in (2, 4) else None}
    options = options | alpha | {"photometric": kind, "metadata": None, "byteorder": ">", "compression": "zlib"}
    tifffile.imwrite(tmp_path / "apart.tif", planes, planarconfig="separate", **options)
    tifffile.imwrite(tmp_path / "mixed.tif", np.moveaxis(planes, 0, -1), planarconfig="contig", **options)
    apart, mixed = (read(tmp_path / f"{name}.tif") for name in ("apart", "mixed"))
    np.testing.assert_array_equal(apart.pixels, mixed.pixels)
    assert apart.pixels.dtype == dtype
    assert np.array_equal(read(write(tmp_path / "y.tif", apart)).pixels, apart.pixels)


def test_planes_may_declare_their_least_and_largest_value(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 4000, (3, 40, 64)).astype(np.uint16)
    bounds = [(340, "H", 3, (0, 0, 0), True), (341, "H", 3, (4095, 4095, 4095), True)]
    kind: Any = {"photometric": "rgb", "planarconfig": "separate", "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", planes, extratags=bounds, **kind)
    picture = read(tmp_path / "x.tif")
    np.testing.assert_array_equal(picture.pixels, np.moveaxis(planes, 0, -1))
    assert picture.full_scale == 4095


@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate"])
def test_planes_in_tiles_may_have_any_compression(compression: str, tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 9, (3, 32, 48), np.uint8)
    pyvips.Image.new_from_array(np.vstack(planes)).tiffsave(
        str(tmp_path / "x.tif"), compression=compression, tile=True, tile_width=16, tile_height=16, predictor="none"
    )
    data = bytearray((tmp_path / "x.tif").read_bytes())  # tall and gray; the same tiles as three planes of a third
    changed = {257: 32, 262: 2, 277: 3, 284: 2}
    for number, tag in directories(data)[0][0].items():
        if number in changed:
            struct.pack_into(byte_order(data) + "H", data, tag.place, changed[number])
    (tmp_path / "x.tif").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, np.moveaxis(planes, 0, -1))


@pytest.mark.parametrize("alpha", [False, True], ids=["gray", "alpha"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_of_which_zero_is_white_stay_so(tmp_path: Path, dtype: str, alpha: bool) -> None:
    values = (np.random.default_rng(0).random((40, 64, 2) if alpha else (40, 64)) * 1000).astype(dtype)
    more: Any = {"extrasamples": ["unassalpha"], "planarconfig": "contig"} if alpha else {}
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite", metadata=None, **more)
    write(tmp_path / "y.tif", read(tmp_path / "x.tif"))
    with tifffile.TiffFile(tmp_path / "y.tif") as written:
        assert written.pages[0].tags["PhotometricInterpretation"].value == 0
        np.testing.assert_array_equal(written.asarray(), values)
