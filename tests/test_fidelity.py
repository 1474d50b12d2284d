"""The contract of docs/fidelity.md, line by line: its table is measured here, and must say what is measured.

``python tests/test_fidelity.py`` writes the table anew.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from conftest import shared_data
from hush.errors import MissingExtra, PictureError
from hush.imaging.files import Metadata, Picture, read, read_pages, write, write_pages
from hush.imaging.formats import FORMATS, gif, heif, png
from hush.imaging.formats.picture import Pages
from hush.imaging.formats.pillow import PillowCoding
from hush.imaging.formats.tags import BYTE, LONG, directories

PAGE = Path(__file__).parent.parent / "docs" / "fidelity.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NO = "–"
RNG = np.random.default_rng(0)
KINDS = {"gray": 1, "gray+alpha": 2, "RGB": 3, "RGB+alpha": 4, "CMYK": 4}
DEPTHS = {"bool": "1", "uint8": "8", "uint16": "16", "float16": "half", "float32": "float", "float64": "double"}
EXACT = ("png", "tiff", "bmp", "netpbm", "npy", "exr", "tga", "jpeg2000")

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
IPTC = b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05quiet"
EXIF = b"II*\0\x08\0\0\0\2\0\x0f\1\2\0\4\0\0\0Cam\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
SAID = {"icc": PROFILE, "exif": EXIF, "xmp": XMP, "photoshop": IPTC, "dpi": (300.0, 300.0)}


def smooth(channels: int, dtype: str = "uint8", size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """Return a smooth picture with a little noise, which differs in every channel."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    light = np.stack([40 + rows * (3 - i % 2) + columns * (1 + i % 3) for i in range(channels)], axis=2) / 400
    light = light + RNG.normal(0, 0.004, light.shape)
    full = {"bool": 1, "uint8": 255, "uint16": 65_535}.get(dtype)
    pixels = light if full is None else np.rint(light * full).clip(0, full)
    return (pixels > 0.4 if dtype == "bool" else pixels.astype(dtype))[..., 0 if channels == 1 else slice(None)]


def sample(name: str) -> np.ndarray:
    """Return pixels that a format holds."""
    return smooth(3, "float32" if name == "exr" else "uint8")


def changed(picture: Picture) -> Picture:
    """Return a picture with one pixel a little different, as if restored."""
    pixels = picture.pixels.copy()
    first = pixels[0, 0] if pixels.ndim == 2 else pixels[0, 0, 0]
    one = pixels.dtype.type(1)
    value = not first if pixels.dtype == bool else first - one if first >= 1 else first + one
    pixels[(0, 0) if pixels.ndim == 2 else (0, 0, 0)] = value
    return replace(picture, pixels=pixels)


def trip(name: str, picture: Picture, folder: Path) -> tuple[Picture, Picture, bytes]:
    """Write a picture, read it, change a pixel, write it, read it; returns both pictures read, and the last bytes."""
    suffix = FORMATS[name].suffixes[0]
    before = read(write(folder / f"a{suffix}", picture, overwrite=True))
    target = write(folder / f"b{suffix}", changed(before), overwrite=True)
    return before, read(target), target.read_bytes()


def near(name: str, one: Picture, other: Picture) -> bool:
    """Say whether pixels are equal but for the pixel that was changed, or near where the format loses."""
    if one.pixels.shape != other.pixels.shape or one.pixels.dtype != other.pixels.dtype:
        return False
    if name in EXACT:
        return np.array_equal(changed(one).pixels, other.pixels)
    full = 65_535 if one.pixels.dtype == np.uint16 else 255
    most = {"gif": 0.05, "avif": 0.02, "heif": 0.02}.get(name, 0.012)
    return float(np.abs(one.pixels.astype(float) - other.pixels).mean()) < most * full


# What the columns measure. Each returns the cell for one format.


def size(name: str, folder: Path) -> str:
    for shape in ((1, 1), (1, 9), (21, 1), (17, 14), (64, 48)):
        _, after, _ = trip(name, Picture(smooth(3, str(sample(name).dtype), shape)), folder)
        assert after.size == shape
    return "kept"


def held(name: str, folder: Path) -> list[tuple[str, str]]:
    """Return the types and channels that come back as they went."""
    found = []
    for dtype in DEPTHS:
        for kind, channels in KINDS.items():
            pixels = smooth(channels, dtype)
            if name == "gif" and channels == 4:
                pixels[..., 3] = np.where(pixels[..., 3] > 80, 255, 0)
            try:
                before, after, _ = trip(name, Picture(pixels, cmyk=kind == "CMYK"), folder)
            except PictureError:
                continue  # refused in one line, before anything is written
            if near(name, before, after) and after.kind == kind and after.pixels.dtype == dtype:
                found.append((dtype, kind))
    return found


def bit_depth(name: str, folder: Path) -> str:
    found = list(dict.fromkeys(DEPTHS[dtype] for dtype, _ in held(name, folder)))
    if name in ("heif", "avif"):  # their 16 bits are fewer inside
        for bits in (10, 12):
            coding: Any = heif.HeifCoding(bits) if name == "heif" else PillowCoding("avif", bits=bits)
            picture = Picture(smooth(3, "uint16"), format=name, coding=coding)
            assert [one.coding.bits for one in trip(name, picture, folder)[:2]] == [bits, bits]
        found[1:] = ["10", "12"]
    return ", ".join(found)


def channels(name: str, folder: Path) -> str:
    kinds = {kind for _, kind in held(name, folder)}
    return ", ".join(kind for kind in ("gray", "RGB", "CMYK") if kind in kinds)


def alpha(name: str, folder: Path) -> str:
    """Alpha is returned, and so is the colour under full transparency."""
    if not any("alpha" in kind for kinds in FORMATS[name].holds.values() for kind in kinds):
        return NO
    pixels = smooth(4)
    pixels[:20, :, 3], pixels[20:, :, 3] = 0, 255
    if name != "gif":
        pixels[30:, :, 3] = 77
    before, after, _ = trip(name, Picture(pixels), folder)
    assert np.abs(after.pixels[..., 3].astype(int) - pixels[..., 3]).max() <= (
        0 if name in (*EXACT, "gif", "webp") else 4
    )
    hidden = np.abs(after.pixels[:20, :, :3].astype(int) - before.pixels[:20, :, :3]).mean()
    return "on or off" if name == "gif" else "kept" if hidden < 4 else "kept, hidden colours not"


def stated(part: str) -> Callable[[str, Path], str]:
    """Return the column of one part of the metadata."""

    def measure(name: str, folder: Path) -> str:
        if (name, part) in VERBATIM:
            source, words = VERBATIM[name, part]
            (folder / "v").write_bytes(source())
            target = folder / f"w{FORMATS[name].suffixes[0]}"
            written = write(target, changed(read(folder / "v")), overwrite=True).read_bytes()
            assert words in written
            return "kept"
        _, after, _ = trip(name, Picture(sample(name), metadata=Metadata(**{part: SAID[part]})), folder)
        found = getattr(after.metadata, part)
        if part == "exif" and found is not None:
            tags, wanted = directories(found)[0][0], directories(EXIF)[0][0]
            upright = name == "heif"  # its pixels are, so its orientation is set to 1
            assert tags[0x010F] == wanted[0x010F]
            assert upright or tags[0x0112] == wanted[0x0112]
            return "kept, upright" if upright else "kept"
        if part == "dpi" and found is not None:
            assert found == pytest.approx(SAID["dpi"], abs=0.02)
            return "kept"
        assert found in (None, SAID[part])
        return NO if found is None else "kept"

    return measure


def gif_with(block: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        data = gif.write(Picture(smooth(3)))
        at = gif.split(data).start
        return data[:at] + block + data[at:]

    return make


GIF_XMP = b"\x21\xff\x0bXMP DataXMP" + bytes([len(XMP)]) + XMP + b"\0"
GIF_ICC = b"\x21\xff\x0bICCRGBG1012" + b"\x10" + PROFILE[:16] + b"\0"
VERBATIM: dict[tuple[str, str], tuple[Callable[[], bytes], bytes]] = {
    ("gif", "xmp"): (gif_with(GIF_XMP), GIF_XMP),
    ("gif", "icc"): (gif_with(GIF_ICC), GIF_ICC),
}


def palette(name: str, folder: Path) -> str:
    """A palette stays one, one bit stays one bit."""
    cells = []
    kind = {"tiff": "TIFF", "png": "PNG", "gif": "GIF", "bmp": "BMP", "tga": "TGA"}.get(name)
    if kind:
        source, target = (folder / f"{letter}{FORMATS[name].suffixes[0]}" for letter in "pq")
        Image.fromarray(smooth(3)).quantize(60).save(source, kind)
        write(target, read(source), overwrite=True)
        with Image.open(source) as one, Image.open(target) as other:
            np.testing.assert_array_equal(np.asarray(one.convert("RGB")), np.asarray(other.convert("RGB")))
            cells.append("palette" if other.mode == "P" else "palette to RGB")
    if "bool" in FORMATS[name].holds:
        _, after, _ = trip(name, Picture(smooth(1, "bool")), folder)
        assert after.pixels.dtype == bool
        cells.append("1 bit")
    return ", ".join(cells) or NO


def several(name: str, folder: Path) -> str:
    """Every frame with its duration, the loop; or every page."""
    entry = FORMATS[name]
    if not entry.pages:
        return NO
    source, target = (folder / f"{letter}{entry.suffixes[0]}" for letter in "mn")
    first, *rest = (Image.fromarray(np.roll(smooth(3), 5 * i, axis=1)) for i in range(4))
    if entry.frames:
        first.save(source, save_all=True, append_images=rest, duration=[40, 80, 120, 200], loop=2)
    elif name == "tiff":
        first.save(source, save_all=True, append_images=rest)
    else:
        one = Picture(smooth(3))
        like = replace(read_pages(write(source, one, overwrite=True)), count=4)
        write_pages(source, [one] * 4, like, overwrite=True)
    pages = read_pages(source)
    write_pages(target, (changed(page) for page in pages), pages, overwrite=True)
    again = read_pages(target)
    assert len(again) == len(pages) == 4
    assert (again.loops, again.frames) == (pages.loops, entry.frames)
    assert [page.duration for page in again] == [page.duration for page in pages]
    assert not entry.frames or [page.duration for page in again] == [40, 80, 120, 200]
    assert all(near(name, one, other) for one, other in zip(pages, again, strict=True))
    loop = " and loop" if pages.loops else ""
    return f"every frame, duration{loop}" if entry.frames else "every page"


def quality(name: str, folder: Path) -> str:
    """How coarsely a picture that came with loss is written."""
    if name in EXACT:
        return "exact"
    if name == "gif":
        pixels = smooth(3) // 32 * 32
        before, after, _ = trip(name, Picture(pixels), folder)
        np.testing.assert_array_equal(after.pixels[1:], before.pixels[1:])
        return "exact to 256 colours"
    cells = []
    for kind, options, word in LOSSES:
        if kind == name:
            if name == "heif":
                pytest.importorskip("pillow_heif").register_heif_opener()
            Image.fromarray(smooth(3)).save(folder / "q", name, **options)
            picture = read(folder / "q")
            after = read(write(folder / f"r{FORMATS[name].suffixes[0]}", picture, overwrite=True)).coding
            assert name != "jpeg" or after == picture.coding
            assert name not in ("avif", "heif") or after.quality >= picture.coding.quality >= 61
            assert name != "webp" or (after.lossless == picture.coding.lossless and after.quality >= 61)
            cells.append(word)
    return ", ".join(cells)


LOSSES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("jpeg", {"quality": 61, "subsampling": "4:2:2"}, "own tables"),
    ("webp", {"quality": 61}, "own or better"),
    ("webp", {"lossless": True}, "lossless stays"),
    ("avif", {"quality": 62}, "own or better"),
    ("heif", {"quality": 62}, "own or better"),
)
COLUMNS: dict[str, Callable[[str, Path], str]] = {
    "size": size,
    "bits": bit_depth,
    "channels": channels,
    "alpha": alpha,
    "ICC": stated("icc"),
    "EXIF": stated("exif"),
    "XMP": stated("xmp"),
    "IPTC": stated("photoshop"),
    "DPI": stated("dpi"),
    "palette, 1 bit": palette,
    "frames, pages": several,
    "quality": quality,
}
EXTRAS = {"heif": "pillow_heif", "exr": "OpenEXR"}
ROWS = [name for name in FORMATS if name != "raw"]


def measured(name: str, folder: Path) -> str:
    """Return a row of the table."""
    cells = [measure(name, folder) for measure in COLUMNS.values()]
    return f"| {FORMATS[name].title} | {' | '.join(cells)} |"


@pytest.mark.parametrize("name", ROWS)
def test_the_table_says_what_is_measured(name: str, tmp_path: Path) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert measured(name, tmp_path) in table


# What another format makes of a picture


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".bmp", ".tga", ".gif", ".ppm", ".png", ".tif", ".webp"])
def test_a_picture_that_exif_turns_is_seen_upright_in_every_format(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    pixels = smooth(3) // 32 * 32
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif, dpi=(300, 150))
    write(tmp_path / f"y{suffix}", read(tmp_path / "x.png"))
    with Image.open(tmp_path / "x.png") as before, Image.open(tmp_path / f"y{suffix}") as after:
        wanted, seen = (np.asarray(ImageOps.exif_transpose(one.convert("RGB"))) for one in (before, after))
        if suffix == ".bmp":
            assert after.info["dpi"] == pytest.approx((300, 150) if orientation < 5 else (150, 300), abs=0.02)
    assert wanted.shape == seen.shape
    assert np.abs(wanted.astype(int) - seen).mean() < 4
    np.testing.assert_array_equal(read(write(tmp_path / "y.npy", read(tmp_path / "x.png"))).pixels, pixels)


@pytest.mark.parametrize("maximum", [100, 1023])
def test_white_stays_white_where_the_maximum_is_not_stated(maximum: int, tmp_path: Path) -> None:
    pixels = np.linspace(0, maximum, 60).astype(np.uint8 if maximum < 256 else np.uint16).reshape(6, 10)
    raster = pixels.astype("u1" if maximum < 256 else ">u2").tobytes()
    (tmp_path / "x.pgm").write_bytes(b"P5 10 6 %d\n%s" % (maximum, raster))
    picture = read(tmp_path / "x.pgm")
    full = np.iinfo(pixels.dtype).max
    for suffix in (".png", ".tif"):
        stretched = read(write(tmp_path / f"y{suffix}", picture)).pixels
        np.testing.assert_array_equal(stretched, np.rint(pixels * (full / maximum)))
    for suffix in (".npy", ".pgm"):
        np.testing.assert_array_equal(read(write(tmp_path / f"y{suffix}", picture)).pixels, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_that_is_multiplied_into_the_colours_is_divided_out(dtype: str, tmp_path: Path) -> None:
    full = np.iinfo(dtype).max
    pixels = smooth(4, dtype)
    pixels[..., 3] = np.linspace(full / 4, full, pixels[..., 3].size).reshape(pixels.shape[:2])
    pixels[0, 0, 3] = 0
    multiplied = pixels.copy()
    multiplied[..., :3] = pixels[..., :3] * (pixels[..., 3:] / full)
    tifffile.imwrite(tmp_path / "x.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    picture = read(tmp_path / "x.tif")
    divided = read(write(tmp_path / "y.png", picture)).pixels
    np.testing.assert_array_equal(divided[..., 3], pixels[..., 3])
    np.testing.assert_allclose(divided[1:, :, :3].astype(float), pixels[1:, :, :3], atol=5)
    np.testing.assert_array_equal(divided[0, 0], 0)
    np.testing.assert_array_equal(read(write(tmp_path / "y.npy", picture)).pixels, multiplied)


@pytest.mark.parametrize(
    ("suffix", "pixels", "words"),
    [
        (".pgm", np.zeros((3, 4, 3), np.uint8), "RGB pixels of uint8, which is no PGM. Name a .pnm"),
        (".pbm", np.zeros((3, 4), np.uint8), "gray pixels of uint8, which is no PBM"),
        (".pfm", np.zeros((3, 4), np.uint16), "gray pixels of uint16, which is no PFM"),
        (".ppm", np.zeros((3, 4, 3), np.float32), "RGB pixels of float32, which is no PPM"),
        (".pgm", np.zeros((3, 4), np.bool_), "gray pixels of one bit, which is no PGM"),
    ],
)
def test_suffixes_of_netpbm_mean_what_they_say(suffix: str, pixels: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=re.escape(words)):
        write(tmp_path / f"x{suffix}", Picture(pixels))
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(read(write(tmp_path / "x.pnm", Picture(pixels))).pixels, pixels)


def test_transparent_pixels_after_an_opaque_frame_stay_transparent(tmp_path: Path) -> None:
    frames = [np.full((3, 4, 4), (90, 30, 30, 255), np.uint8) for _ in range(3)]
    for frame, place in zip(frames, ((0, 1), None, (2, 2)), strict=True):
        if place is not None:
            frame[place] = (90, 30, 30, 0)
    pictures = [Picture(frame, format="gif", duration=100) for frame in frames]
    write_pages(tmp_path / "a.gif", pictures, Pages("png", 3, lambda: iter(pictures), frames=True))
    with Image.open(tmp_path / "a.gif") as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3], frame[..., 3])
    for frame, again in zip(frames, read_pages(tmp_path / "a.gif"), strict=True):
        np.testing.assert_array_equal(again.pixels[..., 3], frame[..., 3])


def test_profiles_go_into_gif_and_out_of_it(tmp_path: Path) -> None:
    picture = Picture(np.full((4, 5, 3), 90, np.uint8), metadata=Metadata(icc=PROFILE))
    gif = read(write(tmp_path / "a.gif", picture))
    assert gif.metadata.icc == PROFILE
    assert read(write(tmp_path / "b.png", gif)).metadata.icc == PROFILE
    moving = [replace(picture, duration=100), replace(picture, pixels=picture.pixels + 9, duration=100)]
    write_pages(tmp_path / "c.gif", moving, Pages("png", 2, lambda: iter(moving), frames=True))
    assert [frame.metadata.icc for frame in read_pages(tmp_path / "c.gif")] == [PROFILE, PROFILE]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
@pytest.mark.parametrize("title", [b"iptc", b"IPTC profile"])
def test_iptc_travels_out_of_a_png(kind: bytes, title: bytes, tmp_path: Path) -> None:
    text = b"\n%s\n%8d\n%s\n" % (title, len(IPTC), IPTC.hex().encode())
    content = b"Raw profile type iptc\0" + (b"\0" + zlib.compress(text) if kind == b"zTXt" else text)
    header, *rest = png.split(png.write(Picture(smooth(3))))
    for words, found in ((content, IPTC), (content[:60], None)):
        (tmp_path / "x.png").write_bytes(png.join([header, (kind, words), *rest, (b"IEND", b"")]))
        picture = read(tmp_path / "x.png")
        assert read(write(tmp_path / "y.jpg", picture, overwrite=True)).metadata.photoshop == found
        assert (kind, words) in png.split(write(tmp_path / "y.png", picture, overwrite=True).read_bytes())


def test_xmp_in_a_text_of_png_travels(tmp_path: Path) -> None:
    xmp = b"<x:xmpmeta>a note</x:xmpmeta>"
    text = b"\nxmp\n%8d\n%s\n" % (len(xmp), xmp.hex().encode())
    header, *rest = png.split(png.write(Picture(smooth(3))))
    chunk = (b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(text))
    (tmp_path / "x.png").write_bytes(png.join([header, chunk, *rest, (b"IEND", b"")]))
    picture = read(tmp_path / "x.png")
    assert read(write(tmp_path / "y.jpg", picture)).metadata.xmp == xmp
    assert chunk in png.split(write(tmp_path / "y.png", picture).read_bytes())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [BYTE, LONG])
def test_iptc_of_a_tiff_travels(kind: int, order: Any, tmp_path: Path) -> None:
    """As a resource of Photoshop, which is where other formats hold it; many programs call its bytes words."""
    records = b"\x1c\x02\x05\0\x05Title\0\0"
    write(tmp_path / "a.tif", Picture(smooth(3)))
    tifffile.imwrite(
        tmp_path / "b.tif", smooth(3), byteorder=order, photometric="rgb", metadata=None,
        extratags=[(33723, kind, len(records) // (4 if kind == LONG else 1), records, True)],
    )  # fmt: skip
    for target in ("c.jpg", "c.png"):
        found = read(write(tmp_path / target, read(tmp_path / "b.tif"))).metadata.photoshop
        assert found == b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records
    kept = directories(write(tmp_path / "c.tif", read(tmp_path / "b.tif")).read_bytes())[0][0]
    assert 33723 in kept
    assert 34377 not in kept


@pytest.mark.parametrize(("dpi", "jfif"), [(300.0, (300, 300)), (254_000.0, (1, 1))])
def test_resolution_travels_as_far_as_a_format_holds_it(dpi: float, jfif: Any, tmp_path: Path) -> None:
    """Of microscopes a JPEG's own field holds none; its EXIF does, from which it travels on."""
    write(tmp_path / "a.tif", Picture(smooth(3), metadata=Metadata(dpi=(dpi, dpi))))
    first = write(tmp_path / "b.jpg", read(tmp_path / "a.tif"))
    with Image.open(first) as image:
        assert image.info["jfif_density"] == jfif
    for target in ("c.png", "c.bmp", "c.tif"):
        found = read(write(tmp_path / target, read(first))).metadata.dpi
        assert found == pytest.approx((dpi, dpi), rel=1e-3)


def test_a_resolution_that_no_file_holds_costs_no_picture(tmp_path: Path) -> None:
    for suffix in (".png", ".bmp", ".jpg"):
        for channels in (3, 4) if suffix != ".jpg" else (3,):
            picture = Picture(smooth(channels), metadata=Metadata(dpi=(4e9, 4e9)))
            found = read(write(tmp_path / f"a{suffix}", picture, overwrite=True)).metadata.dpi
            assert found is None or max(found) < 100


def test_a_resolution_of_atoms_is_written(tmp_path: Path) -> None:
    picture = Picture(smooth(3), metadata=Metadata(dpi=(5_080_000.0, 1e12)))
    assert read(write(tmp_path / "a.tif", picture)).metadata.dpi == pytest.approx((5_080_000, 2**32 - 1))


# Every odd file


def odd_files() -> list[Path]:
    return sorted(shared_data("formats").iterdir())


def test_every_odd_file_comes_back_with_one_pixel_changed_or_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused: dict[Path, str] = {}
    for source in odd_files():
        target = tmp_path / source.name
        try:
            pages = read_pages(source)
            write_pages(target, (changed(page) for page in pages), pages)
        except (PictureError, MissingExtra) as error:
            refused[source] = str(error)
            continue
        again = read_pages(target)
        assert (len(again), again.frames, again.loops) == (len(pages), pages.frames, pages.loops)
        for before, after in zip(pages, again, strict=True):
            assert (after.kind, after.full_scale, after.duration) == (before.kind, before.full_scale, before.duration)
            lossless = after.format in EXACT or getattr(after.coding, "lossless", False)
            assert near("png" if lossless else after.format, before, after), source.name
            assert replace(after.metadata, exif=None) == replace(before.metadata, exif=None)
            assert directories(after.metadata.exif or b"") == directories(before.metadata.exif or b"")
    assert list(tmp_path.glob(".*")) == []
    assert capfd.readouterr() == ("", "")
    for source, message in refused.items():
        assert message.startswith(f"{source}: ")
        assert "\n" not in message
        assert not (tmp_path / source.name).exists()
    heif = set() if find_spec("pillow_heif") else {"hopper.heif", "samplefilehub.heif"}
    assert {source.name for source in refused} == heif | {
        "12bit.cropped.tif", "broken.png", "broken_data_stream.png", "decompression_bomb.gif",
        "lab.tif", "negative_size.ppm", "text_named.jpg", "truncated_image.png", "truncated_jpeg.jpg",
        "zero_bytes.png", "zero_width.gif",
    }  # fmt: skip


# An independent judge

# Where and how the file holds its parts, and the thumbnail, which is made anew.
STRUCTURE = re.compile(
    r"ExifTool|File:(?!Comment)|System:|Composite:|Thumbnail|Offset|ByteCount|RowsPerStrip|StripByte|Interlace|Filter|"
    r"PlanarConfig|Compression|Predictor|BitDepth|ColorType|Palette|Transparency|WebPFlags|VP8|Meta|Media|Movie|Track|"
    r"ImageSize|ColorComponents|EncodingProcess|YCbCr|BitsPerSample|SamplesPerPixel|Photometric|FillOrder|T4Options|"
    r"SubfileType|SampleFormat|ExtraSamples|ColorMap|GIFVersion|BackgroundColor|ColorResolution|HasColorMap|Frame|"
    r"BMPVersion|NumColors|ImageLength|Planes|Pixels|TransparentColor|BitsPerPixel|Primaries|ImagePixelDepth|"
    r"Duration|AdobeTransform|DCTEncode|APP14|AV1|HEVC|GeneralProfile|GenProfile|GeneralTier|GeneralLevel|Constraint|"
    r"MinSpatial|ColorTransform|ColorProfiles|PreviewImage|JPEGTables|MatrixCoeff|TransferChar|VideoFullRange|Parallelism|ChromaFormat|BitDepthLuma|BitDepthChroma|AverageFrame|ConstantFrame|NumTemporal|Temporal|"
    r"Brand|Handler|PrimaryItem|Netpbm|TGA"
)


def judged(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Return what exiftool says of files, by name, without how they hold it."""
    command = ["exiftool", "-j", "-G1", "-a", "-b", "-struct", *map(str, paths)]
    said = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    return {
        Path(entry["SourceFile"]).name: {
            key: value for key, value in entry.items() if key != "SourceFile" and not STRUCTURE.search(key)
        }
        for entry in said
    }


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_sees_no_difference_in_the_metadata(tmp_path: Path) -> None:
    sources = []
    for source in odd_files():
        try:
            pages = read_pages(source)
            write_pages(tmp_path / source.name, (changed(page) for page in pages), pages)
        except (PictureError, MissingExtra):
            continue
        if source.suffix != ".npy":
            sources.append(source)
    before, after = judged(sources), judged([tmp_path / source.name for source in sources])
    assert len(before) == len(sources) > 50
    for name, said in before.items():
        keys = sorted({*said, *after[name]})
        assert [(k, after[name].get(k)) for k in keys] == [(k, said.get(k)) for k in keys], name


def main() -> None:
    """Write the table into the page."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(name, Path(folder)) for name in ROWS]
    head = f"| format | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}"
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    table = "\n".join([head, *rows])
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
