"""Metrics by name, for evaluations and studies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hush.errors import MissingExtra
from hush.imaging.metrics import METRICS
from hush.names import find

LOWER_IS_BETTER = {"cross_entropy", "lpips", "lpips_vgg16", "mse"}


def open_metric(name: str) -> Callable[..., Any]:
    """Find a metric by its name or as ``module:attribute``.

    Raises UsageError for an unknown one, MissingExtra where what it needs is not installed.
    """
    try:
        metric: Callable[..., Any] = find(METRICS, name, "metric")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"metric {name!r} needs {error.name}. Run: pip install 'hush[train]'") from error
    return metric
