"""What a network takes, as data: read by the exporter, the runtimes and the contract tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkLimits:
    """The limits of a restorer."""

    channels: int = 3
    """Channels of the pictures it restores: 1 or 3."""
    sigma_map: bool = False
    """Whether it reads a noise-level map (N, 1, H, W) in [0, 1]."""
    overlap: int = 32
    """Pixels by which tiles must overlap so that their seams stay below 1/255."""
    classes: int = 0
    """How many class labels guide it; 0 where it takes none."""
