"""Arrays that lie in the content of a file, row after row, and are read a portion at a time."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bicoder.data.formats.archives import check_end, kind_of_file, open_content, read_exactly
from bicoder.engine.arrays.portions import Portions


def rows_in_file(
    path: str | Path, offset: int, shape: tuple[int, ...], dtype: np.dtype, to_end: bool = False
) -> Portions:
    """`Portions` of an array that lies in the content of a file, row after row.

    Args:
        path: bare, or a zip or a gzip.
        offset: bytes in front of it.
        shape: (N, ...), which has been checked.
        dtype: of its numbers.
        to_end: whether the content must end there too.
    """

    def read(rows: int) -> Iterator[np.ndarray]:
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
