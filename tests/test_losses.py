"""Losses agree with independent implementations, and a sum says what it is made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hush.errors import UsageError
from hush.imaging import metrics
from hush.learning.losses import LOSSES, OWN_TERMS, Loss, charbonnier, l1, log_mse, mse, ssim, total_variation
from hush.learning.methods import METHODS
from hush.names import find


def pair(n=2, channels=3, height=40, width=53, seed=0):
    rng = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 9, height), torch.linspace(0, 9, width), indexing="ij")
    clean = (0.5 + 0.4 * torch.sin(x) * torch.cos(y)).expand(n, channels, height, width)
    return clean + 0.1 * torch.randn(clean.shape, generator=rng), clean.clone()


def images(batch):
    return batch.permute(0, 2, 3, 1).double().numpy()


@pytest.mark.parametrize("size", [(40, 53), (11, 64), (7, 30), (4, 5), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_loss_is_one_minus_the_metric(size, channels):
    restored, clean = pair(3, channels, *size)
    expected = 1 - np.mean([metrics.ssim(r, c) for r, c in zip(images(restored), images(clean), strict=True)])
    assert ssim(restored, clean).item() == pytest.approx(expected, abs=2e-5)


def test_ssim_loss_agrees_with_scikit_image_and_torchmetrics():
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    restored, clean = pair(1)
    value = ssim(restored, clean).item()
    options = {"data_range": 1.0, "channel_axis": 2, "use_sample_covariance": False, "gaussian_weights": True}
    assert value == pytest.approx(1 - structural_similarity(images(restored)[0], images(clean)[0], **options), abs=1e-5)
    _, full = structural_similarity_index_measure(restored, clean, data_range=1.0, return_full_image=True)
    assert value == pytest.approx(1 - full[..., 5:-5, 5:-5].mean().item(), abs=1e-5)  # less the made-up border


def test_ssim_window_and_sigma_are_read():
    from skimage.metrics import structural_similarity

    restored, clean = pair(1)
    options = {"data_range": 1.0, "channel_axis": 2, "use_sample_covariance": False, "gaussian_weights": True}
    expected = structural_similarity(images(restored)[0], images(clean)[0], sigma=2.0, win_size=15, **options)
    assert ssim(restored, clean, window=15, sigma=2.0).item() == pytest.approx(1 - expected, abs=1e-5)


def test_ssim_gradient_is_that_of_finite_differences():
    restored, clean = pair(1, 1, 12, 13)
    restored.requires_grad_()
    ssim(restored, clean).backward()
    step = torch.zeros_like(restored)
    step[0, 0, 6, 5] = 1e-2
    with torch.no_grad():
        slope = (ssim(restored + step, clean) - ssim(restored - step, clean)) / 2e-2
    assert restored.grad[0, 0, 6, 5].item() == pytest.approx(slope.item(), rel=0.02)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_at_equality_and_on_flat_pictures(name):
    for clean in (pair()[1], torch.zeros(2, 3, 16, 16), torch.ones(1, 1, 1, 1)):
        restored = clean.clone().requires_grad_()
        loss = find(LOSSES, name, "loss")
        value = loss(restored) if getattr(loss, "regulariser", False) else loss(restored, clean)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(restored.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_compute_in_float32_whatever_comes(name):
    restored, clean = pair()
    loss = find(LOSSES, name, "loss")
    inputs = (restored,) if getattr(loss, "regulariser", False) else (restored, clean)
    exact = loss(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(*inputs), exact)
    halves = [tensor.bfloat16() for tensor in inputs]
    assert loss(*halves).dtype == torch.float32
    torch.testing.assert_close(loss(*halves), loss(*(tensor.float() for tensor in halves)))


def test_pixel_losses_agree_with_torch():
    restored, clean = pair()
    torch.testing.assert_close(l1(restored, clean), torch.nn.functional.l1_loss(restored, clean))
    torch.testing.assert_close(mse(restored, clean), torch.nn.functional.mse_loss(restored, clean))


def test_charbonnier_lies_between_l1_and_l1_plus_epsilon():
    restored, clean = pair()
    assert l1(restored, clean) < charbonnier(restored, clean, epsilon=0.05) < l1(restored, clean) + 0.05
    torch.testing.assert_close(charbonnier(restored, clean, epsilon=1e-6), l1(restored, clean))
    assert charbonnier(clean, clean, epsilon=0.01).item() == pytest.approx(0.01)


def test_log_mse_is_minus_psnr_in_another_unit_and_counts_pictures_alike():
    restored, clean = pair()
    psnr = [metrics.psnr(a, b) for a, b in zip(images(clean), images(restored), strict=True)]
    assert log_mse(restored, clean, epsilon=0).item() == pytest.approx(-np.mean(psnr) * np.log(10) / 10, abs=1e-5)
    halved = clean + (restored - clean) / 2  # of one picture or of another: the loss falls as much
    one, other = (torch.stack(parts) for parts in ((halved[0], restored[1]), (restored[0], halved[1])))
    assert log_mse(one, clean, epsilon=0).item() == pytest.approx(log_mse(other, clean, epsilon=0).item(), abs=1e-5)
    assert log_mse(clean, clean, epsilon=1e-4).item() == pytest.approx(np.log(1e-4))


def test_total_variation_is_the_mean_step_down_plus_across():
    steps = torch.zeros(1, 1, 4, 5)
    steps[..., 2:, :] = 1  # one edge among three steps down, none across
    assert total_variation(steps).item() == pytest.approx(1 / 3)
    assert total_variation(torch.full((2, 3, 8, 8), 0.3)).item() == 0
    assert total_variation(torch.rand(1, 3, 1, 1)).item() == 0


def test_total_variation_agrees_with_torchmetrics():
    from torchmetrics.functional.image import total_variation as judge

    square, _ = pair(2, 3, 24, 24)
    expected = judge(square, reduction="sum") / (2 * 3 * 24 * 23)  # theirs is a sum over steps; as many down as across
    torch.testing.assert_close(total_variation(square), expected)


def test_a_sum_weighs_its_terms_and_shows_them_unweighted():
    restored, clean = pair()
    restored.requires_grad_()
    total, terms = Loss("0.8*l1 + 0.2*ssim(window=7) + 1e-3*total_variation")(restored, clean)
    assert list(terms) == ["l1", "ssim", "total_variation"]
    assert not any(value.requires_grad for value in terms.values())
    torch.testing.assert_close(terms["ssim"], ssim(restored, clean, window=7).detach())
    torch.testing.assert_close(terms["total_variation"], total_variation(restored).detach())
    expected = 0.8 * terms["l1"] + 0.2 * terms["ssim"] + 1e-3 * terms["total_variation"]
    torch.testing.assert_close(total.detach(), expected)
    total.backward()
    assert torch.isfinite(restored.grad).all()


def test_one_loss_may_stand_twice_with_other_options():
    restored, clean = pair()
    _, terms = Loss("ssim(window=5) + ssim(window=11)")(restored, clean)
    assert list(terms) == ["ssim(window=5)", "ssim(window=11)"]


def test_losses_of_outsiders_need_no_table():
    restored, clean = pair()
    total, terms = Loss("2*torch.nn.functional:l1_loss")(restored, clean)
    torch.testing.assert_close(total, 2 * l1(restored, clean))
    assert list(terms) == ["torch.nn.functional:l1_loss"]


def alone(restored):
    """A regulariser that does not say that it is one."""
    return restored.mean()


def test_terms_of_methods_are_known():
    own = {term: name for name in METHODS for term in getattr(find(METHODS, name, "method"), "own_terms", ())}
    assert own == OWN_TERMS


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("charbonier", "did you mean 'charbonnier'"),
        ("ssim(windw=7)", "did you mean 'window'"),
        ("l1(window=7)", "Known: none"),
        ("", "empty"),
        ("l1 + 0.5*l1", "twice"),
        ("ssim(sigma=1..2)", "sigma is 1..2; it must be a number"),
        ("charbonnier(epsilon=abc)", "epsilon is 'abc'; it must be a number"),
        ("ssim(window=true)", "window is True; it must be a whole number"),
        ("-1*l1", "the weight of l1 is -1; it must be 0 or more"),
        ("nan*l1", "the weight of l1 is nan"),
        ("l1 + inf*mse", "the weight of mse is inf"),
        ("x*l1", "no number"),
        ("l1 + 1e-3*kl", "'kl' is a term of the method variational"),
        ("l1 + test_losses:alone", "takes restored alone.*has alone.regulariser = True"),
    ],
)
def test_bad_specifications_are_refused(spec, word, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(UsageError, match=word):
        Loss(spec)


def test_an_even_window_is_refused():
    with pytest.raises(UsageError, match="odd"):
        Loss("ssim(window=8)")(*pair())
