"""Write a network as the one form that ships: an ONNX file that runs without torch, checked by running it."""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hush.errors import WeightsError, need
from hush.imaging.writing import whole
from hush.restoring.runtimes import open_openvino
from hush.restoring.weights import CARD_KEY, MULTIPLE, Card, Weights

if TYPE_CHECKING:
    from onnx import ModelProto

SIZES = ((1, 1), (7, 5), (33, 50))  # (H, W) that an exported file is tried on
SAME = 5e-4  # largest difference between torch and the file, both in float32, on pictures in [0, 1]
BF16_SHOWS = 0.4  # levels of 8 bit; below it, a result of 40 dB loses at most 0.1 dB
ROUNDING = 2 / 255  # largest difference that numbers rounded to fp16 may make; 0.3 / 255 for the published CDnCNN-B
KEPT = 16  # graphs of the last networks; without their numbers they are small

_graphs: dict[Hashable, ModelProto] = {}


def export(network: nn.Module, card: Card, target: str | Path) -> Path:
    """Write a network to an ONNX file, run the file, and compare it with torch.

    Batch, height and width stay dynamic. Numbers are stored as fp16 under the state dict's names, each followed by a
    cast to float32; the card lies in the metadata. The file appears only if it gives what torch gives. Tracing takes
    seconds, so a network that differs from an earlier one in its numbers alone takes over the graph of that one.

    Args:
        network: with ``limits``; on any device, not changed.
        card: its channels, sigma_map, overlap, multiple and bf16 are set from the network.
        target: path of the .onnx file; overwritten.

    Raises WeightsError if the network cannot be exported, or if the file differs from torch.
    """
    network = copy.deepcopy(network).cpu().float().eval()
    if (form := _form(network)) in _graphs:
        with suppress(WeightsError):  # not all that code looks at is in a form: traced anew, it is right
            return _write(_graphs[form], network, card, Path(target))
    return _write(_draw_graph(network), network, card, Path(target))


def _write(graph: ModelProto, network: nn.Module, card: Card, target: Path) -> Path:
    """Fill a graph with a network's numbers, and write it as ``target`` if it then gives what torch gives."""
    onnx = need("onnx", "train")
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    _store_halves(model, network.state_dict())
    limits: Any = network.limits
    card = dataclasses.replace(
        card,
        channels=limits.channels,
        sigma_map=limits.sigma_map,
        overlap=limits.overlap,
        multiple=getattr(network, "multiple", MULTIPLE),
        bf16=_adds_residual(model) and bf16_is_harmless(network),
    )
    onnx.helper.set_model_props(model, {CARD_KEY: card.to_json()})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as temporary:
            temporary.write_bytes(model.SerializeToString())
            compare(network, Weights(str(target), temporary, card))
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def check_export(network: nn.Module) -> None:
    """Raise WeightsError if a network could not be exported: better before a training than after it."""
    network = copy.deepcopy(network).cpu().float().eval()
    for height, width in SIZES:
        inputs = _examples(network, 2, height, width)
        try:
            shape = _run(network, inputs).shape
        except Exception as error:
            raise WeightsError(
                f"{type(network).__name__} fails on pictures of {width}x{height} pixels, so it could not be exported "
                f"after the training: {type(error).__name__}: {error}"
            ) from error
        if shape != tuple(inputs["noisy"].shape):
            raise WeightsError(
                f"{type(network).__name__} gives {shape} for a batch of shape {tuple(inputs['noisy'].shape)}: it must "
                "keep the size of pictures of any size, or pad and crop them"
            )
    if _form(network) not in _graphs:
        _draw_graph(network)


def compare(network: nn.Module, weights: Weights) -> float:
    """Run a network in torch and its file in OpenVINO, in float32, on odd sizes; return the largest difference.

    Raises WeightsError if they differ, or if storing the numbers as fp16 shows.
    """
    runtime = open_openvino(weights, precision="exact")
    halved = copy.deepcopy(network)
    for number in halved.state_dict().values():
        if number.is_floating_point():
            number.copy_(number.half())
    largest = 0.0
    for height, width in SIZES:
        inputs = _examples(network, 2, height, width)
        expected, rounded = (_run(version, inputs) for version in (network, halved))
        restored = runtime(**{name: value.numpy() for name, value in inputs.items()})
        scale = max(1.0, float(np.abs(expected).max()))  # of untrained networks, results may be large
        largest = max(largest, _difference(restored, rounded, scale))
        if not largest <= SAME:  # NaN is no match either
            raise WeightsError(f"{weights.name}: differs from torch by {largest:.2g} at {width}x{height}")
        if not _difference(rounded, expected, scale) <= ROUNDING:
            raise WeightsError(
                f"{weights.name}: the numbers do not fit fp16 (65504 at most, 6e-8 at least), as those of a training "
                "that has diverged: lower optimiser.rate. The .safetensors file keeps them as they are"
            )
    return largest


def bf16_is_harmless(network: nn.Module) -> bool:
    """Say whether arithmetic in bf16 leaves a network's results as they are: within 0.4 levels of 8 bit, rms.

    Measured on a noisy ramp at sigma 5, where it shows most. Photographs in OpenVINO gave the same: 0.2 for a residual
    U-Net, 0.9 (0.36 dB) for CDnCNN-B, whose 20 layers each carry the whole picture. A network that does not end in a
    sum with the noisy picture gives steps of 8 bit, whatever its error: `export` asks for such a sum as well.
    """
    inputs = _examples(network, 1, 64, 64, sigma=5)
    expected = _run(network, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        restored = _run(network, inputs)
    return bool(np.sqrt(np.mean((restored - expected) ** 2)) * 255 <= BF16_SHOWS)


def _difference(a: np.ndarray, b: np.ndarray, scale: float) -> float:
    with np.errstate(invalid="ignore"):  # infinite minus infinite is NaN, which is no match
        return float(np.abs(a - b).max() / scale) if a.shape == b.shape else float("inf")


def _run(network: nn.Module, inputs: dict[str, Tensor]) -> np.ndarray:
    with torch.inference_mode():
        return network(**inputs).float().numpy()


def _examples(network: nn.Module, count: int, height: int, width: int, *, sigma: float = 25) -> dict[str, Tensor]:
    """Make a noisy ramp (N, C, H, W) and, where the network is told the level, its sigma_map (N, 1, H, W)."""
    limits: Any = network.limits
    level = sigma / 255
    rng = torch.Generator().manual_seed(height * width)
    ramp = torch.linspace(0.2, 0.8, height * width).reshape(height, width)
    noisy = ramp + level * torch.randn(count, limits.channels, height, width, generator=rng)
    return {"noisy": noisy} | ({"sigma_map": torch.full((count, 1, height, width), level)} if limits.sigma_map else {})


def _form(network: nn.Module) -> Hashable:
    """Return all that a network's graph depends on: everything but the numbers of its state dict."""
    own = vars(nn.Module()).keys()
    modules = [
        (name, type(module), repr({key: value for key, value in vars(module).items() if key not in own}))
        for name, module in network.named_modules()
    ]
    state = network.state_dict()
    shapes = [(name, value.shape, value.dtype) for name, value in state.items()]
    constants = [(name, value.numpy().tobytes()) for name, value in network.named_buffers() if name not in state]
    return tuple(modules), tuple(shapes), tuple(constants)


def _draw_graph(network: nn.Module) -> ModelProto:
    """Trace a network and keep its graph for others of its form, if no constant in it was made from the numbers."""
    graph = _trace(network)
    used = {name for node in graph.graph.node for name in node.input}
    if used >= {name for name, value in network.state_dict().items() if value.is_floating_point()}:
        _graphs[_form(network)] = graph
    while len(_graphs) > KEPT:
        del _graphs[next(iter(_graphs))]
    return graph


def _trace(network: nn.Module) -> ModelProto:
    """Write down what a network computes, for any N, H and W; not the floating-point numbers of its state dict."""
    optimizer = need("onnxscript.optimizer", "train")
    inputs = _examples(network, 2, 65, 71)
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    noisy = inputs.pop("noisy")
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (noisy,),
                kwargs=inputs,
                input_names=["noisy", *inputs],
                output_names=["restored"],
                dynamic_shapes={"noisy": free, **dict.fromkeys(inputs, free)},
                dynamo=True,
                optimize=False,
                verbose=False,
            )
            assert program is not None  # it is, with dynamo=True
            # folds constants only; torch's own choice would also melt batch norm into the convolutions before it,
            # under their names, and leave out biases that are zero
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
    except torch.onnx.errors.OnnxExporterError as error:
        lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
        reason = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or type(error).__name__
        if "data-dependent" in str(error.__cause__ or error):  # torch prints the whole graph before it says so
            reason = "it decides by values of the picture; compute both ways and choose by torch.where"
        raise WeightsError(f"{type(network).__name__} cannot be exported: {reason}") from error
    return _plain(program.model_proto, network.state_dict())


def _plain(model: ModelProto, state: dict[str, Tensor]) -> ModelProto:
    """Drop the numbers, and what the exporter notes for debugging: names and stack traces of source files."""
    floats = {name for name, value in state.items() if value.is_floating_point()}
    constants = [tensor for tensor in model.graph.initializer if tensor.name not in floats]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        batch, _, height, width = value.type.tensor_type.shape.dim
        batch.dim_param, height.dim_param, width.dim_param = "N", "H", "W"
    return model


def _store_halves(model: ModelProto, state: dict[str, Tensor]) -> None:
    """Store a state dict's numbers as fp16 under their names, cast to float32 where they are used.

    Numbers that the graph does not need (a branch used in training only, one of two equal tensors) are stored too.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    floats = {name: value for name, value in state.items() if value.is_floating_point()}
    others = [
        numpy_helper.from_array(state[tensor.name].numpy(), tensor.name) if tensor.name in state else tensor
        for tensor in graph.initializer
    ]
    wide = {name: f"{name}.float32" for name in floats}
    for node in graph.node:
        node.input[:] = [wide.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input}
    casts = [
        helper.make_node("Cast", [name], [wide[name]], to=TensorProto.FLOAT) for name in floats if wide[name] in used
    ]
    halves = [numpy_helper.from_array(value.half().numpy(), name) for name, value in floats.items()]
    nodes = list(graph.node)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(casts + nodes)
    graph.initializer.extend(halves + others)


def _adds_residual(model: ModelProto) -> bool:
    """Say whether the last step adds something to, or takes it from, the noisy picture itself."""
    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers[model.graph.output[0].name]
    return last.op_type in ("Add", "Sub") and "noisy" in last.input


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings about packages that are not needed off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
