"""Denoise a picture with the Python API, and write it with its left half as it was.

python examples/before_after.py photo.jpg photo-halves.png [SIGMA]
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

import hush


def main(source: str, target: str, sigma: float | None = None) -> None:
    """Write the noisy left half of a picture beside the restored right one."""
    noisy = np.asarray(Image.open(source).convert("RGB"))
    if sigma is None:
        print(f"estimated sigma: {hush.estimate_noise(noisy / np.float32(255)).sigma:.1f}")
    halves = hush.denoise(noisy, sigma=sigma)
    middle = noisy.shape[1] // 2
    halves[:, :middle] = noisy[:, :middle]
    halves[:, middle - 1 : middle + 1] = 255
    Image.fromarray(halves).save(target, quality=92)  # of JPEG and WebP; PNG loses nothing


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:3], *map(float, sys.argv[3:]))
