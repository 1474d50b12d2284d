"""Classical methods: any size, no clipping, and as good as their calibration says."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from PIL import Image

from conftest import HERE

pytest.importorskip("skimage", reason="scikit-image is not installed (extra 'classical')")

from hush.errors import MissingExtra
from hush.imaging.metrics import psnr
from hush.restoring.classical import CLASSICAL

METHODS = [name for name in CLASSICAL if name != "bm3d"]


def clean_image(height: int = 96, width: int = 96) -> np.ndarray:
    """Draw smooth colours with a few sharp edges, in [0.1, 0.9]."""
    y, x = np.mgrid[:height, :width] / 32
    waves = np.stack([np.sin(x + 1), np.cos(y), np.sin(x * y / 2)], axis=2)
    return (0.5 + 0.3 * waves + 0.1 * ((x + y) % 2 > 1)[..., None]).astype(np.float32)


def noisy_image(clean: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    return clean + noise * np.float32(sigma / 255)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_a_method_removes_noise(name: str, sigma: float) -> None:
    clean = clean_image()
    noisy = noisy_image(clean, sigma)
    gain = psnr(CLASSICAL[name](noisy, sigma), clean) - psnr(noisy, clean)
    assert gain > 4


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sigma", [10, 25])
def test_the_true_level_is_best_on_a_photograph(name: str, sigma: float) -> None:
    photo = np.asarray(Image.open(HERE / "data" / "coffee.png").convert("RGB"), np.float32)[60:220, 60:220] / 255
    noisy = noisy_image(photo, sigma)
    less, true, more = (psnr(CLASSICAL[name](noisy, factor * sigma), photo) for factor in (0.5, 1, 2))
    assert true >= max(less, more)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (7, 2, 3), (33, 40, 1), (20, 50, 4)])
def test_every_size_and_channel_count(name: str, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    kept = image.copy()
    restored = CLASSICAL[name](image, 25.0)
    assert (restored.shape, restored.dtype) == (shape, np.float32)
    assert np.isfinite(restored).all()
    assert np.array_equal(image, kept)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.5, 40.0, -3.0])
def test_a_flat_image_stays(name: str, value: float) -> None:
    image = np.full((40, 48, 3), value, np.float32)
    np.testing.assert_allclose(CLASSICAL[name](image, 25.0), image, atol=2e-3, rtol=1e-4)


def test_bm3d_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(MissingExtra, match="pip install bm3d"):
        CLASSICAL["bm3d"](clean_image(), 25.0)


@pytest.mark.parametrize(("channels", "calls"), [(1, [2]), (3, [3]), (4, [2, 2, 2, 2])])
def test_bm3d_is_called_by_what_it_takes(channels: int, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Gray (H, W) or RGB, at least 32 pixels a side: it crashes on less."""
    seen: list[int] = []

    def record(image: np.ndarray, level: float) -> np.ndarray:
        assert min(image.shape[:2]) >= 32
        assert level == 25 / 255
        seen.append(image.ndim)
        return image.astype(np.float64)

    monkeypatch.setitem(sys.modules, "bm3d", types.SimpleNamespace(bm3d=record, bm3d_rgb=record))
    image = np.random.default_rng(0).random((9, 50, channels), np.float32)
    assert np.array_equal(CLASSICAL["bm3d"](image, 25.0), image)
    assert seen == calls
