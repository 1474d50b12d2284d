"""Which pictures a command names, and where their restored forms go."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from hush.errors import PictureError, UsageError
from hush.imaging.files import _reason
from hush.imaging.formats import SUFFIXES, UNREAD
from hush.imaging.formats.marks import is_raw
from hush.imaging.formats.tags import directories

DIRECTORY = 2**20  # bytes in which the first directory of a DNG lies
DNG_VERSION = 50706  # a tag of it
MARK = "-hush"  # in the name of a restored picture that lies beside its source


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Tell by its suffix whether a file is of a format that hush reads."""
    return Path(path).suffix.lower() in SUFFIXES


def find_pictures(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    results: bool = False,
    out: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Return the pictures that files, folders and patterns such as ``holiday/*.jpg`` name, each once.

    Of a folder these are its files with a known suffix in natural order (2 before 10), without hidden ones;
    ``recursive`` adds its subfolders, but for links to folders. What was made of another of the pictures in an earlier
    run (photo-hush.jpg beside photo.jpg) is left out, and so is what lies in a folder ``out`` inside a folder that is
    searched, unless ``results`` are asked for. A named file is taken even if it is missing, so that reading says what
    is wrong with it and the others are still done; so is a link that leads nowhere, and a folder that may not be read.
    Raises PictureError if nothing is found, and UsageError for an empty name, which would stand for the folder that
    one is in.
    """
    names = [os.fspath(entry) for entry in inputs]
    if "" in names:
        raise UsageError("an empty name among the inputs; name a picture, or . for this folder")
    apart = None if results or out is None else Path(out).resolve()
    found = dict.fromkeys(path for name in names for path in _matches(name, recursive, apart))
    if not found:
        raise PictureError(_nothing_found(names, recursive))
    made = set() if results else {written(path.with_stem(path.stem + MARK)) for path in found if path.name}
    return [path for path in found if path not in made]


def _nothing_found(names: list[str], recursive: bool) -> str:
    deeper = [name for name in names if Path(name).is_dir() and any(entry.is_dir() for entry in Path(name).iterdir())]
    if deeper and not recursive:
        advice = f"There are folders in {deeper[0]}: add --recursive to search them"
    else:
        advice = f"Name files, or folders with {' '.join(SUFFIXES)}"
    return f"{', '.join(names) or 'no input'}: no pictures found. {advice}"


def _matches(name: str, recursive: bool, apart: Path | None = None) -> Iterator[Path]:
    """Yield what one input stands for, of a folder without what lies in a folder ``apart`` inside it."""
    path = Path(name)
    if os.path.isdir(path):  # unlike a Path it does not mind a name that is too long
        try:
            files, closed = _look_into(path, recursive)
            pictures = sorted([*_with_suffix(files, SUFFIXES), *closed], key=natural_order)
            inside = apart is not None and path.resolve() in apart.parents
            yield from (found for found in pictures if not inside or apart not in found.resolve().parents)
        except OSError as error:
            raise PictureError(f"{path}: {_reason(error)}") from error
    elif os.path.exists(path) or not glob.has_magic(name):
        yield path
    else:
        for match in sorted(map(Path, glob.glob(name, recursive=True)), key=natural_order):
            if match.is_dir() and recursive:
                yield from _matches(str(match), recursive, apart)
            elif match.is_file() and is_picture(match):
                yield match


def find_nothing(inputs: Iterable[str | os.PathLike[str]], *, recursive: bool = False) -> list[str]:
    """Return which of several inputs name no picture: patterns that nothing fits, and folders without one."""
    names = [os.fspath(entry) for entry in inputs]
    if len(names) < 2:  # `find_pictures` has refused it, and a large folder need not be searched again
        return []
    return [name for name in names if next(_matches(name, recursive), None) is None]


def searched(inputs: Iterable[str | os.PathLike[str]], *, recursive: bool = False) -> list[Path]:
    """Return the folders among what inputs name, whose subfolders are made again in an output."""
    folders: list[Path] = []
    for name in [os.fspath(entry) for entry in inputs]:
        if os.path.isdir(name):
            folders.append(Path(name))
        elif recursive and not os.path.exists(name) and glob.has_magic(name):
            folders += sorted(path for path in map(Path, glob.glob(name, recursive=True)) if path.is_dir())
    return folders


def find_unread(inputs: Iterable[str | os.PathLike[str]], *, recursive: bool = False) -> list[Path]:
    """Return the pictures in folders that are of formats which are known, but not read, such as JPEG XL."""
    found: dict[Path, None] = {}
    for folder in searched(inputs, recursive=recursive):
        with suppress(OSError):  # looking for pictures has said what is wrong with it
            found |= dict.fromkeys(_with_suffix(_look_into(folder, recursive)[0], UNREAD))
    return list(found)


def _look_into(folder: Path, recursive: bool) -> tuple[list[Path], list[Path]]:
    """Return the files in a folder, without hidden ones, and the folders below it that may not be read.

    ``recursive`` adds the files of its subfolders, but for hidden ones and links. Raises OSError if the folder itself
    may not be read.
    """
    files: list[Path] = []
    closed: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    if folder in closed:
        os.listdir(folder)  # says why
    return files, closed


def _with_suffix(files: Iterable[Path], suffixes: Container[str]) -> Iterator[Path]:
    """Yield the files with such suffixes, and links that lead nowhere: reading says what is wrong with them."""
    for path in files:
        if path.suffix.lower() in suffixes and (path.is_file() or not path.exists()):
            yield path


def natural_order(path: Path) -> list[list[tuple[bool, int, str]]]:
    """Return a sorting key by which ``img2`` comes before ``img10``."""
    parts = [re.findall("([0-9]+)|([^0-9]+)", part.casefold()) for part in path.parts]
    return [[(not digits, int(digits or 0), text) for digits, text in part] for part in parts]


def named_by_content(path: Path) -> Path:
    """Give a file that came without a name the suffix of camera raw, if it is that: a result needs another one.

    A DNG looks like TIFF, but for a tag. Returns its new path, or the old one.
    """
    if path.suffix:
        return path
    with path.open("rb") as file:
        head = file.read(DIRECTORY)
    pages, _ = directories(head)
    raw = is_raw(head) or (pages and DNG_VERSION in pages[0])
    return path.rename(path.with_suffix(".dng")) if raw else path


def written(path: Path) -> Path:
    """Return the name under which a picture is written: camera raw becomes a TIFF."""
    return path.with_suffix(".tif") if SUFFIXES.get(path.suffix.lower()) == "raw" else path


def output_path(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    out_is_folder: bool = False,
    base: str | os.PathLike[str] | None = None,
) -> Path:
    """Return where the restored form of a picture goes.

    Without ``out`` beside its source, as ``photo-hush.jpg``; with a folder there under its own name (below ``base``
    with its subfolders), or with the mark if that folder is its own; else to ``out`` itself. Camera raw becomes .tif.
    """
    source = Path(source)
    marked = written(source.with_stem(source.stem + MARK))
    if out is None:
        return marked
    if not out_is_folder:
        return Path(out)
    target = written(Path(out) / (source.relative_to(base) if base is not None else source.name))
    return target.with_name(marked.name) if target.resolve() == source.resolve() else target
