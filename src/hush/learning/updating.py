"""One network's update: mixed precision, clipping, the rate's course and averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from hush.errors import TrainingError
from hush.learning.config import OptimiserConfig
from hush.learning.devices import multiplies_bf16
from hush.learning.optimisers import open_optimisers


def rate_at(step: int, progress: float, config: OptimiserConfig) -> float:
    """Return the learning rate at a step, with ``progress`` in [0, 1] through the training.

    It rises linearly over ``warmup`` steps, stays, and falls along a cosine over the last ``decay`` share.
    """
    falling = min(1.0, max(0.0, (progress - (1 - config.decay)) / config.decay)) if config.decay else 0.0
    course = config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * falling))
    return config.rate * course * min(1.0, (step + 1) / max(1, config.warmup))


def open_autocast(device: torch.device, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return what to compute within: bf16 autocast, or plain float32.

    ``auto`` takes bf16 where the hardware multiplies it; see `hush.learning.devices.multiplies_bf16`.
    """
    enabled = precision == "bf16" or (precision == "auto" and multiplies_bf16(device))
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=enabled)


class NotFinite(TrainingError):
    """A loss or its gradient is no longer finite, so what would follow is not worth keeping."""


def check_finite(terms: Mapping[str, float]) -> None:
    """Raise NotFinite, with all of them, if a term of a loss is not finite."""
    if not all(map(math.isfinite, terms.values())):
        told = ", ".join(f"{name} = {value:g}" for name, value in terms.items())
        raise NotFinite(f"the loss is not finite ({told})")


class Updater:
    """A network's optimisers and its averaged copy.

    ``network`` is what learns; ``averaged`` is what is judged and kept: an exponential moving average of the
    numbers (Polyak averaging), with a shorter memory over the first steps. ``beta`` is AdamW's first.
    """

    def __init__(self, network: nn.Module, config: OptimiserConfig, *, beta: float = 0.9) -> None:
        self.network, self.config = network, config
        self.optimisers = open_optimisers(network, config.name, config.rate, config.weight_decay, config.momentum, beta)
        self.averaged = copy.deepcopy(network).requires_grad_(False) if config.average else network
        self.updates = 0
        self.rate = 0.0

    def apply(self, step: int, progress: float, terms: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Update from the gradients that have been gathered, and clear them; return the mean of each term of the loss.

        Args:
            step: of the training, from 0.
            progress: through it, in [0, 1].
            terms: of the loss, for each part of the batch.

        Raises NotFinite, and changes no number, if a term is not finite or a gradient, as that may be though the loss
        is: the slope of a root at 0. Processes share their gradients, so all of them raise it.
        """
        means = {name: float(sum(float(part[name]) for part in terms) / len(terms)) for name in terms[0]}
        length = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip or math.inf)
        check_finite(means)
        if not math.isfinite(length):
            raise NotFinite("the gradient of the loss is not finite")
        self.rate = rate_at(step, progress, self.config)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.updates += 1
        self._average()
        return means

    @torch.no_grad()
    def _average(self) -> None:
        if self.averaged is self.network:
            return
        decay = min(self.config.average, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay)
        for mine, theirs in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            mine.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs."""
        return {
            "network": dict(self.network.state_dict()),
            "averaged": dict(self.averaged.state_dict()),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; rates, momenta and decays stay those of this recipe."""
        self.network.load_state_dict(state["network"])
        if self.averaged is not self.network:
            self.averaged.load_state_dict(state["averaged"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            told = [{key: group[key] for key in group if key != "params"} for group in optimiser.param_groups]
            optimiser.load_state_dict(saved)
            for group, own in zip(optimiser.param_groups, told, strict=True):
                group.update(own)
        self.updates = state["updates"]
