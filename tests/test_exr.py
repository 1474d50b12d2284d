"""OpenEXR: the picture is restored, all that lies beside it stays as it is."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hush.cli import run
from hush.errors import MissingExtra, PictureError
from hush.imaging.files import Picture, read, write
from hush.restoring.denoising import DenoiseOptions, denoise_file
from tiny import darkening_numbers, write_tiny

RNG = np.random.default_rng(0)


@pytest.fixture
def library() -> Any:
    return pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")


def channels_of(path: Path, library: Any) -> list[dict[str, np.ndarray]]:
    parts = library.File(str(path), separate_channels=True).parts
    return [{name: channel.pixels for name, channel in part.channels.items()} for part in parts]


def rendering(library: Any, path: Path, *, dtype: str = "f2", tiled: bool = False, **header: Any) -> dict[str, Any]:
    """Write what a renderer may: light beyond 1, alpha, depth, an identifier, a layer, and windows that differ."""
    shape = (40, 50)
    channels = {name: RNG.gamma(2, 0.3, shape).astype(dtype) for name in "RGB"}
    channels |= {"A": np.linspace(0, 1, 2000, dtype=dtype).reshape(shape), "Z": RNG.random(shape, np.float32)}
    channels |= {"id": RNG.integers(0, 2**32, shape, np.uint32), "diffuse.R": RNG.random(shape, np.float32)}
    window = (np.array([5, 7], np.int32), np.array([54, 46], np.int32))
    header |= {"dataWindow": window, "displayWindow": (np.array([0, 0], np.int32), np.array([99, 99], np.int32))}
    header |= {"compression": library.PIZ_COMPRESSION, "comments": "a note", "pixelAspectRatio": 1.5}
    header |= {"type": library.scanlineimage, "worldToCamera": np.eye(4, dtype=np.float32)}
    if tiled:
        tiles = library.TileDescription()
        tiles.xSize = tiles.ySize = 16
        header |= {"type": library.tiledimage, "tiles": tiles}
    library.File(header, dict(channels)).write(str(path))
    return channels


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_only_the_colours_change(dtype: str, tiled: bool, library: Any, tmp_path: Path) -> None:
    before = rendering(library, tmp_path / "a.exr", dtype=dtype, tiled=tiled)
    weights = write_tiny(tmp_path / "tiny.onnx", numbers=darkening_numbers())
    result = denoise_file(tmp_path / "a.exr", tmp_path / "b.exr", DenoiseOptions(20, weights=weights))
    [after] = channels_of(result.target, library)
    assert set(after) == set(before)
    for name, values in before.items():
        assert after[name].dtype == values.dtype
        assert np.array_equal(after[name], values) == (name not in "RGB")
    headers = [str(library.File(str(tmp_path / name), separate_channels=True).header()) for name in ("a.exr", "b.exr")]
    assert headers[0] == headers[1]


def test_a_file_unchanged_is_the_same_and_previews_go(library: Any, tmp_path: Path) -> None:
    rendering(library, tmp_path / "a.exr", preview=library.PreviewImage(2, 2))
    picture = read(tmp_path / "a.exr")
    assert picture.pixels.max() > 1
    assert "preview" not in library.File(str(write(tmp_path / "b.exr", picture)), header_only=True).header()


def test_the_first_part_with_colours_is_the_picture(library: Any, tmp_path: Path) -> None:
    depth, colours = RNG.random((9, 8), np.float32), RNG.random((9, 8, 3), np.float32)
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    parts = [library.Part(dict(header), {"Z": depth}, "depth"), library.Part(dict(header), {"RGB": colours}, "beauty")]
    library.File(parts).write(str(tmp_path / "a.exr"))
    picture = read(tmp_path / "a.exr")
    assert np.array_equal(picture.pixels, colours)
    write(tmp_path / "b.exr", replace(picture, pixels=1 - colours))
    first, second = channels_of(tmp_path / "b.exr", library)
    assert np.array_equal(first["Z"], depth)
    assert np.array_equal(second["G"], 1 - colours[..., 1])
    names = [part.name() for part in library.File(str(tmp_path / "b.exr"), header_only=True).parts]
    assert names == ["depth", "beauty"]


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_other_floats_become_openexr(shape: tuple[int, ...], dtype: str, library: Any, tmp_path: Path) -> None:
    values = RNG.random(shape).astype(dtype)
    again = read(write(tmp_path / "a.exr", read(write(tmp_path / "a.npy", Picture(values)))))
    assert again.pixels.dtype == dtype
    assert np.array_equal(again.pixels, values)
    assert np.array_equal(read(write(tmp_path / "a.tif", again)).pixels, values)


def test_what_is_transparent_becomes_nothing_else(library: Any, tmp_path: Path) -> None:
    rendering(library, tmp_path / "a.exr")
    with pytest.raises(PictureError, match=r"b\.tif: an OpenEXR that is partly transparent.* Name a \.exr"):
        write(tmp_path / "b.tif", read(tmp_path / "a.exr"))
    with pytest.raises(PictureError, match="float32 RGB"):
        write(tmp_path / "b.png", Picture(np.zeros((4, 4, 3), np.float32)))


def other(kind: str, library: Any) -> bytes:
    """Return an OpenEXR that is not taken."""
    plane, file = RNG.random((20, 30)).astype("f2"), io.BytesIO()
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    if kind == "mipmaps":
        tiles = library.TileDescription()
        tiles.xSize, tiles.ySize, tiles.mode = 16, 16, library.MIPMAP_LEVELS
        header |= {"type": library.tiledimage, "tiles": tiles}
    channels: dict[str, Any] = dict.fromkeys("RGB", plane)
    if kind == "no colours":
        channels = {"Z": plane, "id": plane}
    if kind == "mixed":
        channels["G"] = plane.astype("f4")
    if kind == "integers":
        channels = {name: plane.astype(np.uint32) for name in "RGB"}
    library.File(header, channels).write(file)
    data = file.getvalue()
    return {"cut": data[:-100], "head": data[:60], "mark": data[:4]}.get(kind, data)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("mipmaps", "with mipmaps. Save it with one level"),
        ("no colours", "without channels R, G and B, or Y; it has Z, id"),
        ("mixed", "whose colours are float16, float32"),
        ("integers", "whose colours are uint32"),
        ("cut", "truncated or damaged OpenEXR"),
        ("head", "damaged OpenEXR"),
        ("mark", "damaged OpenEXR"),
    ],
)
def test_what_is_not_taken_is_told_in_one_line(
    kind: str, words: str, library: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.exr").write_bytes(other(kind, library))
    assert run(["denoise", str(tmp_path / "a.exr"), "--sigma", "9", "--weights", "identity"]) == 1
    told = capfd.readouterr()
    assert words in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_without_the_library_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(60))
    with pytest.raises(MissingExtra, match=r"'hush\[exr\]'"):
        read(tmp_path / "a.exr")


def test_alpha_that_stays_behind_is_told(library: Any, tmp_path: Path) -> None:
    rendering(library, tmp_path / "a.exr")
    for target, remarks in (("b.exr", 0), ("b.npy", 1)):
        result = denoise_file(tmp_path / "a.exr", tmp_path / target, DenoiseOptions(weights="identity"))
        assert len(result.remarks) == remarks
