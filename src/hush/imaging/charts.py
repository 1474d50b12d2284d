"""Bars, lines and points as inline SVG that stays sharp and readable from a phone to a wide screen.

Along the width everything stands in percent, so that text keeps its size while the drawing fills the page. Colours
are classes ``s0`` to ``s7``, set by the style sheet of ``pages``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

PLOT_HEIGHT = 260  # pixels
COLOURS = 8
MOST_POINTS = 800  # of one line; more cannot be told apart on a screen

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def bar_chart(bars: Mapping[str, float | Mapping[str, float]], *, unit: str = "", start: float = 0.0) -> str:
    """Draw horizontal bars ``{label: value}``, or groups of bars ``{label: {series: value}}``.

    Bars begin at ``start``. Values that are not finite are named and have no bar.
    """
    groups = {label: value if isinstance(value, Mapping) else {"": value} for label, value in bars.items()}
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [value for group in groups.values() for value in group.values() if math.isfinite(value)]
    low, high = min([start, *values]), max([start, *values])
    scale = 84 / (high - low) if high > low else 0  # percent; the rest is for the figure at the bar's end
    parts, y = [], 0
    for label, group in groups.items():
        parts.append(f'<text class="label" x="0" y="{y + 14}">{escape(label)}</text>')
        y += 22
        for name, value in group.items():
            parts.append(_bar(value, start, low, scale, y, names.index(name) % COLOURS, unit))
            y += 20
        y += 12
    if start:
        parts.append(f'<text x="0" y="{y + 8}">bars begin at {escape(f"{short_number(start)} {unit}".rstrip())}</text>')
    y += 12 if start else -12
    legend = _legend(names) if names != [""] else ""
    return f'{legend}<svg class="bars" width="100%" height="{max(y, 0)}" role="img">{"".join(parts)}</svg>'


def _bar(value: float, start: float, low: float, scale: float, y: int, colour: int, unit: str) -> str:
    written = escape(f"{short_number(value)} {unit}".rstrip())
    if not math.isfinite(value):
        return f'<text class="value" x="6" y="{y + 12}">{written}</text>'
    left, right = sorted(((start - low) * scale, (value - low) * scale))
    return (
        f'<rect class="s{colour}" x="{left:.2f}%" y="{y}" width="{right - left:.2f}%" height="15" rx="3"/>'
        f'<text class="value" x="{right:.2f}%" dx="7" y="{y + 12}">{written}</text>'
    )


def line_plot(series: Series, *, x: str = "", y: str = "", log_x: bool = False, log_y: bool = False) -> str:
    """Draw lines ``{name: (xs, ys)}``; x and y name the axes. Values that are not finite leave a gap."""
    axes = _axes([pair for xs, ys in series.values() for pair in zip(xs, ys, strict=True)], log_x, log_y)
    lines = []
    for i, (xs, ys) in enumerate(series.values()):
        for run in _runs(axes, zip(xs, ys, strict=True)):
            path = " ".join(f"{h:.2f},{v:.2f}" for h, v in _thinned(run))
            lines.append(f'<polyline class="s{i % COLOURS}" points="{path}"/>')
    drawing = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{"".join(lines)}</svg>'
    legend = _legend(series) if len(series) > 1 else ""
    return legend + _frame(axes, x, y, drawing)


def scatter_plot(
    points: Mapping[str, tuple[float, float]], *, x: str = "", y: str = "", log_x: bool = False, log_y: bool = False
) -> str:
    """Draw named points ``{name: (x, y)}``; x and y name the axes."""
    axes = _axes(points.values(), log_x, log_y)
    places = {name: at for name, point in points.items() if (at := axes.place(*point)) is not None}
    placed = [_Label(h - 1.5, h + 1.5, v * PLOT_HEIGHT / 100 + 4) for h, v in places.values()]  # keep off the dots
    dots = []
    for i, (name, at) in enumerate(places.items()):
        h, v = at[0], at[1] * PLOT_HEIGHT / 100
        box = _free_label(h, v, len(name), placed)
        placed.append(box)
        anchor = "end" if box.left < h else "start"
        dots.append(
            f'<circle class="s{i % COLOURS}" cx="{h:.2f}%" cy="{v:.1f}" r="5.5"/>'
            f'<text class="name s{i % COLOURS}" x="{h:.2f}%" y="{box.y:.1f}" '
            f'dx="{-9 if anchor == "end" else 9}" text-anchor="{anchor}">{escape(name)}</text>'
        )
    return _frame(axes, x, y, "".join(dots))


@dataclass(frozen=True)
class _Label:
    left: float  # percent of the width
    right: float
    y: float  # base line, pixels

    def meets(self, other: _Label) -> bool:
        return self.left < other.right and other.left < self.right and abs(self.y - other.y) < 14


def _free_label(h: float, v: float, letters: int, placed: list[_Label]) -> _Label:
    """Find a place beside a point that no label has taken; widths are those of a plot 260 pixels wide, on a phone."""
    width = letters * 7.2 / 2.6 + 4
    side = (h - width, h - 1.6) if h + width > 100 else (h + 1.6, h + width)
    boxes = [_Label(*side, v + 4 + shift) for shift in (0, -13, 13, -26, 26, -39, 39)]
    return next((box for box in boxes if not any(box.meets(other) for other in placed)), boxes[0])


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool

    def share(self, value: float) -> float | None:
        """Return where a value lies, 0 to 1; None where the axis does not have it."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round values to mark, about five."""
        if not self.log:
            raw = (self.high - self.low) / 6
            power = 10.0 ** math.floor(math.log10(raw))
            step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [i * step for i in range(first, last + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1.0, 2.0, 5.0) if len(decades) <= 3 else (1.0,)
        every = max(1, len(decades) // 6)
        values = [m * 10.0**d for d in decades if d % every == 0 for m in steps]
        return [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]


@dataclass(frozen=True)
class _Axes:
    x: _Axis
    y: _Axis

    def place(self, x: float, y: float) -> tuple[float, float] | None:
        """Return percent from the left and from the top; None for a point that cannot be drawn."""
        h, v = self.x.share(x), self.y.share(y)
        return None if h is None or v is None else (100 * h, 100 - 100 * v)


def _axes(points: Iterable[tuple[float, float]], log_x: bool, log_y: bool) -> _Axes:
    pairs = list(points)
    return _Axes(_axis([x for x, _ in pairs], log_x), _axis([y for _, y in pairs], log_y))


def _axis(values: Iterable[float], log: bool) -> _Axis:
    """Span the values with a little room at both ends."""
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
    low, high = min(finite), max(finite)
    if log:
        room = (high / low) ** 0.05 if high > low else 2.0
        return _Axis(low / room, high * room, True)
    room = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return _Axis(low - room, high + room, False)


def _runs(axes: _Axes, pairs: Iterable[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Cut a line into unbroken pieces of places."""
    runs: list[list[tuple[float, float]]] = [[]]
    for pair in pairs:
        place = axes.place(*pair)
        if place is not None:
            runs[-1].append(place)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _thinned(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the lowest and the highest of each stretch of a long line, so that no spike is lost."""
    stretch = -(-2 * len(run) // MOST_POINTS)
    if stretch <= 2:
        return run
    kept: list[tuple[float, float]] = []
    for i in range(0, len(run), stretch):
        part = run[i : i + stretch]
        ends = {min(range(len(part)), key=lambda k: part[k][1]), max(range(len(part)), key=lambda k: part[k][1])}
        kept += [part[k] for k in sorted(ends)]
    return kept


def _frame(axes: _Axes, x: str, y: str, drawing: str) -> str:
    """Put grid, figures and names of the axes around a drawing; its box is the plot's inside."""
    parts = []
    labels = [short_number(value) for value in axes.y.ticks()]
    for value, label in zip(axes.y.ticks(), labels, strict=True):
        at = PLOT_HEIGHT * (1 - (axes.y.share(value) or 0.0))
        parts.append(f'<line class="rule" x1="0" x2="100%" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="-8" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for value in axes.x.ticks():
        at = 100 * (axes.x.share(value) or 0.0)
        parts.append(f'<line class="rule" x1="{at:.2f}%" x2="{at:.2f}%" y1="{PLOT_HEIGHT}" y2="{PLOT_HEIGHT + 5}"/>')
        parts.append(
            f'<text class="tick" x="{at:.2f}%" y="{PLOT_HEIGHT + 20}" text-anchor="middle">{short_number(value)}</text>'
        )
    parts.append(f'<line class="base" x1="0" x2="100%" y1="{PLOT_HEIGHT}" y2="{PLOT_HEIGHT}"/>')
    parts.append(f'<text class="axis" x="100%" y="{PLOT_HEIGHT + 40}" text-anchor="end">{escape(x)}</text>')
    left = 16 + round(7.5 * max(map(len, labels), default=1))
    parts.append(f'<text class="axis" x="{-left}" y="-14">{escape(y)}</text>')
    svg = f'<svg width="100%" height="{PLOT_HEIGHT}" role="img">{"".join(parts)}{drawing}</svg>'
    return f'<div class="plot" style="padding: 30px 14px 50px {left}px">{svg}</div>'


def _legend(names: Iterable[str]) -> str:
    items = (f'<li><i class="s{i % COLOURS}"></i>{escape(name)}</li>' for i, name in enumerate(names))
    return f'<ul class="legend">{"".join(items)}</ul>'


def short_number(value: float) -> str:
    """Write a number with at most four significant digits: 31.21, 0.8821, 1.5k, 2M, ∞."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return short_number(value / (1e3 if letter == "k" else size)) + letter
    return f"{value:.4g}".replace("-", "−")
