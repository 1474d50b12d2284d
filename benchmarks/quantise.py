"""Try weights in INT8: quantise them after training with NNCF, and measure what it costs and what it brings.

    pip install 'nncf>=3'
    python benchmarks/quantise.py --data PICTURES --validation HELD_OUT.txt

Activations are calibrated on noisy patches of training pictures, sigma 0 to 75. The sum of picture and residual stays
in float, and so do the layers that a row names; other float layers are computed in bf16 where the processor has that.
PSNR is measured on held-out pictures, seconds in turns with the weights as they ship.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from hush.imaging.metrics import psnr, to_eight_bit
from hush.judging.evaluation import read_clean
from hush.learning.datasets import open_dataset, split
from hush.restoring.machine import processor
from hush.restoring.restorers import NetworkRestorer
from hush.restoring.runtimes import Batch, Limits
from hush.restoring.weights import Weights, open_weights

SIGMAS = (5, 15, 25, 50)
LARGEST = 75.0  # sigma of the calibration
PATCH = 128
Image = NDArray[np.float32]


class Compiled:
    """A model of OpenVINO as a runtime of hush."""

    name = "openvino"

    def __init__(self, model: Any, weights: Weights, number_type: str, threads: int) -> None:
        options = {"INFERENCE_PRECISION_HINT": number_type, "INFERENCE_NUM_THREADS": threads}
        options |= {"PERFORMANCE_HINT": "LATENCY"}
        self._request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
        self.limits = Limits.of(weights.card)
        self.description = number_type

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        inputs = {"noisy": np.ascontiguousarray(noisy), "sigma_map": np.ascontiguousarray(sigma_map)}
        return np.array(self._request.infer(inputs)["restored"])


def calibration(pictures: list[Path], count: int) -> Iterator[dict[str, Batch]]:
    """Yield noisy patches (1, 3, 128, 128) with their maps."""
    for number in range(count):
        rng = np.random.default_rng(number)
        clean = read_clean(pictures[rng.integers(len(pictures))])
        clean = np.broadcast_to(clean, (*clean.shape[:2], 3))
        top, left = (rng.integers(max(1, side - PATCH)) for side in clean.shape[:2])
        patch = clean[top : top + PATCH, left : left + PATCH].transpose(2, 0, 1)[np.newaxis]
        sigma = np.float32(rng.uniform(0, LARGEST) / 255)
        noisy = patch + sigma * rng.standard_normal(patch.shape, np.float32)
        yield {"noisy": noisy, "sigma_map": np.full((1, 1, *patch.shape[2:]), sigma, np.float32)}


def quantised(model: Any, pictures: list[Path], count: int, left_out: list[str]) -> Any:
    """Return a model whose convolutions compute in INT8, but for the sum at its end and what is left out."""
    last = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "Add"][-1]
    return nncf.quantize(
        model,
        nncf.Dataset(list(calibration(pictures, count))),
        subset_size=count,
        preset=nncf.QuantizationPreset.MIXED,  # numbers symmetric, activations with a zero point
        ignored_scope=nncf.IgnoredScope(names=[last, *left_out], validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            disable_bias_correction=True  # the network has no biases: scaling picture and level scales the result
        ),
    )


def convolutions(model: Any) -> list[str]:
    """Return the names of the convolutions, from the first to the last."""
    kinds = ("Convolution", "ConvolutionBackpropData")
    return [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in kinds]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures")
    parser.add_argument("--validation", type=Path, required=True, help="file that lists the held-out ones")
    parser.add_argument("--weights", default="gaussian")
    parser.add_argument("--calibrate", type=int, default=300, help="patches to calibrate on")
    parser.add_argument("--pictures", type=int, default=35, help="held-out pictures to measure on")
    parser.add_argument("--side", type=int, default=384, help="largest side of the measured part of each")
    parser.add_argument("--rounds", type=int, default=15, help="of timing, on 512x512 pixels")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    data = split(open_dataset("folder", str(options.data)), str(options.validation), options.pictures)
    training, held_out = (
        [item.clean for item in items if isinstance(item.clean, Path)] for items in (data.train, data.test)
    )
    weights = open_weights(options.weights)
    model = openvino.Core().read_model(str(weights.path))
    fast = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    runtimes = {
        "f32": Compiled(model, weights, "f32", options.threads),
        fast: Compiled(model, weights, fast, options.threads),
    }
    ends = [convolutions(model)[0], convolutions(model)[-1]]
    for name, left_out in {"INT8": [], "INT8, first and last layer in float": ends}.items():
        print(f"quantising: {name}", file=sys.stderr)
        runtimes[name] = Compiled(
            quantised(model.clone(), training, options.calibrate, left_out), weights, fast, options.threads
        )
    show(runtimes, measure(runtimes, held_out, options.side), clock(runtimes, options.rounds), fast)
    print(f"\n{weights.card.network}; {len(held_out)} held-out pictures of at most {options.side} "
          f"pixels a side, {options.calibrate} patches for calibration; {processor()}, {options.threads} threads, "
          f"OpenVINO {openvino.__version__.split('-')[0]}, NNCF {nncf.__version__}.")  # fmt: skip


def measure(runtimes: dict[str, Compiled], paths: list[Path], side: int) -> dict[str, list[float]]:
    """Return the mean PSNR at each sigma."""
    restorers = {name: NetworkRestorer(runtime) for name, runtime in runtimes.items()}
    found: dict[str, list[float]] = {name: [] for name in runtimes}
    for sigma in SIGMAS:
        figures: dict[str, list[float]] = {name: [] for name in runtimes}
        for number, path in enumerate(paths):
            clean = to_eight_bit(read_clean(path)[:side, :side])
            noise = np.random.default_rng(number).standard_normal(clean.shape, np.float32)
            noisy: Image = clean + noise * np.float32(sigma / 255)
            for name, restorer in restorers.items():
                figures[name].append(psnr(to_eight_bit(restorer(noisy, sigma)), clean))
        for name, values in figures.items():
            found[name].append(statistics.mean(values))
    return found


def clock(runtimes: dict[str, Compiled], rounds: int) -> dict[str, list[float]]:
    """Return seconds per megapixel of each round, all in turns."""
    rng = np.random.default_rng(0)
    noisy = rng.random((1, 3, 512, 512), np.float32)
    sigma_map = np.full((1, 1, 512, 512), 0.1, np.float32)
    taken: dict[str, list[float]] = {name: [] for name in runtimes}
    for round_ in range(rounds + 1):
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime(noisy, sigma_map)
            taken[name] += [(time.perf_counter() - started) / (512 * 512 / 1e6)] if round_ else []
    return taken


def show(
    runtimes: dict[str, Compiled], figures: dict[str, list[float]], taken: dict[str, list[float]], base: str
) -> None:
    """Print a table in Markdown."""
    heads = ["", *(f"PSNR at {sigma}, minus f32" for sigma in SIGMAS), "s per megapixel", f"times {base}"]
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    for name in runtimes:
        steps = [mine - exact for mine, exact in zip(figures[name], figures["f32"], strict=True)]
        row = [f"{value:.2f}" if name == "f32" else f"{step:+.3f}"
               for value, step in zip(figures[name], steps, strict=True)]  # fmt: skip
        ratio = statistics.median(mine / other for mine, other in zip(taken[name], taken[base], strict=True))
        print(f"| {' | '.join([name, *row, f'{statistics.median(taken[name]):.2f}', f'{ratio:.2f}'])} |")


if __name__ == "__main__":
    main()
