"""Which images are for training, for validation and for testing."""

from typing import Any, NamedTuple

import numpy as np

from bicoder.data.stored_images import ImageArray, StoredImages
from bicoder.engine.arrays.aligned import aligned

SHARE = 0.2  # of the images, for testing, if a data set has no test images of its own


class Split(NamedTuple):
    """Images for one purpose, (N, ...), and their labels, (N,), or None."""

    images: ImageArray
    labels: np.ndarray | None

    def take(self, numbers: np.ndarray) -> "Split":
        """The images of these numbers (n,), in this order, with their labels."""
        labels = None if self.labels is None else self.labels[numbers]
        if isinstance(self.images, StoredImages):
            return Split(self.images.select(numbers), labels)
        images = aligned((len(numbers), *self.images.shape[1:]))
        return Split(np.take(self.images, numbers, axis=0, out=images, mode="clip"), labels)  # "raise" would copy

    def hold_out(self, seed: Any, share: float = SHARE) -> "tuple[Split, Split]":
        """What is left to train on, and a random share, see `split`."""
        left, held_out = split(len(self.images), seed, share)
        return self.take(left), self.take(held_out)


def split(count: int, seed: Any, share: float = SHARE) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the images to train on, and of a random share of all, at least one, that is held out.

    Of a single image there is nothing to hold out: it is both.

    Args:
        count: of all images.
        seed: what `numpy.random.default_rng` takes.
        share: that is held out.
    """
    order = np.random.default_rng(seed).permutation(count)
    held_out = max(1, round(share * count))
    return (order, order) if count == 1 else (order[held_out:], order[:held_out])
