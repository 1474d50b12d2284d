"""Distillation: learn from what trained networks make of the same noisy picture, and from the clean one.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531; that a teacher should see
the very picture that its pupil sees is from Beyer et al.: Knowledge distillation: A good teacher is patient and
consistent, CVPR 2022, arXiv:2106.05237. Many clean pictures could have given one noisy picture, and a squared loss is
least at their mean. A teacher's answer is near that mean, so each step goes in the average direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch
from hush.learning.levels import measured_level
from hush.learning.methods.supervised import Supervised, Task
from hush.learning.torch_runtime import open_network


class Distillation(Supervised):
    """Learn as supervised does, but towards a blend of the clean picture and what a teacher makes of the noisy one.

    A picture that the teacher restores worse than the pupil does, by mean squared error, has the clean one alone as
    its target. The teacher is told the true level, whatever the pupil is told.

    Args:
        recipe: as for `Supervised`.
        device: where to compute.
        teacher: weights, as for `open_network`.
        gray: weights for one channel that teach gray pictures; empty: the teacher teaches them too.
        share: of the teacher in the blend, in [0, 1].
    """

    def __init__(
        self, recipe: Recipe, device: torch.device, *, teacher: str = "gaussian", gray: str = "", share: float = 0.7
    ) -> None:
        super().__init__(recipe, device)
        if not 0 <= share <= 1:
            raise RecipeError(f"{recipe.method}: share = {share:g} is not in [0, 1]")
        self.share = share
        self.teacher = self._open(teacher, self.limits.channels, device)
        self.gray_teacher = self._open(gray, 1, device) if gray else None

    def _open(self, weights: str, channels: int, device: torch.device) -> nn.Module:
        network, card = open_network(weights)
        if card.channels != channels:
            raise RecipeError(
                f"{self.recipe.method}: {weights} restores pictures of {card.channels} channels, not of {channels}"
            )
        placed: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed.eval().requires_grad_(False)

    def pose(self, batch: Batch, rng: torch.Generator) -> Task:
        """Make of a batch what the pupil is given and should make of it, and what the teachers make of it."""
        noisy, level, clean = self.draw_noise(batch, rng)
        noise = noisy - clean
        told = self.told(level, noise, rng)
        true = measured_level(noise) if level is None else level
        taught = self._teach(self.teacher, noisy, true, batch.label)
        if self.gray_teacher is not None and (gray := batch.gray) is not None and gray.any():
            label = None if batch.label is None else batch.label[gray]
            taught[gray] = self._teach(self.gray_teacher, noisy[gray][:, :1], true[gray], label)
        return Task(noisy, told, batch.label, clean, taught)

    @torch.no_grad()
    def _teach(self, teacher: nn.Module, noisy: Tensor, level: Tensor, label: Tensor | None) -> Tensor:
        told = level if teacher.limits.sigma_map else None  # type: ignore[union-attr]
        with self.autocast():
            restored: Tensor = teacher(noisy, sigma_map=told, label=label)
        return restored.float()

    def compare(self, restored: Tensor, task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss towards the blend, its terms, and the share of pictures that the teacher restores better."""
        assert task.taught is not None
        errors = [(view.detach() - task.target).square().mean(dim=(1, 2, 3)) for view in (restored, task.taught)]
        better = errors[1] < errors[0]
        share = self.share * better.to(restored.dtype).reshape(-1, 1, 1, 1)
        total, terms = super().compare(restored, task._replace(target=torch.lerp(task.target, task.taught, share)))
        return total, {**terms, "taught": better.float().mean()}
