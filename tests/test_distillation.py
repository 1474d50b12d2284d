"""Distillation: what a pupil is drawn to, who teaches which picture, and what a teacher is told."""

import pytest
import torch
from torch import nn

from conftest import rng
from hush.errors import RecipeError, WeightsError
from hush.learning.config import Recipe, build
from hush.learning.datasets import Batch
from hush.learning.methods import distillation, open_method
from hush.learning.methods.supervised import Task
from hush.learning.networks.limits import NetworkLimits
from hush.restoring.weights import UNTOLD

CPU = torch.device("cpu")
PUPIL = "drunet(widths=[8, 16], blocks=1, unshuffle=2)"


class Teacher(nn.Module):
    """Answers one gray, and keeps what it was told."""

    def __init__(self, channels, answer):
        super().__init__()
        self.limits = NetworkLimits(channels=channels, sigma_map=True)
        self.answer, self.told = answer, []

    def forward(self, noisy, *, sigma_map=None, label=None):
        self.told.append(sigma_map)
        return torch.full_like(noisy, self.answer)


@pytest.fixture
def teachers(monkeypatch):
    found = {"colour": Teacher(3, 0.5), "gray": Teacher(1, 0.25)}
    monkeypatch.setattr(distillation, "open_network", lambda name: (found[name], found[name].limits))
    return found


def learner(method, **content):
    settings = {"network": PUPIL, "degradation": "gaussian(sigma=25)", "precision": "f32", "loss": "mse"}
    return open_method(build(Recipe, {**settings, "method": method, **content}, "test"), CPU)


def test_the_target_is_a_blend_where_the_teacher_is_nearer_and_clean_elsewhere(teachers):
    method = learner("distillation(teacher=colour, share=0.6)")
    clean = torch.rand(2, 3, 16, 16)
    taught = clean + torch.tensor([0.1, 0.4]).reshape(2, 1, 1, 1)
    restored = (clean + 0.2).requires_grad_()
    loss, terms = method.compare(restored, Task(clean, None, None, clean, taught))
    assert float(terms["taught"]) == 0.5
    assert float(loss.detach()) == pytest.approx(((0.2 - 0.6 * 0.1) ** 2 + 0.2**2) / 2, rel=1e-4)
    loss.backward()
    slopes = restored.grad.mean(dim=(1, 2, 3)) * clean.numel()
    assert slopes.tolist() == pytest.approx([2 * 0.14, 2 * 0.2], rel=1e-4)


def test_gray_pictures_have_their_own_teacher(teachers):
    clean = torch.rand(3, 3, 16, 16)
    gray = torch.tensor([True, False, True])
    clean[gray] = clean[gray][:, :1]
    task = learner("distillation(teacher=colour, gray=gray)").pose(Batch(clean, gray=gray), rng())
    assert task.taught.mean(dim=(1, 2, 3)).tolist() == [0.25, 0.5, 0.25]
    assert torch.equal(teachers["gray"].told[0], torch.full((2, 1, 16, 16), 25 / 255))
    alone = learner("distillation(teacher=colour)").pose(Batch(clean, gray=gray), rng())
    assert (alone.taught == 0.5).all()


def test_the_teacher_is_told_the_true_level_whatever_the_pupil_is_told(teachers):
    method = learner("distillation(teacher=colour)", untold=1.0)
    task = method.pose(Batch(torch.rand(2, 3, 16, 16)), rng())
    assert (task.sigma_map == UNTOLD).all()
    assert torch.allclose(teachers["colour"].told[0], torch.tensor(25 / 255))
    blind = learner("distillation(teacher=colour)", degradation="poisson(peak=30)")
    blind.pose(Batch(torch.full((2, 3, 64, 64), 0.5)), rng())
    level = (0.5 / 30) ** 0.5
    assert float(teachers["colour"].told[1].mean()) == pytest.approx(level, rel=0.05), "measured where it varies"


def test_the_pupil_sees_the_picture_that_it_would_see_without_a_teacher(teachers):
    batch = Batch(torch.rand(2, 3, 16, 16))
    settings = {"untold": 0.5, "level_error": 0.3}
    taught = learner("distillation(teacher=colour)", **settings).pose(batch, rng())
    alone = learner("supervised", **settings).pose(batch, rng())
    for view in ("noisy", "sigma_map", "target"):
        assert torch.equal(getattr(taught, view), getattr(alone, view))
    assert alone.taught is None


def test_weights_that_ship_teach_a_pupil_towards_themselves():
    optimiser = {"name": "adamw", "rate": 3e-3, "warmup": 1, "average": 0}
    method = learner("distillation(teacher=gaussian-fast, share=1)", optimiser=optimiser)
    assert not any(number.requires_grad for number in method.teacher.parameters())
    before = [number.clone() for number in method.teacher.parameters()]
    clean = torch.rand(2, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    first = method.pose(Batch(clean), rng(0))
    distance = [float((method.restore(first.noisy, sigma_map=first.sigma_map) - first.taught).square().mean())]
    for step in range(40):
        method.step([Batch(clean)], [rng(0)], step, 0.0)
    distance.append(float((method.restore(first.noisy, sigma_map=first.sigma_map) - first.taught).square().mean()))
    assert distance[1] < 0.7 * distance[0]
    assert all(map(torch.equal, before, method.teacher.parameters()))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("distillation(teacher=gray)", "gray restores pictures of 1 channels, not of 3"),
        ("distillation(teacher=colour, gray=colour)", "colour restores pictures of 3 channels, not of 1"),
        ("distillation(teacher=colour, share=1.5)", r"share = 1.5 is not in \[0, 1\]"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(teachers, method, message):
    with pytest.raises(RecipeError, match=message):
        learner(method)


def test_a_teacher_that_is_not_there_is_named():
    with pytest.raises(WeightsError, match="nobody"):
        learner("distillation(teacher=nobody.onnx)")
