"""Each noise has the statistics, the shape or the codec that its docstring promises."""

import inspect
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import rng
from hush.errors import UsageError
from hush.learning.noise import BOUNDS, NOISES, Degradation
from hush.names import find

RANDOM = ["bernoulli", "gaussian", "poisson", "salt_pepper", "speckle", "text", "uniform"]  # the others draw nothing


def degrade(spec, clean, seed=0):
    return Degradation(spec)(clean, rng(seed)).noisy


def flat(value, n=1, channels=3, side=160):
    return torch.full((n, channels, side, side), float(value))


def photo_like(n=2, channels=3, height=64, width=80):
    y, x = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 6, width), indexing="ij")
    planes = [0.5 + 0.4 * torch.sin(x * (1 + 0.3 * i) + i) * torch.cos(y * 2) for i in range(n * channels)]
    return torch.stack(planes).reshape(n, channels, height, width)


def near(value, expected, spread, count):
    """Say whether a mean of ``count`` values of deviation ``spread`` lies within five of its own deviations."""
    return abs(float(value) - expected) < 5 * spread / math.sqrt(count)


def test_gaussian_has_its_sigma_on_the_eight_bit_scale():
    noise = degrade("gaussian(sigma=25)", flat(0.5)) - 0.5
    sigma, count = 25 / 255, noise.numel()
    assert near(noise.mean(), 0, sigma, count)
    assert near(noise.var(), sigma**2, math.sqrt(2) * sigma**2, count)
    assert near((noise / sigma).pow(4).mean(), 3, math.sqrt(96), count)  # the fourth moment of a Gaussian
    assert abs(torch.corrcoef(noise[0].flatten(1))[0, 1]) < 5 / 160  # channels are independent


def test_uniform_is_even_within_its_amplitude():
    noise = degrade("uniform(amplitude=51)", flat(0.5)) - 0.5
    assert noise.abs().max() <= 0.2 + 1e-6
    assert near(noise.mean(), 0, 0.2 / math.sqrt(3), noise.numel())
    assert near(noise.square().mean(), 0.04 / 3, 0.04 * math.sqrt(4 / 45), noise.numel())


@pytest.mark.parametrize(("level", "peak"), [(0.5, 4), (0.1, 30), (1.5, 1000)])
def test_poisson_counts_photons(level, peak):
    noisy = degrade(f"poisson(peak={peak})", flat(level))
    deviation = math.sqrt(level / peak)
    assert near(noisy.mean(), level, deviation, noisy.numel())
    assert near(noisy.var(), deviation**2, 2 * deviation**2, noisy.numel())
    photons = noisy * peak
    torch.testing.assert_close(photons, photons.round(), rtol=1e-6, atol=1e-3)


def test_poisson_sees_no_light_below_zero():
    assert torch.equal(degrade("poisson(peak=10)", flat(-0.3)), flat(0))


def test_salt_and_pepper_replace_their_shares_of_whole_pixels():
    clean = flat(0.5, n=2)
    noisy = degrade("salt_pepper(amount=0.2, salt=0.25)", clean)
    white, black = (noisy == 1).all(1), (noisy == 0).all(1)
    assert near(white.float().mean(), 0.05, math.sqrt(0.05 * 0.95), white.numel())
    assert near(black.float().mean(), 0.15, math.sqrt(0.15 * 0.85), black.numel())
    kept = ~(white | black)[:, None].expand_as(clean)
    assert torch.equal(noisy[kept], clean[kept])


@pytest.mark.parametrize(("amount", "salt", "left"), [(1.0, 1.0, {1.0}), (1.0, 0.0, {0.0}), (0.0, 0.5, {0.5})])
def test_salt_and_pepper_at_its_ends(amount, salt, left):
    assert set(degrade(f"salt_pepper(amount={amount}, salt={salt})", flat(0.5)).unique().tolist()) == left


def test_bernoulli_keeps_its_share_of_whole_pixels():
    clean = photo_like() + 0.5
    noisy = degrade("bernoulli(keep=0.7)", clean)
    kept = (noisy == clean).all(1)
    assert torch.equal(noisy, clean * kept[:, None])
    assert near(kept.float().mean(), 0.7, math.sqrt(0.21), kept.numel())


def test_speckle_grows_with_the_picture():
    bright, dim = (degrade("speckle(sigma=51)", flat(level)) - level for level in (1.0, 0.25))
    assert near(bright.var(), 0.04, 0.04 * math.sqrt(2), bright.numel())
    torch.testing.assert_close(dim, bright / 4)


@pytest.mark.parametrize("name", RANDOM)
def test_another_rng_gives_another_noise(name):
    clean = photo_like()
    assert not torch.equal(degrade(name, clean, seed=1), degrade(name, clean, seed=2))
    twins = clean[:1].repeat(2, 1, 1, 1)
    noisy = degrade(name, twins)
    assert not torch.equal(noisy[0], noisy[1]), "pictures of a batch have the same noise"


@pytest.mark.parametrize("name", NOISES)
def test_noise_keeps_type_and_any_channels(name):
    for dtype in (torch.float64, torch.bfloat16):
        noisy = degrade(name, photo_like().to(dtype))
        assert noisy.dtype == dtype
    for channels in (1, 2, 4):
        assert degrade(name, photo_like(channels=channels)).shape == (2, channels, 64, 80)
    laid_out = photo_like().to(memory_format=torch.channels_last)
    torch.testing.assert_close(degrade(name, laid_out), degrade(name, photo_like()))


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(sorted(NOISES)), height=st.integers(1, 20), width=st.integers(1, 20), n=st.integers(1, 3))
def test_noise_keeps_every_size(name, height, width, n):
    noisy = degrade(name, photo_like(n=n, height=height, width=width))
    assert noisy.shape == (n, 3, height, width)
    assert torch.isfinite(noisy).all()


@pytest.mark.parametrize(
    ("name", "option", "weak", "strong"),
    [
        ("bernoulli", "keep", 1, 0.2),
        ("defocus", "radius", 0, 9),
        ("gaussian", "sigma", 0, 50),
        ("jpeg", "quality", 95, 5),
        ("motion_blur", "length", 1, 15),
        ("poisson", "peak", 1e5, 5),
        ("salt_pepper", "amount", 0, 0.3),
        ("speckle", "sigma", 0, 50),
        ("text", "coverage", 0, 0.3),
        ("uniform", "amplitude", 0, 50),
    ],
)
def test_each_picture_has_its_own_strength(name, option, weak, strong):
    clean = photo_like()
    noisy = find(NOISES, name, "noise")(clean, rng(), **{option: torch.tensor([weak, strong])})
    hardly, much = (noisy - clean).square().mean(dim=(1, 2, 3)).sqrt()
    assert hardly < 0.015
    assert much > 0.04


def test_jpeg_is_what_pillow_writes():
    from PIL import Image

    clean = photo_like(n=1)
    eight_bit = (clean[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(eight_bit).save(file, "JPEG", quality=30)  # 4:2:0 is Pillow's own choice
    expected = np.asarray(Image.open(file), dtype=np.float32) / 255
    noisy = degrade("jpeg(quality=30)", clean)
    np.testing.assert_allclose(noisy[0].permute(1, 2, 0).numpy(), expected, atol=1e-7)


def test_jpeg_clips_and_is_worse_at_lower_quality():
    beyond = 3 * photo_like() - 1
    noisy = degrade("jpeg(quality=90)", beyond)
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    clean = photo_like(channels=1)
    errors = [(degrade(f"jpeg(quality={q})", clean) - clean).square().mean() for q in (5, 20, 60, 100)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("coverage", [0.05, 0.3])
def test_text_covers_its_share_and_leaves_the_rest(coverage):
    clean = photo_like(n=3, height=160, width=200)
    noisy = degrade(f"text(coverage={coverage})", clean)
    touched = (noisy != clean).any(1).float().mean(dim=(1, 2))  # every pixel with some ink, be it the palest edge
    assert (touched > coverage).all()
    assert (touched < 2 * coverage + 0.05).all()
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_letters_are_as_large_as_told_whatever_the_picture():
    """What is learnt on patches is to hold for whole pictures: runs of ink must be as long in both."""

    def longest(side, size):
        ink = degrade(f"text(coverage=0.05, size={size})", flat(0.0, n=8, side=side)).amax(1) > 0.1
        runs = [len(run) for row in ink.flatten(0, 1).int().tolist() for run in "".join(map(str, row)).split("0")]
        return np.quantile([run for run in runs if run], 0.99)

    small, large = longest(64, 10), longest(64, 60)
    assert large > 2 * small
    assert longest(256, 10) < 1.5 * small


def test_text_adds_ink_over_the_picture():
    black, white = degrade("text", flat(0.0)), degrade("text", flat(1.0))  # the same words, as the rng is the same
    ink = 1 - (white - black)  # white shows through where there is none
    assert ink.min() > -1e-6
    assert 0.1 <= ink[:, 0].mean() < 0.2
    torch.testing.assert_close(ink[:, 0], ink[:, 2])


def point(side=31):
    picture = torch.zeros(1, 1, side, side)
    picture[..., side // 2, side // 2] = 1
    return picture


@pytest.mark.parametrize("radius", [0.7, 2, 5.5])
def test_defocus_turns_a_point_into_a_disc(radius):
    disc = degrade(f"defocus(radius={radius})", point())[0, 0]
    y, x = torch.meshgrid(torch.arange(-15.0, 16), torch.arange(-15.0, 16), indexing="ij")
    distance = torch.hypot(y, x)
    assert disc.sum() == pytest.approx(1, abs=1e-5)
    assert disc[distance >= radius + 0.5].abs().max() < 1e-7
    assert 1 / disc.max() == pytest.approx(math.pi * radius**2, rel=0.25 if radius > 1 else 0.7)  # the disc's area
    inner = disc[distance <= radius - 0.5]
    assert torch.allclose(inner, inner[:1], atol=1e-7)


def test_motion_blur_is_a_line():
    across, down = (degrade(f"motion_blur(length=9, angle={angle})", point())[0, 0] for angle in (0, 90))
    box = torch.zeros(31)
    box[11:20] = 1 / 9
    torch.testing.assert_close(across[15], box)
    torch.testing.assert_close(down, across.T, atol=1e-6, rtol=0)
    rising = degrade("motion_blur(length=9, angle=45)", point())[0, 0]
    torch.testing.assert_close(rising, rising.T.flip(0, 1), atol=1e-6, rtol=0)
    assert rising[12, 18] > 10 * rising[18, 18], "45 degrees goes up to the right"
    longer = degrade("motion_blur(length=9.5, angle=0)", point())[0, 0]
    assert longer[15].max() == pytest.approx(1 / 9.5)


@pytest.mark.parametrize("name", ["defocus", "motion_blur(angle=30)"])
def test_blurs_repeat_the_edge_and_keep_flat_pictures(name):
    torch.testing.assert_close(degrade(name, flat(0.7, side=5)), flat(0.7, side=5))


@pytest.mark.parametrize("spec", ["defocus(radius=0)", "motion_blur(length=1, angle=77)"])
def test_no_blur_changes_nothing(spec):
    clean = photo_like()
    torch.testing.assert_close(degrade(spec, clean), clean)


def test_blur_treats_channels_and_pictures_alike():
    clean = photo_like(n=2)
    noisy = find(NOISES, "motion_blur", "noise")(clean, rng(), length=torch.tensor([3.0, 9.0]), angle=20)
    for i, length in enumerate((3, 9)):
        for c in range(3):
            alone = degrade(f"motion_blur(length={length}, angle=20)", clean[i : i + 1, c : c + 1])
            torch.testing.assert_close(noisy[i, c], alone[0, 0], atol=1e-6, rtol=0)


def test_every_numeric_option_has_bounds():
    assert set(BOUNDS) == set(NOISES)
    for name, bounds in BOUNDS.items():
        parameters = inspect.signature(find(NOISES, name, "noise")).parameters
        assert set(bounds) == set(parameters) - {"clean", "rng"}
        for option, (low, high) in bounds.items():
            assert low <= parameters[option].default <= high


@pytest.mark.parametrize(
    "spec",
    [
        "gaussian(sigma=-3)",
        "gaussian(sigma=abc)",
        "gaussian(sigma=-5..5)",
        "salt_pepper(amount=1.5)",
        "jpeg(quality=0)",
        "text(coverage=0.5..1)",
        "poisson(peak=0)",
        "defocus(radius=[1, 2])",
    ],
)
def test_options_out_of_bounds_are_refused(spec):
    with pytest.raises(UsageError, match=r"must be a number or a range (within|such as)"):
        Degradation(spec)


def test_jpeg_and_text_check_tensors_too():
    for name, option in (("jpeg", "quality"), ("text", "coverage")):
        with pytest.raises(UsageError, match=option):
            find(NOISES, name, "noise")(photo_like(), rng(), **{option: torch.tensor([1000.0, 1000.0])})


@pytest.mark.parametrize(
    ("spec", "sigma"),
    [
        ("gaussian(sigma=30) + gaussian(sigma=40)", 50),
        ("gaussian(sigma=50) + clip(share=0.5)", 50),
        ("gaussian", 25),
        ("poisson(peak=30) + gaussian(sigma=2)", None),
        ("gaussian(sigma=50) + defocus(radius=3)", None),
        ("gaussian(sigma=50) + clip + gaussian(sigma=5)", None),
        ("clip", None),
    ],
)
def test_a_level_is_told_only_of_gaussian_noise_alone(spec, sigma):
    level = Degradation(spec)(photo_like(), rng()).sigma_map
    assert level is None if sigma is None else torch.allclose(level * 255, torch.full((2, 1, 64, 80), float(sigma)))
