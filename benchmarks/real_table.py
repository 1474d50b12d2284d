"""Make the table of real photographs: our weights, blind, beside classical methods, each at its best sigma per set.

    python benchmarks/real_table.py --data FOLDER --ours photo --rows rows.jsonl               print it
    python benchmarks/real_table.py --data FOLDER --ours photo --rows rows.jsonl --write PAGE  between a page's markers
    ... --page crops.html                                                   also eight pictures at 100 %, side by side

FOLDER holds ``real/`` with ``SPLIT.tsv`` (columns set, name, use), of which the pairs for reporting are taken,
``test/Kodak24`` and ``peers/cdncnn_b.npz``. A method that must be told a sigma gets, for each set, the one of a ladder
that is best for the mean PSNR on that very set, which no user could know; BM3D, which takes about a minute for each
megapixel, is measured in the middle of the pictures only, and ours there too. What was measured is kept in the file of
rows, so that a run that was interrupted goes on. What cannot be run is named under the table. A page has the lines
``<!-- real: NAME -->`` and ``<!-- end of real -->``, where NAME is ``table``, or ``gains`` for the mean gains alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError, need
from hush.imaging.files import read
from hush.imaging.finding import find_pictures
from hush.imaging.metrics import psnr, ssim, to_eight_bit
from hush.imaging.pages import Page
from hush.judging import markdown
from hush.judging.intervals import bootstrap_interval
from hush.judging.protocol import versions
from hush.restoring.denoising import open_restorer
from hush.restoring.machine import processor
from hush.restoring.weights import WEIGHTS, open_weights

Image = NDArray[np.float32]
Row = dict[str, Any]
Restore = Callable[[Image, float | None], Image]

LADDER = [round(3 * 1.25**step, 2) for step in range(14)]  # sigma 3 to 55
SETS = {"PolyU": "PolyU", "CC15": "CC15", "RENOIR": "RENOIR", "SIDD crops": "SIDD-crops-"}  # title: start of the folder
SCENES = {  # pictures that share what these find are of one scene
    "PolyU": r"(.+)_\d+$",  # Canon5D2_5_160_3200_plug_11: a crop of the scene Canon5D2_5_160_3200_plug
    "CC15": r"(.+)_\d$",  # d800_iso1600_2: a setting of a camera
    "RENOIR": r"(.+)$",
    "SIDD crops": r"(danet|1(?=_)|0)",  # 0001_SRGB_010_s045 and 0_3 are of one instance, 1_4 of the next
}
CROP, SHOWN = 160, 8  # pixels a side, pictures
SQUARE = 128  # pixels a side
MIDDLE = f"middle {SQUARE}x{SQUARE}"


@dataclass(frozen=True)
class Pair:
    """A real pair for reporting."""

    set: str
    name: str
    noisy_path: Path
    clean_path: Path
    side: int | None = None
    """Pixels of the square in the middle that counts; None for all."""

    @property
    def label(self) -> str:
        """By which its rows are known."""
        return self.name if self.side is None else f"{self.name}, {self.side}"

    @property
    def scene(self) -> str:
        """Which pictures are not independent of it."""
        found = re.match(SCENES[self.set], Path(self.name).stem)
        return found[1] if found else self.name

    @cached_property
    def noisy(self) -> Image:
        """(H, W, 3) in [0, 1]."""
        return _centre(open_image(self.noisy_path), self.side)

    @cached_property
    def clean(self) -> Image:
        """Likewise."""
        return _centre(open_image(self.clean_path), self.side)


def read_split(folder: Path, use: str) -> list[dict[str, str]]:
    """Return the rows of SPLIT.tsv for a use, report or train: set, name, use."""
    with open(folder / "SPLIT.tsv", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["use"] == use]


def open_image(path: Path) -> Image:
    """Read an 8-bit colour picture as (H, W, 3) in [0, 1]."""
    return np.asarray(read(path).pixels[..., :3], np.float32) / np.float32(255)


def _centre(image: Image, side: int | None) -> Image:
    """Return the square in the middle of an image."""
    if side is None:
        return image
    top, left = (max(0, size - side) // 2 for size in image.shape[:2])
    return image[top : top + side, left : left + side]


def pairs(folder: Path, limit: int | None) -> dict[str, list[Pair]]:
    """Return the pairs for reporting of each set, those of a trial evenly spread."""
    rows = read_split(folder, "report")
    found: dict[str, list[Pair]] = {}
    for title, start in SETS.items():
        chosen = [row for row in rows if row["set"].startswith(start)]
        places = [(row["name"], folder / row["set"]) for row in chosen]
        listed = [Pair(title, name, place / "noisy" / name, place / "clean" / name) for name, place in places]
        count = min(limit or len(listed), len(listed))
        found[title] = [listed[i * len(listed) // count] for i in range(count)]
    return found


@dataclass(frozen=True)
class Candidate:
    """What is compared."""

    title: str
    weights: str
    told: bool = False
    """Whether it gets the best sigma of the set; else it is blind, or estimates."""
    side: int | None = None
    """Pixels of the square in the middle of the pictures that is restored; None restores all of them."""

    def open(self) -> Restore:
        """Return what restores. Raises HushError if it cannot be run."""
        return open_opencv() if self.weights == "opencv" else open_restorer(self.weights)


def candidates(folder: Path, ours: Sequence[str]) -> list[Candidate]:
    """Return what is compared, ours last."""
    return [
        Candidate("noisy input", "identity"),
        Candidate("NLM (OpenCV), best sigma", "opencv", told=True),
        Candidate("NLM (scikit-image), best sigma", "classical:nlm", told=True),
        Candidate(f"CBM3D, best sigma, {MIDDLE}", "classical:bm3d", told=True, side=SQUARE),
        Candidate("CDnCNN-B, published weights, blind", f"dncnn@{folder / 'peers' / 'cdncnn_b.npz'}"),
        Candidate(f"hush `{_name(ours[-1])}`, blind, {MIDDLE}", ours[-1], side=SQUARE),
        *(Candidate(f"**hush `{_name(name)}`**, blind", name) for name in ours),
    ]


def _name(weights: str) -> str:
    return Path(weights).parent.name or weights


def open_opencv() -> Restore:
    """Return OpenCV's non-local means for colour pictures, of filter strength sigma for luminance and colours."""
    cv2 = need("cv2", "dev")

    def restore(image: Image, sigma: float | None) -> Image:
        pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)[..., ::-1]
        restored = cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(pixels), None, sigma, sigma, 7, 21)
        return np.asarray(restored[..., ::-1], np.float32) / np.float32(255)

    return restore


class Rows:
    """What was measured so far, in a file of one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.known: dict[tuple[Any, ...], Row] = {self._key(row): row for row in map(json.loads, lines)}

    @staticmethod
    def _key(row: Row) -> tuple[Any, ...]:
        return row["set"], row["image"], row["weights"], row["stamp"], row["sigma"]

    def measure(self, pair: Pair, weights: str, restore: Restore, sigma: float | None) -> Row:
        """Return the figures of a picture, measured now if they are not known. Files of weights may change."""
        path = open_weights(weights).path if weights in WEIGHTS else Path(weights)
        stamp = path.stat().st_mtime if path.is_file() else 0
        row: Row = {"set": pair.set, "image": pair.label, "weights": weights, "stamp": stamp, "sigma": sigma}
        if self._key(row) not in self.known:
            started = time.perf_counter()
            restored = to_eight_bit(restore(pair.noisy, sigma))
            row |= {"scene": pair.scene, "seconds": time.perf_counter() - started, "pixels": pair.clean[..., 0].size}
            row |= {"psnr": psnr(restored, pair.clean), "ssim": ssim(restored, pair.clean)}
            row |= {"psnr_input": psnr(pair.noisy, pair.clean), "ssim_input": ssim(pair.noisy, pair.clean)}
            self.known[self._key(row)] = row
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return self.known[self._key(row)]


def best(chosen: Sequence[Pair], candidate: Candidate, restore: Restore, rows: Rows) -> list[Row]:
    """Return the rows of a set at the sigma of the ladder that is best for its mean PSNR.

    Up and down the ladder from the deviation of the noise, as long as it gets better: the mean has one peak.
    """
    if candidate.side:
        chosen = [replace(pair, side=candidate.side) for pair in chosen]
    if not candidate.told:
        return [rows.measure(pair, candidate.weights, restore, None) for pair in chosen]

    def at(step: int) -> tuple[float, list[Row]]:
        found = [rows.measure(pair, candidate.weights, restore, LADDER[step]) for pair in chosen]
        return float(np.mean([row["psnr"] for row in found])), found

    level = 255 * float(np.mean([np.std(pair.noisy - pair.clean) for pair in chosen]))
    step = int(np.argmin([abs(sigma - level) for sigma in LADDER]))
    top = at(step)
    for way in (1, -1):
        while 0 <= step + way < len(LADDER) and (next_ := at(step + way))[0] > top[0]:
            step, top = step + way, next_
    return top[1]


Found = dict[tuple[str, str], list[Row]]


def run(sets: dict[str, list[Pair]], compared: Sequence[Candidate], rows: Rows) -> tuple[Found, list[str]]:
    """Measure everything; return the rows by title and set, and a sentence on what cannot be run."""
    found: Found = {}
    missing = []
    for candidate in compared:
        try:
            restore = candidate.open()
            for title, chosen in sets.items():
                print(f"{candidate.title}: {title}", file=sys.stderr)
                found[candidate.title, title] = best(chosen, candidate, restore, rows)
        except HushError as error:
            missing.append(f"Not run: {candidate.title} ({error}).")
    return found, missing


def table(
    sets: dict[str, list[Pair]],
    compared: Sequence[Candidate],
    found: Found,
    head: str,
    cell: Callable[[list[Row]], str],
) -> list[str]:
    """Return a table in Markdown: a row for each candidate that was run, a column for each set, under a head."""
    lines = []
    for candidate in compared:
        cells = [found[candidate.title, title] for title in sets if (candidate.title, title) in found]
        if cells:
            lines.append([candidate.title, *map(cell, cells)])
    return markdown.table([head, *(f"{title}, {len(chosen)}" for title, chosen in sets.items())], lines)


def _gain(rows: list[Row]) -> str:
    return f"{np.mean([row['psnr'] - row['psnr_input'] for row in rows]):.2f}"


def _cell(rows: list[Row]) -> str:
    """Write PSNR, SSIM, and the mean gain over the input with its interval."""
    means = (float(np.mean([row[key] for row in rows])) for key in ("psnr", "ssim"))
    figures = "{:.2f} / {:.3f}".format(*means)
    if rows[0]["weights"] == "identity":
        return figures
    told = f"; sigma {rows[0]['sigma']:g}" if rows[0]["sigma"] else ""
    return f"{figures} ({_interval([row['psnr'] - row['psnr_input'] for row in rows], rows)}{told})"


def _interval(values: Sequence[float], rows: Sequence[Row]) -> str:
    """Write a mean and its interval over scenes."""
    interval = bootstrap_interval(values, [row["scene"] for row in rows])
    ends = "one scene" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"
    return f"{np.mean(values):+.2f}: {ends}"


def summary(sets: dict[str, list[Pair]], compared: Sequence[Candidate], found: Found) -> list[Row]:
    """Return the means as a report of `hush evaluate` has them, for benchmarks/ship_weights.py."""
    return [
        {"data": title, "degradation": "real", "n": len(rows), "weights": candidate.weights}
        | {name: float(np.mean([row[name] for row in rows])) for name in ("psnr", "ssim", "psnr_input", "ssim_input")}
        for candidate in compared
        for title in sets
        if candidate.side is None and (rows := found.get((candidate.title, title)))
    ]


def differences(sets: dict[str, list[Pair]], compared: Sequence[Candidate], found: Found) -> Iterator[str]:
    """Yield how far the last of the candidates is above each other, picture by picture."""
    own = {c.side: c.title for c in compared if c.weights == compared[-1].weights}
    for candidate in compared:
        ours = own.get(candidate.side, "")
        parts = []
        for title in sets if candidate.title != ours else ():
            if (ours, title) in found and (candidate.title, title) in found:
                rows, others = found[ours, title], found[candidate.title, title]
                steps = [row["psnr"] - other["psnr"] for row, other in zip(rows, others, strict=True)]
                parts.append(f"{title} {_interval(steps, rows)}")
        if parts:
            yield f"{ours} minus {candidate.title}, dB (95 %): {'; '.join(parts)}."


def halve(image: Image) -> Image:
    """Average 2x2 pixels of (H, W, 3) to one."""
    height, width = (side // 2 for side in image.shape[:2])
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return np.asarray(blocks.mean((1, 3), dtype=np.float32))


def untouched(folder: Path, restore: Restore, limit: int | None) -> str:
    """Say what becomes of clean pictures: photographs halved by averaging 2x2 pixels, restored blind."""
    figures, casts = [], []
    for path in find_pictures([folder], recursive=True)[:limit]:
        clean = to_eight_bit(halve(open_image(path)))
        restored = to_eight_bit(restore(clean, None))
        figures.append(psnr(restored, clean))
        casts.append(255 * np.abs((restored - clean).mean((0, 1))).max())
    return (
        f"{folder.name} halved by a box filter, {len(figures)} pictures, comes out at {np.mean(figures):.2f} dB "
        f"against itself (least {np.min(figures):.2f}); the mean of a colour moves by {np.max(casts):.2f} of 255 at "
        "most."
    )


def notes() -> list[str]:
    """Return how it was measured, and on what."""
    return [
        "Pairs that SPLIT.tsv keeps for reporting. Figures are of restored pictures clamped to [0, 1] and rounded to 8 "
        "bit, PSNR over all values of a picture, SSIM with the 11x11 Gaussian window, mean over pictures; gains are "
        "over the noisy input; intervals are drawn over scenes. These excerpts only order methods: published averages "
        "are over more pictures.",
        f"{processor()}; {', '.join(f'{name} {number}' for name, number in versions().items())}.",
    ]


def draw_page(sets: dict[str, list[Pair]], compared: Sequence[Candidate], found: Found, path: Path) -> None:
    """Write a page of eight pictures' centres at 100 %: noisy, OpenCV's NLM, BM3D, ours, and the clean picture."""
    page = Page("Real photographs at 100 %", quality=92)
    page.text("Centres of pictures that were not trained on. The classical methods have the best sigma of their set.")
    shown = [c for c in compared if c.weights in ("opencv", "classical:bm3d")] + [compared[-1]]
    opened = [(c, c.open()) for c in shown if (c.title, next(iter(sets))) in found]
    for pair in (replace(pair, side=CROP + 96) for pair in _spread(sets)):
        views = {"noisy": pair.noisy}
        for candidate, restore in opened:
            sigma = found[candidate.title, pair.set][0]["sigma"]
            views[re.sub(r"[*`]", "", candidate.title)] = restore(pair.noisy, sigma)
        labels = [f"{name}: {psnr(to_eight_bit(view), pair.clean):.2f} dB" for name, view in views.items()]
        page.heading(f"{pair.set}: {pair.name}")
        page.grid(
            [_centre(view, CROP).clip(0, 1) for view in (*views.values(), pair.clean)],
            [*labels, "clean"],
            columns=len(views) + 1,
        )
    page.save(path)


def _spread(sets: dict[str, list[Pair]]) -> list[Pair]:
    """Choose two pictures of each set: the first, and one from the middle."""
    return [chosen[i] for chosen in sets.values() for i in sorted({0, len(chosen) // 2})][:SHOWN]


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with real/, test/ and peers/")
    parser.add_argument("--ours", nargs="+", default=["gaussian"], help="weights, blind; differences are of the last")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="only candidates whose titles contain one of these")
    parser.add_argument("--rows", type=Path, default=Path("real-rows.jsonl"), help="what was measured so far")
    parser.add_argument("--limit", type=int, help="only so many pictures of each set, for a trial")
    parser.add_argument(
        "--write", type=Path, nargs="+", default=[], metavar="PAGE", help="put it between the markers of pages"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the means there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page of pictures at 100 %%")
    options = parser.parse_args()
    try:
        for page in options.write:  # before the work, not after it
            markdown.check(page, "real", ("table", "gains"))
    except HushError as error:
        sys.exit(str(error))
    sets = pairs(options.data / "real", options.limit)
    compared = candidates(options.data, options.ours)
    if options.only:
        compared = [c for c in compared if c.weights in options.ours or any(text in c.title for text in options.only)]
    found, missing = run(sets, compared, Rows(options.rows))
    sentences = [*differences(sets, compared, found)]
    sentences.append(untouched(options.data / "test" / "Kodak24", open_restorer(options.ours[-1]), options.limit))
    head = "PSNR in dB / SSIM (gain in dB: 95 %)"
    lines = [*table(sets, compared, found, head, _cell), "", *(f"- {x}" for x in [*sentences, *notes(), *missing])]
    gained = [candidate for candidate in compared if candidate.side is None and candidate.weights != "identity"]
    parts = {"table": lines, "gains": table(sets, gained, found, "gain in dB", _gain)}
    for page in options.write:
        markdown.fill(page, "real", parts)
    if not options.write:
        print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps({"summary": summary(sets, compared, found)}, indent=1), encoding="utf-8")
    if options.page:
        draw_page(sets, compared, found, options.page)


if __name__ == "__main__":
    main()
