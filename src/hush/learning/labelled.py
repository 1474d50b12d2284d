"""Data sets of small labelled pictures, read from their authors' own files: STL-10, CIFAR-10, CIFAR-100.

Pixels stay in the file, mapped into memory, or in the one array that was read: items are views of them.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError, UsageError
from hush.learning.datasets import DataSet, Item, list_pictures
from hush.restoring.demonstration import PHOTOGRAPHS

Bytes = NDArray[np.uint8]


def stl10(root: str | Path, *, unlabeled: bool = False) -> DataSet:
    """Read STL-10: 96x96 colour pictures, 5,000 to learn from, 8,000 held out, 100,000 without labels.

    The official binary layout: ``stl10_binary/{train,test,unlabeled}_X.bin`` holds pictures of 3 planes in
    column-major order, ``{train,test}_y.bin`` a byte 1-10 each, ``class_names.txt`` their meaning.
    Coates, Ng and Lee, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011.

    Args:
        root: the folder stl10_binary or the one that holds it.
        unlabeled: learn from the unlabelled pictures as well; batches then come without labels.

    Raises PictureError if a file is missing, damaged or of another size.
    """
    folder = _find_folder(root, ("stl10_binary",), "train_X.bin", "STL-10")
    classes = _read_names(folder / "class_names.txt")
    train = _read_stl10(folder, "train", classes)
    if unlabeled:
        train += _read_stl10(folder, "unlabeled", classes)
    test = _read_stl10(folder, "test", classes) if (folder / "test_X.bin").exists() else []
    return DataSet(train, test, classes)


def _read_stl10(folder: Path, part: str, classes: Sequence[str]) -> list[Item]:
    records = _read_records(folder / f"{part}_X.bin", 3 * 96 * 96)
    pictures = records.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)  # (N, C, W, H) to (N, H, W, C)
    if part == "unlabeled":
        return _name_items(part, pictures, None, classes)
    labels = _read_records(folder / f"{part}_y.bin", 1)[:, 0].astype(int) - 1
    return _name_items(part, pictures, labels.tolist(), classes)


def tiles(root: str | Path = PHOTOGRAPHS, *, size: int = 96) -> DataSet:
    """Cut photographs into squares; which photograph it is from is a square's label. Every fifth is held out.

    Without ``data.root`` these are the photographs of the demo: data that are always at hand, for trying things out.
    Squares of one photograph are alike, so figures measured on them say little.

    Raises PictureError if a picture cannot be read or none is large enough.
    """
    from hush.learning.patches import read_source  # here: patches is built on data sets

    if size < 1:
        raise UsageError(f"tiles: size is {size}; it must be 1 or more")

    parts: tuple[list[Item], list[Item]] = ([], [])
    paths = list_pictures(Path(root))
    names = tuple(path.relative_to(root).with_suffix("").as_posix() for path in paths)
    for label, path in enumerate(paths):
        pixels = read_source(path)
        corners = itertools.product(*(range(0, side - size + 1, size) for side in pixels.shape[:2]))
        for number, (top, left) in enumerate(corners):
            square = pixels[top : top + size, left : left + size]
            parts[number % 5 == 4].append(Item(f"{names[label]}/{number:04d}", square, label=label))
    if not parts[1]:
        raise PictureError(f"{root}: its pictures do not hold five squares of {size} pixels; lower size")
    return DataSet(*parts, names)


@dataclass(frozen=True)
class _Cifar:
    """Where a CIFAR keeps what. A binary record is a byte per kind of label and 3,072 of pixels."""

    title: str
    folders: tuple[str, str]  # binary, python
    train: tuple[str, ...]
    test: str
    labels: tuple[str, ...]  # kinds of labels, in a record's order; keys of a pickled batch
    names: tuple[str, ...]  # keys of the pickled names of the classes
    pickled_names: str  # file
    names_files: tuple[str, ...]  # text files beside the binary batches


CIFAR10 = _Cifar(
    title="CIFAR-10",
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    labels=("labels",),
    names=("label_names",),
    pickled_names="batches.meta",
    names_files=("batches.meta.txt",),
)
CIFAR100 = _Cifar(
    title="CIFAR-100",
    folders=("cifar-100-binary", "cifar-100-python"),
    train=("train",),
    test="test",
    labels=("coarse_labels", "fine_labels"),
    names=("coarse_label_names", "fine_label_names"),
    pickled_names="meta",
    names_files=("coarse_label_names.txt", "fine_label_names.txt"),
)


def cifar10(root: str | Path) -> DataSet:
    """Read CIFAR-10: 32x32 colour pictures of 10 classes, 50,000 to learn from and 10,000 held out.

    Either official layout, whichever is there: binary (``cifar-10-batches-bin/data_batch_1.bin`` ...) or python
    (``cifar-10-batches-py/data_batch_1`` ..., unpickled without running anything). ``root`` is that folder or the one
    that holds it. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Raises PictureError if a file is missing, damaged or of another size.
    """
    return _read_cifar(root, CIFAR10, 0)


def cifar100(root: str | Path, *, coarse: bool = False) -> DataSet:
    """Read CIFAR-100: 32x32 colour pictures of 100 classes, 50,000 to learn from and 10,000 held out.

    Either official layout, whichever is there: ``cifar-100-binary/{train,test}.bin`` or
    ``cifar-100-python/{train,test}``. ``coarse`` takes the 20 superclasses as labels. Krizhevsky, Learning Multiple
    Layers of Features from Tiny Images, 2009.

    Raises PictureError if a file is missing, damaged or of another size.
    """
    return _read_cifar(root, CIFAR100, 0 if coarse else 1)


def _read_cifar(root: str | Path, cifar: _Cifar, kind: int) -> DataSet:
    """Read either layout with its labels of one kind."""
    first = cifar.train[0]
    folder = _find_folder(root, cifar.folders, f"{first}.bin", cifar.title, other=first)
    binary = (folder / f"{first}.bin").exists()
    if binary:
        classes = _read_names(folder / cifar.names_files[kind])
    else:
        meta = _unpickle(folder / cifar.pickled_names) if (folder / cifar.pickled_names).exists() else {}
        classes = tuple(_text(name) for name in meta.get(cifar.names[kind], ()))

    def read(part: str) -> list[Item]:
        if binary:
            return _read_binary(folder / f"{part}.bin", part, len(cifar.labels), kind, classes)
        return _read_pickled(folder / part, cifar.labels[kind], classes)

    train = [item for part in cifar.train for item in read(part)]
    there = (folder / (f"{cifar.test}.bin" if binary else cifar.test)).exists()
    return DataSet(train, read(cifar.test) if there else [], classes)


def _read_binary(path: Path, part: str, kinds: int, kind: int, classes: Sequence[str]) -> list[Item]:
    records = _read_records(path, kinds + 3072)
    pictures = records[:, kinds:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _name_items(part, pictures, records[:, kind].tolist(), classes)


def _read_pickled(path: Path, key: str, classes: Sequence[str]) -> list[Item]:
    batch = _unpickle(path)
    data, labels = batch.get("data"), batch.get(key)
    if not (isinstance(data, _Stored) and isinstance(labels, list) and all(isinstance(i, int) for i in labels)):
        raise PictureError(f"{path}: no batch of CIFAR, which holds 'data' and {key!r}. Unpack the archive again")
    pictures = data.pixels(path).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _name_items(path.name, pictures, labels, classes)


def _find_folder(root: str | Path, names: Iterable[str], file: str, title: str, other: str = "") -> Path:
    """Return the folder that holds a file (or another): the root, or one below it with the official name."""
    top = Path(root)
    for folder in (top, *(top / name for name in names)):
        if (folder / file).is_file() or (other and (folder / other).is_file()):
            return folder
    wanted = " or ".join(names)
    raise PictureError(f"{top}: no {title}, which is a folder {wanted} with {file}. Unpack the archive there")


def _read_records(path: Path, size: int) -> Bytes:
    """Map a file of records of so many bytes, (N, size)."""
    try:
        length = path.stat().st_size
        if length == 0 or length % size:
            raise PictureError(
                f"{path}: {length} bytes are no whole number of records of {size}; it is damaged or another kind of "
                "file. Unpack the archive again"
            )
        return np.asarray(np.memmap(path, np.uint8, mode="r")).reshape(-1, size)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}). Unpack the archive again") from error


def _read_names(path: Path) -> tuple[str, ...]:
    """Read names of classes, one a line; none where the file is missing."""
    if not path.exists():
        return ()
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _name_items(part: str, pictures: Bytes, labels: Sequence[int] | None, classes: Sequence[str]) -> list[Item]:
    """Make an item of each picture of (N, H, W, C)."""
    if labels is None:
        return [Item(f"{part}/{i:06d}", picture) for i, picture in enumerate(pictures)]
    if len(labels) != len(pictures):
        raise PictureError(f"{part}: {len(pictures)} pictures but {len(labels)} labels. Unpack the archive again")
    if min(labels) < 0 or (classes and max(labels) >= len(classes)):
        raise PictureError(f"{part}: labels {min(labels)} to {max(labels)}, but {len(classes)} classes. Unpack again")
    numbered = enumerate(zip(pictures, labels, strict=True))
    return [Item(f"{part}/{i:05d}", picture, label=label) for i, (picture, label) in numbered]


class _Stored:
    """Stands in for whatever a pickle would call to rebuild an array; it only keeps what it is given."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def pixels(self, path: Path) -> Bytes:
        """Return the bytes (N, 3072) of an array of uint8, as ``ndarray.__reduce__`` describes it."""
        try:
            _, shape, kind, fortran, data = self.state
            if _text(kind.arguments[0]) not in ("u1", "|u1"):
                raise ValueError("its values are not bytes")
            pixels = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")
            return pixels.reshape(-1, 3072)
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise PictureError(f"{path}: no pictures of CIFAR ({error}). Unpack the archive again") from error


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # the only encoding in which Python 3 writes bytes for Python 2


KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _Stored,
    ("numpy._core.multiarray", "_reconstruct"): _Stored,
    ("numpy", "ndarray"): _Stored,
    ("numpy", "dtype"): _Stored,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Reads dicts, lists, text, numbers and stand-ins for arrays; a pickle that asks for anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not run")
        return KNOWN[module, name]


def _unpickle(path: Path) -> dict[str, Any]:
    """Read a pickled dict, with the keys as text."""
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
        return {_text(key): value for key, value in content.items()}
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}). Unpack the archive again") from error
    except Exception as error:  # a damaged pickle raises anything
        raise PictureError(f"{path}: no pickled batch of CIFAR ({error}). Unpack the archive again") from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
