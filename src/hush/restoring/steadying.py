"""How noisy the pages of a stack or the frames of an animation are, what is white there, and which weights suit them.

All of it so that nothing flickers.

Estimates of the same noise differ by some per cent from frame to frame, and so would what is removed. The brightest
value of a page, a hot pixel perhaps, would decide how many bits are thought to be filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TypeVar

T = TypeVar("T")

AROUND = 8  # pages before and after that count
ALIKE = 1.25  # times as noisy, at most: the channels of a microscope, or unlike scans in one file, stay apart
TWO_BITS = 4.1  # times as much, at most: 4095 for 1023


def alike_whites(whites: Sequence[float]) -> list[float]:
    """Return for each page of 16 bits the largest white of all of them that is at most two bits above its own.

    Channels that fill far fewer bits stay apart.
    """
    return [max(other for other in whites if other <= TWO_BITS * white) for white in whites]


def settled(choices: Sequence[T], levels: Sequence[float]) -> list[T]:
    """Return for each page what most of the pages around it chose that are about as noisy, itself among them.

    Where as many chose otherwise, but for one, the choice of the page before stays.
    """
    found: list[T] = []
    for i, own in enumerate(choices):
        pages = _alike(levels, i)
        [(most, count), *others] = Counter(choices[j] for j in pages).most_common()
        if others and count - others[0][1] <= 1:
            most = found[-1] if i - 1 in pages else own
        found.append(most)
    return found


def steady(told: Sequence[float], levels: Sequence[float], choices: Sequence[T]) -> list[float]:
    """Return for each page the mean of what pages around it would be told that are about as noisy.

    Args:
        told: what each page by itself would be told, in any unit that all share. No noise stays no noise.
        levels: how noisy each page is, likewise.
        choices: of each page by itself. Pages count that chose what most around them did: white noise and noise that is
            alike in neighbouring pixels are told in different ways.
    """
    kept = settled(choices, levels)
    found = []
    for i, choice in enumerate(kept):
        pages = _alike(levels, i)
        found.append(fmean([told[j] for j in pages if choices[j] == choice] or [told[j] for j in pages]))
    return found


def _alike(levels: Sequence[float], i: int) -> list[int]:
    """Return which pages around one are about as noisy, itself among them."""
    near = range(max(0, i - AROUND), min(len(levels), i + AROUND + 1))
    return [j for j in near if levels[j] <= ALIKE * levels[i] and levels[i] <= ALIKE * levels[j]]
