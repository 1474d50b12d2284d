"""Measure weights on the pairs that may be learnt from: what to choose by, as those for reporting must not be.

    python benchmarks/held_out_gains.py --data FOLDER --scenes "bicycle|ball|wall" photo photo-fast
    ... --sigma 5 6          these levels told too: how far is being blind behind?
    ... --octaves            the error that is left as well, parted by how coarse it is

FOLDER holds ``real/`` with ``SPLIT.tsv`` (columns set, name, use) and ``train-pack/`` with ``VALIDATION.txt``. Printed
is the mean gain in PSNR over the noisy input for each camera of PolyU, for the scenes whose names --scenes finds (those
that were left out of a training), and for SIDD-small; last the PSNR of the clean validation pictures, halved by a box
filter and restored blind, against themselves. Weights are names, files, or checkpoints of a run.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from real_table import Image, halve, open_image, read_split

from hush.imaging.metrics import psnr, to_eight_bit
from hush.restoring.denoising import open_restorer

SIDD = "SIDD-small-256nn"
OCTAVES = 5


def pairs(real: Path, scenes: str) -> Iterator[tuple[list[str], Image, Image]]:
    """Yield each pair (H, W, 3) with the groups it counts in."""
    for row in read_split(real, "train"):
        place, name = real / row["set"], row["name"]
        if row["set"] == "PolyU":
            groups = ["PolyU", name.split("_")[0], *(["held out"] if scenes and re.search(scenes, name) else [])]
            yield groups, open_image(place / "noisy" / name), open_image(place / "clean" / name)
        elif row["set"] == SIDD:
            noisy, clean = (next((place / "Data" / name).glob(f"{view}_SRGB*")) for view in ("NOISY", "GT"))
            yield ["SIDD-small"], open_image(noisy), open_image(clean)


def halved(pack: Path) -> Iterator[Image]:
    """Yield the clean validation pictures, 2x2 pixels averaged to one and rounded."""
    for name in held_out(pack):
        yield to_eight_bit(halve(open_image(pack / name)))


def held_out(pack: Path) -> list[str]:
    """Return the names of the validation pictures: FOLDER/FILE."""
    lines = (pack / "VALIDATION.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def power_by_octave(error: Image) -> NDArray[np.float64]:
    """Return what each halving takes from the mean square of an error (H, W, 3), and what is left; 8-bit scale."""
    error = 255 * error
    powers = [float(np.square(error).mean())]
    for _ in range(OCTAVES):
        error = halve(error)
        powers.append(float(np.square(error).mean()))
    return np.append(-np.diff(powers), powers[-1])


def measure(weights: str, sigmas: list[float | None], options: argparse.Namespace) -> None:
    """Print a line for each level that is told; the first is None: blind."""
    restore = open_restorer(weights)
    for sigma in sigmas:
        gains: dict[str, list[float]] = defaultdict(list)
        powers: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for groups, noisy, clean in pairs(options.data / "real", options.scenes):
            restored = to_eight_bit(restore(noisy, sigma))
            for group in groups:
                gains[group].append(psnr(restored, clean) - psnr(noisy, clean))
                powers[group].append(power_by_octave(restored - clean))
        told = "blind" if sigma is None else f"told {sigma:g}"
        print(f"{weights}, {told}:", "  ".join(f"{group} {np.mean(gain):+.2f} dB" for group, gain in gains.items()))
        if options.octaves:
            for group, each in powers.items():
                print(f"    {group}: mean square error by octave, finest first:", np.round(np.mean(each, 0), 2))
    if options.clean:
        kept = [psnr(to_eight_bit(restore(image, None)), image) for image in halved(options.data / "train-pack")]
        print(f"{weights}, clean pictures halved: {np.mean(kept):.2f} dB", flush=True)


def main() -> None:
    """Measure all weights that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", default="", help="regular expression")
    parser.add_argument("--sigma", type=float, nargs="+", default=[], help="levels to tell, 8-bit scale")
    parser.add_argument("--octaves", action="store_true")
    parser.add_argument("--no-clean", dest="clean", action="store_false", help="leave the clean pictures out")
    options = parser.parse_args()
    for weights in options.weights:
        measure(weights, [None, *options.sigma], options)


if __name__ == "__main__":
    main()
