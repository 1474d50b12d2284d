"""One self-contained HTML page: text, tables, before/after sliders, pictures and charts.

Everything is inside the file, pictures included; the page asks for nothing from anywhere. It follows the reader's
light or dark scheme and works from a phone to a wide screen.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError, PictureError, UsageError
from hush.imaging import charts
from hush.imaging.arrays import to_bytes
from hush.imaging.writing import whole

Picture = NDArray[Any] | bytes
Cell = str | float | None

KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}
LARGEST_WEBP = 16383  # pixels along a side
TINY = 200  # pixels; smaller pictures are enlarged with sharp pixels
KNOB = (
    '<span class="knob"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M9 6l-6 6 6 6M15 6l6 6-6 6"/></svg></span>'
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Page:
    """A page that grows downwards; each method adds a part and returns the page.

    Pictures are arrays (H, W) or (H, W, C), floats in [0, 1] or integers over their whole range, or the bytes of a
    PNG, JPEG, WebP or GIF file. Arrays are embedded without loss, or as WebP of the given ``quality`` (1 to 100).

    >>> page = Page("Two cats").text("One of them is noisy.")
    >>> page.table(["cat", "PSNR"], [["Tom", 31.2], ["Felix", 20.17]]).html().count("<tr>")
    3
    """

    def __init__(self, title: str, *, quality: int | None = None) -> None:
        self.title = title
        self.quality = quality
        self._parts: list[str] = []

    def heading(self, text: str) -> Self:
        """Begin a section."""
        return self._add(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> Self:
        """Add paragraphs of plain text, parted by empty lines."""
        paragraphs = (paragraph.strip() for paragraph in re.split(r"\n\s*\n", text))
        return self._add("".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs if paragraph))

    def warning(self, *sentences: str) -> Self:
        """Add sentences that a reader must not overlook, a line each."""
        return self._add(f'<p class="warning" role="alert">{"<br>".join(map(escape, sentences))}</p>')

    def code(self, text: str) -> Self:
        """Add a command or another text to be shown letter for letter."""
        return self._add(f"<pre><code>{escape(text)}</code></pre>")

    def facts(self, facts: Mapping[str, Cell]) -> Self:
        """Add a row of key figures ``{name: value}``."""
        items = []
        for name, value in facts.items():
            written = charts.short_number(value) if isinstance(value, (int, float)) else escape(value or "–")
            items.append(f"<div><dt>{escape(name)}</dt><dd>{written}</dd></div>")
        return self._add(f'<dl class="facts">{"".join(items)}</dl>')

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        *,
        caption: str = "",
        best: Mapping[str, Literal["high", "low"]] | None = None,
    ) -> Self:
        """Add a table. Columns of figures stand right, with one number of decimals each; None is a dash.

        ``best`` names the columns whose highest or lowest number is to stand out. Raises ValueError if a row does not
        have a cell for each header.
        """
        if any(len(row) != len(headers) for row in rows):
            raise ValueError(
                f"rows have {sorted({len(row) for row in rows})} cells; the table has {len(headers)} headers"
            )
        columns = [_column([row[i] for row in rows], (best or {}).get(name)) for i, name in enumerate(headers)]
        head = "".join(
            f"<th{column.css(None)}>{escape(name)}</th>" for column, name in zip(columns, headers, strict=True)
        )
        lines = ("".join(column.cell(cell) for column, cell in zip(columns, row, strict=True)) for row in rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        table = f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        return self._add(f"<figure>{table}{_caption(caption)}</figure>")

    def slider(
        self, before: Picture, after: Picture, caption: str = "", labels: tuple[str, str] = ("noisy", "restored")
    ) -> Self:
        """Add two pictures of one scene behind a line that the reader moves by pointer, touch or arrow keys.

        Raises PictureError if their sizes differ.
        """
        first, second = self._embed(before), self._embed(after)
        if (first.width, first.height) != (second.width, second.height):
            sizes = f"{first.width}x{first.height} and {second.width}x{second.height}"
            raise PictureError(f"a slider compares two pictures of one size; these are {sizes}")
        left, right = (escape(label) for label in labels)
        ratio = first.width / first.height
        widest = f"min(100%, {first.shown_width}px, {84 * ratio:.1f}vh)"
        buttons = "".join(
            f'<button type="button" data-zoom="{zoom}" aria-pressed="{str(zoom == 0).lower()}">{name}</button>'
            for zoom, name in ((0, "Fit"), (1, "100&thinsp;%"), (3, "300&thinsp;%"))
        )
        return self._add(
            f'<figure class="compare" style="width: {widest}"><div class="view"><div class="scroll">'
            f'<div class="stage" data-width="{first.width}" style="--split: 50%">'
            f"{second.tag(right, 'after')}{first.tag(left, 'before')}"
            f'<div class="line" role="slider" tabindex="0" aria-label="{left} / {right}" aria-valuemin="0" '
            f'aria-valuemax="100" aria-valuenow="50">{KNOB}</div></div></div>'
            f'<span class="tag left">{left}</span><span class="tag right">{right}</span></div>'
            f'<div class="bar"><figcaption>{escape(caption)}</figcaption>'
            f'<div class="zoom" role="group" aria-label="Zoom">{buttons}</div></div></figure>'
        )

    def grid(
        self, images: Sequence[Picture], captions: Sequence[str] | None = None, *, columns: int | None = None
    ) -> Self:
        """Add pictures side by side, as many in a row as fit, or at most ``columns`` where the page is wide."""
        captions = captions if captions is not None else [""] * len(images)
        cells = "".join(
            f"<figure>{self._embed(image).tag(escape(caption))}{_caption(caption)}</figure>"
            for image, caption in zip(images, captions, strict=True)
        )
        cell = f"{56 / columns - 1:.2f}rem" if columns else "13rem"
        return self._add(f'<div class="grid" style="--cell: {cell}">{cells}</div>')

    def bar_chart(
        self, bars: Mapping[str, float | Mapping[str, float]], *, caption: str = "", unit: str = "", start: float = 0.0
    ) -> Self:
        """Add horizontal bars ``{label: value}`` or groups of them ``{label: {series: value}}``."""
        return self._add_chart(charts.bar_chart(bars, unit=unit, start=start), caption)

    def line_plot(
        self,
        series: charts.Series,
        *,
        caption: str = "",
        x: str = "",
        y: str = "",
        log_x: bool = False,
        log_y: bool = False,
    ) -> Self:
        """Add lines ``{name: (xs, ys)}``; x and y name the axes. Values that are not finite leave a gap."""
        return self._add_chart(charts.line_plot(series, x=x, y=y, log_x=log_x, log_y=log_y), caption)

    def scatter_plot(
        self,
        points: Mapping[str, tuple[float, float]],
        *,
        caption: str = "",
        x: str = "",
        y: str = "",
        log_x: bool = False,
        log_y: bool = False,
    ) -> Self:
        """Add named points ``{name: (x, y)}``; x and y name the axes."""
        return self._add_chart(charts.scatter_plot(points, x=x, y=y, log_x=log_x, log_y=log_y), caption)

    def footer(self, text: str) -> Self:
        """Add small print."""
        return self._add(f"<footer>{escape(text)}</footer>")

    def html(self) -> str:
        """Return the page as one HTML document."""
        here = files("hush.imaging")
        style, script = (here.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
        title = escape(self.title)
        body = "\n".join(self._parts)
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<style>\n{style}</style>\n</head>\n'
            f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
        )

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame as high as it needs."""
        bottom = "this.contentDocument.querySelector('main').getBoundingClientRect().bottom"
        style = "width: 100%; height: 700px; border: 0"
        fit = f"this.style.height = Math.ceil({bottom}) + 'px'"
        return f'<iframe srcdoc="{escape(self.html())}" onload="{fit}" style="{style}"></iframe>'

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, whole or not at all, and return its path.

        Raises HushError if it cannot be written.
        """
        path = Path(path)
        try:
            with whole(path) as unfinished:
                unfinished.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise HushError(
                f"{path}: cannot write the page ({error.strerror}); choose a folder that is yours"
            ) from error
        return path

    def _add(self, part: str) -> Self:
        self._parts.append(part)
        return self

    def _add_chart(self, chart: str, caption: str) -> Self:
        return self._add(f'<figure class="chart">{_caption(caption)}{chart}</figure>')

    def _embed(self, image: Picture) -> _Embedded:
        data = image if isinstance(image, bytes) else encode_picture(image, quality=self.quality)
        return _Embedded(data)


@dataclass(frozen=True)
class Shown:
    """Pictures side by side, as a notebook shows them."""

    images: Sequence[Picture]
    captions: Sequence[str]

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<figure style="margin: 0; flex: 0 1 auto; text-align: center">'
            f'<img src="{_Embedded(image if isinstance(image, bytes) else encode_picture(image)).source}" '
            f'alt="{escape(caption)}" style="max-width: 100%"><figcaption>{escape(caption)}</figcaption></figure>'
            for image, caption in zip(self.images, self.captions, strict=True)
        )
        return f'<div style="display: flex; gap: 8px">{cells}</div>'


def show(*images: Picture, captions: Sequence[str] | None = None) -> Shown:
    """Show pictures side by side in a notebook, at most as wide as it is.

    Args:
        images: arrays (H, W) or (H, W, C), floats in [0, 1] or integers over their whole range; or bytes of a PNG,
            JPEG, WebP or GIF file.
        captions: one for each.

    Raises PictureError for what is no picture, UsageError for another number of captions.

    Example:
        >>> import numpy as np, hush
        >>> hush.show(np.zeros((4, 4)), captions=["black"])._repr_html_().count("<img")
        1
    """
    if captions is not None and len(captions) != len(images):
        raise UsageError(f"{len(images)} pictures and {len(captions)} captions; give one for each")
    return Shown(images, list(captions) if captions is not None else [""] * len(images))


class _Embedded:
    """A picture as it stands in the page."""

    def __init__(self, data: bytes) -> None:
        from PIL import Image

        kind = next((kind for magic, kind in KINDS.items() if data.startswith(magic)), None)
        if kind is None:
            raise PictureError(
                "these bytes are no picture that browsers show; give PNG, JPEG, WebP or GIF, or an array"
            )
        with Image.open(io.BytesIO(data)) as picture:
            self.width, self.height = picture.size
        self.source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"

    @property
    def shown_width(self) -> int:
        """Return the width on a wide page: the picture's own, or a whole multiple of it for a tiny one."""
        return self.width * max(1, round(2 * TINY / self.width)) if self.width < TINY else self.width

    def tag(self, alternative: str, css: str = "") -> str:
        classes = " ".join(filter(None, [css, "tiny" if self.width < TINY else ""]))
        return (
            f'<img class="{classes}" src="{self.source}" alt="{alternative}" width="{self.width}" '
            f'height="{self.height}" draggable="false">'
        )


def encode_picture(image: NDArray[Any], *, quality: int | None = None) -> bytes:
    """Encode an array (H, W) or (H, W, C), C in 1, 2, 3, 4, for the web: lossless, or as WebP of a quality 1 to 100.

    Floats are taken as [0, 1] and clipped, integers over their whole range; 16 bits become 8. Lossless is WebP
    where it can be and PNG otherwise. Raises PictureError if the array is no picture.
    """
    from PIL import Image, features

    picture = Image.fromarray(_eight_bit(image))
    buffer = io.BytesIO()
    if max(picture.size) > LARGEST_WEBP or not features.check("webp"):
        picture.save(buffer, "PNG", optimize=True)
    elif quality is None:
        picture.save(buffer, "WEBP", lossless=True, exact=True)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _eight_bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or image.size == 0 or image.dtype.kind not in "buif":
        raise PictureError(f"an array {image.shape} of {image.dtype} is no picture; give (H, W) or (H, W, 1 to 4)")
    if image.dtype.kind in "ui":
        image = image / np.iinfo(image.dtype).max
    eight = to_bytes(np.nan_to_num(image.astype(np.float32)))
    return eight[..., 0] if image.ndim == 3 and channels == 1 else eight


@dataclass(frozen=True)
class _Column:
    numeric: bool
    decimals: int
    best: float | None

    def css(self, cell: Cell) -> str:
        names = ["number"] if self.numeric else []
        if self.best is not None and isinstance(cell, (int, float)) and cell == self.best:
            names.append("best")
        return f' class="{" ".join(names)}"' if names else ""

    def cell(self, cell: Cell) -> str:
        return f"<td{self.css(cell)}>{_written(cell, self.decimals)}</td>"


def _column(cells: Sequence[Cell], best: Literal["high", "low"] | None) -> _Column:
    """Look at a column: are these figures, how many decimals have they, which one is best?"""
    numbers = [float(cell) for cell in cells if isinstance(cell, (int, float))]
    finite = [number for number in numbers if not math.isnan(number)]
    numeric = bool(cells) and all(not isinstance(c, str) or re.match(r"[+\-−±]?[\d.,]*\d|[–-]?$", c) for c in cells)
    sizes = [abs(number) for number in finite if math.isfinite(number)]
    whole = all(isinstance(cell, int) or cell is None or isinstance(cell, str) for cell in cells)
    digits = math.floor(math.log10(max(sizes))) + 1 if sizes and max(sizes) > 0 else 1
    winner = (max(finite) if best == "high" else min(finite)) if best and finite else None
    return _Column(numeric, 0 if whole else min(max(4 - max(digits, 0), 0), 4), winner)


def _written(cell: Cell, decimals: int) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, str):
        return escape(cell)
    if math.isinf(cell):
        return "∞" if cell > 0 else "−∞"
    written = f"{cell:,}" if isinstance(cell, int) else f"{cell:,.{decimals}f}"
    return written.replace(",", "\u2009").replace("-", "−")


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""
