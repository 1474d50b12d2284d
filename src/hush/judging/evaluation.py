"""Is it any good? One row per picture, then means with intervals, by the protocol of the field.

Clean pictures are degraded with one seed per picture, all weights restore the same noisy pictures, and what comes
out is rounded to 8 bit and compared with the clean ones. All choices stand in the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import PictureError, UsageError, need
from hush.imaging.arrays import decode
from hush.imaging.files import read
from hush.imaging.metrics import to_eight_bit
from hush.judging.metrics import open_metric
from hush.judging.pictures import PAIRS, Block, JudgedData, JudgedPicture, Source, open_data
from hush.judging.protocol import Protocol
from hush.judging.results import GUARD, Report, Row
from hush.restoring.denoising import Restorer, open_restorer

Image = NDArray[np.float32]
Metric = Callable[[Image, Image], float]


def evaluate(
    weights: Sequence[str] | str,
    data: Sequence[str] | str,
    *,
    degradations: Sequence[str] | str = (),
    metrics: Sequence[str] | str = ("psnr", "ssim"),
    scenes: str | None = None,
    clip: bool = False,
    quantise: bool = False,
    seed: int = 0,
    sigma: str | float = "given",
    quality: str = "balanced",
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Judge weights on pictures.

    Args:
        weights: names, files, ``NETWORK@FILE``, ``identity`` or ``classical:METHOD``; differences are to the first.
        data: folders of clean pictures, which need degradations; ``pairs:NOISY,CLEAN``, two folders whose
            pictures carry the same names; or ``sidd:FOLDER``, the validation blocks of SIDD.
        degradations: chains of noises such as ``gaussian(sigma=25)``.
        metrics: names of metrics, or ``module:attribute``.
        scenes: regular expression with one group, searched in a picture's path below its folder; pictures for
            which the group is equal are of one scene, and intervals are drawn over scenes.
        clip: clip noisy pictures to [0, 1]; the field does not.
        quantise: round noisy pictures to 8 bit, which clips them too; the field does not.
        seed: of the noise; picture number i of a data set (from 0) is degraded with seed + i.
        sigma: given tells the restorer the true sigma where the degradation is Gaussian noise alone, auto lets it
            estimate, a number (8-bit scale) is told as it is.
        quality: fast, balanced or best: which tier of each family of weights.
        runtime: as in `hush.restoring.denoising.open_restorer`; so are device, precision and threads.
        device: where it runs.
        precision: what it computes in.
        threads: how many it may use.
        limit: take only the first so many pictures of each data set.
        progress: called with (done, total) after each restored picture.

    Raises UsageError for what is unknown or does not fit together, PictureError for pictures that are missing,
    broken or of different sizes, WeightsError for weights that do not run.

    Example:
        >>> report = evaluate("gaussian", "photos", degradations="gaussian(sigma=25)")  # doctest: +SKIP
        >>> report.summary[0]["psnr"], report.summary[0]["psnr_interval"]  # doctest: +SKIP
    """
    protocol = Protocol(_names(metrics, "metrics"), clip, quantise, seed, sigma, scenes, limit).checked()
    # PSNR whatever is asked for: that weights lose against their input must not go unseen
    judges = {name: open_metric(name) for name in (*protocol.metrics, GUARD)}
    sets = [open_data(name, scenes=scenes, limit=limit) for name in _names(data, "data")]
    chains = open_chains(degradations, sets)
    pairs = all(one.pairs for one in sets)
    if pairs and (clip or quantise):
        raise UsageError("clip and quantise are for noise that is added; the data are pairs. Leave them out")
    options: dict[str, Any] = {"runtime": runtime, "device": device, "precision": precision, "threads": threads}
    options["quality"] = quality
    restorers = {name: _Timed(open_restorer(name, **options)) for name in _names(weights, "weights")}
    total = len(restorers) * sum(len(s.pictures) * (1 if s.pairs else len(chains)) for s in sets)
    rows: list[Row] = []
    for case in cases(sets, chains, protocol):
        given = measure(case.noisy, case.clean, judges)
        for name, restorer in restorers.items():
            rows.append(_judge(case, name, restorer, judges, given))
            if progress is not None:
                progress(len(rows), total)
    descriptions = {name: restorer.description for name, restorer in restorers.items()}
    return Report.of(
        protocol.record(options, descriptions, pairs=pairs), protocol.metrics, _sorted(rows, sets, chains, restorers)
    )


@dataclass(frozen=True)
class Case:
    """A noisy picture to be restored."""

    data: str
    degradation: str
    """Empty where the data are pairs."""
    picture: JudgedPicture
    first: bool
    """Whether it is the first of its data set, on which restorers are warmed up."""
    clean: Image
    noisy: Image
    sigma: float | None
    """What the restorer is told; None: nothing."""


class _Timed:
    """A restorer and a clock: a call for a size of picture that is new to it is not timed."""

    def __init__(self, restorer: Restorer) -> None:
        self.restorer = restorer
        self.description = restorer.description
        self._known: set[tuple[int, ...]] = set()

    def __call__(self, noisy: Image, sigma: float | None, *, warm_up: bool) -> tuple[Image, float | None]:
        """Return the restored picture, and seconds or None; a warm-up runs a new size twice, so as to time it."""
        if warm_up and noisy.shape not in self._known:
            self.restorer(noisy, sigma)
            self._known.add(noisy.shape)
        started = time.perf_counter()
        restored = self.restorer(noisy, sigma)
        seconds = time.perf_counter() - started
        timed = noisy.shape in self._known
        self._known.add(noisy.shape)
        return restored, seconds if timed else None


def _names(given: Sequence[str] | str, kind: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(str(name) for name in given)
    if not names:
        raise UsageError(f"no {kind} given; name at least one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{kind}: {twice[0]} is given twice; once is enough")
    return names


def open_chains(degradations: Sequence[str] | str, sets: Sequence[JudgedData]) -> dict[str, Any]:
    """Read the degradations, and see that they go with the data."""
    folders = [s.name for s in sets if not s.pairs]
    if folders and not degradations:
        raise UsageError(
            f"{folders[0]}: clean pictures need a degradation, such as gaussian(sigma=25); "
            f"pictures that are noisy already are given as {PAIRS}NOISY,CLEAN"
        )
    if not folders and degradations:
        raise UsageError(f"{sets[0].name}: pairs are noisy already; leave the degradation out")
    if not folders:
        return {}
    need("torch", "train")
    from hush.learning.noise import Degradation

    return {name: Degradation(name) for name in _names(degradations, "degradations")}


def cases(sets: Sequence[JudgedData], chains: Mapping[str, Any], protocol: Protocol) -> Iterator[Case]:
    """Yield every noisy picture; each file is read once."""
    for source in sets:
        for number, picture in enumerate(source.pictures):
            clean = to_eight_bit(read_clean(picture.clean))
            for name, (noisy, true_sigma, target) in _degraded(picture, clean, chains, protocol.seed + number):
                if protocol.quantise:
                    noisy = to_eight_bit(noisy)
                elif protocol.clip:
                    noisy = noisy.clip(0, 1)
                yield Case(source.name, name, picture, number == 0, target, noisy, protocol.told(true_sigma))


def _degraded(
    picture: JudgedPicture, clean: Image, chains: Mapping[str, Any], seed: int
) -> Iterator[tuple[str, tuple[Image, float | None, Image]]]:
    """Yield the noisy views of a picture by degradation, with their sigma and what is true."""
    if picture.noisy is not None:
        yield "", (_read_noisy(picture, clean), None, clean)
        return
    for name, chain in chains.items():
        yield name, _degrade(clean, chain, seed)


def read_clean(source: Source) -> Image:
    """Read a clean picture as (H, W, C). Raises PictureError, naming it, if it cannot be read."""
    if isinstance(source, Block):
        return decode(source.pixels)[0]
    picture = read(source)
    try:
        return decode(picture.pixels, full_scale=picture.full_scale, cmyk=picture.cmyk)[0]
    except PictureError as error:
        raise PictureError(f"{source}: {error}") from error


def _read_noisy(picture: JudgedPicture, clean: Image) -> Image:
    assert picture.noisy is not None
    noisy = read_clean(picture.noisy)
    if noisy.shape != clean.shape:
        came, wanted = (
            f"{width}x{height} in {channels} channels" for height, width, channels in (noisy.shape, clean.shape)
        )
        raise PictureError(
            f"{picture.noisy} is {came}, {picture.clean} is {wanted}; the two views of a pair must agree"
        )
    return noisy


def _degrade(clean: Image, chain: Any, seed: int) -> tuple[Image, float | None, Image]:
    """Return the noisy picture, its sigma where it is Gaussian noise alone, and what is to be restored.

    On the processor whatever the device, so that the noise is the same everywhere.
    """
    import torch

    batch = torch.from_numpy(np.ascontiguousarray(clean.transpose(2, 0, 1)[None]))  # (1, C, H, W)
    noisy, sigma_map, target = chain(batch, torch.Generator().manual_seed(seed))
    # float32 has no more decimals
    sigma = None if sigma_map is None else round(float(sigma_map[0, 0, 0, 0]) * 255, 4)
    return _image(noisy), sigma, clean if target is None else to_eight_bit(_image(target))


def _image(batch: Any) -> Image:
    """Return the one picture of a batch (1, C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(batch[0].permute(1, 2, 0).numpy())


def _judge(case: Case, weights: str, restorer: _Timed, judges: Mapping[str, Metric], given: Mapping[str, float]) -> Row:
    """Restore a picture and measure it."""
    restored, seconds = restorer(case.noisy, case.sigma, warm_up=case.first)
    return row_of(case, weights, measure(restored, case.clean, judges), given, seconds)


def row_of(
    case: Case, weights: str, figures: Mapping[str, float], given: Mapping[str, float], seconds: float | None
) -> Row:
    """Return the row of a picture: what was restored by what, its figures, those of the noisy picture, and the time."""
    height, width = case.clean.shape[:2]
    return {
        "weights": weights,
        "data": case.data,
        "degradation": case.degradation,
        "image": case.picture.name,
        "scene": case.picture.scene,
        **figures,
        **{f"{name}_input": value for name, value in given.items()},
        "sigma": case.sigma,
        "seconds": seconds,
        "megapixels": height * width / 1e6,
    }


def measure(image: Image, clean: Image, judges: Mapping[str, Metric]) -> dict[str, float]:
    """Apply the metrics to an image as a viewer sees it; NaN if it is not finite, which would measure as perfect."""
    if not np.isfinite(image).all():
        return dict.fromkeys(judges, float("nan"))
    seen = to_eight_bit(image)
    return {name: float(judge(seen, clean)) for name, judge in judges.items()}


def _sorted(rows: list[Row], sets: Sequence[JudgedData], *orders: Mapping[str, Any]) -> list[Row]:
    """Order rows by data, degradation, weights and picture, each as it was given."""
    chains, weights = (list(order) for order in orders)
    places = [s.name for s in sets], ["", *chains], weights
    keys = "data", "degradation", "weights"
    return sorted(rows, key=lambda row: [place.index(row[key]) for key, place in zip(keys, places, strict=True)])
