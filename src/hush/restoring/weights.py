"""Find weights by name or file, and read the card that says where they come from.

Weights ship in one form: an ONNX file with inputs ``noisy`` (N, C, H, W) and, where the network is told the noise
level, ``sigma_map`` (N, 1, H, W); output ``restored``; numbers as fp16 under the state dict's names; the card as
JSON under ``hush.card`` in its metadata.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from hush.errors import UnknownWeights, UsageError, WeightsError
from hush.imaging.writing import whole
from hush.names import Range, nearest, parse_chain

BUNDLED = Path(__file__).parent.parent / "weights"
CARD_KEY = "hush.card"
MULTIPLE = 16  # of networks that do not say; holds for those that halve a picture at most four times
UNTOLD = -0.1  # in the level map of blind weights: nobody says; far from all levels, so that none is mistaken for it


@dataclass(frozen=True)
class WeightsEntry:
    """Where weights with a name are: in the package, or behind an address."""

    file: str
    """File name, inside the package's ``weights`` folder or, when downloaded, in the user's cache."""
    url: str | None = None
    """Where to download from, once; None for weights that ship."""
    sha256: str | None = None
    """Checksum of the download, in hex; its first digits will do."""
    ensemble: bool = False
    """Whether they are averaged over eight views of a picture; see `hush.restoring.tiers.Ensemble`."""


WEIGHTS = {
    "photo": WeightsEntry("photo.onnx"),
    "photo-fast": WeightsEntry("photo-fast.onnx"),
    "photo-best": WeightsEntry("photo.onnx", ensemble=True),
    "gaussian": WeightsEntry("gaussian.onnx"),
    "gaussian-fast": WeightsEntry("gaussian-fast.onnx"),
    "gaussian-large": WeightsEntry("gaussian-large.onnx"),
    "gaussian-best": WeightsEntry("gaussian-large.onnx", ensemble=True),
}


@dataclass(frozen=True)
class Card:
    """What weights are, what they take and where they come from."""

    name: str
    network: str
    """Specification that builds the network: ``drunet(widths=[64, 96, 160, 320], unshuffle=2)``."""
    channels: int
    """Channels of the pictures that it restores: 1 or 3."""
    sigma_map: bool
    """Whether it is told the noise level by a map."""
    overlap: int
    """Pixels of context that tiles need so that no seam shows."""
    multiple: int = MULTIPLE
    """Pixels: the sides that it needs to take a picture apart; tiles start at multiples of it."""
    bf16: bool = False
    """Whether arithmetic in bf16 was found not to show; see `hush.learning.exporting.bf16_is_harmless`."""
    summary: str = ""
    licence: str = ""
    data: str = ""
    """What it was trained on, in words."""
    recipe: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    """Steps, megapixels, hours, hardware, commit; the curve, as megapixels seen and the validation's figure; and
    likewise what they were ``started_from``, where that were other weights."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    """Measured figures, one dict each: data, degradation, psnr, ssim ..."""

    @property
    def gray(self) -> bool:
        """Whether colour weights learnt gray pictures too: three equal channels with the same noise."""
        data = self.recipe.get("data")
        share = data.get("gray") if isinstance(data, dict) else None
        return isinstance(share, (int, float)) and share > 0

    @property
    def blind(self) -> bool:
        """Whether they find the noise level themselves where the map holds `UNTOLD`."""
        share = self.recipe.get("untold")
        return self.sigma_map and isinstance(share, (int, float)) and share > 0

    @property
    def largest_sigma(self) -> float | None:
        """The highest level of white noise in the training, on the 8-bit scale; None where the recipe does not say."""
        try:
            calls = parse_chain(str(self.recipe.get("degradation", "")))
        except UsageError:
            return None
        levels = [call.options.get("sigma") for call in calls if call.name == "gaussian"]
        highest = [level.high if isinstance(level, Range) else level for level in levels]
        return max((float(level) for level in highest if isinstance(level, (int, float))), default=None)

    def to_json(self) -> str:
        """Return the card as JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read a card back; entries that this version does not know are left out.

        Raises WeightsError if the text is no card.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"the card is no JSON ({error})") from error
        if not isinstance(content, dict):
            raise WeightsError(f"the card is a {type(content).__name__}; it must be an object")
        known = {f.name: f for f in dataclasses.fields(cls)}
        required = [f.name for f in known.values() if _is_required(f)]
        if missing := [name for name in required if name not in content]:
            raise WeightsError(f"the card lacks {', '.join(missing)}")
        card = cls(**{name: value for name, value in content.items() if name in known})
        card._check()
        return card

    def _check(self) -> None:
        texts = (self.name, self.network, self.summary, self.licence, self.data)
        if not all(isinstance(text, str) for text in texts):
            raise WeightsError("the card's name, network, summary, licence and data must be text")
        if not isinstance(self.recipe, dict):
            raise WeightsError("the card's recipe must be an object")
        if self.channels not in (1, 3):
            raise WeightsError(f"the card says channels = {self.channels!r}; it must be 1 or 3")
        if not isinstance(self.sigma_map, bool) or not isinstance(self.bf16, bool):
            raise WeightsError("the card's sigma_map and bf16 must be true or false")
        if isinstance(self.overlap, bool) or not isinstance(self.overlap, int) or self.overlap < 0:
            raise WeightsError(f"the card says overlap = {self.overlap!r}; it must be 0 or a number of pixels")
        if isinstance(self.multiple, bool) or not isinstance(self.multiple, int) or self.multiple < 1:
            raise WeightsError(f"the card says multiple = {self.multiple!r}; it must be a number of pixels")


def _is_required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


@dataclass(frozen=True)
class Weights:
    """Weights that were found: a file and its card."""

    name: str
    path: Path
    card: Card
    named: bool = False
    """Whether they stand in the table of weights, rather than being a user's own file."""
    ensemble: bool = False
    """Whether they are averaged over eight views of a picture."""


def open_weights(name_or_path: str | Path) -> Weights:
    """Find weights by their name, or open an own ``.onnx`` file, and read their card.

    Weights that do not ship are downloaded once into the user's cache, and their checksum is compared.

    Raises WeightsError for an unknown name, a missing or damaged file, or an ONNX file without a card.
    """
    text = os.fspath(name_or_path)
    if text in WEIGHTS:
        path = _locate(text, WEIGHTS[text])
        return Weights(text, path, read_card(path), named=True, ensemble=WEIGHTS[text].ensemble)
    path = Path(text).expanduser()
    if path.is_file():
        return Weights(path.stem, path, read_card(path))
    if path.is_dir():
        raise UnknownWeights(f"{text}: a folder; give the weights' file, such as {path / 'best.onnx'}")
    if path.suffix or len(path.parts) > 1:
        raise UnknownWeights(f"{text}: no such file. Weights with a name: {', '.join(WEIGHTS)}")
    raise UnknownWeights(
        f"no weights are called {text!r}{nearest(text, WEIGHTS)}. Known: {', '.join(WEIGHTS)}; or a file, such as "
        "an .onnx of hush or a run's .safetensors; or classical:nlm, identity"
    )


def is_address(text: str) -> bool:
    """Say whether a text is an address to download from."""
    return text.startswith(("https://", "http://", "file://"))


def fetch(address: str) -> Path:
    """Download ``https://HOST/FILE#sha256=DIGITS`` once into the user's cache, and return the path.

    The first eight digits or more of the checksum are compared, at each call.

    Raises UsageError for an address without them, WeightsError if the file cannot be had or is another one.
    """
    url, _, digits = address.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{8,64}", digits):
        raise UsageError(f"{address}: add the checksum of the file, #sha256= and at least its first eight digits")
    file = url.rpartition("/")[2]
    return _cached(file, WeightsEntry(file, url, digits))


def split_bare(text: str) -> tuple[str, str] | None:
    """Split ``NETWORK@FILE``, which names arrays that come without a card; None if the text is something else."""
    network, at, file = text.partition("@")
    return (network, file) if at and "/" not in network and not Path(text).exists() else None


def read_card(path: str | Path) -> Card:
    """Read the card from an ONNX file.

    Raises WeightsError if the file is missing, damaged, no ONNX file, or has no card.
    """
    if Path(path).suffix == ".safetensors":
        raise WeightsError(f"{path}: weights for torch; 'hush export {path} -o FILE.onnx' writes what is opened here")
    metadata = read_metadata(path)
    if CARD_KEY not in metadata:
        raise WeightsError(
            f"{path}: an ONNX file without a card of hush, so its value range and noise level are not known. "
            f"Use a file that 'hush train' or 'hush export' wrote"
        )
    try:
        return Card.from_json(metadata[CARD_KEY])
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def cache_folder() -> Path | None:
    """Return the folder where this user's caches of hush lie; None where there is no home."""
    if given := os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"):
        return Path(given) / "hush"
    try:
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "hush"
    except RuntimeError:
        return None


# --- Reading ONNX without the onnx package: a protobuf message is a sequence of (key, value), where
# --- key = field number << 3 | wire type (https://protobuf.dev/programming-guides/encoding). In onnx.proto,
# --- ModelProto.graph is field 7, ModelProto.metadata_props 14, StringStringEntryProto.key and .value 1 and 2.
_GRAPH, _METADATA, _KEY, _VALUE = 7, 14, 1, 2


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata of an ONNX file; the numbers are skipped, not read.

    Raises WeightsError if the file cannot be read or is no ONNX file.
    """
    metadata: dict[str, str] = {}
    numbers = set()
    try:
        with open(path, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            for number, length in _fields(file, end):
                numbers.add(number)
                if number == _METADATA:
                    entry = _read_entry(file, file.tell() + length)
                    metadata[entry.get(_KEY, "")] = entry.get(_VALUE, "")
    except ValueError as error:
        raise WeightsError(f"{path}: damaged, or no ONNX file ({error})") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    if _GRAPH not in numbers:
        raise WeightsError(f"{path}: no ONNX file, or an empty one")
    return metadata


def _read_entry(file: BinaryIO, end: int) -> dict[int, str]:
    return {number: file.read(length).decode("utf-8") for number, length in _fields(file, end)}


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield (field number, length) of each field with a length, standing at its content; skip the others."""
    while file.tell() < end:
        key = _varint(file)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _varint(file)
            continue
        if wire_type not in (1, 2, 5) or number == 0:
            raise ValueError(f"field {number} of type {wire_type} at byte {file.tell()}")
        length = {1: 8, 5: 4}.get(wire_type) or _varint(file)
        start = file.tell()
        if start + length > end:
            raise ValueError(f"cut off: {start + length - end} bytes are missing")
        if wire_type == 2:
            yield number, length
        file.seek(start + length)


def _varint(file: BinaryIO) -> int:
    """Read an integer of 7 bits per byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("cut off")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError(f"an integer longer than 64 bits at byte {file.tell()}")


def _locate(name: str, entry: WeightsEntry) -> Path:
    if entry.url is None:
        path = BUNDLED / entry.file
        if not path.is_file():
            raise WeightsError(f"weights {name!r}: {path} is missing; install hush again")
        return path
    return _cached(name, entry)


def _cached(name: str, entry: WeightsEntry) -> Path:
    """Return where a download lies, fetching it if it is not there or not what it should be."""
    assert entry.url is not None
    folder = cache_folder()
    if folder is None:
        raise WeightsError(f"weights {name!r}: no home folder to download into; set XDG_CACHE_HOME")
    path = folder / "weights" / entry.file
    if not path.is_file() or not _sha256(path).startswith(entry.sha256 or ""):
        _download(name, entry.url, entry.sha256, path)
    return path


def _download(name: str, url: str, sha256: str | None, path: Path) -> None:
    """Fetch a file; it appears whole, with the right checksum, or not at all."""
    import shutil
    import urllib.request

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            with urllib.request.urlopen(url, timeout=30) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target)
            if sha256 and not (found := _sha256(temporary)).startswith(sha256):
                raise WeightsError(
                    f"weights {name!r}: {url} has checksum {found[:12]}, not {sha256[:12]}; try again, "
                    f"or install a newer hush"
                )
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"weights {name!r}: cannot download {url} ({error}). Fetch it elsewhere and save it as {path}"
        ) from error


def _sha256(path: Path) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
