"""Camera raw and DNG, developed to 16 bits through LibRaw (rawpy, the extra ``raw``)."""

from __future__ import annotations

import io

from hush.errors import PictureError, need
from hush.imaging.formats.codecs import library_reason, silenced
from hush.imaging.formats.marks import is_tiff
from hush.imaging.formats.picture import INTACT, Metadata, Picture, check_size
from hush.imaging.formats.tags import Data, Tag, directories, exif_stream

ORIENTATION = 274
KEPT = {270, 271, 272, ORIENTATION, 305, 306, 315, 33432, 34665, 34853}  # texts, orientation, EXIF and GPS
SRGB_GAMMA = (2.4, 12.92)


def read(data: Data) -> Picture:
    """Develop camera raw: 16-bit sRGB with the camera's white balance, not brightened, lens not corrected.

    EXIF that is found in the file comes along, and then the picture stays as the sensor saw it and its orientation a
    tag; else it is turned upright. Raises MissingExtra if rawpy is not installed.
    """
    library = need("rawpy", "raw")
    data = data[:]
    exif = _exif(data)
    try:
        with silenced(), library.imread(io.BytesIO(data)) as raw:
            check_size(raw.sizes.height, raw.sizes.width, 3, "u2", len(data))
            pixels = raw.postprocess(
                output_bps=16,
                use_camera_wb=True,
                no_auto_bright=True,
                gamma=SRGB_GAMMA,
                user_flip=None if exif is None else 0,
            )
    except library.LibRawError as error:
        reason = library_reason(error).removeprefix("b'").removesuffix("'")
        raise PictureError(f"damaged or unknown camera raw ({reason}). {INTACT}, or develop it first") from error
    return Picture(pixels, format="raw", metadata=Metadata(exif=exif))


def _exif(data: bytes) -> bytes | None:
    """Return the EXIF of camera raw that is built like a TIFF, if it says how the camera was held."""
    pages, _ = directories(data) if is_tiff(data[:4]) else ([], False)
    tags: dict[int, Tag] = {number: tag for number, tag in (pages[0] if pages else {}).items() if number in KEPT}
    return exif_stream(tags) if ORIENTATION in tags else None
