"""Files too large for memory are restored in parts: the same pixels, the same metadata, little memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from conftest import HERE, shared_data
from hush.errors import PictureError
from hush.imaging.files import read, read_pages, write
from hush.imaging.formats import jpeg
from hush.imaging.formats.picture import Metadata, Picture
from hush.imaging.formats.stacks import extract
from hush.imaging.formats.tags import LONG, RATIONAL, Tag, directories
from hush.imaging.formats.tiff import TiffCoding
from hush.imaging.layouts import read_layout
from hush.imaging.rows import _put_tags, write_rows
from hush.imaging.tiles import Tile
from hush.imaging.windows import FileWindows
from hush.restoring import denoising, large, working
from hush.restoring.denoising import DenoiseOptions, denoise_file
from hush.restoring.memory import resident
from hush.restoring.restorers import NetworkRestorer
from hush.restoring.working import scene_of

IN_PARTS = [
    "16bit.MM.deflate.tif",
    "16bit.cropped.tif",
    "derived_gray16.png",
    "derived_gray_float32_0to1.tif",
    "derived_rgb16.png",
    "derived_rgb_float32_0to1.tif",
    "derived_rgb_uint8.npy",
    "derived_rgba_ramp.png",
    "hopper_lzw.tif",
    "hopper_float_dpi_2.tif",
    "icc_profile.png",
    "one_column.png",
    "one_pixel.png",
    "p_16.png",
    "tiff_16bit_RGB.tiff",
    "tiff_strip_cmyk_jpeg.tif",
    "tiny_5x3.png",
    "transparent.png",
    "uncompressed_la.png",
    "xmp_tags_orientation_exiftool.png",
    "orientation_rectangle.jpg",
    "hopper.jpg",
    "flower.jpg",
    "hopper_gray.jpg",
    "photo_exif6_landscape.jpg",
]
AS_A_WHOLE = [
    "1_trns.png",
    "hopper_g4.tif",
    "pil123rgba.png",
    "truncated_jpeg.jpg",
    "derived_cmyk.jpg",
    "derived_palette64.png",
]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all files seem too large for memory."""
    monkeypatch.setattr(large, "SMALLEST_WORK", 10**15)
    monkeypatch.setattr(working, "SAMPLE", 24)


def picture(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    values = np.random.default_rng(len(shape)).random(shape)
    return (values * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1)).astype(dtype)


# ---------------------------------------------------------------- windows and rows


@pytest.mark.parametrize("rows", [1, 7, 33])
def test_the_last_strip_is_written_row_by_row_too(rows: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (3 * rows + 1, 9, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, rowsperstrip=rows, photometric="rgb")
    layout = read_layout(tmp_path / "x.tif")
    assert layout is not None
    write_rows(tmp_path / "y.tif", layout.picture, pixels.shape, [pixels[:2], pixels[2:]])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "y.tif"), pixels)


@pytest.mark.parametrize("name", IN_PARTS)
def test_rows_read_and_written_one_by_one_make_the_same_file(name: str, tmp_path: Path) -> None:
    source = shared_data("formats", name)
    layout, whole = read_layout(source), read(source)
    assert layout is not None
    windows = FileWindows(layout)
    height, width = windows.shape[:2]

    def bands() -> Iterator[np.ndarray]:
        for top in range(0, height, 7):
            yield windows.window(Tile(top, 0, 7, width))

    assert np.array_equal(np.concatenate([band.copy() for band in bands()]), whole.pixels)
    target = write_rows(tmp_path / name, layout.picture, windows.shape, bands())
    again, as_a_whole = read(target), read(write(tmp_path / f"whole-{name}", whole))
    if source.suffix != ".jpg":
        assert np.array_equal(again.pixels, whole.pixels)
        assert again.coding == as_a_whole.coding
    else:
        error, other = (np.square(p.pixels - whole.pixels.astype(float)).mean() for p in (again, as_a_whole))
        assert error <= 2 * other + 1  # the same tables again would lose least; these are as fine, but others
        assert again.coding.subsampling == as_a_whole.coding.subsampling
    for field in fields(Metadata):
        if field.name != "exif":  # its thumbnail is made anew, from more or fewer pixels
            assert getattr(again.metadata, field.name) == getattr(as_a_whole.metadata, field.name)
    assert list(tmp_path.glob(".hush-*")) == []


def test_windows_may_go_back_up(tmp_path: Path) -> None:
    pixels = picture(50, 40, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    layout = read_layout(tmp_path / "a.png")
    assert layout is not None
    windows = FileWindows(layout)
    for top, left in [(0, 0), (30, 5), (10, 20), (10, 0), (45, 39)]:
        assert np.array_equal(windows.window(Tile(top, left, 8, 9)), pixels[top : top + 8, left : left + 9])


@pytest.mark.parametrize("name", AS_A_WHOLE)
def test_what_is_decoded_as_a_whole_says_so(name: str) -> None:
    layout = read_layout(shared_data("formats", name))
    assert layout is not None
    assert layout.open is None
    assert layout.kind


@pytest.mark.parametrize(
    "name",
    [
        *("hopper.webp", "hopper_orientation_6.webp", "transparent.webp", "hopper.avif", "rot1mir0.avif", "hopper.gif"),
        *("dispose_none.gif", "hopper_rle8.bmp", "la.tga", "hopper.ppm", "hopper_16bit.pgm"),
    ],
)
def test_the_size_of_what_is_decoded_as_a_whole_is_known_before(name: str) -> None:
    layout = read_layout(shared_data("formats", name))
    assert layout is not None
    page = next(iter(read_pages(shared_data("formats", name))))
    assert sorted(layout.shape[:2]) == sorted(page.size)  # turned after decoding
    assert layout.nbytes >= page.pixels.nbytes
    assert layout.open is None


def test_the_size_of_a_heif_is_known_without_its_decoder() -> None:
    layout = read_layout(shared_data("formats", "hopper.heif"))
    assert layout is not None
    assert (layout.shape, layout.kind) == ((128, 128, 3), "HEIF")


def test_a_webp_that_does_not_fit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (9000, 8000)).save(tmp_path / "a.webp", quality=1, method=0)
    options = DenoiseOptions(weights="identity", max_memory=resident() + 400 * 2**20)
    with pytest.raises(
        PictureError, match=r"a\.webp: WebP is decoded as a whole; these 9000x8000 pixels take 2\.\d GB"
    ):
        denoise_file(tmp_path / "a.webp", options=options)


def test_tiles_and_big_tiff_stay(tmp_path: Path) -> None:
    pixels = picture(100, 90, 3, dtype=np.uint16)
    coding = TiffCoding(tile=(32, 48), compression="lzw", big=True)
    like = Picture(pixels[:1, :1], coding=coding)
    write_rows(tmp_path / "a.tif", like, pixels.shape, [pixels[:60], pixels[60:]])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert (file.is_bigtiff, page.tilewidth, page.tilelength, page.compression.name) == (True, 32, 48, "LZW")
    assert np.array_equal(read(tmp_path / "a.tif").pixels, pixels)


# ---------------------------------------------------------------- pictures


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
@pytest.mark.parametrize(("shape", "dtype"), [((130, 90, 3), "u1"), ((90, 130), "u2"), ((100, 70, 4), "u2")])
@pytest.mark.parametrize("options", [{}, {"mask": "mask.png"}, {"keep_detail": 0.5, "strength": 0.7}])
def test_in_parts_is_as_a_whole(
    suffix: str, shape: tuple[int, ...], dtype: str, options: dict[str, Any], tmp_path: Path, tiny: str
) -> None:
    pixels = picture(*shape, dtype=np.dtype(dtype))
    source = write(tmp_path / f"a{suffix}", Picture(pixels))
    if "mask" in options:
        write(tmp_path / "mask.png", Picture(picture(*shape[:2])))
        options = {"mask": tmp_path / "mask.png"}
    options = {"weights": tiny, "tile": 48, "sigma": 30, "range": "full", **options}
    result = denoise_file(source, options=DenoiseOptions(**options))
    mask = read(options["mask"]).pixels if "mask" in options else None
    expected = denoising.denoise(pixels, **{**options, "mask": mask})
    assert np.array_equal(read(result.target).pixels, expected)
    assert (result.size, result.sigma) == ((shape[1], shape[0]), 30)
    assert result.psnr is not None


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("orientation", "own"), [(3, 3), (3, 1), (1, 3), (6, 1)])
@pytest.mark.parametrize("white", [1, 4095])
def test_a_mask_in_parts_is_as_a_whole(orientation: int, own: int, white: int, tmp_path: Path, tiny: str) -> None:
    exif = {n: b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0%c\0\0\0\0\0\0" % n for n in (orientation, own)}
    pixels = picture(130, 90, 3)
    lit = np.arange(130)[:, None] * 90 + np.arange(90) < 3000  # in the order of the pixels
    source = write(tmp_path / "a.png", Picture(pixels, metadata=Metadata(exif=exif[orientation])))
    seen = lit if orientation == 1 else lit[::-1, ::-1] if orientation == 3 else lit.T[:, ::-1]
    mask = (seen[::-1, ::-1] if own == 3 else seen).astype(np.uint16) * np.uint16(white)
    write(tmp_path / "mask.png", Picture(np.ascontiguousarray(mask), metadata=Metadata(exif=exif[own])))
    options = {"weights": tiny, "tile": 48, "sigma": 30}
    result = denoise_file(source, options=DenoiseOptions(**options, mask=tmp_path / "mask.png"))  # type: ignore[arg-type]
    assert np.array_equal(read(result.target).pixels, denoising.denoise(pixels, **options, mask=lit))  # type: ignore[arg-type]


@pytest.mark.usefixtures("short")
def test_gray_in_three_channels_is_gray_in_every_part(tmp_path: Path, tiny: str) -> None:
    pixels = np.repeat(picture(100, 80)[..., None], 3, axis=2)
    options = {"weights": tiny, "tile": 48, "sigma": 30.0}
    source = write(tmp_path / "a.png", Picture(pixels))
    restored = read(denoise_file(source, options=DenoiseOptions(**options)).target).pixels  # type: ignore[arg-type]
    assert np.array_equal(restored, denoising.denoise(pixels, **options))  # type: ignore[arg-type]
    assert (np.ptp(restored, axis=2) == 0).all()


@pytest.mark.usefixtures("short")
def test_a_photograph_goes_from_jpeg_to_jpeg(tmp_path: Path) -> None:
    source = HERE / "data" / "mountains.jpg"
    mask = write(tmp_path / "mask.png", Picture(np.pad(np.full((4, 4), 255, np.uint8), ((0, 246), (0, 329)))))
    once = DenoiseOptions(weights="classical:median", sigma=9, mask=mask)
    target = denoise_file(source, tmp_path / "a.jpg", once).target  # of which a corner changes
    assert np.square(read(source).pixels.astype(float) - read(target).pixels).mean() < 4
    assert target.read_bytes() != source.read_bytes()
    same = denoise_file(source, tmp_path / "b.jpg", DenoiseOptions(weights="identity")).target
    assert same.read_bytes() == source.read_bytes()
    denoise_file(same, same, DenoiseOptions(weights="identity", overwrite=True))
    assert same.read_bytes() == source.read_bytes()


@pytest.mark.usefixtures("short")
def test_a_jpeg_in_parts_loses_its_previews_too(tmp_path: Path) -> None:
    segments, at = jpeg.split(data := (HERE / "data" / "mountains.jpg").read_bytes())
    jfif = b"JFIF\0\1\1\1\0\x48\0\x48\1\1RGB"
    xmp = jpeg.XMP + b"<x:xmpmeta><xmp:Thumbnails>stale</xmp:Thumbnails><dc:title/></x:xmpmeta>"
    own = [segment for segment in segments if segment[0] != jpeg.APP0]
    (tmp_path / "a.jpg").write_bytes(jpeg.join([(jpeg.APP0, jfif), (jpeg.APP1, xmp), *own]) + data[at:])
    blurred = DenoiseOptions(weights="classical:median", sigma=9)
    written = denoise_file(tmp_path / "a.jpg", options=blurred).target.read_bytes()
    assert b"<dc:title/>" in written
    assert b"stale" not in written
    assert jfif[:12] + b"\0\0" in written


@pytest.mark.usefixtures("short")
def test_a_jpeg_of_which_some_is_missing_is_refused_in_parts_too(tmp_path: Path) -> None:
    data = (HERE / "data" / "mountains.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-6000] + data[-2:])  # its end is marked
    with pytest.raises(PictureError, match=r"cut\.jpg: damaged or unsupported file .*premature end"):
        denoise_file(tmp_path / "cut.jpg", options=DenoiseOptions(weights="classical:median", sigma=9))
    assert [path.name for path in tmp_path.iterdir()] == ["cut.jpg"]
    (marker, first), *others = jpeg.split(data)[0]
    padded = jpeg.join([(marker, first)]) + b"\0\0" + jpeg.join(others)[2:] + data[jpeg.split(data)[1] :]
    (tmp_path / "padded.jpg").write_bytes(padded)
    result = denoise_file(tmp_path / "padded.jpg", options=DenoiseOptions(weights="identity"))
    assert result.target.read_bytes() == padded


@pytest.mark.usefixtures("short")
def test_a_file_of_which_too_little_changes_to_be_seen_is_copied_in_parts_too(tmp_path: Path) -> None:
    source = HERE / "data" / "mountains.jpg"
    faint = DenoiseOptions(weights="classical:median", sigma=2, strength=0.001)
    assert denoise_file(source, tmp_path / "a.jpg", faint).target.read_bytes() == source.read_bytes()


@pytest.mark.usefixtures("short")
def test_a_tiff_in_parts_keeps_its_directories_of_tags(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif", read(HERE / "data" / "mountains.jpg"))
    page = directories(source.read_bytes())[0][0]
    places = {Tag(RATIONAL, 1, struct.pack("=II", 7, 2)): 2, Tag(RATIONAL, 1, struct.pack("=II", 1, 50)): 33434}
    inner = {number: tag for tag, number in places.items()}
    described = {**page, 34665: Tag(LONG, 1, b"", {33434: inner[33434]}), 34853: Tag(LONG, 1, b"", {2: inner[2]})}
    (tmp_path / "b.tif").write_bytes(extract(source.read_bytes(), page))
    _put_tags((tmp_path / "b.tif").open("r+b"), described)
    for target in ("c.tif", "c.jpg"):
        made = denoise_file(tmp_path / "b.tif", tmp_path / target, DenoiseOptions(weights="classical:median", sigma=9))
        exif = read(made.target).metadata.exif
        assert exif is not None
        found = directories(exif)[0][0]
        assert found[34665].directory == {33434: inner[33434]}
        assert found[34853].directory == {2: inner[2]}


@pytest.mark.usefixtures("short")
def test_a_mask_of_zeros_and_ones_counts_where_it_could_be_read_in_parts(tmp_path: Path) -> None:
    mask = np.zeros((250, 333), np.uint8)
    mask[:4, :4] = 1
    options = DenoiseOptions(weights="classical:median", sigma=9, mask=write(tmp_path / "mask.png", Picture(mask)))
    source = write(tmp_path / "a.tif", read(HERE / "data" / "mountains.jpg"))
    before, after = (read(path).pixels for path in (source, denoise_file(source, tmp_path / "b.tif", options).target))
    changed = (before != after).any(axis=2)
    assert changed[:4, :4].any()
    assert not changed[mask == 0].any()


@pytest.mark.usefixtures("short")
def test_floats_of_which_zero_is_white_stay_so_in_parts(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((200, 300), np.float32) * 0.9
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", metadata=None)
    median = DenoiseOptions(weights="classical:median", sigma=9)
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", median)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.pages[0].tags["PhotometricInterpretation"].value == 0
        restored = written.asarray()
    np.testing.assert_allclose(restored, denoising.denoise(values, 9, weights="classical:median"), atol=1e-6)


@pytest.mark.usefixtures("short")
def test_a_jpeg_that_others_follow_is_refused_since_parts_would_drop_them(tmp_path: Path) -> None:
    photo = (HERE / "data" / "mountains.jpg").read_bytes()
    (tmp_path / "depth.jpg").write_bytes(photo + photo)
    with pytest.raises(PictureError, match="is decoded as a whole"):
        denoise_file(tmp_path / "depth.jpg", tmp_path / "out.jpg", DenoiseOptions(weights="identity"))
    assert not (tmp_path / "out.jpg").exists()


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", ["pil123rgba.png", "derived_cmyk.jpg", "truncated_jpeg.jpg"])
def test_what_neither_fits_nor_comes_in_parts_is_refused(name: str, tmp_path: Path) -> None:
    options = DenoiseOptions(weights="identity")
    with pytest.raises(PictureError, match=r"is decoded as a whole; these \d+x\d+ pixels take .* --max-memory"):
        denoise_file(shared_data("formats", name), tmp_path / name, options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("short")
def test_a_format_that_is_written_as_a_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a\.webp: WebP is written as a whole"):
        denoise_file(HERE / "data" / "cat.png", tmp_path / "a.webp", DenoiseOptions(weights="identity"))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damage_further_down_leaves_nothing_behind(suffix: str, tmp_path: Path) -> None:
    pixels = picture(600, 400, 3)
    content = bytearray(write(tmp_path / f"a{suffix}", Picture(pixels)).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(PictureError, match=rf"a{suffix}: "):
        denoise_file(tmp_path / f"a{suffix}", options=DenoiseOptions(weights="identity"))
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.usefixtures("short")
def test_an_interruption_leaves_nothing_behind(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def interrupt(self: NetworkRestorer, image: np.ndarray, level: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return image

    monkeypatch.setattr(NetworkRestorer, "_restore", interrupt)
    write(tmp_path / "a.png", Picture(picture(200, 200, 3)))
    with pytest.raises(KeyboardInterrupt):
        denoise_file(tmp_path / "a.png", options=DenoiseOptions(weights=tiny, sigma=9, tile=48))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# ---------------------------------------------------------------- memory


def compressible(target: Path, height: int, width: int, **coding: Any) -> Path:
    """Write a picture whose pixels are compressed well, so that the test is quick."""
    like = Picture(np.zeros((1, 1, 3), np.uint8), coding=TiffCoding(**coding) if coding else None)
    band = np.zeros((500, width, 3), np.uint8)
    band[::2, :, 1] = 200
    return write_rows(target, like, (height, width, 3), (band for _ in range(height // 500)))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is only measured on Linux")
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_memory_does_not_grow_with_the_picture(name: str, tmp_path: Path) -> None:
    coding = {"tile": (256, 256), "compression": "none"} if "tif" in name else {}
    source = compressible(tmp_path / name, 8000, 6000, **coding)
    line = f"hush denoise {source} -o {tmp_path}/out-{name} --weights identity --max-memory 256M".split()
    program = (
        "import sys; from hush.cli import run; assert run(sys.argv[2:]) == 0\n"
        "print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", program, *line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split("VmHWM:")[1].split()[0]) * 1024
    assert peak < 1.1 * 256 * 2**20  # of 144 MB of pixels, that as a whole would be held five times


def test_too_little_memory_is_one_line(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "allowed", lambda limit: 0)
    with pytest.raises(PictureError, match=r"memory lacks \d+ MB even for small tiles.* --max-memory"):
        denoising.denoise(picture(64, 64, 3), 10, weights=tiny, max_memory=2**30)


def test_less_memory_smaller_tiles_same_picture(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(300, 300, 3)
    told: list[int] = []
    whole = denoising.denoise(pixels, 25, weights=tiny, precision="exact")
    monkeypatch.setattr(NetworkRestorer, "memory", lambda self: (1000, 0))
    monkeypatch.setattr(working, "resident", lambda: 2**30 - 20 * 2**20)
    from hush.restoring import restorers

    plan = restorers.cheapest_tile
    monkeypatch.setattr(working, "cheapest_tile", lambda *sizes: told.append(plan(*sizes)) or told[-1])
    tiled = denoising.denoise(pixels, 25, weights=tiny, precision="exact", max_memory=2**30)
    assert told[0] < 160
    assert np.abs(tiled.astype(int) - whole)[:-8, :-8].max() <= 1


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_names_that_are_no_utf8_are_read_and_written_in_parts(suffix: str, tmp_path: Path, tiny: str) -> None:
    names = [tmp_path / os.fsdecode(stem + b"." + suffix.encode()) for stem in (b"caf\xe9", b"th\xe9")]
    os.replace(write(tmp_path / f"a.{suffix}", Picture(picture(100, 80, 3))), names[0])
    denoise_file(*names, DenoiseOptions(weights=tiny, tile=48, sigma=30))
    assert read(names[1]).pixels.shape == (100, 80, 3)


@pytest.mark.parametrize("nodata", [None, 65_000])
def test_white_is_the_largest_value_wherever_it_lies(nodata: int | None, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(580, 620, (1700, 1800)).astype(np.uint16)
    pixels[800, 700] = 60_000  # between the windows that are looked at
    tags = [(42113, "s", 0, str(nodata), True)] if nodata else []
    if nodata:
        pixels[5:400] = nodata
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=64, extratags=tags)
    layout = read_layout(tmp_path / "a.tif")
    assert layout is not None
    assert scene_of(layout, DenoiseOptions()).full_scale == 65_535


@pytest.mark.parametrize("dtype", [bool, np.float16, np.float64])
def test_what_rows_cannot_hold_is_refused_before_they_are_written(dtype: type, tmp_path: Path) -> None:
    like = Picture(np.ones((4, 5), dtype))
    with pytest.raises(PictureError, match=r"pixels are written as a whole in TIFF.*Name a \.npy file"):
        write_rows(tmp_path / "a.tif", like, (4, 5), [like.pixels])
    assert np.array_equal(read(write_rows(tmp_path / "a.npy", like, (4, 5), [like.pixels])).pixels, like.pixels)
