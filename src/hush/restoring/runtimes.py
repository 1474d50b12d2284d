"""What executes weights: OpenVINO on a processor, ONNX Runtime, or torch; all are callables on arrays.

A runtime is called with ``noisy`` (N, C, H, W) and, where its limits say so, ``sigma_map`` (N, 1, H, W) in [0, 1],
both float32, and returns ``restored`` (N, C, H, W) float32, for any N, H and W from 1 on.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hush.errors import MissingExtra, UsageError, WeightsError, need
from hush.names import find
from hush.restoring.weights import Card, Weights, cache_folder

Batch = NDArray[np.float32]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fast", "exact")


@dataclass(frozen=True)
class Limits:
    """What a runtime takes."""

    channels: int
    """Channels of a batch: 1 or 3."""
    sigma_map: bool
    """Whether it is told the noise level by a map."""
    overlap: int
    """Pixels of context that tiles need."""
    gray: bool = False
    """Whether colour weights learnt gray pictures too: three equal channels with the same noise."""
    blind: bool = False
    """Whether they find the noise level themselves where the map holds `hush.restoring.weights.UNTOLD`."""

    @classmethod
    def of(cls, card: Card) -> Limits:
        """Take them from a card."""
        return cls(
            channels=card.channels,
            sigma_map=card.sigma_map,
            overlap=card.overlap,
            gray=card.gray,
            blind=card.blind,
        )

    def check(self, noisy: Batch, sigma_map: Batch | None) -> None:
        """Raise UsageError where a batch does not fit."""
        if noisy.ndim != 4 or noisy.shape[1] != self.channels or noisy.size == 0:
            raise UsageError(f"a batch of shape {noisy.shape}; these weights take (N, {self.channels}, H, W)")
        expected = (noisy.shape[0], 1, *noisy.shape[2:])
        if self.sigma_map and (sigma_map is None or sigma_map.shape != expected):
            came = None if sigma_map is None else sigma_map.shape
            raise UsageError(f"a sigma_map of shape {came}; these weights take {expected} with this batch")


class Runtime(Protocol):
    """Weights that are ready to run."""

    name: str
    limits: Limits
    description: str
    """Device, threads and precision in words."""

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        ...


def open_runtime(
    weights: Weights,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Runtime:
    """Make weights ready to run.

    Args:
        weights: from `open_weights`.
        runtime: openvino, onnx, torch or module:attribute; auto is torch on cuda and mps, openvino elsewhere.
        device: cpu, cuda or mps; auto is what the runtime finds.
        precision: fast computes in bf16 or fp16 where the device is made for it, exact in float32; auto in bf16 where
            the device is made for it and the card says that it does not show.
        threads: of the processor; None is what the runtime chooses.

    Raises UsageError for an unknown name, MissingExtra if the runtime is not installed, WeightsError if the file
    does not run.
    """
    if runtime == "auto":
        runtime = "torch" if device in ("cuda", "mps") else "openvino"
    check_choice("device", device, DEVICES)
    check_choice("precision", precision, PRECISIONS)
    opener = find_runtime(runtime, f"runtime {runtime!r}")
    return opener(weights, device=device, precision=precision, threads=threads)


def find_runtime(name: str, what: str) -> Callable[..., Runtime]:
    """Find an opener by its name in RUNTIMES or as ``module:attribute``, or say what is not installed."""
    try:
        return find(RUNTIMES, name, "runtime")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{what} needs {error.name}, which is not installed. Run: pip install 'hush[train]'"
        ) from error


def check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise UsageError if an option's value is not among those allowed."""
    if value not in allowed:
        raise UsageError(f"{option} is {value!r}; it must be {', '.join(allowed[:-1])} or {allowed[-1]}")


def open_openvino(
    weights: Weights, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> Runtime:
    """Run on the processor with OpenVINO, which comes with the base install.

    What it compiles for weights with a name is kept in the user's cache, for a quicker start.
    """
    _processor_only("openvino", device)
    core = _import_openvino().Core()
    number_type = _openvino_number_type(core, weights, precision)
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": number_type}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    return OpenVINORuntime(weights, _compile(core, weights, options), core.get_property("CPU", "FULL_DEVICE_NAME"))


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report every import over the network.

    OpenVINO does without the package openvino_telemetry where it is not installed, which None stands for.
    """
    if "openvino" in sys.modules or "openvino_telemetry" in sys.modules:
        return importlib.import_module("openvino")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules["openvino_telemetry"]


class OpenVINORuntime:
    """Weights compiled by OpenVINO. May be called from several threads; calls wait for one another."""

    name = "openvino"

    def __init__(self, weights: Weights, compiled: Any, processor: str) -> None:
        self.limits = Limits.of(weights.card)
        threads = compiled.get_property("INFERENCE_NUM_THREADS")
        number_type = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.description = f"OpenVINO on {processor.strip()}, {_threads(threads)}, {number_type}"
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        inputs = _inputs(self.limits, noisy, sigma_map)
        with self._lock:
            self._request.infer(inputs, share_inputs=True)
            return np.array(self._request.get_output_tensor().data)  # a copy: the next call writes over it


def _openvino_number_type(core: Any, weights: Weights, precision: str) -> str:
    """Choose what to compute in: bf16 or f16 only where OpenVINO itself would, since it knows the processor."""
    preferred = core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    if precision == "fast":
        return preferred
    # f16 (ARM) may overflow, so it must be asked for
    return "bf16" if precision == "auto" and preferred == "bf16" and weights.card.bf16 else "f32"


def _compile(core: Any, weights: Weights, options: Mapping[str, Any]) -> Any:
    """Compile for the processor, through the cache where there is one."""
    cache = _compiled_folder(weights) if weights.named else None
    if cache is not None:
        try:
            return core.compile_model(str(weights.path), "CPU", {**options, "CACHE_DIR": str(cache)})
        except RuntimeError:
            pass  # a full disk or a damaged cache costs time, not the picture
    try:
        return core.compile_model(str(weights.path), "CPU", dict(options))
    except RuntimeError as error:
        raise WeightsError(f"{weights.path}: OpenVINO cannot run it ({_last_line(error)})") from error


def _compiled_folder(weights: Weights) -> Path | None:
    """Make the cache folder of these very numbers, and drop those of earlier ones; None where that is impossible.

    OpenVINO 2026.4 keys its cache by path, so a file replaced in place would go on with the old numbers.
    """
    folder = cache_folder()
    if folder is None:
        return None
    content = weights.path.read_bytes()
    cache = folder / "openvino" / f"{weights.name}-{zlib.crc32(content):08x}{len(content):x}"
    try:
        if not cache.is_dir():
            for earlier in cache.parent.glob(f"{weights.name}-*"):
                shutil.rmtree(earlier, ignore_errors=True)
            cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return cache if os.access(cache, os.W_OK) else None


def open_onnx(
    weights: Weights, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> Runtime:
    """Run on the processor with ONNX Runtime, in float32 whatever the precision: it has no faster kernels there.

    Raises MissingExtra if onnxruntime is not installed.
    """
    _processor_only("onnx", device)
    return ONNXRuntime(weights, threads)


class ONNXRuntime:
    """Weights run by ONNX Runtime. May be called from several threads."""

    name = "onnx"

    def __init__(self, weights: Weights, threads: int | None) -> None:
        onnxruntime = need("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # nothing but fatal: errors arrive as exceptions
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(weights.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class
            raise WeightsError(f"{weights.path}: ONNX Runtime cannot run it ({_last_line(error)})") from error
        self.limits = Limits.of(weights.card)
        self.description = f"ONNX Runtime on the processor, {_threads(threads or os.cpu_count())}, f32"

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        return self._session.run(None, _inputs(self.limits, noisy, sigma_map))[0]


RUNTIMES: dict[str, Callable[..., Runtime] | str] = {
    "openvino": open_openvino,
    "onnx": open_onnx,
    "torch": "hush.learning.torch_runtime:open_torch",
}


def _processor_only(runtime: str, device: str) -> None:
    if device not in ("auto", "cpu"):
        raise UsageError(f"runtime {runtime!r} runs on the cpu only; for device {device!r} use runtime 'torch'")


def _inputs(limits: Limits, noisy: Batch, sigma_map: Batch | None) -> dict[str, Batch]:
    limits.check(noisy, sigma_map)
    inputs = {"noisy": np.ascontiguousarray(noisy, np.float32)}
    if limits.sigma_map and sigma_map is not None:
        inputs["sigma_map"] = np.ascontiguousarray(sigma_map, np.float32)
    return inputs


def _threads(count: int | None) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _last_line(error: Exception) -> str:
    """Return what an error of a C++ library ends with; before it stand its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
