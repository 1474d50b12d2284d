"""Networks by name. A network is a module with ``limits`` and ``forward(noisy, *, sigma_map=None, label=None)``."""

from __future__ import annotations

from torch import nn

from hush.errors import UsageError
from hush.learning.networks.limits import NetworkLimits
from hush.names import check_options, find, parse_call

NETWORKS = {
    "autoencoder": "hush.learning.networks.autoencoder:Autoencoder",
    "dncnn": "hush.learning.networks.dncnn:DnCNN",
    "drunet": "hush.learning.networks.drunet:DRUNet",
    "ffdnet": "hush.learning.networks.ffdnet:FFDNet",
    "unet": "hush.learning.networks.unet:UNet",
}


def build_network(spec: str) -> nn.Module:
    """Build a network from a specification such as ``drunet(widths=[48, 96], unshuffle=2)``.

    Raises UsageError for an unknown network or option.
    """
    call = parse_call(spec)
    factory = find(NETWORKS, call.name, "network")
    check_options(factory, call, "network")
    try:
        return factory(**call.options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"network {spec!r}: {error}") from error


__all__ = ["NETWORKS", "NetworkLimits", "build_network"]
