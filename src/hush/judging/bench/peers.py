"""Who takes part in a bench: our weights, published networks, classical methods, and other programs.

A peer is data: what opens it in a process of its own, and what its figures depend on. Whether it can run is seen by
opening it there, so that whatever is missing is named with the reason.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hush.errors import HushError
from hush.restoring.tiers import FAMILIES, TIERS
from hush.restoring.weights import WEIGHTS, open_weights, split_bare

OPENER = "hush.restoring.restorers:open_restorer"
RESTORING = tuple(f"hush.restoring.{name}" for name in ("restorers", "runtimes", "tiers"))
OURS = "hush"
INPUT = "noisy input"


@dataclass(frozen=True)
class Peer:
    """Something that restores pictures."""

    name: str
    """What tables call it."""
    family: str
    """Peers of one family are one network or program in several settings, and share a colour."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What its opener is called with."""
    opener: str = OPENER
    """``module:attribute``; called in the peer's process, returns a callable like a restorer."""
    channels: tuple[int, ...] = (1, 3)
    """Of the pictures that it takes."""
    distributions: tuple[str, ...] = ()
    """Packages whose versions decide what it gives."""
    modules: tuple[str, ...] = ()
    """Modules of ours whose source decides what it gives."""
    file: Path | None = None
    """Its numbers."""
    slow: bool = False
    """Whether it takes minutes for a megapixel: then it is timed once for each picture."""
    timed: bool = True

    @property
    def ours(self) -> bool:
        """Whether it is one of hush's own weights."""
        return self.family == OURS

    def fingerprint(self) -> str:
        """Return what its figures depend on beside the picture: what opens it, versions, sources, numbers."""
        parts = [self.opener, *(f"{key}={_plain(value)}" for key, value in sorted(self.options.items()))]
        parts += [f"{name} {_version(name)}" for name in self.distributions]
        parts += [_digest(_source(module)) for module in self.modules]
        parts += [_digest(self.file)] if self.file else []
        return "; ".join(parts)


@dataclass(frozen=True)
class Missing:
    """A peer that takes no part."""

    name: str
    reason: str


PUBLISHED = (  # family, network, file of the numbers, channels
    ("FFDNet", "ffdnet", "ffdnet_color.npz", 3),
    ("CDnCNN-B", "dncnn", "cdncnn_b.npz", 3),
    ("FFDNet", "ffdnet", "ffdnet_gray.npz", 1),
    ("DnCNN-B", "dncnn", "dncnn_b.npz", 1),
)
"""Published networks, converted to bare arrays. Zhang et al. 2017 (arXiv:1608.03981) and 2018 (arXiv:1710.04026)."""


def _scikit(name: str, method: str) -> Peer:
    weights, modules = {"weights": f"classical:{method}"}, ("hush.restoring.classical",)
    return Peer(f"{name}, scikit-image", name, weights, distributions=("scikit-image",), modules=modules)


def _outside(name: str, family: str, opener: str, distribution: str, **options: Any) -> Peer:
    module = "hush.judging.bench.outside"
    return Peer(name, family, options, f"{module}:{opener}", distributions=(distribution,), modules=(module,))


OUTSIDE = (
    _scikit("NLM", "nlm"),
    _scikit("TV", "tv"),
    _scikit("wavelets", "wavelet"),
    Peer(
        "BM3D",
        "BM3D",
        {"weights": "classical:bm3d"},
        distributions=("bm3d", "bm4d"),
        modules=("hush.restoring.classical",),
        slow=True,
    ),
    _outside("NLM, OpenCV", "NLM, OpenCV", "OpenCV", "opencv-python-headless"),
    _outside("Open Image Denoise, high", "Open Image Denoise", "OpenImageDenoise", "pyoidn", quality="high"),
    _outside("Open Image Denoise, fast", "Open Image Denoise", "OpenImageDenoise", "pyoidn", quality="fast"),
)
"""Classical methods and other programs, as far as they are installed."""


def line_up(
    weights: Sequence[str], peers: Path | None, converted: Path, *, slow: bool = True
) -> tuple[list[Peer], list[Missing]]:
    """Return who takes part, and who does not and why.

    Args:
        weights: names or files, ours first; a family's name stands for all its tiers.
        peers: folder with published numbers as bare arrays; None for none.
        converted: folder where their ONNX files are kept.
        slow: whether those that take minutes for a megapixel take part.

    Raises WeightsError or UsageError for unknown weights.
    """
    found: list[Peer] = []
    missing: list[Missing] = []
    for peer in (*_own(weights), *_published(peers, converted), *OUTSIDE):
        if isinstance(peer, Missing):
            missing.append(peer)
        elif peer.slow and not slow:
            missing.append(Missing(peer.name, "takes minutes for a megapixel: not in a quick run"))
        else:
            found.append(peer)
    return [*found, Peer(INPUT, INPUT, {"weights": "identity"}, timed=False)], missing


def _own(weights: Sequence[str]) -> Iterator[Peer | Missing]:
    """Yield our weights; the balanced tier comes first, since differences are to the first."""
    tiers = {name: [FAMILIES[name][tier] for tier in sorted(TIERS, key="balanced".__ne__)] for name in FAMILIES}
    for name in dict.fromkeys(tier for given in weights for tier in tiers.get(given, [given])):
        if name in WEIGHTS or name not in [tier for names in tiers.values() for tier in names]:
            file = Path(name) if split_bare(name) or name.endswith(".safetensors") else open_weights(name).path
            numbers = file if file.is_file() else None
            yield Peer(name, OURS, {"weights": name}, distributions=("openvino",), modules=RESTORING, file=numbers)
        else:
            yield Missing(name, "these weights do not ship with this version of hush")


def _published(folder: Path | None, converted: Path) -> Iterator[Peer | Missing]:
    """Yield published networks, each in OpenVINO and torch, in float32 and in 16 bits where the machine has that."""
    for family, network, file, channels in PUBLISHED:
        numbers = folder / file if folder else None
        if numbers is None or not numbers.is_file():
            yield Missing(family, f"no {file} in the folder of peers" if folder else "no folder of peers was given")
            continue
        bare = f"{network}@{numbers}"
        try:
            runs = {"OpenVINO": str(convert(bare, converted / f"{numbers.stem}.onnx")), "torch": bare}
        except (HushError, ImportError) as error:
            yield Missing(f"{family}, OpenVINO", str(error))
            runs = {"torch": bare}
        for runtime, weights in runs.items():
            for precision, words in (("fast", ", 16 bit"), ("exact", "")):
                yield Peer(
                    f"{family}, {runtime}{words}",
                    family,
                    {"weights": weights, "precision": precision},
                    channels=(channels,),
                    distributions=(runtime.lower(),),
                    modules=RESTORING,
                    file=numbers,
                )


def convert(bare: str, target: Path) -> Path:
    """Write ``NETWORK@FILE`` as an ONNX file, unless that was done before.

    Raises WeightsError if the numbers are not that network's, MissingExtra without torch and onnx.
    """
    from hush.learning.exporting import export
    from hush.learning.torch_runtime import open_network

    source = Path(bare.partition("@")[2])
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        export(*open_network(bare), target)
    return target


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _plain(value: Any) -> str:
    """Return an option without the folder that a file of it lies in: a cache may be moved."""
    return Path(str(value).partition("@")[2] or str(value)).name


def _source(module: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    return Path(found.origin)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
