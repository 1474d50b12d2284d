"""Read and write picture files; `hush.imaging.finding` says which.

``read`` and ``write`` keep everything but the pixels: bit depth, alpha, profile, EXIF, resolution, and the way the
format coded it. What they cannot keep they refuse in one line.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from hush.errors import HushError, MissingExtra, PictureError, need
from hush.imaging.arrays import check_array, check_finite
from hush.imaging.formats import FORMATS, HEAD, format_of, recognise
from hush.imaging.formats.codecs import library_reason
from hush.imaging.formats.conversion import converted
from hush.imaging.formats.picture import INTACT, Format, Metadata, Pages, Picture
from hush.imaging.formats.stacks import names_itself
from hush.imaging.gaps import present
from hush.names import nearest

__all__ = [
    "Metadata",
    "Pages",
    "Picture",
    "Unchanged",
    "check_names",
    "check_present",
    "copy",
    "make_folder",
    "may_copy",
    "read",
    "read_pages",
    "write",
    "write_pages",
    "written_as",
]


def read(source: str | os.PathLike[str]) -> Picture:
    """Read a picture, with everything that is needed to write the same kind of file.

    The format is told by the content. The pixels are (H, W) or (H, W, C) in the file's own dtype, as stored: an EXIF
    orientation stays a tag. Raises PictureError, in one line, for whatever is no single intact picture.
    """
    path = Path(source)
    with _named(path):
        entry, data = _open(path)
        with _decoding(entry):
            return _checked(entry.read(data[:]), path)


def read_pages(source: str | os.PathLike[str]) -> Pages:
    """Read the pages, planes or frames of a file, each when the loop comes to it; most files hold one.

    A TIFF's pages and planes take the memory of one at a time. Raises PictureError, at once or within the loop.
    """
    path = Path(source)
    with _named(path):
        entry, data = _open(path, mapped=True)
        with _decoding(entry):
            pages = entry.read_pages(data)

    def pictures() -> Iterator[Picture]:
        found = iter(pages)
        while True:
            with _named(path), _decoding(entry):
                picture = next(found, None)
                if picture is None:
                    return
                picture = _checked(picture, path)
            yield picture

    return replace(pages, open=pictures, path=path)


def copy(source: str | os.PathLike[str], target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Copy a file as it is, whole or not at all; raises PictureError for what `write` does."""
    path = Path(target)
    with _named(path):
        _check_place(path, overwrite)
        with Path(source).open("rb") as file, _publish(path, overwrite, Path(source)) as out:
            shutil.copyfileobj(file, out)
    return path


class Unchanged(Exception):  # no error: it ends the writing
    """Raised after the last picture if none has changed: the file is then copied instead."""


def may_copy(source: Path, target: Path, like: Pages | Picture) -> bool:
    """Say whether a copy of a file does for its pictures, unchanged: the format stays, and it names no other file."""
    if written_as(target, like) is not FORMATS[like.format]:
        return False
    return like.format != "tiff" or source.name == target.name or not names_itself(source)


def _alone(picture: Picture) -> Pages:
    return Pages(picture.format, 1, lambda: iter([picture]))


def _checked(picture: Picture, path: Path) -> Picture:
    check_array(picture.pixels, cmyk=picture.cmyk)
    if picture.pixels.dtype.kind == "f":
        check_finite(present(picture.pixels, picture.nodata, cmyk=picture.cmyk))
    return replace(picture, path=path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file an error speaks."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except MissingExtra as error:
        raise MissingExtra(f"{path}: {error}") from error
    except OSError as error:
        raise PictureError(f"{path}: {_reason(error)}") from error


@contextmanager
def _decoding(entry: Format) -> Iterator[None]:
    """Turn whatever a decoder raises into a PictureError."""
    try:
        yield
    except HushError:
        raise
    except MemoryError as error:
        raise PictureError(f"a {entry.title} too large for the memory of this machine") from error
    except Exception as error:  # decoders raise anything at all on damaged data
        raise PictureError(f"damaged or unsupported {entry.title} ({library_reason(error)}). {INTACT}") from error


def _open(path: Path, *, mapped: bool = False) -> tuple[Format, bytes | mmap]:
    """Return a file's format and bytes; ``mapped`` leaves those of a file of many pages on the disk."""
    _check_present(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
        entry = FORMATS[recognise(head, path.suffix)]
        if mapped and entry.pages and not entry.frames:
            return entry, mmap(file.fileno(), 0, access=ACCESS_READ)
        return entry, head + file.read()


def check_present(path: Path) -> None:
    """Raise PictureError, with the path's name, if there is no such file."""
    with _named(path):
        _check_present(path)


def _check_present(path: Path) -> None:
    """Raise PictureError if there is no such file, or something that is none."""
    if path.is_file():
        return
    if path.is_symlink() and not path.exists():
        raise PictureError(f"a link to {os.readlink(path)}, which is not there. Bring that file, or remove the link")
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise PictureError("a folder that may not be read. Change its permissions, or leave it out")
    if path.is_fifo():
        raise PictureError("a pipe, no file. Give the picture on standard input: hush denoise - < ...")
    if path.exists():
        raise PictureError("a folder or device, no picture. Name the pictures in it")
    entries = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    present = [entry.name for entry in entries if entry.is_file()]
    raise PictureError(f"no such file{nearest(path.name, present, cutoff=0.75)}. Check the name")


def check_names(source: Path, target: Path, *, make_folder: bool = False) -> None:
    """Raise PictureError for what can be told before reading: no source, or a target that cannot be written.

    ``make_folder`` says that the target's folder will be made. A target that exists may be replaced.
    """
    check_present(source)
    makes_folder = make_folder and not target.parent.exists()
    with _named(target.parent if makes_folder else target):
        _check_folder(target.parent) if makes_folder else _check_place(target, overwrite=True)
    with _named(target):
        if source.suffix.lower() != target.suffix.lower():
            entry = FORMATS[format_of(target)]
            entry.check_written()
            for package, extra in entry.needs.items():
                need(package, extra)


def write(target: str | os.PathLike[str], picture: Picture, *, overwrite: bool = False) -> Path:
    """Write a picture, whole or not at all, and return where it is.

    The target's suffix names the format; where it is the suffix of the picture's own file, the format is the one that
    the file really had. Within a format everything comes out as it went in; another format takes over profile, EXIF,
    XMP, Photoshop resources and resolution as far as it holds them. The bytes go to a temporary file beside the
    target that is then renamed. Raises PictureError for an existing target (unless ``overwrite``), pixels that the
    format would change, and anything that the file system refuses.
    """
    return write_pages(target, [picture], replace(_alone(picture), path=picture.path), overwrite=overwrite)


def write_pages(
    target: str | os.PathLike[str], pictures: Iterable[Picture], like: Pages, *, overwrite: bool = False
) -> Path:
    """Write pictures, one after the other as they come, as a file of the kind of ``like``; see ``write``.

    The frames of an animation may become pages of a TIFF; pages become no animation. An error that ``pictures``
    raises is passed on, and leaves nothing behind.
    """
    path = Path(target)
    upstream: list[Exception] = []

    def watched() -> Iterator[Picture]:
        try:
            yield from pictures
        except Exception as error:
            upstream.append(error)
            raise

    try:
        name = _format_for(path, like)
        entry = FORMATS[name]
        _check_holds_pages(entry, like)
        _check_place(path, overwrite)
        with _publish(path, overwrite, like.path) as file:
            _encode(file, name, watched(), like, path)
    except Exception as error:
        if error in upstream:
            raise
        if isinstance(error, (PictureError, MissingExtra)):
            raise type(error)(f"{path}: {error}") from error
        if isinstance(error, OSError):
            raise PictureError(f"{path}: {_reason(error)}") from error
        raise PictureError(f"{path}: cannot be written ({library_reason(error)}). Try a .png or .tif name") from error
    return path


def written_as(target: Path, like: Pages | Picture) -> Format:
    """Return the format that a target will be written in; raises PictureError if its suffix names none."""
    with _named(target):
        return FORMATS[_format_for(target, like)]


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there; raises PictureError where that is refused."""
    with _named(path):
        path.mkdir(parents=True, exist_ok=True)


def _check_folder(path: Path) -> None:
    """Raise PictureError if a folder that is not there cannot be made, as far as what is above it tells."""
    above = next((parent for parent in path.parents if parent.exists()), None)
    if above is None:
        return  # a disk that is not there: making the folder will say so
    if not above.is_dir():
        raise PictureError(f"{above} is a file, so there is no folder in it. Choose another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PictureError(f"no permission to make a folder in {above}. Choose another, or change its permissions")


def _check_place(path: Path, overwrite: bool) -> None:
    """Raise PictureError if a file cannot be written here."""
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        raise PictureError("a folder or device, no file. Name a file in a folder, or - for stdout")
    if path.exists() and not overwrite:
        raise PictureError("exists already. Name another file, or allow overwriting")
    if not path.parent.is_dir():
        raise PictureError(f"there is no folder {path.parent}. Make it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path.parent))


def _format_for(path: Path, like: Pages | Picture) -> str:
    """Return the format to write: the one that the source really had, where the target has its suffix."""
    same = like.format and like.path is not None and like.path.suffix.lower() == path.suffix.lower()
    return like.format if same else format_of(path)


def _check_holds_pages(entry: Format, like: Pages) -> None:
    """Raise PictureError if a format would lose pages, or show them as an animation."""
    if len(like) == 1 and not like.frames:
        return
    what = f"{len(like)} {'frames' if like.frames else 'pages'}"
    if not entry.pages:
        raise PictureError(f"{what}; {entry.title} holds one picture. Name a .tif file, or one of the source's format")
    if entry.frames and not like.frames:
        raise PictureError(f"{what}; {entry.title} would show them as an animation. Name a .tif file")


def _encode(file: BinaryIO, name: str, pictures: Iterable[Picture], like: Pages, path: Path) -> None:
    """Write pictures into an open file."""
    entry = FORMATS[name]

    def checked() -> Iterator[Picture]:
        for picture in pictures:
            check_array(picture.pixels, cmyk=picture.cmyk)
            entry.check_holds(picture)
            yield converted(picture, name)

    entry.write_pages(file, checked(), like, path)


@contextmanager
def _publish(path: Path, overwrite: bool, source: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file, and give it its name in the end; on any failure nothing is left behind.

    Nobody may read a new file who may not read its ``source``.
    """
    path = path.resolve()  # a link stays a link
    temporary = path.parent / f".hush-{os.urandom(6).hex()}.part"
    try:
        with temporary.open("xb") as file:
            yield file
        if overwrite and path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        elif source is not None and source.exists():
            temporary.chmod(temporary.stat().st_mode & (source.stat().st_mode | 0o700))
        if overwrite:
            os.replace(temporary, path)
        else:
            _rename_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename without replacing what another process may have written meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.replace(temporary, path)


def _reason(error: OSError) -> str:
    """Say in words what the file system refused."""
    advice = {
        errno.ENOSPC: "no space is left on the disk. Free some, or write elsewhere",
        errno.EDQUOT: "the disk quota is used up. Free some space, or write elsewhere",
        errno.EFBIG: "the file would be larger than this disk allows. Write elsewhere",
        errno.EACCES: "no permission. Change its permissions or those of its folder, or choose another place",
        errno.EPERM: "no permission. Change its permissions or those of its folder, or choose another place",
        errno.EROFS: "the disk is read-only. Write elsewhere",
        errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
        errno.EEXIST: "exists already. Name another file, or allow overwriting",
        errno.EISDIR: "is a folder. Name a file in it",
    }
    return advice.get(error.errno or 0) or f"{error.strerror or error}. Check the disk and the path"
