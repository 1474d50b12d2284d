"""Measure how fast `hush train` learns: megapixels per second beside a plain PyTorch loop, and where the time goes.

    python benchmarks/training_speed.py --data PICTURES

The plain loop is written the usual way: float32, channels first, a DataLoader with worker processes that open, cut,
flip and add NumPy noise, AdamW. It learns with the same network, patches and batch; two rows between them show what
memory layout and bf16 bring. All take turns, since machines are busy; a row is the median over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hush.imaging.finding import find_pictures
from hush.learning.config import LengthConfig, Recipe, read_recipe
from hush.learning.datasets import open_dataset
from hush.learning.methods.supervised import Supervised
from hush.learning.networks import build_network
from hush.learning.patches import Ahead, Patches
from hush.learning.training import train
from hush.restoring.machine import cores, processor

Lane = Generator[tuple[float, float], None, None]
"""Yields megapixels per second, and the share of the time spent waiting for data, of each stretch of work."""


class PlainPictures(Dataset):
    """Patches the usual way: each item opens a file, cuts a square, flips it and adds noise in NumPy."""

    def __init__(self, paths: list[Path], patch: int) -> None:
        self.paths, self.patch = paths, patch

    def __len__(self) -> int:
        return 1_000_000  # as long as anybody asks

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(number)
        picture = np.asarray(Image.open(self.paths[rng.integers(len(self.paths))]).convert("RGB"), np.float32) / 255
        height, width = picture.shape[:2]
        top, left = rng.integers(height - self.patch + 1), rng.integers(width - self.patch + 1)
        clean = picture[top : top + self.patch, left : left + self.patch]
        clean = np.ascontiguousarray((clean[:, ::-1] if rng.random() < 0.5 else clean).transpose(2, 0, 1))
        sigma = rng.uniform(0, 75) / 255
        noisy = clean + rng.normal(0, sigma, clean.shape).astype(np.float32)
        sigma_map = np.full((1, self.patch, self.patch), sigma, np.float32)
        return torch.from_numpy(noisy), torch.from_numpy(clean), torch.from_numpy(sigma_map)


def plain_loop(recipe: Recipe, seconds: float, *, channels_last: bool, bf16: bool) -> Lane:
    """Train the usual way."""
    network = build_network(recipe.network)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)  # type: ignore[call-overload]  # torch 2.13 leaves it out
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    pictures = PlainPictures(fitting(recipe), recipe.data.patch)
    loader = DataLoader(pictures, recipe.data.batch, num_workers=cores(), shuffle=False)
    batches = iter(loader)
    while True:
        began, steps, waited = time.perf_counter(), 0, 0.0
        while time.perf_counter() - began < seconds:
            asked = time.perf_counter()
            noisy, clean, sigma_map = next(batches)
            waited += time.perf_counter() - asked
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                restored = network(noisy.to(memory_format=layout), sigma_map=sigma_map)
            loss = (restored.float() - clean).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
        taken = time.perf_counter() - began
        yield steps * recipe.data.batch * recipe.data.patch**2 / 1e6 / taken, waited / taken


def hush_train(recipe: Recipe, seconds: float) -> Lane:
    """Train as the command does, into a folder that is thrown away."""
    endless = replace(recipe, length=LengthConfig(steps=10**9), validate_every=10**9)
    with tempfile.TemporaryDirectory() as folder, closing(train(endless, f"{folder}/run", device="cpu")) as reports:
        while True:
            began, megapixels, waited, taken = time.perf_counter(), 0.0, 0.0, 0.0
            while time.perf_counter() - began < seconds:
                started = time.perf_counter()
                report = next(reports)
                stretch = time.perf_counter() - started
                megapixels += report.megapixels_per_second * stretch
                waited, taken = waited + report.waiting * stretch, taken + stretch
            yield megapixels / taken, waited / taken


def fitting(recipe: Recipe) -> list[Path]:
    """Return the pictures that hold a patch."""
    paths = find_pictures([recipe.data.root], recursive=True)
    return [path for path in paths if min(Image.open(path).size) >= recipe.data.patch]


class Clock:
    """Seconds of named parts, over many rounds."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Generator[None, None, None]:
        started = time.perf_counter()
        yield
        self.taken.setdefault(name, []).append(time.perf_counter() - started)


def parts_of_a_step(recipe: Recipe, steps: int) -> dict[str, float]:
    """Return the seconds of each part of a step of `hush train`: the median over some steps."""
    method, clock = Supervised(recipe, torch.device("cpu")), Clock()
    items = open_dataset(recipe.data.set, recipe.data.root).train
    limits: Any = method.network.limits
    patches = Patches(items, recipe.data, limits.channels, recipe.seed, recipe.data.batch)
    loader = Ahead(patches, ((step, 0) for step in itertools.count()))
    rng = torch.Generator().manual_seed(0)
    for step in range(steps + 2):
        with clock("waiting for data"):
            batch = next(loader)
        with clock("bytes to floats"):
            batch = batch.to(torch.device("cpu"))
        with clock("noise"):
            noisy, sigma_map, target = method.degrade(batch, rng)
            clean = batch.clean if target is None else target
        with clock("forward"), method.autocast():
            restored = method.network(noisy, sigma_map=sigma_map)
        with clock("loss"):
            total, _ = method.loss(restored.float(), clean)
        with clock("backward"):
            total.backward()
        with clock("update"):
            method.updaters["network"].apply(step, 0.5, [{"loss": total.detach()}])
    loader.close()
    return {name: statistics.median(values[2:]) for name, values in clock.taken.items()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of training pictures")
    parser.add_argument("--recipe", default="gaussian")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6, help="that each row works in a round")
    parser.add_argument("--steps", type=int, default=12, help="over which the parts of a step are measured")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe, [f"data.root={options.data}", "data.early_steps=0"])
    lanes: dict[str, Lane] = {
        "plain loop": plain_loop(recipe, options.seconds, channels_last=False, bf16=False),
        "plain loop, channels_last": plain_loop(recipe, options.seconds, channels_last=True, bf16=False),
        "plain loop, channels_last, bf16": plain_loop(recipe, options.seconds, channels_last=True, bf16=True),
        "hush train": hush_train(recipe, options.seconds),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in lanes}
    for round_ in range(options.rounds + 1):
        for name, lane in lanes.items():
            figures = next(lane)
            found[name] += [figures] if round_ else []  # the first round warms up
            print(f"\r{round_}/{options.rounds} {name:40}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    show(recipe, found, parts_of_a_step(recipe, options.steps))
    for lane in lanes.values():
        with suppress(RuntimeError):
            lane.close()


def show(recipe: Recipe, found: dict[str, list[tuple[float, float]]], parts: dict[str, float]) -> None:
    """Print both tables in Markdown."""
    first = next(iter(found.values()))
    print("| | megapixels per second | times the plain loop | waiting for data |\n| --- | ---: | ---: | ---: |")
    for name, figures in found.items():
        speeds = [speed for speed, _ in figures]
        ratio = statistics.median(mine / plain for (mine, _), (plain, _) in zip(figures, first, strict=True))
        waiting = statistics.median(share for _, share in figures)
        spread = f"{statistics.median(speeds):.3f} ({min(speeds):.3f} to {max(speeds):.3f})"
        print(f"| {name} | {spread} | {ratio:.2f} | {waiting:.1%} |")
    total = sum(parts.values())
    print("\n| part of a step of hush train | ms | share |\n| --- | ---: | ---: |")
    for name, seconds in parts.items():
        print(f"| {name} | {1000 * seconds:.1f} | {seconds / total:.1%} |")
    side = recipe.data.patch
    print(
        f"\n{recipe.network}, batches of {recipe.data.batch} patches of {side}x{side}, {recipe.degradation}; "
        f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}; median of {len(first)} rounds "
        "with the least and the most."
    )


if __name__ == "__main__":
    main()
