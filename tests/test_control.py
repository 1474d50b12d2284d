"""What is kept of a restoration, and how much memory and which files the work may touch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from conftest import HERE
from hush.cli import run
from hush.errors import PictureError, UsageError
from hush.imaging.arrays import luminance
from hush.imaging.files import Picture, read, write
from hush.restoring import memory
from hush.restoring.controls import control
from hush.restoring.denoising import (
    DenoiseOptions,
    FileResult,
    FileSkipped,
    denoise,
    denoise_file,
    denoise_files,
    plan_files,
)
from hush.restoring.options import read_bytes
from hush.restoring.restorers import Identity, open_restorer
from hush.restoring.working import restore_picture

DTYPES = [np.uint8, np.uint16, np.float16, np.float32, np.float64, np.bool_]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).random(shape, np.float32)


def of_type(dtype: Any, *shape: int) -> np.ndarray:
    values = np.random.default_rng(1).random(shape)
    return values > 0.5 if dtype is np.bool_ else (values * {"u": 250}.get(np.dtype(dtype).kind, 1)).astype(dtype)


# ---------------------------------------------------------------- what is kept


def test_luma_and_chroma_part_the_change(tiny: str) -> None:
    noisy = floats(30, 40, 3)
    full, luma, chroma = (denoise(noisy, 40, weights=tiny, only=only) for only in ("all", "luma", "chroma"))
    np.testing.assert_allclose((luma - noisy) + (chroma - noisy), full - noisy, atol=1e-6)
    np.testing.assert_allclose(luminance(chroma), luminance(noisy), atol=1e-6)
    np.testing.assert_allclose(luma - noisy, np.repeat((luma - noisy)[..., :1], 3, axis=2), atol=1e-6)


def test_gray_has_no_chroma(tiny: str) -> None:
    noisy = floats(20, 20)
    assert np.array_equal(denoise(noisy, 40, weights=tiny, only="chroma"), noisy)
    assert np.array_equal(denoise(noisy, 40, weights=tiny, only="luma"), denoise(noisy, 40, weights=tiny))


def test_detail_comes_back_without_colour_noise(tiny: str) -> None:
    noisy = floats(60, 50, 3)
    full, half, most = (denoise(noisy, 40, weights=tiny, keep_detail=share) for share in (0, 0.5, 1))
    returned = most - full
    assert np.ptp(returned, axis=2).max() < 1e-6, "colour came back"
    assert abs(returned.mean()) < 0.01 * abs(luminance(noisy - full)).mean() + 1e-3, "brightness came back"
    np.testing.assert_allclose(half - full, returned / 2, atol=1e-6)
    inside = np.s_[4:-4, 4:-4]
    removed = luminance(noisy - full)
    assert np.corrcoef(returned[..., 0][inside].ravel(), removed[inside].ravel())[0, 1] > 0.9


def test_a_flat_change_is_no_detail(dark: str) -> None:
    noisy = floats(40, 40, 3)
    options = {"weights": dark, "precision": "exact"}
    full, most = (denoise(noisy, 40, keep_detail=share, **options) for share in (0, 1))  # type: ignore[arg-type]
    np.testing.assert_allclose(most, full, atol=1e-6)


def test_grain_comes_back_gray_fine_and_weak() -> None:
    flat = np.full((80, 80, 3), 0.5, np.float32)
    for sigma, expected in ((20, 2.0), (0.5, 0.5)):  # of strong noise a little, of weak noise all
        noisy = flat + np.random.default_rng(0).normal(0, sigma / 255, (80, 80, 1)).astype(np.float32)
        grain, half = (control(noisy, flat, DenoiseOptions(keep_grain=share)) - flat for share in (1, 0.5))
        assert 255 * grain[8:-8, 8:-8].std() == pytest.approx(expected, rel=0.1)
        np.testing.assert_allclose(half, grain / 2, atol=1e-6)
    coloured = floats(40, 40, 3)
    grain = control(coloured, coloured * 0 + 0.5, DenoiseOptions(keep_grain=1)) - 0.5
    assert np.ptp(grain, axis=2).max() < 1e-6, "colour came back"
    assert np.array_equal(control(noisy, flat, DenoiseOptions()), flat), "grain came back untold"
    edge = flat.copy()
    edge[:, 40:] = 1  # softened by a restorer
    assert abs(control(edge, flat, DenoiseOptions(keep_grain=1)) - flat).max() < 8 / 255


@pytest.mark.parametrize(
    "options", [{}, {"keep_detail": 0.7}, {"keep_grain": 1}, {"only": "luma"}, {"only": "chroma"}, {"strength": 0.4}]
)
def test_tiles_do_not_show_in_what_is_kept(options: dict[str, Any], tiny: str) -> None:
    noisy = floats(100, 90, 3)
    whole, tiled = (denoise(noisy, 25, weights=tiny, precision="exact", tile=t, **options) for t in (1280, 48))
    inside = np.s_[:-12, :-12]  # beyond the border, where tiny pads with zeros
    np.testing.assert_allclose(tiled[inside], whole[inside], atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [None, 3, 4])
def test_black_in_the_mask_stays_bit_for_bit(dtype: Any, channels: int | None, dark: str) -> None:
    noisy = of_type(dtype, 40, 30, *([] if channels is None else [channels]))
    mask = np.zeros((40, 30), np.uint8)
    mask[10:20, 5:25] = 255
    restored = denoise(noisy, 60, weights=dark, mask=mask)
    assert noisy[mask == 0].tobytes() == restored[mask == 0].tobytes()
    full = denoise(noisy, 60, weights=dark)
    np.testing.assert_allclose(restored[mask == 255].astype(float), full[mask == 255].astype(float), atol=1e-6)


def test_gray_in_the_mask_blends(dark: str) -> None:
    noisy = floats(12, 12, 3)
    mask = np.full((12, 12), 0.25, np.float32)
    full = denoise(noisy, 60, weights=dark)
    np.testing.assert_allclose(denoise(noisy, 60, weights=dark, mask=mask), noisy + 0.25 * (full - noisy), atol=1e-6)


def test_nothing_is_run_where_the_mask_is_black(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hush.restoring.restorers import NetworkRestorer

    shapes: list[tuple[int, ...]] = []
    run_network = NetworkRestorer._restore

    def count(self: NetworkRestorer, image: np.ndarray, level: np.ndarray) -> np.ndarray:
        shapes.append(image.shape)
        return run_network(self, image, level)

    monkeypatch.setattr(NetworkRestorer, "_restore", count)
    mask = np.zeros((128, 128), np.uint8)
    mask[:8, :8] = 255
    denoise(floats(128, 128, 3), 25, weights=tiny, tile=32, mask=mask)
    assert len(shapes) == 1


@pytest.mark.parametrize("white", [np.uint8(1), np.uint16(1), np.uint16(255), np.uint16(4095), np.True_])
def test_white_in_the_mask_is_the_most_that_it_is_made_for(dark: str, white: Any) -> None:
    noisy, mask = floats(12, 12), np.zeros((12, 12), type(white))
    mask[:, 6:] = white
    restored = denoise(noisy, 60, weights=dark, mask=mask)
    np.testing.assert_array_equal(restored[:, :6], noisy[:, :6])
    np.testing.assert_allclose(restored[:, 6:], denoise(noisy, 60, weights=dark)[:, 6:], atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_painted_on_the_picture_as_it_is_seen(tmp_path: Path, dark: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.full((24, 32, 3), 128, np.uint8)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        width, height = ImageOps.exif_transpose(image).size
    mask = np.zeros((height, width), np.uint8)
    mask[:5, :9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    line = ["denoise", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--sigma", "60", "--weights", dark]
    assert run([*line, "--mask", str(tmp_path / "mask.png")]) == 0
    with Image.open(tmp_path / "b.png") as image:
        seen = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal((seen != 128).any(axis=2), mask > 0)


@pytest.mark.parametrize(("mode", "words"), [("CMYK", r"m\.tif: inks"), ("LA", r"m\.png: partly transparent")])
def test_masks_that_are_not_gray_alone_are_refused(tmp_path: Path, tiny: str, mode: str, words: str) -> None:
    gray = Image.linear_gradient("L").resize((8, 9))
    made = gray.convert("CMYK") if mode == "CMYK" else Image.merge("LA", (gray, gray))
    made.save(path := tmp_path / ("m.tif" if mode == "CMYK" else "m.png"))
    with pytest.raises(PictureError, match=words):
        denoise(floats(9, 8), 25, weights=tiny, mask=path)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((9, 8), 7, int), "the mask: values of type int64; .* Convert"),
        (np.ones(72, bool), "the mask: an array of shape"),
        (np.full((9, 8), np.nan), "the mask: 72 of 72 values are NaN"),
        (np.full((9, 8, 2), 254, np.uint8), "the mask: partly transparent; a mask is opaque.* Flatten"),
    ],
)
def test_what_is_no_mask_is_refused(mask: Any, message: str, tiny: str) -> None:
    with pytest.raises(PictureError, match=message):
        denoise(floats(9, 8), 25, weights=tiny, mask=mask)


def test_a_mask_may_be_opaque_and_a_list(tiny: str) -> None:
    noisy = floats(2, 2)
    expected = denoise(noisy, 60, weights=tiny, mask=np.eye(2, dtype=np.float32))
    assert np.array_equal(denoise(noisy, 60, weights=tiny, mask=[[1, 0], [0, 1]]), expected)  # type: ignore[arg-type]
    opaque = np.stack([np.eye(2), np.ones((2, 2))], axis=2).astype(np.uint8) * 255
    assert np.array_equal(denoise(noisy, 60, weights=tiny, mask=opaque), expected)


@pytest.mark.parametrize(("orientation", "own"), [(1, 3), (3, 3), (6, 8), (5, 2), (8, 1)])
def test_masks_are_turned_as_their_own_exif_says(orientation: int, own: int, tmp_path: Path, dark: str) -> None:
    def save(name: str, pixels: np.ndarray, turn: int) -> np.ndarray:
        exif = Image.Exif()
        exif[274] = turn
        Image.fromarray(pixels).save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as image:
            return np.asarray(ImageOps.exif_transpose(image))

    seen = save("a.png", np.full((24, 32, 3), 128, np.uint8), orientation)
    lit = np.zeros(seen.shape[1::-1] if own in (5, 6, 7, 8) else seen.shape[:2], np.uint8)
    lit[:6, :9] = 255
    lit = save("mask.png", lit, own)
    denoise_file(tmp_path / "a.png", tmp_path / "c.png", DenoiseOptions(60, weights=dark, mask=tmp_path / "mask.png"))
    with Image.open(tmp_path / "c.png") as image:
        assert np.array_equal((np.asarray(ImageOps.exif_transpose(image)) != 128).any(axis=2), lit > 0)


def test_a_mask_that_lies_as_the_picture_is_stored_is_to_be_turned(tmp_path: Path, tiny: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20)).save(tmp_path / "stored.png", exif=exif)
    Image.new("L", (30, 20)).save(tmp_path / "mask.png")
    words = r"mask.png has 30x20 pixels, the picture 20x30 seen upright; a mask has the picture's size. Turn it"
    options = DenoiseOptions(weights=tiny, mask=tmp_path / "mask.png")
    with pytest.raises(PictureError, match=words):
        denoise_file(tmp_path / "stored.png", tmp_path / "x.png", options)


def test_a_mask_of_another_size_is_refused(tiny: str) -> None:
    with pytest.raises(PictureError, match=r"the mask has 7x9 pixels, the picture 8x9; .* Scale it"):
        denoise(floats(9, 8), 25, weights=tiny, mask=np.zeros((9, 7), np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "color"}, "only is 'color'; it must be all, luma or chroma"),
        ({"keep_detail": 2}, "keep_detail is 2; it must be a number from 0 to 1"),
        ({"keep_grain": -1}, "keep_grain is -1; it must be a number from 0 to 1"),
        ({"jobs": 0}, "jobs is 0"),
        ({"sigma": np.ones((99, 99))}, "sigma is array.{,99}; it must be a number from 0 to 255"),
        ({"weights": None}, "weights is None; it must be a name or a file"),
        ({"range": ("a", "b")}, "range is .'a', 'b'.; it must be auto, full or LO,HI"),
        ({"max_memory": 2**20}, "max_memory is 1,048,576 bytes; .* Allow more"),
        ({"overwrite": True, "skip_existing": True}, "both overwrite and skip_existing"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DenoiseOptions(**options)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("512M", 2**29), ("1.5g", 3 * 2**29), ("2 GB", 2**31), ("1GiB", 2**30), ("300000000", 3 * 10**8)],
)
def test_amounts_of_memory(text: str, amount: int) -> None:
    assert read_bytes(text) == amount


@pytest.mark.parametrize(
    ("limit", "used", "kind"),
    [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_files_that_a_container_has_read_leave_memory_free(
    limit: str, used: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    stat = f"{used.partition('/')[0]}/memory.stat" if "/" in used else "memory.stat"
    (tmp_path / "memory").mkdir()
    for name, text in ((limit, "1000000"), (used, "900000"), (stat, f"anon 5\n{kind} 700000\n")):
        (tmp_path / name).write_text(text)
    assert memory.free() == 800_000
    (tmp_path / limit).write_text("max")
    assert memory.free() > 10**6


@pytest.mark.parametrize("text", ["", "much", "12X", "-1G", "1,5G"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        read_bytes(text)


# ---------------------------------------------------------------- files and the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures and a mask of the first."""
    Image.fromarray(of_type(np.uint8, 24, 32, 3)).save(tmp_path / "a.png")
    Image.fromarray(of_type(np.uint8, 20, 16)).save(tmp_path / "b.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.repeat(np.uint8([[0, 255]]), 16, axis=1).repeat(24, axis=0)).save(tmp_path / "masks" / "a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_result_tells_what_was_found(folder: Path, dark: str) -> None:
    result = denoise_file("a.png", options=DenoiseOptions(sigma=51, weights=dark, precision="exact"))
    assert (result.size, result.pages) == ((32, 24), 1)
    assert result.psnr == pytest.approx(20, abs=1e-3)  # 0.1 was taken off each value
    same = denoise_file("a.png", "same.png", DenoiseOptions(weights="identity"))
    assert same.psnr is None


def test_a_plan_says_what_would_be_done(folder: Path) -> None:
    jobs = plan_files(["a.png", "b.png"], "out")
    assert [(job.source.name, str(job.target), job.problem) for job in jobs] == [
        ("a.png", str(Path("out/a.png")), ""),
        ("b.png", str(Path("out/b.png")), ""),
    ]
    assert not Path("out").exists()


def test_existing_results_are_skipped(folder: Path) -> None:
    options = DenoiseOptions(weights="identity", skip_existing=True)
    first = list(denoise_files(["."], "out", options))
    assert [type(result) for result in first] == [FileResult, FileResult]
    (folder / "out" / "a.png").unlink()
    again = list(denoise_files(["."], "out", options))
    assert [type(result) for result in again] == [FileResult, FileSkipped]


def test_the_command_takes_a_mask_and_shares(folder: Path, dark: str) -> None:
    line = ["denoise", "a.png", "--sigma", "51", "--weights", dark]
    assert run([*line, "--mask", "masks/a.png", "-o", "masked.png"]) == 0
    noisy, masked = read("a.png").pixels, read("masked.png").pixels
    assert np.array_equal(masked[:, :16], noisy[:, :16])
    assert (masked[:, 16:] != noisy[:, 16:]).any()
    assert run([*line, "--only-chroma", "-o", "chroma.png"]) == 0
    assert np.abs(read("chroma.png").pixels.astype(int) - noisy).max() <= 1  # it darkens all colours alike
    assert run([*line, "--only-chroma", "--only-luma", "-o", "x.png"]) == 2


def test_the_command_says_that_gray_has_no_colour_noise(folder: Path, dark: str, capsys) -> None:
    Image.fromarray(np.full((24, 32), 90, np.uint8)).save("gray.png")
    line = ["denoise", "--sigma", "51", "--weights", dark, "--only-chroma"]
    assert run([*line, "gray.png"]) == 0
    assert "gray pictures have no colour noise" in capsys.readouterr().err
    assert run([*line, "a.png"]) == 0
    assert "gray" not in capsys.readouterr().err


def test_inks_have_no_luminance_and_colour_apart_and_nothing_changed_is_not_gray(
    folder: Path, dark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(of_type(np.uint8, 24, 32, 4), "CMYK").save("inks.jpg")
    Image.fromarray(np.zeros((24, 32), np.uint8)).save("black.png")
    line = ["denoise", "--overwrite", "--sigma", "51", "--weights", dark]
    for unchanged in (["--strength", "0"], ["--mask", "black.png"]):
        assert run([*line, "--only-chroma", "a.png", *unchanged]) == 0
        assert capsys.readouterr().err == ""
    for option, kept in [("--only-chroma", "leaves them as they are"), ("--only-luma", "restores them whole")]:
        assert run([*line, option, "inks.jpg"]) == 0
        told = f"inks (CMYK) have no luminance and colour apart, so {option} {kept}"
        assert capsys.readouterr().err == f"hush: {told}\n"
    assert run([*line, "--json", "--only-luma", "inks.jpg"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == [told]


def test_faint_masks_are_remarked_on(folder: Path, dark: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((24, 32), 51, np.uint8)).save("faint.png")
    assert run(["denoise", "a.png", "--sigma", "51", "--weights", dark, "--mask", "faint.png"]) == 0
    assert "faint.png: its lightest value is 20% of white" in capsys.readouterr().err


def test_keep_detail_is_a_share_or_a_flag(folder: Path, tiny: str) -> None:
    line = ["denoise", "a.png", "--sigma", "51", "--weights", tiny]
    for name, extra in [("flag", ["--keep-detail"]), ("half", ["--keep-detail", "0.5"]), ("one", ["--keep-detail=1"])]:
        assert run([*line, "-o", f"{name}.png", *extra]) == 0
    assert np.array_equal(read("flag.png").pixels, read("half.png").pixels)
    assert not np.array_equal(read("one.png").pixels, read("half.png").pixels)
    assert run(["denoise", "--keep-detail", "a.png", "-o", "before.png", "--weights", tiny, "--sigma", "51"]) == 0
    assert np.array_equal(read("flag.png").pixels, read("before.png").pixels)


def test_a_picture_is_not_replaced_by_its_own_result_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("a.png").read_bytes()
    assert run(["denoise", "a.png", "-o", "a.png"]) == 1
    assert "a.png: that is the picture itself; name another file" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before


def test_a_dry_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-hush.png").touch()
    assert run(["denoise", "a.png", "b.png", "--dry-run"]) == 1  # as the run would
    captured = capsys.readouterr()
    assert captured.out == "b.png -> b-hush.png\n"
    assert "a-hush.png: exists already" in captured.err
    assert run(["denoise", "a.png", "b.png", "--dry-run", "--json", "--skip-existing"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == {"source": "a.png", "target": "a-hush.png", "skipped": True}
    assert rows[1] == {"source": "b.png", "target": "b-hush.png"}
    assert not Path("b-hush.png").exists()


def test_a_dry_run_says_what_names_tell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, line in {
        "no such file": ["none.png"],
        "there is no folder no": ["a.png", "-o", "no/a.png"],
        "no format has the suffix '.doc'": ["a.png", "-o", "a.doc"],
        "or clean/ for a folder": ["a.png", "-o", "clean"],
        "read, not written": ["a.png", "-o", "a.nef"],
    }.items():
        assert run(["denoise", *line, "--dry-run"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert words in captured.err
    assert run(["denoise", "a.png", "-o", "no/", "--dry-run"]) == 0  # that folder will be made
    assert run(["denoise", "-", "-o", "a.tif", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("\n- -> a.tif\n")
    assert not Path("no").exists()


def test_stdin_has_no_name_in_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denoise", "-", "-o", "masks", "--weights", "identity"]) == 2
    assert "has no name" in capsys.readouterr().err


def test_json_tells_size_noise_time_and_psnr(folder: Path, dark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denoise", "a.png", "--json", "--sigma", "51", "--weights", dark]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["size"], row["pages"], row["sigma"]) == ([32, 24], 1, 51)
    assert row["psnr"] == pytest.approx(20, abs=0.1)
    assert row["seconds"] > 0


def hush(*arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "hush", *arguments], input=content, capture_output=True)


def test_pictures_pass_through_pipes(folder: Path) -> None:
    content = Path("a.png").read_bytes()
    done = hush("denoise", "-", "--weights", "identity", content=content)
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(done.stdout))), read("a.png").pixels)
    done = hush("denoise", "-", "-o", "from.tif", "--weights", "identity", content=content)
    assert (done.returncode, done.stdout.count(b"->")) == (0, 1)
    assert np.array_equal(read("from.tif").pixels, read("a.png").pixels)


def test_a_picture_goes_to_stdout(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["denoise", "a.png", "-o", "-", "--weights", "identity"]) == 0
    captured = capsysbinary.readouterr()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(captured.out))), read("a.png").pixels)
    assert run(["denoise", "a.png", "b.png", "-o", "-", "--weights", "identity"]) == 2
    assert capsysbinary.readouterr().out == b""


def test_nonsense_on_stdin_is_one_line(folder: Path) -> None:
    for content in (b"", b"no picture"):
        done = hush("denoise", "-", "--weights", "identity", content=content)
        assert done.returncode == 1
        assert done.stdout == b""
        assert done.stderr.startswith(b"hush: -: ")
        assert done.stderr.count(b"\n") == 1


# ---------------------------------------------------------------- what does not change


@pytest.mark.parametrize("options", [{"strength": 0}, {"sigma": 0}, {"mask": np.zeros((250, 333), np.uint8)}])
@pytest.mark.parametrize("others", [0, 2])
def test_a_file_in_which_nothing_changes_is_copied(options: dict[str, Any], others: int, tiny: str, tmp_path) -> None:
    """A JPEG that is coded once more would lose once more."""
    source = HERE / "data" / "mountains.jpg"
    content = source.read_bytes()
    (tmp_path / "x.jpg").write_bytes(content)
    for i in range(others):
        Image.new("RGB", (333, 250)).save(tmp_path / f"{i}.jpg")
    settled = DenoiseOptions(weights=tiny, **options)
    results = list(denoise_files([tmp_path], tmp_path / "out", settled))
    assert all(isinstance(result, FileResult) for result in results)
    assert (tmp_path / "out" / "x.jpg").read_bytes() == content
    png = denoise_file(source, tmp_path / "x.png", settled).target
    assert np.array_equal(read(png).pixels, read(source).pixels)
    with pytest.raises(PictureError, match=r"x\.png: exists already"):
        denoise_file(source, tmp_path / "x.png", settled)


@pytest.mark.parametrize("others", [0, 2])
def test_a_file_of_several_pictures_in_which_nothing_changes_is_copied(others: int, tmp_path: Path) -> None:
    """But for OME-XML that names its own file, which then names the new one."""
    first, *rest = (Image.fromarray(of_type(np.uint8, 20, 30, 3)) for _ in range(3))
    first.save(tmp_path / "a.webp", save_all=True, append_images=rest, duration=90, quality=50)
    text = '<?xml version="1.0"?><OME><TiffData><UUID FileName="b.ome.tif">urn:uuid:1</UUID></TiffData></OME>'
    tifffile.imwrite(tmp_path / "b.ome.tif", of_type(np.uint8, 20, 30, 1)[..., 0], description=text, metadata=None)
    for i in range(others):
        first.save(tmp_path / f"{i}.png")
    options = DenoiseOptions(weights="identity")
    assert all(isinstance(result, FileResult) for result in denoise_files([tmp_path], tmp_path / "out", options))
    assert (tmp_path / "out" / "a.webp").read_bytes() == (tmp_path / "a.webp").read_bytes()
    assert (tmp_path / "out" / "b.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()
    content = (tmp_path / "a.webp").read_bytes()
    denoise_file(tmp_path / "a.webp", tmp_path / "a.webp", DenoiseOptions(weights="identity", overwrite=True))
    assert (tmp_path / "a.webp").read_bytes() == content
    denoise_file(tmp_path / "b.ome.tif", tmp_path / "c.ome.tif", options)
    with tifffile.TiffFile(tmp_path / "c.ome.tif") as judge:
        assert 'FileName="c.ome.tif"' in judge.pages[0].description


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(of_type(np.uint8, 20, 20, 4)).save(tmp_path / "x.png")

    class Never(Identity):
        def __call__(self, *told: Any, **asked: Any) -> Any:
            raise AssertionError("it worked in vain")

    options = DenoiseOptions(weights="identity", overwrite=True)
    (tmp_path / "folder.png").mkdir()
    for name, words in {
        "x.jpg": r"x\.jpg: uint8 RGB\+alpha pixels; JPEG holds",
        "no/x.png": "there is no folder",
        "folder.png": "a folder or device",
        "x.doc": "no format has the suffix",
    }.items():
        with pytest.raises(PictureError, match=words):
            denoise_file(tmp_path / "x.png", tmp_path / name, options, restorer=Never())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PictureError, match=r"y\.png: no permission"):
        denoise_file(tmp_path / "x.png", tmp_path / "y.png", options, restorer=Never())


# ---------------------------------------------------------------- what nobody sees


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_hidden_pixels_stay_and_tell_nothing(dtype: Any, channels: int, tiny: str) -> None:
    """Whatever lies under full transparency comes back bit for bit, and what is seen comes out the same."""
    rng = np.random.default_rng(0)
    full = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    noisy = ((0.5 + rng.normal(0, 0.08, (90, 80, channels))).clip(0, 1) * full).astype(dtype)
    noisy[..., -1] = full
    noisy[20:70, 30:, -1] = 0
    hidden = noisy[..., -1] == 0
    other = noisy.copy()
    other[hidden, :-1] = (rng.random((hidden.sum(), channels - 1)) * full).astype(dtype)
    restored, again = denoise(noisy, weights=tiny), denoise(other, weights=tiny)
    assert np.array_equal(restored[hidden], noisy[hidden])
    assert np.array_equal(again[hidden], other[hidden])
    assert np.array_equal(restored[~hidden], again[~hidden])
    assert not np.array_equal(restored[~hidden], noisy[~hidden])


def test_an_estimate_counts_what_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(60, 180, 200)[:, None, None], (200, 200, 3))
    pixels = np.dstack([ramp + rng.normal(0, 20, ramp.shape), np.full((200, 200), 255)]).clip(0, 255).astype(np.uint8)
    pixels[:150, :, :3], pixels[:150, :, 3] = ramp[:150], 0  # clean, but hidden
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert run(["estimate", str(tmp_path / "x.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["sigma"] == pytest.approx(20, rel=0.1)


def test_no_result_takes_the_place_of_another_picture_of_the_run(tmp_path: Path) -> None:
    for name, value in (("d1", 50), ("d2", 200)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "x.png", Picture(np.full((9, 9, 3), value, np.uint8)))
    jobs = plan_files([tmp_path / "d1", tmp_path / "d2"], tmp_path / "d2", options=DenoiseOptions(overwrite=True))
    assert "is one of the pictures that are to be restored; use another folder" in jobs[0].problem
    assert (jobs[1].source.name, jobs[1].problem) == ("x.png", "")
    own = plan_files([tmp_path / "d1" / "x.png"], tmp_path / "d1" / "x.png", options=DenoiseOptions(overwrite=True))
    assert own[0].problem == ""


def test_grain_that_only_chroma_keeps_anyway_is_remarked_on(tiny: str) -> None:
    picture = Picture(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    for options, remarks in (({"keep_grain": 1.0}, 1), ({}, 0)):
        told = DenoiseOptions(25, weights=tiny, only="chroma", **options)
        assert len(restore_picture(picture, told, open_restorer(tiny))[1].remarks) == remarks
