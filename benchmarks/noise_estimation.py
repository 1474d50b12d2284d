"""Measure the blind estimate of the noise: its error over sigma, over kinds of pictures, and what it costs in PSNR.

    python benchmarks/noise_estimation.py --data TEST                                   # TEST/CBSD68, TEST/Kodak24
    python benchmarks/noise_estimation.py --data TEST --plot docs/images/noise-estimation.svg --markdown docs/F.md
    python benchmarks/noise_estimation.py --data TEST --weights gaussian                # also blind against told, in dB

Errors are on the 8-bit scale, signed means and mean absolute ones. "clipped" pictures went through 8 bits, as files do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hush.imaging.estimation import estimate_noise
from hush.imaging.metrics import psnr
from hush.restoring.denoising import open_restorer

Floats = NDArray[Any]

SETS = ("Kodak24", "CBSD68")
SIGMAS = (0, 1, 2, 3, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75)
MARKED = (5, 50)  # where the mean absolute error counts
TOLD = (15, 25, 50)
WEAK = (3, 5, 7, 10)  # levels at which texture may be taken for noise
LIGHTS = ((0.25, 4.0), (0.5, 4.0), (1.0, 9.0), (2.0, 9.0), (2.0, 100.0))  # gain and offset of the variance, 8-bit scale


def photographs(folder: Path, every: int = 1) -> list[Floats]:
    """Read a folder's pictures (H, W, C), [0, 1], or one in so many."""
    paths = sorted(folder.iterdir())[::every]
    images = [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 for path in paths]
    return [image[..., :1] if (image == image[..., :1]).all() else image for image in images]


def exposed(image: Floats) -> Floats:
    """Burn a picture out: all above its median is white."""
    return np.clip(image / max(1e-3, float(np.median(image))), 0, 1)


def busiest(images: list[Floats]) -> list[Floats]:
    """Return the fifth of the pictures in which neighbours differ most."""
    busy = [float(np.median(np.abs(np.diff(image, axis=0)))) for image in images]
    return [images[i] for i in np.argsort(busy)[-max(1, len(images) // 5) :]]


def flat(count: int = 20) -> list[Floats]:
    """Make slopes of one colour, dark to bright."""
    rows = np.linspace(-0.03, 0.03, 320, dtype=np.float32)[:, None, None]
    levels = np.linspace(0.05, 0.95, count, dtype=np.float32)
    return [np.clip(level + rows + np.zeros((320, 320, 3), np.float32), 0, 1) for level in levels]


def add_noise(clean: Floats, deviation: float | Floats, seed: int, clipped: bool) -> Floats:
    """Add noise of a deviation on the 8-bit scale."""
    noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
    noisy = clean + noise * np.asarray(deviation, np.float32) / 255
    return np.rint(noisy.clip(0, 1) * 255).astype(np.uint8) if clipped else noisy


def errors(images: list[Floats], sigma: float, clipped: bool) -> tuple[float, float]:
    """Return the signed and the absolute mean error of the estimates."""
    found = [estimate_noise(add_noise(image, sigma, seed, clipped)).sigma for seed, image in enumerate(images)]
    missed = np.array(found) - sigma
    return float(missed.mean()), float(np.abs(missed).mean())


def told_apart(images: list[Floats], sigma: float) -> tuple[float, int]:
    """Return the mean absolute error of what weights are told of white noise, and how often it is found to be white."""
    found = [estimate_noise(add_noise(image, sigma, seed, clipped=True)) for seed, image in enumerate(images)]
    return float(np.mean([abs(one.told - sigma) for one in found])), sum(one.white for one in found)


def lights(images: list[Floats], gain: float, offset: float) -> tuple[float, float]:
    """Return the median gain and offset that are found of signal-dependent noise."""
    found = []
    for seed, image in enumerate(images):
        estimate = estimate_noise(add_noise(image, np.sqrt(gain * 255 * image + offset), seed, clipped=True))
        channels = estimate.gains or (0.0,), estimate.offsets or (0.0,)
        found.append([float(np.mean(values)) for values in channels])
    medians = np.median(np.array(found), axis=0)
    return float(medians[0]), float(medians[1])


def blind_and_told(images: list[Floats], weights: str, sigma: float) -> tuple[float, float]:
    """Return the mean PSNR with the level estimated and with it told."""
    restorer, figures = open_restorer(weights), []
    for seed, clean in enumerate(images):
        noisy = add_noise(clean, sigma, seed, clipped=False)
        figures.append([psnr(restorer(noisy, level).clip(0, 1), clean) for level in (None, sigma)])
    blind, told = np.mean(figures, axis=0)
    return float(blind), float(told)


def seconds(image: Floats, repeats: int = 15) -> float:
    """Return the processor seconds of an estimate."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        estimate_noise(image)
        taken.append(time.process_time() - started)
    return float(np.median(taken))


def draw(curves: Mapping[str, list[tuple[float, float]]], target: Path) -> None:
    """Plot the mean absolute error over sigma."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), ".-" if "clipped" not in name else ".--", label=name, linewidth=1)
    axes.axhline(1, color="gray", linewidth=0.8, linestyle=":")
    axes.set(xlabel="sigma that was put in (8-bit scale)", ylabel="mean absolute error", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(target, dpi=120, metadata={"Date": None} if target.suffix == ".svg" else None)


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table in Markdown."""
    return [f"| {' | '.join(row)} |" for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)]


def measure(groups: Mapping[str, list[Floats]], say: Callable[[str], None]) -> dict[str, list[tuple[float, float]]]:
    """Print errors of each group of pictures; return the curves of the absolute ones."""
    curves: dict[str, list[tuple[float, float]]] = {}
    rows = []
    low, high = MARKED
    for name, images in groups.items():
        for clipped in (False, True):
            found = {sigma: errors(images, sigma, clipped) for sigma in SIGMAS}
            title = f"{name}{', clipped to 8 bits' if clipped else ''}"
            curves[title] = [(sigma, absolute) for sigma, (_, absolute) in found.items()]
            marked = np.mean([absolute for sigma, (_, absolute) in found.items() if low <= sigma <= high])
            shown = [
                f"{absolute:.2f} ({signed:+.2f})" for signed, absolute in (found[s] for s in (0, 5, 15, 25, 50, 75))
            ]
            rows.append([title, str(len(images)), f"{marked:.2f}", *shown])
    say("\n".join(table(["pictures", "n", "mean, 5 to 50", "0", "5", "15", "25", "50", "75"], rows)))
    return curves


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--every", type=int, default=1, help="take one picture in so many")
    parser.add_argument("--weights", help="also measure blind against told with these")
    parser.add_argument("--plot", type=Path, help=".svg or .png")
    parser.add_argument("--markdown", type=Path, help="write the tables there too")
    options = parser.parse_args()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        print(text + "\n", flush=True)

    sets = {name: photographs(options.data / name, options.every) for name in options.sets}
    every = [image for images in sets.values() for image in images]
    groups = dict(sets) | {
        "the most textured fifth": busiest(every),
        "burnt out": [exposed(image) for image in every[::4]],
        "flat": flat(),
    }
    curves = measure(groups, say)
    rows = []
    for gain, offset in LIGHTS:
        found = lights(every[::4], gain, offset)
        rows.append([f"{gain:g}", f"{offset:g}", *(f"{value:.2f}" for value in found)])
    weak = [
        [name, f"{sigma}", f"{error:.2f}", f"{white} of {len(images)}"]
        for name, images in sets.items()
        for sigma in WEAK
        for error, white in [told_apart(images, sigma)]
    ]
    say("\n".join(table(["set", "sigma", "error of what is told", "found to be white"], weak)))
    say("\n".join(table(["true gain", "true offset", "gain found (median)", "offset found (median)"], rows)))
    if options.weights:
        rows = []
        for name, images in sets.items():
            for sigma in TOLD:
                blind, told = blind_and_told(images, options.weights, sigma)
                rows.append([name, str(sigma), f"{told:.3f}", f"{blind:.3f}", f"{blind - told:+.3f}"])
        say("\n".join(table(["set", "sigma", "told, dB", "blind, dB", "difference"], rows)))
    say(f"One estimate of {' x '.join(map(str, every[0].shape))}: {1000 * seconds(every[0]):.0f} ms of processor.")
    if options.plot:
        draw(curves, options.plot)
    if options.markdown:
        options.markdown.write_text("\n\n".join(said) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
