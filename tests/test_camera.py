"""The camera: what it does to light, to colours and to neighbours; what is told of its noise."""

import math

import numpy as np
import pytest
import torch

from conftest import rng
from hush.errors import RecipeError, UsageError
from hush.learning.camera import camera, draw_exposure, read_out
from hush.learning.config import Recipe
from hush.learning.datasets import Batch
from hush.learning.developing import (
    blur,
    colour_matrices,
    from_luma_chroma,
    mix_colours,
    smooth_and_sharpen,
    take_tones,
    to_linear,
    to_luma_chroma,
    to_srgb,
    tone,
    undo_gains,
    undo_tone,
    zoom,
)
from hush.learning.levels import measured_level, one_level, told_level
from hush.learning.methods.supervised import Supervised
from hush.learning.noise import Degradation
from hush.learning.sensor import bayer_masks, demosaic_bilinear, demosaic_malvar, line_noise, mosaic, sensor_noise
from hush.restoring.weights import UNTOLD


def each(value, count=1):
    return torch.full((count, 1, 1, 1), float(value))


def flat(value, count=1, side=96):
    return torch.full((count, 3, side, side), float(value))


def smooth_pictures(count=8, side=64):
    y, x = torch.meshgrid(torch.linspace(0, 2, side), torch.linspace(0, 2, side), indexing="ij")
    planes = [
        0.5 + 0.35 * torch.sin(x * (1 + i % 3) + c + i) * torch.cos(y + c) for i in range(count) for c in range(3)
    ]
    return torch.stack(planes).reshape(count, 3, side, side)


def psnr(a, b):
    return -10 * math.log10(float((a - b).square().mean()))


def lag_one(noise):
    noise = noise - noise.mean(dim=(-2, -1), keepdim=True)
    return float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())


@pytest.mark.parametrize("level", [0.02, 0.2, 0.9])
def test_sensor_noise_has_the_variance_of_counting_and_reading(level):
    raw = torch.full((1, 1, 300, 300), level)
    noise = sensor_noise(raw, rng(), each(0.01), each(0.0004))
    assert float(noise.mean()) == pytest.approx(0, abs=5e-4)
    assert float(noise.var()) == pytest.approx(0.01 * level + 0.0004, rel=0.03)


def test_lines_are_rows_or_columns_of_the_deviations_told():
    like = torch.zeros(2, 1, 400, 300)
    upright = torch.tensor([False, True]).reshape(2, 1, 1, 1)
    rows = line_noise(like, rng(), each(0.1, 2), each(0, 2), each(8, 2), upright)
    assert torch.equal(rows[0], rows[0, :, :, :1].expand(-1, -1, 300))
    assert torch.equal(rows[1], rows[1, :, :1].expand(-1, 400, -1))
    assert float(rows[0].std()) == pytest.approx(0.1, rel=0.2)
    wave = line_noise(like, rng(), each(0, 2), each(0.1, 2), each(8, 2), upright)
    assert float(wave.std()) == pytest.approx(0.1, rel=0.05)
    assert torch.allclose(wave[0, 0, :392], wave[0, 0, 8:], atol=1e-5)


def test_bayer_masks_part_the_pixels_among_the_colours():
    masks = bayer_masks(torch.arange(4), 6, 8)
    assert torch.equal(masks.sum(1), torch.ones(4, 6, 8, dtype=torch.long))
    assert torch.equal(masks.sum((2, 3)), torch.tensor([[12, 24, 12]] * 4))
    for phase in range(4):
        assert masks[phase, 0, phase // 2, phase % 2]
        assert masks[phase, 2, 1 - phase // 2, 1 - phase % 2]


@pytest.mark.parametrize("demosaic", [demosaic_bilinear, demosaic_malvar])
def test_demosaicking_gives_back_gray_ramps_and_what_was_seen(demosaic):
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    ramp = (0.1 + 0.01 * x + 0.02 * y).expand(4, 3, 20, 24)
    masks = bayer_masks(torch.arange(4), 20, 24)
    restored = demosaic(mosaic(ramp, masks), masks)
    assert torch.allclose(restored[..., 3:-3, 3:-3], ramp[..., 3:-3, 3:-3], atol=1e-6)
    drawn = torch.rand(4, 3, 20, 24, generator=rng())
    restored = demosaic(mosaic(drawn, masks), masks)
    assert torch.allclose(restored[masks], drawn[masks], atol=1e-6)


def test_malvar_is_closer_to_the_truth_than_bilinear():
    truth = blur(torch.rand(4, 1, 96, 96, generator=rng()), each(1.0, 4), 1.0).expand(-1, 3, -1, -1)
    truth = truth * torch.tensor([0.9, 1.0, 0.7]).reshape(1, 3, 1, 1)
    masks = bayer_masks(torch.arange(4), 96, 96)
    seen = mosaic(truth, masks)
    assert psnr(demosaic_malvar(seen, masks), truth) > psnr(demosaic_bilinear(seen, masks), truth) + 3


def test_colours_and_tones_have_inverses():
    image = torch.rand(3, 3, 16, 16, generator=rng())
    chosen = torch.tensor([True, False, True]).reshape(3, 1, 1, 1)
    assert torch.allclose(tone(undo_tone(image, chosen), chosen), image, atol=1e-5)
    assert torch.allclose(to_srgb(to_linear(image)), image, atol=1e-5)
    assert torch.allclose(from_luma_chroma(*to_luma_chroma(image)), image, atol=1e-6)
    matrices = colour_matrices(torch.rand(3, 4, generator=rng()))
    assert torch.allclose(matrices.sum(2), torch.ones(3, 3), atol=1e-6)
    assert torch.allclose(mix_colours(mix_colours(image, matrices), torch.linalg.inv(matrices)), image, atol=1e-4)
    gains = torch.tensor([2.0, 1.0, 1.6]).reshape(1, 3, 1, 1)
    assert torch.allclose(undo_gains(image[:, :, :1] * 0.8, gains) * gains, image[:, :, :1] * 0.8, atol=1e-6)
    assert torch.allclose(undo_gains(torch.ones(1, 3, 2, 2), gains), torch.ones(1, 3, 2, 2))


def test_blur_is_a_gaussian_of_the_deviation_told():
    point = torch.zeros(2, 1, 41, 41)
    point[:, :, 20, 20] = 1
    spread = blur(point, torch.tensor([0.0, 2.0]), 2.0)
    assert torch.allclose(spread[0], point[0])
    steps = torch.arange(41.0) - 20
    assert float((spread[1, 0].sum(0) * steps.square()).sum().sqrt()) == pytest.approx(2.0, rel=0.05)


def test_smoothing_takes_noise_from_flat_places_and_none_from_edges():
    guide = torch.zeros(1, 1, 64, 64)
    guide[..., 32:] = 1
    luma = guide + 0.05 * torch.randn(1, 1, 64, 64, generator=rng())
    options = {"radius": each(1.5), "longest": 1.5, "smoothing": each(0.9), "edge": each(0.02)}
    result = smooth_and_sharpen(luma, guide, sharpening=each(0), **options)
    left, edge = (result - guide)[..., :24], (result - guide)[..., 31:33]
    assert float(left.std()) < 0.6 * 0.05
    assert float(edge.std()) > 0.8 * 0.05
    sharper = smooth_and_sharpen(guide, guide, sharpening=each(0.5), **options)
    assert sharper.max() > 1.05
    nothing = smooth_and_sharpen(luma, guide, sharpening=each(0), **{**options, "smoothing": each(0)})
    assert torch.allclose(nothing, luma, atol=1e-6)


def test_tones_are_those_of_the_mean_of_many_exposures():
    clean = torch.linspace(0, 1, 96).repeat(2, 3, 96, 1)
    even = 0.1 * torch.randn(clean.shape, generator=rng())
    clipped = (clean + even).clamp(0, 1)
    shifted = take_tones(clean, clipped)
    for dark in (slice(0, 8), slice(24, 72), slice(88, 96)):
        bias = [float((clipped - view)[..., dark].mean().abs()) for view in (clean, shifted)]
        assert bias[1] < max(0.4 * bias[0], 0.003)
    assert torch.equal(take_tones(clean, clean), clean)
    rare = torch.where(torch.rand(clean.shape, generator=rng(1)) < 3e-4, 1.0, 0.2)
    moved = take_tones(rare, rare + 0.3 * (rare == 1))
    assert torch.allclose(moved, rare, atol=0.03)  # a few pixels tell nothing


def test_noise_of_a_camera_shifts_no_tones():
    dark = smooth_pictures(24, 96) * 0.4
    for channels in (3, 1):
        noisy, _, clean = camera(dark[:, :channels], rng(2), stops=7, quiet=0, compressed=0)
        assert (noisy - clean).std() > 0.03
        assert (noisy - clean).mean((2, 3)).abs().max() < 1 / 255


def test_zoom_keeps_the_centre_and_the_size():
    image = smooth_pictures(2, 65)
    zoomed = zoom(image, torch.tensor([1.0, 1.5]))
    assert torch.allclose(zoomed[0], image[0], atol=1e-5)
    assert torch.allclose(zoomed[1, :, 32, 32], image[1, :, 32, 32], atol=1e-4)


def test_a_camera_without_noise_gives_the_same_colours():
    clean = smooth_pictures(96)
    degraded = camera(clean, rng(3), quiet=1.0, compressed=0.0)
    assert degraded.clean is not None
    assert psnr(degraded.noisy, degraded.clean) > 55  # rounded to 8 bit
    assert (degraded.clean - clean).mean(dim=(0, 2, 3)).abs().max() < 0.006
    alike = [psnr(*views) for views in zip(degraded.clean, clean, strict=True)]
    assert np.median(alike) > 30  # a lens, smoothing; three in ten are zoomed


def test_more_stops_more_noise_and_hardly_any_at_the_least():
    clean = smooth_pictures(16)
    levels = []
    for stops in (-6, 0, 4, 8):
        degraded = camera(clean, rng(1), stops=stops, quiet=0, compressed=0)
        levels.append(255 * float((degraded.noisy - degraded.clean).std()))
    assert levels == sorted(levels)
    assert levels[0] < 1 < levels[1]
    assert levels[3] > 15


def test_noise_is_white_where_pixels_were_binned_and_like_its_neighbours_elsewhere():
    clean = smooth_pictures(64)
    whites, cameras = (camera(clean, rng(2), stops=4, quiet=0, binned=b, compressed=0) for b in (1.0, 0.0))
    assert abs(lag_one(whites.noisy - whites.clean)) < 0.1
    assert 0.25 < lag_one(cameras.noisy - cameras.clean) < 0.8


def test_noise_of_the_sensor_is_stronger_in_the_light_before_curves_and_clipped_at_white():
    exposure = draw_exposure(4, rng(), torch.device("cpu"), stops=6, quiet=0, binned=1)
    dark, light, white = (read_out(flat(v, 4), exposure, rng(), None) for v in (0.01, 0.1, 1.0))
    assert light.std() > 1.5 * dark.std()
    assert white.max() <= 0
    assert torch.isfinite(white).all()


def test_dim_scenes_stay_dark_and_their_noise_grows_with_light():
    slope = torch.linspace(0.1, 0.9, 64).expand(24, 3, 64, 64)
    growth, means = [], []
    for share in (0, 1):
        degraded = camera(slope, rng(4), stops=5, quiet=0, binned=1, compressed=0, dim=share)
        assert degraded.clean is not None
        noise = degraded.noisy - degraded.clean
        growth.append(float(noise[..., 40:].std(dim=(1, 2, 3)).div(noise[..., :24].std(dim=(1, 2, 3))).median()))
        means.append(float(degraded.clean.mean()))
    assert means[1] < 0.75 * means[0]
    assert growth[1] > 1.2 * growth[0]


def test_highlights_of_dim_scenes_are_gray():
    white = torch.ones(24, 3, 32, 32)
    clean = camera(white, rng(7), quiet=1, binned=1, compressed=0, dim=1).clean
    assert clean.mean((1, 2, 3)).min() < 0.6
    assert (clean.amax(1) - clean.amin(1)).max() < 0.02


def test_flat_scenes_have_their_mean_and_less_contrast():
    scenes = torch.rand(24, 3, 32, 32, generator=rng(5)).mul(0.5).add(0.25)
    normal, flat = (camera(scenes, rng(6), quiet=1, compressed=0, flat=share).clean for share in (0, 1))
    assert torch.allclose(flat.mean((1, 2, 3)), normal.mean((1, 2, 3)), atol=0.05)
    kept = flat.std(dim=(2, 3)).mean(1) / normal.std(dim=(2, 3)).mean(1)
    assert kept.max() < 1.1
    assert kept.min() < 0.3
    assert kept.mean() == pytest.approx(0.55, abs=0.15)


def test_cameras_that_clean_leave_colours_in_blotches_and_more_luminance_noise_at_edges():
    scenes = flat(0.5, 48, 64)
    scenes[..., 32:] += 0.2 * (torch.arange(32) // 4 % 2)  # stripes on the right
    colours, edges = [], []
    for share in (0, 1):
        degraded = camera(scenes, rng(8), stops=4, quiet=0, binned=0, compressed=0, cleaned=share)
        assert degraded.clean is not None
        luma, chroma = to_luma_chroma(degraded.noisy - degraded.clean)
        fine = [plane - blur(plane, each(1.5, 48), 1.5) for plane in (luma, chroma)]
        colours.append(float((fine[1].std((1, 2, 3)) / fine[0].std((1, 2, 3))).median()))
        edges.append(float((luma[..., 36:60].std((1, 2, 3)) / luma[..., 4:28].std((1, 2, 3))).median()))
    assert colours[1] < 0.5 * colours[0]
    assert edges[1] > 1.2 * edges[0]


def test_gray_pictures_stay_gray_and_tiny_ones_are_taken():
    gray = camera(torch.rand(2, 1, 24, 20), rng(), stops=3)
    assert gray.noisy.shape == (2, 1, 24, 20)
    tiny = camera(torch.rand(3, 3, 2, 1), rng(), stops=3)
    assert torch.isfinite(tiny.noisy).all()
    two = camera(torch.rand(3, 2, 8, 8), rng(), stops=torch.tensor([0.0, 3, 6]))
    assert two.noisy.shape == (3, 2, 8, 8)


def test_a_camera_comes_first():
    assert Degradation("camera(stops=0..4) + jpeg(quality=80)")(smooth_pictures(1), rng()).sigma_map is None
    with pytest.raises(UsageError, match="put it first"):
        Degradation("gaussian(sigma=5) + camera")


def test_what_is_told_is_the_level_that_was_drawn():
    noise = 0.1 * torch.randn(2, 3, 96, 96, generator=rng()) * torch.linspace(0.5, 1.5, 96)
    level = measured_level(noise)
    expected = 0.1 * torch.linspace(0.5, 1.5, 96)[24:72]
    assert torch.allclose(level[:, :, 24:72, 24:72].mean((0, 1, 2)), expected, rtol=0.06)
    assert float(one_level(level)[0, 0, 0, 0]) == pytest.approx(float(noise.std()), rel=0.05)
    assert torch.equal(told_level(level, rng(), error=0, untold=0), level)
    many = torch.full((4000, 1, 1, 1), 0.1)
    told = told_level(many, rng(), error=0.2, untold=0.5)
    silent = told == UNTOLD
    assert float(silent.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((told[~silent] / 0.1).log().std()) == pytest.approx(0.2, rel=0.1)


def small_recipe(**more):
    told = {"degradation": "camera(stops=0..6)", "untold": 0.5, "level_error": 0.2}
    return Recipe(**{"network": "drunet(widths=[8, 16], blocks=1, unshuffle=2)", **told, **more})


def test_learning_restores_what_the_camera_would_have_given():
    method = Supervised(small_recipe(), torch.device("cpu"))
    clean = smooth_pictures(4)
    view = method.degrade(Batch(clean), rng(5))
    assert view.clean.shape == clean.shape
    assert not torch.equal(view.clean, clean)
    assert psnr(view.noisy, view.clean) > psnr(view.noisy, clean)
    gray = method.degrade(Batch(clean, gray=torch.tensor([True, False, True, False])), rng(5))
    for picture in (gray.noisy, gray.clean):
        assert torch.equal(picture[0, 0], picture[0, 2])
        assert not torch.equal(picture[1, 0], picture[1, 2])


def test_finished_pairs_are_left_as_they_are_beside_pictures_that_are_degraded():
    method = Supervised(small_recipe(), torch.device("cpu"))
    clean = smooth_pictures(4)
    noisy = clean.clone()
    noisy[1::2] += 0.05
    finished = torch.tensor([False, True, False, True])
    view = method.degrade(Batch(clean, noisy, finished=finished), rng(1))
    assert torch.equal(view.noisy[1::2], noisy[1::2])
    assert torch.equal(view.clean[1::2], clean[1::2])
    assert not torch.equal(view.noisy[::2], noisy[::2])
    with pytest.raises(RecipeError, match="the data set has pairs"):
        method.degrade(Batch(clean, noisy), rng(1))


def test_blind_weights_restore_without_being_told():
    told = Supervised(small_recipe(), torch.device("cpu"))
    clean = smooth_pictures(1)
    untold = torch.full_like(clean[:, :1], UNTOLD)
    assert torch.equal(told.restore(clean), told.restore(clean, sigma_map=untold))
    with pytest.raises(UsageError, match="give sigma_map"):
        Supervised(small_recipe(untold=0.0), torch.device("cpu")).restore(clean)


def test_draws_differ_from_picture_to_picture():
    shares = dict.fromkeys(("dim", "flat", "near", "cleaned"), 0.5)
    exposure = draw_exposure(64, rng(), torch.device("cpu"), torch.linspace(0, 6, 64), **shares)
    for name, value in vars(exposure).items():
        assert len(value) == 64, name
        assert len(torch.unique(value.reshape(64, -1).double(), dim=0)) > 1, name
    assert np.isclose(float(exposure.quality.max()), 101)
