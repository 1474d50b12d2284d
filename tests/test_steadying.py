"""The pages of a stack and the frames of an animation are told steady noise levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hush.imaging.estimation import estimate_noise
from hush.imaging.files import read_pages
from hush.restoring.denoising import DenoiseOptions, denoise_file, denoise_files, open_restorer
from hush.restoring.restorers import ByNoise
from hush.restoring.steadying import alike_whites, settled, steady

RNG = np.random.default_rng(0)


def test_what_jitters_becomes_steady():
    jittering = list(20 * RNG.uniform(0.95, 1.05, 60))
    steadied = np.array(steady(jittering, jittering, "w" * 60))
    assert np.abs(np.diff(steadied)).max() < 0.2 * np.abs(np.diff(jittering)).max()
    assert steadied == pytest.approx(20, abs=0.5)


def test_what_differs_stays_apart():
    channels = [5.0, 40.0, 5.2, 39.0, 4.9, 41.0]
    assert steady(channels, channels, "w" * 6) == pytest.approx([5.03, 40, 5.03, 40, 5.03, 40], abs=0.01)
    assert steady([0.0, 0.0, 7.0], [0.0, 0.0, 7.0], "www") == [0, 0, 7]
    fading = [20 * 0.99**i for i in range(100)]
    assert steady(fading, fading, "w" * 100) == pytest.approx(fading, rel=0.05)
    assert steady([], [], "") == []


def test_pages_of_another_kind_tell_nothing():
    assert steady([8.0, 15.0, 8.2, 8.1], [8.0] * 4, "wcww") == pytest.approx([8.1] * 4)


def test_most_of_the_pages_around_choose_the_weights():
    assert settled("aaaabaaaa", [20.0] * 9) == list("a" * 9)
    assert settled("ababab", [5.0, 40.0] * 3) == list("ababab"), "channels of unlike noise keep their own"
    assert settled("ab", [20.0] * 2) == list("aa"), "a draw"
    assert settled("ab" * 10, [20.0] * 20) == list("a" * 20)
    long = settled("a" * 30 + "b" * 30, [20.0] * 60)
    assert "".join(long) in ("a" * 30 + "b" * 30, "a" * 31 + "b" * 29), "a scene that changes"


def test_the_weights_do_not_change_from_frame_to_frame(tmp_path: Path) -> None:
    """Noise that is nearly white: by themselves some of these frames are for one, some for the other."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(8):
        noise = rng.normal(0, 15, (162, 162, 3))
        for axis in (0, 1):
            noise = (noise + 0.11 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))) / 1.22
        slope = np.linspace(80, 180, 160)[None, :, None]
        frames.append(np.clip(slope + noise[1:-1, 1:-1], 0, 255).astype(np.uint8))
    restorer = open_restorer("auto", quality="fast")
    assert isinstance(restorer, ByNoise)
    alone = {restorer.suited(estimate_noise(frame)).weights for frame in frames}
    assert alone == {"photo-fast", "gaussian-fast"}
    first, *rest = map(Image.fromarray, frames)
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=40)
    result = denoise_file(tmp_path / "a.png", options=DenoiseOptions(quality="fast"))
    assert result.weights in alone


def told(source: Path, target: Path) -> list[float]:
    """Return the noise level that each page was told, on the 8-bit scale."""
    pairs = zip(read_pages(source), read_pages(target), strict=True)
    return [2 * float((b.pixels.astype(float) - a.pixels)[4:-4, 4:-4].mean()) for b, a in pairs]


@pytest.mark.parametrize("alone", [True, False])
def test_the_frames_of_an_animation_do_not_flicker(alone: bool, dark: str, tmp_path: Path) -> None:
    sigmas = [20, 22, 19, 21, 20, 22]
    frames = [np.clip(RNG.normal(128, s, (64, 64, 3)), 0, 255).astype(np.uint8) for s in sigmas]
    first, *rest = map(Image.fromarray, frames)
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=40)
    first.save(tmp_path / "b.png", save_all=True, append_images=rest, duration=40)
    options = DenoiseOptions(weights=dark, precision="exact")
    if alone:
        denoise_file(tmp_path / "a.png", tmp_path / "r.png", options)
        levels = told(tmp_path / "a.png", tmp_path / "r.png")
    else:
        list(denoise_files([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", options))
        levels = told(tmp_path / "b.png", tmp_path / "out" / "b.png")
    assert levels == pytest.approx([20.5] * 6, abs=1)
    assert np.ptp(levels) < 0.1


@pytest.mark.parametrize("large", [False, True])
def test_the_channels_of_a_stack_keep_their_own_levels(large: bool, dark: str, tmp_path, monkeypatch) -> None:
    """Also where their values fill the type to a different share, and where pages are read and written one by one."""
    if large:
        monkeypatch.setattr("hush.restoring.folders.STACK", 0)
    faint = [RNG.normal(400, 8, (64, 64)) for _ in range(3)]  # of 10 bits: sigma 2
    bright = [RNG.normal(30_000, 5_000, (64, 64)) for _ in range(3)]  # of 16 bits: sigma 19.5
    planes = [plane.astype(np.uint16) for pair in zip(faint, bright, strict=True) for plane in pair]
    for name in ("a.tif", "b.tif"):
        images = [Image.fromarray(plane) for plane in planes]
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    options = DenoiseOptions(weights=dark, precision="exact")
    list(denoise_files([tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "out", options))
    taken = np.array(told(tmp_path / "b.tif", tmp_path / "out" / "b.tif")) / 1.63  # gray is told a higher level
    assert taken[::2] == pytest.approx([8.0] * 3, rel=0.15)
    assert taken[1::2] == pytest.approx([5_000.0] * 3, rel=0.1)
    assert np.ptp(taken[1::2]) < 20


def test_white_is_alike_within_two_bits():
    assert alike_whites([1023, 4095, 1023, 65535]) == [4095, 4095, 4095, 65535]
    assert alike_whites([255, 16383, 255]) == [255, 16383, 255]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("sigma", [10, None])
def test_a_hot_pixel_changes_no_page_of_a_stack(sigma: float | None, alone: bool, dark: str, tmp_path: Path) -> None:
    planes = [RNG.normal(600, 40, (64, 64)).astype(np.uint16) for _ in range(4)]  # of 10 bits
    planes[2][0, 0] = 3000
    (tmp_path / "out").mkdir()
    for name in ("a.tif", "b.tif"):
        images = [Image.fromarray(plane) for plane in planes]
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    options = DenoiseOptions(sigma, weights=dark, precision="exact")
    if alone:
        denoise_file(tmp_path / "b.tif", tmp_path / "out" / "b.tif", options)
    else:
        list(denoise_files([tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "out", options))
    levels = np.array(told(tmp_path / "b.tif", tmp_path / "out" / "b.tif"))
    expected = 1.63 * (10 / 255 * 4095 if sigma else 40)  # gray is told a higher level
    assert levels == pytest.approx([expected] * 4, rel=0.02 if sigma else 0.15)
    assert np.ptp(levels) < 0.02 * expected


def test_a_page_that_is_a_mask_leaves_the_others_their_white(dark: str, tmp_path: Path) -> None:
    planes = [RNG.normal(600, 40, (64, 64)).astype(np.uint16) for _ in range(3)]
    planes[1][0, 0] = 3000
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in planes:
            file.write(plane, photometric="minisblack", metadata=None)
        file.write(np.ones((64, 64), bool), photometric="mask", subfiletype=4, metadata=None)
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", DenoiseOptions(10, weights=dark, precision="exact"))
    levels = told(tmp_path / "a.tif", tmp_path / "b.tif")
    assert levels[3] == 0
    assert levels[:3] == pytest.approx([1.63 * 10 / 255 * 4095] * 3, rel=0.02)


def test_blank_pages_stay_as_they_are_and_the_others_do_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 12, (3, 66, 66, 3))
    coarse = (
        noise[:, 1:-1, 1:-1] + noise[:, :-2, 1:-1] + noise[:, 2:, 1:-1] + noise[:, 1:-1, :-2] + noise[:, 1:-1, 2:]
    ) / 2
    pages = np.rint(np.clip(120 + coarse, 0, 255)).astype(np.uint8)
    pages[2] = 255
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb")
    result = denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", DenoiseOptions(quality="fast"))
    restored = tifffile.imread(tmp_path / "b.tif")
    assert result.weights == "photo-fast, identity"
    np.testing.assert_array_equal(restored[2], pages[2])
    assert all(restored[page].std() < 0.7 * pages[page].std() for page in (0, 1))
