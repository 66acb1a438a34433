"""Batches that somebody else makes: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator, or any iterable."""

import itertools
import math
import random
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.masked import Masked, shape_of_example
from bicoder.engine.arrays.trees import mapped, shapes_of
from bicoder.errors import UsageError


class Stream:
    """Batches (x, y, sample weights), or x alone, in the order in which they come.

    Args:
        data: an iterable of batches; a generator ends with its last batch, all else begins again every epoch.
        shuffle: whether a `PyDataset`, whose batches have numbers, gives them in a new order every epoch.
        check: function that raises an error if a batch is none to learn from; it sees those of the first epoch.
        arranged: function from a batch to what a model takes.
    Attributes:
        count: batches in an epoch; None if nobody knows.
    """

    done = 0  # batches that its first epoch leaves out
    examples = None  # it cannot give batches by their numbers

    def __init__(
        self,
        data: Any,
        shuffle: bool = False,
        check: Callable[[Any], Any] = lambda batch: batch,
        arranged: Callable[[Any], Any] = lambda batch: batch,
    ) -> None:
        if not hasattr(data, "__iter__") and not isinstance(data, keras.utils.PyDataset):
            raise UsageError(f"x: expected arrays or an iterable of batches, received {type(data).__name__}")
        self.data, self.shuffle, self.arranged = data, shuffle, arranged
        self.count = count_of(data)
        iterator = map(check, self.begin())
        self.first = next(iterator, None)
        if self.first is None:
            raise UsageError(f"fit: expected at least one batch, received none from a {type(data).__name__}")
        # The first epoch begins here: another iterator would be another shuffling of a `tf.data.Dataset`.
        self.iterator: Iterator[Any] = itertools.chain([self.first], iterator)
        self.is_new = True

    def begin(self) -> Iterator[Any]:
        """The batches from the beginning; those of a generator go on."""
        return (self.arranged(standard(batch)) for batch in batches_of(self.data, self.shuffle))

    @property
    def example_shape(self) -> Any:
        """Shape of one x, or of each of its views."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(self.first)
        return shape_of_example(x)

    def numbers_in_a_batch(self) -> int:
        """How many numbers one batch has."""
        return sum(math.prod(shape) for shape in shapes_of(self.first))

    def restart(self) -> None:
        """Begin again, but for a generator, which goes on."""
        if not self.is_new:
            self.iterator, self.is_new = self.begin(), True

    def groups(self, steps: int, chosen: bool = False, count: int | None = None) -> Iterator[list[list[Any]]]:
        """The batches of one epoch, or the next `count`, up to `steps` at a time: lists of batches of one shape."""
        left = count
        if count is None:
            self.restart()
        while left is None or left > 0:
            batches = list(itertools.islice(self.iterator, steps if left is None else min(steps, left)))
            if not batches:
                if left is None or self.is_new:
                    break
                self.restart()
                continue
            self.is_new = False
            left = None if left is None else left - len(batches)
            yield [list(group) for _, group in itertools.groupby(batches, shapes_of)]
        if left:
            warnings.warn(f"fit: the data ran out, {left} batches before the end of an epoch", stacklevel=2)

    def members(self, steps: int) -> list[Any]:
        """Nothing is known of the batches before they come."""
        return []


def count_of(data: Any) -> int | None:
    """How many batches a data set says it has."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    try:
        return len(data)
    except TypeError:
        return None


def is_endless(data: Any) -> bool:
    """Whether a data set says that its batches never end."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    return hasattr(data, "cardinality") and int(data.cardinality()) == -1


def batches_of(data: Any, shuffle: bool = False) -> Iterator[Any]:
    """The batches of a `PyDataset`, in a new order if they shall be shuffled, or of an iterable."""
    return numbered(data, shuffle) if isinstance(data, keras.utils.PyDataset) else iter(data)


def numbered(data: Any, shuffle: bool) -> Iterator[Any]:
    """The batches of a `PyDataset`; its workers are threads, which make them before they are needed."""
    numbers = itertools.count() if data.num_batches is None else iter(range(data.num_batches))
    if shuffle and data.num_batches is not None:
        order = list(numbers)
        random.shuffle(order)  # as Keras does, so that `keras.utils.set_random_seed` decides it
        numbers = iter(order)
    data.on_epoch_begin()
    if data.workers <= 1:
        yield from map(data.__getitem__, numbers)
    else:
        with ThreadPoolExecutor(data.workers) as threads:
            ahead = [threads.submit(data.__getitem__, n) for n in itertools.islice(numbers, data.max_queue_size)]
            while ahead:
                yield ahead.pop(0).result()
                ahead += [threads.submit(data.__getitem__, n) for n in itertools.islice(numbers, 1)]
    data.on_epoch_end()


def standard(batch: Any) -> Any:
    """A batch whose arrays are tensors, or NumPy arrays of a type that a model takes."""
    batch = (batch,) if isinstance(batch, Masked) else tuple(batch) if isinstance(batch, list) else batch

    def convert(array: Any) -> Any:
        if keras.ops.is_tensor(array):
            return array
        array = np.asarray(array)
        return array.astype("float32") if array.dtype == "float64" else array

    return mapped(convert, batch)
