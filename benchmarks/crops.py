"""Draw crops of photographs that ship, at 100 %: taken again by a simulated camera, and restored by hush and by others.

    pip install bm3d opencv-python-headless
    python benchmarks/crops.py docs/images/crops.webp          # minutes, most of them BM3D's

The classical methods get, for each crop, the sigma of a ladder that is best for its PSNR, which no user could know.
`photo` is told nothing. Real pairs may not be shown here, as their licences do not allow it: `real_table.py --page`
draws them for whoever has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from real_table import LADDER, Restore, open_opencv

from hush.imaging.files import read
from hush.imaging.metrics import psnr, to_eight_bit
from hush.learning.noise import Degradation
from hush.restoring.demonstration import PHOTOGRAPHS
from hush.restoring.restorers import open_restorer

Pixels = NDArray[np.float32]

CAMERA = "camera(stops=4..6, quiet=0, binned=0)"
CROPS = {"astronaut": (20, 150), "brushes": (190, 250), "mountains": (230, 320), "rocket": (80, 250)}  # top, left
SIDE = 176  # pixels of a crop
AROUND = 32  # pixels beside it that are restored too
LINE, GAP = 18, 4  # pixels


def views(noisy: Pixels, clean: Pixels, classical: dict[str, Restore], ours: Restore) -> Iterator[tuple[str, Pixels]]:
    """Yield what is shown of a picture, with its name."""
    yield "noisy", noisy
    for name, restore in classical.items():
        yield name, max((restore(noisy, sigma) for sigma in LADDER[2::2]), key=lambda view: _psnr(view, clean))
    yield "hush", ours(noisy, None)
    yield "clean", clean


def _psnr(view: Pixels, clean: Pixels) -> float:
    return psnr(to_eight_bit(_inside(view)), to_eight_bit(_inside(clean)))


def _inside(view: Pixels) -> Pixels:
    return view[AROUND : AROUND + SIDE, AROUND : AROUND + SIDE]


def taken(name: str, top: int, left: int, seed: int) -> tuple[Pixels, Pixels]:
    """Return a crop of a photograph as the camera takes it, with noise and without."""
    square = slice(top, top + SIDE + 2 * AROUND), slice(left, left + SIDE + 2 * AROUND)
    pixels = read(PHOTOGRAPHS / f"{name}.jpg").pixels[square] / np.float32(255)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    degraded = Degradation(CAMERA)(batch, torch.Generator().manual_seed(seed))
    target = batch if degraded.clean is None else degraded.clean
    noisy, clean = (to_eight_bit(view[0].permute(1, 2, 0).numpy()) for view in (degraded.noisy, target))
    return noisy.astype(np.float32), clean.astype(np.float32)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    classical: dict[str, Restore] = {"NLM (OpenCV)": open_opencv(), "BM3D": open_restorer("classical:bm3d")}
    ours = open_restorer("photo")
    font = ImageFont.load_default(12)
    columns, rows = 5, len(CROPS)
    sheet = Image.new("RGB", (columns * (SIDE + GAP) - GAP, rows * (SIDE + LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, (top, left)) in enumerate(CROPS.items()):
        noisy, clean = taken(name, top, left, options.seed + row)
        for column, (title, view) in enumerate(views(noisy, clean, classical, ours)):
            figure = "" if title == "clean" else f" {_psnr(view, clean):.2f} dB"
            shown = np.rint(255 * np.clip(_inside(view), 0, 1)).astype(np.uint8)
            corner = column * (SIDE + GAP), row * (SIDE + LINE)
            draw.text((corner[0] + 2, corner[1] + 2), title + figure, "black", font)
            sheet.paste(Image.fromarray(shown), (corner[0], corner[1] + LINE))
            print(f"{name}: {title}{figure}")
    sheet.save(options.target, quality=92)


if __name__ == "__main__":
    main()
