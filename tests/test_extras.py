"""HEIC and camera raw, through the extras that read them; without an extra, one line says which."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from conftest import shared_data
from hush.errors import MissingExtra, PictureError
from hush.imaging.files import Metadata, Picture, read, read_pages, write, write_pages
from hush.imaging.finding import find_pictures, output_path
from hush.imaging.formats import heif
from hush.imaging.formats.tags import directories

ROWS, COLUMNS = np.mgrid[0:120, 0:160]


def smooth(channels: int, dtype: str = "u1") -> np.ndarray:
    pixels = np.stack([ROWS + COLUMNS // (i + 1) for i in range(channels)], axis=2).astype(dtype)
    return (pixels * 200 if dtype == "u2" else pixels)[..., 0 if channels == 1 else slice(None)]


@pytest.mark.parametrize(("name", "module"), [("x.heic", "pillow_heif"), ("x.dng", "rawpy"), ("x.nef", "rawpy")])
def test_a_missing_extra_is_named_in_one_line(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "rawpy":
        tifffile.imwrite(tmp_path / name, np.zeros((4, 4), np.uint8))
    else:
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    extra = {"pillow_heif": "heif", "rawpy": "raw"}[module]
    with pytest.raises(MissingExtra, match=rf"{name}: {module} is not installed; .* 'hush\[{extra}\]'") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


# HEIC


@pytest.mark.parametrize(("channels", "dtype"), [(1, "u1"), (3, "u1"), (4, "u1"), (1, "u2"), (3, "u2"), (4, "u2")])
def test_heic_keeps_depth_channels_metadata_and_stays_near(channels: int, dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    exif = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0\0\0\0\0"
    metadata = Metadata(icc=b"profile" * 30, exif=exif, xmp=b"<x/>")
    picture = read(write(tmp_path / "x.heic", Picture(smooth(channels, dtype), metadata=metadata)))
    again = read(write(tmp_path / "y.heic", picture))
    full = 255 if dtype == "u1" else 65_535
    for one in (picture, again):
        assert (one.pixels.dtype, one.pixels.shape) == (smooth(channels, dtype).dtype, smooth(channels, dtype).shape)
        assert np.abs(one.pixels.astype(float) - smooth(channels, dtype)).mean() < 0.006 * full
        assert (one.metadata.icc, one.metadata.xmp) == (metadata.icc, metadata.xmp)
        assert directories(one.metadata.exif or b"")[0][0][0x010F].value == b"Cam\0"
    assert again.coding == picture.coding


@pytest.mark.parametrize("chroma", [420, 422, 444])
def test_heic_keeps_subsampling_and_colours_in_numbers(chroma: int, tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    coding = heif.HeifCoding(10, chroma, (9, 16, 9, 1))
    picture = read(write(tmp_path / "x.heic", Picture(smooth(3, "u2"), format="heif", coding=coding)))
    assert replace(picture.coding, quality=heif.QUALITY) == coding
    assert picture.metadata.icc is not None  # for formats that know no numbers
    assert read(write(tmp_path / "y.heic", picture)).coding == replace(coding, quality=picture.coding.quality)
    np.testing.assert_array_equal(read(write(tmp_path / "y.png", picture)).pixels, picture.pixels)


@pytest.mark.parametrize("quality", [1, 40, 62, 85, 100])
@pytest.mark.parametrize("bits", [8, 10])
def test_a_heic_is_written_as_finely_as_it_was(quality: int, bits: int, tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    pixels = smooth(3, "u1" if bits == 8 else "u2")
    coding = heif.HeifCoding(bits, quality=quality)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heif, "finer", lambda quality: quality)
        source = write(tmp_path / "x.heic", Picture(pixels, format="heif", coding=coding))
    picture = read(source)
    assert quality - 2 <= picture.coding.quality <= quality
    before, after = (heif._finest(path.read_bytes()) for path in (source, write(tmp_path / "y.heic", picture)))
    assert after == max(min(before, 2), before - 6)  # six less halve the step


def test_heic_of_several_pictures_keeps_all(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    single = Picture(smooth(3))
    like = replace(read_pages(write(tmp_path / "x.heic", single)), count=2)
    write_pages(tmp_path / "y.heic", [single, replace(single, pixels=smooth(3)[:60])], like)
    assert [page.size for page in read_pages(tmp_path / "y.heic")] == [(120, 160), (60, 160)]
    with pytest.raises(PictureError, match="2 pictures, where one is taken"):
        read(tmp_path / "y.heic")


def test_the_odd_heif_come_back(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    for name in ("hopper.heif", "samplefilehub.heif"):
        picture = read(shared_data("formats", name))
        again = read(write(tmp_path / name, picture))
        assert replace(again.metadata, exif=None) == replace(picture.metadata, exif=None)
        assert np.abs(again.pixels.astype(int) - picture.pixels).mean() < 1.5
        data = shared_data("formats", name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(PictureError, match="HEIF"):
            read(tmp_path / name)


def test_a_pillow_heif_that_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(library, "libheif_info", lambda: {"HEIF": ""})
    with pytest.raises(PictureError, match=r"cannot write it\. Name a \.png"):
        write(tmp_path / "x.heic", Picture(smooth(3)))
    assert list(tmp_path.iterdir()) == []


# Camera raw


def dng(path: Path) -> Path:
    """Write a DNG of a gray ramp, 12 bits in a Bayer mosaic, held upright by a turned camera."""
    ratio = (1, 1, 0, 1, 0, 1)
    tags = [(50706, "B", 4, b"\1\4\0\0", True), (50708, "s", 0, "Test", True), (33421, "H", 2, (2, 2), True),
            (33422, "B", 4, b"\0\1\1\2", True), (50721, "2i", 9, (*ratio, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
            (50728, "2I", 3, (1, 1) * 3, True), (50778, "H", 1, 21, True), (50717, "H", 1, 4095, True),
            (274, "H", 1, 6, True), (271, "s", 0, "Cam", True)]  # fmt: skip
    mosaic = (COLUMNS * 20 + 500).astype(np.uint16)
    tifffile.imwrite(path, mosaic, photometric="cfa", metadata=None, extratags=tags)
    return path


def test_camera_raw_is_developed_to_sixteen_bits_and_keeps_its_exif(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    source = dng(tmp_path / "x.dng")
    picture = read(source)
    assert (picture.kind, picture.pixels.dtype, picture.size) == ("RGB", np.uint16, (120, 160))
    assert len(np.unique(picture.pixels)) > 256
    target = output_path(source)
    assert target == tmp_path / "x-hush.tif"
    again = read(write(target, picture))
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    tags = directories(again.metadata.exif or b"")[0][0]
    assert (tags[274].integers(), tags[271].value) == ((6,), b"Cam\0")
    assert find_pictures([tmp_path]) == [source]
    with pytest.raises(PictureError, match="camera raw is read, not written"):
        write(tmp_path / "y.dng", picture)


def test_camera_raw_goes_through_pipes(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    source = dng(tmp_path / "x.dng")
    command = [sys.executable, "-m", "hush", "denoise", "--weights", "identity", "-o", "-"]
    named = subprocess.run([*command, str(source)], capture_output=True)
    with source.open("rb") as stdin:
        nameless = subprocess.run([*command, "-"], stdin=stdin, capture_output=True)
    assert (named.stderr, nameless.stderr) == (b"", b"")
    (tmp_path / "cut").write_bytes(source.read_bytes()[:-5000])
    with (tmp_path / "cut").open("rb") as stdin:
        broken = subprocess.run([*command, "-"], stdin=stdin, capture_output=True)
    assert broken.stderr.startswith(b"hush: -: ")
    assert named.stdout == nameless.stdout
    (tmp_path / "y.tif").write_bytes(named.stdout)
    np.testing.assert_array_equal(read(tmp_path / "y.tif").pixels, read(source).pixels)


def test_broken_camera_raw_is_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rawpy")
    data = dng(tmp_path / "x.dng").read_bytes()
    for part in (data[: len(data) // 2], data[:100], b"FUJIFILMCCD-RAW" + bytes(99)):
        (tmp_path / "y.dng").write_bytes(part)
        with pytest.raises(PictureError, match="camera raw") as caught:
            read(tmp_path / "y.dng")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_name_of_what_camera_raw_becomes() -> None:
    assert output_path("in/a.CR2", "out", out_is_folder=True) == Path("out/a.tif")
    assert output_path("in/a.nef", "in", out_is_folder=True) == Path("in/a.tif")
    assert output_path("a.dng", "b.png") == Path("b.png")
