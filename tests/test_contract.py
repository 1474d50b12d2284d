"""One walk over every table: being listed is being tested."""

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import rng
from hush.errors import RecipeError, UsageError, WeightsError
from hush.imaging.metrics import METRICS
from hush.judging.metrics import LOWER_IS_BETTER, open_metric
from hush.learning.config import Recipe, build
from hush.learning.datasets import DATASETS, Batch, open_dataset
from hush.learning.losses import LOSSES, Loss
from hush.learning.methods import METHODS, restores
from hush.learning.networks import (
    CLASSIFIERS,
    DISCRIMINATORS,
    NETWORKS,
    NetworkLimits,
    build_classifier,
    build_discriminator,
    build_network,
)
from hush.learning.noise import NOISES, Degradation
from hush.names import find

SMALL = {  # options that make a network small enough to learn in a second; the defaults are what ships
    "drunet": "drunet(widths=[8, 16], blocks=1, unshuffle=2)",
    "dncnn": "dncnn(width=8, depth=4)",
    "ffdnet": "ffdnet(width=16, depth=4)",
    "autoencoder": "autoencoder(widths=[8, 16])",
    "unet": "unet(width=8, depth=2)",
    "vae": "vae(widths=[8, 12, 16], latent=8)",
    "guided_unet": "guided_unet(classifier='resnet_classifier(widths=[4, 8], blocks=1)', widths=[8, 16], unshuffle=2)",
    "cnn_classifier": "cnn_classifier(widths=[8, 16, 24])",
    "resnet_classifier": "resnet_classifier(widths=[8, 16], blocks=1)",
    "resnet34": "resnet34(width=8)",
    "resnet34_unet": "resnet34_unet(width=8, widths=[8, 8, 8, 8, 8])",
    "patch_discriminator": "patch_discriminator(width=8)",
    "feature_discriminator": "feature_discriminator(width=8)",
}


def networks_of(method):
    """Return the names of the networks that a method takes."""
    check = getattr(find(METHODS, method, "method"), "check_network", None)
    names = []
    for name in NETWORKS if restores(method) else CLASSIFIERS:
        try:
            if check is not None:
                check(build_network(SMALL[name]), name)
        except RecipeError:
            continue
        names.append(name)
    assert names, "a method that takes no network cannot be used"
    return names


def clean_batch(n=2, height=24, width=32):
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 3, width), indexing="ij")
    planes = [0.5 + 0.4 * torch.sin(x * (i + 1) + c) * torch.cos(y + c) for i in range(n) for c in range(3)]
    return torch.stack(planes).reshape(n, 3, height, width)


def restore(network, noisy):
    sigma_map = torch.full_like(noisy[:, :1], 0.1) if network.limits.sigma_map else None
    return network(noisy[:, : network.limits.channels], sigma_map=sigma_map)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_every_size(name):
    network = build_network(SMALL[name]).eval()
    for height, width in [(1, 1), (1, 7), (5, 2), (17, 31), (33, 16)]:
        noisy = torch.rand(1, 3, height, width)
        with torch.no_grad():
            assert restore(network, noisy).shape == (1, network.limits.channels, height, width)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_build_with_their_defaults_and_have_limits(name):
    network = build_network(name)
    assert network.limits.channels in (1, 3)
    assert network.limits.overlap > 0
    assert sum(p.numel() for p in network.parameters()) > 1000


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_name_every_size(name):
    classifier = build_classifier(SMALL[name]).eval()
    limits = build_classifier(name).limits
    assert (limits.channels, limits.classes) == (3, 10)
    for height, width in [(1, 1), (1, 7), (5, 2), (17, 31), (33, 16)]:
        with torch.no_grad():
            assert classifier(torch.rand(2, 3, height, width)).shape == (2, 10)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_score_every_size_and_learn_to_tell_noisy_from_clean(name):
    torch.manual_seed(0)
    critic = build_discriminator(SMALL[name])
    for height, width in [(1, 1), (1, 7), (17, 31), (70, 33)]:
        scores = critic(torch.rand(2, 3, height, width), torch.rand(2, 3, height, width))
        assert (scores.ndim, len(scores)) == (4, 2)
    clean = clean_batch(4, 32, 32)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=rng())
    optimiser = torch.optim.Adam(critic.parameters(), lr=5e-3)
    for _ in range(20):
        optimiser.zero_grad()
        torch.nn.functional.softplus(critic(noisy, noisy) - critic(clean, noisy)).mean().backward()
        optimiser.step()
    with torch.no_grad():
        assert critic(clean, noisy).mean() > critic(noisy, noisy).mean()


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in METHODS for name in networks_of(method)],
)
def test_twenty_steps_lower_the_loss(method, name):
    content = {"network": SMALL[name], "method": method, "degradation": "gaussian(sigma=50)", "precision": "f32"}
    recipe = build(Recipe, {**content, "optimiser": {"name": "adamw", "rate": 3e-3, "warmup": 1}}, "test")
    learner = find(METHODS, method, "method")(recipe, torch.device("cpu"))
    batch = Batch(clean_batch(4), label=torch.arange(4))
    losses = [learner.step([batch], [rng(7)], step, 0.0)["loss"] for step in range(21)]  # the same noise each step
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    if restores(method):
        restored = learner.restore(batch.clean, sigma_map=torch.full_like(batch.clean[:, :1], 0.1))
        assert restored.shape == batch.clean.shape
    else:
        assert learner.classify(batch.clean).shape == (4, 10)


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_a_function_of_clean_and_rng(name):
    clean = 1.3 * clean_batch()  # beyond 1 here and there, where clipping shows
    kept = clean.clone()
    noise = Degradation(name)
    noisy = noise(clean, rng(1)).noisy
    assert noisy.shape == clean.shape
    assert noisy.dtype == clean.dtype
    assert torch.isfinite(noisy).all()
    assert torch.equal(clean, kept), "the clean batch was changed in place"
    assert torch.equal(noisy, noise(clean, rng(1)).noisy)
    assert not torch.equal(noisy, clean)


@pytest.mark.parametrize("name", NOISES)
def test_noises_take_a_number_per_image(name):
    import inspect

    numeric = [
        key for key, p in inspect.signature(find(NOISES, name, "noise")).parameters.items()
        if isinstance(p.default, (int, float)) and not isinstance(p.default, bool)
    ]  # fmt: skip
    clean = clean_batch()
    for key in numeric:
        default = inspect.signature(find(NOISES, name, "noise")).parameters[key].default
        ranged = Degradation(f"{name}({key}={default}..{default})")(clean, rng(3)).noisy
        assert ranged.shape == clean.shape, key


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_least_at_equality(name):
    loss = find(LOSSES, name, "loss")
    clean = clean_batch()
    restored = (clean + 0.1 * torch.randn(clean.shape, generator=rng())).requires_grad_()
    regulariser = getattr(loss, "regulariser", False)
    value = loss(restored) if regulariser else loss(restored, clean)
    assert value.ndim == 0
    value.backward()
    assert torch.isfinite(restored.grad).all()
    best = loss(torch.full_like(clean, 0.5)) if regulariser else loss(clean, clean)
    assert best < value


@pytest.mark.parametrize("name", METRICS)
def test_metrics_order_pictures(name):
    metric = find(METRICS, name, "metric")
    clean = np.random.default_rng(0).random((40, 48, 3)).astype(np.float32)
    a_little, a_lot = (clean + s * np.random.default_rng(1).standard_normal(clean.shape) for s in (0.02, 0.2))
    try:
        near, far = metric(a_little, clean), metric(a_lot, clean)
    except WeightsError as error:
        pytest.skip(f"{error}")
    assert np.isfinite([near, far]).all()
    assert (near < far) if name in LOWER_IS_BETTER else (near > far)


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_say_what_they_read(name):
    assert find(DATASETS, name, "data set").__doc__


class Unlimited(torch.nn.Conv2d):
    """A network of one's own that does not say what it takes."""

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1)


class Unasked(Unlimited):
    """One that takes the picture alone."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = NetworkLimits()


def each(restored, clean):
    """A loss per picture, or a metric per value."""
    return (restored - clean) ** 2


def half(restored, clean):
    """A loss that no gradient flows through."""
    return 0.5


def smaller(clean, rng):
    """A noise that cuts."""
    return clean[..., :8]


def listed(root):
    """A data set that is a list."""
    return [root]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: build_network("test_contract:Unlimited"), r"Unlimited' has no limits; give it self\.limits"),
        (lambda: build_classifier("test_contract:Unlimited"), r"classifier .* has no limits"),
        (
            lambda: build_network("test_contract:half(restored=1, clean=1)"),
            r"is a float; it must be a torch\.nn\.Module",
        ),
        (lambda: build_network("test_contract:Unasked"), r"called as forward\(noisy, \*, sigma_map=None, label=None\)"),
        (lambda: Loss("test_contract:each")(*torch.rand(2, 2, 3, 4, 4)), r"each' gave a tensor \(2, 3, 4, 4\)"),
        (lambda: Loss("test_contract:half")(*torch.rand(2, 2, 3, 4, 4)), r"half' gave a float; it must give a tensor"),
        (
            lambda: Degradation("test_contract:smaller")(torch.rand(1, 3, 9, 9), rng()),
            r"gave \(1, 3, 9, 8\) for a batch",
        ),
        (lambda: open_dataset("test_contract:listed", "there"), r"gave a list; it must give a DataSet"),
        (lambda: open_metric("test_contract:each")(*np.zeros((2, 4, 4, 3))), r"gave \(4, 4, 3\) numbers"),
    ],
)
def test_a_part_of_ones_own_is_told_what_it_must_give(use, message, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(UsageError, match=message):
        use()
