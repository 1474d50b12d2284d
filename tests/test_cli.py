"""The command line: what it prints, what it writes, and how it fails."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from conftest import HERE
from hush.cli import run
from hush.cli.commands import run_command
from hush.cli.console import show_table
from hush.cli.following import follow
from hush.cli.listing import SECTIONS
from hush.cli.machine import examine, extras
from hush.cli.quick import read_line
from hush.imaging.files import read
from hush.learning.training import Progress
from hush.restoring.estimating import estimate_file
from tiny import write_tiny

COMMANDS = ("denoise", "estimate", "demo", "doctor", "train", "evaluate", "export", "list")
TINY_RECIPE = """
name = "tiny"
network = "drunet(widths=[4, 8], blocks=1, unshuffle=2)"
validate_every = 2
precision = "f32"
[data]
patch = 16
batch = 2
validation_pictures = 1
[length]
steps = 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, photos):
    """Return a working folder with two small photographs."""
    for path in photos[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hush(*arguments, **options):
    """Run the command in a process of its own. Libraries may change the locale of this one, so encodings are named."""
    return subprocess.run([sys.executable, "-m", "hush", *arguments], capture_output=True, encoding="utf-8", **options)


# --- Front door


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from hush.cli import run\n"
        f"for name in {COMMANDS!r}: assert run([name, '--help']) == 0\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'numpy', 'torch', 'openvino', 'pyvips', 'PIL', 'onnx', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    from importlib.metadata import version

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"hush {version('hush')}\n"


def test_without_arguments_it_helps(capsys):
    assert run([]) == 0
    shown = capsys.readouterr().out
    assert "denoise" in shown
    assert "train" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_command(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"hush {command}" in capsys.readouterr().out


def test_the_shell_completes_commands_and_weights():
    words = {"_HUSH_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "hush den"}
    assert "denoise" in hush(env={**os.environ, **words}).stdout
    words |= {"COMP_CWORD": "3", "COMP_WORDS": "hush denoise --weights g"}
    assert "gaussian" in hush(env={**os.environ, **words}).stdout


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("denoize photo.jpg", 2, "denoize"),
        ("denoise", 2, "INPUT"),
        ("denoise cat.png --stength 1", 2, "--strength"),
        ("denoise cat.png --sigma abc", 2, "auto or a number from 0 to 255"),
        ("denoise cat.png --sigma -3", 2, "-3"),
        ("denoise cat.png --sigma nan", 2, "nan"),
        ("denoise cat.png --strength 2", 2, "from 0 to 1"),
        ("denoise cat.png --strength much", 2, "valid number"),
        ("denoise cat.png --device gpu", 2, "cpu"),
        ("denoise cat.png --precision best", 2, "exact"),
        ("denoise cat.png --runtime openvina --weights tiny.onnx", 2, "did you mean 'openvino'"),
        ("denoise cat.png --max-memory lots", 2, "512M"),
        ("denoise cat.png --max-memory 5M", 2, "Allow more"),
        ("denoise cat.png --range 9,1", 2, "LO below HI"),
        ("denoise cat.png --keep-detail 3", 2, "from 0 to 1"),
        ("denoise cat.png --only-luma --only-chroma", 2, "give none"),
        ("denoise cat.png --overwrite --skip-existing", 2, "replaced or skipped"),
        ("denoise cat.png --jobs 0", 2, "jobs is 0"),
        ("denoise cat.png --tile 20 --weights tiny.onnx --sigma 5 --threads x", 2, "--threads"),
        ("denoise cat.png - --weights identity", 2, "takes one picture"),
        ("denoise cat.png --mask nomask.png --weights identity", 1, "nomask.png: no such file"),
        ("denoise nofile.png --weights identity", 1, "no such file"),
        ("denoise empty --weights identity", 1, "no pictures found"),
        ("denoise cat.png --weights classical:tw", 2, "tv"),
        ("denoise cat.png --weights nofile.onnx", 2, "no such file"),
        ("denoise cat.png --weights cat.png", 1, "ONNX"),
        ("estimate nofile.png", 1, "no such file"),
        ("list nois", 2, "did you mean 'noises'"),
        ("train nosuch", 2, "no such recipe"),
        ("train tiny.toml --set legnth.steps=3", 2, "did you mean 'length'"),
        ("train tiny.toml --set length.steps=many", 2, "takes int"),
        ("train tiny.toml --resume --set data.root=.", 1, "--resume"),
        ("evaluate --weights identity", 2, "--data"),
        ("evaluate --weights identity --data .", 2, "degradation"),
        ("evaluate --weights identity --data . --degradation gausian", 2, "did you mean 'gaussian'"),
        ("export cat.png -o cat.jpg", 2, ".onnx"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(line, code, said, folder, capsys):
    (folder / "empty").mkdir()
    (folder / "cat.png").write_bytes((HERE / "data" / "cat.png").read_bytes())
    (folder / "tiny.toml").write_text(TINY_RECIPE)
    write_tiny(folder / "tiny.onnx")
    assert run(line.split()) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hush: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_an_unforeseen_error_is_one_line_unless_debugging(folder, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("a wheel\ncame off")

    monkeypatch.setattr("hush.imaging.finding.find_pictures", len)
    assert run(["denoise", "x.png"]) == 1
    assert capsys.readouterr().err == (
        "hush: TypeError: len() takes no keyword arguments. Run it with --debug to see where, and report it\n"
    )
    monkeypatch.setattr("hush.imaging.finding.find_pictures", fail)
    assert run(["denoise", "x.png"]) == 1
    assert re.fullmatch(r"hush: RuntimeError: a wheel came off in .*test_cli\.py, line \d+\n", capsys.readouterr().err)
    with pytest.raises(RuntimeError):
        run(["denoise", "x.png", "--debug"])


def test_debug_shows_the_traceback():
    done = hush("denoise", "nofile.png", "--sigma", "abc", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_ends_quietly(folder, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("hush.imaging.finding.find_pictures", interrupt)
    assert run(["estimate", "x.png"]) == 130
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.parametrize(
    ("names", "said"),
    [(["cat.png"], "stopped; nothing was written"), (["a.png", "b.png", "c.png", "d.png"], "pictures are done")],
)
def test_ctrl_c_says_how_far_it_came_and_leaves_no_half_picture(names, said, folder):
    for name in names:
        (folder / name).write_bytes((HERE / "data" / "cat.png").read_bytes())
    code = (  # shells start what is in the background without Ctrl-C
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import pathlib, time; from hush.cli import main; from hush.restoring.restorers import Identity\n"
        "def slow(self, image, *told, **asked): pathlib.Path('begun').touch(); time.sleep(0.7); return image\n"
        "Identity.__call__ = slow; main()"
    )
    line = [sys.executable, "-c", code, "denoise", *names, "-o", "out/", "--weights", "identity"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not Path("out/a.png" if len(names) > 1 else "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said in errors.splitlines()[-1]
    assert "Traceback" not in errors
    results = sorted(path.name for path in Path("out").iterdir()) if Path("out").is_dir() else []
    assert results == names[: len(results)]
    assert len(results) < len(names)


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m hush list metrics | head -c 1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""


EVERYDAY = (  # words of command lines: what is read without typer, what is not, and what is wrong
    *("cat.png", "a folder", "-", "-o", "out", "--out", "--weights", "identity", "--sigma", "12", "auto", "--strength"),
    *("0.5", "--overwrite", "--skip-existing", "--recursive", "--dry-run", "--json", "", "-3", "--sigma=4", "--"),
    *("--keep-detail", "--jobs", "--nonsense", "much"),
)


def typer_reads(line, monkeypatch):
    """Return what typer makes of a command line; None if it is wrong."""
    requests = []
    with monkeypatch.context() as patch:
        patch.setattr("hush.cli.pictures.restore", lambda request: requests.append(request) or 0)
        try:
            run_command(line)
        except Exception:
            return None
    return requests[0]


@given(words=st.lists(st.sampled_from(EVERYDAY), max_size=7))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(words=["cat.png", "a folder", "-o", "out", "--sigma", "12", "--strength", "0.5", "--overwrite", "--json"])
@example(words=["-", "--out", "-", "--sigma", "auto", "--weights", "identity", "--recursive", "--skip-existing"])
@example(words=["cat.png", "--sigma", "12", "--sigma", "auto", "--dry-run"])
def test_what_is_read_without_typer_is_read_alike(words, monkeypatch):
    read = read_line(["denoise", *words])
    assert read is None or read == typer_reads(["denoise", *words], monkeypatch)


@pytest.mark.parametrize("line", ["photo.jpg", "holiday -o clean", "a.tif --sigma 12 --strength 0.8", "- --json"])
def test_everyday_lines_do_not_wait_for_typer(line):
    assert read_line(["denoise", *line.split()]) is not None


# --- Pictures


def test_denoise_writes_beside_the_input(folder, capsys, dark):
    assert run(["denoise", "cat.png", "--sigma", "51", "--weights", dark]) == 0
    assert "cat.png -> cat-hush.png" in capsys.readouterr().out
    expected = np.clip(read("cat.png").pixels.astype(int) - 25.5, 0, 255)
    assert np.abs(read("cat-hush.png").pixels - expected).max() <= 1


def test_a_start_imports_what_it_needs_only(folder):
    code = (
        "import sys; from hush.cli import run\n"
        "assert run(['denoise', 'cat.png', '--weights', 'identity']) == 0\n"
        "heavy = {'typer', 'rich', 'torch', 'openvino', 'tifffile', 'skimage', 'hush.imaging.isolation'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_network_starts_without_the_converter_of_openvino(folder, dark):
    code = (
        "import sys; from hush.cli import run\n"
        f"assert run(['denoise', 'cat.png', '--weights', {dark!r}, '--sigma', '9']) == 0\n"
        "assert 'openvino' in sys.modules and not sys.modules.get('openvino.tools.ovc')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_denoise_takes_a_range(folder, dark):
    Image.fromarray(np.full((9, 9), 2000, np.uint16)).save("twelve.png")
    line = ["denoise", "twelve.png", "--weights", dark, "--sigma", "2.55", "--precision", "exact"]
    for name, levels in [("auto", 4095), ("full", 65535), ("0,4095", 4095), ("1000,3000", 2000)]:
        assert run([*line, "--range", name, "-o", f"{name}.png"]) == 0
        taken = 2000 - read(f"{name}.png").pixels.astype(int)
        assert taken[2:-2, 2:-2].mean() == pytest.approx(0.005 * 1.63 * levels, abs=1)  # gray is told a higher level


def test_denoise_overwrites_only_when_told(folder, capsys):
    line = ["denoise", "cat.png", "--weights", "identity"]
    assert [run(line), run(line), run([*line, "--overwrite"])] == [0, 1, 0]
    assert "--overwrite" in capsys.readouterr().err


def test_denoise_does_the_good_files_of_a_folder_and_lists_the_others(folder, capsys):
    (folder / "text.jpg").write_text("no picture")
    (folder / "zero.png").touch()
    assert run(["denoise", ".", "-o", "out", "--weights", "identity"]) == 1
    captured = capsys.readouterr()
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["camera.png", "cat.png"]
    assert captured.out.count("->") == 2
    lines = captured.err.splitlines()
    assert lines[0] == "hush: 2 of 4 pictures failed:"
    assert ["text.jpg" in lines[1], "zero.png" in lines[2], len(lines)] == [True, True, 3]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_folder_that_cannot_be_made_is_told_once(dry, folder, capsys):
    assert run(["denoise", "cat.png", "camera.png", "-o", "cat.png/new", "--weights", "identity", *dry]) == 1
    failed = "would fail" if dry else "failed"
    assert capsys.readouterr().err.splitlines() == [
        f"hush: 2 of 2 pictures {failed}:",
        "hush: cat.png/new: cat.png is a file, so there is no folder in it. Choose another folder (all 2)",
    ]


def test_a_missing_mask_is_told_before_any_work(folder, capsys):
    assert run(["denoise", ".", "-o", "out", "--weights", "identity", "--mask", "cut.png"]) == 1
    assert capsys.readouterr().err == "hush: cut.png: no such file (did you mean 'cat.png'?). Check the name\n"
    assert run(["denoise", "holiday.png"]) == 1
    assert capsys.readouterr().err == "hush: holiday.png: no such file. Check the name\n"
    assert not (folder / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
@pytest.mark.parametrize("json_lines", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_names_that_the_terminal_cannot_show_stop_nothing(json_lines, encoding, folder):
    names = [os.fsdecode(b"a\xff.png"), "b\u00fc.png", "c.png"]
    for name in names:
        (folder / name).write_bytes((folder / "cat.png").read_bytes())
    done = hush(
        *("denoise", *names, "-o", "out", "--weights", "identity", *["--json"] * json_lines),
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert sorted(os.listdir("out")) == sorted(names)
    if json_lines:
        assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == names


def test_an_empty_name_is_no_folder(folder, capsys):
    """As of a shell variable that is not set."""
    for line in (["", "cat.png"], [""], ["cat.png", "-o", ""]):
        assert run(["denoise", *line, "--weights", "identity"]) == 2
        assert "an empty name" in capsys.readouterr().err
    assert not list(folder.glob("*-hush*"))


def test_names_that_are_too_long_fail_alone(folder, capsys):
    long = "x" * 250 + ".png"
    (folder / long).write_bytes((folder / "cat.png").read_bytes())
    assert run(["denoise", long, "cat.png", "y" * 300 + ".png", "--weights", "identity"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("cat.png -> cat-hush.png")
    _, first, second = captured.err.splitlines()
    assert "the name is too long" in first
    assert "the name is too long" in second


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobodys_fault(closed, folder):
    line = f"{sys.executable} -m hush denoise cat.png --weights identity {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "cat-hush.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_stdout_is_one_line_and_no_bug(folder):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hush", "denoise", "cat.png", "-o", "-", "--weights", "identity"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left" in done.stderr
    assert "report it" not in done.stderr


def test_denoise_tells_programs_in_json(folder, capsys, dark):
    assert run(["denoise", "cat.png", "nofile.png", "--json", "--weights", dark, "--sigma", "5"]) == 1
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["source"], good["target"], good["sigma"]) == ("cat.png", "cat-hush.png", 5)
    assert bad["source"] == "nofile.png"
    assert "no such file" in bad["error"]


def test_denoise_says_where_nothing_was_cleaned(folder, capsys, dark):
    Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save("flat.png")
    assert run(["denoise", "flat.png", "--weights", dark]) == 0
    assert "no noise was found, so nothing was changed; --sigma 10" in capsys.readouterr().err
    assert run(["denoise", "flat.png", "cat.png", "-o", "out", "--weights", dark]) == 0
    assert "in 1 of 2 pictures no noise was found" in capsys.readouterr().err
    assert run(["denoise", "flat.png", "--weights", dark, "--sigma", "0", "--overwrite"]) == 0
    assert capsys.readouterr().err == ""  # who says so knows it


def test_denoise_says_how_much_noise_the_weights_know(folder, capsys):
    recipe = {"degradation": "poisson(peak=30) + gaussian(sigma=0..50)"}
    weights = str(write_tiny(folder / "fifty.onnx", card={"recipe": recipe}))
    assert run(["denoise", "cat.png", "--weights", weights, "--sigma", "51"]) == 0
    assert "sigma 51: the weights" in (said := capsys.readouterr().err)
    assert "trained up to 50" in said
    for more in (["--sigma", "50"], ["--sigma", "51", "--weights", "classical:median"]):
        assert run(["denoise", "cat.png", "--weights", weights, "--overwrite", *more]) == 0
        assert capsys.readouterr().err == ""


def test_results_of_an_earlier_run_are_left_out_and_it_says_so(folder, capsys):
    for inputs in (["."], ["*.png"], ["cat.png", "camera.png", "cat-hush.png"]):
        assert run(["denoise", "cat.png", "--weights", "identity", "--overwrite"]) == 0
        capsys.readouterr()
        assert run(["denoise", *inputs, "-o", "out", "--overwrite", "--weights", "identity"]) == 0
        captured = capsys.readouterr()
        assert captured.out.count("->") == 2
        assert "left out 1 picture, the result of an earlier run" in captured.err
    assert run(["denoise", "cat-hush.png", "--weights", "identity"]) == 0
    assert "cat-hush-hush.png" in capsys.readouterr().out


def test_a_folder_of_folders_needs_recursive(folder, capsys):
    (folder / "years" / "2024").mkdir(parents=True)
    assert run(["denoise", "years", "--weights", "identity"]) == 1
    assert "add --recursive" in capsys.readouterr().err


def test_denoise_goes_into_subfolders_only_when_told(folder, capsys):
    (folder / "below").mkdir()
    (folder / "cat.png").rename(folder / "below" / "cat.png")
    assert run(["denoise", ".", "-o", "out", "--weights", "identity", "--recursive"]) == 0
    assert capsys.readouterr().out.count("->") == 2


def test_links_that_lead_nowhere_are_failures_and_links_to_folders_are_left_alone(folder, capsys):
    (folder / "below").mkdir()
    (folder / "below" / "gone.png").symlink_to("nowhere.png")
    (folder / "below" / "linked").symlink_to(folder, target_is_directory=True)
    assert run(["denoise", ".", "-o", "out", "--weights", "identity", "--recursive"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("->") == 2
    assert "gone.png: a link to nowhere.png, which is not there. Bring that file" in captured.err


def test_folders_that_may_not_be_read_are_failures(folder, capsys, monkeypatch):
    for name in ("closed", ".hidden"):
        (folder / name).mkdir()
    reach, scan = os.access, os.scandir
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and reach(path, mode))

    def refuse(path):
        if Path(path).name in ("closed", ".hidden"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    line = ["denoise", ".", "-o", "out", "--weights", "identity"]
    assert run([*line, "--recursive"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("->") == 2
    assert "closed: a folder that may not be read. Change its permissions" in captured.err
    assert "hidden" not in captured.err
    assert "left out" not in captured.err
    assert run([*line, "--overwrite"]) == 0  # nobody asked for what lies in it


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_file(folder, capsys):
    os.mkfifo("pipe.png")
    assert run(["denoise", "pipe.png"]) == 1
    assert "pipe.png: a pipe, no file. Give the picture on standard input" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_nobody_sees_a_result_who_may_not_see_the_picture(folder):
    Path("cat.png").chmod(0o600)
    assert run(["denoise", "cat.png", "--sigma", "10", "--weights", "identity"]) == 0
    assert run(["denoise", "cat.png", "-o", "x.tif", "--weights", "identity", "--strength", "0"]) == 0
    assert [Path(name).stat().st_mode & 0o777 for name in ("cat-hush.png", "x.tif")] == [0o600, 0o600]


def test_control_characters_in_names_reach_no_terminal(folder, capsys):
    Path("cat.png").rename("c\x1b[31mat.png")
    assert run(["denoise", "c\x1b[31mat.png", "missing\x1b.png", "-o", "out/", "--weights", "identity"]) == 1
    captured = capsys.readouterr()
    assert "c?[31mat.png" in captured.out
    assert "missing?.png" in captured.err
    assert "\x1b" not in captured.out + captured.err


def test_one_picture_by_two_names_is_done_once(folder, capsys):
    assert run(["denoise", "cat.png", str(Path("cat.png").resolve()), "--weights", "identity"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("->") == 1
    assert "use another folder for each" in captured.err


def test_a_dry_run_of_a_pipe_says_that_the_target_is_there(folder, capsys):
    assert run(["denoise", "-", "-o", "cat.png", "--dry-run"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(["denoise", "-", "-o", "cat.png", "--dry-run", "--overwrite"]) == 0


def test_a_pattern_of_folders_makes_their_subfolders_again(tmp_path, monkeypatch, capsys):
    for name in ("holiday/a/x.png", "holiday/b/x.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(HERE / "data" / "cat.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for inputs in ("holiday", "hol*"):
        assert run(["denoise", inputs, "--recursive", "-o", "out", "--dry-run"]) == 0
        told = capsys.readouterr().out.split()
        assert [Path(word) for word in told[2::3]] == [Path("out/a/x.png"), Path("out/b/x.png")]


def test_pictures_of_formats_that_are_not_read_are_counted(folder, capsys):
    for name in ("a.jxl", "b.psd", "c.psd", "._c.psd", "notes.txt"):
        Path(name).write_bytes(b"x")
    assert run(["denoise", ".", "--weights", "identity"]) == 0
    assert "left out 3 pictures (.jxl, .psd) of formats that hush does not read" in capsys.readouterr().err
    assert run(["denoise", "cat.png", "--weights", "identity", "--overwrite"]) == 0
    assert "left out" not in capsys.readouterr().err


def piped(words, source="cat.png"):
    with open(source, "rb") as stdin:
        return subprocess.run([sys.executable, "-m", "hush", *words], stdin=stdin, capture_output=True)


def test_a_pipe_tells_programs_on_stderr(folder):
    done = piped(["denoise", "-", "-o", "-", "--json", "--weights", "identity"])
    assert done.stdout == Path("cat.png").read_bytes()
    told = json.loads(done.stderr)
    assert (told["source"], told["target"], told["weights"]) == ("-", "-", "identity")
    assert piped(["denoise", "cat.p*", "-o", "-", "--weights", "identity"]).stdout == done.stdout
    shutil.copy("cat.png", "cat2.png")
    assert piped(["denoise", "cat*.png", "-o", "-"]).stderr == b"hush: cat*.png: 2 pictures, but - takes one; name it\n"


def test_a_pipe_that_is_killed_leaves_no_picture_behind(folder, tmp_path):
    command = [sys.executable, "-m", "hush", "denoise", "-", "-o", "out.png"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)})
    process.stdin.write(b"x")
    process.stdin.flush()
    while not list(tmp_path.glob("hush-*/-")):
        assert process.poll() is None
    process.terminate()
    assert process.wait() == 143
    assert list(tmp_path.glob("hush-*")) == []


def test_results_inside_the_searched_folder_are_left_out(folder, capsys):
    line = ["denoise", ".", "-o", "clean", "--recursive", "--weights", "identity"]
    assert run(line) == 0
    first = sorted(Path("clean").rglob("*.png"))
    for word in ("--skip-existing", "--overwrite"):
        capsys.readouterr()
        assert run([*line, word]) == 0
        assert "left out" in capsys.readouterr().err
        assert sorted(Path("clean").rglob("*.png")) == first
    assert run(["denoise", "clean", "-o", "clean/again", "--weights", "identity"]) == 0
    assert sorted(path.name for path in Path("clean/again").iterdir()) == sorted(path.name for path in first)


def test_strength_zero_returns_the_input(folder, dark):
    assert run(["denoise", "cat.png", "-o", "same.png", "--strength", "0", "--weights", dark]) == 0
    assert np.array_equal(read("same.png").pixels, read("cat.png").pixels)


def test_estimate_finds_the_noise(folder, capsys):
    rng = np.random.default_rng(0)
    clean = read(HERE / "data" / "coffee.png").pixels
    noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save("noisy.png")
    assert run(["estimate", "noisy.png", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["file"] == "noisy.png"
    assert found["sigma"] == pytest.approx(20, abs=2)
    assert (found["verdict"], found["white"], found["jpeg_quality"]) == ("strong", True, None)
    assert run(["estimate", "noisy.png", "nofile.png"]) == 1
    captured = capsys.readouterr()
    assert "noisy.png" in captured.out
    assert "nofile.png" in captured.err


def test_estimate_takes_pipes_and_folders_inside_folders(folder, capsys):
    done = piped(["estimate", "-", "--json"])
    assert json.loads(done.stdout)[0] == {**json.loads(done.stdout)[0], "file": "-", "verdict": "clean"}
    Path("holiday/a").mkdir(parents=True)
    shutil.copy("cat.png", "holiday/a/x.png")
    assert run(["estimate", "holiday"]) == 1
    assert "add --recursive" in capsys.readouterr().err
    assert run(["estimate", "holiday", "--recursive"]) == 0


def test_only_jpegs_have_a_quality(folder):
    for name in ("x.bmp", "x.webp", "x.jpg"):
        Image.open("cat.png").save(name)
        assert (estimate_file(Path(name))["jpeg_quality"] is None) == (name != "x.jpg")


def test_what_is_too_large_for_memory_is_estimated_by_windows(folder, monkeypatch):
    whole = estimate_file(Path("cat.png"))
    monkeypatch.setattr("hush.restoring.large.SMALLEST_WORK", 10**15)
    Image.open("cat.png").convert("RGB").save("cat.jpg", progressive=True)
    assert estimate_file(Path("cat.jpg"))["jpeg_quality"], "decoded as a whole: that needs less than a network"
    monkeypatch.setattr("hush.restoring.estimating.read_pages", None)
    assert estimate_file(Path("cat.png")) == whole


@pytest.mark.parametrize(("deviation", "verdict"), [(0, "clean"), (4, "light"), (12, "strong"), (40, "very strong")])
def test_estimate_says_in_words_how_noisy(deviation, verdict, folder, capsys):
    smooth = np.linspace(60, 190, 256 * 256).reshape(256, 256, 1).repeat(3, axis=2)
    noisy = smooth + np.random.default_rng(0).normal(0, deviation, smooth.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save("noisy.png")
    assert run(["estimate", "noisy.png"]) == 0
    assert re.search(rf"noisy.png +{verdict} +\d", capsys.readouterr().out)
    assert run(["estimate", "noisy.png", "--details"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"noisy.png: {verdict}, ")
    assert [line.split()[0] for line in lines[1:4]] == ["level", "finest", "channels"]


def test_estimate_says_where_colours_are_not_equally_noisy(folder, capsys):
    noise = np.random.default_rng(0).normal(0, [16, 10, 13], (256, 256, 3))
    Image.fromarray((np.linspace(60, 190, 256)[:, None, None] + noise).clip(0, 255).astype(np.uint8)).save("noisy.png")
    assert run(["estimate", "noisy.png"]) == 0
    assert "white, stronger in some colours" in capsys.readouterr().out


def test_a_narrow_terminal_keeps_names_and_verdicts(monkeypatch, capsys):
    monkeypatch.setattr("hush.cli.console.out", lambda: Console(width=60, force_terminal=True, color_system=None))
    name = "a/long/path/to/some/folder/of/photographs/and/a-name.png"
    show_table(["picture", "noise", "level", "kind"], [[name, "very strong", "31.0", "words " * 9]], left=(0, 1, 3))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert name in "".join(line.split("  ")[0].strip() for line in lines)
    assert any("very strong" in line and "31.0" in line for line in lines)


@pytest.mark.parametrize("quality", [20, 50, 75, 92, 100])
def test_estimate_tells_the_quality_of_a_jpeg(quality, folder, capsys):
    Image.open("cat.png").convert("RGB").save("cat.jpg", quality=quality)
    assert run(["estimate", "cat.jpg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["jpeg_quality"] == pytest.approx(quality, abs=1)


def test_doctor_says_what_would_run(dark):
    assert "by the noise of each picture" in examine()["denoising"]["weights"]
    findings = examine(dark)
    assert ("speed" in findings["denoising"]) == ("f32" in findings["denoising"]["runs on"])
    assert "OpenVINO" in findings["denoising"]["runs on"]
    assert findings["processor"]["cores"].isdigit()
    assert findings["packages"]["numpy"] == np.__version__
    assert extras()["train"] == "installed"


def test_doctor_fails_where_nothing_would_run(monkeypatch, capsys):
    findings = examine("nofile.onnx")
    assert "no such file" in findings["denoising"]["problem"]
    monkeypatch.setattr("hush.cli.machine.examine", lambda: findings)
    assert run(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == findings


# --- Making denoisers


def test_train_export_and_denoise(folder, capsys):
    (folder / "tiny.toml").write_text(TINY_RECIPE)
    assert run(["train", "tiny.toml", "--set", "data.root=."]) == 0
    captured = capsys.readouterr().out
    assert "step 2" in captured
    assert "PSNR" in captured
    assert "runs/tiny/best.onnx" in captured
    assert run(["export", "runs/tiny/best.safetensors", "-o", "mine.onnx"]) == 0
    assert run(["export", "runs/tiny/best.safetensors", "-o", "mine.onnx"]) == 1
    for out, weights in (("a.png", "mine.onnx"), ("b.png", "runs/tiny/best.onnx")):
        assert run(["denoise", "cat.png", "-o", out, "--sigma", "25", "--weights", weights]) == 0
    assert np.array_equal(read("a.png").pixels, read("b.png").pixels)
    assert run(["train", "tiny.toml", "--set", "data.root=."]) == 1  # never over another run
    assert "--resume" in capsys.readouterr().err


def report(step):
    return Progress(step, step / 9, 1.0, 8.0, {"loss": 0.5, "l1": 0.5}, 1.0, 10.0, 0.1, 0.01, {"psnr": 30, "ssim": 0.9})


def test_ctrl_c_closes_a_training_between_steps(tmp_path, capsys):
    closed = []

    def reports():
        try:
            yield report(1)
            signal.raise_signal(signal.SIGINT)  # in the middle of step 2
            yield report(2)
            yield report(3)
        finally:
            closed.append(True)

    (tmp_path / "checkpoint.safetensors").touch()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        follow(reports(), "tiny", tmp_path)
    captured = capsys.readouterr()
    assert closed
    assert "step 2" in captured.out
    assert "step 3" not in captured.out
    assert f"--out {tmp_path} --resume" in captured.err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    handlers = []

    def reports():
        handlers.append(signal.getsignal(signal.SIGINT))
        signal.raise_signal(signal.SIGINT)
        handlers.append(signal.getsignal(signal.SIGINT))
        yield report(1)

    with pytest.raises(KeyboardInterrupt):
        follow(reports(), "tiny", tmp_path)
    assert handlers[0] is not before
    assert handlers[1] is before  # Python's own again, which interrupts


@pytest.mark.parametrize("psnr", [19.0, 21.0])
def test_a_training_that_ends_worse_than_its_input_says_so(psnr, tmp_path, capsys):
    last = replace(report(1), validation={"psnr": psnr, "ssim": 0.5, "psnr_input": 20.0})
    follow((one for one in [last]), "tiny", tmp_path)
    assert ("WARNING" in capsys.readouterr().err) == (psnr < 20)


def test_evaluate_prints_table_protocol_and_warnings(folder, capsys, dark):
    line = [
        "evaluate",
        "--weights",
        "identity",
        "--weights",
        dark,
        "--data",
        ".",
        "--degradation",
        "gaussian(sigma=25)",
    ]
    assert run([*line, "--json", "figures.json", "--csv", "rows.csv"]) == 0
    captured = capsys.readouterr()
    assert "20." in captured.out
    assert "Minus identity" in captured.out
    assert "11x11" in captured.out
    assert "WARNING" in captured.err
    assert "WORSE THAN THE INPUT" in captured.err
    figures = json.loads(Path("figures.json").read_text())
    assert {"protocol", "rows", "summary"} <= figures.keys()
    assert figures["summary"][0]["psnr"] == pytest.approx(figures["summary"][0]["psnr_input"])
    assert len(Path("rows.csv").read_text().splitlines()) == 1 + 2 * 2
    assert run([*line, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"][0]["n"] == 2
    assert run([*line, "--csv", "-"]) == 0
    told, written = (
        list(csv.DictReader(text.splitlines())) for text in (capsys.readouterr().out, Path("rows.csv").read_text())
    )
    assert [{**row, "seconds": ""} for row in told] == [{**row, "seconds": ""} for row in written]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "cat.png"], "cat.png: a picture, which figures would replace; name another file"),
        (["--csv", "."], "a folder; name a file in it"),
        (["--csv", "nowhere/x.csv"], "its folder is not there; make it first"),
        (["--json", "-", "--csv", "-"], "--json and --csv are both -"),
    ],
)
def test_figures_are_written_where_they_harm_nothing(folder, capsys, options, words):
    before = Path("cat.png").read_bytes()
    line = ["evaluate", "--weights", "identity", "--data", ".", "--degradation", "gaussian(sigma=25)"]
    assert run([*line, *options]) == 2
    assert words in capsys.readouterr().err
    assert Path("cat.png").read_bytes() == before


@pytest.mark.parametrize("section", SECTIONS)
def test_list_names_every_part_and_what_it_does(section, capsys):
    assert run(["list", section, "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)[section]
    assert parts
    assert all(part["name"] and part["summary"] for part in parts)


def test_list_shows_options(capsys):
    assert run(["list", "noises"]) == 0
    assert "gaussian(sigma=25)" in capsys.readouterr().out


def test_estimate_shows_a_result_beside_its_picture_and_says_what_names_none(folder, capsys):
    shutil.copy("cat.png", "cat-hush.png")
    os.mkdir("empty")
    assert run(["estimate", "cat.png", "cat-hush.png", "--json"]) == 0
    assert [entry["file"] for entry in json.loads(capsys.readouterr().out)] == ["cat.png", "cat-hush.png"]
    assert run(["estimate", "cat.png", "none/*.tif", "empty"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "hush: none/*.tif: no pictures found",
        "hush: empty: no pictures found",
    ]


def test_denoise_says_which_inputs_name_no_picture(folder, capsys, dark):
    assert run(["denoise", "cat.png", "none/*.tif", "--weights", dark, "--sigma", "9"]) == 1
    captured = capsys.readouterr()
    assert "cat.png -> cat-hush.png" in captured.out
    assert "none/*.tif: no pictures found" in captured.err


def test_debug_shows_where_a_picture_failed(folder, monkeypatch, capsys):
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(40))
    for command in (["denoise", "broken.jpg", "--weights", "identity"], ["estimate", "broken.jpg"]):
        for debug in ([], ["--debug"]):
            monkeypatch.setattr(sys, "argv", ["hush", *debug, *command])
            assert run(sys.argv[1:]) == 1
            told = capsys.readouterr().err
            assert ("Traceback" in told) == ("PictureError" in told) == bool(debug)


def test_what_export_cannot_do_is_refused(tmp_path, capsys):
    for line, told in (
        (["gaussian-best"], "the mean over eight views, which no file holds; export gaussian-large, and take the mean"),
        (["gaussian", "--share", "0.3"], "--share says how much of --blend is taken; name that too"),
    ):
        assert run(["export", *line, "-o", str(tmp_path / "x.onnx")]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()
