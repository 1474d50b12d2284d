"""Which devices multiply numbers of 16 bits: elsewhere these are emulated, tens of times slower than float32."""

from __future__ import annotations

import torch


def multiplies_bf16(device: torch.device) -> bool:
    """Say whether a device has arithmetic for bf16: processors with AVX512-BF16 or AMX, NVIDIA's GPUs since Ampere.

    Other accelerators are taken to have it.
    """
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
