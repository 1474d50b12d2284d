"""Devices: which there are, and which of them multiply numbers of 16 bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hush.errors import UsageError


def choose_device(device: str, *, automatic: Sequence[str] = ("cuda", "cpu"), local_rank: int = 0) -> torch.device:
    """Return the device that is meant by auto, cpu, cuda or mps.

    Args:
        device: its name; ``cuda:1`` is the second one.
        automatic: what auto takes, the first that is there.
        local_rank: of this process on its machine, which tells its GPU where cuda is asked for.

    Raises UsageError if it is unknown, or this machine does not have it.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in automatic if there[name])
    kind = device.partition(":")[0]
    if kind not in there:
        raise UsageError(f"device {device!r}: allowed are auto, cpu, cuda and mps")
    if not there[kind]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise UsageError(f"device {device!r} is not on this machine; allowed here: {found}")
    return torch.device(f"cuda:{local_rank}" if device == "cuda" else device)


def multiplies_bf16(device: torch.device) -> bool:
    """Say whether a device has arithmetic for bf16: processors with AVX512-BF16 or AMX, NVIDIA's GPUs since Ampere.

    Others emulate it, tens of times slower than float32. Other accelerators are taken to have it.
    """
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
