"""How formats are told apart: by the first bytes of a file."""

from __future__ import annotations

import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
NPY = b"\x93NUMPY"
CODESTREAM = b"\xff\x4f\xff\x51"  # a JPEG 2000 without boxes
NETPBM = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3, b"Pf": 1, b"PF": 3}  # channels
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"mif2", b"msf1")
RAW_MARKS = ((b"FUJIFILMCCD-RAW", 0), (b"IIRO", 0), (b"IIRS", 0), (b"MMOR", 0), (b"IIU\0", 0), (b"ftypcrx ", 4))
RAW_SUFFIXES = (
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".sr2"),
    *(".orf", ".rw2", ".raf", ".pef", ".srw", ".3fr", ".iiq"),
)
CR2 = (b"CR\x02", 8)


def is_png(head: bytes) -> bool:
    """Tell a PNG by its first bytes."""
    return head.startswith(PNG_SIGNATURE)


def is_jpeg(head: bytes) -> bool:
    """Tell a JPEG by its first bytes."""
    return head.startswith(b"\xff\xd8\xff")


def is_webp(head: bytes) -> bool:
    """Tell a WebP by its first bytes."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def is_avif(head: bytes) -> bool:
    """Tell an AVIF by the brands in its first box."""
    return head[4:8] == b"ftyp" and any(brand in head[8:64] for brand in (b"avif", b"avis"))


def is_gif(head: bytes) -> bool:
    """Tell a GIF by its first bytes."""
    return head[:6] in (b"GIF87a", b"GIF89a")


def is_bmp(head: bytes) -> bool:
    """Tell a BMP by its first bytes and its header's size."""
    return head[:2] == b"BM" and head[14:18] in [struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)]


def is_netpbm(head: bytes) -> bool:
    """Tell a Netpbm file by its first bytes."""
    return head[:2] in NETPBM and (head[2:3].isspace() or head[2:3] == b"#")


def is_npy(head: bytes) -> bool:
    """Tell an NPY file by its first bytes."""
    return head.startswith(NPY)


def is_heif(head: bytes) -> bool:
    """Tell a HEIF by the brand in its first box."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def is_exr(head: bytes) -> bool:
    """Tell an OpenEXR by its first bytes."""
    return head.startswith(b"\x76\x2f\x31\x01")


def is_jpeg2000(head: bytes) -> bool:
    """Tell a JPEG 2000 by its first bytes."""
    return head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", CODESTREAM))


def is_raw(head: bytes) -> bool:
    """Tell camera raw by its first bytes; most kinds look like TIFF, and are told by their suffix."""
    return any(head.startswith(mark, at) for mark, at in RAW_MARKS) or (is_tiff(head) and head.startswith(*CR2))


def is_tiff(head: bytes) -> bool:
    """Tell a TIFF or BigTIFF by its first bytes."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
