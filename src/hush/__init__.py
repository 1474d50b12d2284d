"""hush: image denoising.

    restored = hush.denoise(noisy)

Public names are imported when they are first used, so that ``import hush`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hush.imaging.estimation import estimate_noise
    from hush.imaging.pages import show
    from hush.judging.evaluation import evaluate
    from hush.learning.training import train
    from hush.restoring.denoising import denoise
    from hush.restoring.weights import open_weights

    __version__: str

_PLACES = {
    "denoise": "hush.restoring.denoising",
    "estimate_noise": "hush.imaging.estimation",
    "evaluate": "hush.judging.evaluation",
    "open_weights": "hush.restoring.weights",
    "show": "hush.imaging.pages",
    "train": "hush.learning.training",
}

__all__ = ["__version__", "denoise", "estimate_noise", "evaluate", "open_weights", "show", "train"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("hush")
    if name not in _PLACES:
        raise AttributeError(f"module 'hush' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_PLACES[name]), name)
    except ModuleNotFoundError as error:
        from hush.errors import MissingExtra

        if error.name is None or error.name.startswith("hush"):
            raise
        message = f"hush.{name} needs {error.name}, which is not installed. Run: pip install 'hush[train]'"
        raise type("MissingExtra", (MissingExtra, AttributeError), {})(message) from error  # so that hasattr says no
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
