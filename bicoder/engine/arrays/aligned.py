"""64-byte-aligned arrays, which TensorFlow shares instead of copying."""

import math

import numpy as np

BYTES = 64  # at a multiple of which it must begin


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An array of float32 of this shape, whose content means nothing yet."""
    size = math.prod(shape)
    memory = np.empty(size + BYTES // 4, "float32")
    first = -memory.ctypes.data % BYTES // 4
    return memory[first : first + size].reshape(shape)


def is_aligned(array: np.ndarray) -> bool:
    """Whether TensorFlow can use an array as it is."""
    flags = array.flags
    return array.dtype == "float32" and flags.c_contiguous and flags.writeable and array.ctypes.data % BYTES == 0
