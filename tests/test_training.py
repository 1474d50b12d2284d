"""Trainings run, stop, resume bit for bit, and say what is wrong; two processes learn what one learns."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hush.cli.following import training_line
from hush.errors import PictureError, RecipeError, TrainingError, WeightsError
from hush.judging.study import train_into
from hush.learning import training
from hush.learning.checking import check_recipe, note_idle_keys
from hush.learning.checkpoints import load_state
from hush.learning.config import read_recipe
from hush.learning.datasets import Batch, Item, open_dataset
from hush.learning.methods import open_method
from hush.learning.networks.limits import NetworkLimits
from hush.learning.patches import PictureStore
from hush.learning.processes import Processes
from hush.learning.runs import draw_curves, open_saved, read_log
from hush.learning.torch_runtime import read_numbers
from hush.learning.training import Progress, train
from hush.learning.validation import Validation, falls_short
from hush.restoring.weights import open_weights

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "network=drunet(widths=[8, 16], blocks=1, unshuffle=2)",
    "data.patch=32",
    "data.batch=4",
    "data.validation=4",
    "optimiser.warmup=2",
    "precision=f32",
    "length.minutes=0",
    "data.drawn=0",
    "data.early_patch=0",
    "data.early_steps=0",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight smooth colour pictures with edges."""
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:48, :64] / 64
    for i in range(8):
        planes = [0.5 + 0.4 * np.sin((3 + i) * x + c) * np.cos((2 + c) * y + i) for c in range(3)]
        pixels = np.stack(planes, axis=-1)
        pixels[10 + i : 30, 20 : 30 + 2 * i] *= 0.4
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_loss_below_zero_is_in_the_loss_map(tmp_path):
    for kind, sign in (("below", -1), ("above", 1)):
        entries = [{"step": step, "losses": {"loss": sign * (9 - step)}} for step in range(9)]
        draw_curves(entries, tmp_path / f"{kind}.png", "test")
    maps = [np.asarray(Image.open(tmp_path / f"{kind}.png").convert("RGB"), int) for kind in ("below", "above")]
    blue = [(image[..., 2] > image[..., 0] + 60).sum() for image in maps]  # pixels of the line
    assert min(blue) > 200


def tiny(pictures, *more):
    return read_recipe("gaussian", [*TINY, f"data.root={pictures}", *more])


def numbers(run):
    return load_state(run / "last.safetensors")["numbers"]


def test_a_run_directory_holds_everything(pictures, tmp_path):
    reports = list(train(tiny(pictures, "length.steps=12", "validate_every=6"), tmp_path / "run"))
    assert reports[-1].step == 12
    assert [r.validation is not None for r in reports if r.step in (6, 12)] == [True, True]
    for name in (
        "recipe.json", "log.jsonl", "curves.png", "samples/step-0000012.png", "best.safetensors", "last.safetensors",
        "best.onnx", "last.onnx", "checkpoint.safetensors", "data.png",
    ):  # fmt: skip
        assert (tmp_path / "run" / name).stat().st_size > 0, name
    last = read_log(tmp_path / "run")[-1]
    assert last["step"] == 12
    assert {"loss", "log_mse"} <= last["losses"].keys()
    assert {"psnr", "ssim", "psnr_input"} <= last["validation"].keys()
    card = load_state(tmp_path / "run" / "best.safetensors")["card"]
    assert card["training"]["steps"] == 12
    assert card["data"] == "6 pictures: " + pictures.name
    assert str(pictures.parent) not in json.dumps(card)


def test_the_patches_are_drawn_as_the_network_gets_them(pictures, tmp_path):
    recipe = tiny(pictures, "length.steps=1", "degradation=gaussian(sigma=50)", "data.early_steps=0")
    list(train(recipe, tmp_path / "run", extras=False))
    grid = np.asarray(Image.open(tmp_path / "run" / "data.png")) / 255.0
    assert grid.shape == (2 * (32 + 4), 4 * (32 + 4), 3)  # noisy above clean, four patches, white edges
    noisy, clean = grid[:32, :32], grid[36:68, :32]
    assert 0.1 < (noisy - clean).std() < 50 / 255  # clipped where it is drawn


def test_it_learns(pictures, tmp_path):
    noise = "gaussian(sigma=50)"
    settings = [
        "length.steps=120",
        "validate_every=120",
        "optimiser.rate=1e-2",
        "network=dncnn(width=16, depth=5, batch_norm=false)",
        f"degradation={noise}",
        f"validation_degradation={noise}",
    ]
    recipe = tiny(pictures, *settings)
    figures = list(train(recipe, tmp_path / "run"))[-1].validation
    assert figures["psnr"] > figures["psnr_input"] + 5


def test_a_line_says_when_restored_is_worse_than_the_input():
    progress = Progress(1, 0.1, 1.0, 9.0, {"loss": 0.1, "mse": 0.1}, 1.0, 1.0, 1.0, 0.0)
    bad, good = ({"psnr": psnr, "ssim": 0.5, "psnr_input": 20.0} for psnr in (19.9, 20.1))
    assert "WORSE THAN THE INPUT (20.00 dB)" in training_line(replace(progress, validation=bad))
    assert "WORSE" not in training_line(replace(progress, validation=good))
    assert "accuracy 40.0%" in training_line(replace(progress, validation={"accuracy": 0.4, "cross_entropy": 2.0}))
    assert "WORSE" not in training_line(progress)


def test_a_picture_that_comes_back_exactly_does_not_outweigh_the_others():
    white = np.full((16, 16, 3), 255, np.uint8)
    gray = np.random.default_rng(0).integers(90, 110, (16, 16, 3), np.uint8)
    recipe = read_recipe("gaussian", ["validation_degradation=jpeg(quality=50)"])
    validation = Validation([Item("white", white), Item("gray", gray)], recipe, PictureStore(3, 1))
    updater = SimpleNamespace(network=torch.nn.Conv2d(3, 3, 1))

    def figures(share):
        def restore(noisy, **told):
            return torch.where((noisy == 1).all(), noisy, share * noisy)

        return validation(SimpleNamespace(updaters={"network": updater}, restore=restore))[0]

    same, darker = figures(1.0), figures(0.5)
    assert same["psnr"] == same["psnr_input"] < 100
    assert darker["psnr"] < same["psnr"]
    assert falls_short(darker)
    assert not falls_short(same)


def test_a_killed_run_resumes_to_the_same_weights(pictures, tmp_path):
    settings = ["length.steps=16", "validate_every=4", "optimiser.decay=0.5"]
    list(train(tiny(pictures, *settings), tmp_path / "unbroken"))
    program = (
        "import sys\nfrom hush.learning.config import read_recipe\nfrom hush.learning.training import train\n"
        "import torch; torch.set_num_threads(1)\n"
        "for p in train(read_recipe('gaussian', sys.argv[2:]), sys.argv[1]):\n    print(p.step, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "killed"), *TINY, f"data.root={pictures}", *settings]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if int(line) >= 8:
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "last.safetensors").exists()
    resumed = list(train(tiny(pictures, *settings), tmp_path / "killed", resume=True))
    assert 8 < resumed[0].step <= 16
    for name, value in numbers(tmp_path / "unbroken").items():
        assert torch.equal(value, numbers(tmp_path / "killed")[name]), name
    steps = [entry["step"] for entry in read_log(tmp_path / "killed")]
    assert steps == sorted(set(steps))


def test_dropout_resumes_to_the_same_weights(pictures, tmp_path):
    network = "cnn_classifier(widths=[8, 8], convolutions=1, classes=4, dropout=0.5)"
    settings = ["method=classification", f"network={network}", "data.set=tiles(size=16)", "data.root=", "data.patch=0"]
    settings += ["length.steps=6", "validate_every=3", "data.validation=", "data.validation_pictures=2"]
    list(train(tiny(pictures, *settings), tmp_path / "unbroken", extras=False))
    left = train(tiny(pictures, *settings), tmp_path / "left", extras=False)
    assert next(report for report in left if report.step >= 3).share < 1
    left.close()
    torch.manual_seed(999)
    list(train(tiny(pictures, *settings), tmp_path / "left", resume=True, extras=False))
    for name, value in numbers(tmp_path / "unbroken").items():
        assert torch.equal(value, numbers(tmp_path / "left")[name]), name


def test_two_processes_learn_what_one_learns(pictures, tmp_path):
    settings = ["length.steps=6", "validate_every=6"]
    list(train(tiny(pictures, *settings, "optimiser.accumulate=2"), tmp_path / "one", extras=False))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "hush", "train", "gaussian", "--out", str(tmp_path / "two"), "--device", "cpu",
    ]  # fmt: skip
    for setting in [*TINY, f"data.root={pictures}", *settings]:
        command += ["--set", setting]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, value in numbers(tmp_path / "one").items():
        assert torch.allclose(value, numbers(tmp_path / "two")[name], atol=2e-4), name
    assert len(read_log(tmp_path / "two")) == len({entry["step"] for entry in read_log(tmp_path / "two")})


def test_processes_share_the_statistics_of_batch_normalisation(monkeypatch):
    networks = [torch.nn.BatchNorm2d(3) for _ in range(2)]
    for scale, network in enumerate(networks, 1):
        network(scale * torch.randn(4, 3, 8, 8))
    before = [network.running_var.clone() for network in networks]
    other = torch.cat([networks[1].running_mean, networks[1].running_var]).double()
    monkeypatch.setattr("torch.distributed.all_reduce", lambda shared: shared.add_(other))
    Processes(torch.device("cpu"), 0, 2).share_statistics(networks[0])
    torch.testing.assert_close(networks[0].running_var, sum(before) / 2)
    assert networks[0].num_batches_tracked == 1
    monkeypatch.setattr("torch.distributed.all_reduce", None)
    Processes(torch.device("cpu")).share_statistics(networks[0])  # one process asks nobody


def test_processes_agree_as_often_whenever_they_report(pictures, tmp_path, monkeypatch):
    """Clocks differ between processes, and one that asks what others do not ask hangs or ends all of them."""
    asked = []
    monkeypatch.setattr(Processes, "agree", lambda self, value: asked.append(value) or value)
    counts = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(training, "REPORT_SECONDS", seconds)
        list(train(tiny(pictures, "length.steps=4", "length.minutes=60"), tmp_path / str(seconds)))
        counts.append(len(asked))
        asked.clear()
    assert counts[0] == counts[1] > 0


def test_time_limits_go_on_where_they_were(pictures, tmp_path):
    short = ["length.minutes=0.03", "validate_every=1000"]
    list(train(tiny(pictures, *short), tmp_path / "run"))
    first = load_state(tmp_path / "run" / "checkpoint.safetensors")
    assert first["elapsed"] >= 1.8
    reports = list(train(tiny(pictures, "length.minutes=0.06", "validate_every=1000"), tmp_path / "run", resume=True))
    assert reports[-1].step > first["step"]
    assert first["elapsed"] < reports[-1].elapsed < first["elapsed"] + 20


def test_a_loss_that_is_not_finite_stops_the_run(pictures, tmp_path):
    recipe = tiny(
        pictures,
        "length.steps=40",
        "validate_every=2",
        "optimiser.name=adamw",
        "optimiser.rate=1e18",
        "optimiser.clip=0",
    )
    with pytest.raises(TrainingError, match=r"the loss is not finite \(loss = .*Lower optimiser\.rate"):
        list(train(recipe, tmp_path / "run"))


def rooted(restored, clean):
    """A loss of one's own that is finite at 0, where its slope is not."""
    return (restored - clean).square().mean() + (restored - restored.detach()).abs().sum().sqrt()


@pytest.mark.parametrize("clip", [0, 1])
def test_a_gradient_that_is_not_finite_reaches_no_weights(clip, pictures, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    list(train(tiny(pictures, "length.steps=1"), tmp_path / "run", extras=False))
    settings = ["length.steps=2", f"optimiser.clip={clip}", "loss=test_training:rooted"]
    with pytest.raises(TrainingError, match=r"step 1: the gradient of the loss is not finite; the last good state is"):
        list(train(tiny(pictures, *settings), tmp_path / "run", resume=True, extras=False))
    state = load_state(tmp_path / "run" / "checkpoint.safetensors")
    assert all(value.isfinite().all() for value in state["updaters"]["network"]["network"].values())


def test_starting_from_weights_names_what_does_not_fit(pictures, tmp_path):
    settings = ["length.steps=2", "validate_every=2"]
    list(train(tiny(pictures, *settings), tmp_path / "first"))
    wider = tiny(pictures, *settings, "network=drunet(widths=[8, 24], blocks=1, unshuffle=2)")
    first = next(iter(train(wider, tmp_path / "second", start=tmp_path / "first" / "last.onnx")))
    assert "body.0.first.weight" in first.notes[0]
    assert "head.weight" not in first.notes[0]
    with pytest.raises(RecipeError, match="not one layer fits"):
        next(
            iter(
                train(
                    tiny(pictures, *settings, "network=ffdnet(width=12, depth=3)"),
                    tmp_path / "third",
                    start=tmp_path / "first" / "last.safetensors",
                )
            )
        )


@pytest.mark.parametrize("suffix", ["onnx", "safetensors"])
def test_the_card_tells_the_curve_and_what_came_before(suffix, pictures, tmp_path):
    settings = ["length.steps=4", "validate_every=2"]
    list(train(tiny(pictures, *settings), tmp_path / "first"))
    list(train(tiny(pictures, *settings), tmp_path / "second", start=tmp_path / "first" / f"last.{suffix}"))
    first, second = (open_weights(tmp_path / run / "last.onnx").card.training for run in ("first", "second"))
    judged = [e for e in read_log(tmp_path / "second") if "validation" in e]
    assert [megapixels for megapixels, _ in second["curve"]] == [round(e["megapixels"], 1) for e in judged]
    assert [psnr for _, psnr in second["curve"]] == [round(e["validation"]["psnr"], 3) for e in judged]
    assert "started_from" not in first
    assert second["started_from"] == {"name": "gaussian", **first}


def test_a_classifier_learns_and_becomes_part_of_a_guided_network(pictures, tmp_path):
    classifier = "resnet_classifier(widths=[8, 16], blocks=1, classes=4)"
    settings = ["data.set=tiles(size=48)", "data.root=", "data.augment=mirror", "optimiser.name=adamw"]
    settings += ["data.validation=", "data.batch=8", "degradation=gaussian(sigma=10)"]
    learn = [f"network={classifier}", "method=classification", "length.steps=40", "validate_every=40"]
    last = list(train(tiny(pictures, *settings, *learn, "optimiser.rate=1e-2"), tmp_path / "first"))[-1]
    assert last.validation.keys() == {"accuracy", "cross_entropy"}
    assert last.validation["accuracy"] > 0.4  # of four photographs
    assert not (tmp_path / "first" / "best.onnx").exists(), "a classifier restores nothing"
    guided = f"network=guided_unet(classifier='{classifier}', classes=4, widths=[8, 12])"
    start = f"classifier={tmp_path / 'first' / 'last.safetensors'}"
    (report,) = train(tiny(pictures, *settings, guided, "length.steps=2"), tmp_path / "second", start=start)
    assert report.notes == []
    first, second = numbers(tmp_path / "first"), numbers(tmp_path / "second")
    assert all(torch.equal(value, second[f"classifier.{name}"]) for name, value in first.items())
    assert (tmp_path / "second" / "best.onnx").exists()
    with pytest.raises(RecipeError, match="needs labels"):
        next(iter(train(tiny(pictures, *learn), tmp_path / "third")))


def test_a_classifier_sees_gray_noise_on_gray_pictures(pictures):
    classifier = ["network=cnn_classifier(widths=[8], convolutions=1, classes=4)", "method=classification"]
    method = open_method(tiny(pictures, *classifier), torch.device("cpu"))
    batch = Batch(torch.full((2, 3, 8, 8), 0.5), gray=torch.tensor([True, False]))
    gray, colour = method.degrade(batch, torch.Generator().manual_seed(0)).noisy
    assert torch.equal(gray, gray[:1].expand(3, -1, -1))
    assert gray.std() > 0
    assert not torch.equal(colour[0], colour[1])


def test_mistakes_are_refused_before_anything_is_written(pictures, tmp_path):
    for wrong, message in [
        (["length.steps=0"], "no end"),
        (["length.steps=2", "data.batch=3", "optimiser.accumulate=2"], "equal parts"),
    ]:
        with pytest.raises(RecipeError, match=message):
            next(iter(train(tiny(pictures, *wrong), tmp_path / "run")))
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainingError, match="no checkpoint"):
        next(iter(train(tiny(pictures, "length.steps=2"), tmp_path / "run", resume=True)))
    list(train(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    with pytest.raises(TrainingError, match="holds a run already"):
        next(iter(train(tiny(pictures, "length.steps=2"), tmp_path / "run")))


def test_a_run_that_is_left_can_be_resumed(pictures, tmp_path):
    reports = train(tiny(pictures, "length.steps=100000"), tmp_path / "run")
    left = next(reports).step
    reports.close()
    reports = train(tiny(pictures, "length.steps=100000"), tmp_path / "run", resume=True)
    assert next(reports).step > left
    reports.close()


def test_a_resumed_run_refuses_another_network_and_keeps_its_recipe(pictures, tmp_path):
    run = tmp_path / "run"
    list(train(tiny(pictures, "length.steps=2"), run))
    before = (run / "recipe.json").read_text()
    for key, value in [
        ("network", "drunet(widths=[8, 24], blocks=1, unshuffle=2)"),
        ("method", "noise2noise"),
        ("optimiser.name", "adamw"),
    ]:
        with pytest.raises(TrainingError, match=f"is of {key} = .*the recipe says '{re.escape(value)}'"):
            next(train(tiny(pictures, "length.steps=4", f"{key}={value}"), run, resume=True))
        assert (run / "recipe.json").read_text() == before
    with pytest.raises(RecipeError, match="leave out --from"):
        next(train(tiny(pictures, "length.steps=4"), run, resume=True, start="gaussian"))


def test_a_resumed_run_says_what_has_changed(pictures, tmp_path):
    list(train(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    changed = tiny(pictures, "length.steps=4", "loss=mse", "optimiser.rate=1e-4", f"data.root={pictures}/.")
    report = next(train(changed, tmp_path / "run", resume=True))
    assert report.notes == [
        f"going on with another recipe: data.root = '{pictures}/.' (was '{pictures}'), loss = 'mse' (was 'log_mse'), "
        "optimiser.rate = 0.0001 (was 0.002)"
    ]


def best_steps(run):
    return open_saved(run / "best.safetensors")[1].training["steps"]


def test_the_best_is_sought_anew_where_figures_of_before_are_no_measure(pictures, tmp_path):
    """Under stronger noise no later figure could beat one of weaker noise."""
    run, weak = tmp_path / "run", "validation_degradation=gaussian(sigma=1)"
    list(train(tiny(pictures, "length.steps=2", "validate_every=2", weak), run))
    assert best_steps(run) == 2
    same = next(train(tiny(pictures, "length.steps=4", "validate_every=4", weak), run, resume=True))
    assert same.notes == []
    strong = "validation_degradation=gaussian(sigma=60)"
    reports = list(train(tiny(pictures, "length.steps=6", "validate_every=6", strong), run, resume=True))
    assert reports[0].notes[-1] == "judged under other noise than before: best.safetensors is chosen anew"
    assert best_steps(run) == 6
    others = tiny(pictures, "length.steps=8", "validate_every=8", strong, "data.validation=3")
    notes = next(train(others, run, resume=True)).notes
    assert "judged on other pictures than before: best.safetensors is chosen anew" in notes
    assert "not held out before: 2.png, 5.png; if they were learnt from, figures are too good" in notes


def test_files_of_earlier_numbers_go_when_a_finished_run_learns_on(pictures, tmp_path):
    run, weak = tmp_path / "run", "validation_degradation=gaussian(sigma=60)"
    list(train(tiny(pictures, "length.steps=2", "validate_every=2", weak), run))
    assert (run / "best.onnx").exists()
    reports = train(
        tiny(pictures, "length.steps=400", "validate_every=4", weak, "optimiser.rate=1e-3"), run, resume=True
    )
    for report in reports:
        if report.validation and best_steps(run) > 2:
            break
    reports.close()
    assert not (run / "best.onnx").exists()
    assert open_weights(str(run / "last.onnx")).card.training["steps"] == 2  # the end that it is of


class Nowhere(torch.nn.Module):
    """A network that gives NaN."""

    def __init__(self):
        super().__init__()
        self.limits = NetworkLimits(channels=3, overlap=8)
        self.layer = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, noisy, *, sigma_map=None, label=None):
        return self.layer(noisy) * torch.nan


class Nothing(torch.nn.Module):
    """A network without numbers."""

    def __init__(self):
        super().__init__()
        self.limits = NetworkLimits(channels=3, overlap=8)

    def forward(self, noisy, *, sigma_map=None, label=None):
        return noisy


def lost(clean, rng):
    """A noise that gives NaN."""
    return clean * torch.nan


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("network=test_training:Nowhere", "The network gives such values before it has learnt anything"),
        ("degradation=test_training:lost", "The noisy pictures are not: look at degradation = 'test_training:lost'"),
        ("network=test_training:Nothing", "Nothing has no parameters, so there is nothing to learn"),
    ],
)
def test_a_part_of_ones_own_that_cannot_learn_is_named(setting, words, pictures, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises((TrainingError, RecipeError), match=re.escape(words)):
        list(train(tiny(pictures, "length.steps=2", setting), tmp_path / "run", extras=False))


def test_what_ended_before_its_first_checkpoint_is_begun_anew(pictures, tmp_path):
    run = tmp_path / "run"
    list(train(tiny(pictures, "length.steps=2"), run))
    for path in run.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(TrainingError, match="before its first checkpoint; start it anew without --resume"):
        next(train(tiny(pictures, "length.steps=2"), run, resume=True))
    list(train(tiny(pictures, "length.steps=3"), run))
    assert [entry["step"] for entry in read_log(run)][-1] == 3
    assert (run / "best.onnx").exists()


@pytest.mark.parametrize("name", ["recipe.json", "best.onnx", "curves.png"])
def test_somebody_elses_files_are_not_overwritten(name, pictures, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(TrainingError, match=f"holds {re.escape(name)}, and is no run directory"):
        next(train(tiny(pictures, "length.steps=2"), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_an_out_that_cannot_be_is_named(pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot be written \(Not a directory\)\. Choose another --out"):
        next(train(tiny(pictures, "length.steps=2"), tmp_path / "file"))


def test_a_broken_held_out_picture_is_found_before_anything_is_learnt(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "3.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"3\.png: 0 bytes"):
        next(train(tiny(tmp_path / "pictures", "length.steps=2"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_broken_picture_costs_no_steps(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "pictures")
    recipe = tiny(tmp_path / "pictures", "length.steps=8", "data.batch=1", "data.gray=0")
    broken = tmp_path / "pictures" / "6.png"
    broken.write_bytes((pictures / "6.png").read_bytes()[:200])
    kept = r"6\.png: .*learnt in \d steps? is kept: when that is mended or removed, --resume goes on"
    with pytest.raises(PictureError, match=kept):
        list(train(recipe, tmp_path / "run"))
    broken.write_bytes((pictures / "6.png").read_bytes())
    assert [report.step for report in train(recipe, tmp_path / "run", resume=True)][-1] == 8


def test_pairs_that_would_get_more_noise_are_told(pictures, tmp_path):
    for view in ("noisy", "clean"):
        shutil.copytree(pictures, tmp_path / view)
    pairs = ["length.steps=2", "data.set=pairs", f"data.root={tmp_path}"]
    assert "noisy already" in next(train(tiny(pictures, *pairs), tmp_path / "first")).notes[0]
    (note,) = next(train(tiny(pictures, *pairs, "degradation="), tmp_path / "validated")).notes
    assert "and validation_degradation = 'gaussian(sigma=25)' adds to their noise" in note
    alone = ["degradation=", "validation_degradation="]
    assert next(train(tiny(pictures, *pairs, *alone), tmp_path / "second")).notes == []
    frozen = ["length.steps=2", "method=supervised(frozen=true)", "data.gray=0", "data.shrink=1"]
    frozen.append("network=drunet(widths=[8, 16], blocks=1, unshuffle=2, sigma_map=false)")
    assert next(train(tiny(pictures, *frozen), tmp_path / "third")).notes == []


@pytest.mark.parametrize(
    ("setting", "more", "note"),
    [
        ("data.grafted=0.5", (), "data.grafted = 0.5 does nothing: only a mixture"),
        ("data.enlarge=2", (), "data.enlarge = 2.0 does nothing"),
        ("data.early_patch=16", (), "data.early_patch = 16 does nothing: data.early_steps is 0"),
        ("data.early_steps=1", (), "data.early_steps = 1 does nothing: data.early_patch is 0"),
        (
            "data.gray=0.5",
            ("network=drunet(widths=[8], channels=1)",),
            "data.gray = 0.5 does nothing: the network is gray",
        ),
        ("optimiser.momentum=0.5", ("optimiser.name=adamw",), "optimiser.momentum = 0.5 does nothing: it is muon's"),
    ],
)
def test_keys_that_do_nothing_are_told(setting, more, note, pictures, tmp_path):
    settings = ["length.steps=1", "data.patch=16", "data.validation_pictures=1", *more]
    settings += ["data.gray=0", "data.drawn=0", "data.early_patch=0", "data.early_steps=0"]  # which the recipe sets
    notes = [
        next(train(tiny(pictures, *settings, *last), tmp_path / str(len(last)), extras=False)).notes
        for last in ([], [setting])
    ]
    assert notes[0] == []
    assert len(notes[1]) == 1
    assert notes[1][0].startswith(note)


def test_a_classifier_uses_no_loss_and_a_network_without_a_level_is_told_none(pictures, tmp_path):
    classifier = ["method=classification", "network=cnn_classifier(widths=[8], convolutions=1, classes=4)"]
    classifier += ["data.set=tiles(size=16)", "data.root=", "data.validation=", "data.validation_pictures=1"]
    classifier += ["data.patch=16", "length.steps=1"]
    (report,) = train(tiny(pictures, *classifier, "loss=mse"), tmp_path / "classifier", extras=False)
    assert report.notes == ["loss = 'mse' does nothing: the method classification does not use it"]
    (line,) = (tmp_path / "classifier" / "log.jsonl").read_text().splitlines()
    json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    for setting in ("untold=0.5", "level_error=0.5"):
        recipe = tiny(pictures, "network=dncnn(width=8, depth=3)", "length.steps=1", setting)
        for check in (check_recipe, lambda r: next(train(r, tmp_path / "told"))):
            with pytest.raises(RecipeError, match=r"never told the noise level; set both to 0"):
                check(recipe)
    assert not (tmp_path / "told").exists()


def test_weights_without_their_checkpoint_are_not_overwritten(pictures, tmp_path):
    list(train(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    for name in ("checkpoint", "last"):
        (tmp_path / "run" / f"{name}.safetensors").unlink()
    with pytest.raises(TrainingError, match="holds a run already; choose another --out"):
        next(train(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    with pytest.raises(TrainingError, match=r"begin another run from its weights.*best\.safetensors"):
        next(train(tiny(pictures, "length.steps=2"), tmp_path / "run", resume=True))
    with pytest.raises(TrainingError, match=r"begin another run from its weights.*best\.safetensors"):
        next(train(tiny(pictures, "length.steps=2"), tmp_path / "run", resume=True))


class Halves(torch.nn.Module):
    """A network of one's own that does not keep the size."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = NetworkLimits(channels=3, sigma_map=True, overlap=8)
        self.only = torch.nn.Conv2d(3, 3, 2, stride=2)

    def forward(self, noisy, *, sigma_map=None, label=None):
        return self.only(noisy)


def test_a_network_of_ones_own_is_tried_before_the_training(pictures, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(WeightsError, match=r"Halves fails on pictures of 1x1 pixels"):
        next(train(tiny(pictures, "network=test_training:Halves", "length.steps=2"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_no_weights_and_says_where_they_are(pictures, tmp_path):
    list(train(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    for use in (open_saved, read_numbers):
        with pytest.raises(WeightsError, match=r"a checkpoint.*the weights are best\.safetensors"):
            use(checkpoint)


def test_data_is_not_the_limit(pictures, tmp_path):
    reports = list(train(tiny(pictures, "length.steps=60", "validate_every=60"), tmp_path / "run"))
    assert reports[-1].waiting < 0.5  # even for a network this small; the benchmark measures a real one


def test_the_run_is_plain_files(pictures, tmp_path):
    list(train(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    left = [path for path in Path(tmp_path / "run").rglob("*") if path.name.startswith(".")]
    assert not left


@pytest.mark.parametrize(
    ("figures", "short"),
    [
        ({"psnr": 19.9, "psnr_input": 20.0}, True),
        ({"psnr": float("nan"), "psnr_input": 20.0}, True),
        ({"psnr": 20.0, "psnr_input": 20.0}, False),
        ({"accuracy": 0.1}, False),
        ({}, False),
    ],
)
def test_a_report_says_when_restored_is_worse_than_noisy(figures, short):
    assert falls_short(figures) is short
    progress = Progress(7, 0.5, 1.0, 1.0, {"loss": 0.25, "mse": 0.25}, 1.0, 2.0, 3.0, 0.0, validation=figures or None)
    assert ("WORSE THAN THE INPUT (20.00 dB)" in str(progress)) is short
    assert str(progress).startswith("step 7  50%  loss 0.25")


def test_labels_that_a_network_does_not_know_are_refused_before_the_first_step(photos, tmp_path):
    settings = ["data.set=tiles(size=16)", "data.patch=16", "network=cnn_classifier(widths=[4, 8], classes=2)"]
    recipe = read_recipe("gaussian", [*settings, "method=classification", "data.validation_pictures=2"])
    with pytest.raises(RecipeError, match=r"labels up to \d, .* knows 2 classes, from 0 on; give it classes=\d"):
        list(train(recipe, tmp_path / "run"))


def test_keys_of_patches_that_do_nothing_are_told(pictures):
    recipe = tiny(
        pictures, "data.patch=0", "data.shrink=4", "data.drawn=0.5", "data.early_patch=16", "data.early_steps=9"
    )
    notes = note_idle_keys(recipe, NetworkLimits(3, sigma_map=True), mixed=False)
    assert {note.split(" = ")[0] for note in notes} >= {"data.shrink", "data.drawn", "data.early_patch"}
    late = note_idle_keys(
        tiny(pictures, "data.patch=24", "data.early_patch=64", "data.early_steps=9", "data.drawn=0.5"),
        NetworkLimits(3, sigma_map=True), mixed=False, undrawn="pairs are not drawn",
    )  # fmt: skip
    assert "data.early_patch = 64 does nothing: it is not smaller than data.patch = 24" in late
    assert "data.drawn = 0.5 does nothing: pairs are not drawn" in late


def test_a_single_picture_is_said_to_judge_itself(pictures, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(next(iter(sorted(Path(pictures).iterdir()))), folder)
    reports = train(tiny(folder, "length.steps=2", "data.validation="), tmp_path / "run", extras=False)
    assert any("there is one picture" in note for note in next(reports).notes)
    reports.close()


def test_the_picture_of_the_data_shows_what_is_restored(pictures):
    recipe = tiny(pictures, "degradation=camera(near=1, flat=1, dim=1, binned=0)", "length.steps=1")
    data = open_dataset(recipe.data.set, recipe.data.root)
    learner = training.Training(recipe, open_method(recipe, torch.device("cpu")), data, Processes(torch.device("cpu")))
    target = learner.method.degrade(learner.patches(0, 0).to(torch.device("cpu")), learner._rngs()[0]).clean
    np.testing.assert_array_equal(learner.look()[1][0], target[0].permute(1, 2, 0).numpy())


def test_a_finished_training_is_not_judged_on_what_it_may_have_learnt(pictures, tmp_path):
    list(train_into(tiny(pictures, "length.steps=2"), tmp_path / "run"))
    assert list(train_into(tiny(pictures, "length.steps=2"), tmp_path / "run")) == []
    with pytest.raises(RecipeError, match=r"other pictures were held out; 2\.png, 5\.png may have been learnt from"):
        list(train_into(tiny(pictures, "length.steps=2", "data.validation=3"), tmp_path / "run"))
