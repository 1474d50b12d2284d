"""Degradations as functions on batches (N, C, H, W), on whatever device the batch is.

A noise is ``def mynoise(clean, rng, *, ...) -> noisy`` of the same shape. Its numeric options are numbers, or
tensors (N,) with one value per image, which is how a range such as ``gaussian(sigma=0..75)`` arrives.
Results are not clipped unless the physics clips: an evaluation's protocol decides that.

A noise that changes what the clean picture is, as a camera does, returns `Degraded` with its own clean view, and has
``develops = True``; it can only be the first of a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hush.errors import UsageError
from hush.names import Call, Range, check_options, find, parse_chain


def per_image(value: float | Tensor, batch: Tensor) -> Tensor:
    """Shape a number or an (N,) tensor so that it multiplies a batch (N, C, H, W)."""
    return torch.as_tensor(value, dtype=batch.dtype, device=batch.device).reshape(-1, 1, 1, 1)


def gaussian(clean: Tensor, rng: torch.Generator, *, sigma: float | Tensor = 25) -> Tensor:
    """Add white Gaussian noise of deviation ``sigma`` on the 8-bit scale."""
    noise = torch.randn(clean.shape, generator=rng, device=clean.device, dtype=clean.dtype)
    return clean + noise * (per_image(sigma, clean) / 255)


def poisson(clean: Tensor, rng: torch.Generator, *, peak: float | Tensor = 30) -> Tensor:
    """Count photons, of which ``peak`` on average arrive where the picture is 1.

    The variance is clean / peak. Below zero no light comes, so negative values become 0.
    Shot noise as in Lehtinen et al. 2018 (Noise2Noise), arXiv:1803.04189, section 3.2.
    """
    exact = clean.clamp(min=0).float()
    scale = per_image(peak, exact)
    return (torch.poisson(exact * scale, generator=rng) / scale).to(clean.dtype)


def salt_pepper(
    clean: Tensor, rng: torch.Generator, *, amount: float | Tensor = 0.05, salt: float | Tensor = 0.5
) -> Tensor:
    """Replace a share ``amount`` of all pixels: of these a share ``salt`` by 1, the others by 0.

    A pixel is replaced in all channels together. Gonzalez and Woods, Digital Image Processing, chapter 5.
    """
    draw = _per_pixel(clean, rng)
    white = draw < per_image(amount, draw) * per_image(salt, draw)
    black = draw >= 1 - per_image(amount, draw) * (1 - per_image(salt, draw))
    return clean.masked_fill(white, 1.0).masked_fill(black, 0.0)


def uniform(clean: Tensor, rng: torch.Generator, *, amplitude: float | Tensor = 25) -> Tensor:
    """Add white noise spread evenly between -``amplitude`` and ``amplitude`` on the 8-bit scale.

    Its deviation is amplitude / sqrt(3): the error of rounding to steps of twice the amplitude.
    """
    noise = 2 * torch.rand(clean.shape, generator=rng, device=clean.device, dtype=clean.dtype) - 1
    return clean + noise * (per_image(amplitude, clean) / 255)


def bernoulli(clean: Tensor, rng: torch.Generator, *, keep: float | Tensor = 0.5) -> Tensor:
    """Multiply each pixel by 1 with probability ``keep``, else by 0, in all channels together.

    The mean becomes keep x clean. Lehtinen et al. 2018 (Noise2Noise), arXiv:1803.04189, section 3.3.
    """
    draw = _per_pixel(clean, rng)
    return clean * (draw < per_image(keep, draw)).to(clean.dtype)


def speckle(clean: Tensor, rng: torch.Generator, *, sigma: float | Tensor = 25) -> Tensor:
    """Add Gaussian noise in proportion to the picture, of deviation ``sigma`` (8-bit scale) where the picture is 1.

    The multiplicative noise of radar and ultrasound: clean x (1 + n); Lee, Digital Image Enhancement and Noise
    Filtering by Use of Local Statistics, IEEE TPAMI 1980.
    """
    noise = torch.randn(clean.shape, generator=rng, device=clean.device, dtype=clean.dtype)
    return clean + clean * noise * (per_image(sigma, clean) / 255)


def clip(clean: Tensor, rng: torch.Generator, *, share: float | Tensor = 1.0) -> Tensor:
    """Clip to [0, 1], as a sensor or an 8-bit file does, a share of the pictures; the others stay as they are.

    At the end of a chain, ``share=0.5`` trains one network for both protocols of evaluation.
    """
    chosen = torch.rand(len(clean), generator=rng, device=clean.device) < torch.as_tensor(share, device=clean.device)
    return torch.where(chosen.reshape(-1, 1, 1, 1), clean.clamp(0, 1), clean)


def _per_pixel(clean: Tensor, rng: torch.Generator) -> Tensor:
    """Draw (N, 1, H, W) evenly from [0, 1), in float32 so that small shares are met."""
    n, _, height, width = clean.shape
    return torch.rand((n, 1, height, width), generator=rng, device=clean.device)


NOISES: dict[str, Any] = {
    "bernoulli": bernoulli,
    "camera": "hush.learning.camera:camera",
    "clip": clip,
    "defocus": "hush.learning.blur:defocus",
    "gaussian": gaussian,
    "jpeg": "hush.learning.artefacts:jpeg",
    "motion_blur": "hush.learning.blur:motion_blur",
    "poisson": poisson,
    "salt_pepper": salt_pepper,
    "speckle": speckle,
    "text": "hush.learning.artefacts:text",
    "uniform": uniform,
}

BOUNDS: dict[str, dict[str, tuple[float, float]]] = {
    "bernoulli": {"keep": (0, 1)},
    "camera": {
        "stops": (-10, 12),
        **dict.fromkeys(("quiet", "binned", "compressed", "dim", "flat", "near", "cleaned"), (0, 1)),
    },
    "clip": {"share": (0, 1)},
    "defocus": {"radius": (0, 64)},
    "gaussian": {"sigma": (0, 1e6)},
    "jpeg": {"quality": (1, 100)},
    "motion_blur": {"length": (1, 129), "angle": (-360, 360)},
    "poisson": {"peak": (1e-3, 1e6)},
    "salt_pepper": {"amount": (0, 1), "salt": (0, 1)},
    "speckle": {"sigma": (0, 1e6)},
    "text": {"coverage": (0, 0.9), "size": (0, 1000)},
    "uniform": {"amplitude": (0, 1e6)},
}
"""The least and the greatest value of each option; checked once, when a specification is read."""


class Degraded(NamedTuple):
    """What a degradation gives."""

    noisy: Tensor
    """(N, C, H, W)."""
    sigma_map: Tensor | None
    """(N, 1, H, W): the deviation of the noise in [0, 1], where it is Gaussian noise alone, clipped at the end or not;
    None where the chain has none, or more than it."""
    clean: Tensor | None = None
    """(N, C, H, W): what is to be restored, where the degradation changed that too; None: what was given."""


class Degradation:
    """A chain of noises from a specification: ``gaussian(sigma=102) + salt_pepper(amount=0.05)``.

    Raises UsageError for an unknown noise or option.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.parts = [(_check(call), call) for call in parse_chain(spec)]
        developing = [getattr(noise, "develops", False) for noise, _ in self.parts]
        self.develops = any(developing)
        """Whether it changes what is to be restored."""
        noises = [noise for noise, _ in self.parts]
        while noises and noises[-1] is clip:
            noises.pop()
        self.gaussian = bool(noises) and all(noise is gaussian for noise in noises)
        """Whether it adds Gaussian noise and nothing else, but for clipping at the end: then its level is known."""
        for (_, call), develops in zip(self.parts[1:], developing[1:], strict=True):
            if develops:
                raise UsageError(f"degradation {spec}: {call.name} takes clean pictures only; put it first")

    def __call__(self, clean: Tensor, rng: torch.Generator) -> Degraded:
        """Degrade a clean batch; every range is drawn anew for each image.

        Raises UsageError for a noise of one's own that does not keep the shape.
        """
        return self.with_mask(clean, rng)[0]

    def with_mask(self, clean: Tensor, rng: torch.Generator) -> tuple[Degraded, Tensor | None]:
        """Degrade as a call does; return also which pixels `bernoulli` left, (N, 1, H, W), or None without one."""
        noisy, target, variance, left = clean, None, torch.zeros(()), None
        for noise, call in self.parts:
            options = {name: _draw(value, clean, rng) for name, value in call.options.items()}
            if noise is bernoulli:  # what it leaves of ones shows where it leaves black, too
                kept = bernoulli(torch.ones_like(clean[:, :1]), twin(rng), **options) > 0
                left = kept if left is None else left & kept
            result = noise(noisy, rng, **options)
            noisy, target = (result.noisy, result.clean) if isinstance(result, Degraded) else (result, target)
            for view in (noisy,) if target is None else (noisy, target):
                if not isinstance(view, Tensor) or view.shape != clean.shape:
                    came = tuple(view.shape) if isinstance(view, Tensor) else f"a {type(view).__name__}"
                    raise UsageError(
                        f"noise {call} gave {came} for a batch {tuple(clean.shape)}; it must keep the shape"
                    )
            if self.gaussian and noise is gaussian:  # independent noises add up in their variances
                variance = variance + (per_image(options.get("sigma", 25), clean) / 255) ** 2
        if not self.gaussian:
            return Degraded(noisy, None, target), left
        n, _, height, width = clean.shape
        return Degraded(noisy, variance.sqrt().expand(n, 1, height, width)), left

    def __str__(self) -> str:
        return self.spec


def twin(rng: torch.Generator) -> torch.Generator:
    """Return a generator that will draw what another one will."""
    other = torch.Generator(rng.device)
    other.set_state(rng.get_state())
    return other


def _check(call: Call) -> Callable[..., Tensor | Degraded]:
    noise = find(NOISES, call.name, "noise")
    check_options(noise, call, "noise", given=("clean", "rng"), ranges=True)
    for option, (low, high) in BOUNDS.get(call.name, {}).items():
        value = call.options.get(option, low)
        ends = (value.low, value.high) if isinstance(value, Range) else (value,)
        if not all(isinstance(end, int | float) and low <= end <= high for end in ends):
            raise UsageError(f"noise {call}: {option} must be a number or a range within {low:g}..{high:g}")
    return noise


def _draw(value: Any, clean: Tensor, rng: torch.Generator) -> Any:
    if not isinstance(value, Range):
        return value
    share = torch.rand(len(clean), generator=rng, device=clean.device)
    return value.low + (value.high - value.low) * share
