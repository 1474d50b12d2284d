"""Measure what networks cost: seconds per megapixel in OpenVINO, and seconds for a training step.

    python benchmarks/network_speed.py ffdnet "drunet(widths=[64, 96, 160, 320], blocks=1, unshuffle=2)"

Networks are untrained, since numbers do not change the time. All take turns; a row is the least of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hush.learning.exporting import export
from hush.learning.networks import build_network
from hush.learning.updating import open_autocast
from hush.restoring.runtimes import Runtime, open_runtime
from hush.restoring.weights import Card, open_weights

HEIGHT, WIDTH = 768, 1024
BATCH, PATCH = 16, 128
START = 0.02  # deviation of the numbers: zeros, with which the last layer begins, may be faster


def opened(spec: str, number: int, folder: Path, precision: str) -> tuple[nn.Module, Runtime]:
    """Build a network, and compile it."""
    network = build_network(spec)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=START)
    card = Card(f"untrained-{number}", spec, 3, True, 0)  # what it takes is read from the network
    path = export(network, card, folder / f"{number}.onnx")
    return network, open_runtime(open_weights(path), precision=precision)


def seconds_of_step(network: nn.Module) -> float:
    """Time forward and backward in the precision that `hush train` takes here, without the optimiser."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch 2.13 leaves it out
    limits: Any = network.limits
    batch = torch.rand(BATCH, limits.channels, PATCH, PATCH).to(memory_format=torch.channels_last)
    inputs = {"sigma_map": torch.full((BATCH, 1, PATCH, PATCH), 0.1)} if limits.sigma_map else {}
    started = time.perf_counter()
    with open_autocast(torch.device("cpu"), "auto")():
        restored = network(batch, **inputs)
    restored.float().abs().mean().backward()
    return time.perf_counter() - started


def main() -> None:
    """Measure all in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="specifications, as in recipes")
    parser.add_argument("--precision", default="fast", choices=("fast", "exact"), help="fast is bf16 where it can be")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        lanes = {spec: opened(spec, i, Path(folder), options.precision) for i, spec in enumerate(options.networks)}
        runs: dict[str, list[float]] = {spec: [] for spec in lanes}
        steps: dict[str, list[float]] = {spec: [] for spec in lanes}
        for _ in range(options.rounds + 1):  # the first is slower, and not counted
            for spec, (network, runtime) in lanes.items():
                noisy = np.random.default_rng(0).random((1, runtime.limits.channels, HEIGHT, WIDTH), np.float32)
                level = np.full((1, 1, HEIGHT, WIDTH), 0.1, np.float32)
                started = time.perf_counter()
                runtime(noisy, level if runtime.limits.sigma_map else None)
                runs[spec].append((time.perf_counter() - started) / (HEIGHT * WIDTH / 1e6))
                steps[spec].append(seconds_of_step(network))
    print(f"| network | parameters | s per megapixel | s per step of {BATCH} x {PATCH}x{PATCH} |\n|---|---:|---:|---:|")
    for spec, (network, _) in lanes.items():
        count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        print(f"| `{spec}` | {count:.2f} M | {min(runs[spec][1:]):.3f} | {min(steps[spec][1:]):.3f} |")


if __name__ == "__main__":
    main()
