"""Three tiers of quality for every family of weights: fast, balanced and best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import UsageError
from hush.restoring.runtimes import Batch, Runtime, check_choice, side_by_side
from hush.restoring.weights import WEIGHTS

TIERS = ("fast", "balanced", "best")

FAMILIES: dict[str, dict[str, str]] = {
    "photo": {"fast": "photo-fast", "balanced": "photo", "best": "photo-best"},
    "gaussian": {"fast": "gaussian-fast", "balanced": "gaussian", "best": "gaussian-best"},
}
"""Weights of each tier, by the family's name."""

AUTO = "auto"  # weights that are chosen for each picture by its noise

VIEWS = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))


@dataclass(frozen=True)
class Choice:
    """What a tier of quality comes to."""

    weights: str
    ensemble: bool = False
    """Whether these weights, which are of no family, are averaged over eight views."""
    word: str = ""
    """What is to be said of the choice: that a tier does not ship."""


def choose_weights(weights: str, quality: str = "balanced") -> Choice:
    """Return the weights of a tier.

    Of a family (a key of FAMILIES) each tier has weights of its own; where those do not ship, the balanced ones are
    chosen, and ``word`` says so. Weights of a user's own are their own fast and balanced tier; their best one is the
    mean over eight views.

    Raises UsageError for an unknown tier, and for a tier of what has no weights.
    """
    check_choice("quality", quality, TIERS)
    if weights == AUTO:
        return Choice(AUTO, word=choose_weights("photo", quality).word)
    if quality == "balanced":
        return Choice(weights)
    if weights == "identity" or weights.startswith("classical:"):
        raise UsageError(f"{weights} comes in one quality, not {quality!r}. Leave out --quality")
    if weights not in FAMILIES:
        word = "" if quality == "best" else f"{weights} has no faster tier, so --quality fast changes nothing"
        return Choice(weights, ensemble=quality == "best", word=word)
    wanted = FAMILIES[weights][quality]
    if wanted in WEIGHTS:
        return Choice(wanted)
    return Choice(
        weights, word=f"weights {wanted!r} do not ship with this version; {weights!r} are used in their place"
    )


class Ensemble:
    """A runtime whose answer is the mean over eight views of a picture: turned by quarters and mirrored.

    What a network makes of each view is turned back first. Eight times the time; no more memory than one view takes.
    Geometric self-ensemble: Timofte, Rothe, Van Gool, CVPR 2016; Lim et al. (EDSR), CVPR workshops 2017.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name = runtime.name
        self.limits = runtime.limits

    @property
    def description(self) -> str:
        """Return device, threads and precision in words."""
        return f"{self._runtime.description}, mean of {len(VIEWS)} views"

    def side_by_side(self, count: int) -> Ensemble | None:
        """Return the same for ``count`` concurrent callers; None if the runtime knows no such thing."""
        runtime = side_by_side(self._runtime, count)
        return Ensemble(runtime) if runtime else None

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        total = np.zeros_like(noisy, np.float32)
        for view in VIEWS:
            restored = self._runtime(_seen(noisy, view), None if sigma_map is None else _seen(sigma_map, view))
            total += _unseen(restored, view)
        total /= len(VIEWS)
        return total


def _seen(batch: NDArray[Any], view: tuple[int, bool]) -> NDArray[Any]:
    turns, mirrored = view
    return np.rot90(batch[..., ::-1] if mirrored else batch, turns, axes=(2, 3))


def _unseen(batch: NDArray[Any], view: tuple[int, bool]) -> NDArray[Any]:
    turns, mirrored = view
    turned = np.rot90(batch, -turns, axes=(2, 3))
    return turned[..., ::-1] if mirrored else turned
