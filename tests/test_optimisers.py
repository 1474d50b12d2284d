"""Muon: orthogonal updates, and it learns; the rate follows its course."""

import pytest
import torch
from torch import nn

from hush.learning.config import OptimiserConfig
from hush.learning.optimisers import Muon, open_optimisers, orthogonalise
from hush.learning.updating import Updater, rate_at


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_singular_values_come_close_to_one(shape, bf16, monkeypatch):
    # Jordan et al. 2024: five steps bring them into about [0.7, 1.2]
    monkeypatch.setattr("hush.learning.optimisers.multiplies_bf16", lambda device: bf16)
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices, steps=5))
    assert values.max() < 1.3
    assert values[:, : min(shape) // 2].min() > 0.5


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_steps_are_those_of_newton_and_schulz(shape, monkeypatch):
    monkeypatch.setattr("hush.learning.optimisers.multiplies_bf16", lambda device: False)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    x = matrix / matrix.norm()
    for _ in range(3):  # as Jordan et al. 2024 write it
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    torch.testing.assert_close(orthogonalise(matrix[None])[0], x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bf16", [True, False])
def test_bf16_is_used_only_where_it_is_multiplied(bf16, monkeypatch):
    # emulated, a step of the networks that ship takes ten seconds
    monkeypatch.setattr("hush.learning.optimisers.multiplies_bf16", lambda device: bf16)
    matrix = torch.randn(1, 20, 60, generator=torch.Generator().manual_seed(1))
    found = orthogonalise(matrix)
    monkeypatch.setattr("hush.learning.optimisers.multiplies_bf16", lambda device: False)
    exact = orthogonalise(matrix)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact) != bf16
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)


@pytest.mark.parametrize("bf16", [True, False])
def test_steps_stay_stable_where_most_singular_values_are_tiny(bf16, monkeypatch):
    monkeypatch.setattr("hush.learning.optimisers.multiplies_bf16", lambda device: bf16)
    rng = torch.Generator().manual_seed(3)
    matrix = torch.randn(64, 4, generator=rng) @ torch.randn(4, 576, generator=rng)
    matrix += 0.01 * torch.randn(matrix.shape, generator=rng)
    assert torch.linalg.svdvals(orthogonalise(matrix[None], steps=5)).max() < 1.3


def test_direction_is_that_of_the_polar_factor():
    matrix = torch.randn(1, 20, 60, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    polar, found = (u @ v).flatten(), orthogonalise(matrix, steps=5).flatten()
    assert torch.dot(polar, found) / (polar.norm() * found.norm()) > 0.98


def test_kernels_inside_go_to_muon_and_the_rest_to_adamw():
    network = nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(4)))
    muon, adamw = open_optimisers(network, "muon", 1e-3, 0.0)
    assert isinstance(muon, Muon)
    assert {tuple(p.shape) for p in muon.param_groups[0]["params"]} == {(4, 4, 3, 3)}
    assert len(muon.param_groups[0]["params"]) == 2
    assert len(adamw.param_groups[0]["params"]) == 2 + 4  # first and last kernel, four biases


def test_muon_keeps_as_much_of_its_direction_as_it_is_told():
    sums = []
    for momentum in (0.5, 0.99):
        network = nn.Sequential(*(nn.Conv2d(1, 1, 1, bias=False) for _ in range(3)))
        updater = Updater(network, OptimiserConfig(rate=0.0, momentum=momentum, clip=0))
        for step in range(3):
            network[1].weight.grad = torch.ones(1, 1, 1, 1)
            updater.apply(step, 0.0, [{"loss": torch.zeros(())}])
        sums.append(updater.optimisers[0].state[network[1].weight]["momentum"].item())
    assert sums == pytest.approx([1 - 0.5**3, 1 - 0.99**3], rel=1e-4)


def test_rate_rises_stays_and_falls():
    config = OptimiserConfig(rate=1.0, warmup=10, decay=0.5, floor=0.1)
    assert rate_at(0, 0.0, config) == pytest.approx(0.1)
    assert rate_at(100, 0.5, config) == pytest.approx(1.0)
    assert rate_at(100, 0.75, config) == pytest.approx(0.55)
    assert rate_at(100, 1.0, config) == pytest.approx(0.1)


def test_averaged_numbers_follow_the_network():
    network = nn.Conv2d(1, 1, 1)
    updater = Updater(network, OptimiserConfig(name="adamw", rate=0.1, warmup=1, average=0.9))
    start = network.weight.item()
    for step in range(40):
        network(torch.ones(1, 1, 1, 1)).sum().backward()
        updater.apply(step, 0.0, [{"loss": torch.zeros(())}])
    average = updater.averaged.weight.item()
    assert network.weight.item() < average < start


def test_a_state_leaves_momenta_and_decays_to_the_recipe():
    def updater(**settings):
        torch.manual_seed(0)
        convolutions = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 3, 3)]
        return Updater(nn.Sequential(*convolutions), OptimiserConfig(**settings))

    before = updater(average=0.9)
    network = before.network
    network(torch.ones(1, 3, 9, 9)).square().mean().backward()
    before.apply(0, 0.0, [{"loss": torch.tensor(1.0)}])
    after = updater(average=0.0, momentum=0.5, weight_decay=5.0)
    after.load_state_dict(before.state_dict())
    muon, adamw = (optimiser.param_groups[0] for optimiser in after.optimisers)
    assert (muon["momentum"], muon["weight_decay"], adamw["weight_decay"]) == (0.5, 5.0, 5.0)
    assert all(
        torch.equal(one, other) for one, other in zip(after.network.parameters(), network.parameters(), strict=True)
    )
    assert after.optimisers[0].state_dict()["state"]
