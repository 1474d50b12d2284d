"""Draw how weights learnt: validation PSNR over the megapixels seen, from their cards.

    python benchmarks/learning_curve.py gaussian -o docs/images/learning-curve.svg

Weights that went on from others begin where those ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hush.restoring.weights import open_weights

Curve = list[tuple[float, float]]


def whole_curve(training: Mapping[str, Any]) -> tuple[Curve, float]:
    """Return (megapixels, PSNR) from the very start, and all megapixels seen."""
    origin = training.get("started_from", {"part": "none"})
    before, offset = ([], 0.0) if "part" in origin else whole_curve(origin)
    own = [(offset + megapixels, psnr) for megapixels, psnr in training.get("curve", [])]
    return [*before, *own], offset + training.get("megapixels", 0.0)


def main() -> None:
    """Draw one line for each of the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="names or .onnx files")
    parser.add_argument("-o", "--out", type=Path, required=True, help=".svg or .png")
    options = parser.parse_args()
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.margins(y=0.1)
    for name in reversed(options.weights):  # those that others went on from lie above their later part
        card = open_weights(name).card
        curve, _ = whole_curve(card.training)
        if not curve:
            parser.error(f"{name}: its card tells no curve")
        axes.plot(*zip(*curve, strict=True), ".-", label=f"{card.name}, {card.network}")
        axes.annotate(f"{curve[-1][1]:.2f}", curve[-1], xytext=(0, 6), textcoords="offset points", ha="right")
    axes.set(xlabel="megapixels seen", ylabel="PSNR on the validation pictures, dB")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], axes.get_ylim()[1] - 3))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(options.out, dpi=120, metadata={"Date": None} if options.out.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
