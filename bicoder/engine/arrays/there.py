"""What is there of examples of which something may be missing."""

from typing import Any

from keras import ops

from bicoder.engine.arrays.masked import Masked
from bicoder.engine.tensor import Tensor


def values_of(x: Any) -> Any:
    """The values of one tensor, with 0 where none is known."""
    if not isinstance(x, Masked):
        return x
    return ops.where(spread(x.there, x.values) > 0, x.values, ops.zeros_like(x.values))


def with_mask(x: Any) -> Tensor:
    """The values of one tensor, with 0 where none is known, and as many channels more, 1 where one is known, else 0."""
    values = values_of(x)
    there = ops.cast(spread(x.there, values), values.dtype) if isinstance(x, Masked) else ops.ones_like(values)
    return ops.concatenate([values, there + ops.zeros_like(values)], axis=-1)


def spread(there: Tensor, values: Tensor) -> Tensor:
    """Where values are known, in a shape that broadcasts to them."""
    missing_axes = len(values.shape) - len(there.shape)
    return ops.reshape(there, (*ops.shape(there), *[1] * missing_axes)) if missing_axes else there


def examples_there(x: Any) -> Tensor | None:
    """Of each example, 1 if something of it is known, else 0: (batch,); None if everything is."""
    if not isinstance(x, Masked):
        return None
    there = ops.cast(x.there, "float32")
    return there if len(there.shape) == 1 else ops.max(ops.reshape(there, (ops.shape(there)[0], -1)), axis=-1)


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """What is there in two senses; None is there everywhere."""
    return second if first is None else first if second is None else first * second


def kept(x: Any, chosen: Tensor) -> Masked:
    """x (batch, ...) of which only the examples that are chosen, 1 and not 0, (batch,), are there."""
    if isinstance(x, Masked):
        return Masked(x.values, ops.cast(x.there, "float32") * spread(chosen, x.there))
    return Masked(x, chosen)
