"""Batches of arrays in a new order every epoch; all that is drawn follows from the seed, the epoch and the batch."""

import math
import random
import weakref
import zlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from bicoder.engine.arrays.aligned import aligned, is_aligned
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.engine.arrays.masked import Masked, on_values, shape_of_example
from bicoder.engine.arrays.trees import leaves, mapped
from bicoder.engine.programs.devices import Spread, along_batches, everywhere, is_spread, shares, spread, with_filling
from bicoder.engine.programs.many_steps import Chosen
from bicoder.engine.tensor import Tensor
from bicoder.errors import UsageError

COPIED = 2**28  # bytes of arrays that may be in memory twice, so that programs have them where they want them


Group: TypeAlias = (
    "list[tuple[Any, int]]"  # of each batch size: tensors (n, batch, ...) or `Chosen`, and how many count
)
_SOURCES: "weakref.WeakKeyDictionary[tf.data.Dataset, Batches]" = weakref.WeakKeyDictionary()


def source_of(data: Any) -> "Batches | None":
    """The `Batches` that a data set was made of by `Batches.dataset`; None for all other data."""
    return _SOURCES.get(data) if isinstance(data, tf.data.Dataset) else None


class Batches:
    """What `DataLoader.training_data` and `VAE.fit` draw their batches from.

    Args:
        images: (N, ...), an array or `StoredImages`, or a tree of them, such as (x, y, sample weights); of a tuple the
            first alone is drawn.
        batch_size: examples in a batch; the last one of an epoch may be shorter.
        seed: int, or the two numbers of a `keras.random.SeedGenerator`; None for one that is drawn here.
        shuffle: False to keep the order of the examples.
        binarize: the views whose pixels are drawn as 0 or 1 anew each time, with their grey value as probability; ""
            of one tensor.
    Attributes:
        epoch: `tf.Variable`, the number of the epoch that begins next, from 0.
        skip: `tf.Variable`, how many batches that epoch leaves out at its beginning.
        count: batches in an epoch.
    """

    def __init__(
        self,
        images: Any,
        batch_size: int,
        seed: int | Sequence[int] | None,
        shuffle: bool = True,
        binarize: Collection[str] = (),
    ) -> None:
        # As they are: a tensor of them would be a second copy.
        self.images, self.batch_size = images, batch_size
        self.length = len(leaves(images)[0])
        self.count = math.ceil(self.length / batch_size)
        seed = random.randrange(2**31) if seed is None else seed  # which `keras.utils.set_random_seed` decides
        self.seed = [seed, 0] if isinstance(seed, int) else seed
        self.shuffle, self.binarize = shuffle, binarize
        self.epoch = tf.Variable(0, dtype="int64", trainable=False)
        self.skip = tf.Variable(0, dtype="int64", trainable=False)
        self._examples: Any = None
        self._where: Any = None  # the distribution that they were brought to

    def dataset(self) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches of images, whose `source_of` this is."""
        epochs = tf.data.Dataset.from_tensors(0).map(lambda _: self.begin())
        batches = epochs.flat_map(self._batches_of_an_epoch)
        batches = batches.apply(tf.data.experimental.assert_cardinality(self.count)).prefetch(tf.data.AUTOTUNE)
        _SOURCES[batches] = self
        return batches

    def _batches_of_an_epoch(self, order: Tensor, key: Tensor, skip: Tensor) -> tf.data.Dataset:
        numbers = tf.data.Dataset.range(skip, self.count)
        return numbers.map(lambda b: self.batch(order, key, b), num_parallel_calls=tf.data.AUTOTUNE)

    def begin(self) -> tuple[Tensor, Tensor, Tensor]:
        """Begin an epoch: its order (N,), the key of what is drawn in it, and how many batches to leave out."""
        key = tf.random.experimental.stateless_fold_in(self.seed, self.epoch.read_value())
        order = tf.range(self.length)
        if self.shuffle:
            order = tf.random.experimental.stateless_shuffle(order, key)
        skip = self.skip.read_value()
        with tf.control_dependencies([key, skip]):
            self.epoch.assign_add(1)
            self.skip.assign(0)
        return order, key, skip

    def batch(self, order: Tensor, key: Tensor, number: Tensor) -> Any:
        """Batch `number` of an epoch, (batch, ...)."""
        start = number * self.batch_size
        numbers = order[start : start + self.batch_size]
        arrays = leaves(self.images)
        types = [array.dtype for array in arrays]
        found = tf.numpy_function(lambda n: [taken(a, n, len(n)) for a in arrays], [numbers], types, stateful=False)
        for tensor, array in zip(found, arrays, strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        rest = iter(found)
        batch = mapped(lambda _: next(rest), self.images)
        return self.draw(batch, key, number) if self.binarize else batch

    def draw(self, images: Any, key: Tensor, number: Tensor) -> Any:
        """Every pixel of the views that are to be drawn 1 with its grey value as probability, else 0."""
        if type(images) is tuple:  # with labels
            return (self.draw(images[0], key, number), *images[1:])
        key = tf.random.experimental.stateless_fold_in(key, number)

        def of_view(view: str, one: Any) -> Any:
            if view not in self.binarize:
                return one
            # Whichever views there are; the same key would draw the same noise for two.
            own = tf.random.experimental.stateless_fold_in(key, zlib.crc32(view.encode())) if view else key
            return on_values(lambda v: tf.cast(tf.random.stateless_uniform(tf.shape(v), own) < v, v.dtype), one)

        if not isinstance(images, dict):
            return of_view("", images)
        return {view: of_view(view, one) for view, one in images.items()}

    # What the training loop asks for

    @property
    def example_shape(self) -> Any:
        """Shape of one x, or of each of its views."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(self.images)
        if not hasattr(x, "shape") and not isinstance(x, (dict, Masked, Conditioned)):
            raise UsageError(f"x: expected one array of examples (N, ...), received a {type(x).__name__} of arrays")
        return shape_of_example(x)

    @property
    def done(self) -> int:
        """How many batches the epoch that begins next leaves out, since they were learnt from before."""
        return int(self.skip)

    def numbers_in_a_batch(self) -> int:
        """How many numbers one batch has."""
        return self.batch_size * sum(math.prod(array.shape[1:]) for array in leaves(self.images))

    def restart(self) -> None:
        """Begin the next epoch with its first batch."""
        self.skip.assign(0)

    def groups(self, steps: int, chosen: bool = False, count: int | None = None) -> Iterator[Group]:
        """The batches of one epoch, or the next `count` of as many epochs as that takes, up to `steps` at a time.

        Args:
            steps: batches that come together.
            chosen: whether they come as `Chosen` if possible.
            count: None for one epoch.
        """
        left = self.count if count is None else count
        while left > 0:
            epoch, (order, key, skip) = int(self.epoch), self.begin()
            start = int(skip)
            stop = self.count if count is None else min(self.count, start + left)
            if stop < self.count:  # the next ones go on here
                self.epoch.assign(epoch)
                self.skip.assign(stop)
            left = 0 if count is None else left - (stop - start)
            yield from self._gathered(order.numpy(), key, range(start, stop, steps), stop, chosen)

    def _gathered(self, order: np.ndarray, key: Tensor, starts: range, stop: int, chosen: bool) -> Iterator[Group]:
        """Groups of an epoch; a thread gathers the next one while this one is learnt from."""
        # Keras knows the distribution of a thread.
        known = {"initializer": keras.distribution.set_distribution, "initargs": (keras.distribution.distribution(),)}
        with ThreadPoolExecutor(1, **known) as thread:
            gathering = (
                thread.submit(self._group, order, start, min(start + starts.step, stop), starts.step, chosen)
                for start in starts
            )
            coming = next(gathering, None)
            while coming:
                group = coming.result()
                coming = next(gathering, None)
                if self.binarize:
                    group = [(first, self._drawn(images, key, first), n) for first, images, n in group]
                yield [(batches, n) for _, batches, n in group]

    def _group(self, order: np.ndarray, start: int, stop: int, steps: int, chosen: bool) -> list[tuple[int, Any, int]]:
        """Batches from `start` on: the number of the first one, a tree of tensors, and how many batches count.

        The full ones come together, and the one that is shorter by itself.
        """
        full = self.length // self.batch_size
        end, group = min(stop, full), []
        if end > start:
            numbers = order[start * self.batch_size : end * self.batch_size].reshape(-1, self.batch_size)
            group.append((start, self._member(numbers, steps, chosen), end - start))
        if stop > full:
            group.append((full, self._member(order[None, full * self.batch_size :], 1, chosen), 1))
        return group

    def _member(self, numbers: np.ndarray, count: int, chosen: bool) -> Any:
        """The examples of these numbers, (n, batch), at the beginning of `count` batches."""
        if not chosen or self.examples is None:
            if is_spread() and not self.binarize:
                return self._spread(numbers, count)
            share = shared if self.binarize else as_tensor  # TensorFlow draws the pixels, whatever learns from them
            return mapped(lambda array: share(taken(array, numbers, count)), self.images)
        padded = np.zeros((count, numbers.shape[1]), "int32")
        padded[: len(numbers)] = numbers
        if is_spread():
            found = spread(padded)
            return Spread(Chosen(self.examples, found.batches), found.size)
        return Chosen(self.examples, as_tensor(padded))

    def _spread(self, numbers: np.ndarray, count: int) -> Spread:
        """`_member` on several devices: a process takes the examples of its own devices alone."""
        full = with_filling(numbers, axis=1)

        def one(array: Any) -> Tensor:
            shape = (count, full.shape[1], *array.shape[1:])
            return along_batches(shape, lambda some: taken(array, full[:, some], count))

        return Spread(mapped(one, self.images), numbers.shape[1])

    @property
    def examples(self) -> Any:
        """All examples as tensors, of which a program takes its batches; None if that would be a large copy."""
        if self._examples is None or self._where is not keras.distribution.distribution():
            arrays = leaves(self.images)
            there = not self.binarize and all(isinstance(array, np.ndarray) for array in arrays)
            copied = sum(array.nbytes for array in arrays if there and (is_spread() or not is_aligned(array)))
            fits = there and copied * shares() <= COPIED
            self._examples = mapped(everywhere if is_spread() else whole, self.images) if fits else None
            self._where = keras.distribution.distribution()
        return self._examples

    def members(self, steps: int) -> list[Any]:
        """What `groups` gives in every epoch: of full batches, and of one that is shorter; none of them counts."""
        full, rest = divmod(self.length, self.batch_size)
        sizes = ([(steps, self.batch_size)] if full else []) + ([(1, rest)] if rest else [])
        return [self._member(np.zeros((0, batch), "int32"), count, chosen=True) for count, batch in sizes]

    def _drawn(self, images: Any, key: Tensor, first: int) -> Any:
        """`_draw_group`, as tensors of the backend."""
        drawn = self._draw_group(images, key, first)
        if is_spread():
            return spread(drawn)
        return drawn if is_tensorflow() else mapped(lambda one: as_tensor(one.numpy()), drawn)

    def _draw_group(self, images: Any, key: Tensor, first: int) -> Any:
        """`draw` for some batches, (n, batch, ...), which begin with the number `first`."""
        count = len(leaves(images)[0])
        if count == 1:  # often the short one, which has its own shape
            only = mapped(lambda one: one[0], images)
            return mapped(lambda one: one[None], self.draw(only, key, tf.constant(first, "int64")))
        return self._draw_many(images, key, tf.range(first, first + count, dtype="int64"))

    @tf.function(reduce_retracing=True)  # three times as fast as without
    def _draw_many(self, images: Any, key: Tensor, numbers: Tensor) -> Any:
        """`draw` for each of some batches, (n, batch, ...)."""
        types = mapped(lambda one: one.dtype, images)
        drawn = tf.map_fn(lambda pair: self.draw(pair[0], key, pair[1]), (images, numbers), fn_output_signature=types)
        return mapped(lambda one, before: tf.ensure_shape(one, before.shape), drawn, images)


def is_tensorflow() -> bool:
    """Whether TensorFlow is what learns from the batches."""
    return keras.backend.backend() == "tensorflow"


def as_tensor(array: np.ndarray) -> Tensor:
    """An array as a tensor of the backend, an aligned one not copied if that can be."""
    return shared(array) if is_tensorflow() else keras.ops.convert_to_tensor(array)


def shared(array: np.ndarray) -> Tensor:
    """An aligned array as a tensor of TensorFlow, not copied; one of another type is."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__()) if is_aligned(array) else tf.constant(array)


def whole(array: np.ndarray) -> Tensor:
    """An array as a tensor, copied only if the backend cannot use it as it is."""
    return as_tensor(array if is_aligned(array) else taken(array, np.arange(len(array)), len(array)))


def taken(array: Any, numbers: np.ndarray, count: int) -> np.ndarray:
    """`array[numbers]` at the beginning of an array (count, ...) that TensorFlow can use as it is.

    Args:
        array: (N, ...).
        numbers: of the examples, (n, ...) with n up to `count`.
        count: how long the result is; what is left of it means nothing.
    """
    shape = (count, *numbers.shape[1:], *array.shape[1:])
    found = aligned(shape) if array.dtype == "float32" else np.zeros(shape, array.dtype)
    if isinstance(array, np.ndarray):
        np.take(array, numbers, axis=0, out=found[: len(numbers)], mode="clip")  # "raise" would make a copy, too
    else:
        found[: len(numbers)] = array[numbers]
    return found
