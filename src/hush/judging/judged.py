"""What a run of a study gives on held-out pictures: a row of figures per picture, and a few pictures to look at."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hush.errors import RecipeError
from hush.imaging.metrics import psnr, sharpness, ssim, ssim_uniform, to_eight_bit
from hush.imaging.writing import whole
from hush.judging.metrics import open_metric
from hush.judging.plans import Evaluation
from hush.learning.checking import check_labels
from hush.learning.config import Recipe
from hush.learning.datasets import Item, Source, Squeezed, open_dataset, split
from hush.learning.devices import choose_device
from hush.learning.methods import restores
from hush.learning.networks import build_classifier, build_network
from hush.learning.noise import Degradation
from hush.learning.patches import PictureStore
from hush.learning.runs import open_saved
from hush.learning.updating import open_autocast
from hush.learning.validation import Views, as_image, classified, is_blind, open_views, sample
from hush.restoring.weights import UNTOLD

AT_ONCE = 32  # pictures of one shape, at most,
PIXELS_AT_ONCE = 2**20  # and not more pixels together, as every feature of the network takes as much memory
SHOWN = 4
LARGEST = 192  # pixels along a side of what is shown
METRICS: dict[str, Callable[..., float]] = {"psnr": psnr, "ssim": ssim, "ssim_uniform": ssim_uniform}
"""What is always measured."""
UNALIGNED: dict[str, Callable[..., float]] = {"sharpness": lambda seen, clean: sharpness(seen)}
"""What is measured where the clean view is another picture, pixel by pixel."""

Bytes = NDArray[np.uint8]
Image = NDArray[np.float32]
Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """One run under one evaluation."""

    rows: list[Row]
    """One per picture: image, scene and its figures; of a restorer also those of its input (``psnr_input``)."""
    samples: dict[str, Bytes]
    """noisy, restored and clean (N, H, W, C) of the first pictures; empty for a classifier."""


def open_judged_items(evaluation: Evaluation) -> Sequence[Item]:
    """Return the pictures of an evaluation: its data set's test split, else what the validation holds out.

    Raises UsageError or PictureError for data that are not there.
    """
    data = open_dataset(evaluation.data.set, evaluation.data.root)
    items = data.test or split(data, str(evaluation.data.validation)).test
    most = evaluation.pictures
    return items if not most or len(items) <= most else [items[i * len(items) // most] for i in range(most)]


def judge_run(
    folder: Path,
    weights: str,
    recipe: Recipe,
    evaluation: Evaluation,
    items: Sequence[Item],
    device: str = "auto",
    *,
    metrics: Sequence[str] = (),
    ensemble: bool = False,
) -> Judged:
    """Judge a finished run, or read what was found before on the same pictures.

    Args:
        folder: of the run; what is found is kept there.
        weights: last or best.
        recipe: of the run.
        evaluation: the noise.
        items: the pictures, as `open_judged_items` gives them.
        device: auto, cpu, cuda or mps.
        metrics: of restorers, beside those that are always measured.
        ensemble: judge the mean over eight views.

    Raises RecipeError if no picture is left to judge.
    """
    pictures = [[item.name, *(_content(view) for view in (item.clean, item.noisy))] for item in items]
    content = json.dumps(
        [asdict(evaluation), weights, pictures, is_blind(recipe), *metrics, *(["ensemble"] if ensemble else [])],
        sort_keys=True,
    )
    kept = folder / "judged" / f"{evaluation.name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}.npz"
    if not kept.exists():
        judges = METRICS | {name: open_metric(name) for name in metrics} if evaluation.aligned else UNALIGNED
        path = folder / f"{weights}.safetensors"
        _keep(kept, _judge(path, recipe, evaluation, items, choose_device(device), judges, ensemble))
    with np.load(kept, allow_pickle=False) as file:
        return Judged(json.loads(str(file["rows"])), {key: file[key] for key in file.files if key != "rows"})


def _content(view: Source | None) -> Any:
    """Return what changes with a view: of a file its size and time, of pixels a hash."""
    if isinstance(view, np.ndarray):
        return hashlib.blake2b(view.tobytes(), digest_size=8).hexdigest()
    path = view.path if isinstance(view, Squeezed) else view
    if not isinstance(path, Path):
        return repr(path)
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def _keep(path: Path, judged: Judged) -> None:
    """Write what was found, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    with whole(path) as temporary:
        np.savez_compressed(temporary, rows=np.array(json.dumps(judged.rows)), **judged.samples)  # type: ignore[arg-type]


def _judge(
    path: Path,
    recipe: Recipe,
    evaluation: Evaluation,
    items: Sequence[Item],
    device: torch.device,
    judges: Mapping[str, Callable[..., float]],
    ensemble: bool,
) -> Judged:
    restorer = restores(recipe.method)
    network, card = open_saved(path, build_network if restorer else build_classifier)
    check_labels(items, network.limits, recipe.network)  # type: ignore[arg-type]
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    autocast = open_autocast(device, recipe.precision)

    def run(*given: Tensor, **told: Tensor | None) -> Tensor:
        with autocast():  # around the network alone: the noise is to be the same in whatever precision
            return network(*given, **told)  # type: ignore[no-any-return]

    restore: Callable[..., Tensor] = Ensemble(run) if ensemble else run
    blind = restorer and card.sigma_map and is_blind(recipe)
    store = PictureStore(card.channels, evaluation.data.cache)
    rows: list[Row] = []
    shown: list[list[Image]] = []
    with torch.inference_mode():
        for group, views in _groups(items, evaluation, store):
            if restorer:
                if blind:
                    views = views._replace(sigma_map=torch.full_like(views.noisy[:, :1], UNTOLD))
                found = _restored(restore, views, device, judges)
            else:
                found = _classified(run, group, views, device)
            for item, (figures, pictures) in zip(group, found, strict=True):
                if figures.get("psnr_input", math.inf) < evaluation.least_input:
                    continue
                rows.append({"image": item.name, "scene": item.scene or item.name, **figures})
                if len(shown) < SHOWN and pictures:
                    shown.append(pictures)
    if not rows:
        raise RecipeError(
            f"evaluation {evaluation.name}: none of {len(items)} pictures has {evaluation.least_input:g} dB or more"
        )
    return Judged(rows, _samples(shown))


def _samples(shown: list[list[Image]]) -> dict[str, Bytes]:
    """Cut pictures to one size and round them."""
    if not shown:
        return {}
    side = min(LARGEST, max(shown[0][0].shape[:2]))
    rounded = [[np.rint(to_eight_bit(np.nan_to_num(sample(i, side))) * 255).astype(np.uint8) for i in s] for s in shown]
    return {
        key: np.stack(column)
        for key, column in zip(("noisy", "restored", "clean"), zip(*rounded, strict=True), strict=True)
    }


def _groups(items: Sequence[Item], evaluation: Evaluation, store: PictureStore) -> Iterator[tuple[list[Item], Views]]:
    """Yield neighbours of one shape as batches; each picture has noise of its own seed."""
    degradation = Degradation(evaluation.degradation) if evaluation.degradation else None
    group: list[tuple[Item, Views]] = []
    for number, item in enumerate(items):
        views = open_views(item, evaluation.seed + number, degradation, store, aligned=evaluation.aligned)
        if evaluation.clip:
            views = views._replace(noisy=views.noisy.clamp(0, 1))
        most = min(AT_ONCE, max(1, PIXELS_AT_ONCE // views.clean[0, 0].numel()))
        if group and (len(group) == most or _shapes(group[0][1]) != _shapes(views)):
            yield _joined(group)
            group = []
        group.append((item, views))
    if group:
        yield _joined(group)


def _shapes(views: Views) -> tuple[torch.Size, torch.Size]:
    return views.clean.shape, views.noisy.shape  # which differ where views are not aligned


def _joined(group: list[tuple[Item, Views]]) -> tuple[list[Item], Views]:
    columns = zip(*(views for _, views in group), strict=True)
    batch = Views(*(None if column[0] is None else torch.cat(column) for column in columns))  # type: ignore[arg-type]
    return [item for item, _ in group], batch


class Ensemble:
    """Geometric self-ensemble: the mean over the eight turned and mirrored views of a batch (N, C, H, W).

    Timofte, Rothe, Van Gool, Seven Ways to Improve Example-Based Single Image Super Resolution, CVPR 2016.
    """

    def __init__(self, network: Callable[..., Tensor]) -> None:
        self.network = network

    def __call__(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Restore a batch."""
        total = torch.zeros_like(noisy, dtype=torch.float32)
        for quarters, mirrored in itertools.product(range(4), (False, True)):
            seen = None if sigma_map is None else _turn(sigma_map, quarters, mirrored)
            restored = self.network(_turn(noisy, quarters, mirrored), sigma_map=seen, label=label).float()
            restored = restored.rot90(-quarters, (-2, -1))
            total += restored.flip(-1) if mirrored else restored
        return total / 8


def _turn(batch: Tensor, quarters: int, mirrored: bool) -> Tensor:
    return (batch.flip(-1) if mirrored else batch).rot90(quarters, (-2, -1))


def _restored(
    restore: Callable[..., Tensor], views: Views, device: torch.device, judges: Mapping[str, Callable[..., float]]
) -> Iterator[tuple[Row, list[Image]]]:
    """Yield figures of each restored picture, of its input, and what there is to see."""
    given = views.to(device)
    noisy = given.noisy.contiguous(memory_format=torch.channels_last)
    restored = restore(noisy, sigma_map=given.sigma_map, label=given.label).float().cpu()
    for i in range(len(restored)):
        noisy_image, image, clean = (as_image(batch[i : i + 1]) for batch in (views.noisy, restored, views.clean))
        figures: Row = {}
        for suffix, judged in (("", image), ("_input", noisy_image)):
            seen = to_eight_bit(judged)
            finite = np.isfinite(judged).all()
            figures |= {name + suffix: float(m(seen, clean)) if finite else float("nan") for name, m in judges.items()}
        yield figures, [noisy_image, image, clean]


def _classified(
    network: Callable[..., Tensor], group: Sequence[Item], views: Views, device: torch.device
) -> Iterator[tuple[Row, list[Image]]]:
    """Yield whether each picture is named rightly, and its cross-entropy."""
    if views.label is None:
        raise RecipeError(f"{group[0].name} has no label; a classifier is judged on labelled pictures")
    scores = network(views.noisy.to(device)).float().cpu()
    for figures in classified(scores, views.label):
        yield figures, []
