"""The documentation says what is so: recipe keys, commands, links and examples."""

import importlib.util
import json
import re
import shlex
import sys

import pytest
import typer

from conftest import HERE
from hush.cli import run
from hush.cli.commands import app

ROOT = HERE.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands():
    """Return the words of each `hush` command in a code block, with lines that go on joined."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^\$ (?:torchrun .* -m )?(hush .*)$", text, re.MULTILINE):
            found.append(pytest.param(shlex.split(line, comments=True)[1:], id=f"{page.name}: {line[:60].rstrip()}"))
    return found


@pytest.mark.parametrize("words", commands())
def test_commands_in_the_documentation_are_taken(words):
    command = typer.main.get_command(app)
    if words[0].startswith("--"):
        assert any(words[0] in parameter.opts for parameter in command.params)
        return
    context = command.commands[words[0]].make_context(words[0], words[1:])  # fails on an option that there is not
    assert context.params


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_are_files(page):
    for line in re.findall(r"^.*--8.*$", page.read_text(encoding="utf-8"), re.MULTILINE):
        found = re.fullmatch(r'--8<-- "(.+)"', line)  # a formatter of Python once took it for arithmetic
        assert found, line
        assert (ROOT / found[1]).is_file(), line


def test_the_example_in_python_prints_what_is_said(capsys):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    example, printed = re.search(
        r"## An example that runs\n+```python\n(.*?)```.*?```text\n(.*?)```", page, re.S
    ).groups()
    exec(compile(example, "python.md", "exec"), {})
    said, found = printed, capsys.readouterr().out
    number = r"\d+\.\d+"
    assert re.sub(number, "N", found) == re.sub(number, "N", said)
    assert [*map(float, re.findall(number, found))] == pytest.approx([*map(float, re.findall(number, said))], abs=0.3)


def test_the_table_of_recipe_keys_is_up_to_date():
    place = ROOT / "docs" / "recipe_keys.py"
    spec = importlib.util.spec_from_file_location("recipe_keys", place)
    recipe_keys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe_keys)
    page = recipe_keys.PAGE.read_text(encoding="utf-8")
    assert recipe_keys.inserted(page) == page, "run: python docs/recipe_keys.py"


def test_the_example_parts_train_and_are_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    quick = ["length.steps=2", "validate_every=2", "data.patch=16", "data.batch=2", "data.validation_pictures=1"]
    settings = [word for key in ["data.root=tests/data", *quick] for word in ("--set", key)]
    assert run(["train", "examples/my_parts.toml", *settings, "--out", str(tmp_path / "run")]) == 0
    line = ["evaluate", "--weights", str(tmp_path / "run" / "best.onnx"), "--data", "tests/data", "--limit", "1"]
    line += ["--degradation", "examples.my_parts:stripes(sigma=20)"]
    assert run([*line, "--metrics", "psnr,examples.my_parts:largest_error"]) == 0
    assert "largest difference on the 8-bit scale" in capsys.readouterr().out


def test_the_example_data_set_and_method_learn(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    tiny = ["network=drunet(widths=[8, 16], blocks=1, unshuffle=2)", "data.patch=16", "data.batch=2", "data.drawn=0"]
    tiny += ["data.early_steps=0", "data.validation_pictures=1", "length.minutes=0", "length.steps=2"]
    own = ["data.set=examples.my_learning:sharp", "method=examples.my_learning:Careful(share=0.2)"]
    settings = [word for key in ["data.root=tests/data", *tiny, *own] for word in ("--set", key)]
    assert run(["train", "gaussian", *settings, "--out", str(tmp_path / "run")]) == 0
    last = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()][-1]
    assert last["losses"]["harm"] > 0
    kept = importlib.import_module("examples.my_learning").sharp("tests/data", share=0.25).train
    assert [item.name for item in kept] == ["mountains.jpg"]
