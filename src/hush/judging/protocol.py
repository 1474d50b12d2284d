"""How an evaluation measures, in words and as data, so that nobody compares figures of two protocols unaware."""

from __future__ import annotations

import inspect
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hush.errors import UsageError
from hush.imaging.metrics import METRICS
from hush.judging.intervals import RESAMPLES
from hush.names import find
from hush.restoring.machine import cores, processor

METRIC_WORDS = {
    "psnr": "PSNR in dB over all values of an image, channels together",
    "ssim": "SSIM with the 11x11 Gaussian window of deviation 1.5 inside the image, mean over channels "
    "(Wang et al. 2004; scikit-image with gaussian_weights=True, use_sample_covariance=False)",
    "ssim_uniform": "SSIM with a uniform 7x7 window and sample covariance, mean over channels (scikit-image's default)",
    "ssim_volume": "SSIM with a Gaussian window of deviation 1.5 and 11 pixels over rows, columns and channels, the "
    "edge repeated (MATLAB's ssim of a colour picture)",
    "mse": "squared error of values in [0, 1], over all values of an image",
    "lpips": "LPIPS 0.1 by AlexNet (Zhang et al. 2018); lower is better",
    "lpips_vgg16": "LPIPS 0.1 by VGG16 (Zhang et al. 2018); lower is better",
}

PACKAGES = {
    "hush": "hush",
    "numpy": "numpy",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "torch": "torch",
    "skimage": "scikit-image",
    "bm3d": "bm3d",
    "cv2": "opencv-python-headless",
    "pyoidn": "pyoidn",
}
"""Module and distribution of what may take part in a figure."""


@dataclass(frozen=True)
class Protocol:
    """What a figure depends on beside weights, data and degradation."""

    metrics: tuple[str, ...] = ("psnr", "ssim")
    clip: bool = False
    """Whether noisy values outside [0, 1] are clipped before restoring."""
    quantise: bool = False
    """Whether noisy values are rounded to 8 bit before restoring, which clips them too."""
    seed: int = 0
    """The noise of picture number i of a data set, counted from 0, comes from a generator seeded with seed + i."""
    sigma: str | float = "given"
    """What the restorer is told: given (the true sigma), auto (nothing: it estimates) or a number."""
    scenes: str | None = None
    """Regular expression whose group is the scene of a picture's name; None: every picture is a scene."""
    limit: int | None = None
    """Only the first so many pictures of each data set."""

    def checked(self) -> Protocol:
        """Return it with sigma as a number where it is one.

        Raises UsageError for a sigma, seed or limit out of bounds.
        """
        if not 0 <= self.seed < 2**62:
            raise UsageError(f"seed is {self.seed}; it must be 0 or a positive integer")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit is {self.limit}; it must be 1 or more pictures")
        return replace(self, sigma=_read_sigma(self.sigma))

    def told(self, true_sigma: float | None) -> float | None:
        """Return what the restorer is told of a picture with this sigma; None: nothing."""
        if self.sigma == "given":
            return true_sigma
        return None if self.sigma == "auto" else float(self.sigma)

    def words(self, *, pairs: bool = False) -> list[str]:
        """Return the protocol in sentences; ``pairs`` says that all data are pairs, to which no noise is added."""
        over = "pictures" if self.scenes is None else f"scenes ({self.scenes})"
        sentences = [
            "Clean pictures are 8-bit values / 255; deeper ones are rounded to 8 bit, alpha is left out.",
            "Noisy pictures are those of the pairs, as they are."
            if pairs
            else f"Noise is added in float32, {self._range_words()}; seed {self.seed} + the picture's number in its "
            "data set, the same for all weights.",
            "The restorer is left to estimate sigma."
            if pairs and self.sigma == "given"
            else f"The restorer is {self._sigma_words()}.",
            "Restored and input are clamped to [0, 1] and rounded to 8 bit before they are measured; no border is cut.",
            *(f"{metric_words(name)}; mean over images." for name in self.metrics),
            f"95 % intervals: percentile bootstrap over {over}, {RESAMPLES} resamples.",
            "Seconds are those of the restorer alone (with estimating sigma), without its first call for each size.",
        ]
        if self.limit is not None:
            sentences.append(f"Only the first {self.limit} pictures of each data set.")
        return [sentence[0].upper() + sentence[1:] for sentence in sentences]

    def _range_words(self) -> str:
        if self.quantise:
            return "clipped to [0, 1] and quantised to 8 bit"
        return "clipped to [0, 1], not quantised" if self.clip else "not clipped, not quantised"

    def _sigma_words(self) -> str:
        if self.sigma == "given":
            return (
                "told the true sigma where the degradation is Gaussian noise alone, and left to estimate it elsewhere"
            )
        return "left to estimate sigma" if self.sigma == "auto" else f"told sigma {self.sigma}"

    def record(
        self, runtime: Mapping[str, Any], restorers: Mapping[str, str], *, pairs: bool = False
    ) -> dict[str, Any]:
        """Return the protocol as data.

        Args:
            runtime: the options that the restorers were opened with.
            restorers: what runs each weights, in words.
            pairs: whether all data are pairs.
        """
        return {
            "words": self.words(pairs=pairs),
            **asdict(self),
            "metrics": {name: metric_words(name) for name in self.metrics},
            "clipped": self.clip or self.quantise,
            "quantised": self.quantise,
            "generator": "torch.Generator on the processor",
            "output": "clamped to [0, 1], rounded to 8 bit",
            "border": 0,
            "interval": {"share": 0.95, "method": "percentile bootstrap", "resamples": RESAMPLES},
            "runtime": dict(runtime),
            "restorers": dict(restorers),
            "machine": {"processor": processor(), "cores": cores(), "system": platform.platform()},
            "versions": versions(),
        }


def _read_sigma(sigma: str | float) -> str | float:
    if sigma in ("given", "auto"):
        return sigma
    try:
        number = float(sigma)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"sigma is {sigma!r}; it must be given, auto or a number from 0 on (8-bit scale), such as 25")
    return number


def metric_words(name: str) -> str:
    """Return what a metric measures; for one from outside, the first line of its docstring."""
    if name in METRIC_WORDS:
        return METRIC_WORDS[name]
    documentation = inspect.getdoc(find(METRICS, name, "metric")) or ""
    return f"{name}: {documentation.splitlines()[0].rstrip('.')}" if documentation else name


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that have been imported so far."""
    found = {"python": platform.python_version()}
    for module, distribution in PACKAGES.items():
        if module in sys.modules:
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:  # run from a checkout that is not installed
                continue
    return found
