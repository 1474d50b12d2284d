"""The picture of a bench: quality over seconds per megapixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hush.errors import UsageError, need
from hush.judging.bench.report import CHANNELS, Bench
from hush.judging.results import Row

OURS, PEERS = "#c2185b", "#37474f"
SIZE = 8.6, 5.0  # inches
GAP = 13  # points between the base lines of two labels, at the least
WIDE = 5.4  # points that a letter takes, about

Box = tuple[float, float, float, float]
"""Left, right, bottom and top in points."""


def draw(bench: Bench, target: Path) -> None:
    """Draw the mean PSNR of each peer over its seconds per megapixel (logarithmic), for colour or else gray.

    Peers in several settings are joined by a line, and their fastest setting carries the name. Bars are quartiles of
    the time. Raises UsageError where nothing was timed, MissingExtra without matplotlib.
    """
    need("matplotlib", "train")
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    channels, cell = next(((c, cell) for c in CHANNELS if (cell := bench.shown(c))), (0, ("", "")))
    times, quality = bench.timed(channels), bench.figures(cell)
    entries = [{**entry, "psnr": quality[name]["psnr"]} for name, entry in times.items() if name in quality]
    if not entries:
        raise UsageError("nothing was timed, so there is nothing to draw")
    with matplotlib.rc_context({"svg.hashsalt": "hush", "font.family": "DejaVu Sans", "font.size": 9}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        _draw_points(axes, entries)
        axes.set(xscale="log", xlabel="seconds per megapixel (logarithmic): faster to the left", ylabel="PSNR in dB")
        axes.set_title(f"{cell[0]}, {cell[1]}: {bench.report.protocol['runtime']['threads']} threads of "
                       f"{bench.report.protocol['machine']['processor']}", loc="left")  # fmt: skip
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.1, y=0.08)
        axes.grid(alpha=0.25, which="both", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        _name_points(figure, axes, entries)
        metadata = {"Date": None} if target.suffix == ".svg" else {}  # the same bench gives the same file
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=200, metadata=metadata)


def _families(entries: Sequence[Row]) -> dict[str, list[Row]]:
    """Group the settings of each peer, the fastest first; our weights are one family."""
    families: dict[str, list[Row]] = {}
    for entry in sorted(entries, key=lambda entry: entry["seconds_per_megapixel"]):
        families.setdefault(entry["family"], []).append(entry)
    return families


def _draw_points(axes: Any, entries: Sequence[Row]) -> None:
    for settings in _families(entries).values():
        ours = settings[0]["ours"]
        colour, size = (OURS, 9) if ours else (PEERS, 6)
        seconds = [entry["seconds_per_megapixel"] for entry in settings]
        psnr = [entry["psnr"] for entry in settings]
        axes.plot(seconds, psnr, color=colour, linewidth=1.2 if ours else 0.6, alpha=0.6, zorder=2)
        bars = list(zip(*(entry["quartiles"] for entry in settings), strict=True))
        reach = [[s - low for s, low in zip(seconds, bars[0], strict=True)],
                 [high - s for s, high in zip(seconds, bars[1], strict=True)]]  # fmt: skip
        marker = {"marker": "D" if ours else "o", "markersize": size, "color": colour, "zorder": 4 if ours else 3}
        axes.errorbar(seconds, psnr, xerr=reach, linestyle="none", elinewidth=1, **marker)


def _name_points(figure: Any, axes: Any, entries: Sequence[Row]) -> None:
    """Write names beside the points, where no other name, no point and no bar stands."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()  # places are known from here on

    def place(seconds: float, psnr: float) -> tuple[float, float]:
        x, y = axes.transData.transform((seconds, psnr)) * 72 / figure.dpi
        return x, y

    taken = []
    for entry in entries:
        (left, y), (right, _) = (place(end, entry["psnr"]) for end in entry["quartiles"])
        x, _ = place(entry["seconds_per_megapixel"], entry["psnr"])
        taken += [(x - 5, x + 5, y - 5, y + 5), (left, right, y - 1, y + 1)]
    bounds = axes.bbox.x0 * 72 / figure.dpi, axes.bbox.x1 * 72 / figure.dpi
    for name, entry in _named(entries).items():
        at = entry["seconds_per_megapixel"], entry["psnr"]
        offset, anchor, box = _free(*place(*at), len(name) * WIDE, taken, bounds)
        taken.append(box)
        axes.annotate(
            name,
            at,
            xytext=offset,
            textcoords="offset points",
            ha=anchor,
            va="center",
            color=OURS if entry["ours"] else PEERS,
            weight="bold" if entry["ours"] else "normal",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=6,
        )


def _named(entries: Sequence[Row]) -> Mapping[str, Row]:
    """Return which points carry a name: each of ours, and of the others the fastest of each family."""
    names = {}
    for family, settings in _families(entries).items():
        for entry in settings if settings[0]["ours"] else settings[:1]:
            names[f"hush {entry['peer']}" if entry["ours"] else family] = entry
    return names


def _free(
    x: float, y: float, width: float, taken: Sequence[Box], bounds: tuple[float, float]
) -> tuple[tuple[float, float], str, Box]:
    """Return where a label goes beside a point: its offset in points, its alignment, and the box that it fills."""
    tried: list[tuple[float, int, tuple[float, float], str, Box]] = []
    for dy in (GAP, -GAP, 0.0, 2 * GAP, -2 * GAP, 3 * GAP, -3 * GAP):
        for dx, anchor, left in ((0.0, "center", x - width / 2), (9.0, "left", x + 9), (-9.0, "right", x - 9 - width)):
            box = (left, left + width, y + dy - GAP / 2, y + dy + GAP / 2)
            met = sum(_shared(box, other) for other in taken)
            outside = max(0.0, bounds[0] - box[0]) + max(0.0, box[1] - bounds[1])
            tried.append((met + GAP * outside, len(tried), (dx, dy), anchor, box))
    return min(tried)[2:]


def _shared(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[2], b[2]))
