"""Restore a picture window by window, be it an array or a file too large for memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError
from hush.imaging.arrays import Range, check_array, check_finite, decode, encode, shown
from hush.imaging.formats.conversion import orientation_of
from hush.imaging.formats.picture import Picture
from hush.imaging.gaps import bridge, find_gaps, present, without_gaps
from hush.imaging.layouts import Layout
from hush.imaging.ranges import value_range
from hush.imaging.tiles import Tile, cut, run_blocks
from hush.imaging.windows import ArrayWindows, FileWindows, Windows
from hush.restoring.controls import CONTEXT, control
from hush.restoring.masks import Mask, open_mask, open_mask_of
from hush.restoring.memory import allowed, resident
from hush.restoring.options import DenoiseOptions
from hush.restoring.restorers import IMAGE_BYTES, ByNoise, Restorer, TellProgress, cheapest_tile, is_gray

if TYPE_CHECKING:
    from hush.imaging.estimation import NoiseEstimate

Image = NDArray[np.float32]

SMALL = 1 << 20  # pixels; a picture of no more is estimated and restored at once, without asking for memory
LARGEST_TILE = 4096  # pixels a side; of what any may be restored at once
SEAM = 64  # rows across the picture that two rows of tiles share, at most
SAMPLE = 512  # pixels a side of the windows by which the noise of a larger picture is estimated
STREAM = 64 * 2**20  # bytes that reading and writing a file in parts takes, whatever its size
STREAM_ROWS = 768  # rows of it that libvips and its threads hold
SAMPLES = 3  # of them down and across


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture at work: where its windows come from, and what its values mean."""

    windows: Windows
    full_scale: Range | None = None
    cmyk: bool = False
    mask: Mask | None = None
    nodata: float | None = None
    """The value of pixels that hold nothing."""
    multiplied: bool = False
    """Whether alpha is multiplied into the colours, which so are a picture by themselves, black where nothing is."""
    held: int = 0
    """Bytes of memory that are still to be taken beside the tiles."""
    held_per_row: int = 0
    """The same, for each row of a tile."""

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.windows.shape[0], self.windows.shape[1]

    def image(self, tile: Tile, *, judged: bool = False) -> Image:
        """Return a tile (h, w, C) of the image, without alpha; past the end it is mirrored."""
        part, gaps = self.part(tile)
        image, encoding = decode(part, full_scale=self.full_scale, cmyk=self.cmyk)
        if gaps is not None and not judged:
            image, gaps = bridge(image, gaps), None
        if judged or not self.multiplied:
            image = shown(image, encoding, gaps, judged=judged)
        return cut(image, Tile(0, 0, tile.height, tile.width))

    def kept(self, tile: Tile) -> NDArray[np.bool_] | None:
        """Return which pixels (h, w) of a tile stay as they are: gaps, and what is fully transparent; None if none."""
        part = self.windows.window(tile)
        gaps = find_gaps(part, self.nodata, cmyk=self.cmyk)
        if part.ndim == 3 and part.shape[2] in (2, 4) and not self.cmyk:
            hidden = part[..., -1] == 0
            return hidden if gaps is None else gaps | hidden
        return gaps

    def part(self, tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return a tile of the picture, and its gaps, which hold the middle of the range; None if it has none."""
        part = self.windows.window(tile)
        gaps = find_gaps(part, self.nodata, cmyk=self.cmyk)
        if gaps is None:
            return part, None
        assert self.full_scale is not None  # gaps are those of a file, whose range is looked for
        return without_gaps(part, gaps, self.full_scale), gaps

    def share(self, tile: Tile) -> Image | None:
        """Return what the mask says of a tile, (h, w) in [0, 1]; None without a mask."""
        return None if self.mask is None else self.mask.share(tile)


@dataclass
class Outcome:
    """What a restoration found."""

    sigma: float | None
    """The noise level that was told or found."""
    squares: float = 0.0
    """Sum of the squared changes, in full scale."""
    values: int = field(default=0)
    """Number of values that they were summed over."""
    remarks: tuple[str, ...] = ()
    """What is worth a word of the options: where they keep more or less than they seem to."""
    weights: str | None = None
    """What restored it, by name; None where strength is 0."""
    changed: bool = False
    """Whether any value came out other than it was, in the dtype of the pixels."""

    @property
    def psnr(self) -> float | None:
        """Return the PSNR of noisy against restored in dB; None if nothing was changed."""
        return float(10 * np.log10(self.values / self.squares)) if 0 < self.squares < math.inf else None


def restore_picture(
    picture: Picture,
    options: DenoiseOptions,
    restorer: Restorer,
    *,
    noise: NoiseEstimate | None = None,
    held: int = 0,
    progress: TellProgress | None = None,
) -> tuple[NDArray[Any], Outcome]:
    """Return the restored pixels of a picture of any kind, and what was found.

    ``noise`` is what is known of its noise already, ``held`` the bytes of memory that will be needed for writing it.
    """
    array, cmyk, nodata = picture.pixels, picture.cmyk, picture.nodata
    check_array(array, cmyk=cmyk)
    told = present(array, nodata, cmyk=cmyk)
    scale = value_range(told, options.range, picture.full_scale, cmyk=cmyk)
    mask = open_mask(options.mask, array.shape, orientation_of(picture))
    multiplied = _is_multiplied(picture)
    scene = Scene(ArrayWindows(array), scale, cmyk, mask, nodata, multiplied, held + array.nbytes)
    if options.strength == 0:
        check_finite(told)
        return array.copy(), Outcome(options.sigma)
    restored = np.empty_like(array)
    outcome = Outcome(None)
    for tile, part in restore_windows(scene, options, restorer, outcome, noise=noise, progress=progress):
        restored[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = part
    return restored, outcome


def find_noise(picture: Picture, scale: Range) -> NoiseEstimate:
    """Estimate the noise of a picture of any kind, whose value range is ``scale``."""
    return look_for_noise(Scene(ArrayWindows(picture.pixels), scale, picture.cmyk, nodata=picture.nodata))


def restore_windows(
    scene: Scene,
    options: DenoiseOptions,
    restorer: Restorer,
    outcome: Outcome,
    *,
    noise: NoiseEstimate | None = None,
    progress: TellProgress | None = None,
) -> Iterator[tuple[Tile, NDArray[Any]]]:
    """Yield the restored windows of a picture, row by row, in its own dtype; they do not overlap.

    ``outcome`` is filled in on the way. At strength 0, and where the mask is black, the input comes back bit for bit.
    """
    windows = scene.windows
    colour = len(windows.shape) == 3 and windows.shape[2] >= 3 and not scene.cmyk
    gray = colour and _is_gray(scene)
    if noise is None and options.sigma is None and restorer.needs_sigma:
        noise = look_for_noise(scene)
    if isinstance(restorer, ByNoise):
        restorer = restorer.suited(noise)
        noise = noise if restorer.needs_sigma else None
    outcome.weights = None if options.strength == 0 else restorer.weights
    told = options.sigma if restorer.takes_sigma else None
    outcome.sigma = told if noise is None else noise.told
    outcome.remarks = _remarks(scene, options, gray=gray or not (colour or scene.cmyk))
    if told != options.sigma and options.strength > 0:
        outcome.remarks += (f"{restorer.weights} takes no noise level, so --sigma makes no difference",)

    def restore(tile: Tile) -> Image:
        noisy, share = scene.image(tile), scene.share(tile)
        if options.strength == 0 or (share is not None and not share.any()):
            return noisy
        sigma = options.sigma if noise is None else noise.level(noisy)
        restored = control(noisy, restorer(noisy, sigma, gray=gray), options, share)
        change, kept = restored - noisy, scene.kept(tile)
        if kept is not None:
            change = change[: len(kept), : kept.shape[1]][~kept]
        outcome.squares += float(np.square(change, dtype=np.float64).sum())
        outcome.values += change.size
        return restored

    overlap = restorer.overlap + (CONTEXT if options.keep_detail > 0 or options.keep_grain > 0 else 0)
    side = _tile(scene, options, restorer, overlap)
    blocks = run_blocks(*scene.size, restore, tile=side, overlap=overlap, align=restorer.align, progress=progress)
    for top, left, block in blocks:
        tile = Tile(top, left, *block.shape[:2])
        part = _encoded(block, scene, tile, options)
        outcome.changed = outcome.changed or not np.array_equal(
            part, windows.window(tile), equal_nan=part.dtype.kind == "f"
        )
        yield tile, part


def _remarks(scene: Scene, options: DenoiseOptions, *, gray: bool) -> tuple[str, ...]:
    """Return what is worth a word of the mask, and of luminance and colours where they are not apart."""
    if options.strength == 0:
        return ()
    remarks = [scene.mask.remark] if scene.mask is not None and scene.mask.remark else []
    if scene.cmyk and options.only != "all":
        kept = "restores them whole" if options.only == "luma" else "leaves them as they are"
        remarks.append(f"inks (CMYK) have no luminance and colour apart, so --only-{options.only} {kept}")
    elif options.only == "chroma" and (options.keep_detail or options.keep_grain):
        remarks.append("--only-chroma keeps all texture and grain, so --keep-detail and --keep-grain do nothing more")
    elif gray and options.only == "chroma":
        remarks.append("gray pictures have no colour noise, so --only-chroma leaves them as they are")
    return tuple(remarks)


def _encoded(block: Image, scene: Scene, tile: Tile, options: DenoiseOptions) -> NDArray[Any]:
    """Turn a block of the restored image into the picture's dtype; what was not to change is taken from the picture."""
    part = scene.windows.window(tile)
    if options.strength == 0:
        return part
    _, encoding = decode(np.zeros_like(part[:1, :1]), full_scale=scene.full_scale, cmyk=scene.cmyk)
    alpha = None if encoding.alpha is None else part[..., -1]
    array = encode(block, replace(encoding, alpha=alpha))
    if scene.multiplied and array.dtype.kind == "u":  # divided by alpha, light beyond it would be many times as bright
        colours = array[..., :-1]
        np.minimum(colours, np.maximum(array[..., -1:], part[..., :-1]), out=colours)
    share = scene.share(tile)
    new_gaps = find_gaps(array, scene.nodata, cmyk=scene.cmyk)  # values that happen to come out as nodata
    for kept in (None if share is None else share == 0, scene.kept(tile), new_gaps):
        if kept is not None:
            array[kept] = part[kept]
    return array


def scene_of(layout: Layout, options: DenoiseOptions) -> Scene:
    """Open a file as a scene that is restored window by window."""
    windows = FileWindows(layout)
    picture = layout.picture
    mask = open_mask_of(layout, options.mask)
    held = STREAM + STREAM_ROWS * layout.row_bytes
    multiplied = _is_multiplied(picture)
    scene = Scene(windows, None, picture.cmyk, mask, picture.nodata, multiplied, held, 3 * layout.row_bytes)
    told = _values(scene)
    return replace(scene, full_scale=value_range(told, options.range, picture.full_scale, cmyk=picture.cmyk))


def _is_multiplied(picture: Picture) -> bool:
    return bool(getattr(picture.coding, "multiplied", False))


def _values(scene: Scene) -> NDArray[Any]:
    """Return values of a file, (1, N) or (1, N, C), that tell its range: windows from all over it.

    Of more than 8 bits also the least and the largest value, which may lie anywhere.
    """
    windows, (height, width) = scene.windows, scene.size
    sample = np.concatenate(list(_sampled(scene, lambda tile: windows.window(tile).copy())))
    told = present(sample, scene.nodata, cmyk=scene.cmyk)
    told = told.reshape(1, -1, *told.shape[2:])
    if told.dtype.itemsize == 1:
        return told
    extremes = []
    for top in range(0, height, 256):
        rows = windows.window(Tile(top, 0, 256, width))
        gaps = find_gaps(rows, scene.nodata, cmyk=scene.cmyk)
        if gaps is None or not gaps.all():
            there = present(rows, scene.nodata, cmyk=scene.cmyk)
            extremes += [there.min(axis=(0, 1)), there.max(axis=(0, 1))]
    return np.concatenate([told, np.stack(extremes)[np.newaxis]], axis=1) if extremes else told


def _is_gray(scene: Scene) -> bool:
    """Say whether all colours of a picture are equal, as they are of few that are stored in three channels."""
    height, width = scene.size
    return all(is_gray(scene.part(Tile(top, 0, 256, width))[0][..., :3]) for top in range(0, height, 256))


def look_for_noise(scene: Scene) -> NoiseEstimate:
    """Estimate the noise, of a large picture from windows of it."""
    from hush.imaging.estimation import estimate_noise

    return estimate_noise(_sample(scene))


def _sample(scene: Scene) -> Image:
    """Return the image, or of a large one windows from all over it, side by side."""
    height, width = scene.size
    if height * width <= SAMPLES**2 * SAMPLE**2:
        return scene.image(Tile(0, 0, height, width), judged=True)
    return np.concatenate(list(_sampled(scene, lambda tile: scene.image(tile, judged=True))))


def _sampled(scene: Scene, read: Callable[[Tile], NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield rows of windows from all over a picture."""
    height, width = scene.size
    for top in _spread(height):
        tiles = [Tile(top, left, min(SAMPLE, height), min(SAMPLE, width)) for left in _spread(width)]
        yield np.concatenate([read(tile) for tile in tiles], axis=1)


def _spread(size: int) -> list[int]:
    """Return where windows start along an axis."""
    last = max(0, size - SAMPLE)
    return sorted({last * i // (SAMPLES - 1) for i in range(SAMPLES)})


def _tile(scene: Scene, options: DenoiseOptions, restorer: Restorer, overlap: int) -> int:
    """Choose the side of tiles: the largest that memory allows, or a smaller one that leaves less to compute."""
    height, width = scene.size
    largest = restorer.tile or max(height, width)
    if options.max_memory is not None or height * width > SMALL:
        largest = min(largest, _affordable(scene, options, restorer, overlap))
    return cheapest_tile(height, width, largest, overlap, restorer.align)


def _affordable(scene: Scene, options: DenoiseOptions, restorer: Restorer, overlap: int) -> int:
    """Return the largest side of tiles whose work fits into the memory that is allowed.

    Raises PictureError if not even the smallest does.
    """
    per_pixel, beside = restorer.memory()
    per_pixel += 4 * IMAGE_BYTES  # the tile, restored, weighed and encoded
    height, width = scene.size
    left = allowed(options.max_memory) - resident() - beside - scene.held - SEAM * width * IMAGE_BYTES
    step = math.lcm(restorer.align, 16)
    most = min(restorer.tile or LARGEST_TILE, LARGEST_TILE)
    sides = range(most, 2 * overlap + step - 1, -step) or [most]  # which is too small, as whoever plans tiles will say
    for side in sides:
        if min(side, height) * (min(side, width) * per_pixel + scene.held_per_row) <= left:
            return side
    least = min(sides[-1], height) * (min(sides[-1], width) * per_pixel + scene.held_per_row)
    other = ", or save it as TIFF" if height * width > SMALL else ""
    raise PictureError(
        f"memory lacks {max(1, (least - left) >> 20)} MB even for small tiles. Allow more with --max-memory{other}"
    )
