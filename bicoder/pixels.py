"""Checks and transforms from what a file held to float32 pixels in [0, 1]."""

import numpy as np

from bicoder.errors import DataError

ROUNDING = 1e-3  # floats that leave [0, 1] by no more than this were in it before someone resized them


def to_images(array, name):
    """(N, height, width[, channels]) or (N, D), with one or three channels: an axis is added to grey images."""
    if array.ndim not in (2, 3, 4):
        raise DataError(
            f"{name}: expected an array (N, D), (N, height, width) or (N, height, width, channels), "
            f"received shape {array.shape}"
        )
    if 0 in array.shape:
        raise DataError(f"{name}: expected at least one image, received shape {array.shape}")
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and array.shape[-1] not in (1, 3):
        if array.shape[1] in (1, 3):  # channels first, as PyTorch has them
            return np.moveaxis(array, 1, -1)
        raise DataError(f"{name}: expected 1 or 3 channels on the last axis, received shape {array.shape}")
    return array


def to_unit_range(array, name, say=print, peak=0):
    """Pixels as float32 in [0, 1]: 8 and 16 bits are divided by their range, floats up to 255 by 255.

    Args:
        array: images.
        name: what messages call them.
        say: called with a line about what was decided.
        peak: the largest value of other images of the same set, which must be scaled in the same way; values that are
            all 0 or 1 stay as they are.
    Raises:
        DataError: values that are not finite, below 0 or above the range.
    """
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, received dtype {array.dtype}")
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            first = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise DataError(
                f"{name}: expected finite pixels, received {int((~finite).sum())} that are NaN or infinite, the first "
                f"at index {first}; remove these images or fill the gaps"
            )
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and low >= -ROUNDING and high <= 1 + ROUNDING and (low < 0 or high > 1):
        array, low, high = np.clip(array, 0, 1), 0, 1
    code = array.dtype.str[1:]  # without the order of its bytes
    peak = max(high, peak)
    divisor = 1 if peak <= 1 + ROUNDING else 255 if code == "u1" else 65535 if code == "u2" and peak > 255 else 1
    if divisor == 1 and 1 + ROUNDING < peak <= 255:
        divisor = 255
        say(f"{name}: values up to {high:g} are taken as 0 to 255 and divided by 255.")
    if low < 0 or high / divisor > 1:
        raise DataError(
            f"{name}: expected pixels in [0, 1] or [0, 255], received values from {low:g} to {high:g}; rescale them"
        )
    if divisor == 1:
        return np.ascontiguousarray(array, "float32")
    return np.divide(array, np.float32(divisor), dtype="float32", casting="unsafe")


def largest(array):
    """The largest value of an array of numbers; 0 where there is none."""
    return array.max() if array.size and array.dtype.kind in "buif" else 0


def to_labels(labels, count, name):
    """Labels as whole numbers (N,), or None where there are none."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    fits = labels.shape == (count,) and labels.dtype.kind in "buif" and np.isfinite(labels).all()
    if not fits or (labels != np.round(labels)).any():
        raise DataError(
            f"{name}: expected {count} labels, whole numbers of shape ({count},), received shape {labels.shape} "
            f"of {labels.dtype}"
        )
    return labels.astype("int64")


def split(images, labels, seed, fraction=0.2):
    """Hold out a random fifth, at least one image: (train, test, train_labels, test_labels)."""
    order = np.random.default_rng(seed).permutation(len(images))
    held_out = max(1, round(fraction * len(images)))
    if len(images) == 1:  # nothing to hold out: the one image is both
        return images, images, labels, labels
    test, train = order[:held_out], order[held_out:]
    return images[train], images[test], *((None, None) if labels is None else (labels[train], labels[test]))
