"""What `hush doctor` looks at: versions, processor, what would run, and which extras are there."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version

from hush.errors import HushError
from hush.restoring.machine import cores, features, processor

Findings = dict[str, dict[str, str]]

FEATURES = {  # what speeds networks up: name in /proc/cpuinfo -> name for people
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "bf16": "NEON bf16",
    "sve": "SVE",
}
BASE = ("numpy", "openvino", "pyvips", "pillow", "tifffile", "typer", "rich")
OPTIONAL = ("torch", "onnx", "onnxruntime", "scikit-image")


def examine(weights: str = "auto") -> Findings:
    """Return what this machine has, section by section."""
    return {
        "hush": {"version": _version("hush"), "python": platform.python_version(), "system": platform.platform()},
        "packages": {name: _version(name) for name in (*BASE, *filter(_installed, OPTIONAL))},
        "extras": extras(),
        "processor": _processor(),
        "denoising": _denoising(weights),
    }


def extras() -> dict[str, str]:
    """Return for each extra of hush whether it is installed, and what is missing."""
    try:
        needed = requires("hush") or []
    except PackageNotFoundError:
        return {}
    packages: dict[str, list[str]] = {}
    for requirement in needed:
        if found := re.fullmatch(r"([\w.-]+).*;.*extra == ['\"](\w+)['\"]", requirement):
            packages.setdefault(found[2], []).append(found[1])
    missing = {extra: [p for p in names if not _installed(p)] for extra, names in packages.items()}
    return {
        extra: f"missing {', '.join(names)}: pip install 'hush[{extra}]'" if names else "installed"
        for extra, names in missing.items()
        if extra not in ("dev", "docs")
    }


def _installed(package: str) -> bool:
    return _version(package) != "missing"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _processor() -> dict[str, str]:
    found = features()
    titles = ", ".join(title for flag, title in FEATURES.items() if flag in found)
    return {"name": processor(), "cores": str(cores()), "features": titles or "not known", **_accelerator()}


def _accelerator() -> dict[str, str]:
    """Name the GPU that torch finds, where torch is installed."""
    if not _installed("torch"):
        return {}
    import torch

    if torch.cuda.is_available():
        return {"gpu": torch.cuda.get_device_name()}
    return {"gpu": "mps" if torch.backends.mps.is_available() else "none that torch finds"}


def _denoising(weights: str) -> dict[str, str]:
    """Open weights as `hush denoise` would, and say what runs."""
    from hush.restoring.weights import cache_folder

    chosen = "auto: gaussian or photo, by the noise of each picture" if weights == "auto" else weights
    facts = {"weights": chosen, "cache": str(cache_folder() or "none: no home folder")}
    try:
        from hush.restoring.denoising import open_restorer

        runs_on = open_restorer(weights).description
        slow = {"speed": "with bf16, which this processor lacks, several times as fast"} if "f32" in runs_on else {}
        return {**facts, "runs on": runs_on, **slow}
    except (HushError, ImportError) as error:
        return {**facts, "problem": str(error)}
