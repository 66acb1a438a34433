"""From what a file held to float32 pixels in [0, 1], labels and a split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bicoder.errors import DataError
from bicoder.pixels import split, to_images, to_labels, to_unit_range

few = settings(max_examples=50, deadline=None, database=None)


@pytest.fixture
def notes():
    """What was said."""
    return []


# ---- Shapes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 784), (5, 784)),
        ((5, 28, 20), (5, 28, 20, 1)),
        ((5, 28, 20, 1), (5, 28, 20, 1)),
        ((5, 28, 20, 3), (5, 28, 20, 3)),
        ((5, 1, 28, 20), (5, 28, 20, 1)),
        ((5, 3, 28, 20), (5, 28, 20, 3)),
        ((1, 3, 3, 3), (1, 3, 3, 3)),
    ],
)
def test_images_get_an_axis_for_their_channels(rng, shape, expected):
    assert to_images(rng.random(shape), "a").shape == expected


def test_channels_that_come_first_are_moved_and_not_reshaped(rng):
    first = rng.random((5, 3, 8, 6))
    last = to_images(first, "a")
    for channel in range(3):
        np.testing.assert_array_equal(last[..., channel], first[:, channel])


@pytest.mark.parametrize("shape", [(), (5,), (5, 28, 28, 4), (5, 2, 28, 28), (5, 28, 28, 3, 1)])
def test_a_shape_that_holds_no_images(shape):
    with pytest.raises(DataError, match=r"^my set: expected .* received shape \("):
        to_images(np.zeros(shape), "my set")


@pytest.mark.parametrize("shape", [(0, 784), (0, 28, 28), (5, 0, 28), (5, 28, 28, 0)])
def test_no_image_at_all(shape):
    with pytest.raises(DataError, match="at least one image"):
        to_images(np.zeros(shape), "a")


# ---- Range


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 51, 255], "uint8", [0, 0.2, 1]),
        ([0, 13107, 65535], "uint16", [0, 0.2, 1]),
        ([0, 13107, 65535], ">u2", [0, 0.2, 1]),
        ([False, True], "bool", [0, 1]),
        ([0, 0.2, 1], "float32", [0, 0.2, 1]),
        ([0, 0.2, 1], ">f8", [0, 0.2, 1]),
        ([0, 0.5, 1], "float16", [0, 0.5, 1]),
        ([0, 1, 1], "int64", [0, 1, 1]),
    ],
)
def test_numbers_become_float32_from_0_to_1(notes, values, dtype, expected):
    found = to_unit_range(np.array([values], dtype), "a", notes.append)
    assert found.dtype == np.dtype("float32")
    np.testing.assert_allclose(found, [expected], rtol=1e-6)
    assert not notes


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint16"])
def test_numbers_up_to_255_are_divided_and_that_is_said(notes, dtype):
    found = to_unit_range(np.array([[0, 51, 204]], dtype), "my set", notes.append)
    np.testing.assert_allclose(found, [[0, 0.2, 0.8]], rtol=1e-6)
    assert notes == ["my set: values up to 204 are taken as 0 to 255 and divided by 255."]


def test_uint8_is_divided_exactly(rng):
    pixels = np.arange(256, dtype="uint8")[None]
    np.testing.assert_array_equal(to_unit_range(pixels, "a"), pixels.astype("float32") / np.float32(255))


@pytest.mark.parametrize(("low", "high"), [(-1e-7, 1), (0, 1 + 1e-6), (-1e-4, 1 + 1e-4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rounding_error_outside_the_range_is_cut_off(notes, low, high, dtype):
    found = to_unit_range(np.array([[low, 0.5, high]], dtype), "a", notes.append)
    np.testing.assert_array_equal(found, np.array([[max(low, 0), 0.5, min(high, 1)]], "float32"))
    assert not notes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pixels_that_are_not_finite_are_counted_and_the_first_is_named(value, dtype):
    array = np.zeros((4, 3, 2), dtype)
    array[2, 1, 0] = array[2, 1, 1] = array[3, 0, 0] = value
    with pytest.raises(DataError, match=r"^my set: .*received 3 that are .*index \(2, 1, 0\)"):
        to_unit_range(array, "my set")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([-1, 0.5, 1], r"from -1 to 1"),
        ([-0.01, 0.5, 1], r"from -0\.01 to 1"),
        ([-1, 0, 255], "from -1 to 255"),
        ([0, 255.5], r"from 0 to 255\.5"),
        ([0, 65535.0], "from 0 to 65535"),
    ],
)
def test_values_outside_the_range(values, said):
    with pytest.raises(DataError, match=rf"expected pixels in \[0, 1\] or \[0, 255\], received values {said}"):
        to_unit_range(np.array([values]), "a")


@pytest.mark.parametrize(("value", "dtype"), [(-1, "int8"), (256, "int32"), (70000, "uint32")])
def test_whole_numbers_outside_the_range(value, dtype):
    with pytest.raises(DataError, match=f"{value}"):
        to_unit_range(np.array([[0, value]], dtype), "a")


@pytest.mark.parametrize("dtype", ["U1", "complex64", object])
def test_what_is_no_number(dtype):
    with pytest.raises(DataError, match="expected numbers, received dtype"):
        to_unit_range(np.array([["0"]]).astype(dtype), "a")


def test_the_array_that_was_given_is_left_alone(rng):
    for array in (rng.integers(0, 256, (4, 5), "uint8"), rng.random((4, 5)) * 255, np.array([[-1e-7, 1.0]])):
        before = array.copy()
        to_unit_range(array, "a", str)
        np.testing.assert_array_equal(array, before)


@few
@given(hnp.arrays(hnp.unsigned_integer_dtypes(sizes=(8, 16)), hnp.array_shapes(min_dims=2, max_dims=4, max_side=5)))
def test_whatever_comes_out_is_in_the_range(array):
    found = to_unit_range(array, "a", str)
    assert found.dtype == np.float32
    assert found.shape == array.shape
    assert found.min() >= 0
    assert found.max() <= 1


# ---- Labels


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", ">i4"])
def test_labels_become_int64(dtype):
    found = to_labels(np.array([3, 1, 4], dtype), 3, "a")
    assert found.dtype == np.dtype("int64")
    np.testing.assert_array_equal(found, [3, 1, 4])


def test_labels_may_be_a_list_or_absent():
    np.testing.assert_array_equal(to_labels([3, 1], 2, "a"), [3, 1])
    assert to_labels(None, 2, "a") is None


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(4),
        np.zeros(6),
        np.eye(10)[:5],
        np.zeros((5, 1)),
        np.array([0, 1, 2.5, 3, 4]),
        np.array([0, 1, np.nan, 3, 4]),
        np.array([0, 1, np.inf, 3, 4]),
        np.array(["0", "1", "2", "3", "4"]),
        np.float64(3),
    ],
)
def test_labels_that_cannot_be_used(labels):
    with pytest.raises(
        DataError, match=r"^my labels: expected 5 labels, whole numbers of shape \(5,\), received shape"
    ):
        to_labels(labels, 5, "my labels")


# ---- Split


@few
@given(count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_a_split_is_disjoint_and_covers_everything(count, seed):
    images = np.arange(count)[:, None]
    train, test, train_labels, test_labels = split(images, np.arange(count) * 2, seed)
    assert len(train) >= 1
    assert len(test) == max(1, round(0.2 * count))
    np.testing.assert_array_equal(train_labels, train[:, 0] * 2)
    np.testing.assert_array_equal(test_labels, test[:, 0] * 2)
    if count > 1:
        assert sorted([*train[:, 0], *test[:, 0]]) == list(range(count))


def test_a_split_follows_its_seed_alone():
    images = np.arange(100)[:, None]
    first = split(images, None, 3)[1]
    np.random.seed(99)
    np.testing.assert_array_equal(split(images, None, 3)[1], first)
    assert not np.array_equal(split(images, None, 4)[1], first)


def test_a_split_of_sorted_data_takes_from_everywhere():
    _, test, _, labels = split(np.arange(1000)[:, None], np.repeat(np.arange(10), 100), 0)
    assert len(test) == 200
    assert np.bincount(labels, minlength=10).min() >= 8


def test_a_split_of_one_image_uses_it_twice():
    images, labels = np.ones((1, 4)), np.array([7])
    for found, expected in zip(split(images, labels, 0), (images, images, labels, labels), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_split_without_labels_has_none():
    assert split(np.ones((5, 4)), None, 0)[2:] == (None, None)
