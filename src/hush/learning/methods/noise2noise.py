"""Noise2Noise: learn from noisy pictures alone, bringing one noisy view close to another.

Lehtinen, Munkberg, Hasselgren, Laine, Karras, Aittala, Aila: Noise2Noise: Learning Image Restoration without Clean
Data, ICML 2018, arXiv:1803.04189. A network learns the value that minimises the loss over many noisy targets: their
mean for ``mse``, which is the clean picture where noise is zero on average, their median for ``l1``, which is the clean
picture where most views show it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch, Item
from hush.learning.methods.supervised import Supervised, Task
from hush.learning.noise import twin


class Noise2Noise(Supervised):
    """Learn from two noisy views of each picture; clean ones only serve to make them, and to validate.

    The views are drawn anew at each step by the recipe's degradation; or once per picture (``frozen``); or the data
    are pairs of noisy pictures and the recipe has no degradation. Then either view of a pair is given, by chance, and
    the other one is the target; validation figures are against a noisy picture, so only their course says something.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
        frozen: draw both views of each picture once, as if a camera had taken them.
        masked: leave pixels out of the loss that the target lacks: those that `bernoulli` took away (section 3.3 of the
            paper). Of views that are given or frozen it is not known which; there all pixels that are 0 in all channels
            are left out, so that true black is not learnt.
    """

    def __init__(self, recipe: Recipe, device: torch.device, *, frozen: bool = False, masked: bool = False) -> None:
        super().__init__(recipe, device, frozen=frozen)
        if self.degradation is not None and self.degradation.develops:
            raise RecipeError(
                f"{recipe.method}: two views by {self.degradation} differ in more than noise; choose another"
            )
        self.masked = masked

    def _freeze(self, item: Item, number: int) -> Item:
        if item.finished:
            raise RecipeError(f"{self.recipe.method}: {item.name} is noisy as it is; of a mixture nothing is frozen")
        views = [self._frozen_view(item, number, view) for view in (0, 1)]
        return replace(item, noisy=views[0], clean=views[1])

    def pose(self, batch: Batch, rng: torch.Generator) -> Task:
        """Return one noisy view as what is given and another one as the target."""
        if self.degradation is not None:
            given = self.degrade(batch, rng)
            missing = self._missing(batch, twin(rng)) if self.masked else None
            target = self.degrade(batch, rng).noisy
            if batch.finished is not None:  # pairs of a mixture have one noisy view, and a clean one
                target = torch.where(batch.finished.reshape(-1, 1, 1, 1), batch.with_gray(batch.clean), target)
            return Task(given.noisy, given.sigma_map, batch.label, target, missing=missing)
        if batch.noisy is None:
            raise RecipeError(
                "method 'noise2noise' needs two noisy views: give a degradation, or a data set of pairs of noisy "
                "pictures such as pairs(noisy=FIRST, clean=SECOND)"
            )
        swapped = torch.rand(len(batch.noisy), generator=rng, device=batch.noisy.device) < 0.5
        chosen = swapped.reshape(-1, 1, 1, 1)
        first, second = torch.where(chosen, batch.clean, batch.noisy), torch.where(chosen, batch.noisy, batch.clean)
        level = self.told(None, (first - second) / 2**0.5, rng) if self.limits.sigma_map else None
        return Task(first, level, batch.label, second)

    def _missing(self, batch: Batch, rng: torch.Generator) -> Tensor | None:
        """Return which pixels a view drawn with this generator will lack, or None where nothing tells."""
        if self.degradation is None or batch.finished is not None:
            return None
        _, left = self.degradation.with_mask(batch.clean if batch.noisy is None else batch.noisy, rng)
        return None if left is None else ~left

    def compare(self, restored: Tensor, task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms; where a pixel is left out, the target is what was restored."""
        if self.masked:
            missing = (task.target == 0).all(dim=1, keepdim=True) if task.missing is None else task.missing
            task = task._replace(target=torch.where(missing, restored.detach(), task.target))
        return super().compare(restored, task)
