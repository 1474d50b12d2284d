"""Colours that a PNG (cHRM, gAMA, cICP), AVIF or HEIF (nclx) states in numbers, as an ICC profile."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Chromaticities = tuple[float, ...]  # x, y of red, green, blue, white

D65, DCI = (0.3127, 0.3290), (0.314, 0.351)
BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
PRIMARIES: dict[int, Chromaticities] = {  # ITU-T H.273, table 2
    1: (*BT709, *D65),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *DCI),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
}
D50 = np.array([0.9642, 1.0, 0.8249])  # the white of a profile
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
STEPS = 1024  # of a sampled curve
SRGB_GAMMA = 1 / 0.45455


def _bt709(v: Doubles) -> Doubles:
    return np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))


def _srgb(v: Doubles) -> Doubles:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _pq(v: Doubles) -> Doubles:
    """SMPTE ST 2084; 1 is 10,000 cd/m2."""
    power = v ** (32 / 2523)
    return (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (8192 / 1305)


def _hlg(v: Doubles) -> Doubles:
    """ITU-R BT.2100, the inverse of its OETF."""
    return np.where(v <= 0.5, v * v / 3, (np.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12)


CURVES: dict[int, Callable[[Doubles], Doubles]] = {  # ITU-T H.273, table 3: from stored values to light
    **dict.fromkeys((1, 6, 14, 15), _bt709),
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    8: lambda v: v,
    13: _srgb,
    16: _pq,
    18: _hlg,
}


def png_profile(chunks: Mapping[bytes, bytes], *, gray: bool) -> bytes | None:
    """Return an ICC profile for what a PNG's chunks say; None for sRGB, or if they say nothing."""
    signal = chunks.get(b"cICP", b"")
    if len(signal) == 4 and (found := signalled(signal, gray=gray)):
        return None if signal[0] == 1 and signal[1] == 13 else found
    if b"sRGB" in chunks:
        return None
    gamma, places = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if len(gamma) != 4 or not any(gamma):
        return None
    exponent = 100_000 / struct.unpack(">I", gamma)[0]
    numbers = [value / 100_000 for value in struct.unpack(">8I", places)] if len(places) == 32 else []
    where = (*numbers[2:], *numbers[:2]) if numbers and all(numbers[1::2]) else PRIMARIES[1]
    if abs(exponent - SRGB_GAMMA) < 0.01 and np.allclose(where, PRIMARIES[1], atol=0.002):
        return None
    return profile(where, lambda v: v**exponent, gray=gray)


def signalled(signal: bytes, *, gray: bool) -> bytes | None:
    """Return a profile for the four bytes of cICP, of which the first two are primaries and transfer by ITU-T H.273.

    None for numbers that are not known here.
    """
    primaries, transfer = signal[:2]
    if primaries not in PRIMARIES or transfer not in CURVES:
        return None
    return profile(PRIMARIES[primaries], CURVES[transfer], gray=gray, signal=signal)


def profile(
    where: Chromaticities, curve: Callable[[Doubles], Doubles], *, gray: bool = False, signal: bytes | None = None
) -> bytes:
    """Make a display profile (ICC.1:2022) of chromaticities and a curve; ``signal`` are the four bytes of cICP."""
    try:
        matrix, adapted = _colorants(where)
    except np.linalg.LinAlgError:
        matrix, adapted = _colorants(PRIMARIES[1])
    sampled = np.rint(np.clip(curve(np.linspace(0, 1, STEPS)), 0, 1) * 65_535).astype(">u2")
    response = b"curv" + struct.pack(">II", 0, STEPS) + sampled.tobytes()
    tags = {b"desc": _words("Colours of the picture"), b"cprt": _words("No copyright"), b"wtpt": _xyz(D50)}
    tags[b"chad"] = b"sf32" + bytes(4) + _fixed(adapted.ravel())
    if gray:
        tags[b"kTRC"] = response
    else:
        tags |= {name + b"XYZ": _xyz(matrix[:, i]) for i, name in enumerate((b"r", b"g", b"b"))}
        tags |= {name + b"TRC": response for name in (b"r", b"g", b"b")}
    if signal is not None:
        tags[b"cicp"] = b"cicp" + bytes(4) + signal
    return _assembled(tags, b"GRAY" if gray else b"RGB ")


def _colorants(where: Chromaticities) -> tuple[Doubles, Doubles]:
    """Return XYZ of the primaries as columns, for D50, and the matrix that adapts white to it (Bradford)."""
    xy = np.asarray(where).reshape(4, 2)
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]])  # (3, 4), Y = 1
    white = xyz[:, 3]
    primaries = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    adapted = np.linalg.solve(BRADFORD, np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD)
    return adapted @ primaries, adapted


def _fixed(values: Doubles) -> bytes:
    return np.rint(np.asarray(values) * 65_536).astype(">i4").tobytes()


def _xyz(values: Doubles) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _words(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(content), 28) + content


def _assembled(tags: Mapping[bytes, bytes], space: bytes) -> bytes:
    """Put header, table and tags together."""
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x04400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + _fixed(D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
