"""How long peers take, measured in turns: a machine that is busy for a while is busy for all of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError
from hush.judging.bench.peers import Peer

Image = NDArray[np.float32]
Restore = Callable[[Image, float | None], tuple[Image, float]]

PAUSE = 0.02  # seconds between peers; threads of OpenMP go on spinning for some milliseconds


@dataclass
class Times:
    """Seconds per megapixel of a peer, by round and picture."""

    runs: dict[tuple[int, int], float] = field(default_factory=dict)

    def summary(self, reference: Times | None) -> dict[str, Any]:
        """Return the median with its quartiles, and the median of the ratios to a reference in the same rounds."""
        values = list(self.runs.values())
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        shared = [] if reference is None else [key for key in self.runs if key in reference.runs]
        ratios = [self.runs[key] / reference.runs[key] for key in shared] if reference is not None else []
        return {
            "seconds_per_megapixel": float(middle),
            "quartiles": [float(low), float(high)],
            "runs": len(values),
            "times_reference": float(np.median(ratios)) if ratios else None,
        }


def time_peers(
    peers: Mapping[str, tuple[Peer, Restore]],
    pictures: Sequence[tuple[Image, float | None]],
    rounds: int,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[dict[str, Times], dict[str, str]]:
    """Let peers restore the same pictures in turns, after a call for each size that is not counted.

    A slow peer restores each picture once, and has no such call.

    Args:
        peers: by name, with what restores and tells the seconds.
        pictures: noisy images (H, W, C) and what is told of their noise.
        rounds: how often all pictures are restored.
        progress: called with a peer's name after each restoration.

    Returns the times of each peer, and for those that failed the reason.
    """
    times = {name: Times() for name in peers}
    failed: dict[str, str] = {}
    known: set[tuple[str, tuple[int, ...]]] = set()
    for round_, number in itertools.product(range(rounds), range(len(pictures))):
        image, sigma = pictures[number]
        for name, (peer, restore) in peers.items():
            if name in failed or (peer.slow and round_):
                continue
            try:
                if (name, image.shape) not in known and not peer.slow:
                    restore(image, sigma)
                    known.add((name, image.shape))
                seconds = restore(image, sigma)[1]
            except HushError as error:
                failed[name] = str(error)
                continue
            times[name].runs[round_, number] = seconds / (image.shape[0] * image.shape[1] / 1e6)
            progress(name)
            time.sleep(PAUSE)
    return {name: found for name, found in times.items() if name not in failed}, failed


def megapixel(image: Image) -> Image:
    """Return an image (1000, 1000, C): the given one, mirrored until it is as large."""
    height, width = image.shape[:2]
    borders = ((0, max(0, 1000 - height)), (0, max(0, 1000 - width)), (0, 0))
    return np.ascontiguousarray(np.pad(image, borders, mode="symmetric")[:1000, :1000])
