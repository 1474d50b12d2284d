"""Supervised learning: bring the restored picture close to the clean one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch, DataSet, Frozen, Item, Source
from hush.learning.losses import Loss
from hush.learning.networks import build_network
from hush.learning.noise import Degradation, Degraded
from hush.learning.updating import Updater, mean_terms, open_autocast


class Task(NamedTuple):
    """What the network is given, and what it should make of it."""

    noisy: Tensor
    """(N, C, H, W)."""
    sigma_map: Tensor | None
    """(N, 1, H, W)."""
    label: Tensor | None
    """(N,)."""
    target: Tensor
    """(N, C, H, W)."""


class Supervised:
    """Learn from clean pictures that are degraded on the fly, or from pairs.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
        frozen: draw the noise of each picture once, as if a camera had taken it, instead of anew at each step.
    """

    def __init__(self, recipe: Recipe, device: torch.device, *, frozen: bool = False) -> None:
        torch.manual_seed(recipe.seed)  # the network's first numbers
        network = build_network(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updaters = {"network": Updater(network, recipe.optimiser)}
        self.network: nn.Module = network  # may be wrapped for several processes
        self.degradation = Degradation(recipe.degradation) if recipe.degradation else None
        self.loss = Loss(recipe.loss)
        self.autocast = open_autocast(device, recipe.precision)
        self.recipe, self.frozen = recipe, frozen

    def prepare(self, data: DataSet) -> DataSet:
        """Freeze the noise of the pictures to learn from, where it is to be frozen.

        Raises RecipeError where that cannot be.
        """
        if not self.frozen:
            return data
        limits: Any = self.updaters["network"].network.limits
        if self.degradation is None or self.recipe.data.gray or limits.sigma_map:
            raise RecipeError(
                f"{self.recipe.method}: frozen noise needs a degradation, data.gray = 0 and a network that is not told "
                "the noise level (sigma_map=false)"
            )
        self.degradation = None  # from here on the data are pairs
        return replace(data, train=[self._freeze(item, number) for number, item in enumerate(data.train)])

    def _freeze(self, item: Item, number: int) -> Item:
        return replace(item, noisy=self._frozen_view(item, number, 0))

    def _frozen_view(self, item: Item, number: int, view: int) -> Frozen:
        """Return a noisy view whose noise is a pure function of seed, picture and view."""
        source: Source = item.clean if item.noisy is None else item.noisy
        assert not isinstance(source, Frozen)
        seed = int(np.random.SeedSequence((self.recipe.seed, 3, number, view)).generate_state(1, np.uint64)[0] >> 1)
        return Frozen(source, self.recipe.degradation, seed)

    def step(
        self, batches: Sequence[Batch], rngs: Sequence[torch.Generator], step: int, progress: float
    ) -> dict[str, float]:
        """Update once from the parts of a batch; return each term of the loss."""
        self.network.train()
        terms = []
        for batch, rng in zip(batches, rngs, strict=True):
            task = self.pose(batch, rng)
            with self.autocast():
                restored = self.network(task.noisy, sigma_map=task.sigma_map, label=task.label)
            total, parts = self.compare(restored.float(), task.target)
            (total / len(batches)).backward()
            terms.append({"loss": total.detach(), **parts})
        self.updaters["network"].apply(step, progress)
        return mean_terms(terms)

    def pose(self, batch: Batch, rng: torch.Generator) -> Task:
        """Make of a batch what the network is given and what it should make of it."""
        noisy, sigma_map = self.degrade(batch, rng)
        return Task(noisy, sigma_map, batch.label, batch.clean)

    def compare(self, restored: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms."""
        return self.loss(restored, target)

    def degrade(self, batch: Batch, rng: torch.Generator) -> Degraded:
        """Return the noisy view of a batch; a gray picture's channels stay equal."""
        if self.degradation is None:
            if batch.noisy is None:
                raise RecipeError("the recipe has no degradation and the data set no noisy pictures; give one of them")
            return Degraded(batch.noisy, None)
        degraded = self.degradation(batch.clean if batch.noisy is None else batch.noisy, rng)
        if batch.gray is not None:
            chosen = batch.gray.reshape(-1, 1, 1, 1)
            degraded = degraded._replace(noisy=torch.where(chosen, degraded.noisy[:, :1], degraded.noisy))
        return degraded

    @torch.no_grad()
    def restore(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) with the averaged numbers."""
        network = self.updaters["network"].averaged.eval()
        with self.autocast():
            return network(noisy, sigma_map=sigma_map, label=label).float()
