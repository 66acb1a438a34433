"""Examples of which something is missing: values, and where they are known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from bicoder.engine.tensor import Tensor


class Masked(NamedTuple):
    """Examples of which something is missing; NumPy's masked arrays become this.

    Args:
        values: (batch, ...), whatever stands where nothing is known.
        there: 1 where a value is known, else 0: (batch,) for examples that are there as a whole or not at all, or of
            the shape of `values` for single ones.
    """

    values: Any
    there: Any


def values_of(x: Any) -> Any:
    """The values of one tensor, with 0 where none is known."""
    if not isinstance(x, Masked):
        return x
    return ops.where(spread(x.there, x.values) > 0, x.values, ops.zeros_like(x.values))


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


def on_values(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of a tensor, of the values of `Masked` ones, or of those of each view of a dict."""
    if isinstance(x, dict):
        return {name: on_values(function, one) for name, one in x.items()}
    return Masked(function(x.values), x.there) if isinstance(x, Masked) else function(x)


def kept(x: Any, chosen: Tensor) -> Masked:
    """x (batch, ...) of which only the examples that are chosen, 1 and not 0, (batch,), are there."""
    if isinstance(x, Masked):
        return Masked(x.values, ops.cast(x.there, "float32") * spread(chosen, x.there))
    return Masked(x, chosen)


def from_numpy(array: np.ma.MaskedArray) -> Any:
    """A masked array (N, ...) as `Masked`, whole examples if it hides nothing less; an array if it hides nothing."""
    hidden = np.ma.getmaskarray(array)
    if not hidden.any():
        return array.data
    by_example = hidden.reshape(len(hidden), -1)
    whole = (by_example.all(axis=1) == by_example.any(axis=1)).all()
    return Masked(array.filled(0), (~(by_example[:, 0] if whole else hidden)).astype("float32"))
