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
from hush.learning.levels import measured_level, told_level
from hush.learning.losses import Loss
from hush.learning.networks import build_network
from hush.learning.noise import Degradation, Degraded
from hush.learning.updating import Updater, open_autocast
from hush.restoring.weights import UNTOLD


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
    taught: Tensor | None = None
    """(N, C, H, W): what a teacher makes of it, where there is one."""
    missing: Tensor | None = None
    """(N, 1, H, W) bool: pixels that the target lacks, where that is known."""


class Supervised:
    """Learn from clean pictures that are degraded on the fly, or from pairs.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
        frozen: draw the noise of each picture once, as if a camera had taken it, instead of anew at each step.
    """

    own_terms: tuple[str, ...] = ()
    """Terms of the loss that the method computes itself."""

    def __init__(self, recipe: Recipe, device: torch.device, *, frozen: bool = False) -> None:
        torch.manual_seed(recipe.seed)  # the network's first numbers
        network = build_network(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updaters = {"network": Updater(network, recipe.optimiser)}
        self.network: nn.Module = network  # may be wrapped for several processes
        self.degradation = Degradation(recipe.degradation) if recipe.degradation else None
        self.loss = Loss(recipe.loss, given=self.own_terms)
        self.autocast = open_autocast(device, recipe.precision)
        self.recipe, self.frozen = recipe, frozen
        self.limits: Any = network.limits

    def prepare(self, data: DataSet) -> DataSet:
        """Freeze the noise of the pictures to learn from, where it is to be frozen.

        Raises RecipeError where that cannot be.
        """
        if not self.frozen:
            return data
        data_changed = self.recipe.data.gray or self.recipe.data.shrink > 1  # noise would turn gray, or be averaged
        if self.degradation is None or self.degradation.develops or data_changed or self.limits.sigma_map:
            raise RecipeError(
                f"{self.recipe.method}: frozen noise needs a degradation other than a camera, data.gray = 0, "
                "data.shrink = 1 and a network that is not told the noise level (sigma_map=false)"
            )
        self.degradation = None  # from here on the data are pairs
        return replace(data, train=[self._freeze(item, number) for number, item in enumerate(data.train)])

    def _freeze(self, item: Item, number: int) -> Item:
        if item.finished:  # bytes, which no batch holds beside frozen views in float16
            raise RecipeError(f"{self.recipe.method}: {item.name} is noisy as it is; of a mixture nothing is frozen")
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
            total, parts = self.try_task(self.pose(batch, rng), rng)
            (total / len(batches)).backward()
            terms.append({"loss": total.detach(), **parts})
        return self.updaters["network"].apply(step, progress, terms)

    def pose(self, batch: Batch, rng: torch.Generator) -> Task:
        """Make of a batch what the network is given and what it should make of it."""
        noisy, sigma_map, target = self.degrade(batch, rng)
        return Task(noisy, sigma_map, batch.label, batch.clean if target is None else target)

    def try_task(self, task: Task, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Restore, and return the loss and each of its terms."""
        with self.autocast():
            restored = self.network(task.noisy, sigma_map=task.sigma_map, label=task.label)
        return self.compare(restored.float(), task)

    def compare(self, restored: Tensor, task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms."""
        return self.loss(restored, task.target)

    def degrade(self, batch: Batch, rng: torch.Generator) -> Degraded:
        """Return the noisy view of a batch, what is told of its noise, and what is to be restored.

        A gray picture's channels stay equal. Pairs that are noisy enough are left as they are.
        """
        noisy, sigma_map, clean = self.draw_noise(batch, rng)
        return Degraded(noisy, self.told(sigma_map, noisy - clean, rng), clean)

    def draw_noise(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return what `degrade` does, with the true level, if it is known, in place of what is told of it."""
        if self.degradation is None:
            if batch.noisy is None:
                raise RecipeError("the recipe has no degradation and the data set no noisy pictures; give one of them")
            degraded = Degraded(batch.noisy, None)
        else:
            degraded = degrade_unfinished(self.degradation, batch, rng)
        noisy, sigma_map, target = degraded
        clean = batch.clean if target is None else target
        return batch.with_gray(noisy), sigma_map, batch.with_gray(clean)

    def told(self, sigma_map: Tensor | None, noise: Tensor, rng: torch.Generator) -> Tensor | None:
        """Return what the network is told of the level: the true one if it is known, or else as measured."""
        if not self.limits.sigma_map:
            return sigma_map
        level = measured_level(noise) if sigma_map is None else sigma_map
        return told_level(level, rng, error=self.recipe.level_error, untold=self.recipe.untold)

    @torch.no_grad()
    def restore(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) with the averaged numbers; blind weights need not be told the level."""
        if sigma_map is None and self.limits.sigma_map and self.recipe.untold:
            sigma_map = torch.full_like(noisy[:, :1], UNTOLD)
        network = self.updaters["network"].averaged.eval()
        with self.autocast():
            return network(noisy, sigma_map=sigma_map, label=label).float()


def degrade_unfinished(degradation: Degradation, batch: Batch, rng: torch.Generator) -> Degraded:
    """Degrade what a batch's noisy view is to be made of; pairs that are `finished` are kept as they are.

    Raises RecipeError for pairs that are to go through a camera, which needs clean pictures.
    """
    if batch.noisy is None:
        return degradation(batch.clean, rng)
    if batch.finished is None:
        if degradation.develops:
            raise RecipeError(f"degradation {degradation}: it takes clean pictures, and the data set has pairs")
        return degradation(batch.noisy, rng)
    clean, noisy, raw = batch.clean.clone(), batch.noisy.clone(), ~batch.finished
    if raw.any():
        degraded = degradation(batch.noisy[raw], rng)
        noisy[raw] = degraded.noisy
        clean[raw] = batch.clean[raw] if degraded.clean is None else degraded.clean
    return Degraded(noisy, None, clean)
