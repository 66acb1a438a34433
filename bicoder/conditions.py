"""Conditions: what a model of log p(x|y) is told of each example, as its networks and its prior get it."""

import abc
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.component import Component
from bicoder.engine.arrays.numbers import is_known
from bicoder.engine.open_layer import OpenLayer
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import MOST_UNITS, DataError, UsageError, check_count


def is_soft(y: Any) -> bool:
    """Whether labels come as vectors, with a weight of each class, and not as numbers (N,) or (N, 1)."""
    return len(y.shape) > 1 and y.shape[1:] != (1,)


class Condition(Component, OpenLayer):
    """From y, (batch, ...), to what stands beside x in q(z|x, y), beside z in p(x|z, y), and decides p(z|y)."""

    # Set by the model before the condition is built: where its initial weights come from.
    seed: int | None = None
    # What users give, for errors.
    expected: str

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    @property
    @abc.abstractmethod
    def output_shape(self) -> Shape:
        """The shape of what `call` gives for one example.

        Raises:
            UsageError: nobody has said it, and no data have been seen.
        """

    def learn(self, y: np.ndarray) -> None:
        """Take from all y, (N, ...), what nobody has said, before the condition is built."""

    def take(self, shape: Any) -> None:
        """Take the shape of a batch of y, (batch, ...), if it is known and nobody has said it."""

    @abc.abstractmethod
    def check(self, y: Any) -> None:
        """`DataError` if y, (batch, ...), is nothing to be told; tensors whose numbers are not known are taken."""


class Labels(Condition):
    """Labels, whole numbers from 0 to C - 1, as one-hot vectors; vectors (batch, C) are taken as they are.

    Args:
        classes: C; None for one more than the largest label of the training data.
    """

    expected = "whole numbers (N,), labels of the examples"

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        self.classes = None if classes is None else check_count("classes", classes, MOST_UNITS)

    @property
    def known_classes(self) -> int:
        """C."""
        if self.classes is None:
            raise UsageError(
                f"condition: nobody knows how many classes there are; say it, condition='{self.part_name()}:classes=10'"
            )
        return self.classes

    @property
    def output_shape(self) -> Shape:
        return (self.known_classes,)

    def learn(self, y: np.ndarray) -> None:
        self.check(y)
        if self.classes is None:
            self.classes = int(y.shape[1] if is_soft(y) else y.max() + 1)

    def check(self, y: Any) -> None:
        if not is_known(y):
            return
        y = np.asarray(y)
        if y.dtype.kind not in "biuf":
            raise DataError(
                f"condition: expected {self.expected}, received {y.dtype}; numpy.unique(y, return_inverse=True) makes "
                "numbers of names"
            )
        most = MOST_UNITS if self.classes is None else self.classes
        if is_soft(y):
            if y.ndim != 2 or y.shape[1] > most or (self.classes is not None and y.shape[1] != most):
                raise DataError(f"condition: expected {self.expected}, or vectors (N, {most}), received {y.shape}")
        elif len(y) and not ((y >= 0).all() and (y < most).all() and (y == np.floor(y)).all()):
            wrong = y[~((y >= 0) & (y < most) & (y == np.floor(y)))].reshape(-1)[0]
            raise DataError(f"condition: expected labels from 0 to {most - 1}, whole numbers, received {wrong:g}")

    def call(self, y: Tensor) -> Tensor:
        return self.one_hot(y)

    def one_hot(self, y: Tensor) -> Tensor:
        """Vectors (batch, C) of labels, or as they are given."""
        if is_soft(y):
            return ops.cast(y, "float32")
        return ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), self.known_classes)


class Embedding(Labels):
    """Labels as vectors that are learned with the model; of a vector of weights (batch, C), their weighted mean.

    Args:
        dim: numbers of a vector.
        classes: as of `labels`.
    """

    def __init__(self, dim: int = 16, classes: int | None = None) -> None:
        super().__init__(classes)
        self.dim = check_count("dim", dim, MOST_UNITS)

    @property
    def output_shape(self) -> Shape:
        return (self.dim,)

    def build(self, input_shape: Any) -> None:
        around_zero = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        shape = (self.known_classes, self.dim)
        self.vectors = self.add_weight(shape=shape, initializer=around_zero, name="vectors")

    def call(self, y: Tensor) -> Tensor:
        return ops.matmul(self.one_hot(y), self.vectors)


class Vector(Condition):
    """Numbers as they are, (batch, ...): attributes, or an image, whose channels stand beside those of one of its size.

    Args:
        shape: of one y; None for that of the training data.
    """

    expected = "numbers (N, ...), something of every example"

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = None if shape is None else tuple(check_count("shape", size, MOST_UNITS) for size in shape)

    @property
    def output_shape(self) -> Shape:
        if self.shape is None:
            raise UsageError("condition: nobody knows the shape of y; say it, condition='vector:shape=[5]'")
        return self.shape or (1,)

    def learn(self, y: np.ndarray) -> None:
        self.take(y.shape)
        self.check(y)

    def take(self, shape: Any) -> None:
        self.shape = tuple(shape[1:]) if self.shape is None and shape is not None else self.shape

    def check(self, y: Any) -> None:
        received = tuple(y.shape[1:])
        if self.shape is not None and received != self.shape:
            raise DataError(f"condition: expected y of shape {self.shape}, received {received}")
        if is_known(y) and not np.isfinite(np.asarray(y, "float32")).all():
            raise DataError("condition: expected finite numbers, received NaN or infinity; leave these examples out")

    def call(self, y: Tensor) -> Tensor:
        return ops.reshape(ops.cast(y, "float32"), (-1, *self.output_shape))
