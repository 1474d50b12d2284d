"""Truths about single networks: published weights, known layer lists, how far they look."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from conftest import shared_data
from hush.errors import UsageError, WeightsError
from hush.imaging.metrics import psnr, to_eight_bit
from hush.learning.checkpoints import load_numbers
from hush.learning.networks import build_classifier, build_network
from hush.learning.networks.dncnn import DnCNN
from hush.learning.networks.drunet import DRUNet
from hush.learning.networks.ffdnet import FFDNet

VARIANTS = [
    "dncnn(width=8, depth=3, batch_norm=false, bias=false)",
    "ffdnet(channels=1, width=8, depth=3, batch_norm=true)",
    "autoencoder(widths=[8, 12], kernel=5, up_kernel=2, residual=true)",
    "autoencoder(widths=[8], decoder_widths=[6], up_kernel=7, batch_norm=true, output=sigmoid, activation=elu)",
    "unet(width=8, depth=1, up=nearest, residual=false, batch_norm=true)",
    "unet(width=8, depth=3, sigma_map=true, activation=leaky_relu)",
    "unet(widths=[8, 12, 20], unshuffle=2, batch_norm=true)",
    "vae(widths=[8, 12], latent=4)",
    "vae(widths=[8, 12, 16], latent=4, batch_norm=true, activation=elu)",
    "dncnn(width=8, depth=4, unshuffle=2, residual=false)",
    "guided_unet(guide=constant, widths=[8, 12], unshuffle=2)",
]


def build(spec, seed=0):
    torch.manual_seed(seed)
    return build_network(spec).eval()


def restore(network, noisy, sigma=25):
    with torch.inference_mode():
        return network(noisy, sigma_map=torch.full_like(noisy[:, :1], sigma / 255))


def batch(network, height, width, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(1, network.limits.channels, height, width, generator=rng)


def peer(name):
    with np.load(shared_data("peers", f"{name}.npz")) as arrays:
        return dict(arrays)


def judge(network, paths, sigma=25, side=None):
    """Mean PSNR by the field's protocol: noise in float with seed 0, not clipped; the result rounded to 8 bit."""
    from PIL import Image

    values = []
    for path in paths:
        clean = np.atleast_3d(np.asarray(Image.open(path), dtype=np.float32) / 255)[:side, :side]
        noisy = clean + np.random.default_rng(0).standard_normal(clean.shape) * (sigma / 255)
        restored = restore(network, torch.from_numpy(noisy.astype(np.float32)).permute(2, 0, 1)[None], sigma)
        values.append(psnr(to_eight_bit(restored[0].permute(1, 2, 0).numpy()), clean))
    return np.mean(values)


def test_ffdnet_reaches_its_published_quality():
    paths = sorted(shared_data("test", "CBSD68").glob("*.jpg"))[:4]
    network = FFDNet.from_arrays(peer("ffdnet_color")).eval().to(memory_format=torch.channels_last)
    # all 68 by the same function: 33.87 / 31.21 / 27.97 at sigma 15 / 25 / 50; published: 33.87 / 31.21 / 27.96
    assert judge(network, paths) == pytest.approx(31.31, abs=0.02)


@pytest.mark.parametrize(
    ("dncnn", "ffdnet", "picture"),
    [("cdncnn_b", "ffdnet_color", "CBSD68/101085.jpg"), ("dncnn_b", "ffdnet_gray", "BSD68/test001.png")],
)
def test_published_networks_agree(dncnn, ffdnet, picture):
    path = shared_data("test", picture)
    blind, told = (
        judge(kind.from_arrays(peer(name)).eval().to(memory_format=torch.channels_last), [path], side=128)
        for kind, name in ((DnCNN, dncnn), (FFDNet, ffdnet))
    )
    assert told > 26.5  # noisy: 20.2 dB
    assert blind == pytest.approx(told, abs=0.15)


def test_bare_arrays_give_back_the_same_network():
    for network in (build("dncnn(width=8, depth=5, batch_norm=false)"), build("ffdnet(channels=1, width=8, depth=4)")):
        convolutions = [module for module in network.layers if isinstance(module, nn.Conv2d)]
        arrays = {}
        for i, module in enumerate(convolutions):
            nn.init.normal_(module.bias)
            arrays[f"{i:02d}.weight"] = module.weight.detach().numpy()
            arrays[f"{i:02d}.bias"] = module.bias.detach().numpy()
        again = type(network).from_arrays(arrays).eval()
        assert again.limits == network.limits
        noisy = batch(network, 9, 14)
        assert torch.equal(restore(again, noisy), restore(network, noisy))


def stack(*widths, kernel=3):
    arrays = {}
    for i, (before, after) in enumerate(pairwise(widths)):
        arrays |= {f"{i:02d}.weight": np.zeros((after, before, kernel, kernel)), f"{i:02d}.bias": np.zeros(after)}
    return arrays


@pytest.mark.parametrize(
    ("kind", "arrays", "word"),
    [
        (DnCNN, {}, "no arrays"),
        (DnCNN, {"conv.weight": np.zeros((3, 3, 3, 3))}, "conv.weight"),
        (DnCNN, stack(3, 3), "only one layer"),
        (DnCNN, stack(3, 8, 9, 3), "first layer has 8 features"),
        (DnCNN, stack(3, 8, 8, 3, kernel=5), "expected"),
        (DnCNN, {k: v for k, v in stack(3, 8, 8, 3).items() if k != "01.weight"}, "01.weight is missing"),
        (DnCNN, {k: v for k, v in stack(3, 8, 8, 3).items() if k != "01.bias"}, "bias in all layers or none"),
        (DnCNN, stack(3, 8, 3) | {"00.bias": np.zeros(9)}, "00.bias"),
        (DnCNN, stack(3, 8, 3) | {"00.weight": np.zeros(9)}, "00.weight"),
        (DnCNN, stack(13, 8, 8, 12), "13 channels in, 12 out"),
        (FFDNet, stack(3, 8, 8, 3), "4 x channels"),
        (FFDNet, stack(12, 8, 8, 12), "4 x channels"),
    ],
)
def test_arrays_of_another_network_are_refused(kind, arrays, word):
    with pytest.raises(WeightsError, match=word):
        kind.from_arrays(arrays)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("dncnn(batch_norm=false)", 668_227),  # CDnCNN-B as published, batch norm folded
        ("ffdnet", 852_108),  # 0.85 M
        ("unet(width=64, batch_norm=true)", 31_037_763),  # the usual 31,037,633 for one output map, + 2 * 65
    ],
)
def test_sizes_are_those_of_the_papers(spec, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in build_network(spec).parameters()) == count


def guided(guide, **more):
    options = ", ".join(f"{key}={value!r}" for key, value in more.items())
    return build(f"guided_unet(guide={guide}, widths=[8, 12], classes=4{', ' + options if options else ''})")


def test_guided_unets_read_the_class_that_they_are_told_to():
    noisy = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 4
    with torch.inference_mode():
        told = guided("label")
        assert not torch.equal(told(noisy, label=labels), told(noisy, label=3 - labels))
        assert torch.equal(told(noisy), guided("constant")(noisy)), "not told: all classes are equally likely"
        for deaf in (guided("constant"), guided("shuffled")):
            assert torch.equal(deaf(noisy, label=labels), deaf(noisy, label=3 - labels))
        shuffled = guided("shuffled")
        assert torch.equal(shuffled(noisy), shuffled(noisy))
        assert len({tuple(row.tolist()) for row in shuffled._probabilities(noisy, None)}) > 1


def test_shuffled_labels_are_even_and_independent_of_the_picture():
    network = guided("shuffled")
    clean = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)).expand(400, -1, -1, -1)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    counts = network._probabilities(noisy, None).sum(dim=0)
    assert counts.min() > 70  # of 100; deviation 9
    assert counts.max() < 130


def test_a_guiding_classifier_does_not_learn():
    network = guided("classifier", classifier="resnet_classifier(widths=[4], blocks=1, classes=4)").train()
    before = {name: value.clone() for name, value in network.classifier.state_dict().items()}
    network(torch.rand(2, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is None for parameter in network.classifier.parameters())
    assert network.unet.tail.weight.grad is not None
    for name, value in network.classifier.state_dict().items():  # statistics of batch norm too
        assert torch.equal(value, before[name]), name
    with pytest.raises(UsageError, match="knows 10 classes"):
        guided("classifier")


def test_default_autoencoder_has_the_classic_layers_at_256x256x3():
    """Conv 32, 64, 128 with pooling; transposed 128, 64, 32; conv 3: layer by layer, with the size of each result."""
    kinds = {nn.Conv2d: "conv", nn.MaxPool2d: "pool", nn.ConvTranspose2d: "up"}
    network, layers = build("autoencoder"), []
    for module in network.modules():
        if type(module) in kinds:
            module.register_forward_hook(
                lambda module, _, result: layers.append((kinds[type(module)], *result.shape[1:]))
            )
    assert restore(network, batch(network, 256, 256)).shape == (1, 3, 256, 256)
    down = [("conv", 32, 256, 256), ("pool", 32, 128, 128), ("conv", 64, 128, 128), ("pool", 64, 64, 64)]
    bottom = [("conv", 128, 64, 64), ("pool", 128, 32, 32), ("up", 128, 64, 64)]
    up = [("up", 64, 128, 128), ("up", 32, 256, 256), ("conv", 3, 256, 256)]
    assert layers == down + bottom + up
    # 3x3 weights and biases: 3>32, 32>64, 64>128 | 128>128, 128>64, 64>32, 32>3
    assert sum(p.numel() for p in network.parameters()) == 93_248 + 239_840 + 867


@pytest.mark.parametrize("spec", VARIANTS)
def test_variants_keep_every_size(spec):
    network = build(spec)
    for height, width in [(1, 1), (2, 9), (13, 6)]:
        noisy = batch(network, height, width)
        assert restore(network, noisy).shape == noisy.shape


@pytest.mark.parametrize("spec", VARIANTS)
def test_no_result_depends_on_pixels_beyond_the_overlap(spec):
    network = build(spec).double()
    overlap = network.limits.overlap
    side = 2 * overlap + 24
    noisy = batch(network, side, side).double()
    other = batch(network, side, side, seed=1).double()
    whole = restore(network, noisy)
    for shift in (0, 5):  # places within the coarsest cell
        row, column = overlap + 4 + shift, overlap + 8 - shift
        near, nearer = other.clone(), other.clone()
        for target, reach in ((near, overlap), (nearer, overlap // 2)):
            inside = (..., slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1))
            target[inside] = noisy[inside]
        value = whole[..., row, column]
        torch.testing.assert_close(restore(network, near)[..., row, column], value, rtol=0, atol=1e-13)
        assert not torch.equal(restore(network, nearer)[..., row, column], value), "the overlap is far too large"


@pytest.mark.parametrize("spec", VARIANTS)
def test_bf16_and_channels_last_change_little(spec):
    network = build(spec)
    noisy = batch(network, 21, 30)
    exact = restore(network, noisy)
    network = network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        restored = restore(network, noisy.to(memory_format=torch.channels_last))
    assert restored.dtype == torch.float32
    assert (restored - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize(
    "spec",
    [
        "ffdnet(width=8, depth=3)",
        "unet(width=8, depth=2)",
        "autoencoder(widths=[8, 8])",
        "drunet(widths=[8, 8, 8, 8])",
    ],
)
@pytest.mark.parametrize(("height", "width"), [(15, 18), (21, 9)])
def test_odd_pictures_are_mirrored_past_their_border(spec, height, width):
    network = build(spec)
    if isinstance(network, DRUNet):  # begins as the identity, which looks at no border
        nn.init.normal_(network.tail.weight)
    noisy = batch(network, height, width)
    k = network.multiple
    mirrored = np.pad(noisy.numpy(), [(0, 0), (0, 0), (0, -height % k), (0, -width % k)], mode="symmetric")
    restored = restore(network, torch.from_numpy(mirrored))[..., :height, :width]
    torch.testing.assert_close(restored, restore(network, noisy))


def test_residual_networks_start_near_the_identity():
    for spec in ("dncnn(batch_norm=false)", "unet(width=16)", "autoencoder(residual=true)"):
        network = build(spec)
        noisy = batch(network, 32, 32)
        change = (restore(network, noisy) - noisy).std()
        assert 1e-4 < change < 0.2, spec


def test_the_noise_level_is_read():
    for spec in ("ffdnet(width=8, depth=3)", "unet(width=8, depth=2, sigma_map=true)"):
        network = build(spec)
        noisy = batch(network, 12, 12)
        assert network.limits.sigma_map
        assert not torch.equal(restore(network, noisy, sigma=5), restore(network, noisy, sigma=50))
        with pytest.raises(UsageError, match="sigma_map"):
            network(noisy)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("dncnn(depth=1)", "depth is 1"),
        ("dncnn(activation=relo)", "did you mean 'relu'"),
        ("ffdnet(width=0)", "width is 0"),
        ("unet(up=bilinear)", "transpose or nearest"),
        ("unet(depth=2.5)", "depth is 2.5"),
        ("unet(widths=[8])", "levels is 0"),
        ("guided_unet(guide=oracle)", "must be one of classifier, label"),
        ("autoencoder(kernel=4)", "must be odd"),
        ("autoencoder(widths=[])", "at least 1"),
        ("autoencoder(widths=[8, 8], decoder_widths=[8])", "2 widths down, 1 up"),
        ("autoencoder(output=sigmoid, residual=true)", "without residual"),
        ("autoencoder(up_kernel=1)", "up_kernel is 1"),
        ("vae(widths=[8])", "two widths or more"),
        ("vae(latent=0)", "latent is 0"),
    ],
)
def test_options_that_make_no_network_are_refused(spec, word):
    with pytest.raises(UsageError, match=word):
        build_network(spec)


def test_sigmoid_bounds_the_result():
    network = build("autoencoder(widths=[8], output=sigmoid)")
    restored = restore(network, 100 * batch(network, 8, 8) - 50)
    assert restored.min() >= 0
    assert restored.max() <= 1


@pytest.mark.parametrize(("merge_early", "seen"), [(True, True), (False, False)])
def test_early_merging_lets_the_blocks_of_the_way_up_see_what_is_fine(merge_early, seen):
    network = DRUNet(widths=(8, 12), blocks=1, merge_early=merge_early)
    with torch.no_grad():
        network.down[0][-1].weight.zero_()  # nothing comes through the coarse level
    taken = []
    network.up[0][1].register_forward_hook(lambda module, inputs, output: taken.append(inputs[0]))
    network(torch.rand(1, 3, 16, 16), sigma_map=torch.full((1, 1, 16, 16), 0.1))
    assert bool(taken[0].any()) is seen


def test_both_ways_of_merging_have_the_same_numbers():
    early, late = (DRUNet(widths=(8, 12), blocks=2, merge_early=merge_early) for merge_early in (True, False))
    assert {k: v.shape for k, v in early.state_dict().items()} == {k: v.shape for k, v in late.state_dict().items()}
    early.load_state_dict(late.state_dict())
    with torch.no_grad():
        for network in (early, late):
            nn.init.constant_(network.tail.weight, 0.05)
    noisy, level = torch.rand(1, 3, 16, 16), torch.full((1, 1, 16, 16), 0.1)
    assert not torch.allclose(early(noisy, sigma_map=level), late(noisy, sigma_map=level), atol=1e-4)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("unet(channels=4)", r"channels is 4; pictures have 1 \(gray\) or 3 \(colour\)"),
        ("drunet(widths=8)", r"widths is 8; it must be a list such as \[48, 96\]"),
        ("drunet(widths=[])", "levels is 0; it must be a whole number of at least 1"),
        ("drunet(widths=[8, 0])", r"widths\[1\] is 0"),
        ("drunet(blocks=-1)", "blocks is -1"),
        ("drunet(unshuffle=two)", "unshuffle is 'two'; it must be a whole number"),
        ("unet(width=true)", "width is True; it must be a whole number"),
        ("unet(residual=1)", "residual is 1; it must be true or false"),
    ],
)
def test_options_of_a_wrong_kind_are_refused(spec, word):
    with pytest.raises(UsageError, match=word):
        build_network(spec)


@pytest.mark.parametrize("merge_early", [True, False])
def test_a_deeper_network_goes_on_from_a_shallower_one(merge_early):
    def grown(blocks, seed):
        torch.manual_seed(seed)
        return DRUNet(widths=(8, 12, 16), blocks=blocks, unshuffle=2, merge_early=merge_early)

    shallow, deep = grown(1, 0), grown(3, 1)
    torch.nn.init.normal_(shallow.tail.weight, std=0.1)  # it is zero at first, and all networks are the identity
    noisy = torch.rand(1, 3, 33, 40)
    expected = restore(shallow, noisy)
    assert (expected - noisy).abs().max() > 0.01
    assert load_numbers(deep, deep.adopt(shallow.state_dict())) == []
    torch.testing.assert_close(restore(deep, noisy), expected)
    assert all(block.first.weight.any() for block in deep.body), "new blocks have something to learn from"
    others = (
        DRUNet(widths=(8, 12), blocks=1, unshuffle=2),  # another level fewer
        DRUNet(widths=(8, 12, 20), blocks=1, unshuffle=2),
        DRUNet(widths=(8, 12, 16), blocks=4, unshuffle=2),
    )
    for other in others:
        numbers = other.state_dict()
        adopted = deep.adopt(numbers)
        assert adopted.keys() == numbers.keys(), "these are not of a shallower form of this network"
        assert all(torch.equal(adopted[name], value) for name, value in numbers.items())


def test_a_classifier_is_called_one_where_a_restorer_is_asked_for():
    with pytest.raises(UsageError, match="is a classifier, which restores nothing"):
        build_network("cnn_classifier(classes=3)")


@pytest.mark.parametrize("name", ["cnn_classifier", "resnet_classifier"])
def test_a_classifier_may_do_without_batch_normalisation(name):
    plain, usual = (build_classifier(f"{name}(widths=[4, 8], batch_norm={norm})") for norm in ("false", "true"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in usual.modules())
    pictures = torch.rand(3, 3, 20, 24)
    alone = plain.train()(pictures[:1])
    torch.testing.assert_close(plain(pictures)[:1], alone)  # nobody is normalised by the others
    assert alone.shape == (1, 10)
