"""The image contract: whatever array comes in, the same kind of array goes out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hush.errors import PictureError
from hush.imaging.arrays import decode, encode, luminance, pad_to

SHAPES = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
)
quick = settings(max_examples=50, deadline=None)  # a busy machine is no failure
FINITE = {"allow_nan": False, "allow_infinity": False}


def arrays(dtype: str) -> st.SearchStrategy[np.ndarray]:
    """Draw arrays of a dtype in every shape that an image may have."""
    wide = dtype.endswith("f8")  # an image has single precision
    return hnp.arrays(dtype, SHAPES, elements=hnp.from_dtype(np.dtype("f4" if wide else dtype), **FINITE))


@pytest.mark.parametrize("dtype", ["?", "u1", "<u2", ">u2", "<f2", "<f4", ">f4", "<f8"])
@quick
@given(data=st.data())
def test_encode_undoes_decode(dtype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(dtype))
    image, encoding = decode(array)
    assert image.dtype == np.float32
    assert image.shape[:2] == array.shape[:2]
    assert image.shape[2] == (3 if array.ndim == 3 and array.shape[2] > 2 else 1)
    back = encode(image, encoding)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@quick
@given(array=hnp.arrays("u2", (5, 4, 3), elements=st.integers(0, 4095)))
def test_full_scale_becomes_one(array: np.ndarray) -> None:
    image, encoding = decode(array, full_scale=4095)
    np.testing.assert_allclose(image, array / 4095, rtol=1e-6)
    np.testing.assert_array_equal(encode(image, encoding), array)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.bool_, True)])
def test_white_is_one(dtype: type, white: float) -> None:
    image, _ = decode(np.full((2, 3), white, dtype))
    np.testing.assert_array_equal(image, np.ones((2, 3, 1), np.float32))


def test_floats_are_never_clipped_and_integers_only_when_written() -> None:
    wild = np.array([[-0.5, 0.25], [1.5, 40.0]], np.float32)
    image, encoding = decode(wild)
    np.testing.assert_array_equal(image[..., 0], wild)
    np.testing.assert_array_equal(encode(image, encoding), wild)
    _, eight_bit = decode(np.zeros((2, 2), np.uint8))
    np.testing.assert_array_equal(encode(image, eight_bit), [[0, 64], [255, 255]])


def test_alpha_returns_untouched_while_colours_change() -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    image, encoding = decode(array)
    restored = encode(np.zeros_like(image), encoding)
    np.testing.assert_array_equal(restored[..., 3], array[..., 3])
    assert not restored[..., :3].any()


def test_four_inks_are_no_alpha() -> None:
    inks = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    image, encoding = decode(inks, cmyk=True)
    assert image.shape == (6, 5, 4)
    np.testing.assert_array_equal(encode(image, encoding), inks)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 5)), "5 channels"),
        (np.zeros((4, 4, 0)), "0 channels"),
        (np.zeros((3, 8, 8)), "moveaxis"),
        (np.zeros(7), r"shape \(7,\)"),
        (np.zeros((1, 4, 4, 3)), "one by one"),
        (np.zeros((0, 4)), "no pixel"),
        (np.zeros((4, 0, 3)), "no pixel"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.array([["a", "b"]]), "bool, uint8"),
        (np.array([[1.0, np.nan], [0, 0]]), "1 of 4 values are NaN"),
        (np.array([[np.inf, 0.0]], np.float32), "NaN or infinite"),
        (np.array([[1e300]]), "NaN or infinite"),
    ],
)
def test_other_arrays_are_refused_in_one_line(array: np.ndarray, words: str) -> None:
    with pytest.raises(PictureError, match=words) as caught:
        decode(array)
    assert "\n" not in str(caught.value)


def test_full_scale_must_be_positive() -> None:
    with pytest.raises(PictureError, match="full scale 0"):
        decode(np.zeros((2, 2)), full_scale=0)


def test_a_restored_image_with_nan_is_refused() -> None:
    image, encoding = decode(np.zeros((2, 2), np.uint8))
    image[0, 0] = np.nan
    with pytest.raises(PictureError, match="NaN"):
        encode(image, encoding)


def test_luminance_weighs_the_colours() -> None:
    image = np.random.default_rng(0).random((4, 5, 3), dtype=np.float32)
    np.testing.assert_allclose(luminance(image), image @ np.float32([0.299, 0.587, 0.114]), rtol=1e-6)
    gray = image[..., :1]
    np.testing.assert_array_equal(luminance(gray), gray[..., 0])
    np.testing.assert_allclose(luminance(np.ones((1, 1, 3), np.float32)), 1, rtol=1e-6)


@quick
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), to=st.integers(1, 40), mode=st.sampled_from(["reflect", "edge"])
)
def test_pad_to_reaches_the_size_and_keeps_the_image(height: int, width: int, to: int, mode: str) -> None:
    image = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    padded = pad_to(image, to, to + 1, mode=mode)  # type: ignore[arg-type]
    assert padded.shape == (max(height, to), max(width, to + 1), 3)
    np.testing.assert_array_equal(padded[:height, :width], image)
    assert np.isin(padded, image).all()
