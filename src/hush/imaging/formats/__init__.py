"""The table of file formats. One file per family; each reads bytes into a Picture and writes a Picture as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hush.errors import PictureError
from hush.imaging.formats import marks
from hush.imaging.formats.picture import INTACT, Format

GRAY, COLOUR = ("gray",), ("gray", "RGB")
RGB, COLOUR_ALPHA = ("RGB", "RGB+alpha"), ("gray", "RGB", "RGB+alpha")
ALPHA = ("gray", "gray+alpha", "RGB", "RGB+alpha")
INKS = (*ALPHA, "CMYK")
HEAD = 64  # bytes by which a format is recognised

HERE = __name__ + "."
NUMBERS = ("bool", "uint8", "uint16", "float16", "float32", "float64")

FORMATS: dict[str, Format] = {
    "png": Format(
        "PNG",
        (".png", ".apng"),
        marks.is_png,
        HERE + "apng",
        {"bool": GRAY, "uint8": ALPHA, "uint16": ALPHA},
        pages=True,
        frames=True,
        decoding=6,
        encoding=3,
    ),
    "jpeg": Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        marks.is_jpeg,
        HERE + "jpeg",
        {"uint8": ("gray", "RGB", "CMYK")},
        decoding=4,
        encoding=3,
    ),
    "tiff": Format(
        "TIFF",
        (".tif", ".tiff"),
        marks.is_tiff,
        HERE + "tiff",
        {"bool": GRAY, "uint8": INKS, "uint16": INKS, "float16": ALPHA, "float32": ALPHA, "float64": ALPHA},
        pages=True,
        decoding=4,
        encoding=3,
    ),
    "webp": Format("WebP", (".webp",), marks.is_webp, HERE + "webp", {"uint8": RGB}, pages=True, frames=True),
    "avif": Format(
        "AVIF",
        (".avif", ".avifs"),
        marks.is_avif,
        HERE + "avif",
        {"uint8": COLOUR_ALPHA, "uint16": RGB},
        pages=True,
        frames=True,
    ),
    "gif": Format("GIF", (".gif",), marks.is_gif, HERE + "gif", {"uint8": RGB}, pages=True, frames=True, soft=False),
    "bmp": Format(
        "BMP",
        (".bmp", ".dib"),
        marks.is_bmp,
        HERE + "pillow",
        {"bool": GRAY, "uint8": COLOUR_ALPHA},
        suffix="_bmp",
        decoding=5,
        encoding=3,
    ),
    "netpbm": Format(
        "Netpbm",
        (".pnm", ".pbm", ".pgm", ".ppm", ".pfm"),
        marks.is_netpbm,
        HERE + "plain",
        {"bool": GRAY, "uint8": COLOUR, "uint16": COLOUR, "float32": COLOUR},
        pages=True,
        suffix="_netpbm",
        decoding=4,
        encoding=3,
    ),
    "npy": Format(
        "NPY",
        (".npy",),
        marks.is_npy,
        HERE + "plain",
        dict.fromkeys(NUMBERS, ALPHA),
        suffix="_npy",
        decoding=4,
        encoding=3,
    ),
    "heif": Format(
        "HEIF",
        (".heic", ".heif", ".hif"),
        marks.is_heif,
        HERE + "heif",
        {"uint8": COLOUR_ALPHA, "uint16": COLOUR_ALPHA},
        pages=True,
        needs={"pillow_heif": "heif"},
    ),
    "exr": Format(
        "OpenEXR",
        (".exr",),
        marks.is_exr,
        HERE + "exr",
        {"float16": COLOUR, "float32": COLOUR},
        decoding=4,
        encoding=4,
        needs={"OpenEXR": "exr"},
    ),
    "jpeg2000": Format(
        "JPEG 2000",
        (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        marks.is_jpeg2000,
        HERE + "jpeg2000",
        {"uint8": ALPHA, "uint16": GRAY},
    ),
    "raw": Format("camera raw", marks.RAW_SUFFIXES, marks.is_raw, HERE + "raw", {}),
    # Nothing marks a TGA but its suffix.
    "tga": Format("TGA", (".tga",), lambda head: False, HERE + "pillow", {"uint8": ALPHA}, suffix="_tga"),
}

# What is recognised, but not read: a word of advice each.
REFUSED: Mapping[str, tuple[str, tuple[bytes, ...], int]] = {
    "JPEG XL": ("convert it to PNG or TIFF", (b"\0\0\0\x0cJXL ", b"\xff\x0a"), 0),
    "Photoshop": ("export it as TIFF or PNG", (b"8BPS",), 0),
    "PAM": ("convert it to PNG or TIFF", (b"P7\n",), 0),
    "PDF": ("export its pages as PNG", (b"%PDF",), 0),
}
UNREAD = (".jxl", ".psd", ".psb", ".pam")  # suffixes of such pictures
TAKEN = f"{', '.join(entry.title for entry in FORMATS.values())} are"
SUFFIXES: dict[str, str] = {suffix: name for name, entry in FORMATS.items() for suffix in entry.suffixes}


def recognise(head: bytes, suffix: str) -> str:
    """Return the format of a file by its first bytes (a wrong suffix does not matter).

    Raises PictureError for what is empty, known but not read, or unknown.
    """
    if not head:
        raise PictureError(f"0 bytes, so no picture. {INTACT}")
    if marks.is_raw(head) or (suffix.lower() in marks.RAW_SUFFIXES and marks.is_tiff(head)):
        return "raw"
    for name, entry in FORMATS.items():
        if entry.matches(head):
            return name
    for title, (advice, beginnings, at) in REFUSED.items():
        if head.startswith(beginnings, at):
            raise PictureError(f"{title} is not read; {TAKEN}. Please {advice}")
    if SUFFIXES.get(suffix.lower()) == "tga":
        return "tga"
    raise PictureError(
        f"no picture (it begins with {head[:12]!r}); {TAKEN}. Check what the file is (a TGA needs its suffix)"
    )


def format_of(target: Path) -> str:
    """Return the format that a target's suffix names; raises PictureError for an unknown suffix."""
    name = SUFFIXES.get(target.suffix.lower())
    if name is None:
        written = (suffix for entry in FORMATS.values() if entry.holds for suffix in entry.suffixes)
        what = f"no format has the suffix {target.suffix!r}" if target.suffix else "a name without a suffix"
        folder = "" if target.suffix else f", or {target.name}/ for a folder"
        raise PictureError(f"{what}. Choose one of {' '.join(written)}{folder}")
    return name
