"""Where weights come from: the card that travels with them."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hush.learning.config import to_dict
from hush.restoring.weights import Card

if TYPE_CHECKING:
    from hush.learning.training import Training


def describe(training: Training, figures: dict[str, float]) -> Card:
    """Return the card of a training's weights as they are now."""
    recipe, limits = training.recipe, training.restorer.network.limits
    content = to_dict(recipe)
    content["data"]["root"] = Path(recipe.data.root).name  # where the folder lay is nobody's business
    content["data"]["validation"] = Path(str(recipe.data.validation)).name
    return Card(
        name=recipe.name,
        network=recipe.network,
        channels=limits.channels,
        sigma_map=limits.sigma_map,
        overlap=limits.overlap,
        summary=recipe.summary,
        licence=recipe.licence,
        data=f"{len(training.data.train)} pictures of {content['data']['set']} {content['data']['root']}",
        recipe=content,
        training={
            "steps": training.step,
            "megapixels": round(training.pixels / 1e6, 1),
            "hours": round(training.elapsed / 3600, 2),
            "hardware": _hardware(training.processes.device),
            "processes": training.processes.count,
            "hush": version("hush"),
            "torch": torch.__version__,
            "commit": _commit(),
        },
        figures=[{"data": "validation", "n": len(training.data.test), **figures}] if figures else [],
    )


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _commit() -> str:
    """Return the git commit that hush runs from, or an empty string where it is installed."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
