"""What examples must be for a model to learn from them: finite numbers on its scale, and targets of its shape."""

import math
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.masked import Masked, shape_of_example
from bicoder.engine.arrays.portions import portions
from bicoder.engine.arrays.trees import leaves
from bicoder.errors import DataError, UsageError, counted

BRIGHT = 100  # what only pixels from 0 to 255 or more reach, where nothing is below 0


def check_numbers(array: Any, name: str = "x", pixels: bool = True) -> None:
    """`DataError` if numbers (N, ...) are not finite, or are pixels that nobody has divided by their largest value.

    Real numbers of any size are fine for a density on the real line. Whole numbers in an integer type are pixels, and
    so is what begins at 0 and goes beyond `BRIGHT`.

    Args:
        array: an array or a tensor; images that stay in a file are in [0, 1] already.
        name: what the error calls it.
        pixels: whether they may be pixels, and none of a table, whose numbers may have any size.
    """
    if getattr(array, "in_file", False):
        return
    if isinstance(array, np.ma.MaskedArray):
        array = array.filled(0)
    array = np.asarray(array)
    if 0 in array.shape or not array.shape:
        return
    if array.dtype.kind not in "biu" and array.dtype.name not in ("float16", "float32", "float64", "bfloat16"):
        raise DataError(f"{name}: expected real numbers, received {array.dtype}")
    ranges = [(rows.min().item(), rows.max().item()) for rows in portions(array)]  # NaN is the least and the largest
    if not all(math.isfinite(low) and math.isfinite(high) for low, high in ranges):
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        raise DataError(
            f"{name}: expected finite numbers, received NaN or infinity in {counted(int(wrong.sum()), 'example')}, the "
            f"first at index {int(wrong.argmax())}; leave them out: x[numpy.isfinite(x).all(axis=...)]"
        )
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    whole = array.dtype.kind in "iu" and high > 1
    if pixels and low >= 0 and (whole or high > BRIGHT):
        raise DataError(
            f"{name}: expected pixels in [0, 1], received {array.dtype} up to {high:g}; divide by "
            f"{largest_pixel(high)}: x.astype('float32') / {largest_pixel(high)}"
        )


def largest_pixel(high: float) -> int:
    """What pixels of which the largest is `high` are divided by: the white of 8 bits, of 16 bits, or their own."""
    return next((white for white in (255, 65535) if high <= white), math.ceil(high))


def check_target(x: Any, y: Any) -> None:
    """`UsageError` if y, which p(x|z) has to explain in place of x, has another shape than x."""
    expected, received = shape_of_one(x), shape_of_one(y)
    if expected != received:
        raise UsageError(
            f"y: expected what p(x|z) explains in place of x, examples of shape {expected}, received {received}; "
            "labels teach a VAE nothing: leave them out, from a data set by data.map(lambda x, y: x)"
        )


def is_known(x: Any) -> bool:
    """Whether the numbers of `x` can be looked at: it is an array, and no tensor that stands for what comes later."""
    eager = keras.backend.backend() == "tensorflow" and hasattr(x, "numpy")
    return isinstance(x, np.ndarray) or eager


def shape_of_one(tree: Any) -> Any:
    """The shapes of one example's arrays, or of its views, whatever is missing; of an array alone, its shape."""
    if isinstance(tree, (dict, Masked)):
        return shape_of_example(tree)
    found: Any = [tuple(array.shape[1:]) for array in leaves(tree)]
    return found[0] if len(found) == 1 else found
