"""How much memory there is, and how much of it this process has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SHARE = 0.5  # of what is free that a process takes unless told
UNKNOWN = 2 * 2**30  # bytes; taken for free where the system does not tell
GROUPS = Path("/sys/fs/cgroup")
CONTAINERS = (  # limit, use, kinds of use, and the kind that is given back: of version 2, and of version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not tell (only Linux does)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def highest() -> int:
    """Return the most bytes of memory that this process ever held; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def amount(count: int) -> str:
    """Return bytes in words: MB below a GB."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def free() -> int:
    """Return the bytes of memory that are free on this machine, or in the container that it runs in."""
    found = [amount for amount in (_machine(), *(_container(*names) for names in CONTAINERS)) if amount is not None]
    return max(0, min(found, default=UNKNOWN))


def allowed(limit: int | None) -> int:
    """Return the bytes that this process may hold: as told, or what it has and a share of what is free."""
    return resident() + int(SHARE * free()) if limit is None else limit


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _container(limit: str, used: str, kinds: str, reclaimed: str) -> int | None:
    """Read what a control group of Linux has left (https://docs.kernel.org/admin-guide/cgroup-v2.html).

    Files that were read or written stay in memory until it is needed for something else: these count as free.
    """
    try:
        left = int((GROUPS / limit).read_text()) - int((GROUPS / used).read_text())
    except (OSError, ValueError):  # no such files, or "max"
        return None
    with suppress(OSError, ValueError):
        amounts = dict(line.split() for line in (GROUPS / kinds).read_text().splitlines())
        left += int(amounts.get(reclaimed, 0))
    return left
