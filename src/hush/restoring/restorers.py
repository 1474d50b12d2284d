"""What restores an image: a network's weights in some runtime, a classical method, or the identity."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hush.errors import UsageError
from hush.imaging.tiles import plan_tiles, run_tiled
from hush.names import find
from hush.restoring.classical import CLASSICAL
from hush.restoring.memory import highest, resident
from hush.restoring.runtimes import Batch, Runtime, find_runtime, open_runtime, side_by_side
from hush.restoring.tiers import AUTO, Ensemble, choose_weights
from hush.restoring.weights import UNTOLD, open_weights, split_bare

if TYPE_CHECKING:
    from hush.imaging.estimation import NoiseEstimate

Image = NDArray[np.float32]
Sigma = float | NDArray[np.floating[Any]]
TellProgress = Callable[[int, int], None]

TILE = 1280  # pixels a side; larger ones are no faster, and take 170 MB (bf16) or 270 MB (f32) per megapixel
IMAGE_BYTES = 12  # of a pixel: three numbers of float32
CLASSICAL_BYTES = 200  # for each pixel: TV, the largest, took 170 on 1 megapixel
NETWORK_BYTES = 350  # where it cannot be measured; 227 (bf16) and 325 (f32) were measured for the shipped weights
SEEN = 4.0  # sigma from which on white noise is for weights that know it alone; fine texture may pass for less
GRAY_LEVEL = 1.63  # what colour weights are told of gray pictures, per sigma; see NetworkRestorer
BARE = "hush.learning.torch_runtime:open_bare"  # opens arrays that have no ONNX form


class Restorer(Protocol):
    """What restores an image."""

    weights: str
    """What it is called: the name of weights, or of a method."""
    needs_sigma: bool
    """Whether it must be told the noise level; where nobody knows it, it is estimated."""
    takes_sigma: bool
    """Whether a noise level that is told makes a difference to it."""
    overlap: int
    """Pixels of context that tiles need so that no seam shows."""
    align: int
    """Pixels: tiles start at multiples of it."""
    tile: int | None
    """Largest side in pixels that is restored at once; None if any may be."""

    @property
    def description(self) -> str:
        """What runs, where, in words."""
        ...

    def __call__(
        self,
        image: Image,
        sigma: Sigma | None = None,
        *,
        gray: bool | None = None,
        progress: TellProgress | None = None,
    ) -> Image:
        """Restore an image (H, W, C).

        ``sigma`` is on the 8-bit scale, one number or (H, W); None estimates it. ``gray`` says whether the channels of
        the whole picture are equal; None looks at the image.
        """
        ...

    def memory(self) -> tuple[int, int]:
        """Return the bytes of memory that restoring takes: for each pixel of a tile, and beside."""
        ...

    def side_by_side(self, count: int) -> Restorer | None:
        """Return what restores so many small images at once; None where one after another is as good."""
        ...


def open_restorer(
    weights: str | Path = "gaussian",
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    threads: int | None = None,
    quality: str = "balanced",
) -> Restorer:
    """Open weights, a classical method or the identity as a callable on images.

    Args are those of `denoise`. Raises UsageError, WeightsError or MissingExtra.
    """
    choice = choose_weights(os.fspath(weights), quality)
    weights = choice.weights
    if weights == AUTO:
        same: dict[str, Any] = {"runtime": runtime, "device": device, "precision": precision, "tile": tile}
        return ByNoise(lambda name: open_restorer(name, **same, threads=threads, quality=quality))
    method, colon, name = weights.partition(":")
    if weights == "identity" or (colon and method == "classical"):
        if runtime != "auto" or device not in ("auto", "cpu"):
            raise UsageError(f"{weights} is computed by NumPy on the processor; leave out --runtime and --device")
        return Classical(name) if colon else Identity()
    options: dict[str, Any] = {"device": device, "precision": precision, "threads": threads}
    if split_bare(weights) or weights.endswith(".safetensors"):
        if runtime not in ("auto", "torch"):
            raise UsageError(f"{weights} runs in torch only, not {runtime!r}; 'hush export' makes an ONNX file of it")
        runs: Runtime = find_runtime(BARE, weights)(weights, **options)
        ensemble = choice.ensemble
    else:
        found = open_weights(weights)
        runs = open_runtime(found, runtime=runtime, **options)
        ensemble = choice.ensemble or found.ensemble
    return NetworkRestorer(Ensemble(runs) if ensemble else runs, tile, weights=weights)


class Identity:
    """Return the noisy image: what every restorer must beat."""

    weights = "identity"
    needs_sigma = takes_sigma = False
    description = "identity"
    overlap = 0
    align = 1
    tile: int | None = None

    def __call__(
        self,
        image: Image,
        sigma: Sigma | None = None,
        *,
        gray: bool | None = None,
        progress: TellProgress | None = None,
    ) -> Image:
        """Return a copy of the image."""
        return image.copy()

    def memory(self) -> tuple[int, int]:
        """Return the bytes of memory that restoring takes: for each pixel of a tile, and beside."""
        return 3 * IMAGE_BYTES, 0

    def side_by_side(self, count: int) -> Restorer | None:
        """Return None: there is nothing to wait for."""
        return None


class Classical:
    """A classical method as a restorer.

    Raises UsageError for an unknown method.
    """

    needs_sigma = takes_sigma = True
    overlap = 64
    align = 16  # wavelets halve the picture four times at most
    tile: int | None = None

    def __init__(self, name: str) -> None:
        self._method = find(CLASSICAL, name, "classical method")
        self.weights = f"classical:{name}"
        self.description = f"classical {name}"

    def __call__(
        self,
        image: Image,
        sigma: Sigma | None = None,
        *,
        gray: bool | None = None,
        progress: TellProgress | None = None,
    ) -> Image:
        """Restore an image (H, W, C)."""
        level = float(np.mean(find_sigma(self, image, sigma)))  # type: ignore[arg-type]  # never None: it is needed
        return self._method(image, level) if level > 0 else image.copy()

    def memory(self) -> tuple[int, int]:
        """Return the bytes of memory that restoring takes: for each pixel of a tile, and beside."""
        return CLASSICAL_BYTES, 0

    def side_by_side(self, count: int) -> Restorer | None:
        """Return None: these libraries do not say that they may be called from several threads."""
        return None


class NetworkRestorer:
    """A runtime as a restorer of whole images, tile by tile.

    Where an image has other channels than the network, each channel is restored as a gray picture: a colour network
    gets it three times, and the mean of its answers is taken. Noise that is equal in three channels is as strong in
    the luminance as independent noise of sqrt(3) times its sigma, so a network that never learnt gray pictures is told
    a higher level. The best factor for FFDNet on gray training photographs was 1.6 to 1.65 at sigma 15, 25 and 50; with
    1 it loses 4 to 8 dB. A colour image whose three channels are equal is gray.

    Blind weights are told the level only if somebody says it; else they find it, for each place in the image.
    """

    def __init__(self, runtime: Runtime, tile: int | None = None, *, weights: str = "network") -> None:
        self.runtime = runtime
        self.weights = weights
        self.tile: int | None = tile or TILE
        self._per_pixel: int | None = None
        self._keeps = False
        self._largest = 0  # pixels that were run at once
        self.overlap = runtime.limits.overlap
        self.align = runtime.limits.multiple
        self.takes_sigma = runtime.limits.sigma_map
        self.needs_sigma = runtime.limits.sigma_map and not runtime.limits.blind

    @property
    def description(self) -> str:
        """Return what runs, where, in words."""
        return self.runtime.description

    def __call__(
        self,
        image: Image,
        sigma: Sigma | None = None,
        *,
        gray: bool | None = None,
        progress: TellProgress | None = None,
    ) -> Image:
        """Restore an image (H, W, C)."""
        _check_image(image)
        if image.shape[2] == 3 and (is_gray(image) if gray is None else gray):
            return np.repeat(self(image[..., :1], sigma, progress=progress), 3, axis=2)
        limits = self.runtime.limits
        told = find_sigma(self, image, sigma) if limits.sigma_map else None
        level = np.asarray(UNTOLD if told is None else np.asarray(told) / 255, np.float32)
        if not level.any():
            return image.copy()  # no noise, nothing to remove
        if told is not None and image.shape[2] != limits.channels == 3 and not limits.gray:
            level = level * np.float32(GRAY_LEVEL)
        if level.ndim == 0:
            return self._tiled(image, lambda window: self._restore(window, level), progress)
        if level.shape != image.shape[:2]:
            raise UsageError(f"sigma of shape {level.shape}; it must be one number or {image.shape[:2]}, as the image")

        def restore(window: Image) -> Image:
            return np.dstack([self._restore(window[..., :-1], window[..., -1]), window[..., -1:]])

        return self._tiled(np.dstack([image, level]), restore, progress)[..., :-1]  # the level is cut into tiles too

    def memory(self) -> tuple[int, int]:
        """Return the bytes of memory that restoring takes: for each pixel of a tile, and beside.

        Measured once, by running two tiles, where the machine tells what a process takes. What a runtime keeps from
        one tile to the next is there already, so it counts below zero.
        """
        if self._per_pixel is None:
            self._per_pixel, self._keeps = _measured_memory(self)
        return self._per_pixel, -self._per_pixel * self._largest if self._keeps else 0

    def side_by_side(self, count: int) -> NetworkRestorer | None:
        """Return what restores so many small images at once; None if the runtime knows no such thing."""
        runtime = side_by_side(self.runtime, count)
        return NetworkRestorer(runtime, self.tile, weights=self.weights) if runtime else None

    def _tiled(self, image: Image, function: Callable[[Image], Image], progress: TellProgress | None) -> Image:
        tile = cheapest_tile(image.shape[0], image.shape[1], self.tile or TILE, self.overlap, self.align)
        return run_tiled(image, function, tile=tile, overlap=self.overlap, align=self.align, progress=progress)

    def _restore(self, image: Image, level: NDArray[np.float32]) -> Image:
        height, width, channels = image.shape
        taken = self.runtime.limits.channels
        noisy: Batch = image.transpose(2, 0, 1)[np.newaxis]  # (1, C, H, W)
        if channels != taken:
            noisy = np.broadcast_to(noisy.swapaxes(0, 1), (channels, taken, height, width))
        sigma_map = np.broadcast_to(level, (len(noisy), 1, height, width)) if self.runtime.limits.sigma_map else None
        self._largest = max(self._largest, len(noisy) * height * width)
        restored = self.runtime(noisy, sigma_map)
        joined = restored[0] if channels == taken else restored.mean(axis=1)  # (C, H, W)
        return joined.transpose(1, 2, 0)


class ByNoise:
    """Restore each picture with the weights that suit its noise: what is done where nobody names weights.

    White noise that can be seen, and is alike in all channels or grows with brightness as counted light does, is for
    ``gaussian``; so is noise whose level is told. All else is for ``photo``: what cameras and codecs leave, and
    pictures that are nearly clean. See ``benchmarks/choice_of_weights.py``.

    Args:
        open_named: opens weights by their name; ``gaussian`` only when they are needed.
    """

    weights = AUTO
    needs_sigma = takes_sigma = True

    def __init__(self, open_named: Callable[[str], Restorer]) -> None:
        self._open = open_named
        self._opening = threading.Lock()  # pictures are looked at in several threads
        self._opened: Restorer | None = None
        self._photo = open_named("photo")
        self.overlap, self.align, self.tile = self._photo.overlap, self._photo.align, self._photo.tile

    @property
    def description(self) -> str:
        """Return what runs, where, in words."""
        return self._photo.description

    @property
    def _gaussian(self) -> Restorer:
        with self._opening:
            self._opened = self._opened or self._open("gaussian")
            return self._opened

    def suited(self, noise: NoiseEstimate | None) -> Restorer:
        """Return what restores a picture with such noise; None where its level is told."""
        if noise is None:
            return self._gaussian
        if noise.flat:  # nothing is to be restored
            return Identity()
        plain = noise.white and (noise.alike or noise.varies) and noise.sigma >= SEEN
        return self._gaussian if plain else self._photo

    def __call__(
        self,
        image: Image,
        sigma: Sigma | None = None,
        *,
        gray: bool | None = None,
        progress: TellProgress | None = None,
    ) -> Image:
        """Restore an image (H, W, C)."""
        _check_image(image)
        if sigma is not None:
            return self._gaussian(image, sigma, gray=gray, progress=progress)
        from hush.imaging.estimation import estimate_noise

        noise = estimate_noise(image)
        suited = self.suited(noise)
        return suited(image, noise.level(image) if suited.needs_sigma else None, gray=gray, progress=progress)

    def memory(self) -> tuple[int, int]:
        """Return the bytes of memory that restoring takes: for each pixel of a tile, and beside."""
        return self._photo.memory()

    def side_by_side(self, count: int) -> ByNoise | None:
        """Return what restores so many small images at once; None if the runtime knows no such thing."""
        photo = self._photo.side_by_side(count)
        if photo is None:
            return None
        return ByNoise(lambda name: photo if name == "photo" else self._gaussian.side_by_side(count) or self._gaussian)


def _measured_memory(restorer: NetworkRestorer) -> tuple[int, bool]:
    """Return the bytes that a restorer takes for each pixel of a tile, and whether it keeps them.

    Between 256 and 1280 pixels a side what OpenVINO takes is a straight line, within 5 %. It keeps all of it; torch
    gives it back, so that only the most that the process ever held tells.
    """
    channels, areas = restorer.runtime.limits.channels, (16**2, 256**2, 512**2)  # the first only to have it there
    held: list[int] = []
    for side in map(math.isqrt, areas):
        before = highest()
        restorer(np.zeros((side, side, channels), np.float32), 1.0 if restorer.needs_sigma else None, gray=False)
        held.append(max(resident(), highest() if highest() > before else 0))
    if not held[0]:  # not known on this system
        return NETWORK_BYTES, False
    slope = (held[2] - held[1]) / (areas[2] - areas[1])
    slope = min(max(slope, 3 * IMAGE_BYTES), 4 * NETWORK_BYTES)
    return round(slope), resident() - held[0] > slope * areas[2] / 2


def cheapest_tile(height: int, width: int, largest: int, overlap: int, align: int) -> int:
    """Return the side of tiles, no larger than allowed, that leaves the least to compute.

    With tiles of 1024, an image of 1100x1100 pixels would cost 3.5 times its area; with 608, 1.2 times.
    """
    if max(height, width) <= largest:
        return largest

    def cost(tile: int) -> int:
        tiles = plan_tiles(height, width, tile, overlap, align=align)
        return len(tiles) * tiles[0].height * tiles[0].width

    step = math.lcm(align, 16)
    smaller = range(largest - step, max(largest // 2, 2 * overlap + 2 * step), -step)
    return min((largest, *smaller), key=cost)


def _check_image(image: NDArray[Any]) -> None:
    """Raise UsageError for what is no image as restorers take it: `denoise` takes all other arrays."""
    if image.ndim != 3 or image.dtype.kind != "f":
        raise UsageError(
            f"an array of {image.dtype} {image.shape}; a restorer takes floats (H, W, C) in [0, 1]. hush.denoise takes "
            "integers and gray pictures (H, W) too"
        )


def is_gray(image: NDArray[Any]) -> bool:
    """Say whether all channels are equal, looking at few pixels first: most pictures show there that they are not."""
    return all((part == part[..., :1]).all() for part in (image[::16, ::16], image))


def find_sigma(restorer: Restorer, image: Image, sigma: Sigma | None) -> Sigma | None:
    """Return the noise level to tell a restorer: as given, estimated if None, and None where none is needed.

    What is estimated is a map (H, W) where the noise depends on brightness.
    """
    if sigma is None and restorer.needs_sigma:
        from hush.imaging.estimation import estimate_noise

        return estimate_noise(image).level(image)
    return sigma
