"""What a network takes, as data: read by the exporter, the runtimes and the contract tests."""

from __future__ import annotations

from dataclasses import dataclass

from hush.errors import UsageError


@dataclass(frozen=True)
class NetworkLimits:
    """The limits of a network. Raises UsageError for channels that no picture has."""

    channels: int = 3
    """Channels of the pictures it takes: 1 or 3."""
    sigma_map: bool = False
    """Whether it reads a noise-level map (N, 1, H, W) in [0, 1]."""
    overlap: int = 32
    """Pixels by which tiles must overlap so that their seams stay below 1/255."""
    classes: int = 0
    """How many class labels guide it; 0 where it takes none."""

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise UsageError(f"channels is {self.channels!r}; pictures have 1 (gray) or 3 (colour)")
