"""Is a recipe one that can be followed? Seen before a training starts, so that a misspelt word costs no hours."""

from __future__ import annotations

import torch
from torch import nn

from hush.errors import RecipeError
from hush.learning.config import Recipe
from hush.learning.losses import Loss
from hush.learning.methods import METHODS, restores
from hush.learning.networks import build_classifier, build_network
from hush.learning.noise import Degradation
from hush.names import find, parse_call


def check_recipe(recipe: Recipe) -> nn.Module:
    """See that the parts a recipe names are there and go together; return its network, which takes no memory.

    Data are not looked at. Raises HushError for an unknown network, method, noise or loss, for a method that does not
    take the network, and for a training without an end.
    """
    method = find(METHODS, parse_call(recipe.method).name, "method")
    restorer = restores(recipe.method)
    with torch.device("meta"):
        network = build_network(recipe.network) if restorer else build_classifier(recipe.network)
    if hasattr(method, "check_network"):
        method.check_network(network, recipe.network)
    for chain in filter(None, (recipe.degradation, recipe.validation_degradation)):
        Degradation(chain)
    if restorer:
        given = getattr(method, "own_terms", ())
        tried = torch.zeros(2, 1, 3, 32, 32)  # since some losses need a file
        Loss(recipe.loss, given=given)(*tried, **dict.fromkeys(given, torch.zeros(())))
    if not any((recipe.length.steps, recipe.length.epochs, recipe.length.minutes)):
        raise RecipeError("the recipe has no end: set length.steps, length.epochs or length.minutes")
    return network
