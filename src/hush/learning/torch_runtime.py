"""Weights run by torch: on cuda and mps, from bare arrays, and from the files of a training run."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hush.errors import PictureError, WeightsError, need
from hush.learning.checkpoints import load_numbers, load_state, no_weights
from hush.learning.devices import choose_device, multiplies_bf16
from hush.learning.networks import NETWORKS, build_network
from hush.learning.runs import open_saved
from hush.names import Call, find, parse_call
from hush.restoring.runtimes import PRECISIONS, Batch, Limits, check_choice
from hush.restoring.weights import MULTIPLE, Card, Weights, fetch, is_address, open_weights, split_bare

Numbers = dict[str, NDArray[Any]]


def open_torch(
    weights: Weights, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> TorchRuntime:
    """Run weights in torch, in the network that their card names.

    Raises WeightsError if the numbers are not those of that network.
    """
    network = build_network(weights.card.network)
    _fill(network, read_numbers(weights.path), str(weights.path))
    return TorchRuntime(network, weights.card, device, precision, threads)


def open_bare(
    weights: str, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> TorchRuntime:
    """Run ``NETWORK@FILE`` or a run's ``.safetensors`` in torch; see `open_network`."""
    network, card = open_network(weights)
    return TorchRuntime(network, card, device, precision, threads)


def open_network(weights: str | Path) -> tuple[nn.Module, Card]:
    """Open weights as a torch network with its numbers, and their card.

    Args:
        weights: a name or an .onnx file, as for `open_weights`; a run's .safetensors; or ``NETWORK@FILE`` with bare
            arrays in .npz or .safetensors, where NETWORK is a specification such as ``unet(width=48)``. Networks
            whose published arrays tell their options (ffdnet, dncnn) need none.

    Raises UsageError for an unknown network or option, WeightsError if the file is missing, damaged or another
    network's.
    """
    text = os.fspath(weights)
    if bare := split_bare(text):
        return _open_bare(*bare)
    if text.endswith(".safetensors"):
        return open_saved(text)
    found = open_weights(text)
    network = build_network(found.card.network)
    _fill(network, read_numbers(found.path), text)
    return network.eval(), found.card


def read_numbers(source: str | Path) -> Numbers:
    """Read a network's numbers as arrays, float32 where they are floats, under the state dict's names.

    ``source`` is a name or an .onnx file, as for `open_weights`; a run's .safetensors; bare arrays in .npz or
    .safetensors, or a PyTorch state dict in .pth; or the address of such a file, ``https://...pth#sha256=DIGITS``.

    Raises WeightsError if the file is missing or damaged.
    """
    path = fetch(str(source)) if is_address(str(source)) else Path(source)
    if path.suffix in (".pth", ".pt"):
        return _read_torch(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_onnx(open_weights(source).path)


def read_start(source: str | Path) -> dict[str, Any]:
    """Return the name of weights to start from and how they were trained, as far as their card tells.

    ``source`` as for `read_numbers`.
    """
    path = Path(str(source).partition("#")[0])
    if path.suffix in (".npz", ".pth", ".pt"):
        return {"name": path.name}
    if path.suffix == ".safetensors":
        try:
            card = Card.from_json(json.dumps(load_state(path)["card"]))
        except (WeightsError, KeyError, TypeError):  # bare arrays
            return {"name": path.name}
    else:
        card = open_weights(source).card
    return {"name": card.name, **card.training}


class TorchRuntime:
    """A network run by torch. May be called from several threads."""

    name = "torch"

    def __init__(self, network: nn.Module, card: Card, device: str, precision: str, threads: int | None) -> None:
        check_choice("precision", precision, PRECISIONS)
        self.limits = Limits.of(card)
        self.card = card
        self._device = choose_device(device, automatic=("cuda", "mps", "cpu"))
        self._number_type = _number_type(self._device, precision, card.bf16)
        self._exact = precision == "exact"
        if threads is not None:
            torch.set_num_threads(threads)
        self._network = network.eval().to(self._device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        where = f"cpu, {torch.get_num_threads()} threads" if self._device.type == "cpu" else self._device.type
        self.description = f"torch {torch.__version__} on {where}, {str(self._number_type).removeprefix('torch.')}"

    def __call__(self, noisy: Batch, sigma_map: Batch | None = None) -> Batch:
        """Restore a batch."""
        self.limits.check(noisy, sigma_map)
        inputs = {"noisy": self._load(noisy)}
        if self.limits.sigma_map and sigma_map is not None:
            inputs["sigma_map"] = self._load(sigma_map)
        try:
            with torch.inference_mode(), self._arithmetic():
                return self._network(**inputs).float().contiguous().cpu().numpy()
        except torch.OutOfMemoryError as error:
            height, width = noisy.shape[2:]
            raise PictureError(f"{width}x{height} pixels do not fit {self._device}; use a smaller tile") from error

    def _load(self, batch: Batch) -> torch.Tensor:
        tensor = torch.from_numpy(np.require(batch, np.float32, ["C", "W"]))  # torch warns of arrays it cannot write
        return tensor.to(self._device, memory_format=torch.channels_last)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        if self._exact and self._device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(allow_tf32=False))
        if self._number_type != torch.float32:
            stack.enter_context(torch.autocast(self._device.type, self._number_type))
        return stack


def _number_type(device: torch.device, precision: str, harmless: bool) -> torch.dtype:
    """Choose what to compute in; see `hush.restoring.runtimes.open_runtime`."""
    if precision == "exact" or (precision == "auto" and not harmless):
        return torch.float32
    if device.type in ("cpu", "cuda") and multiplies_bf16(device):
        return torch.bfloat16
    if device.type == "cpu":
        return torch.float32
    return torch.float16 if precision == "fast" else torch.float32  # may overflow, so it must be asked for


def _open_bare(spec: str, file: str) -> tuple[nn.Module, Card]:
    call = parse_call(spec)
    factory = find(NETWORKS, call.name, "network")
    arrays = read_numbers(file)
    if not call.options and hasattr(factory, "from_arrays"):

        def record(**options: Any) -> nn.Module:
            nonlocal call
            call = Call(call.name, options)
            return factory(**options)

        try:
            network = factory.from_arrays.__func__(record, arrays)  # the card must say the options that it found
        except WeightsError as error:
            raise WeightsError(f"{file}: {error}") from error
    else:
        network = build_network(spec)
        _fill(network, arrays, file)
    limits: Any = network.limits
    path = Path(file)
    multiple = getattr(network, "multiple", MULTIPLE)
    data = f"see {path.name}"
    card = Card(path.stem, str(call), limits.channels, limits.sigma_map, limits.overlap, multiple, data=data)
    return network.eval(), card


def _fill(network: nn.Module, numbers: Numbers, source: str) -> None:
    """Copy numbers into a network that must be theirs."""
    tensors = {name: torch.from_numpy(array) for name, array in numbers.items()}
    unfitting = [name for name in load_numbers(network, tensors) if not name.endswith("num_batches_tracked")]
    if unfitting:
        own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        name = unfitting[0]
        came = f"{numbers[name].shape}" if name in numbers else "missing"
        raise WeightsError(
            f"{source}: not the numbers of this {type(network).__name__}: {name} is {came}, "
            f"expected {own.get(name, 'no such array')} ({len(unfitting)} arrays do not fit)"
        )


def _read_onnx(path: Path) -> Numbers:
    onnx = need("onnx", "train")
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        halves = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
        return {tensor.name: onnx.numpy_helper.to_array(tensor).astype(np.float32) for tensor in halves}
    except (OSError, ValueError, DecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as ONNX ({error})") from error


def _read_npz(path: Path) -> Numbers:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: _widened(file[name]) for name in file.files}
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: damaged, or no .npz of plain arrays ({error})") from error


def _read_safetensors(path: Path) -> Numbers:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        arrays = load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: damaged, or no safetensors file ({error})") from error
    if any(name.startswith(".updaters.") for name in arrays):
        raise no_weights(path)
    if any(name.startswith(".numbers.") for name in arrays):  # a run's file holds the card too
        arrays = load_state(path)["numbers"]
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in arrays.items()}


def _read_torch(path: Path) -> Numbers:
    import pickle

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: damaged, or no state dict of PyTorch ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: no state dict of PyTorch, which holds tensors by name")
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in state.items()}


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype.kind == "f" else array
