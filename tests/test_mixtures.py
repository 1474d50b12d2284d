"""Mixed data sets: clean pictures beside pairs, lists of names, SIDD's validation blocks."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import rng
from hush.errors import MissingExtra, PictureError, RecipeError, UsageError
from hush.imaging.metrics import ssim, ssim_volume
from hush.judging.blocks import read_blocks
from hush.judging.evaluation import evaluate
from hush.learning.config import DataConfig, LengthConfig, OptimiserConfig, Recipe
from hush.learning.datasets import open_dataset, split
from hush.learning.methods import open_method
from hush.learning.patches import Patches, PictureStore
from hush.learning.training import train
from hush.learning.validation import open_views
from hush.restoring.restorers import open_restorer


def write(path, value, side=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 40, (side, side, 3), np.uint8) + np.uint8(value)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def mixed(tmp_path):
    """Return a folder with 6 clean pictures and 3 pairs of two scenes."""
    for i in range(6):
        write(tmp_path / "clean" / f"{i}.png", 10 + i)
    for i, scene in enumerate("aab"):
        write(tmp_path / "pairs" / "clean" / f"{scene}_{i}.png", 100 + i)
        write(tmp_path / "pairs" / "noisy" / f"{scene}_{i}.png", 150 + i)
    return tmp_path


def test_a_mixture_has_the_share_of_pairs_that_is_told(mixed):
    for share in (0.2, 0.5, 0.8):
        data = open_dataset(f"mixture(share={share})", mixed)
        pairs = [item for item in data.train if item.finished]
        assert len(pairs) / len(data.train) == pytest.approx(share, abs=0.1)
        assert all(item.noisy is None for item in data.train if not item.finished)
        assert {item.name for item in data.train} == {
            *(f"clean/{i}.png" for i in range(6)), "pairs/a_0.png", "pairs/a_1.png", "pairs/b_2.png"
        }  # fmt: skip


def test_a_mixture_is_told_its_folders_and_refuses_pairs_without_noise(mixed):
    (mixed / "wanted.txt").write_text("# of a\na_0.png\n")
    spec = "mixture(clean='folder@clean', pairs=\"pairs(names='../wanted.txt')@pairs\", share=0.5)"
    assert {item.name for item in open_dataset(spec, mixed).train if item.finished} == {"pairs/a_0.png"}
    with pytest.raises(UsageError, match="no noisy view"):
        open_dataset("mixture(pairs='folder@clean')", mixed)
    with pytest.raises(UsageError, match="SPEC@FOLDER"):
        open_dataset("mixture(pairs='pairs')", mixed)
    with pytest.raises(UsageError, match="'pairs\\(held_out=true\\)@pairs' has no picture to learn from"):
        open_dataset("mixture(pairs='pairs(held_out=true)@pairs')", mixed)
    with pytest.raises(UsageError, match="above 0 and below 1"):
        open_dataset("mixture(share=1)", mixed)


def test_pairs_take_what_a_list_names(mixed):
    (mixed / "two.txt").write_text("a_1.png\nb_2.png\n")
    (mixed / "wrong.txt").write_text("c_1.png\n")
    data = open_dataset(f"pairs(names='{mixed / 'two.txt'}')", mixed / "pairs")
    assert [item.name for item in data.train] == ["a_1.png", "b_2.png"]
    with pytest.raises(PictureError, match=r"not there: c_1\.png"):
        open_dataset(f"pairs(names='{mixed / 'wrong.txt'}')", mixed / "pairs")
    with pytest.raises(PictureError, match="cannot be read"):
        open_dataset("pairs(names='none.txt')", mixed / "pairs")


def test_batches_say_what_is_finished(mixed):
    data = open_dataset("mixture(share=0.5)", mixed)
    patches = Patches(data.train, DataConfig(patch=16, batch=8), 3, seed=0, size=8)
    batch = patches(0, 0).to(torch.device("cpu"))
    assert batch.finished is not None
    assert batch.noisy is not None
    assert 0 < int(batch.finished.sum()) < 8
    same = (batch.noisy == batch.clean).all(dim=(1, 2, 3))
    assert torch.equal(same, ~batch.finished)


def test_two_noisy_views_are_learnt_from_where_a_mixture_has_them_and_a_clean_one_where_it_has_not(mixed):
    data = open_dataset("mixture(share=0.5)", mixed)
    patches = Patches(data.train, DataConfig(patch=16, batch=8), 3, seed=0, size=8)
    batch = patches(0, 0).to(torch.device("cpu"))
    cpu, network = torch.device("cpu"), "dncnn(width=4, depth=3)"
    method = open_method(Recipe(network=network, method="noise2noise"), cpu)
    task = method.pose(batch, rng())
    for i, finished in enumerate(batch.finished):
        assert torch.equal(task.target[i], batch.clean[i]) == bool(finished)
        assert torch.equal(task.noisy[i], batch.noisy[i]) == bool(finished)
    for name in ("noise2noise", "supervised"):  # a batch is of bytes, or of float16
        frozen = open_method(Recipe(network=network, method=f"{name}(frozen=true)"), cpu)
        with pytest.raises(RecipeError, match="of a mixture nothing is frozen"):
            frozen.prepare(data)


def test_held_out_pairs_of_unlike_sizes_are_refused(mixed):
    write(mixed / "pairs" / "noisy" / "b_2.png", 150, side=44)
    item = next(item for item in open_dataset("pairs", mixed / "pairs").train if item.name == "b_2.png")
    store = PictureStore(3, 10)
    for largest in (0, 32):
        with pytest.raises(PictureError, match="40x40 and 44x44 pixels; the views of a pair are aligned"):
            open_views(item, 0, None, store, largest=largest)
    views = open_views(item, 0, None, store, aligned=False)
    assert (views.clean.shape[-1], views.noisy.shape[-1], views.sigma_map) == (40, 44, None)


def test_a_training_learns_from_a_mixture_and_its_weights_are_blind(mixed):
    (mixed / "held.txt").write_text("clean/0.png\npairs/b_2.png\n")
    recipe = Recipe(
        network="drunet(widths=[8, 16], blocks=1, unshuffle=2)",
        degradation="camera(stops=0..5)",
        untold=0.5,
        level_error=0.2,
        data=DataConfig(
            set="mixture(share=0.4)", root=str(mixed), validation=str(mixed / "held.txt"), patch=16, batch=4
        ),
        optimiser=OptimiserConfig(name="adamw"),
        length=LengthConfig(steps=9),
        validate_every=3,
    )
    reports = train(recipe, mixed / "run", device="cpu")
    figures = next(report.validation for report in reports if report.validation)
    reports.close()  # what is exported at the end is another test's
    assert math.isfinite(figures["psnr"])
    restorer = open_restorer(mixed / "run" / "best.safetensors")
    image = np.full((24, 24, 3), 0.5, np.float32) + 0.1 * np.eye(24, dtype=np.float32)[..., None] * [1, 0.5, 0]
    image = image.astype(np.float32)
    assert not restorer.needs_sigma
    blind, told, none = restorer(image), restorer(image, 20.0), restorer(image, 0.0)
    assert np.array_equal(none, image)
    assert not np.array_equal(blind, told)
    assert np.allclose(restorer(image, np.full((24, 24), 20.0)), told, atol=1e-6)


def test_held_out_pairs_of_a_mixture_are_validated_as_they_are(mixed):
    (mixed / "held.txt").write_text("clean/0.png\npairs/b_2.png\n")
    data = split(open_dataset("mixture(share=0.5)", mixed), str(mixed / "held.txt"))
    assert {item.name for item in data.test} == {"clean/0.png", "pairs/b_2.png"}
    assert not {item.name for item in data.train} & {"clean/0.png", "pairs/b_2.png"}


def test_a_mixture_validates_on_no_picture_twice(mixed):
    (mixed / "held.txt").write_text("clean/0.png\npairs/b_2.png\n")
    for share, validation in ((0.8, "2"), (0.2, "2"), (0.8, str(mixed / "held.txt"))):
        data = open_dataset(f"mixture(share={share})", mixed)
        assert len({item.name for item in data.train}) < len(data.train)
        held = split(data, validation).test
        assert len({item.name for item in held}) == len(held) > 1


def write_blocks(folder, images=2, blocks=3, side=24, *, noisy_shape=None, dtype=np.uint8):
    """Write SIDD's two files, smaller, in the format of the official ones (MATLAB 5)."""
    savemat = pytest.importorskip("scipy.io").savemat
    rng = np.random.default_rng(0)
    clean = rng.integers(60, 190, (images, blocks, side, side, 3))
    noisy = np.clip(clean + 10 * rng.standard_normal(clean.shape), 0, 255)
    folder.mkdir(exist_ok=True)
    for view, array in (("Gt", clean), ("Noisy", noisy)):
        array = array.astype(dtype) if noisy_shape is None or view == "Gt" else np.zeros(noisy_shape, dtype)
        key = f"Validation{view}BlocksSrgb"
        savemat(folder / f"{key}.mat", {key: array}, do_compression=True)
    return clean.astype(np.uint8)


def test_blocks_are_read_as_published(tmp_path):
    clean = write_blocks(tmp_path)
    blocks = read_blocks(tmp_path)
    assert [name for name, *_ in blocks] == ["01/01", "01/02", "01/03", "02/01", "02/02", "02/03"]
    assert np.array_equal(blocks[4][1].pixels, clean[1, 1])
    assert 8 < (blocks[4][2].pixels.astype(float) - clean[1, 1]).std() < 12


def test_sidd_is_judged_block_by_block_with_its_images_as_scenes(tmp_path):
    write_blocks(tmp_path)
    report = evaluate("identity", f"sidd:{tmp_path}", metrics=["psnr", "ssim_volume"])
    assert report.summary[0]["n"] == 6
    assert {row["scene"] for row in report.rows} == {"01", "02"}
    assert 27 < report.summary[0]["psnr"] < 29.5  # deviation 10
    assert report.summary[0]["psnr_interval"] is not None


def test_wrong_blocks_are_named(tmp_path, monkeypatch):
    with pytest.raises(PictureError, match="no such file"):
        evaluate("identity", f"sidd:{tmp_path}")
    write_blocks(tmp_path, noisy_shape=(2, 3, 20, 20, 3))
    with pytest.raises(PictureError, match="must agree"):
        read_blocks(tmp_path)
    write_blocks(tmp_path, dtype=np.float64)
    with pytest.raises(PictureError, match="must be bytes"):
        read_blocks(tmp_path)
    (tmp_path / "ValidationNoisyBlocksSrgb.mat").write_bytes(b"no such thing" * 40)
    with pytest.raises(PictureError, match="cannot be read as a MATLAB file"):
        read_blocks(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(MissingExtra, match=r"hush\[sidd\]"):
        read_blocks(tmp_path)


def test_ssim_of_a_volume_is_the_three_dimensional_one():
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(1)
    clean = ndimage.gaussian_filter(rng.random((40, 50, 3)), (2, 2, 0.5))
    restored = clean + 0.02 * rng.standard_normal(clean.shape)

    def smooth(volume):  # 5 pixels each way: 3.5 deviations of 1.5
        return ndimage.gaussian_filter(volume, 1.5, mode="nearest", truncate=5 / 1.5)

    x, y = smooth(restored), smooth(clean)
    covariance = smooth(restored * clean) - x * y
    variances = smooth(restored**2 + clean**2) - x * x - y * y
    expected = ((2 * x * y + 1e-4) * (2 * covariance + 9e-4) / ((x * x + y * y + 1e-4) * (variances + 9e-4))).mean()
    assert ssim_volume(restored, clean) == pytest.approx(expected, abs=1e-9)
    assert ssim_volume(clean, clean) == pytest.approx(1)
    assert ssim_volume(restored, clean) != pytest.approx(ssim(restored, clean), abs=1e-3)
    assert ssim_volume(restored[..., 0], clean[..., 0]) < 1


def test_weights_that_must_be_told_learn_noise_without_a_known_level_too(mixed):
    recipe = Recipe(
        network="drunet(widths=[8, 16], blocks=1, unshuffle=2)",
        degradation="poisson(peak=20)",
        data=DataConfig(root=str(mixed / "clean"), patch=16, batch=2),
        optimiser=OptimiserConfig(name="adamw"),
        length=LengthConfig(steps=9),
        validate_every=1,
    )
    reports = train(recipe, mixed / "run", device="cpu")
    assert math.isfinite(next(report.validation for report in reports if report.validation)["psnr"])
    reports.close()
