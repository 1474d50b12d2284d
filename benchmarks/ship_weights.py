"""Put a run's weights among those that ship, with measured figures on their card.

    hush evaluate --weights RUN/best.onnx --data CBSD68 --degradation 'gaussian(sigma=25)' --json figures.json
    python benchmarks/ship_weights.py RUN/best.safetensors --figures figures.json --command "hush evaluate ..."

The file is written to src/hush/weights under the name on the card. What has another one, such as a blend, goes in the
place of weights that ship by ``--name``, and keeps their summary, what is said of data and licence, and by how much
tiles overlap; ``--data TEXT`` says anew what they learnt from, ``--overlap PIXELS`` what keeps seams below 1/255.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hush.learning.exporting import export
from hush.learning.torch_runtime import open_network

SHIPPED = Path(__file__).parents[1] / "src" / "hush" / "weights"


def read_figures(path: Path, weights: str, command: str) -> list[dict[str, Any]]:
    """Return the figures of one of the weights in a report of `hush evaluate`, one entry per data set and noise."""
    summary = json.loads(path.read_text(encoding="utf-8"))["summary"]
    return [
        {
            "data": Path(entry["data"]).name,
            **{key: entry[key] for key in ("degradation", "n")},
            **{key: round(entry[key], 4) for key in ("psnr", "ssim")},
            "command": command,
        }
        for entry in summary
        if entry["weights"] == weights
    ]


def main() -> None:
    """Export with the figures that were there and those that were measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="a run's .safetensors, or an .onnx file of hush")
    parser.add_argument("--figures", type=Path, help="report that hush evaluate --json wrote")
    parser.add_argument("--judged", help="the weights' name in the report; default: as given here")
    parser.add_argument("--command", default="", help="what gives these figures, in words for the card")
    parser.add_argument("--name", help="of the weights that ship whose place these take")
    parser.add_argument("--data", help="what they learnt from, in words for the card")
    parser.add_argument("--overlap", type=int, help="of tiles, in pixels; default: of what was there, or the network's")
    options = parser.parse_args()
    network, card = open_network(options.weights)
    overlap = options.overlap
    if options.name:
        before = open_network(SHIPPED / f"{options.name}.onnx")[1]
        card = replace(card, **{key: getattr(before, key) for key in ("name", "summary", "data", "licence")})
        overlap = before.overlap if overlap is None else overlap
    if overlap is not None:
        limits: Any = network.limits
        network.limits = replace(limits, overlap=overlap)  # export writes the network's on the card
    if options.data:
        card = replace(card, data=options.data)
    if options.figures:
        measured = read_figures(options.figures, options.judged or str(options.weights), options.command)
        if not measured:
            parser.error(f"{options.figures} has no figures of {options.judged or options.weights}; see --judged")
        kept = [entry for entry in card.figures if entry["data"] == "validation"]
        card = replace(card, figures=[*kept, *measured])
    target = export(network, card, SHIPPED / f"{card.name}.onnx")
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {len(card.figures)} figures")


if __name__ == "__main__":
    main()
