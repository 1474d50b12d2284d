"""A critic teaches without taking away: phases, turns, the pixel term, resuming, and what lies between two weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import rng
from hush.cli import run as run_cli
from hush.errors import RecipeError, UsageError, WeightsError
from hush.learning.blending import blend
from hush.learning.checkpoints import load_state
from hush.learning.config import Recipe, build
from hush.learning.datasets import Batch
from hush.learning.methods import open_method
from hush.learning.methods.adversarial import PATIENCE, _squared_slope
from hush.learning.networks import build_classifier, build_discriminator, build_network
from hush.learning.runs import read_log
from hush.learning.torch_runtime import open_network, read_numbers
from hush.learning.training import train

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CRITIC = "critic='patch_discriminator(width=4, depth=2)'"


def recipe_of(options="", **content):
    method = f"adversarial({', '.join(filter(None, [CRITIC, options]))})"
    settings = {"network": "dncnn(width=8, depth=3, batch_norm=false)", "method": method, "precision": "f32"}
    settings |= {"degradation": "gaussian(sigma=25)", "optimiser": {"name": "adamw", "warmup": 1, "average": 0.0}}
    return build(Recipe, {**settings, **content}, "test")


def learner(options="", **content):
    return open_method(recipe_of(options, **content), CPU)


def clean_batch(n=4, side=32):
    y, x = torch.meshgrid(torch.linspace(0, 6, side), torch.linspace(0, 6, side), indexing="ij")
    return Batch(
        torch.stack(
            [0.5 + 0.4 * torch.sin(x * (i + 1) + c) * torch.cos(y) for i in range(n) for c in range(3)]
        ).reshape(n, 3, side, side)
    )


def moved(method, progress, step=0):
    """Return which networks a step changes, and its terms."""
    before = {name: [p.clone() for p in updater.network.parameters()] for name, updater in method.updaters.items()}
    terms = method.step([clean_batch()], [rng(step)], step, progress)
    after = {name: list(updater.network.parameters()) for name, updater in method.updaters.items()}
    return {n for n in before if any(not torch.equal(a, b) for a, b in zip(before[n], after[n], strict=True))}, terms


def test_the_restorer_learns_alone_then_the_critic_then_both():
    method = learner("alone=0.4, critic_alone=0.2")
    seen = [moved(method, progress) for progress in (0.0, 0.39, 0.41, 0.59, 0.61, 0.99)]
    both = {"network", "critic"}
    assert [names for names, _ in seen] == [{"network"}, {"network"}, {"critic"}, {"critic"}, both, both]
    assert "adversarial" not in seen[0][1]
    assert {"l1", "adversarial", "critic", "critic_right", "loss"} <= seen[-1][1].keys()


def test_until_the_critic_comes_in_it_is_supervised_learning():
    alone = open_method(recipe_of(method="supervised"), CPU)
    method = learner()
    for step in range(3):
        for one in (alone, method):
            one.step([clean_batch()], [rng(step)], step, 0.1)
    for mine, theirs in zip(alone.network.parameters(), method.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_turns_switch_on_the_critics_loss():
    method = learner("alone=0, critic_alone=0, switch=1e-9")  # never good enough: the restorer waits for its turn
    turns = [moved(method, 0.5, step)[0] for step in range(2 * (PATIENCE + 1))]
    assert turns == ([{"critic"}] * PATIENCE + [{"network"}]) * 2
    method = learner("alone=0, critic_alone=0, switch=100")  # always good enough
    assert [moved(method, 0.5, step)[0] for step in range(4)] == [{"critic"}, {"network"}] * 2


@pytest.mark.parametrize("objective", ["hinge", "non_saturating"])
def test_the_critic_learns_to_tell_and_the_restorer_to_please(objective):
    method = learner(f"alone=0, critic_alone=0.5, objective={objective}, critic_rate=5e-3, weight=1")
    terms = [method.step([clean_batch()], [rng(step)], step, 0.1) for step in range(40)]
    assert terms[-1]["critic"] < terms[0]["critic"]
    assert terms[-1]["critic_right"] > 0.8
    task = method.pose(clean_batch(), rng(1))
    method.critic.requires_grad_(False).eval()

    def displeasure():
        with torch.no_grad():
            return float(-method.critic(method.network(task.noisy), task.noisy).mean())

    before = displeasure()
    for step in range(20):
        method._teach_restorer([task], step, 0.6)
        method.critic.eval()
    assert displeasure() < before


def test_r1_is_the_squared_slope_and_flattens_the_critic():
    critic = torch.nn.Conv2d(3, 1, 1, bias=False)
    pictures = torch.rand(2, 3, 4, 5, requires_grad=True)
    slope = float(_squared_slope(critic(pictures), pictures).detach())
    assert slope == pytest.approx(20 * float(critic.weight.detach().square().sum()), rel=1e-5)
    plain = (
        "critic='patch_discriminator(width=4, depth=2, spectral=false)', alone=0, critic_alone=0.5, critic_rate=5e-3"
    )
    slopes = []
    for weight in (1e-6, 10):
        method = learner(method=f"adversarial({plain}, r1={weight})")
        slopes.append([method.step([clean_batch()], [rng(s)], s, 0.1) for s in range(20)][-1]["r1"])
    assert slopes[1] < slopes[0]


def test_a_part_of_a_batch_counts_as_its_share():
    whole, parts = learner("alone=0, critic_alone=0"), learner("alone=0, critic_alone=0", degradation="")
    batch = clean_batch()
    noisy = whole.pose(batch, rng()).noisy
    whole.degradation = None
    whole.step([Batch(batch.clean, noisy)], [rng()], 0, 0.5)
    parts.step([Batch(batch.clean[i : i + 2], noisy[i : i + 2]) for i in (0, 2)], [rng()] * 2, 0, 0.5)
    for mine, theirs in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        ("", {"loss": "perceptual"}, "pixel term"),
        ("objective=wgan", {}, "hinge or non_saturating"),
        ("alone=0.9, critic_alone=0.2", {}, "shares"),
        ("weight=-1", {}, "shares"),
        ("", {"method": "adversarial(critic='patch_discriminator(channels=1)')"}, "judges pictures of 1 channels"),
    ],
)
def test_what_cannot_be_learnt_is_refused(options, content, message):
    with pytest.raises(RecipeError, match=message):
        learner(options, **content)
    with pytest.raises(UsageError, match="did you mean 'patch_discriminator'"):
        open_method(recipe_of(method="adversarial(critic=patch_discriminater)"), CPU)


def test_a_critic_takes_the_channels_of_its_network():
    gray = learner(network="dncnn(width=8, depth=3, batch_norm=false, channels=1)")
    batch = Batch(clean_batch().clean[:, :1])
    assert gray.step([batch], [rng()], 0, 0.9).keys() >= {"critic", "adversarial"}


def settings_of(photos):
    return {
        "data": {"root": str(photos[0].parent), "patch": 32, "batch": 2, "validation_pictures": 1},
        "length": {"steps": 16},
        "validate_every": 4,
        "optimiser": {"name": "adamw", "warmup": 2},
    }


@pytest.mark.parametrize("options", ["alone=0.25, critic_alone=0.2", "alone=0.1, critic_alone=0.1, switch=1.5"])
def test_a_resumed_training_equals_the_unbroken_one(photos, tmp_path, options):
    recipe = recipe_of(options, **settings_of(photos))
    list(train(recipe, tmp_path / "unbroken", extras=False))
    broken = train(recipe, tmp_path / "broken", extras=False)
    while next(broken).step < 8:
        pass
    broken.close()
    first = next(iter(resumed := train(recipe, tmp_path / "broken", resume=True, extras=False)))
    assert 8 < first.step <= 12
    list(resumed)
    states = [load_state(tmp_path / name / "checkpoint.safetensors") for name in ("unbroken", "broken")]
    assert states[0]["method"] == states[1]["method"]
    for part in ("network", "critic"):
        mine, theirs = (state["updaters"][part]["network"] for state in states)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine), part
    steps = [entry["step"] for entry in read_log(tmp_path / "broken")]
    assert steps == sorted(set(steps))


def test_what_it_makes_is_a_restorer_like_any_other(photos, tmp_path, capsys):
    recipe = recipe_of("alone=0.3, critic_alone=0.1", **settings_of(photos))
    list(train(recipe, tmp_path / "crisp", extras=False))
    list(train(recipe_of(method="supervised", **settings_of(photos)), tmp_path / "faithful", extras=False))
    weights = [str(tmp_path / name / "last.safetensors") for name in ("faithful", "crisp")]
    line = ["export", weights[0], "--blend", weights[1], "--share", "0.25", "-o", str(tmp_path / "some.onnx")]
    assert run_cli(line) == 0, capsys.readouterr().err
    blended = read_numbers(tmp_path / "some.onnx")
    first, second = (read_numbers(path) for path in weights)
    for name, value in blended.items():
        assert np.allclose(value, 0.75 * first[name] + 0.25 * second[name], atol=2e-3), name
    card = open_network(tmp_path / "some.onnx")[1]
    assert "0.75 of" in card.summary


def test_only_weights_of_one_network_are_blended(photos, tmp_path):
    list(train(recipe_of(**settings_of(photos) | {"length": {"steps": 1}}), tmp_path / "run", extras=False))
    network, card = open_network(tmp_path / "run" / "last.safetensors")
    assert blend((network, card), (network, card), 0.5)[1].name == card.name
    with pytest.raises(UsageError, match="within 0"):
        blend((network, card), (network, card), 1.5)
    with pytest.raises(WeightsError, match="do not fit together"):
        blend((network, card), (build_network("dncnn(width=4, depth=3)"), card), 0.5)
    twin = replace(card, network=card.network.replace(")", ", residual=false)"))  # the same shapes, another network
    with pytest.raises(WeightsError, match="do not fit together"):
        blend((network, card), (network, twin), 0.5)


# --- ResNet-34 ------------------------------------------------------------------------------------------------------


def test_resnet34_has_the_names_and_shapes_of_torchvision():
    state = build_classifier("resnet34(classes=1000)").state_dict()
    assert sum(v.numel() for n, v in state.items() if "running" not in n and "num_batches" not in n) == 21_797_672
    assert len(state) == 218
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.2.conv2.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.bias": (128,),
        "layer3.5.bn1.weight": (256,),
        "layer4.2.bn2.num_batches_tracked": (),
        "fc.weight": (1000, 512),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_the_official_file_fills_the_encoder(photos, tmp_path, monkeypatch):
    """From a path, and from an address with a checksum; the decoder starts afresh."""
    import hashlib

    torch.manual_seed(5)
    official = build_classifier("resnet34(classes=7, width=8)").state_dict()
    torch.save(official, tmp_path / "resnet34.pth")
    digits = hashlib.sha256((tmp_path / "resnet34.pth").read_bytes()).hexdigest()[:8]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address = f"{(tmp_path / 'resnet34.pth').as_uri()}#sha256="
    content = settings_of(photos) | {"length": {"steps": 1}, "optimiser": {"rate": 0.0, "average": 0.0}}
    recipe = recipe_of(method="supervised", network="resnet34_unet(width=8, widths=[8, 8, 8, 8, 8])", **content)
    for number, source in enumerate([tmp_path / "resnet34.pth", address + digits]):
        (report, *_) = train(recipe, tmp_path / f"{number}", start=f"encoder={source}", extras=False)
        assert report.notes == ["these layers did not fit and start afresh: encoder.fc.bias, encoder.fc.weight"]
        learnt = load_state(tmp_path / f"{number}" / "last.safetensors")["numbers"]
        assert torch.equal(learnt["encoder.layer3.4.conv1.weight"], official["layer3.4.conv1.weight"])
    with pytest.raises(WeightsError, match="has checksum"):
        next(train(recipe, tmp_path / "x", start=f"encoder={address}{'0' * 8}", extras=False))
    with pytest.raises(UsageError, match="add the checksum"):
        next(train(recipe, tmp_path / "x", start=f"encoder={address[:-8]}", extras=False))
    gone = "file:///nowhere/resnet34-b627a593.pth#sha256=b627a593"
    with pytest.raises(WeightsError, match="Fetch it elsewhere"):
        next(train(recipe, tmp_path / "x", start=f"encoder={gone}", extras=False))


def test_a_damaged_or_dangerous_pth_is_named(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"nothing")
    torch.save({"x": torch.nn.Linear(2, 2)}, tmp_path / "b.pth")
    torch.save([1, 2], tmp_path / "c.pth")
    for name in ("a", "b", "c"):
        with pytest.raises(WeightsError, match=f"{name}.pth"):
            read_numbers(tmp_path / f"{name}.pth")


def test_resnet34_unet_begins_as_the_identity():
    network = build_network("resnet34_unet(width=8, widths=[8, 8, 8, 8, 8])").eval()
    noisy = torch.rand(1, 3, 37, 50)
    with torch.no_grad():
        assert torch.equal(network(noisy), noisy)
    with pytest.raises(UsageError, match="5 levels"):
        build_network("resnet34_unet(widths=[8, 8])")


def test_the_critic_wants_the_noisy_view_unless_told_otherwise():
    with pytest.raises(UsageError, match="conditional=false"):
        build_discriminator("patch_discriminator")(torch.rand(1, 3, 40, 40))
    assert build_discriminator("patch_discriminator(conditional=false)")(torch.rand(1, 3, 40, 40)).shape[1] == 1


def test_several_processes_are_refused(photos, tmp_path, monkeypatch):
    from hush.learning.processes import Processes

    monkeypatch.setattr(Processes, "join", classmethod(lambda cls, device: cls(CPU, 0, 2)))
    with pytest.raises(RecipeError, match="without torchrun"):
        next(train(recipe_of(**settings_of(photos)), tmp_path / "run"))


def test_a_critic_of_features_learns_what_reads_them_and_nothing_else():
    torch.manual_seed(0)
    critic = build_discriminator("feature_discriminator(width=4)").eval()
    noisy, picture = torch.rand(2, 3, 3, 64, 64)
    scores = critic(picture, noisy)
    assert scores.shape == (3, 5, 15, 15)  # five layers of AlexNet, the finest a quarter as large
    assert sum(p.numel() for p in critic.parameters() if p.requires_grad) < 20_000
    assert not any("convolutions" in name for name in critic.state_dict())  # the features are no part of it
    picture.requires_grad_(True)
    critic(picture, noisy).mean().backward()
    assert picture.grad.abs().sum() > 0  # but let through what a restorer learns by
    torch.testing.assert_close(critic(picture[1:], noisy[1:]), critic(picture, noisy)[1:])  # judged one by one
    with pytest.raises(UsageError, match="noisy view"):
        critic(picture)
    assert build_discriminator("feature_discriminator(conditional=false, width=4)")(picture).shape[1] == 5
