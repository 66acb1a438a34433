"""Arrays (N, ...) that are read or walked a portion at a time, so that memory does not grow with N."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bicoder.engine.arrays.masked import arrays_in, on_arrays

BYTES = 2**22  # of a portion; it stays in the processor's cache while it is looked at from several sides


class Portions:
    """An array that is not in memory, but can be read from its beginning to its end, as often as one likes.

    Args:
        shape: (N, ...).
        dtype: of its numbers.
        read: function (rows) -> iterator of arrays (n, ...), in their order, of at most so many rows.
        offset: of its first byte, if all of them lie in a file as they are; else None.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype | str,
        read: Callable[[int], Iterator[np.ndarray]],
        offset: int | None = None,
    ) -> None:
        self.shape, self.dtype, self.read, self.offset = tuple(shape), np.dtype(dtype), read, offset


def rows_of(array: Any) -> int:
    """How many rows make a portion."""
    return max(1, BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))


def portions(array: Any) -> Iterator[np.ndarray]:
    """The rows of an array (N, ...) of any kind, or of `Portions`, in order: arrays (n, ...) of a few MB."""
    rows = rows_of(array)
    if isinstance(array, Portions):
        return array.read(rows)
    return (array[start : start + rows] for start in range(0, len(array), rows))


def portions_of_examples(x: Any, rows: int | None = None) -> Iterator[Any]:
    """Examples x, an array (N, ...) or those of each view, in order: `rows` at a time, or a few MB."""
    arrays = arrays_in(x)
    rows = rows or min(map(rows_of, arrays))
    for start in range(0, len(arrays[0]), rows):
        yield on_arrays(lambda array: array[start : start + rows], x)  # noqa: B023
