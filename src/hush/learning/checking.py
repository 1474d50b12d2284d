"""Is a recipe one that can be followed? Seen before a training starts, so that a misspelt word costs no hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from hush.errors import RecipeError
from hush.learning.config import Recipe, changed_keys, to_dict
from hush.learning.datasets import DataSet, Item
from hush.learning.losses import Loss
from hush.learning.methods import METHODS, open_method, restores
from hush.learning.networks import NetworkLimits, build_classifier, build_network
from hush.learning.noise import Degradation
from hush.names import find, parse_call


def check_told(recipe: Recipe, limits: NetworkLimits) -> None:
    """Raise RecipeError if a network that reads no noise level is to be told one with errors, or not at all."""
    if (recipe.untold or recipe.level_error) and not limits.sigma_map:
        raise RecipeError(
            f"untold = {recipe.untold:g}, level_error = {recipe.level_error:g}: network {recipe.network!r} is never "
            "told the noise level; set both to 0, or take one that is (sigma_map=true)"
        )


def check_parts(recipe: Recipe, processes: int = 1) -> None:
    """Raise RecipeError for a batch that cannot be divided among ``processes`` and the parts that are gathered."""
    parts = recipe.optimiser.accumulate * processes
    if recipe.data.batch % parts:
        raise RecipeError(f"data.batch = {recipe.data.batch} cannot be divided into {parts} equal parts")


def check_length(recipe: Recipe) -> None:
    """Raise RecipeError for a training that would never end."""
    if not any((recipe.length.steps, recipe.length.epochs, recipe.length.minutes)):
        raise RecipeError("the recipe has no end: set length.steps, length.epochs or length.minutes")


def check_labels(items: Iterable[Item], limits: NetworkLimits, network: str) -> None:
    """Raise RecipeError for labels that a network with classes does not know."""
    largest = max((item.label for item in items if item.label is not None), default=-1)
    if limits.classes and largest >= limits.classes:
        raise RecipeError(
            f"the data have labels up to {largest}, network {network!r} knows {limits.classes} classes, from 0 on; "
            f"give it classes={largest + 1}"
        )


def note_idle_keys(
    recipe: Recipe, limits: NetworkLimits, *, mixed: bool, undrawn: str = "", unused: Sequence[str] = ()
) -> list[str]:
    """Return a note of each key that is set and does nothing here.

    Args:
        recipe: with its keys.
        limits: of its network.
        mixed: whether the data set has pairs that are noisy enough, as a mixture has.
        undrawn: why no patch is drawn, if none is.
        unused: keys that the method does not use.
    """
    data = recipe.data
    whole = "" if data.patch else "data.patch is 0, so whole pictures are taken"
    late = f"it is not smaller than data.patch = {data.patch}" if 0 < data.patch <= data.early_patch else whole
    reasons = {
        "data.shrink": whole,
        "data.drawn": undrawn or whole,
        "data.early_patch": late if data.early_steps else "data.early_steps is 0",
        "data.early_steps": "" if data.early_patch else "data.early_patch is 0",
        "data.enlarge": ""
        if mixed and data.grafted
        else "it is for pictures that data.grafted puts a mixture's noise on",
        "data.gray": "the network is gray" if limits.channels == 1 else "",
        "data.grafted": "" if mixed else "only a mixture has pairs whose noise is taken",
        "optimiser.momentum": "" if recipe.optimiser.name == "muon" else "it is muon's",
        **dict.fromkeys(unused, f"the method {recipe.method} does not use it"),
    }
    changed = changed_keys(to_dict(Recipe()), to_dict(recipe))
    return [
        f"{key} = {changed[key][1]!r} does nothing: {why}" for key, why in reasons.items() if why and key in changed
    ]


def note_noise_on_pairs(recipe: Recipe, data: DataSet, *, learnt: bool) -> list[str]:
    """Return a note of each key that adds noise to pairs which are noisy already.

    ``learnt`` says that noise is added to what is learnt from.
    """

    def noisy(items: Iterable[Item]) -> bool:
        return any(item.noisy is not None and not item.finished for item in items)

    adding = {
        "degradation": learnt and noisy(data.train),
        "validation_degradation": bool(recipe.validation_degradation) and noisy(data.test),
    }
    return [
        f"the data set has pairs that are noisy already, and {key} = {getattr(recipe, key)!r} adds to their noise; "
        f"if that is not meant: --set {key}="
        for key, adds in adding.items()
        if adds
    ]


def note_known_pictures(data: DataSet) -> list[str]:
    """Return a note of held-out pictures that are learnt from too, or of whose scenes others are."""
    learnt, scenes = {id(item) for item in data.train}, {item.scene for item in data.train} - {""}
    if any(id(item) in learnt for item in data.test):
        return ["there is one picture, to learn from and to validate on: its figures say nothing of others"]
    if any(item.scene in scenes for item in data.test):
        return ["held-out pictures are of scenes that are learnt from too, so their figures are too good"]
    return []


def check_recipe(recipe: Recipe) -> nn.Module:
    """See that the parts a recipe names are there and go together; return its network, which takes no memory.

    Data are not looked at. Raises HushError for an unknown network, method, noise or loss, for options that a method
    does not take, for a network that it does not take, and for a training without an end.
    """
    method = find(METHODS, parse_call(recipe.method).name, "method")
    restorer = restores(recipe.method)
    with torch.device("meta"):
        network = build_network(recipe.network) if restorer else build_classifier(recipe.network)
    check_told(recipe, network.limits)  # type: ignore[arg-type]
    if hasattr(method, "check_network"):
        method.check_network(network, recipe.network)
    for chain in filter(None, (recipe.degradation, recipe.validation_degradation)):
        Degradation(chain)
    if restorer:
        given = getattr(method, "own_terms", ())
        tried = torch.zeros(2, 1, 3, 32, 32)  # since some losses need a file
        Loss(recipe.loss, given=given)(*tried, **dict.fromkeys(given, torch.zeros(())))
    check_length(recipe)
    opened = open_method(recipe, torch.device("meta"))  # which looks at its own options
    if hasattr(opened, "prepare"):
        opened.prepare(DataSet([], []))
    return network
