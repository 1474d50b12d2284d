"""Networks by name. A network is a module with ``limits`` and ``forward(noisy, *, sigma_map=None, label=None)``.

A restorer gives a batch of the shape it took; a classifier, ``forward(noisy)``, the scores (N, classes); a
discriminator, ``forward(picture, noisy)``, scores (N, 1, h, w) that are high for clean pictures.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from hush.errors import UsageError
from hush.learning.networks.limits import NetworkLimits
from hush.names import Call, check_options, find, parse_call

NETWORKS = {
    "autoencoder": "hush.learning.networks.autoencoder:Autoencoder",
    "dncnn": "hush.learning.networks.dncnn:DnCNN",
    "drunet": "hush.learning.networks.drunet:DRUNet",
    "ffdnet": "hush.learning.networks.ffdnet:FFDNet",
    "guided_unet": "hush.learning.networks.guided:GuidedUNet",
    "resnet34_unet": "hush.learning.networks.resnet34:ResNet34UNet",
    "unet": "hush.learning.networks.unet:UNet",
    "vae": "hush.learning.networks.vae:VAE",
}
CLASSIFIERS = {
    "cnn_classifier": "hush.learning.networks.classifiers:CNNClassifier",
    "resnet34": "hush.learning.networks.resnet34:ResNet34",
    "resnet_classifier": "hush.learning.networks.classifiers:ResNetClassifier",
}
DISCRIMINATORS = {
    "patch_discriminator": "hush.learning.networks.discriminators:PatchDiscriminator",
    "feature_discriminator": "hush.learning.networks.discriminators:FeatureDiscriminator",
}


def build_network(spec: str) -> nn.Module:
    """Build a restorer from a specification such as ``drunet(widths=[48, 96], unshuffle=2)``.

    Raises UsageError for an unknown network or option.
    """
    if parse_call(spec).name in CLASSIFIERS:
        raise UsageError(
            f"network {spec!r} is a classifier, which restores nothing. A study judges it: docs/studies.md"
        )
    return _checked(_build(spec, NETWORKS, "network"), f"network {spec!r}", sigma_map=None, label=None)


def build_classifier(spec: str) -> nn.Module:
    """Build a classifier from a specification such as ``resnet_classifier(widths=[16, 32])``.

    Raises UsageError for an unknown classifier or option.
    """
    return _checked(_build(spec, CLASSIFIERS, "classifier"), f"classifier {spec!r}")


def build_discriminator(spec: str, channels: int = 3) -> nn.Module:
    """Build a discriminator from a specification such as ``patch_discriminator(width=32)``.

    It is of pictures of so many ``channels`` unless the specification says otherwise. Raises UsageError for an unknown
    discriminator or option.
    """
    call = parse_call(spec)
    if "channels" in inspect.signature(find(DISCRIMINATORS, call.name, "discriminator")).parameters:
        call = Call(call.name, {"channels": channels, **call.options})
    return _build(str(call), DISCRIMINATORS, "discriminator")


def _checked(network: Any, named: str, **keywords: None) -> nn.Module:
    """Return a network. Raises UsageError if somebody's own is no module, has no limits, or is called otherwise."""
    if not isinstance(network, nn.Module):
        raise UsageError(f"{named} is a {type(network).__name__}; it must be a torch.nn.Module")
    if not isinstance(getattr(network, "limits", None), NetworkLimits):
        raise UsageError(f"{named} has no limits; give it self.limits = NetworkLimits(channels=3, ...)")
    try:
        inspect.signature(network.forward).bind(None, **keywords)
    except TypeError as error:
        wanted = ", ".join(["noisy", *(["*"] if keywords else []), *(f"{name}=None" for name in keywords)])
        raise UsageError(f"{named}: {error}; it is called as forward({wanted})") from error
    return network


def _build(spec: str, table: Mapping[str, str], kind: str) -> nn.Module:
    call = parse_call(spec)
    factory = find(table, call.name, kind)
    check_options(factory, call, kind)
    try:
        network: nn.Module = factory(**call.options)
        return network
    except (TypeError, ValueError) as error:
        raise UsageError(f"{kind} {spec!r}: {error}") from error


__all__ = [
    "CLASSIFIERS",
    "DISCRIMINATORS",
    "NETWORKS",
    "NetworkLimits",
    "build_classifier",
    "build_discriminator",
    "build_network",
]
