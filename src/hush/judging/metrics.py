"""Metrics by name, for evaluations and studies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hush.errors import MissingExtra, UsageError
from hush.imaging.metrics import METRICS
from hush.names import find

LOWER_IS_BETTER = {"cross_entropy", "lpips", "lpips_vgg16", "mse"}


def open_metric(name: str) -> Callable[..., float]:
    """Find a metric by its name or as ``module:attribute``.

    Raises UsageError for an unknown one, and when it is called if it gives more than one number; MissingExtra where
    what it needs is not installed.
    """
    try:
        metric: Callable[..., Any] = find(METRICS, name, "metric")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"metric {name!r} needs {error.name}. Run: pip install 'hush[train]'") from error

    def measure(restored: Any, clean: Any) -> float:
        value = metric(restored, clean)
        if math.prod(np.shape(value)) != 1:
            raise UsageError(
                f"metric {name!r} gave {np.shape(value)} numbers; it must give one for two images (H, W, C)"
            )
        return float(value.item() if hasattr(value, "item") else value)

    return measure
