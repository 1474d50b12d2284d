"""Drawings to learn from, beside photographs: shapes that cover each other, lines and letters.

Photographs on disk have gone through lenses, demosaicking and codecs, and hold few edges as sharp as those of screens,
prints and renderings. Discs and polygons of all sizes that cover each other, dead leaves, have the statistics of
natural scenes without their blur (Lee, Mumford and Huang 2001; for denoisers: Achddou, Gousseau and Ladjal 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FINER = 2  # times as many pixels a side are drawn as are returned: averaged, edges are smooth as a lens's
ALIASED = 0.15  # share that is drawn as it is, with steps in its edges
SMALLEST = (1.5, 12.0)  # pixels, radius of the smallest leaf of a drawing
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?()+-=&%"

Colour = tuple[int, int, int]
Palette = Callable[[], Colour]


def drawing(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Draw a picture (side, side, 3): leaves, and on some of them lines or letters."""
    finer = 1 if rng.random() < ALIASED else FINER
    size = side * finer
    colour = _palette(rng)
    image = Image.new("RGB", (size, size), colour())
    canvas = ImageDraw.Draw(image)
    kind = rng.random()
    if kind < 0.7:
        _leaves(canvas, rng, size, finer, colour)
    if kind > 0.4:
        _lines(canvas, rng, size, finer, colour)
    if kind > 0.75:
        _text(canvas, rng, size, finer, colour)
    pixels = np.asarray(image.reduce(finer) if finer > 1 else image, np.float32)
    if rng.random() < 0.5:
        pixels = pixels * _light(rng, side)
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def _palette(rng: np.random.Generator) -> Palette:
    """Return what draws colours: all there are, or some that vary about a few; gray for one drawing in six."""
    few = rng.integers(0, 256, (rng.integers(2, 7), 3))
    spread, free, gray = rng.choice([0, 4, 20]), rng.random() < 0.3, rng.random() < 1 / 6

    def colour() -> Colour:
        drawn = rng.integers(0, 256, 3) if free else few[rng.integers(len(few))] + rng.integers(-spread, spread + 1, 3)
        red, green, blue = (int(value) for value in np.clip(drawn, 0, 255))
        return (green, green, green) if gray else (red, green, blue)

    return colour


def _leaves(canvas: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, finer: int, colour: Palette) -> None:
    """Let discs and polygons fall whose radii have a density of r^-3, which looks the same at every scale."""
    smallest = finer * float(np.exp(rng.uniform(*np.log(SMALLEST))))
    for _ in range(int(rng.integers(10, 200))):
        radius = min(smallest / np.sqrt(rng.random() + 1e-6), size / 2)
        x, y = rng.uniform(-radius, size + radius, 2)
        if rng.random() < 0.4:
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour())
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
            corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
            canvas.polygon([(float(a), float(b)) for a, b in corners], fill=colour())


def _lines(canvas: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, finer: int, colour: Palette) -> None:
    """Draw families of parallel lines."""
    for _ in range(int(rng.integers(1, 5))):
        angle, gap = rng.uniform(0, np.pi), finer * float(np.exp(rng.uniform(np.log(3), np.log(60))))
        along = 2 * size * np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-np.sin(angle), np.cos(angle)])
        width, ink = int(rng.integers(1, 3 * finer + 1)), colour()
        for place in np.arange(-size, size, gap)[: int(rng.integers(1, 60))]:
            middle = size / 2 + place * across
            (x0, y0), (x1, y1) = middle - along, middle + along
            canvas.line((float(x0), float(y0), float(x1), float(y1)), fill=ink, width=width)


def _text(canvas: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, finer: int, colour: Palette) -> None:
    """Write lines of random letters."""
    height = int(finer * rng.uniform(7, 32))
    font, ink = ImageFont.load_default(height), colour()
    for top in range(int(rng.integers(0, height)), size, int(1.3 * height)):
        letters = rng.choice(list(LETTERS + 12 * " "), 2 * size // height + 2)
        canvas.text((int(rng.integers(-height, height)), top), "".join(letters), fill=ink, font=font)


def _light(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Return light (side, side, 1) that falls off in a direction."""
    angle, least = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1)
    steps = np.linspace(-0.5, 0.5, side)
    ramp = np.add.outer(steps * np.sin(angle), steps * np.cos(angle)) / np.sqrt(2) + 0.5  # 0 to 1
    return (least + (1 - least) * ramp)[..., np.newaxis].astype(np.float32)
