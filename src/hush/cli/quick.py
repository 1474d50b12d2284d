"""The everyday command lines of ``hush denoise``, read without typer: importing it takes as long as a small picture.

What is not read here, mistakes included, is left to typer, which explains it; tests see to it that both read alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hush.errors import HushError

if TYPE_CHECKING:
    from hush.cli.pictures import Request

TEXTS = {"-o": "out", **{f"--{name}": name for name in ("out", "weights", "quality", "sigma", "strength")}}
FLAGS = ("--overwrite", "--skip-existing", "--recursive", "--dry-run", "--json")
PIPE = "-"  # stdin or stdout


def read_line(arguments: Sequence[str]) -> Request | None:
    """Read a command line; None for what typer must read."""
    if arguments[:1] != ["denoise"] or (words := _words(arguments[1:])) is None:
        return None
    inputs, texts, flags = words
    from hush.cli.pictures import Request
    from hush.restoring.options import DenoiseOptions, read_sigma

    try:
        options = DenoiseOptions(
            sigma=read_sigma(texts.get("sigma", "auto")),
            strength=float(texts.get("strength", 1)),
            weights=texts.get("weights", DenoiseOptions.weights),
            overwrite="--overwrite" in flags,
            skip_existing="--skip-existing" in flags,
            quality=texts.get("quality", DenoiseOptions.quality),
        )
    except (ValueError, HushError):
        return None
    asked = ("--recursive" in flags, "--dry-run" in flags, "--json" in flags)
    return Request(inputs, texts.get("out"), options, *asked)


def _words(arguments: Sequence[str]) -> tuple[list[str], dict[str, str], set[str]] | None:
    """Part the arguments into inputs, options with their texts, and flags; None where there are others."""
    inputs: list[str] = []
    texts: dict[str, str] = {}
    flags: set[str] = set()
    coming = iter(arguments)
    for word in coming:
        if word in FLAGS:
            flags.add(word)
        elif word in TEXTS:
            texts[TEXTS[word]] = text = next(coming, "")
            if not text or (text.startswith("-") and text != PIPE):
                return None
        elif word == PIPE or not word.startswith("-"):
            inputs.append(word)
        else:
            return None
    return (inputs, texts, flags) if inputs else None
