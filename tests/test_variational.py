"""The method variational: the divergence is right, codes are drawn in training and only there."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from conftest import rng
from hush.errors import HushError, RecipeError
from hush.learning.checking import check_recipe
from hush.learning.config import Recipe, build
from hush.learning.datasets import Batch
from hush.learning.methods.variational import Variational, kl
from hush.learning.networks import build_network

SMALL = "vae(widths=[4, 8, 8], latent=4)"


def recipe(**more):
    content = {"network": SMALL, "method": "variational", "precision": "f32", "degradation": "gaussian(sigma=25)"}
    return build(Recipe, {**content, "length": {"steps": 1}, "loss": "l1 + 0.01*kl", **more}, "test")


def pictures(n=2):
    return torch.rand(n, 3, 12, 16, generator=rng(1))


def test_the_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(2, 4, 3, 5, generator=rng()), torch.randn(2, 4, 3, 5, generator=rng(1))
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(kl(mean, log_variance), expected)
    assert kl(torch.zeros(3), torch.zeros(3)) == 0


def test_codes_are_drawn_with_a_generator_and_only_then():
    network = build_network(SMALL).eval()
    noisy = pictures()
    with torch.no_grad():
        plain = network(noisy)
        first, again, other = (network(noisy, rng=rng(seed)) for seed in (0, 0, 1))
        assert torch.equal(plain, network(noisy))
        assert torch.equal(first.restored, again.restored)
        assert not torch.equal(first.restored, other.restored)
        assert torch.equal(first.mean, other.mean)


def test_the_weight_of_the_divergence_decides_how_certain_codes_are():
    batch = Batch(pictures(4))
    divergences = {}
    for weight in (0.0, 1.0):
        adam = {"name": "adamw", "rate": 3e-3, "warmup": 1}
        learner = Variational(recipe(loss=f"l1 + {weight}*kl", optimiser=adam), torch.device("cpu"))
        for step in range(40):
            divergences[weight] = learner.step([batch], [rng(step)], step, 0.0)["kl"]
    assert divergences[1.0] < 0.5 * divergences[0.0]


def test_its_terms_are_those_of_the_recipe():
    learner = Variational(recipe(loss="l1 + 0.2*ssim + 1e-3*total_variation + 0.5*kl"), torch.device("cpu"))
    terms = learner.step([Batch(pictures())], [rng()], 0, 0.0)
    assert terms.keys() == {"loss", "l1", "ssim", "total_variation", "kl"}
    weighted = terms["l1"] + 0.2 * terms["ssim"] + 1e-3 * terms["total_variation"] + 0.5 * terms["kl"]
    assert terms["loss"] == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "unet(width=4, depth=1)"}, "draws codes, such as vae"),
        ({"method": "supervised"}, "'kl' is a term of the method variational"),
        ({"loss": "l1 + kk"}, "unknown loss 'kk'"),
        ({"length": {}}, "no end"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(change, message):
    with pytest.raises(HushError, match=message):
        check_recipe(recipe(**change))
    with pytest.raises(RecipeError, match="draws codes"):
        Variational(recipe(network="unet(width=4, depth=1)"), torch.device("cpu"))
