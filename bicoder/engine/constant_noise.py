"""Normal numbers that are always the same: on every backend, inside every program, with every version of Keras."""

import functools
import math

import numpy as np

from bicoder.engine.tensor import Shape

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def constant_normal(shape: Shape) -> np.ndarray:
    """The standard normal numbers that TensorFlow's CPU draws for the seed 0, (*shape), float32, to within 2e-6.

    A program that has them as a constant draws nothing, so formats without random numbers can hold it.
    """
    return normal_numbers(math.prod(shape)).reshape(shape)


@functools.lru_cache(maxsize=8)
def normal_numbers(count: int) -> np.ndarray:
    """So many of them, by Box and Muller's transform of Philox' bits."""
    # TensorFlow makes key and counter of the seed by one more call.
    mixed = philox((0x3EC8F720, 0x02461E29), np.zeros((1, 4), np.uint64))[0]
    counters = np.zeros((-(-count // 4), 4), np.uint64)
    counters[:, 0], counters[:, 2:] = np.arange(len(counters)), mixed[2:]
    bits = philox((int(mixed[0]), int(mixed[1])), counters)
    # 23 bits are the digits of a number in [1, 2).
    u = ((bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1.0)
    radius = np.sqrt(np.float32(-2.0) * np.log(np.maximum(u[:, 0::2], np.float32(1e-7))))
    angle = np.float32(2.0 * math.pi) * u[:, 1::2]
    found = np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=-1).reshape(-1)[:count]
    found.flags.writeable = False  # it is the same array for everybody
    return found


def philox(key: tuple[int, int], counters: np.ndarray) -> np.ndarray:
    """The 128 bits that Philox 4x32-10 makes of each counter (Salmon et al. 2011).

    Args:
        key: two numbers of 32 bits.
        counters: four numbers of 32 bits each, (n, 4), uint64.
    Returns:
        uint32, (n, 4).
    """
    keys = [np.uint64(one) for one in key]
    first, second, third, fourth = counters.T
    for _ in range(10):
        left, right = first * np.uint64(0xD2511F53), third * np.uint64(0xCD9E8D57)
        first, second = (right >> HALF) ^ second ^ keys[0], right & LOW
        third, fourth = (left >> HALF) ^ fourth ^ keys[1], left & LOW
        keys = [(one + np.uint64(step)) & LOW for one, step in zip(keys, (0x9E3779B9, 0xBB67AE85), strict=True)]
    return np.stack([first, second, third, fourth], axis=1).astype(np.uint32)
