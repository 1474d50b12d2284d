"""The notebooks run from top to bottom in a small setting, show pictures and progress, and are kept without outputs."""

import json

import pytest

from conftest import HERE

NOTEBOOKS = sorted((HERE.parent / "examples").glob("*.ipynb"))
SMALL = {
    "denoise": "side = 64",
    "train": 'length = "length.steps=4"; patch = 16; validate_every = 2',
    "study": 'only = ["unet", "unet-no-tv"]',
}
SHOWS = {  # what must be among the outputs: kinds, and words
    "denoise": ({"text/html", "text/plain"}, ["restored  PSNR", "<iframe", "data:image/webp"]),
    "train": ({"image/png", "text/html"}, ["step 4  100%  loss", "WORSE THAN THE INPUT", "psnr of input"]),
    "study": ({"text/html"}, ["training unet", "finished o3-losses", "unet minus unet-no-tv, gaussian:"]),
}


def test_there_is_a_notebook_for_each_use():
    assert [path.stem for path in NOTEBOOKS] == sorted(SMALL) == sorted(SHOWS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs"), "strip it: jupyter nbconvert --clear-output --inplace"
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="running notebooks needs nbclient and ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="running notebooks needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="running notebooks needs nbclient and ipykernel")
    notebook = nbformat.read(path, as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(SMALL[path.stem]))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not any(output.get("name") == "stderr" for output in outputs), "warnings distract"
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    wanted, words = SHOWS[path.stem]
    assert wanted <= kinds
    text = json.dumps([output.get("text") or output.get("data") for output in outputs])
    for word in words:
        assert word in text, word
