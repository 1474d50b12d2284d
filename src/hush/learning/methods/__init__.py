"""Methods by name: how a network learns.

A method is a class ``Method(recipe, device)`` with ``step(batches, rngs, step, progress)``, one update that returns
the terms of its loss, and ``restore(noisy, sigma_map=, label=)`` with the numbers to be judged. ``updaters`` holds
an `Updater` per network, the restorer first.
"""

from __future__ import annotations

METHODS = {
    "supervised": "hush.learning.methods.supervised:Supervised",
}
