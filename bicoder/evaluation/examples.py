"""Images and their labels, out of whatever `evaluate` is given; both are looked at before anything takes long."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from bicoder.conditions import Condition, Labels, is_soft
from bicoder.data.pixels import to_labels
from bicoder.data.stored.stored_images import StoredImages
from bicoder.engine import streams
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.engine.arrays.inputs import examples_of
from bicoder.engine.arrays.masked import arrays_in, on_values
from bicoder.engine.arrays.numbers import check_numbers
from bicoder.engine.arrays.trees import as_array, check_there
from bicoder.engine.tensor import Shape
from bicoder.errors import DataError

# What images and labels are called in a dict, such as those of tensorflow_datasets.
IMAGES, LABELS = ("image", "images", "x", "x_test", "pixel_values"), ("label", "labels", "y", "y_test", "class")


class Examples(NamedTuple):
    """Images (N, ...) as one float32 array, or those of each view, with y of a conditional model, and labels, whole
    numbers (N,), or None."""

    images: Any
    labels: np.ndarray | None


def take(data: Any, shape: Any, condition: Condition | None = None) -> Examples:
    """The images and labels of `data`, see `evaluate`.

    Args:
        data: of anybody.
        shape: of one example, or a dict view -> shape.
        condition: of the model, which then has the labels as y.
    Raises:
        DataError: there are none, or they do not fit.
    """
    if isinstance(shape, dict):
        return take_views(data, shape, condition)
    if isinstance(data, list) and data and shape_of(data[0]) == tuple(shape):  # one image after the other
        data = np.asarray(data)
    if hasattr(data, "test_images"):
        images, labels = data.test_images, data.test_labels
    elif is_whole(data, shape):
        images, labels = pair(data)
    else:
        images, labels = joined([checked(pair(batch), shape) for batch in batches_of(data)])
    check_numbers(images, "data")
    if not isinstance(images, StoredImages):
        images = np.asarray(images, "float32")
    if images.ndim < 2 or not len(images):
        raise DataError(f"data: expected images (N, ...), received shape {images.shape}")
    checked((images, labels), shape)
    return with_labels(images, labels, condition)


def take_views(data: Any, shape: dict[str, Shape], condition: Condition | None) -> Examples:
    """The examples of several views, of a loader, a dict view -> images, or a pair of it and labels."""
    if hasattr(data, "test_images"):
        data = data.test_images, data.test_labels
    views, labels = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    if not isinstance(views, dict):
        raise DataError(
            f"data: expected a dict of the views {', '.join(shape)}, or a pair of it and labels, received "
            f"{type(views).__name__}"
        )
    found = on_values(as_array, examples_of(views, shape, "data"))
    check_there(found)
    check_numbers(found, "data")
    return with_labels(found, labels, condition)


def with_labels(images: Any, labels: Any, condition: Condition | None) -> Examples:
    """Images with labels, whatever form these have, and with y, if the model has a condition.

    Raises:
        DataError: labels are missing that the condition needs, or they do not fit.
    """
    count = len(arrays_in(images)[0])
    if condition is None:
        return Examples(images, class_numbers(labels, count))
    if labels is None:
        raise DataError(f"data: expected {condition.expected}, beside the images, received none")
    y = np.asarray(labels)
    condition.check(y)
    if len(y) != count:
        raise DataError(f"data: expected a condition for each of {count:,} images, received {len(y):,}")
    numbers = class_numbers(y, count) if isinstance(condition, Labels) and not is_soft(y) else None
    return Examples(Conditioned(images, y.astype("float32")), numbers)


def is_whole(data: Any, shape: Shape) -> bool:
    """Whether `data` are all images, with or without labels, rather than batches of them."""
    if not isinstance(data, list):
        return hasattr(data, "shape") or isinstance(data, (tuple, Mapping))
    shapes = [shape_of(item) for item in data[:2]]
    return len(data) == 2 and shapes[0][1:] == tuple(shape) != shapes[1][1:]  # [x, y]


def shape_of(item: Any) -> tuple[int, ...]:
    """The shape of an array or a tensor; () of all else."""
    return tuple(getattr(item, "shape", ()))


def batches_of(data: Any) -> Iterator[Any]:
    """The batches of a `tf.data.Dataset`, a `PyDataset`, a list, or whatever else gives some."""
    if streams.is_endless(data):
        raise DataError(
            "data: expected batches that come to an end, received a data set without one; leave out repeat()"
        )
    if not (hasattr(data, "__iter__") or hasattr(data, "num_batches")):
        raise DataError(f"data: expected images (N, ...), or batches of them, received {type(data).__name__}")
    return streams.batches_of(data)


def pair(item: Any) -> tuple[Any, Any]:
    """Images and labels, None if there are none, of a tuple, a list, a dict, or images alone."""
    if isinstance(item, Mapping):
        found = [next((item[name] for name in names if name in item), None) for names in (IMAGES, LABELS)]
        if found[0] is None:
            raise DataError(
                f"data: expected images under one of {', '.join(IMAGES)}, received {', '.join(map(str, item))}"
            )
        return found[0], found[1]
    if not isinstance(item, (tuple, list)):
        return item, None
    images, labels, *more = (*item, None, None)[: max(2, len(item))]
    if any(value is not None for value in more):
        raise DataError(f"data: expected images, or images and labels, received {len(item)} arrays; leave weights out")
    return images, labels


def checked(found: tuple[Any, Any], shape: Shape) -> tuple[Any, Any]:
    """Images and labels, if the images have this shape, else `DataError`."""
    received = shape_of(found[0] if hasattr(found[0], "shape") else np.asarray(found[0]))[1:]
    if received != tuple(shape):
        raise DataError(f"data: expected images of shape {tuple(shape)}, as the model has, received {received}")
    return found


def joined(batches: list[tuple[Any, Any]]) -> tuple[np.ndarray, np.ndarray | None]:
    """All batches as one."""
    if not batches:
        raise DataError("data: expected at least one batch of images, received none")
    unlabelled = sum(labels is None for _, labels in batches)
    if unlabelled not in (0, len(batches)):
        raise DataError(f"data: expected labels in every batch or in none, received {unlabelled} batches without them")
    images = np.concatenate([np.asarray(found) for found, _ in batches])
    return images, None if unlabelled else np.concatenate([np.asarray(labels) for _, labels in batches])


def class_numbers(labels: Any, count: int) -> np.ndarray | None:
    """Labels as whole numbers (N,): also those that are text, and those that are one-hot, (N, classes).

    Raises:
        DataError: there are not N of them, or they are none.
    """
    if labels is None:
        return None
    labels = np.atleast_1d(np.asarray(labels))
    if labels.dtype == object and all(isinstance(label, (str, bytes)) for label in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind in "US" and labels.size == len(labels):
        labels = np.unique(labels, return_inverse=True)[1].reshape(-1)
    elif labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "buif":
        if np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
            labels = labels.argmax(axis=1)
    elif labels.dtype == object:
        labels = numbers_of(labels)
    return to_labels(labels, count, "data: labels")


def numbers_of(labels: np.ndarray) -> np.ndarray:
    """Labels of any objects as numbers; `DataError` if one is none."""
    for place, label in np.ndenumerate(labels):
        if not isinstance(label, (int, float, np.number)):
            raise DataError(f"data: labels: expected numbers or text, received {label!r} at index {place[0]}")
    return labels.astype("float64")
