"""Data sets read their authors' own layouts, say what is wrong with them, and divide them by scene."""

import os
import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from conftest import shared_data
from hush.errors import PictureError, RecipeError, UsageError
from hush.learning.datasets import DATASETS, DataSet, Item, Squeezed, open_dataset, split
from hush.learning.patches import PictureStore


def draw(path, seed=0, height=8, width=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def names(items):
    return [item.name for item in items]


# --- a folder -------------------------------------------------------------------------------------------------------


def test_folder_lists_pictures_below_it(tmp_path):
    for name in ("b10.png", "b2.png", "sub/a.jpg", ".hidden.png"):
        draw(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert set(names(open_dataset("folder", tmp_path).train)) == {"b2.png", "b10.png", "sub/a.jpg"}
    assert names(open_dataset("folder(recursive=false)", tmp_path).train) == ["b2.png", "b10.png"]


def test_pictures_of_run_directories_are_no_data(tmp_path, monkeypatch):
    draw(tmp_path / "photos" / "a.png")
    draw(tmp_path / "photos" / "runs" / "mine" / "curves.png")
    draw(tmp_path / "photos" / "runs" / "mine" / "samples" / "step-1.png")
    for name in ("log.jsonl", "recipe.json"):
        (tmp_path / "photos" / "runs" / "mine" / name).write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [item.name for item in open_dataset("folder", "~/photos").train] == ["a.png"]
    (tmp_path / "photos" / "a.png").unlink()
    with pytest.raises(PictureError, match="no pictures but those of run directories"):
        open_dataset("folder", tmp_path / "photos")


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(PictureError, match="nowhere: no such folder"):
        open_dataset("folder", tmp_path / "nowhere")
    with pytest.raises(PictureError, match="no pictures found"):
        open_dataset("folder", tmp_path)
    with pytest.raises(UsageError, match="needs a folder"):
        open_dataset("folder", "")


def test_unknown_data_sets_and_options_are_named(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'cifar10'"):
        open_dataset("cifar_10", tmp_path)
    with pytest.raises(UsageError, match=r"no option 'sise' \(did you mean 'size'\?\)"):
        open_dataset("sidd(sise=512)", tmp_path)
    with pytest.raises(UsageError, match="size is 'big'; it must be a whole number"):
        open_dataset("sidd(size=big)", tmp_path)
    with pytest.raises(UsageError, match="coarse is 1; it must be true or false"):
        open_dataset("cifar100(coarse=1)", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_that_a_folder_is_not_its_own(name, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(PictureError, match=tmp_path.name):
        open_dataset(name, tmp_path)


def empty(root):
    return DataSet([])


def test_a_data_set_of_nothing_is_an_error(tmp_path):
    with pytest.raises(PictureError, match="no picture to learn from"):
        open_dataset(f"{__name__}:empty", tmp_path)


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_pairs_meet_by_relative_path_whatever_the_type(tmp_path):
    for name in ("noisy/a.jpg", "clean/a.png", "noisy/sub/b.png", "clean/sub/b.png"):
        draw(tmp_path / name)
    items = open_dataset("pairs", tmp_path).train
    assert {(i.name, i.noisy.name, i.clean.name) for i in items} == {
        ("a.png", "a.jpg", "a.png"),
        ("sub/b.png", "b.png", "b.png"),
    }
    assert all("noisy" in i.noisy.parts and "clean" in i.clean.parts for i in items)


def test_pairs_may_differ_by_an_affix_and_share_a_folder(tmp_path):
    for name in ("Canon_chair_1_real.jpg", "Canon_chair_1_mean.jpg", "Canon_desk_2_real.jpg", "Canon_desk_2_mean.jpg"):
        draw(tmp_path / name)
    spec = "pairs(noisy='.', clean='.', noisy_affix=_real, clean_affix=_mean, scenes='Canon_([a-z]+)')"
    items = open_dataset(spec, tmp_path).train
    assert [(i.noisy.name, i.clean.name, i.scene) for i in items] == [
        ("Canon_chair_1_real.jpg", "Canon_chair_1_mean.jpg", "chair"),
        ("Canon_desk_2_real.jpg", "Canon_desk_2_mean.jpg", "desk"),
    ]


INSTANCES = ("0001_001_S6_00100_00060_3200_L", "0052_002_S6_01600_01000_5500_N", "0198_010_GP_00400_00800_4400_H")


def make_sidd(top, medium=False):
    for instance in INSTANCES:
        for frame in ("010", "011") if medium else ("010",):
            for kind in ("GT", "NOISY"):
                prefix = f"{instance[:4]}_" if medium else ""
                draw(top / instance / f"{prefix}{kind}_SRGB_{frame}.PNG", seed=len(kind))
    (top / "Scene_Instances.txt").write_text("\n".join(INSTANCES))


def make_pair_sets(top, lines):
    for name in ("cam_iso800_1.png", "cam_iso800_2.png", "cam_iso1600_1.png", "other.png"):
        draw(top / "Photos" / "noisy" / name)
        draw(top / "Photos" / "clean" / name)
    make_sidd(top / "Phones" / "Data")
    rows = ["set\tname\tuse", *("\t".join(line) for line in lines)]
    (top / "SPLIT.tsv").write_text("\n".join(rows) + "\n")


SPLIT_LINES = [
    ("Photos", "cam_iso800_1.png", "train"),
    ("Photos", "cam_iso800_2.png", "train"),
    ("Photos", "cam_iso1600_1.png", "report"),
    ("Photos", "other.png", "report"),
    ("Phones", INSTANCES[0], "train"),
    ("Phones", INSTANCES[1], "report"),
]


def test_pair_sets_learn_from_what_their_table_says(tmp_path):
    make_pair_sets(tmp_path, SPLIT_LINES)
    data = open_dataset("pair_sets", tmp_path)
    assert [(item.name, item.scene) for item in data.train] == [
        ("Photos/cam_iso800_1.png", "Photos/cam_iso800"),
        ("Photos/cam_iso800_2.png", "Photos/cam_iso800"),
        (f"Phones/{INSTANCES[0]}/GT_SRGB_010.PNG", "Phones/001"),
    ]
    assert [item.scene for item in data.test] == ["Photos/cam_iso1600", "Photos/other", "Phones/002"]
    assert len(open_dataset("pair_sets(sets=Phones)", tmp_path).test) == 1
    assert len(open_dataset('pair_sets(sets="Phones, Photos", scenes="^(.)")', tmp_path).test) == 3
    make_pair_sets(tmp_path, SPLIT_LINES[2:4])
    assert open_dataset("pair_sets", tmp_path).train == [], "a set may be for reporting alone"


@pytest.mark.parametrize(
    ("lines", "spec", "said"),
    [
        (SPLIT_LINES, "pair_sets(sets=Photo)", "did you mean 'Photos'"),
        ([("Photos", "gone.png", "train")], "pair_sets", "gone.png"),
        ([("Photos", "other.png", "test")], "pair_sets", "train or report"),
        ([("Photos", "other.png")], "pair_sets", "train or report"),
        (SPLIT_LINES, "pair_sets(table=none.tsv)", "none.tsv"),
    ],
)
def test_wrong_tables_of_pairs_are_named(tmp_path, lines, spec, said):
    make_pair_sets(tmp_path, lines)
    with pytest.raises((PictureError, UsageError), match=said):
        open_dataset(spec, tmp_path)


def test_pair_sets_excerpt():
    data = open_dataset("pair_sets", shared_data("real"))
    assert Counter(item.name.split("/")[0] for item in data.train) == {"PolyU": 32, "SIDD-small-256nn": 14}
    assert len(data.test) == 76
    assert not {item.scene for item in data.train} & {item.scene for item in data.test}


def test_pictures_without_a_partner_are_named(tmp_path):
    for name in ("noisy/a.png", "clean/a.png", "noisy/b.png", "clean/c.png"):
        draw(tmp_path / name)
    with pytest.raises(PictureError, match=r"2 pictures have no partner: .*c\.png \(none in noisy\).*b\.png"):
        open_dataset("pairs", tmp_path)


def test_two_pictures_for_one_partner_are_named(tmp_path):
    for name in ("noisy/a.png", "noisy/a.jpg", "clean/a.png"):
        draw(tmp_path / name)
    with pytest.raises(PictureError, match=r"a\.(png|jpg) and a\.(png|jpg) would get the same partner"):
        open_dataset("pairs", tmp_path)


def test_wrong_options_of_pairs_are_named(tmp_path):
    with pytest.raises(UsageError, match="both 'x'"):
        open_dataset("pairs(noisy=x, clean=x)", tmp_path)
    with pytest.raises(UsageError, match="no regular expression"):
        open_dataset("pairs(scenes='(')", tmp_path)


# --- SIDD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("medium", [False, True])
@pytest.mark.parametrize("below", ["Data", "."])
def test_sidd_reads_both_official_layouts(tmp_path, medium, below):
    make_sidd(tmp_path / below, medium)
    items = open_dataset("sidd", tmp_path).train
    assert len(items) == 3 * (1 + medium)
    assert Counter(item.scene for item in items) == dict.fromkeys(("001", "002", "010"), 1 + medium)
    for item in items:
        assert "GT" in item.clean.name
        assert item.noisy == item.clean.with_name(item.clean.name.replace("GT", "NOISY"))
        assert item.name == f"{item.clean.parent.name}/{item.clean.name}"


def test_sidd_reads_crops_in_its_folders(tmp_path):
    for kind in ("GT", "NOISY"):
        for crop in ("0000", "0001"):
            draw(tmp_path / INSTANCES[0] / f"0001_{kind}_SRGB_010_{crop}.png")
    assert len(open_dataset("sidd", tmp_path).train) == 2


def test_sidd_squeezes_whole_frames(tmp_path):
    make_sidd(tmp_path)
    clean = draw(tmp_path / INSTANCES[0] / "GT_SRGB_010.PNG", seed=5, height=8, width=16)
    item = open_dataset("sidd(size=4)", tmp_path).train[0]
    assert item.clean == Squeezed(tmp_path / INSTANCES[0] / "GT_SRGB_010.PNG", 4)
    squeezed = PictureStore(3, 1)(item.clean)
    areas = clean.reshape(4, 2, 4, 4, 3).mean(axis=(1, 3))  # each pixel is the mean of 2x4
    assert squeezed.shape == (4, 4, 3)
    assert np.abs(squeezed - areas).max() <= 1  # the filter rounds after each direction


def test_sidd_names_a_missing_frame(tmp_path):
    make_sidd(tmp_path)
    (tmp_path / INSTANCES[1] / "NOISY_SRGB_010.PNG").unlink()
    with pytest.raises(PictureError, match=rf"{INSTANCES[1]}/GT_SRGB_010.PNG \(none in NOISY\)"):
        open_dataset("sidd", tmp_path)
    with pytest.raises(UsageError, match="size = -1"):
        open_dataset("sidd(size=-1)", tmp_path)


def test_sidd_excerpt():
    data = open_dataset("sidd(size=64)", shared_data("real", "SIDD-small-256nn"))
    assert len(data.train) == 28
    assert {item.scene for item in data.train} == {"001", "002", "004", "005", "006", "008"}
    store = PictureStore(3, 10)
    item = data.train[0]
    assert store(item.clean).shape == store(item.noisy).shape == (64, 64, 3)


# --- blur -----------------------------------------------------------------------------------------------------------


def test_blur_pairs_read_gopro(tmp_path):
    for part, sequence in (("train", "GOPR0372_07_00"), ("train", "GOPR0372_07_01"), ("test", "GOPR0384_11_00")):
        for kind in ("blur", "blur_gamma", "sharp"):
            draw(tmp_path / part / sequence / kind / "000047.png")
    data = open_dataset("blur_pairs(blurred=blur_gamma)", tmp_path)
    assert [(i.name, i.scene) for i in data.train] == [
        ("train/GOPR0372_07_00/000047.png", "GOPR0372_07_00"),
        ("train/GOPR0372_07_01/000047.png", "GOPR0372_07_01"),
    ]
    assert data.train[0].noisy == tmp_path / "train/GOPR0372_07_00/blur_gamma/000047.png"
    assert data.train[0].clean == tmp_path / "train/GOPR0372_07_00/sharp/000047.png"
    assert names(data.test) == ["test/GOPR0384_11_00/000047.png"]


def test_blur_pairs_excerpt():
    data = open_dataset("blur_pairs(scenes='GOPR[0-9]+')", shared_data("blur", "GoPro-sub"))
    assert Counter(item.scene for item in data.train) == {"GOPR0410": 2, "GOPR0477": 2}


def make_triples(top):
    marks = {"sharp": "S", "defocused_blurred": "F", "motion_blurred": "M"}
    for kind, mark in marks.items():
        for stem, suffix in (("0_IPHONE-SE", "JPG"), ("1_HUAWEI", "jpg" if kind == "sharp" else "JPG")):
            draw(top / kind / f"{stem}_{mark}.{suffix}")


def test_blur_triples_give_two_items_each(tmp_path):
    make_triples(tmp_path)
    data = open_dataset("blur_triples", tmp_path)
    assert data.classes == ("defocused_blurred", "motion_blurred")
    assert [(i.name, i.clean.name, i.label, i.scene) for i in data.train] == [
        ("defocused_blurred/0_IPHONE-SE_F.JPG", "0_IPHONE-SE_S.JPG", 0, "0_IPHONE-SE"),
        ("motion_blurred/0_IPHONE-SE_M.JPG", "0_IPHONE-SE_S.JPG", 1, "0_IPHONE-SE"),
        ("defocused_blurred/1_HUAWEI_F.JPG", "1_HUAWEI_S.jpg", 0, "1_HUAWEI"),
        ("motion_blurred/1_HUAWEI_M.JPG", "1_HUAWEI_S.jpg", 1, "1_HUAWEI"),
    ]
    (tmp_path / "motion_blurred/1_HUAWEI_M.JPG").unlink()
    with pytest.raises(PictureError, match=r"a picture has no partner: .*1_HUAWEI.* \(none in motion_blurred\)"):
        open_dataset("blur_triples", tmp_path)


def test_blur_triples_excerpt():
    data = open_dataset("blur_triples", shared_data("blur", "kwentar-300px"))
    assert len(data.train) == 16
    assert len({item.scene for item in data.train}) == 8


# --- STL-10 ---------------------------------------------------------------------------------------------------------


def make_stl10(top):
    """Write pictures by the description: planes of red, green, blue, each column after column."""
    top.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pictures = {
        part: rng.integers(0, 256, (n, 96, 96, 3), np.uint8)
        for part, n in {"train": 3, "test": 2, "unlabeled": 4}.items()
    }
    for part, images in pictures.items():
        planes = [image[:, column, channel] for image in images for channel in range(3) for column in range(96)]
        (top / f"{part}_X.bin").write_bytes(np.concatenate(planes).tobytes())
    (top / "train_y.bin").write_bytes(bytes([1, 10, 2]))
    (top / "test_y.bin").write_bytes(bytes([3, 3]))
    (top / "class_names.txt").write_text("airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n")
    return pictures


def test_stl10_reads_its_binary_layout(tmp_path):
    pictures = make_stl10(tmp_path / "stl10_binary")
    for root in (tmp_path, tmp_path / "stl10_binary"):
        data = open_dataset("stl10", root)
        assert [item.label for item in data.train] == [0, 9, 1]
        assert [item.label for item in data.test] == [2, 2]
        assert (data.classes[0], data.classes[9]) == ("airplane", "truck")
        for part, items in (("train", data.train), ("test", data.test)):
            for item, picture in zip(items, pictures[part], strict=True):
                assert np.array_equal(item.clean, picture)
                assert not item.clean.flags.owndata  # a view of the file
    everything = open_dataset("stl10(unlabeled=true)", tmp_path).train
    assert [item.label for item in everything] == [0, 9, 1, None, None, None, None]
    assert np.array_equal(everything[-1].clean, pictures["unlabeled"][-1])
    assert len(set(names(everything))) == 7


def test_damaged_stl10_is_named(tmp_path):
    make_stl10(tmp_path / "stl10_binary")
    (tmp_path / "stl10_binary/train_y.bin").write_bytes(bytes([1, 11, 2]))
    with pytest.raises(PictureError, match="labels 0 to 10, but 10 classes"):
        open_dataset("stl10", tmp_path)
    (tmp_path / "stl10_binary/train_y.bin").write_bytes(bytes([1, 2]))
    with pytest.raises(PictureError, match="3 pictures but 2 labels"):
        open_dataset("stl10", tmp_path)
    (tmp_path / "stl10_binary/train_y.bin").unlink()
    with pytest.raises(PictureError, match=r"train_y\.bin: cannot be read"):
        open_dataset("stl10", tmp_path)
    for size in (0, 100_000):
        os.truncate(tmp_path / "stl10_binary/train_X.bin", size)
        with pytest.raises(PictureError, match=rf"train_X\.bin: {size} bytes are no whole number of records of 27648"):
            open_dataset("stl10", tmp_path)


def test_stl10_excerpt_holds_the_pictures_that_others_read():
    data = open_dataset("stl10", shared_data("small"))
    assert Counter(item.label for item in data.train) == dict.fromkeys(range(10), 8)
    assert (len(data.test), len(data.classes)) == (30, 10)
    others = {  # the same pictures as lossless WebP, named by their label; read by another's hands
        Image.open(path).convert("RGB").tobytes(): int(path.name[:2]) - 1
        for path in shared_data("small", "stl10_webp", "train").glob("*.webp")
    }
    found = [(item.label, others[item.clean.tobytes()]) for item in data.train if item.clean.tobytes() in others]
    assert found
    assert all(mine == theirs for mine, theirs in found)


# --- CIFAR ----------------------------------------------------------------------------------------------------------


def make_cifar(top, parts, kinds, meta, text_names, pickled):
    """Write parts of three pictures in the binary or the python layout; return (pictures, labels of each kind)."""
    top.mkdir(parents=True)
    rng, written = np.random.default_rng(0), {}
    for part in parts:
        pictures = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
        rows = pictures.transpose(0, 3, 1, 2).reshape(3, 3072)
        labels = {kind: rng.integers(0, 5, 3).tolist() for kind in kinds}
        if pickled:
            batch = {"batch_label": part, **labels, "data": rows.copy(), "filenames": ["a.png", "b.png", "c.png"]}
            (top / part).write_bytes(pickle.dumps(batch, protocol=2))
        else:
            columns = np.array(list(labels.values()), np.uint8).T
            (top / f"{part}.bin").write_bytes(np.concatenate([columns, rows], axis=1).tobytes())
        written[part] = pictures, labels
    for file, key in text_names.items():
        lines = [f"{key[:3]}{i}" for i in range(5)]
        if pickled:
            known = pickle.loads((top / meta).read_bytes()) if (top / meta).exists() else {}
            (top / meta).write_bytes(pickle.dumps({**known, key: lines}, protocol=2))
        else:
            (top / file).write_text("\n".join(lines) + "\n\n")
    return written


def make_cifar10(top, pickled):
    parts = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    folder = top / ("cifar-10-batches-py" if pickled else "cifar-10-batches-bin")
    return make_cifar(folder, parts, ["labels"], "batches.meta", {"batches.meta.txt": "label_names"}, pickled)


def make_cifar100(top, pickled):
    text = {"coarse_label_names.txt": "coarse_label_names", "fine_label_names.txt": "fine_label_names"}
    folder = top / ("cifar-100-python" if pickled else "cifar-100-binary")
    return make_cifar(folder, ["train", "test"], ["coarse_labels", "fine_labels"], "meta", text, pickled)


@pytest.mark.parametrize("pickled", [False, True])
def test_cifar10_reads_both_layouts(tmp_path, pickled):
    written = make_cifar10(tmp_path, pickled)
    data = open_dataset("cifar10", tmp_path)
    assert data.classes == ("lab0", "lab1", "lab2", "lab3", "lab4")
    assert (len(data.train), len(data.test)) == (15, 3)
    for items, parts in ((data.train, list(written)[:5]), (data.test, ["test_batch"])):
        pictures = np.concatenate([written[part][0] for part in parts])
        assert np.array_equal(np.stack([item.clean for item in items]), pictures)
        assert [item.label for item in items] == [i for part in parts for i in written[part][1]["labels"]]
    assert len(set(names([*data.train, *data.test]))) == 18


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("coarse", [False, True])
def test_cifar100_reads_both_layouts_and_labels(tmp_path, pickled, coarse):
    written = make_cifar100(tmp_path, pickled)
    data = open_dataset(f"cifar100(coarse={str(coarse).lower()})", tmp_path)
    kind = "coarse" if coarse else "fine"
    assert data.classes[0] == f"{kind[:3]}0"
    for part, items in (("train", data.train), ("test", data.test)):
        assert np.array_equal(np.stack([item.clean for item in items]), written[part][0])
        assert [item.label for item in items] == written[part][1][f"{kind}_labels"]


def test_damaged_cifar_is_named(tmp_path):
    make_cifar10(tmp_path, pickled=False)
    folder = tmp_path / "cifar-10-batches-bin"
    os.truncate(folder / "data_batch_3.bin", 5000)
    with pytest.raises(PictureError, match=r"data_batch_3\.bin: 5000 bytes are no whole number of records of 3073"):
        open_dataset("cifar10", tmp_path)
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(PictureError, match=r"data_batch_2\.bin: cannot be read"):
        open_dataset("cifar10", folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle at all",
        pickle.dumps([1, 2]),
        pickle.dumps({"labels": [1]}, protocol=2),
        pickle.dumps({"labels": ["one"], "data": np.zeros((1, 3072), np.uint8)}, protocol=2),
        pickle.dumps({"labels": [1], "data": np.zeros((1, 3072), np.float32)}, protocol=2),
        pickle.dumps({"labels": [1], "data": np.zeros((1, 3000), np.uint8)}, protocol=2),
        pickle.dumps({"labels": [1, 2], "data": np.zeros((1, 3072), np.uint8)}, protocol=2),
        pickle.dumps({"labels": [1], "data": np.array([None])}, protocol=2),
    ],
)
def test_pickles_that_are_no_batch_are_named(tmp_path, content):
    make_cifar10(tmp_path, pickled=True)
    (tmp_path / "cifar-10-batches-py/data_batch_4").write_bytes(content)
    with pytest.raises(PictureError, match="data_batch_4"):
        open_dataset("cifar10", tmp_path)


class Touch:
    """When unpickled without care, makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_unpickling_runs_nothing(tmp_path):
    make_cifar10(tmp_path, pickled=True)
    batch = {"labels": [1], "data": Touch(tmp_path / "made")}
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(PictureError, match=r"it asks for \w+\.mkdir, which is not run"):
        open_dataset("cifar10", tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("folder", "train", "test"), [("bin", 500, 150), ("py", 250, 75)])
def test_cifar10_excerpts(folder, train, test):
    data = open_dataset("cifar10", shared_data("small", f"cifar-10-batches-{folder}"))
    assert (len(data.train), len(data.test)) == (train, test)
    assert data.classes[0] == "airplane"
    assert {item.label for item in data.train} == set(range(10))
    pictures = np.stack([item.clean for item in data.train]).astype(float)
    # natural pictures: neighbours are alike both ways, and so are the three channels
    down, across = (np.abs(np.diff(pictures, axis=axis)).mean() for axis in (1, 2))
    assert 0.7 < down / across < 1.4
    assert max(down, across) < 20
    assert np.abs(np.diff(pictures, axis=3)).mean() < 25


# --- what is held out -----------------------------------------------------------------------------------------------


def items_of(count, scenes=0):
    return DataSet([Item(f"sub/{i}.png", None, scene=f"s{i % scenes}" if scenes else "") for i in range(count)])


def test_tiles_need_no_folder_and_are_labelled_by_photograph(tmp_path):
    data = open_dataset("tiles(size=64)", "")
    assert len(data.classes) == 4
    assert {item.label for item in data.train} == {item.label for item in data.test} == {0, 1, 2, 3}
    assert all(item.clean.shape == (64, 64, 3) for item in (*data.train, *data.test))
    assert not set(names(data.train)) & set(names(data.test))
    assert len(data.train) > 3 * len(data.test)
    pixels = draw(tmp_path / "a.png", height=16, width=50)
    own = open_dataset("tiles(size=8)", tmp_path)
    np.testing.assert_array_equal(own.train[7].clean, pixels[8:16, 16:24])  # the ninth square, as the fifth is held out
    with pytest.raises(PictureError, match="lower size"):
        open_dataset("tiles(size=16)", tmp_path)


def test_every_twentieth_item_is_held_out():
    data = split(items_of(45), "")
    assert names(data.test) == ["sub/19.png", "sub/39.png"]
    assert len(data.train) == 43
    assert len(split(items_of(45), "5").test) == 9


def test_scenes_are_held_out_whole():
    data = split(items_of(60, scenes=6), "3")
    assert {item.scene for item in data.test} == {"s2", "s5"}
    assert {item.scene for item in data.train} == {"s0", "s1", "s3", "s4"}
    assert {item.scene for item in split(items_of(60, scenes=6), "").test} == {"s5"}  # fewer than twenty scenes


def test_of_a_single_scene_or_picture_there_is_something_for_both():
    data = split(items_of(10, scenes=1), "5")
    assert (len(data.train), len(data.test)) == (8, 2)
    data = split(items_of(1), "")
    assert names(data.train) == names(data.test) == ["sub/0.png"]


def test_a_list_names_items_folders_or_scenes(tmp_path):
    path = tmp_path / "held.txt"
    path.write_text("# held out\nsub/3.png\n  # indented\n/\nsub/4.png\n", encoding="utf-8")
    data = split(items_of(6), str(path))
    assert names(data.test) == ["sub/3.png", "sub/4.png"]
    assert names(data.train) == ["sub/0.png", "sub/1.png", "sub/2.png", "sub/5.png"]
    path.write_text("s1\n")
    assert names(split(items_of(6, scenes=3), str(path)).test) == ["sub/1.png", "sub/4.png"]
    path.write_text("other/\n")
    both = DataSet([*items_of(2).train, Item("other/a.png", None)])
    assert names(split(both, str(path)).test) == ["other/a.png"]


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("sub/0.png\nsub/9.png", r"not there: sub/9\.png"),
        ("", "holds out 0 of 6"),
        ("sub", "holds out 6 of 6"),
    ],
)
def test_a_wrong_list_says_what_is_wrong(tmp_path, listed, said):
    path = tmp_path / "held.txt"
    path.write_text(listed)
    with pytest.raises(RecipeError, match=said):
        split(items_of(6), str(path))


def test_a_missing_list_and_a_senseless_number_are_named(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read as a list"):
        split(items_of(6), str(tmp_path / "nowhere.txt"))
    with pytest.raises(RecipeError, match="allowed are 2 and more"):
        split(items_of(6), "1")


def test_the_data_sets_own_test_part_comes_first_and_is_thinned_evenly():
    data = DataSet(items_of(10).train, [Item(f"t{i}", None) for i in range(10)])
    assert names(split(data, "", 4).test) == ["t0", "t2", "t5", "t7"]
    assert len(split(data, "").train) == 10
    assert names(split(data, "5").test) == ["sub/4.png", "sub/9.png"]
