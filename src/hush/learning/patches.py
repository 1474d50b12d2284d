"""Training patches: pictures decoded once and kept as bytes, patches cut from them, batches prepared ahead.

The network is to be the limit, so nothing here costs much: a patch is one copy out of memory.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hush.errors import PictureError, RecipeError
from hush.imaging.arrays import decode, luminance, to_bytes
from hush.imaging.files import Picture, read
from hush.learning.config import DataConfig
from hush.learning.datasets import Batch, Frozen, Item, Source, Squeezed
from hush.learning.dead_leaves import drawing
from hush.learning.noise import Degradation
from hush.restoring.machine import cores

Bytes = NDArray[np.uint8]
Pixels = NDArray[Any]
"""(H, W, C): bytes, or float16 with 1 as full scale where noise is frozen, which bytes would clip."""


class PictureStore:
    """Pictures as bytes (H, W, channels), kept in memory up to a limit. Threads may share it.

    Pictures of more than 8 bits are rounded to 8. The rounding (deviation 0.3 of 255) is lost in any noise worth
    removing: beside sigma 5 it is a 300th of the variance, and as an error of the clean picture it lies at 59 dB.
    In return twice as many pictures fit into memory.
    """

    def __init__(self, channels: int, megabytes: int) -> None:
        self.channels = channels
        self.free = megabytes * 2**20
        self._kept: dict[Source, Pixels] = {}
        self._lock = threading.Lock()

    def __call__(self, source: Source) -> Pixels:
        """Return the pixels of a source. Raises PictureError, naming the file, if it cannot be read."""
        if isinstance(source, np.ndarray):
            return self._with_channels(source)
        if source in self._kept:
            return self._kept[source]
        # reading stands outside the lock: threads decode side by side
        if isinstance(source, Frozen):
            return self._keep(source, _degrade_once(self(source.clean), source))
        return self._keep(source, self._with_channels(read_source(source)))

    def _keep(self, source: Source, pixels: Pixels) -> Pixels:
        """Keep what fits, for good: as an epoch visits each picture once, dropping the oldest would keep none."""
        with self._lock:
            if source not in self._kept and pixels.nbytes <= self.free:
                self._kept[source] = pixels
                self.free -= pixels.nbytes
        return pixels

    def _with_channels(self, pixels: Bytes) -> Bytes:
        if pixels.shape[2] == self.channels:
            return pixels
        return np.repeat(pixels, self.channels, axis=2) if pixels.shape[2] == 1 else to_gray(pixels)


def check_aligned(item: Item, clean: Pixels, noisy: Pixels) -> None:
    """Raise PictureError for a pair whose views are not of one size."""
    if clean.shape != noisy.shape:
        sizes = " and ".join(f"{view.shape[1]}x{view.shape[0]}" for view in (clean, noisy))
        raise PictureError(f"{item.name}: clean and noisy are {sizes} pixels; the views of a pair are aligned")


def read_source(source: Path | Squeezed) -> Bytes:
    """Read a file as bytes (H, W, 1 or 3): alpha dropped, 8 bits.

    Raises PictureError, naming the file, if it cannot be read or 8 bits cannot hold it.
    """
    path = source.path if isinstance(source, Squeezed) else source
    picture = read(path)
    try:
        pixels = _to_bytes(picture)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    return _squeeze(pixels, source.size) if isinstance(source, Squeezed) else pixels


def _degrade_once(pixels: Pixels, frozen: Frozen) -> Pixels:
    """Return a noisy view (H, W, C) in float16: its steps, 1/8 of an 8-bit level at full scale, are lost in noise."""
    clean = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div(255)
    noisy = Degradation(frozen.degradation)(clean, torch.Generator().manual_seed(frozen.seed)).noisy
    return noisy[0].permute(1, 2, 0).half().numpy()


def _to_bytes(picture: Picture) -> Bytes:
    pixels = picture.pixels
    if picture.cmyk:
        raise PictureError("CMYK; networks learn from gray and RGB pictures. Convert it first")
    whole = picture.full_scale is None  # not those of a Netpbm file that end at a maximum of its own
    if whole and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] in (1, 3):
        return pixels
    image, _ = decode(pixels, full_scale=picture.full_scale)
    top, mean = float(image.max()), float(image.mean())
    if pixels.dtype.itemsize > 1 and (0 < top < 1 / 16 or mean > 1):
        raise PictureError(
            f"its brightest value is {top:.3g} of full scale 1, its mean {mean:.3g}: the 8 bits that are kept in "
            "training would not hold it. Bring its values into the whole range of its type first (floats: 0 to 1)"
        )
    return to_bytes(image)


def _squeeze(pixels: Bytes, size: int) -> Bytes:
    """Average areas down (or repeat pixels up) to (size, size, C)."""
    from PIL import Image

    planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BOX) for plane in np.moveaxis(pixels, 2, 0)]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def to_gray(pixels: Bytes) -> Bytes:
    """Return the luminance (H, W, 1), rounded, with the weights of ITU-R BT.601 as BSD68 was made from CBSD68."""
    return np.rint(luminance(pixels.astype(np.float32))).astype(np.uint8)[..., None]


class Patches:
    """Batches of training patches; part ``part`` of the batch of ``step`` is a pure function of seed, step and part.

    So a resumed training sees what the unbroken one would have seen, and two processes with half the batch each see
    what one process sees in two parts, or in one.

    Args:
        items: what to learn from; an epoch visits each once, in a new order.
        config: says how patches are cut, turned and made gray.
        channels: 1 or 3, as the network takes.
        seed: of order, place, turn and gray.
        size: patches in a part; it divides ``config.batch``.
    """

    def __init__(self, items: Sequence[Item], config: DataConfig, channels: int, seed: int, size: int) -> None:
        if not items:
            raise RecipeError("no picture to learn from; data.root names none, or all are held out")
        if size < 1 or config.batch % size or config.patch < 0:
            raise RecipeError(f"data.batch {config.batch} in parts of {size}, data.patch {config.patch}: wrong sizes")
        self.items, self.config, self.channels, self.seed, self.size = items, config, channels, seed, size
        self.store = PictureStore(channels, config.cache)
        self.labelled = all(item.label is not None for item in items)
        self.mixed = any(item.finished for item in items)
        self.paired = self.mixed or all(item.noisy is not None for item in items)
        self.undrawn = "pictures with labels are not drawn" if self.labelled else ""
        if all(item.noisy is not None for item in items):
            self.undrawn = "pairs are not drawn"
        self._clean = [item for item in items if item.noisy is None and not item.finished]
        self._order = functools.lru_cache(maxsize=2)(self._shuffle)  # two: a part may reach into the next epoch

    def __call__(self, step: int, part: int) -> Batch:
        """Cut part number ``part`` (of ``size`` patches) of the batch of a step.

        Raises PictureError for a picture that cannot be read, or for views of a scene that differ in size.
        """
        first = part * self.size
        draws = np.random.default_rng([self.seed, 1, step]).random((self.config.batch, 4))[first : first + self.size]
        items = [self._item(step * self.config.batch + first + i) for i in range(self.size)]
        grays = draws[:, 3] < (self.config.gray if self.channels == 3 else 0)
        early = self.config.early_patch and step < self.config.early_steps
        side = min(self.config.patch, self.config.early_patch) if early else self.config.patch
        part_of_batch = slice(first, first + self.size)
        factors, grafts = self._shrinking(step)[part_of_batch], self._grafting(step)[part_of_batch]
        drawn, enlarged = self._drawing(step)[part_of_batch], self.config.enlarge ** grafts[:, 5]
        samples: list[list[Pixels]] = []
        for i, item in enumerate(items):
            if drawn[i] and item.noisy is None:
                samples.append(self._draw(step, first + i, side, grays[i]))
            elif item.finished and grafts[i, 0] < self.config.grafted and self._clean and side:
                clean = self._clean[int(grafts[i, 1] * len(self._clean))]
                picture = self._cut(clean, side, factors[i] / enlarged[i], draws[i], grays[i])[0]
                samples.append(_graft(picture, *self._cut(item, side, 1, grafts[i, 2:5], grays[i])))
            else:
                samples.append(self._cut(item, side, factors[i], draws[i], grays[i]))
        views = [self._stack(items, [sample[i] for sample in samples]) for i in range(1 + self.paired)]
        return Batch(
            clean=views[0],
            noisy=views[1] if self.paired else None,
            label=torch.tensor([item.label for item in items]) if self.labelled else None,
            gray=torch.from_numpy(grays) if grays.any() else None,
            finished=torch.tensor([item.finished for item in items]) if self.mixed else None,
        )

    def _drawing(self, step: int) -> NDArray[np.bool_]:
        """Draw which patches are drawn, not cut; none in the place of whole pictures or of those with labels."""
        share = self.config.drawn if self.config.patch and not self.labelled else 0.0
        return np.random.default_rng([self.seed, 5, step]).random(self.config.batch) < share

    def _draw(self, step: int, number: int, side: int, gray: bool) -> list[Pixels]:
        view = drawing(np.random.default_rng([self.seed, 6, step, number]), side)
        view = np.repeat(to_gray(view), self.channels, axis=2) if gray or self.channels == 1 else view
        return [view] * (1 + self.paired)

    def _shrinking(self, step: int) -> NDArray[np.float64]:
        """Draw by how much each patch of a step is shrunk: half of them not at all, the logarithms of others evenly."""
        draws = np.random.default_rng([self.seed, 4, step]).random(self.config.batch)
        return np.maximum(1, self.config.shrink ** (2 * draws - 1))

    def _grafting(self, step: int) -> NDArray[np.float64]:
        """Draw for each patch of a step whether it is grafted, on what, how its noise is cut, and how near that is."""
        return np.random.default_rng([self.seed, 7, step]).random((self.config.batch, 6))

    def _item(self, number: int) -> Item:
        epoch, place = divmod(number, len(self.items))
        return self.items[self._order(epoch)[place]]

    def _shuffle(self, epoch: int) -> NDArray[np.intp]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.items))

    def _cut(self, item: Item, side: int, factor: float, draws: NDArray[np.float64], gray: bool) -> list[Pixels]:
        """Cut, shrink by a factor, turn and perhaps gray the same square of each view, by three numbers in [0, 1)."""
        views = [self.store(item.clean)]
        if self.paired:  # of a mixture some are clean only, and are degraded later
            views.append(views[0] if item.noisy is None else self.store(item.noisy))
            check_aligned(item, *views)
        if side:
            largest = 1 if item.finished else max(1, min(views[0].shape[:2]) / side)
            taken = max(1, round(side * min(factor, largest)))
            views = [_resize(view, side) for view in _crop(views, taken, draws[0], draws[1])]
        if self.config.augment:
            way = int(draws[2] * 8)
            views = _turn(views, way // 4 * 4 if self.config.augment == "mirror" else way)
        return [np.repeat(to_gray(view), 3, axis=2) for view in views] if gray else views

    def _stack(self, items: Sequence[Item], views: Sequence[Pixels]) -> Tensor:
        """Stack (H, W, C) to (N, C, H, W), laid out channels_last in memory."""
        batch = np.empty((len(views), *views[0].shape), views[0].dtype)
        for item, place, view in zip(items, batch, views, strict=True):
            if place.shape != view.shape:
                raise RecipeError(
                    f"{items[0].name} and {item.name} differ in size, and data.patch = 0 takes whole pictures of one "
                    "size. Set data.patch to a side in pixels, such as 128"
                )
            for channel in range(place.shape[2]):  # by planes: six times faster than whole pixels, once turned
                place[..., channel] = view[..., channel]
        return torch.from_numpy(batch).permute(0, 3, 1, 2)


def _crop(views: list[Pixels], patch: int, down: float, across: float) -> list[Pixels]:
    """Cut the same square from each view, at shares of the way; views smaller than it are mirrored outwards."""
    height, width = views[0].shape[:2]
    if height < patch or width < patch:
        borders = ((0, max(0, patch - height)), (0, max(0, patch - width)), (0, 0))
        views = [np.pad(view, borders, mode="symmetric") for view in views]
        height, width = views[0].shape[:2]
    top, left = int(down * (height - patch + 1)), int(across * (width - patch + 1))
    return [view[top : top + patch, left : left + patch] for view in views]


def _graft(picture: Pixels, clean: Pixels, noisy: Pixels) -> list[Pixels]:
    """Return a picture, and the same with what tells the noisy from the clean view of something else.

    By how much the views differ on average is left out: that is their exposures, not their noise.
    """
    noise = noisy.astype(np.int16) - clean
    noise -= np.rint(noise.mean((0, 1))).astype(np.int16)
    return [picture, np.clip(picture + noise, 0, 255).astype(np.uint8)]


def _resize(pixels: Pixels, side: int) -> Pixels:
    """Make a square (side, side, C) by bicubic interpolation, where it shrinks over the area that a pixel covers."""
    if len(pixels) == side:
        return pixels
    from PIL import Image

    kind = np.uint8 if pixels.dtype == np.uint8 else np.float32
    planes = [np.asarray(plane, kind, order="C") for plane in np.moveaxis(pixels, 2, 0)]
    resized = [Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC) for plane in planes]
    return np.stack([np.asarray(plane) for plane in resized], axis=2).astype(pixels.dtype, copy=False)


def _turn(views: list[Pixels], way: int) -> list[Pixels]:
    """Turn by quarter turns and mirror: eight ways for squares, the four that keep the shape for other pictures."""
    height, width = views[0].shape[:2]
    quarters = way % 4 if height == width else way % 4 // 2 * 2
    turned = [np.rot90(view, quarters) for view in views] if quarters else views
    return [view[:, ::-1] for view in turned] if way >= 4 else turned


class Ahead:
    """Prepare batches in threads while the network works; count the seconds spent waiting for them.

    Args:
        make: called with each (step, part).
        steps: what to prepare; batches come in this order, however many threads there are.
        depth: batches to be ready or in work, at the least.
        workers: threads; None for one per core, shared by the processes that torchrun started here, at most 16.
    """

    def __init__(
        self,
        make: Callable[[int, int], Batch],
        steps: Iterator[tuple[int, int]],
        depth: int = 4,
        workers: int | None = None,
    ) -> None:
        self.waited = 0.0
        self._make, self._steps = make, steps
        workers = workers or _spare_threads()
        self._pool = ThreadPoolExecutor(workers, "hush-data")
        self._pending: deque[Future[Batch]] = deque()
        for _ in range(max(depth, workers + 1)):
            self._submit()

    def _submit(self) -> None:
        for step, part in self._steps:
            self._pending.append(self._pool.submit(self._make, step, part))
            return

    def __next__(self) -> Batch:
        """Return the next batch; raise here what went wrong in its thread."""
        if not self._pending:
            raise StopIteration
        started = time.perf_counter()
        batch = self._pending.popleft().result()
        self.waited += time.perf_counter() - started
        self._submit()
        return batch

    def close(self) -> None:
        """Stop preparing."""
        self._pool.shutdown(cancel_futures=True)


def _spare_threads() -> int:
    return max(1, min(16, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
