"""Classification: learn to name what a noisy picture shows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch
from hush.learning.networks import build_classifier
from hush.learning.noise import Degradation, Degraded
from hush.learning.updating import Updater, open_autocast


class Classification:
    """Learn a classifier of noisy pictures by their cross-entropy; the recipe's ``loss`` is not used.

    Args:
        recipe: names the classifier as its network, and the degradation; empty for pictures as they are.
        device: where to compute.
    """

    restores = False
    unused = ("loss",)

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)  # the network's first numbers
        network = build_classifier(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updaters = {"network": Updater(network, recipe.optimiser)}
        self.network: nn.Module = network  # may be wrapped for several processes
        self.degradation = Degradation(recipe.degradation) if recipe.degradation else None
        self.autocast = open_autocast(device, recipe.precision)

    def step(
        self, batches: Sequence[Batch], rngs: Sequence[torch.Generator], step: int, progress: float
    ) -> dict[str, float]:
        """Update once from the parts of a batch; return the cross-entropy and the share of right answers."""
        self.network.train()
        terms = []
        for batch, rng in zip(batches, rngs, strict=True):
            if batch.label is None:
                raise RecipeError("method 'classification' needs labels, and the data set has none")
            noisy = self.degrade(batch, rng).noisy
            with self.autocast():
                scores = self.network(noisy).float()
            loss = F.cross_entropy(scores, batch.label)
            (loss / len(batches)).backward()
            right = (scores.argmax(dim=1) == batch.label).float().mean()
            terms.append({"loss": loss.detach(), "accuracy": right})
        return self.updaters["network"].apply(step, progress, terms)

    def degrade(self, batch: Batch, rng: torch.Generator) -> Degraded:
        """Return what the network sees of a batch; a gray picture's channels stay equal."""
        given = batch.clean if batch.noisy is None else batch.noisy
        noisy = given if self.degradation is None else self.degradation(given, rng).noisy
        return Degraded(batch.with_gray(noisy), None)

    @torch.no_grad()
    def classify(self, noisy: Tensor) -> Tensor:
        """Return the scores (N, classes) of a batch (N, C, H, W) with the averaged numbers."""
        network = self.updaters["network"].averaged.eval()
        with self.autocast():
            scores: Tensor = network(noisy).float()
        return scores
