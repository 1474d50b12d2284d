"""The processor that this process runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Return the name of the processor."""
    return _told("model name") or platform.processor() or platform.machine()


def features() -> frozenset[str]:
    """Return what Linux says that the processor can do, such as avx2; nothing elsewhere."""
    return frozenset((_told("flags") or _told("Features")).split())


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told(key: str) -> str:
    """Return what Linux says of its first processor; an empty string elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
