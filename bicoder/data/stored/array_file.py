"""A .npy file of images, written a portion at a time: what a copy is, and a shard."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.pixels import Surveyor, to_images


def kept_as(dtype: np.dtype) -> np.dtype:
    """The dtype in the file: bytes stay bytes, a quarter of float32; all other numbers are float32 in the end."""
    return np.dtype("u1" if dtype.str[1:] in ("u1", "b1") else "<f4")


def shape_in_file(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape of images (N, ...) in the file: grey ones have an axis of channels, and the channels come last."""
    return to_images(np.broadcast_to(np.zeros((), "u1"), shape), name).shape


def write_rows(
    path: Path,
    arrays: Iterable[np.ndarray],
    shape: tuple[int, ...],
    surveyor: Surveyor,
    done: Callable[[int], Any] = lambda rows: None,
) -> int:
    """Fill a file with portions of images, which may turn out to have fewer rows than is said; returns their number.

    Args:
        path: of the file, which is there.
        arrays: the portions, (n, ...).
        shape: of all of them, as in the file.
        surveyor: sees each of them.
        done: called with the rows of each.
    """
    dtype, rows = kept_as(surveyor.dtype), 0
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for portion in arrays:
            surveyor.add(portion)
            if not surveyor.wrong:
                with np.errstate(over="ignore"):  # what is too large for float32 is refused when it is scaled
                    file.write(np.ascontiguousarray(to_images(portion, surveyor.name), dtype).data)
            rows += len(portion)
            done(len(portion))
        file.seek(0)  # NumPy leaves room in a header for any number of rows
        np.lib.format.write_array_header_1_0(file, header | {"shape": (rows, *shape[1:])})
    return rows
