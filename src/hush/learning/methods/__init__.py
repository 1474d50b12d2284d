"""Methods by name: how a network learns.

A method is a class ``Method(recipe, device, *, ...)`` with ``step(batches, rngs, step, progress)``, one update that
returns the terms of its loss, and ``restore(noisy, sigma_map=, label=)`` with the numbers to be judged. ``updaters``
holds an `Updater` per network, the restorer first. ``network(noisy, sigma_map=, label=)`` in evaluation is what
``restore`` computes. Its own options are keywords, written ``noise2noise(frozen=true)``.

It may have ``prepare(data)``, which returns the data set that it wants to learn from, and ``state``, a dict of what a
checkpoint must hold beside the updaters.

``degrade(batch, rng)`` is what it makes of a batch before the network sees it; a run shows it in data.png.

A method that makes no restorer says ``restores = False``. `classification` makes a classifier and has
``classify(noisy)`` instead: the scores (N, classes). One whose loss has terms that it computes itself names them in
``own_terms``, such as ``kl``; one that does not use some keys of a recipe names them in ``unused``; one that does not
take every network has ``check_network(network, spec)``; one whose best weights by PSNR are not what is wanted says
``result = "last"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hush.names import Call, check_options, find, parse_call

if TYPE_CHECKING:
    import torch

    from hush.learning.config import Recipe

METHODS = {
    "adversarial": "hush.learning.methods.adversarial:Adversarial",
    "classification": "hush.learning.methods.classification:Classification",
    "distillation": "hush.learning.methods.distillation:Distillation",
    "noise2noise": "hush.learning.methods.noise2noise:Noise2Noise",
    "supervised": "hush.learning.methods.supervised:Supervised",
    "variational": "hush.learning.methods.variational:Variational",
}


def open_method(recipe: Recipe, device: torch.device) -> Any:
    """Open the method that a recipe names, such as ``supervised`` or ``noise2noise(frozen=true)``.

    Raises UsageError for an unknown method or option.
    """
    factory, call = _find(recipe.method)
    return factory(recipe, device, **call.options)


def restores(method: str) -> bool:
    """Say whether a method, by its specification, makes a restorer; otherwise it makes a classifier.

    Raises UsageError for an unknown method or option.
    """
    return bool(getattr(_find(method)[0], "restores", True))


def result_of(method: str) -> str:
    """Return which weights a method, by its specification, is for: best (of the validation) or last.

    Raises UsageError for an unknown method or option.
    """
    return str(getattr(_find(method)[0], "result", "best"))


def _find(spec: str) -> tuple[Any, Call]:
    call = parse_call(spec)
    factory = find(METHODS, call.name, "method")
    check_options(factory, call, "method", given=("recipe", "device"))
    return factory, call


__all__ = ["METHODS", "open_method", "restores", "result_of"]
