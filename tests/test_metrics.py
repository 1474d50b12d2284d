"""PSNR and SSIM agree with scikit-image and torchmetrics, and say what they mean at the edges."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hush.errors import PictureError
from hush.imaging.metrics import METRICS, mse, psnr, ssim, ssim_uniform, to_eight_bit

SHAPES = [(64, 64, 3), (37, 53, 3), (51, 101), (11, 11, 1), (12, 43, 3), (130, 44, 1)]


def pair(shape: tuple[int, ...], sigma: float = 25) -> tuple[np.ndarray, np.ndarray]:
    """Make a smooth clean image and a noisy one, float32 in [0, 1]."""
    rng = np.random.default_rng(sum(shape))
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    clean = 0.5 + 0.4 * np.sin(rows / 9) * np.cos(columns / 7)
    clean = clean[..., None] * rng.uniform(0.5, 1, shape[2]) if len(shape) == 3 else clean
    noisy = np.clip(clean + rng.normal(0, sigma / 255, shape), 0, 1)
    return noisy.astype(np.float32), clean.astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_scikit_image(shape: tuple[int, ...]) -> None:
    judge = pytest.importorskip("skimage.metrics")
    noisy, clean = pair(shape)
    doubles = clean.astype(np.float64), noisy.astype(np.float64)
    axis = 2 if len(shape) == 3 else None
    assert mse(noisy, clean) == pytest.approx(judge.mean_squared_error(*doubles), rel=1e-12)
    assert psnr(noisy, clean) == pytest.approx(judge.peak_signal_noise_ratio(*doubles, data_range=1), abs=1e-9)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = judge.structural_similarity(*doubles, data_range=1, channel_axis=axis, **gaussian)
    assert ssim(noisy, clean) == pytest.approx(expected, abs=1e-9)
    expected = judge.structural_similarity(*doubles, data_range=1, channel_axis=axis)
    assert ssim_uniform(noisy, clean) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_torchmetrics(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    judge = pytest.importorskip("torchmetrics.functional.image")
    noisy, clean = pair(shape)

    def batch(image: np.ndarray) -> object:
        image = image.reshape(*shape[:2], -1)
        return torch.from_numpy(image.astype(np.float64).transpose(2, 0, 1)[None].copy())

    _, full = judge.structural_similarity_index_measure(
        batch(noisy), batch(clean), data_range=1.0, return_full_image=True
    )
    assert ssim(noisy, clean) == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=1e-9)
    expected = judge.peak_signal_noise_ratio(batch(noisy), batch(clean), data_range=1.0)
    assert psnr(noisy, clean) == pytest.approx(float(expected), abs=1e-5)  # torchmetrics sums up in float32


def test_known_values() -> None:
    clean = np.full((20, 30, 3), 0.5)
    assert mse(clean + 0.1, clean) == pytest.approx(0.01)
    assert psnr(clean + 0.1, clean) == pytest.approx(20)
    assert psnr(clean * 255 + 25.5, clean * 255, peak=255) == pytest.approx(20)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if callable(metric)])
def test_every_metric_is_best_at_equality_and_worse_with_more_noise(name: str) -> None:
    metric = METRICS[name]
    assert callable(metric)  # what is named as module:attribute needs torch; its tests are elsewhere
    sign = -1 if name == "mse" else 1
    (light, clean), (heavy, _) = pair((40, 60, 3), 10), pair((40, 60, 3), 50)
    assert sign * metric(clean, clean) > sign * metric(light, clean) > sign * metric(heavy, clean)
    assert isinstance(metric(light, clean), float)
    assert metric(light, clean) == pytest.approx(metric(clean, light))


def test_what_is_not_finite_has_no_psnr() -> None:
    _, clean = pair((33, 20, 3))
    broken = clean.copy()
    broken[3, 4, 0] = np.nan
    assert np.isnan(psnr(broken, clean))


def test_equality() -> None:
    _, clean = pair((33, 20, 3))
    assert mse(clean, clean) == 0
    assert psnr(clean, clean) == float("inf")
    assert ssim(clean, clean) == pytest.approx(1, abs=1e-12)
    assert ssim_uniform(clean, clean) == pytest.approx(1, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3]))
def test_images_smaller_than_the_window(height: int, width: int, channels: int) -> None:
    noisy, clean = pair((height, width, channels))
    for metric in (ssim, ssim_uniform):
        assert -1 <= metric(noisy, clean) <= 1
        assert metric(clean, clean) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("metric", [ssim, ssim_uniform])
def test_colour_is_the_mean_of_the_channels_and_gray_has_two_spellings(metric: object) -> None:
    assert callable(metric)
    noisy, clean = pair((40, 31, 3))
    channels = [metric(noisy[..., c], clean[..., c]) for c in range(3)]
    assert metric(noisy, clean) == pytest.approx(np.mean(channels), abs=1e-12)
    assert metric(noisy[..., :1], clean[..., :1]) == pytest.approx(channels[0], abs=1e-12)


def test_integers_are_not_computed_in_their_own_type() -> None:
    black, white = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    assert mse(black, white) == 255**2
    assert psnr(black, white, peak=255) == pytest.approx(0)
    with pytest.raises(PictureError, match="peak=255"):
        psnr(black, white)


def test_images_that_do_not_compare_are_refused() -> None:
    with pytest.raises(PictureError, match=r"\(4, 5\).*\(5, 4\)"):
        mse(np.zeros((4, 5)), np.zeros((5, 4)))
    with pytest.raises(PictureError, match="no image"):
        ssim(np.zeros(5), np.zeros(5))
    with pytest.raises(PictureError, match="no image"):
        psnr(np.zeros((0, 5)), np.zeros((0, 5)))


def test_to_eight_bit_clamps_and_rounds() -> None:
    image = np.array([[-0.2, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.7]], np.float32)
    rounded = to_eight_bit(image)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded * 255, [[0, 0, 0, 1, 255, 255]], atol=1e-4)
    np.testing.assert_array_equal(to_eight_bit(rounded), rounded)


def test_ssim_is_fast() -> None:
    noisy, clean = pair((512, 512, 3))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        ssim(noisy, clean)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.0  # about 0.06 s of processor time; the bound leaves room for busy machines


def test_sharpness_falls_with_blur_and_is_zero_for_flat_images():
    from hush.imaging.metrics import sharpness

    image = np.random.default_rng(0).random((32, 40, 3))
    blurred = (image + np.roll(image, 1, axis=0) + np.roll(image, 1, axis=1)) / 3
    assert sharpness(image) > 1.5 * sharpness(blurred)
    assert sharpness(np.full((8, 8, 1), 0.3)) == pytest.approx(0, abs=1e-9)
    checks = np.indices((8, 8)).sum(axis=0)[..., None] % 2  # each pixel differs from its four neighbours by 1
    assert sharpness(np.pad(checks, ((8, 8), (8, 8), (0, 0)), mode="wrap")[1:-1, 1:-1]) == pytest.approx(
        4 * 255, rel=0.1
    )
