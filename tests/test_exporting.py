"""What is exported runs without torch and gives what torch gives; its numbers can be read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import hush
from conftest import shared_data
from hush.errors import UsageError, WeightsError
from hush.learning import exporting
from hush.learning.checkpoints import save_state
from hush.learning.devices import multiplies_bf16
from hush.learning.exporting import bf16_is_harmless, compare, export
from hush.learning.networks import NETWORKS, NetworkLimits, build_network
from hush.learning.torch_runtime import open_bare, open_network, open_torch, read_numbers
from hush.restoring.runtimes import open_runtime
from hush.restoring.weights import Card, open_weights
from tiny import random_numbers, write_tiny

SMALL = {  # as different as their options allow, in little time
    "autoencoder": "autoencoder(widths=[8, 16], batch_norm=True, output=sigmoid)",
    "dncnn": "dncnn(channels=1, width=8, depth=3)",
    "drunet": "drunet(widths=[8, 16], blocks=1, unshuffle=2, merge_early=true)",
    "ffdnet": "ffdnet(width=8, depth=3)",
    "guided_unet": "guided_unet(widths=[8, 16], classifier='resnet_classifier(widths=[4, 8], blocks=1)')",
    "resnet34_unet": "resnet34_unet(width=8, widths=[8, 8, 8, 8, 8])",
    "unet": "unet(width=4, depth=2, batch_norm=True, sigma_map=True, up=nearest)",
    "vae": "vae(widths=[4, 8], latent=4, batch_norm=True)",
}


def card_of(spec: str) -> Card:
    return Card("test", spec, 3, False, 0, summary="größer", recipe={"steps": 7})


def trained(spec: str) -> nn.Module:
    """Build a network whose numbers, running statistics included, are not those it starts with."""
    torch.manual_seed(3)
    network = build_network(spec)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(0.2 * torch.rand_like(buffer))
    for number in network.state_dict().values():
        number.copy_(number.half())  # so that storing them as fp16 changes nothing
    return network


class Exported(NamedTuple):
    name: str
    network: Any
    file: Path


@pytest.fixture(scope="module", params=list(NETWORKS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export each listed network once."""
    spec = SMALL.get(request.param, request.param)
    network = trained(spec)
    file = tmp_path_factory.mktemp("exported") / f"{request.param}.onnx"
    return Exported(request.param, network.eval(), export(network, card_of(spec), file))


def inputs_of(network: Any, height: int, width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(height)
    inputs = {"noisy": rng.random((2, network.limits.channels, height, width), np.float32)}
    return inputs | ({"sigma_map": rng.random((2, 1, height, width), np.float32)} if network.limits.sigma_map else {})


@pytest.mark.parametrize("runtime", ["openvino", "onnx", "torch"])
def test_the_file_gives_what_the_network_gives(runtime: str, exported: Exported) -> None:
    run = open_runtime(open_weights(exported.file), runtime=runtime, device="cpu", precision="exact")
    for height, width in [(1, 1), (1, 9), (13, 6), (24, 40)]:
        inputs = inputs_of(exported.network, height, width)
        with torch.no_grad():
            expected = exported.network(**{key: torch.from_numpy(value) for key, value in inputs.items()}).numpy()
        # of sums of large numbers, float32 keeps what is small beside them
        np.testing.assert_allclose(run(**inputs), expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=1e-4)


def test_the_file_is_in_the_form_that_ships(exported: Exported) -> None:
    network = exported.network
    model = onnx.load(exported.file)
    onnx.checker.check_model(model, full_check=True)
    expected = ["noisy", "sigma_map"] if network.limits.sigma_map else ["noisy"]
    assert [value.name for value in model.graph.input] == expected
    assert [value.name for value in model.graph.output] == ["restored"]
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["N", network.limits.channels, "H", "W"]
    state = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
    halves = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    assert halves == set(state)
    others = sum(np.prod(t.dims, dtype=int) for t in model.graph.initializer if t.name not in halves)
    assert others < 0.1 * sum(value.numel() for value in state.values())
    assert str(Path(hush.__file__).parent) not in str(model), "where it was made is nobody's business"


def test_the_card_says_what_the_network_takes(exported: Exported) -> None:
    card, limits = open_weights(exported.file).card, exported.network.limits
    assert (card.channels, card.sigma_map, card.overlap) == (limits.channels, limits.sigma_map, limits.overlap)
    assert card.multiple == exported.network.multiple
    assert not (card.bf16 and exported.name in ("autoencoder", "ffdnet")), "they end in no sum with the noisy picture"
    assert (card.summary, card.recipe) == ("größer", {"steps": 7})


def test_numbers_are_read_back_under_their_names(exported: Exported) -> None:
    numbers = read_numbers(exported.file)
    state = {key: value for key, value in exported.network.state_dict().items() if value.is_floating_point()}
    assert set(numbers) == set(state)
    for key, value in state.items():
        assert numbers[key].dtype == np.float32
        np.testing.assert_array_equal(numbers[key], value.numpy())


def test_a_file_that_differs_from_the_network_is_refused(exported: Exported) -> None:
    weights = open_weights(exported.file)
    assert compare(exported.network, weights) < 1e-4
    with pytest.raises(WeightsError, match="differs from torch"):
        compare(build_network(weights.card.network).eval(), weights)


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = trained(SMALL["dncnn"]).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export(network, card_of(SMALL["dncnn"]), tmp_path / "folder" / "x.onnx")
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["x.onnx"]


def test_bf16_is_allowed_where_it_does_not_show(tmp_path: Path) -> None:
    """Of the published networks none may: one gives 8-bit steps, one carries the picture through 20 layers."""
    small = build_network(SMALL["drunet"])
    small.tail.weight.data.normal_(std=1e-3)
    assert bf16_is_harmless(small)
    assert open_weights(export(small, card_of(SMALL["drunet"]), tmp_path / "x.onnx")).card.bf16
    small.tail.weight.data.normal_(std=1)
    assert not bf16_is_harmless(small)
    published, _ = open_network(f"dncnn@{shared_data('peers', 'cdncnn_b.npz')}")
    assert not bf16_is_harmless(published)


class Partly(nn.Module):
    """A network with a branch that restoring does not use, and numbers that are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = NetworkLimits(channels=1, overlap=1)
        self.used = nn.Conv2d(1, 1, 3, padding=1)
        nn.init.zeros_(self.used.bias)
        self.unused = nn.Conv2d(1, 2, 1)

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        return self.used(noisy)


def test_numbers_that_restoring_does_not_use_are_kept(tmp_path: Path) -> None:
    network = Partly()
    numbers = read_numbers(export(network, card_of("x"), tmp_path / "x.onnx"))
    assert set(numbers) == set(network.state_dict())


def test_numbers_beyond_fp16_are_refused(tmp_path: Path) -> None:
    network = Partly()
    network.used.weight.data.fill_(1e5)
    (tmp_path / "x.onnx").write_bytes(b"of an earlier export")
    with pytest.raises(WeightsError, match=r"x\.onnx: .*lower optimiser\.rate"):
        export(network, card_of("x"), tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"of an earlier export"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_network_that_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    class Undecided(Partly):
        def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
            return self.used(noisy) if noisy.mean().item() > 0.3 else noisy

    with pytest.raises(
        WeightsError, match=r"Undecided cannot be exported: it decides by values of the picture.*torch\.where"
    ):
        export(Undecided(), card_of("x"), tmp_path / "x.onnx")


def test_a_form_is_traced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_graphs", {})
    spec = SMALL["dncnn"]
    network = build_network(spec)
    exporting.check_export(network)
    first = export(trained(spec), card_of(spec), tmp_path / "first.onnx").read_bytes()
    with monkeypatch.context() as stopped:
        stopped.setattr(torch.onnx, "export", None)
        other = export(network, card_of(spec), tmp_path / "other.onnx").read_bytes()
    exporting._graphs.clear()
    assert export(network, card_of(spec), tmp_path / "anew.onnx").read_bytes() == other != first
    monkeypatch.setattr(torch.onnx, "export", None)
    with pytest.raises(TypeError):
        export(build_network("dncnn(channels=1, width=8, depth=4)"), card_of(spec), tmp_path / "another.onnx")


class Hidden(Partly):
    """A network whose graph depends on what its form does not tell: a constant made of its numbers, a global."""

    factor = 1.0

    def forward(self, noisy: Tensor, *, sigma_map: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        weight = self.used.weight.flip(2) * Hidden.factor
        return self.used(noisy) + nn.functional.conv2d(noisy, weight, padding=1) + self.unused(noisy)[:, :1]


def test_what_a_form_does_not_tell_is_traced_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, factor in ((0, 1.0), (1, 1.0), (1, 3.0)):
        torch.manual_seed(seed)
        monkeypatch.setattr(Hidden, "factor", factor)
        network = Hidden().eval()
        file = export(network, card_of("x"), tmp_path / "x.onnx")  # refused if it differs
        assert compare(network, open_weights(file)) < 1e-3


# ---------------------------------------------------------------- networks from files


def test_open_network_gives_numbers_and_card(tmp_path: Path) -> None:
    network, card = open_network(write_tiny(tmp_path / "tiny.onnx"))
    assert card.name == "tiny"
    for key, value in random_numbers().items():
        assert np.array_equal(network.state_dict()[key].numpy(), value.astype(np.float32))


def test_open_network_takes_a_runs_safetensors(tmp_path: Path) -> None:
    network = trained(SMALL["drunet"])
    card = Card("run", SMALL["drunet"], 3, True, 48)
    content = {"card": {"name": "run", "network": SMALL["drunet"], "channels": 3, "sigma_map": True, "overlap": 48}}
    save_state(tmp_path / "best.safetensors", content | {"numbers": dict(network.state_dict())})
    opened, found = open_network(tmp_path / "best.safetensors")
    assert found == card
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in opened.state_dict().items())
    numbers = read_numbers(tmp_path / "best.safetensors")
    assert set(numbers) == set(network.state_dict())
    run = open_bare(str(tmp_path / "best.safetensors"), device="cpu")
    assert run(**inputs_of(network, 9, 9)).shape == (2, 3, 9, 9)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_bare_arrays_with_options(kind: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    spec = SMALL["unet"]
    network = trained(spec)
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    file = tmp_path / f"bare.{kind}"
    np.savez(file, **arrays) if kind == "npz" else save_file(arrays, file)
    opened, card = open_network(f"{spec}@{file}")
    assert build_network(card.network).limits == network.limits
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in opened.state_dict().items())


@pytest.mark.parametrize(
    ("file", "spec", "channels", "sigma_map"),
    [
        ("ffdnet_color", "ffdnet(channels=3, width=96, depth=12)", 3, True),
        ("ffdnet_gray", "ffdnet(channels=1, width=64, depth=15)", 1, True),
        ("cdncnn_b", "dncnn(channels=3, width=64, depth=20, batch_norm=False, bias=True)", 3, False),
        ("dncnn_b", "dncnn(channels=1, width=64, depth=20, batch_norm=False, bias=True)", 1, False),
    ],
)
def test_published_arrays_tell_their_options(file: str, spec: str, channels: int, sigma_map: bool) -> None:
    path = shared_data("peers", f"{file}.npz")
    network, card = open_network(f"{spec.partition('(')[0]}@{path}")
    assert card.network == spec
    assert (card.channels, card.sigma_map) == (channels, sigma_map)
    assert build_network(card.network).limits == network.limits
    published = np.load(path)
    total = sum(value.numel() for value in network.state_dict().values())
    assert total == sum(published[name].size for name in published.files)


def test_arrays_of_another_network_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{"head.weight": np.zeros((4, 4, 3, 3))})
    with pytest.raises(WeightsError, match=r"x\.npz: not the numbers of this DRUNet: .* is missing"):
        open_network(f"drunet(widths=[4], blocks=0, unshuffle=1)@{tmp_path / 'x.npz'}")
    with pytest.raises(WeightsError, match=r"head\.weight"):
        open_network(f"ffdnet@{tmp_path / 'x.npz'}")
    with pytest.raises(UsageError, match="no option 'widhts'"):
        open_network(f"drunet(widhts=[4])@{tmp_path / 'x.npz'}")


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{"an": "object"}], dtype=object))
    torch.save({"a": torch.zeros(1)}, tmp_path / "y.npz")
    for name in ("x.npz", "y.npz"):
        with pytest.raises(WeightsError, match=f"{name}: (damaged|not the numbers)"):
            open_network(f"drunet@{tmp_path / name}")


@pytest.mark.parametrize("name", ["x.npz", "x.safetensors", "x.onnx"])
@pytest.mark.parametrize("content", [None, b"", b"garbage, " * 20])
def test_damaged_files_are_refused(name: str, content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_numbers(tmp_path / name)


def test_torch_computes_in_bf16_only_if_asked_or_harmless(tmp_path: Path) -> None:
    harmless, harmed = (
        open_weights(write_tiny(tmp_path / f"{harmless}.onnx", card={"bf16": harmless})) for harmless in (True, False)
    )
    native = "bfloat16" if multiplies_bf16(torch.device("cpu")) else "float32"
    assert open_torch(harmed, device="cpu").description.endswith("float32")
    assert open_torch(harmless, device="cpu", precision="exact").description.endswith("float32")
    assert open_torch(harmless, device="cpu").description.endswith(native)
    assert open_torch(harmed, device="cpu", precision="fast").description.endswith(native)


def test_exporting_is_silent(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    export(Partly(), card_of("x"), tmp_path / "x.onnx")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
