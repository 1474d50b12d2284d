"""Weights and training states in safetensors files: tensors and JSON, never pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hush.errors import WeightsError
from hush.imaging.writing import whole

_TENSOR = "__tensor__"


def save_state(path: str | Path, state: Any) -> None:
    """Save nested dicts and lists of tensors, numbers and text; the file appears whole or not at all.

    Raises WeightsError if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = _take_apart(state, "", tensors)
    target = Path(path)
    try:
        with whole(target) as temporary:
            save_file(tensors, temporary, metadata={"state": json.dumps(skeleton)})
            temporary.chmod(_usual_mode())
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{target}: cannot be written ({error}). Free some space, or write elsewhere") from error


def _usual_mode() -> int:
    """Return the mode of new files by this user's wish; safetensors lets nobody else read."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def load_state(path: str | Path) -> Any:
    """Load what `save_state` saved, on the CPU.

    Raises WeightsError if the file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if "state" not in metadata:
                raise WeightsError(f"{path}: no checkpoint or weights of hush (safetensors without its JSON part)")
            skeleton = json.loads(metadata["state"])
            return _put_together(skeleton, file.get_tensor)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: damaged or no safetensors file ({error})") from error


def no_weights(path: str | Path) -> WeightsError:
    """Return the error for a checkpoint that was given as weights."""
    return WeightsError(
        f"{path}: a checkpoint, from which --resume goes on; the weights are best.safetensors beside it, and "
        "last.safetensors once the training has ended"
    )


def _take_apart(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # a copy each: safetensors refuses tensors that share memory
        tensors[where] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: where}
    if isinstance(value, dict):
        # keys are kept with their type: an optimiser's state is keyed by integers
        return {"dict": [[key, _take_apart(item, f"{where}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_take_apart(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]
    return value


def _put_together(value: Any, tensor: Any) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensor(value[_TENSOR])
        return {key: _put_together(item, tensor) for key, item in value["dict"]}
    if isinstance(value, list):
        return [_put_together(item, tensor) for item in value]
    return value


def load_numbers(network: torch.nn.Module, numbers: dict[str, Tensor]) -> list[str]:
    """Copy numbers into a network where name and shape fit; return the names of layers that did not fit."""
    own = network.state_dict()
    fitting = {name: value for name, value in numbers.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted((own.keys() | numbers.keys()) - fitting.keys())
