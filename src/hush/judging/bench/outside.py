"""Denoisers of other programs as restorers, each in the form and at the setting that suits it best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import MissingExtra
from hush.imaging.arrays import to_bytes

Image = NDArray[np.float32]

NLM_STRENGTH = 0.7  # h per sigma: best or next to it at 5 to 50 among 0.4 to 1.5, on ten crops of training photographs
NLM_WINDOWS = (
    5,
    13,
)  # patch and search, as scikit-image's; its own 7 and 21 gave 0.4 to 0.8 dB less, in twice the time


class OpenCV:
    """Non-local means of OpenCV, which takes 8-bit pictures only (Buades, Coll, Morel, IPOL 2011).

    Raises MissingExtra where OpenCV is not installed.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._cv2 = _import("cv2", "opencv-python-headless")
        if threads is not None:
            self._cv2.setNumThreads(threads)
        self.description = f"OpenCV {self._cv2.__version__}, {self._cv2.getNumThreads()} threads, 8 bit"

    def __call__(self, image: Image, sigma: float | None) -> Image:
        """Restore an image (H, W, 1 or 3), told the deviation of its noise on the 8-bit scale."""
        from hush.imaging.estimation import estimate_noise

        level = estimate_noise(image).sigma if sigma is None else sigma
        given = to_bytes(image)
        h = NLM_STRENGTH * level
        if image.shape[2] == 1:
            restored = self._cv2.fastNlMeansDenoising(given, None, h, *NLM_WINDOWS)[..., np.newaxis]
        else:
            restored = self._cv2.fastNlMeansDenoisingColored(given, None, h, h, *NLM_WINDOWS)
        return restored.astype(np.float32) / np.float32(255)


class OpenImageDenoise:
    """Intel's network for path-traced renderings (https://www.openimagedenoise.org); it finds the noise level itself.

    Pictures are given as linear light without upper limit, gray ones in three channels: told that they are sRGB, or
    lie in [0, 1], it gave 0.3 dB less at sigma 15 and 4 dB less at 50. Raises MissingExtra where pyoidn is not
    installed.
    """

    def __init__(self, *, quality: str = "high", threads: int | None = None) -> None:
        self._oidn = _import("pyoidn", "pyoidn")
        self._device = self._oidn.Device(self._oidn.OIDN_DEVICE_TYPE_CPU)
        if threads is not None:
            self._device.set_int("numThreads", threads)
        self._device.commit()
        self._filter = self._oidn.Filter(self._device, "RT")
        self._filter.set_bool("hdr", True)
        self._filter.set_quality(getattr(self._oidn, f"OIDN_QUALITY_{quality.upper()}"))
        self.description = f"Open Image Denoise, {self._device.get_int('numThreads')} threads, quality {quality}"

    def __call__(self, image: Image, sigma: float | None) -> Image:
        """Restore an image (H, W, 1 or 3)."""
        colour = np.ascontiguousarray(np.broadcast_to(np.maximum(image, 0), (*image.shape[:2], 3)), np.float32)
        restored = np.empty_like(colour)
        for name, array in (("color", colour), ("output", restored)):
            self._filter.set_image(name, array, self._oidn.OIDN_FORMAT_FLOAT3)
        self._filter.commit()
        self._filter.execute()
        if (problem := self._device.get_error()) is not None:
            raise RuntimeError(f"Open Image Denoise: {problem}")
        return restored if image.shape[2] == 3 else restored.mean(axis=2, keepdims=True)


def _import(module: str, distribution: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{distribution} is not installed, or does not load ({error})") from error
