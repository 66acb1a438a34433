"""Trees of arrays: one, a dict of views, or (x, y, sample weights), with None for what is not there."""

import math
import numbers
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import Masked, from_numpy
from bicoder.engine.arrays.there import examples_there
from bicoder.engine.tensor import Shape
from bicoder.errors import DataError, UsageError, counted


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree."""
    return [array for array in keras.tree.flatten(tree) if array is not None]


def mapped(function: Any, *trees: Any) -> Any:
    """`keras.tree.map_structure`, in which None stays None."""
    return keras.tree.map_structure(lambda *a: None if a[0] is None else function(*a), *trees)


def shapes_of(tree: Any) -> list[Shape]:
    """The shapes of the arrays of a tree."""
    return [tuple(array.shape) for array in leaves(tree)]


def batched(shape: Any) -> Any:
    """The shape of a batch of examples, as Keras has it, or of each view of a dict."""
    return {name: batched(one) for name, one in shape.items()} if isinstance(shape, dict) else (None, *shape)


def example_to_build(shape: Any) -> Any:
    """The shape of one example, or of each view, of what `build` was given: the shape of a batch.

    Raises:
        UsageError: it is none.
    """
    shape, _ = parted(shape)
    if isinstance(shape, dict) and shape:
        return {name: example_to_build(shape[name]) for name in sorted(shape)}
    values = shape.values if isinstance(shape, Masked) else shape
    example = tuple(values)[1:] if hasattr(values, "__len__") else ()
    if not example or any(not isinstance(size, numbers.Integral) or size < 1 for size in example):
        raise UsageError(f"build: expected a shape such as (None, 28, 28, 1), received {shape!r}")
    return example


def is_arrays(x: Any) -> bool:
    """Whether `x` holds all examples, an array or a tree of them, rather than giving batches of them."""
    found = keras.tree.flatten(x)
    numbers = isinstance(x, (list, tuple)) and all(isinstance(leaf, (int, float)) for leaf in found)
    return bool(found) and (numbers or all(hasattr(leaf, "shape") for leaf in found))


def as_array(array: Any) -> Any:
    """A leaf as a NumPy array of float32, masked if some is hidden; images that stay in a file are left there."""
    if isinstance(array, np.ma.MaskedArray):
        return mapped(as_array, from_numpy(array))
    return array if getattr(array, "in_file", False) else np.asarray(array, "float32")


def check_there(x: Any) -> None:
    """`DataError` if an example has nothing at all: no view of it is there, or no pixel."""
    x, _ = parted(x)
    views = [examples_there(one) for one in (x.values() if isinstance(x, dict) else [x])]
    if not views or any(there is None for there in views):
        return
    nothing = np.max([np.asarray(there) for there in views], axis=0) == 0
    if nothing.any():
        raise DataError(
            f"x: expected something of every example, received {counted(int(nothing.sum()), 'example')} of which "
            f"nothing is there, the first at index {int(nothing.argmax())}; leave them out"
        )


def arrays_of(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """x, y and the weights of the examples as trees of arrays of float32.

    Raises:
        UsageError: they differ in length, there are none, or a weight is negative or no number.
    """
    x, y = mapped(as_array, x), mapped(as_array, y)
    check_there(x)
    weights = None if sample_weight is None else np.asarray(sample_weight, "float32").reshape(-1)
    lengths = {len(leaf) for leaf in leaves((x, y, weights))}
    if len(lengths) > 1:
        raise UsageError(f"x: expected as many y and sample weights as examples, received lengths {sorted(lengths)}")
    if lengths == {0}:
        raise UsageError("x: expected at least one example, received none")
    if weights is not None and not (np.isfinite(weights).all() and weights.min() >= 0):
        raise UsageError(f"sample_weight: expected numbers from 0, received {weights.min():g} to {weights.max():g}")
    return x, y, weights


def split(arrays: Any, fraction: float) -> tuple[Any, Any]:
    """The arrays of a tree cut in two, (training, validation): the last `fraction` is held out, as in Keras.

    Raises:
        UsageError: one of the two has no example.
    """
    length = len(leaves(arrays)[0])
    count = math.floor(length * (1.0 - fraction))
    if not 0 < count < length:
        raise UsageError("x: expected at least one example, received none")
    return mapped(lambda leaf: leaf[:count], arrays), mapped(lambda leaf: leaf[count:], arrays)
