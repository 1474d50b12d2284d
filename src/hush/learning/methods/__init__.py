"""Methods by name: how a network learns.

A method is a class ``Method(recipe, device)`` with ``step(batches, rngs, step, progress)``, one update that returns
the terms of its loss, and ``restore(noisy, sigma_map=, label=)`` with the numbers to be judged. ``updaters`` holds
an `Updater` per network, the restorer first. ``network(noisy, sigma_map=, label=)`` in evaluation is what
``restore`` computes.

``degrade(batch, rng)`` is what it makes of a batch before the network sees it; a run shows it in data.png.

A method that makes no restorer says ``restores = False``. `classification` makes a classifier and has
``classify(noisy)`` instead: the scores (N, classes). One whose loss has terms that it computes itself names them in
``own_terms``, such as ``kl``; one that does not take every network has ``check_network(network, spec)``.
"""

from __future__ import annotations

from hush.names import find

METHODS = {
    "classification": "hush.learning.methods.classification:Classification",
    "supervised": "hush.learning.methods.supervised:Supervised",
    "variational": "hush.learning.methods.variational:Variational",
}


def restores(method: str) -> bool:
    """Say whether a method, by its name, makes a restorer; otherwise it makes a classifier."""
    return bool(getattr(find(METHODS, method, "method"), "restores", True))


__all__ = ["METHODS", "restores"]
