"""Weights between two others: every number is interpolated, and so is what they do.

Wang, Yu, Dong, Tang, Loy: Deep Network Interpolation for Continuous Imagery Effect Transition, CVPR 2019,
arXiv:1811.10515; between a faithful restorer and the crisp one that was trained from it.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect

import torch
from torch import nn

from hush.errors import UsageError, WeightsError
from hush.learning.networks import NETWORKS
from hush.names import Call, find, parse_call
from hush.restoring.weights import Card


def blend(first: tuple[nn.Module, Card], second: tuple[nn.Module, Card], share: float) -> tuple[nn.Module, Card]:
    """Return a network with (1 - share) of the first's numbers and share of the second's, and its card.

    The two should have a common past: those of one network trained twice from scratch do not go together.

    Raises UsageError for a share outside [0, 1], WeightsError for numbers of different networks.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share is {share:g}; it must lie within 0 (the first weights) and 1 (the second)")
    (network, card), (other, other_card) = first, second
    mine, theirs = network.state_dict(), other.state_dict()
    shapes, others = ({name: value.shape for name, value in one.items()} for one in (mine, theirs))
    if shapes != others or _built(card.network) != _built(other_card.network):
        raise WeightsError(
            f"{card.name} and {other_card.name} do not fit together: {card.network}, {other_card.network}"
        )
    blended = copy.deepcopy(network)
    blended.load_state_dict(
        {
            name: torch.lerp(value, theirs[name], share) if value.is_floating_point() else value
            for name, value in mine.items()
        }
    )
    words = f"{1 - share:g} of {card.name} and {share:g} of {other_card.name}"
    training = {"blended": words, "first": card.training, "second": other_card.training}
    name = card.name if card.name == other_card.name else f"{card.name}-{other_card.name}"
    return blended.eval(), dataclasses.replace(
        card, name=name, summary=f"Blended: {words}.", training=training, figures=[]
    )


def _built(spec: str) -> Call:
    """Return a network's specification with all of its options."""
    call = parse_call(spec)
    parameters = inspect.signature(find(NETWORKS, call.name, "network")).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    options = {name: list(v) if isinstance(v, tuple) else v for name, v in (defaults | call.options).items()}
    return Call(call.name, options)
