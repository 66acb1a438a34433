"""From what a file held to float32 pixels in [0, 1], labels and a split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from bicoder.data.pixels import scaled, scaling, survey, to_images, to_labels, warn_of_overlap
from bicoder.data.splits import split
from bicoder.errors import DataError

few = settings(max_examples=50, deadline=None, database=None)


@pytest.fixture
def notes():
    """What was said."""
    return []


def to_unit_range(array, name, say=print, peak=0):
    """Pixels as float32 in [0, 1], as `DataLoader` makes them."""
    return scaled(array, scaling(survey(array, name), name, say, peak))


# ---- Shapes


@pytest.mark.fault(38)
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
        ((5, 28, 20, 2), (5, 28, 20, 2)),
        ((5, 28, 20, 4), (5, 28, 20, 4)),
        ((5, 28, 20, 13), (5, 28, 20, 13)),
    ],
)
def test_images_get_an_axis_for_their_channels(rng, shape, expected):
    assert to_images(rng.random(shape), "a").shape == expected


@pytest.mark.fault(38)
def test_channels_that_come_first_are_moved_and_not_reshaped(rng):
    first = rng.random((5, 3, 8, 6))
    last = to_images(first, "a")
    for channel in range(3):
        np.testing.assert_array_equal(last[..., channel], first[:, channel])


@pytest.mark.fault(38)
@pytest.mark.parametrize("shape", [(), (5,), (5, 2, 28, 28), (5, 13, 28, 20), (5, 28, 28, 3, 1)])
def test_a_shape_that_holds_no_images(shape):
    with pytest.raises(DataError, match=r"^my set: expected .* received shape \("):
        to_images(np.zeros(shape), "my set")


@pytest.mark.fault(34, 39)
@pytest.mark.parametrize("shape", [(0, 784), (0, 28, 28), (5, 0, 28), (5, 28, 28, 0)])
def test_no_image_at_all(shape):
    with pytest.raises(DataError, match="at least one image"):
        to_images(np.zeros(shape), "a")


# ---- Range


@pytest.mark.fault(35, 37)
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


@pytest.mark.fault(37)
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


@pytest.mark.fault(36)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pixels_that_are_not_finite_are_counted_and_the_first_is_named(value, dtype):
    array = np.zeros((4, 3, 2), dtype)
    array[2, 1, 0] = array[2, 1, 1] = array[3, 0, 0] = value
    with pytest.raises(DataError, match=r"^my set: .*received 3 that are .*index \(2, 1, 0\)"):
        survey(array, "my set")


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([-1, 0.5, 1], r"from -1 to 1; \(x \+ 1\) / 2 brings them there"),
        ([-0.01, 0.5, 1], r"from -0\.01 to 1; \(x \+ 1\) / 2 brings them there"),
        ([-1, 0, 255], "from -1 to 255; rescale them"),
        ([0, 255.5], r"from 0 to 255\.5"),
        ([0, 65535.0], "from 0 to 65535"),
    ],
)
def test_values_outside_the_range(values, said):
    with pytest.raises(DataError, match=rf"expected pixels in \[0, 1\] or \[0, 255\], received values {said}"):
        to_unit_range(np.array([values]), "a")


@pytest.mark.fault(35, 37)
@pytest.mark.parametrize(("value", "dtype"), [(-1, "int8"), (256, "int32"), (70000, "uint32")])
def test_whole_numbers_outside_the_range(value, dtype):
    with pytest.raises(DataError, match=f"{value}"):
        to_unit_range(np.array([[0, value]], dtype), "a")


@pytest.mark.parametrize("dtype", ["U1", "complex64", object])
def test_what_is_no_number(dtype):
    with pytest.raises(DataError, match="expected numbers, received dtype"):
        survey(np.array([["0"]]).astype(dtype), "a")


def test_the_array_that_was_given_is_left_alone(rng):
    for array in (rng.integers(0, 256, (4, 5), "uint8"), rng.random((4, 5)) * 255, np.array([[-1e-7, 1.0]])):
        before = array.copy()
        to_unit_range(array, "a", str)
        np.testing.assert_array_equal(array, before)


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [(0, "uint8", "0"), (0, "float32", "0"), (255, "uint8", "1"), (0.25, "float64", "0.25"), (True, "bool", "1")],
)
def test_images_without_anything_on_them_are_told_of(notes, value, dtype, said):
    found = to_unit_range(np.full((3, 4), value, dtype), "my set", notes.append)
    assert (found == float(said)).all()
    assert notes == [f"my set: every pixel of every image is {said}; there is nothing to learn from them."]


@pytest.mark.fault(37)
def test_images_on_two_scales(notes):
    """Test images of a set that is scaled already, beside training images that are not, would come out black."""
    with pytest.raises(DataError, match=r"^a: expected all images on one scale, received values up to 0\.5.* 255"):
        to_unit_range(np.array([[0.25, 0.5]]), "a", notes.append, peak=255)
    np.testing.assert_allclose(to_unit_range(np.array([[0.0, 1.0]]), "a", notes.append, peak=255), [[0, 1 / 255]])
    np.testing.assert_allclose(to_unit_range(np.array([[0.0, 51.0]]), "a", notes.append, peak=255), [[0, 0.2]])


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


def test_labels_may_have_an_axis_of_one():
    np.testing.assert_array_equal(to_labels(np.array([[3], [1]]), 2, "a"), [3, 1])


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(4),
        np.zeros(6),
        np.zeros((1, 5)),
        np.zeros((5, 1, 1)),
        np.zeros(0),
        np.array(["0", "1", "2", "3", "4"]),
        np.zeros(5, "complex64"),
        np.zeros(5, object),
        np.float64(3),
    ],
)
def test_labels_of_another_number_or_kind(labels):
    with pytest.raises(
        DataError, match=r"^my labels: expected 5 labels, whole numbers of shape \(5,\), received shape"
    ):
        to_labels(labels, 5, "my labels")


@pytest.mark.fault(40)
def test_labels_that_are_one_hot():
    with pytest.raises(DataError, match=r"received shape \(5, 10\).*; if they are one-hot, save labels\.argmax"):
        to_labels(np.eye(10)[:5], 5, "my labels")


@pytest.mark.fault(40)
@pytest.mark.parametrize("classes", [None, 10])
@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2.5, "float32"), (np.nan, "float64"), (np.inf, "float64"), (-np.inf, "float16"), (1e300, "float64")],
)
def test_a_label_that_is_no_whole_number(value, dtype, classes):
    with pytest.raises(DataError, match=r"^my labels: expected whole numbers.*, received .* at index 3$"):
        to_labels(np.array([0, 1, 2, value, value], dtype), 5, "my labels", classes)


@pytest.mark.fault(40)
@pytest.mark.parametrize(("value", "dtype"), [(10, "uint8"), (-1, "int64"), (255, "uint8"), (2**64 - 1, "uint64")])
def test_a_label_that_is_none_of_the_classes(value, dtype):
    with pytest.raises(DataError, match=f"expected whole numbers from 0 to 9, received {value} at index 1$"):
        to_labels(np.array([9, value, 0], dtype), 3, "my labels", 10)


@pytest.mark.fault(40)
@pytest.mark.parametrize(("value", "dtype"), [(2**64 - 1, "uint64"), (-(2**63), "int64")])
def test_a_label_that_is_too_large_for_any_set(value, dtype):
    with pytest.raises(DataError, match=f"expected whole numbers, received {value} at index 0"):
        to_labels(np.array([value], dtype), 1, "my labels")


# ---- Test images among the training images


@pytest.fixture
def both(rng):
    """Two hundred training images and a hundred test images."""
    images = rng.random((300, 4, 4, 1), dtype="float32")
    return images[:200], images[200:]


@pytest.mark.fault(41)
def test_different_images_are_not_spoken_of(both, notes):
    warn_of_overlap(*both, "a", notes.append)
    assert not notes


@pytest.mark.fault(41)
def test_test_images_that_are_the_training_images(both, notes):
    warn_of_overlap(both[0], both[0], "my set", notes.append)
    assert notes == ["my set: 200 of 200 test images are training images too; that flatters their numbers."]


@pytest.mark.fault(41)
@pytest.mark.parametrize(("shared", "spoken"), [(0, False), (1, False), (2, True), (50, True)])
def test_test_images_of_which_some_are_training_images(both, notes, shared, spoken):
    train, test = both
    test[:shared] = train[100 : 100 + shared]
    warn_of_overlap(train, test, "a", notes.append)
    assert [f"a: {shared} of 100" in note for note in notes] == [True] * spoken


@pytest.mark.fault(41)
def test_more_test_images_than_training_images(both, notes):
    train, test = both
    warn_of_overlap(test, train, "my set", notes.append)
    assert notes == ["my set: more test images, 200, than training images, 100; are they swapped?"]


# ---- Split


@few
@given(count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_a_split_is_disjoint_and_covers_everything(count, seed):
    train, test = split(count, seed)
    assert len(train) >= 1
    assert len(test) == max(1, round(0.2 * count))
    if count > 1:
        assert sorted([*train, *test]) == list(range(count))


def test_a_split_follows_its_seed_alone():
    first = split(100, 3)[1]
    np.random.seed(99)
    np.testing.assert_array_equal(split(100, 3)[1], first)
    assert not np.array_equal(split(100, 4)[1], first)


@pytest.mark.fault(45)
@pytest.mark.parametrize("seed", range(20))
def test_a_split_of_sorted_data_has_the_histogram_of_a_random_one(seed):
    """Sorted by class, 300 of each: with every seed the held-out classes pass a test at one in a million."""
    labels = np.repeat(np.arange(10), 300)
    train, test = split(len(labels), seed)
    counts = np.bincount(labels[test], minlength=10)
    assert counts.sum() == 600
    # Without replacement from ten equal classes, the sum is (N - 1) / (N - n) times that of independent draws.
    statistic = ((counts - 60) ** 2 / 60).sum() * 2999 / 2400
    assert statistic < stats.chi2.ppf(1 - 1e-6, 9)
    assert np.abs(np.corrcoef(np.arange(2400), labels[train])[0, 1]) < 0.15


def test_a_split_of_one_image_uses_it_twice():
    assert [one.tolist() for one in split(1, 0)] == [[0], [0]]
