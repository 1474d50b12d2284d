"""Where noise is white but unlike in shadows and lights: which weights restore it better?

    python benchmarks/choice_of_weights.py --data FOLDER

FOLDER holds the clean validation pictures, and VALIDATION.txt with their names. Each is halved by a box filter, made
noisy, rounded to 8 bits, and restored blind by ``gaussian``, with the level that is estimated for each brightness, and
by ``photo``. Printed are the mean gains in PSNR, for all pictures of a kind of noise and for those whose noise is found
to be white, varying and above the level at which it can be seen: what the choice of hush denoise is about.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from held_out_gains import halved

from hush.imaging.estimation import estimate_noise
from hush.imaging.metrics import psnr, to_eight_bit
from hush.learning.noise import Degradation
from hush.restoring.denoising import open_restorer
from hush.restoring.restorers import SEEN

KINDS = (
    *(f"poisson(peak={peak})" for peak in (30, 100, 300, 1000)),
    "poisson(peak=100) + gaussian(sigma=5)",
    "camera(stops=3..6, quiet=0, binned=1)",
    "camera(stops=3..6, quiet=0, binned=0)",
)
SIDE = 384  # of the upper left part that is taken


def main() -> None:
    """Measure all kinds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    options = parser.parse_args()
    pictures = [picture[:SIDE, :SIDE] for picture in halved(options.data)]
    restorers = {name: open_restorer(name) for name in ("gaussian", "photo")}
    print("| noise | pictures | gaussian | photo | white and varying | gaussian | photo |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind in options.kinds:
        degrade = Degradation(kind)
        rows = []
        for i, picture in enumerate(pictures):
            batch = torch.from_numpy(picture.transpose(2, 0, 1)[np.newaxis].copy())
            view = degrade(batch, torch.Generator().manual_seed(i))
            clean = to_eight_bit((batch if view.clean is None else view.clean)[0].numpy().transpose(1, 2, 0))
            noisy = to_eight_bit(view.noisy[0].numpy().transpose(1, 2, 0))
            found = estimate_noise(noisy)
            gains = []
            for name, restore in restorers.items():
                level = found.level(noisy) if name == "gaussian" else None
                gains.append(psnr(to_eight_bit(restore(noisy, level)), clean) - psnr(noisy, clean))
            rows.append((found.white and found.varies and found.sigma >= SEEN, *gains))
        chosen = [row for row in rows if row[0]]
        cells = [
            f"{np.mean([row[k] for row in which]):.2f}" if which else "-" for which in (rows, chosen) for k in (1, 2)
        ]
        print(
            f"| {kind} | {len(rows)} | {cells[0]} | {cells[1]} | {len(chosen)} | {cells[2]} | {cells[3]} |", flush=True
        )


if __name__ == "__main__":
    main()
