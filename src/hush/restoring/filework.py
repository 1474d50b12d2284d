"""A picture file at work: its pages are restored one after the other, written, and summed up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hush.errors import PictureError
from hush.imaging.arrays import Range
from hush.imaging.files import Unchanged, copy, may_copy, write_pages, written_as
from hush.imaging.formats import FORMATS
from hush.imaging.gaps import present
from hush.imaging.ranges import value_range
from hush.restoring.options import DenoiseOptions
from hush.restoring.planning import FileResult
from hush.restoring.restorers import ByNoise, Restorer, TellProgress
from hush.restoring.working import Outcome, find_noise, restore_picture

if TYPE_CHECKING:
    from hush.imaging.estimation import NoiseEstimate
    from hush.imaging.formats.picture import Pages, Picture

DECODER = 48 * 2**20  # bytes that a process that reads holds beside its picture


@dataclass(frozen=True)
class Known:
    """What is known of a page before it is restored; None is looked for then."""

    scale: Range | None = None
    """Which values are black and white."""
    noise: NoiseEstimate | None = None
    restorer: Restorer | None = None
    """What restores it, where that goes by the noise."""

    @property
    def level(self) -> float:
        """How noisy it is at the finest, in the unit of the pixels, which all pages of a file share."""
        return 0.0 if self.noise is None or self.scale is None else self.noise.sigma * _span(self.scale)

    @property
    def told(self) -> float:
        """The noise level that weights are told, in the same unit."""
        return 0.0 if self.noise is None or self.scale is None else self.noise.told * _span(self.scale)

    def telling(self, told: float) -> Known:
        """Return the same where weights are told another level."""
        return replace(self, noise=self.noise.scaled(told / self.told)) if self.noise and self.told else self


class FileWork:
    """Restore the pages of a file, and remember what was found in them.

    Raises PictureError, with each page before it is restored, if the target's format does not hold it.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        like: Pages,
        options: DenoiseOptions,
        restorer: Restorer,
        progress: TellProgress | None = None,
        *,
        decoders: int = 0,
    ) -> None:
        """Prepare for a file ``like`` which the target will be; so many others are decoded meanwhile."""
        self.source, self.target, self._like = source, target, like
        self._options, self._restorer, self._progress = options, restorer, progress
        self._into = written_as(target, like)
        self._held = decoders * DECODER
        # times the bytes of a page: to write it; for each decoder a picture that is read, and two that wait
        self._copies = self._into.encoding + decoders * (FORMATS[like.format].decoding + 2)
        self._outcomes: list[Outcome] = []
        self._sizes: list[tuple[int, int]] = []

    def restore(self, pages: Pages | list[Picture], known: Iterable[Known] | None = None) -> Iterator[Picture]:
        """Yield each page restored; several are all looked at first, if they were not yet.

        A page that is no picture, but a mask of another one, stays as it is.
        """
        if known is None:
            known = self.look(pages) if len(pages) > 1 else repeat(Known())  # who restores the one will look
        for page, its in zip(pages, known, strict=False):
            height, width = page.size
            self._sizes.append((width, height))
            yield page if page.mask else self._restored(page, its)

    def write(self, restored: Iterable[Picture]) -> Path:
        """Write what was restored; a file of which no pixel changed is copied as it is."""
        if len(self._like) == 1:
            restored = list(restored)
        if isinstance(restored, list) and self._as_it_was():
            return copy(self.source, self.target, overwrite=self._options.overwrite)
        try:
            return write_pages(self.target, self._watched(restored), self._like, overwrite=self._options.overwrite)
        except Unchanged:
            return copy(self.source, self.target, overwrite=self._options.overwrite)

    def _watched(self, restored: Iterable[Picture]) -> Iterator[Picture]:
        """Pass on what was restored; raises Unchanged at the end, while a file of the target's name is still there."""
        yield from restored
        if self._as_it_was():
            raise Unchanged

    def _as_it_was(self) -> bool:
        """Say whether all that was restored is what it was, in the format that it had."""
        return not any(outcome.changed for outcome in self._outcomes) and may_copy(self.source, self.target, self._like)

    def result(self, seconds: float) -> FileResult:
        """Sum up: the noise level is the median of those of the pages."""
        sigmas = sorted(outcome.sigma for outcome in self._outcomes if outcome.sigma is not None)
        total = Outcome(
            (sigmas[(len(sigmas) - 1) // 2] + sigmas[len(sigmas) // 2]) / 2 if sigmas else None,
            sum(outcome.squares for outcome in self._outcomes),
            sum(outcome.values for outcome in self._outcomes),
        )
        megapixels = sum(width * height for width, height in self._sizes) / 1e6
        sizes = self._sizes
        remarks = tuple(dict.fromkeys(remark for outcome in self._outcomes for remark in outcome.remarks))
        weights = ", ".join(dict.fromkeys(outcome.weights for outcome in self._outcomes if outcome.weights)) or None
        return FileResult(
            self.source, self.target, total.sigma, seconds, megapixels, sizes[0], len(sizes), total.psnr, remarks,
            weights,
        )  # fmt: skip

    def _restored(self, page: Picture, known: Known) -> Picture:
        """Restore a page."""
        with _named(self.target):
            self._into.check_holds(page)
        restorer = known.restorer or self._restorer
        with _named(self.source):
            pixels, outcome = restore_picture(
                page if known.scale is None else replace(page, full_scale=known.scale),
                self._options,
                restorer,
                noise=known.noise if restorer.needs_sigma else None,
                held=self._held + self._copies * page.pixels.nbytes,
                progress=self._progress,
            )
        if getattr(page.coding, "transparent", False) and self._into.title == "NPY":
            outcome.remarks += ("the alpha of this OpenEXR stays behind: NPY takes the colours alone",)
        if page.pixels.dtype == np.uint16 and self._into.title == "AVIF" and page.format != "avif":
            outcome.remarks += ("AVIF holds 10 bits of these 16; a .png or .tif holds them all",)
        self._outcomes.append(outcome)
        return replace(page, pixels=pixels)

    def look(self, pages: Pages | list[Picture]) -> Iterable[Known]:
        """Find what is white in pages and how noisy they are, each by those around it, as far as it is not told."""
        if self._options.strength == 0:
            return repeat(Known())
        scales = self._whites(pages)
        if self._options.sigma is not None or not self._restorer.needs_sigma:
            return map(Known, scales)
        from hush.imaging.estimation import NO_NOISE

        found = [
            Known(1.0, NO_NOISE) if page.mask else self._noise(page, scale)
            for page, scale in zip(pages, scales, strict=False)
        ]
        if len(found) == 1:
            return found
        from hush.restoring.steadying import settled, steady

        levels = [known.level for known in found]
        kinds = [known.noise is not None and known.noise.white for known in found]
        if isinstance(self._restorer, ByNoise):
            restorers = [self._restorer.suited(known.noise) for known in found]
            kinds = [restorer.needs_sigma for restorer in restorers]
            suited = settled(kinds, levels)
            flat = [known.noise is not None and known.noise.flat for known in found]  # these stay as they are
            by_kind = {kind: own for kind, own, none in zip(kinds, restorers, flat, strict=True) if not none}
            found = [
                replace(known, restorer=own if none else by_kind.get(kind, own))
                for known, own, kind, none in zip(found, restorers, suited, flat, strict=True)
            ]
        told = steady([known.told for known in found], levels, kinds)
        return [known.telling(level) for known, level in zip(found, told, strict=True)]

    def _whites(self, pages: Pages | list[Picture]) -> Iterable[Range | None]:
        """Return what is white in each of several pages of 16 bits; None where a page tells it by itself."""
        if len(pages) == 1 or self._options.range != "auto":
            return repeat(None)
        from hush.restoring.steadying import alike_whites

        whites: list[float | None] = []
        for page in pages:
            if page.mask:
                whites.append(None)
                continue
            if page.pixels.dtype != np.uint16 or page.full_scale is not None or page.cmyk:
                return repeat(None)
            whites.append(_span(value_range(present(page.pixels, page.nodata))))
        alike = iter(alike_whites([white for white in whites if white is not None]))
        return [None if white is None else next(alike) for white in whites]

    def _noise(self, page: Picture, scale: Range | None) -> Known:
        """Find how noisy a page is."""
        with _named(self.source):
            told = present(page.pixels, page.nodata, cmyk=page.cmyk)
            scale = scale or value_range(told, self._options.range, page.full_scale, cmyk=page.cmyk)
            return Known(scale, find_noise(page, scale))


def _span(scale: Range) -> float:
    """Return how far black and white are apart."""
    return scale[1] - scale[0] if isinstance(scale, tuple) else scale


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file an error speaks."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except MemoryError as error:
        raise PictureError(f"{path}: does not fit in memory; close other programs") from error
