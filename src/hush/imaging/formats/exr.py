"""OpenEXR, as renderers write it, through the reference library (the extra ``exr``).

Of the first part that has channels R, G and B, or Y, these are the picture; all other channels and parts (alpha, depth,
layers) stay as they are. Alpha is multiplied into the colours, so they are a picture by themselves.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError, need
from hush.imaging.formats.codecs import silenced, squeezed
from hush.imaging.formats.picture import INTACT, Picture, check_size

COLOURS, GRAY = ("R", "G", "B"), ("Y",)
OWN = ("channels", "preview", "chunkCount")  # of a header: what is written anew, and a preview, which would be stale
ALPHA = "A"


@dataclass(frozen=True)
class ExrPart:
    """A part of a file: its header, and the channels that are not the picture."""

    name: str
    header: Mapping[str, Any]
    others: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ExrCoding:
    """How an OpenEXR held its picture."""

    parts: tuple[ExrPart, ...]
    place: int
    """The number of the part that holds the picture."""
    names: tuple[str, ...]
    """Its channels."""

    @property
    def transparent(self) -> bool:
        """Whether some of the picture is transparent."""
        alpha = self.parts[self.place].others.get(ALPHA)
        return alpha is not None and bool((alpha != 1).any())


def read(data: bytes) -> Picture:
    """Read an OpenEXR of half or single precision.

    Raises PictureError for deep data, mipmaps, subsampled channels, and where no part has channels R, G and B, or Y;
    MissingExtra if OpenEXR is not installed.
    """
    library = need("OpenEXR", "exr")
    try:
        with silenced():
            headers = [part.header for part in library.File(io.BytesIO(data), header_only=True).parts]
            _check(headers, library, len(data))
            parts = library.File(io.BytesIO(data), separate_channels=True).parts
            channels = [{name: channel.pixels for name, channel in part.channels.items()} for part in parts]
    except (RuntimeError, ValueError, TypeError) as error:
        raise PictureError(f"damaged OpenEXR. {INTACT}") from error
    if [set(found) for found in channels] != [{channel.name for channel in header["channels"]} for header in headers]:
        raise PictureError(f"truncated or damaged OpenEXR: not all of its channels can be read. {INTACT}")
    place, names = next(
        (i, names) for i, found in enumerate(channels) for names in (COLOURS, GRAY) if set(names) <= set(found)
    )
    own = [channels[place].pop(name) for name in names]
    kinds = {channel.dtype.name for channel in own}
    if len(kinds) > 1 or "uint32" in kinds:
        raise PictureError(
            f"an OpenEXR whose colours are {', '.join(sorted(kinds))}; float16 or float32 alone is taken"
        )
    kept = [
        ExrPart(str(part.name() or ""), {key: value for key, value in part.header.items() if key not in OWN}, others)
        for part, others in zip(parts, channels, strict=True)
    ]
    pixels = own[0] if len(own) == 1 else np.stack(own, axis=2)
    return Picture(np.ascontiguousarray(pixels), format="exr", coding=ExrCoding(tuple(kept), place, names))


def write(picture: Picture) -> bytes:
    """Write a picture as OpenEXR, with the channels and parts that it came with.

    Raises MissingExtra if OpenEXR is not installed.
    """
    library = need("OpenEXR", "exr")
    coding = picture.coding
    if not isinstance(coding, ExrCoding):
        header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
        names = COLOURS if picture.channels == 3 else GRAY
        coding = ExrCoding((ExrPart("", header, {}),), 0, names)
    pixels = squeezed(picture.pixels)
    own = dict(zip(coding.names, np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 else [pixels], strict=True))
    parts = []
    for i, part in enumerate(coding.parts):
        channels = {**part.others, **(own if i == coding.place else {})}
        channels = {name: np.ascontiguousarray(values) for name, values in channels.items()}
        parts.append(library.Part(dict(part.header), channels, part.name))
    file = io.BytesIO()
    library.File(parts).write(file)
    return file.getvalue()


def _check(headers: list[dict[str, Any]], library: Any, nbytes: int) -> None:
    """Raise PictureError for what is not taken, before any of it is decoded."""
    found = []
    for header in headers:
        if header["type"] not in (library.scanlineimage, library.tiledimage):
            raise PictureError("an OpenEXR with deep data. Flatten it")
        if "tiles" in header and header["tiles"].mode != library.ONE_LEVEL:
            raise PictureError("an OpenEXR with mipmaps. Save it with one level")
        channels = {channel.name: channel for channel in header["channels"]}
        if any((channel.xSampling, channel.ySampling) != (1, 1) for channel in channels.values()):
            raise PictureError("an OpenEXR with subsampled channels. Save it as RGB")
        (left, top), (right, bottom) = header["dataWindow"]
        check_size(int(bottom) - int(top) + 1, int(right) - int(left) + 1, len(channels), "float16", nbytes)
        found += [names for names in (COLOURS, GRAY) if set(names) <= set(channels)]
    if not found:
        names = sorted({channel.name for header in headers for channel in header["channels"]})
        raise PictureError(f"an OpenEXR without channels R, G and B, or Y; it has {', '.join(names[:12])}. Rename them")
