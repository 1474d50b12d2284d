"""Measure weights for white noise on the held-out pictures, halved: what changes of their training are compared by.

    python benchmarks/white_gains.py --data FOLDER gaussian runs/a/last.safetensors
    ... --as-they-are        not halved and whole, those of each folder of the training set for themselves
    ... --gray               their luminance, rounded, with the same noise for networks of one channel and of three

FOLDER holds ``train-pack/`` with ``VALIDATION.txt``. Pictures are halved by a box filter and cut to their upper left
square. Each gets noise of its own, the same for all weights, and the restored one is clamped, not rounded. Printed is
the mean PSNR at each sigma, and the mean difference to the first weights with its 95 % interval over pictures (normal).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from held_out_gains import halved, held_out
from numpy.typing import NDArray
from real_table import Image, open_image

from hush.imaging.arrays import luminance
from hush.imaging.metrics import psnr, to_eight_bit
from hush.restoring.denoising import open_restorer

SIDE = 256  # pixels, of halved pictures


def measure(weights: str, images: list[Image], sigma: float) -> NDArray[np.float64]:
    """Return the PSNR of each restored image (H, W, C)."""
    restore, found = open_restorer(weights), []
    for number, image in enumerate(images):
        noise = np.random.default_rng(number).standard_normal(image.shape, np.float32)
        restored = restore(image + noise * np.float32(sigma / 255), sigma)
        found.append(psnr(restored.clip(0, 1), image))
    return np.array(found)


def by_folder(pack: Path) -> dict[str, list[Image]]:
    """Return the validation pictures of each folder."""
    found: dict[str, list[Image]] = defaultdict(list)
    for name in held_out(pack):
        found[name.partition("/")[0]].append(open_image(pack / name))
    return found


def to_gray(image: Image) -> Image:
    """Return the luminance (H, W, 1), rounded as BSD68 was made from CBSD68."""
    return to_eight_bit(luminance(image)[..., None])


def main() -> None:
    """Measure all weights that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sigma", type=float, nargs="+", default=[5, 15, 25, 50])
    parser.add_argument("--as-they-are", action="store_true")
    parser.add_argument("--gray", action="store_true")
    options = parser.parse_args()
    pack = options.data / "train-pack"
    groups = by_folder(pack) if options.as_they_are else {"halved": [image[:SIDE, :SIDE] for image in halved(pack)]}
    if options.gray:
        groups = {name: [to_gray(image) for image in images] for name, images in groups.items()}
    first: dict[tuple[str, float], NDArray[np.float64]] = {}
    for weights in options.weights:
        for group, images in groups.items():
            parts = []
            for sigma in options.sigma:
                found = measure(weights, images, sigma)
                steps = found - first.setdefault((group, sigma), found)
                half = 1.96 * steps.std() / np.sqrt(len(steps))
                parts.append(f"{sigma:g}: {found.mean():.3f} ({steps.mean():+.3f} +-{half:.3f})")
            print(f"{weights}, {group}:", "  ".join(parts), flush=True)


if __name__ == "__main__":
    main()
