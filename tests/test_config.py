"""Recipes: typed, nested, overridable; mistakes name the nearest right key."""

import json

import pytest

from hush.errors import RecipeError
from hush.learning.config import Recipe, build, read_recipe, shipped_recipes, to_dict
from hush.learning.networks import build_network
from hush.learning.noise import Degradation


def test_every_shipped_recipe_is_valid():
    recipes = shipped_recipes()
    assert "gaussian" in recipes
    for name in recipes:
        recipe = read_recipe(name)
        assert recipe.name
        assert recipe.summary
        build_network(recipe.network)
        Degradation(recipe.degradation)


def test_toml_and_json_with_the_same_keys_are_the_same(tmp_path):
    (tmp_path / "a.toml").write_text('seed = 3\n[data]\nroot = "x"\n[optimiser]\nrate = 1\n')
    (tmp_path / "a.json").write_text('{"seed": 3, "data": {"root": "x"}, "optimiser": {"rate": 1.0}}')
    assert read_recipe(tmp_path / "a.toml") == read_recipe(tmp_path / "a.json")
    assert read_recipe(tmp_path / "a.toml").optimiser.rate == 1.0


def test_overrides_reach_nested_keys_and_keep_specifications_as_text():
    recipe = read_recipe(
        "gaussian",
        [
            "optimiser.rate=3e-4",
            "length.steps=10",
            "degradation=gaussian(sigma=25)",
            "data.augment=false",
            "data.root=some/where",
        ],
    )
    assert recipe.optimiser.rate == 3e-4
    assert recipe.length.steps == 10
    assert recipe.degradation == "gaussian(sigma=25)"
    assert recipe.data.augment is False
    assert recipe.data.root == "some/where"


def test_a_folder_may_be_called_like_a_number():
    for name in ("2024", "2024_05", "0x10"):
        assert read_recipe("gaussian", [f"data.root={name}"]).data.root == name
    assert read_recipe("gaussian", ["length.steps=1_000"]).length.steps == 1000


def test_a_recipe_survives_json():
    recipe = read_recipe("gaussian")
    assert build(Recipe, json.loads(json.dumps(to_dict(recipe))), "json") == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.rat=1", "did you mean 'rate'"),
        ("lenght.steps=1", "did you mean 'length'"),
        ("length.steps=many", "takes int, not 'many'"),
        ("length.steps=1.5", "takes int, not 1.5"),
        ("data.augment=3", "takes bool or str, not 3"),
        ("data.augment=mirrors", "allowed are True, False, mirror"),
        ("seed.x=1", "'seed' is no table of keys"),
        ("data.batch=0", "data: batch is 0"),
        ("optimiser.rate=-1", "optimiser: rate is -1"),
        ("precision=f16", "precision is 'f16'"),
        ("seed", "write key=value"),
        ("data.gray=5", "gray is 5; it is a share, from 0 to 1"),
        ("optimiser.average=2", "average is 2; it is a share, from 0 to 1"),
        ("untold=20", "untold is 20; it is a share, from 0 to 1"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe("gaussian", [override])
    assert str(caught.value).startswith(f"--set {override}")  # not the recipe's file, in which nothing is wrong


def test_unreadable_files(tmp_path):
    with pytest.raises(RecipeError, match="did you mean 'gaussian'"):
        read_recipe("gausian")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(RecipeError, match="not valid TOML"):
        read_recipe(tmp_path / "bad.toml")
    (tmp_path / "bad.json").write_text("[1, 2]")
    with pytest.raises(RecipeError, match="a recipe is a table"):
        read_recipe(tmp_path / "bad.json")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("key", "meant"), [("minutes=5", "length.minutes"), ("rate=1e-3", "optimiser.rate"), ("patch=9", "data.patch")]
)
def test_a_key_of_a_table_is_named_with_its_table(key, meant):
    with pytest.raises(RecipeError, match=rf"did you mean {meant}\?"):
        read_recipe("gaussian", [key])
