"""Recipes: frozen dataclasses read from TOML or JSON, with overrides; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hush.errors import RecipeError
from hush.names import nearest, parse_value


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and how patches are cut from them."""

    set: str = "folder"
    """The data set, such as ``folder``, ``pairs(noisy="NOISY", clean="CLEAN")`` or ``stl10``."""
    root: str = ""
    """Folder of the data set."""
    about: str = ""
    """What the pictures are and whose, in words, for the card of the weights."""
    validation: str | int = ""
    """A file that lists the held-out pictures (one relative path a line), or a number that holds out every n-th;
    empty: the data set's own test split, or else every 20th picture."""
    validation_pictures: int = 0
    """Use at most so many pictures for validation; 0 for all."""
    patch: int = 128
    """Side of the square training patches in pixels; 0 trains on whole pictures (all of one size)."""
    early_patch: int = 0
    """Side of the patches in the first `early_steps` steps: smaller ones give more updates in the same time."""
    early_steps: int = 0
    """For how many steps patches are of `early_patch`, where that is smaller than `patch`; 0 for none."""
    drawn: float = 0.0
    """Share of patches that are drawn, shapes, lines and letters, in place of clean pictures: edges sharper than most
    photographs have."""
    shrink: float = 1.0
    """Half of the patches are made smaller by a factor drawn between 1 and this, as far as pictures are large enough:
    detail becomes sharper, what JPEG left fainter, noise weaker. Pairs of a mixture stay as they are."""
    grafted: float = 0.0
    """Share of a mixture's pairs of which only the noise is taken, noisy minus clean, less its mean, and added to a
    clean picture: few pairs show few things, and their noise is learnt without these."""
    enlarge: float = 1.0
    """Pictures that get the noise of pairs are made larger by a factor drawn between 1 and this, beside `shrink`: what
    cameras give at 100 % is softer, and its edges are farther apart, than in photographs that were made smaller."""
    batch: int = 16
    """Patches per step, over all processes."""
    augment: bool | str = True
    """Turn and mirror patches (eight ways); "mirror": only left to right, for pictures that have an up and a down."""
    gray: float = 0.0
    """Share of patches made gray, with the same noise in all channels."""
    cache: int = 4096
    """Megabytes of memory for decoded pictures."""


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights move."""

    name: str = "muon"
    """muon (for the inner convolutions, AdamW for the rest) or adamw."""
    rate: float = 1e-3
    """Highest learning rate."""
    warmup: int = 200
    """Steps over which the rate rises from zero."""
    decay: float = 1.0
    """Last share of the training over which the rate falls along a cosine; 1 is the usual cosine schedule."""
    floor: float = 0.0
    """Rate at the end, as a share of the highest."""
    momentum: float = 0.95
    """Share of its direction that Muon keeps at each step; AdamW keeps 0.9."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    clip: float = 1.0
    """Longest gradient (2-norm over all weights); 0 for no clipping."""
    average: float = 0.999
    """Decay per step of the averaged weights; 0 keeps no average."""
    accumulate: int = 1
    """Parts that a batch is computed in, to save memory."""


@dataclass(frozen=True)
class LengthConfig:
    """When to stop: whichever comes first; 0 means no such limit."""

    steps: int = 0
    """Updates; 0 for no such limit. Of the three limits whichever comes first ends the training."""
    epochs: float = 0.0
    """Passes over the training pictures; 0 for no such limit."""
    minutes: float = 0.0
    """Minutes of training, by which the learning rate then falls; 0 for no such limit. Recipes that ship have one: to
    train by steps, set it to 0."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives."""

    name: str = "denoiser"
    """What the weights are called on their card, and the run directory if nothing else is said."""
    summary: str = ""
    """One sentence for lists and cards."""
    network: str = "drunet(widths=[64, 96, 160, 320], blocks=1, unshuffle=2, merge_early=true)"
    """What is trained, a name of ``hush list networks`` with its options; with the method ``classification`` a
    classifier."""
    method: str = "supervised"
    """How it learns, a name of ``hush list methods``."""
    degradation: str = "gaussian(sigma=0..75)"
    """Chain of noises; empty where the data are pairs that are noisy already."""
    untold: float = 0.0
    """Share of pictures whose noise level is not told; above 0 the weights are blind: they find the level themselves
    where nobody tells it."""
    level_error: float = 0.0
    """Deviation of the natural logarithm of the level that is told; above 0 half of the pictures are told one level
    for all pixels."""
    loss: str = "l1"
    """What is made small: a weighted sum of names of ``hush list losses``, and of what the method adds, such as
    ``kl``."""
    data: DataConfig = field(default_factory=DataConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    length: LengthConfig = field(default_factory=LengthConfig)
    seed: int = 0
    """Of the first numbers, the noise and the order of the pictures."""
    precision: str = "auto"
    """bf16, f32, or auto: bf16 where the processor computes with it."""
    validate_every: int = 500
    """Steps between validations."""
    validation_degradation: str = ""
    """Noise of the validation pictures; empty: that of the training."""
    licence: str = ""
    """A word on the licence of the weights, for the card."""


AT_LEAST: dict[type, dict[str, float]] = {
    DataConfig: {
        **dict.fromkeys(("patch", "early_patch", "early_steps", "gray", "drawn", "grafted", "validation_pictures"), 0),
        "batch": 1,
        "shrink": 1,
        "enlarge": 1,
        "cache": 1,
    },
    OptimiserConfig: {
        **dict.fromkeys(("rate", "warmup", "decay", "floor", "momentum", "weight_decay", "clip", "average"), 0),
        "accumulate": 1,
    },
    LengthConfig: {"steps": 0, "epochs": 0, "minutes": 0},
    Recipe: {"validate_every": 1, "seed": 0, "untold": 0, "level_error": 0},
}
SHARES: dict[type, tuple[str, ...]] = {  # at most 1
    DataConfig: ("gray", "drawn", "grafted"),
    OptimiserConfig: ("decay", "floor", "momentum", "average"),
    Recipe: ("untold",),
}
ONE_OF: dict[type, dict[str, tuple[bool | str, ...]]] = {
    OptimiserConfig: {"name": ("muon", "adamw")},
    Recipe: {"precision": ("auto", "bf16", "f32")},
    DataConfig: {"augment": (True, False, "mirror")},
}


def read_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe from a TOML or JSON file, or one that ships by its name.

    Args:
        source: a path, or a name such as ``gaussian`` (see ``hush list recipes``).
        overrides: ``key=value`` settings with dotted keys, such as ``optimiser.rate=3e-4``.

    Raises RecipeError on an unreadable file, an unknown key or a value of the wrong type.
    """
    path = find_recipe(source)
    return change_recipe(build(Recipe, read_tables(path), str(path)), overrides)


def change_recipe(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Return a recipe with ``key=value`` settings. Raises RecipeError for an unknown key or a wrong type."""
    settings = list(overrides)
    content = to_dict(recipe)
    for setting in settings:
        override(content, setting)
    changed: Recipe = build(Recipe, content, " ".join(f"--set {setting}" for setting in settings))
    return changed


def read_tables(path: Path) -> dict[str, Any]:
    """Read nested tables from a TOML or JSON file. Raises RecipeError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from error
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not valid {path.suffix[1:].upper() or 'TOML'}: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a table of keys and values, not a {type(content).__name__}")
    return content


def shipped_recipes(folder: str = "") -> dict[str, Path]:
    """Return the recipes that come with hush, or those of a folder below them, by name."""
    place = Path(str(files("hush"))) / "recipes" / folder
    return {path.stem: path for path in sorted(place.glob("*.toml"))}


def find_recipe(source: str | Path, folder: str = "") -> Path:
    """Return the path of a recipe file, or of a shipped recipe by its name."""
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_recipes(folder)
    if str(source) in shipped:
        return shipped[str(source)]
    kind = {"studies": "study", "searches": "search"}.get(folder, "recipe")
    raise RecipeError(
        f"{source}: no such {kind}{nearest(str(source), shipped)}. Give a .toml or .json file, or one of: "
        f"{', '.join(shipped)}"
    )


def build(kind: type, content: Mapping[str, Any], where: str) -> Any:
    """Build a frozen dataclass from nested tables, refusing unknown keys and wrong types."""
    hints = get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in hints:
            inner = [f"{table}.{key}" for table, wanted in hints.items() if _has(wanted, key)]
            meant = f" (did you mean {inner[0]}?)" if inner else nearest(key, hints)
            raise RecipeError(f"{where}: no key {key!r}{meant}. Known: {', '.join(hints)}")
        wanted = hints[key]
        if dataclasses.is_dataclass(wanted):
            if not isinstance(value, Mapping):
                raise RecipeError(f"{where}: {key} is a table of keys, not {value!r}")
            values[key] = build(typing.cast(type, wanted), value, f"{where}: {key}")
        else:
            called = str(value) if key in NAMES and type(value) is int else value
            values[key] = _typed(called, wanted, f"{where}: {key}")
    for key, least in AT_LEAST.get(kind, {}).items():
        if not values.get(key, least) >= least:
            raise RecipeError(f"{where}: {key} is {values[key]}; it must be at least {least:g}")
    for key in SHARES.get(kind, ()):
        if not values.get(key, 0) <= 1:
            raise RecipeError(f"{where}: {key} is {values[key]:g}; it is a share, from 0 to 1")
    for key, allowed in ONE_OF.get(kind, {}).items():
        if values.get(key, allowed[0]) not in allowed:
            raise RecipeError(f"{where}: {key} is {values[key]!r}; allowed are {', '.join(map(str, allowed))}")
    return kind(**values)


def _has(kind: Any, key: str) -> bool:
    """Say whether a table of a recipe has a key."""
    return dataclasses.is_dataclass(kind) and any(field.name == key for field in dataclasses.fields(kind))


def _typed(value: Any, wanted: Any, where: str) -> Any:
    options = get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    for option in options:
        plain = get_origin(option) or option
        if plain is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if plain is type(None) and value is None:
            return None
        if isinstance(value, plain) and not (plain in (int, float) and isinstance(value, bool)):
            return value
    names = " or ".join(getattr(option, "__name__", str(option)) for option in options)
    raise RecipeError(f"{where} takes {names}, not {value!r}")


NAMES = ("root", "name")  # keys whose text may look like a number: 2024, 2024_05


def override(content: dict[str, Any], setting: str) -> None:
    """Set ``key=value`` with a dotted key in nested tables. Raises RecipeError if it is none."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise RecipeError(f"--set {setting}: write key=value, such as optimiser.rate=3e-4")
    *tables, last = key.strip().split(".")
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise RecipeError(f"--set {setting}: {table!r} is no table of keys")
    value = _override_value(text.strip())
    content[last] = text.strip() if last in NAMES and isinstance(value, int) else value


def merge(content: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with the keys of others laid over them; tables are merged, anything else is replaced."""
    merged = dict(content)
    for key, value in more.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _override_value(text: str) -> Any:
    """Numbers, truth values and lists as such; everything else, specifications above all, stays text."""
    try:
        value = parse_value(text)
    except Exception:
        return text
    return value if isinstance(value, (bool, int, float, str, list)) else text


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> dict[str, tuple[Any, Any]]:
    """Return what two recipes as nested tables differ in: dotted keys with the values before and after.

    Keys that only one of them has, as versions may bring new ones, are left out.
    """
    changed: dict[str, tuple[Any, Any]] = {}
    for key in before.keys() & after.keys():
        was, now = before[key], after[key]
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            changed |= changed_keys(was, now, f"{where}{key}.")
        elif was != now:
            changed[where + key] = (was, now)
    return dict(sorted(changed.items()))


def to_dict(recipe: Any) -> dict[str, Any]:
    """Return a recipe as plain nested tables."""
    return dataclasses.asdict(recipe)
