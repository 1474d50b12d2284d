"""What is installed: the base install needs no torch, and a wheel carries all that it runs on."""

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import hush
from hush.errors import MissingExtra
from tiny import write_tiny

ROOT = Path(__file__).parent.parent
PACKAGE = Path(hush.__file__).parent

BLOCKED = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r} or name.startswith(("hush.learning", "hush.judging")) and {wing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""
TRAINING = {"torch", "safetensors", "onnx", "onnxscript", "onnxruntime", "matplotlib", "skimage", "scipy", "pywt"}


def without(code, names=TRAINING, *, wing=True, cwd=None):
    """Run Python in a process that lacks modules and, with ``wing``, learning and judging."""
    blocked = BLOCKED.format(names=names, wing=wing)
    return subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True, cwd=cwd)


def test_importing_hush_imports_nothing_heavy():
    code = "import sys, hush; print({'numpy', 'torch', 'openvino', 'pyvips', 'PIL', 'typer'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_every_module_of_the_base_install_imports_without_the_learning_wing():
    code = """
import importlib, pkgutil, hush.imaging, hush.restoring, hush.web, hush.cli
for package in (hush.imaging, hush.restoring, hush.web, hush.cli):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
assert not {"torch", "hush.learning"} & set(sys.modules)
"""
    done = without(code)
    assert done.returncode == 0, done.stderr


def test_denoise_works_without_the_learning_wing(tmp_path, photos):
    weights = write_tiny(tmp_path / "tiny.onnx")
    code = f"""
from hush.cli import run
assert run(["denoise", {str(photos[0])!r}, "-o", "out.png", "--sigma", "25", "--weights", {str(weights)!r}]) == 0
"""
    done = without(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").exists()


def test_serve_works_without_the_learning_wing(tmp_path, photos):
    weights = write_tiny(tmp_path / "tiny.onnx")
    code = f"""
from starlette.testclient import TestClient
from hush.restoring.options import DenoiseOptions
from hush.web.app import create_app
client = TestClient(create_app(DenoiseOptions(weights={str(weights)!r})), base_url="http://localhost")
assert client.get("/").status_code == 200
assert client.post("/api/denoise?sigma=25", content=open({str(photos[0])!r}, "rb").read()).status_code == 200
"""
    done = without(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", ["train gaussian", "export gaussian -o x.onnx"])
def test_without_torch_training_says_what_to_install(line, tmp_path):
    done = without(f"from hush.cli import run; sys.exit(run({line.split()!r}))", {"torch"}, wing=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("hush: torch is not installed")
    assert "hush[train]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_torch_list_says_what_to_install():
    done = without("from hush.cli import run; sys.exit(run(['list', '--json']))", {"torch"}, wing=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("hush: networks, ")
    assert done.stderr.endswith(" are left out: torch is not installed: pip install 'hush[train]'\n")
    assert done.stderr.count("\n") == 1
    listed = json.loads(done.stdout)
    assert "networks" not in listed
    assert "psnr" in [part["name"] for part in listed["metrics"]]
    done = without("from hush.cli import run; sys.exit(run(['list', 'networks']))", {"torch"}, wing=False)
    assert done.returncode == 1
    assert done.stderr.startswith("hush: torch is not installed")


def test_the_public_names_are_there():
    for name in hush.__all__:
        assert getattr(hush, name)
    with pytest.raises(AttributeError, match="denoize"):
        hush.denoize  # noqa: B018


def test_base_dependencies_hold_no_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(d.startswith(("torch", "onnx", "safetensors", "scikit")) for d in project["dependencies"])


def test_a_wheel_carries_weights_recipes_photographs_and_the_page(tmp_path):
    builders = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling, which builds wheels, is not installed"
    )
    wheel = next(builders.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = [
        p for p in PACKAGE.rglob("*") if p.suffix in (".onnx", ".toml", ".jpg", ".md", ".css", ".js", ".html", ".typed")
    ]
    assert len(data) > 8
    assert {p.relative_to(PACKAGE.parent).as_posix() for p in data} <= names
    assert not [name for name in names if name.endswith((".pyc", ".npz")) or "test" in name]
    assert Path(wheel).stat().st_size < 60e6


def test_without_torch_functions_that_need_it_are_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith(("hush.learning", "hush.judging"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(hush), "train", raising=False)
    assert not hasattr(hush, "train")
    with pytest.raises(MissingExtra, match=r"hush\.train needs torch"):
        _ = hush.train
