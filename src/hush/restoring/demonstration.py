"""The demo: photographs that ship are given noise, restored, and compared with what they were.

The noise level is not told: it is estimated, as it is for a picture of yours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError
from hush.imaging.arrays import decode, to_bytes
from hush.imaging.files import Picture, read, write
from hush.imaging.metrics import psnr, ssim
from hush.imaging.pages import Page
from hush.restoring.denoising import denoise

Pixels = NDArray[np.uint8]
Image = NDArray[np.float64]
Noise = Callable[[Image, np.random.Generator], Image]

PHOTOGRAPHS = Path(__file__).parent.parent / "demo"
MIXED = 0.1  # of a neighbour's noise in a pixel, down and across: a correlation of 0.11


def gaussian(clean: Image, rng: np.random.Generator, *, sigma: float) -> Image:
    """Add white Gaussian noise of deviation ``sigma`` on the 8-bit scale to an image (H, W, C) in [0, 1]."""
    return clean + rng.normal(0, sigma / 255, clean.shape)


def sensor(clean: Image, rng: np.random.Generator, *, electrons: float, read_noise: float = 2.0) -> Image:
    """Take an image (H, W, 3), sRGB in [0, 1], as a camera would in low light.

    Light becomes electrons, counted with Poisson noise and read out with Gaussian noise (Foi, Trimeche, Katkovnik,
    Egiazarian 2008), in linear light. A pixel has one red, two green and one blue site, as if the picture were half
    the size of its Bayer sensor, and demosaicing mixes a tenth of each neighbour in.

    Args:
        clean: the scene.
        rng: where the noise comes from.
        electrons: that a site collects at full white; fewer are noisier.
        read_noise: deviation of reading a site, in electrons.
    """
    sites = np.array([1, 2, 1])
    light = _to_linear(clean)
    counted = rng.poisson(light * electrons * sites) + rng.normal(0, read_noise * np.sqrt(sites), clean.shape)
    noise = counted / (electrons * sites) - light
    for axis in (0, 1):
        noise = (1 - MIXED) * noise + MIXED * np.roll(noise, 1, axis)
    return _to_srgb(np.clip(light + noise, 0, 1))


def _to_linear(image: Image) -> Image:
    """Undo the sRGB curve (IEC 61966-2-1)."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: Image) -> Image:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class Scene:
    """A photograph that ships, and the noise it gets."""

    name: str
    noise: str
    """In words."""
    add_noise: Noise
    credit: str


SCENES = (
    Scene(
        "astronaut",
        "white Gaussian, sigma 25",
        partial(gaussian, sigma=25),
        "Eileen Collins, NASA; public domain",
    ),
    Scene(
        "brushes",
        "camera, 80 electrons at white",
        partial(sensor, electrons=80),
        "Picture 1A by Trevor “Freespace”, CC BY 4.0; reduced in size",
    ),
    Scene(
        "mountains",
        "camera, 100 electrons at white",
        partial(sensor, electrons=100),
        "Picos de Europa by Aitzol Berasategi, CC BY 4.0; reduced in size",
    ),
    Scene(
        "rocket",
        "camera, 150 electrons at white",
        partial(sensor, electrons=150),
        "Falcon 9 with DSCOVR by SpaceX, CC0",
    ),
)


@dataclass(frozen=True)
class Demonstration:
    """One scene: its views as 8-bit pictures (H, W, 3), and how close they are to the clean one."""

    scene: Scene
    clean: Pixels
    noisy: Pixels
    restored: Pixels
    seconds: float
    """Restoring, without opening the weights."""
    psnr: tuple[float, float]
    """Noisy and restored, in dB."""
    ssim: tuple[float, float]
    """Noisy and restored."""


def demonstrate(weights: str = "auto", *, seed: int = 0) -> Iterator[Demonstration]:
    """Give each scene its noise, restore it blind, and measure both.

    Raises WeightsError if the weights do not run.
    """
    for told in (25.0, None):  # opens the weights, both where the noise decides, out of the timing
        denoise(np.zeros((16, 16, 3), np.uint8), told, weights=weights)
    for number, scene in enumerate(SCENES):
        clean = open_scene(scene)
        image = decode(clean)[0].astype(np.float64)
        degraded = scene.add_noise(image, np.random.default_rng([seed, number]))
        noisy = to_bytes(degraded)  # as a camera's file holds it
        started = time.perf_counter()
        restored = denoise(noisy, weights=weights)
        seconds = time.perf_counter() - started
        psnrs, ssims = (
            (measure(noisy, clean, peak=255), measure(restored, clean, peak=255)) for measure in (psnr, ssim)
        )
        yield Demonstration(scene, clean, noisy, restored, seconds, psnrs, ssims)


def open_scene(scene: Scene) -> Pixels:
    """Return the clean photograph (H, W, 3)."""
    return read(PHOTOGRAPHS / f"{scene.name}.jpg").pixels


def save_pictures(shown: Demonstration, folder: str | Path) -> list[Path]:
    """Write a scene's three views as PNG into a folder, and return their paths."""
    views = {"clean": shown.clean, "noisy": shown.noisy, "restored": shown.restored}
    top = _make_folder(folder)
    return [
        write(top / f"{shown.scene.name}-{view}.png", Picture(pixels=pixels), overwrite=True)
        for view, pixels in views.items()
    ]


def save_page(demonstrations: Sequence[Demonstration], folder: str | Path, *, weights: str = "auto") -> Path:
    """Write index.html with figures and sliders, pictures included, and return its path."""
    page = Page("hush demo: noisy and restored")
    page.text(
        "Photographs were given the noise of a simulated camera, or plain Gaussian noise, and restored by the weights "
        f"“{weights}”. The noise level was not told. Drag the line, or use the arrow keys."
    )
    headers = ["picture", "noise", "PSNR noisy, dB", "PSNR restored, dB", "SSIM noisy", "SSIM restored", "seconds"]
    page.table(headers, [table_row(shown) for shown in demonstrations])
    for shown in demonstrations:
        figures = f"{shown.psnr[0]:.2f} to {shown.psnr[1]:.2f} dB"
        page.slider(shown.noisy, shown.restored, f"{shown.scene.name}: {shown.scene.noise}; {figures}")
    credits = "; ".join(f"{shown.scene.name}: {shown.scene.credit}" for shown in demonstrations)
    page.footer(f"Photographs: {credits}. Noise was added to all of them.")
    return page.save(_make_folder(folder) / "index.html")


def table_row(shown: Demonstration) -> list[str | float]:
    """Return a scene's line: picture, noise, PSNR noisy and restored, SSIM noisy and restored, seconds."""
    return [shown.scene.name, shown.scene.noise, *shown.psnr, *shown.ssim, shown.seconds]


def _make_folder(folder: str | Path) -> Path:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HushError(f"{path}: cannot make the folder ({error.strerror}); choose another with -o") from error
    return path
