"""Batches over the devices of Keras' distribution, each of which has its own examples of every batch.

JAX' programs are of whole batches, however many devices compute them: the noise, an objective that looks at the whole
batch and a mean are those of one device, but for rounding. What does not divide by the devices is filled on its way to
them, and the program cuts the filling off again: no example is left out, and none counts that is not there.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.trees import leaves, mapped
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Spread:
    """Batches on several devices, which a program cuts to their size.

    Args:
        batches: a tree of arrays (n, filled, ...), or `Chosen` with such numbers.
        size: examples in a batch.
    """

    batches: Any
    size: int


def is_spread() -> bool:
    """Whether Keras' distribution divides batches among devices of JAX."""
    return keras.backend.backend() == "jax" and keras.distribution.distribution() is not None


def shares() -> int:
    """In how many shares a batch is divided; 1 without a distribution."""
    if not is_spread():
        return 1
    distribution = keras.distribution.distribution()
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def filled(size: int) -> int:
    """The smallest number from `size` on that divides among the devices."""
    return -(-size // shares()) * shares()


def check_divides(batch_size: int) -> None:
    """`UsageError` unless each device gets as many examples of a batch as the others."""
    if batch_size % shares():
        more = filled(batch_size)
        less = more - shares()
        raise UsageError(
            f"batch_size: expected a multiple of {shares()}, the number of devices, received {batch_size}; take "
            f"{f'{less} or ' if less else ''}{more}"
        )


def layout(shape: Shape, axis: int | None) -> Any:
    """How an array of this shape is laid out: divided along an axis, or, with None, as a whole on every device."""
    distribution = keras.distribution.distribution()
    axes: list[str | None] = [None] * len(shape)
    if axis is not None:
        axes[axis] = distribution.batch_dim_name
    return keras.distribution.TensorLayout(axes, distribution.device_mesh).backend_layout


def everywhere(array: np.ndarray) -> Tensor:
    """An array as a whole on every device."""
    import jax

    return jax.make_array_from_callback(array.shape, layout(array.shape, None), lambda index: array[index])


def along_batches(shape: Shape, rows: Callable[[slice], np.ndarray]) -> Tensor:
    """An array (n, filled, ...) of which each process makes the examples that its own devices get.

    Args:
        shape: of all of it.
        rows: function from some of the examples of each batch to their array (n, some, ...).
    """
    import jax

    def of(index: Any) -> np.ndarray:
        return rows(index[1])

    return jax.make_array_from_callback(shape, layout(shape, 1), of)


def spread(batches: Any) -> Spread:
    """Batches that are there as a whole, a tree of arrays (n, batch, ...)."""
    size = leaves(batches)[0].shape[1]

    def one(array: Any) -> Tensor:
        array = with_filling(np.asarray(array), axis=1)
        return along_batches(array.shape, lambda some: array[:, some])

    return Spread(mapped(one, batches), size)


def with_filling(array: np.ndarray, axis: int) -> np.ndarray:
    """An array that divides among the devices along an axis, filled with its last entry there."""
    missing = filled(array.shape[axis]) - array.shape[axis]
    return np.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)], mode="edge")


def divided(tree: Any, axis: int = 0) -> Any:
    """Inside a program, arrays whose examples the devices divide among themselves; theirs may be one more or less."""
    import jax

    return mapped(lambda array: jax.lax.with_sharding_constraint(array, layout(array.shape, axis)), tree)


def place(variables: list[keras.Variable]) -> None:
    """Bring variables onto the devices that were made before there was a distribution."""
    distribution = keras.distribution.distribution()
    for variable in variables:
        where = distribution.get_variable_layout(variable)
        variable.assign(keras.distribution.distribute_tensor(variable.value, where))


@functools.cache
def register() -> None:
    """Let JAX take `Spread` for a tree of arrays."""
    import jax

    jax.tree_util.register_dataclass(Spread, data_fields=["batches"], meta_fields=["size"])


@contextlib.contextmanager
def by_keras_alone() -> Iterator[None]:
    """Inside, Keras' own loops know no distribution: they would divide what does not divide, and refuse arrays.

    The weights are on all devices, and each of them computes all that is asked for.
    """
    if not is_spread():
        yield
        return
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
