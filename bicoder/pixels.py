"""Checks and transforms from what a file held to float32 pixels in [0, 1]."""

import numpy as np

from bicoder.errors import DataError

ROUNDING = 1e-3  # floats that leave [0, 1] by no more than this were in it before someone resized them


def check_finite(array, name):
    """`DataError` unless every pixel is a finite number; the index is that of the array as it was saved."""
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, received dtype {array.dtype}")
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        first = tuple(int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
        raise DataError(
            f"{name}: expected finite pixels, received {finite.size - np.count_nonzero(finite):,} that are NaN or "
            f"infinite, the first at index {first}; remove these images or fill the gaps"
        )


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
    """Pixels as float32 in [0, 1]: 8 and 16 bits are divided by their range, all else up to 255 by 255.

    Args:
        array: images, of finite numbers.
        name: what messages call them.
        say: called with a line about what was decided.
        peak: the largest value of other images of the same set, which must be scaled in the same way; values that are
            all 0 or 1 stay as they are.
    Raises:
        DataError: values below 0 or above the range, or fractions up to 1 in a set that goes beyond 1.
    """
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and low >= -ROUNDING and high <= 1 + ROUNDING and (low < 0 or high > 1):
        array, low, high = np.clip(array, 0, 1), 0, 1
    code = array.dtype.str[1:]  # without the order of its bytes
    peak = max(high, peak)
    if array.dtype.kind == "f" and high <= 1 + ROUNDING < peak and (array != np.round(array)).any():
        raise DataError(
            f"{name}: expected all images on one scale, received values up to {high:g} here and up to {peak:g} in the "
            "others; rescale them"
        )
    divisor = 1 if peak <= 1 + ROUNDING else 255 if code == "u1" else 65535 if code == "u2" and peak > 255 else 1
    if divisor == 1 and 1 + ROUNDING < peak <= 255:
        divisor = 255
        say(f"{name}: values up to {high:g} are taken as 0 to 255 and divided by 255.")
    if low < 0 or high / divisor > 1:
        hint = "(x + 1) / 2 brings them there" if low >= -1 - ROUNDING and high <= 1 + ROUNDING else "rescale them"
        raise DataError(
            f"{name}: expected pixels in [0, 1] or [0, 255], received values from {low:g} to {high:g}; {hint}"
        )
    if low == high:
        say(f"{name}: every pixel of every image is {low / divisor:g}; there is nothing to learn from them.")
    if divisor == 1:
        return np.ascontiguousarray(array, "float32")
    return np.divide(array, np.float32(divisor), dtype="float32", casting="unsafe", order="C")


def warn_of_overlap(train, test, name, say=print):
    """Say where test images are among the training images, by the hash of each, or where there are more of them."""
    known = {hash(image.tobytes()) for image in train}
    shared = sum(hash(image.tobytes()) in known for image in test)
    if shared > len(test) // 100:
        say(f"{name}: {shared:,} of {len(test):,} test images are training images too; that flatters their numbers.")
    if len(test) > len(train):
        say(f"{name}: more test images, {len(test):,}, than training images, {len(train):,}; are they swapped?")


def largest(array):
    """The largest value of an array of numbers; 0 where there is none."""
    return array.max() if array.size and array.dtype.kind in "buif" else 0


def to_labels(labels, count, name, classes=None):
    """Labels as whole numbers (N,), or None where there are none.

    Args:
        labels: (N,) or (N, 1), whole numbers of any type.
        count: N.
        name: what messages call them.
        classes: how many there are, from 0 on; None where any whole number is one.
    """
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "buif":
        one_hot = labels.ndim == 2 and len(labels) == count and labels.dtype.kind in "buif"
        hint = "; if they are one-hot, save labels.argmax(axis=1)" if one_hot else ""
        raise DataError(
            f"{name}: expected {count:,} labels, whole numbers of shape ({count},), received shape {labels.shape} "
            f"of {labels.dtype}{hint}"
        )
    low, high = (-(2**53), 2**53) if classes is None else (0, classes - 1)
    values = labels.astype("float64")
    wrong = ~((values >= low) & (values <= high) & (values == np.round(values)))  # NaN is wrong too
    if wrong.any():
        first = int(np.argmax(wrong))
        expected = "whole numbers" if classes is None else f"whole numbers from 0 to {high}"
        raise DataError(f"{name}: expected {expected}, received {labels[first]} at index {first}")
    return labels.astype("int64")


def split(images, labels, seed, fraction=0.2):
    """Hold out a random fifth, at least one image: (train, test, train_labels, test_labels)."""
    order = np.random.default_rng(seed).permutation(len(images))
    held_out = max(1, round(fraction * len(images)))
    if len(images) == 1:  # nothing to hold out: the one image is both
        return images, images, labels, labels
    test, train = order[:held_out], order[held_out:]
    return images[train], images[test], *((None, None) if labels is None else (labels[train], labels[test]))
