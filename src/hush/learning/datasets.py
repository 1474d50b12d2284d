"""Data sets: where pictures lie, and which of them are held out.

A data set is ``def mydata(root, *, ...) -> DataSet``. It lists pictures and decodes none of them:
`hush.learning.patches` does so when they are first asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hush.errors import PictureError, RecipeError, UsageError
from hush.imaging.finding import find_pictures
from hush.learning.runs import is_run
from hush.names import check_options, find, parse_call


@dataclass(frozen=True)
class Squeezed:
    """The picture in a file, squeezed to ``size`` x ``size`` pixels by averaging areas."""

    path: Path
    size: int


@dataclass(frozen=True, eq=False)  # its hash is its identity: pixels have none
class Frozen:
    """A noisy view of a picture, drawn once: it looks the same whenever it is asked for."""

    clean: Path | Squeezed | NDArray[np.uint8]
    degradation: str
    seed: int


Source = Path | Squeezed | Frozen | NDArray[np.uint8]
"""A file, a file to be squeezed, a noisy view of either, or pixels (H, W, C)."""


@dataclass(frozen=True)
class Item:
    """One picture: its clean view, its noisy view where the data are pairs, its label where it has one."""

    name: str
    clean: Source
    noisy: Source | None = None
    label: int | None = None
    scene: str = ""
    """Items of one scene are not independent: they are held out together, and intervals are drawn over scenes."""
    finished: bool = False
    """Whether the noisy view is as noisy as it shall be; else the recipe's degradation, if any, adds to it."""


@dataclass(frozen=True)
class DataSet:
    """Items to learn from, and items held out."""

    train: Sequence[Item]
    test: Sequence[Item] = ()
    """The data set's own held-out part, where it has one."""
    classes: tuple[str, ...] = ()
    """What the labels 0, 1, ... mean, where the data set says so."""


@dataclass
class Batch:
    """What one step learns from."""

    clean: Tensor
    """(N, C, H, W) float32 in [0, 1]; bytes (float16 where noise is frozen) until `to` has moved them."""
    noisy: Tensor | None = None
    """Likewise, where the data are pairs."""
    label: Tensor | None = None
    """(N,) int64."""
    gray: Tensor | None = None
    """(N,) bool: these pictures have equal channels, and so must their noise."""
    finished: Tensor | None = None
    """(N,) bool: the noisy views of these are as noisy as they shall be; the others' are clean, and to be degraded."""

    def with_gray(self, view: Tensor) -> Tensor:
        """Return a view (N, C, H, W) whose gray pictures have their first channel in all."""
        return view if self.gray is None else torch.where(self.gray.reshape(-1, 1, 1, 1), view[:, :1], view)

    def to(self, device: torch.device) -> Batch:
        """Move every tensor. Pictures arrive in channels_last, where convolutions are fastest, and as float32.

        Bytes become floats on the device: a quarter as much has to travel.
        """

        def move(tensor: Tensor | None) -> Tensor | None:
            if tensor is None or tensor.ndim != 4:
                return None if tensor is None else tensor.to(device, non_blocking=True)
            moved = tensor.to(device, memory_format=torch.channels_last, non_blocking=True)
            return moved.float() if moved.is_floating_point() else moved.float().div_(255)

        moved = {name: move(getattr(self, name)) for name in ("clean", "noisy", "label", "gray", "finished")}
        return Batch(**moved)  # type: ignore[arg-type]


def folder(root: str | Path, *, recursive: bool = True, held_out: bool = False) -> DataSet:
    """Take every picture in a folder, and in the folders below it, as clean; to learn from, or all held out."""
    top = Path(root)
    items = [Item(path.relative_to(top).as_posix(), path) for path in list_pictures(top, recursive)]
    return DataSet([], items) if held_out else DataSet(items)


def list_pictures(top: Path, recursive: bool = True) -> list[Path]:
    """Return the pictures of a folder in natural order, without those that a run directory below it holds.

    Raises PictureError if it is missing or holds none.
    """
    if not top.is_dir():
        raise PictureError(f"{top}: no such folder. Check data.root and the names of folders in data.set")
    found = find_pictures([top], recursive=recursive)
    places = {place for path in found for place in path.parents if place != top and place.is_relative_to(top)}
    runs = {place for place in places if is_run(place)}
    kept = [path for path in found if runs.isdisjoint(path.parents)]
    if not kept:
        raise PictureError(f"{top}: no pictures but those of run directories. Check data.root")
    return kept


DATASETS: dict[str, Any] = {
    "folder": folder,
    "mixture": "hush.learning.mixtures:mixture",
    "pairs": "hush.learning.pairs:pairs",
    "pair_sets": "hush.learning.pairs:pair_sets",
    "sidd": "hush.learning.pairs:sidd",
    "blur_pairs": "hush.learning.pairs:blur_pairs",
    "blur_triples": "hush.learning.pairs:blur_triples",
    "stl10": "hush.learning.labelled:stl10",
    "cifar10": "hush.learning.labelled:cifar10",
    "cifar100": "hush.learning.labelled:cifar100",
    "tiles": "hush.learning.labelled:tiles",
}


def open_dataset(spec: str, root: str | Path) -> DataSet:
    """Open a data set by its specification, such as ``folder`` or ``sidd(size=512)``.

    Raises UsageError for an unknown data set or option, PictureError where its pictures are not.
    """
    call = parse_call(spec)
    opener = find(DATASETS, call.name, "data set")
    check_options(opener, call, "data set", given=("root",))
    given = (Path(root).expanduser(),) if str(root) else ()
    place = next(iter(inspect.signature(opener).parameters.values()), None)
    if not given and place is not None and place.default is inspect.Parameter.empty:
        raise UsageError(f"data set {call.name!r} needs a folder: --set data.root=FOLDER")
    data = opener(*given, **call.options)
    if not isinstance(data, DataSet):
        raise UsageError(f"data set {call.name!r} gave a {type(data).__name__}; it must give a DataSet(train, test)")
    if not data.train and not data.test:
        raise PictureError(f"{root}: data set {call.name!r} finds no picture to learn from or to judge")
    return data


def split(data: DataSet, validation: str, most: int = 0) -> DataSet:
    """Divide a data set into items to learn from and items to validate on, of which none stands there twice.

    Args:
        data: the data set.
        validation: a file that lists names of items, folders or scenes (one a line, # for comments), a number n for
            every n-th item, or empty for the data set's own test part, or else every 20th item. Where items share
            scenes, every n-th scene is held out instead.
        most: use at most so many held-out items, evenly spread; 0 for all.

    Raises RecipeError if the list cannot be read, names what is not there or leaves one part empty.
    """
    if not validation and data.test:
        train, held = list(data.train), list(data.test)
    elif not validation or validation.isdigit():
        train, held = _hold_out(data.train, int(validation or 20))
    else:
        train, held = _hold_out_listed(data.train, Path(validation))
    held = list({id(item): item for item in held}.values())  # a mixture repeats items, to be learnt from more often
    if most and len(held) > most:
        held = [held[i * len(held) // most] for i in range(most)]
    return replace(data, train=train, test=held)


def _hold_out(items: Sequence[Item], every: int) -> tuple[list[Item], list[Item]]:
    if every < 2:
        raise RecipeError(f"data.validation = {every} would hold out everything; allowed are 2 and more, or a file")
    groups = [item.scene or item.name for item in items]
    if len(set(groups)) == 1:  # of a single scene a part must do
        groups = [item.name for item in items]
    names = list(dict.fromkeys(groups))
    chosen = set(names[every - 1 :: every] or names[-1:])
    held = [item for item, group in zip(items, groups, strict=True) if group in chosen]
    train = [item for item, group in zip(items, groups, strict=True) if group not in chosen]
    return train or list(items), held  # a single picture is learnt from and judged


def _hold_out_listed(items: Sequence[Item], path: Path) -> tuple[list[Item], list[Item]]:
    try:
        listed = {name.rstrip("/") for name in read_names(path)} - {""}
    except PictureError as error:
        raise RecipeError(f"data.validation: {error}") from error
    answers = [{item.name, item.scene, *map(str, PurePosixPath(item.name).parents)} for item in items]
    held = [item for item, names in zip(items, answers, strict=True) if names & listed]
    train = [item for item, names in zip(items, answers, strict=True) if not names & listed]
    unknown = sorted(listed.difference(*answers))
    if unknown or not held or not train:
        missing = f", not there: {name_some(unknown)}" if unknown else ""
        raise RecipeError(
            f"{path}: it holds out {len(held)} of {len(items)} pictures{missing}. Both parts need at least "
            f"one, named as the data set names them: {items[0].name}"
        )
    return train, held


def read_names(path: Path) -> set[str]:
    """Return the names that a text file lists, one a line, # for comments; raises PictureError if it cannot be read."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise PictureError(f"{path}: cannot be read as a list of names, one a line") from error
    return {line for line in lines if line and not line.startswith("#")}


def name_some(names: Sequence[str], most: int = 4) -> str:
    """List the first few names, for an error."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
