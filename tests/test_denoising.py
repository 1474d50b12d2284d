"""Arrays and files come out as they went in, less the noise."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hush
from conftest import HERE
from hush.cli import run
from hush.errors import PictureError, UsageError, WeightsError
from hush.imaging.files import Picture, read, write
from hush.imaging.tiles import plan_tiles
from hush.restoring import filework
from hush.restoring import restorers as module
from hush.restoring.denoising import (
    DenoiseOptions,
    FileFailure,
    FileResult,
    denoise,
    denoise_file,
    denoise_files,
)
from hush.restoring.large import in_parts
from hush.restoring.memory import resident
from hush.restoring.restorers import GRAY_LEVEL, NetworkRestorer, open_restorer
from hush.restoring.runtimes import Limits
from hush.restoring.working import Outcome
from tiny import darkening_numbers, write_tiny

DTYPES = [np.uint8, np.uint16, np.float16, np.float32, np.float64, np.bool_]
FULL_SCALE = {np.uint8: 255, np.uint16: 65535}


@pytest.fixture(scope="module")
def dark_gray(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny(tmp_path_factory.mktemp("denoising") / "gray.onnx", 1, numbers=darkening_numbers(1)))


def array(dtype: Any, shape: tuple[int, ...], low: float = 0.2, high: float = 0.9) -> np.ndarray:
    values = np.random.default_rng(sum(shape)).uniform(low, high, shape)
    return (values > 0.5) if dtype is np.bool_ else (values * FULL_SCALE.get(dtype, 1)).astype(dtype)


# ---------------------------------------------------------------- arrays


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_any_array_comes_back_in_its_kind(
    tiny: str, dtype: Any, height: int, width: int, channels: int | None, strength: float
) -> None:
    picture = array(dtype, (height, width) if channels is None else (height, width, channels))
    kept = picture.copy()
    restored = denoise(picture, 10, strength, tiny)
    assert (restored.shape, restored.dtype) == (picture.shape, picture.dtype)
    assert np.array_equal(picture, kept), "the input was changed"
    assert not np.shares_memory(restored, picture)
    if channels in (2, 4):
        assert np.array_equal(restored[..., -1], picture[..., -1]), "alpha was changed"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_sigma_is_on_the_eight_bit_scale_whatever_the_type(dtype: Any, dark: str) -> None:
    picture = array(dtype, (12, 9, 3))
    taken = picture.astype(np.float64) - denoise(picture, 20, weights=dark, precision="exact")
    full = FULL_SCALE.get(dtype, 1)
    np.testing.assert_allclose(taken / full, 10 / 255, atol=max(0.51 / full, 1e-6) if full > 1 else 1e-6)


def test_strength_blends(tiny: str) -> None:
    picture = array(np.float32, (20, 24, 3))
    full = denoise(picture, 30, weights=tiny)
    np.testing.assert_allclose(denoise(picture, 30, 0.25, tiny), picture + 0.25 * (full - picture), atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_strength_zero_is_the_input_bit_for_bit(dtype: Any, tiny: str) -> None:
    picture = array(dtype, (7, 8, 4), low=-2, high=3) if np.dtype(dtype).kind == "f" else array(dtype, (7, 8, 4))
    assert denoise(picture, 30, 0, tiny).tobytes() == picture.tobytes()


@pytest.mark.parametrize("weights", ["tiny", "identity", "classical:median"])
def test_sigma_zero_changes_nothing(weights: str, tiny: str) -> None:
    picture = array(np.uint16, (9, 9, 3))
    assert np.array_equal(denoise(picture, 0, weights=tiny if weights == "tiny" else weights), picture)


def test_floats_beyond_full_scale_are_not_clipped(dark: str) -> None:
    picture = array(np.float32, (16, 16, 3), low=-4, high=12)
    restored = denoise(picture, 51, weights=dark, precision="exact")
    np.testing.assert_allclose(restored, picture - 0.1, atol=2e-6)


def test_the_least_difference_of_sixteen_bits_survives(dark: str) -> None:
    """Also where the network runs in bf16, whose steps are 256 times as large."""
    ramp = np.arange(40_000, 40_000 + 64 * 64, dtype=np.uint16).reshape(64, 64)
    picture = np.dstack([ramp, ramp + 1, ramp + 2])
    restored = denoise(picture, 0.6, weights=dark)  # 77.1 steps of 65,535 are taken off
    assert len(np.unique(restored - picture)) == 1


def test_gray_through_colour_weights(dark: str) -> None:
    picture = array(np.float32, (10, 11))
    expected = picture - 0.1 * GRAY_LEVEL
    np.testing.assert_allclose(denoise(picture, 51, weights=dark), expected, atol=1e-3)
    equal = np.repeat(picture[..., None], 3, axis=2)
    restored = denoise(equal, 51, weights=dark)
    np.testing.assert_allclose(restored[..., 0], expected, atol=1e-3)
    assert np.array_equal(restored, np.repeat(restored[..., :1], 3, axis=2)), "gray stays gray"


def test_colour_weights_that_learnt_gray_are_told_the_true_level(tmp_path: Path) -> None:
    card = {"recipe": {"data": {"gray": 0.1}}}
    weights = str(write_tiny(tmp_path / "both.onnx", numbers=darkening_numbers(), card=card))
    picture = array(np.float32, (10, 11))
    np.testing.assert_allclose(denoise(picture, 51, weights=weights), picture - 0.1, atol=1e-3)


def test_gray_through_colour_weights_is_the_mean_of_three_equal_channels(tiny: str) -> None:
    image = array(np.float32, (10, 11, 1))
    restorer = open_restorer(tiny, precision="exact")
    thrice = np.repeat(image, 3, axis=2).transpose(2, 0, 1)[None]
    sigma_map = np.full((1, 1, 10, 11), 25 / 255 * GRAY_LEVEL, np.float32)
    expected = restorer.runtime(thrice, sigma_map)[0].mean(axis=0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(restorer(image, 25)[..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_channels_through_gray_weights(channels: int, dark_gray: str) -> None:
    image = array(np.float32, (10, 11, channels))
    np.testing.assert_allclose(open_restorer(dark_gray)(image, 51), image - 0.1, atol=1e-3)


def test_four_inks_through_colour_weights(dark: str) -> None:
    image = array(np.float32, (10, 11, 4))
    np.testing.assert_allclose(open_restorer(dark)(image, 51), image - 0.1 * GRAY_LEVEL, atol=1e-3)


def test_a_level_per_pixel(dark: str) -> None:
    image = array(np.float32, (70, 50, 3))
    sigma = np.linspace(0, 100, 70 * 50).reshape(70, 50)
    for tile in (1280, 32):
        restored = open_restorer(dark, precision="exact", tile=tile)(image, sigma)
        np.testing.assert_allclose(restored, image - sigma[..., None] / 510, atol=1e-5)
    with pytest.raises(UsageError, match=r"sigma of shape \(3, 50\)"):
        open_restorer(dark)(image, sigma[:3])


@pytest.mark.parametrize("shape", [(33, 100, 3), (100, 33, 1), (97, 65, 3), (40, 40, 3)])
def test_tiled_equals_untiled(shape: tuple[int, ...], tiny: str) -> None:
    image = array(np.float32, shape)
    whole, tiled = (open_restorer(tiny, precision="exact", tile=tile)(image, 25) for tile in (1280, 32))
    # the tiny network sees zeros past the image, not its edge repeated, where a tile reaches past it
    inside = np.s_[: shape[0] - 2, : shape[1] - 2]
    np.testing.assert_allclose(tiled[inside], whole[inside], atol=1e-6)


@pytest.mark.parametrize("precision", ["exact", "auto"])
def test_the_weights_that_ship_show_no_seam(precision: str) -> None:
    """Tiles differ from the whole by less than one level of 8 bit, everywhere."""
    clean = np.asarray(Image.open(HERE / "data" / "coffee.png").convert("RGB").resize((260, 200)), np.float32) / 255
    noisy = clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape).astype(np.float32)
    whole, tiled = (open_restorer(precision=precision, tile=tile)(noisy, 25.0) for tile in (1280, 160))
    assert np.abs(whole - tiled).max() < 1 / 255


@pytest.mark.parametrize("weights", ["gaussian-fast", "gaussian-large", "photo", "photo-fast"])
@pytest.mark.parametrize("told", [None, 50.0])
def test_no_weights_that_ship_show_a_seam(weights: str, told: float | None) -> None:
    with Image.open(HERE / "data" / "coffee.png") as photo:
        clean = np.asarray(photo.convert("RGB").resize((480, 330)), np.float32) / 255
    noisy = clean + np.random.default_rng(0).normal(0, (told or 10) / 255, clean.shape).astype(np.float32)
    told = 10.0 if told is None and weights.startswith("gaussian") else told
    whole, tiled = (open_restorer(weights, precision="exact", tile=tile)(noisy, told) for tile in (1280, 320))
    assert np.abs(whole - tiled).max() < 1 / 255


@pytest.mark.parametrize("weights", ["gaussian", "gaussian-fast", "gaussian-large", "photo", "photo-fast"])
@pytest.mark.parametrize("tile", [1280, 320])
def test_pictures_that_networks_must_continue_are_restored_as_well_at_their_end(weights: str, tile: int) -> None:
    """What the last rows and columns lose is what the first ones lose, when the picture is turned upside down."""
    with Image.open(HERE / "data" / "coffee.png") as photo:
        clean = np.asarray(photo.convert("RGB").resize((481, 337)), np.float32) / 255  # 15 short of multiples of 16
    noisy = clean + np.random.default_rng(0).normal(0, 50 / 255, clean.shape).astype(np.float32)
    restore = open_restorer(weights, precision="exact", tile=tile)
    errors = np.square(restore(noisy, 50.0) - clean)
    turned = np.square(restore(noisy[::-1, ::-1], 50.0)[::-1, ::-1] - clean)
    assert errors[-4:].mean() < 1.1 * turned[-4:].mean()
    assert errors[:, -4:].mean() < 1.1 * turned[:, -4:].mean()


@pytest.mark.parametrize("size", [(1300, 1300), (3000, 4000), (1281, 40), (9000, 7000)])
def test_tiles_waste_little(size: tuple[int, int]) -> None:
    tile = module.cheapest_tile(*size, 1280, 48, 16)
    assert tile <= 1280
    tiles = plan_tiles(*size, tile, 48)
    assert len(tiles) * tiles[0].height * tiles[0].width < 1.3 * size[0] * size[1]


@pytest.mark.parametrize("multiple", [1, 24, 40, 64])
def test_tiles_start_where_the_network_starts_its_blocks(multiple: int) -> None:
    """A network that takes pictures apart in blocks gives the same in tiles only if they start with a block."""

    class Blocks:
        name = description = "blocks"
        limits = Limits(channels=3, sigma_map=False, overlap=4, multiple=multiple)

        def __call__(self, noisy: np.ndarray, sigma_map: np.ndarray | None = None) -> np.ndarray:
            rows, columns = (np.arange(side) % multiple for side in noisy.shape[2:])
            return noisy + np.float32(0.001) * (rows[:, None] + columns)

    image = array(np.float32, (300, 331, 3))
    whole, tiled = (NetworkRestorer(Blocks(), tile)(image) for tile in (1280, 150))
    np.testing.assert_allclose(whole, tiled, atol=1e-5)


def test_progress_counts_tiles(tiny: str) -> None:
    told: list[tuple[int, int]] = []
    open_restorer(tiny, tile=32)(array(np.float32, (60, 60, 3)), 25, progress=lambda *pair: told.append(pair))
    assert told == [(i, len(told)) for i in range(1, len(told) + 1)]
    assert len(told) > 3


def test_without_sigma_the_level_is_estimated(dark: str) -> None:
    clean = np.full((128, 128, 3), 0.5, np.float32)
    noisy = clean + np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32) * np.float32(20 / 255)
    taken = (noisy - denoise(noisy, weights=dark)).mean() * 510
    assert abs(taken - 20) < 2


def test_weights_that_nobody_names_go_by_the_noise() -> None:
    assert DenoiseOptions(sigma=12).weights == "gaussian"
    assert DenoiseOptions(sigma=12, weights="photo").weights == "photo"
    scene = np.linspace(0.2, 0.8, 96 * 96, dtype=np.float32).reshape(96, 96, 1).repeat(3, axis=2)
    grain = np.random.default_rng(0).normal(0, 12 / 255, scene.shape).astype(np.float32)
    blotches = 3 * (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1) + np.roll(grain, (1, 1), (0, 1))) / 4
    counted = np.random.default_rng(0).poisson(scene * 100).astype(np.float32) / 100 - scene
    tinted = counted * np.float32([1, 0.5, 0.5])  # unlike in the channels, as counted light is
    for noise, suited in ((grain, "gaussian"), (blotches, "photo"), (0 * grain, "photo"), (tinted, "gaussian")):
        noisy = scene + noise
        assert np.array_equal(denoise(noisy), denoise(noisy, weights=suited)), suited


def test_results_name_the_weights_that_were_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = np.linspace(50, 200, 96 * 96).reshape(96, 96, 1).repeat(3, axis=2)
    noisy = scene + np.random.default_rng(0).normal(0, 12, scene.shape)
    for name, pixels in (("scene", scene), ("noisy", noisy)):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    cases = {("scene", "auto"): "photo", ("noisy", "auto"): "gaussian", ("noisy", "photo"): "photo"}
    for (name, asked), expected in cases.items():
        result = denoise_file(tmp_path / f"{name}.png", options=DenoiseOptions(weights=asked, overwrite=True))
        assert result.weights == expected
        assert run(["denoise", str(tmp_path / f"{name}.png"), "--weights", asked, "--overwrite"]) == 0
        assert f"({expected}, " in capsys.readouterr().out
    assert denoise_file(tmp_path / "noisy.png", tmp_path / "x.png", DenoiseOptions(strength=0)).weights is None


def test_blind_weights_are_not_told_a_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = str(write_tiny(tmp_path / "blind.onnx", sigma_map=False))
    restorer = open_restorer(weights)
    assert not restorer.needs_sigma
    picture = array(np.float32, (9, 9, 3))
    assert np.array_equal(denoise(picture, weights=weights), denoise(picture, 50, weights=weights))
    write(tmp_path / "a.png", Picture(array(np.uint8, (9, 9, 3))))
    result = denoise_file(tmp_path / "a.png", tmp_path / "b.png", DenoiseOptions(weights=weights, sigma=50))
    assert result.sigma is None
    assert result.remarks == (f"{weights} takes no noise level, so --sigma makes no difference",)


@pytest.mark.parametrize("sigma", [-3, float("nan"), float("inf"), 256, "abc", True])
def test_a_sigma_that_is_no_level_is_refused(sigma: Any, tiny: str) -> None:
    with pytest.raises(UsageError, match=r"sigma is .*; it must be a number from 0 to 255"):
        denoise(array(np.uint8, (4, 4)), sigma, weights=tiny)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 1.5}, "strength is 1.5; it must be a number from 0 to 1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"tile": 0}, "tile is 0; it must be a whole number"),
        ({"threads": 1.5}, r"threads is 1\.5"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DenoiseOptions(**options)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "5 channels"),
        (np.zeros((4, 4, 0), np.uint8), "0 channels"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.zeros((0, 4), np.uint8), "no pixel"),
        (np.zeros(4, np.uint8), "shape"),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray, message: str, tiny: str) -> None:
    for strength in (0, 1):
        with pytest.raises(PictureError, match=message):
            denoise(picture, 25, strength, tiny)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("gausian", WeightsError, "did you mean 'gaussian'"),
        ("classical:nml", UsageError, "did you mean 'nlm'"),
        ("missing.onnx", WeightsError, "no such file"),
        ("nonet@missing.npz", UsageError, "unknown network 'nonet'"),
        ("dncnn@missing.npz", WeightsError, "no such file"),
    ],
)
def test_unknown_weights_are_refused(weights: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        denoise(array(np.uint8, (4, 4)), 25, weights=weights)


def test_bare_arrays_run_in_torch_only(tiny: str) -> None:
    with pytest.raises(UsageError, match="hush export"):
        open_restorer("dncnn@weights.npz", runtime="openvino")


@pytest.mark.parametrize("name", ["nlm", "tv", "wavelet", "median"])
def test_classical_methods_are_restorers(name: str) -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra 'classical')")
    restorer = open_restorer(f"classical:{name}")
    assert restorer.needs_sigma
    picture = array(np.uint8, (20, 30, 4))
    restored = denoise(picture, 25, weights=f"classical:{name}")
    assert (restored.shape, restored.dtype) == (picture.shape, picture.dtype)


@pytest.mark.parametrize("image", [np.zeros((5, 6)), np.zeros((5, 6, 3), np.uint8)])
def test_restorers_take_images_alone(image: np.ndarray, tiny: str) -> None:
    with pytest.raises(
        UsageError, match=r"a restorer takes floats \(H, W, C\) in \[0, 1\]. hush.denoise takes integers"
    ):
        open_restorer(tiny)(image, 25)


def test_the_identity_is_a_restorer() -> None:
    restorer = open_restorer("identity")
    image = array(np.float32, (5, 6, 3), low=-1, high=2)
    assert np.array_equal(restorer(image, 25), image)
    assert not restorer.needs_sigma


def test_weights_stay_in_memory_until_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hush.restoring import denoising

    opened: list[str] = []

    def count(weights: str, **options: Any) -> module.Identity:
        opened.append(weights)
        return module.Identity()

    monkeypatch.setattr(denoising, "open_restorer", count)
    file = tmp_path / "own.onnx"
    file.write_bytes(b"one")
    picture = array(np.uint8, (4, 4))
    for sigma in (10, 20):
        denoise(picture, sigma, 0.5, str(file))
    assert len(opened) == 1
    file.unlink()
    file.write_bytes(b"two, later")
    denoise(picture, 10, weights=str(file))
    assert len(opened) == 2


# ---------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, a text file named as one, and something else."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    Image.fromarray(array(np.uint8, (20, 30, 3))).save(inputs / "a.png")
    Image.fromarray(array(np.uint8, (21, 11))).save(inputs / "c.png")
    (inputs / "b.jpg").write_text("no picture")
    (inputs / "notes.txt").write_text("notes")
    return inputs


def test_a_file_is_written_beside_its_source(folder: Path, dark: str) -> None:
    result = denoise_file(folder / "a.png", options=DenoiseOptions(sigma=20, weights=dark))
    assert result == FileResult(folder / "a.png", folder / "a-hush.png", 20.0, result.seconds, 600 / 1e6)
    taken = np.asarray(Image.open(folder / "a.png"), int) - np.asarray(Image.open(result.target))
    assert (taken == 10).all()


def test_a_file_that_exists_is_kept(folder: Path, dark: str) -> None:
    target = folder / "c.png"
    kept = target.read_bytes()
    with pytest.raises(PictureError, match=r"c\.png: exists already"):
        denoise_file(folder / "a.png", target, DenoiseOptions(sigma=20, weights=dark))
    assert target.read_bytes() == kept
    denoise_file(folder / "a.png", target, DenoiseOptions(sigma=20, weights=dark, overwrite=True))
    assert Image.open(target).size == (30, 20)


def test_a_failed_picture_does_not_stop_the_others(folder: Path, tmp_path: Path, dark: str) -> None:
    results = list(denoise_files([folder], tmp_path / "new" / "out", DenoiseOptions(sigma=20, weights=dark)))
    assert [type(result) for result in results] == [FileResult, FileFailure, FileResult]
    assert [result.source.name for result in results] == ["a.png", "b.jpg", "c.png"]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["a.png", "c.png"]
    assert str(folder / "b.jpg") in str(results[1].error)  # type: ignore[union-attr]


def test_a_fault_of_ours_does_not_stop_the_others(
    folder: Path, tmp_path: Path, dark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pixels = filework.write_pages

    def faulty(target: Path, *args: Any, **options: Any) -> Path:
        if target.name == "a.png":
            raise IndexError("range object index out of range")
        return write_pixels(target, *args, **options)

    monkeypatch.setattr(filework, "write_pages", faulty)
    results = list(denoise_files([folder], tmp_path / "out", DenoiseOptions(sigma=20, weights=dark)))
    failures = [result for result in results if isinstance(result, FileFailure)]
    assert failures[0].source.name == "a.png"
    assert "a.png: IndexError: range object index out of range. Run it with --debug" in str(failures[0].error)
    assert (tmp_path / "out" / "c.png").exists()


def test_the_smallest_tiles_restore_pictures_within_a_limit_of_memory(tmp_path: Path) -> None:
    """With a limit the largest tile that memory allows is sought; it may be the smallest that can be."""
    write(tmp_path / "a.png", Picture(array(np.uint8, (130, 230))))
    options = DenoiseOptions(weights="gaussian-fast", sigma=20, tile=112, max_memory=2**40)
    denoise_file(tmp_path / "a.png", tmp_path / "b.png", options)
    assert read(tmp_path / "b.png").pixels.shape == (130, 230)
    with pytest.raises(UsageError, match="use a tile of 112 or more"):
        denoise_file(tmp_path / "a.png", tmp_path / "c.png", replace(options, tile=96))


def test_a_missing_file_does_not_stop_the_others(folder: Path, dark: str) -> None:
    options = DenoiseOptions(sigma=20, weights=dark)
    results = list(denoise_files([folder / "missing.png", folder / "a.png"], None, options))
    assert [type(result) for result in results] == [FileFailure, FileResult]


def test_an_output_file_for_one_picture(folder: Path, tmp_path: Path, dark: str) -> None:
    [result] = denoise_files(str(folder / "a.png"), tmp_path / "one.png", DenoiseOptions(sigma=20, weights=dark))
    assert result.target == tmp_path / "one.png"  # type: ignore[union-attr]


def test_an_output_file_for_two_pictures_is_refused(folder: Path, tmp_path: Path, dark: str) -> None:
    (tmp_path / "one.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"one\.png: a file, but there are 3 pictures"):
        denoise_files([folder], tmp_path / "one.png", DenoiseOptions(weights=dark))


def test_two_pictures_never_share_a_target(folder: Path, tmp_path: Path, dark: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(array(np.uint8, (5, 5, 3))).save(other / "a.png")
    options = DenoiseOptions(sigma=20, weights=dark, overwrite=True)
    first, second = denoise_files([folder / "a.png", other / "a.png"], tmp_path / "out", options)
    assert isinstance(first, FileResult)
    assert isinstance(second, FileFailure)
    assert Image.open(first.target).size == (30, 20)


def test_subfolders_are_made_again(folder: Path, tmp_path: Path, dark: str) -> None:
    (folder / "deep").mkdir()
    (folder / "a.png").rename(folder / "deep" / "c.png")
    options = DenoiseOptions(sigma=20, weights=dark)
    results = list(denoise_files([folder], tmp_path / "out", options, recursive=True))
    done = {r.target.relative_to(tmp_path / "out").as_posix() for r in results if isinstance(r, FileResult)}
    assert done == {"c.png", "deep/c.png"}


def test_wrong_usage_is_told_before_any_work(folder: Path) -> None:
    with pytest.raises(WeightsError):
        denoise_files([folder], None, DenoiseOptions(weights="unknown"))


# ---------------------------------------------------------------- the package


def test_importing_hush_imports_nothing_heavy() -> None:
    code = (
        "import sys, hush; "
        "assert not {'numpy', 'torch', 'openvino', 'PIL', 'pyvips'} & set(sys.modules); "
        "hush.denoise, hush.open_weights; "
        "assert not {'torch', 'openvino', 'PIL', 'pyvips', 'skimage', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names_are_there() -> None:
    for name in hush.__all__:
        assert getattr(hush, name) is not None
    assert set(hush.__all__) <= set(dir(hush))
    with pytest.raises(AttributeError, match="no attribute 'denoize'"):
        hush.denoize  # noqa: B018


def test_a_name_in_place_of_an_array_is_told_where_to_go(tiny: str) -> None:
    with pytest.raises(UsageError, match=r"denoise takes an array, and 'a\.png' is a name; use .*denoise_file"):
        denoise("a.png", weights=tiny)  # type: ignore[arg-type]


def test_lights_at_the_end_of_half_floats_stay_finite(tiny: str) -> None:
    image = (0.5 + 0.03 * np.random.default_rng(0).standard_normal((48, 48, 3))).astype(np.float16)
    image[10:30, 10:30] = 65504
    restored = hush.denoise(image, sigma=25, weights=tiny)
    assert restored.dtype == np.float16
    assert np.isfinite(restored).all()


def test_pictures_that_hold_no_noise_come_back_as_they_are() -> None:
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (12, 12), np.uint8), np.full((8, 8), 255, np.uint8))
    for picture in (np.full((64, 64, 3), 255, np.uint8), blocks):
        np.testing.assert_array_equal(hush.denoise(picture), picture)


def test_colours_into_which_alpha_is_multiplied_get_no_bright_fringe(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:96, :96]
    alpha = np.clip((40 - np.hypot(rows - 48, columns - 48)) / 8, 0, 1)
    light = 0.4 + 0.05 * np.random.default_rng(0).standard_normal((96, 96, 3))
    pixels = np.rint(65_535 * np.dstack([np.clip(light, 0, 1) * alpha[..., None], alpha])).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", DenoiseOptions(12.75, weights="gaussian-fast"))
    restored = tifffile.imread(tmp_path / "b.tif").astype(float)
    assert (restored[..., :3] <= restored[..., 3:]).all()
    edge = (alpha > 0.05) & (alpha < 0.95)
    errors = [
        np.sqrt(np.mean((p[..., :3][edge] / p[..., 3:][edge] - 0.4) ** 2)) for p in (pixels.astype(float), restored)
    ]
    assert errors[1] < errors[0]


def test_weights_that_change_are_read_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        from hush.learning.networks import build_network

        torch.save(build_network("dncnn(width=8, depth=3)").state_dict(), tmp_path / "bare.pth")
        os.utime(tmp_path / "bare.pth", ns=(seed, seed))
        found.append(hush.denoise(image, weights=f"dncnn(width=8, depth=3)@{tmp_path / 'bare.pth'}"))
    assert not np.array_equal(*found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_may_use_weights_that_its_parent_was_opening(tiny: str) -> None:
    restorer = open_restorer(tiny)
    image = np.full((16, 16, 3), 0.5, np.float32)
    child = multiprocessing.get_context("fork").Process(target=restorer, args=(image, 25.0))
    child.start()
    child.join(60)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert (alive, child.exitcode) == (False, 0)


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"runtime": "torch"}])
@pytest.mark.parametrize("weights", ["identity", "classical:median"])
def test_what_runs_nowhere_else_takes_no_runtime_and_no_device(weights: str, options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="leave out --runtime and --device"):
        hush.denoise(np.zeros((8, 8), np.uint8), 5, weights=weights, **options)


def test_a_difference_beyond_all_numbers_is_no_psnr() -> None:
    assert Outcome(5.0, math.inf, 9).psnr is None
    assert Outcome(5.0, 9.0, 9).psnr == 0


def test_auto_is_a_level_that_is_not_told(tiny: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(hush.denoise(image, "auto", weights=tiny), hush.denoise(image, weights=tiny))


def test_a_small_picture_that_is_decoded_as_a_whole_needs_little_memory(tiny: str, tmp_path: Path) -> None:
    write(tmp_path / "a.webp", Picture(np.full((64, 64, 3), 90, np.uint8)))
    limit = max(resident() + 60 * 2**20, 256 * 2**20)
    assert in_parts(tmp_path / "a.webp", tmp_path / "b.webp", DenoiseOptions(weights=tiny, max_memory=limit)) is None
