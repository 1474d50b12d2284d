"""How to denoise: one frozen dataclass that the library, the command and the web page share."""

from __future__ import annotations

import os
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hush.errors import UsageError
from hush.imaging.ranges import NUMBERS, check_range
from hush.restoring.runtimes import DEVICES, PRECISIONS, check_choice
from hush.restoring.tiers import AUTO, TIERS

LARGEST_SIGMA = 255.0  # on the 8-bit scale
LEAST_MEMORY = 256 * 2**20  # bytes; Python, OpenVINO and the smallest tiles take nearly as much
ONLY = ("all", "luma", "chroma")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class DenoiseOptions:
    """How to denoise. Raises UsageError for a value that is not allowed."""

    sigma: float | None = None
    """Deviation of the noise on the 8-bit scale, whatever the picture's depth; None estimates it."""
    strength: float = 1.0
    """How much of the change is kept: 0 returns the input bit for bit, 1 is the restored picture."""
    weights: str | Path = "auto"
    """A name, an .onnx file, a run's .safetensors, NETWORK@FILE, identity, or classical:METHOD.

    auto goes by the noise of each picture, see `hush.restoring.restorers.ByNoise`.
    """
    runtime: str = "auto"
    """auto, openvino, onnx or torch: what executes the weights."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """auto, fast or exact; see `hush.restoring.runtimes.open_runtime`."""
    tile: int | None = None
    """Largest side of the tiles in pixels; None is 1280, or less where memory is short."""
    threads: int | None = None
    """Threads of the network; None for all cores."""
    overwrite: bool = False
    """Whether files that exist may be replaced."""
    keep_detail: float = 0.0
    """How much of the fine luminance texture that was removed is returned, 0 to 1; colour noise never is."""
    keep_grain: float = 0.0
    """How much natural luminance grain is returned, 0 to 1: at 1 a deviation of 2 on the 8-bit scale at the most."""
    only: str = "all"
    """all, luma (colours stay as they are) or chroma (the luminance stays: grain without colour noise)."""
    mask: str | Path | NDArray[Any] | None = None
    """A gray picture or array (H, W) of the picture's size: white is restored, black stays bit for bit.

    A file lies on the picture as both are seen, an array on the pixels as they are stored.
    """
    skip_existing: bool = False
    """Whether pictures whose result exists are left out."""
    jobs: int | None = None
    """Pictures that are decoded and encoded at a time; None is what the processor has."""
    range: str | tuple[float, float] = "auto"
    """Which values are black and white: auto, full, or (low, high); see `hush.imaging.ranges.value_range`."""
    max_memory: int | None = None
    """Bytes of resident memory that the process may take; None is half of what is free."""
    quality: str = "balanced"
    """fast, balanced or best: which weights of their family; see `hush.restoring.tiers`."""

    @property
    def opening(self) -> dict[str, Any]:
        """What `hush.restoring.restorers.open_restorer` is told beside the weights."""
        return {name: getattr(self, name) for name in ("runtime", "device", "precision", "tile", "threads", "quality")}

    def __post_init__(self) -> None:
        if not isinstance(self.weights, (str, os.PathLike)):
            raise UsageError(f"weights is {reprlib.repr(self.weights)}; it must be a name or a file, such as photo")
        if self.weights == AUTO and self.sigma is not None:
            object.__setattr__(self, "weights", "gaussian")  # nothing is left to be chosen
        if self.sigma is not None:
            check_number(
                "sigma",
                self.sigma,
                0,
                LARGEST_SIGMA,
                "the noise level on the 8-bit scale; auto estimates it",
            )
        check_number("strength", self.strength, 0, 1, "0 keeps the picture, 1 is full")
        check_number("keep_detail", self.keep_detail, 0, 1, "0 keeps none of the texture that was removed, 1 all")
        check_number("keep_grain", self.keep_grain, 0, 1, "0 returns no grain, 1 a little")
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("quality", self.quality, TIERS)
        check_choice("only", self.only, ONLY)
        check_range(self.range)
        for name in ("tile", "threads", "jobs", "max_memory"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{name} is {value!r}; it must be a whole number from 1 on")
        if self.max_memory is not None and self.max_memory < LEAST_MEMORY:
            raise UsageError(
                f"max_memory is {self.max_memory:,} bytes; Python and the runtime take most of 256M. Allow more"
            )
        if self.overwrite and self.skip_existing:
            raise UsageError("both overwrite and skip_existing are set; a file that exists is replaced or skipped")


def check_number(name: str, value: object, low: float, high: float, meaning: str) -> None:
    """Raise UsageError unless a value is a number from ``low`` to ``high``."""
    number = isinstance(value, NUMBERS) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]  # NaN fails every comparison
        raise UsageError(f"{name} is {reprlib.repr(value)}; it must be a number from {low:g} to {high:g}: {meaning}")


def read_sigma(text: str) -> float | None:
    """Read a noise level: a number, or auto for None.

    Raises UsageError for anything else.
    """
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"sigma is {text!r}; it must be auto or a number from 0 to 255 (8-bit scale), such as 25"
        ) from None


def read_bytes(text: str) -> int:
    """Read an amount of memory: ``512M``, ``1.5G``, ``2 GB`` or plain bytes; units are powers of 1024.

    Raises UsageError for anything else.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if not match:
        raise UsageError(f"{text!r} is no amount of memory; write 512M, 1.5G or a number of bytes")
    return round(float(match[1]) * UNITS[match[2]])
