"""What counts as black and white, found or told, and undone exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conftest import shared_data
from hush.errors import PictureError, UsageError
from hush.imaging.arrays import decode, encode
from hush.imaging.files import Picture, read, read_pages, write
from hush.imaging.ranges import read_range, value_range

RNG = np.random.default_rng(0)
PHOTO = np.clip(RNG.normal(0.4, 0.2, (40, 50, 3)), 0, 1)


def like(white: float, dtype: str = "u2") -> np.ndarray:
    return np.rint(PHOTO * white).astype(dtype)


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
def test_the_bits_that_are_used_are_found_by_the_maximum(white: int) -> None:
    for array in (like(white), like(white)[..., 0], np.dstack([like(white), np.full((40, 50), 65_535, np.uint16)])):
        assert value_range(array) == white
        assert value_range(array, "full") == 65_535
    assert value_range(like(white, "f4")) == white


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PHOTO, 1.0),
        (PHOTO + RNG.normal(0, 0.1, PHOTO.shape), 1.0),  # noise reaches out of [0, 1]
        (np.where(PHOTO > 0.9, 40.0, PHOTO), 1.0),  # lights of high dynamic range
        (np.where(PHOTO > 0.9, -0.05, PHOTO), 1.0),  # colours out of gamut
        (np.where(PHOTO > 0.5, 1.0, 0.0), 1.0),
        (PHOTO * 255 + RNG.normal(0, 9, PHOTO.shape), 255.0),
        (PHOTO * 1e6, 2.0**20),
        (PHOTO * 1e-4, (0.0, 1e-4)),
        (PHOTO * 4000 - 1000, (-1000.0, 3000.0)),  # Hounsfield units
        (PHOTO * 2 - 1, (-1.0, 1.0)),
        (np.full((3, 3), 7.0), 1.0),
        (like(90, "u1"), 255.0),
        (PHOTO > 0.5, 1.0),
    ],
)
def test_floats_are_taken_as_they_are_unless_they_clearly_are_not_photographs(array: np.ndarray, expected: Any) -> None:
    assert value_range(array) == pytest.approx(expected)


def test_what_the_file_or_the_user_says_counts() -> None:
    array = like(1023)
    assert value_range(array, declared=4095.0) == 4095
    assert value_range(array, (100.0, 900.0), declared=4095.0) == (100, 900)
    assert value_range(array, "full", declared=4095.0) == 65_535
    assert (read_range("auto"), read_range("full"), read_range("-1024, 3071")) == ("auto", "full", (-1024, 3071))
    for values, beyond in ((array, (0, 65_536)), (array, (-1, 900)), (np.zeros((2, 2), np.uint8), (0, 4095))):
        with pytest.raises(
            PictureError, match=r"range is .*, and uint(8|16) holds 0 to (255|65535); give a range within"
        ):
            value_range(values, beyond)
    assert value_range(np.zeros((2, 2), np.float32), (-1024, 3071)) == (-1024, 3071)
    for text in ("", "12", "9,1", "a,b", "0,inf", "1,2,3", "half", "0,1e-300", "0,1e39", "0,nan"):
        with pytest.raises(UsageError, match="it must be auto, full or LO,HI"):
            read_range(text)


@settings(max_examples=60, deadline=None)
@given(
    array=hnp.arrays("u2", (4, 5, 3), elements=st.integers(0, 65_535)),
    low=st.integers(-70_000, 70_000),
    span=st.integers(1, 70_000),
)
def test_any_range_of_integers_is_undone_exactly(array: np.ndarray, low: int, span: int) -> None:
    image, encoding = decode(array, full_scale=(float(low), float(low + span)))
    np.testing.assert_array_equal(encode(image, encoding), array)


@settings(max_examples=60, deadline=None)
@given(array=hnp.arrays("f4", (4, 5), elements=st.floats(-2000, 4000, width=32)))
def test_a_range_of_floats_is_undone_to_single_precision_and_never_clipped(array: np.ndarray) -> None:
    image, encoding = decode(array, full_scale=(-1000.0, 3000.0))
    np.testing.assert_allclose(image[..., 0], (array.astype(float) + 1000) / 4000, atol=1e-6)
    np.testing.assert_allclose(encode(image, encoding), array, atol=5e-4)


def test_a_range_without_extent_is_refused() -> None:
    for bad in (0.0, -1.0, (5.0, 5.0), (0.0, np.inf)):
        with pytest.raises(PictureError, match="full scale"):
            decode(like(9), full_scale=bad)


def test_files_declare_their_white(tmp_path: Path) -> None:
    def declared(**options: Any) -> Any:
        tifffile.imwrite(tmp_path / "x.tif", **{"metadata": None, "data": like(999)[..., 0], **options})
        return read(tmp_path / "x.tif").full_scale

    assert declared() is None
    assert declared(extratags=[(341, "H", 1, 4095, True)]) == 4095
    assert declared(extratags=[(341, "H", 1, 3000, True)]) == 4095
    assert declared(extratags=[(341, "H", 1, 65_535, True)]) is None
    bounds = [(340, "f", 1, -5.0, True), (341, "f", 1, 20.0, True)]
    assert declared(data=PHOTO[..., 0].astype(np.float32), extratags=bounds) == (-5, 20)
    again = read(write(tmp_path / "y.tif", read(tmp_path / "x.tif")))
    assert again.full_scale == (-5, 20)
    ome = {"axes": "ZYX", "SignificantBits": 12}
    tifffile.imwrite(tmp_path / "x.ome.tif", np.stack([like(99)[..., 0]] * 3), ome=True, metadata=ome)
    assert [page.full_scale for page in read_pages(tmp_path / "x.ome.tif")] == [4095] * 3


def test_a_netpbm_maximum_is_believed() -> None:
    picture = read(shared_data("formats", "hopper_16bit.pgm"))
    assert value_range(picture.pixels, declared=picture.full_scale) in (65_535, picture.full_scale)
    assert value_range(Picture(like(4095)).pixels) == 4095
