"""Losses as functions on batches (N, C, H, W), and weighted sums of them.

A loss is ``def myloss(restored, clean, *, ...) -> scalar``; a regulariser is ``def mine(restored, *, ...)`` with
``mine.regulariser = True``. All compute in float32, also under autocast: small differences matter here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hush.errors import UsageError
from hush.imaging.metrics import K1, K2
from hush.names import Call, check_options, find, parse_sum


def l1(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return (restored.float() - clean.float()).abs().mean()


def mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the mean squared difference; minimising it maximises PSNR."""
    return (restored.float() - clean.float()).square().mean()


def log_mse(restored: Tensor, clean: Tensor, *, epsilon: float = 1e-4) -> Tensor:
    """Return the mean over pictures of ln(mse + epsilon): each picture counts by how many percent it got better.

    Minus PSNR, but for its unit, where the error is far above ``epsilon`` (1e-4 is 40 dB), which keeps nearly clean
    pictures from outweighing all others. Chen et al., HINet, CVPR workshops 2021, arXiv:2105.06086.
    """
    return ((restored.float() - clean.float()).square().flatten(1).mean(1) + epsilon).log().mean()


def charbonnier(restored: Tensor, clean: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Return the mean of sqrt(difference^2 + epsilon^2): l1 with a rounded tip; at equality it is epsilon.

    Charbonnier, Blanc-Féraud, Aubert, Barlaud, ICIP 1994; epsilon as in Lai et al. 2017 (LapSRN).
    """
    return ((restored.float() - clean.float()).square() + epsilon**2).sqrt().mean()


def ssim(restored: Tensor, clean: Tensor, *, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Return 1 - SSIM, with a Gaussian window of side ``window`` and deviation ``sigma`` pixels, kept inside.

    Full scale is 1; averaged over pixels, channels and pictures. Along a side shorter than the window, the window
    is cut to the largest odd length that fits. Equal to ``1 - hush.imaging.metrics.ssim``. Wang, Bovik, Sheikh,
    Simoncelli, Image quality assessment, IEEE TIP 2004.

    Raises UsageError if the window is even, or has no width.
    """
    if window < 1 or window % 2 == 0:
        raise UsageError(f"ssim: window is {window}; it must be odd")
    if not sigma > 0:
        raise UsageError(f"ssim: sigma is {sigma:g}; it must be more than 0")
    with torch.autocast(restored.device.type, enabled=False):
        x, y = restored.float(), clean.float()
        down, across = (_band(side, window, sigma, x) for side in x.shape[-2:])
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = (down @ z @ across.T for z in (x, y, x * x, y * y, x * y))
        product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
        luminance = (2 * product + K1**2) / (squares + K1**2)
        structure = (2 * (mean_xy - product) + K2**2) / (mean_xx + mean_yy - squares + K2**2)
        return 1 - (luminance * structure).mean()


def _band(side: int, window: int, sigma: float, like: Tensor) -> Tensor:
    """Return a matrix (side - window + 1, side) whose rows are the window, shifted one by one.

    On patches a product with it is several times faster than a convolution of one channel.
    """
    window = min(window, side - 1 + side % 2)
    columns = torch.arange(side, device=like.device, dtype=torch.float32)
    distance = columns - columns[: side - window + 1, None] - window // 2
    weights = torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= window // 2)
    return weights / weights.sum(dim=1, keepdim=True)


def total_variation(restored: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours, down plus across: a regulariser that smooths.

    The anisotropic form of Rudin, Osher, Fatemi, Nonlinear total variation based noise removal, Physica D 1992.
    """
    image = restored.float()
    steps = (image.diff(dim=-2), image.diff(dim=-1))
    return sum((step.abs().sum() / max(step.numel(), 1) for step in steps), image.new_zeros(()))


total_variation.regulariser = True  # type: ignore[attr-defined]

LOSSES: dict[str, Any] = {
    "charbonnier": charbonnier,
    "l1": l1,
    "log_mse": log_mse,
    "mse": mse,
    "perceptual": "hush.learning.perceptual:perceptual",
    "ssim": ssim,
    "total_variation": total_variation,
}


OWN_TERMS = {"kl": "variational"}
"""Terms that a method computes itself."""


class Loss:
    """A weighted sum from a specification: ``0.8*l1 + 0.2*ssim(window=7) + 1e-3*total_variation``.

    Args:
        spec: the sum.
        given: names of terms whose values come with each call, such as the ``kl`` of the method variational.

    Raises UsageError for an unknown loss or option, an empty sum, or a weight below 0.
    """

    def __init__(self, spec: str, *, given: Sequence[str] = ()) -> None:
        self.spec = spec
        terms = parse_sum(spec)
        if not terms:
            raise UsageError(f"the loss is empty; write a sum such as 0.8*l1 + 0.2*ssim. Known: {', '.join(LOSSES)}")
        for weight, call in terms:
            if not 0 <= weight < math.inf:
                raise UsageError(f"{spec!r}: the weight of {call} is {weight:g}; it must be 0 or more")
        self.terms = [(weight, None if call.name in given else _check(call), call.options) for weight, call in terms]
        names = [call.name for _, call in terms]
        self.names = [call.name if names.count(call.name) == 1 else str(call) for _, call in terms]
        if len(set(self.names)) < len(self.names):
            raise UsageError(f"{spec!r}: the same term stands there twice; add up its weights")

    def __call__(self, restored: Tensor, clean: Tensor, **given: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, and each term by name, detached and before its weight.

        Raises UsageError for a loss of one's own that gives no scalar.
        """
        total = restored.new_zeros((), dtype=torch.float32)
        values = {}
        for name, (weight, loss, options) in zip(self.names, self.terms, strict=True):
            if loss is None:
                value = given[name]
            elif getattr(loss, "regulariser", False):
                value = loss(restored, **options)
            else:
                value = loss(restored, clean, **options)
            if not isinstance(value, Tensor) or value.ndim:
                came = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
                raise UsageError(f"loss {name!r} gave {came}; it must give a tensor of one number, such as a mean()")
            values[name] = value.detach()
            total = total + weight * value
        return total, values

    def __str__(self) -> str:
        return self.spec


def _check(call: Call) -> Callable[..., Tensor]:
    if call.name in OWN_TERMS:
        raise UsageError(f"loss {call.name!r} is a term of the method {OWN_TERMS[call.name]}: set method to it")
    loss: Callable[..., Tensor] = find(LOSSES, call.name, "loss")
    check_options(loss, call, "loss", given=("restored", "clean"))
    parameters = inspect.signature(loss).parameters.values()
    taken = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if (
        len(taken) == 1
        and not getattr(loss, "regulariser", False)
        and not any(p.kind is p.VAR_POSITIONAL for p in parameters)
    ):
        raise UsageError(
            f"loss {call.name!r} takes {taken[0]} alone, and is given restored and clean; a regulariser, which "
            f"looks at the restored pictures only, has {getattr(loss, '__name__', 'it')}.regulariser = True"
        )
    return loss
