"""Measure weights for white noise on the held-out pictures, halved: what changes of their training are compared by.

    python benchmarks/halved_gains.py --data FOLDER gaussian runs/a/last.safetensors

FOLDER holds ``train-pack/`` with ``VALIDATION.txt``. Pictures are halved by a box filter; of each the upper left square
gets noise of its own, the same for all weights, and the restored one is clamped, not rounded. Printed is the mean PSNR
at each sigma, and the mean difference to the first weights with its 95 % interval over pictures (normal).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from held_out_gains import halved
from numpy.typing import NDArray
from real_table import Image

from hush.imaging.metrics import psnr
from hush.restoring.denoising import open_restorer

SIDE = 256  # pixels


def measure(weights: str, images: list[Image], sigma: float) -> NDArray[np.float64]:
    """Return the PSNR of each restored image (H, W, 3)."""
    restore, found = open_restorer(weights), []
    for number, image in enumerate(images):
        noise = np.random.default_rng(number).standard_normal(image.shape, np.float32)
        restored = restore(image + noise * np.float32(sigma / 255), sigma)
        found.append(psnr(restored.clip(0, 1), image))
    return np.array(found)


def main() -> None:
    """Measure all weights that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sigma", type=float, nargs="+", default=[5, 15, 25, 50])
    options = parser.parse_args()
    images = [image[:SIDE, :SIDE] for image in halved(options.data / "train-pack")]
    first: dict[float, NDArray[np.float64]] = {}
    for weights in options.weights:
        parts = []
        for sigma in options.sigma:
            found = measure(weights, images, sigma)
            steps = found - first.setdefault(sigma, found)
            half = 1.96 * steps.std() / np.sqrt(len(steps))
            parts.append(f"{sigma:g}: {found.mean():.3f} ({steps.mean():+.3f} +-{half:.3f})")
        print(f"{weights}:", "  ".join(parts), flush=True)


if __name__ == "__main__":
    main()
