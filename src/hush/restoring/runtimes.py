"""What executes weights: OpenVINO on a processor, ONNX Runtime, or torch; all are callables on arrays.

A runtime is called with ``noisy`` (N, C, H, W) and, where its limits say so, ``sigma_map`` (N, 1, H, W) in [0, 1],
both float32, and returns ``restored`` (N, C, H, W) float32, for any N, H and W from 1 on.
"""

from __future__ import annotations

import importlib
import locale
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import ModuleType
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from hush.errors import MissingExtra, UsageError, WeightsError, need
from hush.names import find
from hush.restoring.machine import cores
from hush.restoring.weights import MULTIPLE, Card, Weights, cache_folder

Batch = NDArray[np.float32]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fast", "exact")
TELEMETRY = "openvino_telemetry"  # reports over the network that OpenVINO was imported
CONVERTER = "openvino.tools.ovc"  # turns other models into OpenVINO's; takes longer to import than all the rest


@dataclass(frozen=True)
class Limits:
    """What a runtime takes."""

    channels: int
    """Channels of a batch: 1 or 3."""
    sigma_map: bool
    """Whether it is told the noise level by a map."""
    overlap: int
    """Pixels of context that tiles need."""
    multiple: int = MULTIPLE
    """Pixels: tiles start at multiples of it."""
    gray: bool = False
    """Whether colour weights learnt gray pictures too: three equal channels with the same noise."""
    blind: bool = False
    """Whether they find the noise level themselves where the map holds `hush.restoring.weights.UNTOLD`."""

    @classmethod
    def of(cls, card: Card) -> Limits:
        """Take them from a card."""
        return cls(card.channels, card.sigma_map, card.overlap, card.multiple, card.gray, card.blind)

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

    @property
    def description(self) -> str:
        """Device, threads and precision in words."""
        ...

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
    does not run; a runtime that is opened in the background raises that when it is called first.
    """
    check_choice("device", device, DEVICES)
    check_choice("precision", precision, PRECISIONS)
    what = f"device {device!r}" if runtime == "auto" else f"runtime {runtime!r}"
    opener = find_runtime(_chosen(runtime, device), what)
    return opener(weights, device=device, precision=precision, threads=threads)


def side_by_side(runtime: Runtime, count: int) -> Runtime | None:
    """Return the same weights for ``count`` concurrent callers; None where one caller keeps the machine busy.

    For runtimes with a method of that name, which takes the number and returns a runtime.
    """
    multiplied = getattr(runtime, "side_by_side", None)
    return multiplied(count) if multiplied else None


def _chosen(runtime: str, device: str) -> str:
    """Return which runtime auto means."""
    return {"cuda": "torch", "mps": "torch"}.get(device, "openvino") if runtime == "auto" else runtime


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
    return OpenVINORuntime(weights, precision, threads)


class OpenVINORuntime:
    """Weights compiled by OpenVINO. May be called from several threads; more calls than streams wait for one another.

    OpenVINO is imported, and the network compiled, in a thread, so that a picture can be read meanwhile. The first call
    waits for that, and raises WeightsError if the file does not run.
    """

    name = "openvino"

    def __init__(self, weights: Weights, precision: str, threads: int | None, streams: int = 1) -> None:
        self.limits = Limits.of(weights.card)
        self._how = weights, precision, threads
        opening = ThreadPoolExecutor(1, "hush-open")
        self._opened = opening.submit(_open_requests, weights, precision, threads, streams)
        opening.shutdown(wait=False)
        _OPENING.add(self._opened)

    def side_by_side(self, count: int) -> OpenVINORuntime:
        """Return the same weights for so many callers at once, each with its share of the threads.

        For small batches: threads that share one wait for one another at every layer.
        """
        return OpenVINORuntime(*self._how, streams=count)

    @property
    def description(self) -> str:
        """Return device, threads and precision in words."""
        return self._opened.result()[1]

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        inputs = _inputs(self.limits, noisy, sigma_map)
        idle, _ = self._opened.result()
        request = idle.get()
        try:
            request.infer(inputs, share_inputs=True)
            return np.array(request.get_output_tensor().data)  # a copy: the next call writes over it
        finally:
            idle.put(request)


LAYERS_KEPT = "100"  # of what is prepared for a size of pictures; by itself OpenVINO keeps 5,000, some 0.4 MB each

_OPENING: WeakSet[Future[tuple[SimpleQueue[Any], str]]] = WeakSet()
"""What is being opened, or has been. A forked process has no thread that would go on, so a fork waits for it."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: wait(list(_OPENING)) and None)

_FIRST_CALL = Lock()
"""Held while OpenVINO fills its table of number types. Two threads that infer for the first time at once would fill it
together, and may wait for ever: one for Python's lock, the other, which has that, for the table's."""


class KeptLocale:
    """While any thread is within, the locale of the process may change; when the last one leaves it is as it was.

    OpenVINO sets the locale C while it compiles and then the one before, which is C where two threads compile at once:
    from then on Python would read and write texts as ASCII.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._within = 0
        self._before = ""

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._before = locale.setlocale(locale.LC_ALL)
            self._within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0 and locale.setlocale(locale.LC_ALL) != self._before:
                locale.setlocale(locale.LC_ALL, self._before)


_LOCALE = KeptLocale()


def _open_requests(weights: Weights, precision: str, threads: int | None, streams: int) -> tuple[SimpleQueue[Any], str]:
    """Compile weights; return what runs them, a request for each stream, and in words where."""
    openvino = _import_openvino()
    with _FIRST_CALL:
        openvino.Type.f32.to_dtype()
    core = openvino.Core()
    number_type = _openvino_number_type(core, weights, precision)
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": number_type}
    options["CPU_RUNTIME_CACHE_CAPACITY"] = LAYERS_KEPT
    if streams > 1:
        # not pinned, since between their calls the callers have work of their own for the same processors
        options |= {"NUM_STREAMS": streams, "ENABLE_CPU_PINNING": False}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    with _LOCALE:
        compiled = _compile(core, weights, options)
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(streams):
        idle.put(compiled.create_infer_request())
    processor = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
    count = compiled.get_property("INFERENCE_NUM_THREADS")
    number_type = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return idle, f"OpenVINO on {processor}, {_threads(count)}, {number_type}"


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, and without its converter until somebody asks for that.

    OpenVINO does without either where it is not installed, which None in the table of modules stands for.
    """
    left_out = [name for name in (TELEMETRY, CONVERTER) if name not in sys.modules]
    if "openvino" in sys.modules:
        return importlib.import_module("openvino")
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]
    try:
        openvino = importlib.import_module("openvino")
    finally:
        for name in left_out:
            sys.modules.pop(name, None)
    if not hasattr(openvino, "convert_model"):
        openvino.__getattr__ = _convert_model  # type: ignore[method-assign]  # PEP 562
    return openvino


def _convert_model(name: str) -> Any:
    """Give other users of OpenVINO in this process the one name that its converter adds."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return importlib.import_module(CONVERTER).convert_model


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
    cache = folder / "openvino" / weights.path.stem / f"{zlib.crc32(content):08x}{len(content):x}"
    try:
        if not cache.is_dir():
            shutil.rmtree(cache.parent, ignore_errors=True)
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
        self.description = f"ONNX Runtime on the processor, {_threads(threads or cores())}, f32"

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
