"""What an evaluation found: rows, their summary, paired differences, and how they are written down."""

from __future__ import annotations

import csv as csv_format
import io
import json as json_format
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hush.imaging.pages import Page
from hush.imaging.writing import write_text
from hush.judging.intervals import bootstrap_interval

Row = dict[str, Any]
GUARD = "psnr"  # whatever else is measured: by it a restored picture is worse than its input


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation.

    A PSNR is infinite where two pictures are equal, and NaN where a restorer returned NaN. A mean leaves infinite
    figures out (it is infinite where all are) and is NaN where one is NaN; the summary's ``warning`` says so. Two
    infinite figures differ by 0; a difference leaves out pictures where one of the two is infinite.
    """

    protocol: dict[str, Any]
    """How it was measured, in words (``words``) and as data."""
    metrics: tuple[str, ...]
    """Names of the metrics, which are keys of the rows."""
    rows: list[Row]
    """One per picture, weights and degradation: weights, data, degradation, image, scene, each metric, each metric
    of the input (``psnr_input``), sigma as it was told (None: estimated), seconds (None: not timed), megapixels."""
    summary: list[Row]
    """One per weights, data and degradation: n, the mean of each metric with its 95 % interval [low, high] (None
    where all pictures are of one scene), that of the input, seconds_per_megapixel, and a warning or None."""
    differences: list[Row]
    """Each further weights minus the first (``baseline``), picture by picture: mean, 95 % interval, and over how many
    pictures they are (``psnr_n``)."""

    @classmethod
    def of(cls, protocol: dict[str, Any], metrics: Sequence[str], rows: list[Row]) -> Report:
        """Summarise rows."""
        return cls(protocol, tuple(metrics), rows, summarise(rows, metrics), compare(rows, metrics))

    def to_json(self) -> str:
        """Return protocol, rows, summary and differences as JSON; infinite and NaN figures become null."""
        parts = ("protocol", "rows", "summary", "differences")
        return json_format.dumps({part: finite(getattr(self, part)) for part in parts}, ensure_ascii=False, indent=1)

    def to_csv(self) -> str:
        """Return the rows as CSV with a header."""
        text = io.StringIO()
        writer = csv_format.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def _repr_html_(self) -> str:
        """Show warnings, means and protocol in a notebook."""
        headers = ["weights", "data", "degradation", "n", *self.metrics, *(f"{name} of input" for name in self.metrics)]
        keys = [*headers[:4], *self.metrics, *(f"{name}_input" for name in self.metrics)]
        page = Page("Evaluation")
        for entry in self.summary:
            if entry["warning"]:
                page.warning(f"{entry['weights']}: {entry['warning']}")
        page.table(headers, [[entry[key] for key in keys] for entry in self.summary])
        return page.text("\n\n".join(self.protocol.get("words", [])))._repr_html_()

    def save(self, *, json: str | Path | None = None, csv: str | Path | None = None) -> None:
        """Write the report as JSON, its rows as CSV, or both; what stands there is replaced.

        Raises HushError if a file cannot be written.
        """
        if json is not None:
            write_text(Path(json), self.to_json() + "\n")
        if csv is not None:
            write_text(Path(csv), self.to_csv())


def summarise(rows: Iterable[Row], metrics: Sequence[str]) -> list[Row]:
    """Return the means of rows, one entry per weights, data and degradation, in the order of the rows."""
    groups = _grouped(rows, lambda row: (row["weights"], row["data"], row["degradation"]))
    return [_summary(group, metrics) for group in groups]


def compare(rows: Iterable[Row], metrics: Sequence[str]) -> list[Row]:
    """Return paired differences: each weights minus the first that have all pictures, on the same noisy ones."""
    differences = []
    for cell in _grouped(rows, lambda row: (row["data"], row["degradation"])):
        groups = _grouped(cell, lambda row: row["weights"])
        first = max(groups, key=len)
        differences += [_difference(other, first, metrics) for other in groups if other is not first]
    return differences


def _grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _summary(group: list[Row], metrics: Sequence[str]) -> Row:
    entry: Row = {key: group[0][key] for key in ("weights", "data", "degradation")}
    entry["n"] = len(group)
    for metric in metrics:
        entry[metric], entry[f"{metric}_interval"] = estimate([(row[metric], row["scene"]) for row in group])
    for metric in metrics:
        entry[f"{metric}_input"], _ = estimate([(row[f"{metric}_input"], row["scene"]) for row in group])
    timed = [row for row in group if row["seconds"] is not None]
    seconds, megapixels = (sum(row[key] for row in timed) for key in ("seconds", "megapixels"))
    entry["seconds_per_megapixel"] = seconds / megapixels if timed else None
    entry["warning"] = _warning(group, metrics)
    return entry


def _difference(group: list[Row], baseline: list[Row], metrics: Sequence[str]) -> Row:
    entry: Row = {key: group[0][key] for key in ("weights", "data", "degradation")}
    entry |= {"baseline": baseline[0]["weights"], "n": len(group)}
    given = {row["image"]: row for row in baseline}
    for metric in metrics:
        pairs = [(row[metric], given[row["image"]][metric], row["scene"]) for row in group]
        entry[metric], entry[f"{metric}_interval"], entry[f"{metric}_n"] = estimate_difference(pairs)
    return entry


def estimate(figures: Sequence[tuple[float, str]]) -> tuple[float, list[float] | None]:
    """Return the mean and its interval of (figure, scene); infinite figures are left out."""
    if any(math.isnan(figure) for figure, _ in figures):
        return math.nan, None
    finite = [(figure, scene) for figure, scene in figures if math.isfinite(figure)]
    if not finite:
        return figures[0][0], None
    values, scenes = zip(*finite, strict=True)
    interval = bootstrap_interval(values, scenes)
    return math.fsum(values) / len(values), None if interval is None else list(interval)


def estimate_difference(pairs: Sequence[tuple[float, float, str]]) -> tuple[float, list[float] | None, int]:
    """Return the mean of (figure, other, scene), the first minus the second, its interval, and the number of pictures.

    Pictures that equal the clean one in both views, two infinite figures, differ by 0; where one figure is infinite the
    picture is left out.
    """
    steps = [(_step(value, other), scene) for value, other, scene in pairs]
    return *estimate(steps), sum(not math.isinf(step) for step, _ in steps)


def _step(value: float, other: float) -> float:
    return 0.0 if value == other else value - other


def guard(rows: Sequence[Row]) -> list[str]:
    """Say that restored pictures are further from the clean ones than their input, picture by picture, or nothing.

    Also says what was left out since the PSNR of the input is infinite and that of the restored picture is not.
    """
    pairs = [(row[GUARD], row[f"{GUARD}_input"]) for row in rows]
    compared = [pair for pair in pairs if math.isfinite(_step(*pair))] or pairs
    found = []
    if sum(_step(*pair) for pair in compared) < 0:
        restored, given = (estimate([(figure, "") for figure in side])[0] for side in zip(*compared, strict=True))
        over = f", in {len(compared)} of {len(pairs)} pictures" if len(compared) < len(pairs) else ""
        found.append(f"WORSE THAN THE INPUT: psnr {restored:.2f} dB, input {given:.2f} dB{over}")
    if changed := sum(math.isinf(given) and math.isfinite(restored) for restored, given in pairs):
        found.append(f"{changed} of {len(pairs)} inputs equal the clean pictures and come back changed; left out")
    return found


def _warning(group: list[Row], metrics: Sequence[str]) -> str | None:
    """Return what a reader must not overlook, or None."""
    found = []
    if broken := sum(any(math.isnan(row[metric]) for metric in metrics) for row in group):
        found.append(f"RESTORED IS NOT FINITE in {broken} of {len(group)} pictures")
    if GUARD in group[0]:
        found += guard(group)
    if GUARD in metrics and (exact := sum(math.isinf(row[GUARD]) for row in group)):
        found.append(f"{exact} of {len(group)} pictures equal the clean ones; their infinite psnr is left out")
    return "; ".join(found) or None


def finite(thing: Any) -> Any:
    """Return a copy for JSON, which has no infinity and no NaN."""
    if isinstance(thing, dict):
        return {key: finite(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [finite(value) for value in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing
