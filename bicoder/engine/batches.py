"""Batches of images in a new order every epoch; all that is drawn follows from the seed, the epoch and the batch."""

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from bicoder.engine.memory import aligned, is_aligned

COPIED = 2**28  # bytes of images that may be in memory twice, so that programs have them where they want them


class Chosen(NamedTuple):
    """Batches as a program can take them itself: all images (N, ...), and numbers of some of them (n, batch)."""

    images: Any
    numbers: Any


class Batches:
    """What `DataLoader.training_data` and `VAE.fit` draw their batches from.

    Args:
        images: (N, ...), an array or `StoredImages`.
        batch_size: images in a batch; the last one of an epoch may be shorter.
        seed: int, or the two numbers of a `keras.random.SeedGenerator`.
        shuffle: False to keep the order of the images.
        binarize: True to draw every pixel as 0 or 1 anew each time, with its grey value as probability.
    Attributes:
        epoch: `tf.Variable`, the number of the epoch that begins next, from 0.
        skip: `tf.Variable`, how many batches that epoch leaves out at its beginning.
    """

    def __init__(self, images, batch_size, seed, shuffle=True, binarize=False):
        # As they are: a tensor of them would be a second copy.
        self.images, self.batch_size = images, batch_size
        self.count = math.ceil(len(images) / batch_size)
        self.seed = [seed, 0] if isinstance(seed, int) else seed
        self.shuffle, self.binarize = shuffle, binarize
        self.epoch = tf.Variable(0, dtype="int64", trainable=False)
        self.skip = tf.Variable(0, dtype="int64", trainable=False)

    def dataset(self):
        """A `tf.data.Dataset` of batches; `VAE.fit` finds this object in it, and takes many batches at once."""
        epochs = tf.data.Dataset.from_tensors(0).map(lambda _: self.begin())
        batches = epochs.flat_map(self._batches_of_an_epoch)
        batches = batches.apply(tf.data.experimental.assert_cardinality(self.count)).prefetch(tf.data.AUTOTUNE)
        batches.batches = self
        return batches

    def _batches_of_an_epoch(self, order, key, skip):
        numbers = tf.data.Dataset.range(skip, self.count)
        return numbers.map(lambda b: self.batch(order, key, b), num_parallel_calls=tf.data.AUTOTUNE)

    def begin(self):
        """Begin an epoch: its order (N,), the key of what is drawn in it, and how many batches to leave out."""
        key = tf.random.experimental.stateless_fold_in(self.seed, self.epoch.read_value())
        order = tf.range(len(self.images))
        if self.shuffle:
            order = tf.random.experimental.stateless_shuffle(order, key)
        skip = self.skip.read_value()
        with tf.control_dependencies([key, skip]):
            self.epoch.assign_add(1)
            self.skip.assign(0)
        return order, key, skip

    def batch(self, order, key, number):
        """Batch `number` of an epoch, (batch, ...)."""
        start = number * self.batch_size
        numbers = order[start : start + self.batch_size]
        images = tf.numpy_function(lambda n: taken(self.images, n, len(n)), [numbers], tf.float32, stateful=False)
        images = tf.ensure_shape(images, (None, *self.images.shape[1:]))
        return self.draw(images, key, number) if self.binarize else images

    def draw(self, images, key, number):
        """Every pixel 1 with its grey value as probability, else 0."""
        key = tf.random.experimental.stateless_fold_in(key, number)
        return tf.cast(tf.random.stateless_uniform(tf.shape(images), key) < images, images.dtype)

    def many(self, steps, chosen=False):
        """The batches of one epoch, `steps` at a time: lists, a member for full batches and one for the short one.

        A member is a tensor, (steps, batch, ...) or (1, short, ...), and how many batches of it count; or, if that is
        wanted and possible, `Chosen` instead of a tensor.
        """
        order, key, skip = self.begin()
        order = order.numpy()
        with ThreadPoolExecutor(1) as thread:
            starts = range(int(skip), self.count, steps)
            gathering = (thread.submit(self._groups, order, start, steps, chosen) for start in starts)
            coming = next(gathering, None)
            while coming:
                groups = coming.result()
                coming = next(gathering, None)  # the next ones are gathered while these are learnt from
                if self.binarize:
                    groups = [(first, self._draw_group(images, key, first), n) for first, images, n in groups]
                yield [(images, n) for _, images, n in groups]

    def _groups(self, order, start, steps, chosen):
        """`steps` batches from `start` on: the number of the first one, a tensor, and how many batches of it count.

        The full ones come together, and the one that is shorter by itself.
        """
        full = len(order) // self.batch_size
        end, groups = min(start + steps, full), []
        if end > start:
            numbers = order[start * self.batch_size : end * self.batch_size].reshape(-1, self.batch_size)
            groups.append((start, self._member(numbers, steps, chosen), end - start))
        if start + steps >= self.count > full:
            groups.append((full, self._member(order[None, full * self.batch_size :], 1, chosen), 1))
        return groups

    def _member(self, numbers, count, chosen):
        """The images of these numbers, (n, batch), at the beginning of `count` batches."""
        if not chosen or self.tensor is None:
            return as_tensor(taken(self.images, numbers, count))
        padded = np.zeros((count, numbers.shape[1]), "int32")
        padded[: len(numbers)] = numbers
        return Chosen(self.tensor, tf.constant(padded))

    @functools.cached_property
    def tensor(self):
        """All images as a tensor, out of which a program takes its batches; None where it would be a large copy."""
        if self.binarize or not isinstance(self.images, np.ndarray):
            return None
        if is_aligned(self.images):
            return as_tensor(self.images)
        small = self.images.nbytes <= COPIED
        return as_tensor(taken(self.images, np.arange(len(self.images)), len(self.images))) if small else None

    def examples(self, steps):
        """What `many` gives in every epoch, as `Chosen` if it can be: of full batches, and of one that is shorter."""
        full, rest = divmod(len(self.images), self.batch_size)
        sizes = ([(steps, self.batch_size)] if full else []) + ([(1, rest)] if rest else [])
        return [self._member(np.zeros((0, batch), "int32"), count, chosen=True) for count, batch in sizes]

    def _draw_group(self, images, key, first):
        """`draw` for some batches, (n, batch, ...), of which the first has the number `first`."""
        if len(images) == 1:  # often the short one, which has its own shape
            return self.draw(images[0], key, tf.constant(first, "int64"))[None]
        return self._draw_many(images, key, tf.range(first, first + len(images), dtype="int64"))

    @tf.function(reduce_retracing=True)  # three times as fast as without
    def _draw_many(self, images, key, numbers):
        """`draw` for each of some batches, (n, batch, ...)."""
        drawn = tf.map_fn(
            lambda pair: self.draw(pair[0], key, pair[1]), (images, numbers), fn_output_signature="float32"
        )
        return tf.ensure_shape(drawn, images.shape)


def as_tensor(array):
    """An aligned array as a tensor, not copied."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def taken(images, numbers, count):
    """`images[numbers]` at the beginning of an array (count, ...) that TensorFlow can use as it is.

    Args:
        images: (N, ...).
        numbers: of the images, (n, ...) with n up to `count`.
        count: how long the array is; what is left of it means nothing.
    """
    whole = aligned((count, *numbers.shape[1:], *images.shape[1:]))
    found = whole[: len(numbers)]
    if isinstance(images, np.ndarray):
        np.take(images, numbers, axis=0, out=found, mode="clip")  # "raise" would make a copy, too
    else:
        found[...] = images[numbers]
    return whole
