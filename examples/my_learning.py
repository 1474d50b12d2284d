"""A data set and a method of one's own: the sharper half of a folder, and learning to leave clean pictures alone.

hush train gaussian --set data.set=examples.my_learning:sharp --set data.root=PICTURES \
                    --set 'method=examples.my_learning:Careful(share=0.2)'
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hush.imaging.files import read
from hush.learning.config import Recipe
from hush.learning.datasets import DataSet, Item, list_pictures
from hush.learning.methods.supervised import Supervised, Task


def sharp(root: str | Path, *, share: float = 0.5) -> DataSet:
    """Learn from the share of a folder's pictures whose neighbouring pixels differ most; `hush` holds some out."""

    def steps(path: Path) -> float:
        return float(np.abs(np.diff(read(path).pixels.astype(np.float32), axis=1)).mean())

    paths = sorted(list_pictures(Path(root)), key=steps, reverse=True)
    kept = sorted(paths[: max(1, round(share * len(paths)))])
    return DataSet([Item(path.relative_to(root).as_posix(), path) for path in kept])


class Careful(Supervised):
    """Supervised learning that also asks the network to leave clean pictures as they are.

    Args:
        recipe: names the network, the degradation and the loss.
        device: where to compute.
        share: weight of what a clean picture loses.
    """

    def __init__(self, recipe: Recipe, device: torch.device, *, share: float = 0.1) -> None:
        super().__init__(recipe, device)
        self.share = share

    def try_task(self, task: Task, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and its terms: those of the recipe, and `harm`."""
        total, terms = super().try_task(task, rng)
        no_noise = None if task.sigma_map is None else torch.zeros_like(task.sigma_map)
        with self.autocast():
            kept = self.network(task.target, sigma_map=no_noise, label=task.label)
        harm = (kept.float() - task.target).abs().mean()
        return total + self.share * harm, {**terms, "harm": harm.detach()}
