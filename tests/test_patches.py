"""Patches are a pure function of seed, step and part; pairs stay aligned; odd pictures are taken or named."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from conftest import shared_data
from hush.errors import PictureError, RecipeError
from hush.learning.config import DataConfig
from hush.learning.datasets import Batch, Item, Squeezed, open_dataset
from hush.learning.dead_leaves import drawing
from hush.learning.patches import Ahead, Patches, PictureStore, _resize, read_source

CPU = torch.device("cpu")


def picture(seed=0, height=40, width=50, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def items_of(count=10, **options):
    return [Item(f"{i}", picture(i, **options), label=i) for i in range(count)]


def patches(items, channels=3, seed=0, parts=1, **options):
    config = DataConfig(**{"patch": 16, "batch": 8, **options})
    return Patches(items, config, channels, seed, config.batch // parts)


def equal(one, other):
    return all(
        (a is None and b is None) or torch.equal(a, b)
        for a, b in ((getattr(one, name), getattr(other, name)) for name in ("clean", "noisy", "label", "gray"))
    )


# --- a pure function ------------------------------------------------------------------------------------------------


def test_a_batch_depends_on_seed_step_and_part_alone():
    make = patches(items_of(), gray=0.5)
    batches = [make(step, 0) for step in range(5)]
    again = patches(items_of(), gray=0.5)
    assert all(equal(again(step, 0), batches[step]) for step in (4, 0, 3, 1, 2))
    assert not equal(batches[0], batches[1])
    assert not equal(batches[0], patches(items_of(), gray=0.5, seed=1)(0, 0))


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_parts_make_the_same_batch_as_the_whole(parts):
    """Accumulation and several processes see what one process sees at once, over the ends of epochs too."""
    pairs = [Item(str(i), picture(i), picture(i + 100), label=i) for i in range(11)]
    whole, divided = patches(pairs, gray=0.5), patches(pairs, gray=0.5, parts=parts)
    for step in range(4):
        batch, some = whole(step, 0), [divided(step, part) for part in range(parts)]
        for name in ("clean", "noisy", "label"):
            assert torch.equal(getattr(batch, name), torch.cat([getattr(part, name) for part in some]))
        grays = [torch.zeros(8 // parts, dtype=torch.bool) if part.gray is None else part.gray for part in some]
        assert torch.equal(torch.zeros(8, dtype=torch.bool) if batch.gray is None else batch.gray, torch.cat(grays))


def test_an_epoch_visits_every_picture_once():
    make = patches(items_of(12), batch=4)
    labels = torch.cat([make(step, 0).label for step in range(9)]).reshape(3, 12)
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in labels)
    assert not torch.equal(labels[0], labels[1])


def test_labels_follow_their_pictures():
    flat = [Item(str(i), np.full((20, 20, 3), 10 * i, np.uint8), label=i) for i in range(10)]
    batch = patches(flat, gray=0.5)(0, 0)
    assert batch.label.dtype == torch.int64
    assert torch.equal(batch.clean[:, 0, 0, 0].long(), 10 * batch.label)
    assert patches([*flat, Item("unlabelled", picture())])(0, 0).label is None


# --- cutting, turning, gray -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"patch": 0}, {"augment": False}, {"patch": 64}])
def test_pairs_are_cut_and_turned_alike(options):
    clean = [picture(i, 40, 40) // 2 for i in range(10)]
    make = patches([Item(str(i), c, c + 100) for i, c in enumerate(clean)], **options)
    for step in range(4):
        batch = make(step, 0)
        assert torch.equal(batch.clean + 100, batch.noisy)


def test_patches_lie_everywhere_and_are_turned_eight_ways():
    board = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    make = patches([Item("board", board)], patch=2, batch=64)
    seen = {tuple(p.flatten().tolist()) for step in range(8) for p in make(step, 0).clean[:, 0]}
    assert len(seen) == 4 * 8
    plain = patches([Item("board", board)], patch=2, batch=64, augment=False)
    assert {tuple(p.flatten().tolist()) for p in plain(0, 0).clean[:, 0]} == {
        (0, 1, 3, 4), (1, 2, 4, 5), (3, 4, 6, 7), (4, 5, 7, 8),
    }  # fmt: skip


def test_pictures_with_an_up_and_a_down_are_mirrored_only():
    item = Item("a", np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))
    patches = Patches([item], DataConfig(patch=0, batch=1, augment="mirror"), 3, 0, 1)
    seen = {patches(step, 0).clean.numpy().tobytes() for step in range(40)}
    upright = item.clean.transpose(2, 0, 1)[None]
    assert seen == {upright.tobytes(), upright[..., ::-1].tobytes()}


def test_whole_pictures_that_are_not_square_keep_their_shape():
    board = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)
    batch = patches([Item("board", board)], patch=0, batch=64)(0, 0)
    assert batch.clean.shape == (64, 3, 2, 3)
    assert len({tuple(p.flatten().tolist()) for p in batch.clean[:, 0]}) == 4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (15, 17), (16, 16)])
def test_pictures_smaller_than_the_patch_are_mirrored_outwards(height, width):
    small = picture(0, height, width)
    batch = patches([Item("small", small)], augment=False)(0, 0)
    assert batch.clean.shape == (8, 3, 16, 16)
    assert set(batch.clean.flatten().tolist()) <= set(small.flatten().tolist())
    if height == 15:
        assert torch.equal(batch.clean[:, :, 14], batch.clean[:, :, 15])


def test_a_share_of_the_patches_is_gray():
    clean = [picture(i) for i in range(10)]
    make = patches([Item(str(i), c, 255 - c) for i, c in enumerate(clean)], batch=100, gray=0.3)
    batch = make(0, 0)
    assert 15 < batch.gray.sum() < 45
    for views in (batch.clean, batch.noisy):
        alike = (views == views[:, :1]).flatten(1).all(dim=1)
        assert torch.equal(alike, batch.gray)
    assert patches(items_of())(0, 0).gray is None


def test_gray_is_the_luminance_of_the_colours():
    batch = patches([Item("red", np.full((16, 16, 3), (200, 100, 50), np.uint8))], gray=1.0)(0, 0)
    assert batch.gray.all()
    assert set(batch.clean.flatten().tolist()) == {round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)}


def test_a_gray_network_gets_one_channel_and_no_gray_share():
    batch = patches([*items_of(2), *items_of(2, channels=1)], channels=1, gray=1.0)(0, 0)
    assert batch.clean.shape == (8, 1, 16, 16)
    assert batch.gray is None


def test_bytes_become_floats_where_they_are_needed():
    batch = patches(items_of())(0, 0)
    moved = batch.to(CPU)
    assert batch.clean.dtype == torch.uint8
    assert moved.clean.dtype == torch.float32
    assert torch.equal(moved.clean, batch.clean.float() / 255)
    assert moved.clean.is_contiguous(memory_format=torch.channels_last)
    floats = torch.rand(2, 3, 4, 4)
    assert torch.equal(Batch(floats).to(CPU).clean, floats)


@pytest.mark.parametrize(
    ("items", "options", "said"),
    [
        ([], {}, "no picture to learn from"),
        ("some", {"patch": -1}, "data.patch -1"),
        ("some", {"batch": 9, "parts": 2}, "data.batch 9 in parts of 4"),
    ],
)
def test_senseless_sizes_are_named(items, options, said):
    with pytest.raises(RecipeError, match=said):
        patches(items_of() if items else [], **options)


def test_whole_pictures_of_several_sizes_are_named():
    make = patches([Item("a.png", picture(0)), Item("b.png", picture(1, 20, 20))], patch=0)
    with pytest.raises(RecipeError, match=r"[ab]\.png and [ab]\.png differ in size"):
        make(0, 0)


def test_views_of_different_sizes_are_named():
    with pytest.raises(PictureError, match=r"a\.png: clean and noisy are 50x40 and 20x30 pixels"):
        patches([Item("a.png", picture(), picture(1, 30, 20))])(0, 0)


# --- the store ------------------------------------------------------------------------------------------------------


def save(path, pixels, mode=None):
    Image.fromarray(pixels, mode).save(path)
    return path


def test_the_store_keeps_files_up_to_its_limit(tmp_path):
    paths = [save(tmp_path / f"{i}.png", picture(i, 512, 512)) for i in range(4)]  # 0.75 MiB each
    store = PictureStore(3, megabytes=2)
    read = [store(path) for path in paths]
    assert [store(path) is pixels for path, pixels in zip(paths, read, strict=True)] == [True, True, False, False]
    assert all(np.array_equal(store(path), picture(i, 512, 512)) for i, path in enumerate(paths))
    assert PictureStore(3, megabytes=0)(paths[0]).shape == (512, 512, 3)


def test_pictures_of_every_kind_become_bytes_of_the_wanted_channels(tmp_path):
    colour, gray = picture(), picture(channels=1)
    alpha = np.concatenate([colour, gray], axis=2)
    gray_alpha = np.concatenate([gray, gray], axis=2)
    kinds = {
        "rgb": (colour, colour), "gray": (gray[..., 0], gray), "rgba": (alpha, colour), "la": (gray_alpha, gray),
    }  # fmt: skip
    for name, (stored, expected) in kinds.items():
        path = save(tmp_path / f"{name}.png", stored)
        assert np.array_equal(PictureStore(3, 10)(path), np.broadcast_to(expected, (40, 50, 3))), name
        assert PictureStore(1, 10)(path).shape == (40, 50, 1), name
        if expected is gray:
            assert np.array_equal(PictureStore(1, 10)(path), gray), name


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    import tifffile

    deep = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    assert np.array_equal(read_source(tmp_path / "deep.tif"), np.rint(deep / 257).astype(np.uint8))
    floats = (deep / 65535).astype(np.float32)
    tifffile.imwrite(tmp_path / "float.tif", floats, photometric="rgb")
    assert np.abs(read_source(tmp_path / "float.tif").astype(int) - np.rint(floats * 255)).max() == 0


@pytest.mark.parametrize("scale", [4095 / 65535 * 0.9, 255.0])
def test_ranges_that_eight_bits_cannot_hold_are_named(tmp_path, scale):
    import tifffile

    floats = np.random.default_rng(0).random((40, 50, 3), np.float32) * np.float32(scale)
    pixels = floats if scale > 1 else np.rint(floats * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "narrow.tif", pixels, photometric="rgb")
    with pytest.raises(PictureError, match=r"narrow\.tif: its brightest value"):
        read_source(tmp_path / "narrow.tif")


def test_black_is_a_picture(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "black.tif", np.zeros((4, 5, 3), np.uint16), photometric="rgb")
    assert not read_source(tmp_path / "black.tif").any()


def test_inks_and_unreadable_pictures_are_named(tmp_path):
    save(tmp_path / "inks.jpg", picture(channels=4), "CMYK")
    with pytest.raises(PictureError, match=r"inks\.jpg: CMYK"):
        read_source(tmp_path / "inks.jpg")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for i in range(3):
        save(tmp_path / f"good{i}.png", picture(i))
    make = patches(open_dataset("folder", tmp_path).train[:1])
    loader = Ahead(make, ((step, 0) for step in itertools.count()))
    with pytest.raises(PictureError, match=r"broken\.png"):
        next(loader)
    loader.close()


def test_squeezing_averages_areas(tmp_path):
    path = save(tmp_path / "flat.png", np.repeat(np.array([[[0, 80, 255]]], np.uint8), 20, axis=0).repeat(10, axis=1))
    assert (read_source(Squeezed(path, 4)) == (0, 80, 255)).all()
    stripes = save(tmp_path / "stripes.png", np.tile(np.array([0, 200], np.uint8), (8, 8)))
    assert (read_source(Squeezed(stripes, 4)) == 100).all()
    assert read_source(Squeezed(stripes, 4)).shape == (4, 4, 1)


# --- ahead ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_batches_come_in_order_however_many_threads_there_are(workers):
    make = patches(items_of(), parts=2)

    def slow(step, part):
        time.sleep(0.002 * ((step * 7 + part) % 3))  # later ones are often ready first
        return make(step, part)

    steps = [(step, part) for step in range(10) for part in range(2)]
    loader = Ahead(slow, iter(steps), workers=workers)
    again = patches(items_of(), parts=2)
    assert all(equal(next(loader), again(step, part)) for step, part in steps)
    assert loader.waited > 0
    with pytest.raises(StopIteration):
        next(loader)
    loader.close()


def test_threads_that_share_files_see_what_one_sees(tmp_path):
    for i in range(6):
        save(tmp_path / f"{i}.png", picture(i))
    items = open_dataset("folder", tmp_path).train
    loader = Ahead(patches(items, cache=0), ((step, 0) for step in range(6)), workers=6)
    kept = Ahead(patches(items), ((step, 0) for step in range(6)), workers=6)
    alone = patches(items)
    for step in range(6):
        batch = alone(step, 0)
        assert equal(next(loader), batch)
        assert equal(next(kept), batch)
    loader.close()
    kept.close()


def test_closing_stops_work_that_is_not_needed_any_more():
    made, release = [], threading.Event()

    def make(step, part):
        made.append(step)
        release.wait(5)
        return Batch(torch.zeros(1, 1, 1, 1))

    loader = Ahead(make, ((step, 0) for step in itertools.count()), depth=8, workers=1)
    release.set()
    next(loader)
    loader.close()
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count <= 9


# --- real pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "place", "patch"),
    [
        ("folder", ("train-pack", "bsds398"), 64),
        ("sidd", ("real", "SIDD-small-256nn"), 64),
        ("sidd(size=96)", ("real", "SIDD-small-256nn"), 0),
        ("pairs", ("real", "PolyU"), 64),
        ("blur_pairs", ("blur", "GoPro-sub"), 64),
        ("blur_triples", ("blur", "kwentar-300px"), 64),
        ("stl10", ("small",), 0),
        ("cifar10", ("small",), 0),
    ],
)
def test_every_excerpt_gives_batches(spec, place, patch):
    data = open_dataset(spec, shared_data(*place))
    batch = patches(data.train, patch=patch, batch=4)(0, 0)
    assert batch.clean.shape[:2] == (4, 3)
    assert batch.clean.float().std() > 5
    if batch.noisy is not None and spec != "blur_triples":  # whose views are shifted by a tenth of the picture
        blurred = [F.avg_pool2d(views.float(), 8).flatten() for views in (batch.clean, batch.noisy)]
        assert torch.corrcoef(torch.stack(blurred))[0, 1] > 0.9, "noisy and clean are no pair"


def test_early_patches_are_smaller():
    growing = patches(items_of(), early_patch=8, early_steps=2)
    assert [growing(step, 0).clean.shape[-1] for step in range(4)] == [8, 8, 16, 16]
    assert equal(growing(3, 0), patches(items_of())(3, 0))


# --- shrinking ------------------------------------------------------------------------------------------------------


def test_half_of_the_patches_are_shrunk_in_both_views():
    pairs = [Item("0", picture(0, 64, 64), picture(1, 64, 64))]
    make = patches(pairs, shrink=4, augment=False, batch=64)
    batch = make(0, 0)
    assert batch.clean.shape == batch.noisy.shape == (64, 3, 16, 16)
    clean, noisy = (views.float().std(dim=(1, 2, 3)) for views in (batch.clean, batch.noisy))
    assert 0.3 < (noisy > 70).float().mean() < 0.7  # white noise as it is
    assert noisy.min() < 30  # and of squares of nearly 4x4
    assert torch.allclose(clean, noisy, rtol=0.25)
    assert equal(batch, patches(pairs, shrink=4, augment=False, batch=64)(0, 0))


def test_shrunk_patches_show_the_same_scene():
    ramp = np.repeat(np.linspace(0, 252, 64).astype(np.uint8)[:, None, None], 64, axis=1).repeat(3, axis=2)
    batch = patches([Item("0", ramp)], shrink=4, augment=False, batch=64)(0, 0).clean.float()
    slopes = (batch[:, 0, 12, 8] - batch[:, 0, 4, 8]) / 8  # 4 levels a row, and more where rows were joined
    assert slopes.min() >= 3.8
    assert 12 < slopes.max() < 17


def test_frozen_noise_keeps_its_values_beyond_white():
    views = [np.full((32, 32, 3), value, np.float16) for value in (-0.25, 1.25)]
    assert [float(_resize(view, 16).mean()) for view in views] == [-0.25, 1.25]


def test_pictures_too_small_to_shrink_and_pairs_of_a_mixture_are_taken_as_they_are():
    small = [Item("0", picture(0, 16, 16))]
    assert equal(patches(small, shrink=4)(0, 0), patches(small)(0, 0))
    finished = [Item("0", picture(0, 64, 64), picture(1, 64, 64), finished=True)]
    assert equal(patches(finished, shrink=4)(0, 0), patches(finished)(0, 0))


def test_a_share_of_a_mixtures_pairs_gives_its_noise_to_clean_pictures():
    flat = [Item(str(i), np.full((48, 48, 3), 60 + i, np.uint8)) for i in range(3)]
    quiet = np.full((48, 48, 3), 200, np.uint8)
    pair = Item("pair", quiet, quiet + picture(0, 48, 48) % 8, finished=True)  # noise of 0 to 7
    items = [*flat, pair, pair, pair]
    batch = patches(items, grafted=0.5, batch=96, shrink=2)(1, 0)
    noisy, of_pairs = (batch.noisy.int() - batch.clean.int()).flatten(1), (batch.clean == 200).flatten(1).all(dim=1)
    grafted = batch.finished & ~of_pairs
    assert 0.3 < grafted.sum() / batch.finished.sum() < 0.7
    assert (noisy[of_pairs].min(), noisy[of_pairs].max()) == (0, 7)
    planes = noisy[grafted].reshape(3 * int(grafted.sum()), -1)
    assert (planes.amax(1) - planes.amin(1) == 7).all()
    assert planes.float().mean(1).abs().max() <= 0.5  # its mean is the pair's exposure; all is rounded to 8 bit
    assert not noisy[~batch.finished].any()
    assert equal(batch, patches(items, grafted=0.5, batch=96, shrink=2)(1, 0))
    whole = patches(items, grafted=0, batch=96, shrink=2)(1, 0)
    assert torch.equal(whole.clean[~grafted], batch.clean[~grafted])  # nothing else changes
    bright = [Item("0", np.full((48, 48, 3), 254, np.uint8)), pair]
    assert patches(bright, grafted=1, batch=16)(0, 0).noisy.max() == 255  # clipped, not wrapped


def test_pictures_that_get_the_noise_of_pairs_are_enlarged_and_softer():
    sharp = [Item(str(i), picture(i, 64, 64)) for i in range(2)]
    even = np.full((64, 64, 3), 200, np.uint8)
    pairs = [Item("pair", even, even + picture(0, 64, 64) % 8, finished=True)] * 2
    whole, near = (patches([*sharp, *pairs], grafted=1, batch=32, enlarge=factor)(1, 0) for factor in (1, 4))
    steps = [batch.clean[batch.finished].float().diff(dim=-1).abs().mean((1, 2, 3)) for batch in (whole, near)]
    assert (steps[1] < 1.01 * steps[0]).all()
    assert steps[1].mean() < 0.6 * steps[0].mean()
    noises = [(batch.noisy.int() - batch.clean.int())[batch.finished] for batch in (whole, near)]
    assert (noises[1].amax((2, 3)) - noises[1].amin((2, 3))).max() == 7  # no weaker
    assert torch.equal(whole.clean[~whole.finished], near.clean[~near.finished])


def test_shrinking_changes_nothing_else():
    plain, shrunk = patches(items_of(), shrink=1)(3, 0), patches(items_of())(3, 0)
    assert equal(plain, shrunk)


# --- drawings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_share_of_the_patches_is_drawn_the_same_each_time(channels):
    flat = [Item("0", np.full((32, 32, 3), 7, np.uint8))]
    batch = patches(flat, channels, drawn=0.3, batch=64)(2, 0)
    drawn = (batch.clean != 7).flatten(1).any(dim=1)
    assert 0.15 < drawn.float().mean() < 0.45
    assert equal(batch, patches(flat, channels, drawn=0.3, batch=64)(2, 0))
    assert len({patch.numpy().tobytes() for patch in batch.clean[drawn]}) == drawn.sum()  # no two alike


def test_pairs_and_pictures_with_labels_are_not_drawn():
    pairs = [Item("0", picture(0), picture(1))]
    assert equal(patches(pairs, drawn=1.0)(0, 0), patches(pairs)(0, 0))
    labelled = [Item("0", picture(0), label=3)]
    assert equal(patches(labelled, drawn=1.0)(0, 0), patches(labelled)(0, 0))


def test_drawings_have_sharp_edges_and_many_colours():
    drawings = [drawing(np.random.default_rng(seed), 64) for seed in range(40)]
    assert all(view.shape == (64, 64, 3) and view.dtype == np.uint8 for view in drawings)
    steps = [np.abs(np.diff(view.astype(int), axis=1)).max() for view in drawings]
    assert np.median(steps) > 60
    assert sum((view == view[..., :1]).all() for view in drawings) in range(1, 20)  # some are gray
    means = np.array([view.mean() for view in drawings])
    assert means.min() < 80
    assert means.max() > 160


def test_the_maximum_of_a_netpbm_file_is_white(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n15\n" + bytes([15, 15, 15, 0, 0, 0]))
    np.testing.assert_array_equal(read_source(tmp_path / "a.ppm"), [[[255] * 3, [0] * 3]])
