"""Supervised learning: bring the restored picture close to the clean one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch
from hush.learning.levels import measured_level, told_level
from hush.learning.losses import Loss
from hush.learning.networks import build_network
from hush.learning.noise import Degradation, Degraded
from hush.learning.updating import Updater, mean_terms, open_autocast
from hush.restoring.weights import UNTOLD


class View(NamedTuple):
    """What a network learns from."""

    noisy: Tensor
    """(N, C, H, W)."""
    sigma_map: Tensor | None
    """(N, 1, H, W): what it is told of the noise level."""
    clean: Tensor
    """(N, C, H, W): what it should give."""


class Supervised:
    """Learn from clean pictures that are degraded on the fly, or from pairs.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)  # the network's first numbers
        network = build_network(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updaters = {"network": Updater(network, recipe.optimiser)}
        self.network: nn.Module = network  # may be wrapped for several processes
        self.limits = network.limits
        self.untold, self.level_error = recipe.untold, recipe.level_error
        self.degradation = Degradation(recipe.degradation) if recipe.degradation else None
        self.loss = Loss(recipe.loss)
        self.autocast = open_autocast(device, recipe.precision)

    def step(
        self, batches: Sequence[Batch], rngs: Sequence[torch.Generator], step: int, progress: float
    ) -> dict[str, float]:
        """Update once from the parts of a batch; return each term of the loss."""
        self.network.train()
        terms = []
        for batch, rng in zip(batches, rngs, strict=True):
            noisy, sigma_map, clean = self.degrade(batch, rng)
            with self.autocast():
                restored = self.network(noisy, sigma_map=sigma_map, label=batch.label)
            total, parts = self.loss(restored.float(), clean)
            (total / len(batches)).backward()
            terms.append({"loss": total.detach(), **parts})
        self.updaters["network"].apply(step, progress)
        return mean_terms(terms)

    def degrade(self, batch: Batch, rng: torch.Generator) -> View:
        """Return the noisy view of a batch, what is told of its noise, and what is to be restored.

        A gray picture's channels stay equal. Pairs that are noisy enough are left as they are.
        """
        if self.degradation is None:
            if batch.noisy is None:
                raise RecipeError("the recipe has no degradation and the data set no noisy pictures; give one of them")
            degraded = Degraded(batch.noisy, None)
        else:
            degraded = degrade_unfinished(self.degradation, batch, rng)
        noisy, sigma_map, target = degraded
        clean = batch.clean if target is None else target
        if batch.gray is not None:
            chosen = batch.gray.reshape(-1, 1, 1, 1)
            noisy, clean = (torch.where(chosen, view[:, :1], view) for view in (noisy, clean))
        return View(noisy, self._told(sigma_map, noisy - clean, rng), clean)

    def _told(self, sigma_map: Tensor | None, noise: Tensor, rng: torch.Generator) -> Tensor | None:
        """Return what the network is told of the level: the true one if it is known, or else as measured."""
        if not self.limits.sigma_map:
            return sigma_map
        level = measured_level(noise) if sigma_map is None else sigma_map
        return told_level(level, rng, error=self.level_error, untold=self.untold)

    @torch.no_grad()
    def restore(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch (N, C, H, W) with the averaged numbers; blind weights need not be told the level."""
        if sigma_map is None and self.limits.sigma_map and self.untold:
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
        degraded = degradation(batch.noisy, rng)
        if degraded.clean is not None:
            raise RecipeError(f"degradation {degradation}: it takes clean pictures, and the data set has pairs")
        return degraded
    clean, noisy, raw = batch.clean.clone(), batch.noisy.clone(), ~batch.finished
    if raw.any():
        degraded = degradation(batch.noisy[raw], rng)
        noisy[raw] = degraded.noisy
        clean[raw] = batch.clean[raw] if degraded.clean is None else degraded.clean
    return Degraded(noisy, None, clean)
