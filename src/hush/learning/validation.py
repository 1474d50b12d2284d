"""Judging during training: the held-out pictures, the same noise every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hush.imaging.metrics import psnr, ssim, to_eight_bit
from hush.learning.config import Recipe
from hush.learning.datasets import Item
from hush.learning.levels import mean_level, measured_level
from hush.learning.noise import Degradation
from hush.learning.patches import PictureStore

LARGEST = 512  # larger pictures are judged on their centre, so that a validation takes seconds
SHOWN = 4

Image = NDArray[np.float32]


class Validation:
    """PSNR and SSIM over held-out pictures, noise not clipped, results rounded to 8 bit."""

    def __init__(self, items: Sequence[Item], recipe: Recipe, store: PictureStore) -> None:
        self.items, self.store = items, store
        self.blind = recipe.untold > 0
        spec = recipe.validation_degradation or recipe.degradation
        self.degradation = Degradation(spec) if spec else None

    def __call__(self, method: Any) -> tuple[dict[str, float], list[list[Image]]]:
        """Return mean figures and rows of noisy / restored / clean."""
        figures: list[tuple[float, float, float]] = []
        samples = []
        device = next(next(iter(method.updaters.values())).network.parameters()).device
        for number, item in enumerate(self.items):
            clean, noisy, sigma_map = self._views(number, item, device)
            label = None if item.label is None else torch.tensor([item.label], device=device)
            restored = _image(method.restore(noisy, sigma_map=sigma_map, label=label))
            judged, truth, given = to_eight_bit(restored), _image(clean), _image(noisy)
            figures.append((psnr(judged, truth), ssim(judged, truth), psnr(to_eight_bit(given), truth)))
            if number < SHOWN:
                samples.append([_sample(view) for view in (given, restored, truth)])
        psnrs, ssims, inputs = np.mean(np.array(figures), axis=0)
        return {"psnr": float(psnrs), "ssim": float(ssims), "psnr_input": float(inputs)}, samples

    def _views(self, number: int, item: Item, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
        clean = _batch(self.store(item.clean)).to(device)
        given = clean if item.noisy is None else _batch(self.store(item.noisy)).to(device)
        if self.degradation is None or item.finished:
            return clean, given, self._told(None, given - clean)
        # on the CPU, so that the noise is the same on every device
        rng = torch.Generator().manual_seed(number)
        degraded = self.degradation(given.cpu(), rng)
        clean = clean if degraded.clean is None else degraded.clean.to(device)
        noisy = degraded.noisy.to(device)
        sigma_map = None if degraded.sigma_map is None else degraded.sigma_map.to(device)
        return clean, noisy, self._told(sigma_map, noisy - clean)

    def _told(self, sigma_map: Tensor | None, noise: Tensor) -> Tensor | None:
        """Return what is told of the level: the true one, else its mean as measured, and to blind weights nothing."""
        if self.blind:
            return None
        return mean_level(measured_level(noise)) if sigma_map is None else sigma_map


def _batch(pixels: NDArray[np.uint8]) -> Tensor:
    height, width = pixels.shape[:2]
    top, left = max(0, height - LARGEST) // 2, max(0, width - LARGEST) // 2
    window = pixels[top : top + LARGEST, left : left + LARGEST]
    return torch.from_numpy(window.copy()).permute(2, 0, 1)[None].float().div(255)


def _image(batch: Tensor) -> Image:
    return batch[0].permute(1, 2, 0).cpu().numpy()


def _sample(image: Image, side: int = 192) -> Image:
    """Cut the centre, mirrored outwards where the picture is smaller, so that samples form a grid."""
    height, width = image.shape[:2]
    borders = [(max(0, side - size) // 2, max(0, side - size + 1) // 2) for size in (height, width)]
    image = np.pad(image, [*borders, (0, 0)], mode="symmetric")
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]
