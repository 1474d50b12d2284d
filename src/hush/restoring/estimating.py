"""How noisy is the picture in a file?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hush.imaging.arrays import shown
from hush.imaging.estimation import estimate_noise
from hush.imaging.files import read_pages
from hush.imaging.viewing import image_of


def estimate_file(path: Path) -> dict[str, Any]:
    """Return what is found of the noise in a file: of a stack or animation the first page speaks for all.

    The keys are those of `hush.imaging.estimation.NoiseEstimate`, its words (verdict, kind, white, varies), and
    jpeg_quality (None where there is none). Raises PictureError for what cannot be read.
    """
    picture = next(iter(read_pages(path)))
    image, encoding, gaps = image_of(picture)
    found = estimate_noise(shown(image, encoding, gaps, judged=True))
    words = {name: getattr(found, name) for name in ("verdict", "kind", "white", "varies")}
    return {**vars(found), **words, "jpeg_quality": getattr(picture.coding, "quality", None)}
