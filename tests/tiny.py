"""A two-layer network as an ONNX file, written by hand: tests of what runs weights need no training and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hush.restoring.weights import CARD_KEY, Card

WIDTH = 4


def random_numbers(channels: int = 3, *, sigma_map: bool = True, scale: float = 0.1) -> dict[str, np.ndarray]:
    """Draw numbers of ``drunet(widths=[4], blocks=0, unshuffle=1)``."""
    rng = np.random.default_rng(5)
    head = rng.standard_normal((WIDTH, channels + sigma_map, 3, 3)) * scale
    tail = rng.standard_normal((channels, WIDTH, 3, 3)) * scale
    return {"head.weight": head.astype(np.float16), "tail.weight": tail.astype(np.float16)}


def darkening_numbers(channels: int = 3) -> dict[str, np.ndarray]:
    """Return numbers with which restored = noisy - sigma_map / 2: whoever knows sigma knows the result."""
    numbers = {name: 0 * value for name, value in random_numbers(channels).items()}
    numbers["head.weight"][0, channels, 1, 1] = 1  # the first feature is the level
    numbers["tail.weight"][:, 0, 1, 1] = -0.5
    return numbers


def write_tiny(
    path: Path,
    channels: int = 3,
    *,
    sigma_map: bool = True,
    numbers: dict[str, np.ndarray] | None = None,
    card: dict[str, Any] | None = None,
) -> Path:
    """Write an ONNX file in the form that `hush.learning.exporting.export` gives; ``card`` overrides its entries."""
    numbers = random_numbers(channels, sigma_map=sigma_map) if numbers is None else numbers
    seen = "seen" if sigma_map else "noisy"
    nodes = [helper.make_node("Concat", ["noisy", "sigma_map"], ["seen"], axis=1)] if sigma_map else []
    nodes += [helper.make_node("Cast", [name], [f"{name}.float32"], to=TensorProto.FLOAT) for name in numbers]
    nodes += [
        helper.make_node("Conv", [seen, "head.weight.float32"], ["features"], pads=[1] * 4),
        helper.make_node("Conv", ["features", "tail.weight.float32"], ["residual"], pads=[1] * 4),
        helper.make_node("Add", ["noisy", "residual"], ["restored"]),
    ]
    named = {"noisy": channels} | ({"sigma_map": 1} if sigma_map else {})
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", c, "H", "W"]) for name, c in named.items()]
    output = helper.make_tensor_value_info("restored", TensorProto.FLOAT, ["N", channels, "H", "W"])
    tensors = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    spec = f"drunet(channels={channels}, widths=[{WIDTH}], blocks=0, unshuffle=1, sigma_map={sigma_map})"
    content = {"name": "tiny", "network": spec, "channels": channels, "sigma_map": sigma_map, "overlap": 2}
    helper.set_model_props(model, {CARD_KEY: Card(**(content | {"bf16": True} | (card or {}))).to_json()})
    onnx.save(model, path)
    return path
