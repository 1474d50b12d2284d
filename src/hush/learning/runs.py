"""The run directory: recipe, log, curves, sample grids, weights with their card, checkpoint.

RUN/recipe.json             the resolved recipe
RUN/log.jsonl               one line per report: step, loss terms, rate, speed; validation where there was one
RUN/curves.png              the loss map: every loss term over the steps, and validation PSNR and SSIM
RUN/data.png                the first training patches as the network gets them: noisy above clean
RUN/samples/step-N.png      noisy / restored / clean
RUN/best.safetensors        averaged weights with the highest validation PSNR, and their card; best.onnx beside it
RUN/last.safetensors        averaged weights at the end, and their card; last.onnx beside it
RUN/checkpoint.safetensors  all that --resume needs
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hush.errors import TrainingError, need
from hush.imaging.arrays import to_bytes
from hush.imaging.writing import whole, write_text
from hush.learning.checkpoints import load_state, no_weights, save_state
from hush.learning.config import Recipe, to_dict
from hush.learning.config import build as build_config
from hush.learning.exporting import export
from hush.learning.networks import build_network
from hush.restoring.weights import Card

Image = NDArray[np.float32]


RESULTS = (
    "recipe.json", "curves.png", "data.png", "samples",
    *(f"{name}.{suffix}" for name in ("best", "last") for suffix in ("safetensors", "onnx")), "checkpoint.safetensors",
)  # fmt: skip
"""What a training writes, beside its log."""


class Run:
    """A run directory, opened for a new training or to go on with one; without ``extras`` it has no curves.png.

    A folder with a log is a run's; what ended before its first checkpoint is begun anew. Raises TrainingError if a new
    run would overwrite one or files of somebody else, or if nothing can be written.
    """

    def __init__(self, folder: str | Path, recipe: Recipe, *, resume: bool, extras: bool = True) -> None:
        self.folder = Path(folder)
        self.recipe, self.extras = recipe, extras
        self.saved = 0.0  # never: the first report brings the first checkpoint
        self.checkpoint = self.folder / "checkpoint.safetensors"
        try:
            if not resume:
                self._claim()
            with whole(self.folder / "recipe.json") as temporary:
                temporary.write_text(json.dumps(to_dict(recipe), indent=2), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise TrainingError(f"{self.folder}: cannot be written ({reason}). Choose another --out") from error

    def _claim(self) -> None:
        """Make the folder that of a new run."""
        log = self.folder / "log.jsonl"
        if log.exists():
            if any(self.folder.glob("*.safetensors")):
                onward = "add --resume to go on, or " if self.checkpoint.exists() else ""
                raise TrainingError(f"{self.folder}: holds a run already; {onward}choose another --out")
        elif found := [name for name in RESULTS if (self.folder / name).exists()]:
            raise TrainingError(
                f"{self.folder}: holds {', '.join(found)}, and is no run directory (there is no log.jsonl); nothing is "
                "overwritten. Choose another --out"
            )
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        log.write_text("")

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append one line to the log."""
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def trim_log(self, step: int) -> None:
        """Drop lines after a step: a killed run may have logged more than its checkpoint knows."""
        lines = [json.dumps(entry) for entry in read_log(self.folder) if entry["step"] <= step]
        write_text(self.folder / "log.jsonl", "".join(line + "\n" for line in lines))

    def save_weights(self, name: str, network: nn.Module, card: Card) -> None:
        """Save a network's numbers and card as NAME.safetensors; a NAME.onnx of earlier numbers goes."""
        (self.folder / f"{name}.onnx").unlink(missing_ok=True)
        state = {"card": json.loads(card.to_json()), "numbers": dict(network.state_dict())}
        save_state(self.folder / f"{name}.safetensors", state)

    def export(self, name: str) -> Path:
        """Write NAME.onnx, which runs without torch, from NAME.safetensors."""
        network, card = open_saved(self.folder / f"{name}.safetensors")
        return export(network, card, self.folder / f"{name}.onnx")

    def save_data(self, rows: Sequence[Sequence[Image]]) -> None:
        """Draw patches (H, W, C) to learn from: a row of noisy ones, a row of clean ones."""
        draw_grid(rows, self.folder / "data.png")

    def save_samples(self, step: int, rows: Sequence[Sequence[Image]]) -> None:
        """Draw rows of noisy / restored / clean pictures (H, W, C) in [0, 1]."""
        path = self.folder / "samples" / f"step-{step:07d}.png"
        draw_grid(rows, path)

    def draw_curves(self) -> None:
        """Draw the loss map and the validation figures so far."""
        if self.extras:
            draw_curves(read_log(self.folder), self.folder / "curves.png", self.recipe.name)


def check_resumable(folder: Path) -> None:
    """Raise TrainingError if a folder has no checkpoint to go on from."""
    if (folder / "checkpoint.safetensors").exists():
        return
    if weights := sorted(folder.glob("*.safetensors")):
        raise TrainingError(
            f"{folder}: no checkpoint.safetensors to resume from; begin another run from its weights: --out FOLDER "
            f"--from {weights[0]}"
        )
    if (folder / "log.jsonl").exists():
        raise TrainingError(f"{folder}: ended before its first checkpoint; start it anew without --resume")
    raise TrainingError(f"{folder}: no checkpoint.safetensors to resume from; start without --resume")


def is_run(folder: Path) -> bool:
    """Say whether a folder is a run directory."""
    return (folder / "log.jsonl").is_file() and (folder / "recipe.json").is_file()


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log; a line cut off by a kill is left out."""
    path = Path(folder) / "log.jsonl"
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def open_saved(path: str | Path, build: Callable[[str], nn.Module] = build_network) -> tuple[nn.Module, Card]:
    """Open NAME.safetensors of a run: the network with its numbers, and the card.

    ``build`` is `build_network` for a restorer, `build_classifier` for a classifier.
    """
    state = load_state(path)
    if "card" not in state:
        raise no_weights(path)
    card = Card.from_json(json.dumps(state["card"]))
    network = build(card.network)
    network.load_state_dict(state["numbers"])
    return network.eval(), card


def read_run_recipe(folder: str | Path) -> Recipe:
    """Return the recipe that a run directory was started with."""
    path = Path(folder) / "recipe.json"
    if not path.exists():
        raise TrainingError(f"{folder}: no recipe.json; this is not a run directory")
    return build_config(Recipe, json.loads(path.read_text(encoding="utf-8")), str(path))


def draw_grid(rows: Sequence[Sequence[Image]], path: Path) -> None:
    """Write pictures of one size, in rows, as one PNG."""
    from PIL import Image as Pillow

    edge = 4
    drawn = []
    for row in rows:
        images = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in row]
        drawn.append(np.concatenate([np.pad(i, ((0, edge), (0, edge), (0, 0)), constant_values=1) for i in images], 1))
    grid = np.concatenate(drawn, axis=0)
    Pillow.fromarray(to_bytes(np.nan_to_num(grid))).save(path)


def draw_curves(entries: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw every loss term over the steps, on a log axis if all are above zero, and PSNR and SSIM of validations."""
    need("matplotlib", "train")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    terms: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for name, value in _distinct(entry.get("losses", {})).items():
            terms.setdefault(name, []).append((entry["step"], value))
    for name, points in terms.items():
        left.plot(*zip(*points, strict=True), label=name, linewidth=1)
    left.set(xlabel="step", title=f"{title}: loss map")
    if terms:
        if all(value > 0 for points in terms.values() for _, value in points):  # log_mse and critics go below zero
            left.set_yscale("log")
        left.legend()
    judged = [(entry["step"], entry["validation"]) for entry in entries if entry.get("validation")]
    if judged:
        _draw_judged(right, judged)
    figure.savefig(path, dpi=110)


def _distinct(losses: Mapping[str, float]) -> dict[str, float]:
    """Leave out the total where it is the only term's double."""
    total = len(losses) == 2 and len(set(losses.values())) == 1
    return {name: value for name, value in losses.items() if not (total and name == "loss")}


JUDGED = {"psnr": "PSNR, dB", "ssim": "SSIM", "accuracy": "accuracy", "cross_entropy": "cross-entropy, nats"}


def _draw_judged(left: Any, judged: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    """Draw the first two figures of the validations, each with an axis of its own."""
    steps = [step for step, _ in judged]
    names = [name for name in JUDGED if name in judged[0][1]][:2]
    left.set(xlabel="step", title="validation")
    lines = []
    given = [figures["psnr_input"] for _, figures in judged if "psnr_input" in figures]
    if given:
        lines.append(left.axhline(given[-1], color="tab:red", linestyle="--", label="PSNR of the noisy pictures"))
    for axes, name, colour in zip((left, left.twinx()), names, ("tab:blue", "tab:orange"), strict=False):
        lines += axes.plot(steps, [figures[name] for _, figures in judged], ".-", color=colour, label=JUDGED[name])
        axes.set_ylabel(JUDGED[name])
    left.legend(handles=lines, loc="lower right")
