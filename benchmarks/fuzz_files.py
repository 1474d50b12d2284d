"""Feed damaged pictures to ``hush denoise``: each must be restored, or refused in one line.

    python benchmarks/fuzz_files.py 20000 --seed 1

Files are mutated copies of small pictures of every format: bytes and bits changed, parts cut out, doubled, moved or
zeroed, numbers in headers made extreme, two files spliced. They go through read, denoise (which only makes them a
little darker) and write in a process that is watched: a crash, a hang, an error that hush does not know, or a file left
half-written is a fault. Faulty inputs are kept. The exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
LARGEST = 200_000  # bytes of a file that is mutated; larger ones would only be slow
SECONDS = 30.0  # that a file of that size may take
MEMORY = 4 * 2**30  # bytes that the process may map: a bomb is refused before memory is taken

Mutation = Callable[[bytearray, random.Random], None]


def flip_bits(data: bytearray, rng: random.Random) -> None:
    """Change some bits anywhere."""
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_head(data: bytearray, rng: random.Random) -> None:
    """Change bytes where headers are."""
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(len(data), 512))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def extreme_numbers(data: bytearray, rng: random.Random) -> None:
    """Put extreme numbers of 2 or 4 bytes where headers are."""
    size = rng.choice((2, 4))
    at = rng.randrange(max(1, min(len(data), 1024) - size))
    number = rng.choice(
        (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, rng.randrange(70_000))
    )
    data[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))


def truncate(data: bytearray, rng: random.Random) -> None:
    """Cut off the end."""
    del data[rng.randrange(len(data)) :]


def cut_out(data: bytearray, rng: random.Random) -> None:
    """Take out a part."""
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 16, 256, 4096))]


def double(data: bytearray, rng: random.Random) -> None:
    """Insert a part again somewhere else."""
    at, size = rng.randrange(len(data)), rng.choice((1, 4, 64, 1024))
    part = data[at : at + size]
    to = rng.randrange(len(data))
    data[to:to] = part


def overwrite(data: bytearray, rng: random.Random) -> None:
    """Zero or scramble a part."""
    at, size = rng.randrange(len(data)), rng.choice((4, 16, 256, 2048))
    part = data[at : at + size]
    data[at : at + size] = rng.choice((bytes(len(part)), b"\xff" * len(part), rng.randbytes(len(part))))


MUTATIONS: tuple[Mutation, ...] = (flip_bits, flip_head, extreme_numbers, truncate, cut_out, double, overwrite)


def seeds(folders: list[Path]) -> list[Path]:
    """Return the pictures that are mutated."""
    files = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file())
    return [path for path in files if 0 < path.stat().st_size <= LARGEST and path.suffix not in (".md", ".py")]


def mutated(number: int, seed: int, sources: list[Path]) -> tuple[str, bytes]:
    """Return the name and content of a mutated file: the same for the same numbers."""
    rng = random.Random(f"{seed} {number}")
    source = rng.choice(sources)
    data = bytearray(source.read_bytes())
    if rng.random() < 0.05:
        other = rng.choice(sources).read_bytes()
        data = data[: rng.randrange(len(data))] + bytearray(other[rng.randrange(len(other)) :])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            rng.choice(MUTATIONS)(data, rng)
    return f"{number}{source.suffix}", bytes(data)


def work(start: int, stop: int, seed: int, folders: list[Path], work_folder: Path) -> None:
    """Restore mutated files, and print a line for each: its number and how it ended."""
    limit_memory()
    from hush.errors import HushError
    from hush.restoring.denoising import DenoiseOptions, denoise_file
    from hush.restoring.restorers import Identity

    class Darker(Identity):
        """Changes every picture: one that stays as it is would be copied, not written."""

        def __call__(self, image: Any, sigma: Any = None, **asked: Any) -> Any:
            return image * np.float32(0.98)

    sources, restorer, options = seeds(folders), Darker(), DenoiseOptions(weights="identity")
    for number in range(start, stop):
        name, content = mutated(number, seed, sources)
        source, target = work_folder / name, work_folder / f"restored-{name}"
        source.write_bytes(content)
        try:
            target = denoise_file(source, target, options, restorer=restorer).target
            outcome = "restored" if target.stat().st_size else "fault: an empty result"
        except HushError as error:
            text = str(error)
            outcome = "refused" if "\n" not in text and text else f"fault: {text!r}"
            outcome = "fault: a result in spite of an error" if target.exists() else outcome
        except Exception as error:
            outcome = f"fault: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        target.unlink(missing_ok=True)
        if left := [path for path in work_folder.iterdir() if path != source]:
            outcome = f"fault: left behind {left[0].name}"
            for path in left:
                path.unlink()
        source.unlink()
        print(number, outcome, flush=True)


def limit_memory() -> None:
    """Limit the memory of this process, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def fuzz(count: int, seed: int, folders: list[Path], kept: Path, show: Callable[[str], None]) -> Counter[str]:
    """Restore so many mutated files; return how they ended. Faulty files go to the folder ``kept``."""
    ends: Counter[str] = Counter()
    number, sources = 0, seeds(folders)
    while number < count:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--work", str(number), str(count), "--seed", str(seed), "--in", folder]
            command += [part for path in folders for part in ("--data", str(path))]
            number = watch(command, number, ends, lambda n, fault: keep(n, fault, seed, sources, kept, show))
    return ends


def watch(command: list[str], number: int, ends: Counter[str], fault: Callable[[int, str], None]) -> int:
    """Watch a working process until it ends; return the number that comes next."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    last = [time.monotonic()]
    over, hung = threading.Event(), threading.Event()

    def guard() -> None:
        while not over.wait(1):
            if time.monotonic() - last[0] > SECONDS:
                hung.set()
                process.kill()
                return

    def drain() -> None:
        assert process.stderr is not None
        complaints.append(process.stderr.read())

    complaints: list[str] = []
    threads = [threading.Thread(target=guard), threading.Thread(target=drain)]
    for thread in threads:
        thread.start()
    assert process.stdout is not None
    for line in process.stdout:
        last[0] = time.monotonic()
        word, _, outcome = line.strip().partition(" ")
        ends[outcome.split(":")[0]] += 1
        if outcome.startswith("fault"):
            fault(int(word), outcome)
        number = int(word) + 1
    code = process.wait()
    over.set()
    for thread in threads:
        thread.join()
    if code:
        reason = f"took more than {SECONDS:g} s" if hung.is_set() else f"ended with {code}: {complaints[0][-300:]}"
        ends["fault"] += 1
        fault(number, f"fault: {reason}")
        number += 1
    return number


def keep(number: int, outcome: str, seed: int, sources: list[Path], kept: Path, show: Callable[[str], None]) -> None:
    """Keep a faulty file, and show what happened."""
    name, content = mutated(number, seed, sources)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / name).write_bytes(content)
    show(f"{kept / name}: {outcome}")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, action="append", help="folders of pictures to mutate")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder for faulty files")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folders = options.data or [HERE.parent / "tests" / "data", HERE.parent.parent / "shared" / "data" / "formats"]
    if options.work:
        start, stop = options.work
        work(start, stop, options.seed, folders, options.folder)
        return 0
    if not seeds(folders):
        parser.error("no pictures to mutate; name folders with --data")
    if options.keep.is_dir():
        shutil.rmtree(options.keep)
    started = time.monotonic()
    ends = fuzz(options.count, options.seed, folders, options.keep, print)
    print(f"{sum(ends.values())} files in {time.monotonic() - started:.0f} s: {dict(ends)}")
    return 1 if ends["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
