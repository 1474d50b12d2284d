"""The noise level found is the one that was put in, and pictures without noise are not said to be noisy."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from conftest import shared_data
from hush.errors import PictureError
from hush.imaging.estimation import NoiseEstimate, estimate_noise

SHAPE = (200, 190, 3)


def add_noise(clean: np.ndarray, sigma: float | np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, clean.shape)
    return (clean + noise * np.asarray(sigma) / 255).astype(np.float32)


def eight_bit(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def scene(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Make a picture with flat parts, slopes, edges and texture, within [0.1, 0.9]."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    plane = 0.5 + 0.2 * np.sin(rows / 40) * np.cos(columns / 31) + 0.15 * ((rows // 60 + columns // 50) % 2)
    plane = plane + 0.06 * np.sin(rows / 2.3) * np.sin(columns / 1.9) * (rows > shape[0] // 2)
    return np.clip(plane[..., None] * np.linspace(0.8, 1.1, shape[2]), 0.1, 0.9).astype(np.float32)


def photo(path: Path) -> np.ndarray:
    image = Image.open(path)
    return np.atleast_3d(np.asarray(image.convert("L" if image.mode == "L" else "RGB"))).astype(np.float32) / 255


def mean_error(folder: Path, every: int, clipped: bool) -> float:
    errors = []
    for seed, path in enumerate(sorted(folder.iterdir())[::every]):
        clean = photo(path)
        for sigma in (5, 25, 50):
            noisy = add_noise(clean, sigma, seed)
            errors.append(abs(estimate_noise(eight_bit(noisy) if clipped else noisy).sigma - sigma))
    return float(np.mean(errors))


@pytest.mark.parametrize("clipped", [False, True], ids=["float", "clipped to 8 bit"])
@pytest.mark.parametrize(("name", "every"), [("Kodak24", 12), ("CBSD68", 34), ("BSD68", 23), ("Set12", 4)])
def test_mean_error_on_photographs(name: str, every: int, clipped: bool) -> None:
    assert mean_error(shared_data("test", name), every, clipped) < 0.75


def test_clean_photographs_are_nearly_noiseless() -> None:
    paths = sorted(shared_data("test", "CBSD68").iterdir())[::8]
    assert np.mean([estimate_noise(photo(path)).sigma for path in paths]) < 0.7


@pytest.mark.parametrize("sigma", [1, 5, 25, 75])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_made_scene(sigma: float, channels: int) -> None:
    found = estimate_noise(add_noise(scene((200, 190, channels)), sigma))
    assert found.sigma == pytest.approx(sigma, rel=0.03, abs=0.3)
    assert len(found.sigmas) == channels
    assert found.white
    assert found.total == found.sigma


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("sigma", [0, 5, 50])
def test_flat_pictures_however_dark_or_bright_clipped_to_8_bit(level: float, sigma: float) -> None:
    noisy = eight_bit(add_noise(np.full(SHAPE, level), sigma))
    assert estimate_noise(noisy).sigma == pytest.approx(sigma, rel=0.05, abs=0.05)


def test_a_picture_burnt_out_over_much_of_its_area() -> None:
    noisy = eight_bit(add_noise(np.clip(scene() * 1.8, 0, 1), 20))
    assert (noisy == 255).mean() > 0.2
    assert estimate_noise(noisy).sigma == pytest.approx(20, abs=1)


@pytest.mark.parametrize("value", [0, 255])
def test_frames_and_bars_without_noise_do_not_count(value: int) -> None:
    noisy = eight_bit(add_noise(scene(), 15))
    noisy[:40] = noisy[-40:] = value
    assert estimate_noise(noisy).sigma == pytest.approx(15, abs=0.7)


def test_each_channel_has_its_own_level() -> None:
    found = estimate_noise(add_noise(scene(), np.array([10, 20, 40])))
    np.testing.assert_allclose(found.sigmas, [10, 20, 40], rtol=0.05)
    assert found.sigma == pytest.approx(np.sqrt(np.mean(np.square(found.sigmas))))


def test_gray_noise_in_three_equal_channels() -> None:
    gray = add_noise(scene((200, 190, 1)), 20)
    assert estimate_noise(np.repeat(gray, 3, axis=2)).sigma == pytest.approx(20, abs=0.7)


def test_types_say_the_same() -> None:
    image = np.clip(add_noise(scene(), 12), 0, 1)
    expected = estimate_noise(image).sigma
    for other in (image.astype(np.float64), np.rint(image * 65535).astype(np.uint16), eight_bit(image)):
        assert estimate_noise(other).sigma == pytest.approx(expected, abs=0.1)
    assert estimate_noise(image[..., 0]).sigmas == estimate_noise(image[..., :1]).sigmas


def blurred(noise: np.ndarray) -> np.ndarray:
    """Average neighbours with weights 1 2 1: lag-1 correlation 2/3."""
    for axis in (0, 1):
        noise = (np.roll(noise, 1, axis) + 2 * noise + np.roll(noise, -1, axis)) / 4
    return noise


def test_correlated_noise_is_told_from_white_noise() -> None:
    noise = blurred(np.random.default_rng(0).normal(0, 1, SHAPE))
    found = estimate_noise(scene() + noise / noise.std() * 10 / 255)
    assert not found.white
    assert found.correlation == pytest.approx(2 / 3, abs=0.15)
    assert found.sigma < 5
    assert found.total == pytest.approx(10, rel=0.2)


def test_noise_of_cameras_is_not_white() -> None:
    folder = shared_data("real", "SIDD-crops-256")
    for noisy_path in sorted((folder / "noisy").iterdir())[::4]:
        noisy, clean = photo(noisy_path), photo(folder / "clean" / noisy_path.name)
        found = estimate_noise(noisy)
        assert not found.white
        assert found.sigma < found.total == pytest.approx(255 * (noisy - clean).std(), rel=0.5)


def test_what_a_camera_smoothed_is_noise_though_nothing_is_left_at_the_finest(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 1, SHAPE)
    for _ in range(3):
        noise = blurred(noise)
    noisy = scene() + noise / noise.std() * 5 / 255
    for name, image in (("noisy", noisy), ("clean", scene())):
        Image.fromarray(eight_bit(image)).save(tmp_path / f"{name}.jpg", quality=75)
    found, quiet = (estimate_noise(photo(tmp_path / f"{name}.jpg")) for name in ("noisy", "clean"))
    assert (found.verdict, found.white, quiet.verdict) == ("light", False, "clean")
    assert found.sigma < 0.5 < 2 < found.total < 8


def test_most_noisy_pictures_of_cameras_are_called_noisy_and_no_clean_one() -> None:
    folder = shared_data("real", "PolyU")
    noisy, clean = (
        [estimate_noise(photo(path)).verdict for path in sorted((folder / view).iterdir())]
        for view in ("noisy", "clean")
    )
    assert set(clean) == {"clean"}
    assert np.mean([verdict == "light" for verdict in noisy]) > 0.6


def drawing(size: int = 1) -> Image.Image:
    image = Image.new("RGB", (400, 300), (240, 240, 245))
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 40, 220, 200), fill=(200, 30, 40))
    pen.line((0, 0, 400, 300), fill=(0, 0, 0), width=5)
    for row in range(20):
        pen.text((20, 15 * row), "The quick brown fox jumps over the lazy dog", fill=(20, 20, 60))
    return image.resize((400 // size, 300 // size), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("size", [1, 2])
def test_drawings_have_no_noise_until_some_is_added(size: int) -> None:
    clean = np.asarray(drawing(size))
    assert estimate_noise(clean).sigma == 0
    assert estimate_noise(eight_bit(add_noise(clean / 255, 10))).sigma == pytest.approx(10, abs=1)


@pytest.mark.parametrize("period", [1, 2])
def test_fine_patterns_are_not_noise(period: int) -> None:
    rows, columns = np.indices(SHAPE[:2])
    pattern = 0.4 + 0.2 * ((rows // period + columns // period) % 2)[..., None] * np.ones(3)
    assert estimate_noise(pattern).sigma < 0.5
    assert estimate_noise(add_noise(pattern, 10)).sigma == pytest.approx(10, abs=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
def test_every_size_is_taken(height: int, width: int, channels: int) -> None:
    found = estimate_noise(add_noise(np.full((height, width, channels), 0.5), 20))
    assert len(found.sigmas) == channels
    assert np.isfinite([found.sigma, found.correlation, found.total, *found.sigmas]).all()
    if min(height, width) < 3:
        assert found == NoiseEstimate(0.0, (0.0,) * channels, 0.0, 0.0, flat=height * width == 1)
    elif min(height, width) >= 16:
        assert found.sigma == pytest.approx(20, rel=0.4)
    nothing = estimate_noise(np.full((height, width, channels), 0.3, np.float32))
    assert nothing.sigma == 0
    assert nothing.flat


def test_the_same_picture_gives_the_same_estimate() -> None:
    noisy = add_noise(scene(), 25)
    assert estimate_noise(noisy) == estimate_noise(noisy.copy())


def test_data_that_fill_a_small_part_of_the_range() -> None:
    twelve_bit = np.rint(np.clip(add_noise(scene(), 15), 0, 1) * 4095).astype(np.uint16)
    assert estimate_noise(twelve_bit).sigma == pytest.approx(15 * 4095 / 65535, rel=0.06)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(PictureError, match="NaN"):
        estimate_noise(np.full((20, 20, 3), np.nan))
    for bad in (np.zeros(5), np.zeros((0, 3, 3)), np.zeros((4, 4), complex)):
        with pytest.raises(PictureError, match=r"shape|type"):
            estimate_noise(bad)


def test_the_time_does_not_grow_with_the_picture() -> None:
    noisy = add_noise(np.full((1000, 1000, 3), 0.5), 20)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        estimate_noise(noisy)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.0  # about 0.06 s of processor time; the bound leaves room for busy machines


@pytest.mark.parametrize("size", [9, 10, 12, 14])
@pytest.mark.parametrize("colours", [(0, 255), (255, 0), (20, 235), (200, 40)])
def test_small_print_is_no_noise(size: int, colours: tuple[int, int]) -> None:
    ink, paper = colours
    image = Image.new("RGB", (480, 320), (paper,) * 3)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for number, y in enumerate(range(4, 320, size * 3 // 2)):
        words = "The quick brown fox jumps over the lazy dog, 0123456789 times. " * 3
        draw.text((4, y), words[7 * number % 40 :], fill=(ink,) * 3, font=font)
    assert estimate_noise(np.asarray(image)).verdict == "clean"


@pytest.mark.parametrize("light", [0.05, 1.0, 2.0])
def test_strong_noise_that_is_clipped_is_still_noise(light: float, photos: list[Path]) -> None:
    for photo in photos:
        clean = np.asarray(Image.open(photo).convert("RGB"), float) * light
        noisy = np.rint(np.clip(clean + np.random.default_rng(0).normal(0, 50, clean.shape), 0, 255)).astype(np.uint8)
        assert estimate_noise(noisy).verdict == "very strong", photo.name


def test_what_no_noise_is_like_is_called_flat() -> None:
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (30, 30), np.uint8), np.full((8, 8), 255, np.uint8))
    assert estimate_noise(np.full((64, 64, 3), 200, np.uint8)).flat
    assert estimate_noise(blocks).flat
    assert not estimate_noise(np.random.default_rng(0).integers(100, 110, (64, 64), np.uint8)).flat


def test_types_and_shapes_that_no_picture_has_are_refused() -> None:
    for image in (np.zeros((8, 8), np.int64), np.zeros((3, 64, 64), np.uint8)):
        with pytest.raises(PictureError):
            estimate_noise(image)
