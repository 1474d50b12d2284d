"""Draw how simulated pictures compare with real pairs: the noise, and the detail of what lies below it.

    python benchmarks/camera_statistics.py --data FOLDER --figure docs/images/camera-statistics.png

FOLDER holds ``real/`` with ``SPLIT.tsv`` (columns set, name, use) and ``train-pack/`` with clean photographs. The
parameters of the camera were chosen by the pairs that SPLIT.tsv marks for training; those marked for reporting are
drawn only with --report. Medians and deciles are printed as a table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from real_table import read_split

from hush.imaging.arrays import luminance
from hush.imaging.files import read
from hush.imaging.finding import find_pictures
from hush.learning.config import read_recipe
from hush.learning.datasets import Batch
from hush.learning.methods.supervised import Supervised
from hush.learning.noise import Degradation

Image = NDArray[np.float32]

SIDE, BATCH = 256, 16
LEAST_DETAIL = 1e-3  # deviation on the 8-bit scale
QUIET = 0.3  # deviation on the 8-bit scale below which there is no noise to describe
STATISTICS = {
    "level": "deviation, 8-bit scale",
    "brightness": "log2 of the deviation in the\nbrightest over the darkest third",
    "lag 1": "correlation of neighbours",
    "lag 4": "correlation 4 pixels apart",
    "luma": "deviation of luminance,\nshare of all",
    "colours": "log2 of red minus blue over\nluminance, noise of 2 to 4 pixels",
    "edges": "log2 of luminance's noise at\nedges over that in flat places",
    "detail": "log2 of the clean luminance's\ndetail of 1 to 2 pixels, 8-bit scale",
    "sharpness": "log2 of that over\ndetail of 2 to 4 pixels",
    "shadows": "mean of the noise on tones\nbelow 32 of 255",
    "midtones": "mean of the noise on tones\nof 64 to 192",
}
FEWEST = 500  # values; a mean over fewer is noise itself
OF_NEIGHBOURS = ("lag 1", "lag 4", "colours", "edges", "detail", "sharpness")
AROUND = 5  # pixels a side, in which contrast is measured
SQUEEZED = "SIDD-small-256nn"  # point-sampled from whole frames: its neighbours were none
MIXED = "SIDD crops"


def describe(noisy: Image, clean: Image) -> list[float]:
    """Return the statistics of a picture (H, W, 3) and its noise, in the order of STATISTICS."""
    noise = 255 * (noisy - clean)
    shifts = [_mean(noise[chosen]) for chosen in (clean < 32 / 255, (clean >= 64 / 255) & (clean < 192 / 255))]
    noise -= noise.mean((0, 1))
    light = luminance(clean)
    dark, bright = np.quantile(light, [1 / 3, 2 / 3])
    level = float(noise.std())
    tones = np.log2(noise[light >= bright].std() / max(noise[light <= dark].std(), 1e-3))
    gray = luminance(noise)
    luma = float(gray.std()) / level
    colours = _details(noise[..., 0] - noise[..., 2], 2)[1] - _details(gray, 2)[1]
    fine, coarse = _details(255 * light, 2)
    lags = _lag(noise, 1), _lag(noise, 4)
    return [level, float(tones), *lags, luma, colours, _edges(gray, light), fine, fine - coarse, *shifts]


def _edges(noise: Image, light: Image) -> float:
    """Return log2 of the deviation of noise in the tenth of most contrast over that in the third of least."""
    windows = sliding_window_view(light, (AROUND, AROUND))
    contrast = windows.std((2, 3))
    inner = noise[AROUND // 2 : -(AROUND // 2), AROUND // 2 : -(AROUND // 2)]
    flat, edge = np.quantile(contrast, [1 / 3, 0.9])
    return float(np.log2(max(inner[contrast >= edge].std(), 1e-3) / max(inner[contrast <= flat].std(), 1e-3)))


def _mean(values: Image) -> float:
    return float(values.mean()) if values.size >= FEWEST else np.nan


def _details(light: Image, octaves: int) -> list[float]:
    """Return log2 of the deviation of (H, W) from its means over 2x2 pixels, then of these from theirs, and so on."""
    found = []
    for _ in range(octaves):
        height, width = (side // 2 for side in light.shape)
        blocks = light[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
        means = blocks.mean((1, 3), keepdims=True)
        found.append(float(np.log2(max(float(np.sqrt(np.square(blocks - means).mean())), LEAST_DETAIL))))
        light = means[:, 0, :, 0]
    return found


def _lag(noise: Image, steps: int) -> float:
    down, across = (noise[steps:] * noise[:-steps]).mean(), (noise[:, steps:] * noise[:, :-steps]).mean()
    return float((down + across) / 2 / np.square(noise).mean())


def real(folder: Path, use: str) -> Iterator[tuple[str, list[float]]]:
    """Yield data set and statistics of the pairs for a use."""
    for row in read_split(folder, use):
        place = folder / row["set"]
        if row["set"] == SQUEEZED:
            views = [place / "Data" / row["name"] / f"{view}_SRGB_010.PNG" for view in ("NOISY", "GT")]
        else:
            views = [place / view / row["name"] for view in ("noisy", "clean")]
        noisy, clean = (_open(path) for path in views)
        if np.ptp(clean, axis=2).max() > 0:  # fluorescence is no photograph
            name = MIXED if row["set"].startswith("SIDD-crops") else row["set"].replace("-256nn", "")
            figures = describe(noisy, clean)
            if row["set"] == SQUEEZED:
                figures = [np.nan if key in OF_NEIGHBOURS else x for key, x in zip(STATISTICS, figures, strict=True)]
            yield f"{name}, {use}", figures


def simulated(folder: Path, spec: str, count: int) -> list[list[float]]:
    """Return the statistics of simulated pictures, those without noise left out."""
    paths = find_pictures([folder], recursive=True)
    chain, figures = Degradation(spec), []
    for start in range(0, count, BATCH):
        views = [_patch(_open(paths[(start + i) * len(paths) // count])) for i in range(BATCH)]
        clean = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
        degraded = chain(clean, torch.Generator().manual_seed(start))
        target = clean if degraded.clean is None else degraded.clean
        pairs = zip(*(view.permute(0, 2, 3, 1).numpy() for view in (degraded.noisy, target)), strict=True)
        figures += [describe(noisy, truth) for noisy, truth in pairs if 255 * (noisy - truth).std() > QUIET]
    return figures


def _open(path: Path) -> Image:
    pixels = np.atleast_3d(read(path).pixels)[..., :3]
    return np.asarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), np.float32) / np.float32(255)


def _patch(image: Image) -> Image:
    top, left = (max(0, side - SIDE) // 2 for side in image.shape[:2])
    cut = image[top : top + SIDE, left : left + SIDE]
    return np.pad(cut, ((0, SIDE - cut.shape[0]), (0, SIDE - cut.shape[1]), (0, 0)), mode="symmetric")


def draw(groups: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Draw a histogram of what is simulated, and below it a dot for each real pair."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(27, 4.6), layout="constrained")
    top, *others = groups
    for number, (name, axes) in enumerate(zip(STATISTICS, figure.subplots(1, len(STATISTICS)), strict=True)):
        values = groups[top][:, number]
        values = values[np.isfinite(values)]
        axes.hist(values, bins=30, weights=np.full(len(values), 100 / len(values)), color="0.75")
        high = axes.get_ylim()[1]
        for row, other in enumerate(others, start=1):
            dots = groups[other][:, number]
            axes.plot(dots, np.full(len(dots), -high * 0.12 * row), "|", markersize=9, color=f"C{row - 1}")
        axes.set_ylim(-high * 0.12 * (len(others) + 0.7), high)
        axes.set(title=name, xlabel=STATISTICS[name])
        rows = [-high * 0.12 * row for row in range(1, len(others) + 1)]
        axes.set_yticks([0, *rows], ["", *(others if number == 0 else [""] * len(others))])
    figure.suptitle("gray: " + top, fontsize=10)
    figure.savefig(path, dpi=100)


def table(groups: dict[str, NDArray[np.float64]]) -> list[str]:
    """Return medians with the first and the last decile, in Markdown."""
    lines = ["| median (10 to 90 %) | n | " + " | ".join(STATISTICS) + " |", "|---|---:|" + "---:|" * len(STATISTICS)]
    for name, values in groups.items():
        cells = []
        for column in values.T:
            known = column[np.isfinite(column)]
            low, middle, high = np.quantile(known, [0.1, 0.5, 0.9]) if known.size else [np.nan] * 3
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})" if known.size else "-")
        lines.append(f"| {name} | {len(values)} | {' | '.join(cells)} |")
    return lines


def cost(spec: str) -> str:
    """Measure the processor time of a degradation, and of the rest of a training step of the recipe photo."""
    recipe = read_recipe("photo", [f"degradation={spec}"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waiting threads would be counted as work
    method, shape = (
        Supervised(recipe, torch.device("cpu")),
        (recipe.data.batch, 3, recipe.data.patch, recipe.data.patch),
    )
    batch, rng = Batch(torch.rand(shape).contiguous(memory_format=torch.channels_last)), torch.Generator()
    chain, shares = Degradation(spec), []
    for step in range(6):
        times = [time.process_time()]
        chain(batch.clean, rng)
        times.append(time.process_time())
        method.step([batch], [rng], step, 0.0)
        times.append(time.process_time())
        drawn, whole = np.diff(times)
        shares.append(drawn / (whole - drawn))
    torch.set_num_threads(threads)
    low, high = 100 * min(shares[1:]), 100 * max(shares[1:])  # the first is slower
    return f"{spec} takes {low:.0f} to {high:.0f} % of the processor time of the rest of a training step, {shape}."


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with real/ and train-pack/")
    parser.add_argument("--degradation", default=read_recipe("photo", []).degradation, help="default: of photo")
    parser.add_argument("--count", type=int, default=256, help="simulated pictures")
    parser.add_argument("--report", action="store_true", help="also draw the pairs kept for reporting")
    parser.add_argument("--cost", action="store_true", help="also measure what it costs in training")
    parser.add_argument("--figure", type=Path, help="draw here")
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {
        f"simulated: {options.degradation}": simulated(options.data / "train-pack", options.degradation, options.count)
    }
    for use in ("train", "report") if options.report else ("train",):
        for name, figures in real(options.data / "real", use):
            found.setdefault(name, []).append(figures)
    groups = {name: np.array(figures) for name, figures in found.items()}
    print("\n".join(table(groups)))
    if options.cost:
        print(cost(options.degradation))
    if options.figure:
        draw(groups, options.figure)


if __name__ == "__main__":
    main()
