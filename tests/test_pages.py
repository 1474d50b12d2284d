"""A page is one file that asks for nothing, shows what it was given, and cannot be broken by what it is given."""

from __future__ import annotations

import base64
import io
import math
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import hush
from hush.errors import HushError, PictureError, UsageError
from hush.imaging.charts import bar_chart, line_plot, scatter_plot, short_number
from hush.imaging.pages import Page, encode_picture

RNG = np.random.default_rng(0)
EVIL = '<script>alert("1")</script>&\''
VOID = {"meta", "img", "line"}


def picture(*shape: int) -> np.ndarray:
    return RNG.random(shape, np.float32)


class Checker(HTMLParser):
    """Follows the tags of a page: all closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker.seen


def embedded(text: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'src="data:image/\w+;base64,([^"]+)"', text)
    ]


@pytest.fixture
def full_page() -> Page:
    page = Page(EVIL).heading(EVIL).text(EVIL + "\n\nsecond").code(EVIL).facts({EVIL: EVIL, "b": 1.25, "c": None})
    page.table([EVIL, "PSNR"], [[EVIL, 31.2], ["b", None]], caption=EVIL, best={"PSNR": "high"})
    page.slider(picture(20, 30, 3), picture(20, 30, 3), EVIL, (EVIL, EVIL))
    page.grid([picture(9, 9), picture(250, 240, 3)], [EVIL, ""], columns=2)
    page.bar_chart({EVIL: 1.0}, caption=EVIL, unit=EVIL).bar_chart({"a": {EVIL: 2.0}})
    page.line_plot({EVIL: ([0, 1], [1, 2]), "b": ([0], [1])}, x=EVIL, y=EVIL, caption=EVIL)
    return page.scatter_plot({EVIL: (1, 2)}, x=EVIL, y=EVIL).footer(EVIL)


def test_every_text_is_escaped_and_every_tag_closed(full_page: Page) -> None:
    html = full_page.html()
    seen = tags(html)
    assert sum(tag == "script" for tag, _ in seen) == 1
    assert "alert(" in html
    assert EVIL not in html


def test_nothing_is_fetched_from_anywhere(full_page: Page) -> None:
    html = full_page.html()
    for _, attributes in tags(html):
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_pages_and_pictures_show_themselves_in_notebooks() -> None:
    page = Page("A <page>").text("words")
    frame = page._repr_html_()
    assert unescape(re.search('srcdoc="([^"]*)"', frame)[1]) == page.html()  # type: ignore[index]
    image = np.random.default_rng(0).random((5, 7, 3))
    shown = hush.show(image, image, captions=["one", "<two>"])._repr_html_()
    assert shown.count("<img") == 2
    assert "&lt;two&gt;" in shown
    np.testing.assert_allclose(embedded(shown)[0] / 255, image, atol=0.51 / 255)
    with pytest.raises(UsageError, match="2 pictures and 1 captions"):
        hush.show(image, image, captions=["one"])


def test_pages_are_the_same_every_time(full_page: Page) -> None:
    assert full_page.html() == full_page.html()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (5, 7, 1), (40, 30, 3), (6, 6, 4), (6, 5, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, bool])
def test_pictures_are_embedded_without_loss(shape: tuple[int, ...], dtype: type) -> None:
    eight = RNG.integers(0, 256, shape, np.uint8)
    scale = {np.uint16: 257, np.float32: 1 / 255, np.float64: 1 / 255, np.uint8: 1}
    image = eight > 127 if dtype is bool else (eight.astype(np.float64) * scale[dtype]).astype(dtype)
    expected = (eight > 127) * np.uint8(255) if dtype is bool else eight
    (shown,) = embedded(Page("p").grid([image]).html())
    if shown.ndim == 3 and (expected.ndim == 2 or expected.shape[2] <= 2):  # WebP has no gray
        shown = shown[..., [0, 3]] if shown.shape[2] == 4 else shown[..., 0]
    np.testing.assert_array_equal(shown.squeeze(), expected.squeeze())


def test_floats_are_clipped_and_quality_makes_pictures_small() -> None:
    np.testing.assert_array_equal(
        embedded(Page("p").grid([np.full((4, 4, 3), [-1, 0.5, 7.0])]).html())[0][0, 0], [0, 128, 255]
    )
    noise = picture(128, 128, 3)
    assert len(encode_picture(noise, quality=60)) < len(encode_picture(noise)) / 2


def test_files_are_embedded_as_they_are() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray((picture(12, 10, 3) * 255).astype(np.uint8)).save(buffer, kind)
        html = Page("p").slider(buffer.getvalue(), buffer.getvalue()).html()
        assert base64.b64encode(buffer.getvalue()).decode() in html
        assert f"data:image/{kind.lower()};" in html


def test_pictures_that_cannot_be_shown_are_refused() -> None:
    with pytest.raises(PictureError, match="30x20 and 20x30"):
        Page("p").slider(picture(20, 30, 3), picture(30, 20, 3))
    with pytest.raises(PictureError, match="no picture"):
        Page("p").grid([b"hello"])
    for bad in (np.zeros((4, 4, 5)), np.zeros(4), np.zeros((0, 4)), np.zeros((4, 4), complex)):
        with pytest.raises(PictureError, match="no picture"):
            Page("p").grid([bad])


def test_the_slider_can_be_used_by_keyboard_and_read_aloud() -> None:
    seen = tags(Page("p").slider(picture(8, 8), picture(8, 8), labels=("noisy", "clean")).html())
    (line,) = [attributes for _, attributes in seen if attributes.get("role") == "slider"]
    assert line["tabindex"] == "0"
    assert line["aria-label"] == "noisy / clean"
    assert [a["alt"] for tag, a in seen if tag == "img"] == ["clean", "noisy"]
    assert [a.get("data-zoom") for tag, a in seen if tag == "button"] == ["0", "1", "3"]


def test_columns_of_figures_stand_right_and_have_one_number_of_decimals() -> None:
    rows = [["a", 31.2134, 0.87, 1234567, math.inf, "31.2 ± 0.1"], ["b", 9.5, math.nan, -2, -1.0, "9"]]
    html = (
        Page("p").table(["name", "PSNR", "SSIM", "n", "x", "interval"], rows, best={"PSNR": "high", "n": "low"}).html()
    )
    cells = re.findall(r"<td([^>]*)>([^<]*)</td>", html)
    assert [text for _, text in cells] == [
        *("a", "31.21", "0.8700", "1\u2009234\u2009567", "∞", "31.2 ± 0.1"),
        *("b", "9.50", "–", "−2", "−1.000", "9"),
    ]
    assert ["number" in css for css, _ in cells] == [False, True, True, True, True, True] * 2
    assert [text for css, text in cells if "best" in css] == ["31.21", "−2"]


def test_tables_may_be_empty_but_not_ragged() -> None:
    assert "<td" not in Page("p").table(["a", "b"], []).html()
    with pytest.raises(ValueError, match="2 headers"):
        Page("p").table(["a", "b"], [["x"]])


def svg(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{markup}</div>")


def test_bars_are_as_long_as_their_values() -> None:
    chart = svg(bar_chart({"a": 10.0, "b": 5.0, "c": math.nan, "d": 0.0}, unit="dB"))
    widths = [float(r.get("width", "").rstrip("%")) for r in chart.iter("rect")]
    assert widths == [pytest.approx(2 * widths[1]), widths[1], 0]
    assert [t.text for t in chart.iter("text") if t.get("class") == "value"] == ["10 dB", "5 dB", "– dB", "0 dB"]
    assert "bars begin at 26" in bar_chart({"a": 31.0}, start=26)
    assert len(list(svg(bar_chart({"a": -3.0, "b": 2.0})).iter("rect"))) == 2
    assert not list(svg(bar_chart({})).iter("rect"))


def test_lines_go_through_their_points() -> None:
    plot = svg(line_plot({"a": ([1, 10, 100], [0.0, 1.0, 0.5]), "b": ([1, 2, 3], [0, math.nan, 1])}, log_x=True))
    lines = [
        np.array([point.split(",") for point in line.get("points", "").split()], float)
        for line in plot.iter("polyline")
    ]
    assert [len(line) for line in lines] == [3, 1, 1]  # the gap parts b
    assert lines[0][1, 0] == pytest.approx(50, abs=0.01)  # the decade stands in the middle
    assert lines[0][1, 1] < lines[0][2, 1] < lines[0][0, 1]  # upwards is less y
    assert (lines[0] >= 0).all()
    assert (lines[0] <= 100).all()


def test_long_lines_are_thinned_but_keep_their_spikes() -> None:
    ys = np.zeros(100_000)
    ys[41_234] = 1
    (line,) = svg(line_plot({"a": (range(100_000), ys)})).iter("polyline")
    points = np.array([point.split(",") for point in line.get("points", "").split()], float)
    assert len(points) <= 1000
    assert points[:, 1].min() < 10


@pytest.mark.parametrize("values", [[], [math.nan], [3.0], [3.0, 3.0], [0.0, 0.0], [1e-9, 1e9], [-1e12, 1e12]])
@pytest.mark.parametrize("log", [False, True])
def test_odd_ranges_are_drawn(values: list[float], log: bool) -> None:
    for markup in (
        line_plot({"a": (values, values)}, log_x=log, log_y=log),
        scatter_plot({str(i): (v, v) for i, v in enumerate(values)}, log_x=log, log_y=log),
    ):
        texts = [t for t in svg(markup).iter("text") if t.get("class") == "tick"]
        assert len(texts) <= 20


def test_names_of_points_do_not_lie_on_each_other() -> None:
    plot = svg(scatter_plot({"first": (1, 1), "second": (1, 1), "third": (1.001, 1), "far": (9, 9)}))
    heights = [float(t.get("y", "")) for t in plot.iter("text") if "name" in t.get("class", "")][:3]
    assert min(abs(a - b) for i, a in enumerate(heights) for b in heights[:i]) >= 12


@pytest.mark.parametrize(
    ("value", "text"),
    [(31.2134, "31.21"), (0.88214, "0.8821"), (0, "0"), (-2.5, "−2.5"), (15000, "15k"), (2e6, "2M"), (math.inf, "∞")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


def test_a_page_is_saved_whole_or_not_at_all(tmp_path: Path, full_page: Page) -> None:
    path = full_page.save(tmp_path / "page.html")
    assert path.read_text("utf-8") == full_page.html()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(HushError, match="cannot write the page"):
        full_page.save(tmp_path / "missing" / "page.html")
