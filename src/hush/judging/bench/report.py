"""What a bench found, and how it is written down: JSON, CSV, and parts of Markdown pages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hush.errors import UsageError
from hush.imaging.writing import write_text
from hush.judging import markdown
from hush.judging.results import Report, Row

CHANNELS = {3: "colour", 1: "gray"}
PARTS = ("plot", "colour", "gray", "ahead", "differences", "missing", "protocol")


@dataclass(frozen=True)
class Bench:
    """The outcome of a bench."""

    report: Report
    """Quality, as an evaluation reports it; ``weights`` are the names of peers, ours first; no seconds."""
    sets: list[Row]
    """One per data set: data, channels, pictures."""
    times: list[Row]
    """One per channels and peer: peer, family, ours, seconds_per_megapixel (the median), its quartiles, runs,
    times_reference (the median of its ratios to our first weights in the same rounds), memory in bytes or None."""
    missing: list[Row]
    """One per peer that took no part: name, reason."""
    alike: list[Row] = field(default_factory=list)
    """One per setting that was not judged, since it did as well as another on the timed pictures: channels, peer and
    judged, whose figures stand for it."""

    def to_json(self) -> str:
        """Return all of it as JSON."""
        content = json.loads(self.report.to_json())
        parts = {name: getattr(self, name) for name in ("sets", "times", "missing", "alike")}
        parts["ahead"] = self.ahead()
        return json.dumps({**parts, **content}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, path: Path) -> Bench:
        """Read what `save` wrote.

        Raises UsageError if the file is no bench.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = [_with_figures(row) for row in content["rows"]]
            report = Report.of(content["protocol"], list(content["protocol"]["metrics"]), rows)
            return cls(report, content["sets"], content["times"], content["missing"], content.get("alike", []))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: is no bench.json of 'hush bench' ({type(error).__name__}: {error})") from error

    def save(self, folder: Path) -> None:
        """Write ``bench.json`` and ``rows.csv`` into a folder.

        Raises HushError if they cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "bench.json", self.to_json() + "\n")
        self.report.save(csv=folder / "rows.csv")

    def cells(self, channels: int) -> list[tuple[str, str]]:
        """Return the (data set, degradation) of a kind of pictures, in their order."""
        names = [entry["data"] for entry in self.sets if entry["channels"] == channels]
        found = dict.fromkeys((entry["data"], entry["degradation"]) for entry in self.report.summary)
        return [cell for cell in found if cell[0] in names]

    def shown(self, channels: int) -> tuple[str, str] | None:
        """Return the data set and degradation that stand for a kind in the plot: the first set, in the middle."""
        cells = self.cells(channels)
        cells = [cell for cell in cells if cell[0] == cells[0][0]]
        return cells[len(cells) // 2] if cells else None

    def figures(self, cell: tuple[str, str]) -> dict[str, Row]:
        """Return the summary of each peer on a data set and degradation.

        A peer that restored only some of the pictures gets the mean of our first weights over all of them, plus its
        mean difference to these on the same pictures, and no interval; its ``part`` is True.
        """
        entries = {e["weights"]: e | {"part": False} for e in self.report.summary if _cell(e) == cell}
        for difference in self.report.differences:
            if _cell(difference) == cell and difference["n"] < entries[difference["baseline"]]["n"]:
                whole, entry = entries[difference["baseline"]], entries[difference["weights"]]
                for metric in self.report.metrics:
                    entry |= {metric: whole[metric] + difference[metric], f"{metric}_interval": None}
                    entry[f"{metric}_input"] = whole[f"{metric}_input"]
                entry["part"] = True
        return entries

    def timed(self, channels: int) -> dict[str, Row]:
        """Return the times of each peer on a kind of pictures."""
        return {entry["peer"]: entry for entry in self.times if entry["channels"] == channels}

    def ahead(self) -> list[Row]:
        """Return who is ahead of our weights: at least as good in as little time, where the plot stands."""
        found = []
        for channels in CHANNELS:
            cell, times = self.shown(channels), self.timed(channels)
            quality = {} if cell is None else {name: e["psnr"] for name, e in self.figures(cell).items()}
            for mine in (name for name in times if times[name]["ours"]):
                found += [
                    {"weights": mine, "peer": other, "channels": channels}
                    for other in times
                    if not times[other]["ours"]
                    and quality[other] >= quality[mine]
                    and times[other]["seconds_per_megapixel"] <= times[mine]["seconds_per_megapixel"]
                ]
        return found


def _cell(entry: Row) -> tuple[str, str]:
    return entry["data"], entry["degradation"]


def table(bench: Bench, channels: int) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of a table: quality per data set and degradation, time, memory; the best time first."""
    cells, times = bench.cells(channels), bench.timed(channels)
    figures = {cell: bench.figures(cell) for cell in cells}
    names = list(dict.fromkeys(name for entries in figures.values() for name in entries))
    names.sort(key=lambda name: times[name]["seconds_per_megapixel"] if name in times else -1.0)
    heads = ["PSNR in dB / SSIM", *(f"{data}, {_short(degradation)}" for data, degradation in cells)]
    rows = []
    for name in names:
        ours = name in times and times[name]["ours"]
        row = [f"**hush `{name}`**" if ours else name]
        row += [_figure(figures[cell][name]) if name in figures[cell] else "–" for cell in cells]
        rows.append([*row, *_time(times.get(name))])
    return [*heads, "s per megapixel", "× time", "MB"], rows


def _short(degradation: str) -> str:
    return re.sub(r"^gaussian\(sigma=([\d.]+)\)$", r"\1", degradation)


def _figure(entry: Row) -> str:
    return f"{'≈ ' if entry['part'] else ''}{entry['psnr']:.2f} / {entry['ssim']:.3f}"


def _time(entry: Row | None) -> list[str]:
    if entry is None:
        return ["–", "–", "–"]
    low, high = entry["quartiles"]
    ratio = "–" if entry["times_reference"] is None else f"{entry['times_reference']:.2f}"
    memory = "–" if entry["memory"] is None else f"{entry['memory'] / 2**20:.0f}"
    return [f"{entry['seconds_per_megapixel']:.2f} ({low:.2f} to {high:.2f})", ratio, memory]


def parts(bench: Bench, plot: Path | None = None) -> dict[str, list[str]]:
    """Return the parts that pages may hold, as lines of Markdown; ``plot`` is the picture that one of them shows."""
    return {
        "plot": [markdown.picture(plot, "Quality over time: our weights and their peers")] if plot else [],
        "colour": _lines(*table(bench, 3)),
        "gray": _lines(*table(bench, 1)),
        "ahead": _verdict(bench),
        "differences": [f"- {line}" for line in _differences(bench)],
        "missing": [f"- {entry['name']}: {entry['reason']}" for entry in bench.missing] or ["Nobody is missing."],
        "protocol": [f"- {line}" for line in _protocol(bench)],
    }


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return markdown.table(heads, rows) if rows else ["No such pictures in this run."]


def _verdict(bench: Bench) -> list[str]:
    found = bench.ahead()
    if not found:
        return ["No peer is as good as any of our weights in as little time."]
    return [f"- {e['peer']} is as good as `{e['weights']}` or better in no more time ({CHANNELS[e['channels']]})."
            for e in found]  # fmt: skip


def _differences(bench: Bench) -> list[str]:
    """Say how sure the differences are, where the plot stands."""
    lines = []
    for channels in CHANNELS:
        cell = bench.shown(channels)
        figures = {} if cell is None else bench.figures(cell)
        unjudged = [entry["peer"] for entry in bench.alike if entry["channels"] == channels]
        for entry in bench.report.differences:
            if (entry["data"], entry["degradation"]) != cell or entry["weights"] in unjudged:
                continue
            words = f"`{entry['baseline']}` minus {entry['weights']}, {cell[0]} at {_short(cell[1])}"
            whole = figures[entry["baseline"]]["n"]
            if entry["n"] < whole:
                lines.append(f"{words}, on {entry['n']} of the {whole} pictures: {-entry['psnr']:+.3f} dB.")
            elif entry["psnr_interval"] is not None:
                low, high = entry["psnr_interval"]
                lines.append(f"{words}: {-entry['psnr']:+.3f} dB (95 %: {-high:+.3f} to {-low:+.3f}).")
    return lines


def _partly(bench: Bench) -> list[str]:
    """Say who restored only some of the pictures, or none but the timed ones, and what stands in the tables then."""
    whole = {entry["data"]: entry["pictures"] for entry in bench.sets}
    counts: dict[str, dict[str, int]] = {}
    for entry in bench.report.summary:
        counts.setdefault(entry["weights"], {})[entry["data"]] = entry["n"]
    first = next((entry["baseline"] for entry in bench.report.differences), "")
    lines = []
    for name, found in counts.items():
        if few := [f"{n} of the {whole[data]} of {data}" for data, n in found.items() if n < whole[data]]:
            lines.append(
                f"≈: {name} restored {', '.join(few)}; what stands there is the mean of `{first}` over all pictures, "
                "plus the mean difference to it on these."
            )
    for channels, kind in CHANNELS.items():
        for entry in (entry for entry in bench.alike if entry["channels"] == channels):
            lines.append(
                f"{entry['peer']} did as well as {entry['judged']} on each of the timed {kind} pictures, so it was not "
                "judged on the others: these figures are those of the latter."
            )
    return lines


def _protocol(bench: Bench) -> list[str]:
    protocol = bench.report.protocol
    machine: Mapping[str, Any] = protocol["machine"]
    first = next((entry["peer"] for entry in bench.times if entry["ours"]), "our first weights")
    versions = ", ".join(f"{name} {number}" for name, number in protocol["versions"].items())
    sets = ", ".join(f"{entry['data']} ({entry['pictures']} {CHANNELS[entry['channels']]})" for entry in bench.sets)
    words = [word for word in protocol["words"] if not word.startswith("Seconds")]
    runs = "; ".join(f"{name}: {description}" for name, description in protocol["restorers"].items())
    return [
        f"Pictures: {sets}. {' '.join(words)}",
        *_partly(bench),
        "Seconds: each peer in a process of its own, all in turns on the same three pictures of the first data set; "
        "the median over pictures and rounds with its quartiles, without the first call for each size; who takes "
        f"minutes restores each picture once. × time: the median of the ratios to `{first}` in the same rounds. "
        "MB: the most that the process held while it restored one megapixel, Python and libraries with it.",
        f"{machine['processor']}, {protocol['runtime']['threads']} threads, {machine['system']}; {versions}.",
        f"{runs}.",
    ]


def _with_figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of JSON, which has no number that is not finite, with its figures: equal pictures have an SSIM."""
    psnr = math.nan if row.get("ssim", 1) is None else math.inf
    lacking = {key: psnr if key.startswith("psnr") else math.nan for key in row if key.startswith(("psnr", "ssim"))}
    return {key: lacking.get(key) if value is None else value for key, value in row.items()}
