"""Judging during training: the held-out pictures, the same noise every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hush.errors import RecipeError
from hush.imaging.metrics import psnr, ssim, to_eight_bit
from hush.learning.config import Recipe
from hush.learning.datasets import Item
from hush.learning.levels import one_level
from hush.learning.noise import Degradation
from hush.learning.patches import PictureStore, check_aligned

LARGEST = 512  # larger pictures are judged on their centre, so that a validation takes seconds
SHOWN = 4
HIGHEST = 100.0  # dB, of one picture in a mean: one that comes back exactly must not outweigh all others

Image = NDArray[np.float32]
Figures = dict[str, float]


class Views(NamedTuple):
    """The views of one held-out picture, as batches of one, on the CPU."""

    clean: Tensor
    """(1, C, H, W) in [0, 1]."""
    noisy: Tensor
    sigma_map: Tensor | None
    """(1, 1, H, W): the level of the noise, true or, where it is not known, as measured."""
    label: Tensor | None
    """(1,)."""

    def to(self, device: torch.device) -> Views:
        """Move every tensor."""
        return Views(*(None if tensor is None else tensor.to(device) for tensor in self))  # type: ignore[arg-type]


def open_views(
    item: Item,
    seed: int,
    degradation: Degradation | None,
    store: PictureStore,
    *,
    largest: int = 0,
    aligned: bool = True,
) -> Views:
    """Read a held-out picture and degrade it with a generator of its own, so that it looks the same every time.

    Args:
        item: what to read.
        seed: of its noise.
        degradation: None where the data are pairs.
        store: who reads.
        largest: cut out the centre of pictures that are larger; 0 for whole pictures.
        aligned: whether noisy and clean show the same scene to the pixel, and so are of one size.

    Raises PictureError if it cannot be read, or is a pair of unlike sizes.
    """
    label = None if item.label is None else torch.tensor([item.label])
    pixels = store(item.clean)
    others = pixels if item.noisy is None else store(item.noisy)
    if aligned:
        check_aligned(item, pixels, others)
    clean, given = _batch(pixels, largest), _batch(others, largest)
    if degradation is None or item.finished:
        level = one_level(given - clean) if given.shape == clean.shape else None
        return Views(clean, given, level, label)
    noisy, sigma_map, target = degradation(given, torch.Generator().manual_seed(seed))
    clean = clean if target is None else target
    return Views(clean, noisy, one_level(noisy - clean) if sigma_map is None else sigma_map, label)


def falls_short(figures: Mapping[str, float]) -> bool:
    """Say whether restored pictures are further from the clean ones than the noisy pictures were, or not finite."""
    return "psnr_input" in figures and not figures["psnr"] >= figures["psnr_input"]


def is_blind(recipe: Recipe) -> bool:
    """Say whether weights are judged without being told the noise level, as they learn to do."""
    return recipe.untold > 0


class Validation:
    """PSNR and SSIM over held-out pictures, noise not clipped, results rounded to 8 bit."""

    figure = "psnr"
    """By which the best weights are known."""

    def __init__(self, items: Sequence[Item], recipe: Recipe, store: PictureStore) -> None:
        self.items, self.store, self.degradation = items, store, _open_degradation(recipe)
        self.blind = is_blind(recipe)

    def __call__(self, method: Any) -> tuple[Figures, list[list[Image]]]:
        """Return mean figures and rows of noisy / restored / clean; a picture's PSNR counts as at most `HIGHEST`."""
        figures: list[tuple[float, float, float]] = []
        samples = []
        device = _device(method)
        for number, item in enumerate(self.items):
            views = open_views(item, number, self.degradation, self.store, largest=LARGEST).to(device)
            sigma_map = None if self.blind else views.sigma_map
            restored = as_image(method.restore(views.noisy, sigma_map=sigma_map, label=views.label))
            judged, truth, given = to_eight_bit(restored), as_image(views.clean), as_image(views.noisy)
            figures.append((psnr(judged, truth), ssim(judged, truth), psnr(to_eight_bit(given), truth)))
            if number < SHOWN:
                samples.append([sample(view) for view in (given, restored, truth)])
        psnrs, ssims, inputs = np.mean(np.minimum(figures, HIGHEST), axis=0)  # NaN stays NaN
        return {"psnr": float(psnrs), "ssim": float(ssims), "psnr_input": float(inputs)}, samples


class Accuracy:
    """How many noisy held-out pictures a classifier knows, and its cross-entropy in nats.

    Raises RecipeError for pictures without labels.
    """

    figure = "accuracy"

    def __init__(self, items: Sequence[Item], recipe: Recipe, store: PictureStore) -> None:
        if any(item.label is None for item in items):
            raise RecipeError(f"method {recipe.method!r} needs labels, and data.set = {recipe.data.set!r} has none")
        self.items, self.store, self.degradation = items, store, _open_degradation(recipe)

    def __call__(self, method: Any) -> tuple[Figures, list[list[Image]]]:
        """Return mean figures; there are no pictures to show."""
        figures = []
        device = _device(method)
        for number, item in enumerate(self.items):
            views = open_views(item, number, self.degradation, self.store, largest=LARGEST).to(device)
            assert views.label is not None
            figures.append(classified(method.classify(views.noisy), views.label)[0])
        return {name: float(np.mean([entry[name] for entry in figures])) for name in figures[0]}, []


def classified(scores: Tensor, labels: Tensor) -> list[Figures]:
    """Return, for each row of scores (N, classes), whether it names its label, and its cross-entropy in nats."""
    right = (scores.argmax(dim=1) == labels).tolist()
    costs = F.cross_entropy(scores.float(), labels, reduction="none").tolist()
    return [{"accuracy": float(hit), "cross_entropy": cost} for hit, cost in zip(right, costs, strict=True)]


def as_image(batch: Tensor) -> Image:
    """Return the one picture of a batch (1, C, H, W) as (H, W, C)."""
    image: Image = batch[0].permute(1, 2, 0).cpu().numpy()
    return image


def sample(image: Image, side: int = 192) -> Image:
    """Cut the centre, mirrored outwards where the picture is smaller, so that samples form a grid."""
    height, width = image.shape[:2]
    borders = [(max(0, side - size) // 2, max(0, side - size + 1) // 2) for size in (height, width)]
    image = np.pad(image, [*borders, (0, 0)], mode="symmetric")
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def judged_noise(recipe: Recipe) -> tuple[str, bool]:
    """Return the noise that held-out pictures get, empty where they are noisy already, and whether nobody tells it."""
    return recipe.validation_degradation or recipe.degradation, is_blind(recipe)


def read_held_out(items: Sequence[Item], store: PictureStore) -> None:
    """Read what is to be judged on before anything is learnt: one broken file must not end a training hours later.

    Raises PictureError, naming the file.
    """
    for item in items:
        store(item.clean)
        if item.noisy is not None:
            store(item.noisy)


def _open_degradation(recipe: Recipe) -> Degradation | None:
    spec, _ = judged_noise(recipe)
    return Degradation(spec) if spec else None


def _device(method: Any) -> torch.device:
    device: torch.device = next(next(iter(method.updaters.values())).network.parameters()).device
    return device


def _batch(pixels: NDArray[np.uint8], largest: int) -> Tensor:
    height, width = pixels.shape[:2]
    if largest:
        top, left = max(0, height - largest) // 2, max(0, width - largest) // 2
        pixels = pixels[top : top + largest, left : left + largest]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div(255)
