"""Checks and transforms from what a file held to float32 pixels in [0, 1]."""

import math
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bicoder.engine.arrays.aligned import aligned
from bicoder.engine.arrays.portions import Portions, portions
from bicoder.errors import DataError, UsageError

ROUNDING = 1e-3  # floats that leave [0, 1] by no more than this were in it before someone resized them


class Survey(NamedTuple):
    """What is known about all pixels of an array once each has been looked at."""

    kind: str  # of their dtype
    code: str  # of their dtype, without the order of its bytes
    low: float
    high: float
    whole: bool  # whether all are whole numbers


class Scaling(NamedTuple):
    """How pixels become float32 in [0, 1]: divided, and clipped if rounding took them out of it."""

    divisor: int
    clip: bool


class Surveyor:
    """Makes the `Survey` of an array out of its portions, which come one after the other.

    Args:
        dtype: of the array; `DataError` if it holds no numbers.
        name: what messages call it.
    """

    def __init__(self, dtype: np.dtype, name: str) -> None:
        if dtype.kind not in "buif":
            raise DataError(f"{name}: expected numbers, received dtype {dtype}")
        self.dtype, self.name = dtype, name
        self.low, self.high, self.whole = math.inf, -math.inf, True
        self.seen, self.wrong = 0, 0
        self.first: tuple[int, ...] = ()

    def add(self, portion: np.ndarray) -> None:
        """The next rows, (n, ...); NaN and infinity show in the smallest and the largest value."""
        low, high = portion.min().item(), portion.max().item()
        if self.dtype.kind == "f":
            if not (math.isfinite(low) and math.isfinite(high)):
                self.count_wrong(np.isfinite(portion))
            self.whole = self.whole and bool((portion == np.round(portion)).all())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.seen += len(portion)

    def count_wrong(self, finite: np.ndarray) -> None:
        """Of some rows, which numbers are finite, bool (n, ...)."""
        if not self.wrong:
            row, *rest = np.unravel_index(np.argmin(finite), finite.shape)
            self.first = (self.seen + int(row), *map(int, rest))
        self.wrong += int(finite.size - np.count_nonzero(finite))

    def survey(self) -> Survey:
        """What was found; `DataError` unless every pixel is a finite number."""
        if self.wrong:
            raise DataError(
                f"{self.name}: expected finite pixels, received {self.wrong:,} that are NaN or infinite, the first at "
                f"index {self.first}; remove these images or fill the gaps"
            )
        return Survey(self.dtype.kind, self.dtype.str[1:], self.low, self.high, self.whole)


def survey(array: np.ndarray | Portions, name: str) -> Survey:
    """The `Survey` of an array, or of `Portions`; the index in its error is that of the array as it was saved."""
    surveyor = Surveyor(array.dtype, name)
    if 0 not in array.shape and len(array.shape):
        for portion in portions(array):
            surveyor.add(portion)
    return surveyor.survey()


def to_images(array: np.ndarray, name: str) -> np.ndarray:
    """(N, height, width[, channels]) or (N, D): an axis is added to grey images; 1 or 3 channels may come first."""
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
        first, *rest = array.shape[1:]
        if first in (1, 3):  # channels first, as PyTorch has them
            return np.moveaxis(array, 1, -1)
        if first < min(rest):
            raise DataError(
                f"{name}: expected the channels on the last axis, received shape {array.shape}; if those are "
                "on the first, which is the shortest, save numpy.moveaxis(images, 1, -1)"
            )
    return array


def say_channels(channels: int, name: str, say: Callable[[str], Any]) -> None:
    """Say what pictures show of images of so many channels, unless it is all of them."""
    if channels not in (1, 3):
        shown = {2: "the first", 4: "them as red, green, blue and opacity"}.get(channels, "the first three")
        say(f"{name}: images of {channels} channels, of which pictures show {shown}.")


# What pixels are, by the largest value of their set and their dtype -> what they are divided by.
BITS = {f"{bits} bits": 2**bits - 1 for bits in (10, 12, 14, 16)}  # that cameras and scanners have
DIVISORS = {"unit": 1, "byte": 255, "up to 255": 255, **BITS, "other": 1}


def range_of(found: Survey, peak: float) -> str:
    """Which of `DIVISORS` the pixels are, in a set whose largest value is `peak`."""
    if peak <= 1 + ROUNDING:
        return "unit"
    if found.code == "u1":
        return "byte"
    if peak <= 255:
        return "up to 255"
    return next((name for name, most in BITS.items() if peak <= most), "16 bits") if found.code == "u2" else "other"


def is_rounded(found: Survey) -> bool:
    """Whether these are floats that were in [0, 1] before rounding took some out of it."""
    near = found.low >= -ROUNDING and found.high <= 1 + ROUNDING
    return found.kind == "f" and near and (found.low < 0 or found.high > 1)


def scaling(found: Survey, name: str, say: Callable[[str], Any] = print, peak: float = 0) -> Scaling:
    """How pixels become float32 in [0, 1]: bytes and 16 bits are divided by their range, all else up to 255 by 255.

    In 16 bits there may be 10, 12, 14 or 16 that are used, which the largest value tells.

    Args:
        found: the `Survey` of the images.
        name: what messages call them.
        say: called with a line about what was decided.
        peak: the largest value of other images of the same set, which must be scaled in the same way; values that are
            all 0 or 1 stay as they are.
    Raises:
        DataError: values below 0 or above the range, or fractions up to 1 in a set that goes beyond 1.
    """
    clip = is_rounded(found)
    low, high = (0, 1) if clip else (found.low, found.high)
    peak = max(high, peak)
    if found.kind == "f" and high <= 1 + ROUNDING < peak and (clip or not found.whole):
        raise DataError(
            f"{name}: expected all images on one scale, received values up to {high:g} here and up to {peak:g} in the "
            "others; rescale them"
        )
    found_as = range_of(found, peak)
    divisor = DIVISORS[found_as]
    if low < 0 or high / divisor > 1:
        hint = "(x + 1) / 2 brings them there" if low >= -1 - ROUNDING and high <= 1 + ROUNDING else "rescale them"
        raise DataError(
            f"{name}: expected pixels in [0, 1] or [0, 255], received values from {low:g} to {high:g}; {hint}"
        )
    if found_as == "up to 255" or divisor in (1023, 4095, 16383):
        say(f"{name}: values up to {high:g} are taken as 0 to {divisor} and divided by {divisor}.")
    if low == high:
        say(f"{name}: every pixel of every image is {low / divisor:g}; there is nothing to learn from them.")
    return Scaling(divisor, clip)


def scaled(array: np.ndarray, how: Scaling) -> np.ndarray:
    """Pixels as float32 in [0, 1], by a `Scaling`; the same array if it is that already."""
    if how.clip:
        array = np.clip(array, 0, 1)
    if how.divisor == 1:
        return np.ascontiguousarray(array, "float32")
    divisor = np.float32(how.divisor)
    return np.divide(array, divisor, out=aligned(array.shape), dtype="float32", casting="unsafe")


def to_scaling(value: Any, name: str = "only_test") -> Scaling:
    """A `Scaling`, also out of what JSON makes of one."""
    try:
        divisor, clip = value
    except (TypeError, ValueError):
        divisor, clip = None, None
    if divisor not in DIVISORS.values() or not isinstance(clip, bool):
        raise UsageError(f"{name}: expected the scaling of an earlier loader, received {value!r}")
    return Scaling(divisor, clip)


def draw_binary(images: np.ndarray, seed: int | list[int] | None) -> np.ndarray:
    """Every pixel 1 with its grey value as probability, else 0 (Salakhutdinov & Murray 2008); (N, ...)."""
    found, start = aligned(images.shape), 0
    for some in drawn(portions(images), seed):
        found[start : start + len(some)] = some
        start += len(some)
    return found


def check_binarize(binarize: Any, views: Collection[str]) -> dict[str, str | None]:
    """view -> "static", "dynamic" or None, of what `DataLoader` is given for all views, or for some of them.

    Args:
        binarize: "static", "dynamic", None, or a dict view -> one of them.
        views: their names; "" for one tensor.
    Raises:
        UsageError: it is something else, or for a view that there is not.
    """
    given = binarize if isinstance(binarize, dict) else dict.fromkeys(views, binarize)
    if any(kind not in (None, "static", "dynamic") for kind in given.values()):
        raise UsageError(f"binarize: expected static or dynamic, or one of them for some views, received {binarize!r}")
    if unknown := [str(view) for view in given if view not in views]:
        known = f"the views {', '.join(views)}" if "" not in views else "one for all, since there are no views"
        raise UsageError(f"binarize: expected {known}, received {', '.join(unknown)}")
    return {view: given.get(view) for view in views}


def seed_of_view(seed: int | None, view: str) -> int | list[int] | None:
    """The seed of what is drawn of one view, whichever others there are: the same for two would draw the same noise."""
    return [seed, zlib.crc32(view.encode())] if view and seed is not None else seed


def drawn(arrays: Iterable[np.ndarray], seed: int | list[int] | None) -> Iterator[np.ndarray]:
    """`draw_binary` of images that come in portions (n, ...), as bool."""
    rng = np.random.default_rng(seed)
    return (rng.random(some.shape, "float32") < some for some in arrays)


def warn_of_overlap(train: Any, test: Any, name: str, say: Callable[[str], Any] = print) -> None:
    """Say if test images are among the training images, by the hash of each, or if there are more of them.

    Args:
        train, test: (N, ...), arrays or `StoredImages`.
        name: what the line calls them.
        say: called with the line.
    """
    # Most images differ in their middle row already, which is sooner hashed than all of them.
    for view in (middle, np.asarray):
        shared = np.isin(hashes(test, view), hashes(train, view)).sum()
        if shared <= len(test) // 100:
            break
    if shared > len(test) // 100:
        say(f"{name}: {shared:,} of {len(test):,} test images are training images too; that flatters their numbers.")
    if len(test) > len(train):
        say(f"{name}: more test images, {len(test):,}, than training images, {len(train):,}; are they swapped?")


def middle(images: np.ndarray) -> np.ndarray:
    """The row in the middle of every image, (n, width, ...), or all of a vector, (n, D)."""
    return images[:, images.shape[1] // 2] if images.ndim > 2 else images


def hashes(images: Any, view: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A hash of what `view` shows of images, uint64 (N,): the sum of its numbers' bits, each times a random odd number.

    Args:
        images: (N, ...), an array or `StoredImages`.
        view: function of images (n, ...) to numbers (n, ...).
    """
    found, factors = [], None
    for portion in portions(images):
        bits = np.ascontiguousarray(view(portion)).reshape(len(portion), -1).view("u4")
        if factors is None:
            factors = np.random.default_rng(0).integers(2**63, size=bits.shape[1], dtype="u8") * 2 + 1
        found.append(bits @ factors)  # modulo 2^64
    return np.concatenate(found)


def to_labels(labels: Any, count: int, name: str, classes: int | None = None) -> np.ndarray | None:
    """Labels as whole numbers (N,), or None if there are none.

    Args:
        labels: (N,) or (N, 1), whole numbers of any type.
        count: N.
        name: what messages call them.
        classes: how many there are, from 0 on; None if any whole number is one.
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
