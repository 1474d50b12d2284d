"""The table of file formats. One file per family; each reads bytes into a Picture and writes a Picture as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hush.errors import PictureError
from hush.imaging.formats import apng, avif, gif, heif, jpeg, pillow, plain, png, raw, tiff, webp
from hush.imaging.formats.picture import INTACT, Format
from hush.imaging.formats.tags import is_tiff

GRAY, COLOUR = ("gray",), ("gray", "RGB")
RGB, COLOUR_ALPHA = ("RGB", "RGB+alpha"), ("gray", "RGB", "RGB+alpha")
ALPHA = ("gray", "gray+alpha", "RGB", "RGB+alpha")
INKS = (*ALPHA, "CMYK")
HEAD = 64  # bytes by which a format is recognised

FORMATS: dict[str, Format] = {
    "png": Format(
        "PNG",
        (".png", ".apng"),
        png.is_png,
        png.read,
        png.write,
        {"bool": GRAY, "uint8": ALPHA, "uint16": ALPHA},
        apng.read_pages,
        apng.write_pages,
        frames=True,
    ),
    "jpeg": Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        jpeg.is_jpeg,
        jpeg.read,
        jpeg.write,
        {"uint8": ("gray", "RGB", "CMYK")},
    ),
    "tiff": Format(
        "TIFF",
        (".tif", ".tiff"),
        is_tiff,
        tiff.read,
        tiff.write,
        {"bool": GRAY, "uint8": INKS, "uint16": INKS, "float16": ALPHA, "float32": ALPHA, "float64": ALPHA},
        tiff.read_pages,
        tiff.write_pages,
    ),
    "webp": Format(
        "WebP", (".webp",), webp.is_webp, webp.read, webp.write, {"uint8": RGB}, webp.read_pages, webp.write_pages, True
    ),
    "avif": Format(
        "AVIF",
        (".avif", ".avifs"),
        avif.is_avif,
        avif.read,
        avif.write,
        {"uint8": COLOUR_ALPHA, "uint16": RGB},
        avif.read_pages,
        avif.write_pages,
        frames=True,
    ),
    "gif": Format(
        "GIF", (".gif",), gif.is_gif, gif.read, gif.write, {"uint8": RGB}, gif.read_pages, gif.write_pages, True
    ),
    "bmp": Format(
        "BMP",
        (".bmp", ".dib"),
        pillow.is_bmp,
        pillow.read_bmp,
        pillow.write_bmp,
        {"bool": GRAY, "uint8": COLOUR_ALPHA},
    ),
    "netpbm": Format(
        "Netpbm",
        (".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
        plain.is_netpbm,
        plain.read_netpbm,
        plain.write_netpbm,
        {"bool": GRAY, "uint8": COLOUR, "uint16": COLOUR, "float32": COLOUR},
        plain.read_netpbm_pages,
        plain.write_netpbm_pages,
    ),
    "npy": Format(
        "NPY",
        (".npy",),
        plain.is_npy,
        plain.read_npy,
        plain.write_npy,
        dict.fromkeys(("bool", "uint8", "uint16", "float16", "float32", "float64"), ALPHA),
    ),
    "heif": Format(
        "HEIF",
        (".heic", ".heif", ".hif"),
        heif.is_heif,
        heif.read,
        heif.write,
        {"uint8": COLOUR_ALPHA, "uint16": COLOUR_ALPHA},
        heif.read_pages,
        heif.write_pages,
    ),
    "raw": Format("camera raw", raw.SUFFIXES, raw.is_raw, raw.read, raw.write, {}),
    # Nothing marks a TGA but its suffix.
    "tga": Format("TGA", (".tga",), lambda head: False, pillow.read_tga, pillow.write_tga, {"uint8": ALPHA}),
}

# What is recognised, but not read: a word of advice each.
REFUSED: Mapping[str, tuple[str, tuple[bytes, ...], int]] = {
    "JPEG 2000": ("convert it to PNG or TIFF", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), 0),
    "JPEG XL": ("convert it to PNG or TIFF", (b"\0\0\0\x0cJXL ", b"\xff\x0a"), 0),
    "Photoshop": ("export it as TIFF or PNG", (b"8BPS",), 0),
    "OpenEXR": ("convert it to a float TIFF", (b"\x76\x2f\x31\x01",), 0),
    "PDF": ("export its pages as PNG", (b"%PDF",), 0),
}
TAKEN = f"{', '.join(entry.title for entry in FORMATS.values())} are"
SUFFIXES: dict[str, str] = {suffix: name for name, entry in FORMATS.items() for suffix in entry.suffixes}


def recognise(head: bytes, suffix: str) -> str:
    """Return the format of a file by its first bytes (a wrong suffix does not matter).

    Raises PictureError for what is empty, known but not read, or unknown.
    """
    if not head:
        raise PictureError(f"0 bytes, so no picture. {INTACT}")
    if suffix.lower() in raw.SUFFIXES and is_tiff(head):
        return "raw"
    for name, entry in FORMATS.items():
        if entry.matches(head):
            return name
    for title, (advice, beginnings, at) in REFUSED.items():
        if head.startswith(beginnings, at):
            raise PictureError(f"{title} is not read; {TAKEN}. Please {advice}")
    if SUFFIXES.get(suffix.lower()) == "tga":
        return "tga"
    raise PictureError(f"no picture (it begins with {head[:12]!r}); {TAKEN}. Check what the file is")


def format_of(target: Path) -> str:
    """Return the format that a target's suffix names; raises PictureError for an unknown suffix."""
    name = SUFFIXES.get(target.suffix.lower())
    if name is None:
        raise PictureError(f"no format has the suffix {target.suffix!r}. Choose one of {' '.join(SUFFIXES)}")
    return name
