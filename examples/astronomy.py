"""A long exposure from short noisy frames: Noise2Noise on a simulated night sky, judged by the flux of its stars.

    python examples/astronomy.py OUT
    python examples/astronomy.py OUT --photograph          # the Hubble Deep Field, which scikit-image brings
    python examples/astronomy.py OUT --photograph SKY.jpg

Draws fields of stars over a glowing nebula, or cuts them from a photograph, takes two short frames of each (photon
noise, read noise, a pedestal that keeps values above zero), and trains on pairs of frames alone: no clean picture is
ever seen. Then the flux of each star of fields that were held out is measured by aperture photometry, before and after,
and compared with the true one; in a photograph whatever is small and bright counts as a star, and its flux there as
true.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, median_filter

from hush.imaging.metrics import psnr
from hush.learning.config import read_recipe
from hush.learning.runs import draw_grid, open_saved
from hush.learning.training import train

Frame = NDArray[np.float64]

SIDE = 160
SEEING = 1.4  # pixels; deviation of a star's picture
PEDESTAL = 0.1  # of full scale, added by the camera
SKY = 0.03
PHOTONS = 400  # per pixel and short frame at full scale
READ_NOISE = 0.015  # of full scale
FRAMES = 16  # in the long exposure
HELD_OUT = 12  # fields, where they are drawn
MARGIN = 12  # pixels around a star that no other star's aperture touches
FAINTEST = 0.02  # of full scale above what is around, from which on a maximum of a photograph is a star
LEARNT = 0.6  # of a photograph, from its left, is learnt from; the rest is held out
APERTURE, RING = 4.0, (7.0, 11.0)  # pixels; radius that is summed, and where the background is measured


@dataclass(frozen=True)
class Field:
    """A piece of the sky."""

    clean: Frame
    """(SIDE, SIDE), what an endless exposure would show."""
    places: NDArray[np.float64]
    """(N, 2): row and column of each star."""
    fluxes: NDArray[np.float64]
    """(N,): sum over all pixels of each star."""


def draw_field(rng: np.random.Generator) -> Field:
    """Draw a nebula and some thirty stars, the faint ones many and the bright ones few."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    nebula = np.zeros((SIDE, SIDE))
    for _ in range(12):
        row, column = rng.uniform(0, SIDE, 2)
        width = rng.uniform(8, 40)
        nebula += rng.uniform(0, 0.05) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    clean = PEDESTAL + SKY + nebula
    places = scatter(rng)
    peaks = np.minimum(0.7, 0.02 * (1 - rng.random(len(places))) ** (-1 / 1.2))  # a power law, as counts of stars are
    for (row, column), peak in zip(places, peaks, strict=True):
        clean += peak * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * SEEING**2))
    return Field(clean, places, peaks * 2 * np.pi * SEEING**2)


def cut_fields(photograph: Path | None) -> tuple[list[Field], list[Field]]:
    """Cut fields from a photograph of the sky: those to learn from, and those that are held out.

    None is the Hubble Deep Field (R. Williams, STScI, and NASA; public domain). Its values are taken for sRGB's.
    """
    if photograph is None:
        from skimage import data

        rgb = data.hubble_deep_field()
    else:
        rgb = np.asarray(Image.open(photograph).convert("RGB"))
    light = ((rgb / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]) * (1 - PEDESTAL - SKY)
    fields: tuple[list[Field], list[Field]] = [], []
    for top in range(0, light.shape[0] - SIDE + 1, SIDE):
        for left in range(0, light.shape[1] - SIDE + 1, SIDE):
            clean = PEDESTAL + SKY + light[top : top + SIDE, left : left + SIDE]
            places = find_stars(clean)
            field = Field(clean, places, measure(clean, places))
            fields[(left + SIDE) > LEARNT * light.shape[1]].append(field)
    return fields


def find_stars(clean: Frame) -> NDArray[np.float64]:
    """Return where what is small and bright stands, none close to another or to the border."""
    raised = clean - median_filter(clean, size=2 * MARGIN + 1)
    peaks = (raised > FAINTEST) & (raised == maximum_filter(raised, size=4 * MARGIN + 1))
    inside = np.zeros_like(peaks)
    inside[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    return np.argwhere(peaks & inside).astype(float)


def scatter(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return places of stars, none too close to another or to the border."""
    kept: list[NDArray[np.float64]] = []
    for place in rng.uniform(MARGIN, SIDE - MARGIN, (60, 2)):
        if all(np.hypot(*(place - other)) > 2 * MARGIN for other in kept):
            kept.append(place)
    return np.array(kept)


def expose(clean: Frame, rng: np.random.Generator) -> Frame:
    """Take a short frame, as a camera of 16 bits stores it."""
    light = rng.poisson((clean - PEDESTAL) * PHOTONS) / PHOTONS
    frame = PEDESTAL + light + rng.normal(0, READ_NOISE, clean.shape)
    return np.rint(np.clip(frame, 0, 1) * 65535) / 65535


def measure(image: Frame, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the flux of each star: the sum within an aperture, less the median of a ring around it."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    fluxes = []
    for row, column in places:
        distance = np.hypot(rows - row, columns - column)
        background = np.median(image[(distance >= RING[0]) & (distance < RING[1])])
        fluxes.append((image[distance <= APERTURE] - background).sum())
    return np.array(fluxes)


def restore(network: torch.nn.Module, frame: Frame) -> Frame:
    """Restore a frame."""
    with torch.inference_mode():
        return network(torch.from_numpy(frame).float()[None, None])[0, 0].double().numpy()


def write_frames(folder: Path, fields: list[Field], rng: np.random.Generator) -> None:
    """Write two short frames of each field, ``first/NAME.png`` and ``second/NAME.png``, in 16 bits."""
    for view in ("first", "second"):
        (folder / view).mkdir(parents=True, exist_ok=True)
        for number, field in enumerate(fields):
            pixels = np.rint(expose(field.clean, rng) * 65535).astype(np.uint16)
            Image.fromarray(pixels).save(folder / view / f"{number:03d}.png")


def report(fields: list[Field], pictures: dict[str, list[Frame]]) -> str:
    """Return a table: PSNR, and for faint, middling and bright stars the error of their flux in percent."""
    fluxes = np.concatenate([field.fluxes for field in fields])
    limits = np.quantile(fluxes, [0, 1 / 3, 2 / 3, 1])
    groups = [(fluxes >= low) & (fluxes <= high) for low, high in pairwise(limits)]
    lines = [
        f"| {len(fluxes)} stars | PSNR, dB | faint: bias, scatter | middling: bias, scatter | bright: bias, scatter |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, images in pictures.items():
        found = np.concatenate([measure(i, field.places) for i, field in zip(images, fields, strict=True)])
        errors = 100 * (found / fluxes - 1)
        cells = [f"{np.median(errors[g]):+.1f} %, {1.4826 * mad(errors[g]):.1f} %" for g in groups]
        mean = np.mean([psnr(image, field.clean) for image, field in zip(images, fields, strict=True)])
        lines.append(f"| {name} | {mean:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mad(values: NDArray[np.float64]) -> float:
    """Return the median distance from the median; 1.4826 of it is the deviation of normal values."""
    return float(np.median(np.abs(values - np.median(values))))


def main() -> None:
    """Draw, train, measure; write a table and a picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for frames, run and results")
    parser.add_argument("--photograph", nargs="?", const="", help="of the sky; without a file the Hubble Deep Field")
    parser.add_argument("--fields", type=int, default=60, help="to learn from, where they are drawn")
    parser.add_argument("--steps", type=int, default=1500, help="updates")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    if arguments.photograph is None:
        learnt, fields = ([draw_field(rng) for _ in range(count)] for count in (arguments.fields, HELD_OUT))
    else:
        learnt, fields = cut_fields(Path(arguments.photograph) if arguments.photograph else None)
    write_frames(arguments.out / "frames", learnt, rng)
    recipe = read_recipe(
        Path(__file__).with_suffix(".toml"),
        [f"data.root={arguments.out / 'frames'}", f"length.steps={arguments.steps}"],
    )
    for progress in train(recipe, arguments.out / "run", extras=False):
        print(f"{progress.share:.0%}  loss {progress.losses['loss']:.2e}", end="\r", flush=True)
    network, _ = open_saved(arguments.out / "run" / "last.safetensors")

    short = [[expose(field.clean, rng) for _ in range(FRAMES)] for field in fields]
    pictures = {
        "one short frame": [frames[0] for frames in short],
        "one frame, restored": [restore(network, frames[0]) for frames in short],
        f"mean of {FRAMES} frames": [np.mean(frames, axis=0) for frames in short],
        f"mean of {FRAMES} restored frames": [
            np.mean([restore(network, f) for f in frames], axis=0) for frames in short
        ],
        "no noise": [field.clean for field in fields],
    }
    table = report(fields, pictures)
    print(table)
    (arguments.out / "table.md").write_text(table + "\n", encoding="utf-8")
    shown = [
        [np.sqrt(np.clip((images[i] - PEDESTAL) / 0.4, 0, 1))[..., None] for images in pictures.values()]
        for i in (0, 1)
    ]
    draw_grid(shown, arguments.out / "frames.png")


if __name__ == "__main__":
    main()
