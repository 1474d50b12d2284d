"""The pictures of an evaluation: folders of clean ones, pairs of folders, or SIDD's validation blocks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hush.errors import PictureError, UsageError
from hush.imaging.finding import find_pictures
from hush.judging.blocks import Block, read_blocks

PAIRS = "pairs:"
SIDD = "sidd:"

Source = Path | Block
"""A file, or a part of one that is in memory."""


@dataclass(frozen=True)
class JudgedPicture:
    """One picture of a data set."""

    name: str
    """Path below the data set's folder."""
    scene: str
    clean: Source
    noisy: Source | None = None
    """Where the data are pairs."""


@dataclass(frozen=True)
class JudgedData:
    """A data set: a folder, two folders of pairs, or SIDD's blocks."""

    name: str
    """As it was given."""
    pairs: bool
    pictures: list[JudgedPicture]


def open_data(name: str, *, scenes: str | None = None, limit: int | None = None) -> JudgedData:
    """List the pictures of a folder, of ``pairs:NOISY,CLEAN`` or of ``sidd:FOLDER``, in natural order.

    Args:
        name: a folder, searched with all that is below it, two of them whose pictures have the same names, or the
            folder of SIDD's validation blocks (see `hush.judging.blocks`), each of its 40 images a scene.
        scenes: regular expression with one group, searched in each picture's name.
        limit: take the first so many.

    Raises UsageError for a pattern that does not fit, PictureError for missing pictures.
    """
    sidd, pairs = name.startswith(SIDD), name.startswith((PAIRS, SIDD))
    find_scene = _scene_finder("^([0-9]+)/" if sidd and scenes is None else scenes)
    files: Sequence[tuple[str, Source, Source | None]]
    if sidd:
        files = read_blocks(Path(name.removeprefix(SIDD)).expanduser())
    else:
        files = _open_pairs(name) if pairs else _open_folder(name)
    if not files:
        raise PictureError(f"{name}: no pictures in it; name a folder that has some")
    pictures = [JudgedPicture(file, find_scene(file), clean, noisy) for file, clean, noisy in files[:limit]]
    return JudgedData(name, pairs, pictures)


def _open_folder(name: str) -> list[tuple[str, Path, Path | None]]:
    top = Path(name).expanduser()
    paths = find_pictures([top], recursive=True)
    if paths == [top] and not top.exists():
        raise PictureError(f"{name}: no such folder; name one with clean pictures, or {PAIRS}NOISY,CLEAN")
    base = top if top.is_dir() else Path(os.path.commonpath([path.parent for path in paths]))  # a file, or a pattern
    return [(path.relative_to(base).as_posix(), path, None) for path in paths]


def _open_pairs(name: str) -> list[tuple[str, Path, Path | None]]:
    folders = [folder.strip() for folder in name.removeprefix(PAIRS).split(",")]
    if len(folders) != 2 or not all(folders):
        raise UsageError(
            f"{name}: cannot be read; write {PAIRS}NOISY,CLEAN: two folders without a comma in their names"
        )
    noisy, clean = (_by_name(Path(folder).expanduser()) for folder in folders)
    if alone := sorted(noisy.keys() ^ clean.keys()):
        others = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        raise PictureError(f"{name}: {alone[0]}{others} in one folder only; the two views of a pair carry one name")
    return [(f"{stem}{path.suffix}", path, noisy[stem]) for stem, path in clean.items()]


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the pictures below a folder by their path in it without suffix."""
    if not folder.is_dir():
        raise PictureError(f"{folder}: is no folder; pairs are two folders of pictures")
    named: dict[str, Path] = {}
    for path in find_pictures([folder], recursive=True):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in named:
            raise PictureError(f"{path}: {named[stem].name} has the same name with another suffix; keep one of them")
        named[stem] = path
    return named


def _scene_finder(pattern: str | None) -> Callable[[str], str]:
    """Return what finds the scene in a picture's name; without a pattern every picture is one."""
    if pattern is None:
        return str
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"scenes: {pattern!r} is no regular expression ({error}); write one such as ^([^_]+)_"
        ) from error
    if expression.groups != 1:
        raise UsageError(f"scenes: {pattern!r} has {expression.groups} groups; write one, as in ^([^_]+)_")

    def find_scene(name: str) -> str:
        found = expression.search(name)
        if found is None or found.group(1) is None:
            raise UsageError(f"scenes: {pattern!r} finds nothing in the name {name!r}; every picture needs a scene")
        return found.group(1)

    return find_scene
