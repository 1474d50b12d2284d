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
    """Return for each page what most of the pages around it chose that are about as noisy; its own where they differ.

    ``levels`` are those that `steady` takes.
    """
    return [_most(choices, _alike(levels, i), own) for i, own in enumerate(choices)]


def _most(choices: Sequence[T], pages: Sequence[int], own: T) -> T:
    counts = Counter(choices[i] for i in pages)
    most = max(counts.values())
    return own if counts[own] == most else next(choice for choice, count in counts.items() if count == most)


def steady(levels: Sequence[float]) -> list[float]:
    """Return for each page the mean of the levels around it that are about as high as its own.

    ``levels`` are what was found in each page, in any unit that all share. No noise stays no noise.
    """
    return [fmean(levels[j] for j in _alike(levels, i)) for i in range(len(levels))]


def _alike(levels: Sequence[float], i: int) -> list[int]:
    """Return which pages around one are about as noisy, itself among them."""
    near = range(max(0, i - AROUND), min(len(levels), i + AROUND + 1))
    return [j for j in near if levels[j] <= ALIKE * levels[i] and levels[i] <= ALIKE * levels[j]]
