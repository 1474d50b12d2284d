"""Adversarial learning: a critic learns to tell restored from clean pictures, the restorer to please it.

Goodfellow et al. 2014, arXiv:1406.2661. A term that compares pixels stays throughout: what pleases the critic must also
be close to the clean picture, so that nothing is lost that was given (Isola et al. 2017; Ledig et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.datasets import Batch
from hush.learning.methods.supervised import Supervised, Task
from hush.learning.networks import build_discriminator
from hush.learning.updating import Updater

PIXEL_TERMS = ("charbonnier", "l1", "log_mse", "mse")
PATIENCE = 5  # steps that the critic may have in a row before the restorer gets its turn anyway
OBJECTIVES = ("hinge", "non_saturating")


class Adversarial(Supervised):
    """Learn a restorer against a critic: the restorer alone, the critic alone, then in turns.

    The recipe's ``loss`` must compare pixels; it may have further terms, such as ``0.1*perceptual``.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
        critic: specification of the discriminator; its channels, if not given, are the network's.
        objective: hinge (Lim and Ye 2017, arXiv:1705.02894) or non_saturating (Goodfellow et al. 2014).
        weight: of the critic's judgement beside the recipe's loss.
        alone: share of the training in which the restorer learns alone.
        critic_alone: share in which then the critic learns alone.
        switch: 0 updates both at each step. Otherwise one of them learns at each step: the critic until its loss is
            below ``switch`` (guessing costs 2 with hinge, 1.39 with non_saturating), then the restorer once; the manner
            of NoGAN (Antic, Howard, Manor 2019) in fastai.
        r1: weight of the R1 penalty, the critic's squared slope at clean pictures (Mescheder et al. 2018,
            arXiv:1801.04406); for critics without spectral normalisation.
        critic_rate: learning rate of the critic, which has AdamW with momentum 0.5, at the start of the whole training:
            it falls as the restorer's does, so that the critic begins with what is left of it.
        frozen: as in `Supervised`.

    Raises RecipeError for shares, an objective, a loss or a critic that cannot be.
    """

    one_process = True
    result = "last"  # the critic lowers the PSNR by which the best are chosen

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        *,
        critic: str = "patch_discriminator",
        objective: str = "hinge",
        weight: float = 3e-3,
        alone: float = 0.5,
        critic_alone: float = 0.05,
        switch: float = 0.0,
        r1: float = 0.0,
        critic_rate: float = 4e-4,
        frozen: bool = False,
    ) -> None:
        super().__init__(recipe, device, frozen=frozen)
        if not set(PIXEL_TERMS) & set(self.loss.names):
            raise RecipeError(f"loss {recipe.loss!r}: adversarial needs a pixel term too: {', '.join(PIXEL_TERMS)}")
        if objective not in OBJECTIVES:
            raise RecipeError(f"objective is {objective!r}; it must be {' or '.join(OBJECTIVES)}")
        if min(alone, critic_alone, switch, r1, weight) < 0 or alone + critic_alone >= 1:
            raise RecipeError(f"alone = {alone}, critic_alone = {critic_alone}: shares that leave some for the turns")
        channels = self.limits.channels
        self.critic = build_discriminator(critic, channels).to(device)
        if (judged := getattr(self.critic, "channels", channels)) != channels:
            raise RecipeError(
                f"critic {critic!r} judges pictures of {judged} channels, the network restores {channels}; leave its "
                "channels out, which makes them the same"
            )
        own = replace(recipe.optimiser, name="adamw", rate=critic_rate, average=0.0)
        self.updaters["critic"] = Updater(self.critic, own, beta=0.5)
        self.objective, self.weight, self.switch, self.r1 = objective, weight, switch, r1
        self.alone, self.critic_alone = alone, critic_alone
        self.state: dict[str, Any] = {"critic_next": True, "in_a_row": 0}

    def step(
        self, batches: Sequence[Batch], rngs: Sequence[torch.Generator], step: int, progress: float
    ) -> dict[str, float]:
        """Update the restorer, the critic or both; return the terms of what was updated."""
        if progress < self.alone:
            return super().step(batches, rngs, step, progress)
        tasks = [self.pose(batch, rng) for batch, rng in zip(batches, rngs, strict=True)]
        self.network.train()
        if progress < self.alone + self.critic_alone:
            return self._teach_critic(tasks, progress)
        if not self.switch:
            return self._teach_critic(tasks, progress) | self._teach_restorer(tasks, step, progress)
        if self.state["critic_next"]:
            terms = self._teach_critic(tasks, progress)
            row = self.state["in_a_row"] + 1
            self.state = {"critic_next": terms["critic"] >= self.switch and row < PATIENCE, "in_a_row": row}
            return terms
        self.state = {"critic_next": True, "in_a_row": 0}
        return self._teach_restorer(tasks, step, progress)

    def _teach_critic(self, tasks: Sequence[Task], progress: float) -> dict[str, float]:
        """Update the critic, in float32; ``critic_right`` is the share of patches that it judges rightly."""
        self.critic.requires_grad_(True).train()
        terms = []
        for task in tasks:
            with torch.no_grad():
                restored = self._restored(task)
            real = task.target.detach().requires_grad_(self.r1 > 0)
            good, bad = self.critic(real, task.noisy), self.critic(restored, task.noisy)
            loss = _critic_loss(good, bad, self.objective)
            slope = _squared_slope(good, real) if self.r1 else good.new_zeros(())
            ((loss + self.r1 / 2 * slope) / len(tasks)).backward()
            right = ((good > 0).float().mean() + (bad < 0).float().mean()) / 2
            terms.append({"critic": loss.detach(), "critic_right": right} | ({"r1": slope.detach()} if self.r1 else {}))
        updater = self.updaters["critic"]
        return updater.apply(updater.updates, progress, terms)  # its warm-up begins when it does

    def _teach_restorer(self, tasks: Sequence[Task], step: int, progress: float) -> dict[str, float]:
        """Update the restorer by the recipe's loss and the critic's judgement."""
        self.critic.requires_grad_(False).train()
        terms = []
        for task in tasks:
            restored = self._restored(task)
            total, parts = self.compare(restored, task)
            pleasing = _restorer_loss(self.critic(restored, task.noisy), self.objective)
            total = total + self.weight * pleasing
            (total / len(tasks)).backward()
            terms.append({"loss": total.detach(), **parts, "adversarial": pleasing.detach()})
        return self.updaters["network"].apply(step, progress, terms)

    def _restored(self, task: Task) -> Tensor:
        with self.autocast():
            restored: Tensor = self.network(task.noisy, sigma_map=task.sigma_map, label=task.label)
        return restored.float()


def _critic_loss(good: Tensor, bad: Tensor, objective: str) -> Tensor:
    if objective == "hinge":
        return F.relu(1 - good).mean() + F.relu(1 + bad).mean()
    return F.softplus(-good).mean() + F.softplus(bad).mean()


def _restorer_loss(bad: Tensor, objective: str) -> Tensor:
    return -bad.mean() if objective == "hinge" else F.softplus(-bad).mean()


def _squared_slope(scores: Tensor, pictures: Tensor) -> Tensor:
    """Return the squared 2-norm of the scores' gradient at each picture, averaged; differentiable."""
    (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
