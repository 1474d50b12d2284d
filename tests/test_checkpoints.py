"""States survive a file whole; damaged files are an error, not a crash."""

import pytest
import torch

from hush.errors import WeightsError
from hush.learning.checkpoints import load_numbers, load_state, save_state


def test_nested_states_come_back(tmp_path):
    shared = torch.arange(6.0)
    state = {"a": shared, "b": {0: {"m": shared[:3], "step": 4}}, "c": [None, 1.5, "x", True], "half": shared.half()}
    save_state(tmp_path / "s.safetensors", state)
    back = load_state(tmp_path / "s.safetensors")
    assert back["c"] == [None, 1.5, "x", True]
    assert torch.equal(back["b"][0]["m"], shared[:3])
    assert back["half"].dtype == torch.float16
    assert list(tmp_path.iterdir()) == [tmp_path / "s.safetensors"]


def test_an_optimisers_state_comes_back(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimiser.step()
    save_state(tmp_path / "o.safetensors", optimiser.state_dict())
    other = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    other.load_state_dict(load_state(tmp_path / "o.safetensors"))
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_damaged_files_are_weights_errors(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        load_state(path)
    with pytest.raises(WeightsError, match="no such file"):
        load_state(tmp_path / "missing.safetensors")


def test_layers_that_do_not_fit_are_named():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 3))
    numbers = {
        "0.weight": torch.ones(2, 2),
        "0.bias": torch.zeros(2),
        "1.weight": torch.ones(5, 2),
        "extra": torch.ones(1),
    }
    assert load_numbers(network, numbers) == ["1.bias", "1.weight", "extra"]
    assert torch.equal(network[0].weight, torch.ones(2, 2))
