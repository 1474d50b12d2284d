"""Supervised learning: bring the restored picture close to the clean one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch
from hush.learning.losses import Loss
from hush.learning.networks import build_network
from hush.learning.noise import Degradation, Degraded
from hush.learning.updating import Updater, mean_terms, open_autocast


class Supervised:
    """Learn from clean pictures that are degraded on the fly, or from pairs.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
    """

    own_terms: tuple[str, ...] = ()
    """Terms of the loss that the method computes itself."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)  # the network's first numbers
        network = build_network(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updaters = {"network": Updater(network, recipe.optimiser)}
        self.network: nn.Module = network  # may be wrapped for several processes
        self.degradation = Degradation(recipe.degradation) if recipe.degradation else None
        self.loss = Loss(recipe.loss, given=self.own_terms)
        self.autocast = open_autocast(device, recipe.precision)

    def step(
        self, batches: Sequence[Batch], rngs: Sequence[torch.Generator], step: int, progress: float
    ) -> dict[str, float]:
        """Update once from the parts of a batch; return each term of the loss."""
        self.network.train()
        terms = []
        for batch, rng in zip(batches, rngs, strict=True):
            noisy, sigma_map = self.degrade(batch, rng)
            with self.autocast():
                restored = self.network(noisy, sigma_map=sigma_map, label=batch.label)
            total, parts = self.loss(restored.float(), batch.clean)
            (total / len(batches)).backward()
            terms.append({"loss": total.detach(), **parts})
        self.updaters["network"].apply(step, progress)
        return mean_terms(terms)

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
