"""How large is a network? Parameters and arithmetic, counted without spending memory or time on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SIDE = 96  # pixels; large enough that borders and paddings hardly count


@dataclass(frozen=True)
class Size:
    """The size of a network."""

    parameters: int
    """That learn."""
    fixed: int
    """Parameters that do not learn, such as those of a classifier that guides."""
    kmacs: float | None
    """Thousands of multiplications per pixel of a picture of 96x96; None where they cannot be counted."""


def measure_size(spec: str, build: Callable[[str], nn.Module], *, restorer: bool = True) -> Size:
    """Measure the network of a specification.

    Args:
        spec: such as ``unet(width=16)``.
        build: `build_network` or `build_classifier`.
        restorer: whether it takes the keywords of a restorer.

    Raises UsageError for an unknown network or option.
    """
    with torch.device("meta"):
        network: Any = build(spec).eval()
    counts = {True: 0, False: 0}
    for parameter in network.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return Size(counts[True], counts[False], _count_kmacs(network, restorer))


def _count_kmacs(network: Any, restorer: bool) -> float | None:
    noisy = torch.empty(1, network.limits.channels, SIDE, SIDE, device="meta")
    keywords = {"sigma_map": noisy[:, :1]} if restorer and network.limits.sigma_map else {}
    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            network(noisy, **keywords)
    except (NotImplementedError, RuntimeError):  # it looks at numbers, of which there are none here
        return None
    return float(counter.get_total_flops() / 2 / SIDE**2 / 1e3)  # a multiplication and an addition count as two
