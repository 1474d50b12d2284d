"""Optimisers: AdamW, and Muon for the inner convolutions of a network.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a weight matrix by
the nearest matrix whose singular values are all about one, found with a few Newton-Schulz steps. On restoration
networks it learns several times faster than AdamW per step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hush.errors import RecipeError
from hush.learning.devices import multiplies_bf16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the quintic's coefficients, tuned by Jordan et al. for fast convergence


TOGETHER = 3  # steps that are computed from one Gram matrix; beyond, its rounding in bf16 would be amplified


def orthogonalise(matrices: Tensor, steps: int = 3) -> Tensor:
    """Push the singular values of each matrix of a stack (K, rows, columns) towards one.

    A step makes (aI + bG + cG^2) X of X, with G = X X^T. Three steps are a polynomial in the first G, so that only
    matrices of the shorter side are carried on: half the arithmetic for 3x3 kernels, which are nine times as long as
    they are high. The products with X are in bf16 where the device multiplies it.
    """
    x = matrices.to(torch.bfloat16 if multiplies_bf16(matrices.device) else torch.float32)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for first in range(0, steps, TOGETHER):
        x = _polynomial((x @ x.mT).float(), min(TOGETHER, steps - first)).to(x.dtype) @ x
    return (x.mT if tall else x).to(matrices.dtype)


def _polynomial(gram: Tensor, steps: int) -> Tensor:
    """Return what so many steps multiply X by, from X X^T."""
    a, b, c = NEWTON_SCHULZ
    identity = torch.eye(gram.shape[-1], device=gram.device)
    product = factor = a * identity + b * gram + c * gram @ gram
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
    return product


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates, for weights of two or more dimensions.

    A kernel (out, in, k, k) is taken as a matrix (out, in*k*k). Updates are scaled by 0.2*sqrt(longer side), which
    gives them the size of AdamW's, so that one rate serves both (Liu et al. 2025, arXiv:2502.16982).
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; kernels of one shape are orthogonalised together."""
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[tuple(parameter.shape)].append((parameter, parameter.grad))
            for members in alike.values():
                self._update(members, **{key: group[key] for key in ("lr", "momentum", "weight_decay")})

    def _update(self, members: list[tuple[Tensor, Tensor]], lr: float, momentum: float, weight_decay: float) -> None:
        directions = []
        for parameter, gradient in members:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(gradient, 1 - momentum)
            directions.append(gradient.lerp(state["momentum"], momentum).flatten(1))  # Nesterov's look ahead
        updates = orthogonalise(torch.stack(directions))
        scale = 0.2 * max(updates.shape[-2:]) ** 0.5
        for (parameter, _), update in zip(members, updates, strict=True):
            parameter.mul_(1 - lr * weight_decay).add_(update.view_as(parameter), alpha=-lr * scale)


def open_optimisers(
    network: nn.Module, name: str, rate: float, weight_decay: float, momentum: float = 0.95, beta: float = 0.9
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a network: ``adamw``, or ``muon`` with AdamW for what is no inner convolution.

    The first and the last convolution, biases and norms keep AdamW: their rows are pixels, not features. ``momentum``
    is Muon's, ``beta`` AdamW's first. Raises RecipeError for a network without numbers to learn.
    """
    weights = [p for p in network.parameters() if p.requires_grad]
    if not weights:
        raise RecipeError(f"{type(network).__name__} has no parameters, so there is nothing to learn")
    if name == "adamw":
        return [torch.optim.AdamW(weights, lr=rate, weight_decay=weight_decay, betas=(beta, 0.99))]
    kernels = [p for p in weights if p.ndim >= 2]
    inner = {id(p) for p in kernels[1:-1]}
    rest = [p for p in weights if id(p) not in inner]
    optimisers: list[torch.optim.Optimizer] = []
    if inner:
        optimisers.append(Muon([p for p in weights if id(p) in inner], rate, momentum, weight_decay))
    optimisers.append(torch.optim.AdamW(rest, lr=rate, weight_decay=weight_decay, betas=(beta, 0.99)))
    return optimisers
