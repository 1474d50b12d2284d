"""What a file given to ``hush train`` asks for: a recipe, or the config.json of another project, read as it stands.

That project, a framework for neural restoration with U-Net and VAE, is steered by one file of five keys. Their
spelling is its own; files of its users work here unchanged:

    {"model": "U-net", "save_weight_path": null, "load_weigth_path": null, "datset": "STL10", "device": "cpu"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hush.errors import RecipeError
from hush.learning.config import Recipe, build, change_recipe, find_recipe, read_recipe, read_tables
from hush.names import nearest

KEYS = ("model", "save_weight_path", "load_weigth_path", "datset", "device")
MODELS = {"U-net": "composite-unet", "VAE": "composite-vae"}  # the recipes that they stand for
SETS = {
    "STL10": {"set": "stl10", "about": "STL-10 (Coates, Ng, Lee 2011)"},
    "Cifar100": {"set": "cifar100", "about": "CIFAR-100 (Krizhevsky 2009)"},
}
DEVICES = ("cpu", "cuda")
ROOT = "data"  # where the data sets are looked for: ./data/stl10_binary, ./data/cifar-100-python


@dataclass(frozen=True)
class Order:
    """A recipe, and what the file says beside it."""

    recipe: Recipe
    out: str | None = None
    """The run directory."""
    start: str | None = None
    """Weights to start from."""
    device: str | None = None


def read_order(source: str | Path, overrides: Iterable[str] = ()) -> Order:
    """Read a recipe as `read_recipe` does, or a config.json with the keys above.

    Of the latter, ``model`` and ``datset`` choose recipe and data, ``save_weight_path`` is the run directory,
    ``load_weigth_path`` the weights to start from. Overrides are those of the recipe that it becomes.

    Raises RecipeError on an unreadable file, an unknown key or a value that is not allowed.
    """
    path = find_recipe(source)
    content = read_tables(path)
    if not is_foreign(content):
        return Order(read_recipe(source, overrides))
    _check(content, str(path))
    tables = read_tables(find_recipe(MODELS[content["model"]]))
    tables["data"] |= {"root": ROOT, **SETS[content.get("datset", "STL10")]}
    recipe: Recipe = build(Recipe, tables, str(path))
    return Order(
        change_recipe(recipe, overrides),
        out=content.get("save_weight_path") or None,
        start=content.get("load_weigth_path") or None,
        device=content.get("device"),
    )


def is_foreign(content: Mapping[str, Any]) -> bool:
    """Say whether tables are such a config.json: no recipe has a key of its five."""
    return not content.keys().isdisjoint(KEYS)


def _check(content: Mapping[str, Any], where: str) -> None:
    for key in content:
        if key not in KEYS:
            raise RecipeError(f"{where}: no key {key!r}{nearest(key, KEYS)}. Known: {', '.join(KEYS)}")
    for key, allowed in (("model", MODELS), ("datset", SETS), ("device", DEVICES)):
        value = content.get(key)
        if (key in content or key == "model") and value not in tuple(allowed):
            hint = nearest(str(value), allowed)
            raise RecipeError(f"{where}: {key} is {value!r}{hint}; allowed are {', '.join(allowed)}")
    for key in ("save_weight_path", "load_weigth_path"):
        if not isinstance(content.get(key), str | None):
            raise RecipeError(f"{where}: {key} is {content[key]!r}; it is null or a path")
