"""Tiles cover an image, and what is done tile by tile is what is done to the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hush.errors import UsageError
from hush.imaging.tiles import Tile, blend_windows, plan_tiles, run_tiled

SIDES = st.integers(1, 150)
ALIGNS = st.sampled_from([1, 2, 8, 16])


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Draw a tile, an overlap and an alignment that go together."""
    overlap, align = draw(st.integers(0, 20)), draw(ALIGNS)
    least = -(-(2 * overlap + align) // align) * align
    return draw(st.integers(least, least + 60)), overlap, align


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).random((height, width, channels), np.float32)


def box(image: np.ndarray, radius: int, align: int = 1) -> np.ndarray:
    """Average over (2 radius + 1) squared pixels as networks do: mirrored to multiples of ``align``, zero past them."""
    height, width = image.shape[:2]
    mirrored = np.pad(image.astype(np.float64), ((0, -height % align), (0, -width % align), (0, 0)), mode="symmetric")
    padded = np.pad(mirrored, ((radius, radius), (radius, radius), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1), axis=(0, 1))
    return windows.mean((-2, -1)).astype(np.float32)[:height, :width]


@settings(deadline=None, max_examples=200)
@given(SIDES, SIDES, layouts())
def test_tiles_cover_the_image_and_have_one_size(height: int, width: int, layout: tuple[int, int, int]) -> None:
    tile, overlap, align = layout
    tiles = plan_tiles(height, width, tile, overlap, align=align)
    covered = np.zeros((height, width), bool)
    for t in tiles:
        covered[t.top : t.top + t.height, t.left : t.left + t.width] = True
        assert t.top % align == 0 == t.left % align
        assert 0 <= t.top < height
        assert 0 <= t.left < width
        assert t.top + t.height < height + align
        assert t.left + t.width < width + align
    assert covered.all()
    assert len({(t.height, t.width) for t in tiles}) == 1
    assert len(set(tiles)) == len(tiles)
    if height > tile and width > tile:
        assert tiles[0].height == tiles[0].width == tile // align * align


@settings(deadline=None, max_examples=100)
@given(SIDES, layouts())
def test_neighbours_share_twice_the_overlap(size: int, layout: tuple[int, int, int]) -> None:
    tile, overlap, align = layout
    tiles = plan_tiles(size, 1, tile, overlap, align=align)
    for a, b in pairwise(tiles):
        assert a.top + a.height - b.top >= 2 * overlap


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 400), layouts())
def test_windows_sum_to_one_and_spare_the_context(size: int, layout: tuple[int, int, int]) -> None:
    tile, overlap, align = layout
    tiles = plan_tiles(size, 1, tile, overlap, align=align)
    starts, length = [t.top for t in tiles], tiles[0].height
    total = np.zeros(starts[-1] + length)
    for i, (start, window) in enumerate(zip(starts, blend_windows(starts, length, overlap), strict=True)):
        assert window.min() >= 0
        if i > 0:
            assert not window[:overlap].any()
        if i < len(starts) - 1:
            assert not window[length - overlap :].any()
        total[start : start + length] += window
    np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(SIDES, SIDES, st.sampled_from([1, 3]), layouts())
def test_identity_gives_the_image_back(height: int, width: int, channels: int, layout: tuple[int, int, int]) -> None:
    tile, overlap, align = layout
    image = picture(height, width, channels)
    joined = run_tiled(image, lambda part: part, tile=tile, overlap=overlap, align=align)
    assert joined.shape == image.shape
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, image, atol=1e-6)


def test_identity_is_exact_to_the_bit_where_nothing_is_cross_faded() -> None:
    image = picture(128, 192) * 7 - 3
    assert (run_tiled(image, np.copy, tile=32, overlap=0) == image).all()


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, layouts(), st.integers(0, 6))
def test_tiled_equals_untiled_where_the_overlap_covers_what_is_looked_at(
    height: int, width: int, layout: tuple[int, int, int], radius: int
) -> None:
    tile, overlap, align = layout
    radius = min(radius, overlap)
    image = picture(height, width, 1)
    tiled = run_tiled(image, lambda part: box(part, radius, align), tile=tile, overlap=overlap, align=align)
    np.testing.assert_allclose(tiled, box(image, radius, align), atol=1e-6)


def test_a_9x9_box_needs_an_overlap_of_4() -> None:
    image = picture(150, 140)
    whole = box(image, 4, 16)

    def off(overlap: int) -> float:
        return float(np.abs(run_tiled(image, lambda part: box(part, 4, 16), tile=48, overlap=overlap) - whole).max())

    assert off(4) < 1e-6
    assert off(1) > 1e-3


def halve_and_back(image: np.ndarray) -> np.ndarray:
    """Average 16x16 blocks, padding as a network does: what it gives depends on where the blocks start."""
    height, width, channels = image.shape
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="symmetric")
    blocks = padded.reshape(padded.shape[0] // 16, 16, padded.shape[1] // 16, 16, channels).mean((1, 3))
    return blocks.repeat(16, 0).repeat(16, 1)[:height, :width]


@pytest.mark.parametrize(("height", "width"), [(100, 131), (64, 200), (65, 65), (17, 300)])
def test_alignment_keeps_the_phase_of_networks_that_halve_the_image(height: int, width: int) -> None:
    image = picture(height, width)
    tiled = run_tiled(image, halve_and_back, tile=64, overlap=16)
    np.testing.assert_allclose(tiled, halve_and_back(image), atol=1e-6)


def test_an_image_no_larger_than_a_tile_is_run_whole() -> None:
    seen = []

    def look(part: np.ndarray) -> np.ndarray:
        seen.append(part.shape)
        return part

    run_tiled(picture(50, 41), look, tile=50, overlap=30)
    assert seen == [(50, 41, 3)]


def test_progress_counts_every_tile() -> None:
    calls: list[tuple[int, int]] = []
    run_tiled(picture(100, 100), np.copy, tile=48, overlap=8, progress=lambda *at: calls.append(at))
    assert calls == [(i + 1, len(calls)) for i in range(len(plan_tiles(100, 100, 48, 8)))]
    calls.clear()
    run_tiled(picture(10, 10), np.copy, tile=48, overlap=8, progress=lambda *at: calls.append(at))
    assert calls == [(1, 1)]


def test_a_tile_smaller_than_its_context_is_refused_with_the_least_that_works() -> None:
    with pytest.raises(UsageError, match="use a tile of 80 or more"):
        plan_tiles(500, 500, 64, 32)
    assert plan_tiles(500, 500, 80, 32)[0] == Tile(0, 0, 80, 80)
    with pytest.raises(UsageError, match="tile 0"):
        plan_tiles(500, 500, 0, 32)
    with pytest.raises(UsageError, match="overlap -1"):
        plan_tiles(500, 500, 64, -1)
