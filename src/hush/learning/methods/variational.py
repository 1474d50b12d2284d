"""Variational learning: restore from drawn codes, whose distribution is kept near a normal one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.methods.supervised import Supervised, Task


class Variational(Supervised):
    """Learn as supervised does, but from codes drawn by the network; ``kl`` in the loss keeps them near N(0, 1).

    The bound of Kingma, Welling 2014 (arXiv:1312.6114) with a Laplacian of scale b for the pictures is
    ``l1 + b*kl``. Without ``kl`` nothing keeps the codes from becoming certain.

    Args:
        recipe: as for `Supervised`; its network draws codes, such as ``vae``.
        device: where to compute.
    """

    own_terms = ("kl",)

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        super().__init__(recipe, device)
        self.check_network(self.network, recipe.network)

    @staticmethod
    def check_network(network: nn.Module, spec: str) -> None:
        """Raise RecipeError for a network that draws no codes."""
        if not getattr(network, "variational", False):
            raise RecipeError(f"method 'variational' needs a network that draws codes, such as vae; {spec} does not")

    def try_task(self, task: Task, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Restore by codes that are drawn, and return the loss and each of its terms."""
        with self.autocast():
            drawn = self.network(task.noisy, sigma_map=task.sigma_map, label=task.label, rng=rng)
        divergence = kl(drawn.mean, drawn.log_variance) / task.target.numel()
        return self.loss(drawn.restored.float(), task.target, kl=divergence)


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of N(mean, variance) from N(0, 1) in nats, summed over all codes.

    The method divides it by the number of values of the pictures, which the other losses are means over.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
