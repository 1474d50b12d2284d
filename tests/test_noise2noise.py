"""Noise2Noise: two independent views, frozen or fresh or given; what the loss is least at is what is learnt."""

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import rng
from hush.errors import RecipeError, UsageError
from hush.learning.config import Recipe, build
from hush.learning.datasets import Batch, DataSet, Item, open_dataset
from hush.learning.methods import open_method, restores
from hush.learning.methods.supervised import Task
from hush.learning.patches import Patches, PictureStore
from hush.learning.training import train

CPU = torch.device("cpu")
NETWORK = "unet(width=8, depth=1, activation=elu)"


def recipe_of(method="noise2noise", **content):
    settings = {"network": NETWORK, "method": method, "degradation": "gaussian(sigma=25)", "precision": "f32"}
    return build(Recipe, {**settings, "loss": "mse", "optimiser": {"name": "adamw", "warmup": 1}, **content}, "test")


def learner(method="noise2noise", **content):
    return open_method(recipe_of(method, **content), CPU)


def items_of(count=3):
    draw = np.random.default_rng(0)
    return [Item(f"{i}", draw.integers(0, 256, (40, 48, 3), np.uint8)) for i in range(count)]


def test_both_views_are_noisy_and_independent():
    clean = torch.full((2, 3, 64, 64), 0.5)
    task = learner().pose(Batch(clean), rng())
    first, second = task.noisy - clean, task.target - clean
    for noise in (first, second):
        assert float(noise.std()) * 255 == pytest.approx(25, rel=0.03)
    correlation = float((first * second).mean() / (first.std() * second.std()))
    assert abs(correlation) < 0.02
    assert not torch.equal(task.target, learner().pose(Batch(clean), rng(1)).target)


@pytest.mark.parametrize(("loss", "learnt"), [("mse", 0.6 * 0.3 + 0.4 * 1.0), ("l1", 0.3)], ids=["mean", "median"])
def test_what_a_loss_is_least_at_is_learnt(loss, learnt):
    """Of a flat 0.3, of which 40 % are white in every view, mse learns the mean of the views and l1 their median."""
    settings = {"network": "unet(width=8, depth=1, residual=false)", "optimiser": {"name": "adamw", "rate": 1e-2}}
    method = learner(degradation="salt_pepper(amount=0.4, salt=1)", loss=loss, **settings)
    batch = Batch(torch.full((4, 3, 24, 24), 0.3))
    for step in range(150):
        method.step([batch], [rng(step)], step, 0.0)
    with torch.no_grad():
        restored = method.network.eval()(method.pose(batch, rng(1000)).noisy)
    assert float(restored.mean()) == pytest.approx(learnt, abs=0.03)


def test_a_network_that_is_told_the_level_is_told_what_two_given_views_differ_by():
    method = learner(network="drunet(widths=[8, 16], blocks=1, unshuffle=2)", degradation="")
    clean = torch.full((2, 3, 96, 96), 0.5)
    first, second = (clean + torch.randn(clean.shape, generator=rng(seed)) * 25 / 255 for seed in (0, 1))
    task = method.pose(Batch(second, first), rng())
    assert task.sigma_map.shape == (2, 1, 96, 96)
    assert 255 * float(task.sigma_map.mean()) == pytest.approx(25, rel=0.03)
    method.step([Batch(second, first)], [rng()], 0, 0.0)


def test_masked_pixels_leave_no_trace_in_loss_and_gradient():
    method = learner("noise2noise(masked=true)")
    target = torch.rand(2, 3, 16, 16) * 0.5 + 0.25
    target[:, :, ::2] = 0
    target[:, 0, 1] = 0  # zero in one channel only is a value like others
    restored = torch.rand(2, 3, 16, 16).requires_grad_()
    loss, _ = method.compare(restored, Task(restored.detach(), None, None, target))
    loss.backward()
    assert restored.grad[:, :, ::2].abs().max() == 0
    assert (restored.grad[:, :, 1::2] != 0).all()
    kept = (restored - target)[:, :, 1::2].square()
    assert float(loss.detach()) == pytest.approx(float(kept.detach().sum() / target.numel()))


@pytest.mark.parametrize("noise", ["bernoulli(keep=0.3..0.7)", "poisson(peak=9) + bernoulli(keep=0.5)"])
def test_black_is_learnt_where_a_target_shows_it(noise):
    method = learner("noise2noise(masked=true)", degradation=noise)
    batch = Batch((torch.rand(2, 1, 16, 16, generator=rng()) < 0.5).float().expand(-1, 3, -1, -1))
    task = method.pose(batch, rng())
    assert (task.target[~task.missing.expand_as(task.target) & (batch.clean == 0)] == 0).any(), "black that is shown"
    assert not task.target[task.missing.expand_as(task.target)].any()
    assert float(task.missing.float().mean()) == pytest.approx(0.5, abs=0.1)
    white, black = (method.compare(torch.full_like(task.target, value), task)[0] for value in (1.0, 0.0))
    shown = ~task.missing.expand_as(task.target)
    assert float(white) == pytest.approx(float((1 - task.target)[shown].square().sum() / shown.numel()), rel=1e-4)
    assert float(black) == pytest.approx(float(task.target[shown].square().sum() / shown.numel()), rel=1e-4)
    plain = learner(degradation=noise).pose(batch, rng())
    assert torch.equal(plain.target, task.target), "the mask draws nothing"


def test_frozen_noise_is_that_of_the_picture_wherever_a_patch_is_cut():
    method = learner("noise2noise(frozen=true)")
    data = method.prepare(DataSet(items_of(), items_of()))
    assert data.test[0].noisy is None, "what is held out keeps its clean view"
    make = Patches(data.train, recipe_of(data={"patch": 0, "batch": 3, "augment": False}).data, 3, 0, 3)
    batches = [make(step, 0) for step in (0, 1)]
    first, again = (torch.stack(sorted(batch.noisy, key=lambda p: float(p.sum()))) for batch in batches)
    assert torch.equal(first, again)
    noise = batches[0].to(CPU)
    difference = (noise.noisy - noise.clean) * 255
    assert float(difference.std()) == pytest.approx(25 * 2**0.5, rel=0.05), "two views, each with noise of its own"
    assert float(noise.noisy.max()) > 1, "frozen noise is not clipped"
    cut = Patches(data.train, recipe_of(data={"patch": 16, "batch": 3}).data, 3, 0, 3)(0, 0)
    assert cut.noisy.dtype == torch.float16


def test_frozen_noise_differs_between_pictures_and_seeds():
    store = PictureStore(3, 100)
    flat = [Item(f"{i}", np.full((32, 32, 3), 128, np.uint8)) for i in range(2)]
    one, two = learner("supervised(frozen=true)").prepare(DataSet(flat)).train
    assert one.clean is flat[0].clean, "a supervised target stays clean"
    other = learner("supervised(frozen=true)", seed=1).prepare(DataSet(flat)).train[0]
    pictures = [store(item.noisy) for item in (one, two, other)]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    assert store(one.noisy) is pictures[0]


def test_given_pairs_are_used_both_ways():
    method = learner(degradation="")
    first, second = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2)
    task = method.pose(Batch(first, noisy=second), rng())
    assert torch.equal(task.noisy + task.target, torch.ones_like(first)), "the views of a pair stay together"
    assert 16 < float(task.noisy[:, 0, 0, 0].sum()) < 48


def test_pairs_of_noisy_files_are_learnt_from(tmp_path):
    y, x = np.mgrid[:48, :64] / 20
    draw = np.random.default_rng(0)
    for i in range(6):
        clean = 128 + 80 * np.sin((i + 1) * x) * np.cos(y)
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            noisy = clean[..., None] + draw.normal(0, 25, (48, 64, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / folder / f"{i}.png")
    data = {"set": "pairs(noisy=a, clean=b)", "root": str(tmp_path), "patch": 32, "batch": 4}
    settings = {"network": "dncnn(width=16, depth=5, batch_norm=false)", "length": {"steps": 100}}
    optimiser = {"rate": 1e-2, "warmup": 5, "average": 0.9}
    recipe = recipe_of(degradation="", data=data, optimiser=optimiser, validate_every=100, **settings)
    *_, last = train(recipe, tmp_path / "run", extras=False)
    # a noisy view is 3 dB nearer to the clean picture than to the other noisy view: no more can be gained
    assert last.validation["psnr"] > last.validation["psnr_input"] + 1.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"degradation": ""}, "needs a degradation"),
        ({"network": "drunet(widths=[8, 16], blocks=1)"}, "not told"),
        ({"data": {"gray": 0.5}}, "gray"),
        ({"data": {"shrink": 3.0}}, r"data\.shrink = 1"),
    ],
)
def test_noise_that_cannot_be_frozen_is_refused(content, message):
    with pytest.raises(RecipeError, match=message):
        learner("noise2noise(frozen=true)", **content).prepare(DataSet(items_of()))


def test_pictures_without_any_noise_are_refused():
    with pytest.raises(RecipeError, match="two noisy views"):
        learner(degradation="").pose(Batch(torch.zeros(1, 3, 4, 4)), rng())


def test_methods_take_options_by_name():
    assert restores("noise2noise(frozen=true)")
    assert not restores("classification")
    with pytest.raises(UsageError, match="did you mean 'frozen'"):
        restores("noise2noise(frosen=true)")
    with pytest.raises(UsageError, match="did you mean 'noise2noise'"):
        learner("noise2nose")


def test_a_whole_folder_may_be_held_out(photos):
    data = open_dataset("folder(held_out=true)", photos[0].parent)
    assert not data.train
    assert len(data.test) == len(photos)


def test_pairs_may_be_squeezed_and_held_out(tmp_path):
    for folder in ("noisy", "clean"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / folder / "a.png")
    data = open_dataset("pairs(size=8, held_out=true)", tmp_path)
    assert not data.train
    assert PictureStore(3, 1)(data.test[0].noisy).shape == (8, 8, 3)


def test_scenes_of_sidd_are_held_out(tmp_path):
    for scene in ("001", "002", "005"):
        folder = tmp_path / "Data" / f"0001_{scene}_S6_00100_00060_3200_L"
        folder.mkdir(parents=True)
        for view in ("GT", "NOISY"):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"{view}_SRGB_010.PNG")
    data = open_dataset("sidd(test='001 005')", tmp_path)
    assert [item.scene for item in data.train] == ["002"]
    assert sorted(item.scene for item in data.test) == ["001", "005"]
    with pytest.raises(UsageError, match="no scene '009'"):
        open_dataset("sidd(test='009')", tmp_path)
