"""A peer for the bench, in a module that a worker process imports quickly."""

from __future__ import annotations

from typing import Any

import numpy as np


def shifted(*, by: float, asked: str = "", threads: int = 1) -> Any:
    """A peer that adds to a picture, and writes down that it was asked."""

    def restore(image: np.ndarray, sigma: float | None) -> np.ndarray:
        if asked:
            with open(asked, "a", encoding="utf-8") as file:
                file.write("asked\n")
        return (image + by).astype(np.float32)

    restore.description = f"adds {by}"  # type: ignore[attr-defined]
    return restore
