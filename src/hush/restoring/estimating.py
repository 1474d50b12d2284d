"""How noisy is the picture in a file?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hush.errors import PictureError
from hush.imaging.arrays import shown
from hush.imaging.estimation import NoiseEstimate, estimate_noise
from hush.imaging.files import read_pages
from hush.imaging.formats.jpeg import JpegCoding
from hush.imaging.viewing import image_of
from hush.restoring.large import in_parts
from hush.restoring.options import DenoiseOptions
from hush.restoring.working import look_for_noise, scene_of

if TYPE_CHECKING:
    from hush.imaging.layouts import Layout


def estimate_file(path: Path, options: DenoiseOptions | None = None) -> dict[str, Any]:
    """Return what is found of the noise in a file: of a stack or animation the first page speaks for all.

    The keys are those of `hush.imaging.estimation.NoiseEstimate`, its words (verdict, kind, white, varies, alike), and
    jpeg_quality (None where there is none). Of ``options`` the memory that is allowed counts. Raises PictureError for
    what cannot be read.
    """
    options = options or DenoiseOptions()
    layout = _layout(path, options)
    picture = layout.picture if layout else next(iter(read_pages(path)))
    if layout:
        found = _of_parts(path, layout, options)
    else:
        image, encoding, gaps = image_of(picture)
        found = estimate_noise(shown(image, encoding, gaps, judged=True))
    words = {name: getattr(found, name) for name in ("verdict", "kind", "white", "varies", "alike")}
    quality = picture.coding.quality if isinstance(picture.coding, JpegCoding) else None
    return {**vars(found), **words, "jpeg_quality": quality}


def _layout(path: Path, options: DenoiseOptions) -> Layout | None:
    """Return how to read a file in parts, where it needs that and can be."""
    try:
        return in_parts(path, path, options)
    except PictureError:  # it would not fit beside a network and its own result, but there will be neither
        return None


def _of_parts(path: Path, layout: Layout, options: DenoiseOptions) -> NoiseEstimate:
    """Look at windows of a file that is too large for memory."""
    try:
        return look_for_noise(scene_of(layout, options))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
