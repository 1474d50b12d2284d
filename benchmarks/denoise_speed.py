"""Measure ``hush denoise``: cold start, folders, arrays, and peak memory by the size of the picture.

    python benchmarks/denoise_speed.py                                        # minutes
    python benchmarks/denoise_speed.py --only sizes --megapixels 100 1000     # much of an hour, 7 GB of disk

All pictures are generated. Seconds depend on the machine and on what else it does, so processor seconds are shown too,
and ratios to the bare network, measured alternately. Peak memory is the resident memory of the whole process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGMA = 15.0
COMMAND = "import sys; from hush.cli import run; code = run(sys.argv[1:])\nif code: sys.exit(code)"
PEAK = """
import sys
try:
    kilobytes = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
except OSError:  # only Linux tells it there
    import resource
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
print(kilobytes * 1024 / 1e6, file=sys.stderr)
"""
MEMORY = "1G"  # what --max-memory allows
SIDES = 480, 960  # pixels a side of the pictures in folders: about those of the test sets, and of the web


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Generate a noisy picture (H, W, 3)."""
    return np.concatenate(list(bands(height, width, seed)))


def bands(height: int, width: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Generate a noisy picture from top to bottom, 256 rows at a time."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(128, SIGMA, (256, 2048, 3)).astype(np.float32)
    across = np.sin(np.arange(width) / 60)[None, :, None]
    for top in range(0, height, 256):
        count = min(256, height - top)
        down = np.cos(np.arange(top, top + count) / 45)[:, None, None]
        part = np.tile(noise, (1, -(-width // 2048), 1))[:count, :width]
        yield np.clip(part + 60 * across * down, 0, 255).astype(np.uint8)


def save(target: Path, height: int, width: int, **coding: Any) -> Path:
    """Generate a picture file, row by row."""
    from hush.imaging.formats.picture import Picture
    from hush.imaging.formats.tiff import TiffCoding
    from hush.imaging.rows import write_rows

    like = Picture(np.zeros((1, 1, 3), np.uint8), coding=TiffCoding(**coding) if coding else None)
    return write_rows(target, like, (height, width, 3), bands(height, width), overwrite=True)


def run(program: str, *arguments: str) -> tuple[float, float, float]:
    """Run a Python program; return its seconds, processor seconds and peak memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program + PEAK, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {said[-500:]}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, float(said.split()[-1])


def hush(*arguments: str) -> tuple[float, float, float]:
    """Run the command."""
    return run(COMMAND, "denoise", *arguments, "--overwrite")


FLOORS = {  # what no start can do without
    "python": "pass",
    "import numpy": "import numpy",
    "import openvino, as hush does": "from hush.restoring.runtimes import _import_openvino; _import_openvino()",
}


def open_bare(weights: str) -> Any:
    """Open a network; of ``auto`` the one that white noise gets."""
    from hush.restoring.denoising import open_restorer

    restorer = open_restorer(weights)
    return restorer.suited(None) if weights == "auto" else restorer  # type: ignore[attr-defined]  # it is by noise


def measure_start(folder: Path, weights: str) -> None:
    """Print how long the command takes for one small picture, once the network is in the cache, and what it must."""
    source = save(folder / "small.png", 512, 512)
    line = [
        "-c",
        "from hush.cli import main; main()",
        "denoise",
        str(source),
        "-o",
        str(folder / "out.png"),
        "--weights",
        weights,
        "--overwrite",
    ]
    commands = {name: ["-c", code] for name, code in FLOORS.items()}
    commands |= {"hush denoise --sigma 15": [*line, "--sigma", "15"], "hush denoise": line}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(10):  # alternately, so that what else the machine does falls on all alike
        for name, arguments in commands.items():
            taken[name].append(timed([sys.executable, *arguments]))
    for name, runs in taken.items():
        seconds, processor = (min(values) for values in zip(*runs, strict=True))
        print(f"start, 512x512 PNG: {name}: {seconds:.2f} s, {processor:.2f} s of processor")
    print(f"start, 512x512 PNG: the network alone, warm: {network_seconds(weights, 512, 512):.2f} s")


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and processor seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {command}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def network_seconds(weights: str, height: int, width: int) -> float:
    """Return how long the bare network takes for a picture."""
    runtime = open_bare(weights).runtime
    inputs = np.zeros((1, 3, height, width), np.float32), np.full((1, 1, height, width), SIGMA / 255, np.float32)
    taken = []
    for _ in range(6):
        started = time.perf_counter()
        runtime(*inputs)
        taken.append(time.perf_counter() - started)
    return min(taken)


def measure_array(weights: str) -> None:
    """Print what ``hush.denoise`` adds to the bare network on 1 megapixel."""
    from hush.restoring.denoising import denoise

    noisy = picture(1000, 1000)
    runtime = open_bare(weights).runtime
    batch = np.ascontiguousarray(noisy.transpose(2, 0, 1)[None] / np.float32(255))
    sigma_map = np.full((1, 1, 1000, 1000), SIGMA / 255, np.float32)
    taken: dict[str, list[float]] = {"network": [], "denoise": []}
    for i in range(8):
        for name, work in (
            ("network", lambda: runtime(batch, sigma_map)),
            ("denoise", lambda: denoise(noisy, SIGMA, weights=weights)),
        ):
            started = time.perf_counter()
            work()
            taken[name] += [time.perf_counter() - started] if i else []
    bare, whole = min(taken["network"]), min(taken["denoise"])
    print(f"array of 1 megapixel: network {bare:.3f} s, hush.denoise {whole:.3f} s ({whole / bare - 1:+.1%})")


def measure_folder(folder: Path, weights: str, count: int, side: int) -> None:
    """Print the throughput of a folder of small pictures, and that of the bare network on the same pictures."""
    from hush.imaging.files import Picture, write
    from hush.restoring.denoising import DenoiseOptions, FileResult, denoise_files

    inputs = folder / f"inputs-{side}"
    inputs.mkdir()
    pictures = [picture(side, side, seed) for seed in range(count)]
    for i, pixels in enumerate(pictures):
        write(inputs / f"{i}{'.png' if i % 2 else '.jpg'}", Picture(pixels))
    restorer = open_bare(weights)
    images = [pixels.astype(np.float32) / 255 for pixels in pictures]
    restorer(images[0], SIGMA)
    megapixels = count * side * side / 1e6
    rows: dict[str, list[float]] = {"bare network": [], "folder, sigma told": [], "folder, sigma estimated": []}
    for _ in range(2):
        for name, sigma in zip(rows, (None, SIGMA, None), strict=True):
            started = time.perf_counter()
            if name == "bare network":
                for image in images:
                    restorer(image, SIGMA, gray=False)
            else:
                options = DenoiseOptions(sigma=sigma, weights=weights, overwrite=True)
                results = list(denoise_files([inputs], folder / "outputs", options))
                if not all(isinstance(result, FileResult) for result in results):
                    raise SystemExit(f"failed: {results}")
            rows[name].append(megapixels / (time.perf_counter() - started))
    bare = max(rows["bare network"])
    for name, speeds in rows.items():
        print(f"{count} pictures of {side}x{side}: {name} {max(speeds):.2f} MP/s ({max(speeds) / bare:.0%})")


PEERS = {
    "scikit-image NLM": (
        "import sys, numpy as np; from skimage import io, restoration as r\n"
        "x = io.imread(sys.argv[1]) / np.float32(255)\n"
        "y = r.denoise_nl_means(x, 5, 6, h=.8 * 15 / 255, sigma=15 / 255, fast_mode=True, channel_axis=-1)\n"
        "io.imsave(sys.argv[2], np.rint(y.clip(0, 1) * 255).astype(np.uint8), check_contrast=False)"
    ),
    "OpenCV NLM": (
        "import sys, cv2\n"
        "cv2.imwrite(sys.argv[2], cv2.fastNlMeansDenoisingColored(cv2.imread(sys.argv[1]), None, 10, 10))"
    ),
}


TILES = {"tile": (256, 256), "compression": "none", "big": True}
SIZES: dict[int, tuple[int, int, str, dict[str, Any]]] = {  # height, width, format and how it is coded, by megapixels
    1: (1000, 1000, ".png", {}),
    10: (2500, 4000, ".png", {}),
    100: (10_000, 10_000, ".png", {}),
    1000: (31_250, 32_000, ".tif", TILES),
}


def measure_size(folder: Path, weights: str, megapixels: int, peers: bool) -> None:
    """Print seconds and peak memory for a picture of a size."""
    height, width, suffix, coding = SIZES[megapixels]
    source = save(folder / f"{megapixels}{suffix}", height, width, **coding)
    target = str(folder / f"out{suffix}")
    line = [str(source), "-o", target, "--weights", weights, "--sigma", str(SIGMA), "--max-memory", MEMORY]
    what = f"{megapixels} megapixels, {suffix[1:].upper()}"
    show_size(f"{what}: hush, --max-memory {MEMORY}", hush(*line))
    for peer, program in PEERS.items() if peers else ():
        try:
            show_size(f"{what}: {peer}", run(program, str(source), target))
        except SystemExit as error:
            print(f"{what}: {peer} is not installed, or failed: {str(error)[-120:]}")
    source.unlink()


def show_size(what: str, figures: tuple[float, float, float]) -> None:
    """Print a row of figures."""
    seconds, processor, peak = figures
    print(f"{what}: {seconds:.1f} s ({processor:.1f} of processor), {peak:.0f} MB", flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--pictures", type=int, default=200, help="how many make up the folder")
    parser.add_argument("--megapixels", type=int, nargs="+", choices=SIZES, default=[1, 10], help="of --only sizes")
    parser.add_argument("--no-peers", action="store_true", help="leave out scikit-image and OpenCV")
    parser.add_argument("--only", choices=("start", "array", "folder", "sizes"))
    parser.add_argument("--disk", type=Path, help="folder for the generated pictures; default: a temporary one")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hush-speed-", dir=options.disk))
    try:
        wanted = [options.only] if options.only else ["start", "array", "folder", "sizes"]
        if "start" in wanted:
            measure_start(folder, options.weights)
        if "array" in wanted:
            measure_array(options.weights)
        if "folder" in wanted:
            for side in SIDES:
                measure_folder(folder, options.weights, options.pictures, side)
        if "sizes" in wanted:
            for megapixels in options.megapixels:
                measure_size(folder, options.weights, megapixels, not options.no_peers)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
