"""Arrays (N, ...) that are read or walked a portion at a time, so that memory does not grow with N."""

import math

import numpy as np

from bicoder.archives import check_end, kind_of_file, open_content, read_exactly

BYTES = 2**22  # of a portion; it stays in the processor's cache while it is looked at from several sides


class Portions:
    """An array that is not in memory, but can be read from its beginning to its end, as often as one likes.

    Args:
        shape: (N, ...).
        dtype: of its numbers.
        read: function (rows) -> iterator of arrays (n, ...), in their order, of at most so many rows.
        offset: where its bytes begin, if all of them lie in a file as they are; else None.
    """

    def __init__(self, shape, dtype, read, offset=None):
        self.shape, self.dtype, self.read, self.offset = tuple(shape), np.dtype(dtype), read, offset


def rows_of(array):
    """How many rows make a portion."""
    return max(1, BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))


def portions(array):
    """The rows of an array of any kind, or of `Portions`, in order: arrays (n, ...) of a few MB."""
    rows = rows_of(array)
    if isinstance(array, Portions):
        return array.read(rows)
    return (array[start : start + rows] for start in range(0, len(array), rows))


def in_file(path, offset, shape, dtype, to_end=False):
    """`Portions` of an array that lies in the content of a file, row after row.

    Args:
        path: bare, or a zip or a gzip.
        offset: bytes in front of it.
        shape: (N, ...), which has been checked.
        dtype: of its numbers.
        to_end: whether the content must end there too.
    """

    def read(rows):
        row = math.prod(shape[1:]) * dtype.itemsize
        with open_content(path) as stream:
            stream.seek(offset)
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                content = read_exactly(stream, count * row, path)
                yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
            if to_end:
                check_end(stream, path)

    return Portions(shape, dtype, read, None if kind_of_file(path) in ("zip", "gzip") else offset)
