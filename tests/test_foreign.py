"""A config.json of the restoration framework is read as it stands, misspelt keys included."""

import json

import pytest

from conftest import HERE
from hush.cli import run
from hush.errors import RecipeError
from hush.learning.checking import check_recipe
from hush.learning.foreign import read_order
from test_datasets import make_cifar100

CONFIG = {"model": "U-net", "save_weight_path": None, "load_weigth_path": None, "datset": "STL10", "device": "cpu"}


def write(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**CONFIG, **changes}))
    return path


@pytest.mark.parametrize(
    ("model", "network", "method"), [("U-net", "unet", "supervised"), ("VAE", "vae", "variational")]
)
@pytest.mark.parametrize(("datset", "data"), [("STL10", "stl10"), ("Cifar100", "cifar100")])
def test_its_keys_become_a_recipe(tmp_path, model, network, method, datset, data):
    order = read_order(
        write(tmp_path, model=model, datset=datset, save_weight_path="weights", load_weigth_path="a.onnx")
    )
    assert order.recipe.network.startswith(f"{network}(")
    assert (order.recipe.method, order.recipe.data.set, order.recipe.data.batch) == (method, data, 4)
    assert (order.out, order.start, order.device) == ("weights", "a.onnx", "cpu")
    for word in ("l1", "ssim", "total_variation", *(["kl"] if model == "VAE" else [])):
        assert word in order.recipe.loss
    for word in ("gaussian", "salt_pepper", "uniform"):
        assert word in order.recipe.degradation
    check_recipe(order.recipe)


def test_null_means_nothing_and_overrides_are_those_of_the_recipe(tmp_path):
    order = read_order(write(tmp_path), ["length.steps=3", "data.root=elsewhere"])
    assert (order.out, order.start) == (None, None)
    assert (order.recipe.length.steps, order.recipe.data.root) == (3, "elsewhere")
    empty = read_order(write(tmp_path, save_weight_path="", load_weigth_path=""))
    assert (empty.out, empty.start) == (None, None)
    with pytest.raises(RecipeError, match="did you mean 'length'"):
        read_order(write(tmp_path), ["lenth.steps=3"])


def test_a_recipe_is_read_as_ever():
    assert read_order("gaussian").recipe.name == "gaussian"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "Unet"}, "did you mean 'U-net'"),
        ({"model": None}, "allowed are U-net, VAE"),
        ({"datset": "CIFAR10"}, "allowed are STL10, Cifar100"),
        ({"dataset": "STL10"}, "no key 'dataset' .did you mean 'datset'"),
        ({"load_weight_path": None}, "did you mean 'load_weigth_path'"),
        ({"device": "gpu"}, "allowed are cpu, cuda"),
        ({"save_weight_path": 3}, "null or a path"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, message):
    with pytest.raises(RecipeError, match=message):
        read_order(write(tmp_path, **changes))


def test_hush_train_takes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, model="VAE", save_weight_path="weights")
    small = ["network=vae(widths=[4, 8], latent=4)", "data.set=folder", f"data.root={HERE / 'data'}", "data.patch=16"]
    small += ["length.steps=2", "validate_every=2", "data.validation_pictures=1"]
    assert run(["train", str(path), *(word for key in small for word in ("--set", key))]) == 0
    assert (tmp_path / "weights" / "curves.png").exists(), "the loss map"
    assert (tmp_path / "weights" / "best.onnx").exists()
    assert json.loads((tmp_path / "weights" / "recipe.json").read_text())["method"] == "variational"
    again = write(tmp_path, model="VAE", load_weigth_path="weights/last.safetensors", save_weight_path="more")
    monkeypatch.setattr("hush.learning.runs.Run.export", lambda *ignored: None)  # the first has shown it
    assert run(["train", str(again), *(word for key in small for word in ("--set", key))]) == 0


def test_it_trains_on_cifar100_in_its_official_layout(tmp_path):
    make_cifar100(tmp_path, pickled=True)
    path = write(tmp_path, datset="Cifar100", save_weight_path=str(tmp_path / "run"))
    settings = [f"data.root={tmp_path}", "network=unet(width=4, depth=1)", "length.steps=1", "validate_every=1"]
    assert run(["train", str(path), *(word for key in settings for word in ("--set", key))]) == 0
    assert (tmp_path / "run" / "best.onnx").exists()
