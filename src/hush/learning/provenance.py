"""Where weights come from: the card that travels with them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hush.learning.config import Recipe, to_dict
from hush.learning.networks import NetworkLimits
from hush.restoring.machine import processor
from hush.restoring.weights import Card

PLACES = re.compile(  # of absolute paths in a specification, all but the last name
    r"(?<=['\"@=(,;\s])(?:~[\w.-]*)?/(?:[^'\"@;,()/]+/)*"
)


def describe(
    recipe: Recipe,
    limits: NetworkLimits,
    *,
    pictures: int,
    training: Mapping[str, Any],
    figures: Sequence[Mapping[str, Any]],
    device: torch.device,
) -> Card:
    """Return the card of weights that a recipe gave.

    Args:
        recipe: as it was followed.
        limits: of the network.
        pictures: how many there were to learn from.
        training: how far it came: steps, megapixels, hours.
        figures: what was measured.
        device: what it was computed on.
    """
    content = to_dict(recipe)
    for key in ("root", "validation"):  # where the folders lay is nobody's business
        content["data"][key] = Path(str(content["data"][key])).name
    content["data"]["set"] = PLACES.sub("", content["data"]["set"])
    content["method"] = PLACES.sub("", content["method"])
    versions = {"hush": version("hush"), "torch": torch.__version__, "commit": _commit()}
    return Card(
        name=recipe.name,
        network=recipe.network,
        channels=limits.channels,
        sigma_map=limits.sigma_map,
        overlap=limits.overlap,
        summary=recipe.summary,
        licence=recipe.licence,
        data=f"{pictures} pictures: {recipe.data.about or content['data']['root']}",
        recipe=content,
        training={**training, "hardware": _hardware(device), **versions},
        figures=[dict(figure) for figure in figures],
    )


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


def _commit() -> str:
    """Return the git commit that hush runs from, or an empty string where it is installed."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # or an environment inside another project would name that one's
        return git("rev-parse", "--short=12", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""
