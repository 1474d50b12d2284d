"""Weights are found by name or file, and their card is read without the onnx package."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hush.errors import WeightsError
from hush.restoring import weights as module
from hush.restoring.weights import (
    CARD_KEY,
    WEIGHTS,
    Card,
    WeightsEntry,
    cache_folder,
    open_weights,
    read_card,
    read_metadata,
    split_bare,
)
from tiny import write_tiny

CARD = Card(name="x", network="dncnn", channels=3, sigma_map=False, overlap=20)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.onnx")


@pytest.mark.parametrize("name", [name for name, entry in WEIGHTS.items() if entry.url is None])
def test_weights_that_ship_open_and_are_small(name: str) -> None:
    weights = open_weights(name)
    assert weights.name == name
    assert weights.card.name == Path(WEIGHTS[name].file).stem
    assert weights.named
    assert weights.path.stat().st_size <= 20e6
    assert weights.card.licence
    assert weights.card.data


def test_a_card_survives_its_json() -> None:
    card = replace(CARD, summary="größer", recipe={"steps": 3}, figures=[{"data": "CBSD68", "psnr": 31.2}])
    assert Card.from_json(card.to_json()) == card


def test_a_card_of_a_later_version_opens() -> None:
    content = json.loads(CARD.to_json()) | {"entry of the year 2030": 1}
    assert Card.from_json(json.dumps(content)) == CARD


def test_a_card_of_an_earlier_version_opens() -> None:
    content = {key: value for key, value in json.loads(CARD.to_json()).items() if key != "multiple"}
    assert Card.from_json(json.dumps(content)).multiple == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 2}, "must be 1 or 3"),
        ({"sigma_map": "yes"}, "true or false"),
        ({"overlap": -1}, "number of pixels"),
        ({"overlap": True}, "number of pixels"),
        ({"multiple": 0}, "number of pixels"),
        ({"network": 5}, "must be text"),
    ],
)
def test_a_card_with_wrong_values_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        Card.from_json(json.dumps(json.loads(CARD.to_json()) | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"name": "x"}', "[" * 100_000])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match="card"):
        Card.from_json(text)


def test_an_own_file_opens_with_its_card(file: Path) -> None:
    weights = open_weights(file)
    assert (weights.name, weights.path, weights.named) == ("tiny", file, False)
    assert (weights.card.channels, weights.card.sigma_map, weights.card.overlap) == (3, True, 2)


def test_an_own_file_does_not_pass_for_weights_with_a_name(file: Path, tmp_path: Path) -> None:
    own = tmp_path / "gaussian.onnx"
    own.write_bytes(file.read_bytes())
    assert not open_weights(own).named


def test_metadata_is_what_the_onnx_package_reads(file: Path) -> None:
    assert read_metadata(file) == {entry.key: entry.value for entry in onnx.load(file).metadata_props}


def test_reading_a_card_needs_neither_onnx_nor_numpy(file: Path) -> None:
    code = f"import sys; from hush.restoring.weights import read_card; print(read_card({str(file)!r}).name, "
    code += "sorted({'onnx', 'numpy', 'torch', 'openvino'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["tiny", "[]"]


def test_an_onnx_file_without_a_card_is_refused(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(WeightsError, match=r"bare\.onnx: an ONNX file without a card"):
        open_weights(tmp_path / "bare.onnx")


def test_a_wrong_card_is_refused_with_its_file(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {CARD_KEY: "nonsense"})
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(WeightsError, match=r"odd\.onnx: the card is no JSON"):
        read_card(tmp_path / "odd.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"just some text, and more of it", b"\x00" * 64, b"\xff" * 64]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.onnx: .*no ONNX file"):
        open_weights(tmp_path / "x.onnx")


def test_a_file_cut_off_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(0, len(content) - 1, 7):
        cut.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"cut\.onnx"):
            open_weights(cut)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_opens_or_is_refused(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(content)
    try:
        open_weights(damaged)
    except WeightsError as error:
        assert "damaged.onnx" in str(error)  # noqa: PT017  # either outcome is right, others are not


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "garbage.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"garbage\.onnx"):
        open_weights(tmp_path / "garbage.onnx")


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"no weights are called 'gausian' \(did you mean 'gaussian'\?"):
        open_weights("gausian")


@pytest.mark.parametrize("name", ["missing.onnx", "folder/missing"])
def test_a_missing_file_is_named(name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name}: no such file"):
        open_weights(name)


def test_a_folder_is_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a folder"):
        open_weights(tmp_path)


def test_bare_arrays_are_told_from_files(tmp_path: Path) -> None:
    odd = tmp_path / "me@home.onnx"
    assert split_bare("ffdnet@weights.npz") == ("ffdnet", "weights.npz")
    assert split_bare("unet(width=8)@/data/a@b.npz") == ("unet(width=8)", "/data/a@b.npz")
    assert split_bare(str(odd)) is None
    assert split_bare("gaussian") is None


# ---------------------------------------------------------------- downloads, from a file:// address


@pytest.fixture
def download(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an entry with an address into the table; return where it will be downloaded to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(module.WEIGHTS, "far", WeightsEntry("far.onnx", file.as_uri(), checksum))
    return tmp_path / "cache" / "hush" / "weights" / "far.onnx"


def test_weights_are_downloaded_once(download: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_weights("far").path == download
    assert [entry.name for entry in download.parent.iterdir()] == ["far.onnx"]
    monkeypatch.setitem(module.WEIGHTS, "far", replace(module.WEIGHTS["far"], url="file:///nowhere"))
    assert open_weights("far").card.name == "tiny"


def test_a_damaged_download_is_fetched_again(download: Path) -> None:
    open_weights("far")
    download.write_bytes(b"damaged")
    assert open_weights("far").card.name == "tiny"


def test_a_wrong_checksum_is_refused(download: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.WEIGHTS, "far", replace(module.WEIGHTS["far"], sha256="0" * 64))
    with pytest.raises(WeightsError, match="checksum"):
        open_weights("far")
    assert list(download.parent.iterdir()) == []


def test_an_address_that_fails_is_named(download: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.WEIGHTS, "far", replace(module.WEIGHTS["far"], url="file:///nowhere.onnx"))
    with pytest.raises(WeightsError, match=r"cannot download file:///nowhere\.onnx"):
        open_weights("far")


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder() is None


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("distillation(teacher='/home/ann/secret/t.safetensors')", "distillation(teacher='t.safetensors')"),
        ("pairs(noisy=/home/ann/secret/n, clean=/home/ann/c)", "pairs(noisy=n, clean=c)"),
        ("mixture(clean=folder@~/secret/x, pairs='pairs@/a/b c/d')", "mixture(clean=folder@x, pairs='pairs@d')"),
        ("mixture(pairs='pairs@/a/d;sidd@~ann/e')", "mixture(pairs='pairs@d;sidd@e')"),
        ("mixture(clean='folder@photos/sharp', share=0.2)", "mixture(clean='folder@photos/sharp', share=0.2)"),
        ("adversarial(weight=0.3)", "adversarial(weight=0.3)"),
    ],
)  # fmt: skip
def test_cards_do_not_tell_where_folders_lay(told, kept):
    provenance = pytest.importorskip("hush.learning.provenance")
    assert provenance.PLACES.sub("", told) == kept
