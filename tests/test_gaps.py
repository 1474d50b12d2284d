"""Pixels that hold nothing, as GDAL marks them, are kept, and tell nothing of their neighbours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hush.cli import run
from hush.imaging.files import read
from hush.imaging.gaps import bridge, find_gaps
from hush.restoring.denoising import DenoiseOptions, denoise_file

RNG = np.random.default_rng(0)
HOLE = (slice(20, 50), slice(30, 70))


def save(path: Path, pixels: np.ndarray, nodata: str) -> Path:
    colour = pixels.ndim == 3
    options: Any = {"photometric": "rgb" if colour else "minisblack", "metadata": None, "rowsperstrip": 8}
    tifffile.imwrite(path, pixels, extratags=[(42113, "s", 0, nodata, True)], **options)
    return path


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "parts"])
@pytest.mark.parametrize(
    ("dtype", "nodata", "shape"),
    [
        ("float32", "-9999", (96, 128)),
        ("float32", "nan", (96, 128)),
        ("float32", "-3.4028234663852886e+38", (96, 128)),
        ("uint16", "65535", (96, 128)),
        ("uint16", "0", (96, 128, 3)),
        ("float64", "nan", (96, 128)),
    ],
)
def test_gaps_are_kept_and_the_rest_is_as_if_they_were_smooth(
    dtype: str, nodata: str, shape: tuple[int, ...], parts: bool, tmp_path: Path, tiny: str, monkeypatch: Any
) -> None:
    if parts and dtype == "float64":
        pytest.skip("libvips reads no doubles in parts")
    if parts:
        monkeypatch.setattr("hush.restoring.large.allowed", lambda limit: 0)
    pixels = RNG.normal(0.5, 0.05, shape) * (1 if dtype.startswith("f") else 3000)
    pixels = pixels.astype(dtype)
    plain = save(tmp_path / "plain.tif", pixels, "-1")
    pixels[HOLE] = float(nodata)
    source = save(tmp_path / "gaps.tif", pixels, nodata)
    options = DenoiseOptions(25, weights=tiny, tile=48, precision="exact")
    results = [read(denoise_file(path, tmp_path / f"r-{path.name}", options).target) for path in (plain, source)]
    restored, expected = results[1].pixels, results[0].pixels
    np.testing.assert_array_equal(restored[HOLE], pixels[HOLE])
    far = np.ones(shape[:2], bool)
    far[2:68, 12:88] = False  # the network sees 16 pixels around
    np.testing.assert_array_equal(restored[far], expected[far])
    assert (restored[far] != pixels[far]).mean() > 0.5
    with tifffile.TiffFile(tmp_path / "r-gaps.tif") as written:
        assert written.pages[0].tags[42113].value == nodata


def test_what_no_file_calls_nodata_is_a_value() -> None:
    pixels = np.uint16([[0, 55537], [3, 4]])
    assert find_gaps(pixels, -9999) is None
    assert find_gaps(pixels, None) is None
    assert find_gaps(np.float32([[np.nan]]), -9999) is None
    colours = np.uint8([[[0, 0, 0], [0, 0, 5]]])
    assert find_gaps(colours, 0).tolist() == [[True, False]]  # type: ignore[union-attr]


def test_gaps_hold_the_mean_of_what_is_around() -> None:
    image = np.full((20, 20, 1), 0.25, np.float32)
    gaps = np.zeros((20, 20), bool)
    gaps[5:18, 5:18] = True
    image[gaps] = 0.5
    bridged = bridge(image, gaps)[..., 0]
    assert np.allclose(bridged[5:8, 5:18], 0.25)
    assert np.allclose(bridged[9:14, 9:14], 0.5)
    assert np.array_equal(bridged[~gaps], image[~gaps][:, 0])


def test_gaps_tell_nothing_of_the_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = RNG.normal(0.5, 0.06, (128, 128)).astype(np.float32)
    pixels[:, :100] = np.nan
    save(tmp_path / "gaps.tif", pixels, "nan")
    assert run(["estimate", str(tmp_path / "gaps.tif"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["sigma"] == pytest.approx(255 * 0.06, rel=0.15)


def test_a_file_of_gaps_alone_is_copied(tmp_path: Path, tiny: str) -> None:
    source = save(tmp_path / "gaps.tif", np.full((32, 32), np.nan, np.float32), "nan")
    result = denoise_file(source, tmp_path / "r.tif", DenoiseOptions(weights=tiny))
    assert result.target.read_bytes() == source.read_bytes()


def test_nodata_is_what_is_stored(tmp_path: Path) -> None:
    stored = RNG.integers(1, 250, (32, 32), np.uint8)
    stored[:5] = 0
    options: Any = {"extratags": [(42113, "s", 0, "0", True)], "metadata": None}
    tifffile.imwrite(tmp_path / "inverted.tif", stored, photometric="miniswhite", **options)
    picture = read(tmp_path / "inverted.tif")
    gaps = find_gaps(picture.pixels, picture.nodata)
    assert np.array_equal(gaps, stored == 0)
    colours = RNG.integers(0, 65535, (3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "palette.tif", stored, photometric="palette", colormap=colours, **options)
    assert read(tmp_path / "palette.tif").nodata is None


def test_no_new_gaps_come_up(tmp_path: Path, tiny: str) -> None:
    pixels = RNG.integers(1, 4, (64, 64), np.uint8)
    pixels[:9] = 0
    source = save(tmp_path / "dark.tif", pixels, "0")
    restored = read(denoise_file(source, tmp_path / "r.tif", DenoiseOptions(60, weights=tiny)).target).pixels
    assert np.array_equal(restored == 0, pixels == 0)
    assert not np.array_equal(restored, pixels)


def test_gaps_do_not_count_as_changed(tmp_path: Path, tiny: str) -> None:
    pixels = np.full((96, 96), 0.5, np.float32)
    pixels[HOLE] = -9999
    source = save(tmp_path / "flat.tif", pixels, "-9999")
    result = denoise_file(source, tmp_path / "r.tif", DenoiseOptions(0, weights="identity"))
    assert result.psnr is None
