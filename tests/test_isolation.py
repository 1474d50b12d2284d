"""A decoder that crashes or hangs costs its picture; the others are read, restored and written at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import HERE, shared_data
from hush.errors import MissingExtra, PictureError
from hush.imaging import isolation
from hush.imaging.files import read, read_pages, write
from hush.imaging.formats.picture import Picture
from hush.imaging.isolation import Decoder
from hush.restoring.denoising import DenoiseOptions, FileFailure, FileResult, denoise_file, denoise_files
from hush.restoring.restorers import NetworkRestorer
from tiny import write_tiny

FRAGILE = """
import os, signal, time
from hush.imaging import isolation

def read_pages(source, read=isolation.read_pages):
    if "crash" in source.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "killed" in source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in source.name:
        time.sleep(60)
    if "print" in source.name:
        os.write(1, b"libpng warning: something")
    return read(source)

isolation.read_pages = read_pages
isolation.serve()
"""


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let decoders do what the name of a file says."""
    monkeypatch.setattr(isolation, "COMMAND", FRAGILE)
    monkeypatch.setattr(Decoder.__init__, "__defaults__", (6.0,))  # on a busy machine a decoder takes 2 s to start


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 255, shape, np.uint8)


def save(path: Path, *shape: int) -> Path:
    return write(path, Picture(pixels(*shape)))


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder()
    yield decoder
    decoder.close()


@pytest.mark.parametrize("name", ["multipage.tiff", "dispose_none.gif", "derived_rgb16.png", "flower.jpg"])
def test_a_decoder_reads_what_reading_reads(name: str, decoder: Decoder) -> None:
    path = shared_data("formats", name)
    pages, expected = decoder.read(path), list(read_pages(path))
    assert pages is not None
    assert len(pages) == len(expected)
    for page, other in zip(pages, expected, strict=True):
        assert np.array_equal(page.pixels, other.pixels)
        assert (page.metadata, page.coding, page.path) == (other.metadata, other.coding, other.path)


@pytest.mark.parametrize("name", ["broken.png", "zero_bytes.png", "truncated_jpeg.jpg", "nofile.png"])
def test_a_decoder_refuses_what_reading_refuses(name: str, decoder: Decoder) -> None:
    path = shared_data("formats") / name
    with pytest.raises(PictureError) as expected:
        list(read_pages(path))
    with pytest.raises(PictureError) as raised:
        decoder.read(path)
    assert str(raised.value) == str(expected.value)


def test_a_file_whose_pages_were_not_all_taken_does_not_disturb_the_next(tmp_path: Path, decoder: Decoder) -> None:
    pages = decoder.read(shared_data("formats", "multipage.tiff"))
    assert pages is not None
    next(iter(pages))
    pages = decoder.read(save(tmp_path / "a.png", 5, 6, 3))
    assert pages is not None
    assert next(iter(pages)).size == (5, 6)


def test_large_files_are_left(tmp_path: Path, decoder: Decoder) -> None:
    source = save(tmp_path / "a.png", 50, 60, 3)
    assert decoder.read(source, 13 * 9000 - 1) is None  # a PNG: read, written, and what waits between
    assert decoder.read(source, 13 * 9000) is not None


@pytest.mark.usefixtures("fragile")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crash", r"its decoder crashed \(SIGSEGV\), so the file is damaged"),
        ("hang", "its decoder took more than 6 s, so the file is damaged"),
        ("killed", "its decoder was killed, perhaps as memory ran out"),
    ],
)
def test_a_dead_decoder_is_an_error_and_starts_again(name: str, said: str, tmp_path: Path, decoder: Decoder) -> None:
    with pytest.raises(PictureError, match=rf"{name}\.png: {said}"):
        decoder.read(save(tmp_path / f"{name}.png", 4, 4))
    assert decoder.read(save(tmp_path / "print.png", 4, 4)) is not None


@pytest.mark.usefixtures("fragile")
def test_a_crash_costs_its_picture_not_the_folder(tmp_path: Path) -> None:
    names = ["a.png", "b-crash.png", "c.png", "d-hang.png", "e-print.png", "f.jpg"]
    for name in names:
        save(tmp_path / name, 20, 30, 3)
    results = list(denoise_files([tmp_path], tmp_path / "out", DenoiseOptions(weights="identity", jobs=2)))
    assert [result.source.name for result in results] == names
    failed = [result.source.name for result in results if isinstance(result, FileFailure)]
    assert failed == ["b-crash.png", "d-hang.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png", "e-print.png", "f.jpg"]


def test_a_folder_gives_what_single_files_give(tmp_path: Path) -> None:
    tiny = str(write_tiny(tmp_path / "tiny.onnx"))
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(5):
        save(folder / f"{i}.png", 30 + i, 40, 3)
    (folder / "5.gif").write_bytes(shared_data("formats", "dispose_none.gif").read_bytes())
    (folder / "6.tif").write_bytes(shared_data("formats", "multipage.tiff").read_bytes())
    options = DenoiseOptions(weights=tiny, sigma=20)
    results = list(denoise_files([folder], tmp_path / "out", options))
    assert len(results) == 7
    for result in results:
        assert isinstance(result, FileResult)
        single = denoise_file(result.source, tmp_path / f"single{result.source.suffix}", options)
        assert single == FileResult(result.source, single.target, result.sigma, single.seconds, result.megapixels)
        assert (single.size, single.pages, single.psnr) == (result.size, result.pages, result.psnr)
        for one, other in zip(read_pages(single.target), read_pages(result.target), strict=True):
            assert np.array_equal(one.pixels, other.pixels)
        single.target.unlink()


@pytest.mark.parametrize("small", [0, 30 * 40, 1 << 20])
def test_small_pictures_are_restored_side_by_side(small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever are small, all come out in their order, as single files do, and what is broken costs itself only."""
    opened: list[int] = []
    monkeypatch.setattr("hush.restoring.folders.SMALL", small)
    beside = NetworkRestorer.side_by_side
    monkeypatch.setattr(
        NetworkRestorer, "side_by_side", lambda self, count: opened.append(count) or beside(self, count)
    )
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(9):
        save(folder / f"{i}.png", 26 + i, 40, 3)
    (folder / "5.png").write_bytes(b"no picture")
    options = DenoiseOptions(weights=str(write_tiny(tmp_path / "tiny.onnx")), jobs=2)
    results = list(denoise_files([folder], tmp_path / "out", options))
    assert [result.source.name for result in results] == [f"{i}.png" for i in range(9)]
    assert [isinstance(result, FileResult) for result in results] == [i != 5 for i in range(9)]
    assert opened == ([2] if small else [])
    for result in results:
        if isinstance(result, FileResult):
            single = denoise_file(result.source, tmp_path / "single.png", options)
            assert (single.sigma, single.psnr) == (result.sigma, result.psnr)
            assert np.array_equal(Image.open(single.target), Image.open(result.target))
            single.target.unlink()


def test_where_memory_is_counted_pictures_are_restored_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several at work would each take the memory of the others for its own."""
    monkeypatch.delattr(NetworkRestorer, "side_by_side")
    for i in range(4):
        save(tmp_path / f"{i}.png", 26 + i, 40, 3)
    options = DenoiseOptions(weights=str(write_tiny(tmp_path / "tiny.onnx")), jobs=4, max_memory=2**30, overwrite=True)
    assert all(isinstance(result, FileResult) for result in denoise_files([tmp_path], tmp_path / "out", options))


def test_large_stacks_are_restored_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hush.restoring.folders.STACK", 0)
    for name in ("a.tiff", "b.tiff"):
        (tmp_path / name).write_bytes(shared_data("formats", "multipage.tiff").read_bytes())
    results = list(denoise_files([tmp_path], tmp_path / "out", DenoiseOptions(weights="identity")))
    for result in results:
        assert isinstance(result, FileResult)
        assert result.pages == len(list(read_pages(result.source)))


def test_no_module_of_the_folder_is_run(tmp_path: Path) -> None:
    (tmp_path / "pickle.py").write_text("open('run', 'w').close(); raise ImportError('not this one')")
    for name in ("a.png", "b.png"):
        save(tmp_path / name, 20, 20)
    command = [sys.executable, "-P", "-m", "hush", "denoise", ".", "--weights", "identity"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"pickle.py", "a.png", "b.png", "a-hush.png", "b-hush.png"}


def test_giving_up_half_way_leaves_no_process(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / f"{i}.png", 20, 20, 3)
    before = set(threading.enumerate())
    results = denoise_files([tmp_path], tmp_path / "out", DenoiseOptions(weights="identity"))
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)  # a timer that was cancelled takes a moment to end
    assert not any(thread.is_alive() for thread in left)
    assert list((tmp_path / "out").glob(".hush-*")) == []


def test_a_missing_extra_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: Decoder) -> None:
    command = (
        "from hush.errors import MissingExtra; from hush.imaging import isolation\n"
        "def read_pages(source): raise MissingExtra(f'{source}: needs something')\n"
        "isolation.read_pages = read_pages; isolation.serve()"
    )
    monkeypatch.setattr(isolation, "COMMAND", command)
    with pytest.raises(MissingExtra, match="needs something"):
        decoder.read(tmp_path / "a.heic")


def test_ctrl_c_ends_a_folder(tmp_path: Path) -> None:
    for i in range(30):
        save(tmp_path / f"{i}.png", 100, 100, 3)
    line = f"hush denoise {tmp_path} -o {tmp_path}/out --weights identity".split()
    process = subprocess.Popen([sys.executable, "-m", *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(2)
    started = time.monotonic()
    _, complaint = process.communicate(timeout=60)
    assert time.monotonic() - started < 20
    assert process.returncode in (130, 0)  # 0 if it was done already
    assert b"Traceback" not in complaint
    assert list((tmp_path / "out").glob(".hush-*")) == []
    for path in (tmp_path / "out").iterdir():
        read(path)  # each is whole


def test_damaged_files_are_restored_or_refused() -> None:
    folders = [HERE / "data", HERE.parent.parent / "shared" / "data" / "formats"]
    data = [part for folder in folders if folder.is_dir() for part in ("--data", str(folder))]
    fuzz = [sys.executable, str(HERE.parent / "benchmarks" / "fuzz_files.py"), "600", "--seed", "7"]
    done = subprocess.run([*fuzz, *data, "--keep", os.devnull], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "600 files" in done.stdout
    assert "restored" in done.stdout
