"""The training images that are nearest to some images: a model that has learnt images by heart shows here."""

import math
from typing import Any

import numpy as np

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import arrays_in, on_arrays
from bicoder.engine.arrays.portions import portions_of_examples
from bicoder.engine.arrays.there import values_of

MOST = 2**31  # numbers of training images that are looked at, eight GiB of them
ROWS = 2048


def nearest(images: Any, training: Any, count: int) -> tuple[np.ndarray, int]:
    """The numbers of the nearest training images by the sum of squared differences, and how many were looked at.

    Args:
        images: (n, ...), or those of each view.
        training: training images (M, ...) like them; of very many, the first ones are looked at.
        count: of the nearest.
    Returns:
        Numbers (n, count), the nearest first, and a count.
    """
    wanted = flat(images)
    training, _ = parted(training)
    total = len(arrays_in(training)[0])
    looked_at = min(total, max(count, MOST // max(1, wanted.shape[1])))
    best = np.zeros((len(wanted), 0), int)
    distances = np.zeros((len(wanted), 0))
    start = 0
    for portion in portions_of_examples(training, max(1, min(ROWS, 2**24 // wanted.shape[1]))):
        if start >= looked_at:
            break
        some = flat(portion)[: looked_at - start]
        found = np.square(some).sum(axis=1) - 2.0 * wanted @ some.T  # and |wanted|^2, which is the same for all
        numbers = np.broadcast_to(np.arange(start, start + len(some)), found.shape)
        distances, best = np.concatenate([distances, found], axis=1), np.concatenate([best, numbers], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        distances, best = (np.take_along_axis(array, order, axis=1) for array in (distances, best))
        start += len(some)
    return best, looked_at


def flat(images: Any) -> np.ndarray:
    """Images as vectors (n, numbers) of all their views; what is missing is 0."""
    images = {"": images} if not isinstance(images, dict) else images
    arrays = [as_values(images[view]) for view in sorted(images)]
    return np.concatenate([array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays], axis=1)


def as_values(images: Any) -> np.ndarray:
    """One tensor or view in memory, as float32."""
    return np.asarray(values_of(on_arrays(np.asarray, images)), "float32")
